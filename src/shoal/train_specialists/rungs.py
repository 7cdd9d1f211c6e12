"""Commands ``train-rung`` and ``train-rank``: successive halving of a partition's grid points.

Source:
    Jamieson and Talwalkar 2016, Non-stochastic Best Arm Identification; Li et al. 2018, Hyperband.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shoal.errors import DivergedError
from shoal.formats.ledger import Ledger
from shoal.training.resume import Checkpoints, Part, say_once

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from shoal.search.points import Point
    from shoal.settings.learning import Model, Training
    from shoal.train_specialists.start import Start


@dataclass(frozen=True)
class Candidate:
    """What a slot trains.

    Attributes:
        point: The grid point.
        divisors: One in so many of its steps is done when the rung ends, and when the rung before
            ended; None on the first rung.
        begun: The state that it goes on from; None on the first rung.
        diverged: Why it does not go on; None where it does.
    """

    point: Point
    divisors: tuple[int, int | None]
    begun: Path | None
    diverged: str | None


@dataclass(frozen=True)
class Outputs:
    """Files that a slot's job writes.

    Attributes:
        model: Weights.
        state: What the next rung goes on from.
        ledger: What it cost.
    """

    model: Path
    state: Path
    ledger: Path


def train_rung(
    model: Model,
    training: Training,
    candidate: Candidate,
    index_path: Path,
    digest: str,
    base_path: Path,
    shapes_path: Path,
    out: Outputs,
    checkpoint_seconds: float,
) -> None:
    """Train a grid point until its rung ends, from the base or from where the rung before ended.

    A point that goes through all rungs has the bits of one that was trained at once. One whose
    loss is not finite any more says so in what it leaves, and ranks last.
    """
    from shoal.formats.checkpoint import write_checkpoint
    from shoal.formats.fitted_state import save_state
    from shoal.train_specialists.start import start
    from shoal.training.model import weights

    ledger, point = Ledger("train_rung"), candidate.point
    at = start(model, training, point, index_path, digest, base_path, shapes_path)
    diverged = candidate.diverged
    if diverged is None:
        checkpoints = Checkpoints(out.model, checkpoint_seconds, ledger, at.made_of)
        part = Part(*candidate.divisors, candidate.begun, out.state)
        diverged = _trained(at, ledger, checkpoints, part)
        checkpoints.remove()
    if diverged is not None:
        say_once(f"out of the search: {diverged}")
        write_checkpoint(out.state, {"diverged": diverged})
    ledger.rows_read = at.rows_read
    ledger.write(out.ledger)
    facts = {"digest": digest, "point": point, "rows": len(at.rows["y"])}
    save_state(out.model, weights(at.net), facts | {"diverged": diverged})


def _trained(at: Start, ledger: Ledger, checkpoints: Checkpoints, part: Part) -> str | None:
    """Train a part in place; why it diverged, or None."""
    import numpy as np

    from shoal.formats.checkpoint import write_checkpoint
    from shoal.training.fit import train_on_rows

    # What a module draws from these is then the same in each run, and so is the state.
    random.seed(at.training.seed)
    np.random.seed(at.training.seed % 2**32)  # noqa: NPY002 - a user's module may draw from it
    if not at.budget:
        write_checkpoint(part.left, {})
        return None
    try:
        train_on_rows(at.net, at.rows, at.training, at.task, at.budget, ledger, checkpoints, part)
    except DivergedError as error:
        return str(error)
    return None


def candidate_in(
    slot: str, ranking: Path, states: Sequence[Path], divisors: tuple[int, int | None]
) -> Candidate:
    """What a slot of a later rung trains: the point that its number in the ranking says.

    Args:
        slot: The slot's name, which ends in its number.
        ranking: What followed the rung before.
        states: What the slots of that rung left.
        divisors: See :class:`Candidate`.
    """
    from shoal.formats.documents.choice import Ranking
    from shoal.formats.json_file import read_made

    entry = read_made(ranking, Ranking)["order"][int(slot.rsplit("-", 1)[1])]
    (begun,) = (path for path in states if path.parent.name == entry["slot"])
    return Candidate(entry["point"], divisors, begun, entry["diverged"])


def train_rank(
    model: Model,
    index_path: Path,
    digests: tuple[str, str],
    base_path: Path,
    shapes_path: Path,
    specialists: Sequence[Path],
    out: Path,
) -> None:
    """Rank a rung's slots by their loss on the half of validation that chooses grid points.

    Those that diverged come last; equal ones in order of their points' ids.
    """
    from shoal.train_specialists.choice import measure, write_measured

    ledger = Ledger("train_rank")
    measured = measure(model, index_path, digests, base_path, shapes_path, specialists, ledger)
    content: dict[str, Any] = {
        "order": [
            {
                "slot": each.path.parent.name,
                "point": each.point,
                "loss": each.loss,
                "diverged": each.diverged,
            }
            for each in measured.candidates
        ],
    }
    write_measured(out, measured, digests, content, ledger)
