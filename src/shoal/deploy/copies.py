"""A copy of a pool for devices: a pool's folder that says nothing of what it was made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NotRequired, Self

from typing_extensions import TypedDict

from shoal.deploy.grid import on_grid, step_of
from shoal.deploy.sparse import sparsely
from shoal.errors import CorruptError
from shoal.formats.documents.ledger import LedgerRecord
from shoal.formats.files import replacing
from shoal.formats.fitted_state import load_state, save_state
from shoal.formats.hashing import file_hash
from shoal.formats.headers import read_weights, weights_id
from shoal.formats.json_file import read_json, read_made, write_json
from shoal.formats.provenance import KEY as MADE_FROM
from shoal.pool.manifest import MANIFEST
from shoal.settings.deploying import Sparse

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from shoal.settings.deploying import Grid

    Tensors = Mapping[str, NDArray[Any]]

RECORD = "copy.json"
"""Name of a copy's record, beside its folder."""

_COSTS = LedgerRecord.__annotations__.keys()
"""What a document that is a ledger too says of its making."""

RESIDUAL = "residual.safetensors"
"""Name of what a copy leaves out, beside its folder."""

_BETWEEN = ":"
"""Between the names of a file and of a tensor in it."""

Exponents = dict[str, dict[str, int]]
"""Exponent of the grid of each tensor by its name, for each file."""


class CopyScores(TypedDict):
    """Scores on validation rows.

    Attributes:
        metric: The score.
        pool: The pool's.
        copy: That of the copy with rounded weights.
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
        method: How its weights follow from the pool's: ``exact``, ``grid`` or ``sparse``.
        reason: Why it is exact, where the settings say otherwise.
        scores: Of pool and copy, where weights are rounded.
        exponents: Of the grids.
        residual: SHA-256 of ``residual.safetensors`` beside it, where models start from the copy.
    """

    id: str
    after: str
    manifest: str
    bytes: int
    method: str
    reason: str | None
    scores: CopyScores | None
    exponents: Exponents
    residual: NotRequired[str]


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
            if "job" in content:
                content = {key: value for key, value in content.items() if key not in _COSTS}
            write_json(copy / name, content)
        elif name in weights or read_weights(pool / name).made_from:
            tensors, meta = load_state(pool / name)
            meta.pop("parent", None)  # the hash of a file, which says what that was made from
            save_state(copy / name, {**tensors, **weights.get(name, {})}, meta, recorded=False)
        else:
            with replacing(copy / name) as aside:
                aside.write_bytes((pool / name).read_bytes())
        files[name] = file_hash(copy / name)
    manifest.pop(MADE_FROM, None)
    write_json(copy / MANIFEST, {**manifest, "files": files})
    return sum((copy / name).stat().st_size for name in (*files, MANIFEST))


@dataclass(frozen=True)
class Rounded:
    """Models of a copy.

    Attributes:
        weights: Tensors that are others than in the pool, for each file.
        exponents: Of their grids.
        rest: What was wanted less what is deployed, for each file; where models start from what is
            deployed.
        models: :func:`weights_id` of the pool's models by file.
    """

    weights: dict[str, dict[str, NDArray[Any]]]
    exponents: Exponents
    rest: dict[str, dict[str, NDArray[Any]]]
    models: dict[str, str]


