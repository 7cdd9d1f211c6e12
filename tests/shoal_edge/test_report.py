"""Reports of what a pool was asked."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

import shoal_edge
from shoal.errors import CorruptError
from shoal.formats.fitted_state import load_state, save_state
from shoal.formats.json_file import write_json
from shoal.gate.bins import bin_edges
from shoal.pool.command import predict
from shoal.pool.pool import Pool
from shoal_edge.command import main
from shoal_edge.errors import EdgeError
from shoal_edge.patch import sha256
from shoal_edge.report import Bins, Report, read, read_all, summed, write
from tests.pool.conftest import COLUMNS, build_pool, reseal
from tests.shoal_edge.test_pool import table

if TYPE_CHECKING:
    from pathlib import Path

EDGES = {
    "distance": [0.5, 1.0, 1.5, 2.0, 3.0, 4.0],
    "confidence": [0.52, 0.54, 0.56, 0.58, 0.6, 0.7, 0.8],
    "prediction": [-1.0, -0.5, -0.2, 0.0, 0.2, 0.5, 1.0],
}


def with_bins(pool: Path, threshold: float = 5.0) -> Path:
    """Give a pool edges, and a distance beyond which no partition covers a row."""
    gate = json.loads((pool / "gate.json").read_text())
    write_json(pool / "gate.json", gate | {"bins": EDGES})
    tensors, meta = load_state(pool / "router.safetensors")
    save_state(pool / "router.safetensors", tensors | {"threshold": np.array([threshold])}, meta)
    reseal(pool)
    return pool


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """More rows than are read at a time."""
    path = tmp_path / "rows.csv"
    pd.DataFrame(table(9000)).to_csv(path, index=False)
    return path


def example() -> Report:
    """A report of two partitions, and of rows in none."""
    rng = np.random.default_rng(0)
    counts = {number: np.tile(rng.integers(0, 300, 8), 3).reshape(3, 8) for number in (-1, 3, 1000)}
    return Report(sha256(b""), 1_800_000_000, 1_800_003_600, counts)


def by_both(pool: Path, rows: Path, folder: Path) -> list[Report]:
    """Reports of device and workflow about the same rows, at one time."""
    main(["predict", str(pool), str(rows), "--out", f"{folder}/a.csv", "--log", f"{folder}/a"])
    predict(pool, rows, folder / "b.csv", (), log=folder / "b")
    found = []
    for name in "ab":
        (path,) = (folder / name).iterdir()
        found.append(replace(read(path), since=0, until=0))
    return found


def test_device_and_workflow_report_the_same(pool, rows, tmp_path):
    """Of the same rows, to the byte, the times aside; and each histogram has all rows."""
    device, workflow = by_both(with_bins(pool), rows, tmp_path)

    assert device.to_bytes() == workflow.to_bytes()
    assert device.manifest == sha256((pool / "manifest.json").read_bytes())
    assert device.rows == 9000
    for counts in device.counts.values():
        assert counts.sum(axis=1).tolist() == [counts[0].sum()] * 3


def test_a_report_of_numbers_has_no_confidence(tmp_path, rows):
    """Predictions are counted by edges; the same here and there."""
    columns = replace(COLUMNS, task="regression")
    device, workflow = by_both(with_bins(build_pool(tmp_path, columns)), rows, tmp_path)

    assert device.to_bytes() == workflow.to_bytes()
    for distance, confidence, prediction in device.counts.values():
        assert confidence.sum() == 0
        assert prediction.sum() == distance.sum()
        assert (prediction > 0).sum() > 1


def test_rows_are_counted_where_they_lie_whoever_answers(pool):
    """A row beyond the threshold is in the last bin of its own partition."""
    loaded = shoal_edge.Pool.load(with_bins(pool, 1.0))
    log, near = loaded.log(), {"a": [-1.0, 11.0, 12.0], "town": ["x", "y", "y"]}
    loaded.predict(near, log=log)
    far = loaded.predict({"a": [900.0], "town": ["y"]}, log=log)

    counts = log.report().counts
    assert far.partition.tolist() == [-2]
    assert {number: int(own[0].sum()) for number, own in counts.items()} == {0: 1, 1: 3}
    assert (counts[0][0, 7], counts[1][0, 7]) == (0, 1)


def test_classes_share_the_bins_in_their_order():
    """Each has its own up to eight; more have neighbours'."""
    for classes, expected in ((2, [0, 1]), (8, list(range(8))), (12, [0, 0, 1, 2, 2, 3, 4, 4, 5])):
        bins = Bins("classification", classes, 1.0, [], [], [])
        answers = np.eye(classes, dtype=np.float32)[: len(expected)]
        found = dict(bins.places(np.zeros(len(answers)), answers))[2]
        assert found.tolist() == expected


