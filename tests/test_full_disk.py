"""A disk without room: one line that names the file, and nothing half-written."""

from __future__ import annotations

import gc
import resource
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from shoal.answers.command import _write_table
from shoal.checkpoint import write_checkpoint
from shoal.encode import skops_file
from shoal.errors import ShoalError
from shoal.files import append_line, replacing, write_json
from shoal.pool.command import _write
from shoal.pool_store import PoolStore
from shoal.pool_store.zarr_file import ZarrFile
from shoal.state import save_state
from shoal.store import RowArray, write_rows
from shoal.tables import write_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    Disk = Callable[[Path], AbstractContextManager[None]]

NOISE = np.random.default_rng(0).random(20_000)
TABLE = pa.table({"a": NOISE})
ROOM = 64 << 10


def write_archive(path: Path) -> None:
    with replacing(path) as aside, aside.open("wb") as file, ZarrFile(file) as archive:
        archive.add("a", [NOISE.tobytes()], {})


def write_predictions(path: Path) -> None:
    with replacing(path) as aside:
        _write(iter([TABLE] * 10), aside)


WRITERS: dict[str, Callable[[Path], Any]] = {
    "a.json": lambda path: write_json(path, NOISE.tolist()),
    "history.jsonl": lambda path: append_line(path, str(NOISE.tolist())),
    "state.safetensors": lambda path: save_state(path, {"a": NOISE}, {}),
    "checkpoint.safetensors": lambda path: write_checkpoint(path, {"a": NOISE}),
    "table.parquet": lambda path: write_table(path, TABLE.schema, [TABLE], {}),
    "answers.parquet": lambda path: _write_table(path, [{"a": n} for n in NOISE]),
    "rows.zarr.zip": lambda path: write_rows(
        path, len(NOISE), {"a": RowArray((), "float64")}, [{"a": NOISE}], {}
    ),
    "archive.zarr.zip": write_archive,
    "encoder.skops": lambda path: skops_file.save(path, {"a": NOISE}),
    "predictions.csv": write_predictions,
    "predictions.parquet": write_predictions,
}


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A folder in which there is no room for what is written."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small file system to fill needs the right to mount one")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def small_files(folder: Path) -> Iterator[None]:
    """A limit on the size of files, as some clusters set it."""
    folder.mkdir()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("disk", [small_disk, small_files])
@pytest.mark.parametrize("name", WRITERS)
def test_a_writer_without_room_names_its_file_and_leaves_nothing(
    name: str, disk: Disk, tmp_path: Path
):
    """Whatever library writes it, and whatever error it has for that."""
    folder = tmp_path / "disk"
    with disk(folder):
        with pytest.raises(
            ShoalError, match=rf"{name}: not written, (no space left|file too large)"
        ):
            WRITERS[name](folder / name)

        gc.collect()  # what would try again to write when it goes
        assert [path for path in folder.iterdir() if path.stat().st_size] == []


def test_a_line_for_which_there_is_no_room_leaves_those_before(tmp_path: Path):
    """A history goes on after the line that was written last."""
    path = tmp_path / "disk" / "history.jsonl"
    with small_files(path.parent):
        append_line(path, "1")
        with pytest.raises(ShoalError, match="not written, file too large; raise the limit"):
            append_line(path, "2" * ROOM)
        append_line(path, "3")

    assert path.read_text() == "1\n3\n"


def test_a_store_without_room_keeps_what_it_has(tmp_path: Path):
    """A save that failed leaves the models before it, and no file of its own."""
    folder = tmp_path / "disk"
    with small_disk(folder):
        store = PoolStore(folder / "store")
        store.save({"a": {"w": NOISE[:1000]}})
        kept = {path.name for path in (folder / "store").iterdir()}
        with pytest.raises(ShoalError, match="not written, no space left on device; free some"):
            store.save({"big": {"w": NOISE}})

        assert {path.name for path in (folder / "store").iterdir()} == kept
        assert PoolStore(folder / "store").ids() == ["a"]
