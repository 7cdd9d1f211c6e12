"""A source file that is edited while a run reads it."""

import os
import shutil

import numpy as np
import pandas as pd
import pytest

from shoal.errors import SourceError
from shoal.formats.hashing import file_hash
from shoal.formats.tables import Table
from shoal.settings.data import ArraySource
from shoal.sources.shards import name_shards
from shoal.split import reading
from shoal.split.command import split, split_fit
from tests.split_files import split_files

COLUMNS = {"id": "id", "y": "label"}
CHANGED = r"changed while the run read it; start the run again"


@pytest.fixture
def planned(tmp_path, source_settings, split_settings):
    """Plans files, as a run does, and reads one by the name that its shard got then."""

    class Planned:
        def __init__(self, *files):
            self.sources = source_settings(list(map(str, files)), COLUMNS)
            found = name_shards([(file, None) for file in files], tmp_path / "cache.json")
            self.shards = {path: shard for shard, (path, _) in found.items()}
            self.fitted = (tmp_path / "columns.json", tmp_path / "folds.safetensors")
            self.out = tmp_path / "out" / "rows.parquet"

        def fit(self, method="hash"):
            planned = {shard: path for path, shard in self.shards.items()}
            split_fit(self.sources, split_settings(method), *self.fitted, planned)

        def split(self, path):
            arguments = (*self.fitted, split_settings(), 4, *split_files(self.out))
            split(path, *arguments, self.shards[path])
            (rows,) = Table(self.out).batches(100)
            return rows["x"].to_pylist()

    return Planned


def write(path, first=0.0):
    frame = pd.DataFrame({"id": range(20), "x": np.arange(20) + first, "y": ["a", "b"] * 10})
    if path.suffix == ".npz":
        np.savez(
            path,
            **{
                name: frame[name].to_numpy().astype("U" if name == "y" else float) for name in frame
            },
        )
    else:
        (frame.to_csv if path.suffix == ".csv" else frame.to_parquet)(path, index=False)
    return path


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.npz"])
def test_a_file_that_was_edited_after_the_plan_is_refused(planned, tmp_path, name):
    """Rows of another content never get the shard's name; the restored file gives its own."""
    path = write(tmp_path / name)
    plan = planned(path)
    plan.fit()
    kept = shutil.copy2(path, tmp_path / "kept")
    write(path, 100.0)

    with pytest.raises(SourceError, match=rf"{name}: {CHANGED}"):
        plan.split(path)
    assert not plan.out.exists()
    shutil.copy2(kept, path)

    assert plan.split(path) == list(range(20))
    assert [file for file in plan.out.parent.iterdir() if file.is_file()] == [plan.out]


def test_a_file_that_was_edited_and_restored_while_it_was_read_is_refused(
    planned, tmp_path, monkeypatch
):
    """The hash at the end is not enough: a file that is whole again may have been read edited."""
    path = write(tmp_path / "a.parquet")
    plan = planned(path)
    plan.fit()
    kept = shutil.copy2(path, tmp_path / "kept")
    typed = reading.typed

    def meanwhile(*arguments):
        write(path, 100.0)
        shutil.copy2(kept, path)
        return typed(*arguments)

    monkeypatch.setattr(reading, "typed", meanwhile)

    with pytest.raises(SourceError, match=CHANGED):
        plan.split(path)
    assert file_hash(path) == file_hash(kept)
    assert not plan.out.exists()


def test_what_is_wrong_in_a_file_that_changed_is_not_the_users_mistake(planned, tmp_path):
    """A file that is cut off because it is being written is said to have changed."""
    path = write(tmp_path / "a.parquet")
    plan = planned(path)
    plan.fit()
    os.truncate(path, 100)

    with pytest.raises(SourceError, match=CHANGED):
        plan.split(path)


@pytest.mark.parametrize("method", ["hash", "random"])
def test_nothing_is_fitted_on_other_content_than_planned(planned, tmp_path, method):
    """The fit reads the files that the plan named, and no others."""
    path, other = write(tmp_path / "a.csv"), write(tmp_path / "b.csv", 50.0)
    plan = planned(path, other)
    write(other, 100.0)

    with pytest.raises(SourceError, match=rf"b\.csv: {CHANGED}"):
        plan.fit(method)
    assert not plan.fitted[0].exists()


def test_the_fit_reads_the_files_of_the_plan_and_no_others(planned, tmp_path):
    """One that came since waits for the next run; one that is gone is named."""
    path = write(tmp_path / "a.csv")
    plan = planned(path)
    plan.sources.files[:] = [str(tmp_path / "*.csv")]
    (tmp_path / "b.csv").write_text("id,x,y\n1,hal")

    plan.fit()

    path.unlink()
    with pytest.raises(SourceError, match=r"a\.csv: no such file"):
        plan.fit()


def test_copies_and_named_arrays_are_the_shards_that_they_were_planned_as(
    tmp_path, split_settings, source_settings
):
    """The second file of a content, and arrays by other names, are read as planned."""
    np.savez(tmp_path / "a.npz", i=np.arange(8.0), n=np.arange(8.0), l=np.array(list("abababab")))
    shutil.copy(tmp_path / "a.npz", tmp_path / "b.npz")
    sources = [
        ArraySource(path=str(tmp_path / name), arrays=[{"id": "i", "x": "n", "y": "l"}])
        for name in ("a.npz", "b.npz")
    ]
    found = name_shards([(tmp_path / s.path, s) for s in sources], tmp_path / "cache.json")
    shards = {path: shard for shard, (path, _) in found.items()}
    fitted = tmp_path / "columns.json", tmp_path / "folds.safetensors"
    assert sorted(shards.values())[1].endswith("-2")

    planned = {shard: source for shard, (_, source) in found.items()}
    split_fit(source_settings(sources, COLUMNS), split_settings(), *fitted, planned)
    for source in sources:
        out = tmp_path / "rows.parquet"
        split(
            source, *fitted, split_settings(), 4, *split_files(out), shards[tmp_path / source.path]
        )

    assert Table(out).rows == 8
