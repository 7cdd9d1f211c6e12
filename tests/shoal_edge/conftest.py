"""Two small pools that follow each other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from shoal.formats.fitted_state import load_state, save_state
from shoal.formats.json_file import write_json
from shoal_edge.folder import read_pool
from shoal_edge.patch import make
from tests.pool.conftest import build_pool, reseal


def change(pool: Path, name: str, by: float) -> None:
    """Move all weights of a file, and write a manifest that fits."""
    tensors, meta = load_state(pool / name)
    moved = {key: (each + np.float32(by)).astype(each.dtype) for key, each in tensors.items()}
    save_state(pool / name, moved, meta)
    reseal(pool)


@pytest.fixture(scope="session")
def two_pools(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A pool, and the next: other weights of a specialist, and another document."""
    folder = tmp_path_factory.mktemp("edge")
    old = build_pool(folder)
    new = Path(shutil.copytree(old, folder / "new"))
    gate = json.loads((new / "gate.json").read_text())
    write_json(new / "gate.json", gate | {"seconds": 3.5})
    change(new, "specialists/1.safetensors", 0.01)
    return old, new


@pytest.fixture
def pool(two_pools: tuple[Path, Path], tmp_path: Path) -> Path:
    """A copy of the old pool, to change."""
    return Path(shutil.copytree(two_pools[0], tmp_path / "pool"))


@pytest.fixture
def patch(two_pools: tuple[Path, Path], tmp_path: Path) -> Path:
    """A patch from the old pool to the new one."""
    path = tmp_path / "patch"
    path.write_bytes(make(*map(read_pool, two_pools)))
    return path
