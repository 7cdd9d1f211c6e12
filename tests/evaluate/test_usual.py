"""The usual models of tables: fitted like scikit-learn's, chosen on rows that others choose on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from shoal.ask.usual import BOOSTED, LINEAR, usual_answers
from shoal.errors import CorruptError
from shoal.evaluate.usual import Sample, _boosted, _linear, fit_usual
from shoal.formats.fitted_state import load_state, save_state
from shoal.formats.hashing import KEY_BYTES, ROW_HASH_BYTES, hash_rows
from shoal.formats.kinds import TRAIN, VALIDATION
from shoal.formats.row_store import RowArray, write_rows
from shoal.formats.shapes import Shapes
from shoal.partitions.reader import halves

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.workflow.small import Experiment

NAMES = ["a", "b", "c"]
NUMBERS = Shapes([3], 1, "regression", None, 1, NAMES, [])
TWO = Shapes([3], 2, "classification", ["no", "yes"], 1, NAMES, [])
FOUR = Shapes([3], 4, "classification", ["p", "q", "r", "s"], 1, NAMES, [])


def labels(x: NDArray, shapes: Shapes) -> NDArray:
    """Straight for numbers; classes by quadrant, the third of four never."""
    if shapes.classes is None:
        return (x @ [2.0, -1.0, 0.5] + 3.0).astype(np.float32)
    above = (x[:, 0] > 0).astype(np.int64)
    return above if shapes is TWO else above + 2 * (x[:, 1] > 0) * above


def rows(shapes: Shapes, count: int = 1200) -> dict[str, NDArray]:
    """Two of three for training, the others for validation."""
    x = np.random.default_rng(1).normal(size=(count, 3)).astype(np.float32) * [1, 5, 0.1] + 2
    x = x.astype(np.float32)
    y = labels(x, shapes)
    fold = np.where(np.arange(count) % 3, TRAIN, VALIDATION).astype(np.uint8)
    key, own = (hash_rows({"x": x}, size) for size in (KEY_BYTES, ROW_HASH_BYTES))
    return {"x": x, "y": y, "key": key, "hash": own, "fold": fold}


def shards(folder: Path, arrays: dict[str, NDArray], cuts: Sequence[int]) -> list[Path]:
    paths = []
    for number, places in enumerate(np.split(np.arange(len(arrays["y"])), cuts)):
        part = {name: array[places] for name, array in arrays.items()}
        specs = {name: RowArray(array.shape[1:], str(array.dtype)) for name, array in part.items()}
        paths.append(folder / f"{len(cuts)}-{number}.zarr.zip")
        write_rows(paths[-1], len(places), specs, [part], {})
    return paths


def saved(folder: Path, shapes: Shapes, cuts: Sequence[int] = ()) -> Path:
    """File of models that were fitted on shards."""
    fitted = fit_usual(shards(folder, rows(shapes), cuts), shapes, 0, 1)
    arrays = {f"{n}/{k}": a for n, each in fitted.items() for k, a in each.model.tensors().items()}
    facts = {name: each.facts for name, each in fitted.items()}
    about = {"trained_on": {"train": ""}, "rows": {"train": 0}}
    save_state(folder / "usual.safetensors", arrays, {"models": facts, **about})
    return folder / "usual.safetensors"


@pytest.mark.parametrize("shapes", [NUMBERS, TWO, FOUR], ids=["numbers", "two", "four"])
def test_trees_answer_as_those_of_scikit_learn(shapes: Shapes) -> None:
    """Sums of the kept rounds, also where a class has no training rows."""
    arrays = rows(shapes)
    train, held = (Sample(arrays["x"][s], arrays["y"][s]) for s in (slice(800), slice(800, 1200)))
    with threadpool_limits(1):
        fitted = list(_boosted(train, held, shapes, 0))[-1]
    kind = HistGradientBoostingRegressor if shapes is NUMBERS else HistGradientBoostingClassifier
    rounds = int(fitted.chosen["rounds"])
    with threadpool_limits(1):
        theirs = kind(max_iter=rounds, early_stopping=False, random_state=0).fit(*train)

    found = fitted.model.outputs(held.x)

    if shapes is NUMBERS:
        np.testing.assert_allclose(found[:, 0], theirs.predict(held.x), rtol=1e-6)
    else:
        with np.errstate(over="ignore"):
            said = np.exp(found - found.max(axis=1, keepdims=True))
        said /= said.sum(axis=1, keepdims=True)
        expected = np.zeros_like(said)
        expected[:, theirs.classes_] = theirs.predict_proba(held.x)
        np.testing.assert_allclose(said, expected, atol=1e-6)


@pytest.mark.parametrize("shapes", [NUMBERS, TWO, FOUR], ids=["numbers", "two", "four"])
def test_a_linear_model_learns_what_is_linear(shapes: Shapes) -> None:
    """Whatever the features' means and scales."""
    arrays = rows(shapes)
    first = next(_linear(Sample(arrays["x"], arrays["y"]), shapes))

    found = first.model.outputs(arrays["x"])

    if shapes is NUMBERS:
        assert np.abs(found[:, 0] - arrays["y"]).max() < 0.01
    else:
        assert (found.argmax(axis=1) == arrays["y"]).mean() > 0.97
    assert first.model.flops_per_row == 2 * 3 * shapes.outputs
    assert first.flops > 0


