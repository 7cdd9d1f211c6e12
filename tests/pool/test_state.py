"""State in a pool that no run makes is refused when the pool is loaded."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import shoal
from shoal.encode.column import ColumnSetting
from shoal.encode.encoders import make_encoder
from shoal.errors import CorruptError
from shoal.formats.fitted_state import load_state, save_state
from tests.pool.conftest import reseal

Json = dict[str, Any]


def refused(folder: Path, file: str, line: str) -> None:
    """The pool does not load; one line names file and field."""
    reseal(folder)
    with pytest.raises(CorruptError, match=f"^{re.escape(str(folder / file))}: {line}[^\n]*$"):
        shoal.load(folder)


def put(keys: str, value: object) -> Callable[[Json], None]:
    """Sets what a path of keys names, such as ``steps.0.fitted``."""

    def change(content: Any) -> None:
        *path, last = (int(key) if key.isdigit() else key for key in keys.split("."))
        for key in path:
            content = content[key]
        content[last] = value

    change.__name__ = f"{keys}={str(value)[:20]}"
    return change


DOCUMENTS = [
    ("columns.json", put("kinds.a", "secret"), "kinds.a: Input should be 'numeric'"),
    ("columns.json", put("task", "ranking"), "task: Input should be 'classification', "),
    ("columns.json", put("order", ["a"]), r"order: \['a'\] are not the columns"),
    ("columns.json", put("kinds.a", "label"), r"kinds: \['a', 'label'\] are labels"),
    ("columns.json", put("kinds.a", "image"), r"image_shapes: \[\] are not the columns of arrays"),
    ("columns.json", put("more", 1), "more: "),
    ("shapes.json", put("outputs", 3), "outputs: 3, not one per class"),
    ("shapes.json", put("outputs", -1), "outputs: "),
    ("shapes.json", put("x_shape", [2]), r"feature_names: 3 names of a row of shape \[2\]"),
    ("shapes.json", put("x_shape", []), r"feature_names: 3 names"),
    ("shapes.json", put("x_shape", [1, 3]), r"x_shape: \(1, 3\), but the pool's other files"),
    ("shapes.json", put("classes", ["b", "c"]), r"classes: \['b', 'c'\], but the pool's other"),
    ("shapes.json", put("training_rows", "many"), "training_rows: Input should be a valid integer"),
    ("gate.json", put("shares", {"-1": 0, "0": 1, "1": 1, "7": 1}), "shares: .* but are of '7'"),
    ("gate.json", put("shares", {"0": 1, "1": 1}), "shares: .* but are not of '-1'"),
    ("gate.json", put("shares", {"-1": 0, "0": 1, "1": 1.5}), "shares.1: Input should be less"),
    ("gate.json", put("shares", [1]), "shares: Input should be a valid dictionary"),
    ("gate.json", put("softness", 0), "softness: Input should be greater than 0"),
    ("transform.json", put("steps", 3), "steps: Input should be a valid list"),
    ("transform.json", put("steps.0.step", "imp"), r"steps.0: there is no step 'imp'; did you"),
    ("transform.json", put("steps.0.fitted", {}), r"transform.steps.0 \(impute\): fitted.a: None"),
    ("transform.json", put("steps.0.fitted", {"a": "x"}), r".*fitted.a: 'x' does not fill"),
    ("transform.json", put("steps.1.fitted.a", [1, 0]), r".*fitted.a: \[1.0, 0.0\] are no lower"),
    ("transform.json", put("steps.1.fitted.a", [1]), ".*fitted.a.1: "),
    ("transform.json", put("steps.0.columns", ["b"]), ".*there is no column 'b'"),
    ("transform.json", put("steps.0.options", {"x": 1}), ".*options.x: unknown setting"),
    (
        "transform.json",
        put("kinds.0.1", "text"),
        "transform.steps.0 .impute.: column 'a' has no mean",
    ),
    ("transform.json", put("seed", "x"), "seed: Input should be a valid integer"),
    ("ledger.json", put("0.flops", "1"), "0.flops: Input should be a valid number, not '1'"),
    ("ledger.json", put("0", {}), "0.flops: key is missing"),
]


@pytest.mark.parametrize(("file", "change", "line"), DOCUMENTS)
def test_documents_are_what_they_should_be(small_pool, file, change, line):
    """Each document is compared with its schema and with what the others say."""
    content = json.loads((small_pool / file).read_text())
    change(content)
    (small_pool / file).write_text(json.dumps(content))

    refused(small_pool, file, line)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('{"shares": [NaN]}', "not readable as JSON .NaN is not a finite number"),
        ('{"shares": [1e999]}', "not readable as JSON .1e999 is not a finite number"),
        ("[" * 10**6 + "]" * 10**6, "not readable as JSON .*levels"),
        ("[]", "Input should be a valid dictionary"),
    ],
)
def test_a_document_that_is_no_sound_json_is_refused(small_pool, text, line):
    """Deep and non-finite documents are one line, too."""
    (small_pool / "gate.json").write_text(text)

    refused(small_pool, "gate.json", line)


def test_a_generalist_that_no_row_needs_is_refused(small_pool):
    """Its file is there exactly where the gate gives it a share."""
    gate = json.loads((small_pool / "gate.json").read_text())
    (small_pool / "gate.json").write_text(json.dumps(gate | {"shares": {"-1": 1, "0": 1, "1": 1}}))

    refused(small_pool, "manifest.json", "generalist: True, but the pool's other files have False")


ROUTER = [
    (put("top_k", 0), "top_k: Input should be greater than 0, not 0"),
    (put("temperature", 0.0), "temperature: Input should be greater than 0"),
    (put("trained", [1, 0]), r"trained: \[1, 0\] are not numbers of the 2 partitions in order"),
    (put("trained", [0, 2]), r"trained: \[0, 2\] are not numbers of the 2 partitions in order"),
    (put("trained", [0, -1]), "trained.1: Input should be greater than or equal to 0"),
    (put("method", "best"), "method: Input should be 'nearest_atom'"),
    (put("fit_flops", -1), "fit_flops: Input should be greater"),
    (put("assigner.assigner", "x"), "state of an unknown assigner, 'x'"),
    (put("assigner.training_rows", -1), "training_rows: Input should be greater"),
    (put("more", 1), "more: unknown key"),
]


@pytest.mark.parametrize(("change", "line"), ROUTER)
def test_a_routers_facts_are_possible(small_pool, change, line):
    """Impossible numbers in a state's JSON are named."""
    path = small_pool / "router.safetensors"
    tensors, meta = load_state(path)
    change(meta)
    save_state(path, tensors, meta)

    refused(small_pool, "router.safetensors", line)


