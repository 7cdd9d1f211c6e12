"""Takes a specialist that was trained before from the store instead of training it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shoal.archive.kept import Key, base_is
from shoal.errors import ShoalError
from shoal.formats.fitted_state import load_state, save_state
from shoal.formats.hashing import settings_id
from shoal.formats.json_file import write_json
from shoal.formats.provenance import made_from
from shoal.terminal import say

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def recover(
    folder: Path,
    made_of: str,
    digest: str,
    out: Path,
    ledger: Path,
    base: Path,
    point: Mapping[str, Any],
) -> bool:
    """Write a specialist's weights and ledger, if the store has them; whether it did.

    It has them if a model was kept that is made from the same settings, code and rows, from a
    base of the same bits, and at the same grid point. A store that does not read is no reason not
    to train.

    Args:
        folder: The model store, which need not exist.
        made_of: Identity of settings and code, the layout's ``made["specialists"]``.
        digest: Digest of the training rows.
        out: The path of the weights.
        ledger: The path of the ledger.
        base: Weights of the base.
        point: The grid point.
    """
    if not folder.is_dir():
        return False
    from shoal.model_store import ModelStore

    key = Key("specialist", made_of, digest, settings_id(point))
    store, identity = ModelStore(folder), key.identity
    try:
        found = [each for each in store.ids() if each.startswith(f"{identity}-")]
        if not found:
            return False
        origin = load_state(base)[0]
        records = {each: store.record(each) for each in found}
        # One without weights is trained by this very job; an imported one may say anything.
        fits = (
            each
            for each, own in records.items()
            if "recipe" not in own
            and own.get("key") == list(key)
            and own["meta"].get("point") == point
            and base_is(own["base"], origin)
        )
        model = next(fits, None)
        if model is None:
            return False
        tensors, record = store.load(model), records[model]
    except ShoalError as error:
        say(f"{error}; trained anew")
        return False
    write_json(ledger, record["ledger"] | {"recovered": model} | made_from())
    save_state(out, tensors, record["meta"])
    say(f"recovered {model} from {folder}")
    return True
