"""A disk without room: one line that names the file, and nothing half-written."""

from __future__ import annotations

import gc
import os
import resource
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from shoal.errors import ShoalError
from shoal.explore.answers.command import _write_table
from shoal.formats.checkpoint import write_checkpoint
from shoal.formats.files import append_line, replacing
from shoal.formats.fitted_state import save_state
from shoal.formats.json_file import write_json
from shoal.formats.row_store import RowArray, write_rows
from shoal.formats.tables import write_table
from shoal.model_store import ModelStore
from shoal.model_store.zarr_file import ZarrFile
from shoal.pool.command import _write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    Disk = Callable[[Path], AbstractContextManager[Path]]

NOISE = np.random.default_rng(0).random(20_000)
TABLE = pa.table({"a": NOISE})
ROOM = 64 << 10
DISK = "shoal-small-disk-"


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
    "predictions.csv": write_predictions,
    "predictions.parquet": write_predictions,
}


@contextmanager
def small_disk(_: Path) -> Iterator[Path]:
    """A folder in which there is no room for what is written.

    It is not below pytest's folders: a run that is killed leaves it mounted, and pytest could not
    remove it from them. The next run does.
    """
    for left in killed_disks():
        subprocess.run(["umount", "--lazy", left], check=False)
        left.rmdir()
    folder = Path(tempfile.gettempdir(), f"{DISK}{os.getpid()}")
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        folder.rmdir()
        pytest.skip("a small file system to fill needs the right to mount one")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()


def killed_disks() -> list[Path]:
    """Small disks of processes that are no more."""
    mounted = [Path(line.split()[1]) for line in Path("/proc/mounts").read_text().splitlines()]
    ours = [folder for folder in mounted if folder.name.startswith(DISK)]
    return [each for each in ours if not Path("/proc", each.name.removeprefix(DISK)).exists()]


@contextmanager
def small_files(folder: Path) -> Iterator[Path]:
    """A limit on the size of files, as some clusters set it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, hard))
    try:
        yield folder
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("disk", [small_disk, small_files])
@pytest.mark.parametrize("name", WRITERS)
def test_a_writer_without_room_names_its_file_and_leaves_nothing(
    name: str, disk: Disk, tmp_path: Path
):
    """Whatever library writes it, and whatever error it has for that."""
    with disk(tmp_path) as folder:
        with pytest.raises(
            ShoalError, match=rf"{name}: not written, (no space left|file too large)"
        ):
            WRITERS[name](folder / name)

        gc.collect()  # what would try again to write when it goes
        assert [path for path in folder.iterdir() if path.stat().st_size] == []


def test_a_line_for_which_there_is_no_room_leaves_those_before(tmp_path: Path):
    """A history goes on after the line that was written last."""
    path = tmp_path / "history.jsonl"
    with small_files(tmp_path):
        append_line(path, "1")
        with pytest.raises(ShoalError, match="not written, file too large; raise the limit"):
            append_line(path, "2" * ROOM)
        append_line(path, "3")

    assert path.read_text() == "1\n3\n"


def test_a_store_without_room_keeps_what_it_has(tmp_path: Path):
    """A save that failed leaves the models before it, and no file of its own."""
    with small_disk(tmp_path) as folder:
        store = ModelStore(folder / "store")
        store.save({"a": {"w": NOISE[:1000]}})
        kept = {path.name for path in (folder / "store").iterdir()}
        with pytest.raises(ShoalError, match="not written, no space left on device; free some"):
            store.save({"big": {"w": NOISE}})

        assert {path.name for path in (folder / "store").iterdir()} == kept
        assert ModelStore(folder / "store").ids() == ["a"]


def test_the_disk_of_a_killed_run_is_unmounted_by_the_next(tmp_path: Path):
    """Nothing stays mounted, whatever became of the run before."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    left = Path(tempfile.gettempdir(), f"{DISK}{gone.pid}")
    left.mkdir()
    mount = ["mount", "-t", "tmpfs", "tmpfs", str(left)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        left.rmdir()
        pytest.skip("needs the right to mount a file system")

    with small_disk(tmp_path):
        assert not left.exists()
