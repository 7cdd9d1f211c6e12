"""Checkpoints: what they hold, and trainings that go on from them."""

import json
import math
import signal
from collections import Counter, OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from shoal.errors import CorruptError, ModelError
from shoal.formats.checkpoint import read_checkpoint, write_checkpoint
from shoal.formats.fitted_state import load_state
from shoal.formats.ledger import Ledger
from shoal.training.resume import Checkpoints, output_of
from shoal.training.with_lightning import SafetensorsIO
from tests.trainings import EARLY_ENDS, STEPS, run_attempt

KILLED = -signal.SIGKILL
TERMINATED = 143
NEVER = 1e9
CHECKPOINT = "out.checkpoint.safetensors"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory):
    """Weights and ledger of a training that nothing ends, by kind."""
    found = {}

    def get(kind: str):
        if kind not in found:
            folder = tmp_path_factory.mktemp(kind)
            assert run_attempt(kind, folder, NEVER) == 0
            found[kind] = result(folder)
        return found[kind]

    return get


def result(folder: Path):
    tensors = load_state(folder / "out.safetensors")[0]
    ledger = json.loads((folder / "ledger.json").read_text())
    counted = {name: ledger[name] for name in ("rows_seen", "flops", "unspent", "detail")}
    curves = ledger["learning_curves"]
    assert [curve[-1][0] for curve in curves]
    counted["curves"] = [[(step, loss) for step, _, loss in curve] for curve in curves]
    return {name: value.tobytes() for name, value in tensors.items()}, counted


CASES = [
    ("memory", [(1, signal.SIGKILL)]),
    ("memory", [(17, signal.SIGTERM)]),
    ("memory", [(STEPS - 1, signal.SIGTERM)]),
    ("memory", [(STEPS, signal.SIGTERM)]),
    ("memory", [(STEPS, signal.SIGKILL)]),
    ("memory", [(5, signal.SIGKILL), (6, signal.SIGTERM), (23, signal.SIGKILL)]),
    ("recurrent", [(7, signal.SIGKILL), (23, signal.SIGTERM)]),
    ("stream", [(3, signal.SIGKILL)]),
    ("stream", [(29, signal.SIGTERM)]),
    ("housing", [(17, signal.SIGKILL)]),
    ("housing", [(17, signal.SIGTERM)]),
    ("odd", [(7, signal.SIGKILL), (12, signal.SIGTERM)]),
    ("odd", [(STEPS, signal.SIGTERM)]),
    ("scarf", [(7, signal.SIGKILL), (23, signal.SIGTERM)]),
    ("vicreg", [(7, signal.SIGKILL), (23, signal.SIGTERM)]),
    ("several", [(17, signal.SIGKILL), (STEPS, signal.SIGTERM), (20, signal.SIGKILL)]),
    ("several", [(2 * STEPS + 3, signal.SIGTERM)]),
    ("twice", [(17, signal.SIGKILL), (STEPS, signal.SIGTERM), (20, signal.SIGKILL)]),
    ("twice odd", [(STEPS + 7, signal.SIGTERM)]),
    ("early twice", [(EARLY_ENDS + 5, signal.SIGTERM)]),
    ("early", [(5, signal.SIGKILL), (7, signal.SIGTERM), (9, signal.SIGKILL)]),
    ("early", [(EARLY_ENDS, signal.SIGTERM)]),
    ("early odd", [(7, signal.SIGKILL), (12, signal.SIGTERM)]),
    ("early odd", [(EARLY_ENDS, signal.SIGTERM)]),
    ("early stream", [(5, signal.SIGKILL), (9, signal.SIGTERM)]),
]


@pytest.mark.parametrize(("kind", "kills"), CASES)
def test_a_training_that_was_ended_goes_on_to_the_same_bits(kind, kills, tmp_path, undisturbed):
    """Weights, rows and FLOPs are those of an undisturbed training; no checkpoint is left."""
    for step, number in kills:
        code = run_attempt(kind, tmp_path, 0, (step, number))
        assert code == (KILLED if number == signal.SIGKILL else TERMINATED)
        assert not (tmp_path / "out.safetensors").exists()

    assert run_attempt(kind, tmp_path) == 0

    assert result(tmp_path) == undisturbed(kind)
    assert not list(tmp_path.glob("*.checkpoint*"))


