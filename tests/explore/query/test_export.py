"""Metadata in the ml-experiments schema."""

import json

import pytest

from shoal.explore.query.export import export_metadata
from shoal.explore.query.results import Results

REQUIRED = {
    "datasets": {"name", "location"},
    "transforms": {"id", "name"},
    "models": {"creationTime", "name", "trainedOnDatasetId", "learningAlgorithm"},
    "training_runs": {"id", "creationTime", "forModelId"},
    "predictions": {"creationTime", "computedOnDatasetId", "computedByModelId"},
    "evaluations": {"creationTime", "computedOnDatasetId", "computedByModelId"},
}
"""What the schema wants of each kind of entry."""

REFERENCES = {
    "derivedFromDatasetId": "datasets",
    "trainedOnDatasetId": "datasets",
    "computedOnDatasetId": "datasets",
    "computedByModelId": "models",
    "forModelId": "models",
    "forPredictionId": "predictions",
}


@pytest.fixture(scope="module")
def exported(finished, tmp_path_factory):
    """Each kind's entries, read back."""
    folder = tmp_path_factory.mktemp("export")
    counts = export_metadata(Results(finished.folder / "results" / "tiny"), folder)
    found = {path.stem: json.loads(path.read_text()) for path in folder.iterdir()}
    assert {name: len(entries) for name, entries in found.items()} == counts
    return found


def test_every_entry_has_what_the_schema_wants(exported):
    """Six kinds, none empty, each entry with its required properties and an id of its own."""
    assert set(exported) == set(REQUIRED)
    for kind, entries in exported.items():
        assert entries
        assert [entry for entry in entries if not REQUIRED[kind] <= set(entry)] == []
        assert len({entry["id"] for entry in entries}) == len(entries)


def test_entries_refer_to_entries(exported):
    """Every id that an entry names is that of another entry."""
    known = {kind: {entry["id"] for entry in entries} for kind, entries in exported.items()}
    for entries in exported.values():
        for entry in entries:
            for name in REFERENCES.keys() & entry.keys():
                assert entry[name] in known[REFERENCES[name]]
    for entry in (*exported["models"], *exported["training_runs"]):
        assert {each["id"] for each in entry.get("transforms", [])} <= known["transforms"]


def test_models_name_the_transforms_before_them(exported):
    """In order of use, up to the encoder that made what they see."""
    chains = {tuple(each["name"] for each in model["transforms"]) for model in exported["models"]}

    assert chains == {("split", "transform", "encode")}


def test_a_specialist_is_scored_in_the_course_of_its_training(exported, finished):
    """Its training loss at every point, and its validation loss before the first and at the end."""
    run = next(run for run in exported["training_runs"] if run["name"] == "train_specialist")
    path = finished.folder / "results" / "tiny" / run["forModelId"] / "ledger.json"
    (curve,) = json.loads(path.read_text())["learning_curves"]

    scores = [(each["score"]["metric"], each["epoch"]) for each in run["scoresOverTime"]]

    steps = [step for step, _, _ in curve]
    assert scores[: len(steps)] == [("training loss", step) for step in steps]
    assert scores[len(steps) :] == [("validation loss", 0), ("validation loss", steps[-1])]
    assert run["hyperparameters"][0]["name"] == "lr"
    assert all(
        run["startTime"] <= each["timestamp"] <= run["endTime"] for each in run["scoresOverTime"]
    )


def test_scores_are_those_of_the_metrics(exported, finished):
    """The pool's evaluation says its accuracy, as text, as the schema has it."""
    pool = next(each for each in exported["evaluations"] if each["name"] == "pool_top1")
    score = next(each for each in pool["scores"] if each["metric"] == "accuracy")

    assert float(score["value"]) == finished.metrics()["pool_top1"]["score"]


def test_the_command_says_what_it_wrote(copied):
    """One line a file."""
    found = copied.shoal("query", "tiny", "--export", "metadata")

    lines = found.stdout.splitlines()
    assert len(lines) == 6
    assert all((copied.folder / line.rpartition(" ")[2]).is_file() for line in lines)
