"""Models that are imported from files, in a small experiment."""

import json
import re

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from shoal.archive.kept import Archive


def kept_in(experiment):
    """What the experiment has kept."""
    return Archive(experiment.folder / "results" / "tiny")


def test_an_exported_model_comes_back_under_its_id(copied):
    """Bits and record are those that it was exported with, and the log lists it."""
    kept = kept_in(copied)
    model = kept.find("1")
    expected, record = kept.load(model), kept.store.record(model)
    file = copied.folder / "one.safetensors"
    assert copied.shoal("models", "export", "results/tiny", "1", str(file)).returncode == 0
    kept.store.remove([model])

    result = copied.shoal("models", "import", "results/tiny", str(file), "--tag", "back")

    assert result.returncode == 0, result.stderr
    assert kept.find("back") == model
    found = kept.load(model)
    assert all(found[name].tobytes() == expected[name].tobytes() for name in expected)
    now = kept.store.record(model)
    assert {name: now[name] for name in ("kind", "partition", "point", "base", "digest")} == {
        name: record[name] for name in ("kind", "partition", "point", "base", "digest")
    }
    assert f"{model}" in copied.shoal("models", "log", "results/tiny").stdout
    again = copied.shoal("models", "import", "results/tiny", str(file))
    assert again.returncode == 0, again.stderr


def test_a_model_of_the_same_architecture_is_taken_in(copied):
    """It is shown, compared and exported like a model of a release."""
    kept = kept_in(copied)
    tensors = {n: each + np.float32(0.5) for n, each in kept.load(kept.find("base")).items()}
    file = copied.folder / "foreign.safetensors"
    save_file(tensors, file)

    result = copied.shoal("models", "import", "results/tiny", str(file), "--tag", "foreign")

    assert result.returncode == 0, result.stderr
    model = kept.find("foreign")
    assert all(kept.load(model)[name].tobytes() == tensors[name].tobytes() for name in tensors)
    shown = copied.shoal("models", "show", "results/tiny", "foreign")
    assert re.search(r"imported from +foreign.safetensors", shown.stdout), shown.stderr
    log = copied.shoal("models", "log", "results/tiny").stdout
    assert re.search(rf"{model} .*imported from foreign.safetensors", log)
    out = copied.folder / "foreign.pt2"
    assert copied.shoal("models", "export", "results/tiny", "foreign", str(out)).returncode == 0
    assert kept.store.fsck() == []


def rewritten(tensors, header, path, **changes):
    """Write a file that differs."""
    save_file(tensors | changes, path, metadata={"shoal": json.dumps(header)})


@pytest.fixture
def exported(copied):
    """Tensors and record of an exported model."""
    from safetensors import safe_open

    file = copied.folder / "one.safetensors"
    assert copied.shoal("models", "export", "results/tiny", "1", str(file)).returncode == 0
    with safe_open(file, framework="np") as opened:
        return load_file(file), json.loads(opened.metadata()["shoal"])


def wrong_files(tensors, record, folder):
    """Files that must not come in, each with what is said of it."""
    name = min(tensors)
    other = {n: each for n, each in tensors.items() if n != name}
    path = folder / "wrong.safetensors"
    save_file(other, path)
    yield path, f"has no tensor '{name}'"
    save_file(tensors | {"../../x": np.zeros(1)}, path)
    yield path, r"has a tensor '../../x', which"
    save_file(tensors | {name: np.zeros((1 << 20, 3), np.float32)}, path)
    yield path, r"is of shape \(1048576, 3\), it must be"
    save_file(tensors | {name: tensors[name].astype(np.float64)}, path)
    yield path, "is of type float64, it must be float32"
    rewritten(tensors, record, path, **{name: tensors[name] + np.float32(1)})
    yield path, f"its weights are not those of {record['id']}, which it names"
    rewritten(tensors, record | {"partition": "[/x]"}, path)
    yield path, "record.partition: "
    rewritten(tensors, record | {"ledger": {"flops": []}}, path)
    yield path, r"record.ledger.flops: "
    rewritten(tensors, record | {"id": "../../../etc/passwd"}, path)
    yield path, "record.id: "
    save_file(tensors, path, metadata={"shoal": "[" * 100_000})
    yield path, "record: not readable as JSON"
    path.write_bytes((1 << 40).to_bytes(8, "little") + b"{}")
    yield path, "not readable as safetensors"
    path.write_bytes(b"")
    yield path, "not readable as safetensors"
    path.unlink()
    yield path, "no such file"


def test_wrong_files_are_refused_in_one_line(copied, exported):
    """Mismatched and hostile files leave the store as it was; the message says why."""
    kept = kept_in(copied)
    before = kept.store.ids()
    for path, message in wrong_files(*exported, copied.folder):
        result = copied.shoal("models", "import", "results/tiny", str(path), "--tag", "wrong")

        assert result.returncode == 2, message
        assert re.fullmatch(rf"shoal: error: .*{message}.*\n", result.stderr), result.stderr
    assert kept.store.ids() == before
    assert kept.tags == {}
