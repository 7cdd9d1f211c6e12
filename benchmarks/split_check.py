"""Memory and time of the check of all rows, by ranges and with all hashes in memory.

    python -m benchmarks.split_check --rows 100000 1000000 --shard 100000

Draws rows of two numbers and a class with keys of their own, one in a hundred a copy of another
one, writes shards of ``--shard`` rows with their sketches, and checks them in a process each way:

- *ranges*: what ``split_check`` does, a range of hashes at a time;
- *in memory*: what it did before, for exact copies alone: reads all tables, hashes each row's
  content, and sorts keys and contents of all rows together.

Seconds are of the check, imports aside; memory is the highest that the process held beyond what it
held with everything imported.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from shoal.formats import tables
from shoal.formats.kinds import OUTSIDE
from shoal.formats.tables import Columns, Table, write_table
from shoal.settings import parse
from shoal.settings.data import Split
from shoal.split.check import Shard, check
from shoal.split.keys import content_hashes, flat_keys
from shoal.split.sketch import Sketch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

COLUMNS = Columns({"a": "numeric", "b": "numeric", "y": "label"}, "classification", {}, {}, {})
SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}
PLAIN = {"method": "hash", "seed": 0, "fractions": SHARES}
SPLIT = parse(Split, PLAIN | {"column": None, "values": {}, "outside": []}, "split")
BATCH = 8192
COPIES = 100


def shard_of(folder: Path, number: int) -> Shard:
    """Files of a shard."""
    ends = ("parquet", "facts", "sample")
    return Shard(f"{number}.csv", *(folder / f"{number}.{end}" for end in ends))


def write_shard(shard: Shard, rows: int, seed: int) -> float:
    """Write a shard and its sketch; seconds that the sketch took."""
    draw = np.random.default_rng(seed)
    keys = draw.integers(256, size=(rows, 16), dtype=np.uint8)
    keys[::COPIES] = keys[1::COPIES]
    numbers = keys.view("<u4")[:, :2].astype(float)
    table = pa.table(
        {
            "a": numbers[:, 0],
            "b": numbers[:, 1],
            "y": np.where(numbers.sum(axis=1) % 2 > 0, "p", "q").astype(object),
            tables.KEY: tables.key_array(keys),
            tables.FOLD: pa.array(draw.choice(3, rows, p=list(SHARES.values())), pa.uint8()),
            tables.SOURCE: tables.key_array(keys),
        }
    ).cast(COLUMNS.schema())
    write_table(shard.table, table.schema, [table], {})
    start = time.perf_counter()
    sketch = Sketch(COLUMNS)
    for first in range(0, rows, BATCH):
        sketch.add(table[first : first + BATCH])
    sketch.save(shard.facts, shard.sample)
    return time.perf_counter() - start


def check_in_memory(shards: Sequence[Shard]) -> dict[str, int]:
    """Counts of copies from hashes of all rows."""
    parts: list[tuple[NDArray[np.uint8], ...]] = []
    for shard in shards:
        for batch in Table(shard.table).batches(BATCH):
            parts.append((tables.keys(batch), content_hashes(batch, COLUMNS), tables.folds(batch)))
    all_keys, all_contents, folds = (np.concatenate(part) for part in zip(*parts, strict=True))
    keys, contents = flat_keys(all_keys), flat_keys(all_contents)
    order = np.lexsort((contents, keys))
    same_key = keys[order][1:] == keys[order][:-1]
    same_content = same_key & (contents[order][1:] == contents[order][:-1])
    order = np.lexsort((folds, keys))
    starts = np.append(True, keys[order][1:] != keys[order][:-1])
    first = folds[order][np.flatnonzero(starts)][np.cumsum(starts) - 1]
    repeated = (folds[order] > first) & (folds[order] != OUTSIDE)
    return {"rows": int(same_content.sum()), "exact": int(repeated.sum())}


def check_by_ranges(shards: Sequence[Shard]) -> dict[str, int]:
    """The same counts by ``split_check``."""
    found = check(shards, COLUMNS, SPLIT)
    return {"rows": found["duplicates"]["rows"], "exact": found["leaks"]["exact"]["rows"]}


WAYS = {"ranges": check_by_ranges, "in memory": check_in_memory}


def measure(way: str, folder: Path, shards: int) -> None:
    """Check in this process and print what it took, as JSON."""
    import sklearn.neighbors
    import sklearn.tree  # noqa: F401 - the leak checks import it

    files = [shard_of(folder, number) for number in range(shards)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    counts = WAYS[way](files)
    seconds = time.perf_counter() - start
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    sys.stdout.write(json.dumps({"seconds": seconds, "mib": held / 1024, "counts": counts}))


def main() -> None:
    """Write shards, check them both ways, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--shard", type=int, default=100_000, help="rows of a shard")
    parser.add_argument("--measure", nargs=3, metavar=("WAY", "FOLDER", "SHARDS"))
    options = parser.parse_args()
    if options.measure:
        way, folder, shards = options.measure
        measure(way, Path(folder), int(shards))
        return
    head = f"{'rows':>11}  {'way':<10} {'seconds':>8} {'MiB':>7} {'bytes a row':>12}"
    sys.stdout.write(f"{head}  one sketch a row\n")
    for rows in options.rows:
        with tempfile.TemporaryDirectory() as folder:
            shards = [shard_of(Path(folder), number) for number in range(rows // options.shard)]
            seconds = sum(
                write_shard(shard, options.shard, seed) for seed, shard in enumerate(shards)
            )
            size = sum(shard.facts.stat().st_size for shard in shards)
            sketch = f"{1e6 * seconds / rows:.2f} µs, {size / rows:.0f} bytes"
            results = {}
            for way in WAYS:
                arguments = ["--measure", way, folder, str(len(shards))]
                command = [sys.executable, "-m", "benchmarks.split_check", *arguments]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                results[way] = json.loads(done.stdout)
            if results["ranges"]["counts"] != results["in memory"]["counts"]:
                raise SystemExit(f"the ways disagree: {results}")
            for way, found in results.items():
                each = found["mib"] * 2**20 / rows
                line = f"{rows:>11,}  {way:<10} {found['seconds']:>8.2f} {found['mib']:>7.0f}"
                sys.stdout.write(f"{line} {each:>12.0f}  {sketch}\n")
                sketch = ""


if __name__ == "__main__":
    main()
