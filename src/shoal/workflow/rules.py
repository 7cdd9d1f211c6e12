"""The plan as the rules of the Snakefile ask it: paths, patterns, resources, settings as text."""

from __future__ import annotations

import os
import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoal.formats.documents.index import PartitionIndex
from shoal.formats.documents.plan import PackMember
from shoal.formats.hashing import canonical_json, settings_id
from shoal.formats.json_file import read_json, read_made
from shoal.operate.packs import begin_packs, members_of
from shoal.operate.resources import Resources
from shoal.plan.jobs import files_of
from shoal.plan.plan import placeholders
from shoal.plan.stages import BEFORE_INDEX, STAGES
from shoal.sources.shards import NAMES_FILE
from shoal.terminal import say
from shoal.workflow.specialist_rules import SpecialistRules

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shoal.plan.jobs import Job
    from shoal.plan.variants import Variant

NONE = "none"
_FRESH = "[0-9a-f]{24}"


class RulesPlan(SpecialistRules):
    """What rules ask of a plan. A ``checkpoint`` is Snakemake's, for the partition index."""

    def __init__(
        self,
        experiment: str,
        overrides: list[str],
        config_folder: Path,
        variant: Variant,
        workflow: Any,  # noqa: ANN401 - Snakemake's object
    ) -> None:
        """Take a variant of an experiment.

        Args:
            experiment: Name of a file in ``config/experiment``.
            overrides: Changes in Hydra's syntax.
            config_folder: The folder of Hydra config groups.
            variant: One of its variants.
            workflow: Snakemake's workflow; it gets its DAG after the Snakefile is read.
        """
        # The Snakemake that runs one job on a node belongs to a plan that was made before.
        is_job = bool(getattr(workflow, "remote_exec", False))
        super().__init__(experiment, overrides, config_folder, variant, as_planned=is_job)
        self._workflow = workflow
        self._said = False
        self._texts: dict[str, str] = {}
        self.resources = Resources(self)
        self._packed: dict[Path, Path] | None = None
        self._members: dict[str, list[PackMember]] = {}
        self._index: dict[str, Any] | None = None

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
        entries = layout.specialised(layout.read_index() or {"partitions": []})
        searches = [layout.search("", ""), *(layout.search_of(entry) for entry in entries)]
        steps = {identity for search in searches for identity in search.identities}
        own = {layout.index_id, layout.release}
        return own | steps | set(layout.fits.values()) | set(layout.made.values())

    def text(self, section: str) -> str:
        """One section of the settings as the JSON text that a command takes."""
        if section not in self._texts:
            self._texts[section] = canonical_json(getattr(self.settings, section).as_json())
        return self._texts[section]

    def drift_text(self) -> str:
        """The settings of the drift report as JSON text."""
        return canonical_json(self.settings.changes.drift.as_json())

    def sources_text(self) -> str:
        """The sources, each with its folder, as JSON text."""
        return canonical_json(self.settings.sources.in_folder().as_json())

    def source(self, shard: str) -> Path:
        """The source file of a shard."""
        return self.shards[shard][0]

    def arrays(self, shard: str) -> str:
        """Array names of an NPZ source as JSON text; ``null`` for other sources."""
        arrays = self.shards[shard][1]
        return canonical_json(arrays.arrays if arrays else None)

    def shard_pattern(self) -> str:
        """Pattern that matches the shards of which a file is yet to be made.

        A file that exists is the right one. So what is made of a shard is never made again, and
        Snakemake need not look at the jobs of the others: it takes milliseconds for each.
        """
        unmade = {job.wildcards.get("shard") for job in self.layout.early_jobs() if job.missing}
        return "|".join(re.escape(shard) for shard in self.shards if shard in unmade) or NONE

    def unfitted(self, stage: str) -> str:
        """Pattern of the stage's ids whose fitted files are not all there yet.

        A generation's fits are frozen: once its files exist no rule makes them again, so
        neither new data nor new code refits them.
        """
        fit = next(each for each in BEFORE_INDEX if each.frozen and each.identity == stage)
        paths = [self.layout.file(f"{fit.name}.{output}") for output in fit.outputs]
        return NONE if all(path.exists() for path in paths) else self.layout.fits[stage]

    def untrained_basis(self, rule: str) -> str:
        """Pattern of the rows that a baseline may be trained for: those it is not trained for."""
        index = self.layout.read_index()
        if self.layout.refreshed and index is None:
            return f"{_FRESH}|planned"
        if index is not None:
            paths = [self.layout.file(f"{rule}.{name}", index) for name in STAGES[rule].outputs]
        else:
            # Whether the pool will lack specialists, and then take other baselines, is not known.
            bases = ["generation", "incomplete"] if self.layout.left_out else ["generation"]
            frozen = [path for basis in bases for path in self.layout.frozen_baselines(basis)]
            paths = [path for path in frozen if path.name in STAGES[rule].outputs.values()]
        untrained = dict.fromkeys(path.parent.name for path in paths if not path.exists())
        return "|".join(untrained) or NONE

    def demo_names(self) -> list[Path]:
        """What ``demo_data`` writes first; empty where the files are not the demo's."""
        from shoal.demo import DEMO_FOLDER

        names = Path(DEMO_FOLDER, NAMES_FILE)
        is_demo = self.settings.sources.folder == DEMO_FOLDER
        return [names] if is_demo and (names.exists() or self.demo_is_missing) else []

    @property
    def demo_is_missing(self) -> bool:
        """Whether the demo's source files have yet to be made."""
        return not any(path.exists() for path, _ in self.shards.values())

    def early_targets(self) -> list[Path]:
        """The fits, and what is missing up to the index, which is planned without it."""
        jobs = self.layout.early_jobs()
        return files_of(job for job in jobs if job.missing or STAGES[job.rule].frozen)

    def targets(self, checkpoint: Any) -> list[Path]:  # noqa: ANN401 - Snakemake's object
        """What is missing after the index."""
        self._judge_by_files()
        jobs = _unmade(self.layout.later_jobs(self.index(checkpoint)))
        return self.awaited(checkpoint, files_of(jobs))

    def index(self, checkpoint: Any) -> dict[str, Any]:  # noqa: ANN401 - Snakemake's object
        """Content of the partition index, or placeholders while a dry run has none.

        Asking the checkpoint makes Snakemake wait for it and plan what follows afterwards. A dry
        run on changed data therefore ends there, and says so. An index that exists is the right
        one: unless shards are to be made again first, the checkpoint is not asked, which would
        have Snakemake build its DAG twice.
        """
        if self._index is not None:
            return self._index
        index = self.layout.read_index()
        if index is not None and all(self.layout.summary(s).exists() for s in self.layout.shards):
            self._index = index
            return index
        if self._workflow.dryrun:
            if not any(self.layout.index.parent.parent.glob("*/index.json")):
                return placeholders(self.settings)
            self._say_out_of_date()
        checkpoint.get(
            experiment=self.settings.name,
            generation=self.layout.generation,
            cluster_id=self.layout.fits["cluster"],
            index_id=self.layout.index_id,
        )
        return dict(read_made(self.layout.index, PartitionIndex))

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

    def awaited(self, checkpoint: Any, paths: Iterable[Path]) -> list[Path]:  # noqa: ANN401 - the same
        """What a job waits for that takes these files.

        A specialist that trains in a pack is no job of its own, so the pack's status stands for
        its files. Packs are planned once, when the index is known, by the process that runs the
        workflow. That of a single job, on whatever machine, starts when what it takes is there.
        """
        if self.settings.packing.devices is None or not self._workflow.is_main_process:
            return list(paths)
        if self._packed is None:
            index = self.index(checkpoint)
            packs = begin_packs(self, index, write=not self._workflow.dryrun)
            self._members = {each.name: members_of(self, each) for each in packs}
            self._packed = {
                path: each.job.outputs[0]
                for each in packs
                for job in each.members
                for path in job.outputs
            }
        return list(dict.fromkeys(self._packed.get(path, path) for path in paths))

    def pack_inputs(self, checkpoint: Any, pack: str) -> list[Path]:  # noqa: ANN401 - the same
        """What a pack waits for: decisions that fill its slots, and states that they go on from."""
        members, path = self._members.get(pack, []), self.layout.pack_members(pack)
        if not members and path.exists():
            members = read_json(path, list[PackMember])
        paths = [path for each in members for path in (each["decision"], *each["states"]) if path]
        return self.awaited(checkpoint, map(Path, dict.fromkeys(paths)))

    def awaited_beside_choices(self, checkpoint: Any, paths: Iterable[Path]) -> list[Path]:  # noqa: ANN401 - the same
        """What a job waits for that takes these files of specialists, and all choices.

        The job that is to make a choice waits for its candidates itself. Listed again for each job
        that follows, they would be most of what Snakemake looks at.
        """
        layout, waiting = self.layout, set[Path]()
        for entry in layout.specialised(self.index(checkpoint)):
            if not layout.choice(entry).exists():
                search = layout.search_of(entry)
                waiting.update(search.candidates, search.ledgers)
        return self.awaited(checkpoint, [path for path in paths if path not in waiting])

    def baseline(self, checkpoint: Any, which: str, kind: str) -> Path:  # noqa: ANN401 - the same
        """Model or ledger of a baseline, ``generalist`` or ``random``."""
        suffix = {"model": "safetensors", "ledger": "json"}[kind]
        return self.layout.baseline(self.index(checkpoint), f"{which}.{suffix}")

    def tolerated_index(self) -> list[Path]:
        """The published index, if changed partitions may wait; a list of one or none."""
        before = self.before
        return [self.layout.index_of(before["layout"]["index_id"])] if before else []

    def released(self) -> list[int]:
        """Partitions that the drift report let wait no longer."""
        return list(self.before["released"]) if self.before else []

    def basis_stores(self) -> list[Path]:
        """Row stores of the shards that the assigner was fitted on, where they are still there."""
        paths = [self.layout.shard_rows("cluster", shard) for shard in self.basis()]
        return [path for path in paths if path.exists()]

    def choices_at_fit(self) -> list[Path]:
        """Choices of grid point for the rows that the assigner was fitted on, if there are any."""
        path = self.layout.index_of(settings_id(self.layout.made["cluster"], self.basis()))
        if not path.exists():
            return []
        entries = read_made(path, PartitionIndex)["partitions"]
        paths = [self.layout.choice(entry) for entry in entries if self.layout.candidates(entry)]
        return [path for path in paths if path.exists()]

    def failed_files(self) -> list[Path]:
        """The record of failed trainings, where the pool is made without some; one or none."""
        return [self.failed_file] if self.layout.left_out else []

    def pool_ledgers(self, checkpoint: Any) -> list[Path]:  # noqa: ANN401 - Snakemake's object
        """Ledgers of all that the pool's making costs, routing included, the gate aside."""
        index = self.index(checkpoint)
        entries = self.layout.specialised(index)
        return [
            *(self.layout.fit(stage, "ledger.json") for stage in ("embed", "cluster", "base")),
            *(path for entry in entries for path in self.layout.search_of(entry).ledgers),
            *self.choices(index),
            self.layout.router(index, "ledger.json"),
        ]


def _unmade(jobs: Iterable[Job]) -> Iterable[Job]:
    """The jobs that would run."""
    return (job for job in jobs if job.missing)
