"""What pools are compared with, trained on the same rows with the same loss and optimiser."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch
    from numpy.typing import NDArray

    from benchmarks.regimes.finished import Finished
    from shoal.formats.ledger import Ledger
    from shoal.settings.learning import Model

    Arrays = Mapping[str, NDArray[Any]]

ROUTER_WIDTH, ROUTER_PASSES = 64, 20
"""Of the network that learns to route true regimes: its hidden layer, passes over training rows."""
WIDTHS = (0.5, 1.0, 2.0, 4.0)
"""Hidden widths that are tried, as multiples of the dataset's own."""


@dataclass(frozen=True)
class Answer:
    """What a baseline says about the test rows.

    Attributes:
        predictions: Probabilities ``(rows, classes)``, or standardised numbers ``(rows, 1)``.
        inference_flops: For one row; None where they are not counted.
        note: What was chosen, if anything.
    """

    predictions: NDArray[Any]
    inference_flops: float | None
    note: str = ""


class Trainer:
    """Builds and trains models as the finished run does, on one ledger.

    Attributes:
        run: The finished run.
        ledger: Is charged.
    """

    def __init__(self, run: Finished, ledger: Ledger) -> None:
        self.run = run
        self.ledger = ledger

    def build(self, model: Model | None = None, inputs: int | None = None, seed: int = 0) -> Any:  # noqa: ANN401 - a Module
        """A model with initial weights, for rows of ``inputs`` features if not for the run's."""
        from shoal.training.model import build_model

        settings = self.run.settings
        shapes = self.run.shapes
        if inputs is not None:
            shapes = replace(shapes, x_shape=[inputs])
        chosen = settings.model if model is None else model
        return build_model(chosen, shapes, settings.train_specialists.seed + seed)

    def from_base(self) -> torch.nn.Module:
        """A model with the weights of the run's base."""
        from shoal.training.model import load_weights

        net: torch.nn.Module = self.build()
        load_weights(net, self.run.base)
        return net

    def spend(self, net: torch.nn.Module, flops: float, rows: Arrays, seed: int = 0) -> None:
        """Train on rows for so many FLOPs."""
        import torch

        from shoal.training.flops import step_flops
        from shoal.training.module import trainable

        training = self.run.settings.train_specialists
        batch_rows = min(training.batch_size, len(rows["y"]))
        batch = [torch.from_numpy(rows[name][:batch_rows]) for name in ("x", "y")]
        cost = step_flops(trainable(net, training, self.run.shapes), batch)
        self.see(net, round(flops / cost) * batch_rows, rows, seed)

    def see(self, net: torch.nn.Module, count: int, rows: Arrays, seed: int = 0) -> None:
        """Train on rows until ``count`` are seen, repeats counted."""
        from shoal.training.fit import train_on_rows

        training = self.run.settings.train_specialists
        training = training.model_copy(update={"seed": training.seed + seed})
        train_on_rows(net, rows, training, self.run.shapes, count, self.ledger)

    def answer(self, net: torch.nn.Module, rows: Arrays | None = None) -> NDArray[np.float32]:
        """Predictions for rows, the test rows by default."""
        from shoal.training.model import predict

        chosen = self.run.test if rows is None else rows
        return predict(net, chosen["x"], self.run.shapes.task)


def one_row_flops(net: torch.nn.Module, rows: Arrays) -> float:
    """FLOPs of a prediction for one row."""
    import torch

    from shoal.training.flops import forward_flops

    return float(forward_flops(net, torch.from_numpy(rows["x"][:1])))


