"""The plan as the rules of the Snakefile ask it: what jobs wait for, and what a run makes."""

from __future__ import annotations

import os
from collections import defaultdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoal.formats.documents.index import PartitionIndex
from shoal.formats.documents.plan import PackMember
from shoal.formats.json_file import read_json, read_made
from shoal.operate.packs import begin_packs, members_of
from shoal.operate.resources import Resources
from shoal.plan.jobs import files_of
from shoal.plan.paths import glob, inputs
from shoal.plan.plan import Plan, placeholders
from shoal.plan.stages import STAGES
from shoal.terminal import say
from shoal.workflow.mode import Mode, mode_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from shoal.formats.documents.index import PlannedIndex
    from shoal.operate.packs import PlannedPack
    from shoal.plan.jobs import Job
    from shoal.plan.stages import Stage

    Files = list[Any]
    """Paths, as Snakemake takes them: flagged."""


class RulesPlan(Plan):
    """A plan with Snakemake's workflow, which :meth:`follow` gives it."""

    rivals: Sequence[RulesPlan]

    def follow(self, workflow: Any, told: Callable[[RulesPlan], None]) -> None:  # noqa: ANN401 - Snakemake's object
        """Take Snakemake's workflow; it gets its DAG after the Snakefile is read.

        Args:
            workflow: The workflow.
            told: Is called when the run has found out whether the assigner grows.
        """
        self._workflow, self._told = workflow, told
        self._said = False
        self.resources = Resources(self)
        self._packed: dict[Path, Path] | None = None
        self._packs: dict[str, PlannedPack] = {}
        self._index: PlannedIndex | None = None
        self._pending: set[Path] | None = None

    @property
    def is_on_cluster(self) -> bool:
        """Whether this process sends jobs to Slurm; not known before the Snakefile is read."""
        plugin = self._workflow.executor_plugin
        return plugin is not None and plugin.name == "slurm"

    def cluster_pages(self) -> list[Path]:
        """Where the end of this run will say what it took on a cluster, seen from the report.

        A list of one or none.
        """
        # The Snakemake that starts a job's command on a node runs it as a local one.
        is_job = self._workflow.remote_exec and "SLURM_JOB_ID" in os.environ
        page = Path(os.path.relpath(self.root / "cluster.html", self.home))
        return [page] if is_job or self.is_on_cluster else []

    @cached_property
    def identities(self) -> set[str]:
        """Every identity that occurs in a path of its jobs."""
        layout = self.layout
        index = layout.read_index()
        entries = layout.specialised(index if index is not None else {"partitions": []})
        searches = [layout.search("", ""), *(layout.search_of(entry) for entry in entries)]
        steps = {identity for search in searches for identity in search.identities}
        own = {layout.index_id, layout.release, self.growth, *layout.grown, *layout.previous}
        own |= {layout.after, *layout.bases}
        return own | steps | set(layout.fits.values()) | set(layout.made.values())

    # Inputs -----------------------------------------------------------------------------------

    def inputs(self, stage: Stage, wildcards: Mapping[str, str]) -> dict[str, Files]:
        """Files that a job of a stage waits for, by name, flagged as Snakemake needs it.

        Args:
            stage: The stage.
            wildcards: The job's.
        """
        if stage.in_turn:
            return self._of_members(stage, wildcards["pack"])
        index = self.index() if _is_later(stage) and stage.asks_index else None
        found = inputs(self.layout, stage, wildcards, index)
        if stage.per == "pack":
            found["before"] = self._before_pack(wildcards["pack"])
        taken: dict[str, Files] = {}
        for name, each in stage.inputs.items():
            if each.awaited:
                paths = found[name]
                taken[name] = paths if isinstance(paths, list) else [paths]
        if index is not None:
            waiting = self._candidates_of_missing_choices(index, wildcards.get("partition"))
            for name, paths in taken.items():
                taken[name] = [path for path in paths if path not in waiting]
        if _is_later(stage):
            taken = {name: self.awaited(paths) for name, paths in taken.items()}
        return {name: self._flagged(stage, paths) for name, paths in taken.items()}

    def awaited_by(self, rule: str) -> Files:
        """What a job about several variants waits for of this one."""
        stage = STAGES[rule]
        (found,) = inputs(self.layout, stage, {}, self.index()).values()
        return self._flagged(stage, found if isinstance(found, list) else [found])

    def _flagged(self, stage: Stage, paths: Iterable[Path]) -> Files:
        """Inputs, so that Snakemake looks at nothing but the jobs that are to run.

        A file that exists is right, so neither its age nor the job that made it matters. Snakemake
        would look at that job, and at all before it, which takes milliseconds for each; and would
        fit a generation again whose rows have changed. ``before_update`` keeps it from that.
        """
        from snakemake.io import flag

        mode, found = mode_of(self._workflow), []
        for path in paths:
            each = flag(str(path), "ancient") if stage.ancient else str(path)
            if mode is not Mode.LOOKS and path not in self._to_make(mode) and path.exists():
                each = flag(each, "before_update")
            found.append(each)
        return found

    def _to_make(self, mode: Mode) -> set[Path]:
        """Files of the jobs that are to run, as far as these are known."""
        if not self._workflow.is_main_process:
            return set()  # what a job of its own process takes is there
        if self._pending is None:
            self._pending = set(self._of_jobs(self.layout.early_jobs(), mode))
            if self._index is not None:
                self._pending |= set(self._of_jobs(self.layout.later_jobs(self._index), mode))
        return self._pending

    def _candidates_of_missing_choices(
        self, index: PlannedIndex, partition: str | None
    ) -> set[Path]:
        """Files of specialists among which the job of a choice waits to choose.

        What waits for the choice need not wait for them too. Listed again for each job that
        follows, they would be most of what Snakemake looks at.
        """
        layout, waiting = self.layout, set[Path]()
        for entry in layout.specialised(index, partition):
            if not layout.choice(entry).exists():
                search = layout.search_of(entry)
                waiting.update(search.candidates, search.ledgers)
        return waiting

    # Targets ----------------------------------------------------------------------------------

    def early_targets(self) -> Files:
        """Files up to the index, which is planned without it, and the fits that are there.

        A target rule that asks for nothing would be a job of every run.
        """
        self.settle()
        jobs = list(self.layout.early_jobs())
        made = self._of_jobs(jobs, mode_of(self._workflow))
        fits = files_of(job for job in jobs if STAGES[job.rule].frozen)
        there = set(fits).difference(made)
        return [*made, *self._flagged(STAGES["encode"], [path for path in fits if path in there])]

    def later_targets(self) -> Files:
        """Files after the index."""
        self._judge_by_files()
        for rival in self.rivals:
            rival.settle()
        mode, jobs = mode_of(self._workflow), self.layout.later_jobs(self.index())
        return self.awaited(self._of_jobs(jobs, mode))

    def _of_jobs(self, jobs: Iterable[Job], mode: Mode) -> list[Path]:
        """Outputs of the jobs that the target rule asks for."""
        return files_of(
            job
            for job in jobs
            if mode is Mode.LOOKS
            or (mode is Mode.AGAIN and not STAGES[job.rule].frozen)
            or job.missing
        )

    def index(self) -> PlannedIndex:
        """Content of the partition index, or placeholders for it.

        Asking the checkpoint makes Snakemake wait for it and plan what follows afterwards. A dry
        run on changed data therefore ends there, and says so; a view shows what there may be. An
        index that exists is the right one: unless shards are to be made again first, the
        checkpoint is not asked, which would have Snakemake build its DAG twice.
        """
        if self._index is not None:
            return self._index
        self.settle()
        found, mode = self.layout.read_index(), mode_of(self._workflow)
        if mode is Mode.LOOKS:
            return self._known(found or placeholders(self.settings))
        summaries = self.layout.files("assign.summary")
        if found is not None and mode is Mode.MISSING and all(p.exists() for p in summaries):
            return self._known(found)
        if self._workflow.dryrun:
            if not self._has_some_index():
                return placeholders(self.settings)
            self._say_out_of_date()
        self._workflow.globals["checkpoints"].partition.get(
            experiment=self.settings.name,
            generation=self.layout.generation,
            cluster_id=self.layout.fits["cluster"],
            index_id=self.layout.index_id,
        )
        return self._known(read_made(self.layout.index, PartitionIndex))

    def settle(self) -> None:
        """Wait for what says whether the assigner grows, where that is not known; plan by that.

        A dry run ends there, and says so; a view shows the assigner as it is.
        """
        if not self.growing or mode_of(self._workflow) is Mode.LOOKS:
            return
        if self.layout.file("cluster_grow.ledger", grown_id=self.growth).exists():
            self.look_again()
            self._told(self)
            return
        if self._workflow.dryrun and not self._said:
            self._said = True
            say(
                f"whether rows of a new kind have come is not known: this plan ends there; "
                f"`{self.command('plan')}` says what follows"
            )
        self._judge_by_files()
        self._workflow.globals["checkpoints"].cluster_grow.get(
            experiment=self.settings.name,
            generation=self.layout.generation,
            cluster_id=self.layout.fits["cluster"],
            grown_id=self.growth,
        )

    def _forget(self) -> None:
        super()._forget()
        self.__dict__.pop("identities", None)
        self._pending = None

    def _has_some_index(self) -> bool:
        """Whether there is an index of the current assigner, of whatever rows."""
        layout = self.layout
        about = {"generation": layout.generation, "cluster_id": layout.fits["cluster"]}
        return any(self.root.glob(glob(STAGES["partition"], "index", **about)))

    def _known(self, index: PlannedIndex) -> PlannedIndex:
        self._index, self._pending = index, None
        return index

    def _judge_by_files(self) -> None:
        """Have the DAG, which is being built, ignore Snakemake's records.

        Snakemake marks outputs of jobs that were cut off, and would make a file again whose rule
        has changed. Our files appear whole or not at all, and their paths say what they are made
        from: one that exists is right. A job that runs although its files exist would also keep
        Snakemake from seeing that what follows it, which takes them as ``ancient``, is missing.
        """
        from snakemake.settings.types import RerunTrigger

        self._workflow.dag.ignore_incomplete = True
        self._workflow.dag_settings.rerun_triggers = frozenset([RerunTrigger.MTIME])

    def _say_out_of_date(self) -> None:
        if self._said:
            return
        self._said = True
        jobs = len(placeholders(self.settings)["partitions"]) * sum(self.layout.slots)
        say(
            f"the partition index is out of date: this plan ends there; ≤ {jobs} train_specialist "
            f"jobs follow, `{self.command('plan')}` says which"
        )

    def awaited(self, paths: Iterable[Path]) -> list[Path]:
        """Files that a job waits for which takes these files.

        A specialist that trains in a pack is no job of its own, so the pack's status stands for
        its files. Packs are planned once, when the index is known, by the process that runs the
        workflow. That of a single job, on whatever machine, starts when what it takes is there.
        """
        if self.settings.packing.devices is None or not self._workflow.is_main_process:
            return list(paths)
        if self._packed is None:
            runs = mode_of(self._workflow) is not Mode.LOOKS and not self._workflow.dryrun
            packs = begin_packs(self, self.index(), write=runs)
            self._packs = {each.name: each for each in packs}
            self._packed = {
                path: each.job.outputs[0]
                for each in packs
                for job in each.members
                for path in job.outputs
            }
        return list(dict.fromkeys(self._packed.get(path, path) for path in paths))

    def _before_pack(self, pack: str) -> list[Path]:
        """Decisions that fill the slots of a pack, and states that these go on from."""
        members, path = [], self.layout.pack_members(pack)
        if pack in self._packs:
            members = members_of(self, self._packs[pack])
        elif path.exists():
            members = read_json(path, list[PackMember])
        paths = (path for each in members for path in (each["decision"], *each["states"].values()))
        return [Path(path) for path in dict.fromkeys(paths) if path]

    def _of_members(self, stage: Stage, pack: str) -> dict[str, Files]:
        """What the jobs take, all together, that a pack does one after the other."""
        members: list[Mapping[str, str]] = []
        path = self.layout.pack_members(pack, stage.name)
        if pack in self._packs:
            members += (job.wildcards for job in self._packs[pack].members)
        elif path.exists():
            members += read_json(path, list[dict[str, str]])
        taken: dict[str, dict[Any, None]] = defaultdict(dict)
        for each in members:
            for name, paths in self.inputs(STAGES[stage.in_turn], each).items():
                taken[name].update(dict.fromkeys(paths))
        return {name: list(paths) for name, paths in taken.items()}


def _is_later(stage: Stage) -> bool:
    """Whether a stage comes after the partition index."""
    names = list(STAGES)
    return names.index(stage.name) > names.index("partition")
