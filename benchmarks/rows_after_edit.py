"""Rows that jobs read after two rows were edited, for data of growing size.

Twice the rows are twice the shards and twice the partitions, as where files come from more sites.
Each job from ``assign`` on runs where a file of it is missing, with the files that its stage takes.
Models are not trained, since which rows are read does not depend on their weights; for training,
its rows are read.

    python -m benchmarks.rows_after_edit --sites 4 8 16
"""

from __future__ import annotations

import argparse
import inspect
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from shoal.ask.answers import Answers
from shoal.ask.command import ask
from shoal.cluster.assigner import load_assigner
from shoal.cluster.command import assign, cluster_fit, partition
from shoal.embed.embedder import IdentityEmbedder
from shoal.formats.documents.ledger import LedgerRecord
from shoal.formats.fitted_state import save_state
from shoal.formats.hashing import KEY_BYTES, hash_rows, settings_id, uniform
from shoal.formats.json_file import read_made, write_json
from shoal.formats.ledger import Ledger
from shoal.formats.row_store import RowArray, ShardRows, write_rows
from shoal.formats.shapes import Shapes
from shoal.gate.command import gate
from shoal.partitions.random_partitions import random_bounds
from shoal.partitions.reader import Index
from shoal.plan.layout import Layout
from shoal.plan.paths import inputs, jobs_of, outputs
from shoal.plan.stages import FITS, STAGES
from shoal.search.steps import Steps
from shoal.settings.discovery import KMeansAtoms
from shoal.settings.learning import Gate, Model, NearestAtom
from shoal.settings.search import GridSampling, Halving
from shoal.train_router.command import train_router
from shoal.training.model import build_model, weights

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from shoal.formats.documents.index import PlannedIndex

DIMS = 4
SITE_ROWS = 2048
MODEL = Model.model_validate(
    {"_target_": "shoal.models.MLP", "features": DIMS, "outputs": 2, "width": 4, "depth": 1}
)
ROUTER = NearestAtom(
    method="nearest_atom", top_k=2, temperature=1.0, fallback_quantile=0.99, seed=0
)
STEPS = Steps(
    {},
    GridSampling(sampler="sobol", samples=None, batch=1, seed=0),
    Halving(rungs=1, reduction_factor=2),
)
SHAPES = Shapes([DIMS], 2, "classification", ["no", "yes"], 1, list("abcd"), [])


class Job(NamedTuple):
    """A job: its wildcards, and the files that it takes and makes, by name."""

    layout: Layout
    wildcards: Mapping[str, str]
    taken: Mapping[str, Any]
    made: Mapping[str, Path]

    def call(self, command: Callable[..., None], **given: Any) -> None:  # noqa: ANN401 - sections
        """Call a stage's command; its parameters are called by what they take."""
        known = {**self.wildcards, **given, "threads": 1, "out": next(iter(self.made.values()))}
        known |= {f"{name}_out": path for name, path in self.made.items()}
        known |= {**self.taken} | {f"{name}_path": path for name, path in self.taken.items()}
        wanted = inspect.signature(command).parameters
        command(**{name: known[name] for name in wanted if name in known})


