"""Fitted state in safetensors files."""

from pathlib import Path

import numpy as np
import pytest

from shoal.errors import CorruptError
from shoal.formats.documents.weights import AtPoint, BaseFacts
from shoal.formats.fitted_state import load_state, opened_state, save_state


def test_state_comes_back_as_it_was(tmp_path: Path):
    """Tensors keep type, shape and bits, and the JSON its values."""
    tensors = {
        "a": np.arange(6, dtype=np.int32).reshape(2, 3),
        "b": np.array([np.pi]),
        "c": np.arange(6.0).reshape(2, 3).T,
        "d": np.array(7),
    }

    save_state(tmp_path / "s.safetensors", tensors, {"k": [1, None]})
    loaded, meta = load_state(tmp_path / "s.safetensors")

    assert meta == {"k": [1, None]}
    facts = {name: (each.dtype, each.shape) for name, each in tensors.items()}
    assert {name: (each.dtype, each.shape) for name, each in loaded.items()} == facts
    assert all((loaded[name] == tensors[name]).all() for name in tensors)


def test_a_changed_tensor_does_not_match_its_hash(tmp_path: Path):
    """A flipped bit in a tensor's bytes is found and the tensor named."""
    path = tmp_path / "s.safetensors"
    save_state(path, {"a": np.zeros(4)}, {})
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))

    with pytest.raises(CorruptError, match=r"s\.safetensors: tensor 'a' does not match its hash"):
        load_state(path)


def test_of_an_opened_file_only_what_is_asked_for_is_read(tmp_path: Path):
    """A tensor that is damaged is found when it is read itself, and the facts are read alone."""
    path = tmp_path / "s.safetensors"
    save_state(path, {"a": np.arange(4), "b": np.zeros(4)}, {"point": {}})
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))

    with opened_state(path, AtPoint) as state:
        assert state.meta == {"point": {}}
        assert set(state.hashes) == {"a", "b"}
        assert state.tensor("a").tolist() == [0, 1, 2, 3]
        with pytest.raises(CorruptError, match=r"s\.safetensors: tensor 'b' does not match"):
            state.tensor("b")


def test_a_foreign_file_is_refused(tmp_path: Path):
    """What is not safetensors is named as such."""
    path = tmp_path / "s.safetensors"
    path.write_bytes(b"not one")

    with pytest.raises(CorruptError, match="not readable as safetensors"):
        load_state(path)


def test_meta_of_another_kind_is_refused(tmp_path: Path):
    """What a stage relies on is checked where the file is read; the line names file and key."""
    path = tmp_path / "s.safetensors"
    save_state(path, {}, {"budget": {"rows_seen": [0], "base_share": 0.5, "training_rows": 4}})

    with pytest.raises(CorruptError, match=r"s\.safetensors: budget\.rows_seen: Input should be"):
        load_state(path, BaseFacts)
    with pytest.raises(CorruptError, match=r"s\.safetensors: point: key is missing"):
        load_state(path, AtPoint)
