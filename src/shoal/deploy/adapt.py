"""A specialist trained further where its pool runs, and the recipe by which anybody does it again.

A recipe names no code: the model is the pool's own, and of a training it sets five numbers.
"""

from __future__ import annotations

import hashlib
import platform
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt

from shoal.errors import CorruptError, ModelError, SourceError
from shoal.formats.files import replacing, write_files
from shoal.formats.fitted_state import parse_state, save_state
from shoal.formats.hashing import ROW_HASH_BYTES, file_hash, hash_rows, row_order
from shoal.formats.json_file import read_json, write_json
from shoal.formats.stored import Stored
from shoal.formats.tables import decoded
from shoal.pool.manifest import MANIFEST, Digest, specialist_file
from shoal.pool.pool import Pool
from shoal.search.points import model_at
from shoal.settings.learning import Training
from shoal.settings.section import Seed
from shoal_edge.errors import PatchError
from shoal_edge.folder import read_pool
from shoal_edge.patch import sha256

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from shoal.formats.documents.choice import Point

LONGEST = 1 << 16
"""Most bytes of a recipe."""
_MOST_SEEN = 10_000_000
_MOST_STEPS = 100_000
"""Rows seen and steps of a training, at most: what a recipe may have its reader do."""

_Said = Annotated[str, Field(max_length=80)]


class Local(Stored):
    """Settings of a training on a device; all others are as small pools have them."""

    lr: float = Field(default=0.001, gt=0, le=10, description="learning rate of AdamW")
    weight_decay: float = Field(default=0.01, ge=0, le=10, description="weight decay of AdamW")
    batch_size: int = Field(default=64, ge=1, le=1 << 16, description="rows per step")
    epochs: int = Field(default=5, ge=1, le=10_000, description="passes over the rows")
    seed: Seed = Field(default=0, description="seed of the rows' order")


class Rows(Stored):
    """Rows that a specialist was trained on.

    Attributes:
        count: How many.
        root: Merkle root over their hashes in ascending order, see :func:`merkle_root`.
    """

    count: PositiveInt
    root: Digest


class Recipe(Stored):
    """How a pool was adapted, as a JSON file.

    Attributes:
        shoal_recipe: Version of the format.
        base: SHA-256 of the pool's manifest before.
        target: The same after; through it all bits of all files.
        partition: Whose specialist was trained.
        rows: On which rows.
        training: By which settings.
        made_by: Versions and processor, for whoever gets other bits.
    """

    shoal_recipe: Literal[1]
    base: Digest
    target: Digest
    partition: NonNegativeInt
    rows: Rows
    training: Local
    made_by: dict[_Said, _Said] = Field(max_length=20)


class Encoded(NamedTuple):
    """Rows as a model takes them.

    Attributes:
        arrays: ``x`` and ``y``, in canonical order.
        named: What names them.
    """

    arrays: dict[str, NDArray[Any]]
    named: Rows


def adapt(
    pool: Path,
    rows: Path,
    partition: int,
    training: Local,
    out: Path,
    trust: Sequence[str] = (),
    wanted: Rows | None = None,
) -> Recipe:
    """Train a specialist of a pool further, and write the pool that has it.

    One thread, whatever the machine has, so that the same processor gives the same bits.

    Args:
        pool: Folder of the pool.
        rows: CSV, Parquet or NPZ with the pool's inputs and labels; all of its rows are trained
            on, in an order that does not depend on that of the file.
        partition: Whose specialist.
        training: Settings.
        out: Folder to write; not there yet.
        trust: Modules outside Shoal that the pool may import its model from.
        wanted: Rows that the file has to hold.

    Returns:
        The recipe by which this was done.

    Raises:
        SourceError: There is no pool, no such file, or something at ``out``; or a value of the
            rows does not fit.
        CorruptError: The pool is damaged, or the rows are not those that are wanted.
        ModelError: There is no such specialist, the training is larger than any recipe's may be,
            or it gives no numbers.
    """
    if out.exists():
        raise SourceError(f"{out}: is there already; name a folder that is not")
    loaded = Pool.load(pool, trust)
    point = {each.partition: each.point.values for each in loaded.manifest.specialists}
    if partition not in point:
        raise ModelError(f"{pool}: has no specialist of partition {partition}, but of {[*point]}")
    encoded = encoded_rows(loaded, rows)
    if wanted is not None and wanted != encoded.named:
        raise CorruptError(
            f"{rows}: {encoded.named.count} rows with Merkle root {encoded.named.root}, but the "
            f"recipe is for {wanted.count} rows with {wanted.root}"
        )
    _check_size(training, encoded.named.count)
    try:
        files = read_pool(pool)
    except PatchError as error:
        raise CorruptError(str(error)) from None
    name = specialist_file(partition)
    tensors, meta = parse_state(files[name], pool / name)
    trained = _trained(loaded, point[partition], tensors, encoded.arrays, training)
    with replacing(out) as aside:
        write_files(files, aside)
        save_state(aside / name, trained, meta, recorded=False)
        manifest = read_json(aside / MANIFEST, dict[str, Any])
        manifest["files"][name] = file_hash(aside / name)
        write_json(aside / MANIFEST, manifest)
    return Recipe(
        shoal_recipe=1,
        base=sha256(files[MANIFEST]),
        target=file_hash(out / MANIFEST),
        partition=partition,
        rows=encoded.named,
        training=training,
        made_by=_machine(),
    )