class Lab:
    """Rows of some sites, and the jobs of an experiment from ``assign`` on.

    Attributes:
        shards: Rows of each site, float32 ``(rows, DIMS)``.
        read: Rows that the jobs of the last run read, by stage.
    """

    def __init__(self, folder: Path, sites: int, site_rows: int = SITE_ROWS) -> None:
        draw = np.random.default_rng(sites)
        centres = draw.normal(size=(sites, 1, DIMS)) * 20
        self.shards = (centres + draw.normal(size=(sites, site_rows, DIMS))).astype(np.float32)
        self.read: Counter[str] = Counter()
        self._folder = folder

    @property
    def layout(self) -> Layout:
        """Where the files of the current rows lie."""
        shards = tuple(f"{n}-{settings_id(x.tolist())}" for n, x in enumerate(self.shards))
        own = settings_id(shards)
        return Layout(
            root=str(self._folder),
            home=str(self._folder),
            generation="g1",
            fits=dict.fromkeys(FITS, "0" * 10),
            made=dict.fromkeys((stage.identity for stage in STAGES.values()), "1" * 10)
            | {"search": "2" * 10},
            shards=shards,
            points=("p" * 10,),
            index_id=own,
            release=own,
            refreshed=False,
            slots=(1,),
        )

    def edit(self, rows: int = 2) -> None:
        """Change rows of the first site."""
        self.shards[0][:rows] += np.float32(0.01)

    def run(self) -> Layout:
        """Do the jobs that are missing; returns the layout."""
        self.read, layout = Counter(), self.layout
        for shard, x in zip(layout.shards, self.shards, strict=True):
            self._encode(layout, shard, x)
        if not layout.file("cluster_fit.assigner").exists():
            self._fit(layout)
        self._jobs(layout, "assign", None)
        self._jobs(layout, "partition", None)
        index = layout.read_index()
        for stage in ("train_specialist", "train_choose", "train_router", "ask", "gate"):
            self._jobs(layout, stage, index)
        self.answers(layout, "test")
        return layout

    def answers(self, layout: Layout, fold: str) -> Answers:
        """Answers about a fold of all partitions, as gate and evaluate merge them."""
        found, index = layout.read_index(), Index(layout.index)
        paths = [layout.file(f"ask.{fold}", found, **job) for job in self._all(layout, "ask")]
        answers = Answers(paths, index, fold, _refused)
        self.read["evaluate" if fold == "test" else fold] += index.rows_read
        return answers

    def _all(self, layout: Layout, stage: str) -> list[dict[str, str]]:
        return list(jobs_of(layout, STAGES[stage], layout.read_index()))

    def _jobs(self, layout: Layout, name: str, index: PlannedIndex | None) -> None:
        stage = STAGES[name]
        for job in jobs_of(layout, stage, index):
            made = outputs(layout, stage, job, index)
            if not all(path.exists() for path in made.values()):
                taken: dict[str, Any] = inputs(layout, stage, job, index)
                getattr(self, f"_{name}")(Job(layout, job, taken, made))
                ledger = made.get(stage.ledger)
                if ledger is not None and ledger.exists():
                    self.read[name] += read_made(ledger, LedgerRecord)["rows_read"]

    # Jobs, by the name of their stage -----------------------------------------------------------

    def _encode(self, layout: Layout, shard: str, x: NDArray[np.float32]) -> None:
        path = layout.file("encode.rows", shard=shard)
        if path.exists():
            return
        y = (x.sum(axis=1) > 0).astype(np.int64)
        place = np.arange(len(x)) + 1e6 * int(shard.partition("-")[0])
        key = hash_rows({"place": place}, KEY_BYTES)
        fold = np.digitize(uniform(key, "fold"), [0.7, 0.85, 0.99]).astype(np.uint8)
        rows = {"x": x, "y": y, "key": key, "fold": fold}
        rows["source"] = hash_rows({"x": x, "y": y}, KEY_BYTES)
        specs = {name: RowArray(a.shape[1:], str(a.dtype)) for name, a in rows.items()}
        write_rows(path, len(x), specs, [rows], {"salt": "0" * 32})

    def _fit(self, layout: Layout) -> None:
        sites = len(self.shards)
        atoms = KMeansAtoms(
            method="kmeans",
            partitions=2 * sites,
            max_partitions=4 * sites,
            atoms=8 * sites,
            lower=0.2,
            upper=5.0,
            fit_rows=20_000,
            min_rows=50,
            seed=0,
        )
        embedder = layout.file("embed_fit.embedder")
        save_state(embedder, *IdentityEmbedder([DIMS]).state())
        made = layout.file("cluster_fit.assigner"), layout.file("cluster_fit.ledger")
        cluster_fit(atoms, layout.files("encode.rows"), embedder, [], *made, 1)
        SHAPES.save(layout.file("encode_fit.shapes"))
        save_state(layout.file("base_fit.base"), _weights(1), {})
        generalist = layout.file("evaluate_generalist.model", link="generation")
        save_state(generalist, _weights(2), {"point": {}})
        random = {f"{n}/{name}": w for n in range(2) for name, w in _weights(3 + n).items()}
        about: dict[str, Any] = {"trained_on": {"train": ""}, "rows": {"train": 0}}
        usual = layout.file("evaluate_random.usual", basis="generation")
        save_state(usual, {}, about | {"models": {}})
        about |= {"seed": 0}
        about |= {"bounds": random_bounds([1, 1]), "points": {"0": {}, "1": {}}}
        save_state(layout.file("evaluate_random.models", basis="generation"), random, about)

    def _assign(self, job: Job) -> None:
        job.call(assign)
        with ShardRows(job.taken["rows"]) as rows:
            self.read["assign"] += rows.rows

    def _partition(self, job: Job) -> None:
        stores = job.layout.file("assign.rows", shard="any").parent
        summaries, assigner = job.taken["summaries"], job.taken["assigner"]
        partition(summaries, assigner, 50, "lineage", stores, job.made["index"])

    def _train_specialist(self, job: Job) -> None:
        index = Index(job.taken["index"])
        index.specialist_rows(index.partition_with(job.wildcards["digest"]), ("x", "y"))
        facts = {"digest": job.wildcards["digest"], "point": {}, "rows": 0}
        save_state(job.made["model"], _weights(int(job.wildcards["digest"][:8], 16)), facts)
        ledger = Ledger("train_specialist", rows_read=index.rows_read)
        ledger.write(job.made["ledger"])

    def _train_choose(self, job: Job) -> None:
        index = Index(job.taken["index"])
        digest, validation = job.wildcards["digest"], job.wildcards["validation"]
        number = index.partition_with(digest, validation)
        index.read(number, "validation", ("x", "y"))
        (specialist,) = job.taken["specialists"]
        choice = {
            "partition": number,
            "digests": {"train": digest, "validation": validation},
            "rows": 0,
            "point": job.layout.points[0],
            "points": {job.layout.points[0]: {}},
            "specialist": str(Path("../../../..", specialist.relative_to(job.layout.folder))),
            "losses": {},
            "margin": None,
            "next": [],
        }
        ledger = Ledger("train_choose", rows_read=index.rows_read)
        write_json(job.made["choice"], choice | ledger.record())

    def _train_router(self, job: Job) -> None:
        job.call(train_router, settings=ROUTER, model=MODEL)

    def _ask(self, job: Job) -> None:
        job.call(ask, model=MODEL)

    def _gate(self, job: Job) -> None:
        points: dict[str, Any] = {point: {} for point in job.layout.points}
        job.call(
            gate,
            settings=Gate(confidence=0.95),
            routing=ROUTER,
            model=MODEL,
            points=points,
            steps=STEPS,
        )


