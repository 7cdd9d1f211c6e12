"""What jobs ask of a cluster."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from shoal.formats.fitted_state import save_state
from shoal.operate.resources import Resources
from shoal.plan.layout import Layout
from shoal.plan.stages import STAGES
from shoal.settings.compose import compose
from shoal.settings.nodes import Nodes
from tests.documents import COUNTS, partition_entry, partition_index, plain_steps

DIGEST, POINT, PACK = "d" * 24, "1" * 10, "2" * 10
CONFIG = Path(__file__).parents[2] / "config"


@pytest.fixture
def plan(tmp_path: Path) -> Any:
    """A stand-in for a plan with one partition of 1,000 rows of 250 numbers each."""
    fits = {"base": "bid", "encode": "eid", "embed": "mid", "cluster": "cid"}
    layout = Layout(
        str(tmp_path),
        str(tmp_path),
        "g1",
        fits,
        {"specialists": "sid", "search": "grid", "ask": "aid"},
        ("a",),
        (POINT,),
        "iid",
        "",
        refreshed=False,
        slots=(1,),
    )
    entry = partition_entry(0, specialist=DIGEST, rows=COUNTS | {"train": 1000})
    write(layout.index, partition_index(entry, rows=COUNTS | {"train": 1000}))
    write(layout.file("encode_fit.shapes"), {"x_shape": [250]})
    training = SimpleNamespace(
        rows_seen=60_000, base_share=0.5, batch_size=10, epochs=None, flops=None
    )
    training.patience = None
    nodes = compose(CONFIG, "demo", []).nodes
    settings = SimpleNamespace(train_specialists=training, nodes=nodes)
    grid, steps = {POINT: {}}, plain_steps()
    return SimpleNamespace(root=tmp_path, layout=layout, grid=grid, steps=steps, settings=settings)


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def past_specialist(plan: Any, **changes: Any) -> None:
    """A specialist that has seen 6,000 rows in 60 s, in a job of 70 s."""
    ledger = {"flops": 1.0, "rows_seen": 6000, "seconds": 60.0, "rows_read": 1000}
    ledger |= {"peak_memory_bytes": 603_000_000, "peak_gpu_memory_bytes": 400_000_000} | changes
    (path,) = plan.layout.search("e" * 24, "v").files(0, "ledger.json")
    write(path, ledger)
    benchmark = plan.root / "benchmarks/g1/train_specialist/sid" / ("e" * 24) / f"0/{POINT}.tsv"
    write(benchmark, "s\tmax_rss\n70\t500\n")


def asked(plan: Any, attempt: int = 1, rule: str = "train_specialist", **nodes: Any) -> Any:
    """Resources of a rule at an attempt, functions called."""
    content = plan.settings.nodes.as_json() | nodes
    plan.settings.nodes = Nodes(**content)
    wildcards = SimpleNamespace(digest=DIGEST, step="0", slot=POINT, pack=PACK)
    found = Resources(plan).of(rule, "gpu" if rule.startswith("train_") else "light")
    return SimpleNamespace(
        **{
            name: value(wildcards=wildcards, attempt=attempt) if callable(value) else value
            for name, value in found.items()
        }
    )


def test_the_first_jobs_ask_for_what_the_settings_say(plan):
    """Without past jobs nothing is calculated, and a GPU is asked for whole."""
    found = asked(plan)

    assert (found.runtime, found.mem_mb, found.gpu, found.gpu_memory_mb) == (30, 2000, 1, 80_000)
    assert (found.slurm_partition, found.node_class) == ("gpu", "gpu")


def pack_of(plan: Any, count: int) -> None:
    """A pack of so many specialists of the one partition."""
    member: dict[str, Any] = {"folder": "f", "digest": DIGEST, "step": 0, "slot": POINT, "log": "l"}
    member |= {"point": {}, "decision": None, "states": {}}
    write(plan.layout.pack_members(PACK), [member] * count)


def test_a_pack_asks_for_the_time_of_all_its_members(plan):
    """The first as many times what the settings say; later what the members are expected to."""
    pack_of(plan, 2)

    assert asked(plan, rule="train_pack").runtime == 60
    past_specialist(plan)
    assert asked(plan, rule="train_pack").runtime == 16


def test_what_is_done_in_turn_asks_for_the_time_of_all_and_the_memory_of_one(plan):
    """Ten jobs of 60 s behind a start of 10 s, times 1.5; at first the most that a node gives."""
    past_specialist(plan)
    write(plan.layout.pack_members(PACK, "ask_pack"), [{"partition": "0", "rows": "r"}] * 10)
    assert asked(plan, rule="ask_pack").runtime == 60
    ledger = {"flops": 1.0, "rows_seen": 0, "seconds": 60.0}
    write(plan.layout.file("ask.ledger", partition="0", rows="r" * 24), ledger)
    write(plan.root / "benchmarks/g1/ask/aid/0/r.tsv", "s\tmax_rss\n70\t500\n")

    assert asked(plan, rule="ask_pack").runtime == 16
    assert asked(plan, rule="ask_pack").mem_mb == 1.5 * (500 + 400)


def test_a_pack_asks_for_the_memory_of_as_many_members_as_share_a_program(plan):
    """Each has its rows and its model; beyond 32 members no more are held."""
    past_specialist(plan)

    for count, held in ((2, 2), (40, 32)):
        pack_of(plan, count)
        assert asked(plan, rule="train_pack").mem_mb == 1.5 * (600 + 3 * held + 400)


def test_a_specialists_time_follows_from_its_rows_and_the_budget(plan):
    """30,000 rows at 100 a second and 10 s around them, times 1.5: eight minutes."""
    past_specialist(plan)

    assert asked(plan).runtime == 8
    plan.settings.train_specialists.rows_seen *= 2
    assert asked(plan).runtime == 16


def test_a_specialists_memory_follows_from_its_rows(plan):
    """600 MB that rows do not explain, and 3 MB for a thousand rows of 1,000 bytes."""
    past_specialist(plan)

    assert asked(plan).mem_mb == 1.5 * (600 + 3 + 400) + 0.5
    assert asked(plan).gpu_memory_mb == 1.5 * (400 + 600)


def test_a_training_that_may_stop_early_reads_validation_rows_and_keeps_a_best_state(plan):
    """At 1 MB each, 2,000 training rows and 1,000 validation rows need what 3,000 rows do."""
    budget = {"rows_seen": 60_000, "base_share": 0.5, "training_rows": 2000}
    weights = {"weight": np.zeros(250_000, np.float32)}
    save_state(plan.layout.file("base_fit.base"), weights, {"budget": budget})
    entry = partition_entry(0, specialist=DIGEST, rows=COUNTS | {"train": 2000, "validation": 1000})
    write(plan.layout.index, partition_index(entry, rows=COUNTS | {"train": 2000}))
    past_specialist(plan, peak_memory_bytes=607_000_000)

    assert asked(plan).mem_mb == pytest.approx(1.5 * (600 + 6 + 4 + 400), abs=1)
    plan.settings.train_specialists.patience = 5
    past_specialist(plan, peak_memory_bytes=608_000_000)
    assert asked(plan).mem_mb == pytest.approx(1.5 * (600 + 9 + 5 + 400), abs=1)


def test_a_further_attempt_asks_for_more_within_the_class(plan):
    """Time and memory double each time, up to what the class of node has."""
    first, second, sixth = (asked(plan, attempt) for attempt in (1, 2, 6))

    assert (second.runtime, second.mem_mb) == (2 * first.runtime, 2 * first.mem_mb)
    assert (sixth.runtime, sixth.mem_mb) == (60, 8000)


def test_other_jobs_ask_for_the_most_that_their_rule_took(plan):
    """The longest and the largest of the past jobs, each with the factor of safety."""
    for name, seconds, memory in (("a", 600, "100.5"), ("b", 10, "300"), ("c", 20, "-")):
        write(
            plan.root / f"benchmarks/g1/encode/x/{name}.tsv", f"s\tmax_rss\n{seconds}\t{memory}\n"
        )
    found = asked(plan, rule="encode")

    assert (found.runtime, found.mem_mb) == (15, 1.5 * (300 + 400))
    assert not hasattr(found, "gpu")


def test_a_rule_takes_the_class_that_the_settings_name_for_it(plan):
    """A rule's need can be another than its own."""
    found = asked(plan, rule="encode", rules={"encode": "gpu"}, account="mine")

    assert (found.slurm_partition, found.gpu, found.slurm_account) == ("gpu", 1, "mine")


@pytest.mark.parametrize(
    ("cluster", "need"), [("kmeans", "cores"), ("auto", "gpu"), ("loss", "gpu")]
)
def test_fitting_an_assigner_takes_a_gpu_only_where_probes_train(cluster, need):
    """Clustering runs on cores; probes train like specialists."""
    settings = compose(CONFIG, "demo", [f"cluster={cluster}"])

    assert STAGES["cluster_fit"].need(settings) == need
