"""The settings file of a run, ``settings/HASH.json``: what its jobs read instead of composing.

A run writes one per variant before its first job, and no run ever changes it: it is named by a
hash of its content. A job is told which one is its own, so a later run with other settings, other
source files or other code does not reach it. It holds no value of the environment: settings refer
to each other and to facts of the data alone (:mod:`shoal.settings.references`).
"""

from __future__ import annotations

import contextlib
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from shoal.errors import ShoalError
from shoal.formats.documents.plan import RunRecord
from shoal.formats.hashing import canonical_json, settings_id
from shoal.formats.json_file import read_json, read_made, write_json
from shoal.plan.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shoal.formats.documents.choice import Point
    from shoal.search.steps import Steps
    from shoal.settings.data import ArraySource

RUNS = "runs"
"""Snakemake's ``config`` holds under this name the settings files of plans that are made."""

FOLDER = "settings"
"""Folder of these files, in an experiment's results; variants share it."""


def run_id(record: RunRecord) -> str:
    """Identity of a run: a hash of all that its jobs read."""
    return settings_id(record)


def run_file(root: Path, record: RunRecord) -> Path:
    """Where the record of a run lies.

    Args:
        root: The experiment's results folder.
        record: What the run's jobs read.
    """
    return root / FOLDER / f"{run_id(record)}.json"


def write_once(path: Path, content: object) -> None:
    """Write a document where it is not there already; one that does not read is replaced."""
    with contextlib.suppress(ShoalError):
        if canonical_json(read_json(path, dict[str, Any])) == canonical_json(content):
            return
    write_json(path, content)


class RunFile:
    """A settings file, read; sections of the settings are looked at when they are asked for.

    Attributes:
        path: Where it lies.
        record: Its content.
    """

    def __init__(self, path: Path) -> None:
        """Read it.

        Raises:
            SourceError: There is no such file.
            CorruptError: It is no settings file.
        """
        self.path = path
        self.record = read_made(path, RunRecord)

    @cached_property
    def layout(self) -> Layout:
        """Where the run's files lie."""
        return Layout.from_json(self.record["plan"]["layout"])

    def section(self, name: str) -> Any:  # noqa: ANN401 - the section's own type
        """A section of the settings.

        Raises:
            SettingsError: A value is not what the section allows.
        """
        from shoal.settings import Settings, parse

        kind = get_type_hints(Settings, include_extras=True)[name]
        return parse(kind, self.record["plan"]["settings"][name], name)

    @property
    def points(self) -> Mapping[str, Point]:
        """Values of the grid points that are known before anything has run, by id."""
        return {point: self.record["points"][point] for point in self.layout.points}

    @property
    def steps(self) -> Steps:
        """The steps of each partition's search."""
        from shoal.search.steps import Steps

        return Steps.from_json(self.record["search"])

    def source(self, shard: str) -> tuple[Path, ArraySource | None]:
        """The source file of a shard, with its array names where it has such.

        Raises:
            SettingsError: The array names are none.
        """
        source = self.record["sources"][shard]
        if source["arrays"] is None:
            return Path(source["path"]), None
        from shoal.settings import parse
        from shoal.settings.data import ArraySource

        return Path(source["path"]), parse(ArraySource, source, "arrays")
