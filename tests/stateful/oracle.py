"""What has to run after an edit, worked out from rows and settings alone.

Nothing of the package is used here but frozen facts of the generation: where it puts each row of
the universe, and which growths of it have found something.
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
    """Where the generation puts a row; ``chooses``: whether it may end trainings."""

    fold: str
    partition: int
    runner_up: int
    chooses: bool


Places = dict[int, Place]


@dataclass(frozen=True)
class Choices:
    """The settings that scripts change."""

    grid: tuple[float, ...] = (0.01,)
    weight_decay: float = 0.01
    temperature: float = 1.0
    bootstrap: int = 60
    patience: float | None = None
    widths: tuple[int, ...] = (2,)
    devices: int | None = None
    grow: str = "report"

    def overrides(self) -> list[str]:
        """The settings in Hydra's syntax."""
        several = len(self.widths) > 1
        width = f"[{','.join(map(str, self.widths))}]" if several else self.widths[0]
        return [
            f"grid.lr=[{','.join(map(str, self.grid))}]",
            f"train_specialists.weight_decay={self.weight_decay}",
            f"train_router.temperature={self.temperature}",
            f"evaluate.bootstrap={self.bootstrap}",
            f"train_specialists.patience={_said(self.patience)}",
            f"model.width={width}",
            f"packing.devices={_said(self.devices)}",
            f"changes.grow={self.grow}",
        ]

    def change(self, **values: object) -> Choices:
        """Other settings."""
        return replace(self, **values)  # type: ignore[arg-type]

    def home(self, width: int) -> Identity:
        """Where a width is published: a variant is another one with another budget."""
        return () if len(self.widths) == 1 else (width, self.patience)


