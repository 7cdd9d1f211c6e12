"""Random faults in patches and copies, and kills while a patch is applied.

``make faults CASES=10000 KILLS=1000 SEED=1``; a few of each in ``make test``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import pytest
import zstandard
from safetensors import SafetensorError
from safetensors.numpy import load, save

from shoal.errors import ShoalError
from shoal.formats.fitted_state import load_state, save_state
from shoal.formats.json_file import write_json
from shoal.pool.sealed import Sealed
from shoal_edge.errors import PatchError
from shoal_edge.folder import apply, read_pool
from shoal_edge.patch import make
from tests.pool.conftest import reseal

CASES = int(os.environ.get("SHOAL_CASES", "300"))
KILLS = int(os.environ.get("SHOAL_KILLS", "30"))
SEED = int(os.environ.get("SHOAL_SEED", "1"))
ROOT = Path(__file__).parents[2]


@pytest.fixture
def memory():
    """A folder in memory where there is one, since each case brings its files to the disk."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place) as folder:
        yield Path(folder)


@pytest.fixture
def grown_pools(two_pools, tmp_path):
    """A pool, and the next, which has a specialist more, near the base."""
    old, new = two_pools[0], shutil.copytree(two_pools[1], tmp_path / "grown")
    tensors, meta = load_state(new / "base.safetensors")
    near = {name: np.round(each * 64 + 1) / 64 + np.float32(0) for name, each in tensors.items()}
    save_state(new / "specialists" / "2.safetensors", near, meta)
    manifest = json.loads((new / "manifest.json").read_text())
    manifest["files"]["specialists/2.safetensors"] = ""
    write_json(new / "manifest.json", manifest)
    reseal(new)
    return old, new


def spoilt(rng: Random, content: bytes) -> bytes:
    """Bytes with one to four faults: bits, parts that are gone, doubled, moved or zero."""
    found = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        if not found:
            break
        start = rng.randrange(len(found))
        stop = min(len(found), start + rng.choice([1, 2, 8, 64, 1024]))
        part = found[start:stop]
        kind = rng.randrange(6)
        if kind < 2:
            found[start] ^= 1 << rng.randrange(8)
        elif kind == 2:
            del found[start:stop]
        elif kind == 3:
            found[start:start] = part
        elif kind == 4:
            found[start:stop] = bytes(len(part))
        else:
            del found[start:]
    return bytes(found)


def spoilt_inside(rng: Random, patch: bytes) -> bytes:
    """A patch with faults that the checksum of its frame does not see."""
    plain = zstandard.decompress(patch)
    return zstandard.compress(spoilt(rng, plain))


def spoilt_stream(rng: Random, patch: bytes) -> bytes:
    """A sound file with faults in one of its streams, or in its record."""
    plain = zstandard.decompress(patch)
    length = int.from_bytes(plain[:8], "little")
    record = json.loads(json.loads(plain[8 : 8 + length])["__metadata__"]["shoal_patch"])
    streams = {name: array.tobytes() for name, array in load(plain).items()}
    name = rng.choice([*streams, "record", "record"])
    if name == "record":
        _spoil_record(rng, record)
    elif rng.random() < 0.1:
        del streams[name]
    elif rng.random() < 0.1:
        other = rng.choice([*streams])
        streams[name], streams[other] = streams[other], streams[name]
    else:
        streams[name] = spoilt(rng, streams[name])
    arrays = {name: np.frombuffer(stream, np.uint8) for name, stream in streams.items()}
    return zstandard.compress(save(arrays, metadata={"shoal_patch": json.dumps(record)}))


def _spoil_record(rng: Random, record: dict) -> None:
    odd = [None, -1, 0, 7, 1 << 70, "", "a" * 64, "../x", [], {}, record["base"], record["target"]]
    if rng.random() < 0.4:
        record[rng.choice([*record])] = rng.choice(odd)
    elif rng.random() < 0.5:
        entry = rng.choice(record["files"])
        entry[rng.randrange(3)] = rng.choice(odd)
    elif rng.random() < 0.5:
        rng.shuffle(record["files"])
    else:
        record["files"].pop(rng.randrange(len(record["files"])))


def spoil_pool(rng: Random, pool: Path) -> None:
    """A fault in a file of a pool, or one of another in its place, or none at all."""
    paths = sorted(path for path in pool.rglob("*") if path.is_file())
    path, other = rng.choice(paths), rng.choice(paths)
    kind = rng.randrange(5)
    if kind < 3:
        path.write_bytes(spoilt(rng, path.read_bytes()))
    elif kind == 3:
        path.write_bytes(other.read_bytes())
    else:
        path.unlink()


def content(folder: Path) -> dict[str, bytes]:
    """Content of everything in a folder, by name."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_no_fault_is_answered_wrongly(grown_pools, memory):
    """A fault in patch or pool is refused in a line and the folder stays; or it does not matter."""
    old, new = map(read_pool, grown_pools)
    patches = [make(old, new), make(new, old)]
    outcomes: Counter[str] = Counter()
    for number in range(CASES):
        rng = Random(f"{SEED} {number}")
        about = f"SHOAL_SEED={SEED}, case {number}"
        pool, path = memory / "pool", memory / "patch"
        for left in memory.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        shutil.copytree(grown_pools[0], pool)
        way = rng.choice([spoilt, spoilt_inside, spoilt_stream, spoilt_stream, None])
        path.write_bytes(way(rng, patches[0]) if way else patches[rng.random() < 0.05])
        if way is None:
            spoil_pool(rng, pool)
        before = content(pool)
        name = way.__name__ if way else "spoilt pool"
        try:
            apply(pool, path)
        except PatchError as error:
            refused = str(error)
        else:
            refused = ""
        outcomes[f"{name}: {'refused' if refused else 'applied'}"] += 1
        assert "\n" not in refused, about
        assert content(pool) == (before if refused else new), about
        if way is None:
            _check_sealed(pool, old, new, about)
    sys.stdout.write(f"{dict(sorted(outcomes.items()))}\n")
    assert sum(count for name, count in outcomes.items() if "refused" in name) > 0.8 * CASES


def _check_sealed(pool: Path, old: dict[str, bytes], new: dict[str, bytes], about: str) -> None:
    """What loads a pool refuses a spoilt one as well, or reads what was there."""
    try:
        sealed = Sealed(pool)
        found = {name: sealed.read(name) for name in sealed.manifest.files}
    except ShoalError:
        return
    whole = [{n: f for n, f in files.items() if n != "manifest.json"} for files in (old, new)]
    assert found in whole, about


def test_what_is_killed_leaves_the_old_pool_or_the_new_one(two_pools, memory):
    """Killed at every step, and at random times: a whole pool is there, and the patch applies."""
    patch = memory / "patch"
    patch.write_bytes(make(*map(read_pool, two_pools)))
    folder = memory / "work"
    folder.mkdir()
    command = [sys.executable, "-m", "tests.shoal_edge.kills", *map(str, two_pools)]
    found = subprocess.run(
        [*command, str(patch), str(folder), str(KILLS), str(SEED)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert found.returncode == 0, found.stderr
    sys.stdout.write(found.stdout)
    assert "old" in found.stdout
    assert "new" in found.stdout


@pytest.mark.parametrize("number", range(5))
def test_faults_are_faults(number):
    """The faults change what they are made in, or the suite would show nothing."""
    with pytest.raises((SafetensorError, ValueError)):
        load(spoilt(Random(number), b"not a file"))
    assert spoilt(Random(number), bytes(range(200))) != bytes(range(200))
