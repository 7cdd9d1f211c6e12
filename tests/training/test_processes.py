"""Trainings that share their batches among processes; here two, on the CPU."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from shoal.embed.neural import Architecture, NeuralEmbedder
from shoal.formats.checkpoint import read_checkpoint
from shoal.formats.fitted_state import load_state
from shoal.training.batches import MemoryRows
from shoal.training.processes import sharing
from tests.trainings import BATCH, SCARF_SETTINGS, STEPS, VICREG_SETTINGS, run_attempt

ROOT = Path(__file__).parents[2]
NEVER = "1e9"


def on_two_devices(*arguments: str, threads: str = "1") -> int:
    """Exit code of a job that sees two devices."""
    environment = os.environ | {"OMP_NUM_THREADS": threads}
    command = [sys.executable, "-m", "tests.two_devices", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def ledger(folder: Path):
    content = json.loads((folder / "ledger.json").read_text())
    return {name: content[name] for name in ("rows_seen", "rows_read", "flops", "detail")}


def embedder(kind: str, shape: tuple[int, ...], folder: Path) -> NeuralEmbedder:
    settings = SCARF_SETTINGS if kind == "scarf" else VICREG_SETTINGS
    built = Architecture(kind, shape, settings.dims, settings.width, settings.depth)
    tensors = load_state(folder / "out.safetensors")[0]
    return NeuralEmbedder.from_state(tensors, asdict(built) | {"flops_per_row": 0})


@pytest.mark.long
@pytest.mark.parametrize(("kind", "shape"), [("scarf", (4,)), ("vicreg", (6, 6))])
def test_embeddings_are_those_of_one_device(kind, shape, tmp_path):
    """Losses are over whole batches: after 40 steps embeddings agree to 1e-3; so does the ledger.

    The last bias of VICReg's encoder is free, and taken out again with the mean.
    """
    alone, together = tmp_path / "alone", tmp_path / "together"
    alone.mkdir()
    together.mkdir()

    assert run_attempt(kind, alone, float(NEVER)) == 0
    assert on_two_devices("train", kind, together, NEVER, "0") == 0

    x = np.random.default_rng(1).normal(size=(50, *shape)).astype(np.float32)
    first, second = (embedder(kind, shape, f).embed(x) for f in (alone, together))
    np.testing.assert_allclose(first, second, rtol=0, atol=1e-3)
    assert ledger(alone) == ledger(together)
    assert not list(together.glob("*.checkpoint*"))


@pytest.mark.long
def test_the_second_training_of_a_job_is_shared_too(tmp_path):
    """Processes that a job's first training started take their shares in the next; to 1e-5."""
    alone, together = tmp_path / "alone", tmp_path / "together"
    alone.mkdir()
    together.mkdir()

    assert run_attempt("pair", alone, float(NEVER)) == 0
    assert on_two_devices("train", "pair", together, NEVER, "0") == 0

    first, second = (load_state(f / "out.safetensors")[0] for f in (alone, together))
    for name in first:
        np.testing.assert_allclose(first[name], second[name], rtol=0, atol=1e-5)
    assert ledger(alone) == ledger(together)


@pytest.mark.long
def test_two_devices_stop_where_one_does(tmp_path):
    """The first decides for both, which end together; the best state is put back."""
    alone, together = tmp_path / "alone", tmp_path / "together"
    alone.mkdir()
    together.mkdir()

    assert run_attempt("early stream", alone, float(NEVER)) == 0
    assert on_two_devices("train", "early stream", together, NEVER, "0") == 0

    first, second = (load_state(f / "out.safetensors")[0] for f in (alone, together))
    for name in first:
        np.testing.assert_allclose(first[name], second[name], rtol=0, atol=1e-5)
    assert ledger(alone) == ledger(together)


@pytest.mark.long
def test_a_training_on_two_devices_goes_on_to_the_same_bits(tmp_path):
    """Each process has its own random state back; one log line says where the training goes on."""
    undisturbed, ended = tmp_path / "undisturbed", tmp_path / "ended"
    undisturbed.mkdir()
    ended.mkdir()
    assert on_two_devices("train", "stream", undisturbed, NEVER, "0") == 0

    assert on_two_devices("train", "stream", ended, NEVER, "17") == 143
    assert read_checkpoint(ended / "out.checkpoint.safetensors")["shoal"]["batches"] == 17
    assert on_two_devices("train", "stream", ended, NEVER, "0") == 0

    first, second = (load_state(f / "out.safetensors")[0] for f in (undisturbed, ended))
    differing = [name for name in first if (first[name] != second[name]).any()]
    assert not differing
    assert (ended / "log").read_text().count(f"goes on after step 17 of {STEPS}") == 1
    assert ledger(undisturbed) == ledger(ended)


def test_shares_of_a_batch_are_the_batch():
    """Every process draws the same batches, and together they see each row of them."""
    rows = np.arange(101)
    whole = MemoryRows((rows,), BATCH, 20, seed=0)
    shares = [MemoryRows((rows,), BATCH, 20, seed=0) for _ in range(2)]
    for number, stream in enumerate(shares):
        stream.share = (number, 2)

    for (batch,), *parts in zip(whole, *shares, strict=True):
        assert [int(row) for (part,) in parts for row in part] == batch.tolist()


@pytest.mark.parametrize(("batch_size", "devices", "used"), [(256, 8, 8), (100, 8, 5), (7, 4, 1)])
def test_as_many_devices_as_divide_a_batch_take_part(batch_size, devices, used):
    """The batch stays what the settings say, and shares are equal."""
    assert sharing(batch_size, devices) == used
