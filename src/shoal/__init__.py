"""Shoal: data-driven model scaling for HPC."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from shoal.pool.pool import Pool

__all__ = ["load"]


def load(folder: str | Path, trust: Sequence[str] = (), digest: str | None = None) -> Pool:
    """A pool, ready to predict; every file is checked against its hash.

    The last bits of a prediction may depend on its batch, unless the variable ``MKL_CBWR`` was set
    before torch was imported: to ``AVX2``, on Intel's processors to ``AVX2,STRICT``.

    Args:
        folder: The pool's folder.
        trust: Exact names of modules outside Shoal that the pool may import its model, encoders
            and functions of transform steps from; see ``docs/trust.md``.
        digest: Digest of the pool, as `shoal verdict` prints it; another pool is refused.

    Raises:
        SourceError: There is no pool in the folder.
        CorruptError: A file is missing or is not what the pool's manifest says, or the digest is
            another.
        ModelError: A module is not trusted, or does not import.
        SettingsError: ``trust`` is one text.
    """
    from shoal.pool.pool import Pool

    return Pool.load(folder, trust, digest)
