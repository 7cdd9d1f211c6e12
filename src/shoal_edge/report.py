"""Reports of what a pool was asked: how many rows of each partition, and three histograms of them.

A report is one file. In it, in this order:

================== ================================================================================
``SHR`` and a byte the format, 1
32 bytes           SHA-256 of the ``manifest.json`` of the pool that answered
3 numbers          when it begins and ends, seconds since 1970 in UTC; how many partitions follow
25 numbers each    ascending: the partition's number less the one before, at first less -2; rows in
                   each bin of distance, of confidence, of prediction
4 bytes            CRC-32 of all before, little-endian
================== ================================================================================

A number is one or more bytes, seven bits in each, the lowest first; the top bit says that another
one follows.
"""

from __future__ import annotations

import os
import time
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from shoal_edge.errors import EdgeError
from shoal_edge.folder import write_file
from shoal_edge.placing import UNASSIGNED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    Array = NDArray[Any]
    Counts = Mapping[int, NDArray[np.int64]]

BINS = 8
"""Bins of a histogram; of distances the last one is beyond the pool's threshold."""
HISTOGRAMS = ("distance", "confidence", "prediction")
SUFFIX = ".report"

_MAGIC = b"SHR\1"
_DIGEST, _CHECK = 32, 4
_LONGEST = 1 << 24
_MOST = 1 << 40
"""Most bytes of a report, and the largest number in one."""


class Bins(NamedTuple):
    """Where the bins of a pool's reports begin and end.

    A value is in the bin of the first edge that is not below it. Where there are no edges, as in
    pools that were made before there were reports, all values are in the first bin.

    Attributes:
        task: ``classification``, ``regression`` or ``own``.
        classes: Number of classes.
        threshold: Distance beyond which a row belongs to no partition well.
        distance: Edges of distances, 6 at most.
        confidence: Edges of probabilities of the predicted class, 7 at most.
        prediction: Edges of predicted numbers, standardised, 7 at most. Classes take neighbouring
            bins in their order, several each where there are more than 8.
    """

    task: str
    classes: int
    threshold: float
    distance: list[float]
    confidence: list[float]
    prediction: list[float]

    @classmethod
    def of(cls, gate: Mapping[str, Any], task: str, classes: int, threshold: float) -> Bins:
        """Those of a pool.

        Args:
            gate: Content of its ``gate.json``.
            task: Its task.
            classes: Number of classes; 0 without any.
            threshold: Its router's threshold.

        Raises:
            EdgeError: The gate has edges that no run makes.
        """
        edges = gate.get("bins") or {name: [] for name in HISTOGRAMS}
        for name in HISTOGRAMS:
            own = edges[name]
            if len(own) >= BINS or sorted(own) != own or not np.isfinite(own).all():
                raise EdgeError(f"bins: {name}: {own!r:.80} are not edges in order")
        return cls(task, classes, threshold, *(edges[name] for name in HISTOGRAMS))

    def places(self, distance: Array, answer: Array) -> Iterator[tuple[int, Array]]:
        """Number of a histogram, and the bin of each row in it.

        Args:
            distance: To the nearest prototype ``(rows,)``.
            answer: The pool's answers, see :func:`told`.
        """
        near = np.searchsorted(self.distance, distance).clip(max=BINS - 2)
        yield 0, np.where(distance > self.threshold, BINS - 1, near)
        confidence, prediction = told(answer, self.task)
        if confidence is not None:
            yield 1, np.searchsorted(self.confidence, confidence)
        if prediction is not None and self.classes:
            yield 2, prediction * min(BINS, self.classes) // self.classes
        elif prediction is not None:
            yield 2, np.searchsorted(self.prediction, prediction)


def told(answer: Array, task: str) -> tuple[Array | None, Array | None]:
    """Confidence and prediction of each row; None where the task has none.

    Args:
        answer: Probabilities ``(rows, classes)``, or standardised numbers ``(rows, 1)``.
        task: The task.
    """
    if task == "classification":
        return answer.max(axis=1), answer.argmax(axis=1)
    return None, answer[:, 0] if task == "regression" else None


