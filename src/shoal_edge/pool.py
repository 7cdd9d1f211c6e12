"""A pool on a device: loaded from its folder, checked, asked for predictions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from shoal_edge.columns import Source, column_of, numbers, texts
from shoal_edge.embedding import embedder
from shoal_edge.encoding import Encoding
from shoal_edge.errors import EdgeError
from shoal_edge.mixing import mixed_parts
from shoal_edge.models import network, softmax
from shoal_edge.placing import Atoms, Growth, Values
from shoal_edge.report import Bins, Log
from shoal_edge.routing import (
    BASE,
    GENERALIST,
    ByClassifier,
    ByDistance,
    ByNeighbours,
    Routing,
    with_generalist,
)
from shoal_edge.state import DAMAGE, Files
from shoal_edge.steps import Steps

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from shoal_edge.mixing import Places
    from shoal_edge.routing import Scores
    from shoal_edge.state import State

    Array = NDArray[Any]

_OWN = "has a loss of its own (task own), whose answers only its class knows"


class Predicted(NamedTuple):
    """Predictions for rows, in their order.

    Attributes:
        prediction: Names of classes, objects, or numbers in the label's unit, float64 ``(rows,)``.
        probability: Of the predicted class, float32 ``(rows,)``; None where it is a number.
        partition: Of the specialist with the largest weight, int32 ``(rows,)``; -1: the base, -2:
            the generalist.
        distance: To the nearest atom, float32 ``(rows,)``.
    """

    prediction: Array
    probability: NDArray[np.float32] | None
    partition: NDArray[np.int32]
    distance: NDArray[np.float32]


class Pool:
    """Router, experts and all fitted state; made by :meth:`load`.

    Attributes:
        folder: Where it was read from.
        manifest: Its manifest.
        inputs: Names of the columns that it takes.
        x_shape: Shape of an encoded row.
        cannot: Why it takes encoded rows alone; None where it takes columns.
    """

    def __init__(self, files: Files) -> None:
        """Read all files."""
        self.folder, self.manifest = files.folder, files.manifest
        shapes, columns = files.document("shapes.json"), files.document("columns.json")
        if shapes["task"] == "own":
            raise EdgeError(f"{files.folder}: its model {_OWN}")
        self.x_shape = tuple(shapes["x_shape"])
        self._x_type = "float32" if shapes.get("tokens") is None else "int64"
        self._kinds: dict[str, str] = columns["kinds"]
        encoder = files.state("encoder.safetensors")
        self._label = encoder.meta["label"]
        self.inputs = [entry["column"] for entry in encoder.meta["encoders"]]
        self.cannot: str | None = None
        try:
            self._steps = Steps(files.document("transform.json"))
            self._encoding = Encoding(encoder)
        except EdgeError as error:
            self.cannot = str(error)
        try:
            self._embed = embedder(files.state("embedder.safetensors"))
        except EdgeError as error:
            raise EdgeError(f"{files.folder}: {error}") from None
        gate, self._digest = files.document("gate.json"), files.digest
        self._shares = {int(name): share for name, share in gate["shares"].items()}
        self._routing = _routing(files.state("router.safetensors"))
        if gate["softness"] is not None:
            self._routing = replace(self._routing, top_k=2, temperature=gate["softness"])
        classes = len(self._label.get("classes") or "")
        try:
            self._bins = Bins.of(gate, shapes["task"], classes, self._routing.threshold)
        except EdgeError as error:
            raise EdgeError(f"{files.folder / 'gate.json'}: {error}") from None
        names = {BASE: "base.safetensors"}
        if any(share < 1 for share in self._shares.values()):
            names[GENERALIST] = "generalist.safetensors"
        names |= {entry["partition"]: entry["file"] for entry in self.manifest["specialists"]}
        self._weights = {expert: files.state(name).tensors for expert, name in names.items()}
        there = self._weights.keys() - {GENERALIST}
        if there != self._shares.keys() or not there <= {*self._routing.trained, BASE}:
            raise EdgeError(
                f"{files.folder}: its router and gate do not know all of its specialists, or others"
            )
        self._network = network(files, self._x_type)

    @classmethod
    def load(cls, folder: str | Path) -> Pool:
        """Read a pool, each file checked by its hash in the manifest.

        Where a patch is applied meanwhile, it is the old pool or the new one.

        Raises:
            EdgeError: There is no pool in the folder, a file is not what the manifest says, or it
                needs what devices do not have.
        """
        while True:
            files = Files(Path(folder))
            try:
                return cls(files)
            except DAMAGE as error:
                kind = type(error).__name__
                raise EdgeError(f"{folder}: no pool that a run makes ({kind}: {error})") from None
            except EdgeError:
                if not files.is_changed:
                    raise

    def log(self) -> Log:
        """What counts rows that the pool answers, for a report (:mod:`shoal_edge.report`)."""
        return Log(self._digest, self._routing.assigner.partitions, self._bins)

    def predict(
        self,
        rows: Mapping[str, Any],
        *,
        source: str = "input",
        first_row: int = 1,
        log: Log | None = None,
    ) -> Predicted:
        """Predictions for new rows, in their order.

        Args:
            rows: Cells of each column that the pool takes, by name: a list or an array; or a data
                frame. Other columns are ignored.
            source: What messages call the rows.
            first_row: Row there of the first of them, from 1.
            log: What counts the rows.

        Raises:
            EdgeError: A column is missing, a value does not fit its column, or the pool cannot
                encode rows here.
        """
        place = Source(source, first_row)
        if self.cannot is not None:
            raise EdgeError(f"{self.folder}: {self.cannot}; give encoded rows")
        route_by = self.manifest["route_by"]
        if route_by is not None and route_by in rows:
            raise EdgeError(
                f"{source}: rows of one {route_by!r} share a route, which devices do not know; "
                f"without that column each row has its own"
            )
        columns = {name: self._column(rows, name, place) for name in self.inputs}
        column, values = getattr(self._routing.assigner, "column", None), None
        if column is not None and column not in columns:
            columns[column] = self._column(rows, column, place)
        lengths = {len(cells) for cells in columns.values()}
        if len(lengths) > 1:
            raise EdgeError(f"{source}: its columns have {sorted(lengths)} rows")
        self._steps.apply(columns, place)
        x = self._encoding.encode(columns, place)
        if column is not None:
            values = columns[column].tolist()
        return self._answered(x, values, log)

    def predict_encoded(self, x: Array, *, log: Log | None = None) -> Predicted:
        """Predictions for encoded rows.

        Args:
            x: float32 ``(rows, *x_shape)``, or int64 where they are tokens.
            log: What counts the rows.

        Raises:
            EdgeError: They have another shape or type, or a column decides where rows go.
        """
        column = getattr(self._routing.assigner, "column", None)
        if column is not None:
            raise EdgeError(
                f"{self.folder}: routes rows by column {column!r}, which encoded rows do not have"
            )
        if x.shape[1:] != self.x_shape or x.dtype.name != self._x_type:
            raise EdgeError(
                f"encoded rows are {self._x_type} of shape (rows, "
                f"{', '.join(map(str, self.x_shape))}), not {x.dtype.name} of shape {x.shape}"
            )
        return self._answered(x, None, log)

    def _column(self, rows: Mapping[str, Any], name: str, source: Source) -> Array:
        """A typed column."""
        kind = self._kinds[name]
        if kind == "group" and name not in rows:
            return np.full(len(column_of(rows, self.inputs[0], source)), None)
        cells = column_of(rows, name, source)
        if kind == "numeric":
            return numbers(cells, name, source)
        if kind not in ("categorical", "text", "group"):
            raise EdgeError(f"{source.name}: column {name!r} is of kind {kind}; give encoded rows")
        return texts(cells, name, source, as_written=kind == "text")

    def _answered(self, x: Array, values: list[Any] | None, log: Log | None) -> Predicted:
        """Route rows, ask, mix."""
        routes = with_generalist(self._routing.route(self._embed(x), values), self._shares)
        classes = self._label.get("classes")
        if not len(x):
            answer = np.zeros((0, len(classes or "1")), np.float32)
        else:
            answer = mixed_parts(
                lambda parts: np.concatenate([self._said(*part, x) for part in parts]),
                routes.experts,
                routes.weights,
                "mean",
            )
        if log is not None:
            log.add(routes.partition, routes.distance, answer)
        where = routes.leading, routes.distance
        if classes is None:
            told = answer[:, 0].astype(np.float64) * self._label["sd"] + self._label["mean"]
            return Predicted(told, None, *where)
        codes = answer.argmax(axis=1)
        return Predicted(
            np.array(classes, object)[codes], answer[np.arange(len(codes)), codes], *where
        )

    def _said(self, expert: int, own: Places, x: Array) -> NDArray[np.float32]:
        """What an expert says about some of the rows."""
        out = self._network(self._weights[expert], x[own])
        return out if self._label.get("classes") is None else softmax(out)


def _routing(state: State) -> Routing:
    """The router of which this is the state."""
    own, meta = state.tensors, state.meta
    scores: Scores
    if meta["method"] == "knn":
        scores = ByNeighbours(own["reference"], own["target"], int(own["neighbours"][0]))
    elif meta["method"] == "classifier":
        scores = ByClassifier(own["weight"], own["bias"])
    else:
        scores = ByDistance(float(own["scale"][0]))
    return Routing(
        _assigner(own, meta["assigner"]),
        tuple(meta["trained"]),
        meta["method"],
        scores,
        meta["top_k"],
        meta["temperature"],
        float(own["threshold"][0]),
    )


def _assigner(tensors: Mapping[str, Array], meta: Mapping[str, Any]) -> Atoms | Values:
    if meta["assigner"] == "column":
        return Values(meta["column"], meta["values"])
    prototypes = tensors["assigner.prototypes"]
    growths = [
        Growth(start, tensors.get(f"assigner.guards.{start}", prototypes[:0]))
        for start in meta.get("grown") or ()
    ]
    atom, partition = (tensors[f"assigner.{name}"] for name in ("prototype_atom", "atom_partition"))
    return Atoms(prototypes, atom, partition, growths)
