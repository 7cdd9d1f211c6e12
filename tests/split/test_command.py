import gzip

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shoal.errors import DataError, SettingsError, SourceError
from shoal.formats.fitted_state import load_state
from shoal.formats.tables import Columns, Table, folds, keys
from shoal.settings.data import ArraySource
from shoal.split.command import split, split_fit
from tests.split_files import split_files


def csv(path, rows):
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture
def people(tmp_path):
    """A file of 30 rows with an id."""
    rows = [f"{n},{n / 4},{'uvw'[n % 3]},{n % 2}" for n in range(30)]
    return csv(tmp_path / "people.csv", ["id,age,town,sick", *rows])


PEOPLE = {"id": "id", "sick": "label"}


def test_no_row_is_lost(run, people, capsys):
    """Rows out are rows in, in their order, with key and fold, and the record says so."""
    tables, check = run([people], PEOPLE)

    (table,) = tables.values()
    (rows,) = table.batches(100)
    assert rows["age"].to_pylist() == [n / 4 for n in range(30)]
    assert rows.schema.names == ["age", "town", "sick", "_key", "_fold", "_source"]
    assert table.record == {"rows_in": 30, "dropped": {}, "source": str(people)}
    assert len({key.tobytes() for key in keys(rows)}) == 30
    assert check["rows"] == sum(check["folds"].values()) == 30
    assert "town  categorical  inferred: 3 distinct" in capsys.readouterr().out


def fold_by_key(tables):
    found = {}
    for table in tables.values():
        for rows in table.batches(100):
            named = zip(keys(rows), folds(rows).tolist(), strict=True)
            found |= {key.tobytes(): fold for key, fold in named}
    return found


def test_adding_rows_moves_no_other_row(run, people, tmp_path):
    """By hash, rows keep their fold when a file joins."""
    before = fold_by_key(run([people], PEOPLE)[0])
    more = csv(tmp_path / "more.csv", ["sick,town,age,id", "0,u,1,100", "1,v,2,101"])

    after = fold_by_key(run([people, more], PEOPLE)[0])

    assert len(after) == 32
    assert {key: after[key] for key in before} == before


METHODS = {
    "hash": {},
    "random": {},
    "stratified": {},
    "k_fold": {"folds": 3, "fold": 1},
    "similarity": {},
    "group": {"town": "group"},
    "time": {"age": "time"},
    "column": {},
}


@pytest.mark.parametrize("method", METHODS)
def test_a_split_never_loses_rows(run, tmp_path, split_settings, method):
    """For every method the folds' rows sum to the rows of the files, the last rows among them."""
    towns = [f"t{n}" for n in range(20)]
    lines = [f"{n},{n / 4},{towns[n % 20]},{n % 2},p{n % 3}" for n in range(97)]
    head = "id,age,town,sick,part"
    files = [
        csv(tmp_path / "a.csv", [head, *lines[:50]]),
        csv(tmp_path / "b.csv", [head, *lines[50:]]),
    ]
    kinds = {"part": "ignore", "town": "categorical"} | METHODS[method]
    names = {"p0": "train", "p1": "validation", "p2": "test"}
    own = METHODS[method] if method == "k_fold" else {}
    by_name = {"column": "part", "values": names} if method == "column" else own
    kinds = PEOPLE | {name: kind for name, kind in kinds.items() if isinstance(kind, str)}

    tables, check = run(files, kinds, split_settings(method, **by_name))

    assert sum(check["folds"].values()) == check["rows"] == 97
    assert check["folds"]["outside"] == 0
    assert [table.rows for table in tables.values()] == [50, 47]
    last = next(tables["b.csv"].batches(100))
    assert keys(last).shape == (47, 16)
    if method != "group":
        assert len(fold_by_key(tables)) == 97


@pytest.mark.parametrize("method", ["hash", "random", "stratified", "k_fold", "similarity"])
def test_shards_and_batches_do_not_matter(run, people, tmp_path, split_settings, method):
    """The same rows in other files and batches fall into the same folds."""
    settings = split_settings(method)
    whole = fold_by_key(run([people], PEOPLE, settings)[0])
    head, *rows = people.read_text().splitlines()
    parts = [csv(tmp_path / "b.csv", [head, *rows[9:]]), csv(tmp_path / "a.csv", [head, *rows[:9]])]

    assert fold_by_key(run(parts, PEOPLE, settings, batch_rows=7)[0]) == whole