@pytest.mark.parametrize("shapes", [NUMBERS, FOUR], ids=["numbers", "four"])
def test_the_cut_into_shards_changes_no_bit(shapes: Shapes, tmp_path: Path) -> None:
    """Models and account."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()

    one, two = saved(tmp_path / "one", shapes), saved(tmp_path / "two", shapes, [100, 700])

    assert one.read_bytes() == two.read_bytes()


def test_an_answer_depends_on_no_other_row(tmp_path: Path) -> None:
    """Bit by bit, in another order and alone."""
    path, x = saved(tmp_path, FOUR), rows(FOUR)["x"]

    whole = usual_answers(path, x, "classification")
    turned = usual_answers(path, x[::-1], "classification")
    alone = usual_answers(path, x[5:6], "classification")

    for name in (LINEAR, BOOSTED):
        np.testing.assert_array_equal(whole[name], turned[name][::-1])
        np.testing.assert_array_equal(whole[name][5:6], alone[name])


def test_models_are_chosen_on_the_choosing_half(tmp_path: Path) -> None:
    """Training labels are noise about a line; of validation rows the other half misleads."""
    arrays = rows(NUMBERS)
    other = (arrays["fold"] == VALIDATION) & (halves(arrays) == 1)
    clean = fit_usual(shards(tmp_path, arrays, []), NUMBERS, 0, 1)
    arrays["y"][other] = 1e6
    spoilt = fit_usual(shards(tmp_path, arrays, [1]), NUMBERS, 0, 1)

    assert [each.chosen for each in clean.values()] == [each.chosen for each in spoilt.values()]
    arrays["y"][arrays["fold"] == VALIDATION] = arrays["y"][arrays["fold"] == TRAIN].mean()
    constant = fit_usual(shards(tmp_path, arrays, [2]), NUMBERS, 0, 1)
    assert constant[LINEAR].chosen == {"penalty": 100.0}
    assert constant[BOOSTED].chosen["rounds"] < clean[BOOSTED].chosen["rounds"]


def test_nothing_is_fitted_to_one_class(tmp_path: Path) -> None:
    """There is nothing to learn."""
    arrays = rows(TWO)
    arrays["y"][:] = 1

    assert fit_usual(shards(tmp_path, arrays, []), TWO, 0, 1) == {}


@pytest.mark.parametrize("node", [-1, 0, 10**9])
def test_trees_that_lead_nowhere_are_refused(node: int, tmp_path: Path) -> None:
    """In one line that names the file; no row goes round in circles."""
    path = saved(tmp_path, TWO)
    tensors, meta = load_state(path)
    tensors["boosted_trees/left"][1] = node
    save_state(path, tensors, meta)

    with pytest.raises(CorruptError, match=r"usual\.safetensors: 'boosted_trees' is no such model"):
        usual_answers(path, rows(TWO)["x"], "classification")


def test_usual_models_of_a_table_are_contenders(finished: Experiment) -> None:
    """They are scored on the test rows as all others are, at what they cost."""
    metrics = finished.metrics()

    for name in (LINEAR, BOOSTED):
        scored = metrics[name]
        assert 0.5 < scored["score"] <= 1
        assert 0 < scored["inference_flops_per_row"] < scored["train_flops"]
        assert "worst_partition" in scored
