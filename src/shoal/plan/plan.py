"""The plan of one experiment: its settings, its source files, what was fitted and published."""

from __future__ import annotations

import importlib.util
import shlex
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from shoal.errors import ModelError, SourceError
from shoal.formats.documents.ledger import Artifact
from shoal.formats.hashing import settings_id
from shoal.formats.json_file import read_made
from shoal.formats.provenance import KEY as MADE_FROM
from shoal.plan import ids as identity
from shoal.plan.channel import with_channel
from shoal.plan.code import users_part
from shoal.plan.failures import FAILED, left_out
from shoal.plan.growths import growth, may_grow, read_growths
from shoal.plan.history import History
from shoal.plan.layout import Layout
from shoal.plan.paths import assigned_at_fit, jobs_of, outputs
from shoal.plan.previous import previous_release
from shoal.plan.run_file import RUNS, RunFile, run_file, write_once
from shoal.plan.stages import BEFORE_INDEX, STAGES
from shoal.plan.variants import CHOICE, Variant, only_variant, variants
from shoal.pool.incomplete import name_of, read_failed
from shoal.search.space import points
from shoal.search.steps import Steps
from shoal.settings import Settings, parse
from shoal.settings.config_files import SNAKEFILE
from shoal.settings.deploying import from_deployed, moved_share
from shoal.settings.targets import target_file
from shoal.sources.shards import name_shards

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shoal.formats.documents.index import PlannedEntry, PlannedIndex
    from shoal.formats.documents.plan import Before, Channel, CopyOfRelease, Release, RunRecord
    from shoal.plan.stages import Stage
    from shoal.settings.data import ArraySource

    Shards = dict[str, tuple[Path, ArraySource | None]]

PLAN = "plan.json"
"""Layout and settings of the last run, beside what is published."""

SOURCE_HASHES = ".source-hashes.json"
"""Hashes of source files, in the results folder."""

VARIANTS = "variants"
"""Folder of the variants' own folders."""

OTHER_BASE = (
    "its model or settings are not those of the published release, so it is trained anew on "
    "today's rows, and then every specialist from it"
)
"""Text in place of a base that is not there yet."""


def homes(root: Path) -> list[Path]:
    """Folders of what is published: an experiment's own, and those of its variants."""
    return [root, *(root / VARIANTS).glob("*")]


