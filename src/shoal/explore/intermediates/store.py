"""Activations of an experiment's models, read where they are kept and recomputed elsewhere."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from shoal.errors import DataError, ModelError
from shoal.explore.intermediates.catalogue import Catalogue, address_of
from shoal.explore.intermediates.costs import Clock, Costs, least_seconds
from shoal.explore.intermediates.forms import (
    FULL,
    Kind,
    Layer,
    as_kept,
    check_form,
    frame,
    wanted_layer,
)
from shoal.explore.intermediates.models import EMBEDDER, Models

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from shoal.embed.embedder import Embedder
    from shoal.explore.intermediates.models import Model
    from shoal.explore.intermediates.rows import Block

FOLDER = "intermediates"
_BATCH_ROWS = 2048
_SIZED_BLOCKS = 4


class Intermediates:
    """Activations of an experiment's models.

    Attributes:
        models: The experiment's models.
        catalogue: Activations that are kept.
        read: Kept rows that were read so far.
        recomputed: Rows that went through a model.
    """

    def __init__(self, home: Path, trust: Sequence[str] = ()) -> None:
        """Look at a folder of results.

        Args:
            home: ``results/NAME``, or a variant's folder in it.
            trust: Modules outside Shoal that models may be imported from.

        Raises:
            SourceError: No release was kept here.
            CorruptError: The catalogue is damaged.
        """
        self.models = Models(home, trust)
        self.catalogue = Catalogue.load(self.models.root / FOLDER)
        self.read = 0
        self.recomputed = 0
        self._network: tuple[str, torch.nn.Module] | None = None
        self._embedder_at: tuple[Path, Embedder] | None = None
        self._layers: dict[str, dict[str, Layer]] = {}
        self._costs: dict[int, Costs] = {}
        self._load_seconds: dict[str, float] = {}

    @property
    def folder(self) -> Path:
        """The folder of kept activations."""
        return self.catalogue.folder

    def reload(self) -> None:
        """Read the catalogue again, which another process may have replaced."""
        self.catalogue = Catalogue.load(self.folder)
        self._layers, self._costs = {}, {}

    def costs(self, model: Model) -> Costs:
        """Known costs on this machine."""
        threads = model.release.threads
        if threads not in self._costs:
            self._costs[threads] = Costs.load(self.folder, threads)
        return self._costs[threads]

    def form_of(self, model: Model, layer: str) -> str:
        """The form in which a layer was last asked to be kept; ``full`` if it never was."""
        found = FULL
        for name, of, form, _ in self.catalogue.record.get("requests", []):
            if of == layer and name in ("", model.name, model.id):
                found = form
        return found

    def layer(self, model: Model, name: str) -> tuple[Layer, Kind]:
        """A layer of a model, and the kind of its output.

        Raises:
            ModelError: There is none, or it gives nothing that can be kept.
        """
        return wanted_layer(self.layers(model), name, model.name)

    def layers(self, model: Model) -> dict[str, Layer]:
        """All layers of a model; it runs once if its architecture is not known yet."""
        if model.architecture not in self._layers:
            known = self.catalogue.record.get("architectures", {}).get(model.architecture)
            if known is None:
                net = self.network(model)
                from shoal.explore.intermediates.layers import survey

                found = survey(net, self._sample(model))
            else:
                found = {name: Layer.from_json(each) for name, each in known.items()}
            self._layers[model.architecture] = found
        return self._layers[model.architecture]

    def learn(self, model: Model, names: Iterable[tuple[str, str]]) -> None:
        """Measure once the bytes and costs of an architecture's layers on this machine.

        Args:
            model: A model of the architecture.
            names: Layers, each with a form.
        """
        layers, costs = self.layers(model), self.costs(model)
        if not costs.knows(model.architecture):
            net = self.network(model)
            from shoal.explore.intermediates.layers import seconds_a_row

            x = self._sample(model)
            rows = least_seconds(partial(self._sample, model)) / len(x)
            load = self._load_seconds[model.architecture]
            costs.learn(model.architecture, load, rows, seconds_a_row(net, x))
            costs.measure_reading()
            costs.save()
        for name, form in names:
            layer = layers[name]
            if form not in layer.sizes:
                layer.sizes[form] = self._bytes_a_row(model, name, form)
        architectures = self.catalogue.record.setdefault("architectures", {})
        architectures[model.architecture] = {n: each.as_json() for n, each in layers.items()}

    def addresses(
        self, model: Model, layer: str, form: str, blocks: Iterable[Block]
    ) -> dict[Block, bytes]:
        """Address of each block's activations: that under which they are kept, if they are."""
        facts, _ = self.layer(model, layer)
        function, whole = model.function(layer, facts.tensors), model.whole(layer)
        found = {}
        for block in blocks:
            own = address_of(function, block.address, form)
            other = address_of(whole, block.address, form)
            at_other = other in self.catalogue.entries and own not in self.catalogue.entries
            found[block] = other if at_other else own
        return found

    def blocks(
        self, model: Model, layer: str, form: str, blocks: Sequence[Block]
    ) -> Iterator[tuple[Block, NDArray[Any]]]:
        """Activations of blocks of rows in a form, each read or recomputed, in any order.

        Values never depend on which of them are kept.

        Raises:
            ModelError: There is no such layer, or it gives nothing that can be kept.
            CorruptError: A block that is kept is damaged.
        """
        check_form(form)
        rows = model.release.rows
        if model.id == EMBEDDER:
            for block in blocks:
                embedding = self.of_rows(model, layer, rows.read(block, "x"))
                yield block, as_kept(form, embedding)
            return
        addresses = self.addresses(model, layer, form, blocks)
        kept = {b: a for b, a in addresses.items() if a in self.catalogue.entries}
        if not self._is_read_faster(model, layer, form, kept):
            kept = {}
        done = set()
        for block, address in kept.items():
            what = f"layer {layer!r} of model {model.name}, {block.name}"
            read = self.catalogue.read(address, what)
            if read is not None:
                self.read += len(block)
                done.add(block)
                yield block, read
        left = [block for block in blocks if block not in done]
        for block, values, _ in self.compute(model, (layer,), left):
            with naming(model, layer, block):
                found = as_kept(form, values[layer])
            yield block, found

    def _is_read_faster(
        self, model: Model, layer: str, form: str, kept: dict[Block, bytes]
    ) -> bool:
        """Whether what is kept is read; on a machine that has measured nothing it is."""
        costs = self.costs(model)
        if not costs.knows(model.architecture):
            return True
        size = sum(self.catalogue.entries[address].size for address in kept.values())
        rows = sum(map(len, kept))
        read = costs.read(form, len(kept), size)
        load = costs.load_seconds(model.architecture)
        return read <= load + costs.recompute(model.architecture, layer, rows)

    def compute(
        self, model: Model, layers: Sequence[str], blocks: Iterable[Block], *, watched: bool = False
    ) -> Iterator[tuple[Block, dict[str, NDArray[Any]], dict[str, set[str]]]]:
        """Outputs of layers for blocks of rows, computed from the rows.

        Args:
            model: The model.
            layers: Names of layers.
            blocks: The blocks.
            watched: Whether to note which of the model's tensors are read.

        Yields:
            A block, values by layer, and names of the tensors that were read, by layer.
        """
        for name in layers:
            self.layer(model, name)
        for batch in _batches(blocks):
            net = self.network(model)
            from shoal.explore.intermediates.layers import activations

            x = model.release.rows.read_all(batch, "x")
            passed = activations(net, x, layers, watched=watched)
            self.recomputed += len(x)
            at = 0
            for block in batch:
                own = {name: v[at : at + len(block)] for name, v in passed.values.items()}
                at += len(block)
                yield block, own, passed.tensors

    def of_rows(self, model: Model, layer: str, x: NDArray[Any]) -> NDArray[Any]:
        """Outputs of a layer for rows that are given.

        Args:
            model: The model.
            layer: The layer.
            x: Encoded rows ``(rows, …)``.
        """
        if model.id == EMBEDDER:
            _check_embedding(layer)
            return self._embedder(model).embed(x)
        from shoal.explore.intermediates.layers import activations

        self.layer(model, layer)
        return activations(self.network(model), x, (layer,)).values[layer]

    def _embedder(self, model: Model) -> Embedder:
        """The embedder of a model's release; the last one stays in memory."""
        path = model.release.layout.file("embed_fit.embedder")
        if self._embedder_at is None or self._embedder_at[0] != path:
            from shoal.embed.embedder import load_embedder

            self._embedder_at = (path, load_embedder(path))
        return self._embedder_at[1]

    def network(self, model: Model) -> torch.nn.Module:
        """A model with its weights; the last one stays in memory."""
        if self._network is None or self._network[0] != model.id:
            clock = Clock()
            self._network = (model.id, self.models.network(model))
            # The first one's time has that of importing torch in it, as each command's has.
            self._load_seconds.setdefault(model.architecture, clock.seconds)
        return self._network[1]

    def _sample(self, model: Model) -> NDArray[Any]:
        """A few of a model's rows, for measurements."""
        rows = model.release.rows
        blocks = rows.blocks("own", model.partition) or rows.blocks("all")
        return rows.read_all(blocks[:_SIZED_BLOCKS], "x")

    def _bytes_a_row(self, model: Model, layer: str, form: str) -> float:
        rows = model.release.rows
        blocks = (rows.blocks("own", model.partition) or rows.blocks("all"))[:_SIZED_BLOCKS]
        found = self.compute(model, (layer,), blocks)
        return sum(len(frame(form, v[layer])) for _, v, _ in found) / sum(map(len, blocks))


@contextmanager
def naming(model: Model, layer: str, block: Block) -> Iterator[None]:
    """Let an error about values say whose they are."""
    try:
        yield
    except DataError as error:
        raise DataError(f"layer {layer!r} of model {model.name}, {block.name}: {error}") from None


def _batches(blocks: Iterable[Block]) -> Iterator[list[Block]]:
    """Blocks in batches of about as many rows."""
    batch: list[Block] = []
    for block in blocks:
        batch.append(block)
        if sum(map(len, batch)) >= _BATCH_ROWS:
            yield batch
            batch = []
    if batch:
        yield batch


def _check_embedding(layer: str) -> None:
    if layer != "embedding":
        raise ModelError(f"{EMBEDDER}: no layer {layer!r}; it has one, 'embedding'")
