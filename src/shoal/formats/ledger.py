"""The account of a job: rows seen, FLOPs, seconds, peak memory, device."""

from __future__ import annotations

import os
import platform
import resource
import sys
import time
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from shoal.formats.json_file import write_json
from shoal.formats.provenance import made_from

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shoal.formats.documents.ledger import Device, Flops, LedgerRecord

BEFORE = "before"
"""Part of the FLOPs in a ledger that the making of the model took which its own continues from."""


@dataclass
class Ledger:
    """Running account of one job; start it when the work starts, write it when it ends.

    Attributes:
        job: The rule's name.
        rows_seen: Rows through a model in training, repeats counted.
        rows_read: Rows read from stores.
        flops: Floating-point operations, counted or by a published formula.
        unspent: FLOPs that trainings which stopped early have left of what they might have spent.
        detail: Parts of ``flops`` or ``seconds`` by name, when a job has several.
        facts: Of clusters FLOPs of ``placing`` a row, embedding included, and how many
            ``partitions`` there are, from which later jobs know their budget.
        learning_curves: For each of the job's trainings points of its loss: step, seconds, mean
            loss since the point before; see :class:`shoal.training.curve.LearningCurve`.
    """

    job: str
    rows_seen: int = 0
    rows_read: int = 0
    flops: float = 0.0
    unspent: float = 0.0
    detail: dict[str, float] = field(default_factory=dict)
    facts: dict[str, float] = field(default_factory=dict)
    learning_curves: list[list[list[float]]] = field(default_factory=list)
    _clock: Callable[[], float] = time.perf_counter
    _start: float = field(default_factory=time.perf_counter)
    _earlier: float = 0

    @property
    def seconds(self) -> float:
        """Time spent on the job, that before an interruption included."""
        return self._earlier + self._clock() - self._start

    def time_by(self, clock: Callable[[], float]) -> None:
        """Go on by another clock: the job's share of what several jobs do together."""
        self._earlier = self.seconds
        self._clock = clock
        self._start = clock()

    def resume(self, seconds: float) -> None:
        """Add the seconds of earlier attempts, as their last checkpoint has them."""
        self._earlier = max(self._earlier, seconds)

    def record(self) -> LedgerRecord:
        """The account as JSON, with seconds, peak memory (bytes), device and versions."""
        record: LedgerRecord = {
            "job": self.job,
            "rows_seen": self.rows_seen,
            "rows_read": self.rows_read,
            "flops": self.flops,
            "unspent": self.unspent,
            "detail": self.detail,
            "learning_curves": self.learning_curves,
            "seconds": round(self.seconds, 3),
            "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "peak_gpu_memory_bytes": _peak_gpu_memory(),
            "device": _device(),
            "host": platform.node(),
            "versions": _versions(),
        }
        if self.facts:
            record["facts"] = self.facts
        return record

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the account."""
        write_json(path, {**self.record(), **made_from()})


def training_flops(ledgers: Sequence[Flops]) -> float:
    """Sum of FLOPs over ledgers."""
    return float(sum(ledger["flops"] for ledger in ledgers))


def own_flops(ledger: Flops) -> float:
    """FLOPs of the job itself, without those of the models that its own continues from."""
    return float(ledger["flops"] - ledger.get("detail", {}).get(BEFORE, 0.0))


def most_flops(ledgers: Sequence[Flops]) -> float:
    """Sum over ledgers of the FLOPs that might have been spent: with what was left of them."""
    return training_flops(ledgers) + sum(ledger.get("unspent", 0.0) for ledger in ledgers)


def _device() -> Device:
    torch = sys.modules.get("torch")
    if torch is None:
        return {"kind": "cpu", "threads": int(os.environ.get("OMP_NUM_THREADS", "1"))}
    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
        return {"kind": "cuda", "name": name, "threads": torch.get_num_threads()}
    return {"kind": "cpu", "threads": torch.get_num_threads()}


def _peak_gpu_memory() -> int:
    """Bytes that tensors took at most on the job's GPU; 0 without one."""
    torch = sys.modules.get("torch")
    return int(torch.cuda.max_memory_allocated()) if torch and torch.cuda.is_available() else 0


@cache
def _version(package: str) -> str:
    """Version of an installed package, which does not change while a process runs."""
    from importlib.metadata import version

    return version(package)


def _versions() -> dict[str, str]:
    names = {"numpy": "numpy", "torch": "torch", "sklearn": "scikit-learn"}
    versions = {dist: _version(dist) for module, dist in names.items() if module in sys.modules}
    if "torch" in sys.modules:  # decides the bits of its products, as its version does
        versions["MKL_CBWR"] = os.environ.get("MKL_CBWR", "unset")
    return versions | {"python": platform.python_version()}
