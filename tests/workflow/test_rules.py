"""What the rules ask of a plan, on an experiment whose files are made by hand."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from snakemake.io import is_flagged
from snakemake.iocontainers import Wildcards

from shoal.errors import CorruptError
from shoal.formats.json_file import write_json
from shoal.plan.jobs import Job, files_of
from shoal.plan.plan import placeholders
from shoal.plan.stages import INDEX, STAGES
from shoal.workflow.plans import Plans
from shoal.workflow.rules import RulesPlan
from tests.documents import partition_index
from tests.workflow.small import set_up


def snakemake(config: list[str] | None = None, **changes: Any) -> SimpleNamespace:
    """Snakemake's workflow, as far as plans ask it: that of a dry run, if not said otherwise."""
    facts = {
        "dryrun": True,
        "is_main_process": True,
        "remote_exec": False,
        "executor_plugin": SimpleNamespace(name="dryrun"),
        "dag_settings": SimpleNamespace(forceall=False),
        "config_settings": SimpleNamespace(config_args=[] if config is None else config),
    }
    return SimpleNamespace(**{**facts, **changes})


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RulesPlan:
    """The plan of a dry run of a fresh experiment, in its folder."""
    monkeypatch.chdir(set_up(tmp_path / "experiment").folder)
    return Plans({"experiment": "tiny"}, Path("config"), snakemake()).first


def make(paths: list[Path]) -> None:
    """Make files."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def of_fits(plan: RulesPlan) -> list[Job]:
    """The fits of the generation, before the index."""
    return [job for job in plan.layout.early_jobs() if STAGES[job.rule].frozen]


def of_rows(plan: RulesPlan) -> list[Job]:
    """What is applied to the rows, before the index."""
    jobs = plan.layout.early_jobs()
    return [job for job in jobs if not STAGES[job.rule].frozen and job.rule != INDEX]


def flags(path: str) -> set[str]:
    """What Snakemake is told about an input."""
    return {name for name in ("ancient", "before_update") if is_flagged(path, name)}


def test_a_file_that_is_there_has_no_job_for_snakemake_to_look_at(plan: RulesPlan):
    """An input that is yet to be made is waited for, also where a file beside it is there."""
    shard, other, _ = plan.layout.shards
    make([plan.layout.file("encode_fit.encoder")])
    make([plan.layout.file("transform.table", shard=shard)])

    def taken(shard: str) -> dict[str, list[set[str]]]:
        found = plan.inputs(STAGES["encode"], {"shard": shard})
        return {name: [flags(path) for path in paths] for name, paths in found.items()}

    assert taken(shard)["table"] == [{"ancient", "before_update"}]
    assert taken(other)["table"] == [{"ancient"}]
    assert taken(shard)["encoder"] == [{"ancient"}]  # its fit is to run: the shapes are missing


def test_a_view_of_the_workflow_sees_every_job(plan: RulesPlan):
    """Where Snakemake is to look and not to run, what is there is asked for as well."""
    make(files_of(of_rows(plan)))
    plan.follow(snakemake(executor_plugin=None, dryrun=False), lambda _: None)

    assert plan.early_targets() == files_of(plan.layout.early_jobs())
    taken = plan.inputs(STAGES["encode"], {"shard": plan.layout.shards[0]})
    assert [flags(path) for path in taken["table"]] == [{"ancient"}]


@pytest.mark.parametrize("dryrun", [True, False])
def test_everything_again_leaves_the_generation_alone(plan: RulesPlan, dryrun):
    """--forceall runs all jobs but the fits that are there; a dry run of it shows all jobs."""
    fits, rows = files_of(of_fits(plan)), [*files_of(of_rows(plan)), plan.layout.index]
    make([*fits, *rows])
    plan.follow(
        snakemake(dag_settings=SimpleNamespace(forceall=True), dryrun=dryrun), lambda _: None
    )

    made = [each for each in plan.early_targets() if "before_update" not in flags(each)]
    assert set(made) == {*(fits if dryrun else []), *rows}
    taken = plan.inputs(STAGES["assign"], {"shard": plan.layout.shards[0]})
    assert flags(taken["assigner"][0]) == {"ancient"} | (set() if dryrun else {"before_update"})


def test_a_run_asks_for_what_is_missing_and_names_the_fits_that_are_there(plan: RulesPlan):
    """Before the index: both files of a job of which one is missing, and none of a complete one."""
    fits = files_of(of_fits(plan))
    make([*fits, *files_of(of_rows(plan))])
    shard = plan.layout.shards[0]

    def asked() -> list[str]:
        return [path for path in plan.early_targets() if path not in map(str, fits)]

    assert list(map(str, plan.early_targets())) == [str(plan.layout.index), *map(str, fits)]
    summary = plan.layout.file("assign.summary", shard=shard)
    summary.unlink()

    rows = plan.layout.file("assign.rows", shard=shard)
    distances = plan.layout.file("assign.distances", shard=shard)
    assert asked() == [rows, summary, distances, plan.layout.index]


def test_an_index_that_exists_is_taken_without_the_checkpoint(plan: RulesPlan):
    """Snakemake's checkpoint is asked only where the index, or a shard, is yet to be made."""
    make([plan.layout.file("assign.summary", shard=shard) for shard in plan.layout.shards])
    write_json(plan.layout.index, partition_index())

    assert plan.index() == partition_index()


