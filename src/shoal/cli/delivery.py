"""Commands that judge what was trained and put the pool together."""

from __future__ import annotations

from shoal.cli.options import (
    File,
    Files,
    Input,
    Inputs,
    Json,
    Paths,
    Text,
    Texts,
    Threads,
)
from shoal.settings.section import parse_text


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
    from shoal.gate.command import Contestants, gate
    from shoal.settings.learning import Gate, Model, Router
    from shoal.training.determinism import deterministic

    deterministic(threads)
    contestants = Contestants(base, generalist, choice, specialist)
    gate(
        Gate.from_text(settings),
        parse_text(Router, routing, "train_router"),
        Model.from_text(model),
        index,
        assigner,
        shapes,
        contestants,
        out,
    )


def evaluate(
    settings: Json,
    experiment: File,
    pool: Input,
    index: File,
    pool_ledger: Files,
    table: Files,
    check: File,
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
    answers: Paths = [],  # noqa: B006 - the same
) -> None:
    """Score pool and baselines on the test fold, each row once."""
    from shoal.evaluate.judge import Paths, judge
    from shoal.settings.learning import Evaluate
    from shoal.training.determinism import deterministic

    deterministic(threads)
    paths = Paths(
        settings=experiment,
        pool=pool,
        index=index,
        choices=choice,
        pool_ledgers=pool_ledger,
        tables=table,
        check=check,
        generalist=generalist,
        generalist_ledger=generalist_ledger,
        random=random,
        random_ledger=random_ledger,
        metrics_out=metrics,
        report_out=report,
        predictions_out=predictions,
        cluster=next(iter(cluster), None),
        answers=next(iter(answers), None),
    )
    judge(Evaluate.from_text(settings), paths)


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
    from shoal.evaluate.drift_command import evaluate_drift
    from shoal.settings.running import Drift
    from shoal.training.determinism import deterministic

    deterministic(1)
    parsed = Drift.from_text(settings)
    evaluate_drift(parsed, index, basis, router, choice, choice_before, out)


def pool_build(
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
    lacks: Texts = [],  # noqa: B006 - the same
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
    pool(
        experiment,
        state,
        choice,
        specialist,
        index,
        pool_ledger,
        record,
        lacks,
        generalist,
        manifest,
    )


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
    from shoal.archive.publish import Publication, publish

    publish(Publication(manifest, metrics, report, drift), plan, on_drift, results, record)


def answers(plan: Files, folder: File, record: File) -> None:
    """Compare what the choices of an experiment did: variants, hyperparameters, seeds."""
    from shoal.explore.answers.command import answers

    answers(plan, folder, record)


COMMANDS = (
    gate,
    evaluate,
    evaluate_drift,
    pool_build,
    pool_publish,
    answers,
)
