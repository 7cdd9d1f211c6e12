"""Baselines that train side by side."""

from pathlib import Path
from typing import Any

import pytest

from shoal.evaluate.command import evaluate_random
from shoal.formats.fitted_state import load_state
from shoal.formats.json_file import read_json
from shoal.settings.compose import compose
from shoal.settings.learning import Model
from shoal.settings.section import parse
from shoal.training import lanes
from tests.documents import plain_steps
from tests.trainings import TRAINING

CONFIG = Path(__file__).parents[2] / "config"


def test_random_partitions_in_lanes_have_the_bits_of_one_after_the_other(
    finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Weights, points and account, the learning curves' order included."""
    made = finished.generation
    (base,), (index,) = (
        made.glob("base/*/base.safetensors"),
        made.glob("cluster/*/indexes/*/*.json"),
    )
    model = parse(Model, load_state(base)[1]["model"], "model")
    points = {str(number): {"lr": lr} for number, lr in enumerate((0.001, 0.003, 0.01))}
    stepped: list[int] = []
    original = lanes._Program.step
    monkeypatch.setattr(
        lanes._Program, "step", lambda self: (stepped.append(len(self.live)), original(self))
    )

    def trained(fewest: int) -> tuple[bytes, dict[str, Any]]:
        monkeypatch.setattr(lanes, "FEWEST", fewest)
        out, ledger = tmp_path / "random.safetensors", tmp_path / "random.json"
        evaluate_random(
            model,
            TRAINING.model_copy(update={"batch_size": 32}),
            points,
            plain_steps(),
            compose(CONFIG, "demo", []).evaluate,
            sorted(made.glob("encode/*/rows/*/*.zarr.zip")),
            index,
            base,
            next(made.glob("encode/*/shapes.json")),
            out,
            ledger,
            next(made.glob("base/*/ledger.json")),
            1,
            60,
        )
        return out.read_bytes(), read_json(ledger, Any)

    alone, own = trained(fewest=100)
    assert stepped == []
    together, shared = trained(fewest=2)

    assert max(stepped) == 6
    assert together == alone
    for name in ("flops", "rows_seen"):
        assert shared[name] == own[name]
    first, second = (
        [[(step, loss) for step, _, loss in curve] for curve in each["learning_curves"]]
        for each in (own, shared)
    )
    assert first == second
    assert len(first) == 6
