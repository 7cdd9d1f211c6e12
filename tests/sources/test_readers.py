import gzip
import io
import os
import subprocess
import sys
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shoal.errors import SourceError
from shoal.formats.tables import image_array
from shoal.settings.data import ArraySource
from shoal.sources import files
from shoal.sources.readers import expand, only, raw_batches


@pytest.fixture
def write(tmp_path):
    """Write bytes or text to a file of a name."""

    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def rows_of(source, rows=100, wanted=None):
    return pa.concat_tables(raw_batches(source, rows, wanted)).to_pylist()


def sizes(source, rows):
    return [len(batch) for batch in raw_batches(source, rows)]


def test_csv_columns_are_strings(write):
    """Nothing is guessed from a CSV file: a number stays the string it was."""
    path = write("a.csv", 'n,s\n01,"x, y"\n,NA\n')

    assert rows_of(path) == [{"n": "01", "s": "x, y"}, {"n": "", "s": "NA"}]


def test_csv_byte_order_mark_is_no_part_of_a_name(write):
    """A file that starts with a byte order mark has the column that it seems to have."""
    path = write("a.csv", b"\xef\xbb\xbfn\n1\n")

    assert rows_of(path) == [{"n": "1"}]


def test_gzipped_csv_is_read(write):
    """A .csv.gz file reads as the file inside."""
    path = write("a.csv.gz", gzip.compress(b"n\n1\n2\n"))

    assert rows_of(path) == [{"n": "1"}, {"n": "2"}]


def test_batches_have_the_rows_asked_for_in_every_format(write, tmp_path):
    """However a file is laid out inside, its batches are of one size but for the last."""
    values = np.arange(7)
    csv = write("a.csv", "n\n" + "".join(f"{n}\n" for n in values))
    pq.write_table(pa.table({"n": values}), tmp_path / "a.parquet", row_group_size=2)
    np.savez_compressed(tmp_path / "a.npz", n=values)

    for path in (csv, tmp_path / "a.parquet", tmp_path / "a.npz"):
        assert sizes(path, 3) == [3, 3, 1]
        assert [int(row["n"]) for row in rows_of(path, 3)] == values.tolist()


def test_csv_rows_survive_block_borders(write, monkeypatch):
    """Rows keep their order and count where a file spans many blocks of bytes."""
    monkeypatch.setattr(files, "_BLOCK_BYTES", 64)
    path = write("a.csv", "n,t\n" + "".join(f'{n},"a\nb"\n' for n in range(200)))

    assert [int(row["n"]) for row in rows_of(path, 30)] == list(range(200))


def test_only_wanted_columns_are_read_in_the_order_asked(write, tmp_path):
    """A subset of columns comes in the order of the question."""
    csv = write("a.csv", "a,b,c\n1,2,3\n")
    pq.write_table(pa.table({"a": [1], "b": [2], "c": [3]}), tmp_path / "a.parquet")
    np.savez(tmp_path / "a.npz", a=[1], b=[2], c=[3])

    for path in (csv, tmp_path / "a.parquet", tmp_path / "a.npz"):
        (batch,) = raw_batches(path, 10, ["c", "a"])
        assert batch.schema.names == ["c", "a"]


def test_parquet_images_are_read(tmp_path):
    """A fixed shape tensor written by us reads back as one."""
    images = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    pq.write_table(pa.table({"image": image_array(images)}), tmp_path / "a.parquet")

    (batch,) = raw_batches(tmp_path / "a.parquet", 10)

    assert batch.schema.field("image").type.shape == [2, 2]
    assert batch["image"].chunk(0).to_numpy_ndarray().tolist() == images.tolist()


def test_a_range_that_pandas_saved_counts_through_all_batches(tmp_path):
    """An index that lies in the file's metadata alone is a column of its name."""
    frame = pd.DataFrame({"n": range(7)}, index=pd.RangeIndex(10, 38, 4, name="i"))
    frame.to_parquet(tmp_path / "a.parquet")

    assert rows_of(tmp_path / "a.parquet", 3) == frame.reset_index()[["n", "i"]].to_dict("records")
    assert rows_of(tmp_path / "a.parquet", 3, ["i"])[-1] == {"i": 34}


