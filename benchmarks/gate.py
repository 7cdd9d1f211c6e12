"""What a gate keeps of a pool's gain on few rows, and what it costs where there is none.

    python -m benchmarks.gate --seeds 8

Clusters of :func:`benchmarks.regimes.datasets.generated`: 1,400 rows for training, 300 for
validation, and 20,300 to score on, so that little chance is left in a score. Controls have one
cluster, or are plain digits. By Shoal's own training, k-means, router and gate, without the
workflow: base and specialists see 75 rows for each training row, and so does the generalist.

Printed are means over seeds: score of the generalist, and by how much each contender is ahead, with
its 95 % interval over seeds (Student's t). Accuracy in points and log-loss for classes; for numbers
(``…_numbers``) the share of the generalist's squared error.

``two generalists`` are averaged: as many training FLOPs as a pool that holds a generalist, and two
forward passes a row.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from benchmarks.regimes.datasets import FEATURES, generated
from shoal.cluster.fit import fit_assigner
from shoal.formats.hashing import KEY_BYTES, hash_rows
from shoal.formats.ledger import Ledger
from shoal.formats.shapes import Shapes
from shoal.gate.command import decided
from shoal.gate.routing import Compared, routed
from shoal.settings.discovery import KMeansAtoms
from shoal.settings.learning import Model, NearestAtom, Training
from shoal.train_router.fit import nearest_atom
from shoal.train_specialists.experts import Experts
from shoal.training.budget import Budget
from shoal.training.determinism import deterministic
from shoal.training.fit import train_on_rows
from shoal.training.model import build_model, load_weights, row_losses, weights
from shoal_edge.routing import BASE, GENERALIST

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from numpy.typing import NDArray

    from shoal.gate.gate import Gate
    from shoal_edge.routing import Routes

    Arrays = dict[str, NDArray[Any]]
    Floats = NDArray[np.float32]

ROWS, PARTITIONS, CONFIDENCE = 22_000, 8, 0.95
SECOND = -3
"""Number of another generalist."""
TRAINING = {
    "loss": "auto",
    "class_weights": None,
    "lr": 0.003,
    "schedule": "cosine",
    "warm_up": 0.0,
    "weight_decay": 0.01,
    "epsilon": 1e-8,
    "batch_size": 64,
    "epochs": None,
    "flops": None,
    "patience": None,
    "base_share": 0.3,
}
ROUTING = NearestAtom(
    method="nearest_atom", top_k=1, temperature=1.0, fallback_quantile=0.999, seed=0
)


def clusters(count: int, separation: float, *, numbers: bool = False) -> Callable[[int], Arrays]:
    """Rows of so many clusters by seed; of ``numbers`` the label is the rule's value and noise."""

    def draw(seed: int) -> Arrays:
        found = generated(ROWS, count, separation, seed)
        x = np.stack([found[f"x{n}"] for n in range(FEATURES)], axis=1).astype(np.float32)
        y = found["label"]
        if numbers:
            rng = np.random.default_rng([seed, count])
            rules, within = rng.normal(size=(count, FEATURES)), rng.normal(size=len(x))
            y = ((x * rules[found["regime"]]).sum(axis=1) + within).astype(np.float32)
        return {"x": x, "y": y}

    return draw


def digits(seed: int) -> Arrays:
    """Plain digits in an order of their own."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(y))
    return {"x": x[order].astype(np.float32), "y": y[order]}


DATASETS = {
    **{f"{n}_near": clusters(n, 1.0) for n in (4, 8, 16)},
    **{f"{n}_far": clusters(n, 3.0) for n in (4, 8, 16)},
    "control_1": clusters(1, 1.0),
    "control_digits": digits,
    **{f"{n}_far_numbers": clusters(n, 3.0, numbers=True) for n in (4, 16)},
    "control_1_numbers": clusters(1, 1.0, numbers=True),
}


class Asked:
    """Answers of models about rows, as :class:`shoal.ask.answers.Answers` has them from files."""

    def __init__(self, experts: Experts, rows: Arrays) -> None:
        self.rows = rows
        self.specialised = sorted(number for number in experts.models if number >= 0)
        self.flops = 0.0
        self._said = {number: experts.answer(number, rows["x"]) for number in experts.models}

    def answer(self, expert: int, places: NDArray[np.int64]) -> Floats:
        """One expert's answers."""
        return self._said[expert][places]

    def mix(
        self, experts: NDArray[np.int32], weights: Floats, places: NDArray[np.int64] | None = None
    ) -> Floats:
        """Weighted mean of the answers of each row's experts."""
        from shoal_edge.mixing import mixed

        at = np.arange(len(experts)) if places is None else places
        return mixed(lambda expert, rows: self.answer(expert, at[rows]), experts, weights)


