"""The command line as a whole."""

import os
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from shoal.cli import command_of
from shoal.cli.commands import run
from shoal.errors import SettingsError
from shoal.plan.stages import STAGES


def shoal(
    *arguments: str, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["shoal", *arguments],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_version_is_the_packages():
    """`shoal --version` needs no command."""
    assert shoal("--version").stdout == f"shoal {version('shoal')}\n"


@pytest.mark.parametrize(
    "command",
    [
        ["refit"],
        ["gc"],
        ["models", "keep"],
        ["models", "tag"],
        ["models", "import"],
        ["models", "rebase"],
        ["models", "forget"],
        ["intermediates", "keep"],
    ],
)
def test_what_changes_or_deletes_has_no_default_experiment(command: list[str]):
    """A missing one is one line, and exit code 2 as for every mistake."""
    with pytest.raises(SettingsError) as caught:
        run(command)

    path = " ".join(["shoal", *command])
    assert str(caught.value) == f"Missing argument 'EXPERIMENT' (see `{path} --help`)"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["gcc"], "No such command 'gcc'. Did you mean 'gc'?"),
        (["pool", "log", "demo"], "No such command 'pool'"),
        (["gc", "demo", "--keep", "0"], "Invalid value for '--keep'"),
        (["gc", "demo", "--kep", "1"], "No such option: --kep"),
    ],
)
def test_a_slip_in_the_command_line_is_one_line(command: list[str], said: str):
    """It names the slip, and where to read on."""
    with pytest.raises(SettingsError, match=re.escape(said)) as caught:
        run(command)

    assert re.search(r" \(see `shoal.* --help`\)$", str(caught.value))


def test_the_process_ends_with_that_line():
    """On standard error, with exit code 2."""
    ended = shoal("gc")

    assert (ended.returncode, ended.stdout) == (2, "")
    line = "shoal: error: Missing argument 'EXPERIMENT' (see `shoal gc --help`)\n"
    assert ended.stderr == line


def test_the_shell_completes_commands_and_experiments(tmp_path: Path):
    """Names are those of the project's and the package's settings, and of results."""
    for folder in ("config/experiment", "results/mine-too"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "config" / "experiment" / "mine.yaml").write_text("name: mine\n")

    def completed(line: str) -> set[str]:
        word = str(len(line.split()) - (not line.endswith(" ")))
        asked = {"_SHOAL_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": word}
        return set(shoal(cwd=tmp_path, **asked).stdout.split())

    assert {"plan", "models"} <= completed("shoal ")
    assert not completed("shoal ") & set(map(command_of, STAGES))
    assert completed("shoal plan mine") == {"mine", "mine-too"}
    assert completed("shoal models log d") == {"demo"}