class Plan:
    """An experiment as it is now: under these settings, this code and these files.

    Attributes:
        experiment: Name of its file in ``config/experiment``.
        overrides: What was changed of it.
        variant: Which of its variants this is.
        settings: Its settings.
        root: Folder of its files.
        home: Folder of what is published of it: that of all files, or one for each variant.
        layout: Where its files lie.
        history: What it has published.
        logs: Folder of its jobs' logs.
        steps: The steps of each partition's search.
        grid: Grid points of the first step by id.
        shards: Source files by shard name.
        codes: Digest of the code behind each stage that is no fit.
        fit_codes: Digest of the code behind each fit.
        before: The index that partitions may wait with; None where they may not.
        previous: The release before, whose pool scores rows that have arrived since.
        channel: Deployed copies that the next one follows; None without a channel.
        growth: Identity of the growth that the rows of now would give.
        growing: Whether the run is to look for that growth before anything is assigned.
        rivals: Plans of the variants among which one is chosen, itself among them.
    """

    def __init__(
        self,
        experiment: str,
        overrides: list[str],
        config_folder: Path,
        variant: Variant | None = None,
    ) -> None:
        """Compose settings and look at the source files.

        Args:
            experiment: Name of a file in ``config/experiment``.
            overrides: Changes in Hydra's syntax.
            config_folder: The project's folder of settings.
            variant: One of its variants; may be left out where there is one.

        Raises:
            SettingsError: The settings do not compose, or there are several variants.
            SourceError: There are no source files.
        """
        self._begin(
            experiment, overrides, variant or only_variant(config_folder, experiment, overrides)
        )
        _require_modules(self.settings)
        self.steps = Steps.of(self.settings)
        self.grid = points(
            self.settings.grid,
            self.settings.model,
            self.settings.train_specialists,
            self.settings.search.grid,
        )
        self.shards = _shards(self.settings, self.root)
        self.codes = identity.apply_codes(self.settings)
        self.fit_codes = identity.fit_codes(self.settings)
        self.rivals: Sequence[Plan] = [self]
        self._alone = self._layout()
        self._follow_the_release_before(self._alone)

    @classmethod
    def of_run(cls, path: Path) -> Self:
        """The plan of a run that has begun, as its settings file says it.

        Nothing is composed, no source file is looked at and no code is hashed, so nothing that
        has changed since reaches a job of the run.

        Args:
            path: The file, see :mod:`shoal.plan.run_file`.
        """
        run = RunFile(path)
        record, planned = run.record, run.record["plan"]
        settings: Settings = parse(Settings, planned["settings"], "")
        plan = cls.__new__(cls)
        variant = Variant(planned["changes"], settings, among=1)
        plan._begin(record["experiment"], record["overrides"], variant)
        plan.grid = dict(run.points)
        plan.shards = {shard: run.source(shard) for shard in record["sources"]}
        plan.codes, plan.fit_codes = planned["codes"], record["fit_codes"]
        plan.steps = run.steps
        plan.layout, plan.before = run.layout, record["before"]
        plan.previous, plan.channel = record["previous"], record.get("channel")
        code, grown = plan.fit_codes["grown"], plan.layout.grown
        plan.growth = identity.growth_id(plan.layout.fits, grown, code, plan.layout.shards)
        plan.growing, plan.rivals = False, [plan]
        plan.record, plan.run_file = record, path
        return plan

    def _begin(self, experiment: str, overrides: list[str], variant: Variant) -> None:
        self.experiment, self.overrides, self.variant = experiment, overrides, variant
        composed = variant.settings
        self.root = Path("results") / composed.name
        self.logs = Path("logs") / composed.name
        self.home = self.root / VARIANTS / variant.id if variant.changes else self.root
        self.history = History(self.home, self.root)
        generation = composed.generation or self.history.generation
        self.settings = composed.model_copy(update={"generation": generation})

    def _layout(self) -> Layout:
        """The layout with the assigner as it has grown, or grows by itself."""
        layout = self._layout_with(())
        recorded = read_growths(layout)
        layout = self._layout_with(recorded) if recorded else layout
        if recorded and not layout.assigner.exists():
            raise SourceError(
                f"{layout.assigner}: is not there; bring it back from a copy, or start the next "
                f"generation: `{self.command('refit')}`"
            )
        self.growth = identity.growth_id(
            layout.fits, recorded, self.fit_codes["grown"], layout.shards
        )
        self.growing = False
        by_itself = self.settings.changes.grow == "auto" and self.settings.cluster.grows
        if by_itself and may_grow(layout):
            found = growth(layout, self.growth)
            self.growing = found is None
            if found is not None and found["partitions"]:
                return self._layout_with((*recorded, self.growth))
        return layout

    def look_again(self) -> None:
        """Take the growth into account that was looked for since the plan was made."""
        self._alone = self._layout()
        self._follow_the_release_before(self._alone)
        self._forget()
        compete(self.rivals)

    def _forget(self) -> None:
        """Forget what followed from the layout that it had."""
        for name in ("record", "run_file"):
            self.__dict__.pop(name, None)

    def _follow_the_release_before(self, layout: Layout) -> None:
        """Take a layout, in which the pool of the release before scores rows that arrived."""
        self.previous = previous_release(self.history, layout, self.shards, self.codes)
        before, arrived = self.previous["layout"], self.previous["arrived"]
        previous = (before["release"], settings_id(arrived)) if before else ()
        self.layout = replace(layout, previous=previous)
        self.channel: Channel | None = None
        if self.settings.deploy.method != "none":
            self.layout, self.channel = with_channel(self.history, self.layout)

    def _layout_with(self, grown: tuple[str, ...]) -> Layout:
        settings, shards, grid = self.settings, tuple(sorted(self.shards)), tuple(self.grid)
        fits = identity.fit_ids(settings, grid)
        made = identity.made_ids(settings, fits, self.codes, shards, grid, grown)
        generation = f"g{settings.generation}"
        before = self._release_before(generation, fits, made)
        self.before: Before | None = None
        if before is not None:
            self.before = {
                "index_id": before["layout"]["index_id"],
                "released": before["released"],
                "search": before["layout"]["made"].get("search", ""),
                "left_out": list(before["layout"].get("left_out", ())),
                "continues": self._continues(before),
            }
        copy = None if before is None else self._deployed(before)
        if self.before is not None and copy is not None:
            self.before["copy"] = copy
            if (moves := moved_share(settings.as_json())) is not None:
                self.before["moves"] = moves
        index_id = self._index_id(before, fits, made, shards, copy)
        on_drift = settings.changes.on_drift
        release = [generation, made["evaluate"], made["drift"], on_drift, index_id]
        release += [made["patch"]] if settings.deploy.method != "none" else []
        layout = Layout(
            root=str(self.root),
            home=str(self.home),
            generation=generation,
            fits=fits,
            made=made,
            shards=shards,
            points=grid,
            index_id=index_id,
            release=settings_id(*release),
            refreshed=settings.changes.baselines == "current",
            slots=self.steps.slots(len(grid)),
            goes_on=self.steps.goes_on,
            probed=settings.cluster.trains_probes,
            grown=grown,
        )
        layout = replace(layout, compares=self._compares(before, layout))
        if not settings.changes.incomplete:
            return layout
        missing = left_out(self.failed_file, layout)
        return replace(layout, left_out=missing, release=settings_id(*release, *missing))

    @property
    def _rival(self) -> list[object]:
        """All that a choice among variants takes of it."""
        layout, variant = self.layout, self.variant
        return [variant.id, variant.changes, layout.made["gate"], layout.index_id, layout.left_out]

    def _compete(self, chosen: str) -> None:
        """Have its evaluation follow a choice among variants."""
        alone = self._alone
        made = {"chosen": chosen, "evaluate": settings_id(alone.made["evaluate"], chosen)}
        release = settings_id(alone.release, chosen)
        self._follow_the_release_before(replace(alone, made=alone.made | made, release=release))
        self._forget()

    def _release_before(
        self, generation: str, fits: Mapping[str, str], made: Mapping[str, str]
    ) -> Release | None:
        """The last release, where its specialists may wait, or be continued from."""
        waits = self.settings.changes.tolerance > 0
        last = self.history.last_of(generation) if waits or self._continuing else None
        if last is None or not (waits or self._continues(last)):
            return None
        layout = last["layout"]
        same = (
            layout["fits"]["cluster"] == fits["cluster"]
            and layout["made"]["specialists"] == made["specialists"]
            and replace(Layout.from_json(layout), root=str(self.root)).index.exists()
        )
        return last if same else None

    @property
    def _continuing(self) -> bool:
        return self.settings.continuing.method != "none"

    def _continues(self, before: Release) -> bool:
        """Whether specialists continue: another search is done from the base."""
        return self._continuing and _search(before["settings"]) == _search(self.settings.as_json())

    def _deployed(self, before: Release) -> CopyOfRelease | None:
        """The copy of a release from which models continue; None where they do not.

        A copy of a channel from which nothing was to be trained has traces of copies before it.
        """
        both = from_deployed(self.settings.as_json()) and from_deployed(before["settings"])
        copy = before.get("copy") if both and self._continues(before) else None
        return copy if copy is not None and Path(copy["manifest"]).exists() else None

    def _compares(self, before: Release | None, layout: Layout) -> bool:
        """Whether mixes are compared before the index is made; of one that is there, were."""
        if before is None or self.settings.continuing.method != "auto":
            return False
        if layout.index_id == before["layout"]["index_id"]:
            compared = before["layout"].get("compares", False)
            return compared and layout.file("compare_mixes.mixes").exists()
        return self._continues(before)

    def _index_id(
        self,
        before: Release | None,
        fits: Mapping[str, str],
        made: Mapping[str, str],
        shards: tuple[str, ...],
        copy: CopyOfRelease | None,
    ) -> str:
        """The rows' own identity; where models wait or continue, also that of the index before.

        An index says by name from which models others continue, so its identity has theirs, and
        that of the copy where they continue from what is deployed.
        """
        own = settings_id(made["index"], list(shards))
        ways = _ways(self.settings.as_json(), fits, made)
        if before is None:
            return own if ways is None else settings_id(own, ways)
        tolerance, layout = self.settings.changes.tolerance, before["layout"]
        same_rows = settings_id(layout["made"]["index"], list(layout["shards"])) == own
        earlier = _ways(before["settings"], layout["fits"], layout["made"])
        same_ways = before["tolerance"] == tolerance and earlier == ways
        if same_rows and same_ways and not before["released"]:
            return str(layout["index_id"])
        deployed = [] if copy is None else [copy["id"]]
        return settings_id(own, tolerance, ways, layout["index_id"], before["released"], *deployed)

    @property
    def is_asked(self) -> bool:
        """Whether it is of a variant that is to run, not of one that those are compared with."""
        chosen = [each for each in self.overrides if each.startswith(CHOICE)]
        return not chosen or f"{CHOICE}{self.variant.id}" in chosen

    @property
    def settings_file(self) -> Path:
        """Where the resolved settings are written, next to the results."""
        return self.home / "settings.json"

    @property
    def failed_file(self) -> Path:
        """Where the specialists are recorded whose training failed."""
        return self.home / FAILED

    @property
    def plan_file(self) -> Path:
        """Where the layout is written, for the record that a release leaves."""
        return self.home / PLAN

    @cached_property
    def record(self) -> RunRecord:
        """The record that jobs of a run of this plan read."""
        without = set(self.layout.left_out)
        failed = read_failed(self.failed_file) if without else []
        record: RunRecord = {
            "plan": {
                "release": self.layout.release,
                "layout": self.layout.as_json(),
                "tolerance": self.settings.changes.tolerance,
                "settings": self.settings.as_json(),
                "codes": self.codes,
                "changes": self.variant.changes,
                "found": dict(self.variant.found),
            },
            "experiment": self.experiment,
            "overrides": self.overrides,
            "fit_codes": self.fit_codes,
            "sources": {
                shard: {"path": str(path), "arrays": arrays.arrays if arrays else None}
                for shard, (path, arrays) in self.shards.items()
            },
            "points": self.grid,
            "search": self.steps.as_json(),
            "before": self.before,
            "previous": self.previous,
            "failed": [each for each in failed if name_of(each) in without],
        }
        if self.channel is not None:
            record["channel"] = self.channel
        return record

    @cached_property
    def run_file(self) -> Path:
        """Where the record is, once a run has begun."""
        return run_file(self.root, self.record)

    def write_records(self) -> None:
        """Write what the run's jobs read; beside what is published, settings and layout of now."""
        write_once(self.run_file, self.record)
        write_once(self.settings_file, self.record["plan"]["settings"])
        write_once(self.plan_file, self.record["plan"])

    def command(self, name: str) -> str:
        """The command line of ``shoal NAME`` for this experiment, as a person would type it."""
        return shlex.join(["shoal", name, self.experiment, *self.overrides])

    def snakemake(self, *arguments: str, plans: Sequence[Plan] = ()) -> list[str]:
        """Snakemake's command line for this experiment, to be run in the current folder.

        Args:
            arguments: What it is told besides.
            plans: Plans that the run is to be of, whatever files have come or changed since; their
                records are written. Left out, the run plans for itself.
        """
        other = [] if Path(SNAKEFILE.name).exists() else ["--snakefile", str(SNAKEFILE)]
        command = ["snakemake", *other, *arguments, "--config", f"experiment={self.experiment}"]
        if self.overrides:
            command.append(f"overrides=[{', '.join(self.overrides)}]")
        for plan in plans:
            write_once(plan.run_file, plan.record)
        return [*command, runs_of(plans)] if plans else command

    def outdated_fits(self) -> list[str]:
        """Stages up to the index whose code has changed since the generation was fitted."""
        codes = {each.identity: fit_code(self.layout, each) for each in BEFORE_INDEX if each.frozen}
        return [name for name, code in codes.items() if code not in (None, self.fit_codes[name])]

    def require_the_bases_model(self) -> None:
        """Refuse a model whose code or data files have changed since the base was trained.

        Specialists start from the base, so those of the new model would start from one of the old.

        Raises:
            ModelError: It has.
        """
        code = fit_code(self.layout, STAGES["base_fit"]) or ""
        before, now = users_part(code), users_part(self.fit_codes["base"])
        if before and now and before != now:
            target = self.settings.model.target
            named = [target, *self.settings.train_specialists.targets]
            files = " or ".join(str(target_file(each)) for each in named)
            raise ModelError(
                f"refit needed: {files} or what it uses has changed since the base "
                f"of generation {self.settings.generation} was trained with {target}, and "
                f"specialists of the new model would start from that base; "
                f"`{self.command('refit')}` starts the next generation, or undo the change"
            )

    @property
    def needs_another_base(self) -> bool:
        """Whether the published release is of this generation, but its base of other settings."""
        if self.history.current is None or fit_code(self.layout, STAGES["base_fit"]) is not None:
            return False
        before, now = self.history.current["layout"], self.layout
        same = before["generation"] == now.generation
        return bool(same and before["fits"]["base"] != now.fits["base"])

    def basis(self) -> list[str]:
        """Names of the shards that the assigner was fitted on; empty while it is not fitted."""
        return assigned_at_fit(self.layout)


