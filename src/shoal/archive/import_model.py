"""Import of a model from a file of safetensors."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from shoal.errors import CorruptError, ModelError, SettingsError, SourceError
from shoal.formats.fitted_state import check_header
from shoal.formats.hashing import settings_id
from shoal.formats.json_file import parse_json
from shoal.model_store.tensors import tree_of
from shoal.search.points import model_at
from shoal.settings.learning import Model
from shoal.settings.section import parse

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from shoal.archive.kept import Archive
    from shoal.model_store.tensors import Kind, Tensors

_LONGEST_RECORD = 1 << 20  # characters


class _Ledger(BaseModel):
    """The fields of a ledger that are taken over."""

    flops: float = 0
    seconds: float = 0
    versions: dict[str, str] = {}
    device: dict[str, str | int] = {}
    host: str | None = None


class _Exported(BaseModel):
    """The fields that are taken over of the record in the header of an exported model."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    id: str = Field(pattern=r"^[0-9a-f]{10}-[0-9a-f]{6}$")
    kind: Literal["base", "generalist", "router", "specialist", "imported"]
    partition: int | None
    point: str | None
    chosen: bool
    parent: str | None
    base: str | None
    digest: str | None
    meta: dict[str, Any]
    release: str | None
    generation: int | None
    settings: str | None
    seed: int | None
    code: str | None
    environment: str | None
    ledger: _Ledger


def import_model(archive: Archive, file: Path, tag: str | None) -> str:
    """Import a model: one that was exported, or any other of the same architecture.

    Names, types and shapes must be those of the last release's base, or of its router if the
    model is one; no tensor is read before they are.

    Args:
        archive: The experiment's models.
        file: The safetensors.
        tag: Another name for it.

    Returns:
        Its id: that in the record of an exported model.

    Raises:
        SourceError: There is no such file.
        CorruptError: The file does not read, or has other weights than its record says.
        ModelError: It is of another architecture, or the tag could be mistaken.
    """
    if tag is not None:
        archive.check_tag(tag)
    record, tensors = _read(archive, file)
    root = tree_of(tensors).root
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    if record is None:
        record = _foreign(f"{settings_id('imported', root)}-{root[:6]}")
    elif record.id.partition("-")[2] != root[:6]:
        raise CorruptError(f"{file}: its weights are not those of {record.id}, which it names")
    if record.id not in archive.store:
        content = record.model_dump(exclude={"id"}) | {"imported": file.name}
        base = None if record.kind == "router" else archive.find("base")
        archive.store.save({record.id: tensors}, base, records={record.id: content})
    elif archive.tree(record.id).root != root:
        raise ModelError(f"{file}: {archive.home} has {record.id} with other weights")
    archive.note_import(record.id, file.name, now)
    if tag is not None:
        archive.tag(tag, record.id)
    return record.id


def _read(archive: Archive, file: Path) -> tuple[_Exported | None, Tensors]:
    """Record and tensors of a file that fits."""
    from safetensors import SafetensorError, safe_open

    try:
        check_header(file)
        with safe_open(file, framework="pt") as opened:
            record = _record(file, opened.metadata() or {})
            _check_point(archive, file, record)
            is_router = record is not None and record.kind == "router"
            wanted = archive.store.layout(archive.find("router" if is_router else "base"))
            shapes = {name: opened.get_slice(name).get_shape() for name in opened.keys()}  # noqa: SIM118 - not a dict
            _check_shapes(file, shapes, wanted)
            tensors = {name: opened.get_tensor(name) for name in wanted}
    except FileNotFoundError:
        raise SourceError(f"{file}: no such file") from None
    except SafetensorError as error:
        raise CorruptError(f"{file}: not readable as safetensors ({error})") from None
    for name, tensor in tensors.items():
        dtype = str(tensor.dtype).removeprefix("torch.")
        if dtype != wanted[name].dtype:
            raise ModelError(
                f"{file}: tensor {name!r} is of type {dtype}, it must be {wanted[name].dtype}"
            )
    return record, tensors


def _record(file: Path, header: Mapping[str, str]) -> _Exported | None:
    """The record in a header; None where there is none of an exported model."""
    text = header.get("shoal", "{}")
    content = parse_json(text, f"{file}: record", dict[str, Any], limit=_LONGEST_RECORD)
    if "id" not in content:
        return None
    found: _Exported = parse(_Exported, content, f"{file}: record")
    return found


def _check_point(archive: Archive, file: Path, record: _Exported | None) -> None:
    """Refuse a grid point that the last release's model cannot be at."""
    point = record.meta.get("point", {}) if record else {}
    try:
        if not isinstance(point, dict):
            raise SettingsError("its grid point is none")
        model_at(parse(Model, archive.releases[-1]["model"], "model"), point)
    except SettingsError as error:
        raise ModelError(f"{file}: record: {error}") from None


def _foreign(model: str) -> _Exported:
    """The record of a model of which nothing is known."""
    unknown = (name for name, field in _Exported.model_fields.items() if field.is_required())
    content = dict.fromkeys(unknown) | {"id": model, "kind": "imported", "chosen": False}
    return _Exported.model_validate(content | {"meta": {}, "ledger": {}})


def _check_shapes(file: Path, shapes: Mapping[str, list[int]], wanted: Mapping[str, Kind]) -> None:
    for name in sorted(wanted.keys() - shapes.keys()):
        raise ModelError(f"{file}: has no tensor {name!r}, as the models here have")
    for name in sorted(shapes.keys() - wanted.keys()):
        raise ModelError(f"{file}: has a tensor {name[:80]!r}, which the models here have not")
    for name, kind in wanted.items():
        if tuple(shapes[name]) != kind.shape:
            raise ModelError(
                f"{file}: tensor {name!r} is of shape {tuple(shapes[name])}, "
                f"it must be {kind.shape}"
            )
