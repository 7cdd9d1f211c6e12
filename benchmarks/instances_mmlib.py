"""MMlib's approaches to keep models that are derived from each other, rebuilt for a comparison.

*Baseline* keeps a model whole, *update* the tensors that changed and hashes of all, *provenance*
how it was trained, and trains it again. One by one: Strassenburg, Tolovski, Rabl 2022, "Efficiently
Managing Deep Learning Models in a Distributed Environment". As sets, all models of a round in one
file of parameters end to end: Strassenburg, Kupfer, Kowal, Rabl 2023, "Efficient Multi-Model
Management". What they keep in MongoDB is a JSON file here, without the environment, and a model is
a mapping from names to tensors, which needs no code to build: both are favourable to them.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Model = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Round:
    """What a round did.

    Attributes:
        models: All models after it.
        changed: Of those that were adapted, the names of tensors that differ.
        train: Adapts them again, from the models before.
    """

    models: list[Model]
    changed: dict[int, list[str]]
    train: Callable[[list[Model]], list[Model]]


class Way(ABC):
    """A way to keep all models of all rounds.

    Attributes:
        name: Its name in the table.
        parameters: Bytes of parameters that it has written.
    """

    name: str

    def __init__(self, folder: Path, rounds: list[Round]) -> None:
        self.folder = folder
        self.rounds = rounds
        self.parameters = 0

    @abstractmethod
    def save(self, number: int) -> None:
        """Keep what a round did."""

    @abstractmethod
    def recover(self, number: int) -> list[Model]:
        """All models after a round."""

    def one(self, number: int, instance: int) -> Model:
        """One model after a round; of a set all are recovered."""
        return self.recover(number)[instance]

    @abstractmethod
    def predicted(self) -> int:
        """Bytes of parameters by the papers' formulas: all, those that changed, or none."""

    def _write(self, name: str, content: bytes) -> None:
        (self.folder / name).write_bytes(content)

    def _note(self, name: str, content: object) -> None:
        self._write(f"{name}.json", json.dumps(content).encode())

    def _noted(self, name: str) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = json.loads((self.folder / f"{name}.json").read_bytes())
        return found

    def _last(self, number: int, instance: int) -> int:
        """The round in which an instance changed last."""
        return next(n for n in range(number, -1, -1) if not n or instance in self.rounds[n].changed)


def _size(model: Model) -> int:
    return sum(tensor.nbytes for tensor in model.values())


def _hashes(model: Model) -> dict[str, str]:
    return {name: hashlib.md5(t.numpy().data).hexdigest() for name, t in model.items()}  # noqa: S324


def _parameters(models: list[Model]) -> bytes:
    content = bytearray()
    for model in models:
        for tensor in model.values():
            content += tensor.numpy().tobytes()
    return bytes(content)


def _model(data: bytearray, start: int, like: Model) -> Model:
    found = {}
    for name, tensor in like.items():
        part = torch.frombuffer(data, dtype=tensor.dtype, count=tensor.numel(), offset=start)
        found[name] = part.reshape(tensor.shape)
        start += tensor.nbytes
    return found


class BaselineSet(Way):
    """All parameters of all models, each round."""

    name = "baseline, sets"

    def save(self, number: int) -> None:
        """Keep what a round did."""
        content = _parameters(self.rounds[number].models)
        self._write(f"{number}.bin", content)
        self._note(f"{number}", {"class": "MLP", "code": "mlp.py"})
        self.parameters += len(content)

    def recover(self, number: int) -> list[Model]:
        """All models after a round."""
        data = bytearray((self.folder / f"{number}.bin").read_bytes())
        like = self.rounds[0].models[0]
        return [_model(data, at, like) for at in range(0, len(data), _size(like))]

    def predicted(self) -> int:
        """Bytes of parameters by the formula."""
        return sum(_size(model) for each in self.rounds for model in each.models)


