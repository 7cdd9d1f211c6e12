"""What a search has chosen by itself, each choice with its evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shoal.formats.text import count_text, flops_text, number_text, significant_text, value_text
from shoal.formats.units import units_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from shoal.formats.documents.judgement import Chosen, GateSummary, Search
    from shoal.report.evaluation import Candidate

_TITLES = {
    "embed": "embedding",
    "embed.dims": "dimensions of the embedding",
    "cluster.partitions": "partitions",
    "train_specialists.patience": "early stopping",
}


def made_choices(
    search: Search,
    gate: GateSummary,
    candidates: Sequence[Candidate],
    partitions: int,
    settings: Mapping[str, Any],
    found: Mapping[str, str],
) -> list[Chosen]:
    """The choices of a run, in the order in which they are made.

    Args:
        search: The choice among variants.
        gate: What the gate decided.
        candidates: Numbers of partitions that probes have tried, if they have.
        partitions: How many partitions there are.
        settings: All settings, plain values.
        found: Why settings have values that were found in the files, by name.
    """
    named: list[Chosen] = [
        {"choice": name, "taken": value_text(_value(settings, name)), "evidence": reason}
        for name, reason in found.items()
        if _value(settings, name) is not None and name not in _varied(search)
    ]
    rest = [_partitions(candidates, partitions)] if candidates else []
    rest += [_gate(gate), _mixing(gate)]
    if "grow" in settings.get("changes", {}):
        rest.append(_growing(settings["changes"]["grow"]))
    budget = settings["search"]["budget"]
    if budget["train_flops"] is not None or budget["hours"] is not None:
        rest.append(_budget(budget, search))
    return [*named, *_by_validation(search), *rest]


def _value(settings: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401 - any JSON value
    """The value of a setting by its name; of columns, the column's kind."""
    value: Any = settings
    for part in name.split(".", maxsplit=2):
        value = value.get(part) if isinstance(value, dict) else None
    return value["method"] if isinstance(value, dict) and "method" in value else value


def _varied(search: Search) -> list[str]:
    """Settings that tell the variants apart."""
    return list(dict.fromkeys(name for one in search["variants"] for name in one["changes"]))


def _by_validation(search: Search) -> Iterator[Chosen]:
    """Each setting that varies: the chosen pool's value, and the best pool with each other one."""
    (taken,) = (one for one in search["variants"] if one["variant"] == search["pool"])
    for name in _varied(search):
        best: dict[str, float] = {}
        for one in search["variants"]:
            value = _said(name, one["changes"].get(name))
            best[value] = max(one["pool"], best.get(value, one["pool"]))
        own = _said(name, taken["changes"].get(name))
        others = ", ".join(
            f"{value} {significant_text(score)}" for value, score in best.items() if value != own
        )
        error = taken.get("error")
        spread = "" if error is None else f" ± {significant_text(error, 2)}"
        yield {
            "choice": _TITLES.get(name, name),
            "taken": own,
            "evidence": f"validation {significant_text(taken['pool'])}{spread}; {others}",
        }


def _said(name: str, value: object) -> str:
    if name == "train_specialists.patience":
        return "none" if value is None else f"after {value} passes without gain"
    return value_text(value)


def _partitions(candidates: Sequence[Candidate], partitions: int) -> Chosen:
    losses = ", ".join(f"{one.partitions}: {number_text(one.loss, 4)}" for one in candidates)
    return {
        "choice": "partitions",
        "taken": str(partitions),
        "evidence": f"validation loss of probes by number of partitions, {losses}",
    }


def _gate(gate: GateSummary) -> Chosen:
    where = units_text(gate["units"], gate["kind"])
    opened = f"{gate['serving']} of {gate['specialists']} specialists share in answers"
    return {
        "choice": "gate",
        "taken": "open" if gate["serving"] else "closed",
        "evidence": f"{opened}, by {where} of validation",
    }


def _mixing(gate: GateSummary) -> Chosen:
    softness = gate["softness"]
    if softness is None:
        return {
            "choice": "mixing",
            "taken": "one specialist per row",
            "evidence": "two were not clearly better on validation rows",
        }
    return {
        "choice": "mixing",
        "taken": "two specialists per row",
        "evidence": f"clearly better on validation rows, softness {significant_text(softness)}",
    }


def _growing(grow: str) -> Chosen:
    taken = "by itself" if grow == "auto" else "when told to"
    return {
        "choice": "growing",
        "taken": taken,
        "evidence": "new partitions where rows of a new kind arrive, see the drift report",
    }


def _budget(budget: Mapping[str, Any], search: Search) -> Chosen:
    total = budget["train_flops"]
    if total is None:
        total = budget["hours"] * 3600 * budget["flops_per_second"]
    left = max(0.0, total - search["spent"])
    count = count_text(len(search["variants"]))
    return {
        "choice": "budget",
        "taken": flops_text(total),
        "evidence": f"{flops_text(search['spent'])} spent by {count} variants, pools, generalists "
        f"and random partitions; {flops_text(left)} left",
    }
