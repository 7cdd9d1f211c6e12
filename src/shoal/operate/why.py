"""Why jobs would run: settings, code and rows that differ from the published release."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shoal.formats.text import count_text, flops_text
from shoal.plan.stages import BEFORE_INDEX, STAGES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from shoal.formats.documents.choice import Point
    from shoal.formats.documents.index import Waiting
    from shoal.formats.documents.plan import PlanRecord
    from shoal.operate.plan_document import ChangedSetting, PlannedLink
    from shoal.operate.row_changes import FileChange
    from shoal.operate.staleness import PartitionState
    from shoal.plan.plan import Plan

_NO_SETTINGS = (
    "name",
    "seed",
    "generation",
    "sources.folder",
    "sources.files",
    "sources.batch_rows",
    "packing.devices",
    "packing.hours",
    "store.keep",
    "store.recovery_seconds",
    "intermediates.budget",
    "search.variants.sampler",
    "search.variants.samples",
    "search.variants.seed",
)
"""Settings that no stage reads, or whose effect is seen in the rows."""

_ROW_STAGES = tuple(stage.identity for stage in BEFORE_INDEX if stage.per == "shard")
_OF_SPECIALISTS = ("model", "train_specialists")
_BEFORE_INDEX = tuple(
    dict.fromkeys(
        section
        for stage in BEFORE_INDEX
        for section in stage.settings
        if section not in _OF_SPECIALISTS
    )
)
_PACKAGES = {
    stage.identity: stage.code.partition(".")[0]
    for stage in STAGES.values()
    if stage.code and not stage.frozen
}
"""Package with a stage's code, by the name of its identity."""

_FILES_SHOWN = 3


@dataclass(frozen=True)
class SettingChange:
    """A setting with another value; None where it is not there."""

    name: str
    before: Any
    after: Any

    @property
    def section(self) -> str:
        """The part of the settings that it belongs to."""
        return self.name.split(".")[0]

    def as_json(self) -> ChangedSetting:
        """As the document of a plan has it."""
        return {"name": self.name, "before": self.before, "after": self.after}


@dataclass(frozen=True)
class Differences:
    """Differences from the published release, rows aside.

    Attributes:
        first: Why everything is new; empty where partitions can be compared.
        settings: Settings with other values.
        codes: Stages whose code changed, fits aside.
        points: New grid points, such as ``lr=0.1``.
    """

    first: str = ""
    settings: list[SettingChange] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)
    points: list[str] = field(default_factory=list)

    def sections(self, *wanted: str) -> list[str]:
        """Those of these sections that hold a changed setting."""
        changed = {change.section for change in self.settings}
        return [name for name in wanted if name in changed]


def differences(plan: Plan, record: PlanRecord | None) -> Differences:
    """Differences from the published release, rows aside.

    Args:
        plan: The experiment now.
        record: The release's record; None where there is none.
    """
    if record is None:
        return Differences(first="first run")
    layout = plan.layout
    codes = [stage for stage, code in plan.codes.items() if record["codes"].get(stage) != code]
    earlier = set(record["layout"]["points"])
    points = [point_text(point) for name, point in plan.grid.items() if name not in earlier]
    found = Differences(
        settings=setting_changes(record["settings"], plan.settings.as_json()),
        codes=list(dict.fromkeys(_PACKAGES[stage] for stage in codes)),
        points=points,
    )
    first = ""
    if record["layout"]["generation"] != layout.generation:
        first = f"first run of generation {plan.settings.generation}"
    elif record["layout"]["fits"]["cluster"] != layout.fits["cluster"]:
        first = _settings_text(found.sections(*_BEFORE_INDEX)) or "another assigner"
    return Differences(first, found.settings, found.codes, points)


def setting_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[SettingChange]:
    """Settings with other values, by dotted name."""
    old, new = _flat(before), _flat(after)
    return [
        SettingChange(name, old.get(name), new.get(name))
        for name in sorted({*old, *new})
        if name not in _NO_SETTINGS and old.get(name) != new.get(name)
    ]


def reasons(
    state: PartitionState,
    changed: Differences,
    files: Sequence[FileChange],
    jobs: int,
    link: PlannedLink | None = None,
) -> list[str]:
    """Why a partition is not fresh, each reason as a person reads it.

    Args:
        state: The partition.
        changed: What differs, rows aside.
        files: Source files through which its rows changed.
        jobs: Jobs of it that would run.
        link: How its specialist continues, if it does.
    """
    if state.status in ("fresh", "untrained", "failed"):
        return []
    if changed.first:
        return [changed.first]
    found = []
    if state.folds:
        found.append(_rows_text(state, changed, files))
    if state.waiting is not None:
        found.append(_waiting_text(state.waiting))
    if state.waited:
        found.append("waits no longer")
    found += _lineage_text(state, link)
    found += _jobs_text(changed) if jobs else []
    if state.status == "changed" and "train" in state.folds and not jobs:
        found.append("trained by an earlier run")
    if state.status == "new" and not found:
        return ["its rows are of a new kind" if state.rows_before is None else "it has rows again"]
    return found or ["a file of it is missing"]


def _lineage_text(state: PartitionState, link: PlannedLink | None) -> Iterator[str]:
    """What its specialist goes on from; why it is trained from the base where it might go on."""
    if state.cold:
        yield f"from the base, {state.cold}"
    if state.rewound is not None:
        links, removed = state.rewound["links"], state.rewound["removed"]
        back = f"link {links}" if links else "the search from the base"
        rows = "1 row" if removed == 1 else f"{count_text(removed)} rows"
        yield f"rewound to {back}, {rows} removed"
    if link is not None and link["flops"] is not None:
        cost = flops_text(link["flops"])
        if link["from_base"] is not None:
            cost = f"{cost} of {flops_text(link['from_base'])}"
        yield (
            f"link {link['links']}: +{count_text(link['added'])} rows, "
            f"{count_text(link['drawn'])} of history, {cost}"
        )


def _rows_text(state: PartitionState, changed: Differences, files: Sequence[FileChange]) -> str:
    only = "" if "train" in state.folds else f"only {' and '.join(state.folds)} "
    if files:
        named = [file.path for file in files[:_FILES_SHOWN]]
        more = len(files) - len(named)
        rest = f" and {more} more files" if more else ""
        return f"{only}rows of {', '.join(named)}{rest}"
    stages = [stage for stage in changed.codes if stage in _ROW_STAGES]
    return f"{only}rows, by the code of {', '.join(stages)}" if stages else f"{only}rows"


def _waiting_text(waiting: Waiting) -> str:
    return (
        f"waits: {waiting['added']} added, {waiting['removed']} removed since its specialist was "
        f"trained ({100 * waiting['share']:.1f} %)"
    )


def _jobs_text(changed: Differences) -> list[str]:
    """Reasons why jobs of a partition run whose rows are the same."""
    settings = _settings_text(changed.sections(*_OF_SPECIALISTS))
    found = [settings] if settings else []
    if changed.points:
        word = "point" if len(changed.points) == 1 else "points"
        found.append(f"new grid {word} {', '.join(changed.points)}")
    else:
        found += [each for each in [_settings_text(changed.sections("grid", "search"))] if each]
    if "train_specialists" in changed.codes:
        found.append("code of train_specialists changed")
    return found


def _settings_text(sections: Sequence[str]) -> str:
    return f"settings of {', '.join(sections)} changed" if sections else ""


def point_text(point: Point) -> str:
    """A grid point in one line."""
    return " ".join(f"{name}={value}" for name, value in point.items()) or "the settings' own"


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested names joined by dots; lists are values."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