class UpdateSet(BaselineSet):
    """What changed by hashes of all tensors of all models, each round."""

    name = "update, sets"

    def save(self, number: int) -> None:
        """Keep what a round did."""
        models = self.rounds[number].models
        hashes = [_hashes(model) for model in models]
        if not number:
            super().save(0)
            self._note("hashes-0", hashes)
            return
        before = json.loads((self.folder / f"hashes-{number - 1}.json").read_bytes())
        changed = {
            i: names
            for i, (old, new) in enumerate(zip(before, hashes, strict=True))
            if (names := [name for name in new if old[name] != new[name]])
        }
        content = _parameters([{n: models[i][n] for n in names} for i, names in changed.items()])
        self._write(f"{number}.bin", content)
        self._note(f"{number}", changed)
        self._note(f"hashes-{number}", hashes)
        self.parameters += len(content)

    def recover(self, number: int) -> list[Model]:
        """All models after a round."""
        if not number:
            return super().recover(0)
        models = self.recover(number - 1)
        data, at = bytearray((self.folder / f"{number}.bin").read_bytes()), 0
        for instance, names in self._noted(f"{number}").items():
            like = {name: models[int(instance)][name] for name in names}
            models[int(instance)] |= _model(data, at, like)
            at += _size(like)
        return models

    def predicted(self) -> int:
        """Bytes of parameters by the formula."""
        first, *later = self.rounds
        sizes = [
            sum(each.models[i][name].nbytes for name in names)
            for each in later
            for i, names in each.changed.items()
        ]
        return sum(map(_size, first.models)) + sum(sizes)


class ProvenanceSet(BaselineSet):
    """The first round whole, then training and the data's place."""

    name = "provenance, sets"

    def save(self, number: int) -> None:
        """Keep what a round did."""
        if not number:
            super().save(0)
            return
        places = {i: f"data/round-{number}/instance-{i}" for i in self.rounds[number].changed}
        training = {"optimizer": "AdamW", "lr": 0.001, "steps": 50, "batch": 64}
        self._note(f"{number}", {"base": number - 1, "training": training, "data": places})

    def recover(self, number: int) -> list[Model]:
        """All models after a round."""
        models = super().recover(0)
        for each in self.rounds[1 : number + 1]:
            models = each.train(models)
        return models

    def predicted(self) -> int:
        """Bytes of parameters by the formula."""
        return sum(map(_size, self.rounds[0].models))


class Baseline(Way):
    """A file for each model that changed."""

    name = "baseline, one by one"

    def save(self, number: int) -> None:
        """Keep what a round did."""
        each = self.rounds[number]
        for instance in each.changed if number else [0]:  # all begin alike: as one
            model = each.models[instance]
            kept = self._kept(number, instance, model)
            torch.save(kept, self.folder / f"{number}-{instance}.pt")
            self.parameters += _size(kept)

    def _kept(self, number: int, instance: int, model: Model) -> Model:
        self._note(f"{number}-{instance}", {"class": "MLP", "hashes": _hashes(model)})
        return model

    def recover(self, number: int) -> list[Model]:
        """All models after a round."""
        return [self.one(number, instance) for instance in range(len(self.rounds[0].models))]

    def one(self, number: int, instance: int) -> Model:
        """One model after a round."""
        last = self._last(number, instance)
        model = self._read(last, instance if last else 0)
        noted = self._noted(f"{last}-{instance if last else 0}")
        if _hashes(model) != noted["hashes"]:
            raise ValueError(f"model {instance} of round {last}")
        return model

    def _read(self, last: int, instance: int) -> Model:
        found: Model = torch.load(self.folder / f"{last}-{instance}.pt", weights_only=True)
        return found

    def predicted(self) -> int:
        """Bytes of parameters by the formula."""
        later = [_size(each.models[i]) for each in self.rounds[1:] for i in each.changed]
        return _size(self.rounds[0].models[0]) + sum(later)


class Update(Baseline):
    """A file for each model that changed, with the tensors that did."""

    name = "update, one by one"

    def _kept(self, number: int, instance: int, model: Model) -> Model:
        super()._kept(number, instance, model)
        if not number:
            return model
        last = self._last(number - 1, instance)
        before = self._noted(f"{last}-{instance if last else 0}")["hashes"]
        own = self._noted(f"{number}-{instance}")["hashes"]
        return {name: model[name] for name in model if own[name] != before[name]}

    def _read(self, last: int, instance: int) -> Model:
        found = super()._read(last, instance)
        if not last:
            return found
        before = self._last(last - 1, instance)
        return self._read(before, instance if before else 0) | found

    def predicted(self) -> int:
        """Bytes of parameters by the formula."""
        first, *later = self.rounds
        sizes = [
            each.models[i][n].nbytes
            for each in later
            for i, names in each.changed.items()
            for n in names
        ]
        return _size(first.models[0]) + sum(sizes)


WAYS = (BaselineSet, UpdateSet, ProvenanceSet, Baseline, Update)
