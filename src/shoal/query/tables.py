"""The tables of ``shoal query``: what each is, its columns, and where its rows come from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shoal.query import data_tables, model_tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from shoal.query.results import Results


@dataclass(frozen=True)
class Table:
    """A table whose rows are read from small files when a query names it.

    Attributes:
        about: What a row is.
        columns: Arrow type of each column, by name.
        rows: Gives the rows; a column that a row lacks is null.
    """

    about: str
    columns: Mapping[str, str]
    rows: Callable[[Results], Iterable[dict[str, Any]]]


@dataclass(frozen=True)
class View:
    """A table that DuckDB computes from Parquet files or from other tables.

    Attributes:
        about: What a row is.
        columns: Its columns, as far as they are the same for all experiments.
        sql: The query; ``{files}`` in it stands for the files, as a list.
        files: Gives the Parquet files, where it reads any.
        needs: Tables that it reads.
    """

    about: str
    columns: tuple[str, ...]
    sql: str
    files: Callable[[Results], list[str]] | None = None
    needs: tuple[str, ...] = field(default=())


def _predictions(results: Results) -> list[str]:
    return [str(path) for path in results.files("g*/evaluate/*/*/predictions.parquet")]


def _rows(results: Results) -> list[str]:
    return [str(path) for path in data_tables.rows_paths(results)]


TABLES: dict[str, Table | View] = {
    "releases": Table(
        "a release: what a run has published",
        {
            "release": "string",
            "variant": "string",
            "number": "int64",
            "current": "bool",
            "published": "timestamp[s]",
            "generation": "string",
            "data": "string",
            "index": "string",
            "evaluation": "string",
            "evaluation_before": "string",
            "gate": "string",
            "pool": "string",
            "settings": "string",
        },
        data_tables.releases,
    ),
    "datasets": Table(
        "a source file, encoded rows, or the rows of an index: all, a fold's, a partition's",
        {
            "dataset": "string",
            "kind": "string",
            "partition": "int64",
            "rows": "int64",
            "derived_from": "string",
            "location": "string",
        },
        data_tables.datasets,
    ),
    "rows": View(
        "a row of the current releases, with the user's columns as `split` has typed them",
        ("key", "fold", "shard", "split"),
        """SELECT lower(hex(_key)) AS key,
                  ['train', 'validation', 'test', 'outside'][_fold + 1] AS fold,
                  parse_filename(filename, true) AS shard,
                  regexp_extract(filename, '(g[0-9]+/split/[^/]+/rows/[^/]+)/[^/]+$', 1) AS split,
                  * EXCLUDE (_key, _fold, filename)
           FROM read_parquet({files}, filename = true, union_by_name = true)""",
        files=_rows,
    ),
    "partitions": Table(
        "a partition of an index: how many rows, their digests, whether it has a specialist",
        {
            "index": "string",
            "partition": "int64",
            "train_rows": "int64",
            "validation_rows": "int64",
            "test_rows": "int64",
            "train": "string",
            "validation": "string",
            "test": "string",
            "specialist": "string",
            "trained": "bool",
            "waiting": "bool",
        },
        data_tables.partitions,
    ),
    "transforms": Table(
        "what was fitted for a stage from split to cluster, with its settings",
        {
            "transform": "string",
            "stage": "string",
            "generation": "string",
            "after": "string",
            "settings": "string",
            "modified": "timestamp[us]",
        },
        data_tables.transforms,
    ),
    "models": Table(
        "a base, specialist, generalist, set of random specialists, or pool",
        {
            "model": "string",
            "kind": "string",
            "generation": "string",
            "trained_on": "string",
            "rows": "int64",
            "point": "string",
            "base": "string",
            "encoder": "string",
            "parameters": "int64",
            "bytes": "int64",
            "modified": "timestamp[us]",
            "file": "string",
        },
        model_tables.models,
    ),
    "training_runs": Table(
        "what a training or another fit cost",
        {
            "run": "string",
            "job": "string",
            "rows_seen": "int64",
            "flops": "double",
            "seconds": "double",
            "peak_memory_bytes": "int64",
            "peak_gpu_memory_bytes": "int64",
            "device": "string",
            "threads": "int64",
            "host": "string",
            "versions": "string",
            "ended": "timestamp[us]",
        },
        model_tables.training_runs,
    ),
    "learning_curves": Table(
        "a point of a training's loss: the mean since the point before, up to 20 a training",
        {
            "run": "string",
            "training": "int64",
            "step": "int64",
            "seconds": "double",
            "loss": "double",
        },
        model_tables.learning_curves,
    ),
    "choices": Table(
        "a candidate of a partition, the base among them, and its loss on validation rows",
        {
            "choice": "string",
            "partition": "int64",
            "candidate": "string",
            "model": "string",
            "validation": "string",
            "rows": "int64",
            "loss": "double",
            "chosen": "bool",
        },
        model_tables.choices,
    ),
    "gates": Table(
        "a specialist against the generalist on validation rows",
        {
            "gate": "string",
            "partition": "int64",
            "rows": "int64",
            "difference": "double",
            "estimate": "double",
            "error": "double",
            "serves": "bool",
        },
        model_tables.gates,
    ),
    "predictions": View(
        "a test row of an evaluation: its label, and what each contender said",
        ("evaluation", "current", "key", "partition", "specialist", "distance", "label"),
        """SELECT evaluation,
                  evaluation IN (SELECT evaluation FROM releases
                                 WHERE current AND evaluation IS NOT NULL) AS current,
                  lower(hex(key)) AS key,
                  * EXCLUDE (evaluation, key, filename)
           FROM (SELECT *, regexp_extract(
                            filename, '(g[0-9]+/evaluate/[^/]+/[^/]+)/[^/]+$', 1) AS evaluation
                 FROM read_parquet({files}, filename = true, union_by_name = true))""",
        files=_predictions,
        needs=("releases",),
    ),
    "evaluations": Table(
        "a contender's scores on the test rows",
        {
            "evaluation": "string",
            "contender": "string",
            "model": "string",
            "metric": "string",
            "score": "double",
            "log_loss": "double",
            "calibration_error": "double",
            "worst_partition": "int64",
            "worst_score": "double",
            "rows": "int64",
            "train_flops": "double",
            "inference_flops_per_row": "double",
            "verdict": "string",
            "ended": "timestamp[us]",
        },
        model_tables.evaluations,
    ),
    "partition_scores": View(
        "a contender's error on one partition's test rows: share wrong, or RMSE; lower is better",
        ("evaluation", "partition", "contender", "rows", "error"),
        """WITH scores AS (
               UNPIVOT predictions ON COLUMNS('_(correct|squared_error)$')
               INTO NAME measure VALUE value)
           SELECT evaluation, partition,
                  regexp_replace(measure, '_(correct|squared_error)$', '') AS contender,
                  count(*) AS rows,
                  CASE WHEN suffix(measure, '_correct') THEN 1 - avg(value)
                       ELSE sqrt(avg(value)) END AS error
           FROM scores GROUP BY evaluation, partition, measure""",
        needs=("predictions", "releases"),
    ),
    "tensors": Table(
        "a tensor of a model: equal hashes are equal types, shapes and bits",
        {
            "model": "string",
            "tensor": "string",
            "layer": "string",
            "hash": "string",
            "dtype": "string",
            "shape": "string",
            "bytes": "int64",
        },
        model_tables.tensors,
    ),
    "layers": View(
        "a layer of a model: the hash is over those of its tensors",
        ("model", "layer", "hash", "bytes"),
        """SELECT model, layer,
                  left(sha256(string_agg(tensor || hash, ' ' ORDER BY tensor)), 24) AS hash,
                  sum(bytes)::BIGINT AS bytes
           FROM tensors GROUP BY model, layer""",
        needs=("tensors",),
    ),
    "lineage": Table(
        "an artifact and one file that it was made from, with the file's hash at that time",
        {"artifact": "string", "made_from": "string", "hash": "string"},
        data_tables.lineage,
    ),
}
"""Every table by name, in the order in which they are listed."""
