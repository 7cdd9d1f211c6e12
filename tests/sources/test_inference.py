import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from shoal.errors import SourceError
from shoal.formats.tables import image_array
from shoal.sources.inference import infer, listing
from shoal.sources.readers import raw_batches


def inferred(declared=None, task="classification", undeclared="infer", fold_column=None, **heads):
    tables = {f"{name}.csv": pa.table(head) for name, head in heads.items()}
    declared = {"y": "label"} | (declared or {})
    return infer(tables, declared, task, undeclared=undeclared, fold_column=fold_column)


Y = ["a"] * 30
WORDS = [f"w{number}" for number in range(30)]


def kind_of(values, **kwargs):
    columns = inferred(a={"c": values, "x": [1] * 30, "y": Y}, **kwargs)
    return columns.kinds["c"], columns.inferred["c"]


@pytest.mark.parametrize(
    ("values", "kind", "reason"),
    [
        (["1", "", "2.5"] * 10, "numeric", "numbers"),
        (["True", "False", "NA"] * 10, "numeric", "numbers"),
        (pa.array([1.5, None, 2] * 10), "numeric", "numbers"),
        ([True, False, True] * 10, "numeric", "numbers"),
        (["u", "v", "1"] * 10, "categorical", "3 distinct strings in 30 rows"),
        (WORDS, "text", "30 distinct strings in 30 rows"),
        (["long " * 11, "v"] * 15, "categorical", "2 distinct strings"),
        (["long " * 30, "v"] * 15, "text", "76 characters on average"),
        (pa.array([0] * 30, pa.timestamp("s")), "time", "times"),
        (image_array(np.zeros((30, 2, 3), np.uint8)), "image", "images"),
        (["", "NA", "None"] * 10, "ignore", "no value"),
        (pa.nulls(30), "ignore", "no value"),
    ],
)
def test_kinds_follow_from_the_values(values, kind, reason):
    """A column that is not declared gets the kind that its first rows look like, and why."""
    found, why = kind_of(values)

    assert found == kind
    assert reason in why


def test_many_rows_may_have_more_categories():
    """Few is a share of the rows, so that large files may have large categories."""
    values = [f"city {number % 30}" for number in range(900)]

    columns = inferred(a={"c": values, "y": ["a"] * 900})

    assert columns.kinds["c"] == "categorical"


def test_strings_are_judged_over_all_files_together():
    """A small file with unfamiliar values does not make a category a text."""
    many = {"c": [f"city {number % 30}" for number in range(900)], "y": ["a"] * 900}
    few = {"c": [f"city {number}" for number in range(25)], "y": ["a"] * 25}

    assert inferred(a=few, b=many).kinds["c"] == "categorical"


def test_declared_kinds_win():
    """What is declared is not argued with, whatever the values look like."""
    columns = inferred(
        {"c": "categorical", "d": "ignore"}, a={"c": ["1"], "d": ["2"], "x": ["1"], "y": ["a"]}
    )

    assert columns.kinds == {"c": "categorical", "d": "ignore", "x": "numeric", "y": "label"}
    assert set(columns.inferred) == {"x"}


def test_undeclared_columns_may_be_ignored():
    """With `undeclared: ignore` only what is declared is used."""
    columns = inferred({"c": "text"}, undeclared="ignore", a={"c": ["1"], "x": ["1"], "y": ["a"]})

    assert columns.kinds == {"c": "text", "x": "ignore", "y": "label"}


def test_the_column_that_names_the_fold_is_no_input():
    """Unless it is declared, the column of a split by column is ignored."""
    columns = inferred(fold_column="part", a={"part": ["train"], "x": ["1"], "y": ["a"]})

    assert columns.kinds["part"] == "ignore"


def test_order_is_that_of_the_first_file():
    """The first source file gives the order of columns; another order elsewhere is no matter."""
    columns = inferred(
        a={"y": ["a"], "b": ["1"], "a": ["1"]}, b={"a": ["1"], "b": ["1"], "y": ["b"], "z": ["1"]}
    )

    assert list(columns.kinds) == ["y", "b", "a", "z"]
    assert columns.kinds["z"] == "ignore"
    assert columns.inferred["z"] == "a.csv has no such column"


