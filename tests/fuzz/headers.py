"""safetensors: the header's length and JSON, Shoal's record in it, and the tensors."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import load, save

from shoal.archive.export import export
from shoal.archive.kept import Archive
from shoal.cluster.assigner import load_assigner
from shoal.embed.embedder import load_embedder
from shoal.formats.fitted_state import load_state, tensor_hash
from shoal.formats.hashing import canonical_json
from shoal.train_router.router import Router
from tests.fuzz.harness import Case, Target, run_command
from tests.fuzz.material import EXPERIMENT, POOLS, RESULTS, lay_out, predict, sealed
from tests.fuzz.mutate import changed, spoiled, written

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from random import Random

    from numpy.typing import NDArray

_NUMBERS = (np.nan, np.inf, -np.inf, -1, 0, 1, 1e38, -1e38, 2**31 - 1, -(2**31))
_TYPES = ("float64", "float16", "int64", "int32", "uint8", "bool", "int8")
_READERS: dict[str, Callable[[Path], Any]] = {
    "assigner.safetensors": load_assigner,
    "embedder.safetensors": load_embedder,
    "router.safetensors": lambda path: Router.from_state(*load_state(path)),
    "folds.safetensors": load_state,
    "model.safetensors": load_state,
}
"""What a stage reads its state with, by the file's name."""

_ASKED = tuple(f"SELECT * FROM {table}" for table in ("models", "tensors", "choices", "lineage"))


class Headers(Target):
    """State in pools, state that stages read, and models that are imported."""

    share = 0.3

    def __init__(self, material: Path, folder: Path) -> None:
        lay_out(material, folder)
        for number, model in enumerate(("base", "router", "0")):
            export(Archive(folder / EXPERIMENT), model, folder / f"import-{number}.safetensors")
        super().__init__(folder)
        files = [path for path in self.before if path.suffix == ".safetensors"]
        self.imported = [path for path in files if path.parent == folder]
        self.pools = [(pool, [p for p in files if folder / pool in p.parents]) for pool in POOLS]
        self.state = [path for path in files if path.name in _READERS and "pool" not in path.parts]

    def case(self, rng: Random) -> Case:
        """A file of a pool, of a stage or of somebody else."""
        kind = rng.random()
        if kind < 0.6:
            name, files = rng.choice(self.pools)
            path, pool = rng.choice(files), self.folder / name
            content = spoiled_state(rng, self.before[path])
            files_in = {str(path.relative_to(pool)): content}
            return Case(sealed(pool, files_in), partial(predict, pool))
        path = rng.choice(self.state if kind < 0.85 else self.imported)
        content = spoiled_state(rng, self.before[path])
        if kind < 0.8:
            return Case({path: content}, partial(_READERS[path.name], path))
        if kind < 0.85:
            return Case({path: content}, partial(run_command, "query", RESULTS, rng.choice(_ASKED)))
        command = ("models", "import", EXPERIMENT, path.name)
        return Case({path: content}, partial(run_command, *command))


def spoiled_state(rng: Random, content: bytes) -> bytes:
    """A safetensors file with a fault."""
    kind = rng.random()
    length = int.from_bytes(content[:8], "little")
    header, body = content[8 : 8 + length], content[8 + length :]
    if kind < 0.15:
        return spoiled(rng, content)
    if kind < 0.25:
        odd = rng.choice((0, 1, length - 1, length + 1, 2**24, 2**31, 2**63, 2**64 - 1))
        return odd.to_bytes(8, "little") + header + body
    if kind < 0.5:
        header = written(rng, changed(rng, json.loads(header)))
        return len(header).to_bytes(8, "little") + header + body
    record = json.loads(json.loads(header)["__metadata__"]["shoal"])
    tensors = load(content)
    if kind < 0.75:
        text = written(rng, changed(rng, record)).decode(errors="replace")
        return save(tensors, {"shoal": text})
    tensors = _with_fault(rng, tensors)
    if "hashes" in record:
        record["hashes"] = {name: tensor_hash(tensor) for name, tensor in tensors.items()}
        if rng.random() < 0.5:
            record["meta"] = changed(rng, record["meta"])
    return save(tensors, {"shoal": canonical(record)})


def canonical(record: Any) -> str:
    """JSON as Shoal writes it, or with numbers that it refuses to write."""
    try:
        return canonical_json(record)
    except ValueError:
        return json.dumps(record)


def _with_fault(rng: Random, tensors: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Tensors of which one is another."""
    if not tensors:
        return {"a": np.zeros(1, np.float32)}
    name = rng.choice(sorted(tensors))
    tensor, kind = tensors[name], rng.randrange(7)
    if kind == 0:
        return {each: value for each, value in tensors.items() if each != name}
    if kind == 1:
        return tensors | {rng.choice(("a", "", name + ".x")): tensor}
    if kind == 2:
        tensor = tensor.reshape(rng.choice(((-1,), (1, *tensor.shape), (*tensor.shape, 1))))
    elif kind == 3:
        tensor = np.resize(tensor, rng.choice(((0,), (0, 3), (1,), (2, 2), (1000, 3), ())))
    elif kind == 4:
        with np.errstate(all="ignore"):
            tensor = tensor.astype(rng.choice(_TYPES))
    else:
        tensor = tensor.copy().reshape(-1)
        places = [rng.randrange(tensor.size)] if kind == 5 and tensor.size else slice(None)
        with np.errstate(all="ignore"):
            tensor[places] = np.array(rng.choice(_NUMBERS)).astype(tensor.dtype)
        tensor = tensor.reshape(tensors[name].shape)
    return tensors | {name: np.ascontiguousarray(tensor)}
