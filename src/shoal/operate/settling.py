"""What has stayed as it is for a while: files here, or at a URL."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from shoal.formats.text import count_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Name = TypeVar("Name")
State = TypeVar("State")

_MOST_NAMED = 3


@dataclass
class Settling(Generic[Name, State]):
    """Things as they were seen, and since when they are so, by this process's own clock.

    Attributes:
        settle: Seconds for which one has to stay as it is.
    """

    settle: float
    _seen: dict[Name, tuple[State | None, float]] = field(default_factory=dict)

    def look(self, now: Mapping[Name, State | None], known: Iterable[Name]) -> None:
        """Take what is there now, and look for what was known and may be gone."""
        at, seen = time.monotonic(), self._seen
        names = {*now, *known, *self.moving()}
        for name in names:
            if name not in seen or seen[name][0] != now.get(name):
                seen[name] = (now.get(name), at)
        self._seen = {name: seen[name] for name in names}

    def take(self, states: Mapping[Name, State | None]) -> None:
        """Take states, None for what is gone, that need no time to settle."""
        self._seen |= {name: (state, -math.inf) for name, state in states.items()}

    def settled(self) -> dict[Name, State]:
        """What is there and has settled."""
        moving = self.moving()
        states = {
            name: self._seen[name][0] for name in sorted(self._seen, key=str) if name not in moving
        }
        return {name: state for name, state in states.items() if state is not None}

    def moving(self) -> dict[Name, float]:
        """What came, changed or went so lately, and seconds until it may have settled."""
        now = time.monotonic()
        ages = {name: now - self._seen[name][1] for name in sorted(self._seen, key=str)}
        return {name: self.settle - age for name, age in ages.items() if age < self.settle}


def names_text(names: Sequence[object]) -> str:
    """Some of the names, and how many more there are."""
    more = len(names) - _MOST_NAMED
    named = ", ".join(map(str, names[:_MOST_NAMED]))
    return f"{named} and {count_text(more)} more" if more > 0 else named
