"""A pool in memory: loaded from its folder, checked, asked for predictions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from pydantic import NonNegativeInt

from shoal.errors import CorruptError
from shoal.formats.documents.choice import Point
from shoal.formats.shapes import Shapes
from shoal.formats.stored import Stored, as_kind, check_numbers, naming
from shoal.formats.tables import Columns, decoded
from shoal.gate.gate import Gate
from shoal.pool.manifest import GENERALIST_FILE
from shoal.pool.sealed import Sealed
from shoal.search.points import model_at
from shoal.settings.targets import check_trust
from shoal.train_specialists.experts import Experts
from shoal.training.model import trained_model
from shoal.training.tasks import rules
from shoal_edge.errors import EdgeError
from shoal_edge.report import Bins, Log
from shoal_edge.routing import BASE, GENERALIST

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy as np
    import pandas as pd
    import pyarrow as pa
    import torch
    from numpy.typing import NDArray

    from shoal.embed.embedder import Embedder
    from shoal.encode.encoder import Encoder
    from shoal.pool.leads import Leads
    from shoal.transform.pipeline import Pipeline
    from shoal_edge.routing import Routes

F = TypeVar("F")


class Prepared(NamedTuple):
    """Rows as the pool takes them.

    Attributes:
        rows: The rows, transformed.
        x: The same, encoded, ``(rows, …)``.
        embedding: float32 ``(rows, dims)``.
        values: Value of the partition column, where a column is the partition.
    """

    rows: pa.Table
    x: NDArray[Any]
    embedding: NDArray[np.float32]
    values: list[Any] | None


class _Read(NamedTuple):
    """Rows of a source as the router takes them, see :meth:`Pool.route`.

    ``group`` and ``leads`` are there where rows of a group share a route and their group is given.
    """

    prepared: Prepared
    group: Any = None
    leads: Leads | None = None


@dataclass(frozen=True)
class Routed:
    """Routes of rows, and the answers.

    Attributes:
        routes: Who was asked for each row; -1 is the base, -2 the generalist.
        answer: Probabilities ``(rows, classes)``, standardised numbers ``(rows, 1)``, or what a
            model with a loss of its own says, as :func:`shoal.training.model.predictions`.
    """

    routes: Routes
    answer: NDArray[Any]


class _BaseFacts(Stored):
    """Facts of the base, besides its weights."""

    budget: dict[str, float | None]
    model: dict[str, object]


class _SpecialistFacts(Stored):
    """The same of a specialist."""

    digest: str
    point: Point
    rows: NonNegativeInt
    diverged: None = None
    continues: str | None = None
    parent: str | None = None


class _GeneralistFacts(Stored):
    """The same of the generalist."""

    point: Point
    trained_on: dict[str, str]
    rows: dict[str, object]
    continues: str | None = None
    parent: str | None = None


class Pool:
    """Router, specialists and all fitted state; made by :meth:`load`.

    Attributes:
        folder: Where it was read from.
        manifest: Its manifest.
        digest: Digest of the manifest.
    """

    def __init__(self, sealed: Sealed, trust: Sequence[str]) -> None:
        from shoal.embed.embedder import embedder_from_state
        from shoal.encode.encoder import Encoder
        from shoal.train_router.router import Router
        from shoal.transform.pipeline import Pipeline

        self.folder = folder = sealed.folder
        self.manifest = sealed.manifest
        self.digest = sealed.digest
        self._sha256 = sealed.sha256
        with naming(folder / "columns.json"):
            self.columns = Columns.from_record(sealed.document("columns.json"))
        with naming(folder / "shapes.json"):
            self.shapes = Shapes.from_record(sealed.document("shapes.json"))
        with naming(folder / "embedder.safetensors"):
            self.embedder: Embedder = embedder_from_state(*sealed.state("embedder.safetensors"))
        with naming(folder / "router.safetensors"):
            router = Router.from_state(*sealed.state("router.safetensors"))
        with naming(folder / "transform.json"):
            self.pipeline: Pipeline = Pipeline.from_state(sealed.document("transform.json"))
        for target in self.pipeline.targets:
            check_trust("the pool's transform", target, trust)
        self.encoder: Encoder = Encoder.parse(
            sealed.read("encoder.safetensors"),
            folder / "encoder.safetensors",
            trust,
            math.prod(self.shapes.x_shape),
        )
        with naming(folder / "gate.json"):
            gate = sealed.document("gate.json")
            there = [entry.partition for entry in sealed.manifest.specialists]
            self.gate = Gate.from_record(gate, there)
        self.router = router.softened(self.gate.softness)
        self._bins = self._own_bins(gate)
        sealed.check_ledger()
        check_together(self)
        self.experts = Experts(self._models(sealed), self.shapes.task, self.shapes.outputs)

    def _own_bins(self, gate: Mapping[str, Any]) -> Bins:
        classes, threshold = len(self.shapes.classes or ()), self.router.threshold
        try:
            return Bins.of(gate, self.shapes.task, classes, threshold)
        except EdgeError as error:
            raise CorruptError(f"{self.folder / 'gate.json'}: {error}") from None

    def _models(self, sealed: Sealed) -> dict[int, torch.nn.Module]:
        """Base, generalist where there is one, and specialists."""
        models = {BASE: self._model(sealed, "base.safetensors", _BaseFacts)[0]}
        if self.gate.asks_generalist:
            models[GENERALIST] = self._model(sealed, GENERALIST_FILE, _GeneralistFacts)[0]
        for entry in self.manifest.specialists:
            models[entry.partition], facts = self._model(sealed, entry.file, _SpecialistFacts)
            for name, said in (("digest", entry.digest), ("point", entry.point.values)):
                if getattr(facts, name) != said:
                    raise CorruptError(
                        f"{self.folder / entry.file}: {name} {getattr(facts, name)!r}, but the "
                        f"manifest has {said!r} for partition {entry.partition}"
                    )
        return models

    def _model(self, sealed: Sealed, name: str, kind: type[F]) -> tuple[torch.nn.Module, F]:
        """The model in a file, and the facts beside its weights."""
        tensors, meta = sealed.state(name)
        with naming(sealed.folder / name):
            facts = as_kind(kind, meta)
            for tensor in tensors:
                check_numbers(tensors[tensor], tensor, finite=False)  # infinity may mask
            return self.model_with(tensors, getattr(facts, "point", {})), facts

    def model_with(self, tensors: Mapping[str, NDArray[Any]], point: Point) -> torch.nn.Module:
        """The pool's model with other weights, trained at a grid point."""
        return trained_model(model_at(self.manifest.model, point), self.shapes, tensors)

    @classmethod
    def load(cls, folder: str | Path, trust: Sequence[str] = (), digest: str | None = None) -> Pool:
        """Read a pool: what its manifest lists and nothing else, each file once.

        Args:
            folder: The pool's folder.
            trust: Exact names of modules outside Shoal that the pool may import its model,
                encoders and functions of transform steps from.
            digest: Digest of the pool's manifest, as the run printed it that made the pool;
                another pool is refused.

        Raises:
            SourceError: There is no pool in the folder.
            CorruptError: A file is missing, is not what the manifest says, or holds what no run
                makes; or the digest is another.
            ModelError: A module is not trusted, or does not import.
            SettingsError: ``trust`` is one text.
        """
        sealed = Sealed(Path(folder), digest)
        check_trust("the pool's model", sealed.manifest.model.target, trust)
        return cls(sealed, trust)

    def log(self) -> Log:
        """What counts rows that the pool answers, for a report (:mod:`shoal_edge.report`)."""
        return Log(self._sha256, self.manifest.partitions, self._bins)

    def predict(
        self, table: pd.DataFrame | pa.Table, *, top_k: int | None = None, log: Log | None = None
    ) -> pa.Table:
        """Predictions for new rows, in their order.

        Args:
            table: Rows with the input columns that the pool was made with; others are ignored,
                and so is the index of a data frame, unless it has the name of an input. Where the
                pool routes by group and the rows have that column, those of one group share a
                route, that of the one with the smallest key: a hash of the id, or without an id
                of the inputs. A row without a group, and without that column each row, has its own.
            top_k: Specialists asked for a row, the generalist aside; the pool's own number by
                default.
            log: What counts the rows.

        Returns:
            Arrow table: ``prediction`` (class name or number), ``probability`` of the predicted
            class (classification only), ``partition`` of the specialist with the largest weight
            (-1: the base, -2: the generalist) and ``distance`` to the nearest atom. Of a model
            with a loss of its own ``prediction`` is what ``predict_rows`` says, an array per row;
            without that there is ``loss`` in its place, where no label is needed for it.

        Raises:
            SourceError: A column is missing, or a value does not fit its column.
        """
        from shoal.sources.frames import raw_table

        raw = raw_table(table, self.columns, "input")
        return self.predict_batch(raw, "input", 1, top_k, log=log)

    def predict_batch(
        self,
        raw: pa.Table,
        source: str,
        first_row: int,
        top_k: int | None = None,
        leads: Leads | None = None,
        log: Log | None = None,
    ) -> pa.Table:
        """As :meth:`predict`, for rows of a source that messages name.

        Args:
            raw: Some of the source's rows.
            source: Its name.
            first_row: Row in the source of the first of them, from 1.
            top_k: Specialists asked for a row.
            leads: Result of :meth:`leads` for all of the source's rows; by default for these.
            log: What counts the rows.
        """
        import pyarrow as pa

        read = self._read(raw, source, first_row)
        by = leads or read.leads
        _, x, embedding, values = read.prepared
        if by is not None:
            embedding, values = by.of(read.group)
        routed = self.route(x, embedding, values, top_k)
        own, base = rules(self.shapes.task), self.experts.models[BASE]
        predicted = own.predicted(routed.answer, self.encoder.label, base)
        routes = routed.routes
        if log is not None:
            log.add(routes.partition, routes.distance, routed.answer)
        return pa.table({**predicted, "partition": routes.leading, "distance": routes.distance})

    def leads(self, batches: Iterable[pa.Table], source: str) -> Leads | None:
        """Rows by which the groups of a source are routed; None where each row routes itself.

        Args:
            batches: All of the source's rows.
            source: Its name.
        """
        if self.manifest.route_by is None:
            return None
        found, first_row = None, 1
        for raw in batches:
            own = self._read(raw, source, first_row).leads
            if own is None:
                return None
            found = own if found is None else found.joined(own)
            first_row += len(raw)
        return found

    def route(
        self,
        x: NDArray[Any],
        embedding: NDArray[np.float32],
        values: Sequence[Any] | None,
        top_k: int | None = None,
        *,
        gated: bool = True,
        y: NDArray[Any] | None = None,
    ) -> Routed:
        """Send encoded rows to their specialists and mix the answers.

        Args:
            x: Encoded rows ``(rows, …)``.
            embedding: Their embedding, float32 ``(rows, dims)``.
            values: Value of the partition column, where a column is the partition.
            top_k: Specialists asked for a row; the router's own number by default.
            gated: Whether the generalist has the share that the gate gives it, as it should.
            y: Labels, for answers that are to be scored; there is a row at least.
        """
        routes = self.router.route(embedding, values, top_k)
        if gated:
            routes = self.gate.apply(routes)
        return Routed(routes, self.experts.mix(x, routes.experts, routes.weights, y))

    def prepare(self, inputs: pa.Table, source: str, first_row: int) -> Prepared:
        """Transform, encode and embed typed rows.

        Args:
            inputs: The rows, as :func:`shoal.sources.columns.typed_inputs` makes them.
            source: Where they come from, for messages.
            first_row: Row in the source of the first of them, from 1.
        """
        rows = self.pipeline.predict(inputs, source)
        x = self.encoder.encode(rows, source, first_row - 1)
        return Prepared(rows, x, self.embedder.embed(x), self._values(rows))

    def _read(self, raw: pa.Table, source: str, first_row: int) -> _Read:
        """What the pool makes of rows of a source before it routes them."""
        from shoal.sources.columns import typed_inputs

        inputs = typed_inputs(raw, self.columns, source, first_row)
        prepared, route_by = self.prepare(inputs, source, first_row), self.manifest.route_by
        if route_by is None or route_by not in raw.column_names:
            return _Read(prepared)
        from shoal.pool.leads import Leads, groups_and_keys

        group, key = groups_and_keys(raw, inputs, self.columns, (source, first_row), route_by)
        leads = Leads.among(group, key, prepared.embedding, prepared.values)
        return _Read(prepared, group, leads)

    def _values(self, rows: pa.Table) -> list[Any] | None:
        column = self.router.assigner.column
        return None if column is None else decoded(rows.select([column]))[column].to_pylist()


