"""What the targets begin with: a finished experiment and a small pool, copied."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pandas as pd

import shoal

if TYPE_CHECKING:
    from pathlib import Path

EXPERIMENT = "results/tiny"
RESULTS = f"{EXPERIMENT}/"  # as a command takes a folder
POOLS = ("pool", f"{EXPERIMENT}/pool")
ROWS = pd.DataFrame({"a": [0.0, 11.0], "b": [1.0, None], "town": ["x", None]})


def lay_out(material: Path, folder: Path) -> None:
    """A copy of everything, with settings that can be changed."""
    shutil.copytree(material, folder, symlinks=True)
    config = folder / "config"
    for path in list(config.iterdir()):
        if path.is_symlink():
            real = path.resolve()
            path.unlink()
            (shutil.copytree if real.is_dir() else shutil.copy)(real, path)


def sealed(pool: Path, files: dict[str, bytes]) -> dict[Path, bytes]:
    """Changed files of a pool, and the manifest that fits them."""
    import hashlib

    manifest = json.loads((pool / "manifest.json").read_text())
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    manifest["files"] |= hashes
    changed = {pool / name: content for name, content in files.items()}
    return changed | {pool / "manifest.json": json.dumps(manifest).encode()}


def predict(pool: Path) -> None:
    """Load a pool and ask it."""
    shoal.load(pool).predict(ROWS)
