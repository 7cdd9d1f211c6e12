import numpy as np
import pyarrow.parquet as pq
import pytest

from shoal.errors import SourceError
from shoal.installed_text import Piece, collect, cut, documents, kind_of, repeats, write_text

WORDS = ["alpha", "beta", "gamma", "δέλτα", "epsilon", "zeta"]


def write_files(root, names):
    """Files of other words each; the same names give the same words."""
    for name in names:
        rng = np.random.default_rng(list(name.encode()))
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        numbers = rng.integers(10**9, size=400)
        path.write_text(" ".join(f"{WORDS[number % 6]}{number}" for number in numbers))


NAMES = [f"pack{n % 3}/m{n}.{suffix}" for n in range(14) for suffix in ("py", "csv", "md")]


@pytest.fixture
def pieces(tmp_path):
    """Rows of three kinds."""
    write_files(tmp_path / "one", NAMES)
    return collect(documents([("packages", tmp_path / "one")]))


def test_the_same_files_give_the_same_rows_wherever_they_lie(pieces, tmp_path):
    """Neither the folder's own path nor the order of its files counts."""
    write_files(tmp_path / "elsewhere" / "two", NAMES[::-1])

    again = collect(documents([("packages", tmp_path / "elsewhere" / "two")]))

    assert len(pieces) > 3 * 150
    assert again == pieces


def test_files_of_this_machine_and_caches_are_left_out(tmp_path):
    """A path of the environment in a file would make rows differ between machines."""
    write_files(
        tmp_path, ["a/__pycache__/b.py", "d/direct_url.json", "_sysconfigdata_x.py", "a.py"]
    )

    found = documents([("python", tmp_path)])

    assert {kind: [name for name, _ in files] for kind, files in found.items()} == {
        "python": ["python/a.py"]
    }


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        ("python/ast.py", "python"),
        ("site-packages/x-1.0.dist-info/METADATA", "metadata"),
        ("site-packages/x-1.0.dist-info/licenses/LICENSE.txt", "licences"),
        ("site-packages/docutils/languages/fr.py", "translations"),
        ("site-packages/torch/include/ATen/A.CUH", "c"),
        ("site-packages/x/y.so", None),
        ("site-packages/x/RECORD", None),
    ],
)
def test_a_kind_is_told_by_folder_name_or_suffix(document, kind):
    """Folders of translations come first, then names of licences, then suffixes."""
    assert kind_of(document) == kind


def test_files_that_are_no_text_give_no_rows(tmp_path):
    """Bytes that are no UTF-8, or hold a zero, are not cut into pieces."""
    write_files(tmp_path, NAMES)
    for name, content in (("bad.py", b"\xff\xfe" * 4000), ("zero.py", b"a\0b " * 4000)):
        (tmp_path / name).write_bytes(content)

    found = {piece.document for piece in collect(documents([("packages", tmp_path)]))}

    assert "packages/pack0/m0.py" in found
    assert not found & {"packages/bad.py", "packages/zero.py"}


def test_pieces_follow_each_other_and_cut_no_character():
    """They are the text's beginning, at most 192 bytes each, and decode by themselves."""
    text = "aé漢🐟" * 300

    pieces = cut(text)

    assert all(189 <= len(piece) <= 192 for piece in pieces)
    assert text.startswith("".join(piece.decode() for piece in pieces))
    assert len(text.encode()) - sum(map(len, pieces)) < 192


def test_what_another_document_said_before_is_a_repeat():
    """32 bytes in a row are enough at any place, 31 are not; a document may repeat itself."""
    rng = np.random.default_rng(0)
    first, second, third = (bytes(rng.integers(65, 91, size=192, dtype=np.uint8)) for _ in "123")
    texts = [
        ("a", first),
        ("a", first),
        ("b", second[:100] + first[7:39] + second[132:]),
        ("c", third[:50] + first[20:51] + third[81:]),
    ]

    again = repeats([Piece("text", name, n, text) for n, (name, text) in enumerate(texts)])

    assert again.tolist() == [False, False, True, False]


def test_no_row_repeats_another_document(tmp_path):
    """Of two equal files one gives rows."""
    write_files(tmp_path, NAMES)
    copy = tmp_path / "pack0" / "copy.py"
    copy.write_bytes((tmp_path / "pack0" / "m0.py").read_bytes())

    found = {piece.document for piece in collect(documents([("packages", tmp_path)]))}

    assert len(found & {"packages/pack0/copy.py", "packages/pack0/m0.py"}) == 1


def test_files_hold_kinds_that_belong_together_and_tables_lie_apart(pieces, tmp_path):
    """Columns are id, document, source and text; every id is there once."""
    paths = write_text(tmp_path / "out", pieces)

    names = [path.relative_to(tmp_path / "out").as_posix() for path in paths]
    assert names == ["code.parquet", "other.parquet", "later/tables.parquet"]
    tables = [pq.read_table(path) for path in paths]
    assert tables[0].column_names == ["id", "document", "source", "text"]
    assert [set(table["source"].to_pylist()) for table in tables] == [
        {"python"},
        {"markdown"},
        {"tables"},
    ]
    ids = [identity for table in tables for identity in table["id"].to_pylist()]
    assert len(ids) == len(set(ids)) == len(pieces)


def test_text_of_one_kind_is_refused(tmp_path):
    """Nothing could be told apart."""
    write_files(tmp_path, NAMES[::3])

    with pytest.raises(SourceError, match="fewer than two kinds"):
        collect(documents([("packages", tmp_path)]))
