"""Kinds of a pool's manifest, as far as others than the pool read it."""

from __future__ import annotations

from typing_extensions import TypedDict

from shoal.formats.documents.ledger import MadeFrom
from shoal.formats.documents.plan import ChosenPoint


class Serving(TypedDict):
    """A specialist of a pool."""

    partition: int
    file: str
    digest: str
    validation: str
    point: ChosenPoint


class PoolManifest(TypedDict):
    """``manifest.json``."""

    generation: int
    rows: str
    specialists: list[Serving]
    files: dict[str, str]
    made_from: MadeFrom
