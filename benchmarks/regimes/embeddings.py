"""Which embedding cuts data well: specialists of k-means on each, all from one finished run's base.

    python -m benchmarks.regimes.embeddings --out build/regimes --datasets digits_conflicting

Reads the cells of a benchmark that has run. Every embedding is cut by plain k-means (no bounds, no
fallback), every specialist starts from the run's base and sees as many rows as a specialist of
the run. Making the embedding is not counted, which favours the costlier ones. Printed: accuracy
on the *validation* rows, since a choice follows from it, and the adjusted Rand index to the true
regime where it is known. SCARF and VICReg are pools of the benchmark itself.

The embeddings: ``identity`` (encoded inputs), ``pca`` (16 components), ``denoising`` (the
bottleneck of 16 of an autoencoder that restores rows of which three tenths are set to zero),
``penultimate`` (what goes into the base's last layer), ``pca + penultimate``, ``answer`` (the
base's probabilities), and ``gradient`` (of the last layer's weights, which needs the label: a
network of one hidden layer learns to tell the cells from the inputs).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.regimes.contenders import REFERENCE, overrides
from benchmarks.regimes.finished import NO_REGIME, Finished
from benchmarks.regimes.routers import cells
from shoal.terminal import leave
from shoal.training.determinism import deterministic

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from numpy.typing import NDArray

    from benchmarks.regimes.baselines import Trainer

    Cut = tuple[NDArray[np.int64], NDArray[np.int64]]
    Floats = NDArray[np.float32]

DIMS = 16
_HIDDEN = 64
_KEPT = 0.7
_ROWS = 100_000
_GATE_ROWS = 200_000
_BATCH = 128


def main() -> None:
    """Cut, train and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build", "regimes"))
    parser.add_argument("--datasets", nargs="*", default=[])
    parser.add_argument("--partitions", nargs="*", type=int, default=[8, 16])
    options = parser.parse_args()
    deterministic(threads=1)
    chosen = [
        each
        for each in cells(options.out, REFERENCE)
        if not options.datasets or each[1] in options.datasets
    ]
    if not chosen:
        leave([f"{options.out}: no cell has a finished classifier pool {REFERENCE}"])
    print(f"{'dataset':20} seed {'embedding':18} cells accuracy agreement")
    for cell, dataset, seed in chosen:
        for name, count, accuracy, agreement in measured(cell, seed, options.partitions):
            row = f"{dataset:20} {seed:4} {name:18} {count:5} {accuracy:8.4f}"
            print(f"{row} {agreement:9.3f}", flush=True)


def measured(
    cell: Path, seed: int, partitions: list[int]
) -> Iterator[tuple[str, int, float, float]]:
    """Embedding, cells, accuracy and adjusted Rand index, one after the other."""
    from sklearn.metrics import adjusted_rand_score

    from benchmarks.regimes.baselines import Trainer
    from shoal.formats.ledger import Ledger

    run = Finished(cell, overrides(REFERENCE, seed), 0.0)
    trainer = Trainer(run, Ledger("embeddings"))
    known = run.other_validation
    for name, count, (train, held_out) in _cuts(trainer, seed, partitions):
        accuracy = _accuracy(trainer, train, held_out)
        has_regime = bool((known["regime"] != NO_REGIME).all())
        agreement = adjusted_rand_score(known["regime"], held_out) if has_regime else np.nan
        yield name, count, accuracy, float(agreement)


def _cuts(trainer: Trainer, seed: int, partitions: list[int]) -> Iterator[tuple[str, int, Cut]]:
    """Cells of training and validation rows by every embedding."""
    from sklearn.cluster import KMeans

    run = trainer.run
    x, held_out = (_flat(rows["x"]) for rows in (run.train, run.other_validation))
    for name, (own, other) in _embeddings(trainer, x, held_out, seed).items():
        for count in partitions:
            cells_of = KMeans(count, n_init=2, random_state=seed).fit(own)
            yield name, count, (cells_of.labels_, cells_of.predict(other))
    gradient = _principal(_gradients(trainer), seed)
    for count in partitions:
        label = KMeans(count, n_init=2, random_state=seed).fit_predict(gradient)
        gate = _classifier(x, label, count, seed)
        yield "gradient", count, (_told(gate, x), _told(gate, held_out))


def _accuracy(trainer: Trainer, train: NDArray[np.int64], held_out: NDArray[np.int64]) -> float:
    """Accuracy of the cells' specialists on the validation rows of their cells."""
    from shoal.training.metrics import row_correct

    run = trainer.run
    known = run.other_validation
    right = np.zeros(len(known["y"]))
    for number in np.unique(held_out):
        net = trainer.from_base()
        own = np.flatnonzero(train == number)
        if len(own):
            rows = {name: run.train[name][own] for name in ("x", "y")}
            trainer.see(net, run.budget.specialist_rows(len(own)), rows)
        asked = held_out == number
        rows = {name: known[name][asked] for name in ("x", "y")}
        right[asked] = row_correct(trainer.answer(net, rows), rows["y"])
    return float(right.mean())