def rounded_weights(
    pool: Path,
    parameters: Mapping[str, Collection[str]],
    settings: Grid | Sparse,
    before: Path | None,
    exponents: Mapping[str, Mapping[str, int]],
    seed: int,
) -> Rounded:
    """Weights of specialists and generalist as they are deployed.

    Whatever is no float32 parameter stays as it is, and so does the base, which a generation
    freezes.

    Where models start from what is deployed (``train_on``), one that was trained from the copy
    before is wanted as it is with what that copy left out, one that is still the same as deployed
    with what was left out. Any other is rounded as at the first copy: it has seen nothing of the
    copy before, so neither has what is deployed of it.

    Args:
        pool: Folder of the pool.
        parameters: Names of the parameters in each file; other tensors are buffers.
        settings: How they are rounded.
        before: Folder of the copy before; None where there is none.
        exponents: Exponents of its grids.
        seed: Seed of a random choice of weights.
    """
    kept = None
    if settings.train_on == "deployed" and before is not None:
        kept = Residual.load(before)
    made = Rounded({}, {}, {}, {})
    for name, own in sorted(parameters.items()):
        tensors, meta = load_state(pool / name)
        wanted = {tensor: values for tensor, values in tensors.items() if tensor in own}
        old, grids = dict[str, Any](), exponents.get(name, {})
        if before is not None and (before / name).exists():
            old = load_state(before / name)[0]
        made.models[name] = weights_id(pool / name)
        if kept is not None and name in kept.models:
            if kept.models[name] == made.models[name]:
                wanted = _with(kept.rest.get(name, {}), {each: old[each] for each in wanted})
            elif meta.get("parent") == kept.deployed[name]:
                wanted = _with(kept.rest.get(name, {}), wanted)
            else:
                old = {}
        elif settings.train_on == "deployed":
            old = {}
        if isinstance(settings, Sparse):
            found, own_grids = sparsely(wanted, settings, old, grids, seed)
        else:
            found, own_grids = _on_grids(wanted, settings, old, grids)
        made.weights[name], made.exponents[name] = found, own_grids
        made.rest[name] = {each: wanted[each] - found[each] for each in own_grids}
    return made


def _on_grids(
    wanted: Tensors, settings: Grid, old: Tensors, exponents: Mapping[str, int]
) -> tuple[dict[str, NDArray[Any]], dict[str, int]]:
    largest = max((values.size for values in wanted.values()), default=1)
    moved = {
        tensor: on_grid(
            values,
            step_of(values.size, largest, settings.step),
            settings.dead_zone,
            old.get(tensor),
            exponents.get(tensor),
        )
        for tensor, values in wanted.items()
    }
    grids = {tensor: exponent for tensor, (_, exponent) in moved.items() if exponent is not None}
    return {tensor: values for tensor, (values, _) in moved.items()}, grids


def _with(rest: Tensors, tensors: Tensors) -> dict[str, NDArray[Any]]:
    return {
        name: values + rest[name] if name in rest else values for name, values in tensors.items()
    }


class _Models(TypedDict):
    models: dict[str, str]


@dataclass(frozen=True)
class Residual:
    """What a copy leaves out, which the next one adds; it lies beside the copy, not in it.

    Attributes:
        models: :func:`weights_id` of the models that the copy was made of, by file.
        rest: What was wanted less what is deployed, by file.
        deployed: SHA-256 of the copy's models, by file.
    """

    models: dict[str, str]
    rest: dict[str, dict[str, NDArray[Any]]]
    deployed: dict[str, str]

    @classmethod
    def load(cls, copy: Path) -> Self | None:
        """That of a copy; None where nothing was to be trained from the copy.

        Args:
            copy: The copy's folder.

        Raises:
            SourceError: It is gone.
            CorruptError: It is not the one that the copy's record names.
        """
        path, record = copy.with_name(RESIDUAL), read_made(copy.with_name(RECORD), CopyRecord)
        if "residual" not in record:
            return None
        tensors, meta = load_state(path, _Models)
        if file_hash(path) != record["residual"]:
            raise CorruptError(f"{path}: is not the one that {RECORD} beside it names")
        rest: dict[str, dict[str, NDArray[Any]]] = {}
        for name, values in tensors.items():
            file, _, tensor = name.rpartition(_BETWEEN)
            rest.setdefault(file, {})[tensor] = values
        deployed = {file: file_hash(copy / file) for file in meta["models"]}
        return cls(meta["models"], rest, deployed)


def save_residual(copy: Path, models: Mapping[str, str], rest: Mapping[str, Tensors]) -> str:
    """Write what a copy leaves out beside it; the file's SHA-256.

    Args:
        copy: The copy's folder.
        models: :func:`weights_id` of the models that the copy was made of, by file.
        rest: What was wanted less what is deployed, by file.
    """
    path = copy.with_name(RESIDUAL)
    tensors = {
        f"{file}{_BETWEEN}{tensor}": values
        for file, own in rest.items()
        for tensor, values in own.items()
    }
    save_state(path, tensors, {"models": dict(models)}, recorded=False)
    return file_hash(path)
