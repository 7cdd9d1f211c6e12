"""The steps in order: fitted once on training rows, then applied shard by shard."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from shoal.errors import CorruptError, DataError, SettingsError, nearest
from shoal.formats import tables
from shoal.formats.documents.ledger import MadeFrom
from shoal.formats.hashing import KEY_BYTES, derived
from shoal.formats.kinds import TRAIN, ColumnKind, Task
from shoal.formats.stored import Stored, as_kind
from shoal.transform import augment, selection, values
from shoal.transform.function import Function
from shoal.transform.step import Context, Rows, TransformStep, smallest_draws, training_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa

    from shoal.settings.data import Transform

_CLASSES: tuple[type[TransformStep], ...] = (
    values.Impute,
    values.Clip,
    values.Log,
    values.Lower,
    augment.Chunk,
    augment.ReverseComplement,
    values.Noise,
    augment.Mask,
    augment.Swap,
    selection.Filter,
    selection.DropDuplicates,
    selection.Balance,
    Function,
)
STEPS: dict[str, type[TransformStep]] = {step.name: step for step in _CLASSES}
"""Name in the settings to step."""


class _Step(Stored):
    step: str
    columns: list[str]
    options: dict[str, object]
    fitted: dict[str, object]


class _State(Stored):
    """Content of :meth:`Pipeline.state` in a file."""

    steps: list[_Step]
    seed: int | None = None
    kinds: list[tuple[str, ColumnKind]] | None = None
    task: Task | None = None
    made_from: MadeFrom | None = None


class Pipeline:
    """Fitted steps, frozen with a generation."""

    def __init__(self, steps: Sequence[TransformStep]) -> None:
        self.steps = list(steps)

    def shard(self, name: str, source: str | None = None) -> ShardPipeline:
        """The pipeline for the rows of one shard, from its first row to its last.

        Args:
            name: The shard.
            source: Its source file, for messages; the shard's name by default.
        """
        return ShardPipeline(self.steps, name, source or name)

    def predict(self, table: pa.Table, source: str) -> pa.Table:
        """Rows to predict: as rows outside the training fold, so that none is lost or blurred.

        Args:
            table: Rows; keys, folds and label may be absent.
            source: Where they come from, for messages.
        """
        if not self.steps:
            return table
        positions = np.arange(len(table), dtype=np.int64)
        rows = Rows(
            tables.decoded(table), source, source, positions, np.zeros(len(table), dtype=bool)
        )
        for step in self.steps:
            if not step.training_only:
                rows = step.apply(rows)
        return rows.table

    @property
    def kinds(self) -> dict[str, str]:
        """Kind of every column; none without steps."""
        return dict(self.steps[0].context.kinds) if self.steps else {}

    @property
    def targets(self) -> list[str]:
        """Dotted paths of the user's functions that :meth:`predict` calls."""
        functions = [step for step in self.steps if isinstance(step, Function)]
        return [step.options.target for step in functions if not step.training_only]

    def state(self) -> dict[str, object]:
        """The fitted pipeline as JSON."""
        if not self.steps:
            return {"steps": []}
        context = self.steps[0].context
        return {
            "seed": context.seed,
            "kinds": [list(pair) for pair in context.kinds.items()],
            "task": context.task,
            "steps": [
                {
                    "step": step.name,
                    "columns": step.columns,
                    "options": step.options.model_dump(mode="json", by_alias=True),
                    "fitted": step.fitted,
                }
                for step in self.steps
            ],
        }

    @classmethod
    def from_state(cls, state: Mapping[str, object]) -> Pipeline:
        """The pipeline whose :meth:`state` this is.

        Raises:
            CorruptError: It is not such a state.
        """
        stored = as_kind(_State, dict(state))
        if not stored.steps:
            return cls([])
        if stored.seed is None or stored.kinds is None or stored.task is None:
            raise CorruptError("seed, kinds and task are missing, which steps need")
        kinds = dict(stored.kinds)
        if "label" not in kinds.values() and stored.task != "own":
            raise CorruptError("kinds: no column is the label")
        steps = []
        for index, entry in enumerate(stored.steps):
            if entry.step not in STEPS:
                known = nearest(entry.step, STEPS)
                raise CorruptError(f"steps.{index}: there is no step {entry.step!r}; {known}")
            context = Context(index, stored.seed, kinds, stored.task)
            try:
                step = STEPS[entry.step](context, entry.columns, entry.options)
            except SettingsError as error:
                raise CorruptError(str(error)) from None
            step.restore(entry.fitted)
            steps.append(step)
        return cls(steps)


