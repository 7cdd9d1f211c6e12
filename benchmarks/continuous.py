"""Data that keeps arriving: continuing against frozen, online and fully trained pools.

    python -m benchmarks.continuous --data FOLDER --work FOLDER [--seeds 5] [--only images bike …]

Each stream is a first release and then waves of source files; after each wave the workflow runs as
it is, in this process. Every release scores the rows of the wave before any model saw them
(test-then-train). Streams:

- *images*: 28 x 28 digits and clothing, of which clothing rises from a tenth to nine tenths;
- *turned*: digits, then clothing, then digits turned by a quarter;
- *bike*: hours of two years in order of time; error of the logarithm of the count;
- *adult*: a control, rows in random order;
- *text*: the next byte of `mixed_text.parquet`, where six languages arrive one after the other.

Variants: *frozen*, the first pool on all later rows; *full*, every changed partition and the
generalist from the base on all rows; *online*, trained on with new rows alone; *one to one*, with
as many rows of history; *proactive*, as by default; *auto*, which chooses between *online* and
*proactive*; others by `--variant NAME OVERRIDE…`. All have the same first release.

Printed are the score of rows that arrived, the mean over waves; its difference to *full*, with a
95 % interval over seeds (Student's t); the score of the last release's test fold; and the FLOPs of
making all releases but the first, generalist, router and gate included, as a share of full's; and
how many specialists were continued, and trained anew. Scores of text are bits per predicted byte.
The working folder keeps what is done, so a run goes on.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import yaml
from scipy import stats

from benchmarks.auto import CHEAP, do, run
from shoal.formats.documents.prequential import Prequential
from shoal.formats.json_file import read_made
from shoal.plan.plan import Plan
from shoal.plan.stages import STAGES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Columns = dict[str, Any]

EXPERIMENT = "waves"
_HIGHER = ("images", "turned", "adult")
VARIANTS: dict[str, list[str]] = {
    "full": ["continuing=none", "changes.baselines=current"],
    "online": ["continuing=proactive", "continuing.history=0"],
    "one to one": ["continuing=proactive", "continuing.history=1"],
    "proactive": ["continuing=proactive"],
    "auto": ["continuing=auto"],
}
FROZEN = "frozen"


def _images(data: Path, seed: int, turned: bool = False) -> list[Columns]:
    rng = np.random.default_rng(seed)
    pools = []
    for file, image, label, first in (
        ("mnist.npz", "x", "y", 0),
        ("fashion_mnist.npz", "x_train", "y_train", 10),
    ):
        with np.load(data / file) as held:
            order = rng.permutation(len(held[label]))
            pools.append((held[image][order], held[label][order].astype(np.int64) + first))
    taken = [0, 0]

    def take(kind: int, count: int, quarter: int = 0) -> tuple[NDArray[Any], NDArray[Any]]:
        at = taken[kind]
        taken[kind] += count
        images, labels = (part[at : at + count] for part in pools[kind])
        return np.rot90(images, quarter, axes=(1, 2)), labels

    shares = [(3600, 400, 0)]
    for wave in range(1, 13):
        late = 50 * max(0, wave - 6) if turned else 0
        clothing = int((1000 - late) * (0.1 + 0.8 * wave / 12))
        shares.append((1000 - late - clothing, clothing, late))
    waves = []
    for digits, clothing, late in shares:
        parts = [take(0, digits), take(1, clothing), take(0, late, 1)]
        held = (np.concatenate(part) for part in zip(*parts, strict=True))
        waves.append(dict(zip(("image", "label"), held, strict=True)))
    return waves


def _bike(data: Path, seed: int) -> list[Columns]:  # noqa: ARG001 - time has one order
    frame = pd.read_csv(data / "bike_hour.csv.gz").sort_values("instant")
    frame["label"] = np.log1p(frame["cnt"])
    for name in ("hr", "weekday", "mnth", "weathersit", "season"):
        frame[name] = f"{name}_" + frame[name].astype(str)
    kept = ["hr", "weekday", "mnth", "weathersit", "season", "temp", "atemp", "hum", "windspeed"]
    return _cut(frame[[*kept, "holiday", "workingday", "instant", "label"]], 4300, 1460)


def _adult(data: Path, seed: int) -> list[Columns]:
    frame = pd.read_csv(data / "adult.csv.gz").drop(columns=["split"])
    frame = frame.sample(frac=1, random_state=seed).rename(columns={"income": "label"})
    return _cut(frame.iloc[:40000], 10000, 5000)


def _cut(frame: pd.DataFrame, first: int, wave: int) -> list[Columns]:
    bounds = [0, first, *range(first + wave, len(frame) - wave // 2, wave), len(frame)]
    return [_columns(frame.iloc[a:b]) for a, b in itertools.pairwise(bounds)]


def _columns(frame: pd.DataFrame) -> Columns:
    return {str(name): frame[name] for name in frame}


LATER = ("lang_hu", "lang_pl", "lang_tr", "lang_fi", "lang_cs", "lang_el")
TEXT_WAVES = 8


def _text(data: Path, seed: int) -> list[Columns]:
    """Half of the other rows at first, the rest evenly; a later language from its wave on."""
    frame = pd.read_parquet(data / "mixed_text.parquet")
    rng = np.random.default_rng(seed)
    frame = frame.iloc[rng.permutation(len(frame))[: len(frame) // 2]]
    begins = np.array([LATER.index(s) + 1 if s in LATER else 0 for s in frame["source"]])
    draw = rng.random(len(frame))
    even = begins + (draw * (TEXT_WAVES + 1 - begins)).astype(int)
    wave = np.where(begins > 0, even, np.ceil((2 * draw - 1).clip(0) * TEXT_WAVES).astype(int))
    return [_columns(frame[wave == number]) for number in range(TEXT_WAVES + 1)]


@dataclass(frozen=True)
class Stream:
    """Waves of rows, the first release's first, and the settings of their experiment.

    Attributes:
        waves: Gives the rows of a seed.
        settings: Of the experiment.
        suffix: Of the source files.
        unit: By which a score is divided, to print it.
    """

    waves: Callable[[Path, int], list[Columns]]
    settings: dict[str, Any]
    suffix: str = "csv"
    unit: float = 1.0


def _settings(
    task: str, columns: dict[str, Any], lr: float, epochs: float, width: int, depth: int
) -> dict[str, Any]:
    return {
        "sources": {"task": task, "columns": columns | {"label": "label"}},
        "model": {"width": width, "depth": depth},
        "train_specialists": {"lr": lr, "epochs": epochs, "batch_size": 128},
    }


_IMAGES = _settings("classification", {"image": "image"}, 0.002, 10, 64, 1)
_TEXT = {
    "defaults": [
        {"override /split": "group"},
        {"override /embed": "counts"},
        {"override /model": "next_byte"},
    ],
    "sources": {
        "task": "own",
        "columns": {"id": "id", "document": "group", "text": "text", "source": "ignore"}
        | {"repeat": "ignore", "fold": "ignore"},
    },
    "encode": {"columns": {"text": {"encoder": "tokens", "length": 192}}},
    "embed": {"prefix": 128, "dims": 32},
    "cluster": {"partitions": 16, "fit_rows": 4000},
    "model": {"prefix": 128},
    "train_specialists": {"lr": 0.012, "epochs": 1, "batch_size": 8, "epsilon": 1e-4},
}
STREAMS = {
    "images": Stream(_images, _IMAGES, "npz"),
    "turned": Stream(lambda data, seed: _images(data, seed, turned=True), _IMAGES, "npz"),
    "bike": Stream(_bike, _settings("regression", {"instant": "ignore"}, 0.003, 10, 64, 2)),
    "adult": Stream(_adult, _settings("classification", {}, 0.002, 4, 64, 1)),
    "text": Stream(_text, _TEXT, "parquet", 64 * math.log(2)),
}


class Feed:
    """A stream's files, which come wave by wave into the folder of an experiment."""

    def __init__(self, stream: Stream, data: Path, seed: int) -> None:
        """Make the rows."""
        self.stream = stream
        self.waves = stream.waves(data, seed)

    def set_up(self, folder: Path) -> None:
        """Write the experiment's settings."""
        settings = dict(self.stream.settings)
        settings["sources"] = {"files": [f"*.{self.stream.suffix}"], **settings["sources"]}
        path = folder / "config" / "experiment" / f"{EXPERIMENT}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump({"name": EXPERIMENT, **settings}, sort_keys=False)
        path.write_text("# @package _global_\n" + text)
        (folder / "data").mkdir(exist_ok=True)

    def add(self, folder: Path, wave: int) -> None:
        """Write a wave's file."""
        path, rows = folder / "data" / f"{wave:02d}.{self.stream.suffix}", self.waves[wave]
        if self.stream.suffix == "npz":
            np.savez(path, **rows)
        elif self.stream.suffix == "parquet":
            pd.DataFrame(rows).to_parquet(path, index=False)
        else:
            pd.DataFrame(rows).to_csv(path, index=False)


