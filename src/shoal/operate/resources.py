"""Resources that a job asks of a cluster: class of node, walltime, memory, GPUs."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, Any

from shoal.formats.documents.ledger import RowShape, Training
from shoal.formats.documents.plan import PackMember
from shoal.formats.json_file import read_json, read_made
from shoal.operate.estimate import Estimate
from shoal.plan.jobs import Job
from shoal.plan.past import benchmarks, newest
from shoal.plan.paths import glob
from shoal.plan.stages import STAGES
from shoal.training.lane_limits import HELD_BYTES, MOST

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shoal.formats.documents.index import PlannedEntry, PlannedIndex
    from shoal.plan.plan import Plan
    from shoal.plan.stages import Stage
    from shoal.settings.nodes import Need, NodeClass

_TRAINS = ("train_specialist", "train_pack")
"""Rules of jobs that train specialists."""

_LEAST_MINUTES = 5
"""Below that a busy file system decides how long a job takes."""

_WRAPPER_MB = 400
"""Memory of the Snakemake that starts the command within a cluster's job."""

_CONTEXT_MB = 600
"""Memory of a GPU that CUDA takes before the first tensor."""

_COPIES = 3
"""Copies of a specialist's rows while it trains: as read, in canonical order, shuffled."""

_STATES = 4
"""Sizes of a model while it trains: weights, gradients and AdamW's two moments; where trainings
stop early there is the best state too."""


