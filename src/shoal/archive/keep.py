"""Every model of a release goes into the experiment's pool store, with where it comes from."""

from __future__ import annotations

import datetime
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoal.archive.kept import (
    Kept,
    Slot,
    identity_of,
    is_of,
    keep_release,
    kept_files,
    model_id,
    slot_of,
)
from shoal.archive.recipe import recipe_in
from shoal.archive.ways import settle
from shoal.formats.documents.choice import Choice
from shoal.formats.documents.index import PartitionIndex
from shoal.formats.documents.judgement import Metrics
from shoal.formats.documents.ledger import LedgerRecord
from shoal.formats.documents.plan import KeptRelease
from shoal.formats.fitted_state import load_state
from shoal.formats.hashing import settings_id
from shoal.formats.json_file import read_json, read_made
from shoal.formats.shapes import Shapes
from shoal.plan.history import STORE
from shoal.plan.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from shoal.model_store import PoolStore

_AT_ONCE = 1 << 28  # bytes of files that are read before they are saved
_SCORES = {"pool": "pool_top1", "generalist": "generalist"}


@dataclass(frozen=True)
class _File:
    """A trained model's file, and what is known of its training.

    Attributes:
        kind: ``base``, ``generalist``, ``router`` or ``specialist``.
        path: Its weights, below the generation's folder.
        ledger: What it cost.
        code: Digest of the code that trained it; of a fit's it is in the ledger.
        partition: Its partition, if it has one.
        digest: Digest of that partition's training rows.
        is_chosen: Whether it is its partition's best.
    """

    kind: str
    path: Path
    ledger: Path
    code: str | None = None
    partition: int | None = None
    digest: str | None = None
    is_chosen: bool = True

    @property
    def identity(self) -> str:
        """A hash of what it was made from, which its path names."""
        return identity_of(self.kind, self.path)

    def listed(self, model: str, point: str | None) -> dict[str, Any]:
        """What a release says of it: its id and its slot."""
        slot = Slot(self.kind, self.partition, point)
        return {"id": model, **slot._asdict(), "chosen": self.is_chosen}


def keep(plan: Mapping[str, Any], metrics: Path, home: Path) -> None:
    """Store the models of a release, and write which they are.

    Models whose files ``shoal gc`` has removed are left out, unless the store has them already.

    Args:
        plan: What the run wrote when it started: ``release``, ``layout``, ``settings``, ``codes``.
        metrics: What evaluate measured.
        home: The folder of what is published.

    Raises:
        CorruptError: A model or the store is damaged.
    """
    from shoal.model_store import PoolStore

    layout = Layout.from_json(plan["layout"])
    store = PoolStore(Path(layout.root, STORE))
    files = list(_files(plan, layout))
    before = _models_before(home, plan["release"])
    listed: list[dict[str, Any]] = []
    for part in _parts([file for file in files if file.path.exists()]):
        base = listed[0]["id"] if listed and listed[0]["kind"] == "base" else None
        listed += _save(store, part, plan, before, base)
    listed += _stored(store, [file for file in files if not file.path.exists()])
    keep_release(home, _release(plan, layout, read_made(metrics, Metrics), listed))
    _settle(plan["settings"], home, [each["id"] for each in listed])


