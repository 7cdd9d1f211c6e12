"""Manifests, and fitted classes by name, which are zip files of a schema and of arrays."""

from __future__ import annotations

import io
import json
import zipfile
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import save

from shoal.encode import skops_file
from shoal.formats.fitted_state import parse_state, tensor_hash
from shoal.formats.hashing import canonical_json
from shoal.settings.targets import import_target
from tests.fuzz.harness import Case, Target
from tests.fuzz.material import POOLS, lay_out, predict, sealed
from tests.fuzz.mutate import changed, spoiled, spoiled_json, written

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

_ENCODER = "encoder.safetensors"
_CLASS = "sklearn.preprocessing.StandardScaler"


class Manifests(Target):
    """The manifest, or a sealed encoder in which a class by name takes the place of the first."""

    share = 0.2

    def __init__(self, material: Path, folder: Path) -> None:
        lay_out(material, folder)
        super().__init__(folder)
        scaler = import_target(_CLASS, "encoder")().fit([[0.0], [1.0]])
        self.fitted = skops_file.dumps(scaler, "")

    def case(self, rng: Random) -> Case:
        """One of them."""
        pool = self.folder / rng.choice(POOLS)
        if rng.random() < 0.4:
            path = pool / "manifest.json"
            return Case({path: spoiled_json(rng, self.before[path])}, partial(predict, pool))
        content = _with_class(self.before[pool / _ENCODER], _spoiled_class(rng, self.fitted))
        return Case(sealed(pool, {_ENCODER: content}), partial(predict, pool))


def _with_class(content: bytes, raw: bytes) -> bytes:
    """An encoder's file whose first column has a fitted class by name, of these bytes."""
    tensors, meta = parse_state(content, _ENCODER)
    first = meta["encoders"][0]
    gaps = {"fill": 0.0, "marked": False} if first["kind"] == "numeric" else {}
    first |= {"spec": {"_target_": _CLASS}, "fitted": {**gaps, "width": 1}}
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith("0.")}
    kept["0.estimator"] = np.frombuffer(raw, np.uint8)
    hashes = {name: tensor_hash(tensor) for name, tensor in kept.items()}
    return save(kept, {"shoal": canonical_json({"meta": meta, "hashes": hashes})})


def _spoiled_class(rng: Random, content: bytes) -> bytes:
    """The same bytes with a fault in them, in a member or in the schema."""
    if rng.random() < 0.2:
        return spoiled(rng, content)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    kind = rng.random()
    if kind < 0.7:
        schema = json.loads(members["schema.json"])
        members["schema.json"] = written(rng, changed(rng, schema))
    elif kind < 0.9:
        name = rng.choice(sorted(members))
        members[name] = spoiled(rng, members[name])
    elif kind < 0.95:
        del members[rng.choice(sorted(members))]
    else:
        name = rng.choice(sorted(members))
        members[rng.choice(("../x", "a" * 300, "schema.json/x", ""))] = members[name]
    made = io.BytesIO()
    compression = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(made, "w", compression) as archive:
        for name, member in members.items():
            archive.writestr(zipfile.ZipInfo(name), member, compression)
    return made.getvalue()
