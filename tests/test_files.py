"""Files that appear whole or not at all."""

import errno
import fcntl
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import NotRequired

import pytest
from pydantic import BaseModel
from typing_extensions import TypedDict

from shoal.errors import CorruptError, ShoalError, SourceError
from shoal.files import is_held, parse_json, read_json, replacing, update_json


def half_write(path: Path, error: Exception) -> None:
    with replacing(path) as aside:
        aside.write_text("half")
        raise error


def test_a_failed_writer_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    """Half-written content never takes a file's place."""
    path = tmp_path / "a.txt"
    path.write_text("old")

    with pytest.raises(RuntimeError, match="broken"):
        half_write(path, RuntimeError("broken"))

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_one_line_that_names_the_file(tmp_path: Path):
    """No space left is the user's to mend; nothing is left behind."""
    with pytest.raises(ShoalError, match=r"a\.txt: not written, no space left"):
        half_write(tmp_path / "a.txt", OSError(errno.ENOSPC, "No space left on device"))

    assert list(tmp_path.iterdir()) == []


ADD_TWENTY = """
import sys
from pathlib import Path
from shoal.files import update_json
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


def test_a_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Nothing is changed where two processes could change it at once."""

    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)

    with pytest.raises(ShoalError, match="the file system has no locks"):
        update_json(tmp_path / "tags.json", lambda content: content | {"a": 1})
    assert not (tmp_path / "tags.json").exists()


HOLD = """
import sys
from pathlib import Path
from shoal.files import hold
hold(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_file_is_held_as_long_as_its_process_lives(tmp_path: Path):
    """A killed process holds nothing, and leaves nothing to be removed by hand."""
    path = tmp_path / ".running"
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        during = is_held(path)
        process.kill()

    assert (during, is_held(path)) == (True, False)


class Entry(TypedDict):
    """A document's kind."""

    digest: str
    rows: int
    point: NotRequired[dict[str, float]]


class Settings(BaseModel):
    """A document that is read as a pydantic model."""

    rows: int


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
    """What a reader relies on is checked where the document is read."""
    with pytest.raises(CorruptError, match=f"^a.json: {re.escape(reason)}$"):
        parse_json(text, "a.json", dict[str, Entry])


def test_a_wrong_value_is_shown_by_its_beginning():
    """A whole document in the place of a number does not fill the terminal."""
    with pytest.raises(CorruptError, match=r"^a: rows: .* not \{.{1,200}$"):
        parse_json(json.dumps({"digest": "", "rows": {"x" * 99: list(range(999))}}), "a", Entry)


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
    """What is no regular file is named."""
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
