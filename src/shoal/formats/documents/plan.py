"""Kinds of what the workflow writes about a run: its plan, its release, what failed."""

from __future__ import annotations

from typing import Any, NotRequired

from typing_extensions import TypedDict

from shoal.formats.documents.choice import Point
from shoal.formats.documents.prequential import OverTime

Hashes = dict[str, dict[str, str]]
"""Hashes of files by their names, for each folder."""


class LayoutRecord(TypedDict):
    """A :class:`shoal.plan.layout.Layout`."""

    root: str
    home: NotRequired[str]
    generation: str
    fits: dict[str, str]
    made: dict[str, str]
    shards: list[str]
    points: list[str]
    index_id: str
    release: str
    left_out: NotRequired[list[str]]
    slots: NotRequired[list[int]]
    goes_on: NotRequired[bool]
    probed: NotRequired[bool]
    grown: NotRequired[list[str]]
    compares: NotRequired[bool]
    previous: NotRequired[list[str]]
    after: NotRequired[str]
    bases: NotRequired[list[str]]


class PlanRecord(TypedDict):
    """``plan.json``."""

    release: str
    layout: LayoutRecord
    tolerance: float
    settings: dict[str, Any]
    codes: dict[str, str]
    changes: dict[str, Any]
    found: NotRequired[dict[str, str]]


class FailedSpecialist(TypedDict):
    """A specialist whose training failed at all its attempts.

    Attributes:
        folder: Its folder, ``…/specialists/ID/DIGEST/STEP/SLOT``.
        identity: Identity of its settings and code, or of the decision that filled its slot.
        digest: Digest of the rows that it should be trained on.
        step: Number of its step.
        slot: Id of its grid point; of a later step of a search, the name of its slot.
        reason: Why, in one line.
        log: Log of its job.
    """

    folder: str
    identity: str
    digest: str
    step: str
    slot: str
    reason: str
    log: str


class CopyOfRelease(TypedDict):
    """The copy of a release's pool.

    Attributes:
        id: Its identity.
        manifest: Its manifest, which its files lie beside.
    """

    id: str
    manifest: str


class Before(TypedDict):
    """Of the published release, what the next index is made from.

    Attributes:
        index_id: Its index.
        released: Partitions that are to wait no longer.
        search: Identity of how the slots of later steps of its searches were filled.
        left_out: Slots that it was made without.
        continues: Whether specialists may continue from its own.
        copy: The copy of its pool, where models start from what is deployed.
        moves: Share of their weights that moves, where they are trained a second time for it.
    """

    index_id: str
    released: list[int]
    search: str
    left_out: list[str]
    continues: bool
    copy: NotRequired[CopyOfRelease]
    moves: NotRequired[float]


class Previous(TypedDict):
    """The release before, whose pool scores the rows that have arrived since.

    Attributes:
        layout: Where its files lie; None where nothing is scored.
        arrived: Shards that it does not have, in the order of their source files.
        reason: Why nothing is scored; None where something is.
    """

    layout: LayoutRecord | None
    arrived: list[str]
    reason: str | None


class Channel(TypedDict):
    """Copies of a pool that are deployed, which the next one follows.

    Attributes:
        before: Manifest of the copy that it is made from; None at the first.
        bases: Manifests of the copies that patches are made from, by the copies' identities.
    """

    before: str | None
    bases: dict[str, str]


class SourceFile(TypedDict):
    """A source file, and its array names where it has such."""

    path: str
    arrays: list[dict[str, str]] | None