def test_sigterm_saves_however_long_the_interval(tmp_path, undisturbed):
    """The process ends with code 143, and what it had done is kept."""
    assert run_attempt("memory", tmp_path, NEVER, (17, signal.SIGTERM)) == TERMINATED

    kept = read_checkpoint(tmp_path / CHECKPOINT)

    assert kept["shoal"]["batches"] == 17
    assert run_attempt("memory", tmp_path, NEVER, (STEPS, signal.SIGKILL)) == KILLED
    assert run_attempt("memory", tmp_path, NEVER) == 0
    assert result(tmp_path) == undisturbed("memory")


def test_a_short_training_writes_no_checkpoint(tmp_path):
    """One that is killed before the interval is over leaves nothing."""
    assert run_attempt("memory", tmp_path, NEVER, (STEPS, signal.SIGKILL)) == KILLED

    assert not list(tmp_path.glob("*.checkpoint*"))


def test_the_time_of_earlier_attempts_is_counted(tmp_path):
    """The ledger's seconds go on from those at the last checkpoint."""
    run_attempt("memory", tmp_path, 0, (17, signal.SIGTERM))
    kept = read_checkpoint(tmp_path / CHECKPOINT)
    kept["shoal"]["seconds"] += 1000
    write_checkpoint(tmp_path / CHECKPOINT, kept)

    run_attempt("memory", tmp_path)

    assert 1000 < json.loads((tmp_path / "ledger.json").read_text())["seconds"] < 1100


@pytest.fixture
def damaged(tmp_path):
    """A folder with the checkpoint of a training that was ended, and that file's bytes."""
    run_attempt("memory", tmp_path, 0, (17, signal.SIGTERM))
    return tmp_path, bytearray((tmp_path / CHECKPOINT).read_bytes())


@pytest.mark.parametrize("place", [20, 0.5, 0.999])
def test_a_damaged_checkpoint_is_not_used(place, damaged, undisturbed):
    """A changed byte in header, structure or tensors: the training starts anew, and says so."""
    folder, content = damaged
    content[int(place if place > 1 else place * len(content))] ^= 1
    (folder / CHECKPOINT).write_bytes(content)

    assert run_attempt("memory", folder, NEVER) == 0

    assert "the training starts anew" in (folder / "log").read_text()
    assert result(folder) == undisturbed("memory")


@pytest.mark.parametrize("kind", ["cut", "pickle", "empty", "other"])
def test_a_file_that_is_no_checkpoint_is_not_used(kind, damaged, undisturbed):
    """Whatever lies in a checkpoint's place, the training starts anew, and says so."""
    folder, content = damaged
    path = folder / CHECKPOINT
    if kind == "cut":
        path.write_bytes(content[:-100])
    elif kind == "pickle":
        torch.save({"shoal": Path()}, path)
    elif kind == "empty":
        path.write_bytes(b"")
    else:
        write_checkpoint(path, {"shoal": [1, 2]})

    assert run_attempt("memory", folder, NEVER) == 0

    assert "the training starts anew" in (folder / "log").read_text()
    assert result(folder) == undisturbed("memory")


def test_a_checkpoint_of_another_training_is_not_used(damaged, undisturbed):
    """Another record of what it is made from: the training starts anew, and says so."""
    folder, _ = damaged

    assert run_attempt("housing", folder, NEVER) == 0

    assert "is of another training; this one starts anew" in (folder / "log").read_text()
    assert result(folder) == undisturbed("housing")


def test_slurm_changes_nothing(tmp_path, undisturbed, monkeypatch):
    """Under Slurm, Lightning starts no tasks, requeues nothing, takes up no file of its own."""
    variables = {"NTASKS": "2", "JOB_NAME": "job", "JOB_ID": "1", "PROCID": "0", "LOCALID": "0"}
    for name, value in (variables | {"NODEID": "0", "STEP_NODELIST": "n1"}).items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hpc_ckpt_1.ckpt").write_bytes(b"of another program")

    assert run_attempt("memory", tmp_path, 0, (17, signal.SIGTERM)) == TERMINATED
    assert run_attempt("memory", tmp_path, 0, (30, signal.SIGKILL)) == KILLED
    assert run_attempt("memory", tmp_path) == 0

    assert result(tmp_path) == undisturbed("memory")


