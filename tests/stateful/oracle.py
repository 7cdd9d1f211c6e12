"""What has to run after an edit, worked out from rows and settings alone.

Nothing of the package is used here but frozen facts of the generation: the fold, the partition and
the runner-up of each row of the universe.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Hashable

    from tests.stateful.dataset import Dataset

FOLDS = ("train", "validation", "test")
Identity = tuple["Hashable", ...]


class Place(NamedTuple):
    """Where the generation puts a row."""

    fold: str
    partition: int
    runner_up: int


@dataclass(frozen=True)
class Choices:
    """The settings that scripts change."""

    grid: tuple[float, ...] = (0.01,)
    weight_decay: float = 0.01
    temperature: float = 1.0
    bootstrap: int = 60

    def overrides(self) -> str:
        """The settings as Snakemake's ``--config overrides``."""
        grid = ",".join(str(value) for value in self.grid)
        return (
            f"[grid.lr=[{grid}],train_specialists.weight_decay={self.weight_decay},"
            f"train_router.temperature={self.temperature},evaluate.bootstrap={self.bootstrap}]"
        )

    def change(self, **values: object) -> Choices:
        """Other settings."""
        return replace(self, **values)  # type: ignore[arg-type]


@dataclass
class Oracle:
    """Which jobs are done and which are needed.

    Attributes:
        places: Fold, partition and runner-up of each row of the universe.
        min_rows: Training rows below which a partition has no specialist.
        done: Jobs whose results lie in the results folder.
        published: The release that was published last.
        releases: All that were published.
        answered: The release whose grid points were compared last.
    """

    places: dict[int, Place]
    min_rows: int
    done: set[Identity] = field(default_factory=set)
    published: Identity = ()
    releases: set[Identity] = field(default_factory=set)
    answered: Identity = ()

    def needed(self, data: Dataset, choices: Choices) -> set[Identity]:
        """Every job of the plan for these rows and settings, publishing aside."""
        jobs: set[Identity] = set()
        shards = tuple(sorted(data.shards().items()))
        for content, copies in shards:
            for copy in range(copies):
                for rule in ("split", "transform", "encode", "assign"):
                    jobs.add((rule, content, copy))
        jobs |= {("split_check", shards), ("partition", shards)}
        rows = self.by_place(data)
        numbers = sorted({place.partition for place in self.places.values()})
        decay, grid, temperature = choices.weight_decay, choices.grid, choices.temperature
        jobs.add(("base_fit", decay))
        for number in self.trained(data):
            train, validation = rows[number, "train"], rows[number, "validation"]
            jobs |= {("train_specialist", number, point, train, decay) for point in grid}
            jobs.add(("train_choose", number, train, validation, decay, frozenset(grid)))
        fitted = tuple((rows[n, "train"], rows[n, "validation"]) for n in numbers)
        judged = tuple(rows[n, fold] for n in numbers for fold in FOLDS)
        learned = (decay, frozenset(grid), temperature)
        jobs |= {(rule, fitted, learned) for rule in ("train_router", "gate", "pool")}
        jobs |= {("evaluate_generalist", learned), ("evaluate_random", learned)}
        asked = self.by_place(data, "runner_up")
        for number in numbers:
            own = tuple(rows[number, fold] for fold in FOLDS)
            others = tuple(asked.get((number, fold)) for fold in FOLDS)
            jobs.add(("ask", number, own, others, learned))
        jobs |= {("evaluate", judged, learned, choices.bootstrap)}
        jobs |= {("drift_sample",), ("evaluate_drift", judged, learned)}
        return jobs

    def release(self, data: Dataset, choices: Choices) -> Identity:
        """Identity of what is published: rows as they are cut into files, and settings."""
        return ("pool_publish", tuple(sorted(data.shards().items())), choices)

    def expected(self, data: Dataset, choices: Choices) -> set[Identity]:
        """Jobs that a run has to do, and no others."""
        release = self.release(data, choices)
        jobs = self.needed(data, choices) - self.done
        if len(choices.grid) > 1 and release != self.answered:
            jobs.add(("answers", *release[1:]))
        if self.published and release not in self.releases and self.has_new_files(data):
            jobs.add(("evaluate_prequential", *release[1:]))
        return jobs | ({release} if release != self.published else set())

    def has_new_files(self, data: Dataset) -> bool:
        """Whether there is a file, by its content, that the last release does not have."""
        before = dict(self.published[1])  # type: ignore[call-overload]
        return any(copies > before.get(content, 0) for content, copies in data.shards().items())

    def finished(self, data: Dataset, choices: Choices) -> None:
        """Take note that a run has ended well."""
        self.done |= self.needed(data, choices)
        self.published = self.release(data, choices)
        self.releases.add(self.published)
        if len(choices.grid) > 1:
            self.answered = self.published

    def by_place(
        self, data: Dataset, name: str = "partition"
    ) -> dict[tuple[int, str], frozenset[tuple[Hashable, int]]]:
        """Content of each partition, or runner-up, and fold: rows without notes, how often."""
        counts: dict[tuple[int, str], Counter[Hashable]] = {
            (getattr(place, name), fold): Counter()
            for place in self.places.values()
            for fold in FOLDS
        }
        for row, times in data.rows.items():
            place = self.places[row.number]
            counts[getattr(place, name), place.fold][row.number, row.label] += times
        return {place: frozenset(found.items()) for place, found in counts.items()}

    def trained(self, data: Dataset) -> list[int]:
        """Partitions with enough training rows."""
        rows = self.by_place(data)
        sizes = {
            number: sum(times for _, times in found)
            for (number, fold), found in rows.items()
            if fold == "train"
        }
        return sorted(number for number, size in sizes.items() if size >= self.min_rows)
