"""The models of a release by the names that people give them, and the functions they compute."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from shoal.archive.kept import Archive
from shoal.errors import ModelError, SourceError
from shoal.explore.intermediates.rows import ReleaseRows
from shoal.formats.hashing import json_hash, settings_id
from shoal.formats.shapes import Shapes
from shoal.partitions.reader import Index
from shoal.plan.code import code_digest
from shoal.plan.history import History
from shoal.plan.layout import Layout
from shoal.search.points import model_at
from shoal.settings.learning import Model as ModelSettings
from shoal.settings.section import parse
from shoal.settings.targets import check_trust

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import torch

    from shoal.formats.documents import plan as documents
    from shoal.formats.documents.choice import Point

EMBEDDER = "embedder"
_SERVING = ("base", "generalist", "specialist")


@dataclass(frozen=True)
class ReleaseModels:
    """A release whose models were kept.

    Attributes:
        root: The experiment's results folder, as it lies now.
        kept: Its models, as they were kept.
        record: Its line in the history.
    """

    root: Path
    kept: documents.KeptRelease
    record: documents.Release

    @property
    def shapes(self) -> Shapes:
        """Shape of its rows and labels."""
        return Shapes(**self.kept["shapes"])

    @property
    def threads(self) -> int:
        """CPU threads of its jobs."""
        return int(self.record["settings"]["compute"]["threads"])

    @cached_property
    def layout(self) -> Layout:
        """Its files, in the folder that is looked at."""
        return replace(Layout.from_json(self.record["layout"]), root=str(self.root))

    @cached_property
    def rows(self) -> ReleaseRows:
        """Its rows.

        Raises:
            SourceError: `shoal gc` has removed them.
        """
        path = self.layout.index
        if not path.exists():
            raise SourceError(
                f"{path}: not there, `shoal gc` removes the rows of old releases; choose a later "
                f"release, or run the workflow again"
            )
        return ReleaseRows(Index(path))


@dataclass(frozen=True)
class Model:
    """A model of a release.

    Attributes:
        id: Its id in the model store; ``embedder`` for the release's embedder.
        name: What the user calls it.
        partition: Its partition; None for a model of everything.
        release: The release.
        point: Values of its grid point.
        tensors: Name of each of its tensors to its content address.
    """

    id: str
    name: str
    partition: int | None
    release: ReleaseModels
    point: Point
    tensors: Mapping[str, str]

    @cached_property
    def settings(self) -> ModelSettings:
        """Class and arguments, at its grid point."""
        made: ModelSettings = parse(ModelSettings, self.release.kept["model"], "model")
        return model_at(made, dict(self.point))

    @cached_property
    def architecture(self) -> str:
        """Identity of everything that the model computes with but its weights."""
        shapes = self.release.shapes
        settings = self.settings
        content = [settings.target, shapes.fill(settings.arguments()), shapes.x_shape]
        return settings_id(*content, code_digest("models", [settings.target], settings.files))

    def function(self, layer: str, tensors: Iterable[str]) -> str:
        """Identity of the map from a row to what a layer gives.

        Args:
            layer: The layer.
            tensors: Names of the tensors that the map reads. Other models with the same ones,
                whatever comes after the layer, have the same map.
        """
        read = {name: self.tensors[name] for name in tensors}
        return json_hash([self.architecture, layer, read])[:32]

    def whole(self, layer: str) -> str:
        """The same, should the map read any of the model's tensors."""
        return self.function(layer, self.tensors)


