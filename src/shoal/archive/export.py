"""One model as a file that other programs read."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from shoal.errors import ModelError, SettingsError
from shoal.formats.files import replacing
from shoal.formats.hashing import canonical_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import torch

    from shoal.archive.kept import Archive

    Program = tuple[torch.nn.Module, tuple[torch.Tensor]]

_ROWS = 2  # of the example that programs are traced with; any number may come


def export(archive: Archive, name: str, out: Path) -> None:
    """Write a model.

    safetensors hold the weights, and in their header where they come from. Programs take encoded
    rows, ``(rows, …)`` of float32, any number of them, and return what the user's model does:
    logits, or standardised numbers.

    Args:
        archive: The experiment's models.
        name: The model; see :meth:`Archive.find`.
        out: The file, ``.safetensors``, ``.onnx`` or ``.pt2``.

    Raises:
        SettingsError: The suffix is another, or a package for it is not installed.
        ModelError: There is no such model, it is a router, or it does not export.
    """
    writers: dict[str, Callable[[Archive, str, Path], None]] = {
        ".safetensors": _write_weights,
        ".onnx": _write_onnx,
        ".pt2": _write_program,
    }
    if out.suffix not in writers:
        raise SettingsError(f"{out}: write to one of {', '.join('*' + each for each in writers)}")
    writers[out.suffix](archive, archive.find(name), out)


def _write_weights(archive: Archive, model: str, out: Path) -> None:
    from safetensors.torch import save_file

    record = archive.store.record(model) | {"id": model}
    tensors = {name: each.contiguous() for name, each in archive.load(model, "torch").items()}
    with replacing(out) as aside:
        save_file(tensors, aside, metadata={"shoal": canonical_json(record)})


def _write_onnx(archive: Archive, model: str, out: Path) -> None:
    import logging
    import warnings
    from importlib.util import find_spec

    import torch

    if not (find_spec("onnx") and find_spec("onnxscript")):
        raise SettingsError(f"{out}: ONNX needs more packages: pip install 'shoal[onnx]'")
    net, example = _program(archive, model)
    rows = torch.export.Dim("rows")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses torchvision
    with replacing(out) as aside, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own parts
        torch.onnx.export(
            net,
            example,
            aside,
            input_names=["x"],
            output_names=["y"],
            dynamic_shapes=({0: rows},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def _write_program(archive: Archive, model: str, out: Path) -> None:
    import torch

    net, example = _program(archive, model)
    shapes = ({0: torch.export.Dim("rows")},)
    content = io.BytesIO()  # torch ends the process when a disk is full
    torch.export.save(torch.export.export(net, example, dynamic_shapes=shapes), content)
    with replacing(out) as aside:
        aside.write_bytes(content.getbuffer())


def _program(archive: Archive, model: str) -> Program:
    """The user's model with its weights, and rows to trace it with."""
    from shoal.formats.shapes import Shapes
    from shoal.search.points import model_at
    from shoal.settings.learning import Model
    from shoal.settings.section import parse
    from shoal.settings.targets import check_trust
    from shoal.training.model import blank_rows, trained_model

    record = archive.store.record(model)
    if record["kind"] == "router":
        raise ModelError(f"{model}: a router is no network; export it to a .safetensors file")
    made = archive.release_of(model)
    check_trust("the model", made["model"]["_target_"], archive.trust)
    shapes = Shapes(**made["shapes"])
    tensors = archive.load(model)
    point = record["meta"].get("point", {})
    at = model_at(parse(Model, made["model"], "model"), point)
    net = trained_model(at, shapes, tensors)
    return net.eval(), (blank_rows(shapes, _ROWS),)