@dataclass
class Run:
    """A trained pool and what its models say of validation and test rows."""

    task: str
    validation: Any
    test: Any
    router: Any
    assigner: Any
    scores: dict[str, NDArray[np.float64]] = field(default_factory=dict)


def trained(dataset: str, seed: int) -> Run:
    """Base, specialists and two generalists."""
    arrays = DATASETS[dataset](seed)
    fit, held = (1000, 1250) if dataset == "control_digits" else (1400, 1700)
    task = "regression" if arrays["y"].dtype == np.float32 else "classification"
    centre, spread = arrays["x"][:fit].mean(axis=0), arrays["x"][:fit].std(axis=0)
    x = (arrays["x"] - centre) / np.where(spread > 0, spread, 1)
    y = arrays["y"]
    if task == "regression":
        y = ((y - y[:fit].mean()) / y[:fit].std()).astype(np.float32)
    classes = [str(n) for n in range(int(y.max()) + 1)] if task == "classification" else None
    shapes = Shapes([x.shape[1]], len(classes or [1]), task, classes, fit, None, [])
    assigner, _ = fit_assigner(_kmeans(seed), x[:fit], fit)
    partition = assigner.assign(x)
    training = Training(**TRAINING, rows_seen=75 * fit, buffer_rows=1, seed=seed)
    budget, ledger = Budget(training.rows_seen, training.base_share, fit), Ledger("gate")
    model = Model.model_validate(
        {"_target_": "shoal.models.MLP", "features": x.shape[1], "outputs": shapes.outputs}
        | {"width": 16, "depth": 2}
    )

    def further(
        start: Arrays | None, rows: NDArray[np.int64], seen: int, own: int
    ) -> torch.nn.Module:
        net = build_model(model, shapes, own)
        if start is not None:
            load_weights(net, start)
        some = {"x": x[rows], "y": y[rows]}
        settings = training.model_copy(update={"seed": own})
        train_on_rows(net, some, settings, shapes, seen, ledger)
        return net

    all_rows = np.arange(fit)
    of_base = round(training.base_share * training.rows_seen)
    nets = {BASE: further(None, all_rows, of_base, seed)}
    start = weights(nets[BASE])
    nets[GENERALIST] = further(start, all_rows, training.rows_seen - of_base, seed)
    other = weights(further(None, all_rows, of_base, seed + 1000))
    nets[SECOND] = further(other, all_rows, training.rows_seen - of_base, seed + 1000)
    for number in range(assigner.partitions):
        own = np.flatnonzero(partition[:fit] == number)
        nets[number] = further(start, own, budget.specialist_rows(len(own)), seed)
    experts = Experts(nets, task)
    keys = hash_rows({"n": np.arange(len(x))}, KEY_BYTES)
    parts = {"x": x, "y": y, "embedding": x, "partition": partition, "key": keys}
    asked = [
        Asked(_without_second(experts, task), {name: a[some] for name, a in parts.items()})
        for some in (slice(fit, held), slice(held, None))
    ]
    asked[1]._said[SECOND] = experts.answer(SECOND, x[held:])
    distance = assigner.nearest(x[fit:held])[2]
    router = nearest_atom(ROUTING, assigner, asked[0].specialised, distance)
    return Run(task, *asked, router, assigner)


def _without_second(experts: Experts, task: str) -> Experts:
    return Experts({n: net for n, net in experts.models.items() if n != SECOND}, task)


def _kmeans(seed: int) -> KMeansAtoms:
    return KMeansAtoms(
        method="kmeans",
        partitions=PARTITIONS,
        max_partitions=16,
        atoms=64,
        lower=0.5,
        upper=2.0,
        fit_rows=20_000,
        min_rows=50,
        seed=seed,
    )


