"""The budget of specialists, where a number of FLOPs is given for all that makes a pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from shoal.formats.documents.ledger import LedgerRecord
from shoal.formats.json_file import read_made
from shoal.formats.ledger import training_flops
from shoal.training.budget import Budget

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from shoal.formats.documents.choice import Point
    from shoal.formats.documents.weights import BudgetFacts
    from shoal.search.steps import Steps


class Trials(NamedTuple):
    """How much each partition trains: slots of all steps, and as whole trainings."""

    slots: int
    whole: float

    @classmethod
    def of(cls, points: Mapping[str, Point], steps: Steps) -> Trials:
        """Those of a search.

        Args:
            points: Grid points of its first step.
            steps: Its steps.
        """
        return cls(sum(steps.slots(len(points))), steps.trainings(len(points)))


def frozen_budget(facts: BudgetFacts, fits: Sequence[Path], trials: Trials) -> Budget:
    """How many rows specialists may see; what it is made from is frozen with the generation.

    Args:
        facts: The budget, as the base has it.
        fits: Ledgers of embedding and clusters.
        trials: How much a partition trains.

    Raises:
        SettingsError: A number of FLOPs is given, and nothing of it is left for specialists.
    """
    budget = Budget(**facts)
    if budget.flops is None:
        return budget
    embedding, clusters = (read_made(path, LedgerRecord) for path in fits)
    spent, found = training_flops([embedding, clusters]), clusters["facts"]
    return budget.after(spent, found["placing"], found["partitions"], *trials)