class RunRecord(TypedDict):
    """A settings file, see :mod:`shoal.plan.run_file`.

    Attributes:
        plan: What is kept of it with a release.
        experiment: Name of the experiment's file in ``config/experiment``.
        overrides: What was changed of it.
        fit_codes: Digest of the code behind each fit.
        sources: The source file of each shard.
        points: Values of the grid points by id.
        search: The steps of each search, see :meth:`shoal.search.steps.Steps.as_json`.
        before: The index that partitions may wait with, or continue from; None where neither.
        previous: The release before, for what has arrived since.
        channel: Deployed copies; not there without a channel.
        failed: The trainings that failed and that the pool is made without.
    """

    plan: PlanRecord
    experiment: str
    overrides: list[str]
    fit_codes: dict[str, str]
    sources: dict[str, SourceFile]
    points: dict[str, Point]
    search: dict[str, Any]
    before: Before | None
    previous: Previous
    channel: NotRequired[Channel]
    failed: list[FailedSpecialist]


class ChosenPoint(TypedDict):
    """A grid point by its id, and its values."""

    id: str
    values: Point


class Winner(TypedDict):
    """The grid point of a partition, and the digests of the rows that decided it."""

    partition: int
    train: str
    validation: str
    point: ChosenPoint


class _Released(PlanRecord):
    rows: str
    released: list[int]
    run: NotRequired[str]
    published: NotRequired[str]


class Release(_Released):
    """The record of what is published, or a line of the history."""

    winners: NotRequired[list[Winner]]
    over_time: NotRequired[OverTime]
    copy: NotRequired[CopyOfRelease]


class ReleaseNow(_Released):
    """The record of a release that says which grid points it chose."""

    winners: list[Winner]


class KeptModel(TypedDict):
    """A model of a release."""

    id: str
    kind: str
    partition: int | None
    point: str | None
    chosen: bool


class KeptRelease(TypedDict):
    """A release as it was kept, see :mod:`shoal.archive.keep`."""

    release: str
    number: int
    time: str
    generation: str
    metric: str
    score: dict[str, float]
    verdict: str
    model: dict[str, Any]
    training: NotRequired[dict[str, Any]]
    shapes: dict[str, Any]
    index: str
    models: list[KeptModel]
    removed: NotRequired[list[str]]


class ModelRecord(KeptModel):
    """The record of a kept model in the store of its tensors; of an imported one much is null.

    Attributes:
        parent: Id of the model that it continues from; of others, of the one that the release
            before had in its place.
        base: Id of the generation's base.
        digest: Digest of the rows that it is trained on, or its name if it continues.
        mixing: How it continues, if it does: :class:`shoal.settings.running.Mixing`.
    """

    parent: str | None
    base: str | None
    digest: str | None
    meta: dict[str, Any]
    release: str | None
    generation: int | None
    settings: str | None
    seed: int | None
    code: str | None
    environment: str | None
    ledger: dict[str, Any]
    mixing: NotRequired[dict[str, Any]]
    keep: NotRequired[str]
    recipe: NotRequired[dict[str, Any]]
    imported: NotRequired[str]


class Generation(TypedDict):
    """``generation.json``."""

    generation: int


class Replay(TypedDict):
    """``replay.json``: folder and generation, and which release was made in place of which."""

    of: str
    releases: list[list[str]]


class Growths(TypedDict):
    """``grown.json``: identities of the growths of an assigner, the first one first."""

    grown: list[str]


class PackMember(TypedDict):
    """A slot of a search that a pack trains, see :mod:`shoal.train_specialists.pack_command`."""

    folder: str
    digest: str
    step: int
    slot: str
    point: Point | None
    decision: str | None
    states: dict[str, str]
    log: str


class Failed(TypedDict):
    """``failed.json``."""

    specialists: list[FailedSpecialist]


class Answers(TypedDict):
    """The record of what compares an experiment's choices."""

    releases: dict[str, str]
    files: dict[str, str]


class RunSettings(TypedDict):
    """``settings.json``, as :class:`shoal.settings.Settings` writes it."""

    name: str
    generation: int
    sources: dict[str, Any]
    split: dict[str, Any]
    transform: dict[str, Any]
    cluster: dict[str, Any]
    model: dict[str, Any]
    train_specialists: dict[str, Any]
    search: NotRequired[dict[str, Any]]
    changes: NotRequired[dict[str, Any]]
    intermediates: NotRequired[dict[str, Any]]
