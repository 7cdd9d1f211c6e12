"""A large experiment as a complete run would leave it, with generated rows: no stage has run."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.cluster.assigner import AtomAssigner
from shoal.cluster.command import partition
from shoal.cluster.merge import Bounds
from shoal.formats.documents.index import PartitionIndex
from shoal.formats.fitted_state import save_state
from shoal.formats.hashing import ROW_HASH_BYTES
from shoal.formats.json_file import read_json, write_json
from shoal.formats.kinds import FOLDS, TRAIN
from shoal.formats.provenance import KEY as MADE_FROM
from shoal.formats.row_store import RowArray, write_rows
from shoal.formats.tables import Columns, write_table
from shoal.partitions.grouping import groups
from shoal.plan.answers import answers_jobs
from shoal.plan.plan import Plan
from shoal.plan.stages import STAGES
from shoal.training.budget import Budget

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
EDITED = Path("data", "part-00000.csv")
ROWS = ("split.table", "transform.table", "encode.rows", "assign.rows")
UNREAD = ("split.facts", "split.sample", "assign.distances")
"""Files of a shard that no plan reads."""
SHARES = (0.7, 0.15, 0.15)
"""Of a shard's rows of one partition in each fold."""

NO_HASH = "0" * 64
SETTINGS = """\
# @package _global_
name: scale
sources:
  folder: data
  files: ["*.csv"]
  columns: {{a: numeric, label: label}}
embed: {{dims: 2}}
cluster: {{partitions: {partitions}, atoms: 256, min_rows: 10}}
grid: {{lr: [0.001, 0.003, 0.01, 0.03]}}
packing: {{devices: null}}
"""


@dataclass(frozen=True)
class Scale:
    """How large an experiment is.

    Attributes:
        shards: Source files.
        partitions: Partitions; every shard has rows of each, in every fold.
        rows: Rows of all shards together.
    """

    shards: int
    partitions: int
    rows: int


def complete(folder: Path, scale: Scale, seed: int) -> int:
    """Lay out a finished experiment; the number of its jobs.

    What a plan reads is there as a run would leave it, all else is an empty file. Snakemake's own
    records are not: it reads them for jobs in its DAG, and nothing that is complete is in there.
    """
    _configure(folder, scale)
    rng = np.random.default_rng(seed)
    with contextlib.chdir(folder):
        plan = Plan("scale", [], Path("config"))
        plan.write_records()
        _write_fits(plan, scale)
        _write_shard(plan, scale, _edited_shard(plan), _hashes(scale, rng))
        for shard, (path, _) in plan.shards.items():
            if path != EDITED:
                _write_generated(plan, scale, shard, rng)
        write_json(plan.layout.file("split_check.check"), {"leaks": {}})
        write_index(plan, plan.layout.index)
        index = read_json(plan.layout.index, PartitionIndex)
        for job in plan.layout.later_jobs(index):
            for output in job.outputs:
                _write_minimal(output, job.rule)
        plan.history.withdraw()
        record = read_json(plan.plan_file, dict[str, Any])
        plan.history.publish(record | {"rows": "", "released": []})
        for job in answers_jobs([plan]):
            for output in job.outputs:
                _write_minimal(output, job.rule)
        jobs = plan.layout.jobs(index)
        for job in jobs:
            _write_benchmark(plan, job.rule, job.about)
        return len(jobs)


def edit(folder: Path) -> None:
    """Change one source file."""
    (folder / EDITED).write_text("edited\n")


def apply_edit(folder: Path, scale: Scale, seed: int) -> None:
    """Make what precedes the index, and it: one training row of each partition is another."""
    hashes = _hashes(scale, np.random.default_rng(seed))
    number, fold = _places(scale)
    first = [np.flatnonzero((number == p) & (fold == TRAIN))[0] for p in range(scale.partitions)]
    hashes[first] = ~hashes[first]
    with contextlib.chdir(folder):
        plan = Plan("scale", [], Path("config"))
        _write_shard(plan, scale, _edited_shard(plan), hashes)
        write_json(plan.layout.file("split_check.check"), {"leaks": {}})
        write_index(plan, plan.layout.index)


def restore(folder: Path) -> None:
    """Undo :func:`edit`; what was made for the edited file goes too."""
    with contextlib.chdir(folder):
        plan = Plan("scale", [], Path("config"))
        for job in plan.layout.early_jobs():
            if not STAGES[job.rule].frozen and job.about in (_edited_shard(plan), ""):
                for path in job.outputs:
                    path.unlink(missing_ok=True)
    (folder / EDITED).write_text("0\n")


def write_index(plan: Plan, out: Path) -> None:
    """Merge the summaries, as the checkpoint does."""
    layout, cluster = plan.layout, plan.settings.cluster
    summaries = [layout.file("assign.summary", shard=shard) for shard in layout.shards]
    assigner = layout.file("cluster_fit.assigner")
    stores = layout.file("assign.rows", shard="").parent
    partition(summaries, assigner, cluster.min_rows, layout.fits["cluster"], stores, out)


def _edited_shard(plan: Plan) -> str:
    return next(shard for shard, (path, _) in plan.shards.items() if path == EDITED)


def _configure(folder: Path, scale: Scale) -> None:
    (folder / "data").mkdir(parents=True)
    for number in range(scale.shards):
        (folder / "data" / f"part-{number:05d}.csv").write_text(f"{number}\n")
    for name in ("Snakefile", "workflow", "envs", "profiles", "examples"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "config" / "experiment").mkdir(parents=True)
    for path in (ROOT / "config").iterdir():
        if path.name != "experiment":
            (folder / "config" / path.name).symlink_to(path)
    experiment = folder / "config" / "experiment" / "scale.yaml"
    experiment.write_text(SETTINGS.format(partitions=scale.partitions))


