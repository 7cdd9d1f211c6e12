"""Releases of an experiment: the current one, those before it, and the generation."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from shoal.formats.documents.plan import Generation, Release
from shoal.formats.files import append_line
from shoal.formats.hashing import canonical_json
from shoal.formats.json_file import parse_json, read_json, read_made, write_json
from shoal.plan.run_file import FOLDER

if TYPE_CHECKING:
    from pathlib import Path

GENERATION = "generation.json"
HISTORY = "history.jsonl"
PUBLISHED = "published"
STORE = "store"
"""Folder of the model store, in an experiment's results."""


@dataclass(frozen=True)
class History:
    """The records beside an experiment's results.

    Attributes:
        root: The folder of what it publishes.
        experiment: The experiment's results folder, if that is another one, as for a variant.
    """

    root: Path
    experiment: Path | None = None

    @property
    def current(self) -> Release | None:
        """Record of the published release; None before the first, or while one is published."""
        for path in sorted((self.root / PUBLISHED).glob("[!.]*.json")):
            return read_made(path, Release)
        return None

    @property
    def last(self) -> Release | None:
        """The published release; while none is, as after a crash, the last one of the history."""
        return self.current or next(reversed(self.entries), None)

    def run_file(self, release: Release) -> Path | None:
        """The settings file of the run that made a release; None where the record names none."""
        run = release.get("run")
        return (self.experiment or self.root) / FOLDER / f"{run}.json" if run is not None else None

    def lines_with(self, name: str, value: object) -> list[str]:
        """Lines in which a key has this value, as :meth:`publish` writes them; none is parsed."""
        try:
            lines = (self.root / HISTORY).read_text(errors="replace").split("\n")
        except FileNotFoundError:
            return []
        said = f'"{name}":{canonical_json(value)}'
        return [line for line in lines if said in line]

    @property
    def entries(self) -> list[Release]:
        """Records of all releases, the oldest first; a line cut short by a crash is left out."""
        try:
            lines = (self.root / HISTORY).read_text(errors="replace").split("\n")
        except FileNotFoundError:
            return []
        entries = []
        for number, line in enumerate(lines, 1):
            try:
                json.loads(line)
            except (ValueError, RecursionError):
                continue
            place = f"{self.root / HISTORY}: line {number}"
            entries.append(parse_json(line, place, Release))
        return entries

    def last_of(self, generation: str) -> Release | None:
        """Record of a generation's last release, whatever others have been published since.

        Also where a crash left nothing that is said to be published.

        Args:
            generation: Name of its folder.
        """
        current = self.current
        if current is not None and current["layout"]["generation"] == generation:
            return current
        own = (e for e in reversed(self.entries) if e["layout"]["generation"] == generation)
        return next(own, None)

    def withdraw(self) -> None:
        """Say that nothing is published: what is published next may be half copied."""
        for path in (self.root / PUBLISHED).glob("*.json"):
            path.unlink()

    def publish(self, record: dict[str, Any]) -> None:
        """Append a release, and the time if it has none, to the history; say it is published."""
        record = {"published": now_text(), **record}
        append_line(self.root / HISTORY, json.dumps(record, sort_keys=True, separators=(",", ":")))
        write_json(self.root / PUBLISHED / f"{record['release']}.json", record)

    @property
    def generation(self) -> int:
        """The generation that ``shoal refit`` started last; 1 before it was ever called."""
        path = self._generation
        return int(read_json(path, Generation)["generation"]) if path.exists() else 1

    def start_generation(self, number: int) -> None:
        """Make ``number`` the generation that runs take unless their settings name one."""
        write_json(self._generation, {"generation": number})

    @property
    def _generation(self) -> Path:
        return (self.experiment or self.root) / GENERATION


def now_text() -> str:
    """The time, UTC, as records have it."""
    return datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="seconds")