def test_edges_part_validation_rows_evenly():
    """An eighth of rows in each bin; of distances a seventh, since the last bin is beyond."""
    rng = np.random.default_rng(0)
    distance, said = rng.random(5000), rng.normal(size=(5000, 1)).astype(np.float32)
    edges = bin_edges(distance, said, "regression")

    found = Bins.of({"bins": edges}, "regression", 0, 2.0).places(distance, said)
    shares = {number: np.bincount(place, minlength=8) / 5000 for number, place in found}

    np.testing.assert_allclose(shares[0], [1 / 7] * 7 + [0], atol=0.001)
    np.testing.assert_allclose(shares[2], [1 / 8] * 8, atol=0.001)
    assert edges["confidence"] == []
    assert bin_edges(distance[:0], said[:0], "regression")["distance"] == []


def test_a_report_is_read_as_it_was_written(tmp_path):
    """It takes a few hundred bytes, and sums are those of all files of the folder."""
    report = example()
    paths = [write(report, tmp_path), write(report, tmp_path)]
    (tmp_path / ".half.report").write_bytes(b"of one that was killed")

    assert paths[0].stat().st_size < 200
    assert read(paths[0]).to_bytes() == report.to_bytes()
    (both,) = read_all(tmp_path).values()
    assert both.rows == 2 * report.rows
    assert both.counts.keys() == report.counts.keys()
    other = replace(report, manifest=sha256(b"another"), since=5)
    assert {each.since for each in summed([report, other, report]).values()} == {5, report.since}


def test_a_pool_that_says_nothing_of_bins_counts_partitions_alone(pool, rows, tmp_path):
    """As those do that were made before there were reports."""
    device, workflow = by_both(pool, rows, tmp_path)

    assert device.to_bytes() == workflow.to_bytes()
    assert all((counts[:2, 1:] == 0).all() for counts in device.counts.values())


def test_no_damaged_report_is_read():
    """A changed bit, a missing end and more than there is are each refused."""
    content = example().to_bytes()
    rng = np.random.default_rng(0)
    for at in rng.choice(len(content) * 8, 200, replace=False):
        other = bytearray(content)
        other[at // 8] ^= 1 << at % 8
        with pytest.raises(EdgeError):
            Report.from_bytes(bytes(other))
    for length in range(len(content)):
        with pytest.raises(EdgeError):
            Report.from_bytes(content[:length])
    with pytest.raises(EdgeError):
        Report.from_bytes(content + b"\0")


def sealed(body: bytes) -> bytes:
    """A body with a checksum that fits."""
    import zlib

    return body + zlib.crc32(body).to_bytes(4, "little")


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        (b"\1\1", "ends too early"),
        (b"\1\1\x80", "ends too early"),
        (b"\1\1\x80\0", "spelled too long"),
        (b"\1\1" + b"\xff" * 7 + b"\1", "too large"),
        (b"\2\1\0", "do not fit together"),
        (b"\1\1\2" + b"\1" * 25, "do not fit together"),
        (b"\1\1\2" + b"\1" * 25 + b"\0" + b"\1" * 24, "there twice"),
        (b"\1\1\1" + b"\1" * 24 + b"\2", "not of the same rows"),
        (b"\1\1\1\1" + b"\0" * 24, "not of the same rows"),
    ],
)
def test_a_report_that_nobody_writes_is_refused(numbers, message, tmp_path, capsys):
    """In a line with the file's name, and code 2."""
    path = tmp_path / "x.report"
    path.write_bytes(sealed(b"SHR\1" + b"\0" * 32 + numbers))

    with pytest.raises(SystemExit) as ended:
        main(["report", str(tmp_path)])

    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"shoal-edge: error: {path}: ")
    assert message in said
    assert said.count("\n") == 1