def measured(folder: Path, feed: Feed, seed: int, asked: dict[str, list[str]]) -> dict[str, Any]:
    """All variants of a stream, as far as they are not kept in the folder.

    Returns:
        Of each variant ``scores`` of the waves, score of the ``test`` fold, ``flops``, and how many
        specialists were ``continued`` and ``trained`` anew.
    """
    own = [*CHEAP, f"seed={seed}"]
    start, found = folder / "start", {}
    feed.set_up(start)
    feed.add(start, 0)
    with contextlib.chdir(start):
        run(Plan(EXPERIMENT, own, Path("config")))
    for name, overrides in {FROZEN: [], **asked}.items():
        place, kept = folder / name, folder / f"{name}.json"
        if not kept.exists():
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(start, place)
            with contextlib.chdir(place):
                followed = _frozen if name == FROZEN else _followed
                kept.write_text(json.dumps(followed(feed, [*own, *overrides])))
            shutil.rmtree(place)
            print(folder.name, name, kept.read_text(), flush=True)
        found[name] = json.loads(kept.read_text())
    return found


def _frozen(feed: Feed, overrides: list[str]) -> dict[str, Any]:
    """The first pool on all rows that come later, without a release."""
    for wave in range(1, len(feed.waves)):
        feed.add(Path(), wave)
    plan = Plan(EXPERIMENT, overrides, Path("config"))
    plan.write_records()
    for job in plan.layout.early_jobs():
        do(plan, job.rule, dict(job.wildcards), wanted=job.rule == "split" and bool(job.missing))
    rule = "evaluate_prequential"
    about = dict(zip(STAGES[rule].keys, plan.layout.previous, strict=True))
    do(plan, rule, dict(about), wanted=True)
    scores = read_made(plan.layout.file(f"{rule}.scores", None, **about), Prequential)
    nothing = {"flops": 0.0, "continued": 0, "trained": 0}
    return {"scores": [_score(scores)], "test": math.nan, **nothing}