def test_a_job_on_a_node_reads_the_settings_of_its_run(plan: RulesPlan):
    """Whatever has changed since: configuration, source files, code."""
    config: list[str] = []
    begun = Plans({"experiment": "tiny"}, Path("config"), snakemake(config)).first
    begun.write_records()
    shutil.rmtree("config")
    shutil.rmtree("data")
    (given,) = (each.split("=", 1) for each in config)

    job = Plans(dict([given]), Path("config"), snakemake(remote_exec=True)).first

    assert (job.layout, job.settings, job.run_file) == (
        begun.layout,
        begun.settings,
        begun.run_file,
    )
    assert (job.grid, job.shards, job.home) == (begun.grid, begun.shards, begun.home)


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
    config = {"experiment": "tiny", "overrides": overrides}
    planned = Plans(config, Path("config"), snakemake()).first

    assert len(placeholders(planned.settings)["partitions"]) == partitions


def test_what_takes_all_choices_lists_no_file_that_a_choice_waits_for(plan: RulesPlan):
    """The job that makes a choice waits for its candidates; once it is made, others must."""
    index = placeholders(plan.settings)
    first, *others = index["partitions"]

    def specialists() -> list[str]:
        return plan.inputs(STAGES["train_router"], {})["specialists"]

    assert specialists() == []

    make([plan.layout.choice(first)])
    assert others
    assert specialists() == list(map(str, plan.layout.candidates(first)))
    job, other = ({"partition": str(each["partition"]), "rows": ""} for each in (first, others[0]))
    assert plan.inputs(STAGES["ask"], job)["specialists"] == specialists()
    assert plan.inputs(STAGES["ask"], other)["specialists"] == []


def test_a_mistake_that_a_rules_function_finds_is_one_line(
    plan: RulesPlan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Snakemake would print a traceback; what is no mistake is left to it."""
    plans = Plans({"experiment": "tiny"}, Path("config"), snakemake())

    def taking(error: Exception) -> None:
        monkeypatch.setattr(RulesPlan, "inputs", lambda *_: (_ for _ in ()).throw(error))
        plans.inputs("split_fit")(Wildcards())

    with pytest.raises(SystemExit, match="2"):
        taking(CorruptError("a.json: not readable"))
    with pytest.raises(KeyError, match="absent"):
        taking(KeyError("absent"))

    assert capsys.readouterr().err == "shoal: error: a.json: not readable\n"
