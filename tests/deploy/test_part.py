"""Copies with the specialists of some partitions only."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import shoal
import shoal_edge
from shoal.cli.commands import run
from shoal.deploy.part import write_part
from shoal.errors import CorruptError, SettingsError
from shoal.formats.json_file import write_json
from shoal_edge.errors import EdgeError
from shoal_edge.folder import apply, read_pool
from shoal_edge.patch import make
from tests.pool.conftest import reseal
from tests.shoal_edge.conftest import change
from tests.shoal_edge.test_pool import POOLS, only_base, table


def answers(pool: Path, rows: dict[str, list]) -> list[list]:
    """Those of a device, row by row: prediction, probability, partition, distance."""
    return [list(row) for row in zip(*shoal_edge.Pool.load(pool).predict(rows), strict=True)]


def asked(pool: Path, rows: dict[str, list]) -> np.ndarray:
    """Which specialists each row asks in a pool, ``(rows, k)``; -1 for none."""
    loaded = shoal.load(pool)
    _, _, embedding, values = loaded._read(pa.table(rows), "input", 1).prepared
    return loaded.router.route(embedding, values).experts


def alone(pool: Path, folder: Path) -> Path:
    """The pool with none of its specialists."""
    write_part(pool, folder, ())
    return folder


@pytest.mark.parametrize("change_pool", POOLS.values(), ids=POOLS)
def test_followed_partitions_are_answered_as_by_the_whole_pool(small_pool, tmp_path, change_pool):
    """To the bit, where all specialists that a row asks are there; other rows as without any."""
    change_pool(small_pool)
    part, rows = tmp_path / "part", table(500)

    write_part(small_pool, part, {1})

    whole, found = answers(small_pool, rows), answers(part, rows)
    others = answers(alone(small_pool, tmp_path / "alone"), rows)
    experts = asked(small_pool, rows)
    is_there = np.isin(experts, (-1, 1)).all(axis=1)
    for row, there in enumerate(is_there):
        assert found[row] == (whole[row] if there else others[row])
    leads = {row[2] for row, there in zip(found, is_there, strict=True) if not there}
    assert leads <= {-1, -2}
    said = shoal.load(part).predict(pa.table(rows)).to_pandas()
    assert [row[2] for row in found] == said["partition"].tolist()
    np.testing.assert_allclose([row[1] for row in found], said["probability"], atol=1e-6)


def test_rows_of_other_partitions_are_the_generalist_s(small_pool, tmp_path):
    """Partition 0 is its specialist's; what is not followed is not shipped."""
    rows = table(500)
    write_part(small_pool, tmp_path / "zero", {0})
    write_part(small_pool, tmp_path / "one", {1})

    zero, one, whole = (
        shoal_edge.Pool.load(each).predict(rows).partition
        for each in (tmp_path / "zero", tmp_path / "one", small_pool)
    )

    assert set(whole.tolist()) == {0, -2}
    np.testing.assert_array_equal(zero, whole)
    assert set(one.tolist()) == {-2}
    files = {path.name for path in (tmp_path / "one" / "specialists").iterdir()}
    assert files == {"1.safetensors"}


def test_a_report_still_says_where_rows_lie(small_pool, tmp_path):
    """Also of partitions that are not followed."""
    write_part(small_pool, tmp_path / "part", {0})
    counts = []
    for pool in (small_pool, tmp_path / "part"):
        loaded = shoal_edge.Pool.load(pool)
        log = loaded.log()
        loaded.predict(table(300), log=log)
        counts.append({number: own[0].tolist() for number, own in log.report().counts.items()})

    assert counts[0] == counts[1]
    assert set(counts[0]) == {0, 1}


def test_a_patch_leads_from_part_to_part(small_pool, tmp_path):
    """Nothing is told of other specialists, and the same part has the same bytes."""
    new = Path(shutil.copytree(small_pool, tmp_path / "new"))
    change(new, "specialists/0.safetensors", 0.01)
    change(new, "specialists/1.safetensors", 0.02)
    parts = [tmp_path / name for name in ("first", "second", "again")]
    for pool, part in zip((small_pool, new, new), parts, strict=True):
        write_part(pool, part, {1})
    first, second, again = map(read_pool, parts)

    patch = make(first, second)

    assert second == again
    assert len(patch) < len(make(read_pool(small_pool), read_pool(new)))
    (tmp_path / "patch").write_bytes(patch)
    apply(parts[0], tmp_path / "patch")
    assert read_pool(parts[0]) == second


def test_a_part_that_cannot_be_is_refused(small_pool, tmp_path):
    """In a line, and nothing is written."""
    out = tmp_path / "part"
    with pytest.raises(SettingsError, match="there is no partition 2 among 2"):
        write_part(small_pool, out, {1, 2})
    with pytest.raises(SettingsError, match=r"--partitions: '1;2' are not numbers"):
        run(["part", str(small_pool), "--partitions", "1;2", "--out", str(out)])
    base = small_pool / "base.safetensors"
    base.write_bytes(base.read_bytes()[:-1])
    with pytest.raises(CorruptError, match="does not match its hash"):
        write_part(small_pool, out, {1})
    assert not out.exists()


def test_the_command_says_which_specialists_there_are(small_pool, tmp_path, capsys):
    """A partition may have none."""
    only_base(small_pool)

    assert run(["part", str(small_pool), "--partitions", "0,1", "--out", f"{tmp_path}/p"]) == 0

    assert capsys.readouterr().out == f"{tmp_path}/p: with the specialists of partitions none\n"


def test_a_pool_that_lacks_a_specialist_is_no_part(small_pool):
    """Gate and manifest have to agree on which are there."""
    gate = json.loads((small_pool / "gate.json").read_text())
    del gate["shares"]["1"]
    write_json(small_pool / "gate.json", gate)
    reseal(small_pool)

    with pytest.raises(CorruptError, match="not of '1'"):
        shoal.load(small_pool)
    with pytest.raises(EdgeError, match="do not know all of its specialists"):
        shoal_edge.Pool.load(small_pool)
