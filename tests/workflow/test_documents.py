"""Documents in results: those of a run are of their kinds, and others are refused in one line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from shoal.formats.documents.choice import Choice
from shoal.formats.documents.index import Members, PartitionIndex, Summary
from shoal.formats.documents.judgement import Check, DriftReport, GateRecord, Metrics
from shoal.formats.documents.ledger import LedgerRecord
from shoal.formats.documents.manifest import PoolManifest
from shoal.formats.documents.plan import (
    Answers,
    KeptRelease,
    PlanRecord,
    Release,
    RunRecord,
    RunSettings,
)
from shoal.formats.json_file import read_json
from shoal.plan.plan import Plan

if TYPE_CHECKING:
    from pathlib import Path

    from tests.workflow.small import Experiment

KINDS: dict[str, Any] = {
    "settings.json": RunSettings,
    "settings/*.json": RunRecord,
    "plan.json": PlanRecord,
    "published/*.json": Release,
    "models/*.json": KeptRelease,
    "metrics.json": Metrics,
    "drift.json": DriftReport,
    "answers/published/*.json": Answers,
    "g1/*/*/ledger.json": LedgerRecord,
    "g1/specialists/*/*/*/*/ledger.json": LedgerRecord,
    "g1/baselines/*/*/*.json": LedgerRecord,
    "g1/split/*/checks/*.json": Check,
    "g1/cluster/*/summary/*/*.json": Summary,
    "g1/cluster/*/indexes/*/index.json": PartitionIndex,
    "g1/cluster/*/indexes/*/members/*.json": Members,
    "g1/choices/*/*/*/*.json": Choice,
    "g1/gate/*/*.json": GateRecord,
    "g1/pool/*/*/manifest.json": PoolManifest,
    "g1/pool/*/*/ledger.json": list[LedgerRecord],
}


@pytest.mark.parametrize("name", KINDS)
def test_what_a_run_writes_is_of_its_kind(finished: Experiment, name: str):
    """The kinds ask for nothing that is not there."""
    paths = list((finished.folder / "results" / "tiny").glob(name))

    assert paths
    for path in paths:
        assert read_json(path, KINDS[name]) == json.loads(path.read_text())


DAMAGE = {
    "cut short": lambda text: text[: len(text) // 2],
    "a list": lambda _: "[]",
    "empty": lambda _: "",
    "deep": lambda _: '{"a":' * 100_000,
    "of another kind": lambda _: '{"a": 1}',
}

READERS = {
    "g1/cluster/*/indexes/*/index.json": ["plan", "tiny"],
    "g1/specialists/*/*/*/*/ledger.json": ["plan", "tiny"],
    "published/*.json": ["audit", "tiny"],
    "plan.json": ["query", "results/tiny", "SELECT * FROM transforms"],
    "g1/gate/*/*.json": ["query", "results/tiny", "SELECT * FROM gates"],
    "metrics.json": ["verdict", "results/tiny"],
    "drift.json": ["verdict", "results/tiny"],
}


def documents(experiment: Experiment, name: str) -> list[Path]:
    return sorted((experiment.folder / "results" / "tiny").glob(name))


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_document_is_one_line_that_says_how_to_go_on(copied: Experiment, name: str):
    """It names the file; the next run makes it again."""
    path = documents(copied, name)[0]
    before = path.read_text()
    for damage in ("cut short", "a list"):
        path.write_text(DAMAGE[damage](before))

        result = copied.shoal(*READERS[name])

        (line,) = result.stderr.splitlines()
        assert result.returncode == 2, damage
        assert line.startswith(f"shoal: error: {path.relative_to(copied.folder)}: "), damage
        assert line.endswith("; remove it, and the next run makes it again"), damage


@pytest.mark.parametrize("change", DAMAGE.values(), ids=DAMAGE)
def test_a_run_writes_its_records_again_whatever_they_are(
    copied: Experiment, monkeypatch: pytest.MonkeyPatch, change: Any
):
    """What jobs read, plan, settings or hashes of source files that were cut short stop no run."""
    monkeypatch.chdir(copied.folder)
    names = ("settings/*.json", "plan.json", "settings.json")
    paths = [path for name in names for path in documents(copied, name)]
    before = [path.read_text() for path in paths]
    cache = copied.folder / "results" / "tiny" / ".source-hashes.json"
    for path in (*paths, cache):
        path.write_text(change(path.read_text()))

    plan = Plan("tiny", [], copied.folder / "config")
    plan.write_records()

    assert [path.read_text() for path in paths] == before


def test_a_line_of_the_history_that_is_no_release_is_named(copied: Experiment):
    """One that was cut short is left out; one of another kind is not taken for a release."""
    path = copied.folder / "results" / "tiny" / "history.jsonl"
    lines = path.read_text()
    path.write_text(f"{lines[:50]}\n{lines}")
    query = ("query", "results/tiny", "SELECT release FROM releases")
    assert copied.shoal(*query).returncode == 0

    path.write_text(f"{lines}[]\n")
    result = copied.shoal(*query)

    assert result.returncode == 2
    assert result.stderr.startswith("shoal: error: results/tiny/history.jsonl: line 2: ")


def test_a_dry_run_ends_in_the_same_line(copied: Experiment):
    """Where the rules read it, the line is that of a command, without Snakemake's traceback."""
    (path,) = documents(copied, "g1/cluster/*/indexes/*/index.json")
    path.write_text("[]")

    result = copied.snakemake("-n")

    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith(
        f"shoal: error: {path.relative_to(copied.folder)}: Input should be a valid dictionary"
    )
    assert "Traceback" not in result.stderr
