"""A pool's manifest: its files, what they hold, and one digest over all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from shoal.errors import CorruptError, nearest
from shoal.formats.documents.choice import Point
from shoal.formats.documents.ledger import MadeFrom
from shoal.formats.hashing import json_hash
from shoal.formats.json_file import parse_json, read_json
from shoal.formats.stored import Stored, as_kind, naming
from shoal.settings.learning import Model
from shoal_edge.models import GRAPH

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = 4
MANIFEST = "manifest.json"
GENERALIST_FILE = "generalist.safetensors"
STATE_FILES = (
    "columns.json",
    "transform.json",
    "encoder.safetensors",
    "shapes.json",
    "embedder.safetensors",
    "router.safetensors",
    "base.safetensors",
    "gate.json",
    "ledger.json",
)
"""Files of every pool, besides the manifest."""

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def specialist_file(partition: int) -> str:
    """Name of a specialist's file in a pool."""
    return f"specialists/{partition}.safetensors"


class ChosenPoint(Stored):
    """The grid point that was chosen for a partition."""

    id: str
    values: Point


class Specialist(Stored):
    """One specialist of a pool.

    Attributes:
        partition: Its partition.
        file: Its file's name.
        digest: Digest of the rows that it was trained on.
        validation: Digest of the rows by which it was chosen.
        point: Its grid point.
    """

    partition: NonNegativeInt
    file: str
    digest: str
    validation: str | None
    point: ChosenPoint


class Lack(Stored):
    """Specialists that a pool lacks because training failed, see :mod:`shoal.pool.incomplete`."""

    partition: NonNegativeInt
    specialist: bool
    points: list[str]
    reasons: list[str]


class Manifest(Stored):
    """Facts of a pool, and the SHA-256 of each of its files, by name.

    Names are those that a pool's files have and no others: none leads out of the folder. Rows that
    agree in the column ``route_by`` share a route.
    """

    format: Literal[4]
    shoal: str
    experiment: str
    generation: PositiveInt
    model: Model
    route_by: str | None
    rows: str
    partitions: NonNegativeInt
    specialists: list[Specialist]
    incomplete: list[Lack]
    files: dict[str, Digest]
    made_from: MadeFrom | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        numbers = [entry.partition for entry in self.specialists]
        for place, entry in enumerate(self.specialists):
            name, expected = f"specialists.{place}", specialist_file(entry.partition)
            if entry.file != expected:
                raise ValueError(
                    f"{name}.file: the specialist of partition {entry.partition} is "
                    f"{expected!r}, not {entry.file!r}"
                )
            if entry.partition >= self.partitions:
                raise ValueError(
                    f"{name}.partition: there is no partition {entry.partition} among "
                    f"{self.partitions}"
                )
        if numbers != sorted(set(numbers)):
            raise ValueError(f"specialists: partitions {numbers} are not in order, each once")
        needed = {*STATE_FILES, *map(specialist_file, numbers)}
        for file in sorted(needed - self.files.keys()):
            raise ValueError(f"files: {file!r} is not listed, which every such pool has")
        for file in sorted(self.files.keys() - needed - {GENERALIST_FILE, GRAPH}):
            raise ValueError(f"files: no pool has a file {file!r}; {nearest(file, needed)}")
        return self


def parse_manifest(content: bytes, path: Path) -> tuple[Manifest, str]:
    """A manifest and its digest.

    Args:
        content: The file's bytes.
        path: Where they are from.

    Returns:
        The manifest, and SHA-256 over its content as canonical JSON, hexadecimal: the same
        wherever the pool lies and however the file is laid out.

    Raises:
        CorruptError: It is no manifest, of another format, or incomplete.
    """
    found = parse_json(content, path, dict[str, Any])
    if found.get("format") != FORMAT:
        raise CorruptError(
            f"{path}: format {found.get('format')!r}, this version of Shoal reads format {FORMAT}"
        )
    with naming(path):
        return as_kind(Manifest, found), json_hash(found)


def pool_digest(folder: Path) -> str:
    """Digest of the manifest in a pool's folder.

    Raises:
        SourceError: There is none.
        CorruptError: It is not JSON.
    """
    return json_hash(read_json(folder / MANIFEST, Any))