def test_formats_do_not_matter(run, people, tmp_path):
    """A CSV file and the Parquet file of the same rows give the same keys, folds and values."""
    head, *rows = (line.split(",") for line in people.read_text().splitlines())
    ids, ages, towns, sick = zip(*rows, strict=True)
    table = {"id": list(map(int, ids)), "age": pa.array(map(float, ages), pa.float32())}
    table |= {"town": towns, "sick": pa.array(map(float, sick))}
    pq.write_table(pa.table(table).select(head), tmp_path / "people.parquet")

    (one,) = run([people], PEOPLE)[0].values()
    (left,) = one.batches(100)
    (other,) = run([tmp_path / "people.parquet"], PEOPLE)[0].values()
    (right,) = other.batches(100)

    assert left.equals(right)


def test_exact_counts_across_files(run, people, tmp_path, split_settings):
    """A random split is exact over all files together."""
    head, *rows = people.read_text().splitlines()
    files = [csv(tmp_path / f"{n}.csv", [head, *rows[n::3]]) for n in range(3)]

    _, check = run(files, PEOPLE, split_settings("random"))

    assert check["folds"] == {"train": 18, "validation": 6, "test": 6, "outside": 0}


def test_a_split_by_time_runs_through_all_files(run, people, tmp_path, split_settings):
    """Bounds come from the times of all files: the latest file is test."""
    head, *rows = people.read_text().splitlines()
    files = [
        csv(tmp_path / "a.csv", [head, *rows[:24]]),
        csv(tmp_path / "b.csv", [head, *rows[24:]]),
    ]

    tables, check = run(files, PEOPLE | {"age": "time"}, split_settings("time"))

    assert check["folds"] == {"train": 18, "validation": 6, "test": 6, "outside": 0}
    (late,) = tables["b.csv"].batches(100)
    assert set(folds(late).tolist()) == {2}


def test_a_split_by_group_keeps_groups(run, people, split_settings):
    """Groups are read from their column and pass the check."""
    settings = split_settings("group", fractions={"train": 0.4, "validation": 0.3, "test": 0.3})
    tables, _ = run([people], PEOPLE | {"age": "group"}, settings)

    (rows,) = tables["people.csv"].batches(100)
    assert set(folds(rows).tolist()) == {0, 1, 2}


def test_a_column_names_folds_and_is_no_input(run, tmp_path, split_settings):
    """The column of a split by column decides, and is not kept as an input."""
    lines = ["part,x,y", "tr,1,a", "tr,2,b", "va,3,a", "te,4,b", "oos,5,c"]
    values = {"tr": "train", "va": "validation", "te": "test"}
    settings = split_settings("column", column="part", values=values, outside=["oos"])

    tables, check = run([csv(tmp_path / "a.csv", lines)], {"y": "label"}, settings)

    (rows,) = tables["a.csv"].batches(100)
    assert folds(rows).tolist() == [0, 0, 1, 2, 3]
    assert rows.schema.names == ["x", "y", "_key", "_fold", "_source"]
    assert check["folds"]["outside"] == 1


def test_the_column_that_names_the_fold_may_not_be_an_input(run, tmp_path, split_settings):
    """Declared as an input it would tell a model the fold, so that is refused."""
    path = csv(tmp_path / "a.csv", ["part,x,y", "tr,1,a", "tr,2,b"])
    settings = split_settings("column", column="part", values={"tr": "train"})

    with pytest.raises(SettingsError, match="'part' names the fold"):
        run([path], {"part": "categorical", "y": "label"}, settings)


def test_an_image_file_is_split(run, tmp_path, split_settings):
    """Sets of arrays become rows with an image."""
    images = np.arange(80, dtype=np.uint8).reshape(20, 2, 2)
    labels = np.arange(20) % 2
    np.savez(tmp_path / "a.npz", xa=images[:12], ya=labels[:12], xb=images[12:], yb=labels[12:])
    arrays = [{"image": "xa", "y": "ya"}, {"image": "xb", "y": "yb"}]
    source = ArraySource(path=str(tmp_path / "a.npz"), arrays=arrays)

    tables, check = run([source], {"y": "label"}, split_settings("random"))

    (rows,) = tables["a.npz"].batches(100)
    assert rows["image"].chunk(0).to_numpy_ndarray().tolist() == images.tolist()
    assert check["folds"] == {"train": 12, "validation": 4, "test": 4, "outside": 0}


def test_nothing_is_written_when_a_late_row_is_wrong(run, tmp_path):
    """A bad value in the last batch is named by its row in the file, and no table appears."""
    rows = [f"{n},{n % 2}" for n in range(30)]
    path = csv(tmp_path / "a.csv", ["x,y", *rows, "oops,1"])

    with pytest.raises(SourceError, match=r"a\.csv: row 31, column 'x': 'oops' is not a number"):
        run([path], {"y": "label"})

    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "columns.json",
        "folds.safetensors",
    ]


