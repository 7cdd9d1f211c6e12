"""What is kept of specialists that continue: differences, recipes, and what these need."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import shoal.archive.forget as own_forget
from shoal.archive.forget import forget, gone_rows, lost_with, old_models
from shoal.archive.kept import Archive, Key, problems
from shoal.archive.recipes import joined, recovery_seconds
from shoal.archive.recover import recover
from shoal.archive.storage import keep_as, settle, storage_of
from shoal.cli.stage_command import StageJob
from shoal.errors import ModelError
from shoal.formats.documents.index import PartitionIndex, named_file
from shoal.formats.documents.ledger import Flops
from shoal.formats.fitted_state import load_state
from shoal.formats.json_file import read_json, read_made
from shoal.operate.audit.audit import audit
from shoal.plan.layout import Layout
from shoal.plan.plan import Plan
from shoal.plan.run_file import write_once
from shoal.plan.stages import STAGES
from shoal.train_specialists.candidate import Candidate
from tests.workflow.small import CONTINUING, as_config, write_wave


def same(first, second):
    """Whether two models have the same bits."""
    return set(first) == set(second) and all(
        first[name].tobytes() == second[name].tobytes() for name in first
    )


def kept_in(experiment):
    """What the experiment has kept."""
    return Archive(experiment.folder / "results" / "tiny")


def layout_of(experiment):
    """The layout of its last run, by paths from the current folder."""
    record = read_json(experiment.folder / "results/tiny/plan.json", dict[str, Any])
    return Layout.from_json(record["layout"])


def continued(experiment):
    """Weights of what each partition's specialist continues from, and of what its generalist does.

    The experiment's folder is the current one.
    """
    path = layout_of(experiment).index
    index = read_made(path, PartitionIndex)
    parts = [*(entry["continued"] for entry in index["partitions"]), index["continued"]]
    return [named_file(path, each["weights"]) for each in parts]


@pytest.fixture
def kept(own):
    """What it has kept."""
    return kept_in(own)


def chain(kept, partition):
    """A partition's specialist from the base, and its two links."""
    return [kept.find(f"{release}:{partition}") for release in (2, 3, 4)]


@pytest.mark.parametrize("which", ["0", "1", "generalist"])
def test_the_parent_of_a_link_is_what_it_continues_from(two_waves, which):
    """So its record says, and the command; its base is the generation's."""
    kept = kept_in(two_waves)
    _, *links = models = chain(kept, which)

    for model, parent in zip(links, models, strict=False):
        record = kept.store.record(model)
        assert record["parent"] == parent
        assert record["base"] == kept.find("base")
    shown = two_waves.shoal("models", "show", "results/tiny", links[-1])
    assert re.search(rf"continues\s+{links[0]}", shown.stdout), shown.stdout + shown.stderr


def test_a_query_says_what_a_link_continues_from(two_waves):
    """By the name that the other was trained under."""
    text = """SELECT count(*) AS links FROM models WHERE kind = 'specialist'
              AND continues IN (SELECT trained_on FROM models)"""

    result = two_waves.shoal("query", "results/tiny", text)

    assert re.search(r"\b4\b", result.stdout), result.stdout + result.stderr


def test_a_chain_of_recipes_gives_the_same_bits_from_the_store_alone(own, kept):
    """Each is trained from its parent, which is trained again first, on the rows that it saw."""
    models = chain(kept, "0")
    expected = [kept.load(model) for model in models]
    for model in models:
        keep_as(kept, model, "recipe")
    shutil.rmtree(own.generation)

    assert [kept.store.load(model) for model in models] == [{}, {}, {}]
    assert all(same(kept.load(model), own) for model, own in zip(models, expected, strict=True))
    seconds = [kept.store.record(model)["ledger"]["seconds"] for model in models]
    assert recovery_seconds(kept.store, models[-1]) == pytest.approx(sum(seconds))
    records = [kept.store.record(model) for model in models]
    rows = [len(joined(kept.store.load(each["recipe"]["rows"]))["y"]) for each in records]
    assert rows == [record["meta"]["rows"] for record in records]
    assert rows[-1] < rows[0]
    assert problems(kept.root, kept.store) == []


def test_a_link_without_its_parent_has_no_recipe(kept):
    """It is refused in one line; a recipe that lost its parent names it."""
    _, parent, link = chain(kept, "0")
    _, other, made = chain(kept, "1")
    keep_as(kept, made, "recipe")
    kept.store.remove([parent, other])

    with pytest.raises(ModelError, match=f"model {link}: what its training starts from is not"):
        keep_as(kept, link, "recipe")
    with pytest.raises(ModelError, match=f"its parent, {other}, is gone"):
        kept.load(made)
    said = problems(kept.root, kept.store)
    assert f"{kept.store.place}: model {made} is kept as a recipe, and {other} is gone" in said


def test_a_forgotten_row_takes_the_links_after_it_along(own, kept, monkeypatch):
    """A recipe that continues from one with that row is lost too; others are not."""
    _, parent, link = chain(kept, "0")
    others = chain(kept, "1")[1:]
    for model in (parent, link, *others):
        keep_as(kept, model, "recipe")
    rows, later = (
        joined(kept.store.load(kept.store.record(model)["recipe"]["rows"]))["key"]
        for model in (parent, link)
    )
    gone = next(key for key in rows if key not in later)
    keys = own_forget._keys
    monkeypatch.setattr(
        own_forget, "_keys", lambda root: (each[each != gone] for each in keys(root))
    )

    found = gone_rows(kept.root, kept.store)
    assert found == {parent: 1}
    assert lost_with(kept.store, found) == [link]
    forget(kept.root, kept.store, found)

    for model in (parent, link):
        with pytest.raises(ModelError, match=r"training rows of it were forgotten \(1\)"):
            kept.load(model)
    shown = " ".join(own.shoal("models", "show", "results/tiny", link).stdout.split())
    assert "kept no more: rows of its recipe were forgotten (1)" in shown
    assert problems(kept.root, kept.store) == []
    assert all(kept.load(model) for model in others)


