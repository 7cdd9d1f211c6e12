"""Cost of a hostile pool before it is refused."""

import io
import json
import re
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from shoal.encode import skops_file
from shoal.formats.fitted_state import load_state, save_state
from tests.pool.conftest import reseal

BYTES = 2 << 30
SECONDS = 10  # of the processor
UNPACKED = 2 * 10**8  # that of a bomb: it is refused before, so a test need not make gigabytes
LOAD = """
import json, resource, sys, time
import shoal
from shoal.errors import ShoalError

shoal.load(sys.argv[1])
for folder in sys.argv[2:]:
    begin = time.process_time()
    try:
        shoal.load(folder)
        line = "loaded"
    except ShoalError as error:
        line = str(error)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps([line, time.process_time() - begin, peak]))
"""


def model(target: str = "shoal.models.MLP", **arguments: object) -> Callable[[Path], None]:
    """A manifest that claims another model."""

    def spoil(folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_text())
        if target.endswith("MLP"):
            arguments.setdefault("features", "data:features")
            arguments.setdefault("width", 3)
            arguments.setdefault("depth", 1)
        given = {"_target_": target, "outputs": "data:outputs", **arguments}
        reseal(folder, model=given, experiment=manifest["experiment"])

    return spoil


def network(**facts: object) -> Callable[[Path], None]:
    """An embedder that claims to be a large network."""

    def spoil(folder: Path) -> None:
        known = {
            "dims": 2,
            "width": 2,
            "depth": 1,
            "flops_per_row": 1,
            "method": "scarf",
            "prefix": None,
        }
        vectors = {name: np.ones(2, np.float32) for name in ("mean", "scale")}
        weight = {"encoder.layers.1.weight": np.ones((2, 3), np.float32)}
        meta = known | {"x_shape": [3]} | facts
        save_state(folder / "embedder.safetensors", vectors | weight, meta)
        reseal(folder)

    return spoil


def encoders(spec: dict[str, object], fitted: dict[str, object]) -> Callable[[Path], None]:
    """An encoder of many features, by the state of one column."""

    def spoil(folder: Path) -> None:
        path = folder / "encoder.safetensors"
        tensors, content = load_state(path)
        content["encoders"][1] |= {"spec": spec, "fitted": fitted}
        own = {name: tensor for name, tensor in tensors.items() if not name.startswith("1.")}
        save_state(path, own, content)
        reseal(folder)

    return spoil


def _rewritten(folder: Path, change: Callable[[zipfile.ZipFile, bytes], None]) -> None:
    """A fitted class by name with other members; ``change`` gets a new one and the old schema."""
    from sklearn.preprocessing import Binarizer

    path, made = folder / "encoder.safetensors", io.BytesIO()
    raw = skops_file.dumps(Binarizer(), "")
    with zipfile.ZipFile(io.BytesIO(raw)) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            if name != "schema.json":
                new.writestr(name, old.read(name))
        change(new, old.read("schema.json"))
    tensors, content = load_state(path)
    content["encoders"][0] |= {
        "spec": {"_target_": "sklearn.preprocessing.Binarizer"},
        "fitted": {"fill": 0.0, "marked": False, "width": 1},
    }
    tensors["0.estimator"] = np.frombuffer(made.getvalue(), np.uint8)
    save_state(path, tensors, content)
    reseal(folder)


def _with_arrays(schema: bytes, file: str, times: int, loader: str = "NdArrayNode") -> str:
    """A schema whose estimator has a part in a file, again and again."""
    module, kind = ("numpy", "numpy") if loader == "NdArrayNode" else ("scipy.sparse._csr", "scipy")
    name = "ndarray" if loader == "NdArrayNode" else "csr_matrix"
    node = {"__class__": name, "__module__": module, "__loader__": loader}
    content = json.loads(schema)
    content["content"]["more"] = {
        "__class__": "list",
        "__module__": "builtins",
        "__loader__": "ListNode",
        "content": [node | {"type": kind, "file": file}] * times,
    }
    return json.dumps(content)


def _array(size: int) -> bytes:
    made = io.BytesIO()
    np.save(made, np.zeros(size, np.uint8))
    return made.getvalue()


