"""The plans of an experiment's variants, as the Snakefile asks for them."""

from __future__ import annotations

import string
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoal.errors import SettingsError
from shoal.plan.answers import answers_jobs
from shoal.plan.plan import planned, runs_of
from shoal.plan.run_file import RUNS
from shoal.plan.stages import STAGES
from shoal.settings.compose import as_list
from shoal.terminal import leaving
from shoal.workflow.mode import Mode, mode_of
from shoal.workflow.rules import RulesPlan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shoal.settings import Settings
    from shoal.settings.nodes import Need

    Files = list[Any]
    """Paths, as Snakemake takes them: flagged."""

_NEEDS: tuple[Need, ...] = ("light", "cores", "gpu", "large")
"""Needs of jobs, the least first."""

_PATTERNS = {
    "shard": r"[A-Za-z0-9_-]+",
    "pack": "[0-9a-f]{10}",
    "release": "[0-9a-f]{10}",
    "step": r"\d+",
    "slot": r"[0-9a-f]{10}|([0-9a-f]{24}|partition-\d+)-\d+",
    "digest": r"[0-9a-f]{24}(-[0-9a-f]{10})?|partition-\d+",
    "validation": r"[0-9a-f]{24}|partition-\d+",
    "partition": r"-1|\d+",
    "rows": "[0-9a-f]{24}",
    "root": "[0-9a-f]{24}|planned",
    "basis": "[0-9a-f]{24}|planned|generation|incomplete",
    "link": "[0-9a-f]{24}|planned|generation|incomplete",
    "after": "[0-9a-f]{10}|first",
    "from_copy": "[0-9a-f]{10}",
    "variant": "(/variants/[0-9a-f]{10})?",
}
"""Patterns of the wildcards in paths; all others are identities."""