def test_npz_arrays_become_columns_and_images(tmp_path):
    """1-d arrays are columns of their type, rows of others uint8, float64 (vectors) or float32."""
    np.savez(
        tmp_path / "a.npz",
        number=np.array([1.5, 2.5], dtype=">f8"),
        name=np.array(["a", "bb"]),
        raw=np.array([b"x", b"yy"]),
        day=np.array(["2020-01-01", "2020-01-02"], dtype="datetime64[D]"),
        small=np.array([[1, 2], [3, 4]], dtype=np.uint8),
        wide=np.array([[1, 2], [3, 4]], dtype=np.int64),
        deep=np.array([[[1], [2]], [[3], [4]]], dtype=np.int64),
    )

    (batch,) = raw_batches(tmp_path / "a.npz", 10)

    types = {name: str(batch.schema.field(name).type) for name in batch.schema.names}
    assert batch["number"].to_pylist() == [1.5, 2.5]
    assert batch["name"].to_pylist() == ["a", "bb"]
    assert batch["raw"].to_pylist() == ["x", "yy"]
    assert types["day"] == "timestamp[us]"
    assert batch.schema.field("small").type.value_type == pa.uint8()
    assert batch.schema.field("wide").type.value_type == pa.float64()
    assert batch.schema.field("deep").type.value_type == pa.float32()
    assert batch["wide"].chunk(0).to_numpy_ndarray().tolist() == [[1, 2], [3, 4]]


def test_npz_is_streamed(tmp_path):
    """Reading one batch of an NPZ file decompresses about that batch, not the array."""
    np.savez(tmp_path / "a.npz", x=np.zeros((1000, 1000), dtype=np.uint8))
    read = []
    original = zipfile.ZipExtFile.read

    def counting(self, n=-1):
        part = original(self, n)
        read.append(len(part))
        return part

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zipfile.ZipExtFile, "read", counting)
        next(raw_batches(tmp_path / "a.npz", 10))

    assert sum(read) < 20_000


def test_array_names_stack_sets_of_rows(tmp_path):
    """Several sets of arrays are one run of rows under the columns' names."""
    np.savez(tmp_path / "a.npz", xa=[1, 2], xb=[3], unused=[9, 9, 9, 9])
    source = ArraySource(path=str(tmp_path / "a.npz"), arrays=[{"x": "xa"}, {"x": "xb"}])

    assert [row["x"] for row in rows_of(source)] == [1, 2, 3]


def test_array_names_that_are_absent_are_named(tmp_path):
    """A misspelt array name is answered with the nearest one."""
    np.savez(tmp_path / "a.npz", x_train=[1])
    source = ArraySource(path=str(tmp_path / "a.npz"), arrays=[{"x": "x_tran"}])

    with pytest.raises(SourceError, match=r"no array 'x_tran'; did you mean 'x_train'"):
        rows_of(source)


