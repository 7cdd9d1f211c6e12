"""Transform and encode a split table; digests of its rows, and of what they were computed to.

``python -m tests.encode.row_digests FOLDER``: a process of its own, since numpy chooses its
instructions once.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from shoal.encode.command import encode
from shoal.formats.hashing import multiset_digest, multiset_sum
from shoal.formats.kinds import FOLDS
from shoal.formats.row_store import ShardRows
from shoal.formats.tables import Table
from shoal.transform.command import transform


def digests(folder: Path, content: str = "c") -> dict[str, str]:
    """Digest of each fold's rows, and of all transformed values.

    Args:
        folder: ``split.parquet``, and the fitted ``state.json`` and ``encoder.safetensors``.
        content: Identity of settings and code.
    """
    transform(folder / "split.parquet", "s", folder / "state.json", folder / "transformed.parquet")
    out = folder / "rows.zarr.zip"
    encode(folder / "transformed.parquet", "s", folder / "encoder.safetensors", content, out)
    with ShardRows(out) as rows:
        fold, hashes = rows.read("fold"), rows.read("hash")
        found = {
            name: multiset_digest(multiset_sum(hashes[fold == code]), int((fold == code).sum()), "")
            for code, name in enumerate(FOLDS)
        }
    (table,) = Table(folder / "transformed.parquet").batches(1 << 20)
    values = [table[name].to_pylist() for name in table.schema.names if name[0] != "_"]
    return found | {"values": hashlib.sha256(repr(values).encode()).hexdigest()}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(digests(Path(sys.argv[1]))))
