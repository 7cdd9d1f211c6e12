"""What is read from Snakemake's log of a run."""

from pathlib import Path

from shoal.plan.failures import failed_specialists
from shoal.plan.run_log import failed_jobs

FAILED = """\
Error in rule train_specialist:
    message: SLURM-job '17' failed, SLURM status is: 'OUT_OF_MEMORY'. Reason: Unknown.
    jobid: 12
    input: results/tiny/g1/base/1/base.safetensors
    output: results/a/model.safetensors, results/a/ledger.json
    log: logs/a.log, /home/u/17.log (check log file(s) for error details)
    shell:
        shoal train-specialist --point '{"lr":0.1}' &> logs/a.log
        (command exited with non-zero exit code)
    external_jobid: 17
"""


def test_a_failed_job_is_read_with_its_files_log_and_state():
    """Rule, outputs, its own log and what Slurm says come from one block."""
    (job,) = failed_jobs(FAILED)

    assert job.rule == "train_specialist"
    assert job.outputs == (Path("results/a/model.safetensors"), Path("results/a/ledger.json"))
    assert (job.log, job.state) == (Path("logs/a.log"), "OUT_OF_MEMORY")


def test_a_job_whose_further_attempt_goes_well_has_not_failed():
    """Only the last attempt counts."""
    again = f"{FAILED}Trying to restart job 12.\n"

    assert failed_jobs(again) == []
    assert len(failed_jobs(again + FAILED)) == 1


def test_a_run_that_a_person_stops_has_no_failed_jobs():
    """A job that is stopped with the run looks like one that failed."""
    stopped = "Terminating processes on user request, this might take some time.\n"

    assert failed_jobs(FAILED + stopped) == []


def test_logs_that_are_shown_within_are_no_part_of_it():
    """A job on Slurm has a Snakemake of its own, which is stopped when Slurm stops the job."""
    line = "=" * 40
    inner = f"{FAILED.replace('12', '0')}Terminating processes on user request, wait.\n"
    shown = f"{FAILED}Logfile /home/u/17.log:\n{line}\n\n{inner}{line}\nLogfile b.log: empty file\n"

    (job,) = failed_jobs(shown)

    assert job.state == "OUT_OF_MEMORY"
    assert failed_jobs(f"{shown}Trying to restart job 12.\n{shown}") == [job]


def test_members_that_failed_in_a_pack_are_failures_of_their_own(tmp_path: Path):
    """A pack's log names each, with its reason and its log; those that trained are none."""
    log = tmp_path / "pack.log"
    folder = "results/x/g1/specialists/s"
    log.write_text(
        f"{folder}/a1/0/p1: done in 1.0 s\n"
        f"{folder}/b2/0/p1: failed, the loss is nan; its log: logs/b2.log\n"
    )
    text = (
        "Error in rule train_pack:\n    jobid: 3\n    output: results/x/g1/packs/s/0.json\n"
        f"    log: {log} (check log file(s) for error details)\n\n"
    )

    (failed,) = failed_specialists(failed_jobs(text))

    assert failed == {
        "folder": f"{folder}/b2/0/p1",
        "identity": "s",
        "digest": "b2",
        "step": "0",
        "slot": "p1",
        "reason": "the loss is nan",
        "log": "logs/b2.log",
    }
