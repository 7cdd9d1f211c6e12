"""What the rules ask of a plan, on an experiment whose files are made by hand."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from snakemake.iocontainers import InputFiles, Params

from shoal.errors import CorruptError
from shoal.formats.json_file import write_json
from shoal.plan.jobs import Job, files_of
from shoal.plan.plan import placeholders
from shoal.plan.stages import INDEX, STAGES
from shoal.workflow.plans import Plans
from shoal.workflow.rules import RulesPlan
from shoal.workflow.start import prepare
from tests.documents import partition_index
from tests.workflow.small import set_up


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RulesPlan:
    """The plan of a dry run of a fresh experiment, in its folder."""
    monkeypatch.chdir(set_up(tmp_path / "experiment").folder)
    return Plans({"experiment": "tiny"}, Path("config"), SimpleNamespace(dryrun=True)).first


def make(paths: list[Path]) -> None:
    """Make files."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def of_rows(plan: RulesPlan) -> list[Job]:
    """What is applied to the rows, before the index."""
    jobs = plan.layout.early_jobs()
    return [job for job in jobs if not STAGES[job.rule].frozen and job.rule != INDEX]


def test_only_shards_with_a_missing_file_have_jobs(plan: RulesPlan):
    """A shard of which every file is there is left out of Snakemake's graph."""
    _, second, third = plan.layout.shards

    make(files_of(job for job in of_rows(plan) if job.about != second))

    assert plan.shard_pattern() == second
    make(files_of(of_rows(plan)))
    assert plan.shard_pattern() == "none"
    plan.layout.file("encode.rows", shard=third).unlink()
    assert plan.shard_pattern() == third


def test_a_run_asks_for_the_fits_and_for_what_is_missing(plan: RulesPlan):
    """Before the index: both files of a job of which one is missing, and none of a complete one."""
    fits = files_of(job for job in plan.layout.early_jobs() if STAGES[job.rule].frozen)
    make(files_of(of_rows(plan)))
    shard = plan.layout.shards[0]

    assert plan.early_targets() == [*fits, plan.layout.index]
    plan.layout.file("assign.summary", shard=shard).unlink()

    rows = plan.layout.file("assign.rows", shard=shard)
    assert plan.early_targets() == [
        *fits,
        rows,
        plan.layout.file("assign.summary", shard=shard),
        plan.layout.index,
    ]


def test_an_index_that_exists_is_taken_without_the_checkpoint(plan: RulesPlan):
    """Snakemake's checkpoint is asked only where the index, or a shard, is yet to be made."""
    make([plan.layout.file("assign.summary", shard=shard) for shard in plan.layout.shards])
    write_json(plan.layout.index, partition_index())

    assert plan.index(checkpoint=None) == partition_index()


@pytest.mark.parametrize(
    ("executor", "remote", "job", "pages"),
    [
        ("local", False, None, []),
        ("local", False, "7", []),
        ("slurm", False, None, ["cluster.html"]),
        ("local", True, "7", ["cluster.html"]),
    ],
)
def test_only_a_run_on_slurm_has_a_page_about_the_cluster(
    plan: RulesPlan, monkeypatch: pytest.MonkeyPatch, executor, remote, job, pages
):
    """The Snakemake of a job on a node knows it; one within an interactive job has none."""
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    if job:
        monkeypatch.setenv("SLURM_JOB_ID", job)
    plan._workflow.executor_plugin = SimpleNamespace(name=executor)
    plan._workflow.remote_exec = remote

    assert [path.name for path in plan.cluster_pages()] == pages


def test_both_kinds_of_baselines_may_be_trained_while_nobody_knows_which(plan: RulesPlan):
    """Before the index an incomplete plan may need those of the generation, or others."""
    first = plan.untrained_basis("evaluate_random")
    plan.layout = replace(plan.layout, left_out=("id/digest/0/point",))
    both = plan.untrained_basis("evaluate_random")
    make(plan.layout.frozen_baselines())

    assert (first, both) == ("generation", "generation|incomplete")
    assert plan.untrained_basis("evaluate_random") == "incomplete"


@pytest.mark.parametrize(
    ("overrides", "partitions"),
    [
        (["cluster.partitions=3"], 3),
        (["cluster.partitions=auto", "cluster.max_partitions=5"], 5),
        (["cluster=loss", "cluster.partitions=7"], 7),
        (["cluster=auto", "cluster.partitions=[2,6]"], 6),
        (["cluster=auto", "cluster.partitions=[]"], 1),
        (["cluster=column", "cluster.column=town", "cluster.max_partitions=9"], 9),
    ],
)
def test_a_plan_without_an_index_has_the_most_partitions(plan, overrides, partitions):
    """Where the number is found by the fit, the plan of a fresh clone is an upper bound."""
    planned = Plans({"experiment": "tiny", "overrides": overrides}, Path("config"), None).first

    assert len(placeholders(planned.settings)["partitions"]) == partitions


def test_what_takes_all_choices_lists_no_file_that_a_choice_waits_for(plan: RulesPlan):
    """The job that makes a choice waits for its candidates; once it is made, others must."""
    index = placeholders(plan.settings)
    first, *others = index["partitions"]
    files = [*plan.specialists(index), *plan.choices(index)]

    assert plan.awaited_beside_choices(None, files) == plan.choices(index)

    make([plan.layout.choice(first)])
    assert others
    assert plan.awaited_beside_choices(None, files) == [
        *plan.layout.candidates(first),
        *plan.choices(index),
    ]


def prepared_input(function: Callable[..., Any]) -> Callable[..., Any]:
    """An input function of a rule as Snakemake finds it."""
    rule = SimpleNamespace(input=InputFiles(fromdict={"a": function}), params=Params())
    prepare([rule])
    assert rule.input[0] is rule.input.a
    found: Callable[..., Any] = rule.input.a
    return found


def test_functions_of_rules_keep_their_signatures():
    """Snakemake, which asks many times, gets the same one each time."""
    function = prepared_input(lambda wc, output: [wc, output])

    assert inspect.signature(function) is inspect.signature(function)
    assert list(inspect.signature(function).parameters) == ["wc", "output"]
    assert function(1, 2) == [1, 2]


def test_a_mistake_that_a_rules_function_finds_is_one_line(capsys: pytest.CaptureFixture[str]):
    """Snakemake would print a traceback; what is no mistake is left to it."""

    def fail(error: Exception) -> None:
        raise error

    with pytest.raises(SystemExit, match="2"):
        prepared_input(fail)(CorruptError("a.json: not readable"))
    with pytest.raises(KeyError, match="absent"):
        prepared_input(fail)(KeyError("absent"))

    assert capsys.readouterr().err == "shoal: error: a.json: not readable\n"
