"""Cost of jobs, estimated from the ledgers and benchmarks of past ones."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from shoal.errors import SettingsError
from shoal.formats.documents.index import trainings_of
from shoal.formats.documents.ledger import JobFlops, Spent
from shoal.formats.documents.plan import Hashes
from shoal.formats.documents.weights import BaseFacts
from shoal.formats.headers import read_weights
from shoal.formats.json_file import read_made
from shoal.formats.ledger import BEFORE, own_flops
from shoal.formats.stored import as_kind, naming
from shoal.plan.past import benchmarks, newest, read_benchmark
from shoal.plan.paths import glob, parse
from shoal.plan.stages import PACKS, STAGES
from shoal.train_specialists.budget import Trials, frozen_budget
from shoal.training.budget import Budget
from shoal.training.resume import one_in

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    from shoal.formats.documents.index import PlannedIndex
    from shoal.operate.plan_document import CostRecord, Percent
    from shoal.plan.jobs import Job
    from shoal.plan.past import Benchmark
    from shoal.plan.plan import Plan

_TRAINS = STAGES["train_specialist"]
"""The stage whose jobs' costs follow from their rows."""

_IN_TURN = {stage.in_turn for stage in PACKS}
"""Stages of which packs do several jobs, one after the other."""

_FITS = ("embed_fit.ledger", "cluster_fit.ledger")
"""What a budget in FLOPs is known by, besides the base."""

_OF_ASSIGN = ("embedding", "assignment")
"""Parts of the router's ledger that are the FLOPs of ``assign``, all shards together."""


@dataclass(frozen=True)
class Cost:
    """Cost of jobs.

    Attributes:
        jobs: How many they are.
        seconds: Seconds of all of them, one after the other; None where not known.
        flops: Floating-point operations of models and fits; None where not known.
    """

    jobs: int = 0
    seconds: float | None = 0.0
    flops: float | None = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.jobs + other.jobs,
            _sum(self.seconds, other.seconds),
            _sum(self.flops, other.flops),
        )

    def as_json(self) -> CostRecord:
        """The cost as JSON."""
        return {"jobs": self.jobs, "seconds": self.seconds, "flops": self.flops}

    def percent_of(self, other: Cost) -> Percent:
        """Jobs, seconds and FLOPs as a percentage of ``other``'s; None where not known."""
        return {
            "jobs": _percent(self.jobs, other.jobs),
            "seconds": _percent(self.seconds, other.seconds),
            "flops": _percent(self.flops, other.flops),
        }


