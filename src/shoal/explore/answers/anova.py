"""How much of the variation of scores each choice explains: a functional analysis of variance."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.formats.hashing import canonical_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Factors = Mapping[str, Sequence[Any]]
    Codes = dict[str, NDArray[np.int64]]

ABSENT = None
"""The value of a factor where it does not apply, as the options of an alternative not taken."""

MOST_LEVELS = 8
"""Where the grid is not complete, numbers of more values than this, as samplers draw them, count by
the quarter that they lie in."""

SEED = "seed"
"""A factor whose numbers have no order."""

_QUARTERS = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Share:
    """Share of one choice, or of two together.

    Attributes:
        names: The choice, or the two; one name may be that of several choices that the scores
            cannot tell apart.
        share: Its part of the sum of squares.
        chance: The part that it would be expected to have if scores were drawn at random.
    """

    names: tuple[str, ...]
    share: float
    chance: float

    @property
    def term(self) -> str:
        """The names as people read them."""
        return " × ".join(self.names)


@dataclass(frozen=True)
class Explained:
    """A decomposition.

    Attributes:
        scores: How many scores it is of.
        shares: Each choice; on a complete grid then each pair of choices.
        rest: The share they leave: interactions of more choices, and chance.
        complete: Whether every combination is there equally often, so that the parts are exact.
        reason: Why there is no decomposition; empty where there is one.
    """

    scores: int
    shares: tuple[Share, ...] = ()
    rest: float = 0.0
    complete: bool = False
    reason: str = ""


def explained(scores: Sequence[float], factors: Factors) -> Explained:
    """Decompose the variation of scores into the parts that choices explain.

    Main effects and, on a complete grid with scores to spare, the interactions of any two. Sums
    of squares are of type II: each is what a choice explains beyond all others, which on a
    complete grid is what it explains, and then all parts add up to one. Choices that the scores
    cannot tell apart, such as lists that advance together or an alternative and its own options,
    are taken as one.

    Args:
        scores: One number each.
        factors: For each choice its value at each score; :data:`ABSENT` where it does not apply.

    Returns:
        The parts, each choice's before those of pairs.

    Source:
        Hooker 2007, functional ANOVA; type II sums of squares of statsmodels' ``anova_lm``.
    """
    y = np.asarray(scores, dtype=np.float64)
    codes = _joined({name: _coded(values) for name, values in factors.items()}, factors)
    complete = _is_complete(codes, len(y))
    if not complete:
        coarse = {n: _coded(v) if n == SEED else _quartered(v) for n, v in factors.items()}
        codes = _joined(coarse, factors)
    total = float(((y - y.mean()) ** 2).sum()) if len(y) else 0.0
    reason = _obstacle(y, codes, total)
    if reason:
        return Explained(len(y), reason=reason)
    pairs = list(itertools.combinations(codes, 2))
    spare = len(y) - 1 - sum(_freedom(codes, names) for names in [*((n,) for n in codes), *pairs])
    if not complete or spare < 1:
        pairs = []
    terms = [*((name,) for name in codes), *pairs]
    squares = _squares(y, codes, terms)
    shares = tuple(
        Share(names, square / total, _freedom(codes, names) / (len(y) - 1))
        for names, square in zip(terms, squares[:-1], strict=True)
    )
    return Explained(len(y), shares, squares[-1] / total, complete)


def _squares(y: NDArray[np.float64], codes: Codes, terms: Sequence[tuple[str, ...]]) -> list[float]:
    """Sum of squares of each term, then of the residuals."""
    from pandas import DataFrame
    from statsmodels.regression.linear_model import OLS  # formula.api imports all models there are
    from statsmodels.stats.anova import anova_lm

    columns = {name: f"f{number}" for number, name in enumerate(codes)}
    table = DataFrame({columns[name]: values for name, values in codes.items()} | {"y": y})
    right = " + ".join(":".join(f"C({columns[name]})" for name in names) for names in terms)
    with np.errstate(all="ignore"):  # F values of a perfect fit, which nobody asks for
        found = anova_lm(OLS.from_formula(f"y ~ {right}", table).fit(), typ=2)
    return [float(each) for each in found["sum_sq"]]


def _coded(values: Sequence[Any]) -> NDArray[np.int64]:
    """Values as the numbers of their levels."""
    texts = [canonical_json(value) for value in values]
    return np.asarray(np.unique(texts, return_inverse=True)[1], dtype=np.int64)


def _quartered(values: Sequence[Any]) -> NDArray[np.int64]:
    """The same, but the quarter of each value where they are many different numbers."""
    codes = _coded(values)
    is_number = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    if not is_number or _levels(codes) <= MOST_LEVELS:
        return codes
    numbers = np.asarray(values, dtype=np.float64)
    return np.searchsorted(np.quantile(numbers, _QUARTERS), numbers, side="left")


def _joined(codes: Codes, factors: Factors) -> Codes:
    """The choices that vary; those that cannot be told apart as one, under both names."""
    found: Codes = {}
    absent = {
        name: np.asarray([value is ABSENT for value in values], dtype=np.int64)
        for name, values in factors.items()
    }
    for name, own in codes.items():
        if _levels(own) < 2:
            continue
        bound = next((n for n, each in found.items() if _bound(each, own, absent[name])), None)
        if bound is None:
            found[name] = own
        else:
            both = _pair(found.pop(bound), own)
            found[f"{bound}, {name}"] = both
    return found


def _bound(a: NDArray[np.int64], b: NDArray[np.int64], absent: NDArray[np.int64]) -> bool:
    """Whether one of two choices follows from the other, or where ``b`` applies follows."""
    both = _levels(_pair(a, b))
    follows = both in (_levels(a), _levels(b))
    return follows or (bool(absent.any()) and _levels(_pair(a, absent)) == _levels(a))


def _pair(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.asarray(np.unique(np.stack([a, b]), axis=1, return_inverse=True)[1]).reshape(-1)


def _levels(codes: NDArray[np.int64]) -> int:
    return len(np.unique(codes))


def _freedom(codes: Codes, names: Sequence[str]) -> int:
    """Degrees of freedom of a choice, or of an interaction."""
    return int(np.prod([_levels(codes[name]) - 1 for name in names]))


def _is_complete(codes: Codes, scores: int) -> bool:
    """Whether every combination of levels is there, equally often."""
    # With a level for each score, as of numbers that were drawn, nothing is there twice.
    if not codes or max(_levels(each) for each in codes.values()) == scores:
        return False
    combinations = int(np.prod([_levels(each) for each in codes.values()]))
    counts = np.unique(np.stack(list(codes.values())), axis=1, return_counts=True)[1]
    return len(counts) == combinations and bool((counts == scores // combinations).all())


def _obstacle(y: NDArray[np.float64], codes: Codes, total: float) -> str:
    """Why the scores cannot be decomposed; empty where they can."""
    if not codes:
        return "nothing varies"
    if total <= 1e-12 * float((y**2).sum()):
        return "all of them are the same"
    dummies = [(each[:, None] == np.unique(each)[1:]).astype(np.float64) for each in codes.values()]
    design = np.column_stack([np.ones(len(y)), *dummies])
    if len(y) <= design.shape[1]:
        return f"{len(y)} are too few for {', '.join(codes)}"
    if np.linalg.matrix_rank(design) < design.shape[1]:
        return f"they do not tell {', '.join(codes)} apart"
    return ""
