"""Command ``cluster-grow``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.cluster.assigner import AtomAssigner, load_assigner
from shoal.cluster.grow import Drawn, find_atoms, guards_among, merged
from shoal.cluster.sample import blocks
from shoal.embed.apply import on_threads
from shoal.embed.embedder import load_embedder
from shoal.errors import SettingsError
from shoal.formats.kinds import TRAIN, VALIDATION
from shoal.formats.ledger import Ledger
from shoal.formats.row_store import HASH, ShardRows, SmallestDraws
from shoal.formats.units import UNIT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from shoal.cluster.sample import Block
    from shoal.embed.embedder import Embedder
    from shoal.settings.discovery import Bounded

    Rows = NDArray[np.float32]


def cluster_grow(
    settings: Bounded,
    rows: Sequence[Path],
    embedder_path: Path,
    assigner_path: Path,
    basis: Sequence[Path],
    at_fit: Sequence[str],
    out: Path,
    ledger_out: Path,
    threads: int,
) -> None:
    """Look for rows of a new kind among those that arrived; add atoms and partitions for them.

    Training rows and validation rows that the assigner was fitted with keep their partition,
    whatever is added. Holds at most twice ``fit_rows`` embeddings on either side, 8 bytes of each
    row that is in a shard of one side alone, and the guards.

    Args:
        settings: The choices of the assigner's fit.
        rows: Encoded shards of now.
        embedder_path: The embedder.
        assigner_path: The assigner so far.
        basis: Row stores of the shards that it was fitted on, as far as they are kept.
        at_fit: Names of these shards.
        out: The grown assigner; the same one where nothing is of a new kind.
        ledger_out: Its ledger, which says how many ``partitions`` and ``atoms`` came, for how many
            training ``rows``, and how many ``guards``.
        threads: CPU threads; the bits depend on it.

    Raises:
        SettingsError: A column decides which partition a row is of.
    """
    import sklearn.cluster  # noqa: F401 - its thread pools are limited only once loaded

    assigner, embedder = load_assigner(assigner_path), load_embedder(embedder_path)
    if not isinstance(assigner, AtomAssigner):
        raise SettingsError("cluster: a column says the partition, and values that came have none")
    ledger = Ledger("cluster_grow")
    with on_threads(threads, embedder.method):
        grown = _Growing(assigner, embedder, settings, _Arrivals(rows, basis, at_fit)).grown(ledger)
    ledger.write(ledger_out)
    grown.save(out)


class _Arrivals:
    """Training and validation rows of now, those that arrived told from those before by content."""

    def __init__(self, rows: Sequence[Path], basis: Sequence[Path], at_fit: Sequence[str]) -> None:
        self.paths = rows
        now = {_shard(path) for path in rows}
        self._known = set(at_fit) & now
        marks = [np.empty(0, np.uint64)]
        for path in basis:
            if _shard(path) not in now:
                with ShardRows(path) as store:
                    marks.append(_marks(store.read(HASH)))
        self._gone = np.unique(np.concatenate(marks))

    def blocks(self, *, arrived: bool, names: Sequence[str] = ()) -> Iterator[Block]:
        """Blocks with rows of one side, and under ``own`` their places.

        Of rows that arrived the training rows, of rows from before the validation rows as well.
        """
        for path in self.paths:
            if arrived and _shard(path) in self._known:
                continue
            hashes = [] if _shard(path) in self._known else [HASH]
            for block in blocks([path], ["x", "fold", *hashes, *names]):
                fold, came = block.arrays["fold"], np.zeros(len(block.arrays["fold"]), bool)
                if hashes:
                    came = ~np.isin(_marks(block.arrays[HASH]), self._gone)
                wanted = came & (fold == TRAIN)
                if not arrived:
                    wanted = ~came & ((fold == TRAIN) | (fold == VALIDATION))
                block.arrays["own"] = np.flatnonzero(wanted)
                yield block


class _Growing:
    """One growth."""

    def __init__(
        self, assigner: AtomAssigner, embedder: Embedder, settings: Bounded, rows: _Arrivals
    ) -> None:
        self.assigner, self.embedder, self.settings, self.rows = assigner, embedder, settings, rows
        self.measured = 0

    def grown(self, ledger: Ledger) -> AtomAssigner:
        """The grown assigner, or the same one; writes the account."""
        assigner, settings = self.assigner, self.settings
        ledger.detail = dict.fromkeys(("partitions", "atoms", "rows", "guards"), 0.0)
        arrived = self._sample(arrived=True)
        if arrived.drawn_from < settings.min_rows:
            return assigner
        before = self._sample(arrived=False)
        found = find_atoms(assigner, arrived, before, settings.seed)
        a_row = self.embedder.flops_per_row + assigner.flops_per_row
        ledger.rows_read = arrived.drawn_from + before.drawn_from
        drawn = len(arrived.rows) + len(before.rows)
        ledger.flops = found.flops + self.embedder.flops_per_row * drawn
        if not len(found.prototypes):
            return assigner
        guards = self._guards(found.prototypes)
        each = np.arange(len(found.prototypes), dtype=np.int32)
        rows = self._count(assigner.grown(found.prototypes, each, guards), len(each))
        ledger.flops += a_row * self.measured
        prototypes, rows = found.prototypes[rows > 0], rows[rows > 0]
        if rows.sum() < settings.min_rows:
            return assigner
        partition = merged(assigner, prototypes, rows, settings)
        ledger.detail = {
            "partitions": float(partition.max() + 1),
            "atoms": float(len(prototypes)),
            "rows": float(rows.sum()),
            "guards": float(len(guards)),
        }
        return assigner.grown(prototypes, partition, guards)

    def _sample(self, *, arrived: bool) -> Drawn:
        """Training rows whose keys draw the smallest numbers."""
        smallest = SmallestDraws(self.settings.fit_rows, self.settings.seed, "grow")
        count = 0
        for block in self.rows.blocks(arrived=arrived, names=self._with_units("key")):
            own = block.arrays["own"]
            own = own[block.arrays["fold"][own] == TRAIN]
            keys = block.arrays["key"][own]
            unit = keys[:, :8].copy().view("<u8").ravel()
            if UNIT in block.arrays:
                unit = block.arrays[UNIT][own]
            count += len(own)

            def drawn(
                places: NDArray[np.int64],
                block: Block = block,
                own: NDArray[np.int64] = own,
                unit: NDArray[np.uint64] = unit,
            ) -> tuple[NDArray[Any], ...]:
                return block.embedded(self.embedder, own[places]), unit[places]

            smallest.add(keys, keys, drawn)
        if not count:
            nothing = np.empty((0, self.embedder.dims), np.float32)
            return Drawn(nothing, np.empty(0, np.uint64), 0)
        embedding, units = smallest.arrays()
        return Drawn(embedding, units, count)

    def _with_units(self, *names: str) -> list[str]:
        """These arrays, and units where rows belong together."""
        with ShardRows(self.rows.paths[0]) as store:
            return store.names([*names, UNIT])

    def _guards(self, prototypes: Rows) -> Rows:
        """Rows from before that would change their partition, each once, in their own order."""
        found = [np.empty((0, self.embedder.dims), np.float32)]
        for block in self.rows.blocks(arrived=False):
            before = block.embedded(self.embedder, block.arrays["own"])
            self.measured += len(before)
            found.append(guards_among(self.assigner, prototypes, before))
        guards: Rows = np.unique(np.concatenate(found), axis=0)
        return guards

    def _count(self, trial: AtomAssigner, atoms: int) -> NDArray[np.int64]:
        """Training rows that arrived in each of the last atoms."""
        rows = np.zeros(atoms, np.int64)
        for block in self.rows.blocks(arrived=True):
            arrived = block.embedded(self.embedder, block.arrays["own"])
            self.measured += len(arrived)
            atom = trial.nearest(arrived)[1] - len(self.assigner.atom_partition)
            rows += np.bincount(atom[atom >= 0], minlength=atoms)
        return rows


def _shard(path: Path) -> str:
    return path.name.split(".")[0]


def _marks(hashes: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The first eight bytes of each hash: as good as all of them to tell contents apart."""
    return hashes[:, :8].copy().view("<u8").ravel()
