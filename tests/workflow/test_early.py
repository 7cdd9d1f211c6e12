"""Trainings that stop early: which rows a specialist is made from then, and what it costs."""

import json
from collections import Counter

import pytest

from shoal.formats.kinds import TEST, VALIDATION
from tests.workflow.small import source_lines

PATIENT = "[train_specialists.patience=1,train_specialists.epochs=30,grid.lr=[0.1]]"


@pytest.fixture(scope="module")
def patient(finished, tmp_path_factory):
    """The experiment after a run in which trainings may stop early."""
    own = finished.copy(tmp_path_factory.mktemp("early") / "small")
    own.forget_store()
    own.run(overrides=PATIENT)
    return own


@pytest.mark.parametrize(
    ("fold", "half", "trained"), [(TEST, None, 0), (VALIDATION, 1, 0), (VALIDATION, 0, 1)]
)
def test_a_specialist_depends_on_the_validation_rows_that_choose(
    fold, half, trained, patient, tmp_path
):
    """A change in their half retrains that partition's alone; elsewhere, and in test, nothing."""
    own = patient.copy(tmp_path / "small")
    path, source, lines = source_lines(own, fold, half=half)
    source.loc[lines[0], "a"] = round(source.loc[lines[0], "a"] + 0.001, 3)
    source.to_csv(path, index=False)

    ran = Counter(own.run(overrides=PATIENT))

    assert ran["train_specialist"] == trained
    assert ran["partition"] == 1
    assert not {"base_fit", "evaluate_generalist", "evaluate_random"} & set(ran)


def test_what_each_side_spent_of_an_equal_cap_is_said(patient):
    """What the pool left of its budget is not given to the generalist, nor taken from it."""
    metrics = patient.metrics()
    ledgers = patient.generation.glob("baselines/*/*/generalist.json")
    (generalist,) = (own for path in ledgers if (own := json.loads(path.read_text()))["unspent"])
    pool = metrics["ungated"]

    most = pool["train_flops_at_most"]
    assert pool["train_flops"] < most
    assert generalist["detail"]["pool"] == pytest.approx(most)
    assert generalist["flops"] + generalist["unspent"] == pytest.approx(most, rel=0.02)
    rows = [json.loads(path.read_text())["rows"] for path in patient.generation.glob("gate/*/*")]
    assert min(rows) < 0.7 * metrics["rows"]["validation"]  # those that end no training
    assert "cap on training FLOPs" in metrics["sentence"]
    assert "Trainings stopped early: the pool spent" in metrics["sentence"]
