"""Mixed text: a pool of small byte models against the best of several widths of one model.

    python -m benchmarks.mixed_text --data FOLDER --work FOLDER [--seeds 5] [--budgets 1 4]

The next byte of `mixed_text.parquet` in the data folder, as `config/experiment/mixed_text.yaml` has
it: the first 128 bytes of a row route it, its other 64 are predicted. By Shoal's own encoder,
embedder, k-means, training, router and gate, without the workflow.

A budget of 1 is F: the FLOPs in which a model of width 32 sees 1.5 million bytes, about one pass.
Each training costs the budget, whatever its width: a generalist's on one schedule from its first
step, a pool's with embedding, partitions and base. Widths and learning rates are searched on both
sides alike, by the loss on half of the validation rows: rates of each width in the first seed at
the first budget; of widths all in the first seed, and the best two of it in the others. Two more
are trained at the pool's width: a pool that is told each row's source in place of a partition, and
the pool with gate and second specialist, as it ships; and one for two specialists a row within the
budget, which leaves of it what choosing their weights costs.

*Unseen* are test rows that share no 32 bytes with a training row. Losses of rows are means over
seeds, intervals over documents. The working folder keeps what is done, so a run goes on.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.cluster.fit import fit_assigner
from shoal.embed.counts import fit_counts
from shoal.encode.column import ColumnSetting, Target
from shoal.encode.encoders import make_encoder
from shoal.evaluate.bootstrap import paired_bootstrap
from shoal.formats.hashing import KEY_BYTES, hash_rows
from shoal.formats.kinds import TRAIN
from shoal.formats.ledger import Ledger
from shoal.formats.row_store import RowArray, write_rows
from shoal.formats.shapes import Shapes
from shoal.formats.units import UNIT
from shoal.gate.command import decided
from shoal.gate.gate import Gate
from shoal.gate.routing import Compared, routed
from shoal.partitions.reader import halves
from shoal.settings.discovery import Counts, KMeansAtoms
from shoal.settings.learning import Model, NearestAtom, Training
from shoal.train_router.fit import nearest_atom
from shoal.train_specialists.experts import Experts
from shoal.training.budget import Budget
from shoal.training.determinism import deterministic
from shoal.training.fit import train_on_rows
from shoal.training.flops import step_flops
from shoal.training.model import answer_flops, blank_rows, build_model, load_weights, weights
from shoal.training.module import trainable
from shoal_edge.mixing import mixed
from shoal_edge.routing import BASE, GENERALIST

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import torch
    from numpy.typing import NDArray

    Arrays = dict[str, NDArray[Any]]
    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

LENGTH, PREFIX, NODES, CONFIDENCE = 192, 128, 8, 0.95
BYTES, BASE_WIDTH = 1.5e6, 32
WIDTHS = (16, 32, 64, 128)
RATES = (0.006, 0.012)
KINDS = ("generalist", "pool")
FIRST = 1.0
"""Budget at which learning rates are chosen."""
HEAD = """\
| contender | bits | unseen | over seeds | training, F | critical path, F | inference FLOPs a byte |
| --- | --- | --- | --- | --- | --- | --- |"""
FOLDS = {"train": 0, "validation": 1, "test": 2}
ROUTING = NearestAtom(
    method="nearest_atom", top_k=1, temperature=1.0, fallback_quantile=0.999, seed=0
)


def shares_window(
    texts: Sequence[bytes], training: Sequence[bytes], length: int = 32
) -> list[bool]:
    """Whether each text has ``length`` bytes in a row that some training text has too."""
    own = [_windows(text, length) for text in texts]
    wanted = set().union(*own)
    seen = set().union(*(wanted & _windows(text, length) for text in training))
    return [not seen.isdisjoint(windows) for windows in own]


def _windows(text: bytes, length: int) -> set[bytes]:
    return {text[at : at + length] for at in range(len(text) - length + 1)}


@dataclass(frozen=True)
class Data:
    """Encoded rows of all folds.

    Attributes:
        x: Tokens ``(rows, 192)``.
        fold: Of each row.
        source: Number of each row's source.
        sources: Names of sources.
        unit: Hash of each row's document.
        key: Hash of each row's name.
        unseen: Whether a test row shares no window with a training row; of test rows, in order.
    """

    x: Ints
    fold: NDArray[np.uint8]
    source: Ints
    sources: list[str]
    unit: NDArray[np.uint64]
    key: NDArray[np.uint8]
    unseen: NDArray[np.bool_]

    def places(self, fold: str) -> Ints:
        """Rows of a fold."""
        return np.flatnonzero(self.fold == FOLDS[fold])


def read(folder: Path) -> Data:
    """Read and encode the file."""
    import pyarrow.parquet as pq

    table = pq.read_table(folder / "mixed_text.parquet")
    columns = {name: np.array(table[name].to_pylist(), dtype=object) for name in table.column_names}
    spec = {"encoder": "tokens", "length": LENGTH}
    encoder = make_encoder(spec, ColumnSetting("text", "text", "encode.columns.text", 0))
    encoder.fit(columns["text"], Target(np.empty((0, 0)), None))
    fold = np.array([FOLDS[name] for name in columns["fold"]], dtype=np.uint8)
    sources, source = np.unique(columns["source"].astype(str), return_inverse=True)
    texts = [text.encode() for text in columns["text"]]
    training, test = ([texts[at] for at in np.flatnonzero(fold == n)] for n in (TRAIN, 2))
    return Data(
        encoder.encode(columns["text"]).astype(np.int64, copy=False),
        fold,
        source,
        sources.tolist(),
        hash_rows({"document": columns["document"]}, 8).view(np.uint64).ravel(),
        hash_rows({"id": columns["id"]}, KEY_BYTES),
        ~np.array(shares_window(test, training)),
    )


@dataclass(frozen=True)
class Tried:
    """Settings of one contender.

    Attributes:
        kind: ``generalist``, ``pool`` or ``told``, a pool that is told each row's source.
        width: Of the model.
        lr: Learning rate.
        budget: FLOPs, in F.
        seed: Of everything.
    """

    kind: str
    width: int
    lr: float
    budget: float
    seed: int


@dataclass(frozen=True)
class Choices:
    """What is the same for all contenders."""

    batch: int
    partitions: int
    base_share: float
    dims: int = 16


@dataclass
class Models:
    """A trained contender.

    Attributes:
        experts: Its models; a generalist's is ``GENERALIST``.
        embedding: Of all rows; of no use to a generalist.
        partition: Of all rows; empty of a generalist.
        assigner: None where partitions are sources.
        embedder: The same.
        budget: Of its specialists; None for a generalist.
        spent: FLOPs of training.
        path: FLOPs of the longest way through its jobs, on as many nodes as there are.
        routing: FLOPs of one row's embedding and route.
    """

    experts: dict[int, torch.nn.Module]
    embedding: NDArray[np.float32] | None = None
    partition: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    assigner: Any = None
    embedder: Any = None
    budget: Budget | None = None
    spent: float = 0.0
    path: float = 0.0
    routing: float = 0.0


class Bench:
    """Trains contenders and scores them."""

    def __init__(self, data: Data, choices: Choices) -> None:
        self.data = data
        self.choices = choices
        names = [f"text[{place}]" for place in range(LENGTH)]
        train = data.places("train")
        self.shapes = Shapes([LENGTH], 0, "own", None, len(train), names, [], 257)
        self.train = train
        self.unit_of_budget = BYTES / (LENGTH - PREFIX) * self.row_flops(BASE_WIDTH)

    def model(self, width: int) -> Model:
        """Settings of the model."""
        arguments = {"tokens": "data:tokens", "width": width, "prefix": PREFIX}
        return Model.model_validate({"_target_": "examples.next_byte.NextByte"} | arguments)

    def training(self, lr: float, rows: float, seed: int) -> Training:
        """Settings of a training."""
        given: dict[str, Any] = {"loss": "auto", "lr": lr, "schedule": "cosine", "warm_up": 0.0}
        given |= {
            "class_weights": None,
            "weight_decay": 0.01,
            "epsilon": 1e-8,
            "batch_size": self.choices.batch,
            "epochs": None,
            "flops": None,
        }
        given |= {"patience": None, "base_share": self.choices.base_share, "buffer_rows": 65536}
        return Training(rows_seen=max(1, round(rows)), seed=seed, **given)

    def row_flops(self, width: int) -> float:
        """Training FLOPs of one row."""
        net = build_model(self.model(width), self.shapes, 0)
        batch = blank_rows(self.shapes, self.choices.batch) + 1
        module = trainable(net, self.training(0.01, 1, 0), self.shapes)
        import torch

        y = torch.zeros((len(batch), 0))
        return step_flops(module, (batch, y)) / self.choices.batch

    def further(
        self, tried: Tried, start: Mapping[str, Any] | None, rows: Ints, seen: float
    ) -> tuple[torch.nn.Module, float]:
        """A model trained on some rows, and the FLOPs that it took."""
        training, ledger = self.training(tried.lr, seen, tried.seed), Ledger("mixed_text")
        net = build_model(self.model(tried.width), self.shapes, tried.seed)
        if start is not None:
            load_weights(net, start)
        some: Arrays = {"x": self.data.x[rows], "y": np.empty((len(rows), 0), np.float32)}
        train_on_rows(net, some, training, self.shapes, training.rows_seen, ledger)
        return net.eval(), ledger.flops

    def trained(self, tried: Tried) -> Models:
        """The contender."""
        flops = tried.budget * self.unit_of_budget
        if tried.kind == "generalist":
            seen = flops / self.row_flops(tried.width)
            net, spent = self.further(tried, None, self.train, seen)
            return Models({GENERALIST: net}, spent=spent, path=spent)
        found = self.told() if tried.kind == "told" else self.cut(tried.seed)
        partition = found.partition
        seen = (flops - found.spent) / self.row_flops(tried.width)
        base, cost = self.further(tried, None, self.train, seen * self.choices.base_share)
        found.budget = budget = Budget(round(seen), self.choices.base_share, len(self.train))
        found.experts, each = {BASE: base}, []
        for number in range(int(partition.max()) + 1):
            own = self.train[partition[self.train] == number]
            if len(own):
                rows = budget.specialist_rows(len(own))
                found.experts[number], spent = self.further(tried, weights(base), own, rows)
                each.append(spent)
        found.path = found.spent + cost + longest(each)
        found.spent += cost + sum(each)
        return found

    def told(self) -> Models:
        """Partitions that are the sources."""
        return Models({}, partition=self.data.source.astype(np.int32))

    def cut(self, seed: int) -> Models:
        """Partitions by counts of the prefix, and FLOPs of finding every training row's."""
        settings = Counts(
            method="counts",
            prefix=PREFIX,
            dims=self.choices.dims,
            buckets=256,
            fit_rows=4000,
            seed=seed,
        )
        ledger, data = Ledger("mixed_text"), self.data
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "rows.zarr.zip"
            arrays: Arrays = {"x": data.x, "fold": data.fold, "key": data.key}
            kinds = {name: RowArray(a.shape[1:], a.dtype.name) for name, a in arrays.items()}
            write_rows(path, len(data.x), kinds, [arrays], {})
            embedder = fit_counts(settings, [path], [LENGTH], ledger)
        embedding = embedder.embed(data.x)
        drawn = np.random.default_rng(seed).permutation(self.train)[: settings.fit_rows]
        assigner, cost = fit_assigner(self.kmeans(seed), embedding[drawn], len(self.train))
        routing = float(embedder.flops_per_row + 2 * assigner.prototypes.size)
        spent = ledger.flops + cost + routing * len(self.train)
        partition = assigner.assign(embedding)
        return Models({}, embedding, partition, assigner, embedder, None, spent, routing=routing)

    def kmeans(self, seed: int) -> KMeansAtoms:
        """Settings of the partitions."""
        return KMeansAtoms(
            method="kmeans",
            partitions=self.choices.partitions,
            max_partitions=self.choices.partitions,
            atoms=64,
            lower=0.5,
            upper=2.0,
            fit_rows=4000,
            min_rows=50,
            seed=seed,
        )

    def rows(self, found: Models, fold: str) -> Arrays:
        """Arrays of a fold's rows."""
        at, data = self.data.places(fold), self.data
        rows: Arrays = {"x": data.x[at], "key": data.key[at], UNIT: data.unit[at]}
        rows["y"] = np.empty((len(at), 0), np.float32)
        if len(found.partition):
            rows["partition"] = found.partition[at]
        if found.embedding is not None:
            rows["embedding"] = found.embedding[at]
        return rows


