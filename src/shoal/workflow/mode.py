"""Modes of Snakemake: to run, to plan, or to look."""

from __future__ import annotations

from enum import Enum
from typing import Any


class Mode(Enum):
    """Mode in which the target rule is asked.

    ``MISSING``: what is missing, as a run makes it. ``LOOKS``: everything, for views such as
    ``--dag``, ``--summary`` and ``--report``, and for a dry run with ``--forceall``. ``AGAIN``:
    everything but what is frozen with the generation, for a run with ``--forceall``.
    """

    MISSING = "missing"
    LOOKS = "looks"
    AGAIN = "again"


def mode_of(workflow: Any) -> Mode:  # noqa: ANN401 - Snakemake's object
    """The mode of a process; not known before the Snakefile is read.

    A view builds the DAG without an executor.
    """
    if workflow.executor_plugin is None:
        return Mode.LOOKS
    if workflow.is_main_process and workflow.dag_settings.forceall:
        return Mode.LOOKS if workflow.dryrun else Mode.AGAIN
    return Mode.MISSING
