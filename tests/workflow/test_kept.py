"""What the workflow keeps of every release, and how people look at it."""

import json
import re
import shutil

import numpy as np
import pytest

from shoal.archive.kept import Archive
from shoal.errors import ModelError
from shoal.formats.fitted_state import load_state
from tests.workflow.small import AT_ONCE, nudge_training_rows


def stored(experiment):
    """Every model file of the generation: its tensors by the kind of file."""
    folder = experiment.generation
    paths = [*folder.glob("specialists/*/*/*/*/model.safetensors"), *folder.glob("base/*/base.*")]
    return {path: load_state(path)[0] for path in paths}


def same(first, second):
    """Whether two models have the same bits."""
    return set(first) == set(second) and all(
        first[name].tobytes() == second[name].tobytes() for name in first
    )


def test_every_model_is_kept_with_its_bits(finished):
    """The store holds base, generalist, router and every specialist of every grid point."""
    kept = Archive(finished.folder / "results" / "tiny")
    (release,) = kept.releases
    assert [each["kind"] for each in release["models"]].count("specialist") == 4
    loaded = [kept.store.load(each["id"]) for each in release["models"]]
    for path, tensors in stored(finished).items():
        assert any(same(tensors, other) for other in loaded), path
    assert kept.store.fsck() == []


def test_past_models_outlive_their_files(copied):
    """After a data change and a collection of garbage every earlier model is still recovered."""
    before = stored(copied)
    nudge_training_rows(copied, 1)
    copied.run()
    assert copied.shoal("gc", "tiny", "--keep", "1", "--remove").returncode == 0
    assert any(not path.exists() for path in before)

    kept = Archive(copied.folder / "results" / "tiny")
    assert [each["number"] for each in kept.releases] == [1, 2]
    models = [kept.store.load(each["id"]) for each in kept.releases[0]["models"]]
    for tensors in before.values():
        assert any(same(tensors, other) for other in models)
    assert kept.store.fsck() == []


def test_the_log_tells_what_each_release_brought(copied):
    """A change of one partition brings that partition's specialists; its model names its parent."""
    nudge_training_rows(copied, 1)
    copied.run()
    kept = Archive(copied.folder / "results" / "tiny")
    *_, (release, new, gone) = kept.changes()
    changed = {each["partition"] for each in new if each["kind"] == "specialist"}

    assert len(changed) == 1
    assert gone == len(new)
    (partition,) = changed
    record = kept.store.record(kept.find(str(partition)))
    assert record["parent"] == kept.find(f"1:{partition}")
    assert record["base"] == kept.find("base") == kept.find("1:base")
    result = copied.shoal("models", "log", "results/tiny")
    assert result.returncode == 0, result.stderr
    last, first = re.findall(r"^\s*([12])\s+([0-9a-f]{10})", result.stdout, re.M)
    assert (last, first) == (("2", release["release"]), ("1", kept.releases[0]["release"]))


def test_a_difference_names_the_layers(copied):
    """Equal models are said to be equal; others are compared layer by layer."""
    kept = Archive(copied.folder / "results" / "tiny")
    first, second = "0", "1"
    equal = copied.shoal("models", "diff", "results/tiny", first, kept.find(first))
    assert "equal, bit for bit" in equal.stdout
    result = copied.shoal("models", "diff", "results/tiny", first, second)

    models = [kept.store.load(kept.find(each)) for each in (first, second)]
    layers = {name.rpartition(".")[0] for name in models[0]}
    for layer in layers:
        own = [n for n in models[0] if n.startswith(f"{layer}.")]
        apart = [np.abs(models[0][n].astype(float) - models[1][n]).max() for n in own]
        (line,) = [row for row in result.stdout.splitlines() if row.startswith(layer)]
        assert f"{max(apart):.3g}" in line


def test_a_tag_names_a_model(copied):
    """A tag is another name for a model, and no other name may be taken for it."""
    kept = Archive(copied.folder / "results" / "tiny")
    result = copied.shoal("models", "tag", "results/tiny", "best", "1")
    assert result.returncode == 0, result.stderr

    assert kept.find("best") == kept.find("1")
    assert "best" in copied.shoal("models", "show", "results/tiny", "best").stdout
    with pytest.raises(ModelError, match="colon"):
        kept.tag("1:0", "1")


@pytest.mark.parametrize(
    "command",
    [["log"], ["show", "0"], ["rebase"], ["forget"], ["fsck"]],
)
def test_a_folder_without_models_is_named_in_one_line(finished, command):
    """Nothing is made where there is none, as after a slip of the pen."""
    name, *options = command
    result = finished.shoal("models", name, "results/tny", *options)

    assert result.returncode == 2
    assert re.fullmatch(r"shoal: error: results/tny: no .* kept here; .*\n", result.stderr)
    assert not (finished.folder / "results" / "tny").exists()


