"""Commands that train: base, specialists, router, baselines."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from shoal.cli.options import (
    Code,
    File,
    Files,
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
from shoal.formats.json_file import parse_json, read_json
from shoal.settings.section import parse, parse_text

if TYPE_CHECKING:
    from pathlib import Path

    from shoal.train_specialists.candidate import Candidate


def base_fit(
    code: Code,
    model: Json,
    training: Json,
    rows: Inputs,
    shapes: Input,
    base: File,
    ledger: File,
    threads: Threads,
    checkpoint_seconds: Seconds,
) -> None:
    """Train the base on every training row."""
    from shoal.settings.learning import Model, Training
    from shoal.train_specialists.command import base_fit
    from shoal.training.determinism import deterministic

    deterministic(threads)
    base_fit(
        Model.from_text(model),
        Training.from_text(training),
        rows,
        shapes,
        base,
        ledger,
        checkpoint_seconds,
    )


def train_specialist(
    model: Json,
    training: Json,
    search: Json,
    step: Number,
    slot: Text,
    point: Json,
    index: File,
    digest: Text,
    base: Input,
    shapes: Input,
    out: File,
    ledger: File,
    store: File,
    made_of: Text,
    threads: Threads,
    checkpoint_seconds: Seconds,
    decision: Paths = [],  # noqa: B006 - typer reads the default, nobody changes it
    state: Inputs = [],  # noqa: B006 - the same
) -> None:
    """Train one slot of a partition's search, or take its specialist from the model store."""
    from shoal.search.steps import Steps
    from shoal.settings.learning import Model, Training
    from shoal.train_specialists.candidate import candidate
    from shoal.train_specialists.command import train_specialist
    from shoal.training.determinism import deterministic

    known = None if point == "null" else parse_json(point, "--point", dict[str, Any])
    before = decision[0] if decision else None
    own = candidate(Steps.from_text(search), step, slot, out, known, before, state)
    if _recovered(store, made_of, base, digest, own, out, ledger):
        return
    deterministic(threads)
    train_specialist(
        Model.from_text(model),
        Training.from_text(training),
        own,
        index,
        digest,
        base,
        shapes,
        out,
        ledger,
        checkpoint_seconds,
    )


def train_pack(
    model: Json,
    training: Json,
    search: Json,
    members: File,
    index: File,
    base: Input,
    shapes: Input,
    logs: File,
    status: File,
    store: File,
    made_of: Text,
    threads: Threads,
    checkpoint_seconds: Seconds,
) -> None:
    """Train several slots in one process, each as if alone; exit code 1 if one failed."""
    from shoal.formats.documents.plan import PackMember
    from shoal.search.steps import Steps
    from shoal.settings.learning import Model, Training
    from shoal.train_specialists.pack_command import Work, train_pack

    work = Work(
        Model.from_text(model),
        Training.from_text(training),
        Steps.from_text(search),
        index,
        base,
        shapes,
        logs,
        functools.partial(_recovered, store, made_of, base),
        threads,
        checkpoint_seconds,
    )
    if train_pack(work, read_json(members, list[PackMember]), status):
        raise SystemExit(1)


def _recovered(
    store: Path,
    made_of: str,
    base: Path,
    digest: str,
    candidate: Candidate,
    out: Path,
    ledger: Path,
) -> bool:
    """Take a specialist from the model store, which never has a part of a training."""
    from shoal.archive.recover import recover

    if candidate.part is not None:
        return False
    return recover(store, made_of, digest, out, ledger, base, candidate.point)


def train_choose(
    model: Json,
    search: Json,
    step: Number,
    index: File,
    digest: Text,
    validation: Text,
    base: Input,
    shapes: Input,
    specialist: Inputs,
    choice: File,
    threads: Threads,
) -> None:
    """Choose a partition's grid point so far, and the slots of the next step, if there is one."""
    from shoal.search.steps import Steps
    from shoal.settings.learning import Model
    from shoal.train_specialists.choose import train_choose
    from shoal.training.determinism import deterministic

    deterministic(threads)
    train_choose(
        Model.from_text(model),
        Steps.from_text(search),
        step,
        index,
        (digest, validation),
        base,
        shapes,
        specialist,
        choice,
    )


def train_router(
    settings: Json,
    model: Json,
    index: File,
    assigner: Input,
    embedder: Input,
    shapes: Input,
    router: File,
    ledger: File,
    threads: Threads,
    choice: Paths = [],  # noqa: B006 - typer reads the default, nobody changes it
    specialist: Inputs = [],  # noqa: B006 - the same
) -> None:
    """Fit the router on the other half of the validation rows."""
    from shoal.settings.learning import Model, Router
    from shoal.train_router.command import train_router
    from shoal.training.determinism import deterministic

    deterministic(threads)
    train_router(
        parse_text(Router, settings, "train_router"),
        Model.from_text(model),
        index,
        assigner,
        choice,
        specialist,
        embedder,
        shapes,
        router,
        ledger,
    )


def evaluate_generalist(
    code: Code,
    model: Json,
    training: Json,
    grid: Json,
    search: Json,
    rows: Inputs,
    index: File,
    base: Input,
    shapes: Input,
    pool_ledger: Files,
    out: File,
    ledger: File,
    threads: Threads,
    checkpoint_seconds: Seconds,
) -> None:
    """Train the base on to the pool's total training FLOPs."""
    from shoal.evaluate.command import evaluate_generalist
    from shoal.search.steps import Steps
    from shoal.settings.learning import Model, Training
    from shoal.training.determinism import deterministic

    deterministic(threads)
    evaluate_generalist(
        Model.from_text(model),
        Training.from_text(training),
        parse_json(grid, "--grid", dict[str, dict[str, Any]]),
        Steps.from_text(search),
        rows,
        index,
        base,
        shapes,
        pool_ledger,
        out,
        ledger,
        checkpoint_seconds,
    )


def evaluate_random(
    code: Code,
    model: Json,
    training: Json,
    grid: Json,
    search: Json,
    seed: Number,
    rows: Inputs,
    index: File,
    base: Input,
    shapes: Input,
    base_ledger: File,
    out: File,
    ledger: File,
    threads: Threads,
    checkpoint_seconds: Seconds,
) -> None:
    """Train specialists on random partitions of the same sizes."""
    from shoal.evaluate.command import evaluate_random
    from shoal.search.steps import Steps
    from shoal.settings.learning import Model, Training
    from shoal.training.determinism import deterministic

    deterministic(threads)
    evaluate_random(
        Model.from_text(model),
        Training.from_text(training),
        parse_json(grid, "--grid", dict[str, dict[str, Any]]),
        Steps.from_text(search),
        seed,
        rows,
        index,
        base,
        shapes,
        out,
        ledger,
        base_ledger,
        checkpoint_seconds,
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


COMMANDS = (
    base_fit,
    train_specialist,
    train_pack,
    train_choose,
    train_router,
    evaluate_generalist,
    evaluate_random,
)