def _followed(feed: Feed, overrides: list[str]) -> dict[str, Any]:
    """A release after each wave."""
    for wave in range(1, len(feed.waves)):
        feed.add(Path(), wave)
        plan = Plan(EXPERIMENT, overrides, Path("config"))
        run(plan)
    later = [each["over_time"] for each in plan.history.entries[1:]]
    metrics = json.loads((plan.home / "metrics.json").read_text())
    return {
        "scores": [_score(each["arrivals"]) for each in later],
        "test": metrics[metrics["shipped"]]["score"],
        "flops": sum(each["made"]["flops"] for each in later),
        **{of: sum(each["made"][of] for each in later) for of in ("continued", "trained")},
    }


def _score(arrived: Prequential) -> float:
    scores = arrived["scores"]
    assert scores is not None, arrived["reason"]  # noqa: S101 - all waves have rows to score
    assert scores["score"] is not None  # noqa: S101
    return float(scores["score"])


HEAD = """\
| stream | variant | arrived rows | above full | test fold | of full FLOPs | continued | anew |
| --- | --- | --- | --- | --- | --- | --- | --- |"""


def lines(name: str, found: Sequence[dict[str, Any]]) -> list[str]:
    """The table's lines of a stream.

    Args:
        name: Of the stream.
        found: What each seed gave, see :func:`measured`.
    """
    unit, sign = STREAMS[name].unit, 1 if name in _HIGHER else -1
    means = {
        variant: np.array([np.mean(each[variant]["scores"]) for each in found]) / unit
        for variant in found[0]
    }
    result = []
    for variant, own in means.items():
        facts = [each[variant] for each in found]
        share = np.mean([each[variant]["flops"] / each["full"]["flops"] for each in found])
        cells = [
            name,
            variant,
            f"{own.mean():.4f}",
            interval(sign * (own - means["full"])),
            f"{np.mean([each['test'] for each in facts]) / unit:.4f}",
            f"{share:.3f}",
            *(f"{np.mean([each[of] for each in facts]):.0f}" for of in ("continued", "trained")),
        ]
        result.append(f"| {' | '.join(cells)} |")
    return result


def interval(values: NDArray[np.float64]) -> str:
    """Mean over seeds and 95 % interval (Student's t)."""
    if len(values) < 2:
        return f"{values.mean():+.4f}"
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return f"{values.mean():+.4f} ± {half:.4f}"


def main() -> None:
    """Feed, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--work", type=Path, required=True, help="experiments run here")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="+", default=list(STREAMS), choices=STREAMS)
    parser.add_argument(
        "--variant", nargs="+", action="append", default=[], help="a name, and its overrides"
    )
    asked = parser.parse_args()
    data, work = asked.data.absolute(), asked.work.absolute()
    variants = VARIANTS | {name: overrides for name, *overrides in asked.variant}
    table = [HEAD]
    for name in asked.only:
        found = [
            measured(work / f"{name}-{seed}", Feed(STREAMS[name], data, seed), seed, variants)
            for seed in range(asked.seeds)
        ]
        table += lines(name, found)
        print("\n".join(table), flush=True)


if __name__ == "__main__":
    main()