def check_together(pool: Pool) -> None:
    """Refuse parts that are each in order, but not of one pool.

    Raises:
        CorruptError: Two of them disagree.
    """
    columns, shapes, encoder, router = pool.columns, pool.shapes, pool.encoder, pool.router
    manifest, dims = pool.manifest, pool.embedder.dims
    kinds = [(each.column, each.place.kind) for each in encoder.encoders]
    partitions = [entry.partition for entry in manifest.specialists]
    wants_generalist = pool.gate.asks_generalist
    column = router.assigner.column
    facts = {
        ("encoder.safetensors", "task"): (encoder.task, columns.task),
        ("encoder.safetensors", "labels"): (encoder.label.columns, columns.labels),
        ("encoder.safetensors", "columns"): (
            kinds,
            [(n, columns.kinds[n]) for n in columns.inputs],
        ),
        ("shapes.json", "task"): (shapes.task, columns.task),
        ("shapes.json", "x_shape"): (tuple(shapes.x_shape), tuple(encoder.x_shape)),
        ("shapes.json", "classes"): (shapes.classes, encoder.classes),
        ("shapes.json", "outputs"): (shapes.outputs, encoder.outputs),
        ("shapes.json", "tokens"): (shapes.tokens, encoder.tokens),
        ("shapes.json", "feature_names"): (shapes.feature_names, encoder.feature_names),
        ("transform.json", "kinds"): (pool.pipeline.kinds or columns.kinds, columns.kinds),
        ("embedder.safetensors", "x_shape"): (pool.embedder.x_shape, tuple(shapes.x_shape)),
        ("router.safetensors", "dims"): (router.assigner.dims or dims, dims),
        ("router.safetensors", "column"): (column in (None, *columns.kinds), True),
        ("manifest.json", "route_by"): (
            manifest.route_by in (None, *columns.of_kind("group")),
            True,
        ),
        ("manifest.json", "partitions"): (manifest.partitions, router.assigner.partitions),
        ("manifest.json", "specialists"): (
            partitions,
            [number for number in router.trained if number in partitions],
        ),
        ("manifest.json", "generalist"): (GENERALIST_FILE in manifest.files, wants_generalist),
    }
    for (file, name), (said, wanted) in facts.items():
        if said != wanted:
            raise CorruptError(
                f"{pool.folder / file}: {name}: {_brief(said)}, but the pool's other files have "
                f"{_brief(wanted)}"
            )


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) < 200 else f"{text[:200]}…"
