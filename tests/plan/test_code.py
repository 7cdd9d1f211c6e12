"""Digests of the code behind a stage."""

from pathlib import Path

import shoal.models
from shoal.plan.code import _closure, code_digest, users_part


def imported(module: str) -> set[str]:
    return {path.stem if path.stem != "__init__" else path.parent.name for path in _closure(module)}


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
    assert "report" not in imported("shoal.train_specialists.command")


def test_the_users_model_file_is_part_of_the_digest(tmp_path: Path):
    """An edited model file is another digest."""
    file = tmp_path / "net.py"
    file.write_text("a = 1")
    before = code_digest("train_specialists.command", file)
    file.write_text("a = 2")
    after = code_digest("train_specialists.command", file)

    assert users_part(after) != users_part(before) != ""
    assert after.partition("-")[0] == before.partition("-")[0]


def test_a_model_that_ships_with_shoal_is_no_file_of_the_users():
    """An upgrade of Shoal is not a change of the user's model."""
    file = Path(shoal.models.__file__)

    assert users_part(code_digest("train_specialists.command", file)) == ""
    assert code_digest("hashing", file) != code_digest("hashing")
