"""Made-up numbers in the shape that evaluate writes them."""

import pytest

from shoal.evaluate.bootstrap import Difference
from shoal.evaluate.verdict import verdict
from tests.documents import gate_summary


def contender(score: float, training: float, inference: float) -> dict:
    return {
        "score": score,
        "log_loss": 0.41,
        "calibration_error": 0.034,
        "worst_partition": {"partition": 1, "score": score - 0.06, "rows": 123, "units": 123},
        "train_flops": training,
        "inference_flops_per_row": inference,
    }


@pytest.fixture
def metrics() -> dict:
    difference = {"value": 0.019, "low": 0.006, "high": 0.031}
    units = {"kind": None, "test": 1078, "least": 6}
    answered = {"specialist": 0.5, "both": 0.2, "generalist": 0.3}
    told = verdict("accuracy", Difference(**difference), 0.861, 0.842, (1.0, 1.0), units)
    return {
        "metric": "accuracy",
        "verdict": told[0],
        "sentence": told[1],
        "units": units,
        "difference": difference,
        "pool_top1": contender(0.861, 1.234e12, 38_912),
        "pool_top2": contender(0.866, 1.234e12, 58_912),
        "generalist": contender(0.842, 1.231e12, 21_912),
        "random_partitions": contender(0.812, 1.234e12, 38_912),
        "constant": contender(0.103, 0.0, 0.0) | {"worst_partition": None},
        "rows": {"train": 5032, "validation": 1078, "test": 1078, "outside": 120},
        "partitions": 2,
        "incomplete": [],
        "shipped": "pool_top1",
        "gate": gate_summary(specialists=2, serving=1, answered=answered, models_per_row=1.2),
        "control": None,
        "against_usual": [],
        "critical_path": {
            "nodes": [1, 8, None],
            "ungated": [1.0e12, 0.52e12, 0.45e12],
            "pool": [1.8e12, 1.1e12, 1.1e12],
            "generalist": [1.0e12] * 3,
        },
        "leaks": {
            "exact": {"rows": 0, "of": 2156},
            "near": {"rows": 0, "by_chance": 0.0, "of": 2000},
            "columns": [],
        },
        "rejection": {"outside": 0.43, "test": 0.05},
        "bootstrap": {"resamples": 2000, "seed": 7},
    }