def longest(costs: Sequence[float]) -> float:
    """Time of jobs on the nodes, the longest first, each where it can begin soonest."""
    nodes = [0.0] * NODES
    for cost in sorted(costs, reverse=True):
        nodes[nodes.index(min(nodes))] += cost
    return max(nodes)


class Asked:
    """Answers of models about rows, each asked when it is wanted, once."""

    mixing, density = "density", True

    def __init__(self, models: Mapping[int, torch.nn.Module], rows: Arrays) -> None:
        self.rows = rows
        self.specialised = sorted(number for number in models if number >= 0)
        self._experts = Experts(models, "own", 0)
        self._said: dict[int, NDArray[np.float32]] = {}

    def answer(self, expert: int, places: Ints) -> NDArray[np.float32]:
        """One expert's losses, ``(places, 1)``."""
        count = len(self.rows["x"])
        said = self._said.setdefault(expert, np.full((count, 1), np.nan, np.float32))
        new = places[np.isnan(said[places, 0])]
        if len(new):
            said[new] = self._experts.answer(expert, self.rows["x"][new])
        return said[places]

    def mix(
        self, experts: NDArray[np.int32], shares: NDArray[np.float32], places: Ints | None = None
    ) -> NDArray[np.float32]:
        """Losses of mixtures of each row's experts."""
        at = np.arange(len(experts)) if places is None else places
        return mixed(lambda expert, rows: self.answer(expert, at[rows]), experts, shares, "density")


