"""A pool in memory: loaded from its folder, checked, asked for predictions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoal.errors import CorruptError, SourceError
from shoal.files import read_json
from shoal.gate.gate import GENERALIST, Gate
from shoal.hashing import file_hash
from shoal.pool.experts import BASE, Experts
from shoal.settings.learning import Model
from shoal.settings.section import parse
from shoal.shapes import Shapes
from shoal.state import load_state
from shoal.tables import Columns
from shoal.targets import check_trust
from shoal.train_specialists.model import trained_model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import pandas as pd
    import pyarrow as pa
    import torch
    from numpy.typing import NDArray

    from shoal.embed.embedder import Embedder
    from shoal.encode.encoder import Encoder
    from shoal.grid import Point
    from shoal.train_router.router import Routes
    from shoal.transform.pipeline import Pipeline

FORMAT = 2
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Routed:
    """Where rows went and what came back.

    Attributes:
        routes: Who was asked for each row; -1 is the base, -2 the generalist.
        answer: Probabilities ``(rows, classes)`` or standardised numbers ``(rows, 1)``.
    """

    routes: Routes
    answer: NDArray[np.float32]


class Pool:
    """Router, specialists and all fitted state; made by :meth:`load`."""

    def __init__(self, folder: Path, manifest: dict[str, Any], trust: Sequence[str]) -> None:
        from shoal.embed.embedder import load_embedder
        from shoal.encode.encoder import Encoder
        from shoal.train_router.router import Router
        from shoal.transform.pipeline import Pipeline

        self.folder = folder
        self.manifest = manifest
        self.columns = Columns.load(folder / "columns.json")
        self.shapes = Shapes.load(folder / "shapes.json")
        self.embedder: Embedder = load_embedder(folder / "embedder.safetensors")
        self.router = Router.from_state(*load_state(folder / "router.safetensors"))
        self.pipeline: Pipeline = Pipeline.from_state(read_json(folder / "transform.json"))
        for target in self.pipeline.targets:
            check_trust("the pool's transform", target, trust)
        self.encoder: Encoder = Encoder.load(folder / "encoder.skops", trust)
        self.gate = Gate.from_record(read_json(folder / "gate.json"))
        models = {BASE: self.model_with(load_state(folder / "base.safetensors")[0], {})}
        if self.gate.closed:
            tensors, meta = load_state(folder / "generalist.safetensors")
            models[GENERALIST] = self.model_with(tensors, meta["point"])
        for entry in manifest["specialists"]:
            tensors, meta = load_state(folder / entry["file"])
            models[entry["partition"]] = self.model_with(tensors, meta["point"])
        self.experts = Experts(models, self.shapes.task)

    def model_with(self, tensors: Mapping[str, NDArray[Any]], point: Point) -> torch.nn.Module:
        """The pool's model with other weights, trained at a grid point."""
        settings = parse(Model, self.manifest["model"], "model")
        return trained_model(settings, point, self.shapes, tensors)

    @classmethod
    def load(cls, folder: str | Path, trust: Sequence[str] = ()) -> Pool:
        """Read a pool after checking every file against the manifest's hashes.

        Args:
            folder: The pool's folder.
            trust: Exact names of modules outside Shoal that the pool may import its model,
                encoders and functions of transform steps from.

        Raises:
            SourceError: There is no pool in the folder.
            CorruptError: A file is missing or is not what the manifest says.
            ModelError: A module is not trusted, or does not import.
            SettingsError: ``trust`` is one text.
        """
        place = Path(folder)
        if not (place / MANIFEST).is_file():
            raise SourceError(f"{place}: not a pool, it has no {MANIFEST}")
        manifest = read_json(place / MANIFEST)
        if manifest.get("format") != FORMAT:
            raise CorruptError(
                f"{place / MANIFEST}: format {manifest.get('format')!r}, this version of Shoal "
                f"reads format {FORMAT}"
            )
        for name, expected in manifest["files"].items():
            path = place / name
            if not path.resolve().is_relative_to(place.resolve()) or not path.is_file():
                raise CorruptError(f"{path}: named in the manifest, but not in the pool")
            if file_hash(path) != expected:
                raise CorruptError(f"{path}: does not match its hash in the manifest")
        check_trust("the pool's model", manifest["model"]["_target_"], trust)
        return cls(place, manifest, trust)

    def predict(self, table: pd.DataFrame | pa.Table, *, top_k: int | None = None) -> pa.Table:
        """Predictions for new rows, in their order.

        Args:
            table: Rows with the input columns that the pool was made with; others are ignored,
                and so is the index of a data frame, unless it has the name of an input.
            top_k: Specialists asked for a row; the router's own number by default.

        Returns:
            Arrow table: ``prediction`` (class name or number), ``probability`` of the predicted
            class (classification only), ``partition`` of the specialist with the largest weight
            (-1: the base, -2: the generalist) and ``distance`` to the nearest atom.

        Raises:
            SourceError: A column is missing, or a value does not fit its column.
        """
        from shoal.sources.frames import raw_table

        return self.predict_batch(raw_table(table, self.columns, "input"), "input", 1, top_k)

    def predict_batch(
        self, raw: pa.Table, source: str, first_row: int, top_k: int | None = None
    ) -> pa.Table:
        """As :meth:`predict`, for rows of a source that messages name.

        Args:
            raw: Some of the source's rows.
            source: Its name.
            first_row: Row in the source of the first of them, from 1.
            top_k: Specialists asked for a row.
        """
        import pyarrow as pa

        from shoal.sources.columns import typed_inputs

        rows = self.pipeline.predict(typed_inputs(raw, self.columns, source, first_row), source)
        x = self.encoder.encode(rows, source, first_row - 1)
        routed = self.route(x, self.embedder.embed(x), self._values(rows), top_k)
        predicted: dict[str, Any] = {}
        if self.shapes.task == "classification":
            codes = routed.answer.argmax(axis=1)
            predicted["prediction"] = pa.array(list(self.encoder.decode(codes)), pa.string())
            predicted["probability"] = routed.answer.max(axis=1)
        else:
            predicted["prediction"] = self.encoder.decode(routed.answer[:, 0])
        lead = routed.routes.leading
        return pa.table({**predicted, "partition": lead, "distance": routed.routes.distance})

    def route(
        self,
        x: NDArray[np.float32],
        embedding: NDArray[np.float32],
        values: Sequence[Any] | None,
        top_k: int | None = None,
        *,
        gated: bool = True,
    ) -> Routed:
        """Send encoded rows to their specialists and mix the answers.

        Args:
            x: Encoded rows, float32 ``(rows, …)``.
            embedding: Their embedding, float32 ``(rows, dims)``.
            values: Value of the partition column, where a column is the partition.
            top_k: Specialists asked for a row; the router's own number by default.
            gated: Whether the generalist answers where the gate says so, as it should.
        """
        routes = self.router.route(embedding, values, top_k)
        if gated:
            routes = self.gate.apply(routes)
        return Routed(routes, self.experts.mix(x, routes.experts, routes.weights))

    def _values(self, rows: pa.Table) -> list[Any] | None:
        column = self.router.assigner.column
        return None if column is None else rows[column].to_pylist()