def adapted_again(
    files: Mapping[str, bytes], recipe: Recipe, rows: Path, trust: Sequence[str]
) -> dict[str, bytes]:
    """The files of a pool that a recipe leads to, if training them again gives those bits.

    Args:
        files: Files of the pool before, which has the recipe's ``base``.
        recipe: A device's; nothing in it is believed.
        rows: The rows, in a file as of :func:`adapt`.
        trust: Modules outside Shoal that the pool may import its model from.

    Raises:
        CorruptError: The rows are others, or the bits are; a line says what differs.
        ShoalError: See :func:`adapt`.
    """
    with tempfile.TemporaryDirectory(prefix="shoal-adapt-") as folder:
        before, after = Path(folder, "before"), Path(folder, "after")
        write_files(files, before)
        made = adapt(before, rows, recipe.partition, recipe.training, after, trust, recipe.rows)
        if made.target != recipe.target:
            theirs = recipe.made_by
            apart = [
                f"{name} is {value}, it was {theirs.get(name, 'not told')}"
                for name, value in made.made_by.items()
                if theirs.get(name) != value
            ]
            why = "; ".join(apart) or "versions and processor are the same"
            raise CorruptError(f"trained again, it gives other bits than it says: {why}")
        return read_pool(after)


def merkle_root(leaves: Iterable[bytes]) -> str:
    """Root of a Merkle tree, hexadecimal; of a leaf in it a hash a level is proof.

    Source:
        RFC 6962, section 2.1: SHA-256, a leaf behind a byte 0, a node behind a byte 1.
    """
    level = [hashlib.sha256(b"\0" + leaf).digest() for leaf in leaves]
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=False)
        odd = level[len(level) & ~1 :]
        level = [hashlib.sha256(b"\1" + left + right).digest() for left, right in pairs] + odd
    return (level[0] if level else hashlib.sha256().digest()).hex()


def encoded_rows(pool: Pool, file: Path) -> Encoded:
    """Rows of a file as the pool's models take them.

    Raises:
        SourceError: There is no such file, or a value does not fit.
    """
    from shoal.sources.columns import label_is_missing, typed_inputs
    from shoal.sources.readers import raw_batches

    x, y, first_row = [], [], 1
    for raw in raw_batches(file, 8192):
        table = decoded(typed_inputs(raw, pool.columns, str(file), first_row))
        for label in pool.columns.labels:
            if (missing := label_is_missing(table, label)) is not None:
                raise SourceError(
                    f"{file}: row {first_row + missing} has no {label!r}; rows to train on need one"
                )
        prepared = pool.pipeline.predict(table, str(file))
        x.append(pool.encoder.encode(prepared, str(file), first_row - 1))
        y.append(pool.encoder.labels(prepared, str(file), first_row - 1))
        if pool.encoder.classes is not None and (unknown := np.flatnonzero(y[-1] < 0)).size:
            (label,) = pool.columns.labels
            row = int(unknown[0])
            raise SourceError(
                f"{file}: row {first_row + row}, column {label!r}: the pool has no class "
                f"{prepared[label][row].as_py()!r}"
            )
        first_row += len(raw)
    if first_row == 1:
        raise SourceError(f"{file}: has no rows")
    arrays = {"x": np.concatenate(x), "y": np.concatenate(y)}
    hashes = hash_rows(arrays, ROW_HASH_BYTES)
    order = row_order(hashes)
    named = Rows(count=len(order), root=merkle_root(map(bytes, hashes[order])))
    return Encoded({name: values[order] for name, values in arrays.items()}, named)


def _check_size(training: Local, rows: int) -> None:
    """Refuse a training that takes long."""
    seen = training.epochs * rows
    steps = -(-seen // min(training.batch_size, rows))
    for count, most, what in ((seen, _MOST_SEEN, "rows"), (steps, _MOST_STEPS, "steps")):
        if count > most:
            raise ModelError(
                f"{training.epochs} epochs take {count:,} {what}, {most:,} are the most"
            )


def _trained(
    pool: Pool,
    point: Point,
    tensors: Mapping[str, NDArray[Any]],
    rows: Mapping[str, NDArray[Any]],
    local: Local,
) -> dict[str, NDArray[Any]]:
    """Weights of a specialist after the training."""
    from shoal.formats.ledger import Ledger
    from shoal.training.determinism import as_if_alone
    from shoal.training.fit import train_on_rows
    from shoal.training.model import build_model, load_weights, weights

    seen = local.epochs * len(rows["y"])
    training = Training(
        **local.model_dump(exclude={"epochs"}),
        loss="auto",
        class_weights=None,
        schedule="cosine",
        warm_up=0,
        epsilon=1e-8,
        rows_seen=seen,
        epochs=None,
        flops=None,
        patience=None,
        base_share=0.5,
        buffer_rows=1,
    )
    with as_if_alone(threads=1):
        net = build_model(model_at(pool.manifest.model, point), pool.shapes, local.seed)
        load_weights(net, tensors)
        train_on_rows(net, rows, training, pool.shapes, seen, Ledger("adapt"))
        found = weights(net)
    for name, values in found.items():
        if values.dtype.kind == "f" and np.isnan(values).any():
            raise ModelError(f"tensor {name!r} holds NaN after the training; lower its rate")
    return found


def _machine() -> dict[str, str]:
    """What decides the bits of a training, besides its recipe."""
    from shoal.formats.ledger import Ledger

    record = Ledger("adapt").record()
    device = record["device"]
    kind = str(device.get("name", device["kind"]))
    return {**record["versions"], "processor": platform.machine(), "device": kind}
