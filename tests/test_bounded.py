"""Memory of a process is that of blocks of rows, whatever the shard."""

import os
import subprocess
import sys

from shoal.formats.row_store import ShardRows
from tests.bounded import prepare, run

ROWS, WIDTH = 40_000, 1000
MEMORY, ROOM = 250_000_000, 110_000_000
ALONE = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",  # others reserve more than they use
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


def test_encode_and_assign_hold_blocks_of_a_shard(tmp_path):
    """A shard of 160 MB is encoded and grouped with room for 110 MB, and to the same bytes."""
    prepare(tmp_path, ROWS, WIDTH)

    command = [sys.executable, "-m", "tests.bounded", tmp_path, str(MEMORY), str(ROOM)]
    done = subprocess.run(
        command, env=os.environ | ALONE, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    names = "encoded.zarr.zip", "rows.zarr.zip", "summary.json"
    bounded = [(tmp_path / name).read_bytes() for name in names]
    with ShardRows(tmp_path / "rows.zarr.zip") as store:
        assert store.rows * WIDTH * 4 > ROOM
    run(tmp_path, 16 * MEMORY)
    assert [(tmp_path / name).read_bytes() for name in names] == bounded
