"""Jobs whose inputs were damaged end in one line, as found by ``make fuzz``."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest

from shoal.formats.fitted_state import load_state, save_state
from tests.fuzz.stages import jobs_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.workflow.small import Experiment


def with_nan(path: Path) -> None:
    tensors, meta = load_state(path)
    save_state(path, {name: each * np.float32(np.nan) for name, each in tensors.items()}, meta)


def without_budget(path: Path) -> None:
    tensors, meta = load_state(path)
    save_state(path, tensors, {"model": meta["model"]})


def of_another_partition(path: Path) -> None:
    tensors, meta = load_state(path)
    save_state(path, tensors | {"9/weight": np.zeros(1)}, meta)


def without_winners(path: Path) -> None:
    content = json.loads(path.read_text())
    del content["winners"]
    path.write_text(json.dumps(content))


def with_another_winner(path: Path) -> None:
    content = json.loads(path.read_text())
    content["winners"][0]["partition"] = 9
    path.write_text(json.dumps(content))


def with_another_point(path: Path) -> None:
    content = json.loads(path.read_text())
    content["winners"][0]["point"]["values"] = {}
    path.write_text(json.dumps(content))


CASES: list[tuple[str, str, Callable[[Path], None], str]] = [
    ("train-choose", "base.safetensors", with_nan, "its loss on validation rows is nan"),
    ("train-specialist", "base.safetensors", without_budget, "budget: key is missing"),
    (
        "ask",
        "random.safetensors",
        of_another_partition,
        "tensor '9/weight' is of no random partition",
    ),
    ("answers", "published", without_winners, "winners: key is missing"),
    ("answers", "published", with_another_winner, "winners: partition 0 has none of its points"),
    ("answers", "published", with_another_point, "winners: partition 0 has none of its points"),
]


@pytest.mark.parametrize(("job", "file", "damage", "reason"), CASES)
def test_a_job_names_the_input_that_is_damaged(
    copied: Experiment, job: str, file: str, damage: Callable[[Path], None], reason: str
):
    """And says in the same line what is wrong with it."""
    inputs, command = next(each for each in jobs_of(copied.folder) if each[1][0] == job)
    (name,) = (each for each in inputs if file in each)
    damage(copied.folder / name)
    copied.forget_store()  # which would give the specialist back

    result = copied.shoal(*command)

    (line,) = [each for each in result.stderr.splitlines() if "error" in each]
    assert result.returncode == 2
    assert re.match(rf"shoal: error: {re.escape(name)}: {reason}", line)
