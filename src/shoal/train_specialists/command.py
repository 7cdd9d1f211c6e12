"""Command ``base-fit``, and the training of a slot."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from shoal.errors import DivergedError
from shoal.formats.documents.index import PartitionIndex
from shoal.formats.documents.weights import BaseFacts
from shoal.formats.json_file import read_made
from shoal.formats.ledger import BEFORE, Ledger
from shoal.formats.links import point_of
from shoal.formats.shapes import Shapes
from shoal.train_specialists.budget import frozen_budget

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from shoal.formats.documents.index import Continued
    from shoal.settings.learning import Model, Training
    from shoal.train_specialists.budget import Trials
    from shoal.train_specialists.candidate import Candidate
    from shoal.training.budget import Budget
    from shoal.training.loop import Begun
    from shoal.training.resume import Part


def base_fit(
    model: Model,
    training: Training,
    rows: Sequence[Path],
    shapes_path: Path,
    out: Path,
    ledger_out: Path,
    threads: int,
    checkpoint_seconds: float,
) -> None:
    """Train the base on every training row, and freeze the budget with it."""
    from shoal.formats.fitted_state import save_state
    from shoal.formats.kinds import VALIDATION
    from shoal.formats.row_store import ShardRows
    from shoal.partitions.held import HeldShards
    from shoal.training.budget import Budget
    from shoal.training.determinism import deterministic
    from shoal.training.fit import train_on_shards
    from shoal.training.model import build_model, weights
    from shoal.training.processes import end_helpers
    from shoal.training.resume import Checkpoints

    deterministic(threads)
    ledger = Ledger("base_fit")
    shapes = Shapes.load(shapes_path)
    net = build_model(model, shapes, training.seed)
    made_of = {"model": model.as_json(), "training": training.as_json()}
    checkpoints = Checkpoints(out, checkpoint_seconds, ledger, made_of)
    held = None if training.patience is None else HeldShards(rows, training.buffer_rows)
    training_rows = train_on_shards(
        net,
        rows,
        training,
        shapes,
        ledger,
        rows=lambda count: Budget.of(training, count).base_rows,
        flops=(training.flops or 0.0) * training.base_share,
        checkpoints=checkpoints,
        held=held,
    )
    end_helpers()
    ledger.rows_read = training_rows
    budget = Budget.of(training, training_rows)
    if training.flops is not None:
        validation_rows = 0
        for path in rows:
            with ShardRows(path) as shard:
                validation_rows += int((shard.read("fold") == VALIDATION).sum())
        choosing_rows = len(HeldShards(rows, 0) if held is None else held)
        spent = ledger.record()
        budget = Budget.of_flops(training, training_rows, spent, validation_rows, choosing_rows)
    ledger.write(ledger_out)
    save_state(out, weights(net), {"budget": asdict(budget), "model": model.as_json()})
    checkpoints.remove()


@dataclass(frozen=True)
class Common:
    """Common arguments of the slots of a search; what all of them read is read once.

    Attributes:
        model: The user's model.
        training: Settings of the training.
        index: The partition index.
        base: The base, from which every training starts.
        shapes: Shape of rows and labels.
        fits: Ledgers of embedding and clusters.
        trials: How much a partition trains.
        checkpoint_seconds: Time between two checkpoints of a training.
        costs: FLOPs of a step, by kind of model and shape of a batch.
    """

    model: Model
    training: Training
    index: Path
    base: Path
    shapes: Path
    fits: Sequence[Path]
    trials: Trials
    checkpoint_seconds: float
    costs: dict[str, dict[Hashable, int]] = field(default_factory=lambda: defaultdict(dict))

    @cached_property
    def start(self) -> tuple[dict[str, NDArray[Any]], BaseFacts]:
        """Weights and record of the base."""
        from shoal.formats.fitted_state import load_state

        return load_state(self.base, BaseFacts)

    @cached_property
    def rows(self) -> Shapes:
        """Shape of rows and labels."""
        return Shapes.load(self.shapes)

    @cached_property
    def budget(self) -> Budget:
        """How many rows specialists may see."""
        return frozen_budget(self.start[1]["budget"], self.fits, self.trials)

    @cached_property
    def partitions(self) -> PartitionIndex:
        """Content of the partition index."""
        return read_made(self.index, PartitionIndex)

    def continued(self, name: str) -> Continued | None:
        """What a specialist continues from, if it does.

        Args:
            name: Its name: a link's, or the digest of its rows.
        """
        if point_of(name) is None:
            return None
        entries = self.partitions["partitions"]
        return next((own["continued"] for own in entries if own["specialist"] == name), None)


class Slot:
    """The training of one slot from the base on its partition's rows and no others.

    That of a specialist that continues starts from the one before, on new rows and some others;
    where a share of its weights moves, it is done twice, see :mod:`shoal.training.fixed`.

    Where trainings stop early, the first half of the partition's validation rows says when.

    Rows of classes that the generation does not know are left out. A training in parts has the
    bits of one that is done at once. One that may diverge, and does, says so in its weights'
    record and ranks last.

    Attributes:
        ledger: Its account.
        kind: What it has in common with trainings that may step together with it.
        lean: Its steps, where some are left and are done without Lightning; else None.
    """

    def __init__(
        self, common: Common, candidate: Candidate, digest: str, out: Path, ledger_out: Path
    ) -> None:
        """Read what it needs, and begin or go on.

        Args:
            common: What it shares with others.
            candidate: What the slot trains.
            digest: Identity of the rows that the partition's specialist is made from.
            out: The weights.
            ledger_out: What the training cost.
        """
        from shoal.formats.documents.index import named_file
        from shoal.formats.fitted_state import load_state
        from shoal.formats.hashing import file_hash, json_hash
        from shoal.partitions.held import HeldRows
        from shoal.partitions.reader import Index, training_rows
        from shoal.search.points import at_point
        from shoal.training.fit import begin_on_rows
        from shoal.training.fixed import train_share
        from shoal.training.model import build_model, keep_statistics, load_weights
        from shoal.training.resume import Checkpoints

        self._candidate = candidate
        self._out = out
        self._ledger_out = ledger_out
        self.ledger = Ledger("train_specialist")
        index, shapes = Index(common.index, common.partitions), common.rows
        rows, choosing = training_rows(index, digest)
        self.ledger.rows_read = index.rows_read
        model, training = at_point(common.model, common.training, candidate.point)
        self._net = build_model(model, shapes, training.seed)
        self._continued = common.continued(digest)
        start, parent = common.start[0], None
        if self._continued is not None:
            path = named_file(common.index, self._continued["weights"])
            start, parent = load_state(path)[0], file_hash(path)
        load_weights(self._net, start)
        if self._continued is not None and self._continued["mixing"]["buffers"] == "frozen":
            keep_statistics(self._net)
        budget = common.budget.specialist_rows(len(rows["y"]))
        made_of = {"model": model.as_json(), "training": training.as_json(), "rows": digest}
        self._checkpoints = Checkpoints(out, common.checkpoint_seconds, self.ledger, made_of)
        self._meta = {"digest": digest, "point": candidate.point, "rows": len(rows["y"])}
        if self._continued is not None:
            self._meta |= {"continues": self._continued["specialist"], "parent": parent}
        self._begun: Begun | None = None
        self.kind = json_hash([model.as_json(), training.loss_json])
        part = candidate.part
        self._twice: Callable[[], None] | None = None
        share = None if self._continued is None else self._continued.get("moves")
        if part is not None and candidate.diverged is None:
            _begin(part, training, budget if share is None else 0)
        begin = partial(
            begin_on_rows,
            self._net,
            rows,
            training,
            shapes,
            budget,
            self.ledger,
            self._checkpoints,
            part if share is None else None,
            common.costs[self.kind],
            HeldRows(choosing),
        )
        if budget and share is not None:
            self._twice = partial(
                train_share, self._net, share, lambda fixed: begin(fixed=fixed).whole()
            )
        elif budget and candidate.diverged is None:
            self._begun = begin()
        self.lean = self._begun.lean if self._begun else None
        if self.lean is not None:
            self.kind += f" {self.lean.batch_size}"

    def train(self) -> None:
        """Do the steps that are left and write.

        Raises:
            DivergedError: It diverged and may not.
            ModelError: The user's model raised something.
        """
        from shoal.training.fit import calling

        failure = None
        if self._begun is not None:
            try:
                with calling(self._net):
                    self._begun.run()
            except DivergedError as error:
                failure = error
        if self._twice is not None:
            with calling(self._net):
                self._twice()
        self.write(failure)

    def write(self, failure: Exception | None = None) -> None:
        """Write weights and account.

        Args:
            failure: Why its steps ended early, if they did.

        Raises:
            DivergedError: It diverged and may not.
            ModelError: The user's model raised something.
        """
        from shoal.formats.checkpoint import write_checkpoint
        from shoal.formats.fitted_state import save_state
        from shoal.training.fit import calling
        from shoal.training.model import weights
        from shoal.training.resume import say_once

        part, diverged = self._candidate.part, self._candidate.diverged
        if isinstance(failure, DivergedError) and self._candidate.may_diverge:
            diverged = str(failure)
        elif failure is not None:
            with calling(self._net):
                raise failure
        elif self._begun is not None:
            self._begun.close()
        meta: dict[str, Any] = self._meta
        if diverged is not None:
            say_once(f"out of the search: {diverged}")
            meta["diverged"] = diverged
            if part is not None:
                write_checkpoint(part.left, {"diverged": diverged})
        if self._continued is not None:
            self.ledger.flops += self._continued["spent"]
            self.ledger.detail[BEFORE] = self._continued["spent"]
        self.ledger.write(self._ledger_out)
        save_state(self._out, weights(self._net), meta)
        self._checkpoints.remove()


def train_slot(
    common: Common, candidate: Candidate, digest: str, out: Path, ledger_out: Path
) -> None:
    """Train one slot; see :class:`Slot`.

    Raises:
        DivergedError: It diverged and may not.
    """
    Slot(common, candidate, digest, out, ledger_out).train()


def _begin(part: Part, training: Training, budget: int) -> None:
    """Draw as every run does, so that the state is the same; without a budget it is empty."""
    import numpy as np

    from shoal.formats.checkpoint import write_checkpoint

    random.seed(training.seed)
    np.random.seed(training.seed % 2**32)  # noqa: NPY002 - a user's module may draw from it
    if not budget:
        write_checkpoint(part.left, {})
