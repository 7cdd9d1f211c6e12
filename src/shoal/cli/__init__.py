"""The command line: one command a rule, and those that people call themselves."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from shoal.errors import ShoalError
from shoal.terminal import leave

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def main() -> None:
    """Run the command line; a user's mistake is one line and exit code 2."""
    sys.path.insert(0, str(Path.cwd()))
    # Before torch is imported: its products round by a row's place on some processors otherwise.
    os.environ.setdefault("MKL_CBWR", "AVX2")
    if "--threads" in sys.argv[:-1]:
        threads = sys.argv[sys.argv.index("--threads") + 1]
        os.environ.update(dict.fromkeys(_THREAD_VARIABLES, threads))
    from shoal.cli.commands import STAGE_COMMANDS, app

    arguments = sys.argv[1:]
    if arguments and arguments[0] in STAGE_COMMANDS:
        arguments = _repeated(arguments)
    try:
        app(arguments)
    except ShoalError as error:
        leave([str(error)], error.code)
    except OSError as error:
        if error.errno is None:
            raise
        place = f"{error.filename}: " if error.filename else ""
        leave([f"{place}{error.strerror}"])


def _repeated(arguments: list[str]) -> list[str]:
    """``--table a b`` as ``--table a --table b``: Snakemake lists a rule's files with spaces.

    An option whose list is empty is left out.
    """
    spelled, option = arguments[:1], ""
    for argument in arguments[1:]:
        if argument.startswith("--"):
            option = argument
        else:
            spelled += [option, argument]
    return spelled