class Plans:
    """One plan per variant. A job's wildcards say which variants it belongs to.

    Attributes:
        all: The plans; they share the source files and all settings that no variants differ in.
        asked: Those of the variants that are to run; the others are compared with them.
        settings: Settings of the first; to be asked for what the variants share.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        config_folder: Path,
        workflow: Any,  # noqa: ANN401 - Snakemake's object
    ) -> None:
        """Compose the settings; in the process of a job, and of a plan made before, read them.

        Args:
            config: Snakemake's: ``experiment`` and ``overrides``.
            config_folder: The folder of Hydra config groups.
            workflow: Snakemake's workflow; it gets its DAG after the Snakefile is read.

        Raises:
            SettingsError: The settings do not compose.
            SourceError: There are no source files.
            ModelError: The model's file has changed since the generation's base was trained.
        """
        self._workflow = workflow
        if RUNS in config:
            names = str(config[RUNS]).split(",")
            self.all = [RulesPlan.of_run(Path(name)) for name in names]
            self.asked = [plan for plan in self.all if plan.is_asked]
        else:
            # Snakemake makes numbers of names that look like them, such as 2024 and nan.
            experiment = str(config.get("experiment", "demo"))
            overrides = as_list(config.get("overrides") or [])
            self.asked, self.all = planned(RulesPlan, experiment, overrides, config_folder)
            for plan in self.all:
                plan.require_the_bases_model()
            workflow.config_settings.config_args.append(runs_of(self.all))
        for plan in self.all:
            plan.follow(workflow, self._have_settled)
        self._found: dict[tuple[str, ...], RulesPlan] = {}
        self._early: list[Path] | None = None

    def _have_settled(self, plan: RulesPlan) -> None:
        """Have what follows in this run read that the assigner of a variant has grown, or not."""
        arguments = self._workflow.config_settings.config_args
        runs = runs_of(self.all)
        arguments[:] = [runs if each.startswith(f"{RUNS}=") else each for each in arguments]
        for rival in plan.rivals if not self._workflow.dryrun else ():
            rival.write_records()

    @property
    def first(self) -> RulesPlan:
        """The first variant's plan."""
        return self.all[0]

    @property
    def settings(self) -> Settings:
        """Settings of the first variant."""
        return self.first.settings

    @property
    def mode(self) -> Mode:
        """Mode in which Snakemake was started."""
        return mode_of(self._workflow)

    @property
    def is_main_process(self) -> bool:
        """Whether this is the Snakemake that a person started, not that of one of its jobs."""
        return bool(self._workflow.is_main_process)

    def rules_to_run(self) -> set[str]:
        """Rules of the jobs that are known when the run starts; a checkpoint adds others."""
        return {job.rule.name for job in self._workflow.dag.needrun_jobs()}

    @property
    def jobs_have_own_environments(self) -> bool:
        """Whether Snakemake makes the environments that jobs run in, such as Conda's."""
        return bool(self._workflow.deployment_settings.deployment_method)

    def write_out_logs(self) -> None:
        """Wait until Snakemake's loggers, which have a thread, have written all they were told."""
        listener = self._workflow.logger_manager.queue_listener
        if listener is not None:
            listener.stop()

    def of(self, wildcards: Any) -> RulesPlan:  # noqa: ANN401 - Snakemake's object
        """A plan that the job with these wildcards is part of.

        Where several have the job, it is made from the same in all of them: identities say so.

        Raises:
            SettingsError: No variant has it.
        """
        if len(self.all) == 1:
            return self.first
        # Snakemake asks some thirty times for each job.
        values = tuple(wildcards)
        if values not in self._found:
            ids = tuple(value for name, value in wildcards.items() if _is_identity(name))
            self._found[values] = self._with(ids)
        return self._found[values]

    def _with(self, ids: tuple[str, ...]) -> RulesPlan:
        if ids not in self._found:
            wanted = set(ids)
            own = [plan for plan in self.all if wanted <= plan.identities]
            if not own:
                raise SettingsError(f"no variant has a file made from {', '.join(ids)}")
            self._found[ids] = own[0]
        return self._found[ids]

    # What rules take ------------------------------------------------------------------------

    def constraints(self) -> dict[str, str]:
        """Patterns of all wildcards."""
        parsed = string.Formatter().parse
        names = {
            name
            for stage in STAGES.values()
            for output in stage.outputs
            for _, name, _, _ in parsed(stage.pattern(output))
            if name
        }
        generations = "|".join(dict.fromkeys(plan.layout.generation for plan in self.all))
        known = {"experiment": self.settings.name, "generation": generations} | _PATTERNS
        return {name: known.get(name, "[0-9a-f]{10}") for name in sorted(names | set(known))}

    def inputs(self, rule: str) -> Callable[[Any], dict[str, Files]]:
        """Files that a job waits for, by name, as a rule's ``input`` unpacks them."""
        stage = STAGES[rule]

        def of(wildcards: Any) -> dict[str, Files]:  # noqa: ANN401 - Snakemake's object
            with leaving():
                return self.of(wildcards).inputs(stage, dict(wildcards.items()))

        return of

    def carried(self, rule: str) -> dict[str, str]:
        """Outputs that a rule has only where later steps of a search go on from them."""
        stage = STAGES[rule]
        names = stage.carried if self.first.steps.goes_on else ()
        return {name: stage.pattern(name) for name in names}

    def releases(self, wildcards: Any) -> Files:  # noqa: ANN401, ARG002 - Snakemake's object
        """Records of what is published of all variants."""
        published = [path for plan in self.all for path in plan.awaited_by("answers")]
        return list(dict.fromkeys(published))

    def gates(self, wildcards: Any) -> Files:  # noqa: ANN401 - the same
        """Gates of the variants that a choice is made among."""
        return [
            path for plan in self._rivals(wildcards) for path in plan.awaited_by("choose_variant")
        ]

    def rival_files(self, wildcards: Any) -> list[str]:  # noqa: ANN401 - the same
        """The settings files of the variants that a choice is made among."""
        return [str(plan.run_file) for plan in self._rivals(wildcards)]

    def _rivals(self, wildcards: Any) -> list[RulesPlan]:  # noqa: ANN401 - the same
        chosen = wildcards.chosen_id
        return [plan for plan in self.all if plan.layout.made["chosen"] == chosen]

    def run_file(self, wildcards: Any) -> str:  # noqa: ANN401 - the same
        """The settings file that a job reads."""
        return str(self.of(wildcards).run_file)

    def run_files(self, wildcards: Any) -> list[str]:  # noqa: ANN401, ARG002 - the same
        """The settings files of all variants."""
        return [str(plan.run_file) for plan in self.all]

    @property
    def threads(self) -> int:
        """CPU threads of a job, however few there are; the bits depend on it."""
        return self.settings.compute.threads

    def resources(self, rule: str, need: Need | None = None) -> dict[str, Any]:
        """Resources of a rule: what a job asks for follows from its own variant's past jobs."""
        described = STAGES[rule].need if need is None else need
        needs = [
            described(plan.settings) if callable(described) else described or "light"
            for plan in self.all
        ]
        most = max(needs, key=_NEEDS.index)

        def asked(name: str) -> Callable[[Any, int], int]:
            def ask(wildcards: Any, attempt: int) -> int:  # noqa: ANN401 - Snakemake's object
                with leaving():
                    amount = self.of(wildcards).resources.of(rule, most)[name]
                    return int(amount(wildcards, attempt))

            return ask

        found = self.first.resources.of(rule, most)
        return {name: asked(name) if callable(own) else own for name, own in found.items()}

    def cluster_option(self, wildcards: Any) -> str:  # noqa: ANN401 - Snakemake's object
        """The option of ``evaluate`` that names the page on what a run on a cluster takes."""
        pages = self.of(wildcards).cluster_pages()
        return f"--cluster {pages[0]}" if pages else ""

    # Targets ------------------------------------------------------------------------------------

    def targets(self) -> list[Callable[[Any], Files]]:
        """Targets of the run; each variant waits for its own index alone."""

        def later(plan: RulesPlan) -> Callable[[Any], Files]:
            return lambda wildcards: _ending(plan.later_targets)  # noqa: ARG005 - a signature

        return [
            lambda wildcards: _ending(self._early_targets),  # noqa: ARG005 - a signature
            *(later(plan) for plan in self.asked),
            lambda wildcards: _ending(self._answers_targets),  # noqa: ARG005 - a signature
        ]

    def _early_targets(self) -> Files:
        """Targets up to each index."""
        if self._early is None:
            found = [path for plan in self.asked for path in plan.early_targets()]
            self._early = list(dict.fromkeys(found))
        return self._early

    def _answers_targets(self) -> Files:
        """Targets that compare the variants and grid points, once all indexes are there."""
        jobs, mode = answers_jobs(self.all), self.mode
        paths: Files = [
            path for job in jobs for path in (job.missing if mode is Mode.MISSING else job.outputs)
        ]
        for plan in self.all if paths else ():
            plan.index()
        return [*paths, *self._shown()] if mode is Mode.LOOKS else paths

    def _shown(self) -> Files:
        """Files of Snakemake's report, as far as they are there."""
        from snakemake.io import report

        root = self.first.root
        found = [
            report(str(path), category=category, labels={"variant": plan.home.name, "file": name})
            for plan in self.all
            for name, category in (("report.html", "Report"), ("metrics.json", "Metrics"))
            if (path := plan.home / name).exists()
        ]
        for path, category in (
            (root / "answers" / "report.html", "Answers"),
            (root / "cluster.html", "Cluster"),
        ):
            if path.exists():
                found.append(report(str(path), category=category, labels={"file": path.name}))
        return found


def _ending(targets: Callable[[], Files]) -> Files:
    """Targets; a user's mistake ends the process in one line."""
    with leaving():
        return targets()


def _is_identity(wildcard: str) -> bool:
    return wildcard.endswith("_id") or wildcard in ("release", "previous", "after")
