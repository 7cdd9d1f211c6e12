"""A finished run as baselines see it: the same rows, folds, loss, optimiser and base."""

from __future__ import annotations

import contextlib
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.regimes.datasets import EXPERIMENT, REGIMES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Arrays = dict[str, NDArray[Any]]

NO_REGIME = -1
_NAMES = ("x", "y", "key", "partition", "hash")


class Finished:
    """A finished run.

    Attributes:
        settings: The experiment's settings.
        shapes: Shape of rows and labels.
        base: Weights of the base.
        base_flops: What the base cost.
        embedding_fit_flops: What fitting the embedding cost.
        budget: How many rows a specialist may see.
        total_flops: What the pool's making cost: the budget of each baseline.
        bins: Bins of the calibration error.
    """

    def __init__(self, folder: Path, overrides: Sequence[str], total_flops: float) -> None:
        """Read settings, base and shapes."""
        from shoal.formats.fitted_state import load_state
        from shoal.formats.json_file import read_json
        from shoal.formats.shapes import Shapes
        from shoal.partitions.reader import Index
        from shoal.plan.plan import Plan
        from shoal.training.budget import Budget

        with contextlib.chdir(folder):
            plan = Plan(EXPERIMENT, list(overrides), Path("config"))
        layout = plan.layout
        self.settings = plan.settings
        self.shapes = Shapes.load(folder / layout.file("encode_fit.shapes"))
        self.base, meta = load_state(folder / layout.file("base_fit.base"))
        ledger = read_json(folder / layout.file("base_fit.ledger"), dict[str, Any])
        self.base_flops = float(ledger["flops"])
        ledger = read_json(folder / layout.file("embed_fit.ledger"), dict[str, Any])
        self.embedding_fit_flops = float(ledger["flops"])
        self.budget = Budget(**meta["budget"])
        self.total_flops = total_flops
        self.bins = plan.settings.evaluate.calibration_bins
        self._encoder = folder / layout.file("encode_fit.encoder")
        self._embedder = folder / layout.file("embed_fit.embedder")
        self._index = Index(folder / layout.index)
        self._regimes = folder / REGIMES

    @property
    def partitions(self) -> int:
        """Number of partitions."""
        return len(self._index.partitions)

    @cached_property
    def train(self) -> Arrays:
        """Training rows in canonical order."""
        return self._fold("train")

    @cached_property
    def validation(self) -> Arrays:
        """The half of the validation rows that chooses."""
        return self._half(0)

    @cached_property
    def other_validation(self) -> Arrays:
        """The half that routers are fitted on and the gate looks at."""
        return self._half(1)

    def _half(self, number: int) -> Arrays:
        from shoal.partitions.reader import halves

        rows = self._validation
        chosen = halves(rows) == number
        return {name: array[chosen] for name, array in rows.items()}

    @cached_property
    def _validation(self) -> Arrays:
        return self._fold("validation")

    @cached_property
    def test(self) -> Arrays:
        """Test rows in canonical order."""
        return self._fold("test")

    @cached_property
    def embedding_flops(self) -> float:
        """FLOPs of embedding one row."""
        from shoal.embed.embedder import load_embedder

        return float(load_embedder(self._embedder).flops_per_row)

    def _fold(self, name: str) -> Arrays:
        """Arrays of a fold, with ``regime`` (-1 where it is unknown)."""
        import pandas as pd

        from shoal.embed.embedder import load_embedder
        from shoal.formats.hashing import row_order

        rows = self._index.everywhere(name, _NAMES)
        order = row_order(rows["hash"])
        arrays = {key: array[order] for key, array in rows.items()}
        arrays["embedding"] = load_embedder(self._embedder).embed(arrays["x"])
        arrays["regime"] = joined_regimes(arrays["key"], pd.read_parquet(self._regimes))
        return arrays

    def in_units(self, values: NDArray[Any]) -> NDArray[Any]:
        """Labels or answers in the label's unit; classes and their probabilities as they are."""
        if self.shapes.task == "classification":
            return values
        from shoal.encode.encoder import Encoder

        encoder = Encoder.load(self._encoder, self.shapes.trusted)
        return np.asarray(encoder.decode(values.reshape(-1)))


def joined_regimes(keys: NDArray[np.uint8], regimes: Any) -> NDArray[np.int64]:  # noqa: ANN401
    """True regime of rows by their keys.

    Args:
        keys: Row keys, uint8 ``(rows, KEY_BYTES)``.
        regimes: Data frame with ``key`` (bytes) and ``regime``.

    Returns:
        int64 ``(rows,)``; :data:`NO_REGIME` where the key has none.
    """
    known = dict(zip(regimes["key"], regimes["regime"], strict=True))
    found = [known.get(key.tobytes(), NO_REGIME) for key in keys]
    return np.array(found, dtype=np.int64)