def widths(trainer: Trainer) -> Answer:
    """The best of four widths by validation loss, each trained with the whole budget."""
    from shoal.settings.learning import Model
    from shoal.settings.section import parse
    from shoal.training.model import mean_losses

    run = trainer.run
    model = run.settings.model.as_json()
    nets = {}
    for factor in WIDTHS:
        width = max(1, round(factor * model["width"]))
        nets[str(width)] = trainer.build(parse(Model, model | {"width": width}, "model"))
        trainer.spend(nets[str(width)], run.total_flops, run.train)
    rows = run.validation
    losses = mean_losses(nets, [(rows["x"], rows["y"])], run.shapes.task)
    best = min(losses, key=lambda name: losses[name])
    trainer.ledger.flops /= len(WIDTHS)  # as for grids, the search is left out on both sides
    return Answer(trainer.answer(nets[best]), one_row_flops(nets[best], rows), f"width {best}")


def ensemble(trainer: Trainer) -> Answer:
    """As many models as there are partitions, each with its share of the budget; their mean."""
    run = trainer.run
    answers, inference = [], 0.0
    for number in range(run.partitions):
        net = trainer.build(seed=1 + number)
        trainer.spend(net, run.total_flops / run.partitions, run.train, seed=1 + number)
        answers.append(trainer.answer(net))
        inference += one_row_flops(net, run.test)
    return Answer(np.mean(answers, axis=0), inference)


def given_partition(trainer: Trainer) -> Answer:
    """One model whose input also says which partition the row is in."""
    run = trainer.run
    train, test = (_with_partition(rows, run.partitions) for rows in (run.train, run.test))
    net = trainer.build(inputs=train["x"].shape[1])
    trainer.spend(net, run.total_flops, train)
    return Answer(trainer.answer(net, test), one_row_flops(net, test))


def _with_partition(rows: Arrays, partitions: int) -> dict[str, NDArray[Any]]:
    """Flat rows and an indicator of the partition; all zero where there is none."""
    indicator = rows["partition"][:, None] == np.arange(partitions)
    flat = rows["x"].reshape(len(rows["x"]), -1)
    x = np.concatenate([flat, indicator.astype(np.float32)], axis=1)
    return {"x": x, "y": rows["y"]}


def soft_mixture(trainer: Trainer) -> Answer:
    """As many experts as partitions and a gate, trained together, every expert on every row."""
    import math

    import torch

    from benchmarks.regimes.mixture import SoftMixture
    from shoal.models import MLP

    run = trainer.run
    experts = [trainer.build(seed=1 + number) for number in range(run.partitions)]
    torch.manual_seed(run.settings.train_specialists.seed)
    features = math.prod(run.shapes.x_shape)
    gate = MLP(features, run.partitions, width=16, depth=1)
    net = SoftMixture(experts, gate, classes=run.shapes.task == "classification")
    trainer.spend(net, run.total_flops, run.train)
    return Answer(trainer.answer(net), one_row_flops(net, run.test))


def true_regime(trainer: Trainer) -> Answer:
    """Specialists of the true regimes, from the same base at the same rate, told the regime."""
    return _by_regime(trainer, trainer.run.test["regime"])


def routed_regime(trainer: Trainer) -> Answer:
    """The same specialists, asked by a router that has learnt the regimes of training rows.

    It is a network on embedded rows, as a pool's router has them. Embedding, its fit and the
    router count in training and inference.
    """
    import torch

    from shoal.formats.shapes import Shapes
    from shoal.models import MLP
    from shoal.training.fit import train_on_rows
    from shoal.training.model import predict

    run, ledger = trainer.run, trainer.ledger
    regimes, code = np.unique(run.train["regime"], return_inverse=True)
    embedded = run.train["embedding"].astype(np.float32)
    torch.manual_seed(run.settings.train_specialists.seed)
    router = MLP(embedded.shape[1], len(regimes), width=ROUTER_WIDTH, depth=1)
    plain = {"loss": "auto", "class_weights": None}
    training = run.settings.train_specialists.model_copy(update=plain)
    names = [*map(str, regimes)]
    shapes = Shapes([len(embedded[0])], len(names), "classification", names, len(code), [], [])
    rows: Arrays = {"x": embedded, "y": code.astype(np.int64)}
    train_on_rows(router, rows, training, shapes, ROUTER_PASSES * len(code), ledger)
    tested = run.test["embedding"].astype(np.float32)
    route = regimes[predict(router, tested, "classification").argmax(axis=1)]
    ledger.flops += run.embedding_fit_flops + run.embedding_flops * len(code)
    routing = run.embedding_flops + one_row_flops(router, {"x": tested})
    right = float((route == run.test["regime"]).mean())
    answer = _by_regime(trainer, route)
    return replace(
        answer,
        inference_flops=(answer.inference_flops or 0.0) + routing,
        note=f"{right:.1%} of rows routed right",
    )


