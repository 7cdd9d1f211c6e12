"""A copy of a pool for devices: a pool's folder that says nothing of what it was made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typing_extensions import TypedDict

from shoal.deploy.grid import on_grid, step_of
from shoal.formats.files import replacing
from shoal.formats.fitted_state import load_state, save_state
from shoal.formats.hashing import file_hash
from shoal.formats.headers import read_weights
from shoal.formats.json_file import read_json, write_json
from shoal.formats.provenance import KEY as MADE_FROM
from shoal.pool.manifest import MANIFEST

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from shoal.settings.deploying import Grid

RECORD = "copy.json"
"""Name of a copy's record, beside its folder."""

Exponents = dict[str, dict[str, int]]
"""Exponent of the grid of each tensor by its name, for each file."""


class CopyScores(TypedDict):
    """Scores on validation rows.

    Attributes:
        metric: The score.
        pool: The pool's.
        copy: That of the copy on the grid.
        lost: How much worse it is: points of a score that is at most 1, a share of others.
    """

    metric: str
    pool: float | None
    copy: float | None
    lost: float | None


class CopyRecord(TypedDict):
    """``copy.json``.

    Attributes:
        id: The copy's identity.
        after: Identity of the copy before, or ``first``.
        manifest: SHA-256 of its manifest.
        bytes: Of all its files.
        method: How its weights follow from the pool's: ``exact`` or ``grid``.
        reason: Why it is exact, where the settings have a grid.
        scores: Of pool and copy, where there is a grid.
        exponents: Of the grids.
    """

    id: str
    after: str
    manifest: str
    bytes: int
    method: str
    reason: str | None
    scores: CopyScores | None
    exponents: Exponents


def write_copy(pool: Path, copy: Path, weights: Mapping[str, Mapping[str, NDArray[Any]]]) -> int:
    """Write the files of a copy; the manifest comes last.

    Args:
        pool: Folder of the pool.
        copy: Folder of the copy.
        weights: Tensors that are others than in the pool, for each file.

    Returns:
        Bytes of all files.
    """
    manifest = read_json(pool / MANIFEST, dict[str, Any])
    files: dict[str, str] = {}
    for name in sorted(manifest["files"]):
        if name == "ledger.json":
            write_json(copy / name, [])
        elif name.endswith(".json"):
            content = read_json(pool / name, dict[str, Any])
            content.pop(MADE_FROM, None)
            write_json(copy / name, content)
        elif name in weights or read_weights(pool / name).made_from:
            tensors, meta = load_state(pool / name)
            save_state(copy / name, {**tensors, **weights.get(name, {})}, meta, recorded=False)
        else:
            with replacing(copy / name) as aside:
                aside.write_bytes((pool / name).read_bytes())
        files[name] = file_hash(copy / name)
    manifest.pop(MADE_FROM, None)
    write_json(copy / MANIFEST, {**manifest, "files": files})
    return sum((copy / name).stat().st_size for name in (*files, MANIFEST))


def weights_on_grid(
    pool: Path,
    parameters: Mapping[str, Collection[str]],
    settings: Grid,
    before: Path | None,
    exponents: Mapping[str, Mapping[str, int]],
) -> tuple[dict[str, dict[str, NDArray[Any]]], Exponents]:
    """Weights of specialists and generalist as they are deployed, for each file.

    Whatever is no float32 parameter stays as it is, and so does the base, which a generation
    freezes.

    Args:
        pool: Folder of the pool.
        parameters: Names of the parameters in each file; other tensors are buffers.
        settings: Size of the grid, and when a weight moves.
        before: Folder of the copy before; None where there is none.
        exponents: Exponents of its grids.
    """
    found: dict[str, dict[str, NDArray[Any]]] = {}
    grids: Exponents = {}
    for name, own in sorted(parameters.items()):
        tensors, old = load_state(pool / name)[0], dict[str, Any]()
        if before is not None and (before / name).exists():
            old = load_state(before / name)[0]
        largest = max((values.size for t, values in tensors.items() if t in own), default=1)
        moved = {
            tensor: on_grid(
                values,
                step_of(values.size, largest, settings.step),
                settings.dead_zone,
                old.get(tensor),
                exponents.get(name, {}).get(tensor),
            )
            for tensor, values in tensors.items()
            if tensor in own
        }
        found[name] = {tensor: values for tensor, (values, _) in moved.items()}
        grids[name] = {t: exponent for t, (_, exponent) in moved.items() if exponent is not None}
    return found, grids
