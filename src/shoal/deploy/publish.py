"""A copy and its patches where whatever distributes them looks: ``results/NAME/deploy``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typing_extensions import TypedDict

from shoal.deploy.copies import CopyRecord
from shoal.formats.files import copy_file
from shoal.formats.hashing import file_hash
from shoal.formats.json_file import read_json, read_made, write_json
from shoal.pool.manifest import MANIFEST

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class PublishedPatch(TypedDict):
    """A patch of ``channel.json``.

    Attributes:
        file: Its path, seen from that file.
        sha256: Of the patch.
        bytes: Its size.
    """

    file: str
    sha256: str
    bytes: int


class PublishedChannel(TypedDict):
    """``channel.json``.

    Attributes:
        copy: Identity of the newest copy.
        manifest: SHA-256 of its manifest; its files are in ``copy/``.
        bytes: Of all its files.
        patches: Patches to it by the SHA-256 of the manifest that each is for. Who has another copy
            takes the whole one.
    """

    copy: str
    manifest: str
    bytes: int
    patches: dict[str, PublishedPatch]


def publish_copy(record: Path, patches: Sequence[Path], folder: Path) -> None:
    """Copy the newest copy and its patches into a folder; ``channel.json``, which names them, last.

    Args:
        record: The copy's record; the copy lies beside it.
        patches: The patches; an empty one is none.
        folder: The folder.
    """
    from shoal_edge.patch import Patch, room

    copy, made = record.parent / "copy", read_made(record, CopyRecord)
    names = [*read_json(copy / MANIFEST, dict[str, Any])["files"], MANIFEST]
    for name in names:
        copy_file(copy / name, folder / "copy" / name)
    found: dict[str, PublishedPatch] = {}
    for path in (each for each in patches if each.stat().st_size):
        file = f"patches/{path.name}"
        copy_file(path, folder / file)
        base = Patch.parse(path.read_bytes(), room(1 << 40)).base
        found[base] = {"file": file, "sha256": file_hash(path), "bytes": path.stat().st_size}
    channel: PublishedChannel = {
        "copy": made["id"],
        "manifest": made["manifest"],
        "bytes": made["bytes"],
        "patches": found,
    }
    write_json(folder / "channel.json", channel)
    listed = {*names, *(each["file"] for each in found.values())}
    for path in sorted([*(folder / "copy").rglob("*"), *(folder / "patches").glob("*")]):
        inside = path.relative_to(folder)
        is_listed = (
            str(inside.relative_to("copy") if inside.parts[0] == "copy" else inside) in listed
        )
        if path.is_file() and not is_listed:
            path.unlink()