def compressed(folder: Path) -> None:
    """A part that unpacks to a thousand times its size."""

    def change(new: zipfile.ZipFile, schema: bytes) -> None:
        new.writestr("schema.json", _with_arrays(schema, "zeros.npy", 1))
        with new.open(zipfile.ZipInfo("zeros.npy"), "w") as member:
            member.write(_array(0))
        info = zipfile.ZipInfo("more.npy")
        info.compress_type = zipfile.ZIP_DEFLATED
        with new.open(info, "w", force_zip64=True) as member:
            for _ in range(UNPACKED // 10**7):
                member.write(bytes(10**7))

    _rewritten(folder, change)


def repeated(folder: Path) -> None:
    """Five megabytes that are read a thousand times."""

    def change(new: zipfile.ZipFile, schema: bytes) -> None:
        new.writestr("schema.json", _with_arrays(schema, "zeros.npy", 1000))
        new.writestr("zeros.npy", _array(5 * 10**6))

    _rewritten(folder, change)


def sparse(folder: Path) -> None:
    """The same in a sparse matrix, which scipy compresses."""

    def change(new: zipfile.ZipFile, schema: bytes) -> None:
        inner = io.BytesIO()
        with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as matrix:
            matrix.writestr("format.npy", _array(3))
            with matrix.open("data.npy", "w", force_zip64=True) as member:
                for _ in range(UNPACKED // 10**7):
                    member.write(bytes(10**7))
        new.writestr("schema.json", _with_arrays(schema, "m.npz", 1, "SparseMatrixNode"))
        new.writestr("m.npz", inner.getvalue())

    _rewritten(folder, change)


def deep_schema(folder: Path) -> None:
    def change(new: zipfile.ZipFile, _schema: bytes) -> None:
        new.writestr("schema.json", "[" * 10**6 + "]" * 10**6)

    _rewritten(folder, change)


def deep(folder: Path) -> None:
    (folder / "gate.json").write_text('{"shares":' * 10**6 + "1" + "}" * 10**6)
    reseal(folder)


def many(folder: Path) -> None:
    """Fifteen megabytes of empty objects."""
    (folder / "gate.json").write_text("[" + "{}," * 5_000_000 + "{}]")
    reseal(folder)


def deep_record(folder: Path) -> None:
    """A record in a header, a million levels deep."""
    tensors, meta = load_state(folder / "router.safetensors")
    level: object = {}
    for _ in range(500):
        level = [level]
    save_state(folder / "router.safetensors", tensors, meta | {"assigner": level})
    reseal(folder)


def long_header(folder: Path) -> None:
    (folder / "base.safetensors").write_bytes(struct.pack("<Q", 2**62) + b"{}")
    reseal(folder)


def huge_shape(folder: Path) -> None:
    entry = {"a": {"dtype": "F32", "shape": [0, 2**62], "data_offsets": [0, 0]}}
    header = json.dumps(entry).encode()
    (folder / "base.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    reseal(folder)


HOSTILE = {
    "width": (model(width=20000), r"base\.safetensors: tensor 'layers\.1\.weight' is .*20000, 3"),
    "wide and deep": (
        model(width=20000, depth=9),
        "base.safetensors: the model has more parameters",
    ),
    "depth": (
        model(depth=10**7),
        "base.safetensors: the model has more parameters than the file has tensors, 4",
    ),
    "depth beyond lists": (
        model(depth=10**15),
        "base.safetensors: the model has more parameters than the file has tensors, 4",
    ),
    "depth beyond numbers": (
        model(depth=10**30),
        "base.safetensors: holds weights of a model that",
    ),
    "width beyond memory": (model(width=10**12), "base.safetensors: tensor .layers.1.weight. is"),
    "channels": (
        model("shoal.models.ConvNet", shape=[28, 28], channels=10**6),
        "base.safetensors: the model has more parameters than the file has tensors, 4|.*: lacks",
    ),
    "embedder": (
        network(depth=10**9),
        "embedder.safetensors: the model has more parameters than the file has tensors, 1",
    ),
    "wide embedder": (network(width=10**8), "embedder.safetensors: .*"),
    "image embedder": (
        network(method="vicreg", x_shape=[10**9, 10**9], width=10**6),
        "embedder.safetensors: .*",
    ),
    "n-grams": (
        encoders({"encoder": "ngrams", "features": 10**10}, {}),
        "encoder.safetensors: encodes a",
    ),
    "sequence": (
        encoders({"encoder": "sequence_integer", "alphabet": "dna"}, {"length": 10**10}),
        "encoder.safetensors: encodes a row to 10000000001 features, not 3",
    ),
    "compressed": (compressed, "encoder.safetensors: .*'more.npy' is compressed, as none here is"),
    "repeated": (repeated, "encoder.safetensors: .* bytes would take 50.* in memory, more than 4"),
    "sparse": (sparse, "encoder.safetensors: .* bytes would take 2000.* in memory, more than 4"),
    "deep schema": (deep_schema, "encoder.safetensors: .*levels"),
    "deep document": (deep, "gate.json: not readable as JSON .*levels"),
    "many objects": (many, "gate.json: "),
    "deep record": (deep_record, "router.safetensors: .*levels"),
    "long header": (long_header, "base.safetensors: not readable as safetensors .a header of 461"),
    "huge shape": (huge_shape, "base.safetensors: not readable as safetensors .array is too big"),
}


@pytest.fixture(scope="module")
def costs(
    built_pool: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[str, float, int]]:
    """Line, seconds and most bytes so far of each hostile pool, loaded in one process."""
    folder = tmp_path_factory.mktemp("hostile")
    for name, (spoil, _) in HOSTILE.items():
        shutil.copytree(built_pool, folder / name)
        spoil(folder / name)
    command = [sys.executable, "-c", LOAD, built_pool, *(folder / name for name in HOSTILE)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = map(json.loads, done.stdout.splitlines())
    shutil.rmtree(folder)
    return dict(zip(HOSTILE, lines, strict=True))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_pool_is_refused_before_it_costs_anything(costs, name):
    """Whatever a pool claims: one line, a few seconds, less than two gigabytes."""
    line, seconds, peak = costs[name]

    assert re.search(f"/{HOSTILE[name][1]}", line), line
    assert "\n" not in line
    assert seconds < SECONDS
    assert peak < BYTES
