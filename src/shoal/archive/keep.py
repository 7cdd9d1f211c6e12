"""Stores the models of a release, each with where it comes from."""

from __future__ import annotations

import datetime
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from shoal.archive.kept import (
    Archive,
    Key,
    Role,
    generalist_key,
    is_of,
    keep_release,
    kept_files,
    model_id,
    role_of,
    specialist_key,
)
from shoal.archive.recipes import lacks, lost_rows, recipe_of
from shoal.archive.storage import settle
from shoal.formats.documents.choice import Choice
from shoal.formats.documents.index import PartitionIndex, named_file
from shoal.formats.documents.judgement import Judged, scored
from shoal.formats.documents.ledger import LedgerRecord
from shoal.formats.documents.plan import KeptModel, KeptRelease, PlanRecord
from shoal.formats.fitted_state import load_state
from shoal.formats.hashing import settings_id
from shoal.formats.headers import read_weights
from shoal.formats.json_file import read_json, read_made
from shoal.formats.shapes import Shapes
from shoal.plan.history import STORE
from shoal.plan.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from shoal.formats.documents.index import Continued, PlannedEntry
    from shoal.model_store import ModelStore

_AT_ONCE = 1 << 28  # bytes of files that are read before they are saved


class _Parent(NamedTuple):
    """A model that another continues from: key and weights; how it is continued."""

    key: Key
    path: Path
    mixing: dict[str, Any]

    @classmethod
    def of(cls, layout: Layout, key: Key, continued: Continued) -> _Parent:
        """That which the layout's index names."""
        return cls(key, named_file(layout.index, continued["weights"]), continued["mixing"])

    def id_in(self, store: ModelStore) -> str | None:
        """The id of the very weights that are there; None where the store lacks them."""
        if not self.path.exists():
            return None
        model = model_id(self.key.identity, load_state(self.path)[0])
        return model if model in store else None


@dataclass(frozen=True)
class _File:
    """A trained model's file, and what is known of its training.

    Attributes:
        key: What it was made from.
        path: Its weights, which may be gone.
        ledger: The ledger of its training.
        code: Digest of the code that trained it; of a fit's it is in the ledger.
        partition: Its partition, if it has one.
        digest: Digest of that partition's training rows, or the specialist's name if it continues.
        parent: What it continues from, if it does.
        is_chosen: Whether it is its partition's best.
    """

    key: Key
    path: Path
    ledger: Path
    code: str | None = None
    partition: int | None = None
    digest: str | None = None
    parent: _Parent | None = None
    is_chosen: bool = True

    def listed(self, model: str) -> KeptModel:
        """Its entry in the list of a release: its id and its role."""
        return {
            "id": model,
            "kind": self.key.kind,
            "partition": self.partition,
            "point": self.key.point,
            "chosen": self.is_chosen,
        }


def keep(plan: PlanRecord, metrics: Path, home: Path) -> None:
    """Store the models of a release, and list them.

    Models whose files ``shoal gc`` has removed are left out, unless the store has them already.

    Args:
        plan: The run's record: ``release``, ``layout``, ``settings``, ``codes``.
        metrics: Scores and verdict of evaluate.
        home: The folder of what is published.

    Raises:
        CorruptError: A model or the store is damaged.
    """
    from shoal.model_store import ModelStore

    layout = Layout.from_json(plan["layout"])
    store = ModelStore(Path(layout.root, STORE))
    files = list(_files(plan, layout))
    before = _models_before(home, plan["release"])
    listed: list[KeptModel] = []
    for part in _parts([file for file in files if file.path.exists()]):
        base = listed[0]["id"] if listed and listed[0]["kind"] == "base" else None
        listed += _save(store, part, plan, before, base)
    listed += _stored(store, [file for file in files if not file.path.exists()])
    keep_release(home, _release(plan, layout, metrics, listed))
    _settle(plan["settings"], home, [each["id"] for each in listed])


def _release(
    plan: PlanRecord,
    layout: Layout,
    metrics: Path,
    listed: Sequence[KeptModel],
) -> dict[str, object]:
    """The record of a release: its models, its scores, and how its models were trained."""
    settings, judged, measured = plan["settings"], read_made(metrics, Judged), scored(metrics)
    score = {}
    if measured is not None:
        shipped = measured[measured["shipped"]]["score"]
        score = {"pool": shipped, "generalist": measured["generalist"]["score"]}
    return {
        "release": plan["release"],
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "generation": layout.generation,
        "metric": judged["metric"],
        "score": score,
        "verdict": judged["verdict"],
        "model": settings["model"],
        "training": settings["train_specialists"],
        "index": str(layout.index.relative_to(layout.root)),
        "shapes": asdict(Shapes.load(layout.file("encode_fit.shapes"))),
        "models": listed,
    }