def _weights(seed: int) -> dict[str, NDArray[Any]]:
    return weights(build_model(MODEL, SHAPES, seed))


def _refused(expert: int, x: NDArray[Any], _: NDArray[Any]) -> NDArray[np.float32]:
    raise AssertionError(f"expert {expert} was not asked about {len(x)} rows")


def after_edit(folder: Path, sites: int, site_rows: int = SITE_ROWS) -> dict[str, Any]:
    """Rows read by a whole run, and by the jobs that run again after two rows were edited.

    Args:
        folder: Where files go.
        sites: Number of shards; there are two partitions for each.
        site_rows: Rows of each.
    """
    lab = Lab(folder, sites, site_rows)
    lab.run()
    whole = lab.read
    partitions = load_assigner(lab.layout.file("cluster_fit.assigner")).partitions
    lab.edit()
    lab.run()
    return {"rows": sites * site_rows, "partitions": partitions, "whole": whole, "again": lab.read}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, nargs="+", default=[4, 8, 16])
    for sites in parser.parse_args().sites:
        with tempfile.TemporaryDirectory() as folder:
            found = after_edit(Path(folder), sites)
        whole, again = found["whole"].total(), found["again"].total()
        print(
            f"{found['rows']:>8,} rows, {found['partitions']:>3} partitions: {whole:>9,} rows are "
            f"read by a whole run, {again:>7,} after an edit of two: {dict(found['again'])}"
        )


if __name__ == "__main__":
    main()
