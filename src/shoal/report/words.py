"""Names and sentences about an evaluation, for pages and terminals."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from shoal.formats.scores import SCORES
from shoal.formats.text import (
    count_text,
    flops_text,
    score_decimals,
    share_text,
    significant_text,
    value_text,
)
from shoal.formats.units import units_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shoal.formats.documents.judgement import (
        Advice,
        Check,
        GateSummary,
        Lack,
        Leaks,
        Metrics,
        Repeated,
        Scores,
        Search,
        Spellings,
        TellingColumn,
    )
    from shoal.formats.documents.mixes import Mixes
    from shoal.formats.kinds import Metric

CONTENDERS = {
    "pool_top1": "Pool, top 1",
    "pool_top2": "Pool, top 2",
    "ungated": "Pool, ungated",
    "generalist": "Generalist",
    "same_model": "Generalist, same model",
    "random_partitions": "Random partitions",
    "linear_model": "Linear model",
    "boosted_trees": "Boosted trees",
    "constant": "Constant",
}
"""Titles of the contenders in ``metrics.json``, in the order in which they are shown."""

NEAR_SHARE = 0.01
"""Share of held-out rows near to training rows, beyond chance, that is worth a warning."""


def contenders(metrics: Metrics) -> dict[str, Scores]:
    """The contenders in ``metrics``: the known ones in their order, then any other with a score."""
    content = cast("Mapping[str, object]", metrics)
    return {
        name: cast("Scores", content[name])
        for name in dict.fromkeys([*CONTENDERS, *content])
        if isinstance(numbers := content.get(name), dict) and "score" in numbers
    }


def contender_title(name: str) -> str:
    """Title of a contender; one that is not known gets its name in plain words."""
    return CONTENDERS.get(name, name.replace("_", " ").capitalize())


def best(metric: Metric, scores: Mapping[str, float]) -> set[str]:
    """Names that share the best score."""
    sign = SCORES[metric].sign
    top = max(sign * score for score in scores.values())
    return {name for name, score in scores.items() if sign * score == top}


def metrics_decimals(metrics: Metrics) -> int:
    """Decimals for every score of an experiment, so that its columns line up."""
    difference = metrics["difference"]
    pair = [metrics[metrics["shipped"]]["score"], metrics["generalist"]["score"]]
    ends = [end for end in (difference["low"], difference["high"]) if end is not None]
    return score_decimals(metrics["metric"], pair, ends)


def held_out(metrics: Metrics, noun: str = "") -> str:
    """Test rows, and of how many units where they belong together: ``412 of 42 groups``.

    Args:
        metrics: Content of ``metrics.json``.
        noun: Follows the number of rows.
    """
    units = metrics.get("units")  # earlier runs had none
    rows = count_text(metrics["rows"]["test"]) + (noun and f" {noun}")
    if units is None or units["kind"] is None:
        return rows
    return f"{rows} of {units_text(units['test'], units['kind'])}"


def gate_line(gate: GateSummary) -> str:
    """Say in a few sentences who answers the test rows, and why."""
    specialists, kind = gate["specialists"], gate["kind"]
    if not specialists:
        return "Gate: no partition has a specialist."
    units, least = gate["units"], gate["least_units"]
    where = f"{units_text(units, kind)} of validation" if kind else "validation rows"
    aside = "so the pool steps aside: it is the generalist."
    if units < least:
        return (
            f"Gate: {units_text(units, kind)} of validation are too few to compare specialists "
            f"with the generalist, which takes {least}, {aside}"
        )
    if not gate["serving"]:
        return (
            f"Gate: on {where} the {specialists} specialists do not beat the generalist, alone or "
            f"mixed with it, {aside}"
        )
    asked = "Two specialists are asked per row. " if gate["softness"] else ""
    start = f"Gate: specialists beat the generalist on {where}. {asked}"
    answered = gate["answered"]
    if not answered["both"] and not answered["generalist"]:
        return f"{start}They answer alone."
    alone, both, whole = (
        share_text(answered[name]) for name in ("specialist", "both", "generalist")
    )
    return (
        f"{start}They answer {alone} of test rows alone and {both} together with the generalist, "
        f"which answers {whole} alone: {gate['models_per_row']:.2f} models per row. Its training "
        f"is counted as the pool's."
    )


def search_line(search: Search) -> str:
    """Say what was chosen among, and the cost of the search on both sides."""
    pools, generalists = (flops_text(search[name]) for name in ("pools_flops", "generalists_flops"))
    return (
        f"Search: pool and generalist were chosen among {len(search['variants'])} variants on "
        f"{count_text(search['rows'])} validation rows; training took {pools} for all pools and "
        f"{generalists} for all generalists."
    )


def not_chosen_text(search: Search, own: str) -> str:
    """Say whose pool was chosen on validation rows.

    Args:
        search: The choice.
        own: Id of the variant whose pool was not.
    """
    scores = {one["variant"]: one for one in search["variants"]}
    chosen = scores[search["pool"]]
    settings = ", ".join(f"{name} {value_text(v)}" for name, v in chosen["changes"].items())
    best, score = (significant_text(one["pool"]) for one in (chosen, scores[own]))
    generalist = " Its generalist was chosen, and is scored there." * (search["generalist"] == own)
    return (
        f"Not chosen: of {len(scores)} variants the search took the pool of {search['pool']} "
        f"({settings}) on {count_text(search['rows'])} validation rows, {best} against {score} "
        f"here; test rows score the chosen alone.{generalist}"
    )


def critical_rows(metrics: Metrics) -> list[tuple[str, list[float]]]:
    """Titles of pool and generalist, and the critical path of each on all numbers of nodes."""
    found = metrics["critical_path"]
    return [
        ("Pool, before its gate", found["ungated"]),
        ("Pool, as shipped", found["pool"]),
        ("Generalist", found["generalist"]),
    ]


def is_outdone(metrics: Metrics) -> bool:
    """Whether the pool is clearly worse than a usual model of tables."""
    return any("pool" in each["worse"] for each in metrics["against_usual"])


def critical_line(metrics: Metrics) -> str:
    """Say how long the pool's critical path is, on 8 nodes."""
    found = metrics["critical_path"]
    pool, generalist = (found[name][found["nodes"].index(8)] for name in ("ungated", "generalist"))
    share = f"{pool / generalist:.2f} of the generalist's" if generalist else flops_text(pool)
    return f"Critical path on 8 nodes, before the gate: {share}."


