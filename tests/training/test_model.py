"""The user's model: built, checked, asked."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from shoal.errors import ModelError
from shoal.formats.documents.choice import Margin
from shoal.formats.fitted_state import load_state, save_state
from shoal.formats.json_file import parse_json
from shoal.formats.shapes import Shapes
from shoal.search.points import model_at
from shoal.settings.learning import Model
from shoal.training.model import (
    build_model,
    keep_statistics,
    load_weights,
    margin,
    mean_losses,
    predict,
    row_losses,
    trained_model,
    weights,
)

SHAPES = Shapes(
    x_shape=[4],
    outputs=3,
    task="classification",
    classes=["a", "b", "c"],
    training_rows=10,
    feature_names=["f0", "f1", "f2", "f3"],
    trusted=[],
)


def model(target: str = "shoal.models.MLP", **arguments: object) -> Model:
    given = arguments or {
        "features": "data:features",
        "outputs": "data:outputs",
        "width": 5,
        "depth": 1,
    }
    return Model.model_validate({"_target_": target, **given})


def test_facts_of_the_data_reach_the_model():
    """data:features and data:outputs become the encoded row's width and the number of classes."""
    net = build_model(model(), SHAPES, seed=0)

    assert net(torch.zeros(2, 4)).shape == (2, 3)


def test_initial_weights_are_seeded():
    """The same seed gives the same weights."""
    first, second, other = (weights(build_model(model(), SHAPES, seed)) for seed in (0, 0, 1))

    assert all((first[name] == second[name]).all() for name in first)
    assert any((first[name] != other[name]).any() for name in first)


def test_a_rows_prediction_does_not_depend_on_its_batch():
    """Any cut of rows into batches gives the same bits, in any order."""
    net = build_model(model(), SHAPES, seed=0)
    x = np.random.default_rng(0).normal(size=(700, 4)).astype(np.float32)

    whole = predict(net, x, "classification")
    pieces = [predict(net, x[a:b], "classification") for a, b in [(0, 1), (1, 300), (300, 700)]]
    backwards = predict(net, x[::-1], "classification")[::-1]

    assert (np.concatenate(pieces) == whole).all()
    assert (backwards == whole).all()


def test_mean_losses_depend_on_neither_order_nor_cut():
    """Each candidate's mean has the same bits, and is that of its rows' losses."""
    nets = {str(seed): build_model(model(), SHAPES, seed) for seed in (0, 1)}
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5000, 4)).astype(np.float32), rng.integers(-1, 3, 5000)
    order = rng.permutation(5000)

    whole = mean_losses(nets, [(x, y)], "classification")
    cuts = [(x[order][a:b], y[order][a:b]) for a, b in [(0, 0), (0, 7), (7, 7), (7, 5000)]]

    assert mean_losses(nets, cuts, "classification") == whole
    assert mean_losses(nets, cuts[:1], "classification") == {}
    for name, net in nets.items():
        losses = row_losses(predict(net, x, "classification"), y, "classification")
        assert whole[name] == pytest.approx(losses.mean(), rel=1e-13)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (model("shoal.models.MPL"), "shoal.models.*MPL.*MLP"),
        (model("no_such_module.Net"), "no_such_module"),
        (model(features=4, outputs=3, width=5), "missing a required argument: 'depth'"),
        (model(features=4, outputs=7, width=5, depth=1), r"shape \(2, 7\).*3 classes"),
        (model(features=9, outputs=3, width=5, depth=1), r"forward raises .* shape \(B, 4\)"),
        (model("collections.Counter"), "a model is a class derived from torch.nn.Module"),
        (model("torch.hub.load"), "is a function, and a model is a class derived from"),
    ],
)
def test_a_model_that_does_not_fit_is_one_line(settings: Model, message: str):
    """Import, arguments, input and output are checked before any training."""
    with pytest.raises(ModelError, match=message) as caught:
        build_model(settings, SHAPES, seed=0)

    assert "\n" not in str(caught.value)