def gated(run: Run) -> Gate:
    """What the gate decides on all validation rows."""
    from shoal.gate.gate import Gate

    rows = len(run.validation.rows["y"])
    places, every = np.arange(rows), np.ones(rows, dtype=bool)
    units = places.astype(np.uint64)
    compared = Compared(run.validation, places, every, units, run.task, CONFIDENCE)
    found = routed(ROUTING, run.assigner, compared)
    said = run.validation.mix(found.routes.experts, found.routes.weights, places)
    whole = run.validation.answer(GENERALIST, places)
    return Gate(decided(compared, found.routes.leading, said, whole)[0], found.softness)


def losses(run: Run, answer: Floats) -> Arrays:
    """Correct answers and log-loss of test rows, or squared errors."""
    y = run.test.rows["y"]
    loss = row_losses(answer, y, run.task)
    if run.task == "regression":
        return {"loss": loss}
    return {"right": (answer.argmax(axis=1) == y).astype(float), "loss": loss}


def measured(run: Run, gate: Gate) -> dict[str, dict[str, float]]:
    """Means of each contender on the test rows, and models per row."""
    embedding, every = run.test.rows["embedding"], np.arange(len(run.test.rows["y"]))
    alone = run.router.route(embedding)
    routes = {
        "ungated": alone,
        "gate, top 1": gate.apply(alone),
        "gate": gate.apply(run.router.softened(gate.softness).route(embedding)),
    }
    answers = {name: run.test.mix(own.experts, own.weights) for name, own in routes.items()}
    answers["generalist"] = run.test.answer(GENERALIST, every)
    answers["two generalists"] = (answers["generalist"] + run.test.answer(SECOND, every)) / 2
    answers["ungated and generalist"] = (answers["generalist"] + answers["ungated"]) / 2
    models = {name: _models(own) for name, own in routes.items()}
    return {
        name: {kind: float(values.mean()) for kind, values in losses(run, answer).items()}
        | {"models": models.get(name, 1.0 if name == "generalist" else 2.0)}
        for name, answer in answers.items()
    }


def _models(routes: Routes) -> float:
    return float((routes.weights > 0).sum(axis=1).mean())


def _cell(values: NDArray[np.float64], decimals: int) -> str:
    """A mean, and its interval over seeds."""
    mean = values.mean()
    if len(values) < 2 or not values.std():
        return f"{mean:+.{decimals}f}"
    low, high = stats.t.interval(0.95, len(values) - 1, mean, stats.sem(values))
    return f"{mean:+.{decimals}f} ({low:+.{decimals}f} to {high:+.{decimals}f})"


def table(found: dict[str, list[dict[str, dict[str, float]]]]) -> list[str]:
    """Lines of the table."""
    lines = ["| data | contender | score | gain | log-loss, gain | models a row |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for dataset, runs in found.items():
        for name in runs[0]:
            column = {kind: np.array([run[name][kind] for run in runs]) for kind in runs[0][name]}
            whole = {
                kind: np.array([run["generalist"][kind] for run in runs]) for kind in runs[0][name]
            }
            if "right" in column:
                score = f"{100 * column['right'].mean():.2f}"
                gain = _cell(100 * (column["right"] - whole["right"]), 2)
                loss = _cell(whole["loss"] - column["loss"], 4)
            else:
                score, loss = f"{column['loss'].mean():.4f}", "-"
                gain = _cell(1 - column["loss"] / whole["loss"], 4)
            models = f"{column['models'].mean():.2f}"
            lines.append(f"| {dataset} | {name} | {score} | {gain} | {loss} | {models} |")
    return lines


def main() -> None:
    """Train, decide, score and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--datasets", nargs="+", choices=list(DATASETS), default=list(DATASETS))
    arguments = parser.parse_args()
    deterministic(1)
    found: dict[str, list[dict[str, dict[str, float]]]] = {}
    for dataset in arguments.datasets:
        for seed in range(arguments.seeds):
            run = trained(dataset, seed)
            found.setdefault(dataset, []).append(measured(run, gated(run)))
    print("\n".join(table(found)))


if __name__ == "__main__":
    main()
