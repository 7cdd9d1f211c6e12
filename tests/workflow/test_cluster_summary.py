"""What is told of a run on Slurm, from recorded texts of Snakemake and sacct."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from shoal.operate.slurm import accounts as slurm_accounts
from shoal.operate.slurm.accounts import ask_accounts, parse_accounts
from shoal.operate.slurm.summary import cluster_page, cluster_summary, node_share, summarise_run
from shoal.plan.run_log import efficiency_report, submissions
from shoal.settings.compose import compose
from tests.report.test_evaluation import Reader
from tests.workflow.small import ROOT

LOG = """\
rule split:
    output: results/demo/g1/split/1/rows/1/digits-6.parquet
    log: logs/demo/g1/split/1/1/digits-6.log
    jobid: 10
    resources: tmpdir=<TBD>, node_class=cpu, slurm_partition=cpu, runtime=30, mem_mb=2000
Job 10 has been submitted with SLURM jobid 5 (log: /s/rule_split/5.log).
rule train_specialist:
    output: results/demo/g1/specialists/1/2/3/model.safetensors
    jobid: 77
    resources: tmpdir=<TBD>, node_class=gpu, slurm_partition=gpu, runtime=5, gpu=1
Job 77 has been submitted with SLURM jobid 78 (log: /s/rule_train_specialist/78.log).
Trying to restart job 77.
Job 77 has been submitted with SLURM jobid 80 (log: /s/rule_train_specialist/80.log).
Efficiency report for workflow a7fd9c45 saved to logs/efficiency_report_a7fd9c45.csv.
"""
SACCT = """\
5|cpu|COMPLETED|2026-11-21T17:00:56|2026-11-21T17:00:57|2026-11-21T17:01:09|1|1|2000M|30||billing=1,cpu=1,mem=2000M,node=1
5.batch||COMPLETED|2026-11-21T17:00:57|2026-11-21T17:00:57|2026-11-21T17:01:09|1|1|||184.51M|cpu=1,mem=2000M,node=1
5.0||COMPLETED|2026-11-21T17:01:00|2026-11-21T17:01:00|2026-11-21T17:01:06|1|1|||171.56M|cpu=1,mem=2000M,node=1
78|gpu|OUT_OF_MEMORY|2026-11-21T17:09:29|2026-11-21T17:09:32|2026-11-21T17:09:57|1|1|2000M|5||billing=1,cpu=1,gres/gpu=1,mem=2000M,node=1
78.batch||OUT_OF_MEMORY|2026-11-21T17:09:32|2026-11-21T17:09:32|2026-11-21T17:09:57|1|1|||1990.00M|cpu=1
80|gpu|COMPLETED|2026-11-21T17:10:09|2026-11-21T17:10:19|2026-11-21T17:40:19|1|1|4000M|10||billing=1,cpu=1,gres/gpu=1,mem=4000M,node=1
80.0||COMPLETED|2026-11-21T17:10:19|2026-11-21T17:10:19|2026-11-21T17:40:19|1|1|||2500.00M|cpu=1
"""


@pytest.fixture(scope="module")
def nodes():
    """Nodes of two cores and 8,000 MB; those of the class gpu with two GPUs, at a cost of 10."""
    return compose(ROOT / "config", "demo", []).nodes


@pytest.fixture
def summary(nodes):
    return cluster_summary(submissions(LOG), parse_accounts(SACCT.splitlines()), nodes)


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Puts a program first on PATH that answers as ``sacct``."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def put(script: str) -> None:
        (tmp_path / "sacct").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "sacct").chmod(0o755)

    return put


def test_attempts_are_read_with_rule_and_class_of_node():
    """A retry is another Slurm job of the same job."""
    found = [(each.job, each.slurm, each.rule, each.node_class) for each in submissions(LOG)]

    assert found == [
        ("10", "5", "split", "cpu"),
        ("77", "78", "train_specialist", "gpu"),
        ("77", "80", "train_specialist", "gpu"),
    ]


def test_the_efficiency_report_is_found():
    """The plugin says in the log where it wrote it."""
    assert efficiency_report(LOG) == Path("logs/efficiency_report_a7fd9c45.csv")
    assert efficiency_report("") is None


def test_a_job_has_the_memory_of_its_largest_step():
    """Slurm measures steps, and limits jobs."""
    first, failed, second = parse_accounts(SACCT.splitlines())

    assert (first.used_mb, failed.used_mb, second.used_mb) == (184.51, 1990.0, 2500.0)
    assert (first.waited, first.ran, first.asked_seconds, first.asked_mb) == (1, 12, 1800, 2000)
    assert (failed.state, failed.gpus) == ("OUT_OF_MEMORY", 1)


def test_memory_asked_for_each_core_or_node_is_that_of_the_job():
    """Older versions of Slurm mark it so."""
    line = SACCT.splitlines()[0].replace("|1|1|2000M|", "|2|8|500M{}|")

    sizes = [parse_accounts([line.replace("{}", mark)])[0].asked_mb for mark in ("c", "n", "")]

    assert sizes == [4000, 1000, 500]


def test_a_job_that_never_started_has_waited_and_run_for_an_unknown_time():
    """A pending job that was cancelled has no start."""
    line = "9|gpu|CANCELLED by 0|2026-11-21T17:09:29|Unknown|Unknown|1|1|2000M|UNLIMITED||"
    (job,) = parse_accounts([line])

    assert (job.state, job.waited, job.ran, job.asked_seconds) == ("CANCELLED", None, None, None)


def test_a_run_is_summed_up(summary):
    """Jobs, attempts, how they ended, and how long they waited."""
    assert (summary["jobs"], summary["attempts"], summary["retries"]) == (2, 3, 1)
    assert summary["states"] == {"COMPLETED": 2, "OUT_OF_MEMORY": 1}
    assert summary["waiting"] == {"sum": 14, "median": 3, "longest": 10}


def test_node_hours_are_shares_of_nodes_and_have_a_price(summary):
    """One of two cores, or of two GPUs, is half a node."""
    gpu = summary["classes"]["gpu"]

    assert summary["classes"]["cpu"]["node_hours"] == pytest.approx(0.5 * 12 / 3600)
    assert gpu["node_hours"] == pytest.approx(0.5 * 1825 / 3600)
    assert gpu["cost"] == pytest.approx(10 * gpu["node_hours"])


def test_the_scarcest_thing_decides_a_jobs_share(nodes):
    """A job with all the memory of a node keeps the node from others."""
    job = parse_accounts(SACCT.splitlines())[0]

    assert node_share(replace(job, asked_mb=8000.0), nodes.classes["cpu"]) == 1
    assert node_share(replace(job, nodes=3), None) == 3


def test_asked_and_used_are_compared_by_rule(summary):
    """The largest amounts, retries included."""
    rule = summary["rules"]["train_specialist"]

    assert (rule["jobs"], rule["attempts"]) == (1, 2)
    assert rule["seconds"] == {"asked": 600, "used": 1800}
    assert rule["memory_mb"] == {"asked": 4000, "used": 2500}


def test_a_requeued_job_is_a_retry(nodes):
    """Slurm starts it again under the same number."""
    lines = SACCT.splitlines()
    requeued = [lines[3].replace("OUT_OF_MEMORY", "PREEMPTED").replace("78|", "80|"), *lines[5:]]

    summary = cluster_summary(submissions(LOG)[2:], parse_accounts(requeued), nodes)

    assert (summary["jobs"], summary["attempts"], summary["retries"]) == (1, 2, 1)
    assert summary["states"] == {"COMPLETED": 1, "PREEMPTED": 1}


def test_without_accounting_the_log_alone_is_told(nodes, answer, tmp_path, capsys):
    """Jobs and retries are known, the rest is said to be unknown."""
    answer("echo 'Slurm accounting storage is disabled' >&2; exit 1")

    summarise_run(tmp_path, "demo", nodes, LOG)

    summary = json.loads((tmp_path / "cluster.json").read_text())
    assert (summary["jobs"], summary["retries"], summary["states"]) == (2, 1, {})
    assert summary["classes"]["gpu"] == {"attempts": 2, "cost": None, "node_hours": None}
    assert "Slurm accounting storage is disabled" in " ".join(capsys.readouterr().err.split())


def test_accounts_that_do_not_answer_are_not_waited_for(monkeypatch: pytest.MonkeyPatch, answer):
    """A controller that is down must not hold the end of a run."""
    monkeypatch.setattr(slurm_accounts, "_SECONDS", 0.2)
    answer("sleep 5")

    assert ask_accounts(["5"]) == ([], "sacct did not answer within 0.2 s")


def test_many_jobs_are_asked_for_in_parts(monkeypatch: pytest.MonkeyPatch):
    """A command line takes 128 KiB an argument."""
    asked = []

    def run(command, **_):
        asked.append(command[-1].split(","))
        return subprocess.CompletedProcess(command, 0, SACCT, "")

    monkeypatch.setattr(subprocess, "run", run)

    ask_accounts([str(number) for number in range(12_000)])

    assert [len(part) for part in asked] == [5000, 5000, 2000]


def test_the_page_shows_it_all_and_links_the_efficiency_report(nodes, answer, tmp_path, capsys):
    """One page of its own, with numbers by class and rule."""
    answer(f"cat <<'END'\n{SACCT}END")

    summarise_run(tmp_path, "demo", nodes, LOG)

    page = (tmp_path / "cluster.html").read_text()
    reader = Reader(page)
    for text in ("2 jobs on the cluster, 3 attempts", "1 OUT_OF_MEMORY", "10 min 00 s", "4,000 MB"):
        assert text in reader.text
    links = [value for name, value in reader.attributes if name == "href"]
    assert [Path(tmp_path, link).resolve() for link in links] == [
        Path("logs/efficiency_report_a7fd9c45.csv").resolve()
    ]
    said = " ".join(capsys.readouterr().err.split())
    assert "2 jobs on the cluster, 3 attempts" in said
    assert "failures: 1 OUT_OF_MEMORY" in said


def test_names_on_the_page_are_escaped(summary):
    """What comes from settings or Slurm is text."""
    content = summary | {"accounting": "<b>", "efficiency_report": None}

    page = cluster_page("<script>", content)

    assert "<script>" not in page
    assert "<b>)" not in page