@dataclass
class Oracle:
    """Which jobs are done and which are needed.

    Attributes:
        places: Where each row of the universe is put.
        min_rows: Training rows below which a partition has no specialist.
        at_fit: Rows that the assigner in use was fitted on, or grew by.
        grown: Growths of the assigner in use.
        done: Jobs whose results lie in the results folder.
        published: The release that was published last, by home.
        answered: The releases whose choices were compared last.
    """

    places: Places
    min_rows: int
    at_fit: Dataset
    grown: tuple[str, ...] = ()
    done: set[Identity] = field(default_factory=set)
    published: dict[Identity, Identity] = field(default_factory=dict)
    answered: Identity = ()

    def applied(self, data: Dataset) -> set[Identity]:
        """Jobs that make encoded rows of source files."""
        rules = ("split", "transform", "encode")
        return {(rule, *shard) for rule in rules for shard in shards_of(data)}

    def looks_for_growth(self, data: Dataset) -> Identity | None:
        """The job that looks for rows of a new kind, where source files have come."""
        shards = shards_of(data)
        return None if shards <= shards_of(self.at_fit) else ("cluster_grow", self.grown, shards)

    def has_grown(self, data: Dataset) -> None:
        """Take note that ``shoal grow`` has looked at these rows, as far as it takes."""
        looked = self.looks_for_growth(data)
        assert looked is not None
        self.done |= {*self.applied(data), looked}

    def grows(self, data: Dataset, grown: tuple[str, ...], places: Places) -> set[Identity]:
        """Take note that the assigner has grown by the rows of now, and so where rows are put.

        No row of training or validation that it was fitted with is in another partition.

        Returns:
            The job that looked for it, unless it was done before.
        """
        looked = self.looks_for_growth(data)
        assert looked is not None
        assert grown[:-1] == self.grown
        kept = {row.number for row in data.rows & self.at_fit.rows}
        learnt = {number for number in kept if places[number].fold != "test"}
        for number in learnt:
            assert places[number].partition == self.places[number].partition
        self.at_fit, self.grown, self.places = data, grown, places
        return {looked} - self.done

    def needed(self, data: Dataset, choices: Choices) -> set[Identity]:
        """Every job of the plan for these rows and settings, publishing aside."""
        jobs, shards, grown = self.applied(data), shards_of(data), self.grown
        jobs |= {("assign", *shard, grown) for shard in shards}
        looked = self.looks_for_growth(data)
        if choices.grow == "auto" and looked is not None:
            jobs.add(looked)
        index = (shards, choices.patience is not None, grown)
        jobs |= {("split_check", shards), ("partition", *index), ("drift_sample", grown)}
        for width in choices.widths:
            jobs |= self._of_width(data, choices, width)
        if len(choices.widths) > 1:
            jobs.add(("choose_variant", self._rivals(data, choices)))
        return jobs

    def _of_width(self, data: Dataset, choices: Choices, width: int) -> set[Identity]:
        rows, grown = self.by_place(data), self.grown
        numbers = sorted({place.partition for place in self.places.values()})
        fits, learned = self._fits(choices, width), self._learned(choices, width)
        jobs = self.trainings(data, choices, width)
        for number in self.trained(data):
            made_from, validation = self._made_from(data, choices, number), rows[number, FOLDS[1]]
            jobs.add(
                ("train_choose", number, made_from, validation, *fits, frozenset(choices.grid))
            )
        fitted = tuple((rows[n, "train"], rows[n, "validation"]) for n in numbers)
        judged = tuple(rows[n, fold] for n in numbers for fold in FOLDS)
        jobs |= {(rule, fitted, learned, grown) for rule in ("train_router", "gate", "pool")}
        jobs |= {("base_fit", *fits)}
        jobs |= {("evaluate_generalist", learned), ("evaluate_random", learned)}
        asked = self.by_place(data, "runner_up")
        for number in numbers:
            own = tuple(rows[number, fold] for fold in FOLDS)
            others = tuple(asked.get((number, fold)) for fold in FOLDS)
            jobs.add(("ask", number, own, others, learned))
        rivals = self._rivals(data, choices)
        jobs |= {("evaluate", judged, learned, grown, choices.bootstrap, rivals)}
        jobs |= {("evaluate_drift", judged, learned, grown)}
        return jobs

    def trainings(self, data: Dataset, choices: Choices, width: int) -> set[Identity]:
        """Specialists of one width, a job for each grid point."""
        fits = self._fits(choices, width)
        return {
            ("train_specialist", number, point, self._made_from(data, choices, number), *fits)
            for number in self.trained(data)
            for point in choices.grid
        }

    def _made_from(self, data: Dataset, choices: Choices, number: int) -> Identity:
        """Training rows of a partition; the validation rows too that say when trainings stop."""
        rows = self.by_place(data)
        validation = rows[number, "validation"] if choices.patience is not None else frozenset()
        stops = frozenset(each for each in validation if self.places[each[0]].chooses)
        return (rows[number, "train"], stops)

    @staticmethod
    def _fits(choices: Choices, width: int) -> Identity:
        return (choices.weight_decay, choices.patience, width)

    def _learned(self, choices: Choices, width: int) -> Identity:
        return (*self._fits(choices, width), frozenset(choices.grid), choices.temperature)

    def _rivals(self, data: Dataset, choices: Choices) -> Identity:
        """All that a choice among variants takes: their rows as they are cut into files."""
        if len(choices.widths) == 1:
            return ()
        learned = tuple(self._learned(choices, width) for width in choices.widths)
        return (shards_of(data), learned, self.grown)

    def release(self, data: Dataset, choices: Choices, width: int) -> Identity:
        """Identity of what is published: rows as they are cut into files, and settings."""
        learned, rivals = self._learned(choices, width), self._rivals(data, choices)
        shards, home = shards_of(data), choices.home(width)
        return ("pool_publish", home, shards, learned, choices.bootstrap, self.grown, rivals)

    def _releases(self, data: Dataset, choices: Choices) -> dict[Identity, Identity]:
        return {choices.home(w): self.release(data, choices, w) for w in choices.widths}

    def _answers(self, data: Dataset, choices: Choices) -> Identity | None:
        """The job that compares choices, where there is more than one."""
        several = len(choices.grid) > 1 or len(choices.widths) > 1
        return ("answers", *self._releases(data, choices).values()) if several else None

    def expected(self, data: Dataset, choices: Choices) -> set[Identity]:
        """Jobs that a run has to do, and no others."""
        jobs = self.needed(data, choices) - self.done
        answers = self._answers(data, choices)
        if answers is not None and answers != self.answered:
            jobs.add(answers)
        releases = self._releases(data, choices).items()
        return jobs | {release for home, release in releases if self.published.get(home) != release}

    def finished(self, data: Dataset, choices: Choices) -> None:
        """Take note that a run has ended well."""
        self.done |= self.needed(data, choices)
        self.published |= self._releases(data, choices)
        self.answered = self._answers(data, choices) or self.answered

    def by_place(
        self, data: Dataset, name: str = "partition"
    ) -> dict[tuple[int, str], frozenset[tuple[int, str, int]]]:
        """Content of each partition, or runner-up, and fold: rows without notes, how often."""
        counts: dict[tuple[int, str], Counter[tuple[int, str]]] = {
            (getattr(place, name), fold): Counter()
            for place in self.places.values()
            for fold in FOLDS
        }
        for row, times in data.rows.items():
            place = self.places[row.number]
            counts[getattr(place, name), place.fold][row.number, row.label] += times
        return {
            place: frozenset((*row, times) for row, times in found.items())
            for place, found in counts.items()
        }

    def trained(self, data: Dataset) -> list[int]:
        """Partitions with enough training rows."""
        rows = self.by_place(data)
        sizes = {
            number: sum(times for *_, times in found)
            for (number, fold), found in rows.items()
            if fold == "train"
        }
        return sorted(number for number, size in sizes.items() if size >= self.min_rows)


def packed(jobs: set[Identity], choices: Choices) -> dict[str, bool]:
    """Of a job per specialist, and one per pack of them, whether a run has any."""
    counts = Counter(job[-1] for job in jobs if job[0] == "train_specialist").values()
    together = [count > 1 and choices.devices is not None for count in counts]
    return {"train_specialist": not all(together), "train_pack": any(together)}


def shards_of(data: Dataset) -> frozenset[Identity]:
    """The shards of a dataset: the hash of a source file, and the number of the copy."""
    counts = data.shards().items()
    return frozenset((content, copy) for content, copies in counts for copy in range(copies))


def _said(value: float | None) -> str:
    return "null" if value is None else str(value)
