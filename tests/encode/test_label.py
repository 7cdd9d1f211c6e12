"""Classes, numbers, and any numbers of a model's own as labels."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from shoal.encode.label import LabelSurvey, label_from_state
from shoal.errors import DataError


def surveyed(task, *batches):
    kind = pa.string() if task == "classification" else pa.float64()
    survey = LabelSurvey(["y"], task)
    for batch in batches:
        survey.add(pa.table({"y": pa.array(batch, kind)}))
    return survey


def test_classes_are_sorted_and_an_unseen_one_is_minus_one():
    """Codes follow the sorted classes of all batches; -1 has no name."""
    label = surveyed("classification", ["b", "c"], ["a"]).label()

    y = label.encode(pa.table({"y": ["c", "a", "z"]}))

    assert label.classes == ["a", "b", "c"]
    assert y.tolist() == [2, 0, -1]
    assert y.dtype == np.int64
    assert label.decode(y).tolist() == ["c", "a", None]


def test_numbers_are_standardised_and_come_back():
    """The mean is 0, the standard deviation 1, and decoding is the inverse."""
    label = surveyed("regression", [10.0], [30.0]).label()

    y = label.encode(pa.table({"y": [10.0, 20.0, 30.0]}))

    assert y.tolist() == [-1, 0, 1]
    assert y.dtype == np.float32
    assert label.decode(y).tolist() == [10.0, 20.0, 30.0]


def test_numbers_do_not_depend_on_the_order_of_batches():
    """The same labels in another order give the same bits."""
    values = np.random.default_rng(0).lognormal(sigma=5, size=999).tolist()

    one = surveyed("regression", values).label()
    other = surveyed("regression", values[500:][::-1], values[:500]).label()

    assert one == other


@pytest.mark.parametrize(("task", "value"), [("classification", "a"), ("regression", 2.5)])
def test_a_label_survives_its_state(task, value):
    """A coding that is rebuilt from its state codes alike."""
    label = surveyed(task, [value, value * 2]).label()
    table = pa.table({"y": [value]})

    again = label_from_state(label.model_dump())

    assert again.encode(table) == label.encode(table)


@pytest.mark.parametrize(
    ("task", "labels", "message"),
    [
        ("classification", ["a", "a"], "column 'y': the training fold holds only 'a'"),
        ("regression", [2.5, 2.5], "column 'y': every label of the training fold is 2.5"),
        ("classification", [], "holds no label"),
        ("regression", [], "holds no label"),
        ("regression", [1e300, -1e300], "column 'y': labels spread too far for float64"),
    ],
)
def test_a_constant_label_is_refused(task, labels, message):
    """Nothing can be learnt from one class or one number; column and value are named."""
    with pytest.raises(DataError, match=message):
        surveyed(task, labels).label()


def test_labels_of_a_loss_of_ones_own_are_numbers_as_they_are():
    """One per column, in the columns' order; without a column a row has none."""
    table = pa.table({"time": [3.5, 20.0], "event": [1.0, 0.0]})
    both, none = (LabelSurvey(names, "own").label() for names in (["time", "event"], []))

    assert both.encode(table).tolist() == [[3.5, 1.0], [20.0, 0.0]]
    assert both.encode(table).dtype == np.float32
    assert none.encode(table).shape == (2, 0)
    assert label_from_state(both.model_dump()) == both
