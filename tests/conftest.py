"""What all tests share."""

import os

from shoal.training.determinism import VARIABLE, usual_kernels

os.environ.setdefault(VARIABLE, usual_kernels())  # as every command does, before torch is imported

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from shoal.formats.files import locked
from shoal.formats.tables import (
    FOLD,
    KEY,
    SOURCE,
    Columns,
    Table,
    image_array,
    key_array,
    write_table,
)
from shoal.split.keys import row_keys, source_hashes
from tests.workflow.small import CONTINUING, Experiment, as_config, set_up, write_wave
from tests.workflow.warm import Server

MadeOnce = Callable[[str, Callable[[Path], Experiment]], Experiment]

SLOW = ("tests/slurm/", "tests/workflow/test_warm.py", "tests/stateful/", "tests/workflow/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long begins, so that no worker is left alone with it at the end."""

    def place(item: pytest.Item) -> int:
        return next((n for n, name in enumerate(SLOW) if item.nodeid.startswith(name)), len(SLOW))

    items.sort(key=place)


@pytest.fixture(scope="session")
def shared_data():
    """Folder of the real datasets; the test is skipped where they are not."""
    default = Path(__file__).parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("SHOAL_SHARED_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no datasets at {folder}; set SHOAL_SHARED_DATA to their folder")
    return folder


@pytest.fixture
def columns():
    """Makes columns from name=kind; images are 2 x 2 of uint8."""

    def make(task="classification", **kinds):
        pictures = [name for name, kind in kinds.items() if kind == "image"]
        shapes = {name: [2, 2] for name in pictures}
        return Columns(kinds, task, shapes, dict.fromkeys(pictures, "uint8"), {})

    return make


@pytest.fixture
def rows():
    """Makes an Arrow table of rows; keys are given as any text, folds as codes."""

    def make(columns, keys, folds, **values):
        arrays = {
            name: image_array(np.array(content, np.uint8))
            if columns.kinds[name] == "image"
            else pa.array(content, columns.arrow_type(name))
            for name, content in values.items()
        }
        digests = [hashlib.md5(str(key).encode()).digest() for key in keys]
        arrays[KEY] = pa.array(digests, pa.binary(16))
        arrays[FOLD] = pa.array(folds, pa.uint8())
        typed = pa.table(arrays)
        told = row_keys(typed, columns) if columns.inputs else np.empty((len(typed), 16), np.uint8)
        arrays[SOURCE] = key_array(source_hashes(typed, columns, told))
        return pa.table(arrays, schema=columns.schema())

    return make


@pytest.fixture
def shard(tmp_path):
    """Writes rows as a shard's table and opens it."""

    def make(table, name="a"):
        path = tmp_path / f"{name}.parquet"
        write_table(path, table.schema, [table], {"rows_in": len(table), "dropped": {}})
        return Table(path)

    return make


# A small experiment that the real Snakemake runs in seconds ----------------------------------


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all processes that run these tests."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def warm(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Programs whose imports are paid once."""
    with Server(tmp_path_factory.mktemp("warm") / "server", shared) as server:
        yield server


@pytest.fixture(scope="session")
def made_once(shared: Path, warm: Server, tmp_path_factory: pytest.TempPathFactory) -> MadeOnce:
    """Has one process make an experiment, and gives each a copy of its own."""

    def copy(name: str, make: Callable[[Path], Experiment]) -> Experiment:
        whole, own = shared / name, tmp_path_factory.mktemp(name)
        with locked(shared / f"{name}.lock"):
            if not whole.exists():
                make(own / "first").folder.rename(whole)
        return Experiment(whole, warm.bin).copy(own / "experiment")

    return copy


@pytest.fixture(scope="session")
def finished(warm: Server, made_once: MadeOnce) -> Experiment:
    """An experiment that has run to the end. Tests must leave it as it is."""

    def make(folder: Path) -> Experiment:
        experiment = Experiment(set_up(folder).folder, warm.bin)
        planned = experiment.plan()
        assert experiment.run() == planned
        return experiment

    return made_once("finished", make)


@pytest.fixture(scope="session")
def two_waves(finished: Experiment, made_once: MadeOnce) -> Experiment:
    """An experiment whose specialists continue, after two further files. Tests must not change it.

    Each of them was followed by a run.
    """

    def make(folder: Path) -> Experiment:
        own = finished.copy(folder)
        own.run(overrides=as_config(*CONTINUING))
        for number in (3, 4):
            write_wave(own, number)
            ran = Counter(own.run(overrides=as_config(*CONTINUING)))
            assert (ran["train_specialist"], ran["evaluate_generalist"]) == (2, 1)
            assert ran["evaluate_random"] == ran["base_fit"] == 0
        return own

    return made_once("two_waves", make)


@pytest.fixture
def own(two_waves: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Experiment:
    """A copy of the experiment after two waves, to change, in the current folder."""
    copy = two_waves.copy(tmp_path / "experiment")
    monkeypatch.chdir(copy.folder)
    return copy


@pytest.fixture
def copied(finished: Experiment, tmp_path: Path) -> Experiment:
    """A copy of the finished experiment, to change."""
    return finished.copy(tmp_path / "experiment")


@pytest.fixture
def experiment(warm: Server, tmp_path: Path) -> Experiment:
    """A fresh experiment that has not run."""
    return Experiment(set_up(tmp_path / "experiment").folder, warm.bin)
