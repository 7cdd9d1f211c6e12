"""All measurements of speed, one part after the other, each beside its rivals.

    python -m benchmarks.speed                                # all parts, about an hour
    python -m benchmarks.speed speed_predict speed_data       # some of them

The part on imports measures jobs of the demo, which must have run in the current folder.
"""

from __future__ import annotations

import subprocess
import sys

PARTS = (
    "speed_imports",
    "speed_training",
    "speed_data",
    "speed_predict",
    "split_check",
    "rows_after_edit",
)


def main(parts: list[str]) -> None:
    """Run parts, each in a process of its own: kernels and threads are chosen at its start."""
    for part in parts or PARTS:
        print(f"== {part}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{part}"], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
