"""What is never published."""

from types import SimpleNamespace

import pytest

from shoal.archive.publish import pool_publish
from shoal.errors import DataError
from shoal.formats.json_file import write_json
from shoal.plan.history import History
from tests.documents import metrics, release_record, run_record


def test_a_control_that_failed_leaves_what_was_published(tmp_path):
    """Models that learnt shuffled labels replace nothing, in however many attempts."""
    results = tmp_path / "results"
    history = History(results)
    history.publish(release_record("before"))
    write_json(tmp_path / "run.json", run_record("control"))
    leak = metrics(verdict="leak", sentence="A leak is likely.")
    write_json(tmp_path / "metrics.json", leak)
    names = ("manifest.json", "metrics.json", "report.html", "drift.json")
    release = [tmp_path / name for name in names]
    changes = SimpleNamespace(on_drift="nothing")

    for _ in range(2):
        with pytest.raises(DataError, match=r"report\.html: A leak is likely\. Nothing was publ"):
            pool_publish(*release, [], [], [], None, changes, tmp_path / "run.json", results)

    assert history.current["release"] == "before"
    assert sorted(path.name for path in results.iterdir()) == ["history.jsonl", "published"]
