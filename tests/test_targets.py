"""Dotted paths of the user's classes."""

from __future__ import annotations

import sys

import pytest

from shoal.errors import ModelError
from shoal.targets import import_target, target_file


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A current directory of its own, and an import path to spoil."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def test_a_class_in_the_current_directory(here):
    """A module that lies where the user works is found."""
    (here / "target_of_mine.py").write_text("class Net:\n    width = 7\n")

    assert import_target("target_of_mine.Net").width == 7


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("class Net: pass", r"module 'target_case' has no 'Nett'; did you mean 'Net'\?"),
        ("import no_such_thing", "does not import: ModuleNotFoundError: No module named"),
        ("class :", "does not import: SyntaxError"),
        ("raise RuntimeError('two\\nlines')", "does not import: RuntimeError: two lines"),
    ],
)
def test_what_does_not_import_is_one_line(here, monkeypatch, source, message):
    """A missing name, a missing dependency and a broken module each say so."""
    monkeypatch.delitem(sys.modules, "target_case", raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (here / "target_case.py").write_text(source)

    with pytest.raises(ModelError, match=rf"target_case\.Nett: .*{message}") as caught:
        import_target("target_case.Nett")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("dotted", "message"),
    [
        ("no_such_module.Net", "there is no module 'no_such_module' in"),
        ("shoal.no_such.Net", "there is no module 'shoal.no_such' in"),
        ("Net", "not a dotted path"),
        ("a..Net", "not a dotted path"),
        ("models/net.Net", "not a dotted path"),
    ],
)
def test_what_is_not_there_is_named(here, dotted, message):
    """A module that is not found, or a path that is none, is named."""
    with pytest.raises(ModelError, match=message):
        import_target(dotted)


def test_files_are_found_without_importing(here):
    """The file of a user's module is found though importing it would fail."""
    (here / "deep" / "inner").mkdir(parents=True)
    for name in ("flat.py", "deep/inner/__init__.py", "deep/net.py"):
        (here / name).write_text("raise SystemExit")

    assert target_file("flat.Net") == here / "flat.py"
    assert target_file("deep.net.Net") == here / "deep" / "net.py"
    assert target_file("deep.inner.Net") == here / "deep" / "inner" / "__init__.py"


def test_files_of_installed_packages(here):
    """Installed modules are found too; what is built in or absent has no file."""
    import email.mime.text
    import json

    assert str(target_file("json.JSONDecoder")) == json.__file__
    assert str(target_file("email.mime.text.MIMEText")) == email.mime.text.__file__
    assert target_file("sys.path") is None
    assert target_file("no_such_module.Net") is None
    assert target_file("Net") is None


def test_the_current_directory_comes_first(here):
    """A user's module hides an installed one of the same name."""
    (here / "json.py").write_text("")

    assert target_file("json.JSONDecoder") == here / "json.py"


def test_the_current_directory_comes_first_when_importing(here, monkeypatch):
    """What is imported is what target_file found, though the path holds a namesake."""
    (here / "elsewhere").mkdir()
    (here / "elsewhere" / "target_twin.py").write_text("Net = 'elsewhere'")
    (here / "target_twin.py").write_text("Net = 'here'")
    monkeypatch.syspath_prepend(here / "elsewhere")

    assert import_target("target_twin.Net") == "here"
