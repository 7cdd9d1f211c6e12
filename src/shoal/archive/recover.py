"""Takes models that were trained before from the store instead of training them again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from shoal.archive.kept import has_weights
from shoal.archive.recipes import record_of
from shoal.errors import ShoalError
from shoal.formats.fitted_state import load_state, save_state
from shoal.formats.hashing import file_hash, settings_id
from shoal.formats.json_file import write_json
from shoal.formats.provenance import made_from, recording
from shoal.plan.history import STORE
from shoal.terminal import say

if TYPE_CHECKING:
    from shoal.archive.kept import Key
    from shoal.formats.documents.plan import ModelRecord
    from shoal.model_store.tensors import Tensors
    from shoal.plan.layout import Layout


class Stored(NamedTuple):
    """A model with weights in the store: its id, its record, its tensors."""

    model: str
    record: ModelRecord
    tensors: Tensors


def stored(layout: Layout, key: Key, parent: Path | None = None) -> Stored | None:
    """A model that the store has; None where it has none that fits, or does not read.

    Args:
        layout: Where store and base lie; the store need not exist.
        key: Key of the model: it is made from the same settings, code and rows, at the same grid
            point. Its base must be of the same bits, too.
        parent: Weights of which the bits must be those that it continues from.
    """
    folder = Path(layout.root, STORE)
    if not folder.is_dir():
        return None
    from shoal.model_store import ModelStore

    store, identity = ModelStore(folder), key.identity
    try:
        found = [each for each in store.ids() if each.startswith(f"{identity}-")]
        if not found:
            return None
        base = load_state(layout.file("base_fit.base"))[0]
        start = None if parent is None else load_state(parent)[0]
        for model in found:
            record = record_of(store, model)
            # One without weights is trained by this very job; an imported one may say anything.
            if (
                "recipe" not in record
                and record.get("key") == list(key)
                and key.point in (None, settings_id(record["meta"].get("point")))
                and has_weights(record["base"], base)
                and (start is None or _continues_from(record, start, parent))
            ):
                return Stored(model, record, store.load(model))
    except ShoalError as error:
        say(f"{error}; trained anew")
    return None


def _continues_from(record: ModelRecord, start: Tensors, parent: Path | None) -> bool:
    """Whether a model continues from these weights; the store has none of copies for devices."""
    if record["parent"] is None and parent is not None:
        return bool(record["meta"].get("parent") == file_hash(parent))
    return has_weights(record["parent"], start)


def recover(layout: Layout, key: Key, out: Path, ledger: Path, parent: Path | None = None) -> bool:
    """Write a specialist's weights and ledger, if the store has them; whether it did.

    Args:
        layout: Where store and base lie.
        key: Key of the specialist.
        out: The path of the weights.
        ledger: The path of the ledger.
        parent: Weights of what it continues from, if it does.
    """
    found = stored(layout, key, parent)
    if found is None:
        return False
    model, record, tensors = found
    write_json(ledger, record["ledger"] | {"recovered": model} | made_from())
    save_state(out, tensors, record["meta"])
    say(f"recovered {model} from {Path(layout.root, STORE)}")
    return True


def put_back(layout: Layout, key: Key, weights: Path) -> bool:
    """Whether weights that another model continues from are there, from the store if need be.

    Args:
        layout: Where store and base lie.
        key: Key of the model.
        weights: The path of its weights.
    """
    if weights.exists():
        return True
    found = stored(layout, key)
    if found is None:
        return False
    made_of = [layout.file("base_fit.base"), layout.file("encode_fit.shapes")]
    with recording(made_of, found.record["code"] if key.kind == "generalist" else None):
        save_state(weights, found.tensors, found.record["meta"])
    say(f"recovered {found.model} from {Path(layout.root, STORE)}")
    return True
