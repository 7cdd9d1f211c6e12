"""Small documents that have all that readers rely on."""

from __future__ import annotations

from typing import Any

from shoal.search.steps import Steps
from shoal.settings.search import GridSampling, Halving

COUNTS = {"train": 0, "validation": 0, "test": 0}


def plan_record(release: str, **changes: Any) -> dict[str, Any]:
    """A plan's record; of a release's record it is the most."""
    layout = {
        "root": "results/tiny",
        "generation": "g1",
        "fits": {},
        "made": {},
        "shards": [],
        "points": [],
        "index_id": "0",
        "release": release,
    }
    record = {"release": release, "layout": layout, "tolerance": 0.0}
    return record | {"settings": {}, "codes": {}, "changes": {}} | changes


def run_record(release: str, **changes: Any) -> dict[str, Any]:
    """The settings file of a run."""
    record = {"plan": plan_record(release), "experiment": "tiny", "overrides": []}
    record |= {"fit_codes": {}, "sources": {}, "points": {}, "search": plain_steps().as_json()}
    previous = {"layout": None, "arrived": [], "reason": "the first release"}
    return record | {"before": None, "previous": previous, "failed": []} | changes


def release_record(release: str, **changes: Any) -> dict[str, Any]:
    """The record of a release."""
    return plan_record(release, rows="", released=[], winners=[]) | changes


def metrics(**changes: Any) -> dict[str, Any]:
    """Measurements of an evaluation."""
    scores = {
        "score": 0.5,
        "log_loss": None,
        "calibration_error": None,
        "worst_partition": None,
        "train_flops": 0.0,
        "inference_flops_per_row": 0.0,
    }
    names = ("pool_top1", "pool_top2", "ungated", "generalist", "random_partitions", "constant")
    about = {"metric": "accuracy", "verdict": "no difference", "sentence": "Nothing."}
    difference = {"value": 0.0, "low": None, "high": None}
    counts = {"rows": COUNTS, "partitions": 1, "gate": gate_summary(), "incomplete": []}
    counts["difference"] = difference
    paths = {name: [4.0, 1.0, 1.0] for name in ("ungated", "pool", "generalist")}
    counts |= {"critical_path": {"nodes": [1, 8, None], **paths}, "against_usual": []}
    about |= {"shipped": "pool_top1", "control": None}
    return dict.fromkeys(names, scores) | about | counts | changes


def gate_summary(**changes: Any) -> dict[str, Any]:
    """What an evaluation says of a gate that closes every specialist."""
    answered = {"specialist": 0.0, "both": 0.0, "generalist": 1.0}
    facts = {"specialists": 1, "serving": 0, "units": 60, "least_units": 5, "kind": None}
    mixing = {"softness": None, "answered": answered, "models_per_row": 1.0}
    return facts | mixing | changes


def gate_record(shares: dict[int, float], **changes: Any) -> dict[str, Any]:
    """What a gate decided, by the shares of its experts."""
    test = {"share": 1.0, "gain": 0.1, "error": 0.01, "opens": True}
    counts = {"rows": 4, "units": 4, "least_units": 5, "comparisons": [], "test": test}
    counts |= {"scored": 4, "error": 0.01}
    counts["inference_flops_per_row"] = dict.fromkeys(("pool", "ungated", "generalist"), 1.0)
    by_text = {str(number): share for number, share in shares.items()}
    content = {
        "shares": by_text,
        "softness": None,
        "validation": {"pool": 1.0, "generalist": 1.0},
    } | counts
    return content | changes


def partition_entry(partition: int, **changes: Any) -> dict[str, Any]:
    """A partition of an index."""
    facts = {"rows": COUNTS, "digests": dict.fromkeys(COUNTS, "")}
    facts |= {"trained": True, "specialist": "", "ask": ""}
    return {"partition": partition} | facts | changes


def partition_index(*entries: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A partition index."""
    rows = {"rows": COUNTS, "untrained_rows": COUNTS, "unknown_labels": 0}
    root = {"all": "", "fit": "", "train": ""}
    return {"partitions": list(entries), "root": root, "stores": "../stores"} | rows | changes


def plain_steps() -> Steps:
    """The steps of a plain grid's search."""
    sampling = GridSampling(sampler="sobol", samples=None, batch=1, seed=0)
    return Steps({}, sampling, Halving(rungs=1, reduction_factor=2))
