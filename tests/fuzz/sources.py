"""Source files of every format: kinds are inferred, rows typed and split, a pool is asked."""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from PIL import Image

from shoal.settings.data import PlainSplit, Sources
from shoal.split.command import split, split_fit
from tests.fuzz.harness import Case, Target, end_as_commands_do, run_command
from tests.fuzz.material import lay_out
from tests.fuzz.mutate import spoiled
from tests.split_files import split_files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from random import Random

_CELLS = (
    "", " ", "0", "-1", "1e999", "nan", "1,5", "1e400", "0x10", "True", "true", "20230105",
    "2020-01-01", "9999-99-99", "-0001-01-01T00:00:00Z", "9" * 400, "x" * 50_000, "é", "\x00",
    "\ud800", '"', "a\nb", "\r", "None", "{}", "[1,2]", "\u202e", "inf", "1_000", "½", "٣",
)  # fmt: skip
_ENCODINGS = (*("utf-8",) * 30, "utf-16", "latin-1", "utf-8-sig", "cp1252", "utf-32")
_FORMATS = ("png", "jpeg", "gif", "bmp", "tiff", "webp")
_LISTS: tuple[Any, ...] = (
    [[1.0, 2.0], None, [], [3.0]],
    [[[1, 2], [3, 4]], [[5, 6], [7, 8]], None, [[1], [2]]],
    [{"a": 1}, None, {"a": 2}, {}],
    [b"\x89PNG\r\n\x1a\n", b"", None, b"\xff\xd8\xff"],
    [float("nan"), 1e308, None, -0.0],
    [2**63 - 1, -(2**63), None, 0],
    [True, False, None, True],
)
_TYPES = (
    pa.decimal128(38, 30), pa.timestamp("ns", "UTC"), pa.time64("ns"), pa.duration("us"),
    pa.date32(), pa.float16(), pa.uint64(), pa.large_string(),
    pa.dictionary(pa.int8(), pa.string()), pa.binary(), pa.null(), pa.bool_(),
    pa.list_(pa.float64()), pa.month_day_nano_interval(),
)  # fmt: skip


_METHODS = ("hash", "hash", "stratified", "random", "group", "time")
_SPLIT = {
    "fractions": {"train": 0.5, "validation": 0.25, "test": 0.25},
    "column": None,
    "values": {},
    "outside": [],
    "seed": 0,
}


class SourceFiles(Target):
    """CSV, compressed or not, Parquet and NPZ; arrays, and pictures in cells."""

    share = 0.2

    def __init__(self, material: Path, folder: Path) -> None:
        lay_out(material, folder)
        super().__init__(folder)

    def case(self, rng: Random) -> Case:
        """A file of one format."""
        suffix = rng.choice(sorted(_WRITERS))
        content = _WRITERS[suffix](rng)
        if rng.random() < (0.3 if suffix == "csv" else 0.2):
            content = spoiled(rng, content, content)
        path = self.folder / "data" / f"new.{suffix}"
        if rng.random() < 0.4:
            out = rng.choice(("out.csv", "out.parquet"))
            return Case(
                {path: content}, partial(run_command, "predict", "pool", str(path), "--out", out)
            )
        task = rng.choice(("classification", "classification", "regression"))
        read = partial(_read, path, task, rng.choice(_METHODS), _columns(rng))
        return Case({path: content}, read)


def _columns(rng: Random) -> dict[str, str]:
    """Declared kinds: the label's, and perhaps another's."""
    kinds = {"label": "label"}
    if rng.random() < 0.5:
        kind = rng.choice(
            ("numeric", "categorical", "text", "image", "vector", "time", "id", "group")
        )
        kinds[rng.choice(("a", "town", "odd"))] = kind
    return kinds


def _read(path: Path, task: str, method: str, kinds: dict[str, str]) -> None:
    """What the stage ``split`` does with a file."""
    settings = PlainSplit.model_validate(_SPLIT | {"method": method})
    sources = Sources.model_validate(
        {
            "folder": str(path.parent),
            "files": [str(path)],
            "task": task,
            "columns": kinds,
            "undeclared": "infer",
            "images": {"size": None, "channels": None},
            "shuffle_labels": False,
            "batch_rows": 3,
        }
    )
    here = path.parent
    columns, folds = here / "columns.json", here / "folds.safetensors"
    end_as_commands_do(lambda: split_fit(sources, settings, columns, folds))
    files = split_files(here / "t.parquet")
    end_as_commands_do(lambda: split(path, columns, folds, settings, 3, *files))


def _table(rng: Random) -> dict[str, list[Any]]:
    """Some rows of the pool's inputs, a label and a column that may hold anything."""
    rows = rng.choice((1, 4, 4, 4, 40))
    table: dict[str, list[Any]] = {
        "a": [rng.choice((0.0, 1.5, -2.0, 1e9)) for _ in range(rows)],
        "town": [rng.choice("xyz") for _ in range(rows)],
        "label": [rng.choice(("no", "yes")) for _ in range(rows)],
    }
    odd = rng.choice((*_LISTS, _pictures(rng)))
    table["odd"] = (list(odd) * rows)[:rows]
    return table


