"""Whether what the settings name by dotted path can be used, asked before the first job starts."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

from shoal.errors import ERROR, ModelError
from shoal.formats.hashing import canonical_json
from shoal.formats.shapes import Shapes
from shoal.plan.run_file import RunFile
from shoal.plan.stages import STAGES
from shoal.settings import parse
from shoal.settings.search import Range
from shoal.settings.targets import OURS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from shoal.workflow.plans import Plans

    Named = dict[str, dict[str, Any]]
    """Class or function with its arguments, by the setting that names it."""


def check_named_classes(plans: Plans) -> None:
    """Have a process of its own import what jobs of this run will import, Shoal's own aside.

    Nothing is imported where jobs have environments of their own, which this process does not
    have, or where the settings name nothing of the user's.

    Raises:
        ModelError: A class or function does not import, is not what it is named for, or does not
            take its arguments.
        SettingsError: A value of the grid changes the shape of the model's parameters.
    """
    if plans.jobs_have_own_environments:
        return
    options = _options(plans, plans.rules_to_run())
    if not options:
        return
    command = ["shoal", "check-classes", *options]
    result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    if result.returncode == 0:
        return
    lines = result.stderr.splitlines()
    reasons = [line.removeprefix(ERROR) for line in lines if line.startswith(ERROR)]
    if reasons:
        raise ModelError(reasons[-1])
    # A module may do anything when it is imported, such as end the process.
    how = f"ended with exit code {result.returncode}"
    last = f": {lines[-1]}" if lines else ""
    raise ModelError(f"the process that imports what the settings name {how}{last}")


def _options(plans: Plans, rules: set[str]) -> list[str]:
    """Options of the command; none where there is nothing to import."""
    used = {stage.code for rule in rules if (stage := STAGES.get(rule))}
    # What is trained after the checkpoint is planned when it has run.
    trains = {"partition", "all"} <= rules or any(
        "train_specialists" in STAGES[rule].settings for rule in rules if rule in STAGES
    )
    settings = [plan.settings for plan in plans.all]
    asked = {
        "--model": trains
        and named_by_user([{"model": {"_target_": each.model.target}} for each in settings]),
        "--encoders": "encode.command" in used
        and named_by_user([each.encode.classes for each in settings]),
        "--functions": "transform.command" in used
        and named_by_user([each.transform.functions for each in settings]),
    }
    options = [option for option, named in asked.items() if named]
    files = [part for plan in plans.all for part in ("--settings", str(plan.run_file))]
    return [*options, *files] if options else []


def named_by_user(named: Iterable[Named]) -> list[Named]:
    """The user's own classes and functions that variants name: by place, each once."""
    own = [
        {place: spec for place, spec in each.items() if spec["_target_"] not in OURS}
        for each in named
    ]
    return list({canonical_json(each): each for each in own if each}.values())


def check_classes(runs: Sequence[Path], *, model: bool, encoders: bool, functions: bool) -> None:
    """Import what the settings of a run name.

    Args:
        runs: The settings file of each variant.
        model: Whether to check the model, with the values of the grid.
        encoders: Whether to check the classes of encoders.
        functions: Whether to check the functions of transform steps.

    Raises:
        ModelError: A class or function does not import, is not what it is named for, or does not
            take its arguments.
        SettingsError: A value of the grid changes the shape of the model's parameters.
    """
    from shoal.encode.named import named_class
    from shoal.transform.function import FunctionOptions, named_function

    found = [RunFile(path) for path in runs]
    if functions:
        for named in named_by_user([run.section("transform").functions for run in found]):
            for place, options in named.items():
                named_function(parse(FunctionOptions, options, f"{place}: options"), place)
    if encoders:
        for named in named_by_user([run.section("encode").classes for run in found]):
            for place, spec in named.items():
                named_class(spec, place)
    if model:
        from shoal.train_specialists.check import check_model

        first = found[0]
        grid = {name: _values(values) for name, values in first.section("grid").items()}
        seed = first.section("train_specialists").seed
        used = [(run.section("model"), run.layout.file("encode_fit.shapes")) for run in found]
        for own in {canonical_json(each.as_json()): each for each, _ in used}.values():
            shapes = dict.fromkeys(path for each, path in used if each == own and path.exists())
            check_model(own, grid, seed, [Shapes.load(path) for path in shapes])


def _values(values: list[Any] | Range) -> list[Any]:
    return [values.low, values.high] if isinstance(values, Range) else values
