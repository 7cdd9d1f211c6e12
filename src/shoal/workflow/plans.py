"""The plans of an experiment's variants, as the Snakefile asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shoal.errors import SettingsError
from shoal.plan.answers import answers_jobs
from shoal.plan.history import STORE
from shoal.plan.slots import STATE
from shoal.plan.variants import variants
from shoal.settings.compose import as_list
from shoal.terminal import leaving
from shoal.workflow.rules import NONE, RulesPlan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from shoal.settings import Settings
    from shoal.settings.nodes import Need


class Plans:
    """One plan a variant. A job's wildcards say which variants it belongs to.

    Attributes:
        all: The plans; they share the source files and all settings of no data stage.
        settings: Settings of the first; to be asked for what the variants share.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        config_folder: Path,
        workflow: Any,  # noqa: ANN401 - Snakemake's object
    ) -> None:
        """Take Snakemake's ``config``.

        Args:
            config: ``experiment`` and ``overrides``.
            config_folder: The folder of Hydra config groups.
            workflow: Snakemake's workflow; it gets its DAG after the Snakefile is read.

        Raises:
            SettingsError: The settings do not compose.
            SourceError: There are no source files.
            ModelError: The model's file has changed since the generation's base was trained.
        """
        self._workflow = workflow
        # Snakemake makes numbers of names that look like them, such as 2024 and nan.
        experiment = str(config.get("experiment", "demo"))
        overrides = as_list(config.get("overrides") or [])
        self.all = [
            RulesPlan(experiment, overrides, config_folder, variant, workflow)
            for variant in variants(config_folder, experiment, overrides)
        ]
        for plan in self.all:
            plan.require_the_bases_model()
        self._found: dict[tuple[str, ...], RulesPlan] = {}

    @property
    def first(self) -> RulesPlan:
        """The first variant's plan."""
        return self.all[0]

    @property
    def settings(self) -> Settings:
        """Settings of the first variant."""
        return self.first.settings

    @property
    def store(self) -> str:
        """The model store, which variants share."""
        return str(self.first.root / STORE)

    @property
    def states(self) -> dict[str, str]:
        """What ``train_specialist`` makes besides, where later steps go on from it."""
        folder = "results/{experiment}/{generation}/specialists/{specialists_id}/{digest}"
        goes_on = self.first.steps.goes_on
        return {"state": f"{folder}/{{step}}/{{slot}}/{STATE}"} if goes_on else {}

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

    # What patterns and resources of rules take, for all variants together -----------------------

    @property
    def generations(self) -> str:
        """Pattern of the generations."""
        return "|".join(dict.fromkeys(plan.layout.generation for plan in self.all))

    def shard_pattern(self) -> str:
        """Pattern of the shards of which some variant lacks a file."""
        return _either(plan.shard_pattern() for plan in self.all)

    def unfitted(self, stage: str) -> str:
        """Pattern of the stage's identities whose fitted files are not all there yet."""
        return _either(plan.unfitted(stage) for plan in self.all)

    def untrained(self, rule: str) -> str:
        """Pattern of the baselines' identities with rows for which the rule is yet to train."""
        return _either(
            plan.layout.fits["baselines"] for plan in self.all if plan.untrained_basis(rule) != NONE
        )

    def untrained_basis(self, rule: str) -> str:
        """Pattern of the rows that some variant's baseline is yet to be trained for."""
        return _either(plan.untrained_basis(rule) for plan in self.all)

    @property
    def embed_need(self) -> Need:
        """What fitting an embedder needs, the most demanding variant's."""
        needs = [plan.resources.embed_need for plan in self.all]
        return "large" if "large" in needs else "cores"

    @property
    def cluster_need(self) -> Need:
        """What fitting an assigner needs, the most demanding variant's."""
        needs = [plan.resources.cluster_need for plan in self.all]
        return "gpu" if "gpu" in needs else "cores"

    def resources(self, rule: str, need: Need) -> dict[str, Any]:
        """Resources of a rule: what a job asks for follows from its own variant's past jobs."""

        def asked(name: str) -> Callable[[Any, int], int]:
            def ask(wildcards: Any, attempt: int) -> int:  # noqa: ANN401 - Snakemake's object
                with leaving():
                    amount = self.of(wildcards).resources.of(rule, need)[name]
                    return int(amount(wildcards, attempt))

            return ask

        found = self.first.resources.of(rule, need)
        return {name: asked(name) if callable(own) else own for name, own in found.items()}

    # Targets ------------------------------------------------------------------------------------

    def early_targets(self) -> list[Path]:
        """The fits, and what is missing up to each index."""
        return list(dict.fromkeys(path for plan in self.all for path in plan.early_targets()))

    def later_targets(self, checkpoints: Any) -> list[Callable[[Any], list[Path]]]:  # noqa: ANN401 - the same
        """For each variant what asks for what is missing after its index.

        They wait for their own index alone.
        """

        def later(plan: RulesPlan) -> Callable[[Any], list[Path]]:
            return lambda wildcards: plan.targets(checkpoints.partition)  # noqa: ARG005 - a signature

        return [later(plan) for plan in self.all]

    def answers_targets(self, checkpoints: Any) -> list[Path]:  # noqa: ANN401 - the same
        """What compares the variants and grid points, once all indexes are there; if missing."""
        missing = [path for job in answers_jobs(self.all) for path in job.missing]
        for plan in self.all if missing else ():
            plan.index(checkpoints.partition)
        return missing

    def plan_files(self) -> list[Path]:
        """Layouts of all variants, as they are written when a run starts."""
        return [plan.plan_file for plan in self.all]

    def releases(self) -> list[Path]:
        """Records of what is published of all variants."""
        return [plan.layout.file("pool_publish.record") for plan in self.all]


def _is_identity(wildcard: str) -> bool:
    return wildcard.endswith("_id") or wildcard == "release"


def _either(patterns: Any) -> str:  # noqa: ANN401 - an iterable of texts
    """A pattern that matches what any of some patterns does."""
    return "|".join(dict.fromkeys(each for each in patterns if each != NONE)) or NONE
