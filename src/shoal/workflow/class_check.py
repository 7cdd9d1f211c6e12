"""Whether what the settings name by dotted path can be used, asked before the first job starts."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

from shoal.errors import ERROR, ModelError
from shoal.formats.hashing import canonical_json
from shoal.settings.search import Range
from shoal.settings.targets import OURS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shoal.workflow.plans import Plans

_USE_FUNCTIONS = {"transform_fit", "transform"}
_USE_CLASSES = {"encode_fit", "encode"}
_TRAIN = {
    "base_fit",
    "train_specialist",
    "train_pack",
    "train_rung",
    "train_trial",
    "evaluate_generalist",
    "evaluate_random",
}


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
    options = []
    model, grid = plans.settings.model, plans.settings.grid
    varied = {name: _values(each) for name, each in grid.items() if name.startswith("model.")}
    # What is trained after the checkpoint is planned when it has run.
    trains = bool(rules & _TRAIN) or {"partition", "all"} <= rules
    if trains and model.target not in OURS:
        shapes = {plan.layout.fit("encode", "shapes.json"): None for plan in plans.all}
        options += ["--model", plans.first.text("model"), "--grid", canonical_json(varied)]
        options += ["--seed", str(plans.settings.train_specialists.seed)]
        options += [part for path in shapes if path.exists() for part in ("--shapes", str(path))]
    settings = [plan.settings for plan in plans.all]
    if rules & _USE_CLASSES:
        options += _given("--encoder", (each.encode.classes for each in settings))
    if rules & _USE_FUNCTIONS:
        options += _given("--function", (each.transform.functions for each in settings))
    return options


def _given(option: str, named: Iterable[dict[str, dict[str, Any]]]) -> list[str]:
    """An option for each variant's own: by place, what names something of the user's."""
    users = [
        {place: spec for place, spec in each.items() if spec["_target_"] not in OURS}
        for each in named
    ]
    texts = dict.fromkeys(canonical_json(each) for each in users if each)
    return [part for text in texts for part in (option, text)]


def _values(values: list[Any] | Range) -> list[Any]:
    return [values.low, values.high] if isinstance(values, Range) else values
