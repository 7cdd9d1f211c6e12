"""Digests of source by its syntax tree."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import shoal.plan.syntax
from shoal.plan.syntax import parsed, syntax_digest

TRICKY = Path(__file__).with_name("tricky_source.txt")
"""What Pythons parse or print in different ways: f-strings, constants, patterns, arguments."""

PACKAGE = Path(shoal.plan.syntax.__file__).parents[1]
CODE = '''"""Module."""
import os


@decorated
def f(a, b=1.5, *, c: int = -0.0):
    """Function."""
    return a + b * c, f"{a!r:>{b}}"


class C:
    """Class."""

    limit: float = 1e400
    """Attribute."""
'''


def digest(text: str) -> str:
    return syntax_digest(text.encode())


def test_every_python_gives_the_same_digest_for_a_fixed_source():
    """The literal is what each supported Python that runs this test must find."""
    assert parsed(TRICKY.read_bytes()) is not None
    assert syntax_digest(TRICKY.read_bytes()) == (
        "e7c6238e40b0fafefba86e10c9b699fb7017f8133c6337611dd194c9577b0b36"
    )


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_other_pythons_give_the_same_digests_for_this_package(version):
    """For every file of it; the module runs by itself, on an interpreter without our libraries."""
    python = interpreter(version)
    if python is None:
        pytest.skip(f"there is no Python {version} here")
    files = sorted(map(str, [TRICKY, *PACKAGE.rglob("*.py")]))

    other = subprocess.run(
        [python, "-I", shoal.plan.syntax.__file__, *files],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()

    assert other == [f"{syntax_digest(Path(file).read_bytes())}  {file}" for file in files]


def interpreter(version: str) -> str | None:
    """An interpreter of another version than ours that runs, on PATH or among pyenv's."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return None
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    named = shutil.which(f"python{version}")
    found = [*([named] if named else []), *root.glob(f"{version}.*/bin/python")]
    for python in map(str, found):
        if subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0:
            return python
    return None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"""Module."""', '"""Another word."""'),
        ('"""Module."""', ""),
        ('    """Function."""\n', '    """Other."""\n    # and a comment\n\n'),
        ('    """Class."""\n', "    pass\n"),
        ('    """Attribute."""', ""),
        ("a + b * c", "(a  # why\n    + (b * c))"),
        ("import os", "\n\n\nimport os"),
        ("1.5", "1.50"),
        ('f"{a!r:>{b}}"', "f'{a!r:>{b}}'"),
    ],
)
def test_what_changes_nothing_that_runs_changes_no_digest(before, after):
    """Docstrings, comments, empty lines, brackets and how a constant is written."""
    assert before in CODE

    assert digest(CODE.replace(before, after)) == digest(CODE)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("1.5", "1.25"),
        ("1.5", '"1.5"'),
        ("-0.0", "0.0"),
        ("-0.0", "-0"),
        ("1e400", "1e300"),
        ("@decorated", "@decorated(1)"),
        ("@decorated\n", ""),
        ("def f", "def g"),
        ("a, b=1.5, *, c", "a, b=1.5, c"),
        ("a, b=1.5", "a, /, b=1.5"),
        ("int", "float"),
        ("a + b * c", "(a + b) * c"),
        ("!r", "!s"),
        (":>", ":<"),
        ("import os", "import sys"),
        ("import os", "from os import path"),
        ("return a", "yield a"),
        ("limit", "most"),
        ("class C:", "class C(f):"),
    ],
)
def test_what_runs_otherwise_has_another_digest(before, after):
    """Constants and their types, defaults, decorators, names, operators, formats and imports."""
    assert before in CODE

    assert digest(CODE.replace(before, after)) != digest(CODE)


def test_a_file_that_this_python_cannot_parse_counts_by_its_bytes():
    """Planning goes on; whoever imports the file says what is wrong with it."""
    assert parsed(b"def f(:") is None
    assert digest("def f(:") != digest("def f(: # more")


def test_no_depth_of_expressions_is_too_deep():
    """A sum of two thousand parts nests as deep, beyond Python's limit for calls."""
    sums = "x = " + " + ".join(["a"] * 2000)

    assert parsed(sums.encode()) is not None
    assert digest(sums) != digest(sums + " + a")