@dataclass(frozen=True)
class Report:
    """What a pool was asked.

    Attributes:
        manifest: SHA-256 of the pool's manifest.
        since: When it begins, seconds since 1970 in UTC.
        until: When it ends.
        counts: Rows in each bin, int64 ``(3, 8)``: of distance, confidence and prediction, by the
            number of the partition in which they lie, -1 for rows that are in none. The first has
            all rows; one that the task does not have is zero.
    """

    manifest: str
    since: int
    until: int
    counts: Counts

    def __add__(self, other: Report) -> Report:
        """Both, of one pool."""
        counts = dict(self.counts)
        for partition, own in other.counts.items():
            counts[partition] = counts.get(partition, 0) + own
        since, until = min(self.since, other.since), max(self.until, other.until)
        return Report(self.manifest, since, until, dict(sorted(counts.items())))

    def to_bytes(self) -> bytes:
        """The file; the same counts and times give the same bytes."""
        numbers, before = [self.since, self.until, len(self.counts)], UNASSIGNED - 1
        for partition, own in sorted(self.counts.items()):
            numbers += [partition - before, *own.ravel().tolist()]
            before = partition
        content = _MAGIC + bytes.fromhex(self.manifest) + b"".join(map(_spelled, numbers))
        return content + zlib.crc32(content).to_bytes(_CHECK, "little")

    @classmethod
    def from_bytes(cls, content: bytes) -> Report:
        """The report in a file.

        Raises:
            EdgeError: It is none, damaged, or of another format.
        """
        if content[: len(_MAGIC)] != _MAGIC:
            raise EdgeError("no report, or of another format")
        body, check = content[:-_CHECK], content[-_CHECK:]
        start = len(_MAGIC) + _DIGEST
        if len(body) < start or zlib.crc32(body).to_bytes(_CHECK, "little") != check:
            raise EdgeError("damaged: it does not match its checksum")
        since, until, partitions, *rest = _numbers(body[start:])
        wide = 1 + len(HISTOGRAMS) * BINS
        if len(rest) != partitions * wide or since > until:
            raise EdgeError("no report: its numbers do not fit together")
        table = np.array(rest, np.int64).reshape(partitions, wide)
        if partitions and table[:, 0].min() < 1:
            raise EdgeError("no report: a partition is there twice")
        numbers = UNASSIGNED - 1 + table[:, 0].cumsum()
        counts = table[:, 1:].reshape(partitions, len(HISTOGRAMS), BINS)
        rows = counts.sum(axis=2)
        if not (rows[:, :1] > 0).all() or not ((rows == rows[:, :1]) | (rows == 0)).all():
            raise EdgeError("no report: its histograms are not of the same rows")
        digest = body[len(_MAGIC) : start].hex()
        return cls(digest, since, until, dict(zip(numbers.tolist(), counts, strict=True)))

    @property
    def rows(self) -> int:
        """How many rows it is about."""
        return sum(int(own[0].sum()) for own in self.counts.values())


class Log:
    """Counts rows that a pool answers; made by ``Pool.log()``.

    Args:
        manifest: SHA-256 of the pool's manifest.
        partitions: Number of its partitions.
        bins: Its bins.
    """

    def __init__(self, manifest: str, partitions: int, bins: Bins) -> None:
        """Begin now."""
        self._manifest, self._bins, self._since = manifest, bins, int(time.time())
        self._counts = np.zeros((partitions + 1, len(HISTOGRAMS), BINS), np.int64)

    def add(self, partition: Array, distance: Array, answer: Array) -> None:
        """Count rows.

        Args:
            partition: In which each lies ``(rows,)``, -1 for none.
            distance: To the nearest prototype ``(rows,)``.
            answer: The pool's answers, see :func:`told`.
        """
        first = (partition.astype(np.int64) - UNASSIGNED) * BINS
        for histogram, place in self._bins.places(distance, answer):
            found = np.bincount(first + place, minlength=len(self._counts) * BINS)
            self._counts[:, histogram] += found.reshape(-1, BINS)

    def report(self) -> Report:
        """What was counted until now."""
        known = np.flatnonzero(self._counts[:, 0].any(axis=1)).tolist()
        counts = {place + UNASSIGNED: self._counts[place].copy() for place in known}
        return Report(self._manifest, self._since, int(time.time()), counts)

    def write(self, folder: Path) -> Path:
        """Write the report into a folder, under a name of its own, whole or not at all.

        Returns:
            The file.
        """
        return write(self.report(), folder)


def write(report: Report, folder: Path) -> Path:
    """Write a report into a folder, under a name of its own, whole or not at all.

    Returns:
        The file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    when = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(report.until))
    path = folder / f"{when}-{os.urandom(4).hex()}{SUFFIX}"
    aside = path.with_name(f".{path.name}")
    try:
        write_file(aside, report.to_bytes())
        aside.rename(path)
    finally:
        aside.unlink(missing_ok=True)
    return path


def read(path: Path) -> Report:
    """The report in a file.

    Raises:
        EdgeError: It is none, or damaged.
    """
    try:
        if not path.is_file() or path.is_symlink():
            raise EdgeError("no regular file")
        with path.open("rb") as file:
            content = file.read(_LONGEST + 1)
        if len(content) > _LONGEST:
            raise EdgeError(f"longer than {_LONGEST >> 20} MiB, the most it may be")
        return Report.from_bytes(content)
    except EdgeError as error:
        raise EdgeError(f"{path}: {error}") from None


def summed(reports: Iterable[Report]) -> dict[str, Report]:
    """One report of each pool, by the SHA-256 of its manifest.

    Reports of several pools do not add up: the bins of each are its own.
    """
    found: dict[str, Report] = {}
    for report in reports:
        known = found.get(report.manifest)
        found[report.manifest] = report if known is None else known + report
    return found


def read_all(folder: Path) -> dict[str, Report]:
    """The sums of all reports in a folder, see :func:`summed`.

    Raises:
        EdgeError: There is no such folder, or a file called a report is none.
    """
    if not folder.is_dir():
        raise EdgeError(f"{folder}: no such folder")
    return summed(read(path) for path in sorted(folder.glob(f"[!.]*{SUFFIX}")))


def _spelled(number: int) -> bytes:
    low = []
    while number >> 7:
        low.append(number & 127 | 128)
        number >>= 7
    return bytes([*low, number])


def _numbers(content: bytes) -> list[int]:
    """The numbers of a report; there are three at least."""
    found, number, shift = [], 0, 0
    for byte in content:
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            if number > _MOST or (shift > 7 and not byte):
                raise EdgeError("no report: a number is too large, or spelled too long")
            found.append(number)
            number = shift = 0
        elif shift > 42:
            raise EdgeError("no report: a number is too large, or spelled too long")
    if shift or len(found) < 3:
        raise EdgeError("no report: it ends too early")
    return found
