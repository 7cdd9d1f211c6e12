"""Command ``choose-variant``: the pool and the generalist that are scored on test rows."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shoal.errors import DataError
from shoal.formats.documents.judgement import GateRecord
from shoal.formats.documents.ledger import LedgerRecord
from shoal.formats.json_file import read_made, write_json
from shoal.formats.ledger import training_flops
from shoal.formats.provenance import made_from

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from shoal.formats.documents.judgement import VariantScores


@dataclass(frozen=True)
class Rival:
    """Files of a variant of which a pool and a generalist may be chosen.

    Attributes:
        variant: Its id.
        changes: Settings that tell it from the others.
        gate: Its gate, with the scores of its pool and its generalist on validation rows.
        ledgers: What making the pool cost, the gate aside.
        generalist: The generalist's ledger.
        random: That of random partitions.
        files: What a generalist is scored by: its ``model`` and ``ledger``, ``encoder`` and
            ``shapes``.
        asked: What its models say of test rows.
    """

    variant: str
    changes: Mapping[str, Any]
    gate: Path
    ledgers: Sequence[Path]
    generalist: Path
    random: Path
    files: Mapping[str, Path]
    asked: Sequence[Path]


def choose_variant(rivals: Sequence[Rival], out: Path) -> None:
    """Choose the best pool and the best generalist on validation rows.

    Of equals the one with fewer training FLOPs, then the first by id. Files that variants share are
    counted once in the cost of the search.

    Args:
        rivals: The variants, all with the same seed and split.
        out: The choice, with the scores of all, and the files by which the generalist is scored.

    Raises:
        DataError: They were compared on different numbers of rows.
    """
    gates = [read_made(each.gate, GateRecord) for each in rivals]
    cost: dict[Path, float] = {}
    scores: list[VariantScores] = []
    whole, held = 0.0, 0.0
    beside: dict[Path, float] = {}
    for each, gate in zip(rivals, gates, strict=True):
        if gate["scored"] != gates[0]["scored"]:
            raise DataError(
                f"{each.gate}: {gate['scored']} validation rows, but {gates[0]['scored']} of "
                f"variant {rivals[0].variant}; variants of one seed and split are compared on the "
                f"same rows"
            )
        ledgers = {path: read_made(path, LedgerRecord) for path in (*each.ledgers, each.gate)}
        own = {path: training_flops([ledger]) for path, ledger in ledgers.items()}
        base = training_flops([one for one in ledgers.values() if one["job"] == "base_fit"])
        generalist, by_chance = (
            training_flops([read_made(path, LedgerRecord)])
            for path in (each.generalist, each.random)
        )
        beside[each.generalist], beside[each.random] = generalist - base, by_chance - base
        # The base that the generalist went on from is among the pool's own ledgers.
        holds = generalist - base if any(share < 1 for share in gate["shares"].values()) else 0.0
        cost |= own
        whole, held = whole + generalist, held + holds
        scores.append(
            {
                "variant": each.variant,
                "changes": dict(each.changes),
                "pool": gate["validation"]["pool"],
                "generalist": gate["validation"]["generalist"],
                "pool_flops": sum(own.values()) + holds,
                "generalist_flops": generalist,
                "error": gate["error"],
            }
        )
    pool = min(scores, key=lambda one: (-one["pool"], one["pool_flops"], one["variant"]))
    best = min(
        scores, key=lambda one: (-one["generalist"], one["generalist_flops"], one["variant"])
    )
    asked = {each.gate for each in rivals}
    trainings = sum(flops for path, flops in cost.items() if path not in asked)
    (taken,) = (each for each in rivals if each.variant == best["variant"])
    content = {
        "rows": gates[0]["scored"],
        "units": gates[0]["units"],
        "pool": pool["variant"],
        "generalist": best["variant"],
        "variants": scores,
        "pools_flops": sum(cost.values()) + held,
        "generalists_flops": whole,
        "spent": trainings + sum(beside.values()),
        "files": {
            name: os.path.relpath(path, out.parent) for name, path in sorted(taken.files.items())
        },
        "asked": [os.path.relpath(path, out.parent) for path in taken.asked],
    }
    write_json(out, content | made_from())