def npz(**members):
    """An NPZ file of raw members."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return out.getvalue()


def npy(array, **kwargs):
    out = io.BytesIO()
    np.save(out, array, **kwargs)
    return out.getvalue()


def parquet(values=range(1000)):
    out = io.BytesIO()
    array = values if isinstance(values, pa.Array) else list(values)
    pq.write_table(pa.table({"n": array}), out)
    return out.getvalue()


def no_text():
    """An array of strings of which one is no UTF-8."""
    nulls, offsets, _ = pa.array(["x"]).buffers()
    return pa.Array.from_buffers(pa.string(), 1, [nulls, offsets, pa.py_buffer(b"\xf8")])


BROKEN = {
    "empty": ("a.csv", b"", "is empty"),
    "no rows": ("a.csv", b"a,b\n", "no rows"),
    "empty gzip": ("a.csv.gz", gzip.compress(b""), "is empty"),
    "ragged": ("a.csv", b'a,b\n1,"x\ny"\n2,3,4\n', "row 2 has 3 values, but the header has 2"),
    "ragged and no text": (
        "a.csv",
        b"a,b\n1,2\n\xff,3,4\n",
        "row 2 has 3 values, but the header has 2",
    ),
    "short": ("a.csv", b"a,b\n1,2\n\n3,4\n5\n", "row 3 has 1 values, but the header has 2"),
    "not text": ("a.csv", b"a,b\n1,x\n2,\xff\n", "row 2, column 'b' is not UTF-8"),
    "header not text": ("a.csv", b"a,\xff\n1,2\n", "header is not UTF-8"),
    "twice": ("a.csv", b"a,a\n1,2\n", "column 'a' is there twice"),
    "nameless": ("a.csv", b"a,\n1,2\n", "column 2 has no name"),
    "reserved": ("a.csv", b"_key\n1\n", "'_key' has a name that Shoal uses"),
    "gzip cut": ("a.csv.gz", gzip.compress(bytes(range(97, 123)) * 99)[:40], "cut off or corrupt"),
    "no gzip": ("a.csv.gz", b"a,b\n1,2\n", "cut off or corrupt"),
    "parquet cut": ("a.parquet", parquet()[:-100], "not readable as Parquet"),
    "parquet damaged": ("a.parquet", parquet()[:4] + bytes(400) + parquet()[404:], "as Parquet"),
    "npz cut": ("a.npz", npz(x=npy(np.arange(9)))[:-40], "not readable as NPZ"),
    "npz array cut": ("a.npz", npz(x=npy(np.arange(9))[:-8]), "the array ends early"),
    "npz no character": (
        "a.npz",
        npz(x=npy(np.array(["a"])).replace(b"a\0\0\0", b"a\0\0\xff")),
        "column 'x' is not Unicode text",
    ),
    "parquet not text": (
        "a.parquet",
        parquet(no_text()),
        "not readable as Parquet, cut off or corrupt .*UTF8",
    ),
    "npz header open": (
        "a.npz",
        npz(x=npy(np.arange(9)).replace(b"}", b"(")),
        "not readable as NPZ, cut off or corrupt",
    ),
    "npz no array": ("a.npz", npz(x=b"nonsense"), "not readable as NPZ"),
    "pickle": ("a.npz", npz(x=npy(np.array([{}]), allow_pickle=True)), "only pickle reads"),
    "scalar": ("a.npz", npz(x=npy(np.float64(1))), "a single value, not rows"),
    "complex": ("a.npz", npz(x=npy(np.array([1j]))), "type complex128"),
    "fortran": ("a.npz", npz(x=npy(np.asfortranarray(np.eye(3)))), "Fortran order"),
    "lengths": ("a.npz", npz(x=npy(np.arange(3)), y=npy(np.arange(2))), r"x: 3, y: 2"),
    "no members": ("a.npz", npz(), "no array is named"),
    "npz no values": (
        "a.npz",
        npz(x=npy(np.empty((3, 0)))),
        r"'x' is of shape \(3, 0\): no row ho",
    ),
    "npz no rows": ("a.npz", npz(x=npy(np.empty(0))), "no rows"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_named_in_one_line(write, case):
    """Whatever is wrong with a file, one line names the file and what is wrong."""
    name, content, problem = BROKEN[case]
    path = write(name, content)

    with pytest.raises(SourceError, match=problem) as caught:
        rows_of(path)

    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_an_open_quote_is_suspected_where_a_row_never_ends(write, monkeypatch):
    """A row longer than a block is reported with its likely cause."""
    monkeypatch.setattr(files, "_BLOCK_BYTES", 64)
    path = write("a.csv", 'a\n1\n"' + "x\n" * 200)

    with pytest.raises(SourceError, match="a quote may be left open"):
        rows_of(path)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_an_open_quote_that_swallows_rows_is_named(write, name):
    """Rows after a quote that is never closed are not one value, as if they had not been."""
    lines = ["n,t", *(f"{n},x" for n in range(1, 30)), '30,"x', *(f"{n},x" for n in range(31, 60))]
    content = "\n".join(lines).encode()
    path = write(name, gzip.compress(content) if name.endswith("gz") else content)
    fine = write("b.csv", '\nn,t\n1,"x\ny" \r\n\n')

    for wanted in (None, ["n"]):
        with pytest.raises(SourceError, match=rf"{name}: row 30 opens a quote that is not closed"):
            rows_of(path, wanted=wanted)
        assert rows_of(fine, wanted=["n"]) == [{"n": "1"}]


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [("150,a,b", "row 150 has 3 values"), ("150,\xff", r"row 150, column 't' is not UTF-8")],
)
def test_rows_are_counted_through_all_blocks(write, monkeypatch, wrong, problem):
    """A row far behind the first block is named by its number in the file, blank lines aside."""
    monkeypatch.setattr(files, "_BLOCK_BYTES", 64)
    rows = [f'{n},"a\nb"\n' + "\n" * (n % 3 == 0) for n in range(1, 200)]
    rows[149] = f"{wrong}\n"

    for wanted in (None, ["t"]):
        with pytest.raises(SourceError, match=problem):
            rows_of(write("a.csv", ("n,t\n" + "".join(rows)).encode("latin1")), 30, wanted)


def test_a_process_that_ends_while_a_file_is_read_ends(write):
    """Arrow reads ahead; a mistake in the first rows of a large file still ends the command."""
    path = write("a.csv", "n,t\n" + "1,xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n" * 300_000)
    code = (
        "import sys, os\n"
        "from shoal.sources.readers import raw_batches\n"
        "rows = [raw_batches(sys.argv[1], 10) for _ in range(8)]\n"
        "print(sum(len(next(each)) for each in rows))"
    )

    ended = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert ended.stdout == "80\n"


def test_a_missing_column_is_answered_with_the_nearest(write):
    """A wanted column that a file lacks is an error with the likeliest name."""
    path = write("a.csv", "age,fare\n1,2\n")

    with pytest.raises(SourceError, match=r"no column 'agee'; did you mean 'age'"):
        rows_of(path, wanted=["agee"])


def test_expand_sorts_and_names_each_file_once(write, tmp_path):
    """Files come by path, whatever the order of globs, and only once."""
    b, a = write("b.csv", "n\n1\n"), write("a.csv", "n\n1\n")

    assert expand([str(b), str(tmp_path / "*.csv")]) == [(a, None), (b, None)]


def test_expand_keeps_array_names(write):
    """An NPZ file with array names comes with them, also where a glob finds it too."""
    path = write("a.npz", b"x")
    source = ArraySource(path=str(path), arrays=[{"x": "x"}])

    assert expand([str(path), source]) == [(path, source)]
    assert expand([source, str(path)]) == [(path, source)]


def test_looking_for_files_imports_no_heavy_library(write):
    """A process that only plans does not pay for Arrow."""
    path = write("a.csv", "n\n1\n")
    code = "import sys, shoal.sources.readers as r; r.expand(sys.argv[1:]); print(*sys.modules)"

    ended = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )

    assert "shoal.sources.readers" in ended.stdout.split()
    assert "pyarrow" not in ended.stdout.split()


def test_expand_refuses_what_is_not_there(write, tmp_path):
    """A missing file, a glob without a match, a folder and an unknown format are named."""
    other = write("a.xlsx", b"x")

    with pytest.raises(SourceError, match=r"b\.csv: no such file"):
        expand([str(tmp_path / "b.csv")])
    with pytest.raises(SourceError, match=r"\*\.csv: no file matches"):
        expand([str(tmp_path / "*.csv")])
    with pytest.raises(SourceError, match="is a folder"):
        expand([str(tmp_path)])
    with pytest.raises(SourceError, match=r"a\.xlsx: unknown format"):
        expand([str(other)])
    with pytest.raises(SourceError, match="names no file"):
        expand([])


def test_what_a_glob_matches_is_read_or_named(write, tmp_path):
    """A link to nothing and a folder would be rows that are missing without a word."""
    write("a.csv", "n\n1\n")
    (tmp_path / "b.csv").symlink_to("../cache/b.csv")
    (tmp_path / "c.parquet").mkdir()
    (tmp_path / "c.parquet" / "part.parquet").write_bytes(parquet())
    (tmp_path / "kept").mkdir()

    link = r"b\.csv: is a link to \.\./cache/b\.csv, which is not there"
    folder = r"c\.parquet: is a folder; name its files, such as .*/c\.parquet/\*\.parquet"
    with pytest.raises(SourceError, match=rf"{link}; .*{folder}$"):
        expand([str(tmp_path / "*.csv"), str(tmp_path / "*.parquet")])
    with pytest.raises(SourceError, match=link):
        expand([str(tmp_path / "b.csv")])
    (tmp_path / "b.csv").unlink()
    assert [path.name for path, _ in expand([str(tmp_path / "*.csv")])] == ["a.csv"]
    assert [path.name for path, _ in expand([str(tmp_path / "**")])] == ["a.csv", "part.parquet"]


def test_a_pipe_is_no_source_file(tmp_path):
    """A file that can be read once, or never ends, is refused before it is opened."""
    os.mkfifo(tmp_path / "a.csv")

    with pytest.raises(SourceError, match=r"a\.csv: is no regular file"):
        expand([str(tmp_path / "*.csv")])


def test_a_file_whose_name_looks_like_a_glob_is_found(write):
    """Brackets in the name of a file that is there are no pattern."""
    path = write("a[1].csv", "n\n1\n")

    assert expand([str(path)]) == [(path, None)]


def test_sources_may_be_some_of_the_files_that_are_named(tmp_path):
    """Within `only` a file that has not settled is as if it were not there."""
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("x\n1\n")
    pattern = [str(tmp_path / "*.csv")]

    with only({tmp_path / "b.csv"}):
        assert expand(pattern) == [(tmp_path / "b.csv", None)]
    assert len(expand(pattern)) == 2
    with only({}), pytest.raises(SourceError, match=r"sources\.files: names no file"):
        expand(pattern)
