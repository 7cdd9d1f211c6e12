"""What each model in use has seen, as it was noted down when the run that made it ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.stateful.oracle import removed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.stateful.dataset import Dataset
    from tests.stateful.oracle import Choices, Identity, Model, Oracle, Rows

GENERATION, BASE = "generation", ""
"""The generalist of a generation, and the base, which may have seen rows that are gone."""


@dataclass
class Lineages:
    """Models by the names that partition indexes give them.

    Attributes:
        rows: Of each model, the rows that there were when its name first stood in an index.
        parents: What each continues from, as that index said.
        names: The name of each model that the oracle knows.
    """

    rows: dict[str, tuple[Rows, Rows]] = field(default_factory=dict)
    parents: dict[str, str] = field(default_factory=dict)
    names: dict[Identity, str] = field(default_factory=dict)

    def check(
        self, index: dict[str, Any], oracle: Oracle, data: Dataset, choices: Choices, width: int
    ) -> None:
        """Models in use are those that the oracle expects, and have seen no row that is gone."""
        expected, fits = oracle.index(data, choices, width), choices.fits(width)
        for entry in index["partitions"]:
            if entry["trained"]:
                number, name = entry["partition"], entry["specialist"]
                rows = oracle.made_from(data, choices, number)
                self._note(name, rows, entry.get("continued"))
                self._has_seen_nothing_else(name, rows)
                self._is(expected.specialists[number], name, fits, entry.get("continued"))
        continued = index.get("continued")
        assert (continued is None) == (expected.generalist is None)
        if continued is not None and expected.generalist is not None:
            name, rows = continued["link"], (oracle.training_rows(data), frozenset())
            self._note(name, rows, continued)
            self._has_seen_nothing_else(name, rows)
            self._is(expected.generalist, name, fits, continued)

    def _note(self, name: str, rows: tuple[Rows, Rows], continued: dict[str, Any] | None) -> None:
        if name not in self.rows:
            self.rows[name] = rows
            self.parents[name] = BASE if continued is None else continued["specialist"]

    def _lineage(self, name: str) -> Iterator[str]:
        while name not in (GENERATION, BASE):
            yield name
            name = self.parents[name]

    def _has_seen_nothing_else(self, name: str, now: tuple[Rows, Rows]) -> None:
        for each in self._lineage(name):
            for seen, there in zip(self.rows[each], now, strict=True):
                assert not removed(seen, there), f"{name}: {each} has seen rows that are gone"

    def _is(
        self, model: Model, name: str, fits: Identity, continued: dict[str, Any] | None
    ) -> None:
        lineage = [each for each in model.lineage if each.identity != (GENERATION,)]
        for each, own in zip(lineage, self._lineage(name), strict=True):
            assert self.names.setdefault((fits, each.identity), own) == own
        if continued is not None and model.parent is not None:
            said = (continued["added"], continued["drawn"], continued["links"])
            assert said == (model.added, model.drawn, model.links)
            assert continued["specialist"] in continued["weights"].split("/")
