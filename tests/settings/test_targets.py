"""Names of the user's classes and functions: which are trusted, and where they are looked for."""

from __future__ import annotations

import importlib
import os
import sys

import pytest

from shoal.errors import ModelError, SettingsError
from shoal.settings.targets import OURS, check_trust, import_target, target_file

NET = "from torch.nn import Module\nclass Net(Module):\n    width = 7\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A current directory of its own, and an import path to spoil."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


@pytest.fixture
def elsewhere(here):
    """A folder of installed packages."""
    (here / "installed").mkdir()
    sys.path.insert(0, str(here / "installed"))
    return here / "installed"


# Who vouches for a name -----------------------------------------------------------------------


def test_models_of_shoal_need_no_trust():
    """Each name on the list is a model that imports."""
    for name in OURS:
        check_trust("the model", name, [])
        assert import_target(name, "model").__name__ == name.rpartition(".")[2]


@pytest.mark.parametrize("trust", [["my_model"], ("other", "my_model"), ["my_model.Net"]])
def test_a_module_is_trusted_by_its_exact_name(trust):
    """The module's name or the whole target lets it pass."""
    check_trust("the model", "my_model.Net", trust)


@pytest.mark.parametrize("trust", [[], ["my_mod"], ["my_model.deep"], ["my_model.Net.x"], ["my"]])
def test_no_other_name_is_trust(trust):
    """Neither the beginning of a name nor a longer one counts; the line says what would."""
    message = r'^the model is my_model\.Net; importing .* trust it: trust=\["my_model"\]$'

    with pytest.raises(ModelError, match=message) as caught:
        check_trust("the model", "my_model.Net", trust)
    assert caught.value.at_terminal.endswith("say that you trust it: --trust my_model")


def test_a_package_is_not_trusted_with_the_modules_in_it():
    """Trust of a package is trust of what its own __init__ names."""
    with pytest.raises(ModelError, match=r'trust=\["torch\.hub"\]'):
        check_trust("the model", "torch.hub.load", ["torch"])


def test_one_text_is_no_list_of_names():
    """A text would be searched for letters; the line shows the list."""
    message = r'^trust="my_model" is one text, not a list of names: trust=\["my_model"\]$'

    with pytest.raises(SettingsError, match=message):
        check_trust("the model", "shoal.models.MLP", "my_model")


@pytest.mark.parametrize("kind", ["model", "transform", "encoder", "state"])
@pytest.mark.parametrize(
    "target",
    [
        "shoal.formats.json_file.write_json",
        "shoal.settings.targets.import_target",
        "shoal.models.nn",
    ],
)
def test_nothing_else_of_shoal_can_be_named(target, kind):
    """No trust opens Shoal's own functions to a file, and no setting calls them either."""
    with pytest.raises(ModelError, match="of Shoal's own only the models") as caught:
        check_trust("the model", target, ["shoal", "shoal.formats.json_file", target])
    assert "trust=" not in str(caught.value)
    with pytest.raises(ModelError, match="of Shoal's own only the models"):
        import_target(target, kind)


@pytest.mark.parametrize("target", ["os.system\nshoal: done", "a b.C", "", "C", "../x.C"])
def test_what_is_no_name_is_one_line(target):
    """A file cannot put lines of its own into the message."""
    with pytest.raises(ModelError, match="not a dotted path") as caught:
        check_trust("the model", target, [])
    assert "\n" not in str(caught.value)


# What a name may stand for --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "kind", "message"),
    [
        ("torch.hub.load", "model", "a function, and a model is a class derived from torch"),
        ("collections.Counter", "model", "another class, and a model is"),
        ("math.pi", "model", "a value, and a model is"),
        ("os.getcwd", "encoder", "a function, and an encoder is a class with fit and transform"),
        ("sklearn.linear_model.LinearRegression", "encoder", "another class, and an encoder is"),
        ("math.pi", "transform", "math.pi is no function"),
        ("shutil.os", "state", "shutil.os is no function"),
    ],
)
def test_another_kind_of_object_is_refused_before_it_is_called(target, kind, message):
    """A model is a Module, an encoder has fit and transform, a transform is called."""
    with pytest.raises(ModelError, match=message):
        import_target(target, kind)


@pytest.mark.parametrize("kind", ["transform", "state"])
def test_a_module_is_not_trusted_with_what_it_imports(here, kind):
    """Functions and classes are named where they are defined."""
    (here / "target_steps.py").write_text("from subprocess import run\nfrom pathlib import Path\n")

    for name, home in (("run", "subprocess"), ("Path", "pathlib")):
        with pytest.raises(ModelError, match=f"target_steps.{name} comes from module '{home}'"):
            import_target(f"target_steps.{name}", kind)


@pytest.mark.parametrize("name", ["os.path.basename", "operator.neg", "math.log1p", "builtins.abs"])
def test_a_module_of_two_names_holds_its_own(name):
    """Functions of the standard library that are defined in C or in a module of another name."""
    assert callable(import_target(name, "transform"))


def test_a_package_may_gather_what_its_modules_define(here):
    """Its own functions, and objects that are called, are found in it."""
    (here / "target_package").mkdir()
    (here / "target_package" / "steps.py").write_text("def double(value):\n    return 2 * value\n")
    (here / "target_package" / "__init__.py").write_text(
        "from functools import partial\nfrom target_package.steps import double\n"
        "power = partial(pow, 2)\n"
    )

    assert import_target("target_package.double", "transform")(4) == 8
    assert import_target("target_package.power", "transform")(3) == 8