TENSORS = [
    ("router", "assigner.prototypes", np.full((2, 3), np.nan, np.float32), "holds nan"),
    ("router", "assigner.prototypes", np.zeros((2, 3)), "is of type float64, it must be float32"),
    ("router", "assigner.prototypes", np.zeros((0, 3), np.float32), "is of shape .0, 3."),
    ("router", "assigner.prototypes", np.zeros((2, 2), np.float32), None),
    ("router", "assigner.prototype_atom", np.array([0, 2], np.int32), "holds 2, it must be from"),
    ("router", "assigner.prototype_atom", np.array([0, -1], np.int32), "holds -1, it must be"),
    ("router", "assigner.prototype_atom", np.zeros(2, np.int32), None),
    ("router", "assigner.atom_partition", np.array([0, 2**31 - 1], np.int32), None),
    ("router", "assigner.atom_partition", np.array([0, -1], np.int32), None),
    ("router", "threshold", np.array([np.nan]), "holds nan"),
    ("router", "threshold", np.array([-1.0]), "holds -1.0, it must be 0 or more"),
    ("router", "scale", np.array([0.0]), "holds 0.0, it must be"),
    ("router", "scale", np.array([np.inf]), "holds inf"),
    ("base", "layers.1.weight", np.full((3, 3), np.nan, np.float32), "holds nan"),
    ("base", "layers.1.weight", np.zeros((3, 2), np.float32), r"is float32 of shape \(3, 2\), but"),
    ("base", "layers.1.weight", np.zeros((3, 3)), "is float64 of shape"),
    ("specialists/0", "layers.1.bias", np.full(3, np.nan, np.float32), "holds nan"),
    ("generalist", "layers.1.bias", np.full(3, np.nan, np.float32), "holds nan"),
]


@pytest.mark.parametrize(("file", "name", "tensor", "line"), TENSORS)
def test_tensors_are_possible(small_pool, file, name, tensor, line):
    """Numbers that are not finite or out of range, types and shapes: the tensor is named."""
    path = small_pool / f"{file}.safetensors"
    tensors, meta = load_state(path)
    own = name.removeprefix("assigner.")
    save_state(path, tensors | {name: tensor}, meta)

    refused(small_pool, path.relative_to(small_pool).as_posix(), f"tensor '{own}'" if line else "")
    if line:
        refused(small_pool, path.relative_to(small_pool).as_posix(), f"tensor '{own}' {line}")


@pytest.mark.parametrize("file", ["base", "generalist", "specialists/1", "router", "embedder"])
def test_what_a_file_says_besides_its_tensors_has_a_schema(small_pool, file):
    """A key that Shoal never writes is refused, as is a missing one."""
    path = small_pool / f"{file}.safetensors"
    tensors, meta = load_state(path)

    save_state(path, tensors, meta | {"more": 1})
    refused(small_pool, f"{file}.safetensors", "more: unknown key")
    del meta[min(meta.keys() - {"method"})]
    save_state(path, tensors, meta)
    refused(small_pool, f"{file}.safetensors", ".*: key is missing")