def _ways(
    settings: Mapping[str, Any], fits: Mapping[str, str], made: Mapping[str, str]
) -> list[object] | None:
    """All that decides how models continue, beside rows; None where they do not."""
    asked: dict[str, object] = settings.get("continuing", {"method": "none"})
    if asked["method"] == "none":
        return None
    compared = [made["mixes"]] if asked["method"] == "auto" else []
    deployed = ["deployed"] if from_deployed(settings) else []
    moves = moved_share(settings)
    deployed += [] if moves is None else [str(moves)]
    baselines = settings["changes"]["baselines"]
    return [asked, baselines, fits["baselines"], made["choices"], *compared, *deployed]


def runs_of(plans: Sequence[Plan]) -> str:
    """Configuration by which Snakemake takes plans as they are: it neither composes nor looks."""
    return f"{RUNS}={','.join(str(plan.run_file) for plan in plans)}"


def fit_code(layout: Layout, stage: Stage, index: PlannedIndex | None = None) -> str | None:
    """Digest of the code that made a fit of a generation; None while it is not fitted.

    Args:
        layout: A layout of the generation.
        stage: The fit.
        index: Content of the partition index, for fits after it.
    """
    made = (outputs(layout, stage, job, index) for job in jobs_of(layout, stage, index))
    path = next((files[stage.record or ""] for files in made), None)
    if path is None or not path.exists():
        return None
    made_from = read_made(path, Artifact).get(MADE_FROM)
    return made_from.get("code", "") if made_from else ""


