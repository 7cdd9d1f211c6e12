"""Every type of tensor is stored; content addresses and Merkle trees."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from shoal.errors import ModelError
from shoal.model_store import ModelStore
from shoal.model_store.backends import Memory
from shoal.model_store.tensors import DTYPES, Kind, hashes, merkle


def bits(tensor):
    """A tensor's bytes."""
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
@pytest.mark.parametrize("name", [name for name in DTYPES if hasattr(torch, name)])
def test_every_type_comes_back_to_the_bit(name):
    """Random bits of any type, NaN and all, are recovered, also as differences and from a pool."""
    dtype = getattr(torch, name)
    generator = torch.Generator().manual_seed(0)
    size = DTYPES[name].bytes
    top = 2 if name == "bool" else 256
    raw = torch.randint(top, (80, 300 * size), generator=generator, dtype=torch.uint8)
    raw[1:, ::2] = raw[0, ::2]
    models = {f"m{n}": {"w": row.clone().view(dtype)} for n, row in enumerate(raw)}
    store = ModelStore(Memory())

    store.save(models, base="m0")

    found = store.load_many(models, "torch")
    assert all(found[m]["w"].dtype == dtype for m in models)
    assert all(bits(found[m]["w"]) == bits(models[m]["w"]) for m in models)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor(3.5),
        torch.empty(0, 4),
        torch.arange(24.0).reshape(4, 6).T,
        torch.arange(24.0)[::2],
        torch.zeros(3).expand(5, 3),
        torch.tensor([1 + 2j, 3j]).conj(),
        torch.tensor([1 + 2j, 3j]).imag,
        torch.nn.Parameter(torch.ones(2, 3)),
        torch.tensor([float("nan"), float("inf"), -0.0, 1e-45]),
        torch.zeros(1000, 1000),
        torch.tensor([], dtype=torch.bfloat16),
    ],
    ids=range(11),
)
def test_tensors_of_any_layout_come_back(tensor):
    """Scalars, empty, transposed, strided, expanded, conjugated and constant tensors are stored."""
    store = ModelStore(Memory())

    store.save({"m": {"t": tensor}})

    found = store.load("m", "torch")["t"]
    assert (found.dtype, found.shape) == (tensor.dtype, tensor.shape)
    assert bits(found) == bits(tensor.resolve_conj())


def test_arrays_of_another_byte_order_are_the_same_numbers():
    """A big-endian array is stored as the equal little-endian one."""
    store = ModelStore(Memory())

    store.save({"m": {"a": np.arange(5, dtype=">f4"), "b": np.arange(5, dtype="<f4")}})

    assert len(store._current().contents().tensors) == 1
    assert store.load("m")["a"].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.ones(2).to_sparse(), "sparse"),
        (torch.ones(2, device="meta"), "no data"),
        (np.array(["text"]), "of type str"),
        (np.array([object()]), "of type object"),
        ([1.0], "is a list, no tensor"),
    ],
)
def test_what_is_no_plain_tensor_is_refused(value, message):
    """Sparse tensors, text, objects and lists are named and refused; nothing is stored."""
    store = ModelStore(Memory())

    with pytest.raises(ModelError, match=f"'m', tensor 't' .*{message}"):
        store.save({"good": {"t": np.ones(2)}, "m": {"t": value}})

    assert store.ids() == []


def test_numpy_is_not_given_what_it_lacks():
    """A bfloat16 tensor is loaded for torch, and refused for numpy by name."""
    pytest.importorskip("ml_dtypes")  # teaches numpy bfloat16, as an ONNX export does
    store = ModelStore(Memory())
    store.save({"m": {"t": torch.ones(2, dtype=torch.bfloat16)}})

    with pytest.raises(ModelError, match="tensor 't' is of type bfloat16, which numpy lacks"):
        store.load("m")
    assert store.load("m", "torch")["t"].tolist() == [1, 1]


def test_addresses_tell_type_and_shape_apart():
    """The same bytes as another type or shape have another content address."""
    raw = np.zeros((1, 8), np.uint8)
    kinds = [Kind("float32", (2,)), Kind("float32", (2, 1)), Kind("int32", (2,))]

    assert len({hashes(kind, raw)[0] for kind in kinds}) == 3


def test_a_root_covers_names_and_tensors():
    """Another tensor, another name or another layer gives another root; order does not matter."""
    one, two = b"1" * 16, b"2" * 16
    root = merkle({"a.w": one, "b.w": two}).root

    assert merkle({"b.w": two, "a.w": one}).root == root
    others = [{"a.w": two, "b.w": one}, {"a.w": one, "b.v": two}, {"a.w": one, "a.v": two}]
    assert all(merkle(other).root != root for other in others)