def _release(
    plan: Mapping[str, Any],
    layout: Layout,
    measured: Mapping[str, Any],
    listed: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """What a release consists of, and how its models were trained."""
    settings = plan["settings"]
    return {
        "release": plan["release"],
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "generation": layout.generation,
        "metric": measured["metric"],
        "score": {name: measured[of]["score"] for name, of in _SCORES.items()},
        "verdict": measured["verdict"],
        "model": settings["model"],
        "training": settings["train_specialists"],
        "index": str(layout.index.relative_to(layout.root)),
        "shapes": asdict(Shapes.load(layout.file("encode_fit.shapes"))),
        "models": listed,
    }


def _settle(settings: Mapping[str, Any], home: Path, models: Sequence[str]) -> None:
    """Give up weights, where the settings say so."""
    way = settings["store"]["keep"]
    if way in ("auto", "recipe"):
        kept = Kept(home, (settings["model"]["_target_"],))
        settle(kept, models, settings["store"]["recovery_seconds"] if way == "auto" else None)


def _models_before(home: Path, release: str) -> dict[Slot, str]:
    """Models of the last other release by their slots; none before the second."""
    others = [path for path in kept_files(home) if not is_of(path, release)]
    return (
        {slot_of(each): each["id"] for each in read_json(others[-1], KeptRelease)["models"]}
        if others
        else {}
    )


def _files(plan: Mapping[str, Any], layout: Layout) -> Iterator[_File]:
    """The models of a release; each after the ones that it is made from."""
    index, codes = read_made(layout.index, PartitionIndex), plan["codes"]
    base = layout.file("base_fit.base")
    yield _File("base", base, layout.file("base_fit.ledger"))
    generalist = layout.file("evaluate_generalist.model", index)
    yield _File("generalist", generalist, generalist.with_suffix(".json"))
    for entry in layout.specialised(index):
        chosen = read_made(layout.choice(entry), Choice)["specialist"]
        for path in layout.candidates(entry):
            yield _File(
                "specialist",
                path,
                path.with_name("ledger.json"),
                code=codes["specialists"],
                partition=int(entry["partition"]),
                digest=entry["specialist"],
                is_chosen=str(path) == chosen,
            )
    router = layout.file("train_router.router", index)
    yield _File("router", router, layout.file("train_router.ledger", index), code=codes["router"])


def _parts(files: Sequence[_File]) -> Iterator[list[_File]]:
    """The files in parts that fit into memory."""
    part: list[_File] = []
    size = 0
    for file in files:
        part.append(file)
        size += file.path.stat().st_size
        if size >= _AT_ONCE:
            yield part
            part, size = [], 0
    if part:
        yield part


def _save(
    store: PoolStore,
    files: Sequence[_File],
    plan: Mapping[str, Any],
    before: Mapping[Slot, str],
    base: str | None,
) -> list[dict[str, Any]]:
    """Store some models; what is listed of each."""
    models, records, resembled, listed = {}, {}, {}, []
    for file in files:
        tensors, meta = load_state(file.path)
        model = model_id(file.identity, tensors)
        base = model if file.kind == "base" else base
        point = settings_id(meta["point"]) if "point" in meta else None
        one = file.listed(model, point)
        parent = before.get(slot_of(one))
        start = base if file.kind in ("generalist", "specialist") else None
        near = start if parent in (None, model) or parent not in store else parent
        if near is not None:
            resembled[model] = near
        listed.append(one)
        recipe = recipe_in(store.record(model)) if model in store else None
        if recipe is not None:
            if recipe.rows in store:
                continue
            store.remove([model])  # the data has its rows again
        models[model] = tensors
        origin = {"parent": None if parent == model else parent, "base": start}
        records[model] = one | origin | {"digest": file.digest, "meta": meta}
        records[model] |= _training(file, plan)
    if plan["settings"]["store"]["keep"] == "snapshot":
        records = {model: record | {"keep": "snapshot"} for model, record in records.items()}
        base, resembled = None, {}
    store.save(models, base, resembled, records)
    return listed


def _stored(store: PoolStore, files: Sequence[_File]) -> list[dict[str, Any]]:
    """Models whose files are gone but which the store has."""
    ids = {model.split("-")[0]: model for model in store.ids()} if files else {}
    found = [(file, ids[file.identity]) for file in files if file.identity in ids]
    return [file.listed(model, store.record(model)["point"]) for file, model in found]


def _training(file: _File, plan: Mapping[str, Any]) -> dict[str, Any]:
    """With what a model was trained, and what that cost."""
    settings = plan["settings"]
    ledger: dict[str, Any] = {}
    if file.ledger.exists():
        ledger |= read_made(file.ledger, LedgerRecord)
    made_from = ledger.pop("made_from", {})
    return {
        "release": plan["release"],
        "generation": settings["generation"],
        "settings": settings_id(settings["model"], settings["train_specialists"]),
        "seed": settings["train_specialists"]["seed"],
        "code": file.code or made_from.get("code"),
        "environment": settings_id(ledger.get("versions"), ledger.get("device")),
        "ledger": ledger,
    }