# Where it is looked for -----------------------------------------------------------------------


def test_a_class_in_the_current_directory(here):
    """A module that lies where the user works is found."""
    (here / "target_of_mine.py").write_text(NET)

    assert import_target("target_of_mine.Net", "model").width == 7


def test_a_users_module_may_import_its_neighbours(here):
    """A module beside it is found, at once and later."""
    (here / "target_neighbour.py").write_text("width = 9")
    (here / "target_late.py").write_text("width = 4")
    (here / "target_of_two.py").write_text(
        "import target_neighbour\n"
        "def wide(value):\n"
        "    import target_late\n"
        "    return target_neighbour.width + target_late.width\n"
    )

    assert import_target("target_of_two.wide", "transform")(0) == 13


def test_the_current_directory_is_on_the_path_for_its_own_modules_alone(here):
    """An installed class does not bring it there; a class of the user's does, at the end."""
    (here / "target_alone.py").write_text(NET)

    import_target("torch.nn.Linear", "model")
    assert str(here) not in sys.path
    import_target("target_alone.Net", "model")
    assert sys.path[-1] == str(here)


@pytest.mark.parametrize("find", [target_file, lambda name: import_target(name, "model")])
@pytest.mark.parametrize("first", ["", "here", "nowhere"])
def test_a_name_in_both_places_is_an_error(here, elsewhere, find, first):
    """Both files are shown, whether or not Python would search the current directory first."""
    for folder in (here, elsewhere):
        (folder / "target_twin.py").write_text("raise SystemExit\n")
    sys.path[:0] = {"": [""], "here": [str(here)], "nowhere": []}[first]
    files = rf"{here}/target_twin\.py and {elsewhere}/target_twin\.py"

    with pytest.raises(ModelError, match=f"'target_twin' is both {files}; rename"):
        find("target_twin.Net")


def test_an_installed_package_hides_a_module_of_the_same_package(here, elsewhere):
    """A folder that looks like an installed package is an error where it holds the module."""
    (elsewhere / "target_hiding").mkdir()
    (elsewhere / "target_hiding" / "__init__.py").write_text("")
    (here / "target_hiding").mkdir()
    assert target_file("target_hiding.net.Net") is None

    (here / "target_hiding" / "net.py").write_text(NET)
    with pytest.raises(ModelError, match=r"target_hiding/net\.py and .*target_hiding/__init__\.py"):
        target_file("target_hiding.net.Net")


def test_a_project_that_is_installed_where_it_lies_is_no_twin(here, monkeypatch):
    """An editable install finds the same file by its own finder."""
    (here / "target_editable.py").write_text(NET)
    spec = importlib.util.spec_from_file_location(
        "target_editable", os.fspath(here / "target_editable.py")
    )

    class Finder:
        @staticmethod
        def find_spec(name, path=None, target=None):
            return spec if name == "target_editable" else None

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder])

    assert import_target("target_editable.Net", "model").width == 7
    assert target_file("target_editable.Net") == here / "target_editable.py"


def test_a_neighbour_that_an_installed_module_hides_is_an_error(here, elsewhere):
    """The user's module would use another than its author meant."""
    (here / "target_helpers.py").write_text("width = 1")
    (elsewhere / "target_helpers.py").write_text("width = 2")
    (here / "target_user.py").write_text(f"import target_helpers\n{NET}")

    with pytest.raises(ModelError, match="'target_helpers' is both"):
        import_target("target_user.Net", "model")


def test_a_library_is_not_hidden_by_a_file_of_the_users(here):
    """A module of the standard library that the user's imports is that of Python."""
    (here / "this.py").write_text("raise SystemExit")
    (here / "target_reader.py").write_text(f"import this\n{NET}")
    sys.modules.pop("this", None)

    assert import_target("target_reader.Net", "model").width == 7


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("class Net: pass", r"module 'target_case' has no 'Nett'; did you mean 'Net'\?"),
        ("import no_such_thing", "does not import: ModuleNotFoundError: No module named"),
        ("class :", "does not import: SyntaxError"),
        ("import sys; sys.exit()", "does not import: SystemExit"),
        ("raise RuntimeError('two\\nlines')", "does not import: RuntimeError: two lines"),
    ],
)
def test_what_does_not_import_is_one_line(here, monkeypatch, source, message):
    """A missing name, a missing dependency and a broken module each say so."""
    monkeypatch.delitem(sys.modules, "target_case", raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (here / "target_case.py").write_text(source)

    with pytest.raises(ModelError, match=rf"target_case\.Nett: .*{message}") as caught:
        import_target("target_case.Nett", "model")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("dotted", "message"),
    [
        ("no_such_module.Net", "there is no module 'no_such_module' in"),
        ("torch.no_such.Net", "there is no module 'torch.no_such' in"),
        ("Net", "not a dotted path"),
        ("a..Net", "not a dotted path"),
        ("models/net.Net", "not a dotted path"),
    ],
)
def test_what_is_not_there_is_named(here, dotted, message):
    """A module that is not found, or a path that is none, is named."""
    with pytest.raises(ModelError, match=message):
        import_target(dotted, "model")


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
    assert target_file("../json.Net") is None
