"""Commands that train: base, specialists, router, baselines."""

from __future__ import annotations

from typing import Any

from shoal.cli.options import (
    File,
    Input,
    Inputs,
    Json,
    Number,
    Paths,
    Seconds,
    Text,
    Texts,
    Threads,
)
from shoal.formats.json_file import parse_json
from shoal.settings.section import parse


def train_specialist(
    model: Json,
    training: Json,
    point: Json,
    index: File,
    digest: Text,
    base: Input,
    shapes: Input,
    out: File,
    ledger: File,
    store: File,
    threads: Threads,
    checkpoint_seconds: Seconds,
) -> None:
    """Train one specialist on its partition's rows, or take it from the pool store."""
    from shoal.archive.recover import recover
    from shoal.settings.learning import Model, Training
    from shoal.train_specialists.command import train_specialist
    from shoal.training.determinism import deterministic

    values = parse_json(point, "--point", dict[str, Any])
    if recover(store, out, ledger, base, values):
        return
    deterministic(threads)
    train_specialist(
        Model.from_text(model),
        Training.from_text(training),
        values,
        index,
        digest,
        base,
        shapes,
        out,
        ledger,
        checkpoint_seconds,
    )


def train_choose(
    model: Json,
    index: File,
    digest: Text,
    validation: Text,
    base: Input,
    shapes: Input,
    specialist: Inputs,
    choice: File,
    threads: Threads,
) -> None:
    """Choose a partition's grid point on one half of its validation rows."""
    from shoal.settings.learning import Model
    from shoal.train_specialists.command import train_choose
    from shoal.training.determinism import deterministic

    deterministic(threads)
    train_choose(
        Model.from_text(model),
        index,
        (digest, validation),
        base,
        shapes,
        specialist,
        choice,
    )


def check_classes(
    model: Json = "null",
    grid: Json = "{}",
    seed: Number = 0,
    shapes: Paths = [],  # noqa: B006 - typer reads the default, nobody changes it
    encoder: Texts = [],  # noqa: B006 - the same
    function: Texts = [],  # noqa: B006 - the same
) -> None:
    """Import the classes and functions that settings name; check that they take their arguments."""
    from shoal.encode.named import named_class
    from shoal.transform.function import FunctionOptions, named_function

    for text in function:
        for place, options in parse_json(text, "--function", dict[str, dict[str, Any]]).items():
            named_function(parse(FunctionOptions, options, f"{place}: options"), place)
    for text in encoder:
        for place, spec in parse_json(text, "--encoder", dict[str, dict[str, Any]]).items():
            named_class(spec, place)
    if model != "null":
        from shoal.formats.shapes import Shapes
        from shoal.settings.learning import Model
        from shoal.train_specialists.check import check_model

        known = [Shapes.load(path) for path in shapes]
        values = parse_json(grid, "--grid", dict[str, list[Any]])
        check_model(Model.from_text(model), values, seed, known)


COMMANDS = (train_specialist, train_choose)
