"""The warm server's commands behave as the real programs do."""

import contextlib
import hashlib
import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from shoal.formats.json_file import write_json
from tests.documents import run_record
from tests.workflow.small import set_up
from tests.workflow.warm import Server

RULES = """\
rule slow:
    output: "slow"
    shell: "shoal transform --settings run.json --shard s || echo failed > {output}"

rule strict:
    output: "strict"
    shell: "shoal transform --settings run.json --shard s"
"""

WAIT = "shoal transform"
"""A command that hashes its inputs, and so waits where one is a pipe that nobody writes to."""


def wait(shard="s"):
    """The command, for a shard; it ends with exit code 2, since the fitted steps are absent."""
    return (*WAIT.split(), "--settings", "run.json", "--shard", shard)


@pytest.fixture
def server(warm):
    """The server of all tests, with nothing that runs."""
    warm.kill_all()
    return warm


@pytest.fixture
def waiting(tmp_path):
    """A folder where :func:`wait` waits for its table."""
    os.mkfifo(tmp_path / "pipe")
    record = run_record("0")
    compute = {"threads": 1, "checkpoint_seconds": 0, "memory": 10**9}
    record["plan"]["settings"] = {"compute": compute}
    layout = record["plan"]["layout"]
    layout |= {
        "refreshed": False,
        "fits": {"split": "0", "transform": "0"},
        "made": {"split": "0", "transform": "0"},
    }
    write_json(tmp_path / "run.json", record)
    tables = tmp_path / "results" / "tiny" / "g1" / "split" / "0" / "rows" / "0"
    tables.mkdir(parents=True)
    for shard in "abs":
        (tables / f"{shard}.parquet").symlink_to(tmp_path / "pipe")
    (tmp_path / "Snakefile").write_text(RULES)
    return tmp_path


