"""Splitters of stimulus as settings of ``split``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shoal.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shoal.explore.import_stimulus.choices import Use
    from shoal.explore.import_stimulus.columns import Columns

_RANDOM = ("RandomSplit", "RandomSplitter")
_DEFAULT = [0.7, 0.2, 0.1]
_FOLDS = {"0": "train", "1": "validation", "2": "test"}


def split_settings(choices: Sequence[Use], columns: Columns) -> tuple[str, dict[str, Any]]:
    """The choice of split, and its settings; an empty choice where Shoal's default stands.

    Args:
        choices: Each way to split that the config asks for.
        columns: The columns; takes notes of what cannot be carried over.

    Raises:
        SettingsError: Shares are not two or three numbers that sum to one.
        SourceError: A split column holds other values than 0, 1 and 2, or not all of them.
    """
    named = columns.with_role("split")
    if not choices and named:
        return "column", _by_column(named[0], columns)
    for name in named:
        columns.notes.append(f"column {name!r}: it names folds, but the config splits anew")
    points: list[dict[str, Any]] = []
    for use in choices:
        point = _random(use, columns.notes)
        if point is not None and point not in points:
            points.append(point)
    if not points:
        if choices:
            columns.notes.append("split: none is left, so Shoal's default splits")
        return "", {}
    return "random", points[0] if len(points) == 1 else {"cross": points}


def _random(use: Use, notes: list[str]) -> dict[str, Any] | None:
    if use.name not in _RANDOM:
        notes.append(f"split {use.name}: Shoal has no splitter like it")
        return None
    params = dict(use.params)
    settings: dict[str, Any] = {"fractions": _fractions(params.pop("split", _DEFAULT), use, notes)}
    if "seed" in params:
        settings["seed"] = params.pop("seed")
    notes += [f"split {use.name}: {key}={value!r}" for key, value in params.items()]
    return settings


def _fractions(shares: Any, use: Use, notes: list[str]) -> dict[str, float]:  # noqa: ANN401 - any argument
    """Shares of the three folds; of two, the second is halved into validation and test."""
    place = f"split {use.name}: split: {shares!r}"
    is_list = isinstance(shares, list) and len(shares) in (2, 3)
    if not is_list or not all(isinstance(each, int | float) for each in shares):
        raise SettingsError(f"{place} is not the shares of train, validation and test")
    if abs(sum(shares) - 1) > 1e-9:
        raise SettingsError(f"{place}: the shares sum to {sum(shares):g}, not 1")
    present = [float(each) for each in shares if each]
    if len(present) == 2 and shares[0]:
        half = present[1] / 2
        notes.append(f"split {use.name}: {shares!r} has two folds; validation and test share one")
        present = [present[0], half, half]
    if len(present) != 3:
        raise SettingsError(f"{place}: there are always three folds, none of them empty")
    return dict(zip(_FOLDS.values(), present, strict=True))


def _by_column(name: str, columns: Columns) -> dict[str, Any]:
    found = {value.removesuffix(".0") for value in columns.values(name)}
    strange = sorted(found - set(_FOLDS))
    if strange:
        raise SettingsError(
            f"{columns.path}: column {name!r} holds {strange[0]!r}; folds are 0 (train), "
            f"1 (validation) and 2 (test)"
        )
    columns.notes += [
        f"column {name!r}: no row is {fold} ({value}); a run needs rows in every fold"
        for value, fold in _FOLDS.items()
        if value not in found
    ]
    return {"column": name, "values": _FOLDS}
