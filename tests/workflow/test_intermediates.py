"""Activations of a real experiment's models: kept, searched, and kept again after a change."""

import csv
import io
import json
import re

import numpy as np
import pytest

from shoal.embed.embedder import load_embedder
from shoal.errors import ModelError, SourceError
from shoal.explore.intermediates.ask import nearest_rows, top_rows
from shoal.explore.intermediates.costs import Costs
from shoal.explore.intermediates.forms import FORMS, as_kept
from shoal.explore.intermediates.keeping import BEYOND, FASTER, Request, keep
from shoal.explore.intermediates.store import Intermediates
from tests.workflow.small import nudge_training_rows

HIDDEN = "layers.2"
PLENTY = 10_000_000


def opened(experiment, *, slow=1.0):
    """The experiment's activations, on a machine where a row takes ``slow`` seconds to recompute.

    Reading takes one second a block.
    """
    store = Intermediates(experiment.folder / "results" / "tiny")
    store.folder.mkdir(exist_ok=True)
    model = store.models.find("base")
    costs = Costs.load(store.folder, model.release.threads)
    costs.content["read"] = {form: [1.0, 0.0] for form in FORMS}
    costs.learn(model.architecture, 0.0, 0.0, dict.fromkeys(store.layers(model), slow))
    costs.save()
    return Intermediates(store.models.kept.home)


def request(layer=HIDDEN, form="full", rows="own", model=""):
    """Something to keep, of all models unless one is named."""
    return Request(model, layer, form, rows)


def everything(store, name, layer=HIDDEN, form="full", rows="own"):
    """Activations of a model by a row's number."""
    model = store.models.find(name)
    blocks = model.release.rows.blocks(rows, model.partition)
    found = {}
    for block, values in store.blocks(model, layer, form, blocks):
        found |= dict(zip(block.order.tolist(), values, strict=True))
    return np.stack([found[number] for number in sorted(found)])


def test_activations_are_what_the_model_gives(copied):
    """A specialist's hidden layer on its own rows is what its weights make of them."""
    store = opened(copied)
    model = store.models.find("1")
    rows = model.release.rows
    x = rows.read_all(rows.blocks("own", 1), "x")
    tensors = store.models.kept.store.load(model.id)
    expected = np.maximum(x @ tensors["layers.1.weight"].T + tensors["layers.1.bias"], 0)

    np.testing.assert_allclose(everything(store, "1"), expected, atol=1e-6)
    assert len(everything(store, "base")) == 450


@pytest.mark.parametrize("form", FORMS)
def test_what_is_kept_is_read_and_is_the_same(copied, form):
    """Whether values are kept or recomputed changes not one bit of them, in any form."""
    before = everything(opened(copied), "0", form=form)
    keep(opened(copied), [request(form=form)], PLENTY)

    store = opened(copied)
    after = everything(store, "0", form=form)

    assert after.tobytes() == before.tobytes()
    assert (store.read, store.recomputed) == (len(after), 0)
    assert store.form_of(store.models.find("0"), HIDDEN) == form
    if not form.startswith("pooled"):
        assert np.abs(after - everything(store, "0", form="full")).max() < 0.05


def test_keeping_again_computes_nothing(copied):
    """A second call finds everything there, and leaves the files as they are."""
    keep(opened(copied), [request()], PLENTY)
    folder = opened(copied).folder
    files = {path.name: path.stat().st_mtime_ns for path in folder.glob("pack-*")}

    store = opened(copied)
    (row,) = keep(store, [], PLENTY)

    assert store.recomputed == 0
    assert row["kept"] == row["wanted"] == row["distinct"] > 0
    assert files == {path.name: path.stat().st_mtime_ns for path in folder.glob("pack-*")}


def test_a_changed_partition_alone_is_computed_again(copied):
    """After a data change only the changed partition's models and rows are computed."""
    keep(opened(copied), [request(model="0"), request(model="1")], PLENTY)
    nudge_training_rows(copied, 1)
    copied.run()

    store = opened(copied)
    changed = store.models.find("0")
    rows = keep(store, [], PLENTY)

    blocks = changed.release.rows.blocks("own", 0)
    assert store.models.find("1").id == store.models.find("1:1").id
    assert store.recomputed == sum(map(len, blocks))
    assert rows[0]["kept"] == rows[0]["wanted"]
    assert len(everything(store, "1:0")) == len(everything(store, "0"))


