"""The archive of an experiment: every model of every release, by release and by name."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from shoal.archive.recipes import (
    is_rows,
    lacks,
    lost_rows,
    recipe_of,
    recovery_seconds,
    trained_again,
)
from shoal.errors import ModelError, SourceError, nearest
from shoal.formats.documents.plan import KeptModel, KeptRelease
from shoal.formats.hashing import settings_id
from shoal.formats.json_file import read_json, update_json, write_json
from shoal.model_store.tensors import tree_of
from shoal.plan.history import STORE
from shoal.terminal import say

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence, Set
    from pathlib import Path

    from shoal.model_store import ModelStore
    from shoal.model_store.store import Framework
    from shoal.model_store.tensors import Tensors, Tree
    from shoal.plan.layout import Layout

KEPT = "models"
"""Folder with a file per release, which lists its models; beside what is published."""
_TAGS = "tags.json"
_IMPORTED = "imported.json"
_FEW = 4  # digits that abbreviate an id


class Role(NamedTuple):
    """The role of a model in a release: its successor in the next release has the same."""

    kind: str
    partition: int | None
    point: str | None


class Key(NamedTuple):
    """Key of a kept model; its record holds it.

    Attributes:
        kind: ``base``, ``generalist``, ``router`` or ``specialist``.
        made_of: Identity of settings, code and all that it was trained from but its rows.
        rows: Digest of the rows, or the name of a link; of what is fitted once, the generation.
        point: Id of its grid point, if it has one.
    """

    kind: str
    made_of: str
    rows: str
    point: str | None = None

    @property
    def identity(self) -> str:
        """A hash of it, with which the model's id begins."""
        return settings_id(*self)


def specialist_key(layout: Layout, digest: str, point: str) -> Key:
    """Key of a specialist.

    Args:
        layout: A layout by whose settings and code it is trained.
        digest: Digest of its rows, or its name if it continues.
        point: Id of its grid point.
    """
    # Halving cuts trainings short, so it is part of what their weights are made from.
    made_of = layout.made["choices" if layout.goes_on else "specialists"]
    return Key("specialist", made_of, digest, point)


def generalist_key(layout: Layout, name: str) -> Key:
    """Key of a generalist, by its name in the layout's indexes."""
    return Key("generalist", layout.fits["baselines"], f"{layout.generation}/{name}")


def model_id(identity: str, tensors: Mapping[str, object]) -> str:
    """Id of a model: what it was made from, and six digits of what it is."""
    return f"{identity}-{tree_of(tensors).root[:6]}"


def has_weights(model: str | None, tensors: Mapping[str, object]) -> bool:
    """Whether a model's id is that of these tensors."""
    return model is not None and model == model_id(model.split("-", maxsplit=1)[0], tensors)


def role_of(listed: KeptModel) -> Role:
    """The role of a model as a release lists it."""
    return Role(listed["kind"], listed["partition"], listed["point"])


def kept_files(home: Path) -> list[Path]:
    """Files that list a release's models, the oldest first; a name ends in the release's id."""
    return sorted((home / KEPT).glob("[!.]*.json"))


def is_of(path: Path, release: str) -> bool:
    """Whether one of these files is of a release."""
    return path.stem.endswith(f"-{release}")


def keep_release(home: Path, record: Mapping[str, object]) -> None:
    """List a release's models in a file; a release that is published again at once has one.

    Args:
        home: The folder of what is published.
        record: ``release`` and ``models`` among others.
    """
    files = kept_files(home)
    again = bool(files) and is_of(files[-1], str(record["release"]))
    number = len(files) + (not again)
    content = {"number": number, **record}
    write_json(home / KEPT / f"{number:06d}-{record['release']}.json", content)


