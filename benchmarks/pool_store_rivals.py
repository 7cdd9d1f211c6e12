"""Ways to keep a pool of models, each a function that saves and one that recovers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from shoal.model_store import ModelStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Model = dict[str, torch.Tensor]
Pool = dict[str, Model]


@dataclass(frozen=True)
class Way:
    """A way to keep a pool: what it is called, how it saves to a folder and recovers from it."""

    name: str
    save: Callable[[Path, Pool], None]
    load: Callable[[Path, Pool], Pool]


def flat(pool: Pool) -> bytes:
    """All bytes of a pool, model after model."""
    return b"".join(
        tensor.numpy().tobytes() for model in pool.values() for tensor in model.values()
    )


def unflat(content: Any, like: Pool) -> Pool:  # noqa: ANN401 - any buffer
    """The pool whose bytes these are; names and shapes from another."""
    data = torch.frombuffer(bytearray(content), dtype=torch.float32)
    at = 0
    pool: Pool = {}
    for name, model in like.items():
        pool[name] = {}
        for key, tensor in model.items():
            pool[name][key] = data[at : at + tensor.numel()].reshape(tensor.shape)
            at += tensor.numel()
    return pool


def _each_save(folder: Path, pool: Pool) -> None:
    for name, model in pool.items():
        torch.save(model, folder / f"{name}.pt")


def _each_load(folder: Path, pool: Pool) -> Pool:
    return {name: torch.load(folder / f"{name}.pt", weights_only=True) for name in pool}


def _safetensors_save(folder: Path, pool: Pool) -> None:
    from safetensors.torch import save_file

    joined = {f"{name}/{key}": t for name, model in pool.items() for key, t in model.items()}
    save_file(joined, folder / "pool.safetensors")


def _safetensors_load(folder: Path, pool: Pool) -> Pool:
    from safetensors.torch import load_file

    joined = load_file(folder / "pool.safetensors")
    return {n: {key: joined[f"{n}/{key}"] for key in model} for n, model in pool.items()}


def _of_bytes(name: str, pack: Callable[[bytes], Any], unpack: Callable[[bytes], Any]) -> Way:
    """A way that compresses the whole pool as one run of bytes."""

    def save(folder: Path, pool: Pool) -> None:
        (folder / "pool").write_bytes(pack(flat(pool)))

    def load(folder: Path, pool: Pool) -> Pool:
        return unflat(unpack((folder / "pool").read_bytes()), pool)

    return Way(name, save, load)


def _zstd() -> Way:
    from numcodecs import zstd

    return _of_bytes("plain zstd", lambda raw: zstd.compress(raw, 3), zstd.decompress)


def _zipnn() -> Way:
    import zipnn

    codec = zipnn.ZipNN(input_format="byte", bytearray_dtype="float32")
    # It reorders the bits of its input in place.
    return _of_bytes("ZipNN", lambda raw: codec.compress(bytearray(raw)), codec.decompress)


def _z4ai(reference: bytes | None) -> Way:
    import z4ai

    if reference is None:
        return _of_bytes("z4ai", lambda raw: z4ai.compress(raw, dtype="fp32"), z4ai.decompress)
    return _of_bytes(
        "z4ai, delta",
        lambda raw: z4ai.compress_delta(raw, reference, dtype="fp32"),
        lambda stored: z4ai.decompress_delta(stored, reference),
    )


def _store(base: Model | None) -> Way:
    def save(folder: Path, pool: Pool) -> None:
        store = ModelStore(folder)
        if base is None:
            store.save(pool)
        else:
            store.save({"base": base, **pool}, base="base")

    def load(folder: Path, pool: Pool) -> Pool:
        return ModelStore(folder).load_many(pool, "torch")

    return Way("Shoal", save, load)


def ways(pool: Pool, base: Model | None) -> list[Way]:
    """Every way that can be tried here; rivals that are not installed are named and left out."""
    found = [
        Way("torch.save a model each", _each_save, _each_load),
        Way("one safetensors file", _safetensors_save, _safetensors_load),
        _zstd(),
    ]
    for name, make in (("zipnn", _zipnn), ("z4ai", lambda: _z4ai(None))):
        try:
            found.append(make())
        except ImportError:
            print(f"{name} is not installed: left out")
    if base is not None and found[-1].name == "z4ai":
        found.append(_z4ai(flat({"base": base}) * len(pool)))
    return [*found, _store(base)]


def equal(one: Pool, other: Pool) -> bool:
    """Whether two pools have the same bits."""
    return all(
        np.array_equal(one[name][key].numpy().view(np.uint32), tensor.numpy().view(np.uint32))
        for name, model in other.items()
        for key, tensor in model.items()
    )