def incomplete_line(lack: Lack) -> str:
    """Say what a partition lacks because training failed, and why."""
    without = "a specialist"
    if lack["specialist"]:
        count = len(lack["points"])
        without = f"{count} grid point{'s' if count > 1 else ''}"
    reasons = "; ".join(lack["reasons"]) or "its training failed"
    return f"incomplete: partition {lack['partition']} without {without}, because {reasons}"


def growth_text(partitions: int, rows: int) -> str:
    """Say how many partitions are added, and for how many rows."""
    new = "1 new partition" if partitions == 1 else f"{partitions} new partitions"
    return f"{new} for {count_text(rows)} training rows of a new kind"


def mixes_text(mixes: Mixes) -> str:
    """Say by which mix models continue, and why."""
    told = {each["history"]: (_mix_text(each["history"]), each["loss"]) for each in mixes["mixes"]}
    chosen, loss = told.pop(mixes["history"])
    said = f"Models continue {chosen}"
    if mixes["reason"] is not None:
        return f"{said}; mixes were not compared: {mixes['reason']}"
    others = ", ".join(f"{_loss_text(other)} {mix}" for mix, other in told.values())
    rows = f"{count_text(mixes['rows'])} rows that arrived"
    return f"{said}: mean loss {_loss_text(loss)} on {rows}, {others}"


def _mix_text(history: float) -> str:
    return f"with {history:g} rows of history for each new row" if history else "by new rows alone"


def _loss_text(loss: float | None) -> str:
    return "not finite" if loss is None else f"{loss:.4g}"


def advice_text(advice: Advice) -> str:
    """Say what a drift report recommends, and why."""
    numbers = ", ".join(map(str, advice["partitions"]))
    what = {
        "keep": "Keep everything",
        "retrain": f"Retrain partition{'s' if len(advice['partitions']) > 1 else ''} {numbers}",
        "refit": "Refit the generation",
        "grow": "Grow (`shoal grow`)",
    }
    return f"{what[advice['action']]}: {advice['reason']}."


def doubt_lines(found: Check | Metrics) -> list[str]:
    """Warn of each leak and each value that seems to have several spellings.

    Args:
        found: Result of ``split-check``, or metrics that hold it.
    """
    # Earlier runs recorded neither.
    leaks = leak_lines(found["leaks"]) if "leaks" in found else []
    return [*leaks, *map(_spelling_line, found.get("spellings", []))]


def leak_lines(leaks: Leaks) -> list[str]:
    """Warn of each kind of leak that was found; no lines for clean data."""
    exact, near = leaks["exact"], leaks["near"]
    lines = []
    if exact["rows"]:
        lines.append(
            f"leak? {_share_of(exact)} held-out rows have the same inputs as a row of an earlier "
            f"fold; keep one of each, or split so that they stay together"
        )
    by_chance = near["by_chance"]
    if near["rows"] - by_chance > NEAR_SHARE * near["of"] + 3 * by_chance**0.5:
        lines.append(
            f"leak? {_share_of(near)} held-out rows are almost the same as a training row, "
            f"{by_chance:.0f} by chance; split so that they stay together, by group or similarity"
        )
    return [*lines, *map(_column_line, leaks["columns"])]


def checked_line(leaks: Leaks) -> str:
    """Say how many rows the leak check has compared."""
    exact, near = leaks["exact"]["of"], leaks["near"]["of"]
    return (
        f"{count_text(exact)} held-out rows were compared with training rows for equal inputs, "
        f"{count_text(near)} of them for similar ones, and each column was asked for the label."
    )


def _share_of(counts: Repeated) -> str:
    share = share_text(counts["rows"] / counts["of"])
    return f"{count_text(counts['rows'])} of {count_text(counts['of'])} ({share})"


def _column_line(found: TellingColumn) -> str:
    if found["constant"]:
        how = (
            f"right in {share_text(found['score'])} of validation rows, the most frequent class "
            f"in {share_text(found['constant'])}"
        )
    else:
        how = f"R² {found['score']:.3f} on validation rows"
    return (
        f"leak? column {found['column']!r} alone gives the label: {how}; declare it ignore if it "
        f"is not known when predicting"
    )


def _spelling_line(found: Spellings) -> str:
    one, other = found["spellings"][:2]
    rows = f"{count_text(one['rows'])} and {count_text(other['rows'])} rows"
    more = f", and so do those of {found['others']} further values" if found["others"] else ""
    return (
        f"spelling? column {found['column']!r}: {one['value']!r} and {other['value']!r} ({rows}) "
        f"differ only in case or blanks{more}; spell them alike if they are one value"
    )
