"""Tables of the origins of models: releases, datasets, partitions, transforms, lineage."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, cast

from shoal.explore.query.model_tables import modified
from shoal.formats.documents.index import PartitionIndex
from shoal.formats.headers import read_made_from
from shoal.formats.json_file import read_made
from shoal.plan.paths import glob, parse
from shoal.plan.stages import BEFORE_INDEX, INDEX, STAGES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from shoal.explore.query.results import Release, Results, Row
    from shoal.plan.stages import Stage

_INDEXES = glob(STAGES[INDEX], "index")


def releases(results: Results) -> Iterator[Row]:
    """Every release, of each variant in turn, the oldest first."""
    before: list[Release] = []
    for release in results.releases:
        before = [each for each in before if each.variant == release.variant]
        layout, index = release.layout, release.index
        earlier = _before(release, before)
        places: Row = {}
        if index is not None:
            places = {
                "evaluation": results.name(layout.file("evaluate.metrics", index)),
                "gate": results.name(layout.file("gate.gate", index)),
                "pool": results.name(layout.file("pool.manifest", index)),
            }
        yield {
            "release": release.record["release"],
            "variant": release.variant,
            "number": release.number,
            "current": release.current,
            "published": _time(release.record.get("published")),
            "generation": layout.generation,
            "data": _data(release),
            "index": results.name(layout.index),
            **places,
            "evaluation_before": _evaluation(results, earlier) if earlier else None,
            "settings": json.dumps(release.record["settings"], sort_keys=True),
        }
        before.append(release)


def prequential(results: Results) -> Iterator[Row]:
    """Every release: scores of the pool before it on rows that arrived, cost, drift."""
    for release in results.releases:
        told = release.record.get("over_time")
        if told is None:
            continue
        arrivals = told.get("arrivals")
        scores = arrivals["scores"] if arrivals else None
        scored: Row = {}
        if scores is not None:
            ends, against = scores["interval"], scores["difference"]
            scored = {name: scores[name] for name in ("metric", "score", "generalist", "units")}
            scored |= {"low": ends["low"], "high": ends["high"]}
            scored |= {"difference": against["value"] if against else None}
        yield {
            **_of_release(release),
            "published": _time(release.record.get("published")),
            "previous": arrivals["previous"] if arrivals else None,
            "rows": arrivals["arrived"] if arrivals else None,
            **scored,
            "reason": told["reason"],
            **told["made"],
            "action": told["action"],
            "drift": told["drift"],
            "beyond": told["beyond"],
        }


def prequential_partitions(results: Results) -> Iterator[Row]:
    """The same scores by partition of the pool before."""
    for release in results.releases:
        told = release.record.get("over_time")
        arrivals = told.get("arrivals") if told else None
        scores = arrivals["scores"] if arrivals else None
        for each in scores["partitions"] if scores else ():
            yield {**_of_release(release), **each}


def _of_release(release: Release) -> Row:
    record = release.record
    return {"release": record["release"], "variant": release.variant, "number": release.number}


def _time(text: str | None) -> datetime | None:
    """When a release was published, UTC; None of those by an earlier Shoal."""
    return None if text is None else datetime.fromisoformat(text)


def _before(release: Release, earlier: Sequence[Release]) -> Release | None:
    """The last release with other rows whose partitions are the same ones."""
    fits = release.layout.fits
    for each in reversed(earlier):
        same = each.layout.generation, each.layout.fits["cluster"]
        if same == (release.layout.generation, fits["cluster"]) and _differ(each, release):
            return each
    return None


def _differ(one: Release, other: Release) -> bool:
    """Whether two releases are known to be of different rows."""
    return None not in (_data(one), _data(other)) and _data(one) != _data(other)


def _data(release: Release) -> str | None:
    """Digest over all rows; None where it is not known any more."""
    return None if release.index is None else str(release.index["root"]["all"])


def _evaluation(results: Results, release: Release) -> str:
    return results.name(release.layout.file("evaluate.metrics", release.index))


def partitions(results: Results) -> Iterator[Row]:
    """Every partition of every index."""
    from shoal.formats.kinds import FOLDS

    for path in results.files(_INDEXES):
        for entry in read_made(path, PartitionIndex)["partitions"]:
            rows, digests = entry["rows"], entry["digests"]
            yield {
                "index": results.name(path),
                "partition": entry["partition"],
                **{f"{fold}_rows": rows[fold] for fold in FOLDS},
                **{fold: digests[fold] for fold in FOLDS},
                "specialist": entry["specialist"],
                "trained": entry["trained"],
                "waiting": "waiting" in entry,
            }


def datasets(results: Results) -> Iterator[Row]:
    """Source files, encoded rows, and the rows of each index: all, by purpose, by partition."""
    found: dict[str, Row] = {}
    for row in (*_sources(results), *_encoded(results), *_indexed(results)):
        found.setdefault(row["dataset"], row)
    yield from found.values()


def _sources(results: Results) -> Iterator[Row]:
    for path in results.files(glob(STAGES["split"], "table")):
        shard = results.place(path).wildcards["shard"]
        for file in read_made_from(path):
            if results.name(file) == file:
                yield {"dataset": shard, "kind": "source file", "location": file}


def _encoded(results: Results) -> Iterator[Row]:
    paths = results.files(glob(STAGES["encode"], "rows"))
    for path in dict.fromkeys(path.parent for path in paths):
        yield {"dataset": results.name(path), "kind": "encoded rows", "location": str(path)}


def _indexed(results: Results) -> Iterator[Row]:
    from shoal.formats.kinds import FOLDS

    for path in results.files(_INDEXES):
        index = read_made(path, PartitionIndex)
        root, rows = index["root"], index["rows"]
        counts = cast("dict[str, int]", rows)
        everything = {"location": str(path), "derived_from": root["all"]}
        fitted = rows["train"] + rows["validation"]
        yield {"dataset": root["all"], "kind": "all rows", "rows": sum(counts.values())} | {
            "location": str(path)
        }
        yield {"dataset": root["fit"], "kind": "train and validation", "rows": fitted} | everything
        yield {"dataset": root["train"], "kind": "train", "rows": rows["train"]} | everything
        for entry in index["partitions"]:
            own_rows, digests = entry["rows"], entry["digests"]
            for fold in FOLDS:
                own = {"rows": own_rows[fold], "partition": entry["partition"]}
                kind = f"{fold} of a partition"
                yield {"dataset": digests[fold], "kind": kind} | own | everything


def transforms(results: Results) -> Iterator[Row]:
    """Fits of the stages of data processing, each with the one before."""
    found: dict[str, Row] = {}
    for record, layout in results.plans:
        before = None
        fits = (each for each in BEFORE_INDEX if each.frozen and not each.per)
        for stage in (each for each in fits if each.name != "base_fit"):
            path = layout.file(f"{stage.name}.{stage.record}")
            name = results.name(path)
            if path.exists() and name not in found:
                found[name] = {
                    "transform": name,
                    "stage": stage.identity,
                    "generation": layout.generation,
                    "after": before,
                    "settings": json.dumps(record["settings"][stage.identity], sort_keys=True),
                    "modified": modified(path),
                }
            before = name
    yield from found.values()


def lineage(results: Results) -> Iterator[Row]:
    """From each artifact to those that it was made from, and from models to their rows."""
    for stage in STAGES.values():
        for path in _records(results, stage):
            name = results.name(path)
            for file, content in read_made_from(path).items():
                yield {"artifact": name, "made_from": results.name(file), "hash": content}
            yield from _rows_of(name, path)


def _records(results: Results, stage: Stage) -> Iterator[Path]:
    """One file of each artifact of a stage, which says what it was made from."""
    told = [name for name in stage.outputs if name not in stage.unrecorded]
    if stage.has_own_folder:
        told = [stage.record] if stage.record else []
    for output in told if stage.place == "generation" else ():
        yield from results.files(glob(stage, output))


def _rows_of(name: str, path: Path) -> Iterator[Row]:
    """Rows of an index that an artifact is made from, which its record of files does not name."""
    place = parse(path)
    if place is not None and place.stage.per == "slot":
        yield {"artifact": name, "made_from": place.wildcards["digest"]}
    elif place is not None and place.stage.name == INDEX:
        index = read_made(path, PartitionIndex)
        for digest in _digests(index):
            yield {"artifact": digest, "made_from": name}


def _digests(index: PartitionIndex) -> Iterator[str]:
    from shoal.formats.kinds import FOLDS

    root = index["root"]
    yield from (root["all"], root["fit"], root["train"])
    for entry in index["partitions"]:
        yield from (entry["digests"][fold] for fold in FOLDS)


def rows_paths(results: Results) -> list[Path]:
    """Tables of the rows that the current releases are made of, after split."""
    current = [each.layout for each in results.releases if each.current]
    paths = (path for layout in current for path in layout.files("split.table"))
    return [path for path in dict.fromkeys(paths) if path.exists()]