def _search(settings: Mapping[str, Any]) -> list[object]:
    """What a search of other grid points differs in, of settings as JSON."""
    return [settings["grid"], *(settings["search"][name] for name in ("grid", "halving"))]


P = TypeVar("P", bound=Plan)


def planned(
    kind: type[P], experiment: str, overrides: list[str], config: Path
) -> tuple[list[P], list[P]]:
    """Plans of an experiment's variants.

    Variants of one question, those with the same seed and split, are compared on the same
    validation rows. What is scored on test rows is chosen there, so the plan of one needs the
    others.

    Args:
        kind: Class of the plans.
        experiment: Name of its file in ``config/experiment``.
        overrides: Changes in Hydra's syntax; ``variant=ID`` among them asks for one variant.
        config: The folder of Hydra config groups.

    Returns:
        Those that are asked for, and these with all that they are compared with.

    Raises:
        SettingsError: See :func:`shoal.plan.variants.variants`.
        SourceError: There are no source files.
    """
    asked = found = variants(config, experiment, overrides)
    everything = [each for each in overrides if not each.startswith(CHOICE)]
    if everything != overrides:
        found = variants(config, experiment, everything)
    questions, ids = {each.question for each in asked}, {each.id for each in asked}
    plans = [
        kind(experiment, overrides, config, each) for each in found if each.question in questions
    ]
    by_question: dict[str, list[P]] = {}
    for plan in plans:
        by_question.setdefault(plan.variant.question, []).append(plan)
    for rivals in by_question.values():
        for plan in rivals:
            plan.rivals = rivals
        compete(rivals)
    return [plan for plan in plans if plan.variant.id in ids], plans


