"""Command ``compare-mixes``: whether models continue with rows of history, or by new rows alone.

What a mix would have given is known one release later. So the last link of the generalist is made
again from its parent by each mix, on a sample of its rows, and all are asked about the rows of the
training fold that have arrived since. The mix of the lowest loss, the past counted half as much at
each release, is the one by which this release's models continue. Nothing is kept but the losses.

Source:
    Prequential scores with a fading factor: Gama, Sebastião and Rodrigues 2013.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.errors import DivergedError
from shoal.evaluate.continuing import taken_rows
from shoal.formats.documents.weights import AtPoint, BaseFacts
from shoal.formats.fitted_state import load_state
from shoal.formats.hashing import more_often, uniform
from shoal.formats.json_file import write_json
from shoal.formats.ledger import BEFORE, Ledger
from shoal.formats.provenance import made_from
from shoal.formats.shapes import Shapes
from shoal.partitions.drawn import drawn_rows, is_by_age
from shoal.partitions.generalist import parent_of, seen_by, stores_of, training_hashes
from shoal.partitions.reader import Index
from shoal.search.points import at_point
from shoal.train_specialists.budget import Trials, frozen_budget
from shoal.training.determinism import deterministic
from shoal.training.fit import train_on_rows
from shoal.training.model import (
    answer_flops,
    build_model,
    keep_statistics,
    load_weights,
    losses_by_row,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from shoal.formats.documents.choice import Point
    from shoal.formats.documents.index import Generalist
    from shoal.formats.documents.mixes import Mix, Mixes
    from shoal.partitions.generalist import OfGeneration, Stores
    from shoal.search.steps import Steps
    from shoal.settings.learning import Model, Training
    from shoal.settings.running import Continuing
    from shoal.training.budget import Budget

    Flags = NDArray[np.bool_]
    Hashes = NDArray[np.uint8]
    Rows = dict[str, NDArray[Any]]

_SAMPLE = 8
"""Of so many rows of a link, one is a row of the sample."""

_ASKED = 4096
"""Most rows that arrived which the models are asked about."""

_FADING = 0.5


def compare_mixes(
    continuing: Continuing,
    model: Model,
    training: Training,
    points: Mapping[str, Point],
    steps: Steps,
    stores_now: Stores,
    before: Path,
    first: OfGeneration | None,
    base_path: Path,
    shapes_path: Path,
    fits: Sequence[Path],
    out: Path,
    threads: int,
) -> None:
    """Compare mixes of new rows and history by the rows that arrived since the release before.

    Args:
        continuing: The settings. Their mix is compared with new rows alone.
        model: The user's model.
        training: Settings of the training.
        points: Grid points by id.
        steps: The steps of a search.
        stores_now: Row stores of now by shard.
        before: The published index.
        first: The generation's generalist; None while it is not trained.
        base_path: The base, with which the budget was frozen.
        shapes_path: Shape of rows and labels.
        fits: Ledgers of embedding and clusters.
        out: What was found: :class:`shoal.formats.documents.mixes.ComparedMixes`.
        threads: CPU threads; the bits depend on it.
    """
    deterministic(threads)
    ledger, index = Ledger("compare_mixes"), Index(before)
    earlier, continued = index.content.get("mixes"), index.content.get("continued")
    asked, losses, reason = _arrived(index, stores_now), {}, None
    if first is None or continued is None or not continued["weights"]:
        reason = "the generalist did not continue in the release before"
    elif not (parent := parent_of(before, continued, first)).exists():
        reason = f"{parent}: is gone, which the generalist continued from"
    elif not len(asked["y"]):
        reason = "no training row arrived"
    else:
        facts = load_state(base_path, BaseFacts)[1]["budget"]
        budget = frozen_budget(facts, fits, Trials.of(points, steps))
        link = _Link(model, training, continuing, parent, Shapes.load(shapes_path), budget, ledger)
        for history, rows in _samples(index, first, continued, stores_now, continuing.history):
            losses[history] = link.loss(rows, asked)
    found = compared((continuing.history, 0.0), losses, earlier)
    if earlier is not None:
        ledger.flops += earlier["spent"]
        ledger.detail[BEFORE] = earlier["spent"]
    about = {"rows": len(asked["y"]), "spent": ledger.flops, "reason": reason}
    write_json(out, {"found": {**found, **about}, **ledger.record(), **made_from()})


def compared(
    histories: Sequence[float], losses: Mapping[float, float | None], earlier: Mixes | None
) -> dict[str, Any]:
    """Mixes with what is known of them, and the history of the best one.

    Args:
        histories: History of each mix; of equal ones the first is the best.
        losses: Mean loss by history, None where the training diverged; empty where nothing is new.
        earlier: What was known before, if anything was.
    """
    known = {each["history"]: each["recent"] for each in earlier["mixes"]} if earlier else {}
    mixes: list[Mix] = []
    for history in histories:
        loss, recent = losses.get(history), known.get(history, 0.0)
        if loss is not None:
            recent = _FADING * recent + loss
        mixes.append({"history": history, "loss": loss, "recent": recent})
    standing = [each for each in mixes if not losses or each["loss"] is not None] or mixes[:1]
    return {"mixes": mixes, "history": min(standing, key=lambda each: each["recent"])["history"]}


@dataclass(frozen=True)
class _Link:
    """The last link of the generalist, to be made again."""

    model: Model
    training: Training
    continuing: Continuing
    parent: Path
    shapes: Shapes
    budget: Budget
    ledger: Ledger

    def loss(self, rows: Rows, asked: Rows) -> float | None:
        """Mean loss on some rows of the link that others give; None where it diverges."""
        weights, facts = load_state(self.parent, AtPoint)
        model, training = at_point(self.model, self.training, facts["point"])
        net = build_model(model, self.shapes, training.seed)
        load_weights(net, weights)
        if self.continuing.buffers == "frozen":
            keep_statistics(net)
        seen = self.budget.specialist_rows(len(rows["y"]))
        try:
            train_on_rows(net, rows, training, self.shapes, seen, self.ledger)
        except DivergedError:
            return None
        self.ledger.flops += answer_flops(net, self.shapes) * len(asked["y"])
        task = self.shapes.task
        loss = float(losses_by_row({"": net}, asked["x"], asked["y"], task)[""].mean())
        return loss if math.isfinite(loss) else None


def _samples(
    index: Index, first: OfGeneration, continued: Generalist, now: Stores, history: float
) -> Iterator[tuple[float, Rows]]:
    """By history the rows of a mix: of the last link a sample, of rows that are still there."""
    stores = stores_of(index)
    hashes = training_hashes(stores.values())
    gone, came = _changed(stores, now)
    kept = more_often(hashes, gone[more_often(gone, came)])
    seen = list(islice(seen_by(index.path, first), None if is_by_age(continued) else 1))
    new = more_often(hashes, seen[0])
    sample = _smallest(hashes, kept & new, -(-continued["added"] // _SAMPLE), continued["link"])
    among = sample | (kept & ~new)
    for each in (history, 0.0):
        drawn = min(int((kept & ~new).sum()), math.floor(each * sample.sum()))
        mix: Generalist = {**continued, "drawn": drawn}
        chosen = among.copy()
        chosen[among] = drawn_rows(hashes[among], seen, continued["link"], mix)
        yield each, taken_rows([*stores.values()], hashes, chosen)


def _arrived(index: Index, now: Stores) -> Rows:
    """Training rows that have arrived since an index was published, of many a sample."""
    stores = stores_of(index)
    gone, came = _changed(stores, now)
    arrived = _smallest(came, more_often(came, gone), _ASKED, "arrived")
    if not arrived.any():
        return {"y": np.empty(0)}
    return taken_rows([path for shard, path in now.items() if shard not in stores], came, arrived)


def _changed(before: Stores, now: Stores) -> tuple[Hashes, Hashes]:
    """Hashes of training rows of the shards that are gone, and of those that have come."""
    gone = training_hashes(path for shard, path in before.items() if shard not in now)
    return gone, training_hashes(path for shard, path in now.items() if shard not in before)


def _smallest(hashes: Hashes, among: Flags, count: int, salt: str) -> Flags:
    """Of some rows those with the smallest draw."""
    draws = np.where(among, uniform(hashes, salt, "sample"), np.inf)
    chosen = np.zeros(len(hashes), dtype=bool)
    chosen[np.argsort(draws, kind="stable")[: min(count, int(among.sum()))]] = True
    return chosen
