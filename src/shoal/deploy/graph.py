"""The network of a pool as an ONNX graph without weights, for devices without torch.

Weights are inputs of the graph, named as in the pool's files. So there is one graph for all
experts, it is the same in every release, and the bits of weights lie in one place.
"""

from __future__ import annotations

import logging
import shutil
import warnings
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from shoal.errors import ModelError, SettingsError
from shoal.formats.files import replacing
from shoal.formats.hashing import file_hash
from shoal.formats.json_file import read_json, write_json
from shoal.pool.manifest import MANIFEST
from shoal.pool.pool import Pool
from shoal.pool.sealed import Sealed
from shoal.training.model import predict
from shoal_edge.exact import BLOCK_ROWS
from shoal_edge.models import GRAPH, MLP

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

_ROWS = 2
"""Of the example that a network is traced with; any number may come."""
_NEAR = 1e-4
"""How far answers of the graph may be from those of torch, beside the largest one."""


class Added(NamedTuple):
    """What :func:`add_graph` did.

    Attributes:
        size: Bytes of the graph.
        difference: Largest difference of its answers from torch's, beside the largest answer.
    """

    size: int
    difference: float


def add_graph(folder: Path, out: Path, trust: Sequence[str] = ()) -> Added:
    """Copy a pool, with the graph of its network beside the weights.

    The graph answers random rows with the weights of each expert before anything is written.

    Args:
        folder: The pool.
        out: Folder of the copy, which is not there yet.
        trust: Modules outside Shoal that the model may be imported from.

    Raises:
        SettingsError: The copy is there, a package is not installed, or the pool needs no graph.
        ModelError: The network does not export, or the graph says something else.
    """
    if out.exists():
        raise SettingsError(f"{out}: is there already; the copy goes to a folder of its own")
    sealed = Sealed(folder)
    target = sealed.manifest.model.target
    if not needs_graph(target):
        raise SettingsError(f"{folder}: devices compute {target} by numpy; it needs no graph")
    check_packages("a graph")
    pool = Pool.load(folder, trust)
    graph, difference = graph_of(pool)
    for name in sealed.manifest.files:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, out / name)
    put_graph(graph, read_json(folder / MANIFEST, dict[str, Any]), out)
    return Added(len(graph), difference)


def needs_graph(target: str) -> bool:
    """Whether devices need a graph for a model, which is named by its class."""
    return target != MLP


def check_packages(what: str) -> None:
    """Refuse what needs a graph where no graph can be made.

    Args:
        what: What needs it.

    Raises:
        SettingsError: A package is not installed.
    """
    if not all(map(find_spec, ("onnx", "onnxscript", "onnxruntime"))):
        raise SettingsError(f"{what} needs more packages: pip install 'shoal[onnx]'")


def graph_of(pool: Pool) -> tuple[bytes, float]:
    """The graph of a pool's network, and how far its answers are from torch's.

    Raises:
        ModelError: The network does not export, or the graph says something else.
    """
    target = pool.manifest.model.target
    if pool.shapes.task == "own":
        raise ModelError(f"model {target}: has a loss of its own, which devices do not mix")
    graph = _graph_of_all(pool, target)
    return graph, _difference(pool, graph, target)


def put_graph(graph: bytes, manifest: dict[str, Any], folder: Path) -> None:
    """Write a graph, and then the manifest that lists it too.

    Args:
        graph: The graph.
        manifest: Content of the pool's manifest.
        folder: Where the pool's files lie.
    """
    with replacing(folder / GRAPH) as aside:
        aside.write_bytes(graph)
    files = manifest["files"] | {GRAPH: file_hash(folder / GRAPH)}
    write_json(folder / MANIFEST, manifest | {"files": files})


def _graph_of_all(pool: Pool, target: str) -> bytes:
    """The graph of each expert's network, which has to be one.

    Raises:
        ModelError: They are several.
    """
    from shoal.search.points import model_at

    networks: dict[str, torch.nn.Module] = {}
    points = {entry.partition: entry.point.values for entry in pool.manifest.specialists}
    for expert, net in pool.experts.models.items():
        settings = model_at(pool.manifest.model, points.get(expert, {})).as_json()
        networks.setdefault(repr(sorted(settings.items())), net)
    graphs = {_graph(pool, net, target) for net in networks.values()}
    if len(graphs) > 1:
        raise ModelError(
            f"model {target}: its specialists compute {len(graphs)} different things, by points of "
            f"the grid; a device takes one, with several weights"
        )
    return graphs.pop()


def _graph(pool: Pool, net: torch.nn.Module, target: str) -> bytes:
    """One network's graph, the same bytes for any weights."""
    import torch

    from shoal.training.model import blank_rows

    state = net.eval().state_dict()
    names = list(state)

    class Bare(torch.nn.Module):
        """The network, whose weights are arguments."""

        def forward(self, x: torch.Tensor, weights: list[torch.Tensor]) -> torch.Tensor:
            held = dict(zip(names, weights, strict=True))
            answer: torch.Tensor = torch.func.functional_call(net, held, (x,))
            return answer

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses torchvision
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's own parts
            program: Any = torch.onnx.export(
                Bare(),
                (blank_rows(pool.shapes, _ROWS), list(state.values())),
                input_names=["x", *names],
                output_names=["y"],
                dynamic_shapes=({0: torch.export.Dim("rows")}, [None] * len(names)),
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # torch has a class for each of its stages
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"model {target}: torch does not export it to ONNX ({reason})") from None
    return _stripped(program.model_proto)


def _stripped(model: Any) -> bytes:  # noqa: ANN401 - a message of onnx's, which has no types
    """A model without words about where it was made."""
    graph = model.graph
    model.producer_version = ""
    del graph.value_info[:]
    values = (*graph.input, *graph.output, *graph.initializer)
    for part in (model, graph, *graph.node, *values, *model.functions):
        part.doc_string = ""
        del part.metadata_props[:]
    return bytes(model.SerializeToString(deterministic=True))


def _difference(pool: Pool, graph: bytes, target: str) -> float:
    """Largest difference from torch over all experts.

    Raises:
        ModelError: It is more than rounding.
    """
    from shoal.training.model import weights
    from shoal_edge.errors import EdgeError
    from shoal_edge.models import Graph, softmax

    shapes = pool.shapes
    try:
        network = Graph(graph, shapes.x_dtype)
        x, largest = _random_rows(pool), 0.0
        for net in pool.experts.models.values():
            found, said = network(weights(net), x), predict(net, x, shapes.task)
            found = softmax(found) if shapes.classes else found
            with np.errstate(invalid="ignore"):
                each = float(np.max(np.abs(found - said)) / max(1.0, float(np.abs(said).max())))
            if not each <= _NEAR:
                raise ModelError(
                    f"model {target}: as a graph it answers otherwise than in torch, by {each:.2g}"
                )
            largest = max(largest, each)
    except EdgeError as error:
        raise ModelError(f"model {target}: {error}") from None
    return largest


def _random_rows(pool: Pool) -> NDArray[Any]:
    """Rows as encoders give them: about standardised numbers, or numbers of tokens."""
    rng, shapes = np.random.default_rng(0), pool.shapes
    size = (BLOCK_ROWS, *shapes.x_shape)
    if shapes.tokens is not None:
        return rng.integers(shapes.tokens, size=size)
    return rng.normal(size=size).astype(np.float32)