class Estimate:
    """Expected costs of one plan's jobs.

    Seconds are the mean of as many past jobs of the rule as the plan has, the newest and at most
    50. So are FLOPs; the FLOPs of a specialist follow exactly from its rows, once one of its grid
    point was trained.
    """

    def __init__(self, plan: Plan, index: PlannedIndex, jobs: Iterable[Job]) -> None:
        """Take what is planned; nothing is read yet.

        Args:
            plan: The experiment.
            index: Its partition index, or placeholders for it.
            jobs: All of its jobs, whether they have run or not.
        """
        self._plan = plan
        self._index = index
        self._jobs = Counter(job.rule for job in jobs)
        self._means: dict[str, Cost] = {}
        self._work: dict[str, float | None] = {}

    def cost(self, jobs: Iterable[Job], packed: Container[Path] = ()) -> Cost:
        """Cost of these jobs together.

        Args:
            jobs: The jobs.
            packed: Files that packs make: a pack is charged for the start of its process, and a
                member, which is no job, for its work.
        """
        return sum((self._job(job, packed) for job in jobs), Cost())

    def rows(self, job: Job) -> int | None:
        """Rows that a specialist may see in its step, in whole batches, repeats counted.

        None where that is passes over rows whose number is not known yet.
        """
        entries, budget = self._index["partitions"], self._budget
        entry = entries[job.partition or 0]
        own, continued = entry.get("rows"), entry.get("continued")
        if budget is None:
            return None
        if continued is not None and entry["specialist"] == job.wildcards["digest"]:
            rows = continued["added"] + continued["drawn"]
            return trainings_of(continued) * self._in_batches(budget, rows, self.batch(job))
        if own is None:
            rows = math.ceil(budget.rows_seen * (1 - budget.base_share) / len(entries))
            return self._steps(job, rows)
        batch = self.batch(job)
        steps = max(1, math.ceil(budget.specialist_rows(own["train"]) / batch))
        return int(self._steps(job, steps) * batch)

    def from_base(self, job: Job) -> float | None:
        """FLOPs of the search that a specialist which continues is not trained by."""
        rows = self._index["partitions"][job.partition or 0].get("rows")
        if self._budget is None or rows is None:
            return None
        seen = self._in_batches(self._budget, rows["train"], self.batch(job))
        trainings = self._plan.steps.trainings(len(self._plan.grid))
        flops = self._specialists.flops(seen, job.wildcards["slot"])
        return None if flops is None else flops * trainings

    @staticmethod
    def _in_batches(budget: Budget, rows: int, batch: int) -> int:
        """Rows that a whole training on so many sees."""
        size = max(1, min(batch, rows))
        return max(1, math.ceil(budget.specialist_rows(rows) / size)) * size

    def batch(self, job: Job) -> int:
        """Rows of a specialist's batch: the asked-for size, or all of its rows if known."""
        # Which point a slot of a later step will train is not known.
        point = self._plan.grid.get(job.wildcards["slot"], {})
        size = int(point.get("batch_size", self._plan.settings.train_specialists.batch_size))
        own = self._index["partitions"][job.partition or 0].get("rows")
        return size if own is None else max(1, min(size, own["train"]))

    def _steps(self, job: Job, steps: int) -> int:
        """Of a training's steps those that the job does."""
        until, before = self._plan.steps.divisors(int(job.wildcards["step"]))
        return one_in(until, steps) - (one_in(before, steps) if before else 0)

    def training_seconds(self, job: Job) -> float | None:
        """Seconds that a specialist's training takes in a process that has started."""
        rows, a_row = self.rows(job), self._specialists.seconds_a_row
        return None if rows is None or a_row is None else rows * a_row

    @cached_property
    def start_seconds(self) -> float | None:
        """Seconds before a process trains its first specialist."""
        start = self._specialists.start
        return _mean(self._pack_starts()) if start is None else start

    def work_seconds(self, rule: str) -> float | None:
        """Mean seconds of a rule's past jobs in a process that has started."""
        if rule not in self._work:
            past = newest(self._plan.root.glob(glob(STAGES[rule], STAGES[rule].ledger)))
            self._work[rule] = _mean(float(read_made(path, Spent)["seconds"]) for path in past)
        return self._work[rule]

    def _pack_starts(self) -> Iterator[float]:
        """Starts of past packs: what their members' ledgers leave of their time."""
        for path in newest(self._plan.root.glob(glob(STAGES["train_pack"], "status"))):
            past = _benchmark(self._plan.root, path)
            ledgers = [Path(folder, "ledger.json") for folder in read_made(path, Hashes)]
            if past is not None and all(ledger.exists() for ledger in ledgers):
                trained = sum(float(read_made(ledger, Spent)["seconds"]) for ledger in ledgers)
                yield max(0.0, past.seconds - trained)

    def _job(self, job: Job, packed: Container[Path]) -> Cost:
        if STAGES[job.rule].per == "pack":
            return Cost(1, self.start_seconds, 0.0)
        if job.rule == _TRAINS.name and job.partition is not None:
            flops = self._specialists.flops(self.rows(job), job.wildcards["slot"])
            training = self.training_seconds(job)
            if job.outputs and job.outputs[0] in packed:
                return Cost(0, training, flops)
            return Cost(1, _sum(training, self._specialists.start), flops)
        if job.rule == "evaluate_generalist" and (link := self._generalist_link()) is not None:
            return link
        if job.rule not in self._means:
            seconds = _mean(self._benchmarks(job.rule))
            if seconds is None and job.rule in _IN_TURN:
                seconds = _sum(self.start_seconds, self.work_seconds(job.rule))
            self._means[job.rule] = Cost(1, seconds, self._flops(job.rule))
        if job.outputs and job.outputs[0] in packed:
            return Cost(0, self.work_seconds(job.rule), self._means[job.rule].flops)
        return self._means[job.rule]

    def _generalist_link(self) -> Cost | None:
        """Cost of training the generalist on, by what its rows cost before."""
        continued, budget = self._index.get("continued"), self._budget
        if continued is None or not continued["weights"] or budget is None:
            return None
        spent = [
            (self._own_flops(each), each.get("seconds", 0.0), rows)
            for each in self._ledgers("evaluate_generalist")
            if (rows := each.get("rows_seen", 0))
        ]
        if not spent:
            return None
        rows = budget.specialist_rows(continued["added"] + continued["drawn"])
        rows *= trainings_of(continued)
        flops, seconds, seen = (sum(column) for column in zip(*spent, strict=True))
        start = (_mean(self._benchmarks("evaluate_generalist")) or 0.0) - seconds / len(spent)
        return Cost(1, max(0.0, start) + seconds / seen * rows, flops / seen * rows)

    @cached_property
    def _budget(self) -> Budget | None:
        """The budget frozen with the base; until there is one, what it would be, if known."""
        path = self._plan.layout.file("base_fit.base")
        if path.exists():
            with naming(path):
                facts = as_kind(BaseFacts, read_weights(path).meta)["budget"]
            fits = [self._plan.layout.file(name) for name in _FITS]
            if facts.get("flops") is not None and not all(each.exists() for each in fits):
                return None
            with suppress(SettingsError):  # where nothing is left, which their jobs say
                trials = Trials.of(self._plan.grid, self._plan.steps)
                return frozen_budget(facts, fits, trials)
            return None
        training = self._plan.settings.train_specialists
        if training.flops is not None:
            return None
        if "rows" in self._index:
            return Budget.of(training, max(1, self._index["rows"]["train"]))
        return Budget.of(training, 1) if training.epochs is None else None

    @cached_property
    def _specialists(self) -> _Training:
        """From specialists of the same settings; where there are none, from any."""
        root, own = self._plan.root, self._plan.layout.search("", "").identities
        for identities in (own, ["*"]):
            patterns = (glob(_TRAINS, "ledger", specialists_id=each) for each in identities)
            ledgers = newest(path for pattern in patterns for path in root.glob(pattern))
            if ledgers:
                return _Training(root, ledgers)
        return _Training(root, [])

    def _flops(self, rule: str) -> float | None:
        if rule == "assign":
            details = [entry.get("detail", {}) for entry in self._ledgers("train_router")]
            shards = max(1, len(self._plan.layout.shards))
            return _mean([sum(each[part] for part in _OF_ASSIGN) / shards for each in details])
        if rule in STAGES and STAGES[rule].ledger in STAGES[rule].outputs:
            return _mean([self._own_flops(entry) for entry in self._ledgers(rule)])
        return 0.0

    def _own_flops(self, ledger: JobFlops) -> float:
        """FLOPs of the job itself; ledgers of some also count what it builds upon."""
        detail = ledger.get("detail", {})
        flops = own_flops(ledger)
        if ledger["job"] == "train_router":
            return flops - sum(float(detail[part]) for part in _OF_ASSIGN)
        if ledger["job"] == "gate":
            return flops - float(detail["answers"])
        if ledger["job"] in ("evaluate_generalist", "evaluate_random") and BEFORE not in detail:
            bases = self._ledgers("base_fit")
            base = detail.get("base", bases[0]["flops"] if bases else 0.0)
            return flops - float(base)
        return flops

    def _ledgers(self, rule: str) -> list[JobFlops]:
        paths = self._plan.root.glob(glob(STAGES[rule], STAGES[rule].ledger))
        return [read_made(path, JobFlops) for path in newest(paths, max(1, self._jobs[rule]))]

    def _benchmarks(self, rule: str) -> list[float]:
        return [past.seconds for past in benchmarks(self._plan.root, rule, self._jobs[rule])]