def own_losses(found: Models, rows: Arrays) -> Floats:
    """Bits per byte of each row: of the generalist, or of the row's own specialist."""
    asked, every = Asked(found.experts, rows), np.arange(len(rows["x"]))
    if "partition" not in rows:
        answer = asked.answer(GENERALIST, every)
    else:
        number = rows["partition"]
        experts = np.where(np.isin(number, asked.specialised), number, BASE).astype(np.int32)
        answer = asked.mix(experts[:, None], np.ones((len(every), 1), np.float32))
    return in_bits(answer, rows)


def in_bits(answer: NDArray[np.float32], rows: Arrays) -> Floats:
    """Bits per byte, of nats per row."""
    count = (rows["x"][:, PREFIX:] > 0).sum(axis=1)
    return np.asarray(answer[:, 0].astype(np.float64) / (count * math.log(2)))


def shipped(bench: Bench, pool: Models, generalist: Models) -> dict[str, Any]:
    """The pool with a second specialist and the gate: bits of test rows, and models per row.

    Returns:
        ``bits`` and ``models_per_row`` as it ships, ``two`` and ``models_of_two`` without the
        generalist; ``softness`` of the second specialist's share, 0 where it has none.
    """
    models = pool.experts | generalist.experts
    validation = Asked(models, bench.rows(pool, "validation"))
    rows = validation.rows
    places, known = np.arange(len(rows["x"])), halves(rows) == 1
    on = Compared(validation, places, known, rows[UNIT], "own", CONFIDENCE)  # type: ignore[arg-type]
    routes = routed(ROUTING, pool.assigner, on)
    ungated = validation.mix(routes.routes.experts, routes.routes.weights)
    whole = validation.answer(GENERALIST, places)
    gate = Gate(decided(on, routes.routes.leading, ungated, whole)[0], routes.softness)
    distance = pool.assigner.nearest(rows["embedding"])[2]
    router = nearest_atom(ROUTING, pool.assigner, validation.specialised, distance[known])
    test = Asked(models, bench.rows(pool, "test"))
    second = router.softened(gate.softness).route(test.rows["embedding"])
    asked = gate.apply(second)
    return {
        "bits": in_bits(test.mix(asked.experts, asked.weights), test.rows),
        "models_per_row": float((asked.weights > 0).sum(axis=1).mean()),
        "two": in_bits(test.mix(second.experts, second.weights), test.rows),
        "models_of_two": float((second.weights > 0).sum(axis=1).mean()),
        "softness": gate.softness or 0.0,
    }


