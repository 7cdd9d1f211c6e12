"""One folder with data, configuration and results, where the real workflow runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoal.formats.row_store import ShardRows
from shoal.formats.tables import Table
from tests.stateful.dataset import UNIVERSE
from tests.stateful.oracle import FOLDS, Place

if TYPE_CHECKING:
    from tests.stateful.oracle import Choices

ROOT = Path(__file__).parents[2]
MIN_ROWS = 8
SETTINGS = f"""\
# @package _global_
name: small
sources:
  folder: data
  files: ["*.csv"]
  columns: {{id: id, a: numeric, b: numeric, town: categorical, note: ignore, label: label}}
split: {{fractions: {{train: 0.5, validation: 0.25, test: 0.25}}}}
embed: {{dims: 2}}
cluster: {{partitions: 3, atoms: 6, min_rows: {MIN_ROWS}}}
model: {{width: 2, depth: 1}}
train_specialists: {{rows_seen: 300, batch_size: 16}}
evaluate: {{map_rows: 20}}
packing: {{devices: null}}
"""
FITTED = ("split", "transform", "encode", "embed", "cluster", "base")
LINKED = ("Snakefile", "workflow", "envs", "profiles", "examples")


@dataclass(frozen=True)
class Ran:
    """A job that a run has finished: its rule, and its wildcards."""

    rule: str
    wildcards: tuple[tuple[str, str], ...]


@dataclass
class Lab:
    """A folder in which the workflow runs, and the programs that run it.

    Attributes:
        folder: Where data, configuration and results lie.
        programs: Folder of the ``snakemake`` and ``shoal`` to use, before those of the system.
    """

    folder: Path
    programs: Path | None = None

    @classmethod
    def new(cls, folder: Path, programs: Path | None) -> Lab:
        """Lay out configuration, and no data."""
        (folder / "data").mkdir(parents=True)
        for name in LINKED:
            (folder / name).symlink_to(ROOT / name)
        experiment = folder / "config" / "experiment"
        experiment.mkdir(parents=True)
        for path in (ROOT / "config").iterdir():
            if path.name != "experiment":
                (folder / "config" / path.name).symlink_to(path)
        (experiment / "small.yaml").write_text(SETTINGS)
        return cls(folder, programs)

    def copy(self, folder: Path, *, metadata: bool = True) -> Lab:
        """Everything copied elsewhere; without Snakemake's own records and times if wanted."""
        keep = shutil.copy2 if metadata else shutil.copyfile
        hidden = None if metadata else shutil.ignore_patterns(".snakemake")
        shutil.copytree(self.folder, folder, symlinks=True, copy_function=keep, ignore=hidden)
        return Lab(folder, self.programs)

    def copy_generation(self, other: Lab) -> None:
        """Give another folder what this one's generation has fitted, and no rows."""
        for path in self.generation.glob("*/*/*"):
            target = other.generation / path.relative_to(self.generation)
            if path.is_file() and path.parts[-3] in FITTED:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
        shutil.copytree(self.generation / "baselines", other.generation / "baselines")

    @property
    def results(self) -> Path:
        """The experiment's results."""
        return self.folder / "results" / "small"

    def start(self, choices: Choices, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start the workflow in a session of its own."""
        variables = os.environ | environment
        if self.programs is not None:
            variables["PATH"] = f"{self.programs}{os.pathsep}{variables['PATH']}"
        return subprocess.Popen(
            [
                *("snakemake", "--cores", "2", "--scheduler", "greedy"),
                *("--max-jobs-per-timespan", "1000/0s"),  # or each run ends with a second's wait
                *arguments,
                *("--config", "experiment=small", f"overrides={choices.overrides()}"),
            ],
            cwd=self.folder,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, choices: Choices, *arguments: str, **environment: str) -> tuple[int, list[Ran]]:
        """Run the workflow to its end: its exit code, and the jobs that it finished."""
        process = self.start(choices, *arguments, **environment)
        output, _ = process.communicate()
        (self.folder / "last.log").write_text(output)
        return process.returncode, finished_jobs(output)

    def planned(self, choices: Choices) -> list[Ran]:
        """The jobs that a dry run announces."""
        process = self.start(choices, "--dry-run")
        output, _ = process.communicate()
        assert process.returncode == 0, output
        return announced_jobs(output)

    # What the results hold ------------------------------------------------------------------

    def layout(self) -> dict[str, Any]:
        """The layout of the last run."""
        content: dict[str, Any] = json.loads((self.results / "plan.json").read_text())
        return dict(content["layout"])

    def index(self) -> dict[str, Any]:
        """The partition index of the last run."""
        layout = self.layout()
        path = self.generation / "cluster" / layout["fits"]["cluster"] / "indexes"
        content: dict[str, Any] = json.loads((path / layout["index_id"] / "index.json").read_text())
        return content

    @property
    def generation(self) -> Path:
        """The generation's folder."""
        return self.results / "g1"

    def trained_files(self) -> dict[Path, tuple[int, bytes]]:
        """Time and bytes of every specialist and base."""
        folders = (self.generation / name for name in ("specialists", "base"))
        paths = [path for folder in folders for path in folder.rglob("*.safetensors")]
        return {p.relative_to(self.folder): (p.stat().st_mtime_ns, p.read_bytes()) for p in paths}

    def outcome(self) -> dict[str, Any]:
        """Everything that "the same bits" is claimed of, for the current rows and settings."""
        layout, index = self.layout(), self.index()
        made, root = layout["made"], index["root"]
        found: dict[str, Any] = {"index": {k: v for k, v in index.items() if k != "made_from"}}
        for entry in index["partitions"]:
            for point in layout["points"] if entry["trained"] else ():
                path = Path("specialists", made["specialists"], entry["specialist"], "0", point)
                found[str(path)] = (self.generation / path / "model.safetensors").read_bytes()
            if entry["trained"]:
                validation = entry["digests"]["validation"]
                own = Path("choices", made["choices"], entry["specialist"], "0")
                path = own / f"{validation}.json"
                choice = json.loads((self.generation / path).read_text())
                found[str(path)] = [choice[name] for name in ("point", "losses", "rows")]
        router = self.generation / "router" / made["router"] / root["fit"]
        found["router"] = (router / "router.safetensors").read_bytes()
        judged = self.generation / "evaluate" / made["evaluate"] / root["all"]
        found["predictions"] = (judged / "predictions.parquet").read_bytes()
        metrics = json.loads((self.results / "metrics.json").read_text())
        found["metrics"] = {name: metrics[name] for name in ("rows", "verdict", "difference")}
        pool = self.results / "pool"
        for path in sorted(pool.rglob("*.safetensors")):
            found[str(path.relative_to(self.results))] = path.read_bytes()
        return found

    def places(self) -> dict[int, Place]:
        """Where each row of the universe is put, from a run on all of them."""
        (table,) = self.generation.glob("split/*/rows/*/*.parquet")
        (rows,) = self.generation.glob("cluster/*/rows/*/*.zarr.zip")
        keys = [key for batch in Table(table).batches(1000) for key in batch["_key"].to_pylist()]
        with ShardRows(rows) as store:
            names = ("key", "fold", "partition", "runner_up")
            facts = zip(*(store.read(name) for name in names), strict=True)
            by_key = {k.tobytes(): Place(FOLDS[fold], int(p), int(r)) for k, fold, p, r in facts}
        return {row.number: by_key[key] for (_, row), key in zip(UNIVERSE, keys, strict=True)}


def announced_jobs(output: str) -> list[Ran]:
    """Jobs that a log announces, without the target rule."""
    return [ran for ran in _jobs(output).values() if ran.rule != "all"]


def finished_jobs(output: str) -> list[Ran]:
    """Jobs that a log says have finished, without the target rule."""
    announced = _jobs(output)
    numbers = re.findall(r"^Finished jobid: (\d+)", output, re.MULTILINE)
    found = [announced[number] for number in numbers if number in announced]
    return [ran for ran in found if ran.rule != "all"]


def _jobs(output: str) -> dict[str, Ran]:
    jobs: dict[str, Ran] = {}
    blocks = re.split(r"^(?:local)?(?:rule|checkpoint) (\w+):$", output, flags=re.MULTILINE)
    for rule, block in zip(blocks[1::2], blocks[2::2], strict=True):
        number = re.search(r"^    jobid: (\d+)$", block, re.MULTILINE)
        wildcards = re.search(r"^    wildcards: (.*)$", block, re.MULTILINE)
        pairs = wildcards.group(1).split(", ") if wildcards else []
        values = tuple(sorted(tuple(pair.split("=", 1)) for pair in pairs))
        if number:
            jobs[number.group(1)] = Ran(rule, values)  # type: ignore[arg-type]
    return jobs
