"""Settings for the tests of split."""

from typing import Any

import pytest

from shoal.formats.json_file import read_json
from shoal.formats.tables import Table
from shoal.settings import parse
from shoal.settings.data import Sources, Split
from shoal.sources.readers import expand
from shoal.split.command import split, split_check, split_fit
from tests.split_files import split_files


@pytest.fixture
def split_settings():
    """Split settings, hash by default."""
    shares = {"fractions": {"train": 0.6, "validation": 0.2, "test": 0.2}}
    plain = shares | {"column": None, "values": {}, "outside": []}
    own = {
        "k_fold": {"folds": 5, "fold": 0},
        "similarity": shares | {"similarity": 0.8, "characters": 5, "digits": 3},
    }

    def make(method="hash", **changes):
        settings = {"method": method, "seed": 0} | own.get(method, plain) | changes
        return parse(Split, settings, "split")

    return make


@pytest.fixture
def source_settings():
    """Sources of some files."""

    def make(files, columns, **changes):
        settings = {
            "folder": "",
            "task": "classification",
            "undeclared": "infer",
            "images": {"size": None, "channels": None},
            "shuffle_labels": False,
            "batch_rows": 4,
        }
        return Sources(files=files, columns=columns, **(settings | changes))

    return make


@pytest.fixture
def run(tmp_path, split_settings, source_settings):
    """All three commands on some files: the tables by file name, and the check."""

    def run(files, columns, settings=None, **changes):
        settings = settings or split_settings()
        sources = source_settings([f if hasattr(f, "path") else str(f) for f in files], columns)
        sources = sources.model_copy(update=changes)
        out = tmp_path / "out"
        fitted = (out / "columns.json", out / "folds.safetensors")
        split_fit(sources, settings, *fitted)
        written, sketches = {}, []
        for path, arrays in expand(sources.files):
            written[str(path)] = out / f"{path.name}.parquet"
            made = split_files(written[str(path)])
            split(arrays or path, *fitted, settings, sources.batch_rows, *made)
            sketches.append(made[1:])
        hashes, samples = zip(*sketches, strict=True)
        split_check(written, hashes, samples, fitted[0], settings, out / "check.json")
        tables = {path.rpartition("/")[2]: Table(table) for path, table in written.items()}
        return tables, read_json(out / "check.json", Any)

    return run