class Search:
    """Contenders, trained and scored when they are first asked for.

    Attributes:
        bench: Trains them.
        work: Keeps what was measured.
        rates: Learning rates that are tried.
        widths: Widths that are tried.
    """

    def __init__(
        self, bench: Bench, work: Path, rates: Sequence[float], widths: Sequence[int]
    ) -> None:
        self.bench = bench
        self.work = work
        self.rates = rates
        self.widths = widths
        self._models: dict[Tried, Models] = {}

    def models(self, tried: Tried) -> Models:
        """The contender, trained."""
        if tried not in self._models:
            self._models = {t: m for t, m in self._models.items() if t.seed == tried.seed}
            self._models[tried] = self.bench.trained(tried)
        return self._models[tried]

    def facts(self, tried: Tried) -> dict[str, Any]:
        """Loss on the choosing half of validation, costs, and bits of each test row."""
        return self._kept(_name(tried), lambda: self._measured(tried))

    def gated(self, tried: Tried) -> dict[str, Any]:
        """The same of a pool as it ships, with a generalist of its width."""

        def measured() -> dict[str, Any]:
            pool, generalist = self.models(tried), self.models(self._beside(tried))
            found = shipped(self.bench, pool, generalist)
            spent = (pool.spent + generalist.spent) / self.bench.unit_of_budget
            own = pool.spent / self.bench.unit_of_budget
            answer, asked = self._asking(pool)
            return found | {
                "spent": spent + 3 * asked,
                "inference": pool.routing + found["models_per_row"] * answer,
                "spent_of_two": own + 2 * asked,
                "inference_of_two": pool.routing + found["models_of_two"] * answer,
            }

        return self._kept(f"shipped-{_name(tried)}", measured)

    def within(self, tried: Tried) -> dict[str, Any]:
        """Two specialists a row, of a pool that leaves of its budget what choosing them costs."""

        def measured() -> dict[str, Any]:
            asked = self._asking(self.models(tried))[1]
            pool = self.models(replace(tried, budget=round(tried.budget - 2 * asked, 6)))
            found = shipped(self.bench, pool, self.models(self._beside(tried)))
            answer, asked = self._asking(pool)
            return {
                "bits": found["two"],
                "spent": pool.spent / self.bench.unit_of_budget + 2 * asked,
                "path": pool.path / self.bench.unit_of_budget + 2 * asked,
                "inference": pool.routing + found["models_of_two"] * answer,
            }

        return self._kept(f"within-{_name(tried)}", measured)

    def _beside(self, pool: Tried) -> Tried:
        """The generalist of a pool's width."""
        return replace(pool, kind="generalist", lr=self.rate("generalist", pool.width))

    def _asking(self, pool: Models) -> tuple[float, float]:
        """FLOPs of a model's answer about a row, and about all validation rows, these in F."""
        answer = answer_flops(next(iter(pool.experts.values())), self.bench.shapes)
        rows = len(self.bench.data.places("validation"))
        return answer, rows * answer / self.bench.unit_of_budget

    def _measured(self, tried: Tried) -> dict[str, Any]:
        began, bench = time.process_time(), self.bench
        found = self.models(tried)
        rows = bench.rows(found, "validation")
        answer = answer_flops(next(iter(found.experts.values())), bench.shapes)
        return {
            "validation": own_losses(found, rows)[halves(rows) == 0].mean(),
            "bits": own_losses(found, bench.rows(found, "test")),
            "spent": found.spent / bench.unit_of_budget,
            "path": found.path / bench.unit_of_budget,
            "inference": found.routing + answer,
            "seconds": time.process_time() - began,
        }

    def _kept(self, name: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        path = self.work / f"{name}.npz"
        if not path.exists():
            found = measure()
            np.savez(path, **found)
            for part in {"bits", "two"} & found.keys():
                bits, unseen = found[part], found[part][self.bench.data.unseen]
                found[part] = [round(float(each.mean()), 4) for each in (bits, unseen)]
            print(name, _short(found), flush=True)
        with np.load(path, allow_pickle=False) as kept:
            return {key: kept[key] if kept[key].ndim else kept[key].item() for key in kept.files}

    def rate(self, kind: str, width: int) -> float:
        """Learning rate of a width: the best of the first seed at the first budget."""
        tried = [Tried(kind, width, lr, FIRST, 0) for lr in self.rates]
        return min(tried, key=lambda each: self.facts(each)["validation"]).lr

    def of_width(self, kind: str, width: int, budget: float, seed: int) -> Tried:
        """The contender of a width."""
        return Tried(kind, width, self.rate(kind, width), budget, seed)

    def ranked(self, kind: str, budget: float, seed: int) -> list[Tried]:
        """Contenders of a seed, the best on validation first."""
        widths = self.widths
        if seed:
            widths = [each.width for each in self.ranked(kind, budget, 0)[:2]]
        of = [self.of_width(kind, width, budget, seed) for width in widths]
        return sorted(of, key=lambda each: self.facts(each)["validation"])


def _name(tried: Tried) -> str:
    return f"{tried.kind}-w{tried.width}-lr{tried.lr:g}-{tried.budget:g}F-s{tried.seed}"


def _short(facts: Mapping[str, Any]) -> str:
    return json.dumps({n: round(v, 4) if isinstance(v, float) else v for n, v in facts.items()})


class Table:
    """Means over seeds of contenders at a budget, and gains over generalists."""

    def __init__(self, search: Search, budget: float, seeds: int) -> None:
        self.search = search
        self.budget = budget
        self.seeds = range(seeds)
        self.data = search.bench.data
        self.test = self.data.places("test")

    def lines(self) -> list[str]:
        """The page's part on this budget."""
        search, budget = self.search, self.budget
        for seed in self.seeds:  # all of one seed while its models are held
            pool = [search.ranked(kind, budget, seed)[0] for kind in KINDS][-1]
            search.gated(pool)
            search.within(pool)
            search.facts(replace(pool, kind="told"))
        ranked = {kind: [search.ranked(kind, budget, s) for s in self.seeds] for kind in KINDS}
        chosen = {kind: [of[0] for of in each] for kind, each in ranked.items()}
        facts = {kind: [search.facts(each) for each in of] for kind, of in chosen.items()}
        facts["told the source"] = [
            search.facts(replace(each, kind="told")) for each in chosen["pool"]
        ]
        gated = [search.gated(each) for each in chosen["pool"]]
        facts["pool, two specialists"] = [
            {"bits": of["two"], "spent": of["spent_of_two"], "inference": of["inference_of_two"]}
            for of in gated
        ]
        within = "two specialists within the budget"
        facts[within] = [search.within(each) for each in chosen["pool"]]
        facts["pool as shipped"] = gated
        names = {k: [each.width for each in of] for k, of in chosen.items()}
        lines = [f"## {budget:g} F, {len(self.seeds)} seeds; widths chosen: {names}", "", HEAD]
        gains = ["", "| gain in bits | all | | unseen | |", "| --- | --- | --- | --- | --- |"]
        for name in ("pool", "pool, two specialists", within, "told the source", "pool as shipped"):
            against = facts["generalist"]
            gains.append(self._gain(f"{name} over the best generalist", against, facts[name]))
        for width in search.widths:
            pair = [
                {of.seed: search.facts(of) for own in ranked[k] for of in own if of.width == width}
                for k in KINDS
            ]
            both = sorted(pair[0].keys() & pair[1].keys())
            for kind, of in zip(KINDS, pair, strict=True):
                facts[f"{kind} {width}, {len(of)} seeds"] = list(of.values())
            own = [[of[seed] for seed in both] for of in pair]
            gains.append(self._gain(f"pool over generalist, {width}, {len(both)} seeds", *own))
        lines += [self._line(name, of) for name, of in facts.items()]
        return [*lines, *gains, "", *self._sources(facts["generalist"], facts["pool"])]

    def _line(self, name: str, facts: list[dict[str, Any]]) -> str:
        bits = self._bits(facts)
        mean = {n: np.mean([f.get(n, np.nan) for f in facts]) for n in ("spent", "path")}
        inference = np.mean([f["inference"] for f in facts]) / (LENGTH - PREFIX)
        own = [f["bits"][self.data.unseen].mean() for f in facts]
        return (
            f"| {name} | {bits.mean():.3f} | {bits[self.data.unseen].mean():.3f} "
            f"| {min(own):.3f} to {max(own):.3f} | {mean['spent']:.3f} | {mean['path']:.3f} "
            f"| {inference / 1000:.1f} k |"
        )

    def _bits(self, facts: list[dict[str, Any]]) -> Floats:
        return np.asarray(np.mean([each["bits"] for each in facts], axis=0))

    def _gain(self, name: str, against: list[dict[str, Any]], facts: list[dict[str, Any]]) -> str:
        one, other = self._bits(against), self._bits(facts)
        cells = []
        for some in (np.ones(len(one), bool), self.data.unseen):
            units = self.data.unit[self.test[some]]
            found = paired_bootstrap(one[some], other[some], "loss", 2000, 0, units=units)
            cells.append(f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})")
            cells.append(f"{100 * found.value / one[some].mean():.1f} %")
        return f"| {name} | {' | '.join(cells)} |"

    def _sources(self, against: list[dict[str, Any]], facts: list[dict[str, Any]]) -> list[str]:
        one, other = self._bits(against), self._bits(facts)
        source, unseen = self.data.source[self.test], self.data.unseen
        lines = ["| source | rows, unseen | generalist | pool | unseen: generalist | pool |"]
        lines.append("| --- | --- | --- | --- | --- | --- |")
        for number, name in enumerate(self.data.sources):
            every = source == number
            cells = [
                f"{bits[some].mean():.2f}" if some.any() else "-"
                for some in (every, every & unseen)
                for bits in (one, other)
            ]
            rows = f"{every.sum()}, {(every & unseen).sum()}"
            lines.append(f"| {name} | {rows} | {' | '.join(cells)} |")
        return lines


def main() -> None:
    """Train, choose, score and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of mixed_text.parquet")
    parser.add_argument("--work", type=Path, required=True, help="keeps what was measured")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--budgets", type=float, nargs="+", default=[1.0])
    parser.add_argument("--widths", type=int, nargs="+", default=WIDTHS)
    parser.add_argument("--rates", type=float, nargs="+", default=RATES)
    parser.add_argument("--batch", type=int, default=4, help="rows per step")
    parser.add_argument("--partitions", type=int, default=16)
    parser.add_argument("--base-share", type=float, default=0.3)
    asked = parser.parse_args()
    deterministic(1)
    asked.work.mkdir(parents=True, exist_ok=True)
    choices = Choices(asked.batch, asked.partitions, asked.base_share)
    bench = Bench(read(asked.data), choices)
    search = Search(bench, asked.work, asked.rates, asked.widths)
    for budget in asked.budgets:
        print("\n".join(Table(search, budget, asked.seeds).lines()), flush=True)


if __name__ == "__main__":
    main()