def test_a_budget_holds(copied):
    """Files of blocks never take more than the budget; answers are as they were."""
    before = everything(opened(copied), "0")
    for budget in (9_000, 6_000, 0):
        (row,) = keep(opened(copied), [request()], budget)
        store = opened(copied)
        assert store.catalogue.size <= budget
        assert row["kept"] < row["wanted"]
        assert row["note"] == BEYOND
        assert everything(store, "0").tobytes() == before.tobytes()
    assert not store.catalogue.entries


def test_the_budget_goes_to_what_saves_most_time_a_byte(copied):
    """A layer that takes longer to reach is kept before one that is reached at once."""
    store = opened(copied)
    model = store.models.find("base")
    costs = store.costs(model)
    costs.content["compute"][model.architecture]["layers"]["layers.3"] = 50.0
    costs.save()

    rows = keep(store, [request("layers.1"), request("layers.3")], 9_000)

    kept = {row["layer"]: row["kept"] for row in rows}
    assert kept["layers.3"] > 0 == kept["layers.1"]


def test_what_is_recomputed_faster_is_not_kept(copied):
    """Where reading takes longer than recomputing nothing is kept, and what is kept is not read."""
    keep(opened(copied), [request()], PLENTY)
    store = opened(copied, slow=1e-6)
    everything(store, "0")
    assert store.read == 0

    (row,) = keep(store, [], PLENTY)

    assert (row["kept"], row["note"]) == (0, FASTER)
    assert not store.catalogue.entries


def with_shared_layer(experiment):
    """Give partition 0 a specialist whose first layer is the base's, as if it had been frozen."""
    store = Intermediates(experiment.folder / "results" / "tiny")
    pool = store.models.kept.store
    base, own = (store.models.find(name).id for name in ("base", "0"))
    tensors = pool.load(own) | {k: v for k, v in pool.load(base).items() if k[:8] == "layers.1"}
    pool.save({"frozen-1": tensors}, base, records={"frozen-1": pool.record(own)})
    (path,) = (store.models.kept.home / "models").glob("*.json")
    path.write_text(path.read_text().replace(f'"{own}"', '"frozen-1"'))
    return own


def test_layers_that_models_share_are_computed_and_kept_once(copied):
    """Where layer and rows are the same the activation is, and later layers are their own."""
    own = with_shared_layer(copied)
    store = opened(copied)
    model = store.models.find("0")
    assert model.id == "frozen-1" != own
    keep(store, [request(layer, model="base") for layer in ("layers.1", "layers.3")], PLENTY)

    store = opened(copied)
    rows = keep(store, [request("layers.1", model="0"), request("layers.3", model="0")], PLENTY)

    first, last = rows
    blocks = model.release.rows.blocks("own", 0)
    assert first["wanted"] - first["distinct"] == len(blocks)
    assert last["wanted"] == last["distinct"]
    shared = everything(store, "0", "layers.1")
    mine = {b.order[0]: v for b, v in store.blocks(model, "layers.1", "full", blocks)}
    both = store.blocks(store.models.find("base"), "layers.1", "full", blocks)
    assert all(np.array_equal(mine[block.order[0]], values) for block, values in both)
    assert store.recomputed == len(shared)  # for layers.3, alone


def test_a_layer_without_weights_belongs_to_all(copied):
    """What no weight has touched is the same in every model, and kept once."""
    (row,) = keep(opened(copied), [request("layers.0", rows="all")], PLENTY)

    assert row["wanted"] == 4 * row["distinct"]


def test_a_sample_is_the_same_rows_for_every_model(copied):
    """Models are compared on as many rows as asked for."""
    store = opened(copied)

    assert len(everything(store, "0", rows="40")) == len(everything(store, "base", rows="40")) == 40


def test_neighbours_of_a_row_and_of_a_file(copied):
    """Those of a row by its key are those of a file that holds it, but for the row itself."""
    store = opened(copied)
    keep(store, [request()], PLENTY)
    columns, found = nearest_rows(store, "base", HIDDEN, first_key(copied), 5, "", "all")
    assert columns == ["query", "key", "shard", "partition", "fold", "label", "distance"]
    assert [row[-1] for row in found] == sorted(row[-1] for row in found)

    source = copied.folder / "data" / "part-0.csv"
    _, of_file = nearest_rows(store, "base", HIDDEN, str(source), 6, "", "all")

    assert len(of_file) == 150 * 6
    own = [row for row in of_file if row[0] == 1]
    assert own[0][1] == first_key(copied)
    assert own[0][-1] == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose([r[-1] for r in own[1:]], [r[-1] for r in found], atol=1e-6)


