"""One Snakemake per job on a node, where the Slurm plugin would start two."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snakemake_executor_plugin_slurm import Executor

if TYPE_CHECKING:
    from collections.abc import Callable


def start_snakemake_once() -> None:
    """Have the Snakemake that a job begins with run the job's command itself.

    The plugin has it start ``srun`` with a Snakemake of its own, which places several tasks or
    those of MPI. A job of Shoal's is one task, which has all that was allocated as it is. Arrays of
    jobs need the plugin's way, since their first Snakemake finds out which job a task is.

    Call it in the process that submits jobs, before the first.
    """
    theirs: Callable[[Executor], str] = Executor.additional_general_args

    def arguments(self: Executor) -> str:
        return theirs(self) if self.array_jobs else ""

    Executor.additional_general_args = arguments