class WithState(torch.nn.Identity):
    """Keeps what is no tensor."""

    def get_extra_state(self):
        """A mapping."""
        return {"step": 1}


class Odd(torch.nn.Module):
    """A model with one thing of each kind that has gone wrong."""

    def __init__(self, outputs: int, wrong: str = "") -> None:
        super().__init__()
        self.leave = torch.nn.LazyLinear(outputs)
        self.wrong = wrong
        if wrong == "constructor":
            self.register_buffer("leave", torch.ones(1))
        if wrong in ("bfloat16", "complex128", "complex64", "float16"):
            self.register_buffer("held", torch.ones(1, dtype=getattr(torch, wrong)))
        if wrong == "sparse":
            self.register_buffer("held", torch.eye(2).to_sparse())
        if wrong == "own state":
            self.own = WithState()
        if wrong == "not kept":
            self.register_buffer("held", torch.ones(1, dtype=torch.bfloat16), persistent=False)

    def forward(self, x):
        """Logits."""
        if self.wrong == "forward":
            raise KeyError("image")
        output = self.leave(x.flatten(1))
        return {"logits": output} if self.wrong == "output" else output


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            "constructor",
            r"Odd: __init__ raises KeyError: .*'leave' already exists.* at .*\.py:\d+$",
        ),
        (
            "forward",
            r"Odd: forward raises KeyError: 'image' at .*; x is float32 of shape \(B, 4\)$",
        ),
        ("output", "Odd: gives a dict, not a tensor"),
        ("bfloat16", "tensor 'held' of its state is of type bfloat16, which cannot be kept"),
        ("complex128", "tensor 'held' of its state is of type complex128, which cannot be kept"),
        ("sparse", "tensor 'held' of its state is sparse or quantized, which cannot be kept"),
        ("own state", "tensor 'own._extra_state' of its state is a dict, which cannot be kept"),
    ],
)
def test_what_would_fail_later_is_refused_when_the_model_is_built(wrong: str, message: str):
    """Constructor, forward pass and state are tried before anything trains; all is one line."""
    odd = model("tests.training.test_model.Odd", outputs=3, wrong=wrong)

    with pytest.raises(ModelError, match=message) as caught:
        build_model(odd, SHAPES, seed=0)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("fine", ["", "complex64", "float16", "not kept"])
def test_state_that_can_be_kept_is_kept(fine: str, tmp_path):
    """Types that safetensors and numpy both have come back; what is not persistent may be any."""
    net = build_model(model("tests.training.test_model.Odd", outputs=3, wrong=fine), SHAPES, 0)
    save_state(tmp_path / "a.safetensors", weights(net), {})

    found = load_state(tmp_path / "a.safetensors")[0]

    assert {name: found[name].dtype for name in found} == {
        name: array.dtype for name, array in weights(net).items()
    }


@pytest.mark.parametrize(
    ("x_shape", "message"),
    [
        (
            [8, 8],
            r"x is float32 of shape \(B, 8, 8\), without channels: x\.unsqueeze\(1\) adds them",
        ),
        ([8, 8, 3], r"\(B, 8, 8, 3\), channels last: x\.permute\(0, 3, 1, 2\) has them first"),
        ([8], r"x is float32 of shape \(B, 8\)$"),
    ],
)
def test_a_convolution_that_images_do_not_fit_is_told_how_to_bring_them_there(x_shape, message):
    """Images arrive as their file has them."""
    shapes = dataclasses.replace(SHAPES, x_shape=x_shape)
    convolution = model("torch.nn.Conv2d", in_channels=5, out_channels=1, kernel_size=1)

    with pytest.raises(ModelError, match=message):
        build_model(convolution, shapes, seed=0)