def test_what_is_no_file_is_no_report(tmp_path):
    """Neither a folder nor a link; nor one without end."""
    (tmp_path / "link.report").symlink_to("/dev/zero")
    (tmp_path / "long.report").write_bytes(b"SHR\1")
    with (tmp_path / "long.report").open("r+b") as file:
        file.truncate(1 << 30)

    for name, message in (("link", "no regular file"), ("long", "longer than 16 MiB")):
        with pytest.raises(EdgeError, match=message):
            read(tmp_path / f"{name}.report")
    with pytest.raises(EdgeError, match="log: no such folder"):
        read_all(tmp_path / "log")


def test_edges_out_of_order_are_refused(pool):
    """On the device and in the workflow."""
    gate = json.loads((pool / "gate.json").read_text())
    write_json(pool / "gate.json", gate | {"bins": EDGES | {"distance": [2.0, 1.0]}})
    reseal(pool)

    for load, error in ((shoal_edge.Pool.load, EdgeError), (Pool.load, CorruptError)):
        with pytest.raises(error, match=r"gate.json: bins: distance: \[2.0, 1.0\] are not edges"):
            load(pool)


def test_the_command_prints_what_reports_say(pool, rows, tmp_path, capsys):
    """A line for the pool and one for each partition."""
    arguments = ["predict", pool, rows, "--out", tmp_path / "a.csv", "--log", tmp_path / "log"]
    main(list(map(str, arguments)))
    capsys.readouterr()

    main(["report", str(tmp_path / "log")])

    first, *others = capsys.readouterr().out.splitlines()
    assert first.startswith(f"pool {sha256((pool / 'manifest.json').read_bytes())}, 20")
    assert first.endswith(", 9000 rows")
    assert [line.split(": ")[0] for line in others] == ["partition 0", "partition 1"]
    assert "; confidence 0 0 " not in others[0]


def test_where_no_report_can_be_written_nothing_is(pool, rows, tmp_path, capsys):
    """Neither the predictions."""
    (tmp_path / "log").write_text("a file")
    arguments = ["predict", pool, rows, "--out", tmp_path / "a.csv", "--log", tmp_path / "log"]

    with pytest.raises(SystemExit) as ended:
        main(list(map(str, arguments)))

    assert ended.value.code == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "pool", "rows.csv"]


WRITES = """
import sys
from pathlib import Path
from shoal_edge.report import read, write
report = read(Path(sys.argv[1]))
while True:
    write(report, Path(sys.argv[2]))
"""


def test_many_write_into_one_folder_until_they_are_killed(tmp_path):
    """No report overwrites another one, and none is half."""
    path, folder = write(example(), tmp_path), tmp_path / "log"
    arguments = [sys.executable, "-c", WRITES, path, folder]
    writers = [subprocess.Popen(arguments) for _ in range(3)]
    while len(list(folder.glob("*.report"))) < 60:
        time.sleep(0.02)
    for writer in writers:
        writer.kill()
        writer.wait()

    (report,) = read_all(folder).values()
    assert report.rows == example().rows * len(list(folder.glob("[!.]*")))