@pytest.mark.parametrize(
    ("declared", "heads", "problem"),
    [
        ({"agee": "numeric"}, {"a": {"age": ["1"], "y": ["a"]}}, "did you mean 'age'"),
        ({"agee": "ignore"}, {"a": {"age": ["1"], "y": ["a"]}}, "declared ignore; did you mean"),
        (
            {},
            {"a": {"x": ["1"], "y": ["a"]}, "b": {"y": ["a"]}},
            r"b\.csv: has no column 'x', which a\.csv has",
        ),
        (
            {},
            {"a": {"x": ["1"], "y": ["a"]}, "b": {"x": ["u"], "y": ["a"]}},
            r"b\.csv: column 'x' holds strings, but numbers in a\.csv",
        ),
        ({"y": "ignore"}, {"a": {"x": ["1"], "y": ["a"]}}, "no column is the label"),
        ({"x": "label"}, {"a": {"x": ["1"], "y": ["a"]}}, "'x', 'y' are all of kind label"),
        ({"x": "id"}, {"a": {"x": ["1"], "y": ["a"]}}, "no column is left as input"),
        ({"x": "image"}, {"a": {"x": [1], "y": ["a"]}}, "'x' is declared image, but holds none"),
        ({"x": "image"}, {"a": {"x": ["1"], "y": ["a"]}}, "row 1, column 'x': '1': no such file"),
        (
            {"x": "vector"},
            {"a": {"x": image_array(np.zeros((1, 2, 3))), "y": ["a"]}},
            r"'x' is declared vector, but holds arrays of shape \[2, 3\]",
        ),
        ({}, {"a": {"x": [{"z": 1}], "y": ["a"]}}, "'x' holds nested or binary values; declare it"),
    ],
)
def test_columns_that_cannot_be_are_named(declared, heads, problem):
    """Absent, contradictory, missing and superfluous columns are errors in one line."""
    with pytest.raises(SourceError, match=problem) as caught:
        inferred(declared, **heads)

    assert "\n" not in str(caught.value)


def test_images_of_two_shapes_are_an_error():
    """Files must agree on the shape of images, declared or not."""
    small, large = (image_array(np.zeros((1, side, 2), np.uint8)) for side in (2, 3))

    for declared in ({}, {"x": "image"}):
        with pytest.raises(SourceError, match=r"b\.csv: column 'x' .*\[3, 2\], but \[2, 2\] in a"):
            inferred(declared, a={"x": small, "y": ["a"]}, b={"x": large, "y": ["a"]})


def test_images_are_bytes_only_if_all_files_say_so():
    """One file of floats makes the column float32."""
    bytes_, floats = (image_array(np.zeros((1, 2, 2), kind)) for kind in (np.uint8, np.float32))

    alone = inferred(a={"x": bytes_, "y": ["a"]})
    both = inferred(a={"x": bytes_, "y": ["a"]}, b={"x": floats, "y": ["a"]})

    assert (alone.image_shapes, alone.image_types) == ({"x": [2, 2]}, {"x": "uint8"})
    assert both.image_types == {"x": "float32"}


def test_a_file_without_values_has_no_say():
    """A column that is empty in one file takes its kind from the others."""
    empty, full = {"x": ["", "NA"], "y": ["a", "b"]}, {"x": ["1"], "y": ["a"]}

    assert inferred(a=empty, b=full).kinds["x"] == "numeric"
    assert inferred(a=full, b=empty).kinds["x"] == "numeric"


def test_the_listing_names_each_column_and_why():
    """A reader sees each column's kind, and whether it was declared or why it was inferred."""
    columns = inferred(a={"x": ["1"], "i": image_array(np.zeros((1, 2, 3), np.uint8)), "y": ["a"]})

    assert listing(columns).splitlines() == [
        "columns (classification)",
        "  x  numeric          inferred: it holds numbers",
        "  i  image 2x3 uint8  inferred: it holds images",
        "  y  label            declared",
    ]


