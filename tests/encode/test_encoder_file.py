"""The file of a fitted encoder: the same bytes, no code, nothing that is not trusted."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile

import pyarrow.parquet as pq
import pytest

from shoal.encode.command import encode, encode_fit
from shoal.encode.encoder import Encoder
from shoal.errors import CorruptError, ModelError, SourceError
from shoal.formats.fitted_state import load_state
from shoal.formats.shapes import Shapes
from tests.encode.columns import OWN

USER_MODULE = """
class Halver:
    def fit(self, X, y):
        self.rows = len(X)
        return self

    def transform(self, X):
        return X / 2
"""


def test_the_file_is_the_same_from_another_process(kinds, table, shard, settings, tmp_path):
    """No memory address or time of a process is in the file."""
    source = shard(table)
    kinds.save(tmp_path / "columns.json")
    own = settings(
        n={"encoder": "quantile"},
        c={"encoder": "target"},
        t={"_target_": "sklearn.feature_extraction.text.TfidfVectorizer"},
    )
    (tmp_path / "settings.json").write_text(json.dumps(own.as_json()))
    script = (
        "import sys; from pathlib import Path; from shoal.settings.data import Encode\n"
        "from shoal.encode.command import encode_fit\n"
        "f = Path(sys.argv[1]); s = Encode.model_validate_json((f / 'settings.json').read_text())\n"
        "encode_fit(s, f / 'columns.json', {'s': Path(sys.argv[2])}, f / 'o', f / 'o.json')\n"
    )
    subprocess.run([sys.executable, "-c", script, tmp_path, source.path], check=True)

    encode_fit(own, tmp_path / "columns.json", {"s": source.path}, tmp_path / "p", tmp_path / "j")

    assert (tmp_path / "o").read_bytes() == (tmp_path / "p").read_bytes()


@pytest.mark.parametrize("name", OWN)
def test_encoders_survive_their_file_without_trust(kinds, table, shard, settings, tmp_path, name):
    """A loaded encoder encodes to the same bits, and nothing had to be trusted for it."""
    encoder = Encoder.fit(settings(**OWN[name]), kinds, {"s": shard(table)})

    needed = encoder.save(tmp_path / "state.safetensors")
    again = Encoder.load(tmp_path / "state.safetensors")

    assert needed == []
    assert again.encode(table).tobytes() == encoder.encode(table).tobytes()
    assert again.labels(table).tolist() == encoder.labels(table).tolist()
    assert (again.feature_names, again.x_shape) == (encoder.feature_names, encoder.x_shape)
    assert (again.task, again.classes, again.training_rows) == (encoder.task, ["p", "q"], 4)


def test_a_users_class_must_be_trusted_by_name(
    kinds, table, shard, settings, tmp_path, monkeypatch
):
    """A class of the user's own loads only if the caller names it or its module."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "halving_encoder.py").write_text(USER_MODULE)
    own = settings(n={"_target_": "halving_encoder.Halver"})
    state = tmp_path / "state.safetensors"

    encoder = Encoder.fit(own, kinds, {"s": shard(table)})

    assert encoder.save(state) == ["halving_encoder.Halver"]
    assert encoder.encode(table)[:2, 0].tolist() == [0.5, 1.5]
    for trusted in ([], ["halving"], ["halving_encoder.Halve"], ["halving_encoder.Halver.x"]):
        with pytest.raises(ModelError, match=r"halving_encoder\.Halver; importing runs its code"):
            Encoder.load(state, trusted)
    for trusted in (["halving_encoder"], ["halving_encoder.Halver"]):
        again = Encoder.load(state, trusted)
        assert again.encode(table).tobytes() == encoder.encode(table).tobytes()


def test_a_run_trusts_the_types_that_its_own_fit_holds(
    kinds, table, shard, settings, tmp_path, monkeypatch
):
    """A class that settings name is fitted, noted beside the state, and read by the run's jobs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "doubling_encoder.py").write_text(USER_MODULE)
    own = settings(n={"_target_": "doubling_encoder.Halver"})
    kinds.save(tmp_path / "columns.json")
    source, state, shapes = shard(table), tmp_path / "state.safetensors", tmp_path / "shapes.json"
    encode_fit(own, tmp_path / "columns.json", {"s": source.path}, state, shapes)

    encode(source.path, "s", state, "c", tmp_path / "rows.zarr.zip", shapes)

    assert Shapes.load(shapes).trusted == ["doubling_encoder.Halver"]
    assert (tmp_path / "rows.zarr.zip").exists()
    with pytest.raises(ModelError, match=r'trust=\["doubling_encoder"\]'):
        encode(source.path, "s", state, "c", tmp_path / "others.zarr.zip")


def test_the_file_holds_no_pickle(kinds, table, shard, settings, tmp_path):
    """A class that settings name is a schema and numpy arrays, beside JSON and other arrays."""
    own = settings(t={"_target_": "sklearn.feature_extraction.text.TfidfVectorizer"})
    Encoder.fit(own, kinds, {"s": shard(table)}).save(tmp_path / "state.safetensors")

    tensors, _ = load_state(tmp_path / "state.safetensors")
    (estimator,) = (name for name in tensors if name.endswith(".estimator"))
    names = zipfile.ZipFile(io.BytesIO(tensors[estimator].tobytes())).namelist()

    assert {name.rpartition(".")[2] for name in names} == {"json", "npy"}


def test_encoders_of_shoal_need_no_scikit_learn(kinds, table, shard, settings, tmp_path):
    """A process that encodes with them, as every job and pool does, imports none of it."""
    own = settings(n={"encoder": "scale"}, c={"encoder": "target"}, t={"encoder": "one_hot"})
    Encoder.fit(own, kinds, {"s": shard(table)}).save(tmp_path / "state.safetensors")
    pq.write_table(table, tmp_path / "rows.parquet")
    script = (
        "import sys; from pathlib import Path; import pyarrow.parquet as pq\n"
        "from shoal.encode.encoder import Encoder\n"
        "f = Path(sys.argv[1]); rows = pq.read_table(f / 'rows.parquet')\n"
        "Encoder.load(f / 'state.safetensors').encode(rows)\n"
        "print(*({'skops', 'sklearn', 'scipy', 'torch'} & set(sys.modules)))\n"
    )

    ran = subprocess.run(
        [sys.executable, "-c", script, tmp_path], check=True, capture_output=True, text=True
    )

    assert ran.stdout.split() == []


def test_files_that_are_no_state_are_refused(tmp_path):
    """A missing and a broken file are each one line."""
    (tmp_path / "broken").write_bytes(b"PK no zip")

    with pytest.raises(SourceError, match="absent: no such file"):
        Encoder.load(tmp_path / "absent")
    with pytest.raises(CorruptError, match="broken: not readable as safetensors"):
        Encoder.load(tmp_path / "broken")


@pytest.mark.parametrize("at", [0.3, 0.6, 0.95])
def test_a_truncated_state_is_refused(kinds, table, shard, settings, tmp_path, at):
    """A file cut short never loads."""
    state = tmp_path / "state.safetensors"
    Encoder.fit(settings(), kinds, {"s": shard(table)}).save(state)
    content = state.read_bytes()
    state.write_bytes(content[: int(at * len(content))])

    with pytest.raises(CorruptError, match="not readable as safetensors"):
        Encoder.load(state)
