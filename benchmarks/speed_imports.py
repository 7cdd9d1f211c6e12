"""CPU seconds of imports, and of a whole job, for the command of each stage.

    snakemake --profile profiles/local
    python -m benchmarks.speed_imports

Copies the folder of a run that has ended and does one job of each stage again in the copy, each in
a process of its own, as Snakemake does. Beside them stand the imports of torch, numpy and Lightning
alone, in the same run: machines are noisy, so each figure is also given as a multiple of torch's.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

RIVALS = ("torch", "numpy", "sklearn.preprocessing", "skops.io", "pytorch_lightning")
COPIED = ("results", "data", "config", "examples")
LEFT = shutil.ignore_patterns("store")  # which would give trained models back

RUN = """
import builtins, os, sys, time
out = int(sys.argv.pop(1))
spent = depth = 0
plain = builtins.__import__

def timed(*arguments, **named):
    global spent, depth
    depth += 1
    start = time.process_time()
    try:
        return plain(*arguments, **named)
    finally:
        depth -= 1
        if not depth:
            spent += time.process_time() - start

builtins.__import__ = timed
sys.argv[0] = "shoal"
try:
    from shoal.cli import main
    main()
finally:
    os.write(out, str(spent).encode())
"""


class Cost(NamedTuple):
    """CPU seconds of a process.

    Attributes:
        imports: Those of its imports.
        whole: All of them, start and end included.
    """

    imports: float
    whole: float


def commands(folder: Path) -> dict[str, list[str]]:
    """The arguments of one job of each stage that Snakemake has run in a folder."""
    found: dict[str, list[str]] = {}
    for path in sorted((folder / ".snakemake" / "metadata").rglob("*")):
        if not path.is_file():
            continue
        words = shlex.split(json.loads(path.read_text())["shellcmd"] or "")
        end = [word.startswith((">", "2>", "&>")) for word in [*words, ">"]].index(True)
        if words[:1] == ["shoal"] and "--settings" in words:
            found.setdefault(words[1], words[1:end])
    return found


def measured(folder: Path, *python: str, piped: bool = False) -> Cost:
    """The cost of a Python process.

    Args:
        folder: Where it runs.
        python: Arguments of Python.
        piped: Whether it writes the seconds of its imports to a pipe, which it is told by number.

    Raises:
        CalledProcessError: It failed.
    """
    out, into = os.pipe()
    arguments = [*python[:2], str(into), *python[2:]] if piped else list(python)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, *arguments], cwd=folder, check=True, capture_output=True, pass_fds=[into]
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    os.close(into)
    with os.fdopen(out) as pipe:
        spent = pipe.read()
    whole = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return Cost(float(spent or whole), whole)


def median(costs: list[Cost]) -> Cost:
    """Of each figure."""
    return Cost(*(statistics.median(each) for each in zip(*costs, strict=True)))


def compare(folder: Path, repeats: int) -> None:
    """Print the table."""
    jobs = commands(folder)
    rounds: dict[str, list[Cost]] = {}
    for _ in range(repeats):  # one after the other, so that all meet the same noise
        for rival in RIVALS:
            cost = measured(folder, "-c", f"import {rival}")
            rounds.setdefault(f"import {rival}", []).append(cost)
        for name, arguments in jobs.items():
            cost = measured(folder, "-c", RUN, *arguments, piped=True)
            rounds.setdefault(name, []).append(cost)
    costs = {name: median(each) for name, each in rounds.items()}
    torch = costs["import torch"].whole
    print("| process | imports, CPU s | of torch's | whole, CPU s | of torch's |")
    print("| --- | --- | --- | --- | --- |")
    for name, cost in costs.items():
        figures = (cost.imports, cost.imports / torch, cost.whole, cost.whole / torch)
        print(f"| {name} | {' | '.join(f'{figure:.2f}' for figure in figures)} |")


def main() -> None:
    """Copy the folder and measure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--folder", type=Path, default=Path(), help="where the workflow has run")
    parser.add_argument("--repeats", type=int, default=3, help="times that each is measured")
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch, "run")
        shutil.copytree(given.folder / ".snakemake" / "metadata", copy / ".snakemake" / "metadata")
        for name in COPIED:
            if (given.folder / name).exists():
                shutil.copytree(given.folder / name, copy / name, ignore=LEFT)
        compare(copy, given.repeats)


if __name__ == "__main__":
    main()
