"""Commands of the data stages: split, transform, encode, embed, cluster."""

from __future__ import annotations

from typing import Any

from shoal.cli.options import (
    Code,
    File,
    Files,
    Input,
    Inputs,
    Json,
    Number,
    Numbers,
    Paths,
    Seconds,
    Share,
    Text,
    Texts,
    Threads,
    by_shard,
)
from shoal.formats.json_file import parse_json
from shoal.settings.section import parse, parse_text


def split_fit(
    code: Code,
    sources: Json,
    source: Inputs,
    shard: Texts,
    split: Json,
    columns: File,
    folds: File,
) -> None:
    """Infer the columns and fit the folds that are not functions of one row."""
    from shoal.settings.data import Sources, Split
    from shoal.split.command import split_fit

    settings = parse_text(Split, split, "split")
    shards = dict(zip(source, shard, strict=True))
    split_fit(Sources.from_text(sources), settings, columns, folds, shards)


def split(
    source: Input,
    shard: Text,
    arrays: Json,
    columns: Input,
    folds: Input,
    split: Json,
    batch_rows: Number,
    table: File,
) -> None:
    """Read one source file, give its rows typed columns, a key and a fold."""
    from shoal.settings.data import ArraySource, Split
    from shoal.split import command

    content: ArraySource | str = str(source)
    if arrays != "null":
        names = parse_json(arrays, "--arrays", dict[str, Any])
        content = parse(ArraySource, {"path": content, "arrays": names}, "arrays")
    settings = parse_text(Split, split, "split")
    command.split(content, columns, folds, settings, batch_rows, table, shard)


def split_check(table: Inputs, source: Files, columns: Input, split: Json, check: File) -> None:
    """Check what no shard can see alone: duplicate ids, groups across folds, empty folds."""
    from shoal.settings.data import Split
    from shoal.split.command import split_check

    tables = {str(name): path for name, path in zip(source, table, strict=True)}
    split_check(tables, columns, parse_text(Split, split, "split"), check)


def transform_fit(code: Code, settings: Json, table: Inputs, columns: Input, state: File) -> None:
    """Fit the transform steps on the training fold."""
    from shoal.settings.data import Transform
    from shoal.transform.command import transform_fit

    transform_fit(Transform.from_text(settings), columns, by_shard(table), state)


def transform(table: Input, shard: Text, state: Input, out: File) -> None:
    """Apply the fitted steps to one shard."""
    from shoal.transform.command import transform

    transform(table, shard, state, out)


def encode_fit(
    code: Code,
    settings: Json,
    table: Inputs,
    columns: Input,
    encoder: File,
    shapes: File,
    threads: Threads,
) -> None:
    """Fit the encoders on the training fold."""
    from shoal.encode.command import encode_fit
    from shoal.settings.data import Encode

    encode_fit(Encode.from_text(settings), columns, by_shard(table), encoder, shapes)


def encode(
    table: Input,
    shard: Text,
    encoder: Input,
    shapes: Input,
    content: Text,
    rows: File,
    threads: Threads,
) -> None:
    """Encode one shard's rows, and hash each."""
    from shoal.encode.command import encode
    from shoal.formats.shapes import Shapes

    encode(table, shard, encoder, content, rows, Shapes.load(shapes).trusted)


def embed_fit(
    code: Code,
    settings: Json,
    rows: Inputs,
    shapes: Input,
    embedder: File,
    ledger: File,
    threads: Threads,
    checkpoint_seconds: Seconds,
) -> None:
    """Train the embedder on the training fold."""
    from shoal.embed.command import embed_fit
    from shoal.formats.shapes import Shapes
    from shoal.settings.discovery import Embed

    parsed = parse_text(Embed, settings, "embed")
    x_shape = Shapes.load(shapes).x_shape
    embed_fit(parsed, rows, x_shape, embedder, ledger, threads, checkpoint_seconds)


def embed(rows: Input, embedder: Input, embedding: File, threads: Threads) -> None:
    """Embed one shard's rows."""
    from shoal.embed.apply import embed

    embed(rows, embedder, embedding, threads)


def cluster_fit(
    code: Code,
    settings: Json,
    rows: Inputs,
    embedding: Inputs,
    table: Inputs,
    model: Json,
    training: Json,
    assigner: File,
    ledger: File,
    threads: Threads,
    base: Inputs = [],  # noqa: B006 - typer reads the default, nobody changes it
    shapes: Inputs = [],  # noqa: B006 - the same
) -> None:
    """Fit the assigner: atoms, merged into balanced partitions."""
    from shoal.settings.discovery import Cluster

    parsed = parse_text(Cluster, settings, "cluster")
    if not parsed.trains_probes:
        from shoal.cluster.command import cluster_fit

        cluster_fit(parsed, rows, embedding, table, assigner, ledger, threads)
        return
    from shoal.cluster.probe_command import cluster_fit_by_probes
    from shoal.settings.learning import Model, Training
    from shoal.training.determinism import deterministic

    deterministic(threads)
    cluster_fit_by_probes(
        parsed,
        Model.from_text(model),
        Training.from_text(training),
        rows,
        embedding,
        base[0],
        shapes[0],
        assigner,
        ledger,
        threads,
    )


def assign(
    rows: Input,
    embedding: Input,
    table: Input,
    assigner: Input,
    shard: Text,
    out: File,
    summary: File,
    threads: Threads,
) -> None:
    """Group one shard's rows by partition, with a digest for each."""
    from shoal.cluster.command import assign

    assign(rows, embedding, table, assigner, shard, out, summary, threads)


def partition(
    summary: Inputs,
    check: Input,
    assigner: Input,
    lineage: Text,
    min_rows: Number,
    stores: File,
    tolerance: Share,
    index: File,
    before: Paths = [],  # noqa: B006 - typer reads the default, nobody changes it
    released: Numbers = [],  # noqa: B006 - the same
) -> None:
    """Merge the shards' summaries into the partition index."""
    from shoal.cluster.command import Tolerated, partition

    tolerated = Tolerated(tolerance, before[0] if before else None, tuple(released))
    partition(summary, assigner, min_rows, lineage, stores, tolerated, index)


COMMANDS = (
    split_fit,
    split,
    split_check,
    transform_fit,
    transform,
    encode_fit,
    encode,
    embed_fit,
    embed,
    cluster_fit,
    assign,
    partition,
)
