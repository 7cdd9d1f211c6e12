"""What has to run after an edit, worked out from rows and settings alone.

Nothing of the package is used here but frozen facts of the generation: where it puts each row of
the universe, and which growths of it have found something; and of a search over grid points the
one that was chosen.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping

    from tests.stateful.dataset import Dataset

FOLDS = ("train", "validation", "test")
Identity = tuple["Hashable", ...]
Rows = frozenset[tuple[int, str, int]]
"""Numbers and labels of rows, and how often each is there."""


class Place(NamedTuple):
    """Where the generation puts a row; ``chooses``: whether it may end trainings."""

    fold: str
    partition: int
    runner_up: int
    chooses: bool


Places = dict[int, Place]


class Continuing(NamedTuple):
    """Settings of models that continue."""

    history: float = 1.0
    recency: str = "uniform"
    longest: int = 3


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
    continuing: Continuing | None = None

    def overrides(self) -> list[str]:
        """The settings in Hydra's syntax."""
        several = len(self.widths) > 1
        width = f"[{','.join(map(str, self.widths))}]" if several else self.widths[0]
        continuing = self.continuing._asdict().items() if self.continuing else ()
        return [
            f"grid.lr=[{','.join(map(str, self.grid))}]",
            f"train_specialists.weight_decay={self.weight_decay}",
            f"train_router.temperature={self.temperature}",
            f"evaluate.bootstrap={self.bootstrap}",
            f"train_specialists.patience={_said(self.patience)}",
            f"model.width={width}",
            f"packing.devices={_said(self.devices)}",
            f"changes.grow={self.grow}",
            f"continuing={'proactive' if self.continuing else 'none'}",
            *(f"continuing.{name}={value}" for name, value in continuing),
        ]

    def change(self, **values: object) -> Choices:
        """Other settings."""
        return replace(self, **values)  # type: ignore[arg-type]

    def home(self, width: int) -> Identity:
        """Where a width is published: a variant is another one with another budget."""
        return () if len(self.widths) == 1 else (width, self.patience)

    def fits(self, width: int) -> Identity:
        """What base and specialists are trained by."""
        return (self.weight_decay, self.patience, width)

    def learned(self, width: int) -> Identity:
        """What everything that is trained is trained by."""
        return (*self.fits(width), frozenset(self.grid), self.temperature)


@dataclass(frozen=True)
class Model:
    """A specialist or a generalist.

    Attributes:
        identity: What it is made from, without settings.
        rows: Its training rows, and with early stopping the rows that say when trainings stop.
        parent: What it continues from.
        added: Training rows that its parent has not seen.
        drawn: Rows drawn from those that its parent has seen.
    """

    identity: Identity
    rows: tuple[Rows, Rows]
    parent: Model | None = None
    added: int = 0
    drawn: int = 0

    @property
    def lineage(self) -> Iterator[Model]:
        """It, what it continues from, and so on."""
        yield self
        if self.parent is not None:
            yield from self.parent.lineage

    @property
    def links(self) -> int:
        """How many times it was continued."""
        return len([*self.lineage]) - 1

    @property
    def point(self) -> float | None:
        """The grid point of one that continues."""
        return self.identity[-1] if self.identity[0] == "link" else None  # type: ignore[return-value]


