"""Critical path of hand-made jobs, and of a pool that was made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from shoal.evaluate.critical import Work, critical_path, pool_jobs, span
from shoal.formats.documents.ledger import LedgerRecord
from shoal.formats.json_file import read_made

if TYPE_CHECKING:
    from tests.workflow.small import Experiment

JOBS = {
    "base": Work(3.0),
    "cut": Work(1.0),
    "long": Work(4.0, ["base", "cut"]),
    "short": Work(2.0, ["base", "cut"]),
    "other": Work(2.0, ["base", "cut"]),
    "end": Work(1.0, ["long", "short", "other"]),
}


@pytest.mark.parametrize(("nodes", "flops"), [(1, 13.0), (2, 8.0), (8, 8.0), (None, 8.0)])
def test_jobs_run_beside_each_other_on_several_nodes(nodes: int | None, flops: float) -> None:
    """On one node it is all of them; on two the short ones run beside the long one."""
    assert span(JOBS, nodes) == flops


def test_a_node_too_few_lengthens_the_path() -> None:
    """Three jobs of 2 on two nodes take 4."""
    jobs = {"a": Work(2.0), "b": Work(2.0), "c": Work(2.0)}

    assert [span(jobs, nodes) for nodes in (1, 2, 3, None)] == [6.0, 4.0, 2.0, 2.0]


def ledger(job: str, flops: float, **more: Any) -> dict[str, Any]:
    return {"job": job, "flops": flops, "detail": {}, **more}


LEDGERS: dict[Path, Any] = {
    Path("g1/base/i/ledger.json"): ledger("base_fit", 30.0),
    Path("g1/embed/i/ledger.json"): ledger("embed_fit", 1.0),
    Path("g1/cluster/i/ledger.json"): ledger("cluster_fit", 2.0),
    **{
        Path(f"g1/specialists/i/{slot}/ledger.json"): ledger("train_specialist", 10.0)
        for slot in ("d1/0/a", "d1/0/b", "d2/0/a", "d2/0/b", "d1/1/a", "d2/1/a")
    },
    **{
        Path(f"g1/choices/i/{digest}/{step}/v.json"): ledger("train_choose", 0.5)
        for digest in ("d1", "d2")
        for step in (0, 1)
    },
    Path("g1/router/i/r/ledger.json"): ledger(
        "train_router", 5.0, detail={"embedding": 2.0, "assignment": 2.0, "fit": 1.0}
    ),
    Path("g1/gate/i/r.json"): ledger("gate", 4.0),
}


def test_a_pool_waits_for_its_base_then_for_each_step() -> None:
    """Slots of a step run beside each other, a later step waits for the decision before it."""
    found = critical_path(
        LEDGERS, ledger("generalist", 100.0), ledger("generalist", 100.0), 2, holds_generalist=True
    )

    assert found["nodes"] == [1, 8, None]
    # base 30, two steps of 10 with their choices, the router's own 1
    assert found["ungated"] == [100.0, 52.0, 52.0]
    assert found["generalist"] == [100.0] * 3
    # the base, what the generalist is trained on with, the gate
    assert found["pool"] == [174.0, 104.0, 104.0]


def test_by_probes_the_cut_waits_for_the_base() -> None:
    """Then embedding and clustering come first."""
    made_from = {"files": {"g1/base/i/base.safetensors": "0"}}
    ledgers = LEDGERS | {
        Path("g1/cluster/i/ledger.json"): ledger("cluster_fit", 2.0, made_from=made_from)
    }

    assert span(pool_jobs(ledgers, 2), None) == 30 + 2 + 2 + 21 + 1 + 4


def test_one_node_computes_all_that_the_ledgers_say(finished: Experiment) -> None:
    """Of a real pool; more nodes compute as much in less time."""
    metrics = finished.metrics()
    found = metrics["critical_path"]

    paths = [
        path
        for pattern in (
            *("base/*/ledger.json", "embed/*/ledger.json", "cluster/*/ledger.json"),
            *("specialists/*/*/*/*/ledger.json", "choices/*/*/*/*.json", "router/*/*/ledger.json"),
        )
        for path in finished.generation.glob(pattern)
    ]
    whole = sum(read_made(path, LedgerRecord)["flops"] for path in paths)

    assert found["ungated"][0] == pytest.approx(whole)
    assert found["ungated"][0] == pytest.approx(metrics["ungated"]["train_flops"])
    assert found["pool"][0] == pytest.approx(metrics["pool_top1"]["train_flops"])
    assert found["ungated"][2] <= found["ungated"][1] < found["ungated"][0]