@dataclass(frozen=True)
class Archive:
    """All models that an experiment, or one of its variants, has kept.

    Attributes:
        home: The folder of what is published: ``results/NAME``, or a variant's.
        trust: Modules outside Shoal from which a model that is trained again may be imported.
    """

    home: Path
    trust: Sequence[str] = ()

    @cached_property
    def releases(self) -> list[KeptRelease]:
        """Releases and their models, the oldest first.

        Raises:
            SourceError: Nothing was kept here.
        """
        found = [read_json(path, KeptRelease) for path in kept_files(self.home)]
        if not found:
            raise SourceError(f"{self.home}: no release was kept here; give an experiment")
        return found

    @property
    def root(self) -> Path:
        """The experiment's results folder, where the store lies that its variants share."""
        folders = (self.home, *self.home.parents)
        return next((f for f in folders if (f / STORE).is_dir()), self.home)

    @cached_property
    def store(self) -> ModelStore:
        """The store of their tensors.

        Raises:
            SourceError: There is none.
        """
        from shoal.model_store import ModelStore

        folder = self.root / STORE
        if not folder.is_dir():
            raise SourceError(f"{self.home}: no models were kept here; give an experiment")
        return ModelStore(folder)

    def load(self, model: str, framework: Framework = "numpy") -> Tensors:
        """A model's weights as :meth:`ModelStore.load` gives them; by its recipe if it has one.

        Raises:
            ModelError: There is no such model, or something that its recipe needs is gone.
            RecoveryError: It was trained again and has other bits.
        """
        recipe = recipe_of(self.store, model)
        if recipe is None:
            return self.store.load(model, framework)
        tensors, seconds = trained_again(self.store, model, recipe, self.trust)
        predicted = recovery_seconds(self.store, model)
        say(f"{model}: trained again in {seconds:.3g} s, {predicted:.3g} s predicted")
        if framework == "numpy":
            return tensors
        import torch

        return {name: torch.from_numpy(each) for name, each in tensors.items()}

    def tree(self, model: str) -> Tree:
        """The Merkle tree of a model; nothing is trained for it."""
        recipe = recipe_of(self.store, model)
        return self.store.tree(model) if recipe is None else recipe.tree

    def release_of(self, model: str) -> KeptRelease:
        """The last release that has a model; of an imported one, the last of all.

        Raises:
            ModelError: None has.
        """
        releases: list[KeptRelease] = self.releases
        for release in releases[::-1]:
            if model in self.imported or any(each["id"] == model for each in release["models"]):
                return release
        raise ModelError(
            f"{self.home}: no release here has model {model!r}; look among the variants"
        )

    @property
    def models(self) -> list[str]:
        """Ids of all models, of other variants too."""
        return [each for each in self.store.ids() if not is_rows(each)]

    @property
    def tags(self) -> dict[str, str]:
        """Ids of models by the names that people gave them."""
        path = self.home / _TAGS
        return dict(read_json(path, dict[str, str])) if path.exists() else {}

    def tag(self, name: str, model: str) -> str:
        """Give a model a name; returns its id.

        Raises:
            ModelError: There is no such model, or the name could be mistaken for another.
        """
        self.check_tag(name)
        found = self.find(model)
        update_json(self.home / _TAGS, lambda tags: tags | {name: found})
        return found

    def check_tag(self, name: str) -> None:
        """Refuse a name that could be mistaken for another.

        Raises:
            ModelError: It could.
        """
        if not name or ":" in name or name in self.store:
            raise ModelError(f"tag {name!r}: an empty name, an id, or one with a colon")

    @property
    def imported(self) -> dict[str, dict[str, str]]:
        """File and time of imported models, by id."""
        path = self.home / _IMPORTED
        return dict(read_json(path, dict[str, dict[str, str]])) if path.exists() else {}

    def note_import(self, model: str, file: str, time: str) -> None:
        """Record that a model was imported."""
        facts = {"file": file, "time": time}
        update_json(self.home / _IMPORTED, lambda imported: imported | {model: facts})

    def find(self, name: str) -> str:
        """Id of a model.

        Args:
            name: An id or its first digits; a tag; or ``[RELEASE:]WHICH``, where the release is a
                number or an id, the last one if it is left out, and which is ``base``,
                ``generalist``, ``router``, or a partition, for its chosen specialist.

        Raises:
            ModelError: There is no such model, or there are several.
        """
        if name in self.tags:
            return self.tags[name]
        release, _, which = name.rpartition(":")
        listed = {which_of(each): each["id"] for each in self._models(release) if each["chosen"]}
        if which in listed:
            return str(listed[which])
        ids = [i for i in self.models if len(name) >= _FEW and i.startswith(name)]
        if len(ids) == 1:
            return ids[0]
        known = (*listed, *self.tags)
        several = f"{len(ids)} ids begin so" if ids else nearest(which, known)
        raise ModelError(f"{self.home}: model {name!r} is unknown; {several}")

    def _models(self, release: str) -> list[KeptModel]:
        if not release:
            return self.releases[-1]["models"]
        for each in self.releases:
            if release in (str(each["number"]), each["release"]):
                return each["models"]
        numbers = [str(each["number"]) for each in self.releases]
        raise ModelError(
            f"{self.home}: release {release!r} is unknown; {nearest(release, numbers)}"
        )

    def changes(self) -> Iterator[tuple[KeptRelease, list[KeptModel], int]]:
        """Each release, its models that the one before lacks, and how many of that one it lacks."""
        before: set[str] = set()
        for release in self.releases:
            ids = {each["id"] for each in release["models"]}
            yield (
                release,
                [each for each in release["models"] if each["id"] not in before],
                len(before - ids),
            )
            before = ids


def which_of(listed: KeptModel) -> str:
    """The name of a model within its release: its partition, or its kind."""
    partition = listed["partition"]
    return str(listed["kind"] if partition is None else partition)


def problems(root: Path, store: ModelStore) -> list[str]:
    """A line per damage to an experiment's store, and per release of which it lacks models.

    A store that was emptied, or replaced by an older copy, is sound by itself: the releases tell
    which models it must have, less those that were removed on purpose.

    Args:
        root: The experiment's results folder.
        store: Its model store.
    """
    found = store.fsck()
    if found:
        return found
    ids = set(store.ids())
    return [*_lost_models(root, store.place, ids), *_broken_recipes(store, ids)]


def _lost_models(root: Path, place: str, ids: Set[str]) -> Iterator[str]:
    """A line per release, and per variant's named models, of which the store lacks some."""
    from shoal.plan.plan import homes

    for home in homes(root):
        wanted = {}
        for path in kept_files(home):
            release = read_json(path, KeptRelease)
            listed = {each["id"] for each in release["models"]}
            wanted[f"release {release['number']}"] = listed - set(release.get("removed", ()))
        kept = Archive(home)
        wanted["tags"] = set(kept.tags.values())
        wanted["imported models"] = set(kept.imported)
        for name, models in wanted.items():
            lost = sorted(models - ids)
            if lost:
                yield (
                    f"{place}: lacks {len(lost)} of {len(models)} models of {home}, {name}, "
                    f"such as {lost[0]}; it was emptied or is an older copy"
                )


def _broken_recipes(store: ModelStore, ids: Set[str]) -> Iterator[str]:
    """A line per model that a recipe needs and the store lacks, and so for its rows."""
    for model in sorted(ids):
        recipe = recipe_of(store, model)
        if recipe is not None and not lost_rows(store, model):
            for _, each in lacks(store, model, recipe):
                yield f"{store.place}: model {model} is kept as a recipe, and {each} is gone"
