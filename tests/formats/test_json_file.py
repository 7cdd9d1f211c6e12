"""JSON is read within bounds and compared with its kind."""

import json
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import NotRequired, Self

import pytest
from pydantic import BaseModel, ConfigDict, model_validator
from typing_extensions import TypedDict

from shoal.errors import CorruptError, SourceError
from shoal.formats.json_file import parse_json, read_json

ADD_TWENTY = """
import sys
from pathlib import Path
from shoal.formats.json_file import update_json
path, me = Path(sys.argv[1]), sys.argv[2]
for number in range(20):
    update_json(path, lambda content: content | {f"{me}-{number}": number})
"""


def test_processes_that_change_a_file_at_once_lose_nothing(tmp_path: Path):
    """Six processes add twenty names each, and all names are there."""
    path = tmp_path / "tags.json"
    command = [sys.executable, "-c", ADD_TWENTY, str(path)]
    processes = [subprocess.Popen([*command, str(number)]) for number in range(6)]

    assert [process.wait() for process in processes] == [0] * 6

    assert len(json.loads(path.read_text())) == 120


class Entry(TypedDict):
    """A document's kind."""

    digest: str
    rows: int
    point: NotRequired[dict[str, float]]


class Settings(BaseModel):
    """A document that is read as a pydantic model."""

    rows: int


class Picky(BaseModel):
    """A document whose check names what it has read."""

    numbers: list[int]

    @model_validator(mode="after")
    def _never(self) -> Self:
        raise ValueError(f"{self.numbers} are wrong")


class Strict(BaseModel):
    """A document in which no other key may be."""

    model_config = ConfigDict(extra="forbid")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it is empty"),
        ('{"rows": 1', "Expecting ',' delimiter"),
        ('{"rows": 1, "rows": 2}', "key 'rows' twice"),
        ("[NaN]", "NaN is not a finite number"),
        ("[-Infinity]", "-Infinity is not a finite number"),
        ("[1e999]", "1e999 is not a finite number"),
        ("[" * 65 + "]" * 65, "more than 64 levels"),
        ('{"a":' * 65 + "1" + "}" * 65, "more than 64 levels"),
        ("[" * 1_000_000 + "]" * 1_000_000, "more than 64 levels"),
        ("[" + "9" * 5000 + "]", "4300 digits"),
        (r'["\ud800"]', "surrogates not allowed"),
        (b"\xff\xfe", "can't decode byte 0xff"),
        ('\ufeff{"rows": 1}', "Expecting value"),
    ],
)
def test_what_is_no_sound_json_is_one_line(text: str | bytes, reason: str):
    """Broken, ambiguous, deep and non-finite documents are refused with the place's name."""
    with pytest.raises(CorruptError, match=f"^a.json: not readable as JSON .*{reason}.*$"):
        parse_json(text, "a.json", dict[str, int])


def test_a_document_with_64_levels_and_whole_characters_is_read():
    """The bounds do not touch what Shoal writes; a pair of surrogates is one character."""
    deepest = "[" * 64 + "]" * 64

    assert parse_json(deepest, "a.json", list) is not None
    assert parse_json(r'["\ud83d\udc1f"]', "a.json", list[str]) == ["\U0001f41f"]
    assert parse_json("3", "a.json", int) == 3


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[]", "Input should be a valid dictionary, not []"),
        ('{"3": []}', "3: Input should be a valid dictionary, not []"),
        ('{"3": {"rows": 1}}', "3.digest: key is missing"),
        ('{"3": {"rows": "1", "digest": ""}}', "3.rows: Input should be a valid integer, not '1'"),
        (
            '{"3": {"rows": 1, "digest": "", "point": {"lr": [[]]}}}',
            "3.point.lr: Input should be a valid number, not [[]]",
        ),
    ],
)
def test_a_document_of_another_kind_is_one_line_that_names_the_key(text: str, reason: str):
    """The keys that a reader relies on are checked where the document is read."""
    with pytest.raises(CorruptError, match=f"^a.json: {re.escape(reason)}$"):
        parse_json(text, "a.json", dict[str, Entry])


def test_a_wrong_value_is_shown_by_its_beginning():
    """A whole document in the place of a number does not fill the terminal."""
    with pytest.raises(CorruptError, match=r"^a: rows: .* not \{.{1,200}$"):
        parse_json(json.dumps({"digest": "", "rows": {"x" * 99: list(range(999))}}), "a", Entry)


def test_long_keys_and_reasons_are_shown_by_their_beginning():
    """Whoever wrote a document does not fill the terminal with it."""
    numbers = list(range(10_000))
    with pytest.raises(CorruptError, match=r"^a: x{500}: Input should be .{1,100}$"):
        parse_json(json.dumps({"x" * 9999: "y"}), "a", dict[str, int])
    with pytest.raises(CorruptError, match=r"^a: \[0, 1, 2, [0-9, ]{1,500} …$"):
        parse_json(json.dumps({"numbers": numbers}), "a", Picky)


def test_keys_that_a_kind_does_not_mention_stay():
    """A document that grew is read, and written back whole."""
    text = '{"rows": 1, "digest": "", "point": {"lr": 1}, "more": [1.5]}'

    assert parse_json(text, "a.json", Entry) == json.loads(text)


def test_a_pydantic_model_is_returned_as_such():
    """Settings that were stored come back as settings."""
    assert parse_json('{"rows": 2}', "a.json", Settings) == Settings(rows=2)


def test_a_long_document_is_refused_unread(tmp_path: Path):
    """A file's size is looked at before its content."""
    path = tmp_path / "a.json"
    path.write_text("[" + " " * 5000 + "]")

    with pytest.raises(CorruptError, match=r"a\.json: is longer than 4 KiB"):
        read_json(path, list, limit=4096)


def test_a_folder_or_nothing_is_no_document(tmp_path: Path):
    """A path that is no regular file is named."""
    with pytest.raises(SourceError, match="is no regular file"):
        read_json(tmp_path, list)
    with pytest.raises(SourceError, match="no such file"):
        read_json(tmp_path / "a.json", list)


def test_advice_follows_what_is_wrong_with_a_file(tmp_path: Path):
    """A reader that knows how to go on says so."""
    path = tmp_path / "plan.json"
    path.write_text('{"rows"')

    with pytest.raises(CorruptError, match=r"plan\.json: not readable as JSON .*; delete it$"):
        read_json(path, Entry, advice="delete it")


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (list[str], "[" + "0," * 1_000_000 + "0]"),
        (dict[str, list[str]], '{"a": [' + "0," * 1_000_000 + "0]}"),
        (dict[str, str], "{" + ",".join(f'"{n}":0' for n in range(200_000)) + "}"),
        (Strict, "{" + ",".join(f'"{n}":0' for n in range(200_000)) + "}"),
    ],
)
def test_a_document_that_is_wrong_a_million_times_costs_little(kind: type, text: str):
    """The first error, or how many there are, is all that is kept of them."""
    line = r"^a: (a\.)?0: Input should be a valid string, not 0$|^a: 200000 keys are wrong$"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CorruptError, match=line):
        parse_json(text, "a", kind)

    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10