@pytest.fixture
def start(server, waiting):
    """Starts a command there, a warm one unless told; all end with the test."""
    started = []

    def make(*command, environment=None):
        process = subprocess.Popen(
            command,
            cwd=waiting,
            env=environment or server.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        started.append(process)
        return process

    yield make
    server.kill_all()
    for process in started:
        process.wait(30)


@contextlib.contextmanager
def reader(folder):
    """Wait until a command reads the table, and keep it reading; then the table ends."""
    pipes = []

    def opened():
        with contextlib.suppress(OSError):  # nobody reads yet
            pipes.append(os.open(folder / "pipe", os.O_WRONLY | os.O_NONBLOCK))
        return pipes

    until(opened)
    yield
    os.close(pipes[0])


def until(condition):
    """Wait until something is so, half a minute at most."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def shoals(server):
    """Number of commands that wait."""
    return sum(line.startswith(WAIT) for line in server.served())


def both_ways(server, folder, *command, **variables):
    """Outcome of a command in a real process and in a warm one."""
    return [
        subprocess.run(
            command, cwd=folder, env=env | variables, capture_output=True, text=True, check=False
        )
        for env in (os.environ, server.environment())
    ]


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("shoal", "--help"), 0),
        (("shoal", "verdict", "absent"), 2),
        (("shoal", "verdict"), 2),
        (("snakemake", "--version"), 0),
        (("snakemake", "--cores", "1", "--snakefile", "absent"), 1),
    ],
)
def test_a_warm_command_says_and_returns_what_a_cold_one_does(server, tmp_path, command, code):
    """Both streams and the exit code are the real program's."""
    cold, hot = both_ways(server, tmp_path, *command)

    assert (hot.returncode, hot.stdout, hot.stderr) == (code, cold.stdout, cold.stderr)
    assert cold.returncode == code


def test_an_error_in_a_snakefile_is_told_alike(server, tmp_path):
    """What Snakemake says of it, and its exit code, are those of the real program."""
    (tmp_path / "Snakefile").write_text("raise RuntimeError('broken')\n")

    cold, hot = both_ways(server, tmp_path, "snakemake", "--cores", "1")

    assert (cold.returncode, hot.returncode) == (1, 1)
    assert hot.stderr.splitlines()[-1] == cold.stderr.splitlines()[-1]
    assert "broken" in hot.stderr


def test_a_command_for_another_python_path_gets_a_python_of_its_own(server, tmp_path):
    """What Python reads when it starts counts, although the server has started long ago."""
    (tmp_path / "shoal").mkdir()
    (tmp_path / "shoal" / "__init__.py").touch()
    (tmp_path / "shoal" / "cli.py").write_text("def main():\n    print('another')\n")

    _, hot = both_ways(server, tmp_path, "shoal", PYTHONPATH=str(tmp_path))

    assert (hot.returncode, hot.stdout) == (0, "another\n")


def test_a_warm_workflow_starts_in_its_own_folder(server, waiting):
    """Snakemake notes its folder when it is imported; a warm one notes that of the command."""
    _, hot = both_ways(server, waiting, "snakemake", "-c", "1", "--touch", "slow")

    assert hot.returncode == 0
    logs = [path.read_text() for path in (waiting / ".snakemake" / "log").iterdir()]
    assert [f"Run directory: {waiting}\n" in text for text in logs] == [True, True]


def files(folder: Path) -> dict[str, str]:
    """Hash of every result that is promised to be the same bits; ledgers are not."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.suffix in {".safetensors", ".zip", ".parquet"}
        or path.name in {"index.json", "settings.json"}
    }


@pytest.mark.long
def test_a_warm_run_has_the_bits_of_a_cold_one(finished, tmp_path):
    """A whole experiment gives the same weights, tables and index through the warm server."""
    alone = set_up(tmp_path / "experiment")

    alone.run()

    hot, cold = (files(each.folder / "results") for each in (finished, alone))
    assert any(name.endswith("model.safetensors") for name in cold)
    assert hot == cold
    assert alone.run() == []


def test_commands_run_side_by_side(server, start):
    """One command may wait while others start and end."""
    first = start(*wait())
    until(lambda: shoals(server) == 1)

    second = start("shoal", "--help")

    assert second.wait() == 0
    assert first.poll() is None
    assert server.served() == [" ".join(wait())]


def test_a_signal_to_a_command_reaches_it(server, start, waiting):
    """A stand-in hands signals on and ends as the program does."""
    codes = []
    for environment in (os.environ, server.environment()):
        command = start(*wait(), environment=environment)
        with reader(waiting):
            command.send_signal(signal.SIGTERM)
            codes.append(command.wait())

    assert codes[0] == codes[1] != 0
    assert server.served() == []


def test_one_command_is_killed_by_its_line(server, start, waiting):
    """``kill`` ends the command that it names, by SIGKILL, and no other."""
    commands = [start(*wait(n)) for n in "ab"]
    for name in "ab":
        (waiting / name).mkdir()
    until(lambda: shoals(server) == 2)

    assert server.kill(" ".join(wait("b")))

    assert commands[1].wait() == -signal.SIGKILL
    assert commands[0].poll() is None
    assert not server.kill(" ".join(wait("b")))


def test_a_killed_workflow_leaves_its_job_to_finish(server, start, waiting):
    """SIGKILL of the workflow alone makes its job an orphan, which writes its result."""
    workflow = start("snakemake", "-c", "1", "slow")
    with reader(waiting):
        workflow.kill()
        until(lambda: server.served() == [" ".join(wait())])

    until((waiting / "slow").exists)


def test_a_killed_job_fails_its_workflow(server, start):
    """The workflow sees a job's death as it would see a real one's."""
    workflow = start("snakemake", "-c", "1", "strict")
    until(lambda: shoals(server) == 1)

    server.kill(WAIT)

    assert workflow.wait() == 1
    assert server.served() == []


def test_after_a_power_cut_nothing_runs(server, start):
    """``kill_all`` ends the workflow, its shell and its job before it returns."""
    workflow = start("snakemake", "-c", "1", "slow")
    until(lambda: shoals(server) == 1)
    children = psutil.Process(server.pid).children(recursive=True)

    server.kill_all()

    assert len(children) > 3
    assert not any(child.is_running() for child in children)
    assert workflow.wait() == -signal.SIGKILL
    assert server.served() == []


def test_the_end_of_the_server_is_the_end_of_its_commands(start, tmp_path, shared):
    """Leaving the context leaves no process behind, orphans included."""
    with Server(tmp_path / "another", shared) as server:
        workflow = start("snakemake", "-c", "1", "slow", environment=server.environment())
        until(lambda: shoals(server) == 1)
        workflow.kill()
        children = psutil.Process(server.pid).children(recursive=True)

    assert len(children) > 2
    assert not any(child.is_running() for child in children)


def test_a_server_that_cannot_start_says_why(tmp_path, shared):
    """A folder whose name is too long for a socket ends in an error with the server's log."""
    with (
        pytest.raises(RuntimeError, match="path too long"),
        Server(tmp_path / ("long" * 30), shared),
    ):
        pass
