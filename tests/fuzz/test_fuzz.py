"""Whatever a file holds, it is used or refused in one line, in little time and memory."""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import shutil
import sys
import warnings
from functools import partial
from typing import TYPE_CHECKING

import pytest
import torch

import shoal
from tests.fuzz.documents import Documents
from tests.fuzz.harness import BATCH, Batch, Tally, keep_in, run_apart, run_case, settle
from tests.fuzz.headers import Headers
from tests.fuzz.manifests import Manifests
from tests.fuzz.settings import Settings
from tests.fuzz.sources import SourceFiles
from tests.fuzz.stages import JOBS, Stages, jobs_of
from tests.pool.conftest import build_pool
from tests.workflow.warm_source import PRELOADED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.fuzz.harness import Target
    from tests.workflow.small import Experiment

    Makers = Mapping[str, Callable[[Path], Target]]

CASES = int(os.environ.get("SHOAL_CASES", "300"))
SEED = os.environ.get("SHOAL_SEED", "1")
ONE = os.environ.get("SHOAL_CASE", "")
"""``TARGET-NUMBER`` of the one case to run."""

TARGETS = {
    "documents": Documents,
    "headers": Headers,
    "manifests": Manifests,
    "sources": SourceFiles,
    "settings": Settings,
    "stages": Stages,
}


@pytest.mark.long
def test_whatever_is_read_is_used_or_refused_in_one_line(
    finished: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Documents, headers, manifests, source files and settings with random faults."""
    material = tmp_path / "material"
    ignored = shutil.ignore_patterns(".snakemake", "logs")
    shutil.copytree(finished.folder, material, symlinks=True, ignore=ignored)
    (material / JOBS).write_text(json.dumps(jobs_of(finished.folder)))
    monkeypatch.setenv("PATH", str(_programs(tmp_path / "programs")), prepend=os.pathsep)
    makers = {name: partial(target, material) for name, target in TARGETS.items()}
    if ONE:
        name, number = ONE.rsplit("-", 1)
        cases = {name: [int(number)]}
    else:
        cases = {name: list(range(round(CASES * t.share))) for name, t in TARGETS.items()}

    run = _apart if "SHOAL_CASES" in os.environ else _here
    tallies = run(cases, makers, tmp_path)

    sys.stdout.write(_table(tallies))
    found = [
        f"{name}: {kind}: {len(texts)} cases, such as {texts[0]}"
        for name, tally in tallies.items()
        for kind, texts in tally.found.items()
    ]
    found.append(f"their files are in {tmp_path / 'found'}; SHOAL_SEED={SEED}")
    assert len(found) == 1, "\n\n".join(found)
    assert all(t.results["used"] and t.results["refused"] for t in tallies.values()) or ONE


def _programs(folder: Path) -> Path:
    """A ``snakemake`` that fails: what a plan would have it run is not what is tested."""
    folder.mkdir()
    (folder / "snakemake").write_text("#!/bin/sh\necho 'shoal: error: not run' >&2\nexit 2\n")
    (folder / "snakemake").chmod(0o755)
    return folder


def _apart(cases: dict[str, list[int]], makers: Makers, folder: Path) -> dict[str, Tally]:
    """In processes of their own."""
    pid = os.fork()  # so that this process has started no threads when it forks
    if not pid:
        try:
            _with_pool(folder)
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    modules = [each.name for each in pkgutil.walk_packages(shoal.__path__, "shoal.")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in (*PRELOADED, "duckdb", *modules):
            importlib.import_module(module)
    gc.collect()
    gc.freeze()
    batches = [
        Batch(name, numbers[start : start + BATCH])
        for name, numbers in cases.items()
        for start in range(0, len(numbers), BATCH)
    ]
    return run_apart(batches, makers, SEED, folder)


def _here(cases: dict[str, list[int]], makers: Makers, folder: Path) -> dict[str, Tally]:
    """In this process, one after the other; with imports paid, this takes seconds."""
    _with_pool(folder)
    tallies = {}
    threads, exact = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    for name, numbers in cases.items():
        target, tallies[name] = makers[name](folder / name), Tally()
        for number in numbers:
            keep = keep_in(folder, name, number)
            outcome = run_case(target, name, SEED, number, keep)
            settle(outcome, keep)
            tallies[name].add(number, outcome)
    torch.set_num_threads(threads)  # which stages set for their process
    torch.use_deterministic_algorithms(exact)
    return tallies


def _with_pool(folder: Path) -> None:
    """Put the small pool beside the experiment."""
    (folder / "made").mkdir()
    shutil.move(build_pool(folder / "made"), folder / "material" / "pool")


def _table(tallies: Mapping[str, Tally]) -> str:
    """Counts of each target."""
    lines = [
        f"\n{'target':<10} {'cases':>7} {'used':>7} {'refused':>7} {'found':>7} {'CPU s':>7} MiB"
    ]
    for name, tally in tallies.items():
        results = [tally.results[each] for each in ("used", "refused", "found")]
        counts = " ".join(f"{count:>7}" for count in (sum(results), *results))
        lines.append(f"{name:<10} {counts} {tally.seconds:>7.0f} {tally.peak >> 20}")
    return "\n".join(lines) + "\n"