def test_a_checkpoint_holds_what_trainings_hold(tmp_path):
    """Containers, numbers and tensors come back with the same types and bits."""
    content = {
        "numbers": [0.1, -0.0, math.inf, -math.inf, 10**40, True, None, "text"],
        "order": OrderedDict(b=1, a=2),
        1: (Counter({5: 1}), {2, 3}, {}),
        "types": [
            torch.arange(6).reshape(2, 3).to(kind)
            for kind in (torch.float32, torch.bfloat16, torch.complex64, torch.bool)
        ],
        "empty": torch.empty(0, 3),
        "scalar": torch.tensor(2.5),
        "turned": torch.arange(6).reshape(2, 3).T,
        "array": np.arange(3, dtype=np.uint32),
    }

    write_checkpoint(tmp_path / "a.safetensors", content)

    kept = read_checkpoint(tmp_path / "a.safetensors")
    torch.testing.assert_close(kept.pop("types"), content.pop("types"), rtol=0, atol=0)
    for name in ("empty", "scalar", "turned"):
        torch.testing.assert_close(kept.pop(name), content.pop(name), rtol=0, atol=0)
    array = kept.pop("array")
    assert (array.dtype, array.tolist()) == (np.uint32, content.pop("array").tolist())
    assert repr(kept) == repr(content)


def test_a_number_that_is_none_comes_back(tmp_path):
    """NaN, which JSON does not know, is kept."""
    write_checkpoint(tmp_path / "a.safetensors", {"value": math.nan})

    assert math.isnan(read_checkpoint(tmp_path / "a.safetensors")["value"])


def test_what_a_checkpoint_cannot_hold_is_named(tmp_path):
    """An object of the user's is refused before anything is written."""
    with pytest.raises(ModelError, match=r"checkpoint\['a'\]\[1\] is a PosixPath, which a check"):
        write_checkpoint(tmp_path / "a.safetensors", {"a": [1, Path()]})

    assert not list(tmp_path.iterdir())


def test_tensors_in_one_storage_are_kept(tmp_path):
    """Tied weights, which safetensors itself refuses, come back."""
    tensor = torch.arange(3)

    write_checkpoint(tmp_path / "a.safetensors", {"a": tensor, "b": tensor})

    assert read_checkpoint(tmp_path / "a.safetensors")["b"].tolist() == [0, 1, 2]


def test_a_forged_structure_is_refused(tmp_path):
    """A file that names tensors it has not, or types that are none, raises one kind of error."""
    from shoal.formats.fitted_state import save_state
    from shoal.formats.hashing import json_hash

    path = tmp_path / "a.safetensors"
    for structure in ({"tensor": ["0", "float32", [1]]}, {"os.system": ["ls"]}, {"tuple": 3}):
        save_state(path, {}, {"structure": structure, "digest": json_hash(structure)})
        with pytest.raises(CorruptError, match="not a checkpoint"):
            read_checkpoint(path)


def test_lightnings_interface_removes_files(tmp_path):
    """What Lightning asks to remove is gone, and may be gone already."""
    path = tmp_path / "a.safetensors"
    files = SafetensorsIO()
    files.save_checkpoint({"a": 1, "hyper_parameters": {"b": object()}}, path)
    assert files.load_checkpoint(path, weights_only=True) == {"a": 1}

    files.remove_checkpoint(path)
    files.remove_checkpoint(path)

    assert not path.exists()


def test_checkpoints_lie_beside_the_output(tmp_path):
    """Each training of a job has a file of its own, and the output's name is found from it."""
    out = tmp_path / "model.safetensors"
    checkpoints = Checkpoints(out, 60, Ledger("job"), {})

    paths = [checkpoints.next({}).path for _ in range(2)]

    assert [path.name for path in paths] == [
        "model.checkpoint.safetensors",
        "model.checkpoint-2.safetensors",
    ]
    assert [output_of(path) for path in [*paths, out]] == [out, out, None]
