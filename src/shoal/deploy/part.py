"""A copy of a pool with the specialists of some partitions only, for devices that follow these.

It routes rows as the whole pool does. A row is answered as by that, to the bit, where all the
specialists that it asks are there. Others are answered as rows that no specialist leads: by the
generalist, or by the base in a pool without one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shoal.errors import SettingsError
from shoal.formats.files import replacing, write_files
from shoal.formats.hashing import file_hash
from shoal.formats.json_file import read_json, write_json
from shoal.pool.manifest import GENERALIST_FILE, MANIFEST
from shoal.pool.sealed import Sealed
from shoal_edge.routing import BASE

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

GATE = "gate.json"


def write_part(pool: Path, out: Path, partitions: Collection[int]) -> list[int]:
    """Copy a pool without the specialists of other partitions, whole or not at all.

    The same pool and partitions give the same bytes, so there are patches between such copies.

    Args:
        pool: Folder of the pool.
        out: Folder of the copy, which is not there yet.
        partitions: Numbers of the partitions that are followed.

    Returns:
        Numbers of those that have a specialist in the pool.

    Raises:
        SettingsError: The copy is there, or there is no such partition.
        SourceError: There is no pool in the folder.
        CorruptError: A pool's file is not what its manifest says.
    """
    if out.exists():
        raise SettingsError(f"{out}: is there already; the copy goes to a folder of its own")
    sealed = Sealed(pool)
    for number in sorted(partitions):
        if not 0 <= number < sealed.manifest.partitions:
            raise SettingsError(
                f"{pool}: there is no partition {number} among {sealed.manifest.partitions}, which "
                f"are numbered from 0"
            )
    manifest = read_json(pool / MANIFEST, dict[str, Any])
    kept = [entry for entry in manifest["specialists"] if entry["partition"] in partitions]
    gate, names = sealed.document(GATE), set(manifest["files"])
    known = {str(BASE), *(str(entry["partition"]) for entry in kept)}
    shares = {name: share for name, share in gate["shares"].items() if name in known}
    names -= {each["file"] for each in manifest["specialists"]} - {each["file"] for each in kept}
    if min(shares.values()) >= 1:
        names.discard(GENERALIST_FILE)
    contents = {name: sealed.read(name) for name in sorted(names - {GATE})}
    with replacing(out) as aside:
        write_files(contents, aside)
        write_json(aside / GATE, gate | {"shares": shares})
        files = {name: file_hash(aside / name) for name in sorted(names)}
        write_json(aside / MANIFEST, manifest | {"specialists": kept, "files": files})
    return [entry["partition"] for entry in kept]
