"""Growths of an assigner: which are in use, and what one has found.

A growth is looked for by a job, under an identity that names all that it is made from. It is in use
from when ``grown.json``, beside the assigner that it is a growth of, says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shoal.formats.documents.ledger import Flops
from shoal.formats.documents.plan import Growths
from shoal.formats.json_file import read_made, write_json
from shoal.plan.paths import assigned_at_fit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from shoal.plan.layout import Layout

_RECORD = "grown.json"


def read_growths(layout: Layout) -> tuple[str, ...]:
    """Identities of the growths in use of a layout's assigner, the first one first.

    Raises:
        CorruptError: Their record does not read.
    """
    path = _record(layout)
    return tuple(read_made(path, Growths)["grown"]) if path.exists() else ()


def record_growths(layout: Layout, grown: Sequence[str]) -> None:
    """Say which growths are in use from now on, in all plans with this assigner."""
    if tuple(grown) != read_growths(layout):
        write_json(_record(layout), {"grown": list(grown)})


def may_grow(layout: Layout) -> bool:
    """Whether rows may have come that the assigner was not fitted on; no row is read."""
    at_fit = assigned_at_fit(layout)
    return bool(at_fit) and bool(set(layout.shards) - set(at_fit))


def growth(layout: Layout, identity: str) -> dict[str, float] | None:
    """Partitions and training rows of a growth; None where nobody has looked for it yet.

    Args:
        layout: A layout with the assigner that it is a growth of.
        identity: The growth's.
    """
    files = [layout.file(f"cluster_grow.{name}", grown_id=identity) for name in _OUTPUTS]
    if not all(path.exists() for path in files):
        return None
    return read_made(files[-1], Flops).get("detail", {})


def recorded_files(assigner: Path) -> Iterator[Path]:
    """The record of the growths of an assigner, and their files, as far as they are there.

    Args:
        assigner: The file that its fit made.
    """
    path = assigner.parent / _RECORD
    if path.exists():
        yield path
        for identity in read_made(path, Growths)["grown"]:
            yield from (path.parent / "grown" / identity).glob("[!.]*")


_OUTPUTS = ("assigner", "ledger")


def _record(layout: Layout) -> Path:
    return layout.file("cluster_fit.assigner").parent / _RECORD
