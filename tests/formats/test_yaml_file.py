"""The one reader of YAML that people write."""

import time
from pathlib import Path

import pytest

from shoal.errors import SettingsError, SourceError
from shoal.formats.yaml_file import MOST_BYTES, read_yaml


def test_plain_values_are_read(tmp_path: Path):
    """Mappings, lists, texts, numbers; a date stays what it is in YAML."""
    path = tmp_path / "a.yaml"
    path.write_text("a: [1, 2.5, x, null, true]\nb:\n  c: 'é'\n", encoding="utf-8")

    assert read_yaml(path) == {"a": [1, 2.5, "x", None, True], "b": {"c": "é"}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"a: 1\nb: 2\na: 3\n", ", line 3: duplicate key a$"),
        (b"a:\n  b: 1\n  b: 2\n", ", line 3: duplicate key b$"),
        (b"a:\n\tb: 1\n", ", line 2: begins with a tab; indent with spaces$"),
        (b"a: *b\n", ", line 1: anchors and aliases are not read"),
        (b"a: &b 1\n", ", line 1: anchors and aliases are not read"),
        (b"a: &b {c: 1}\nd:\n  <<: *b\n", ", line 1: anchors and aliases are not read"),
        (b"a: 1\nb: [1, 2\nc: 3\n", r", line 2: what \[ opens is not closed before line 3"),
        (b"a: 1\nb: 'x\n", ", line 2: what ' opens is not closed"),
        (b"a: b: c\n", ", line 1: mapping values are not allowed here$"),
        (b"a: 1\n---\nb: 2\n", ", line 2: found another document$"),
        (b"a: !!python/object:os.system x\n", ", line 1: the tag !!python/object:os.system is not"),
        (b"a: !!bool x\n", ", line 1: the tag !!bool is not read"),
        (b"? [1]\n: 2\n", ", line 1: a key that is a list or a mapping$"),
        (b"a: 1\nb: caf\xe9\n", ", line 2: the byte 0xe9 is no UTF-8; save the file as UTF-8$"),
        (b"\xef\xbb\xbfa: 1\n", ", line 1: begins with a byte order mark"),
        (b"a: 1\nb: \x00\n", ", line 2: the character 0x0"),
        (b"- 1\n", ", line 1: holds a list; it must hold settings"),
        (b"5\n", ", line 1: holds a int; it must hold settings"),
        (b"# only a comment\n", ": is empty; it must hold settings"),
        (b"a: 2020-13-45\n", ": a value is not readable"),
        (b"a: 0x_\n", ": a value is not readable"),
        (b"a: " + b"[" * 100_000, ", line 1: nested in more than 40 levels$"),
        (b"a: " + b"x" * MOST_BYTES, ": has more than 500000 bytes"),
    ],
)
def test_a_slip_is_one_line_with_its_place(tmp_path: Path, text: bytes, said: str):
    """The line names the file, the line where there is one, and what is wrong there."""
    path = tmp_path / "a.yaml"
    path.write_bytes(text)

    with pytest.raises(SettingsError, match=rf"^{path}{said}") as caught:
        read_yaml(path)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("merge", ["", "<<: "])
def test_a_few_lines_that_stand_for_billions_are_refused_at_once(tmp_path: Path, merge: str):
    """Nine levels of aliases, as values or merged, cost no time and no memory."""
    lines = ["a0: &a0 {x: 1}"]
    for n in range(1, 10):
        inner = ", ".join([f"*a{n - 1}"] * 9)
        lines.append(f"a{n}: &a{n} {{{merge or 'y: '}[{inner}]}}")
    path = tmp_path / "bomb.yaml"
    path.write_text("\n".join(lines))
    before = time.perf_counter()

    with pytest.raises(SettingsError, match="line 1: anchors and aliases are not read"):
        read_yaml(path)

    assert time.perf_counter() - before < 5


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path):
    """As where a link leads to nothing."""
    (tmp_path / "a.yaml").symlink_to(tmp_path / "nothing")

    with pytest.raises(SourceError, match=r"a\.yaml: No such file or directory$"):
        read_yaml(tmp_path / "a.yaml")