@dataclass(frozen=True)
class Index:
    """A partition index.

    Attributes:
        identity: All that it is made from.
        own: The part of it that is rows and assigner.
        ways: How its models continue; None where they do not.
        made: What its specialists were trained by, and searched among.
        specialists: The specialist of each partition that has one.
        generalist: The generalist that continues; None where that is the generation's.
    """

    identity: Identity
    own: Identity
    ways: Identity | None
    made: Identity
    specialists: Mapping[int, Model]
    generalist: Model | None


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
        had: Shards of the last one, by home.
        all_had: Home and shards of all that were published.
        indexes: Its partition index.
        answered: The releases whose choices were compared last.
        generalists: Training rows of the generation's generalist, by what that is trained by.
        points: The grid point at which a partition of a width continues, where several were tried.
    """

    places: Places
    min_rows: int
    at_fit: Dataset
    grown: tuple[str, ...] = ()
    done: set[Identity] = field(default_factory=set)
    published: dict[Identity, Identity] = field(default_factory=dict)
    had: dict[Identity, frozenset[Identity]] = field(default_factory=dict)
    all_had: set[Identity] = field(default_factory=set)
    indexes: dict[Identity, Index] = field(default_factory=dict)
    answered: Identity = ()
    generalists: dict[Identity, Rows] = field(default_factory=dict)
    points: dict[tuple[int, int], float] = field(default_factory=dict)

    # Growing --------------------------------------------------------------------------------

    def looks_for_growth(self, data: Dataset) -> Identity | None:
        """The job that looks for rows of a new kind, where source files have come."""
        shards = shards_of(data)
        return None if shards <= shards_of(self.at_fit) else ("cluster_grow", self.grown, shards)

    def has_grown(self, data: Dataset) -> None:
        """Take note that ``shoal grow`` has looked at these rows, as far as it takes."""
        looked = self.looks_for_growth(data)
        assert looked is not None
        self.done |= {*self._applied(data), looked}

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

    # Models ---------------------------------------------------------------------------------

    def index(self, data: Dataset, choices: Choices, width: int) -> Index:
        """The partition index of these rows and settings, which may follow the published one."""
        own: Identity = (shards_of(data), choices.patience is not None, self.grown)
        made = (*choices.fits(width), frozenset(choices.grid))
        asked, before = choices.continuing, self.indexes.get(choices.home(width))
        if asked is None or before is None or before.made != made:
            before = None
        ways = None if asked is None else (asked, choices.learned(width))
        if before is not None and (before.own, before.ways) == (own, ways):
            return before
        identity = own if ways is None else (own, ways, before.identity if before else None)
        specialists = {
            number: self._specialist(data, choices, number, width, before)
            for number in self.trained(data)
        }
        generalist = self._generalist(data, choices, width, before) if asked else None
        return Index(identity, own, ways, made, specialists, generalist)

    def _specialist(
        self, data: Dataset, choices: Choices, number: int, width: int, before: Index | None
    ) -> Model:
        rows = self.made_from(data, choices, number)
        cold, count = Model(("cold", *rows), rows), _count(rows[0])
        asked = choices.continuing
        if asked is None or before is None or number not in before.specialists:
            return cold
        for parent in before.specialists[number].lineage:
            if any(removed(old, new) for old, new in zip(parent.rows, rows, strict=True)):
                continue
            added = removed(rows[0], parent.rows[0])
            if not added:
                return parent
            drawn = min(count - added, math.floor(asked.history * added))
            if parent.links >= asked.longest or added + drawn >= count * len(choices.grid):
                return cold
            only = choices.grid[0] if len(choices.grid) == 1 else self.points[number, width]
            point = only if parent.point is None else parent.point
            identity = ("link", parent.identity, *rows, asked[:2], point)
            return Model(identity, rows, parent, added, drawn)
        return cold

    def _generalist(
        self, data: Dataset, choices: Choices, width: int, before: Index | None
    ) -> Model | None:
        asked, learned = choices.continuing, choices.learned(width)
        if asked is None or learned not in self.generalists:
            return None
        by_place = self.by_place(data)
        now = tuple(found for place, found in sorted(by_place.items()) if place[1] == "train")
        if choices.patience is not None:
            stops = (p for p in sorted(by_place) if p[1] == "validation")
            now += tuple(by_place[place] for place in stops)
        rows = self.training_rows(data)
        count, first = (
            _count(rows),
            Model(("generation",), (self.generalists[learned], frozenset())),
        )
        cold = Model(("cold", *now), (rows, frozenset()))
        last = before.generalist if before is not None else None
        ancestors = [*last.lineage] if last is not None else []
        if not ancestors or ancestors[-1].identity[0] != "cold":
            ancestors = [each for each in ancestors if each.identity != first.identity] + [first]
        for parent in ancestors:
            is_first = parent.identity == first.identity
            if not is_first and ("evaluate_generalist", learned, parent.identity) not in self.done:
                continue
            if not is_first and removed(parent.rows[0], rows):
                continue
            added = removed(rows, parent.rows[0])
            if not added:
                return None if is_first else parent
            drawn = min(count - added, math.floor(asked.history * added))
            if parent.links >= asked.longest or added + drawn >= count * len(choices.grid):
                return cold
            identity = ("link", parent.identity, now, asked[:2])
            return Model(identity, (rows, frozenset()), parent, added, drawn)
        return cold

    def made_from(self, data: Dataset, choices: Choices, number: int) -> tuple[Rows, Rows]:
        """Training rows of a partition; the validation rows too that say when trainings stop."""
        rows = self.by_place(data)
        validation = rows[number, "validation"] if choices.patience is not None else frozenset()
        stops = frozenset(each for each in validation if self.places[each[0]].chooses)
        return (rows[number, "train"], stops)

    def training_rows(self, data: Dataset) -> Rows:
        """Training rows of all partitions."""
        found = [rows for place, rows in self.by_place(data).items() if place[1] == "train"]
        return frozenset().union(*found)

    # Jobs -----------------------------------------------------------------------------------

    def _applied(self, data: Dataset) -> set[Identity]:
        """Jobs that make encoded rows of source files."""
        rules = ("split", "transform", "encode")
        return {(rule, *shard) for rule in rules for shard in shards_of(data)}

    def needed(self, data: Dataset, choices: Choices) -> set[Identity]:
        """Every job of the plan for these rows and settings, publishing aside."""
        jobs, shards, grown = self._applied(data), shards_of(data), self.grown
        jobs |= {("assign", *shard, grown) for shard in shards}
        looked = self.looks_for_growth(data)
        if choices.grow == "auto" and looked is not None:
            jobs.add(looked)
        jobs |= {("split_check", shards), ("drift_sample", grown)}
        for width in choices.widths:
            jobs |= self._of_width(data, choices, width)
        if len(choices.widths) > 1:
            jobs.add(("choose_variant", self._rivals(data, choices)))
        return jobs

    def _of_width(self, data: Dataset, choices: Choices, width: int) -> set[Identity]:
        rows, grown, index = self.by_place(data), self.grown, self.index(data, choices, width)
        numbers = sorted({place.partition for place in self.places.values()})
        fits, learned = choices.fits(width), choices.learned(width)
        generalist = index.generalist.identity if index.generalist else ("generation",)
        jobs: set[Identity] = {("partition", index.identity), ("base_fit", *fits)}
        made_from: dict[int, Identity] = {n: (rows[n, "train"],) for n in numbers}
        for number, model in index.specialists.items():
            points = choices.grid if model.point is None else (model.point,)
            made_from[number] = own = model.identity
            jobs |= {("train_specialist", number, point, own, *fits) for point in points}
            validation = rows[number, "validation"]
            jobs.add(("train_choose", number, own, validation, *fits, frozenset(points)))
        fitted = (*((made_from[n], rows[n, "validation"]) for n in numbers), generalist)
        judged = (*fitted, *(rows[n, fold] for n in numbers for fold in FOLDS))
        jobs |= {(rule, fitted, learned, grown) for rule in ("train_router", "gate", "pool")}
        jobs |= {("evaluate_generalist", learned, generalist), ("evaluate_random", learned)}
        asked = self.by_place(data, "runner_up")
        for number in numbers:
            about = (made_from[number], generalist, *(rows[number, fold] for fold in FOLDS))
            others = tuple(asked.get((number, fold)) for fold in FOLDS)
            jobs.add(("ask", number, about, others, learned))
        rivals = self._rivals(data, choices)
        jobs |= {("evaluate", judged, learned, grown, choices.bootstrap, rivals)}
        jobs |= {("evaluate_drift", judged, learned, grown)}
        return jobs

    def _rivals(self, data: Dataset, choices: Choices) -> Identity:
        """All that a choice among variants takes: their indexes, which know files."""
        if len(choices.widths) == 1:
            return ()
        return tuple(
            (self.index(data, choices, width).identity, choices.learned(width))
            for width in choices.widths
        )

    def _release(self, data: Dataset, choices: Choices, width: int) -> Identity:
        """Identity of what is published: rows as they are cut into files, and settings."""
        learned, rivals = choices.learned(width), self._rivals(data, choices)
        index, home = self.index(data, choices, width).identity, choices.home(width)
        return ("pool_publish", home, index, learned, choices.bootstrap, self.grown, rivals)

    def _releases(self, data: Dataset, choices: Choices) -> dict[Identity, Identity]:
        return {choices.home(w): self._release(data, choices, w) for w in choices.widths}

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
        for home, release in self._releases(data, choices).items():
            if self.published.get(home) != release:
                jobs.add(release)
            shards = shards_of(data)
            arrived = home in self.had and shards - self.had[home]
            if arrived and (home, shards) not in self.all_had:
                jobs.add(("evaluate_prequential", *release[1:]))
        return jobs

    def finished(self, data: Dataset, choices: Choices) -> None:
        """Take note that a run has ended well."""
        done, releases = self.needed(data, choices), self._releases(data, choices)
        self.answered = self._answers(data, choices) or self.answered
        indexes = {choices.home(w): self.index(data, choices, w) for w in choices.widths}
        for width in choices.widths:
            self.generalists.setdefault(choices.learned(width), self.training_rows(data))
        self.done |= done
        self.published |= releases
        self.had |= dict.fromkeys(releases, shards_of(data))
        self.all_had |= {(home, shards_of(data)) for home in releases}
        self.indexes |= indexes

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
        rows = self.by_place(data).items()
        sizes = {number: _count(found) for (number, fold), found in rows if fold == "train"}
        return sorted(number for number, size in sizes.items() if size >= self.min_rows)


PACKS = {"train_specialist": "train_pack", "train_choose": "choose_pack", "ask": "ask_pack"}
"""Rules whose jobs are done together, where packs are made, and the rules that do it."""


def packed(jobs: set[Identity], choices: Choices) -> dict[str, bool]:
    """Of the rules in question, those for one job and those for a pack, whether a run has any."""
    found = {}
    for alone, pack in PACKS.items():
        counts = Counter(job[-1] for job in jobs if job[0] == alone).values()
        together = [count > 1 and choices.devices is not None for count in counts]
        found |= {alone: not all(together), pack: any(together)}
    return found


def shards_of(data: Dataset) -> frozenset[Identity]:
    """The shards of a dataset: the hash of a source file, and the number of the copy."""
    counts = data.shards().items()
    return frozenset((content, copy) for content, copies in counts for copy in range(copies))


def _count(rows: Rows) -> int:
    return sum(times for *_, times in rows)


def removed(before: Rows, now: Rows) -> int:
    """How many of some rows are not among others; each counts as often as it is there."""
    left = {(number, label): times for number, label, times in now}
    return sum(max(0, times - left.get((number, label), 0)) for number, label, times in before)


def _said(value: float | None) -> str:
    return "null" if value is None else str(value)
