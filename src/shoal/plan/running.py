"""Whether a run of the workflow is in progress that needs an experiment's results."""

from __future__ import annotations

from pathlib import Path

from shoal.errors import DataError
from shoal.formats.files import hold, is_held

_HELD = ".running"
_LOCKS = Path(".snakemake", "locks")


def announce(root: Path) -> None:
    """Hold an experiment's results until this process ends, however it does.

    Args:
        root: The experiment's results folder.
    """
    hold(root / _HELD)


def is_running(root: Path) -> bool:
    """Whether a process that lives holds an experiment's results.

    Args:
        root: The experiment's results folder.
    """
    return is_held(root / _HELD)


def has_stale_lock(results: Path) -> bool:
    """Whether Snakemake's lock is in the current folder, and no run of any experiment lives.

    Args:
        results: The folder of all experiments' results.
    """
    locked = _LOCKS.is_dir() and any(_LOCKS.iterdir())
    return locked and not any(map(is_running, results.glob("*")))


def refuse_while_running(root: Path) -> None:
    """Leave everything as it is while a run may need it, wherever the command was started.

    Two things are looked at: what :func:`announce` holds, and Snakemake's locks in each folder
    above the results. The latter also stay when a run is killed while its jobs go on.

    Args:
        root: The experiment's results folder.

    Raises:
        DataError: A run of the workflow is in progress, or was killed and left its lock.
    """
    if is_running(root):
        raise DataError(f"{root}: a run of the workflow is in progress, nothing was removed")
    for folder in dict.fromkeys([*root.absolute().parents, *root.resolve().parents]):
        locks = folder / _LOCKS
        if locks.is_dir() and any(locks.iterdir()):
            raise DataError(
                f"{locks}: a run of the workflow is in progress, nothing was removed; if it was "
                f"killed, `snakemake --unlock` first"
            )