def test_a_store_that_was_emptied_is_not_called_clean(copied):
    """A sound store without the models of a release is a problem; so says the audit."""
    store = copied.folder / "results" / "tiny" / "store"
    shutil.rmtree(store)
    store.mkdir()

    result = copied.shoal("models", "fsck", "results/tiny")

    assert result.returncode == 1
    count = len(Archive(copied.folder / "results" / "tiny").releases[0]["models"])
    assert f"store: lacks {count} of {count} models of results/tiny, release 1," in result.stdout
    assert "it was emptied or is an older copy" in copied.shoal("audit", "tiny").stdout


def test_a_store_that_was_rolled_back_is_not_called_clean(copied):
    """An older copy of the store lacks the models of the last release."""
    home = copied.folder / "results" / "tiny"
    shutil.copytree(home / "store", copied.folder / "older")
    nudge_training_rows(copied, 1)
    copied.run()
    new = {each["id"] for each in Archive(home).releases[1]["models"]}
    new -= {each["id"] for each in Archive(home).releases[0]["models"]}
    shutil.rmtree(home / "store")
    (copied.folder / "older").rename(home / "store")

    result = copied.shoal("models", "fsck", "results/tiny")

    assert result.returncode == 1
    assert f"store: lacks {len(new)} of" in result.stdout
    assert "results/tiny, release 2," in result.stdout


def test_an_unknown_model_is_named_in_one_line(copied):
    """The message says what there is."""
    result = copied.shoal("models", "show", "results/tiny", "7")

    assert result.returncode == 2
    assert re.fullmatch(r"shoal: error: results/tiny: model '7' is unknown; .*\n", result.stderr)


@pytest.mark.parametrize("suffix", ["safetensors", "pt2", "onnx"])
def test_an_exported_model_answers_like_the_kept_one(copied, suffix):
    """Any number of rows get the same answers from the file."""
    import torch

    out = copied.folder / f"model.{suffix}"
    result = copied.shoal("models", "export", "results/tiny", "1", str(out))
    assert result.returncode == 0, result.stderr
    kept = Archive(copied.folder / "results" / "tiny")
    tensors = kept.store.load(kept.find("1"))
    x = np.random.default_rng(0).normal(size=(5, 5)).astype(np.float32)
    x = x[:, : tensors[min(tensors)].shape[-1]]
    if suffix == "safetensors":
        from safetensors import safe_open

        with safe_open(out, framework="np") as file:
            names = file.keys()
            assert same(tensors, {name: file.get_tensor(name) for name in names})
            assert json.loads(file.metadata()["shoal"])["kind"] == "specialist"
        return
    if suffix == "pt2":
        answer = torch.export.load(out).module()(torch.from_numpy(x)).detach().numpy()
    else:
        onnx = pytest.importorskip("onnx")
        from onnx.reference import ReferenceEvaluator

        (answer,) = ReferenceEvaluator(onnx.load(out)).run(None, {"x": x})
    assert answer.shape == (5, 2)
    hidden = np.maximum(x @ tensors["layers.1.weight"].T + tensors["layers.1.bias"], 0)
    expected = hidden @ tensors["layers.3.weight"].T + tensors["layers.3.bias"]
    np.testing.assert_allclose(answer, expected, atol=1e-5)


def test_an_undone_change_takes_its_specialists_from_the_store(copied):
    """After garbage was collected, undoing a change trains nothing, and gives the same bits."""
    source = copied.folder / "data" / "part-0.csv"
    content, before = source.read_bytes(), stored(copied)
    nudge_training_rows(copied, 1)
    copied.run()
    assert copied.shoal("gc", "tiny", "--keep", "1", "--remove").returncode == 0
    lost = [path for path in before if not path.exists()]
    source.write_bytes(content)

    ran = copied.run()

    assert ran.count("train_specialist") == len(lost) > 0
    for path in lost:
        assert same(load_state(path)[0], before[path])
        assert "recovered" in json.loads(path.with_name("ledger.json").read_text())
    assert copied.shoal("audit", "tiny").returncode == 0


def test_a_results_folder_under_another_name_has_its_archive(copied):
    """Models are known by what they were made from, not by where they lie."""
    results = copied.folder / "results"
    nudge_training_rows(copied, 1)
    (results / "tiny").rename(results / "other")
    archive = Archive(results / "other")
    before = {each["id"]: each["kind"] for each in archive.releases[-1]["models"]}
    shutil.rmtree(results / "other" / "g1" / "specialists")

    result = copied.snakemake(*AT_ONCE, overrides="[name=other]")

    assert result.returncode == 0, result.stderr
    ledgers = results.glob("other/g1/specialists/*/*/*/*/ledger.json")
    recovered = ["recovered" in json.loads(path.read_text()) for path in ledgers]
    assert sorted(recovered) == [False, False, True, True]
    after = {each["id"] for each in Archive(results / "other").releases[-1]["models"]}
    kinds = [kind for model, kind in before.items() if model in after]
    assert sorted(kinds) == ["base", "generalist", "specialist", "specialist"]
    assert all(archive.store.record(model)["key"][0] == kind for model, kind in before.items())
