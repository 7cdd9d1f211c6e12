"""Validation scores of all variants against the FLOPs of their training and of inference."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from typing_extensions import TypedDict

from shoal.formats.documents.ledger import Flops, LedgerRecord
from shoal.formats.documents.plan import RunRecord
from shoal.formats.json_file import read_made
from shoal.formats.ledger import training_flops
from shoal.plan.layout import Layout
from shoal.plan.paths import inputs
from shoal.plan.stages import STAGES
from shoal.report.curves import Point, Series, curves_svg

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from shoal.explore.answers.tables import Answers

TITLES = {"pool": "Pool, as shipped", "ungated": "Pool, ungated", "generalist": "Generalist"}
"""Contenders that validation rows score, in the order of the legend."""

_DECIMALS = 3


class _Gate(TypedDict):
    """Part of a gate's record, by contender: mean scores on validation rows, FLOPs of an answer."""

    shares: dict[str, float]
    validation: dict[str, float]
    inference_flops_per_row: dict[str, float]


class Costs(NamedTuple):
    """A variant's contenders by name: scores on validation rows, FLOPs of training and per row."""

    scores: Mapping[str, float]
    training: Mapping[str, float]
    inference: Mapping[str, float]


def costs(run: Path) -> Costs:
    """Scores and FLOPs of a variant's contenders.

    Args:
        run: The settings file of its run.
    """
    layout = Layout.from_json(read_made(run, RunRecord)["plan"]["layout"])
    index = layout.read_index()
    taken = inputs(layout, STAGES["evaluate"], {}, index)["ledgers"]
    assert isinstance(taken, list)  # noqa: S101 - there are several
    path = layout.file("gate.gate", index)
    gate, gate_cost = read_made(path, _Gate), read_made(path, Flops)
    ledgers = [read_made(each, LedgerRecord) for each in taken]
    own = layout.file("evaluate_generalist.ledger", index)
    generalist = training_flops([read_made(own, Flops)])
    whole = training_flops(ledgers)
    base = training_flops([each for each in ledgers if each["job"] == "base_fit"])
    # The base that the generalist went on from is among the pool's own ledgers.
    is_held = any(share < 1 for share in gate["shares"].values())
    held = generalist - base if is_held else 0.0
    shipped = whole + gate_cost["flops"] + held
    return Costs(
        gate["validation"],
        {"pool": shipped, "ungated": whole, "generalist": generalist},
        gate["inference_flops_per_row"],
    )


def curves(found: Mapping[str, Costs], answers: Answers) -> str:
    """Plot of the scores; the best of each contender is drawn full.

    Args:
        found: :func:`costs` of each variant, by its id.
        answers: The comparison, for the test score of the chosen pool.

    Returns:
        SVG; empty where there is one variant.
    """
    if len(found) < 2:
        return ""
    series = [Series(title, _points(list(found.values()), name)) for name, title in TITLES.items()]
    best = answers.variants[0]
    if answers.metric == "accuracy" and best["test"] is not None:  # else it is on another scale
        own = found[best["variant"]]
        flops = own.training["pool"], own.inference["pool"]
        point = Point(flops, best["test"], best["low"], best["high"])
        series.append(Series("Chosen pool, test score", [point]))
    return curves_svg(series, "validation score", _DECIMALS)


def _points(found: Sequence[Costs], name: str) -> list[Point]:
    most = max(each.scores[name] for each in found)
    return [
        Point(
            (each.training[name], each.inference[name]),
            each.scores[name],
            is_chosen=each.scores[name] == most,
        )
        for each in found
    ]
