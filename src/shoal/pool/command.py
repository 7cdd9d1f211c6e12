"""Commands ``pool`` and ``predict``."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from shoal.formats.documents.choice import Choice
from shoal.formats.documents.index import PartitionIndex
from shoal.formats.documents.judgement import GateRecord
from shoal.formats.documents.ledger import LedgerRecord
from shoal.formats.documents.weights import AtPoint
from shoal.formats.files import replacing
from shoal.formats.json_file import read_made, write_json
from shoal.formats.provenance import made_from

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pyarrow as pa

    from shoal.formats.documents.choice import Point
    from shoal.formats.documents.plan import FailedSpecialist, RunSettings

_BATCH_ROWS = 8192


def pool(
    resolved: RunSettings,
    columns: Path,
    transform: Path,
    encoder: Path,
    shapes: Path,
    embedder: Path,
    router: Path,
    base: Path,
    gate: Path,
    generalist: Path,
    choices: Sequence[Path],
    specialists: Sequence[Path],
    index_path: Path,
    ledgers: Sequence[Path],
    failures: Sequence[FailedSpecialist],
    manifest_out: Path,
) -> None:
    """Copy everything that predicting needs into the manifest's folder; the manifest comes last.

    Args:
        resolved: The run's settings, of which the manifest names some.
        columns: Kinds of the columns.
        transform: Fitted steps.
        encoder: Fitted encoders.
        shapes: Shapes of encoded rows.
        embedder: The embedder.
        router: The router.
        base: Weights of the base.
        gate: What the gate decided.
        generalist: Weights of the generalist, which the pool holds if the gate gives it a share.
        choices: Chosen grid point of each partition.
        specialists: Weights of every specialist; the chosen ones are taken.
        index_path: The partition index.
        ledgers: Ledgers of the jobs that made the pool.
        failures: Failed trainings of the specialists that the pool is made without.
        manifest_out: The manifest.
    """
    from importlib.metadata import version

    from shoal.formats.hashing import file_hash
    from shoal.pool.incomplete import incomplete
    from shoal.pool.manifest import FORMAT, GENERALIST_FILE, specialist_file
    from shoal.train_router.command import chosen_specialists

    index, folder = read_made(index_path, PartitionIndex), manifest_out.parent
    state = {
        "columns.json": columns,
        "transform.json": transform,
        "encoder.safetensors": encoder,
        "shapes.json": shapes,
        "embedder.safetensors": embedder,
        "router.safetensors": router,
        "base.safetensors": base,
        "gate.json": gate,
    }
    if any(share < 1 for share in read_made(gate, GateRecord)["shares"].values()):
        state[GENERALIST_FILE] = generalist
    for name, path in state.items():
        _copy(path, folder / name)
    write_json(folder / "ledger.json", [read_made(path, LedgerRecord) for path in ledgers])
    chosen = {c["partition"]: c for path in choices for c in (read_made(path, Choice),)}
    entries = []
    for partition, path in sorted(chosen_specialists(choices, specialists).items()):
        name = specialist_file(partition)
        _copy(path, folder / name)
        digests = chosen[partition]["digests"]
        point = {"id": chosen[partition]["point"], "values": _point_values(path)}
        entry = {"partition": partition, "file": name, "digest": digests["train"], "point": point}
        entries.append(entry | {"validation": digests["validation"]})
    names = [*state, "ledger.json", *(str(entry["file"]) for entry in entries)]
    manifest = {
        "format": FORMAT,
        "shoal": version("shoal"),
        "experiment": resolved["name"],
        "generation": resolved["generation"],
        "model": resolved["model"],
        "route_by": resolved["cluster"]["route_by"],
        "rows": index["root"]["fit"],
        "partitions": len(index["partitions"]),
        "specialists": entries,
        "incomplete": incomplete(index["partitions"], chosen, failures),
        "files": {name: file_hash(folder / name) for name in names},
    }
    write_json(manifest_out, manifest | made_from())


def predict(
    pool_folder: Path,
    source: Path,
    out: Path,
    trust: Sequence[str],
    digest: str | None = None,
    log: Path | None = None,
) -> int:
    """Apply a pool to a source file, in batches; returns the number of rows.

    A pool that routes by group reads the file twice: all of a group's rows share its route.

    Args:
        pool_folder: The pool.
        source: CSV, Parquet or NPZ with the columns that the pool was made with.
        out: Parquet or CSV, by its suffix: a row for each of the source's rows, in order.
        trust: Modules outside Shoal that the pool may import its model from.
        digest: Digest of the pool's manifest; another pool is refused.
        log: Folder to which a report of the rows is added (:mod:`shoal_edge.report`).
    """
    from shoal.errors import SettingsError
    from shoal.pool.pool import Pool
    from shoal.sources.readers import raw_batches

    if out.suffix not in (".parquet", ".csv"):
        raise SettingsError(f"{out}: write to a .parquet or a .csv file")
    loaded = Pool.load(pool_folder, trust, digest)
    counted, rows = None if log is None else loaded.log(), 0

    def batches() -> Iterator[pa.Table]:
        nonlocal rows
        leads = loaded.leads(raw_batches(source, _BATCH_ROWS), str(source))
        for batch in raw_batches(source, _BATCH_ROWS):
            yield loaded.predict_batch(batch, str(source), rows + 1, leads=leads, log=counted)
            rows += len(batch)

    with replacing(out) as aside:
        _write(batches(), aside)
        if log is not None and counted is not None:
            counted.write(log)
    return rows


def _write(batches: Iterator[pa.Table], path: Path) -> None:
    import pyarrow.csv
    import pyarrow.parquet

    writer: Any = None
    try:
        for batch in batches:
            if writer is None:
                _check_cells(batch.schema, path)
                kind = (
                    pyarrow.csv.CSVWriter
                    if path.suffix == ".csv"
                    else pyarrow.parquet.ParquetWriter
                )
                writer = kind(path, batch.schema)
            writer.write_table(batch)
    finally:
        if writer is not None:
            writer.close()


def _check_cells(schema: pa.Schema, path: Path) -> None:
    """Refuse arrays in a CSV file, which has no cells for them.

    Raises:
        SettingsError: There is one.
    """
    import pyarrow as pa

    from shoal.errors import SettingsError

    for field in schema:
        if path.suffix == ".csv" and isinstance(field.type, pa.FixedShapeTensorType):
            raise SettingsError(
                f"a {field.name} is an array of shape {tuple(field.type.shape)}, which a .csv file "
                f"has no cell for; write to a .parquet file"
            )


def _point_values(specialist: Path) -> Point:
    from shoal.formats.fitted_state import load_state

    return load_state(specialist, AtPoint)[1]["point"]


def _copy(source: Path, target: Path) -> None:
    with replacing(target) as aside:
        shutil.copyfile(source, aside)