def first_key(experiment):
    """Key of the first row of the first source file."""
    result = experiment.shoal("query", "results/tiny", "SELECT key, a, b FROM rows", "--csv")
    assert result.returncode == 0, result.stderr
    with (experiment.folder / "data" / "part-0.csv").open() as file:
        first = next(csv.DictReader(file))
    rows = csv.DictReader(io.StringIO(result.stdout))
    wanted = [float(first[name]) for name in "ab"]
    return next(row["key"] for row in rows if [float(row[name]) for name in "ab"] == wanted)


def test_the_embedding_is_searched_as_a_layer(copied):
    """The embedder's layer is there without being kept: it is made from the rows."""
    store = opened(copied)
    _, found = nearest_rows(store, "embedder", "embedding", first_key(copied), 3, "", "own")
    assert len(found) == 3
    _, highest = top_rows(store, "embedder", "embedding", "1", 450, "", "own")
    rows = store.models.last.rows
    embedder = load_embedder(store.models.last.layout.file("embed_fit.embedder"))
    expected = embedder.embed(rows.read_all(rows.blocks("all"), "x"))[:, 1]
    np.testing.assert_allclose([row[-1] for row in highest], np.sort(expected)[::-1])
    with pytest.raises(ModelError, match="no layer 'x'"):
        top_rows(store, "embedder", "x", "1", 1, "", "own")


def test_rows_of_a_release_that_are_gone_are_named(copied):
    """Where garbage collection took a release's index its models are there, its rows are not."""
    store = Intermediates(copied.folder / "results" / "tiny")
    store.models.last.layout.index.unlink()

    assert store.models.find("1:0").tensors
    with pytest.raises(SourceError, match=r"index\.json: not there, `shoal gc` removes"):
        everything(store, "1:0")


def test_commands_keep_list_and_search(copied):
    """The commands do what the functions do; damage is one line and exit code 2."""
    opened(copied)  # a machine on which reading is faster
    arguments = ("--layer", HIDDEN, "--form", "float16", "--budget", "1MB")
    result = copied.shoal("intermediates", "keep", "results/tiny", *arguments)
    assert result.returncode == 0, result.stderr
    assert HIDDEN in result.stdout
    listed = copied.shoal("intermediates", "list", "results/tiny")
    assert listed.stdout == result.stdout

    top = ("intermediates", "top", "results/tiny", "1", HIDDEN, "2", "-k", "3", "--json")
    result = copied.shoal(*top)
    assert result.returncode == 0, result.stderr
    values = [row["activation"] for row in json.loads(result.stdout)]
    hidden = everything(Intermediates(copied.folder / "results" / "tiny"), "1", form="full")
    assert values == np.sort(as_kept("float16", hidden)[:, 2])[::-1][:3].tolist()
    assert "in form float16" in result.stderr

    (pack,) = (copied.folder / "results" / "tiny" / "intermediates").glob("pack-*")
    pack.write_bytes(pack.read_bytes().replace(b"\x28\xb5\x2f\xfd", b"\x28\xb5\x2f\xfe"))
    costs = pack.with_name("costs.json")
    costs.unlink()  # nothing is recomputed because it would be faster
    result = copied.shoal(*top)
    assert result.returncode == 2
    assert re.fullmatch(
        rf"shoal: error: results/tiny/intermediates/{pack.name}: layer 'layers.2' of model 1, "
        r"rows \d+ to \d+ of shard \w+: the block is damaged; remove .*\n",
        result.stderr,
    )


def test_the_settings_budget_is_the_usual_one(copied):
    """Without --budget the settings' one holds; no stage depends on it."""
    assert copied.plan(overrides="[intermediates.budget=5000]") == []
    result = copied.shoal("intermediates", "keep", "results/tiny", "--layer", HIDDEN)

    assert result.returncode == 0, result.stderr
    assert "of 1.0 GB" in result.stdout


def test_a_model_that_is_kept_as_a_recipe_is_asked_like_others(copied):
    """What a layer gives does not depend on how the model is kept."""
    results = "results/tiny"
    asked = ("intermediates", "top", results, "1", HIDDEN, "0", "-k", "3")
    before = copied.shoal(*asked)
    result = copied.shoal("models", "keep", results, "1", "--as", "recipe")
    assert result.returncode == 0, result.stderr

    kept = copied.shoal("intermediates", "keep", results, "--layer", HIDDEN)

    assert kept.returncode == 0, kept.stderr
    assert copied.shoal(*asked).stdout == before.stdout != ""