@pytest.mark.parametrize(
    ("one", "other", "written"),
    [
        (["2020-01-01"], ["20230105"], "dates"),
        (["20230105"], ["20230106", ""], "dates"),
        (["20230105"], [20230106], "dates"),
        (["20230105"], pa.array([0], pa.timestamp("s")), "dates"),
        (["20230105"], ["12"], "numbers"),
        ([1.5], ["NA"], "numbers"),
        (["2020-01-01", "20230105"], [""], "dates"),
    ],
)
def test_how_times_are_written_is_decided_over_all_files(one, other, written):
    """Compact dates are dates, unless there are numbers that are no dates."""
    rows = [
        {"t": values, "x": [1] * len(values), "y": ["a"] * len(values)} for values in (one, other)
    ]

    for first, second in (rows, rows[::-1]):
        columns = inferred({"t": "time"}, a=first, b=second)
        assert columns.formats == {"t": written}
        assert f"time as {written}" in listing(columns)


def test_times_that_are_numbers_and_dates_are_an_error():
    """Files that disagree about how times are written are both named."""
    dates = {"t": ["2020-01-01"], "x": [1], "y": ["a"]}
    numbers = {"t": ["1577836800"], "x": [1], "y": ["a"]}

    with pytest.raises(SourceError, match=r"b\.csv: column 't' holds numbers, but dates in a\.csv"):
        inferred({"t": "time"}, a=dates, b=numbers)


@pytest.fixture
def saved(tmp_path):
    """The head of a frame that pandas wrote to Parquet, with a column ``x`` and a label ``y``."""

    def saved(name, frame):
        path = tmp_path / name
        frame.to_parquet(path)
        return next(raw_batches(path, 100))

    frame = pd.DataFrame({"k": ["u", "v"] * 20, "x": range(40), "y": ["a", "b"] * 20})
    return saved, frame


def test_the_index_that_pandas_saved_is_no_input(saved):
    """By the file's own metadata an index is no column, also one that has a name."""
    save, frame = saved
    heads = {
        "a.parquet": save("a.parquet", frame[frame.x % 3 > 0]),
        "b.parquet": save("b.parquet", frame.set_index("k", append=True)),
    }

    columns = infer({"a.parquet": heads["a.parquet"]}, {"y": "label"}, "classification")
    assert columns.kinds["__index_level_0__"] == "ignore"
    assert columns.inputs == ["k", "x"]
    both = infer(heads, {"y": "label"}, "classification")
    assert both.inputs == ["x"]
    assert both.inferred["k"] == "pandas saved it as the index of b.parquet"


def test_a_named_index_is_used_where_it_is_declared(saved):
    """An index by which pandas named the rows may be their id."""
    save, frame = saved
    for numbers in (frame.x * 2 + 5, frame.x**2):  # pandas saves the first as a range
        head = save("a.parquet", frame.assign(i=numbers).set_index("i"))
        assert head["i"].to_pylist() == numbers.tolist()

        declared = infer({"a": head}, {"y": "label", "i": "id"}, "classification")
        assert declared.kinds["i"] == "id"
        assert infer({"a": head}, {"y": "label"}, "classification").kinds["i"] == "ignore"


@pytest.mark.parametrize("name", ["Unnamed: 0", "Unnamed: 0.1", "__index_level_0__"])
def test_a_column_that_pandas_names_as_an_index_is_no_input(name):
    """An index that went through CSV has lost its metadata, but not its name."""
    head = {name: ["0", "7"], "x": ["1", "2"], "y": ["a", "b"]}

    assert inferred(a=head).inferred[name] == "pandas names a saved index so"
    assert inferred(a=head).inputs == ["x"]
    assert inferred({name: "numeric"}, a=head).inputs == [name, "x"]


@pytest.mark.parametrize("metadata", [b"", b"[]", b'{"index_columns": 3}', b"[" * 100_000])
def test_metadata_that_is_not_pandas_own_says_nothing(metadata):
    """A column is what it looks like where the file's metadata is not readable."""
    head = pa.table({"x": [1], "y": ["a"]}).replace_schema_metadata({b"pandas": metadata})

    assert infer({"a": head}, {"y": "label"}, "classification").inputs == ["x"]


def test_a_loss_of_the_models_own_takes_any_number_of_labels():
    """None, or several; a class or a number is still one."""
    head = pa.table({"x": [1.0, 2.0], "time": [3.0, 4.0], "event": [0.0, 1.0]})
    two = {"time": "label", "event": "label"}

    assert infer({"a": head}, two, "own").labels == ["time", "event"]
    assert infer({"a": head}, {}, "own").labels == []
    with pytest.raises(SourceError, match="all of kind label, which one column can be"):
        infer({"a": head}, two, "regression")
