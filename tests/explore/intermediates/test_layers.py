"""What is found out about a model's layers, and what they give."""

import numpy as np
import pytest
import torch
from torch import nn

from shoal.errors import ModelError
from shoal.explore.intermediates.forms import Kind, Layer, wanted_layer
from shoal.explore.intermediates.layers import activations, seconds_a_row, survey


class Net(nn.Module):
    """Layers of many kinds, one after another."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.enter = nn.Linear(6, 8)
        self.relu = nn.ReLU(inplace=True)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.LayerNorm(8)
        self.lstm = nn.LSTM(8, 8, batch_first=True)
        self.turned = nn.Identity()
        self.codes = nn.Identity()
        self.twice = nn.Tanh()
        self.unused = nn.Linear(8, 8)
        self.leave = nn.Linear(8, 3)
        self.tied = nn.Parameter(torch.randn(8, 8))

    def forward(self, x):
        """Logits of rows."""
        hidden = self.relu(self.enter(x)).unsqueeze(1).repeat(1, 4, 1)
        hidden = self.norm(self.attention(hidden, hidden, hidden)[0])
        hidden, _ = self.lstm(hidden)
        self.turned(hidden.transpose(0, 1))
        self.codes(hidden.argmax(dim=2))
        hidden = self.twice(self.twice(hidden.mean(dim=1)))
        return self.leave(nn.functional.linear(hidden, self.tied.t()))


@pytest.fixture
def rows():
    """300 rows of 6 features."""
    return np.random.default_rng(0).normal(size=(300, 6)).astype(np.float32)


def test_a_layer_depends_on_the_tensors_that_were_read_before_it_ended(rows):
    """Weights count however they are used: by a module, by a function, as a view."""
    layers = survey(Net(), rows)

    enter = {"enter.weight", "enter.bias"}
    assert layers["relu"].tensors == layers["enter"].tensors == enter
    own = {f"attention.{n}" for n in ("in_proj_weight", "in_proj_bias")}
    out = {f"attention.out_proj.{n}" for n in ("weight", "bias")}
    assert layers["norm"].tensors == enter | own | out | {"norm.weight", "norm.bias"}
    assert "tied" in layers["leave"].tensors
    assert not layers["leave"].tensors & {"unused.weight", "unused.bias"}


def test_a_survey_says_what_a_layer_gives_and_costs(rows):
    """Shape without rows, FLOPs of a row so far, and a time that grows along the way."""
    net = Net()
    layers = survey(net, rows)

    assert layers["enter"].kind == Kind((8,), "float32")
    assert layers["norm"].kind == Kind((4, 8), "float32")
    assert layers["enter"].flops == 2 * 6 * 8
    seconds = seconds_a_row(net, rows)
    assert 0 < seconds["enter"] < seconds["leave"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("lstm", "gives a tuple, no tensor"),
        ("turned", r"gives shape \(4, 256, 8\) for 256 rows: rows must come first"),
        ("codes", "gives torch.int64"),
        ("twice", "is called 2 times"),
        ("unused", "is not called"),
        ("enterr", "no layer 'enterr'; did you mean 'enter'"),
    ],
)
def test_what_cannot_be_kept_is_refused_in_one_line(rows, name, reason):
    """The message names model, layer and reason."""
    with pytest.raises(ModelError, match=rf"^model base: (layer '{name}' )?{reason}") as caught:
        wanted_layer(survey(Net(), rows), name, "base")

    assert "\n" not in str(caught.value)


def test_a_layer_is_known_again_from_json(rows):
    """What is kept of a layer is all that is known of it."""
    layer = survey(Net(), rows)["norm"]
    layer.sizes["full"] = 3.5

    assert Layer.from_json(layer.as_json()) == layer


def test_values_are_those_when_the_layer_ended(rows):
    """What follows may change a tensor in place; the layer's values stay as they were."""
    net = Net()
    given = activations(net, rows, ["enter", "relu"]).values

    weight, bias = net.enter.weight.detach().numpy(), net.enter.bias.detach().numpy()
    np.testing.assert_allclose(given["enter"], rows @ weight.T + bias, atol=1e-5)
    assert given["enter"].min() < 0
    assert np.array_equal(given["relu"], np.maximum(given["enter"], 0))


def test_a_row_has_the_same_bits_in_any_batch(rows):
    """Values depend neither on the rows beside one nor on the layers that are asked for."""
    alone = activations(Net(), rows[17:18], ["leave"]).values["leave"]
    among = activations(Net(), rows, ["leave", "norm", "enter"]).values["leave"]

    assert alone.tobytes() == among[17:18].tobytes()


def test_nothing_runs_after_the_last_wanted_layer(rows):
    """A forward pass ends where the last value is there."""
    net = Net()
    ran = []
    net.lstm.register_forward_pre_hook(lambda *_: ran.append(1))

    activations(net, rows, ["norm"])
    assert not ran
    activations(net, rows, ["leave"])
    assert ran


def test_a_model_is_left_without_hooks(rows):
    """Neither a survey nor a pass changes the model."""
    net = Net()
    survey(net, rows)
    activations(net, rows, ["enter"])

    assert not any(module._forward_hooks for module in net.modules())


class Routed(nn.Module):
    """A model whose way, and so the weights that it reads, depends on the rows."""

    def __init__(self):
        super().__init__()
        self.ways = nn.ModuleList([nn.Linear(6, 6), nn.Linear(6, 6)])
        self.leave = nn.Linear(6, 2)

    def forward(self, x):
        """Logits of rows."""
        return self.leave(self.ways[int(x.abs().max() > 100)](x))


def test_tensors_that_only_some_rows_need_are_noticed(rows):
    """Where rows take another way than those of the survey, watching tells."""
    net = Routed()
    expected = survey(net, rows)["leave"].tensors

    assert activations(net, rows, ["leave"], watched=True).tensors["leave"] == expected
    far = activations(net, 1000 * rows, ["leave"], watched=True).tensors["leave"]
    assert far - expected == {"ways.1.weight", "ways.1.bias"}


def test_half_precision_comes_as_single():
    """Values of bfloat16, which numpy lacks, are given as float32, without loss."""
    net = nn.Sequential(nn.Linear(4, 4).to(torch.bfloat16), nn.Identity())

    class Cast(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = net

        def forward(self, x):
            return self.inner(x.to(torch.bfloat16)).float()

    x = np.ones((3, 4), np.float32)
    assert survey(Cast(), x)["inner.0"].kind == Kind((4,), "float32")
    assert activations(Cast(), x, ["inner.0"]).values["inner.0"].dtype == np.float32