def _settle(settings: Mapping[str, Any], home: Path, models: Sequence[str]) -> None:
    """Replace weights by recipes, where the settings say so."""
    storage = settings["store"]["keep"]
    if storage in ("auto", "recipe"):
        archive = Archive(home, (settings["model"]["_target_"],))
        within = settings["store"]["recovery_seconds"] if storage == "auto" else None
        settle(archive, models, within)


def _models_before(home: Path, release: str) -> dict[Role, str]:
    """Models of the last other release by their roles; none before the second."""
    others = [path for path in kept_files(home) if not is_of(path, release)]
    return (
        {role_of(each): each["id"] for each in read_json(others[-1], KeptRelease)["models"]}
        if others
        else {}
    )


def _files(plan: PlanRecord, layout: Layout) -> Iterator[_File]:
    """The models of a release; each after the ones that it is made from."""
    index, codes = read_made(layout.index, PartitionIndex), plan["codes"]
    generation = layout.generation
    base = layout.file("base_fit.base")
    yield _File(Key("base", layout.fits["base"], generation), base, layout.file("base_fit.ledger"))
    generalist = layout.file("evaluate_generalist.model", index)
    parent, continued = None, index.get("continued")
    if continued is not None and continued["weights"]:
        parent = _Parent.of(layout, generalist_key(layout, continued["specialist"]), continued)
    key = generalist_key(layout, layout.generalist_of(index))
    yield _File(key, generalist, generalist.with_suffix(".json"), parent=parent)
    for entry in layout.specialised(index):
        yield from _specialists(layout, entry, codes["specialists"])
    key = Key("router", layout.made["router"], layout.root_of(index, "fit"))
    router = layout.file("train_router.router", index)
    ledger = layout.file("train_router.ledger", index)
    yield _File(key, router, ledger, code=codes["router"])


def _specialists(layout: Layout, entry: PlannedEntry, code: str) -> Iterator[_File]:
    """The candidates of a partition; those whose files are gone are known by the choice."""
    choice, digest = read_made(layout.choice(entry), Choice), entry["specialist"]
    parent = None
    if (continued := entry.get("continued")) is not None:
        key = specialist_key(layout, continued["specialist"], settings_id(continued["point"]))
        parent = _Parent.of(layout, key, continued)
    candidates = layout.candidates(entry)
    found = {
        settings_id(read_weights(path).meta["point"]): path for path in candidates if path.exists()
    }
    gone = sorted({choice["point"], *choice["points"]} - found.keys())
    missing = [path for path in candidates if not path.exists()]
    for point, path in [*found.items(), *zip(gone, missing, strict=False)]:
        yield _File(
            specialist_key(layout, digest, point),
            path,
            path.with_name("ledger.json"),
            code=code,
            partition=int(entry["partition"]),
            digest=digest,
            parent=parent,
            is_chosen=point == choice["point"],
        )


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
    store: ModelStore,
    files: Sequence[_File],
    plan: PlanRecord,
    before: Mapping[Role, str],
    base: str | None,
) -> list[KeptModel]:
    """Store some models; the entries of the release's list."""
    models, records, resembled, listed = {}, {}, {}, []
    for file in files:
        tensors, meta = load_state(file.path)
        model = model_id(file.key.identity, tensors)
        base = model if file.key.kind == "base" else base
        one = file.listed(model)
        listed.append(one)
        recipe = recipe_of(store, model) if model in store else None
        if recipe is not None:
            if not (lost_rows(store, model) or lacks(store, model, recipe)):
                continue
            store.remove([model])  # the data has its rows again
        models[model] = tensors
        if model in store:
            continue
        parent = before.get(role_of(one)) if file.parent is None else file.parent.id_in(store)
        start = base if file.key.kind in ("generalist", "specialist") else None
        near = start if parent in (None, model) or parent not in store else parent
        if near is not None:
            resembled[model] = near
        origin = {"parent": None if parent == model else parent, "base": start}
        facts = {"key": list(file.key), "digest": file.digest, "meta": meta}
        if file.parent is not None:
            facts["mixing"] = file.parent.mixing
        records[model] = one | origin | facts
        records[model] |= _training(file, plan)
    if plan["settings"]["store"]["keep"] == "snapshot":
        records = {model: record | {"keep": "snapshot"} for model, record in records.items()}
        base, resembled = None, {}
    store.save(models, base, resembled, records)
    return listed


def _stored(store: ModelStore, files: Sequence[_File]) -> list[KeptModel]:
    """Models whose files are gone but which the store has."""
    ids = {model.split("-")[0]: model for model in store.ids()} if files else {}
    return [file.listed(ids[file.key.identity]) for file in files if file.key.identity in ids]


def _training(file: _File, plan: PlanRecord) -> dict[str, Any]:
    """How a model was trained, and the cost of that."""
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
