"""Commands that search a partition's grid point: by rungs, or by proposals."""

from __future__ import annotations

from typing import Any, cast

from shoal.cli.options import File, Input, Inputs, Json, Paths, Seconds, Text, Threads
from shoal.formats.json_file import parse_json


def train_rung(
    model: Json,
    training: Json,
    point: Json,
    divisors: Json,
    slot: Text,
    index: File,
    digest: Text,
    base: Input,
    shapes: Input,
    out: File,
    state: File,
    ledger: File,
    threads: Threads,
    checkpoint_seconds: Seconds,
    ranking: Paths = [],  # noqa: B006 - typer reads the default, nobody changes it
    begun: Inputs = [],  # noqa: B006 - the same
) -> None:
    """Train one point on one rung of a successive halving."""
    from shoal.settings.learning import Model, Training
    from shoal.train_specialists.rungs import Candidate, Outputs, candidate_in, train_rung
    from shoal.training.determinism import deterministic

    deterministic(threads)
    listed = parse_json(divisors, "--divisors", list[int | None])
    ends = cast("tuple[int, int | None]", tuple(listed))
    if ranking:
        candidate = candidate_in(slot, ranking[0], begun, ends)
    else:
        candidate = Candidate(parse_json(point, "--point", dict[str, Any]), ends, None, None)
    train_rung(
        Model.from_text(model),
        Training.from_text(training),
        candidate,
        index,
        digest,
        base,
        shapes,
        Outputs(out, state, ledger),
        checkpoint_seconds,
    )


def train_rank(
    model: Json,
    index: File,
    digest: Text,
    validation: Text,
    base: Input,
    shapes: Input,
    specialist: Inputs,
    ranking: File,
    threads: Threads,
) -> None:
    """Rank the points of a rung on one half of its partition's validation rows."""
    from shoal.settings.learning import Model
    from shoal.train_specialists.rungs import train_rank
    from shoal.training.determinism import deterministic

    deterministic(threads)
    digests = (digest, validation)
    train_rank(Model.from_text(model), index, digests, base, shapes, specialist, ranking)


def train_propose(
    model: Json,
    proposing: Json,
    index: File,
    digest: Text,
    validation: Text,
    base: Input,
    shapes: Input,
    specialist: Inputs,
    proposals: File,
    threads: Threads,
    before: Inputs = [],  # noqa: B006 - typer reads the default, nobody changes it
) -> None:
    """Propose the points that one partition tries next, by what others have lost."""
    from shoal.settings.learning import Model
    from shoal.train_specialists.proposals import Proposer, train_propose
    from shoal.training.determinism import deterministic

    deterministic(threads)
    train_propose(
        Model.from_text(model),
        Proposer.from_text(proposing),
        before,
        index,
        (digest, validation),
        base,
        shapes,
        specialist,
        proposals,
    )


def train_trial(
    model: Json,
    training: Json,
    point: Json,
    slot: Text,
    index: File,
    digest: Text,
    base: Input,
    shapes: Input,
    out: File,
    ledger: File,
    threads: Threads,
    checkpoint_seconds: Seconds,
    proposals: Paths = [],  # noqa: B006 - typer reads the default, nobody changes it
) -> None:
    """Train one specialist at a point that was drawn first, or proposed later."""
    from shoal.settings.learning import Model, Training
    from shoal.train_specialists.command import train_specialist
    from shoal.train_specialists.proposals import proposed
    from shoal.training.determinism import deterministic

    deterministic(threads)
    train_specialist(
        Model.from_text(model),
        Training.from_text(training),
        proposed(slot, proposals[0]) if proposals else parse_json(point, "--point", dict[str, Any]),
        index,
        digest,
        base,
        shapes,
        out,
        ledger,
        checkpoint_seconds,
        may_diverge=True,
    )


COMMANDS = (train_rung, train_rank, train_propose, train_trial)