class ShardPipeline:
    """A pipeline that is applied to one shard, batch after batch.

    Attributes:
        rows_in: Rows taken so far.
        dropped: Rows dropped so far, by the name of the step.
        added: Rows added so far, by the name of the step.
    """

    def __init__(self, steps: Sequence[TransformStep], shard: str, source: str) -> None:
        self._steps = steps
        self._shard = shard
        self._source = source
        self._seen: set[tuple[int, str]] = set()
        self.rows_in = 0
        self.dropped: Counter[str] = Counter({step.name: 0 for step in steps if step.drops})
        self.added: Counter[str] = Counter({step.name: 0 for step in steps if step.adds})

    def apply(self, table: pa.Table) -> pa.Table:
        """The shard's next rows after all steps; ``_fold`` tells the training rows.

        Where a step draws, ``_source`` of training rows covers the row's key too, which draws are
        made from.
        """
        positions = np.arange(self.rows_in, self.rows_in + len(table), dtype=np.int64)
        training = tables.folds(table) == TRAIN
        rows = Rows(table, self._shard, self._source, positions, training, self._seen)
        self.rows_in += len(table)
        for step in self._steps:
            before = len(rows.table)
            rows = step.apply(rows)
            if step.drops:
                self.dropped[step.name] += before - len(rows.table)
            if step.adds:
                self.added[step.name] += len(rows.table) - before
        if rows.training.any() and any(step.draws for step in self._steps):
            rows = _with_draws(rows)
        return rows.table

    @property
    def record(self) -> dict[str, object]:
        """Row accounting: rows in, rows dropped and, if steps may add any, rows added by step."""
        added = {"added": dict(self.added)} if self.added else {}
        return {"rows_in": self.rows_in, "dropped": dict(self.dropped)} | added


def _with_draws(rows: Rows) -> Rows:
    """Rows whose training rows' ``_source`` covers what their draws are made from."""
    sources, keys = tables.keys(rows.table, tables.SOURCE), tables.keys(rows.table)
    drawn = derived(np.concatenate([sources, keys], axis=1), KEY_BYTES, "drawn")
    covered = np.where(rows.training[:, None], drawn, sources)
    return rows.with_column(tables.SOURCE, tables.key_array(covered))


def fit_pipeline(
    settings: Transform, columns: tables.Columns, shards: Mapping[str, tables.Table]
) -> Pipeline:
    """Fit each step on training rows as the steps before it leave them.

    Args:
        settings: The steps, how many rows they are fitted on, and a seed.
        columns: The columns.
        shards: Shard name to its split table. The result depends on neither their order nor,
            except for which of two equal rows stays, on how rows are cut into shards.

    Raises:
        SettingsError: A step, option or column is unknown or does not fit.
        DataError: No training row is left for a step.
        SourceError: A step cannot work on a value.
        ModelError: A function of the user's does not import or fails.
    """
    steps = [_make(settings, columns, index) for index in range(len(settings.steps))]
    sample: pa.Table | None = None
    for index, step in enumerate(steps):
        before = steps[:index]
        if step.fits_on == "sample":
            sample = _sample(settings, columns, shards, before) if sample is None else sample
            step.fit_sample(sample)
        elif step.fits_on == "all":
            step.fit_all(lambda before=before: _stream(shards, before))  # type: ignore[misc]
        # Other steps may drop rows of the sample, or refuse a value, whose place only a stream
        # of shards knows: after them the sample is drawn anew.
        keep = sample is not None and step.fits_on == "sample"
        sample = _advance(step, sample) if keep else None
    return Pipeline(steps)


def _make(settings: Transform, columns: tables.Columns, index: int) -> TransformStep:
    entry = settings.steps[index]
    if entry.step not in STEPS:
        raise SettingsError(
            f"transform.steps.{index}: there is no step {entry.step!r}; "
            f"{nearest(entry.step, STEPS)}"
        )
    context = Context(index, settings.seed, columns.kinds, columns.task)
    step = STEPS[entry.step](context, entry.columns, entry.options)
    step.prepare()
    return step


def _stream(shards: Mapping[str, tables.Table], steps: Sequence[TransformStep]) -> Iterator[Rows]:
    """All training rows after some steps, shard by shard."""
    for rows in training_rows(shards):
        for step in steps:
            rows = step.apply(rows)  # noqa: PLW2901 - one step after another
        yield rows


def _sample(
    settings: Transform,
    columns: tables.Columns,
    shards: Mapping[str, tables.Table],
    steps: Sequence[TransformStep],
) -> pa.Table:
    """At most ``fit_rows`` training rows after some steps."""
    batches = (rows.table for rows in _stream(shards, steps))
    sample = smallest_draws(batches, settings.fit_rows, columns.labels, settings.seed, "transform")
    if sample is None:
        raise DataError(
            f"transform.steps.{len(steps)}: no training row is left after the steps before it"
        )
    return sample


def _advance(step: TransformStep, sample: pa.Table) -> pa.Table:
    """The sample after one more step that was fitted on it."""
    positions = np.arange(len(sample), dtype=np.int64)
    training = np.ones(len(sample), dtype=bool)
    return step.apply(Rows(sample, "", "training sample", positions, training)).table
