"""The tables of ``shoal query``: meaning, columns, and source of the rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shoal.archive.instances import Instances
from shoal.explore.query import data_tables, model_tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from shoal.explore.query.results import Results, Row


@dataclass(frozen=True)
class Table:
    """A table whose rows are read from small files when a query names it.

    Attributes:
        about: Meaning of a row.
        schema: Columns with their DuckDB types.
        rows: Gives the rows; a column that a row lacks is null.
    """

    about: str
    schema: str
    rows: Callable[[Results], Iterable[Row]]

    @property
    def types(self) -> dict[str, str]:
        """DuckDB type of each column, by name."""
        return dict(column.split(" ") for column in self.schema.split(", "))

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self.types)


@dataclass(frozen=True)
class View:
    """A table that DuckDB computes from Parquet files or from other tables.

    Attributes:
        about: Meaning of a row.
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


def _instances(results: Results) -> list[str]:
    table = Instances(results.root).table()
    return [] if table is None else [str(table)]


def _rows(results: Results) -> list[str]:
    return [str(path) for path in data_tables.rows_paths(results)]


TABLES: dict[str, Table | View] = {
    "releases": Table(
        "a release: a run's published pool and scores",
        "release VARCHAR, variant VARCHAR, number BIGINT, current BOOLEAN, "
        "published TIMESTAMP, generation VARCHAR, data VARCHAR, index VARCHAR, "
        "evaluation VARCHAR, evaluation_before VARCHAR, gate VARCHAR, pool VARCHAR, "
        "settings VARCHAR",
        data_tables.releases,
    ),
    "prequential": Table(
        "a release: the score of the pool before it on the rows that arrived with it, before any "
        "model had seen them; what its run trained, and drift",
        "release VARCHAR, variant VARCHAR, number BIGINT, published TIMESTAMP, previous VARCHAR, "
        "rows BIGINT, units BIGINT, metric VARCHAR, score DOUBLE, low DOUBLE, high DOUBLE, "
        "generalist DOUBLE, difference DOUBLE, reason VARCHAR, flops DOUBLE, partitions BIGINT, "
        "specialists BIGINT, trained BIGINT, continued BIGINT, waiting BIGINT, history DOUBLE, "
        "action VARCHAR, drift DOUBLE, beyond DOUBLE",
        data_tables.prequential,
    ),
    "prequential_partitions": Table(
        "the same score in a partition of the pool before",
        "release VARCHAR, variant VARCHAR, number BIGINT, partition BIGINT, rows BIGINT, "
        "score DOUBLE, generalist DOUBLE",
        data_tables.prequential_partitions,
    ),
    "datasets": Table(
        "a source file, encoded rows, or the rows of an index: all, a fold's, a partition's",
        "dataset VARCHAR, kind VARCHAR, partition BIGINT, rows BIGINT, derived_from VARCHAR, "
        "location VARCHAR",
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
        "index VARCHAR, partition BIGINT, train_rows BIGINT, validation_rows BIGINT, "
        "test_rows BIGINT, train VARCHAR, validation VARCHAR, test VARCHAR, "
        "specialist VARCHAR, trained BOOLEAN, waiting BOOLEAN",
        data_tables.partitions,
    ),
    "transforms": Table(
        "the fit of a stage from split to cluster, with its settings",
        "transform VARCHAR, stage VARCHAR, generation VARCHAR, after VARCHAR, "
        "settings VARCHAR, modified TIMESTAMP",
        data_tables.transforms,
    ),
    "models": Table(
        "a base, specialist, generalist, set of random specialists, or pool",
        "model VARCHAR, kind VARCHAR, generation VARCHAR, trained_on VARCHAR, rows BIGINT, "
        "point VARCHAR, continues VARCHAR, base VARCHAR, encoder VARCHAR, "
        "parameters BIGINT, bytes BIGINT, modified TIMESTAMP, file VARCHAR",
        model_tables.models,
    ),
    "training_runs": Table(
        "the cost of a training or another fit",
        "run VARCHAR, job VARCHAR, rows_seen BIGINT, flops DOUBLE, seconds DOUBLE, "
        "peak_memory_bytes BIGINT, peak_gpu_memory_bytes BIGINT, device VARCHAR, "
        "threads BIGINT, host VARCHAR, versions VARCHAR, ended TIMESTAMP",
        model_tables.training_runs,
    ),
    "learning_curves": Table(
        "a point of a training's loss: the mean since the point before, up to 20 per training",
        "run VARCHAR, training BIGINT, step BIGINT, seconds DOUBLE, loss DOUBLE",
        model_tables.learning_curves,
    ),
    "choices": Table(
        "a candidate of a partition, the base among them, and its loss on validation rows",
        "choice VARCHAR, partition BIGINT, candidate VARCHAR, model VARCHAR, "
        "validation VARCHAR, rows BIGINT, loss DOUBLE, chosen BOOLEAN",
        model_tables.choices,
    ),
    "gates": Table(
        "a specialist against the generalist on validation rows: its gain alone, its share and the "
        "gain of that",
        "gate VARCHAR, partition BIGINT, rows BIGINT, units BIGINT, difference DOUBLE, "
        "gain DOUBLE, share DOUBLE",
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
        "evaluation VARCHAR, dataset VARCHAR, contender VARCHAR, model VARCHAR, metric VARCHAR, "
        "score DOUBLE, log_loss DOUBLE, calibration_error DOUBLE, worst_partition BIGINT, "
        "worst_score DOUBLE, rows BIGINT, train_flops DOUBLE, inference_flops_per_row DOUBLE, "
        "verdict VARCHAR, ended TIMESTAMP",
        model_tables.evaluations,
    ),
    "partition_scores": View(
        "a contender's error on one partition's test rows: share wrong, RMSE, or mean of its "
        "model's own loss; lower is better",
        ("evaluation", "partition", "contender", "rows", "error"),
        """WITH scores AS (
               UNPIVOT predictions ON COLUMNS('_(correct|squared_error|loss)$')
               INTO NAME measure VALUE value)
           SELECT evaluation, partition,
                  regexp_replace(measure, '_(correct|squared_error|loss)$', '') AS contender,
                  count(*) AS rows,
                  CASE WHEN suffix(measure, '_correct') THEN 1 - avg(value)
                       WHEN suffix(measure, '_loss') THEN avg(value)
                       ELSE sqrt(avg(value)) END AS error
           FROM scores GROUP BY evaluation, partition, measure""",
        needs=("predictions", "releases"),
    ),
    "tensors": Table(
        "a tensor of a model: equal hashes are equal types, shapes and bits",
        "model VARCHAR, tensor VARCHAR, layer VARCHAR, hash VARCHAR, dtype VARCHAR, "
        "shape VARCHAR, bytes BIGINT",
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
    "instances": View(
        "a state of a deployed pool that came back from where it was adapted",
        ("id", "instance", "number", "time", "way", "before", "manifest", "received"),
        "SELECT * REPLACE (CAST(time AS TIMESTAMPTZ) AS time) FROM read_parquet({files})",
        files=_instances,
    ),
    "lineage": Table(
        "an artifact and one file that it was made from, with the file's hash at that time",
        "artifact VARCHAR, made_from VARCHAR, hash VARCHAR",
        data_tables.lineage,
    ),
}
"""Every table by name, in the order in which they are listed."""