@pytest.mark.parametrize("first", ["parent", "link"])
def test_auto_bounds_the_recovery_of_a_whole_chain(kept, monkeypatch, first):
    """A model that would be trained after, or before, a recipe is one only if both are quick."""
    monkeypatch.setattr("shoal.archive.storage._saving", lambda *_: 1)
    _, parent, link = chain(kept, "0")
    done, left = (parent, link) if first == "parent" else (link, parent)
    settle(kept, [done], None)
    seconds = sum(kept.store.record(model)["ledger"]["seconds"] for model in (parent, link))

    settle(kept, [left], 0.99 * seconds)
    assert storage_of(kept.store.record(left)) == "delta"
    settle(kept, [left], 1.01 * seconds)
    assert storage_of(kept.store.record(left)) == "recipe"


def test_a_link_is_taken_from_the_store_only_after_the_same_parent(own, kept, tmp_path):
    """Settings, code, name and bits of the parent must be those of the job."""
    model, layout = kept.find("0"), layout_of(own)
    key = Key(*kept.store.record(model)["key"])
    parent, other, _ = continued(own)
    out, ledger = tmp_path / "model.safetensors", tmp_path / "ledger.json"

    assert not recover(layout, key, out, ledger, other)
    assert not recover(layout, key._replace(made_of="0123456789"), out, ledger, parent)
    assert not out.exists()
    assert recover(layout, key, out, ledger, parent)
    assert same(load_state(out)[0], kept.load(model))


def test_a_parent_that_went_after_the_plan_is_put_back_for_the_training(own, kept, tmp_path):
    """The job of its link writes it first, with the bytes that it had."""
    plan = Plan("tiny", list(CONTINUING), Path("config"))
    record = kept.store.record(kept.find("0"))
    wildcards = {"digest": record["digest"], "step": 0, "slot": record["point"]}
    write_once(plan.run_file, plan.record)
    take = StageJob(STAGES["train_specialist"], [plan.run_file], wildcards).argument("recover")
    parent = continued(own)[0]
    content = parent.read_bytes()
    parent.unlink()

    own_point = Candidate(record["meta"]["point"])
    assert take(record["digest"], own_point, tmp_path / "weights", tmp_path / "ledger.json")
    assert parent.read_bytes() == content


def test_collection_leaves_what_a_recipe_continues_from(kept):
    """Of models of old releases the parents of recipes stay; those of differences may go."""
    first, parent, link = chain(kept, "0")
    assert {first, parent} <= set(old_models(kept.root, 1).stored)

    keep_as(kept, link, "recipe")
    assert set(old_models(kept.root, 1).stored) & {first, parent, link} == {first}
    keep_as(kept, parent, "recipe")
    assert not set(old_models(kept.root, 1).stored) & {first, parent, link}


def test_weights_that_are_gone_are_continued_from_by_the_store(own):
    """A further wave puts them back, with the bytes that they had, and continues."""
    assert own.shoal("gc", "tiny", "--keep", "1", "--remove", *CONTINUING).returncode == 0
    layout = layout_of(own)
    index = read_made(layout.index, PartitionIndex)
    ledgers = [[*layout.search_of(e).ledgers, layout.choice(e)] for e in index["partitions"]]
    spent = [sum(read_made(path, Flops)["flops"] for path in each) for each in ledgers]
    files = [Path(layout.candidates(entry)[0]) for entry in index["partitions"]]
    files.append(layout.file("evaluate_generalist.model", index))
    before = [path.read_bytes() for path in files]
    tensors = load_state(files[-1])[0]
    for path in files:
        path.unlink()
    files[0].with_name("ledger.json").unlink()
    write_wave(own, 5)

    own.run(overrides=as_config(*CONTINUING))

    assert continued(own) == files
    assert [path.read_bytes() for path in files[:-1]] == before[:-1]
    assert same(load_state(files[-1])[0], tensors)
    entries = read_made(layout_of(own).index, PartitionIndex)["partitions"]
    assert [each["continued"]["links"] for each in entries] == [3, 3]
    assert [each["continued"]["spent"] for each in entries] == pytest.approx(spent)


def test_weights_that_are_gone_are_rewound_to_by_the_store(own):
    """What lost rows of the last wave goes on from the link before, and the audit agrees."""
    before = [load_state(path)[0] for path in continued(own)]
    for path in continued(own):
        path.unlink()
    path = own.folder / "data" / "part-4.csv"
    pd.read_csv(path).iloc[20:].to_csv(path, index=False)

    own.run(overrides=as_config(*CONTINUING))

    after = [load_state(path)[0] for path in continued(own)]
    assert all(map(same, after, before))
    entries = read_made(layout_of(own).index, PartitionIndex)["partitions"]
    assert [each["rewound"]["links"] for each in entries] == [1, 1]
    assert audit(Plan("tiny", list(CONTINUING), Path("config"))).findings == ()