@pytest.mark.parametrize("method", ["hash", "stratified"])
def test_missing_labels_are_counted(run, tmp_path, split_settings, method):
    """A missing label is named with its first row and how many rows lack it in the file."""
    rows = [f"{n},{n % 2 if n % 10 else ''}" for n in range(1, 40)]
    path = csv(tmp_path / "a.csv", ["x,y", *rows])

    problem = r"row 10, column 'y': the label is missing, as it is in 3 rows"
    with pytest.raises(SourceError, match=problem):
        run([path], {"y": "label"}, split_settings(method))


def test_a_duplicate_id_is_named_by_file_and_row(run, people, tmp_path):
    """Ids that stand for two contents are found across files."""
    more = csv(tmp_path / "q.csv", ["id,age,town,sick", "100,1,u,0", "7,1,u,0"])

    with pytest.raises(DataError, match=r"q\.csv: row 2 has the same 'id' as .*people\.csv: row 8"):
        run([people, more], PEOPLE)


def test_near_copies_in_several_files_share_a_fold(run, tmp_path, split_settings):
    """Rows that differ in a letter fall together, whichever files they are in."""
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("ACGT"), 60)) for _ in range(40)]
    near = [text[:30] + ("A" if text[30] != "A" else "C") + text[31:] for text in texts]
    files = [
        csv(tmp_path / f"{name}.csv", ["seq,y", *(f"{t},{n % 2}" for n, t in enumerate(part))])
        for name, part in (("a", texts), ("b", near))
    ]

    settings = split_settings("similarity", similarity=0.6)
    tables, check = run(files, {"seq": "text", "y": "label"}, settings)

    one, other = (folds(next(table.batches(100))).tolist() for table in tables.values())
    assert one == other
    assert sum(check["folds"].values()) == 80


def test_similarity_needs_something_to_compare(run, tmp_path, split_settings):
    """With images alone there is nothing to compare, which is said in one line."""
    np.savez(tmp_path / "a.npz", image=np.zeros((9, 2, 2), np.uint8), y=np.arange(9) % 2)

    with pytest.raises(SettingsError, match=r"compares columns of kind numeric, .* there is none"):
        run([tmp_path / "a.npz"], {"y": "label"}, split_settings("similarity"))


def test_methods_need_their_column(run, people, split_settings):
    """A split by group or time without such a column, or by an absent one, is refused."""
    for method in ("group", "time"):
        with pytest.raises(SettingsError, match=f"'{method}' needs a column of kind {method}"):
            run([people], PEOPLE, split_settings(method))
    settings = split_settings("column", column="towns", values={"u": "train"})
    with pytest.raises(SourceError, match="did you mean 'town'"):
        run([people], PEOPLE, settings)


def test_a_fit_is_the_same_bytes(people, tmp_path, split_settings, source_settings):
    """Fitting twice writes the same files."""
    sources = source_settings([str(people)], PEOPLE)
    written = []
    for name in "ab":
        paths = tmp_path / f"{name}.json", tmp_path / f"{name}.safetensors"
        split_fit(sources, split_settings("stratified"), *paths)
        written.append([path.read_bytes() for path in paths])

    assert written[0] == written[1]
    assert load_state(tmp_path / "a.safetensors")[1] == {"method": "stratified"}


def test_a_generation_refuses_a_column_that_no_longer_fits(people, tmp_path, split_settings):
    """Later files meet the frozen kinds: another type is an error, an extra column is not."""
    Columns({"x": "numeric", "y": "label"}, "classification", {}, {}, {}).save(tmp_path / "c.json")
    split_fitted = (tmp_path / "c.json", tmp_path / "f.safetensors")
    from shoal.formats.fitted_state import save_state

    save_state(split_fitted[1], {}, {"method": "hash"})
    good = csv(tmp_path / "good.csv", ["z,y,x", "q,a,1"])
    bad = csv(tmp_path / "bad.csv", ["x,y", "tall,a"])

    split(good, *split_fitted, split_settings(), 10, *split_files(tmp_path / "good.parquet"))

    assert Table(tmp_path / "good.parquet").rows == 1
    with pytest.raises(SourceError, match=r"bad\.csv: row 1, column 'x': 'tall' is not a number"):
        split(str(bad), *split_fitted, split_settings(), 10, *split_files(tmp_path / "bad.parquet"))


def test_a_gzip_cut_off_leaves_nothing(people, tmp_path, run):
    """A source file that ends early is named, and leaves no table."""
    path = tmp_path / "cut.csv.gz"
    path.write_bytes(gzip.compress(people.read_bytes())[:-20])

    with pytest.raises(SourceError, match=r"cut\.csv\.gz: cut off or corrupt"):
        run([path], PEOPLE)

    assert not (tmp_path / "out").exists()