def compete(rivals: Sequence[Plan]) -> None:
    """Have the evaluations of variants follow the choice among them.

    Args:
        rivals: Plans of the variants of one question; where it is one, nothing is chosen.
    """
    made_of = sorted((each._rival for each in rivals), key=str)
    chosen = settings_id(rivals[0].codes["chosen"], made_of)
    for plan in rivals if len(rivals) > 1 else ():
        plan._compete(chosen)


def _require_modules(settings: Settings) -> None:
    """Refuse a name whose module is nowhere; planning imports nothing, so no more is known.

    Raises:
        ModelError: Neither the current folder nor what is installed has the module.
    """
    named = {**settings.encode.classes, **settings.transform.functions}
    own = [settings.model.target, *settings.train_specialists.targets, *settings.evaluate.targets]
    for target in [*own, *(spec["_target_"] for spec in named.values())]:
        top = target.split(".", maxsplit=1)[0]
        if target_file(target) is None and importlib.util.find_spec(top) is None:
            raise ModelError(
                f"{target}: there is no module {top!r} in {Path.cwd()} "
                f"or among the installed packages"
            )


def _shards(settings: Settings, root: Path) -> Shards:
    from shoal.demo import DEMO_FOLDER, DEMO_SHARDS
    from shoal.sources.readers import expand

    try:
        sources = expand(settings.sources.in_folder().files)
    except SourceError:
        if settings.sources.folder != DEMO_FOLDER or any(Path(DEMO_FOLDER).glob("*")):
            raise
        return {name: (Path(DEMO_FOLDER, f"{name}.parquet"), None) for name in DEMO_SHARDS}
    return name_shards(sources, root / SOURCE_HASHES)


def placeholders(settings: Settings) -> PlannedIndex:
    """An index with as many partitions as the settings allow, for planning without data."""
    names = [f"partition-{number}" for number in range(settings.cluster.most_partitions)]
    partitions: list[PlannedEntry] = [
        {
            "partition": number,
            "trained": True,
            "specialist": name,
            "ask": name,
            "digests": {"train": name, "validation": name},
        }
        for number, name in enumerate(names)
    ]
    return {"partitions": partitions, "root": {"fit": "planned", "all": "planned"}}
