"""What competes, and on what: one line each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.regimes.datasets import dataset_named, known_datasets
from shoal.errors import SettingsError, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

_K8 = ("cluster=kmeans", "cluster.partitions=8")

CONTENDERS: dict[str, tuple[str, ...]] = {
    "kmeans_8": ("embed=pca", *_K8),
    "kmeans_4": ("embed=pca", "cluster=kmeans", "cluster.partitions=4"),
    "kmeans_16": ("embed=pca", "cluster=kmeans", "cluster.partitions=16"),
    "kmeans_32": ("embed=pca", "cluster=kmeans", "cluster.partitions=32", "cluster.atoms=128"),
    "loss_16": ("embed=pca", "cluster=loss", "cluster.partitions=16"),
    "auto": ("embed=pca", "cluster=auto"),
    "kmeans_8_identity": ("embed=identity", *_K8),
    "kmeans_8_scarf": ("embed=scarf", *_K8),
    "kmeans_8_vicreg": ("embed=vicreg", *_K8),
}
"""Pools by name: the overrides that make them. They run in this order in one working folder."""

_ALWAYS = ("packing.devices=1",)
"""Settings on which no result depends."""


def overrides(name: str, seed: int) -> list[str]:
    """The settings of a pool at a seed; an experiment's file cannot set the seed."""
    return [*_ALWAYS, f"seed={seed}", *CONTENDERS[name]]


IMAGES_ONLY = ("kmeans_8_vicreg",)
"""Pools that take images alone."""

REFERENCE = "kmeans_8"
"""The pool whose generalist, budget and number of partitions the baselines are given."""

BASELINES = (
    "widths",
    "ensemble",
    "given_partition",
    "soft_mixture",
    "true_regime",
    "routed_regime",
    "long_generalist",
    "wide_network",
    "boosted_trees",
)
"""Baselines that are trained here; the generalist and random partitions come with each pool."""

CURVE = (0.25, 0.5, 2.0, 4.0)
"""Budgets of the curve, beside 1."""


class Cell(NamedTuple):
    """One working folder: a dataset at a budget and a seed."""

    dataset: str
    budget: float
    seed: int

    @property
    def folder(self) -> str:
        """Its path below the output folder."""
        return f"cells/{self.dataset}/{self.budget:g}/{self.seed}"


@dataclass(frozen=True)
class Study:
    """Datasets that are treated alike.

    Attributes:
        datasets: Their names.
        budgets: Multiples of their own budgets.
        contenders: Pools, the reference among them.
        baselines: Baselines.
    """

    datasets: tuple[str, ...]
    budgets: tuple[float, ...]
    contenders: tuple[str, ...]
    baselines: tuple[str, ...]


def studies(*, small: bool) -> list[Study]:
    """What the small or the full benchmark consists of."""
    if small:
        few = tuple(name for name in BASELINES if name not in ("long_generalist", "wide_network"))
        known = ("digits_conflicting", "digits_plain", "gauss_8_far_2000")
        return [
            Study(known, (1.0,), (REFERENCE, "auto"), few),
            Study(known[:1], (0.25,), (REFERENCE,), ("true_regime", "routed_regime")),
        ]
    every, curve = tuple(CONTENDERS), ("kmeans_8", "kmeans_32", "auto")
    return [
        Study(tuple(known_datasets()), (1.0,), every, BASELINES),
        Study(
            ("digits_conflicting",),
            CURVE,
            curve,
            ("widths", "true_regime", "routed_regime"),
        ),
    ]


class Work:
    """The cells of a run and what is measured in each."""

    def __init__(
        self,
        *,
        datasets: Sequence[str],
        only: Sequence[str],
        budgets: Sequence[float],
        seeds: int,
        small: bool,
    ) -> None:
        """Keep what is named, everything where nothing is named.

        Args:
            datasets: Names of datasets.
            only: Names of pools and baselines; the reference always runs.
            budgets: Multiples of the datasets' own budgets.
            seeds: Number of seeds.
            small: Whether it is the small benchmark.

        Raises:
            SettingsError: A name is unknown.
        """
        for name in datasets:
            dataset_named(name)
        for name in only:
            if name not in (*CONTENDERS, *BASELINES):
                near = nearest(name, (*CONTENDERS, *BASELINES))
                raise SettingsError(f"pool or baseline {name!r} is unknown; {near}")
        self._only = {REFERENCE, *only} if only else {*CONTENDERS, *BASELINES}
        self._studies = {
            (dataset, budget): study
            for study in studies(small=small)
            for dataset in study.datasets
            for budget in study.budgets
            if (not datasets or dataset in datasets) and (not budgets or budget in budgets)
        }
        self._seeds = seeds

    @property
    def cells(self) -> list[Cell]:
        """All cells, seed by seed: a run that is cut short has whole seeds."""
        return [Cell(*key, seed) for seed in range(self._seeds) for key in self._studies]

    def contenders(self, cell: Cell) -> list[str]:
        """Pools of a cell, in the order in which they run."""
        is_image = dataset_named(cell.dataset).image
        chosen = self._studies[cell.dataset, cell.budget].contenders
        return [
            name
            for name in CONTENDERS
            if name in chosen and name in self._only and (is_image or name not in IMAGES_ONLY)
        ]

    def baselines(self, cell: Cell) -> list[str]:
        """Baselines of a cell: those that its model, its regimes and what is installed allow."""
        dataset = dataset_named(cell.dataset)
        lacks = {
            "widths": dataset.width is None,
            "wide_network": dataset.width is None,
            "true_regime": not dataset.regimes,
            "routed_regime": not dataset.regimes,
            "boosted_trees": not has_boosted_trees(),
        }
        chosen = self._studies[cell.dataset, cell.budget].baselines
        return [name for name in chosen if name in self._only and not lacks.get(name, False)]


def has_boosted_trees() -> bool:
    """Whether LightGBM is installed."""
    from importlib.util import find_spec

    return find_spec("lightgbm") is not None
