"""Answers of models about the rows of all partitions, merged from the files of ``ask``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.formats.documents.answers import AnswersFacts
from shoal.formats.fitted_state import load_state
from shoal.formats.kinds import BOOSTED, LINEAR
from shoal.formats.units import UNIT
from shoal_edge.mixing import mixed
from shoal_edge.routing import BASE, GENERALIST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from shoal.partitions.reader import Index

    Floats = NDArray[np.float32]
    Places = NDArray[np.int64]
    Ask = Callable[[int, NDArray[Any], NDArray[Any]], Floats]

_OF_ROWS = ("key", "y", "hash", "embedding", UNIT)
_WHOLE = {BASE: "base", GENERALIST: "generalist"}


class Answers:
    """The rows of one fold, and what the models say of them.

    Rows stand by partition, those of none first, then by row hash. Where no file holds an answer,
    as when a learned router sends a row to a far specialist, the row is read and the model asked.

    Attributes:
        rows: ``key``, ``y``, ``hash``, ``embedding``, ``partition``, and ``unit`` where rows belong
            together; empty without rows.
        specialised: Numbers of the partitions that have a specialist, ascending.
        flops: FLOPs of one model's answer to one row.
        embedding_flops: FLOPs of embedding a row.
        mixing: How answers mix.
        density: Whether a loss is -log of a density or probability.
        by_chance: Answers of the specialists of random partitions; empty but for test rows.
        usual: Answers of the usual models by name; empty but for test rows of a table.
        outside: ``embedding`` and ``partition`` of the rows outside every fold; empty without any,
            and but for test rows.
    """

    def __init__(self, paths: Iterable[Path], index: Index, fold: str, ask: Ask) -> None:
        """Read the files.

        Args:
            paths: Outputs of ``ask`` for all partitions of the index, of one fold.
            index: The partition index, for rows that a model has yet to be asked about.
            fold: Name of the fold.
            ask: Answers of a partition's specialist to encoded rows and their labels.
        """
        loaded = [load_state(path, AnswersFacts) for path in paths]
        files = {facts["partition"]: (tensors, facts) for tensors, facts in loaded}
        tensors = {number: files[number][0] for number in sorted(files)}
        self._index, self._fold, self._ask = index, fold, ask
        self._facts = {number: files[number][1] for number in tensors}
        self.specialised = [n for n, facts in self._facts.items() if facts["specialist"]]
        first = loaded[0][1]
        self.flops, self.density, self.mixing = first["flops"], first["density"], first["mixing"]
        self.embedding_flops = first["embedding_flops"]
        self.rows, self._starts = _joined(tensors, _OF_ROWS)
        self._whole = {n: _joined(tensors, (name,))[0].get(name) for n, name in _WHOLE.items()}
        self.by_chance = _joined(tensors, ("random",))[0].get("random", np.empty((0, 0)))
        usual = {name: _joined(tensors, (name,))[0].get(name) for name in (LINEAR, BOOSTED)}
        self.usual = {name: answers for name, answers in usual.items() if answers is not None}
        outside = _joined(tensors, ("outside",))[0]
        self.outside = {("embedding" if n == "outside" else n): a for n, a in outside.items()}
        self._own = {n: own["specialist"] for n, own in tensors.items() if "specialist" in own}
        self._elsewhere = {
            n: (own["asked.hash"], own["asked.answer"])
            for n, own in tensors.items()
            if "asked.hash" in own
        }
        self._x: dict[int, NDArray[Any]] = {}

    def label_shares(self) -> NDArray[np.float64]:
        """Share of each class among all training labels, or their mean."""
        labels = [facts["labels"] for facts in self._facts.values() if "labels" in facts]
        sums = [each["sums"] for each in labels if each["rows"]]
        shares: NDArray[np.float64] = np.sum(sums, axis=0) / sum(each["rows"] for each in labels)
        return shares

    def answer(self, expert: int, places: Places) -> Floats:
        """One expert's answers, as :func:`shoal.training.model.predict`.

        Args:
            expert: Number of a partition that has a specialist, ``BASE`` or ``GENERALIST``.
            places: Places of rows.
        """
        whole = self._whole.get(expert)
        if whole is not None:
            return whole[places]
        base = self._whole[BASE]
        assert base is not None  # noqa: S101 - there are rows
        found = np.empty((len(places), base.shape[1]), dtype=np.float32)
        missing = np.ones(len(places), dtype=bool)
        for at, known in (self._at_home(expert, places), self._from_elsewhere(expert, places)):
            found[at], missing[at] = known, False
        rest = np.flatnonzero(missing)
        if len(rest):
            own = places[rest]
            found[rest] = self._ask(expert, self._read(own), self.rows["y"][own])
        return found

    def mix(
        self,
        experts: NDArray[np.int32],
        weights: Floats,
        places: Places | None = None,
    ) -> Floats:
        """Mixed answers of each row's experts, as :func:`mixed`.

        Args:
            experts: Experts to ask, ``(rows, k)``.
            weights: Their weights, ``(rows, k)``, each row summing to one.
            places: Places of the rows; None for all of them.
        """
        at = np.arange(len(experts)) if places is None else places
        return mixed(
            lambda expert, rows: self.answer(expert, at[rows]), experts, weights, self.mixing
        )

    def _at_home(self, expert: int, places: Places) -> tuple[Places, Floats]:
        """Which of the rows are of the expert's own partition, and its answers to them."""
        own = self._own.get(expert)
        if own is None:
            return _NOWHERE, np.empty((0, 1), dtype=np.float32)
        inside = places - self._starts[expert]
        at = np.flatnonzero((inside >= 0) & (inside < len(own)))
        return at, own[inside[at]]

    def _from_elsewhere(self, expert: int, places: Places) -> tuple[Places, Floats]:
        """Which of the rows the expert was asked about as their runner-up, and its answers.

        Rows are known by their hash: those of one hash have one encoding, and so one answer.
        """
        if expert not in self._elsewhere:
            return _NOWHERE, np.empty((0, 1), dtype=np.float32)
        hashes, answers = self._elsewhere[expert]
        known, wanted = _flat(hashes), _flat(self.rows["hash"][places])
        near = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
        at = np.flatnonzero(known[near] == wanted)
        return at, answers[near[at]]

    def _read(self, places: Places) -> NDArray[Any]:
        """Encoded rows, from the row stores."""
        partition = self.rows["partition"][places]
        parts, order = [], []
        for number in np.unique(partition).tolist():
            if number not in self._x:
                self._x[number] = self._index.read(number, self._fold, ("x",))["x"]
            own = np.flatnonzero(partition == number)
            parts.append(self._x[number][places[own] - self._starts[number]])
            order.append(own)
        return np.concatenate(parts)[np.argsort(np.concatenate(order))]


_NOWHERE = np.empty(0, dtype=np.int64)


def _joined(
    tensors: dict[int, dict[str, NDArray[Any]]], names: Sequence[str]
) -> tuple[dict[str, NDArray[Any]], dict[int, int]]:
    """Arrays of all partitions one after the other with their ``partition``, and where each begins.

    Empty where no partition has rows.
    """
    own = {number: found for number, found in tensors.items() if names[0] in found}
    if not own:
        return {}, {}
    counts = [len(found[names[0]]) for found in own.values()]
    there = [name for name in names if name in next(iter(own.values()))]
    rows = {name: np.concatenate([found[name] for found in own.values()]) for name in there}
    rows["partition"] = np.repeat(np.array(list(own), dtype=np.int32), counts)
    starts = np.cumsum([0, *counts[:-1]]).tolist()
    return rows, dict(zip(own, starts, strict=True))


def _flat(hashes: NDArray[np.uint8]) -> NDArray[Any]:
    """Row hashes as one value each, in the order of their bytes."""
    return np.ascontiguousarray(hashes).view(f"V{hashes.shape[1]}").ravel()