class Models:
    """The models of an experiment, or of one of its variants, with the rows they were made of."""

    def __init__(self, home: Path, trust: Sequence[str] = ()) -> None:
        """Look at a folder of results.

        Args:
            home: ``results/NAME``, or a variant's folder in it.
            trust: Modules outside Shoal that models may be imported from.

        Raises:
            SourceError: No release was kept here.
        """
        self.kept = Archive(home, trust)
        self._trust = trust
        self.root = self.kept.root
        entries = {each["release"]: each for each in History(home).entries}
        self._releases = {
            number: ReleaseModels(self.root, each, entries[each["release"]])
            for number, each in enumerate(self.kept.releases)
            if each["release"] in entries
        }
        if not self._releases:
            raise SourceError(f"{home}: no release was kept here; give a folder of results")

    @property
    def last(self) -> ReleaseModels:
        """The last release."""
        return self._releases[max(self._releases)]

    def all(self) -> list[Model]:
        """Base, generalist and chosen specialists of the last release."""
        listed = [
            each for each in self.last.kept["models"] if each["kind"] in _SERVING and each["chosen"]
        ]
        return [self._model(each["id"], each["id"], self.last) for each in listed]

    def find(self, name: str) -> Model:
        """A model.

        Args:
            name: As :meth:`Archive.find` takes it, or ``[RELEASE:]embedder``.

        Raises:
            ModelError: There is no such model, or it is a router.
        """
        before, _, which = name.rpartition(":")
        if which == EMBEDDER:
            return Model(EMBEDDER, name, None, self._release(before), {}, {})
        model = self.kept.find(name)
        if before:
            return self._model(model, name, self._release(before))
        having = (
            each
            for _, each in sorted(self._releases.items(), reverse=True)
            if any(model == listed["id"] for listed in each.kept["models"])
        )
        release = next(having, None)
        if release is None:
            raise ModelError(f"{self.kept.home}: no release here has model {model!r}")
        return self._model(model, name, release)

    def network(self, model: Model) -> torch.nn.Module:
        """A model with its weights, on as many threads as the jobs had.

        Raises:
            ModelError: Its module is not trusted, or does not import.
            CorruptError: The model store is damaged.
        """
        from shoal.training.determinism import deterministic
        from shoal.training.model import trained_model

        check_trust("the model", model.settings.target, self._trust)
        deterministic(model.release.threads)
        tensors = self.kept.load(model.id)
        return trained_model(model.settings, model.release.shapes, tensors).eval()

    def encoded(self, release: ReleaseModels, source: Path) -> Any:  # noqa: ANN401 - an array (rows, …)
        """Rows of a source file, encoded as a release's were.

        Args:
            release: The release.
            source: CSV, Parquet or NPZ, with the columns that the pool was made with.

        Raises:
            SourceError: A column is missing, or a value does not fit its column.
        """
        import numpy as np

        from shoal.encode.encoder import Encoder
        from shoal.formats.json_file import read_made
        from shoal.formats.tables import Columns
        from shoal.sources.columns import typed_inputs
        from shoal.sources.readers import raw_batches
        from shoal.transform.pipeline import Pipeline

        layout = release.layout
        columns = Columns.load(layout.file("split_fit.columns"))
        pipeline = Pipeline.from_state(
            read_made(layout.file("transform_fit.state"), dict[str, Any])
        )
        for target in pipeline.targets:
            check_trust("the transform", target, self._trust)
        encoder = Encoder.load(layout.file("encode_fit.encoder"), self._trust)
        parts, rows = [np.empty((0, *release.shapes.x_shape), release.shapes.x_dtype)], 0
        for batch in raw_batches(source, 8192):
            typed = typed_inputs(batch, columns, str(source), rows + 1)
            parts.append(encoder.encode(pipeline.predict(typed, str(source))))
            rows += len(batch)
        return np.concatenate(parts)

    def _release(self, name: str) -> ReleaseModels:
        if not name:
            return self.last
        for each in self._releases.values():
            if name in (str(each.kept["number"]), each.kept["release"]):
                return each
        raise ModelError(f"{self.kept.home}: release {name!r} is unknown; see `shoal models log`")

    def _model(self, model: str, name: str, release: ReleaseModels) -> Model:
        record = self.kept.store.record(model)
        if record["kind"] == "router":
            raise ModelError(f"{name}: a router has no layers; name a base or specialist")
        point = record["meta"].get("point", {})
        tensors = self.kept.tree(model).tensors
        return Model(model, name, record["partition"], release, point, tensors)


def is_key(text: str) -> bool:
    """Whether a text is a row's key, as `shoal query` shows it."""
    return re.fullmatch(r"[0-9a-f]{32}", text) is not None
