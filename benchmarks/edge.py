"""What a pool takes on a device: megabytes installed, time to import, and predictions beside torch.

    python -m benchmarks.edge POOL ROWS.csv [--graph]

Installs the wheel of edge/ into a new environment with pip, and all that it needs to predict and to
update itself, with ``--graph`` also onnxruntime; the size counts without Python, pip and
setuptools, with compiled modules. Then both packages predict the same rows, one thread each. Times
are seconds of the processor, of the whole process. Code 1 where it is larger than it may be.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import pandas as pd

_OTHERS = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils")
_MOST = (130, 220)
"""Megabytes that may be installed, without and with onnxruntime."""
_RUNS = 7


def main() -> None:
    """Install, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pool", type=Path)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--graph", action="store_true", help="install onnxruntime too")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        python = _installed(Path(name), with_graph=asked.graph)
        sizes, most = _sizes(Path(name)), _MOST[asked.graph]
        print(f"installed: {sum(sizes.values()):.1f} MB, at most {most}")
        largest = sorted(sizes.items(), key=lambda each: -each[1])
        print(", ".join(f"{top} {size:.1f}" for top, size in largest if size >= 0.1))
        bare, imports = (
            [_seconds([python, "-c", code]) for _ in range(_RUNS)]
            for code in ("", "import shoal_edge.pool")
        )
        print(f"import: {1e3 * (min(imports) - min(bare)):.0f} ms (least of {_RUNS})")
        edge = Path(name) / "bin" / "shoal-edge"
        commands = {"shoal-edge": edge, "shoal": Path(sys.executable).with_name("shoal")}
        outs = {}
        for label, command in commands.items():
            outs[label] = Path(name) / f"{label}.csv"
            whole = [command, "predict", asked.pool, asked.rows, "--out", outs[label]]
            taken = [_seconds(list(map(str, whole))) for _ in range(3)]
            print(f"{label} predict: {min(taken):.2f} s (least of 3)")
        _compare(*(pd.read_csv(outs[label]) for label in commands))
    sys.exit(sum(sizes.values()) > most)


def _installed(folder: Path, *, with_graph: bool) -> str:
    """Python of a new environment with the wheel."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    edge, what = Path(__file__).parents[1] / "edge", "[onnx]" if with_graph else ""
    pip = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, f"{edge}{what}"], check=True)
    return str(folder / "bin" / "python")


def _sizes(folder: Path) -> dict[str, float]:
    """Megabytes of each package, compiled modules too."""
    (site,) = folder.glob("lib/python3*/site-packages")
    found: defaultdict[str, float] = defaultdict(float)
    for top in site.iterdir():
        name = re.split(r"[-.]", top.name)[0]
        if name not in _OTHERS:
            files = top.rglob("*") if top.is_dir() else [top]
            found[name] += sum(each.stat().st_size for each in files if each.is_file()) / 1e6
    return found


def _seconds(command: list[str]) -> float:
    """Seconds of the processor that a command takes."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _compare(found: pd.DataFrame, said: pd.DataFrame) -> None:
    """Print how far both are from each other."""
    print(f"rows: {len(found):,} and {len(said):,}")
    for column in ("partition", "distance"):
        print(f"{column}: {(found[column] != said[column]).sum()} of them differ")
    if "probability" in found:
        print(f"prediction: {(found.prediction != said.prediction).sum()} of them differ")
        print(
            f"probability: at most {(found.probability - said.probability).abs().max():.1e} apart"
        )
    else:
        apart = (found.prediction - said.prediction).abs().max() / said.prediction.std()
        print(f"prediction: at most {apart:.1e} of their standard deviation apart")


if __name__ == "__main__":
    main()