def _embeddings(
    trainer: Trainer, x: Floats, held_out: Floats, seed: int
) -> dict[str, tuple[Floats, Floats]]:
    """Embeddings of training and validation rows that are functions of the input alone."""
    from sklearn.decomposition import PCA

    run = trainer.run
    pca = PCA(min(DIMS, x.shape[1]), random_state=seed).fit(x)
    components = pca.transform(x), pca.transform(held_out)
    folds = run.train, run.other_validation
    units, other_units = (_penultimate(trainer, rows["x"]) for rows in folds)
    net = trainer.from_base()
    answer, other_answer = (trainer.answer(net, rows) for rows in folds)
    scaled = zip(_scaled(*components), _scaled(units, other_units), strict=True)
    both, other_both = (np.hstack(pair) for pair in scaled)
    return {
        "identity": (x, held_out),
        "pca": components,
        "denoising": _denoising(x, held_out, seed),
        "penultimate": (units, other_units),
        "pca + penultimate": (both, other_both),
        "answer": (answer, other_answer),
    }


def _flat(x: NDArray[Any]) -> Floats:
    return np.asarray(x, dtype=np.float32).reshape(len(x), -1)


def _scaled(own: Floats, other: Floats) -> tuple[Floats, Floats]:
    mean, spread = own.mean(axis=0), own.std(axis=0) + 1e-6
    return (own - mean) / spread, (other - mean) / spread


def _principal(values: Floats, seed: int) -> Floats:
    from sklearn.decomposition import PCA

    components: Floats = PCA(DIMS, random_state=seed).fit_transform(values)
    return components


def _penultimate(trainer: Trainer, x: Floats) -> Floats:
    """What goes into the last linear layer of the base, ``(rows, units)``."""
    import torch
    from torch import nn

    net = trainer.from_base()
    last = [module for module in net.modules() if isinstance(module, nn.Linear)][-1]
    seen: list[Floats] = []
    last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].numpy()))
    with torch.no_grad():
        net.eval()(torch.from_numpy(x))
    return seen[0]


def _gradients(trainer: Trainer) -> Floats:
    """Gradient of each training row's loss in the last layer's weights, ``(rows, C * units)``."""
    run = trainer.run
    net = trainer.from_base()
    wrong = trainer.answer(net, run.train)
    wrong[np.arange(len(wrong)), run.train["y"]] -= 1
    units = _penultimate(trainer, run.train["x"])
    gradient: Floats = (wrong[:, :, None] * units[:, None, :]).reshape(len(wrong), -1)
    return gradient


def _denoising(x: Floats, held_out: Floats, seed: int) -> tuple[Floats, Floats]:
    """Bottleneck of a denoising autoencoder (Vincent et al. 2008), masking noise."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    features = x.shape[1]
    encoder = nn.Sequential(nn.Linear(features, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, DIMS))
    decoder = nn.Sequential(nn.Linear(DIMS, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, features))
    net = nn.Sequential(encoder, decoder)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
    rows = torch.from_numpy(x)
    for _ in range(_ROWS // _BATCH):
        batch = rows[torch.randint(len(rows), (_BATCH,))]
        kept = torch.rand(batch.shape) < _KEPT
        _step(optimiser, nn.functional.mse_loss(net(batch * kept), batch))
    with torch.no_grad():
        return encoder(rows).numpy(), encoder(torch.from_numpy(held_out)).numpy()


def _classifier(x: Floats, label: NDArray[np.int64], count: int, seed: int) -> torch.nn.Module:
    """A network of one hidden layer that tells a row's cell from its input."""
    import torch

    from shoal.models import MLP

    torch.manual_seed(seed)
    net = MLP(x.shape[1], count, width=32, depth=1)
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3)
    rows, cells_of = torch.from_numpy(x), torch.from_numpy(label).long()
    for _ in range(_GATE_ROWS // _BATCH):
        places = torch.randint(len(rows), (_BATCH,))
        _step(optimiser, torch.nn.functional.cross_entropy(net(rows[places]), cells_of[places]))
    return net


def _told(net: torch.nn.Module, x: Floats) -> NDArray[np.int64]:
    import torch

    with torch.no_grad():
        return np.asarray(net(torch.from_numpy(x)).argmax(dim=1).numpy())


def _step(optimiser: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()


if __name__ == "__main__":
    main()
