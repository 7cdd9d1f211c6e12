"""What jobs would cost, from the records of past ones."""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from shoal.formats.fitted_state import save_state
from shoal.operate.estimate import Cost, Estimate
from shoal.plan.jobs import Job
from shoal.plan.layout import Layout
from shoal.training.budget import Budget
from tests.documents import plain_steps

POINT, OTHER = "1111111111", "2222222222"
INDEX = {
    "rows": {"train": 100},
    "partitions": [{"partition": 0, "rows": {"train": 20}}, {"partition": 1}],
}


@pytest.fixture
def plan(tmp_path: Path) -> Any:
    """A stand-in for a plan: a folder and the few settings that an estimate reads."""
    made, fits = {"specialists": "sid", "search": "grid"}, {"base": "bid"}
    fits |= {"embed": "eid", "cluster": "cid"}
    layout = Layout(
        *(str(tmp_path), str(tmp_path), "g1", fits, made, ("a", "b"), (POINT, OTHER), "", ""),
        refreshed=False,
        slots=(2,),
    )
    training = SimpleNamespace(
        rows_seen=1000, base_share=0.5, batch_size=8, epochs=None, flops=None
    )
    return SimpleNamespace(
        root=tmp_path,
        layout=layout,
        grid={POINT: {"lr": 1}, OTHER: {"lr": 2}},
        steps=plain_steps(),
        settings=SimpleNamespace(train_specialists=training),
    )


def write(path: Path, content: str | dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def benchmark(root: Path, rule: str, name: str, seconds: float) -> Path:
    path = root / "benchmarks" / "g1" / rule / f"{name}.tsv"
    write(path, f"s\th:m:s\tmax_rss\n{seconds}\t0:00:01\tNA\n")
    return path


def specialist(root: Path, flops: float) -> None:
    """A past job: 100 rows seen, 2 s in the command, 5 s in all."""
    ledger = {"flops": flops, "rows_seen": 100, "seconds": 2.0}
    write(root / "g1" / "specialists" / "sid" / "digest" / "0" / POINT / "ledger.json", ledger)
    benchmark(root, "train_specialist", f"sid/digest/0/{POINT}", 5.0)


def job(rule: str, partition: int | None = None, point: str = POINT) -> Job:
    about = {"digest": "digest", "step": "0", "slot": point} if rule == "train_specialist" else {}
    return Job(rule, about, (), partition)


def cost(plan: Any, *jobs: Job, index: dict[str, Any] | None = None) -> Cost:
    return Estimate(plan, index or INDEX, jobs).cost(jobs)


def test_seconds_are_the_mean_of_the_newest_jobs_of_the_rule(plan: Any):
    """As many past jobs count as the plan has: one here, the newest."""
    old = benchmark(plan.root, "pool", "old", 100.0)
    os.utime(old, (1, 1))
    benchmark(plan.root, "pool", "new", 3.0)

    assert cost(plan, job("pool")) == Cost(1, 3.0, 0.0)
    assert cost(plan, job("pool"), job("pool")) == Cost(2, 103.0, 0.0)


def test_what_no_past_job_tells_is_unknown(plan: Any):
    """Unknown is None, for a sum as well, never zero."""
    benchmark(plan.root, "pool", "one", 3.0)

    assert cost(plan, job("base_fit")) == Cost(1, None, None)
    assert cost(plan, job("pool"), job("base_fit")) == Cost(2, None, None)


def test_a_specialists_cost_follows_from_its_rows_and_the_frozen_budget(plan: Any):
    """20 of 100 rows see a fifth of half the budget, in whole batches; the start costs as ever."""
    specialist(plan.root, flops=700.0)
    budget = {"rows_seen": 1000, "base_share": 0.5, "training_rows": 100}
    path = plan.layout.file("base_fit.base")
    save_state(path, {"weight": np.zeros(1)}, {"budget": budget})

    found = cost(plan, job("train_specialist", 0))

    rows = 13 * 8  # 100 rows in batches of 8
    assert Budget(**budget).specialist_rows(20) == 100
    assert found.flops == pytest.approx(rows * 7.0)
    assert found.seconds == pytest.approx(3.0 + rows * 0.02)


def test_a_new_grid_point_costs_what_the_others_cost(plan: Any):
    """Grid points keep the model's shape, so FLOPs a row are alike."""
    specialist(plan.root, flops=700.0)

    first = cost(plan, job("train_specialist", 0))

    assert cost(plan, job("train_specialist", 0, OTHER)) == first


def test_before_rows_are_known_partitions_share_the_budget(plan: Any):
    """Without an index the specialists of a grid point together see what the budget leaves."""
    specialist(plan.root, flops=700.0)
    unknown = {"partitions": [{"partition": 0}, {"partition": 1}]}

    assert cost(plan, job("train_specialist", 1), index=unknown).flops == 250 * 7.0


def test_passes_over_rows_that_nobody_has_counted_cost_what_nobody_knows(plan: Any):
    """With ``epochs`` the budget follows from rows; once a base has frozen it, it is shared."""
    specialist(plan.root, flops=700.0)
    plan.settings.train_specialists.epochs = 4
    unknown = {"partitions": [{"partition": 0}, {"partition": 1}]}

    assert cost(plan, job("train_specialist", 1), index=unknown) == Cost(1, None, None)

    budget = {"rows_seen": 800, "base_share": 0.5, "training_rows": 100, "epochs": 4.0}
    path = plan.layout.file("base_fit.base")
    save_state(path, {"weight": np.zeros(1)}, {"budget": budget})
    assert cost(plan, job("train_specialist", 1), index=unknown).flops == 200 * 7.0


def test_a_baseline_is_not_charged_for_the_base_again(plan: Any):
    """Ledgers of baselines count the base; a job that trains one does not train that."""
    folder = plan.root / "g1"
    ledger = {"job": "base_fit", "flops": 100.0, "detail": {}}
    write(folder / "base" / "id" / "ledger.json", ledger)
    ledger = {"job": "evaluate_random", "flops": 250.0, "detail": {}}
    write(folder / "baselines" / "id" / "generation" / "random.json", ledger)

    assert cost(plan, job("evaluate_random")).flops == 150.0


def test_embedding_is_charged_to_the_shards_and_not_to_the_router(plan: Any):
    """The router's ledger counts what cutting all rows cost; a run pays for new shards only."""
    detail = {"embedding": 60.0, "assignment": 40.0, "losses": 5.0, "fit": 1.0}
    ledger = {"job": "train_router", "flops": 106.0, "detail": detail}
    write(plan.root / "g1" / "router" / "id" / "root" / "ledger.json", ledger)

    assert cost(plan, job("train_router")).flops == 6.0
    assert cost(plan, job("assign")).flops == 50.0


def test_percentages_are_of_the_whole_and_unknown_where_it_is():
    """A share of an unknown or empty whole is None."""
    part, whole = Cost(1, 2.0, None), Cost(4, 8.0, None)

    assert part.percent_of(whole) == {"jobs": 25.0, "seconds": 25.0, "flops": None}
    assert part.percent_of(Cost())["jobs"] is None
