"""Documents of results and of pools, and what reads them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from shoal.explore.query.tables import TABLES
from shoal.formats.hashing import file_hash
from shoal.formats.shapes import Shapes
from shoal.formats.tables import Columns
from shoal.plan.history import History
from shoal.sources.shards import declare_names
from tests.fuzz.harness import Case, Target, run_command
from tests.fuzz.material import EXPERIMENT, POOLS, RESULTS, lay_out, predict, sealed
from tests.fuzz.mutate import spoiled_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from random import Random

Reader = tuple[str, ...]

ALWAYS: tuple[Reader, ...] = (("plan", "tiny"), ("audit", "tiny"), ("gc", "tiny"), ("query",))
OFTEN: dict[str, tuple[Reader, ...]] = {
    "drift.json": (("verdict", RESULTS), ("plan", "tiny"), ("audit", "tiny")),
    "metrics.json": (("verdict", RESULTS), ("query",), ("audit", "tiny")),
    "pool/manifest.json": (("verdict", RESULTS), ("query",), ("audit", "tiny")),
    "models/": (
        ("models", "log", RESULTS),
        ("models", "show", RESULTS, "0"),
        ("gc", "tiny", "--keep-models", "1"),
        ("models", "fsck", RESULTS),
        ("gc", "tiny"),
    ),
    "store/": (("models", "log", RESULTS), ("models", "fsck", RESULTS), ("audit", "tiny")),
    "history.jsonl": (*ALWAYS, ("models", "log", RESULTS)),
    "data/": (("plan", "tiny"), ("audit", "tiny")),
    "columns.json": (("columns",),),
    "shapes.json": (("shapes",),),
}
"""Commands that read a document, by a part of its path; the first that fits counts."""

CODES = {"audit": (0, 1), "models": (0, 1)}
"""Of commands that say by code 1 that something is damaged."""


class Documents(Target):
    """Every JSON document of a pool or of results."""

    share = 0.2

    def __init__(self, material: Path, folder: Path) -> None:
        lay_out(material, folder)
        sources = sorted((folder / "data").glob("*.csv"))
        declare_names({path: file_hash(path)[:12] for path in sources})  # as they are named now
        super().__init__(folder)
        in_results = [
            path
            for path in self.before
            if path.suffix in (".json", ".jsonl") and "pool" not in path.parts
        ]
        self.documents = [*in_results, folder / EXPERIMENT / "pool" / "manifest.json"]

    def case(self, rng: Random) -> Case:
        """A document of a pool that is loaded, or one that a command reads."""
        if rng.random() < 0.7:
            return self._of_pool(rng)
        path = rng.choice(self.documents)
        content = spoiled_json(rng, self.before[path], self._another(rng))
        name = str(path.relative_to(self.folder))
        readers = next((each for part, each in OFTEN.items() if part in name), ALWAYS)
        return Case({path: content}, _reader(rng, rng.choice(readers), path))

    def _of_pool(self, rng: Random) -> Case:
        pool = self.folder / rng.choice(POOLS)
        path = rng.choice([path for path in self.before if _is_of(path, pool)])
        content = spoiled_json(rng, self.before[path], self._another(rng))
        return Case(sealed(pool, {path.name: content}), partial(predict, pool))

    def _another(self, rng: Random) -> bytes:
        return self.before[rng.choice(self.documents)]


def _is_of(path: Path, pool: Path) -> bool:
    return path.parent == pool and path.suffix == ".json" and path.name != "manifest.json"


def _reader(rng: Random, reader: Reader, path: Path) -> Callable[[], Any]:
    if reader == ("columns",):
        return partial(Columns.load, path)
    if reader == ("shapes",):
        return partial(Shapes.load, path)
    if path.name == "history.jsonl" and rng.random() < 0.5:
        return lambda: History(path.parent).entries
    arguments = reader
    if reader == ("query",):
        arguments = ("query", RESULTS, f"SELECT * FROM {rng.choice(sorted(TABLES))}")
    return partial(run_command, *arguments, codes=CODES.get(reader[0], (0,)))