def _write_fits(plan: Plan, scale: Scale) -> None:
    """Files of every fit: records as they would be, state only where a plan reads it."""
    layout = plan.layout
    read = {
        "split": [path for path, _ in plan.shards.values()],
        "transform": layout.files("split.table"),
        "encode": layout.files("transform.table"),
        "embed": layout.files("encode.rows"),
        "cluster": [
            layout.file("embed_fit.embedder"),
            *layout.files("encode.rows"),
            *layout.files("transform.table"),
        ],
        "base": layout.files("encode.rows"),
    }
    for job in layout.early_jobs():
        stage = STAGES[job.rule]
        if stage.frozen:
            record = {
                "files": _hashed(read[stage.identity]),
                "code": plan.fit_codes[stage.identity],
            }
            for path in job.outputs:
                _write_minimal(path, stage.name, record)
    rng = np.random.default_rng(0)
    prototypes = rng.normal(size=(256, 2)).astype(np.float32)
    atom = np.arange(256, dtype=np.int32)
    bounds = Bounds.of_mean(scale.rows, scale.partitions, 0.5, 2.0)
    owner = (atom % scale.partitions).astype(np.int32)
    AtomAssigner(prototypes, atom, owner, bounds, scale.rows).save(
        layout.file("cluster_fit.assigner")
    )
    training = plan.settings.train_specialists
    budget = Budget.of(training, int(SHARES[0] * scale.rows))
    save_state(layout.file("base_fit.base"), {}, {"budget": asdict(budget)})


def _hashed(paths: Iterable[Path]) -> dict[str, str]:
    return {str(path): NO_HASH for path in paths}


def _write_generated(plan: Plan, scale: Scale, shard: str, rng: np.random.Generator) -> None:
    """Row files without rows, and a summary with random sums of row hashes."""
    number, fold = _places(scale)
    found = groups(number, fold, np.zeros((len(number), ROW_HASH_BYTES), np.uint8))
    drawn = [group | {"sum": rng.bytes(ROW_HASH_BYTES).hex()} for group in found]
    for name in (*ROWS, *UNREAD):
        _write_minimal(plan.layout.file(name, shard=shard), name.partition(".")[0])
    _write_summary(plan, shard, len(number), drawn)


def _write_shard(plan: Plan, scale: Scale, shard: str, hashes: NDArray[np.uint8]) -> None:
    """Row files with what a plan reads of a shard that changed, and their summary."""
    layout = plan.layout
    number, fold = _places(scale)
    arrays = {"hash": RowArray((ROW_HASH_BYTES,), "uint8"), "fold": RowArray((), "uint8")}
    rows = {"hash": hashes, "fold": fold}
    for name in ROWS[2:]:
        write_rows(layout.file(name, shard=shard), len(fold), arrays, [rows], {})
    columns = Columns({"a": "numeric", "label": "label"}, "classification", {}, {}, {})
    table = columns.schema().empty_table()
    for name in ROWS[:2]:
        record = {"source": str(EDITED)}
        write_table(layout.file(name, shard=shard), table.schema, [table], record)
    for name in UNREAD:
        _write_minimal(layout.file(name, shard=shard), name.partition(".")[0])
    _write_summary(plan, shard, len(number), groups(number, fold, hashes))


def _write_summary(plan: Plan, shard: str, rows: int, found: list[dict[str, Any]]) -> None:
    layout = plan.layout
    read = [layout.file(name, shard=shard) for name in ROWS[1:3]]
    read.append(layout.file("cluster_fit.assigner"))
    record = {"store": NO_HASH, MADE_FROM: {"files": _hashed(read)}}
    content = {"shard": shard, "rows": rows, "groups": found, "unknown_labels": 0}
    content |= record | {"asked": [], "choosing": []}
    path = layout.file("assign.summary", shard=shard)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, sort_keys=True, separators=(",", ":")) + "\n")


def _places(scale: Scale) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Partition and fold of each row of a shard, in order."""
    rows = scale.rows // scale.shards // scale.partitions
    inside = np.repeat(
        np.arange(len(FOLDS)), np.diff([0, *np.rint(np.cumsum(SHARES) * rows)]).astype(int)
    )
    number = np.repeat(np.arange(scale.partitions, dtype=np.int32), rows)
    return number, np.tile(inside.astype(np.uint8), scale.partitions)


def _hashes(scale: Scale, rng: np.random.Generator) -> NDArray[np.uint8]:
    rows = len(_places(scale)[0])
    return rng.integers(256, size=(rows, ROW_HASH_BYTES), dtype=np.uint8)


def _write_minimal(path: Path, job: str, record: Mapping[str, Any] | None = None) -> None:
    """A file that is there; JSON is a ledger, or the shape of rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix != ".json":
        path.write_bytes(b"")
        return
    made_from = {MADE_FROM: dict(record or {"files": {}})}
    if path.name == "shapes.json":
        write_json(path, {"x_shape": [100]} | made_from)
        return
    detail = {"embedding": 1e9, "assignment": 1e9, "answers": 1e9}
    ledger = {"job": job, "flops": 4e9, "rows_seen": 1000, "seconds": 1.0, "detail": detail}
    memory = {"rows_read": 1000, "peak_memory_bytes": 500_000_000, "peak_gpu_memory_bytes": 0}
    write_json(path, ledger | memory | made_from)


def _write_benchmark(plan: Plan, rule: str, about: str) -> None:
    """What Snakemake's ``benchmark`` leaves of one job."""
    layout = plan.layout
    folder = plan.root / "benchmarks" / layout.generation / rule / layout.made["specialists"]
    path = Path(folder, f"{about or rule}.tsv")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("s\th:m:s\n1.5\t0:00:01\n")
