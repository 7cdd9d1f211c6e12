"""What a specialist that is adapted on a device takes to send, to keep and to recover.

    python -m benchmarks.adapted POOL ROWS.csv [--rows 200 2000]

Trains the specialist of partition 0 on the first rows of a file, with the default settings, makes
recipe and patch of the result, and imports the recipe. Bytes: of recipe and patch; of the encoded
rows, compressed, which a centre that kept the recipe would need; of the store's growth where it
keeps the tensors. Seconds of the processor, one thread: to check the recipe, training and all; to
recover from the store.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from shoal.archive.instances import Instances
from shoal.archive.returned import import_instance
from shoal.deploy.adapt import Local, adapt, encoded_rows
from shoal.formats.json_file import write_json
from shoal.pool.pool import Pool
from shoal_edge.folder import read_pool
from shoal_edge.patch import make

if TYPE_CHECKING:
    from collections.abc import Callable

READS = 20


def main() -> None:
    """Print a table: a line for each number of rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pool", type=Path)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--rows", type=int, nargs="+", default=[200, 2000], dest="counts")
    asked = parser.parse_args()
    lines = []
    for count in asked.counts:
        with tempfile.TemporaryDirectory(prefix="adapted-") as folder:
            lines.append({"rows": count} | measured(asked.pool, asked.rows, count, Path(folder)))
    print(pd.DataFrame(lines).round(4).to_string(index=False))


def measured(pool: Path, source: Path, count: int, work: Path) -> dict[str, Any]:
    """Bytes and seconds of one adaptation."""
    root, rows, device = work / "results", work / "rows.csv", work / "device"
    shutil.copytree(pool, root / "pool")
    pd.read_csv(source, nrows=count, dtype=str).to_csv(rows, index=False)
    made = adapt(root / "pool", rows, 0, Local(), device)
    write_json(work / "recipe", made.model_dump(mode="json"))
    patch = make(read_pool(root / "pool"), read_pool(device))
    import_instance(root, root / "pool", "copy")  # which all states begin with
    before = Instances(root).store.bytes
    again, _ = _seconds(lambda: import_instance(root, work / "recipe", "car", rows))
    kept = Instances(root).store.bytes - before
    times = [_seconds(lambda: _files(root)) for _ in range(READS)]
    if any(files != read_pool(device) for _, files in times):
        raise SystemExit("another state than was sent")
    arrays = encoded_rows(Pool.load(pool), rows).arrays
    return {
        "recipe": (work / "recipe").stat().st_size,
        "patch": len(patch),
        "rows, packed": len(zlib.compress(b"".join(each.tobytes() for each in arrays.values()))),
        "kept as tensors": kept,
        "check s": again,
        "recover s": min(seconds for seconds, _ in times),
    }


def _files(root: Path) -> dict[str, bytes]:
    kept = Instances(root)
    return kept.files(kept.find("car"))


def _seconds(action: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = action()
    return time.process_time() - start, result


if __name__ == "__main__":
    main()
