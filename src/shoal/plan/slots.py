"""Where the slots and decisions of a partition's search lie, and which jobs make them.

Slots are fixed before anything has run. Those of the first step are named by their grid points;
what a later one trains is said by the decision that follows the step before. A decision's path
names all that it is made from, and the slots that it fills lie under its identity.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from shoal.formats.hashing import settings_id
from shoal.search.slot_names import later_slot

if TYPE_CHECKING:
    from pathlib import Path

WEIGHTS, LEDGER, STATE = "model.safetensors", "ledger.json", "state.safetensors"
"""Files of a slot: weights, what training it cost, and what a later step goes on from."""


@functools.cache
def decided(
    specialists: str, search: str, trained: tuple[tuple[str, ...], ...], *, is_last: bool
) -> str:
    """Identity of the decision after some steps.

    Args:
        specialists: Identity of what trains in the first step.
        search: Identity of how the slots of later steps are filled.
        trained: The slots of each step so far: grid points, then numbers.
        is_last: Whether no step follows.
    """
    first, *later = trained
    return settings_id(specialists, search, sorted(first), later, is_last)


class _Step(NamedTuple):
    """One step: identity and names of its slots, those that train, identity of its decision."""

    identity: str
    every: tuple[str, ...]
    slots: tuple[str, ...]
    after: str


@dataclass(frozen=True)
class Slots:
    """The search of one partition.

    Attributes:
        folder: The generation's folder.
        specialists: Identity of what trains in the first step.
        search: Identity of how the slots of later steps are filled.
        points: Ids of the grid points of the first step.
        counts: How many slots each step trains.
        goes_on: Whether slots of later steps go on from the state of those before.
        digest: Of the partition's training rows.
        validation: Of its validation rows, by which grid points are compared.
        left_out: Slots ``ID/DIGEST/STEP/SLOT`` whose training failed, and that it goes on without.
    """

    folder: Path
    specialists: str
    search: str
    points: tuple[str, ...]
    counts: tuple[int, ...]
    goes_on: bool
    digest: str
    validation: str
    left_out: frozenset[str] = frozenset()

    @functools.cached_property
    def _steps(self) -> list[_Step]:
        found: list[_Step] = []
        identity, trained = self.specialists, list[tuple[str, ...]]()
        for step, count in enumerate(self.counts):
            most = min(count, len(trained[-1])) if trained and self.goes_on else count
            every = self.points if not step else tuple(map(str, range(most)))
            names = {each: later_slot(self.validation, each) if step else each for each in every}
            place = f"{identity}/{self.digest}/{step}"
            kept = tuple(e for e in every if f"{place}/{names[e]}" not in self.left_out)
            trained.append(kept)
            is_last = step == self.count - 1
            after = decided(self.specialists, self.search, tuple(trained), is_last=is_last)
            slots = tuple(names[each] for each in kept)
            found.append(_Step(identity, tuple(names.values()), slots, after))
            identity = after
        return found

    @property
    def identities(self) -> list[str]:
        """Identities of the first step's slots and of all decisions."""
        return [self.specialists, *(each.after for each in self._steps)]

    @property
    def lacks(self) -> list[str]:
        """Slots ``ID/DIGEST/STEP/SLOT`` that it goes on without."""
        return [name for name in self.left_out if self.has(name)]

    def has(self, name: str) -> bool:
        """Whether it has a slot ``ID/DIGEST/STEP/SLOT``, left out or not."""
        return any(
            name == self.full_name(step, slot)
            for step, own in enumerate(self._steps)
            for slot in own.every
        )

    def full_name(self, step: int, slot: str) -> str:
        """Name ``ID/DIGEST/STEP/SLOT`` of a step's slot."""
        return f"{self._steps[step].identity}/{self.digest}/{step}/{slot}"

    @property
    def outputs(self) -> tuple[str, ...]:
        """Files of each slot."""
        return (WEIGHTS, LEDGER, STATE) if self.goes_on else (WEIGHTS, LEDGER)

    @property
    def count(self) -> int:
        """Number of steps."""
        return len(self.counts)

    def identity(self, step: int, *, decided: bool) -> str:
        """Identity of a step's slots, or of the decision that follows."""
        own = self._steps[step]
        return own.after if decided else own.identity

    def steps_before(self, step: int) -> range:
        """The step before one; none before the first."""
        return range(max(0, step - 1), step)

    def steps_compared(self, step: int) -> range:
        """Steps whose slots the decision after one compares."""
        return range(step if self.goes_on else 0, step + 1)

    def names(self, step: int) -> tuple[str, ...]:
        """Names of a step's slots."""
        return self._steps[step].slots

    def files(self, step: int, name: str) -> list[Path]:
        """One file of each of a step's slots."""
        own = self._steps[step]
        folder = self.folder / "specialists" / own.identity / self.digest / str(step)
        return [folder / slot / name for slot in own.slots]

    def decision(self, step: int) -> Path:
        """The decision that follows a step."""
        folder = self.folder / "choices" / self._steps[step].after / self.digest / str(step)
        return folder / f"{self.validation}.json"

    def compared(self, step: int) -> list[Path]:
        """Weights that the decision after a step compares, in order."""
        return [path for each in self.steps_compared(step) for path in self.files(each, WEIGHTS)]

    def names_compared(self, step: int) -> list[str]:
        """Names of the slots whose weights those are."""
        return [name for each in self.steps_compared(step) for name in self.names(each)]

    def before(self, step: int) -> tuple[list[Path], dict[str, Path]]:
        """The decision that fills a step's slots, and states that they go on from, by slot."""
        if not step:
            return [], {}
        names, files = self.names(step - 1), self.files(step - 1, STATE)
        states = dict(zip(names, files, strict=True)) if self.goes_on else {}
        return [self.decision(step - 1)], states

    @property
    def choice(self) -> Path:
        """The decision after the last step."""
        return self.decision(self.count - 1)

    @functools.cached_property
    def candidates(self) -> tuple[Path, ...]:
        """Weights among which the specialist is chosen; none where no slot of a decision trains."""
        return tuple(self.compared(self.count - 1)) if self.names(0) else ()

    @property
    def ledgers(self) -> list[Path]:
        """Ledgers of all slots, and of all decisions but the last."""
        found: list[Path] = []
        for step in range(self.count):
            found += [*self.before(step)[0], *self.files(step, LEDGER)]
        return found
