"""The user's model before the first job."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from shoal.errors import ModelError, SettingsError
from shoal.formats.shapes import Shapes
from shoal.settings.learning import Model
from shoal.train_specialists.check import check_model

SHAPES = Shapes([4], 2, "classification", ["a", "b"], 10, ["f0", "f1", "f2", "f3"], [])


class Picky(torch.nn.Module):
    """Refuses to be built of what is not known yet."""

    def __init__(self, features: int, outputs: int, width: int = 3, slope: float = 0.1) -> None:
        super().__init__()
        if features != 4:
            raise ValueError(f"{features} features")
        self.enter = torch.nn.Linear(features, width)
        self.leave = torch.nn.Linear(width, outputs)
        self.slope = slope

    def forward(self, x):
        """Logits."""
        return self.leave(torch.nn.functional.leaky_relu(self.enter(x), self.slope))


def model(target: str = "shoal.models.MLP", **changes: object) -> Model:
    own = {"width": 5, "depth": 1} if target == "shoal.models.MLP" else {}
    own |= {"width": 3, "slope": 0.1} if target.endswith("Picky") else {}
    arguments = {"features": "data:features", "outputs": "data:outputs", **own, **changes}
    return Model.model_validate({"_target_": target, **arguments})


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (
            {"model.width": [5, 7]},
            r"grid\.model\.width: 7 changes the shape of layers\.1\.weight from "
            r"\(5, 64\) to \(7, 64\); .* a grid may not change the shape of parameters",
        ),
        ({"model.depth": [2]}, r"grid\.model\.depth: 2 changes the shape of layers\.3\.weight"),
        ({"model.depth": [0]}, r"grid\.model\.depth: 0 changes the shape of layers\.1\.weight"),
    ],
)
def test_a_grid_that_changes_shapes_is_refused_before_shapes_are_known(grid, message):
    """The model is built without memory at each value, of made-up numbers of features."""
    with pytest.raises(SettingsError, match=message) as caught:
        check_model(model(), grid, seed=0, known=[])

    assert "\n" not in str(caught.value)


def test_a_grid_that_changes_no_shape_passes():
    """Other arguments of the model and settings of the training may vary."""
    picky = model("tests.train_specialists.test_check.Picky")

    check_model(picky, {"model.slope": [0.1, 0.5], "lr": [1, 2]}, seed=0, known=[SHAPES])


def test_a_model_that_needs_true_numbers_is_left_to_them():
    """A constructor that made-up numbers cannot please is no mistake yet."""
    picky = model("tests.train_specialists.test_check.Picky")
    wide = dataclasses.replace(SHAPES, x_shape=[6])

    check_model(picky, {"model.width": [3, 7]}, seed=0, known=[])
    with pytest.raises(SettingsError, match=r"7 changes the shape of enter\.weight"):
        check_model(picky, {"model.width": [3, 7]}, seed=0, known=[SHAPES])
    with pytest.raises(ModelError, match=r"__init__ raises ValueError: 6 features at .*\.py:\d+"):
        check_model(picky, {}, seed=0, known=[SHAPES, wide])


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (model(widht=3), ModelError, "has no argument 'widht'; did you mean 'width'"),
        (model(features="data:featuers"), SettingsError, "did you mean 'features'"),
        (model("torch.nn.functional.relu"), ModelError, "torch.nn.Module"),
        (model("torch.nn.Liner"), ModelError, "'Liner'; did you mean 'Linear'"),
    ],
)
def test_what_cannot_be_built_is_refused_before_shapes_are_known(settings, error, message):
    """Class, arguments and facts of the data are looked at without them."""
    with pytest.raises(error, match=message):
        check_model(settings, {}, seed=0, known=[])


class Reads(torch.nn.Module):
    """Reads a file when it is built."""

    def __init__(self, file: str, features: int, outputs: int) -> None:
        super().__init__()
        self.scale = float(Path(file).read_text())
        self.leave = torch.nn.Linear(features, outputs)

    def forward(self, x):
        """Logits."""
        return self.leave(x) * self.scale


@pytest.mark.parametrize("known", [[], [SHAPES]])
@pytest.mark.parametrize("name", ["scale.txt", "data/scale.txt"])
def test_a_file_that_the_model_reads_and_does_not_declare_is_one_line(
    tmp_path, monkeypatch, name, known
):
    """It says what to declare; declared, the model passes."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("0.5")
    target = f"{__name__}.Reads"
    line = rf"reads {name}, and nothing .* declare it: model\.files=\[{name}\]$"

    with pytest.raises(ModelError, match=line):
        check_model(model(target, file=name), {}, seed=0, known=known)
    check_model(model(target, file=name, files=[name]), {}, seed=0, known=known)


def test_files_that_are_written_hidden_or_elsewhere_need_not_be_declared(tmp_path, monkeypatch):
    """A log, a cache, and what lies outside of the project."""
    project = tmp_path / "project"
    (project / ".cache").mkdir(parents=True)
    monkeypatch.chdir(project)
    for path in (tmp_path / "scale.txt", project / ".cache" / "scale.txt"):
        path.write_text("0.5")
        check_model(model(f"{__name__}.Reads", file=str(path)), {}, seed=0, known=[SHAPES])
