"""The verdict on splitting: pool against generalist, the constant answer, shuffled labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from shoal.errors import DataError
from shoal.evaluate.against_usual import USUAL, against_usual, worse_than_usual
from shoal.evaluate.bootstrap import Difference, paired_bootstrap
from shoal.formats.scores import SCORES
from shoal.formats.text import number_text, score_decimals
from shoal.formats.units import least_units, numbered, units_text
from shoal.split.keys import flat_keys
from shoal.training.metrics import score

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from shoal.formats.documents import judgement
    from shoal.formats.documents.judgement import (
        AgainstConstant,
        Beats,
        Comparisons,
        Control,
        Ends,
        Judged,
        Scores,
        TestUnits,
    )
    from shoal.formats.kinds import Metric
    from shoal.settings.learning import Evaluate

    PerRow = Mapping[str, NDArray[np.float64]]

Verdict = Literal["helps", "hurts", "no difference", "undecided", "no better than constant"]

CONSTANT = "constant"
SAME_MODEL = "same_model"
NO_BETTER: Literal["no better than constant"] = "no better than constant"
"""The verdict where no contender beats the constant answer."""
LEAK = "leak"
AT_CHANCE = "at chance"

_JUDGED: tuple[Literal["pool"], Literal["generalist"]] = ("pool", "generalist")
"""Contenders that must not beat the constant answer on shuffled labels."""
CONFIDENCE = 0.99
"""Of each such interval. One end of each of two decides: at most 1 clean run in 100 is accused."""

_EQUAL = 0.02
_OPENINGS = {
    "helps": "Splitting helps on this data",
    "hurts": "Splitting hurts on this data",
    "no difference": "Splitting makes no significant difference on this data",
}
_SPOKEN = {
    "pool": "the pool",
    "pool_top1": "the pool with one specialist per row",
    "generalist": "the generalist",
    "same_model": "the generalist of the pool's own model",
    "pool_top2": "the pool with two specialists per row",
    "ungated": "the ungated pool",
    "random_partitions": "specialists on random partitions",
}


def compared(
    settings: Evaluate,
    metric: Metric,
    measured: Mapping[str, Scores],
    per_row: PerRow,
    shipped: str,
    units: NDArray[np.uint64] | None,
    made_by: str | None,
    generalists: int = 1,
) -> tuple[Comparisons, Ends]:
    """Compare contenders on the test rows.

    Args:
        settings: Resamples and seed of the bootstrap.
        metric: The score.
        measured: Scores and FLOPs of each contender.
        per_row: Values of the metric by row of each contender, ``(rows,)``; ``constant`` is left
            out where no answer is the same for every row.
        shipped: The contender that is the pool as it is shipped.
        units: Unit of each row; None where each is its own.
        made_by: What makes units, see :func:`shoal.split.units.kind`.
        generalists: How many there were, of which the generalist is the best on validation rows.
            Where it is not that of the pool's own model, this is ``same_model``.

    Returns:
        Part of ``metrics.json``, and the interval of the pool's score.
    """
    a, b = per_row[shipped], per_row["generalist"]
    count = numbered(units, len(a))[1]
    counted: TestUnits = {"kind": made_by, "test": count, "least": least_units(0.025)}
    resamples, seed = settings.bootstrap, settings.seed
    difference = paired_bootstrap(a, b, metric, resamples, seed, units=units)
    ahead = against_usual(metric, measured, per_row, shipped, settings, units)
    trained = {name: values for name, values in per_row.items() if name not in USUAL}
    best = against_constant(metric, trained, settings, units) if CONSTANT in per_row else None
    no_better = ""
    if best is not None and best["beats"] is False:
        pair = measured[best["contender"]]["score"], measured[CONSTANT]["score"]
        no_better = no_better_text(metric, best, pair)
        if len(trained) < len(per_row):
            no_better = no_better.replace("No model", "No training of the model", 1)
    pool, generalist = measured[shipped], measured["generalist"]
    most = [each.get("train_flops_at_most", each["train_flops"]) for each in (pool, generalist)]
    word, sentence = verdict(
        metric,
        difference,
        pool["score"],
        generalist["score"],
        (pool["train_flops"], generalist["train_flops"]),
        counted,
        no_better,
        (most[0], most[1]),
        generalists,
    )
    same = None
    if SAME_MODEL in per_row:
        same = paired_bootstrap(a, per_row[SAME_MODEL], metric, resamples, seed, units=units)
        sentence += f" {_same_model_text(metric, same, measured)}"
    if best is not None and not no_better:
        sentence = _worse_text(metric, measured, per_row, shipped, settings, units) + sentence
    sentence = worse_than_usual(metric, measured, shipped, ahead) + sentence
    alone = paired_bootstrap(a, None, metric, resamples, seed, units=units)
    found: Comparisons = {
        "units": counted,
        "verdict": word,
        "sentence": sentence,
        "difference": difference.document,
        "bootstrap": {"resamples": resamples, "seed": seed},
        "against_usual": ahead,
    }
    if best is not None:
        found["against_constant"] = best
    if same is not None:
        found["against_same_model"] = same.document
    return found, {"low": alone.low, "high": alone.high}


def verdict(
    metric: Metric,
    difference: Difference,
    pool: float,
    generalist: float,
    train_flops: tuple[float, float],
    units: TestUnits,
    no_better: str = "",
    most_flops: tuple[float, float] | None = None,
    generalists: int = 1,
) -> tuple[Verdict, str]:
    """Decide whether splitting helps, and say so with numbers.

    Args:
        metric: The score.
        difference: Score of the pool minus score of the generalist, and the ends of its 95 %
            interval.
        pool: Score of the pool.
        generalist: Score of the generalist.
        train_flops: FLOPs of training each; the sentence says so where they differ by more than
            two in a hundred, as when the data changed since the generation's start.
        units: Units of the test rows.
        no_better: Sentence of :func:`no_better_text`, where no contender beats the constant
            answer.
        most_flops: FLOPs that training each might have taken, where trainings stop early.
        generalists: Of how many the generalist is the best.

    Returns:
        ``no better than constant`` where that is so; ``undecided`` where there are too few units
        for an interval; ``helps`` or ``hurts`` where the interval leaves out zero, else
        ``no difference``; and the sentence.

    Raises:
        ValueError: The interval's ends are not in order, or not numbers.
    """
    _, low, high = difference
    if low is not None and high is not None and not low <= high:
        raise ValueError(f"not an interval: {low} to {high}")
    decimals = score_decimals(metric, [pool, generalist], difference.ends)
    change, interval = _difference_texts(difference, decimals)
    rival = "the generalist" if generalists == 1 else f"the best of {generalists} generalists"
    held = units_text(units["test"], units["kind"])
    over = f" over {held}" if units["kind"] else ""
    direction = "" if SCORES[metric].sign > 0 else "; lower is better"
    name = SCORES[metric].title
    compute, spent = _compute_texts(train_flops, most_flops or train_flops)
    numbers = (
        f"{number_text(pool, decimals)} for the pool against {number_text(generalist, decimals)} "
        f"for {rival} at {compute} (difference {change}, {interval}{over}{direction})."
        f"{spent}"
    )
    if no_better:
        return NO_BETTER, f"{no_better} {name[0].upper()}{name[1:]} {numbers}"
    if low is None:
        return "undecided", (
            f"Undecided, since the test fold holds {held} and an interval takes {units['least']}: "
            f"{name} {numbers}"
        )
    word: Verdict = "no difference"
    if difference.sign:
        word = "helps" if difference.is_better(metric) else "hurts"
    return word, f"{_OPENINGS[word]}: {name} {numbers}"


def _difference_texts(difference: Difference, decimals: int) -> tuple[str, str]:
    """A difference, and its interval, in words."""
    around = " to ".join(number_text(end, decimals, sign=True) for end in difference.ends)
    change = number_text(difference.value, decimals, sign=True)
    return change, f"95 % interval {around}" if around else "no interval"


def _same_model_text(metric: Metric, same: Difference, measured: Mapping[str, Scores]) -> str:
    """Compare the pool with the generalist of its own model."""
    score = measured[SAME_MODEL]["score"]
    decimals = score_decimals(metric, [score], same.ends)
    change, interval = _difference_texts(same, decimals)
    own = number_text(score, decimals)
    return f"Against the same model, unchanged, {own}: difference {change}, {interval}."


def _compute_texts(spent: tuple[float, float], most: tuple[float, float]) -> tuple[str, str]:
    """How equal training FLOPs of pool and generalist are, and what each spent of them."""
    pool, generalist = most
    is_equal = abs(generalist - pool) <= _EQUAL * pool
    if spent == most:
        ratio = "" if is_equal else f"{generalist / pool:.2f} times the pool's"
        return f"{ratio or 'equal'} training FLOPs", ""
    ratio = "" if is_equal else f"of {generalist / pool:.2f} times the pool's"
    shares = [round(100 * own / cap) for own, cap in zip(spent, most, strict=True)]
    return (
        "an equal cap on training FLOPs" if is_equal else f"a cap on training FLOPs {ratio}",
        f" Trainings stopped early: the pool spent {shares[0]} % of its cap, the generalist "
        f"{shares[1]} %.",
    )


def against_constant(
    metric: Metric,
    per_row: PerRow,
    settings: Evaluate,
    units: NDArray[np.uint64] | None,
) -> AgainstConstant:
    """Compare the best of the contenders, the first of equals, with the constant answer.

    Args:
        metric: The score.
        per_row: Values by row of all contenders, ``constant`` among them, ``(rows,)``.
        settings: Resamples and seed of the paired bootstrap.
        units: Unit of each row; None where each is its own.

    Returns:
        The difference of the scores. ``beats`` says whether the interval leaves out zero on the
        better side; None where there are too few units for one and the contender's score is better.
    """
    sign = SCORES[metric].sign
    others = [name for name in per_row if name != CONSTANT]
    best = max(others, key=lambda name: sign * score(metric, per_row[name]))
    gain = paired_bootstrap(
        per_row[best], per_row[CONSTANT], metric, settings.bootstrap, settings.seed, units=units
    )
    unknown = gain.low is None and sign * gain.value > 0
    beats = None if unknown else gain.is_better(metric)
    return {"contender": best, **gain.document, "beats": beats}


def no_better_text(metric: Metric, found: AgainstConstant, scores: tuple[float, float]) -> str:
    """Say that no contender beats the constant answer.

    Args:
        metric: The score.
        found: Result of :func:`against_constant`.
        scores: Of the best contender, and of the constant answer.
    """
    gain = Difference(found["value"], found["low"], found["high"])
    decimals = score_decimals(metric, scores, gain.ends)
    best, constant = (number_text(number, decimals) for number in scores)
    better = gain.value * SCORES[metric].sign > 0
    doubt = ""
    if better and gain.low is not None:
        value, low, high = (number_text(n, decimals, sign=True) for n in gain)
        doubt = f" (difference {value}, 95 % interval {low} to {high})"
    return (
        f"No model is {'significantly ' if better else ''}better than a constant answer: "
        f"{SCORES[metric].title} is {constant} where {SCORES[metric].constant} of the training "
        f"labels is "
        f"the answer for every row, and {best} for the best model, {_SPOKEN[found['contender']]}"
        f"{doubt}."
    )


def _worse_text(
    metric: Metric,
    measured: Mapping[str, Scores],
    per_row: PerRow,
    shipped: str,
    settings: Evaluate,
    units: NDArray[np.uint64] | None,
) -> str:
    """Say which of pool and generalist are worse than the constant answer, if any is."""
    said = []
    sign = SCORES[metric].sign
    for spoken, name in zip(_JUDGED, (shipped, "generalist"), strict=True):
        if sign * (measured[name]["score"] - measured[CONSTANT]["score"]) >= 0:
            continue
        gain = paired_bootstrap(
            per_row[name], per_row[CONSTANT], metric, settings.bootstrap, settings.seed, units=units
        )
        if gain.sign:
            scores = [measured[each]["score"] for each in (name, CONSTANT)]
            decimals = score_decimals(metric, scores, gain.ends)
            own, constant = (number_text(score, decimals) for score in scores)
            said.append(
                f"{_SPOKEN[spoken]} is worse than a constant answer ({own} against {constant})"
            )
    whole = " and ".join(said)
    return f"{whole[0].upper()}{whole[1:]}. " if whole else ""


def control(
    metric: Metric,
    per_row: PerRow,
    shipped: str,
    keys: NDArray[np.uint8],
    resamples: int,
    seed: int,
) -> Control:
    """Compare pool and generalist with the constant answer on shuffled labels.

    Equal keys drew the same label, so one row per key is looked at. Then labels are independent,
    also those of rows that the split takes for a unit.

    Args:
        metric: The score.
        per_row: Values by row of the judged contenders and of ``constant``, ``(rows,)``.
        shipped: The contender that is the pool as it is shipped.
        keys: Keys of the test rows, uint8 ``(rows, KEY_BYTES)``.
        resamples: Of the paired bootstrap.
        seed: Of the paired bootstrap.

    Returns:
        The differences, and whether each interval leaves out zero on the better side.
    """
    rows = np.unique(flat_keys(keys), return_index=True)[1]
    constant = per_row[CONSTANT][rows]

    def beats(name: str) -> Beats:
        values = per_row[name][rows]
        gain = paired_bootstrap(values, constant, metric, resamples, seed, CONFIDENCE)
        return {**gain.document, "beats": gain.is_better(metric)}

    return {
        "confidence": CONFIDENCE,
        "rows": len(rows),
        "pool": beats(shipped),
        "generalist": beats("generalist"),
    }


def control_verdict(metric: Metric, found: Control) -> tuple[str, str]:
    """:data:`LEAK` or :data:`AT_CHANCE`, and a sentence about the result of :func:`control`."""
    beating = [name for name in _JUDGED if found[name]["beats"]]
    told = " and ".join(
        f"{_SPOKEN[name]} by {_gain_text(metric, found[name])}" for name in beating or _JUDGED
    )
    interval = f"{found['confidence']:.0%} interval".replace("%", " %")
    name = SCORES[metric].title
    if beating:
        return LEAK, (
            f"Labels are shuffled, yet {name} is better than that of the constant answer: {told} "
            f"({interval}); a leak is likely: a column, a transform or an encoder holds the label, "
            f"or rows of the test fold are in training."
        )
    return AT_CHANCE, (
        f"Labels are shuffled, and as it must be, nothing beats the constant answer: {name} "
        f"differs for {told} ({interval})."
    )


def refuse_leak(metrics: Judged, report: Path) -> None:
    """Stop what comes after evaluate where shuffled labels were learnt.

    Raises:
        DataError: They were.
    """
    if metrics["verdict"] == LEAK:
        raise DataError(f"{report}: {metrics['sentence']} Nothing was published.")


def _gain_text(metric: Metric, gain: judgement.Difference) -> str:
    ends = [end for end in (gain["low"], gain["high"]) if end is not None]
    decimals = score_decimals(metric, [gain["value"]], ends)
    value, *around = (number_text(number, decimals, sign=True) for number in (gain["value"], *ends))
    return f"{value}, {' to '.join(around) or 'too few rows for an interval'}"
