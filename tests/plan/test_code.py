"""Digests of the code behind a stage."""

import functools
import shutil
from pathlib import Path

import pytest

from shoal.errors import SettingsError
from shoal.plan import code
from shoal.plan.code import (
    _closure,
    _package_digest,
    _package_file,
    code_digest,
    users_modules,
    users_part,
)


def imported(module: str) -> set[str]:
    return {name.rpartition(".")[2] for name in _closure([module], _package_file)}


def test_a_stage_depends_on_what_it_imports_and_on_nothing_else():
    """Embedding reads stores and not the splitter; imports inside functions count."""
    modules = imported("shoal.embed.command")

    assert {"command", "embedder", "self_supervised", "row_store"} <= modules
    assert not {"folds", "readers", "report"} & modules


def test_the_face_of_the_package_is_part_of_no_stage():
    """A module imports from ``shoal`` without depending on the pool that it offers."""
    assert not {"pool", "shoal"} & imported("shoal.split.command")


def test_training_does_not_depend_on_evaluation():
    """A change in the report retrains nothing."""
    assert not {"evaluation", "verdict"} & imported("shoal.train_specialists.command")
    searching = {"choose", "proposals", "space", "steps"}
    assert not searching & imported("shoal.train_specialists.command")
    assert searching <= imported("shoal.train_specialists.choose")


def test_a_template_is_part_of_the_page_it_makes(tmp_path: Path, monkeypatch):
    """A change in the report's template makes the report again, and retrains nothing."""
    package = tmp_path / "shoal"
    shutil.copytree(code._PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(code, "_PACKAGE", package)

    def digests() -> list[str]:
        code._package_digest.cache_clear()
        return [code_digest(name) for name in ("evaluate.judge", "train_specialists.command")]

    page, training = digests()
    template = package / "report" / "evaluation.html.jinja"
    template.write_text(template.read_text() + " ")
    page_after, training_after = digests()
    code._package_digest.cache_clear()

    assert page_after != page
    assert training_after == training


def test_a_stage_that_is_nowhere_has_no_digest():
    """A module that was renamed is an error, not a stage without code."""
    with pytest.raises(ValueError, match=r"no module shoal\.nowhere"):
        code_digest("nowhere")


def test_templates_beside_a_module_are_part_of_it(tmp_path, monkeypatch):
    """A page in other words is made again."""
    package = tmp_path / "shoal"
    folder = package / "report"
    folder.mkdir(parents=True)
    (folder / "page.py").write_text("a = 1")
    monkeypatch.setattr("shoal.plan.code._PACKAGE", package)
    digests = set()
    for text in ("<p>", "<b>"):
        (folder / "page.html.jinja").write_text(text)
        digests.add(_package_digest.__wrapped__(("shoal.report.page",)))

    assert len(digests) == 2


def test_a_model_that_ships_with_shoal_is_no_file_of_the_users():
    """An upgrade of Shoal is not a change of the user's model."""
    target = "shoal.models.MLP"

    assert users_part(code_digest("train_specialists.command", [target])) == ""
    assert code_digest("formats.hashing", [target]) != code_digest("formats.hashing")


NET = """
import os, torch, json
from beside import Base
from parts import block, nothing
if TYPE_CHECKING:
    import unused

class Net(Base):
    pass
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with a model, modules beside it and what it does not import."""
    files = {
        "net.py": NET,
        "beside.py": "def later():\n    import deeper\n",
        "deeper.py": "a = 1",
        "parts/__init__.py": "b = 1",
        "parts/block.py": "from . import other\nfrom .. import beyond\nfrom .sub.leaf import f",
        "parts/other.py": "c = 1",
        "parts/sub/__init__.py": "",
        "parts/sub/leaf.py": "d = 1",
        "unused.py": "e = 1",
        "alone.py": "f = 1",
        "json.py": "g = 1",
        "weights.bin": "h",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_users_modules_are_the_named_one_and_all_that_it_imports_from_the_project(project):
    """Packages around a module count, also relative imports and those inside functions."""
    assert set(users_modules(["net.Net"])) == {
        *("net", "beside", "deeper"),
        *("parts", "parts.block", "parts.other", "parts.sub", "parts.sub.leaf"),
    }


def test_of_what_is_installed_the_named_module_alone_counts(project):
    """Its neighbours come and go with its package."""
    assert set(users_modules(["sklearn.cluster._kmeans.KMeans"])) == {"sklearn.cluster._kmeans"}


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("net.py", True),
        ("beside.py", True),
        ("deeper.py", True),
        ("parts/__init__.py", True),
        ("parts/other.py", True),
        ("parts/sub/leaf.py", True),
        ("unused.py", False),
        ("alone.py", False),
        ("json.py", False),
        ("weights.bin", True),
    ],
)
def test_an_edit_changes_the_digest_where_the_model_uses_the_file(project, file, changes):
    """Modules that it imports, and data files that are declared."""
    code = functools.partial(code_digest, "train_specialists.command", ["net.Net"])
    before = code(["weights.bin"])
    with (project / file).open("a") as appended:
        appended.write("\nz = 2\n")
    after = code(["weights.bin"])

    assert (users_part(before) != users_part(after)) == changes
    assert before.partition("-")[0] == after.partition("-")[0]


def test_a_comment_in_the_users_code_changes_nothing(project):
    """Nor does it in a module that the model imports."""
    before = code_digest("train_specialists.command", ["net.Net"])
    for name in ("net.py", "beside.py"):
        path = project / name
        path.write_text(f'"""What it is."""\n# a comment\n{path.read_text()}')

    assert code_digest("train_specialists.command", ["net.Net"]) == before


def test_the_project_may_lie_anywhere(project, monkeypatch):
    """The digest of a copy is the same."""
    before = code_digest("train_specialists.command", ["net.Net"], ["weights.bin"])
    copied = project.parent / "elsewhere"
    shutil.copytree(project, copied)
    monkeypatch.chdir(copied)

    assert code_digest("train_specialists.command", ["net.Net"], ["weights.bin"]) == before


def test_a_declared_file_that_is_not_there_is_one_line(project):
    """Planning says which."""
    with pytest.raises(SettingsError, match=r"^gone\.bin: a file that settings name: No such file"):
        code_digest("train_specialists.command", ["net.Net"], ["gone.bin"])