def test_a_specialist_that_diverged_is_in_no_pool(small_pool):
    """Its training did not end well."""
    path = small_pool / "specialists" / "1.safetensors"
    tensors, meta = load_state(path)
    save_state(path, tensors, meta | {"diverged": "the loss became nan"})

    refused(small_pool, "specialists/1.safetensors", "diverged: Input should be None")


ENCODERS = [
    (put("encoders.0.fitted.fill", "x"), "column 'a': fill: Input should be a valid number"),
    (put("encoders.0.fitted", {}), "column 'a': fill: key is missing"),
    (put("encoders.0.column", "b"), "columns: .*, but the pool's other files have"),
    (put("encoders.0.kind", "text"), "encode: encoder 'scale' works on numeric"),
    (put("encoders.0.spec.encoder", "x"), "encode: there is no encoder 'x'"),
    (put("encoders", []), "encodes a row to 0 features, not 3"),
    (
        put("label", {"column": "label", "classes": ["no", "no"], "rows": [1, 1]}),
        "label.classes: one of them",
    ),
    (
        put("label", {"column": "label", "mean": 0.0, "sd": 0.0}),
        "label.sd: Input should be greater",
    ),
    (put("task", "regression"), "task: 'regression', but the pool's other files have"),
    (put("encoders.0.fitted.spread", 0.0), "column 'a': spread: Input should be greater than 0"),
    (put("encoders.0.fitted.mean", -1e300), "column 'a': a row is of shape .*, or not finite"),
    (put("encoders.0.fitted.mean", None), "column 'a': mean: Input should be a valid number"),
    (put("encoders.1.fitted.more", 1), "column 'town': more: unknown key"),
]


@pytest.mark.parametrize(("change", "line"), ENCODERS)
def test_an_encoders_state_is_possible(small_pool, change, line):
    """Each column's fitted state is what its encoder fits, and encodes a row."""
    path = small_pool / "encoder.safetensors"
    tensors, content = load_state(path)
    change(content)
    save_state(path, tensors, content)

    refused(small_pool, "encoder.safetensors", line)


GAPS = {"fill": 0.0, "marked": False}


def categories(text: str) -> Json:
    return {"categories": np.frombuffer(text.encode(), np.uint8)}


FITTED = [
    ("vector", "vector", {"mean": np.zeros(2), "spread": np.zeros(2)}, "tensor 'spread' holds 0"),
    (
        "vector",
        "vector",
        {"mean": np.zeros(2), "spread": np.ones(3)},
        "tensor 'spread' is of shape",
    ),
    ("vector", "vector", {"mean": [0.0], "spread": [1.0]}, "has no tensor 'mean'"),
    ("image", "image", {"mean": 0.0, "spread": 0.0, "shape": [2, 2]}, "spread: Input should be gr"),
    ("image", "image", {"mean": 0.0, "spread": 1.0, "shape": [2, -2]}, "shape.1: Input should be"),
    ("sequence_integer", "text", {"length": 0}, "length: Input should be greater than 0"),
    ("ngrams", "text", {"more": 1}, "more: Input should be None"),
    ("ordinal", "categorical", {"categories": None}, "has no tensor 'categories'"),
    ("ordinal", "categorical", categories("[]"), "tensor 'categories' names none of them"),
    ("one_hot", "text", categories('["a", "a"]'), "tensor 'categories' names one of them twice"),
    ("one_hot", "text", categories('["a", 1]'), "tensor 'categories': 1: "),
    ("one_hot", "text", categories('["a"'), "tensor 'categories': not readable as JSON"),
    (
        "target",
        "text",
        categories('["a"]') | {"names": ["v"], "means": np.zeros((1, 1))},
        "tensor 'means' is of shape",
    ),
    ("rank", "numeric", {**GAPS, "quantiles": np.array([1.0, 0.0])}, "tensor 'quantiles' is not"),
    ("quantile", "numeric", {**GAPS, "quantiles": np.array([np.nan])}, "tensor 'quantiles' holds"),
    (
        "_target_",
        "numeric",
        {**GAPS, "width": 1, "estimator": np.zeros(9, np.uint8)},
        "not readable as skops",
    ),
]


@pytest.mark.parametrize(("name", "kind", "fitted", "line"), FITTED)
def test_what_an_encoder_takes_over_is_of_its_kind(name, kind, fitted, line):
    """Each kind of encoder knows what it fits."""
    options = {"ngrams": {"features": 4}, "sequence_integer": {"alphabet": "dna"}}
    spec = {"encoder": name} | options.get(name, {})
    if name == "_target_":
        spec = {name: "sklearn.preprocessing.Binarizer"}

    with pytest.raises(CorruptError, match=f"^column 'v': {line}"):
        make_encoder(spec, ColumnSetting("v", kind, "encode", 0)).restore(fitted)