def _by_regime(trainer: Trainer, asked: NDArray[np.int64]) -> Answer:
    """Answers to test rows of the specialists of these true regimes."""
    run = trainer.run
    answers: NDArray[np.float32] | None = None
    inference = 0.0
    for regime in np.unique(run.train["regime"]):
        inside = run.train["regime"] == regime
        net = trainer.from_base()
        own = {name: run.train[name][inside] for name in ("x", "y")}
        trainer.see(net, run.budget.specialist_rows(int(inside.sum())), own)
        said = trainer.answer(net)
        answers = np.zeros_like(said) if answers is None else answers
        answers[asked == regime] = said[asked == regime]
        inference = one_row_flops(net, run.test)
    trainer.ledger.flops += run.base_flops
    if answers is None:
        raise ValueError("there are no training rows")
    return Answer(answers, inference)


def long_generalist(trainer: Trainer) -> Answer:
    """The generalist with as many times the compute as there are partitions."""
    run = trainer.run
    net = trainer.build()
    trainer.spend(net, run.partitions * run.total_flops, run.train)
    return Answer(trainer.answer(net), one_row_flops(net, run.test))


def wide_network(trainer: Trainer) -> Answer:
    """One network as wide as all specialists together, on as many rows as they see."""
    from shoal.settings.learning import Model
    from shoal.settings.section import parse

    run = trainer.run
    model = run.settings.model.as_json()
    wider = parse(Model, model | {"width": run.partitions * model["width"]}, "model")
    net = trainer.build(wider)
    trainer.see(net, run.budget.rows_seen, run.train)
    return Answer(trainer.answer(net), one_row_flops(net, run.test))


def boosted_trees(trainer: Trainer) -> Answer:
    """LightGBM as it comes, stopped early on validation; its compute is not counted."""
    import lightgbm

    run = trainer.run
    common: dict[str, Any] = {
        "n_estimators": 300,
        "n_jobs": 1,
        "random_state": run.settings.train_specialists.seed,
        "verbosity": -1,
    }
    is_class = run.shapes.task == "classification"
    model: Any = (lightgbm.LGBMClassifier if is_class else lightgbm.LGBMRegressor)(**common)
    train, validation, test = (_flat(rows) for rows in (run.train, run.validation, run.test))
    known = validation["y"] >= 0 if is_class else np.ones(len(validation["y"]), dtype=bool)
    held_out = {"eval_X": (validation["x"][known],), "eval_y": (validation["y"][known],)}
    stop = lightgbm.early_stopping(20, verbose=False)
    model.fit(train["x"], train["y"], **held_out, callbacks=[stop])
    if not is_class:
        said = np.asarray(model.predict(test["x"]), dtype=np.float32)
        return Answer(said[:, None], None)
    answers = np.zeros((len(test["y"]), run.shapes.outputs), dtype=np.float32)
    answers[:, model.classes_] = model.predict_proba(test["x"])
    return Answer(answers, None, f"{model.best_iteration_} rounds")


def _flat(rows: Arrays) -> dict[str, NDArray[Any]]:
    return {"x": rows["x"].reshape(len(rows["x"]), -1), "y": rows["y"]}


TRAINED: dict[str, Callable[[Trainer], Answer]] = {
    baseline.__name__: baseline
    for baseline in (
        *(widths, ensemble, given_partition, soft_mixture),
        *(true_regime, routed_regime, long_generalist, wide_network, boosted_trees),
    )
}
"""Baselines by name."""