def test_a_module_of_lightnings_other_package_is_refused(monkeypatch):
    """Its own steps would be ignored, as those of a plain module."""
    other = type("LightningModule", (torch.nn.Module,), {"__module__": "lightning.pytorch.core"})
    monkeypatch.setitem(globals(), "Other", type("Other", (other,), {"__module__": __name__}))

    with pytest.raises(ModelError, match=r"derive it from pytorch_lightning\.LightningModule"):
        build_model(model(f"{__name__}.Other"), SHAPES, seed=0)


def test_a_grid_points_argument_holds_when_the_model_is_used():
    """An argument that changes the forward pass is the same in use as it was in training."""
    shapes = dataclasses.replace(SHAPES, x_shape=[3])
    leaky = model("torch.nn.LeakyReLU", negative_slope=0.1)
    x = np.full((1, 3), -1.0, dtype=np.float32)

    plain = trained_model(leaky, shapes, {})
    steep = trained_model(model_at(leaky, {"lr": 0.5, "model.negative_slope": 2.0}), shapes, {})

    assert predict(plain, x, "regression")[0, 0] == pytest.approx(-0.1)
    assert predict(steep, x, "regression")[0, 0] == -2.0


def test_weights_of_another_shape_are_refused():
    """A grid point may not change the shape of parameters."""
    wide = build_model(model(features=4, outputs=3, width=6, depth=1), SHAPES, seed=0)

    with pytest.raises(ModelError, match="a grid may not change the shape of parameters"):
        load_weights(wide, weights(build_model(model(), SHAPES, seed=0)))


def test_row_losses_follow_their_formulas():
    """Negative log probability of the class, squared error of the number, a floor for unseen."""
    probabilities = np.array([[0.25, 0.75], [0.25, 0.75]], dtype=np.float32)
    numbers = np.array([[1.0], [3.0]], dtype=np.float32)

    classes = row_losses(probabilities, np.array([0, -1]), "classification")
    squares = row_losses(numbers, np.array([1.5, 1.0]), "regression")

    assert classes == pytest.approx([-np.log(0.25), -np.log(1e-7)])
    assert squares == pytest.approx([0.25, 4.0])


def test_the_margin_is_the_mean_by_which_the_next_best_point_loses():
    """With the standard error of that mean over rows, each compared with itself."""
    losses = {
        "best": np.array([0.1, 0.2, 0.3]),
        "worst": np.array([2.0, 2.0, 2.0]),
        "next": np.array([0.2, 0.2, 0.5]),
    }

    found = margin(losses, "best")

    assert found is not None
    assert (found["point"], found["value"]) == ("next", pytest.approx(0.1))
    assert found["error"] == pytest.approx(0.1 / np.sqrt(3))


def test_there_is_no_margin_without_another_point_and_no_error_of_one_row():
    """A single grid point has nothing to beat; from one row nothing is known of the spread."""
    assert margin({"only": np.array([0.1])}, "only") is None
    assert margin({}, "only") is None
    one_row = margin({"a": np.array([0.1]), "b": np.array([0.3])}, "a")
    assert one_row is not None
    assert one_row["error"] is None
    assert parse_json(json.dumps(one_row), "choice", Margin) == one_row


def test_the_margins_error_is_that_of_units():
    """Twenty equal rows of each of ten groups tell as much as ten rows."""
    ahead = np.random.default_rng(0).normal(size=10)
    losses = {"a": np.zeros(200), "b": np.repeat(ahead + 1, 20)}

    found = margin(losses, "a", np.repeat(np.arange(10), 20).astype(np.uint64))

    assert found == {
        "point": "b",
        "value": pytest.approx(ahead.mean() + 1),
        "error": pytest.approx(ahead.std(ddof=1) / 10**0.5),
        "units": 10,
    }


def test_statistics_that_are_kept_stay_through_training_and_answer_it():
    """A frozen batch normalisation neither follows its batches nor goes by their own statistics."""
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    before = net[1].running_mean.clone()

    keep_statistics(net)
    net.train()
    batch = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    out = net(batch)

    assert net.training
    assert not net[1].training
    assert torch.equal(net[1].running_mean, before)
    assert torch.equal(out, net.eval()(batch))
