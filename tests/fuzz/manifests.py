"""Manifests, and the files of encoders, which are zip files of a schema and of arrays."""

from __future__ import annotations

import io
import json
import zipfile
from functools import partial
from typing import TYPE_CHECKING

from tests.fuzz.harness import Case, Target
from tests.fuzz.material import POOLS, lay_out, predict, sealed
from tests.fuzz.mutate import changed, spoiled, spoiled_json, written

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

_ENCODER = "encoder.skops"


class Manifests(Target):
    """The manifest, or a sealed encoder."""

    share = 0.2

    def __init__(self, material: Path, folder: Path) -> None:
        lay_out(material, folder)
        super().__init__(folder)

    def case(self, rng: Random) -> Case:
        """One of them."""
        pool = self.folder / rng.choice(POOLS)
        if rng.random() < 0.4:
            path = pool / "manifest.json"
            return Case({path: spoiled_json(rng, self.before[path])}, partial(predict, pool))
        content = spoiled_encoder(rng, self.before[pool / _ENCODER])
        return Case(sealed(pool, {_ENCODER: content}), partial(predict, pool))


def spoiled_encoder(rng: Random, content: bytes) -> bytes:
    """The same file with a fault in its bytes, its members or its schema."""
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
