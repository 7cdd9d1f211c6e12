"""What a pool lacks, from the record of failed trainings."""

from pathlib import Path

from shoal.formats.documents.plan import FailedSpecialist
from shoal.plan.failures import left_out, record_failed
from shoal.plan.layout import Layout
from shoal.pool.incomplete import incomplete, read_failed
from shoal.report.words import incomplete_line

ENTRIES = [
    {"partition": 0, "trained": True, "specialist": "a"},
    {"partition": 1, "trained": True, "specialist": "b"},
    {"partition": 2, "trained": False, "specialist": "c"},
]


def failure(
    folder: Path, digest: str, point: str = "p", reason: str = "no memory"
) -> FailedSpecialist:
    path = folder / digest / "0" / point
    return {
        "folder": str(path),
        "identity": folder.name,
        "digest": digest,
        "step": "0",
        "slot": point,
        "reason": reason,
        "log": "logs/x.log",
    }


def trained(each: FailedSpecialist) -> None:
    """Let its files be there."""
    folder = Path(each["folder"])
    folder.mkdir(parents=True)
    for name in ("model.safetensors", "ledger.json"):
        (folder / name).touch()


def test_partitions_that_lack_something_are_listed(tmp_path):
    """One with another grid point keeps a specialist; one with too few rows never had any."""
    failures = [failure(tmp_path, "a"), failure(tmp_path, "b"), failure(tmp_path, "b", "q", "slow")]

    found = incomplete(ENTRIES, {0}, failures)

    assert [incomplete_line(lack) for lack in found] == [
        "incomplete: partition 0 without 1 grid point, because no memory",
        "incomplete: partition 1 without a specialist, because no memory; slow",
    ]


def test_a_partition_whose_record_is_lost_is_listed_all_the_same():
    """What the pool lacks is told by what it holds."""
    (lack,) = incomplete(ENTRIES, {0}, [])

    assert incomplete_line(lack).endswith("without a specialist, because its training failed")


def test_the_record_forgets_what_has_been_trained(tmp_path):
    """A later failure of the same specialist replaces the earlier one."""
    path = tmp_path / "failed.json"
    first, second = failure(tmp_path, "a"), failure(tmp_path, "b")
    record_failed(path, [first, second])
    record_failed(path, [failure(tmp_path, "a", reason="slow")])
    assert [each["reason"] for each in read_failed(path)] == ["slow", "no memory"]

    trained(first)
    record_failed(path)
    assert [each["digest"] for each in read_failed(path)] == ["b"]

    trained(second)
    record_failed(path)
    assert not path.exists()


def test_only_what_is_planned_and_missing_is_left_out(tmp_path):
    """Specialists of other settings, of other grid points, or trained since, are none of it."""
    path, folder = tmp_path / "failed.json", tmp_path / "g1" / "specialists" / "sid"
    root, made = str(tmp_path), {"specialists": "sid", "search": "grid"}
    layout = Layout(root, root, "g1", {}, made, (), ("p",), "", "", refreshed=False, slots=(1,))
    own = [failure(folder, digest) for digest in "ba"]
    others = [failure(folder.with_name("other"), "c"), failure(folder, "d", "q")]
    others.append(failure(tmp_path / "g2" / "specialists" / "sid", "f"))
    record_failed(path, [*own, *others, failure(folder, "e")])
    trained(failure(folder, "e"))

    assert left_out(path, layout) == ("sid/a/0/p", "sid/b/0/p")
