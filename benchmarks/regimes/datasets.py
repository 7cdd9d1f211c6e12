"""The datasets: where their rows come from, how they are trained, which regimes they have."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.regimes import images
from shoal.errors import SettingsError, nearest
from shoal.formats.files import replacing

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Rows = dict[str, NDArray[Any]]

ROOT = Path(__file__).parents[2]
EXPERIMENT = "regimes"
"""Name of the experiment in every working folder."""
REGIMES = "regimes.parquet"
"""True regime of each row by its key, where it is known; never read by the workflow."""
FEATURES = 10
"""Features of the generated regimes."""


@dataclass(frozen=True)
class Dataset:
    """Rows and settings.

    Attributes:
        rows: From the data folder and the seed to columns, ``regime`` among them where it is
            known; None where the source file itself is read.
        settings: The experiment, but for source folder, seed and budget.
        regimes: Whether the true regime is known.
        width: Hidden width of the model; None where it is no setting.
    """

    rows: Callable[[Path, int], Rows] | None
    settings: dict[str, Any]
    regimes: bool
    width: int | None
    image: bool = field(default=False)


def generated(rows: int, clusters: int, separation: float, seed: int) -> Rows:
    """Gaussian clusters, each with a linear rule of its own.

    Args:
        rows: Rows.
        clusters: Clusters, which are the regimes.
        separation: Standard deviation of the clusters' centres; within a cluster it is 1.
        seed: Seed of centres, rules and rows.

    Returns:
        ``id``, features ``x0`` to ``x9``, ``label`` (the sign of a random direction within the
        row's cluster) and ``regime``.
    """
    rng = np.random.default_rng([seed, clusters, rows])
    regime = rng.integers(clusters, size=rows)
    centres = separation * rng.normal(size=(clusters, FEATURES))
    within = rng.normal(size=(rows, FEATURES))
    rules = rng.normal(size=(clusters, FEATURES))
    x = (centres[regime] + within).round(5)
    label = ((within * rules[regime]).sum(axis=1) > 0).astype(np.int64)
    # Another seed is another draw: its rows share no id with these.
    ids = [f"{seed}-{row:06d}-r{kind}" for row, kind in enumerate(regime)]
    features = {f"x{number}": x[:, number] for number in range(FEATURES)}
    return {"id": np.array(ids, dtype=object), **features, "label": label, "regime": regime}


def write_dataset(
    dataset: Dataset, budget: float, seed: int, data: Path | None, folder: Path
) -> None:
    """Write source files, the experiment and the true regimes into a working folder.

    Args:
        dataset: The dataset.
        budget: Multiple of the dataset's own budget.
        seed: Seed of the rows, where they are generated.
        data: Folder of the real data.
        folder: The working folder; links to the workflow are made in it.

    Raises:
        SourceError: The data folder lacks a file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from shoal.formats.hashing import KEY_BYTES, hash_rows
    from shoal.formats.tables import image_array, key_array

    link(folder)
    sources: dict[str, Any] = {"folder": str(data)}
    regimes: dict[str, Any] = {"key": pa.array([], pa.binary(KEY_BYTES)), "regime": []}
    if dataset.rows is not None:
        columns = dataset.rows(data or Path(), seed)
        keys = hash_rows({"id": columns["id"]}, KEY_BYTES)
        if "regime" in columns:
            regimes = {"key": key_array(keys), "regime": columns.pop("regime")}
        if "image" in columns:
            columns["image"] = image_array(columns["image"])
        sources = {"folder": "data", "files": ["*.parquet"]}
        with replacing(folder / "data" / "rows.parquet") as aside:
            pq.write_table(pa.table(columns), aside)
    with replacing(folder / REGIMES) as aside:
        pq.write_table(pa.table(regimes), aside)
    _write_experiment(dataset, sources, budget, folder)


def _write_experiment(
    dataset: Dataset, sources: dict[str, Any], budget: float, folder: Path
) -> None:
    from omegaconf import OmegaConf

    training = dataset.settings["train_specialists"]
    rows_seen = round(budget * training["rows_seen"])
    content = dataset.settings | {
        "name": EXPERIMENT,
        "sources": dataset.settings["sources"] | sources,
        "train_specialists": training | {"rows_seen": rows_seen},
        "grid": {},  # left out on both sides
    }
    with replacing(folder / "config" / "experiment" / f"{EXPERIMENT}.yaml") as aside:
        aside.write_text(f"# @package _global_\n{OmegaConf.to_yaml(OmegaConf.create(content))}")


def link(folder: Path) -> None:
    """Links to the workflow and its config groups."""
    groups = [path for path in (ROOT / "config").iterdir() if path.name != "experiment"]
    names = ("Snakefile", "workflow", "envs", "profiles", "examples")
    for path in (*(ROOT / name for name in names), *groups):
        link = folder / path.relative_to(ROOT)
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(path)


def dataset_named(name: str) -> Dataset:
    """A dataset.

    Raises:
        SettingsError: There is none of this name.
    """
    known = known_datasets()
    if name not in known:
        raise SettingsError(f"dataset {name!r} is unknown; {nearest(name, known)}")
    return known[name]


def _shipped(name: str) -> dict[str, Any]:
    """Settings of an experiment that comes with Shoal."""
    from omegaconf import OmegaConf

    raw = OmegaConf.load(ROOT / "config" / "experiment" / f"{name}.yaml")
    content: Any = OmegaConf.to_container(raw, resolve=False)
    return dict(content)


def _settings(
    sources: dict[str, Any],
    width: int,
    rows_seen: int,
    **further: Any,  # noqa: ANN401
) -> dict[str, Any]:
    return {
        "sources": sources,
        "model": {"width": width},
        "train_specialists": {"rows_seen": rows_seen},
        **further,
    }


_IMAGES = {"columns": {"id": "id", "image": "image", "label": "label"}}


def _pictures(rows: Callable[[Path, int], Rows], rows_seen: int, *, regimes: bool) -> Dataset:
    return Dataset(rows, _settings(_IMAGES, 16, rows_seen), regimes, 16, image=True)


def _of_digits(_: Path, __: int, *, kind: str) -> Rows:
    return _kind_of(images.digits(), kind)


def _of_mnist(folder: Path, _: int, *, kind: str) -> Rows:
    return _kind_of(images.mnist(folder), kind)


def _kind_of(source: tuple[NDArray[np.uint8], NDArray[np.int64]], kind: str) -> Rows:
    if kind == "plain":
        return images.plain(*source)
    return images.turned(*source, conflicting=kind == "conflicting")


def _of_mnist_fashion(folder: Path, _: int) -> Rows:
    return images.mnist_fashion(folder)


def _gauss(clusters: int, separation: float, rows: int) -> Dataset:
    names = [f"x{number}" for number in range(FEATURES)]
    columns = {"id": "id", **dict.fromkeys(names, "numeric"), "label": "label"}

    def draw(_: Path, seed: int) -> Rows:
        return generated(rows, clusters, separation, seed)

    return Dataset(draw, _settings({"columns": columns}, 16, 75 * rows), regimes=True, width=16)


@functools.cache
def known_datasets() -> dict[str, Dataset]:
    """Every dataset by name."""
    found = {}
    for kind in ("plain", "rotated", "conflicting"):
        turns, regimes = 1 if kind == "plain" else 4, kind != "plain"
        read = functools.partial(_of_digits, kind=kind)
        found[f"digits_{kind}"] = _pictures(read, 225_000 * turns, regimes=regimes)
        read = functools.partial(_of_mnist, kind=kind)
        found[f"mnist_{kind}"] = _pictures(read, 750_000 * turns, regimes=regimes)
    for clusters in (4, 8, 16):
        for place, separation in (("near", 1.0), ("far", 3.0)):
            for rows in (2000, 8000):
                name = f"gauss_{clusters}_{place}_{rows}"
                found[name] = _gauss(clusters, separation, rows)
    shipped = _shipped("mnist_fashion")
    settings = shipped | {"sources": _IMAGES}
    found["mnist_fashion"] = Dataset(_of_mnist_fashion, settings, True, 32, image=True)
    found["housing"] = Dataset(None, _shipped("housing"), regimes=False, width=None)
    found["intents"] = Dataset(None, _shipped("intents"), regimes=False, width=64)
    found["adult"] = Dataset(None, _settings(_ADULT, 32, 1_000_000), regimes=False, width=32)
    by_time = {"defaults": [{"override /split": "time"}]}
    bikes = _settings(_BIKES, 32, 1_000_000, **by_time)
    found["bike_hour"] = Dataset(None, bikes, regimes=False, width=32)
    return found


_ADULT = {"files": ["adult.csv.gz"], "columns": {"income": "label", "split": "ignore"}}
_BIKES = {
    "files": ["bike_hour.csv.gz"],
    "task": "regression",
    "columns": {
        "cnt": "label",
        "instant": "time",
        **dict.fromkeys(("dteday", "casual", "registered"), "ignore"),
    },
}
