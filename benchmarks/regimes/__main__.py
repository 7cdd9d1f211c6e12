"""Do partitions pay? Pools against baselines, on data with and without regimes.

    python -m benchmarks.regimes --small
    python -m benchmarks.regimes --data FOLDER

Runs the workflow in ``benchmarks/regimes/Snakefile``, which goes on where it was ended. See
docs/regimes.md.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.regimes.contenders import Work, has_boosted_trees
from shoal.errors import SettingsError
from shoal.formats.json_file import write_json
from shoal.terminal import leave, say

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]


def main() -> None:
    """Run everything that is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the real datasets")
    parser.add_argument("--small", action="store_true", help="under 15 minutes on two cores")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--seeds", type=int, help="10 by default, 1 with --small")
    parser.add_argument("--out", type=Path, help="build/regimes or build/regimes-small by default")
    parser.add_argument("--datasets", nargs="*", default=[], help="some of them only")
    parser.add_argument("--only", nargs="*", default=[], help="some pools and baselines only")
    parser.add_argument("--budgets", nargs="*", type=float, default=[], help="some of them only")
    options = parser.parse_args()
    work = {
        "datasets": options.datasets,
        "only": options.only,
        "budgets": options.budgets,
        "seeds": options.seeds or (1 if options.small else 10),
        "small": options.small,
    }
    try:
        Work(**work)
    except SettingsError as error:
        leave([str(error)])
    if options.data is None and not options.small:
        leave(["--data is missing: the folder of the real datasets; --small needs none"])
    if not has_boosted_trees():
        say("boosted_trees is left out: lightgbm is not installed (pip install lightgbm)")
    out = options.out or Path("build", "regimes-small" if options.small else "regimes")
    config = {"data": str(options.data.resolve()) if options.data else "", "work": work}
    sys.exit(run(out.resolve(), config, options.cores))


def run(out: Path, config: Mapping[str, object], cores: int) -> int:
    """Run the benchmark's workflow in ``out``; its exit code."""
    command = ["snakemake", "--snakefile", str(Path(__file__).with_name("Snakefile"))]
    fixed = ["--directory", str(out), "--cores", str(cores), "--scheduler", "greedy"]
    kept = ["--rerun-incomplete", "--rerun-triggers", "mtime", "params", "--keep-going"]
    settings = out / "config.json"  # a file: on the command line, false would be a text
    write_json(settings, config)
    search = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": search}
    result = subprocess.run(
        [*command, *fixed, *kept, "--quiet", "rules", "--configfile", str(settings)],
        env=environment,
        check=False,
    )
    if result.returncode == 0:
        print((out / "table.md").read_text())
    return result.returncode


if __name__ == "__main__":
    main()
