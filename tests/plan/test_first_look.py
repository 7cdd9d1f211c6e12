"""What a first look at the files says where settings are ``auto``."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from shoal.errors import SettingsError, SourceError
from shoal.plan.variants import variants

CONFIG = Path(__file__).parents[2] / "config"
ROWS = 200
DAYS = [str(day.date()) for day in pd.date_range("2026-01-01", periods=ROWS)]


def of(folder, *overrides):
    """The variants of ``experiment=auto`` on the files of a folder."""
    return variants(CONFIG, "auto", [f"sources.folder={folder}", *overrides])


def write(folder, **columns):
    """A CSV file of two numbers and these columns."""
    rng = np.random.default_rng(0)
    numbers = {name: rng.normal(size=ROWS).round(3) for name in ("a", "b")}
    pd.DataFrame(numbers | columns).to_csv(folder / "rows.csv", index=False)


def alternating(*values):
    """These values in turn."""
    return [values[n % len(values)] for n in range(ROWS)]


def test_files_label_task_and_embeddings_are_found(tmp_path):
    """A folder is enough: its source files, the column called label, two embeddings of a table."""
    write(tmp_path, Label=alternating("x", "y"), id=range(ROWS))
    (tmp_path / "readme.md").write_text("no rows")

    found = of(tmp_path)

    own = found[0].settings
    assert own.sources.files == ["rows.csv"]
    assert own.sources.columns == {"Label": "label", "id": "id"}
    assert (own.sources.task, own.split.method) == ("classification", "hash")
    assert [each.settings.embed.method for each in found] == [*["identity"] * 2, *["pca"] * 2]
    assert [each.settings.train_specialists.patience for each in found] == [None, 5, None, 5]
    assert found[0].found["sources.task"] == "'Label' holds no numbers"


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (alternating(0, 1, 2), "classification"),
        (range(ROWS), "regression"),
        (alternating(0.5, 1, 2), "regression"),
    ],
)
def test_few_whole_numbers_are_classes_and_others_are_numbers(tmp_path, values, task):
    """What the label holds decides the task."""
    write(tmp_path, target=values)

    assert of(tmp_path)[0].settings.sources.task == task


@pytest.mark.parametrize(
    ("column", "method"),
    [({"group": alternating("g", "h")}, "group"), ({"day": DAYS}, "time")],
)
def test_rows_are_split_by_group_or_time_where_there_is_one(tmp_path, column, method):
    """Test rows are as new ones will be: of other groups, or later."""
    write(tmp_path, label=alternating("x", "y"), **column)

    assert of(tmp_path)[0].settings.split.method == method


def test_images_are_embedded_by_components(tmp_path):
    """Pixels themselves are no embedding worth trying."""
    pixels = np.random.default_rng(0).integers(0, 255, (ROWS, 6, 6)).astype(np.uint8)
    np.savez(tmp_path / "rows.npz", x=pixels, y=np.arange(ROWS) % 3)

    found = of(tmp_path)

    assert found[0].settings.sources.columns == {"y": "label"}
    assert {each.settings.embed.dims for each in found} == {16, 64}


def test_without_a_label_the_columns_are_named_and_what_to_set(tmp_path):
    """The one thing that a person has to say."""
    write(tmp_path, outcome=alternating("x", "y"))

    with pytest.raises(
        SourceError, match=r"called label, target, class, y; .*NAME=label.*own.*: a, b, outcome$"
    ):
        of(tmp_path)

    assert of(tmp_path, "sources.columns.outcome=label")[0].settings.sources.columns == {
        "outcome": "label"
    }


def test_what_is_given_stays(tmp_path):
    """A label, a split and an embedding that a person chose are not looked for."""
    write(tmp_path, label=alternating("x", "y"), y=alternating(1, 2))
    given = ["sources.columns.y=label", "split=random", "embed=pca"]

    found = of(tmp_path, *given)

    assert {each.settings.split.method for each in found} == {"random"}
    assert {each.settings.embed.method for each in found} == {"pca"}
    assert found[0].settings.sources.columns == {"y": "label"}


def test_a_folder_without_source_files_is_refused(tmp_path):
    """The folder is named, and the endings that count."""
    with pytest.raises(SourceError, match=r"no file ends in \.csv, .*; see sources\.folder$"):
        of(tmp_path)


def test_all_variants_share_the_budget(tmp_path):
    """Each has an equal part, a third of it for its pool; hours are FLOPs at a stated speed."""
    write(tmp_path, label=alternating("x", "y"))

    flops = of(tmp_path, "search.budget.hours=null", "search.budget.train_flops=1.2e10")
    hours = of(tmp_path, "search.budget.hours=2", "search.budget.flops_per_second=1e6")

    assert {each.settings.train_specialists.flops for each in flops} == {1e9}
    assert {each.settings.train_specialists.flops for each in hours} == {6e8}


def test_two_budgets_are_refused(tmp_path):
    """Which one holds would be anyone's guess."""
    write(tmp_path, label=alternating("x", "y"))

    with pytest.raises(SettingsError, match=r"search\.budget: train_specialists\.epochs is given"):
        of(tmp_path, "train_specialists.epochs=3")
    with pytest.raises(SettingsError, match="are two budgets"):
        of(tmp_path, "search.budget.train_flops=1e9")
