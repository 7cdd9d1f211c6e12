"""Costs of reading and recomputing on this machine, measured once and kept."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import TypedDict

from shoal.explore.intermediates.catalogue import Catalogue, Column
from shoal.explore.intermediates.forms import FORMS, Kind
from shoal.formats.json_file import read_json, update_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_FILE = "costs.json"
_REPEATS = 9
_ROWS, _FEATURES = (32, 1024), 64


class ArchitectureCosts(TypedDict):
    """Costs of an architecture on a machine.

    Attributes:
        load: Seconds to load a model.
        rows: Seconds to read a row that goes into it.
        layers: Seconds for one row to reach each layer.
    """

    load: float
    rows: float
    layers: dict[str, float]


class MachineCosts(TypedDict):
    """Costs on a machine.

    Attributes:
        read: For each form, seconds per block and per byte.
        compute: Costs of each architecture.
    """

    read: dict[str, list[float]]
    compute: dict[str, ArchitectureCosts]


@dataclass
class Costs:
    """Costs of one machine with one number of threads.

    Attributes:
        folder: Folder of kept activations.
        machine: Its name.
        content: The costs.
    """

    folder: Path
    machine: str
    content: MachineCosts = field(default_factory=lambda: MachineCosts(read={}, compute={}))

    @classmethod
    def load(cls, folder: Path, threads: int) -> Costs:
        """Known costs of this machine."""
        machine = f"{platform.node()}, threads: {threads}"
        path = folder / _FILE
        known = read_json(path, dict[str, MachineCosts]).get(machine) if path.exists() else None
        return cls(folder, machine) if known is None else cls(folder, machine, known)

    def save(self) -> None:
        """Keep the costs, beside those of other machines."""
        update_json(self.folder / _FILE, lambda others: others | {self.machine: self.content})

    def measure_reading(self) -> None:
        """Measure the reading of each form, once: files are written, read and removed."""
        if set(self.content["read"]) == set(FORMS):
            return
        prefix = f".{os.getpid()}-"
        with tempfile.TemporaryDirectory(prefix=prefix, dir=self.folder) as scratch:
            self.content["read"] = _reading(Catalogue(Path(scratch)))

    def knows(self, architecture: str) -> bool:
        """Whether the layers of an architecture were measured here."""
        return architecture in self.content["compute"]

    def learn(
        self, architecture: str, load: float, rows: float, layers: Mapping[str, float]
    ) -> None:
        """Keep what was measured of an architecture, see :class:`ArchitectureCosts`."""
        own: ArchitectureCosts = {"load": load, "rows": rows, "layers": dict(layers)}
        self.content["compute"][architecture] = own

    def read(self, form: str, blocks: float, size: float) -> float:
        """Predicted seconds to read blocks of so many bytes together; 0 if nothing was measured."""
        per_block, per_byte = self.content["read"].get(form, (0.0, 0.0))
        return per_block * blocks + per_byte * size

    def recompute(self, architecture: str, layer: str, rows: float) -> float:
        """Predicted seconds to recompute a layer for rows, the model being loaded."""
        known = self.content["compute"][architecture]
        return rows * (known["rows"] + known["layers"][layer])

    def load_seconds(self, architecture: str) -> float:
        """Seconds to load a model."""
        return self.content["compute"][architecture]["load"]


def _reading(catalogue: Catalogue) -> dict[str, list[float]]:
    """Seconds per block and per byte, for each form: the line through two sizes of block."""
    rng = np.random.default_rng(0)
    addresses = {}
    for form in FORMS:
        for rows in _ROWS:
            address = f"{form} {rows}".encode().ljust(16)[-16:]
            values = np.maximum(rng.normal(size=(rows, _FEATURES)), 0).astype(np.float32)
            column = Column("layer", form, Kind((_FEATURES,), "float32"))
            catalogue.add(address, column, values, values.nbytes * 2)
            addresses[form, rows] = address
    catalogue.commit(set(addresses.values()))
    found = {}
    for form in FORMS:
        small, large = (addresses[form, rows] for rows in _ROWS)
        seconds = [least_seconds(partial(catalogue.read, a, "")) for a in (small, large)]
        sizes = [catalogue.entries[address].size for address in (small, large)]
        slope = max(0.0, (seconds[1] - seconds[0]) / (sizes[1] - sizes[0]))
        found[form] = [max(0.0, seconds[0] - slope * sizes[0]), slope]
    return found


class Clock:
    """Time since it was made: of the wall or the processor, whichever is less.

    The wall's has that of other work on the machine in it, the processor's that of all threads.
    """

    def __init__(self) -> None:
        self._start = time.perf_counter(), time.process_time()

    @property
    def seconds(self) -> float:
        """Seconds until now."""
        return min(time.perf_counter() - self._start[0], time.process_time() - self._start[1])


def least_seconds(work: Callable[[], object]) -> float:
    """Seconds of some work: the least of some repetitions, since others may use the machine."""
    found = []
    for _ in range(_REPEATS):
        clock = Clock()
        work()
        found.append(clock.seconds)
    return min(found)