def measured_speed(root: Path) -> float | None:
    """FLOPs per second of an experiment's bases, the newest ones; None before any.

    Args:
        root: Folder of its files.
    """
    paths = newest(root.glob(glob(STAGES["base_fit"], STAGES["base_fit"].ledger)))
    spent = [read_made(path, Spent) for path in paths]
    seconds = sum(each["seconds"] for each in spent)
    return sum(each["flops"] for each in spent) / seconds if seconds else None


class _Training:
    """Cost of training a specialist by the rows that it sees, from ledgers of others."""

    def __init__(self, root: Path, ledgers: Iterable[Path]) -> None:
        self._flops: dict[str, list[float]] = defaultdict(list)
        """By grid point, FLOPs per row: the same in all ledgers of one model."""
        starts, seconds, rows = [], 0.0, 0
        for path in ledgers:
            ledger, place = read_made(path, Spent), parse(path)
            if place is None or not ledger["rows_seen"]:  # it diverged in an earlier step
                continue
            self._flops[place.wildcards["slot"]].append(own_flops(ledger) / ledger["rows_seen"])
            benchmark = _benchmark(root, path)
            if benchmark is not None:
                starts.append(benchmark.seconds - ledger["seconds"])
            seconds += ledger["seconds"]
            rows += ledger["rows_seen"]
        self.start = _mean(starts)
        self.seconds_a_row = seconds / rows if rows else None

    def flops(self, rows: int | None, point: str) -> float | None:
        others = [flops for values in self._flops.values() for flops in values]
        flops = _mean(self._flops.get(point, others))
        return None if flops is None or rows is None else rows * flops


def _benchmark(root: Path, output: Path) -> Benchmark | None:
    """Snakemake's measurements of the job that made an output."""
    place = parse(output)
    return read_benchmark(root / "benchmarks" / place.benchmark) if place else None


def _mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return fmean(known) if known else None


def _percent(part: float | None, whole: float | None) -> float | None:
    return round(100 * part / whole, 2) if part is not None and whole else None


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other