class Resources:
    """Resources of the workflow's rules.

    The first jobs ask for what the settings say. Once there are past ones, a job asks for what
    they lead to expect times ``nodes.safety``: a specialist for what follows from its
    partition's rows, its step and the budget, any other job for the most that its rule took lately.
    Each further attempt asks for ``nodes.growth`` times more, and no job for more than its class
    of node has.
    """

    def __init__(self, plan: Plan) -> None:
        """Take the plan; what past jobs left is read when a job asks."""
        self._plan = plan
        self._nodes = plan.settings.nodes
        self._asked: dict[tuple[str, Need], dict[str, Any]] = {}
        self._lately: dict[str, tuple[float | None, float | None]] = {}

    def of(self, rule: str, need: Need) -> dict[str, Any]:
        """Resources of a rule, as its ``resources`` take them.

        Args:
            rule: The rule's name.
            need: What its jobs need, unless the settings give the rule another.
        """
        need = self._nodes.rules.get(rule, need)
        if (rule, need) not in self._asked:
            self._asked[rule, need] = self._of(rule, need)
        return self._asked[rule, need]

    def _of(self, rule: str, need: Need) -> dict[str, Any]:
        name = self._nodes.needs[need]
        node = self._nodes.classes[name]
        found: dict[str, Any] = {
            "node_class": name,
            "slurm_partition": node.partition,
            "runtime": self._grown(rule, node, self._minutes),
            "mem_mb": self._grown(rule, node, self._memory),
        }
        if self._nodes.account:
            found["slurm_account"] = self._nodes.account
        gpus = {"gpu": 1, "large": self._nodes.large_gpus}.get(need, 0) if node.gpus else 0
        if gpus:
            found["gpu"] = gpus
            found["gpu_memory_mb"] = self._grown(rule, node, self._gpu_memory)
            if node.gpu_model:
                found["gpu_model"] = node.gpu_model
        return found

    def _grown(
        self, rule: str, node: NodeClass, amount: Callable[[str, Any, float, NodeClass], int]
    ) -> Callable[[Any, int], int]:
        def ask(wildcards: Any, attempt: int) -> int:  # noqa: ANN401 - Snakemake's object
            return amount(rule, wildcards, self._nodes.growth ** (attempt - 1), node)

        return ask

    def _minutes(self, rule: str, wildcards: Any, grown: float, node: NodeClass) -> int:  # noqa: ANN401 - the same
        seconds, _ = self._expect(rule, wildcards)
        minutes: float = self._nodes.first.minutes * max(1, len(self._slots(rule, wildcards)))
        if seconds is not None:
            minutes = max(_LEAST_MINUTES, self._nodes.safety * seconds / 60)
        return min(node.minutes, math.ceil(grown * minutes))

    def _memory(self, rule: str, wildcards: Any, grown: float, node: NodeClass) -> int:  # noqa: ANN401 - the same
        _, megabytes = self._expect(rule, wildcards)
        asked: float = self._nodes.first.memory_mb
        if megabytes is not None:
            asked = self._nodes.safety * (megabytes + _WRAPPER_MB)
        return min(node.memory_mb, math.ceil(grown * asked))

    def _gpu_memory(self, rule: str, wildcards: Any, grown: float, node: NodeClass) -> int:  # noqa: ANN401, ARG002 - the same
        """Of each GPU: what models of this size took at most; all of it while nobody knows."""
        expected = self.specialist_gpu_mb
        asked = node.gpu_memory_mb if expected is None else self._nodes.safety * expected
        return min(node.gpu_memory_mb, math.ceil(grown * asked))

    @property
    def specialist_gpu_mb(self) -> float | None:
        """Memory of a GPU that past specialists took at most, in MB; None where none had one."""
        past = [ledger.get("peak_gpu_memory_bytes", 0) for ledger in self._past_specialists]
        most = max(past, default=0)
        return most / 1e6 + _CONTEXT_MB if most else None

    def _expect(self, rule: str, wildcards: Any) -> tuple[float | None, float | None]:  # noqa: ANN401 - the same
        """Seconds and megabytes of a job, as far as past ones tell."""
        if rule in _TRAINS:
            return self._members(self._slots(rule, wildcards))
        if STAGES[rule].in_turn:
            return self._in_turn(STAGES[rule], len(self._slots(rule, wildcards)))
        if rule not in self._lately:
            self._lately[rule] = self._most(rule)
        return self._lately[rule]

    def _slots(self, rule: str, wildcards: Any) -> list[dict[str, str]]:  # noqa: ANN401 - the same
        """Wildcards of the specialists that a job trains, or of what a pack does in turn."""
        if rule == "train_specialist":
            return [{key: getattr(wildcards, key) for key in STAGES[rule].keys}]
        if STAGES[rule].per != "pack":
            return []
        path = self._plan.layout.pack_members(wildcards.pack, rule)
        if STAGES[rule].in_turn:
            return read_json(path, list[dict[str, str]]) if path.exists() else []
        members = read_json(path, list[PackMember]) if path.exists() else []
        return [
            {"digest": each["digest"], "step": str(each["step"]), "slot": each["slot"]}
            for each in members
        ]

    def _in_turn(self, stage: Stage, members: int) -> tuple[float | None, float | None]:
        """Of one process that does jobs one after the other, each as long as past ones."""
        start, work = self._estimate.start_seconds, self._estimate.work_seconds(stage.in_turn)
        past = [self._most(rule)[1] for rule in (stage.name, stage.in_turn)]
        seconds = None if start is None or work is None else start + members * work
        return seconds, max(filter(None, past), default=None)

    def _most(self, rule: str) -> tuple[float | None, float | None]:
        past = benchmarks(self._plan.root, rule)
        memory = [each.memory_mb for each in past if each.memory_mb is not None]
        return max((each.seconds for each in past), default=None), max(memory, default=None)

    def _members(self, members: Sequence[Mapping[str, str]]) -> tuple[float | None, float | None]:
        """Of one process that trains slots with these wildcards, as many side by side as fit."""
        digests = [member["digest"] for member in members]
        if not members or not all(digest in self._entries for digest in digests):
            return None, None
        entries = [self._entries[digest] for digest in digests]
        seconds = self._estimate.start_seconds
        for member, entry in zip(members, entries, strict=True):
            job = Job("train_specialist", member, (), entry["partition"])
            training = self._estimate.training_seconds(job)
            seconds = None if seconds is None or training is None else seconds + training
        rows = sorted(map(self._rows_read, entries), reverse=True)[:MOST]
        room = HELD_BYTES // max(1, self._row_bytes)
        held = self._data_mb(min(sum(rows), max(rows[0], room)), len(rows))
        return seconds, None if self._overhead_mb is None else self._overhead_mb + held

    @property
    def _stops_early(self) -> bool:
        return self._plan.settings.train_specialists.patience is not None

    def _rows_read(self, entry: PlannedEntry) -> int:
        rows = entry["rows"]
        return rows["train"] + (rows["validation"] if self._stops_early else 0)

    @cached_property
    def _index(self) -> PlannedIndex:
        index = self._plan.layout.read_index()
        return index if index is not None else {"partitions": []}

    @cached_property
    def _entries(self) -> dict[str, PlannedEntry]:
        return {entry["specialist"]: entry for entry in self._index["partitions"]}

    @cached_property
    def _estimate(self) -> Estimate:
        return Estimate(self._plan, self._index, ())

    @cached_property
    def _overhead_mb(self) -> float | None:
        """Most memory of a past specialist's training that its rows and model do not explain."""
        past = self._past_specialists
        unexplained = [
            ledger["peak_memory_bytes"] / 1e6 - self._data_mb(ledger["rows_read"])
            for ledger in past
        ]
        return max(unexplained, default=None)

    @cached_property
    def _past_specialists(self) -> list[Training]:
        paths = self._plan.root.glob(glob(STAGES["train_specialist"], "ledger"))
        return [read_made(path, Training) for path in newest(paths)]

    def _data_mb(self, rows: int, models: int = 1) -> float:
        """Memory of rows and models, while these train."""
        states = models * (_STATES + self._stops_early)
        return (_COPIES * rows * self._row_bytes + states * self._model_bytes) / 1e6

    @cached_property
    def _row_bytes(self) -> int:
        path = self._plan.layout.file("encode_fit.shapes")
        if not path.exists():
            return 0
        shapes = read_made(path, RowShape)
        return (4 if shapes.get("tokens") is None else 8) * math.prod(shapes["x_shape"])

    @cached_property
    def _model_bytes(self) -> int:
        base = self._plan.layout.file("base_fit.base")
        return base.stat().st_size if base.exists() else 0
