"""The command line: one command per rule, and those that people call themselves."""

from __future__ import annotations

import atexit
import gc
import os
import sys

from shoal.terminal import command
from shoal.training.determinism import VARIABLE, usual_kernels

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def main() -> None:
    """Run the command line; see :func:`shoal.terminal.command` for how it ends."""
    os.environ.setdefault(VARIABLE, usual_kernels())
    _spare_collections()
    if "--threads" in sys.argv[:-1]:
        threads = sys.argv[sys.argv.index("--threads") + 1]
        os.environ.update(dict.fromkeys(_THREAD_VARIABLES, threads))
    with command():
        arguments = sys.argv[1:]
        stage = stage_of(arguments[0]) if arguments else None
        if stage:
            from shoal.cli.stage_command import run_stage

            run_stage(stage, arguments[1:])
            return
        from shoal.cli.commands import run

        code = run(arguments)
        sys.stdout.flush()  # there may be no room, or no reader, for what it holds
        raise SystemExit(code)


def _spare_collections() -> None:
    """Have Python look less often for unused objects that refer to each other, and not at its end.

    Imports make hundreds of thousands of objects that stay: to look through them at the usual
    intervals, and once more at the end, takes a third of the time that torch's import takes.
    """
    gc.set_threshold(100_000, 50, 50)
    atexit.register(gc.freeze)


def command_of(stage: str) -> str:
    """Name of the command that does a stage's jobs; ``shoal pool`` is for people."""
    return "pool-build" if stage == "pool" else stage.replace("_", "-")


def stage_of(name: str) -> str | None:
    """Name of the stage whose jobs a command does; None for one that people call."""
    from shoal.plan.stages import STAGES

    return {command_of(stage): stage for stage in STAGES}.get(name)
