"""One folder with data, configuration and results, where the real workflow runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from shoal.cluster.assigner import AtomAssigner, load_assigner
from shoal.embed.apply import embed_checked
from shoal.embed.embedder import load_embedder
from shoal.formats.row_store import ShardRows
from shoal.formats.tables import Table
from shoal.partitions.reader import halves
from tests.stateful.dataset import UNIVERSE
from tests.stateful.oracle import FOLDS, Place

if TYPE_CHECKING:
    from tests.stateful.oracle import Choices, Places

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
    def new(cls, folder: Path, programs: Path | None) -> Self:
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
        for path in (self.generation / "baselines", *self.generation.glob("cluster/*/grown")):
            shutil.copytree(path, other.generation / path.relative_to(self.generation))

    @property
    def results(self) -> Path:
        """The experiment's results."""
        return self.folder / "results" / "small"

    def start(self, choices: Choices, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start the workflow in a session of its own."""
        return self._start(
            *("snakemake", "--cores", "2", "--scheduler", "greedy"),
            *("--max-jobs-per-timespan", "1000/0s"),  # or each run ends with a second's wait
            *arguments,
            *("--config", "experiment=small", f"overrides=[{','.join(choices.overrides())}]"),
            **environment,
        )

    def _start(self, *command: str, **environment: str) -> subprocess.Popen[str]:
        variables = os.environ | environment
        if self.programs is not None:
            variables["PATH"] = f"{self.programs}{os.pathsep}{variables['PATH']}"
        return subprocess.Popen(
            command,
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

    def grow(self, choices: Choices) -> None:
        """Have the assigner grow by the rows that arrived: ``shoal grow``."""
        process = self._start("shoal", "grow", "small", *choices.overrides(), "--cores", "2")
        output, _ = process.communicate()
        assert process.returncode == 0, output

    # What the results hold ------------------------------------------------------------------

    def layouts(self, choices: Choices) -> dict[int, dict[str, Any]]:
        """The layout of each width of the last run."""
        found: dict[int, dict[str, Any]] = {}
        several = len(choices.widths) > 1
        for path in self.results.glob("variants/*/plan.json" if several else "plan.json"):
            plan = json.loads(path.read_text())
            if plan["settings"]["train_specialists"]["patience"] == choices.patience:
                found[plan["settings"]["model"]["width"]] = plan["layout"]
        assert sorted(found) == sorted(choices.widths)
        return found

    def index(self, layout: dict[str, Any]) -> dict[str, Any]:
        """The partition index of a layout."""
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

    def costs(self, index: dict[str, Any], number: int) -> tuple[float, float]:
        """FLOPs of a partition's specialist, and what they would be from the base.

        Those before the last link do not count.
        """
        entry = index["partitions"][number]
        (path,) = self.generation.glob(f"specialists/*/{entry['specialist']}/0/*/ledger.json")
        ledger = json.loads(path.read_text())
        flops = ledger["flops"] - ledger["detail"].get("before", 0.0)
        continued = entry.get("continued")
        rows = entry["rows"]["train"]
        trained_on = rows if continued is None else continued["added"] + continued["drawn"]
        return flops, flops * rows / trained_on

    def members(self, pack: str) -> list[dict[str, Any]]:
        """The jobs of a pack, each by its wildcards."""
        (path,) = self.generation.glob(f"*packs/*/members/{pack}.json")
        members: list[dict[str, Any]] = json.loads(path.read_text())
        return members

    def outcome(self, choices: Choices) -> dict[str, Any]:
        """Everything that "the same bits" is claimed of, for the current rows and settings."""
        found: dict[str, Any] = {}
        for layout in self.layouts(choices).values():
            found |= self._outcome(layout)
        return found

    def _outcome(self, layout: dict[str, Any]) -> dict[str, Any]:
        index, made, home = self.index(layout), layout["made"], self.folder / layout["home"]
        root, published = index["root"], str(home.relative_to(self.results))
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
        found[f"{published}/router"] = (router / "router.safetensors").read_bytes()
        judged = self.generation / "evaluate" / made["evaluate"] / root["all"]
        found[f"{published}/predictions"] = (judged / "predictions.parquet").read_bytes()
        metrics = json.loads((home / "metrics.json").read_text())
        said = {name: metrics[name] for name in ("rows", "verdict", "difference")}
        found[f"{published}/metrics"] = said
        for path in sorted((home / "pool").rglob("*.safetensors")):
            found[str(path.relative_to(self.results))] = path.read_bytes()
        return found

    def places(self, survey: Lab, grown: tuple[str, ...] = ()) -> Places:
        """Where each row of the universe is put.

        Args:
            survey: A folder with all of these rows, encoded.
            grown: Growths of the assigner in use.
        """
        (table,) = survey.generation.glob("split/*/rows/*/*.parquet")
        (rows,) = survey.generation.glob("encode/*/rows/*/*.zarr.zip")
        (embedder,) = self.generation.glob("embed/*/embedder.safetensors")
        last = f"grown/{grown[-1]}/" if grown else ""
        (path,) = self.generation.glob(f"cluster/*/{last}assigner.safetensors")
        assigner = load_assigner(path)
        assert isinstance(assigner, AtomAssigner)
        with ShardRows(rows) as store:
            key, fold, x = (store.read(name) for name in ("key", "fold", "x"))
        embedding = embed_checked(load_embedder(embedder), x, rows, np.arange(len(x)))
        partition, runner_up, _ = assigner.place(embedding, None)
        runner_up[fold == FOLDS.index("train")] = -1  # nobody else is asked about training rows
        facts = zip(key, fold, partition, runner_up, halves({"key": key}) == 0, strict=True)
        by_key = {
            k.tobytes(): Place(FOLDS[f], int(p), int(r), bool(first)) for k, f, p, r, first in facts
        }
        keys = [key for batch in Table(table).batches(1000) for key in batch["_key"].to_pylist()]
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
