"""Find and delete unreachable files."""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shoal.operate.reach import reach
from shoal.plan.paths import beside, parse, turn
from shoal.plan.run_file import FOLDER
from shoal.plan.running import refuse_while_running

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shoal.plan.plan import Plan

_GENERATION = re.compile(r"g\d+")
_TEMPORARY = re.compile(r"\.(\d+)-")


@dataclass(frozen=True)
class Part:
    """Files of one folder that nothing reaches.

    Attributes:
        folder: A generation's stage, or another folder of the results.
        files: How many.
        size: Bytes of all of them.
    """

    folder: Path
    files: int
    size: int


@dataclass(frozen=True)
class Garbage:
    """Unreachable files.

    Attributes:
        root: The experiment's results folder; nothing outside it is looked at.
        files: Files, in an order in which whatever is left at any time still has all that it was
            made from.
        folders: Folders that hold nothing else, inner ones first.
    """

    root: Path
    files: tuple[Path, ...]
    folders: tuple[Path, ...]

    def parts(self) -> list[Part]:
        """The files by folder, in order of name."""
        sizes: dict[Path, list[int]] = defaultdict(list)
        for path in self.files:
            inside = path.relative_to(self.root).parts
            depth = 2 if _GENERATION.fullmatch(inside[0]) else 1
            sizes[self.root.joinpath(*inside[:-1][:depth])].append(path.lstat().st_size)
        return [Part(folder, len(sizes[folder]), sum(sizes[folder])) for folder in sorted(sizes)]

    def remove(self) -> None:
        """Remove it.

        Raises:
            DataError: A run of the workflow is in progress, or was killed and left its lock.
        """
        refuse_while_running(self.root)
        for path in self.files:
            path.unlink(missing_ok=True)
        for folder in self.folders:
            with contextlib.suppress(OSError):  # something has come into it since
                folder.rmdir()


def find_garbage(plans: Sequence[Plan], keep: int) -> Garbage:
    """Files and folders of an experiment's generations that nothing reaches.

    See :mod:`shoal.operate.reach` for what is reached. Temporary files are garbage, wherever
    they lie in the results, once the process that wrote them is gone. Links are not followed, and
    neither they nor what lies behind them is ever garbage.

    Args:
        plans: The experiment's variants.
        keep: Number of releases that are kept, the current one among them.

    Raises:
        ShoalError: A record does not read, so what it refers to is unknown.
    """
    reached, root = reach(plans, keep), plans[0].root
    files = set()
    for path in _files(root):
        inside = path.relative_to(root)
        writer = _writer(inside)
        if writer is not None:
            unreached = not _lives(writer)
        else:
            unreached = _is_collected(inside) and not reached.covers(path)
        if unreached:
            files.add(path)
    folders = [
        folder
        for top in _folders(root)
        if _is_collected(top.relative_to(root))
        for folder in _emptied(top, files)
    ]
    ordered = sorted(files, key=lambda path: _turn(path.relative_to(root)))
    return Garbage(root, tuple(ordered), tuple(folders))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _folders(folder: Path) -> list[Path]:
    return [Path(entry.path) for entry in _entries(folder) if entry.is_dir(follow_symlinks=False)]


def _files(folder: Path) -> Iterator[Path]:
    """Files below a folder, not through links."""
    for entry in _entries(folder):
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path))
        elif entry.is_file(follow_symlinks=False):
            yield Path(entry.path)


def _is_collected(inside: Path) -> bool:
    """Whether a path lies in a generation, or among the settings files of runs."""
    return inside.parts[0] == FOLDER or _GENERATION.fullmatch(inside.parts[0]) is not None


def _writer(inside: Path) -> int | None:
    """Process that writes, or wrote, a temporary file; None for other files."""
    for part in inside.parts:
        found = _TEMPORARY.match(part)
        if found:
            return int(found[1])
    return None


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


def _emptied(folder: Path, files: set[Path]) -> list[Path]:
    """Folders, this one included, that hold nothing but these files; inner ones first."""
    found: list[Path] = []
    stays = False
    for entry in _entries(folder):
        path = Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            inner = _emptied(path, files)
            found += inner
            stays |= path not in inner[-1:]
        else:
            stays |= path not in files
    return found if stays else [*found, folder]


def _turn(inside: Path) -> tuple[tuple[float, ...], bool, str]:
    """Place in the order of removal: what is made last goes first.

    An output goes before the files beside it that it lists, so that it never stands for files that
    are gone.
    """
    place = parse(inside)
    listing = place or beside(inside)
    order = turn(listing) if listing else (math.inf,)
    return tuple(-each for each in order), place is None, str(inside)
