"""Commands of the learning stages: base, specialists, router, evaluate, pool."""

from __future__ import annotations

import json

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
    Threads,
    by_point,
)
from shoal.settings.section import parse


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
    from shoal.determinism import deterministic
    from shoal.settings.learning import Model, Training
    from shoal.train_specialists.command import base_fit

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
    point: Json,
    index: File,
    digest: Text,
    base: Input,
    shapes: Input,
    out: File,
    ledger: File,
    threads: Threads,
    checkpoint_seconds: Seconds,
) -> None:
    """Train one specialist on its partition's rows."""
    from shoal.determinism import deterministic
    from shoal.settings.learning import Model, Training
    from shoal.train_specialists.command import train_specialist

    deterministic(threads)
    train_specialist(
        Model.from_text(model),
        Training.from_text(training),
        json.loads(point),
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
    from shoal.determinism import deterministic
    from shoal.settings.learning import Model
    from shoal.train_specialists.command import train_choose

    deterministic(threads)
    train_choose(
        Model.from_text(model),
        index,
        (digest, validation),
        base,
        shapes,
        by_point(specialist),
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
    from shoal.determinism import deterministic
    from shoal.settings.learning import Model, Router
    from shoal.train_router.command import train_router

    deterministic(threads)
    train_router(
        parse(Router, json.loads(settings), "train_router"),
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


def gate(
    settings: Json,
    routing: Json,
    model: Json,
    index: File,
    assigner: Input,
    shapes: Input,
    base: Input,
    generalist: Input,
    out: File,
    threads: Threads,
    choice: Paths = [],  # noqa: B006 - typer reads the default, nobody changes it
    specialist: Inputs = [],  # noqa: B006 - the same
) -> None:
    """Find out where specialists beat the generalist."""
    from shoal.determinism import deterministic
    from shoal.gate.command import Contestants, gate
    from shoal.settings.learning import Gate, Model, Router

    deterministic(threads)
    contestants = Contestants(base, generalist, choice, specialist)
    gate(
        Gate.from_text(settings),
        parse(Router, json.loads(routing), "train_router"),
        Model.from_text(model),
        index,
        assigner,
        shapes,
        contestants,
        out,
    )


def evaluate_generalist(
    code: Code,
    model: Json,
    training: Json,
    grid: Json,
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
    from shoal.determinism import deterministic
    from shoal.evaluate.command import evaluate_generalist
    from shoal.settings.learning import Model, Training

    deterministic(threads)
    evaluate_generalist(
        Model.from_text(model),
        Training.from_text(training),
        json.loads(grid),
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
    from shoal.determinism import deterministic
    from shoal.evaluate.command import evaluate_random
    from shoal.settings.learning import Model, Training

    deterministic(threads)
    evaluate_random(
        Model.from_text(model),
        Training.from_text(training),
        json.loads(grid),
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


def evaluate(
    settings: Json,
    experiment: File,
    pool: Input,
    index: File,
    pool_ledger: Files,
    table: Files,
    generalist: Input,
    generalist_ledger: File,
    random: Input,
    random_ledger: File,
    metrics: File,
    report: File,
    predictions: File,
    threads: Threads,
    choice: Paths = [],  # noqa: B006 - the same
    cluster: Paths = [],  # noqa: B006 - the same
) -> None:
    """Score pool and baselines on the test fold, each row once."""
    from shoal.determinism import deterministic
    from shoal.evaluate.judge import Paths, judge
    from shoal.settings.learning import Evaluate

    deterministic(threads)
    paths = Paths(
        settings=experiment,
        pool=pool,
        index=index,
        choices=choice,
        pool_ledgers=pool_ledger,
        tables=table,
        generalist=generalist,
        generalist_ledger=generalist_ledger,
        random=random,
        random_ledger=random_ledger,
        metrics_out=metrics,
        report_out=report,
        predictions_out=predictions,
        cluster=next(iter(cluster), None),
    )
    judge(Evaluate.from_text(settings), paths)


def pool(
    experiment: File,
    router: Input,
    pool_ledger: Files,
    index: File,
    columns: Input,
    transform: Input,
    encoder: Input,
    shapes: Input,
    embedder: Input,
    base: Input,
    gate: Input,
    generalist: Input,
    manifest: File,
    failed: Paths = [],  # noqa: B006 - the same
    choice: Paths = [],  # noqa: B006 - the same
    specialist: Inputs = [],  # noqa: B006 - the same
) -> None:
    """Put router, specialists and all fitted state into one folder."""
    from shoal.pool.command import pool

    state = {
        "columns.json": columns,
        "transform.json": transform,
        "encoder.skops": encoder,
        "shapes.json": shapes,
        "embedder.safetensors": embedder,
        "router.safetensors": router,
        "base.safetensors": base,
        "gate.json": gate,
    }
    record = next(iter(failed), None)
    pool(experiment, state, choice, specialist, index, pool_ledger, record, generalist, manifest)


def evaluate_drift(
    settings: Json,
    index: File,
    router: Input,
    out: File,
    basis: Paths = [],  # noqa: B006 - the same
    choice_before: Paths = [],  # noqa: B006 - the same
    choice: Paths = [],  # noqa: B006 - the same
) -> None:
    """Compare the rows with those that the generation was fitted on."""
    from shoal.determinism import deterministic
    from shoal.evaluate.drift_command import evaluate_drift
    from shoal.settings.changes import Drift

    deterministic(1)
    parsed = Drift.from_text(settings)
    evaluate_drift(parsed, index, basis, router, choice, choice_before, out)


def pool_publish(
    plan: File,
    manifest: File,
    metrics: File,
    report: File,
    drift: File,
    on_drift: Text,
    results: File,
    record: File,
) -> None:
    """Copy the current pool, metrics and report to the experiment's folder."""
    from shoal.pool.publish import Release, publish

    publish(Release(manifest, metrics, report, drift), plan, on_drift, results, record)


COMMANDS = (
    base_fit,
    train_specialist,
    train_choose,
    train_router,
    gate,
    evaluate_generalist,
    evaluate_random,
    evaluate,
    evaluate_drift,
    pool,
    pool_publish,
)
