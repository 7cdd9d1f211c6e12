"""What artifacts say of what they were made from."""

import hashlib

import numpy as np

from shoal.formats.fitted_state import load_state, save_state
from shoal.formats.provenance import made_from, recording


def test_what_is_written_names_the_files_that_were_read(tmp_path):
    """Within a recording, inputs are named with their hashes; outside it, nothing is."""
    source = tmp_path / "source"
    source.write_bytes(b"rows")

    with recording([source], code="abc"):
        inside = made_from()

    digest = hashlib.sha256(b"rows").hexdigest()
    assert inside == {"made_from": {"files": {str(source): digest}, "code": "abc"}}
    assert made_from() == {}


def test_inputs_are_hashed_before_the_work_starts(tmp_path):
    """A file that changes while it is read does not vouch for what was made of it."""
    source = tmp_path / "source"
    source.write_bytes(b"before")
    with recording([source]):
        source.write_bytes(b"after")
        said = made_from()["made_from"]["files"][str(source)]

    assert said == hashlib.sha256(b"before").hexdigest()


def test_fitted_state_keeps_its_record_beside_its_meta(tmp_path):
    """Loading gives tensors and meta as they were saved, without the record."""
    path = tmp_path / "state.safetensors"
    with recording([]):
        save_state(path, {"x": np.arange(3)}, {"a": 1})

    tensors, meta = load_state(path)

    assert (tensors["x"] == np.arange(3)).all()
    assert meta == {"a": 1}