def _pictures(rng: Random) -> list[Any]:
    """Encoded pictures, most of them whole, as bytes or as hubs have them."""
    found: list[Any] = []
    for _ in range(4):
        made = io.BytesIO()
        shape = rng.choice(((2, 3), (2, 3, 3), (2, 3, 3), (1, 1), (40, 2, 4)))
        array = np.frombuffer(rng.randbytes(int(np.prod(shape))), np.uint8).reshape(shape)
        picture = Image.fromarray(array)
        kind = rng.choice(_FORMATS)
        (picture.convert("RGB") if kind == "jpeg" else picture).save(made, kind)
        content = made.getvalue()
        found.append(spoiled(rng, content) if rng.random() < 0.3 else content)
    return [{"bytes": each, "path": None} for each in found] if rng.random() < 0.3 else found


def _csv(rng: Random) -> bytes:
    table = _table(rng)
    names = list(table)
    lines = [[str(cell) for cell in row] for row in zip(*table.values(), strict=True)]
    for _ in range(rng.choice((0, 1, 1, 2, 5))):
        kind, line = rng.randrange(12), rng.choice(lines)
        if kind == 0 and line:
            del line[rng.randrange(len(line))]
        elif kind == 1:
            line.append(rng.choice(_CELLS))
        elif kind == 2:
            names[rng.randrange(len(names))] = rng.choice((*names, *_CELLS))
        elif line:
            line[rng.randrange(len(line))] = rng.choice(_CELLS)
    dialect = {
        "delimiter": rng.choice(",,,,,,,,,;\t"),
        "quoting": rng.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONE)),
        "lineterminator": rng.choice(("\n", "\n", "\r\n", "\r", "\n\n")),
        "escapechar": "\\",
    }
    made = io.StringIO()
    csv.writer(made, **dialect).writerows([names, *lines])
    return made.getvalue().encode(rng.choice(_ENCODINGS), errors="replace")


def _gzip(rng: Random) -> bytes:
    text = _csv(rng)
    content = gzip.compress(spoiled(rng, text) if rng.random() < 0.3 else text, mtime=0)
    return content + content if rng.random() < 0.1 else content


def _parquet(rng: Random) -> bytes:
    arrays = {}
    for name, cells in _table(rng).items():
        arrays[name] = pa.array(cells)
        if rng.random() < 0.3:
            try:
                arrays[name] = arrays[name].cast(rng.choice(_TYPES))
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                arrays[name] = pa.nulls(len(cells), rng.choice(_TYPES))
    table = pa.table(arrays)
    made = io.BytesIO()
    try:
        pyarrow.parquet.write_table(
            table,
            made,
            row_group_size=rng.choice((2, 100)),
            compression=rng.choice(("none", "snappy", "zstd")),
        )
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # no such type in Parquet
        return _parquet(rng)
    return made.getvalue()


def _npz(rng: Random) -> bytes:
    rows = 4
    arrays: dict[str, Any] = {
        "a": np.array([0.0, 1.5, -2.0, 1e9]),
        "town": np.array(["x", "y", "z", "x"]),
        "label": np.array(["no", "yes", "no", "yes"]),
    }
    odd = rng.randrange(9)
    shapes = (
        (rows,),
        (rows, 3),
        (rows, 2, 2),
        (rows, 2, 2, 3),
        (rows, 0),
        (0,),
        (),
        (3, 2),
        (rows, 1, 1, 1, 1),
    )
    dtype = rng.choice(("f4", "f8", "u1", "i8", "f2", "c8", "?", "S3", "U3", "M8[D]", ">f4", "V4"))
    arrays["odd"] = np.zeros(shapes[odd], dtype)
    if rng.random() < 0.2:
        arrays[rng.choice(sorted(arrays))] = np.array([1, "a", None, {}], object)
    made = io.BytesIO()
    rng.choice((np.savez, np.savez_compressed))(made, **arrays)
    return _with_a_fault_inside(rng, made.getvalue()) if rng.random() < 0.4 else made.getvalue()


def _with_a_fault_inside(rng: Random, content: bytes) -> bytes:
    """A zip file of which one member is spoiled, though its checksum is right."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(made, "w") as new:
        worst = rng.choice(old.namelist())
        for name in old.namelist():
            member = old.read(name)
            new.writestr(name, spoiled(rng, member) if name == worst else member)
    return made.getvalue()


_WRITERS: dict[str, Callable[[Random], bytes]] = {
    "csv": _csv,
    "csv.gz": _gzip,
    "parquet": _parquet,
    "npz": _npz,
}
