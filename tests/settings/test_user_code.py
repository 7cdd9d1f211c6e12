"""The user's code, called: what it raises is one line with its place."""

from __future__ import annotations

import importlib

import pytest

from shoal.errors import DataError, ModelError
from shoal.settings.user_code import Calling, check_arguments

SOURCE = """\
import json

def outer(value):
    return inner(value)

def inner(value):
    return json.loads(value)

def back(call):
    return call()
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A module of the user's in the current folder."""
    (tmp_path / "mine_to_call.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    monkeypatch.delitem(__import__("sys").modules, "mine_to_call", raising=False)
    return importlib.import_module("mine_to_call")


def test_an_exception_is_a_line_with_the_users_function_file_and_line(mine):
    """The outermost function is what was called, the innermost line where it went wrong."""
    line = r"^model mine\.Net: outer raises JSONDecodeError: .* at mine_to_call\.py:7; a hint$"

    with (
        pytest.raises(ModelError, match=line) as caught,
        Calling(mine.outer, "model mine.Net", "it", "; a hint"),
    ):
        mine.outer("{")

    assert isinstance(caught.value.__cause__, ValueError)


def test_a_long_message_of_several_lines_is_cut_to_one():
    """A library may write pages."""
    with (
        pytest.raises(ModelError, match=r"ValueError: a b( a b)+ … at tests") as caught,
        Calling(dict, "model x", "it"),
    ):
        raise_from_library("a\nb\n" * 1000)

    assert len(str(caught.value)) < 500


def raise_from_library(text: str) -> None:
    raise ValueError(text)


def test_an_error_of_shoals_own_passes(mine):
    """A line that is there already stays, and so does a bug in Shoal that a callback shows."""
    from shoal.formats.hashing import canonical_json

    with pytest.raises(DataError, match="as it is"), Calling(mine.back, "model x", "it"):
        mine.back(lambda: (_ for _ in ()).throw(DataError("as it is")))
    with pytest.raises(TypeError, match="not JSON serializable"), Calling(mine.back, "x", "it"):
        mine.back(lambda: canonical_json(object()))


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({}, "x: its arguments do not fit: missing a required argument: 'width'"),
        ({"width": 1, "dept": 2}, "x: has no argument 'dept'; did you mean 'depth'"),
    ],
)
def test_arguments_are_compared_with_the_signature(named, message):
    """Arguments that a call would refuse are refused without the call."""

    class Net:
        def __init__(self, width: int, depth: int = 1) -> None:
            raise AssertionError("not called")

    check_arguments(Net, "x", width=1)
    with pytest.raises(ModelError, match=message):
        check_arguments(Net, "x", **named)


def test_what_does_not_tell_its_signature_is_not_refused():
    """Some built-in classes have none."""
    check_arguments(dict, "x", anything=1)
