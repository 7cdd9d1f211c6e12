"""All encoders by name, and the encoder of each column.

A new encoder is a class derived from :class:`shoal.encode.column.ColumnEncoder` and an entry in
``_CLASSES``; ``python -m shoal.plan.reference`` then describes it in ``config/README.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shoal.encode import content, ngrams, sequences, tabular, tokens
from shoal.encode.column import ColumnEncoder, ColumnSetting
from shoal.encode.named import Named
from shoal.errors import DataError, SettingsError, nearest
from shoal.formats.tables import ARRAY_KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shoal.formats.tables import Columns
    from shoal.settings.data import Encode

_CLASSES: tuple[type[ColumnEncoder], ...] = (
    tabular.Scale,
    tabular.Quantile,
    tabular.Rank,
    tabular.Passthrough,
    tabular.OneHot,
    tabular.Ordinal,
    tabular.TargetMean,
    ngrams.Ngrams,
    sequences.SequenceOneHot,
    sequences.SequenceInteger,
    tokens.Tokens,
    content.Image,
    content.Vector,
)
ENCODERS: dict[str, type[ColumnEncoder]] = {encoder.name: encoder for encoder in _CLASSES}
"""Name in the settings to encoder."""

_KINDS = ("numeric", "categorical", "text", *ARRAY_KINDS)


def encoders_of(settings: Encode, columns: Columns) -> list[ColumnEncoder]:
    """An unfitted encoder for each input column, in the columns' order.

    Raises:
        SettingsError: A kind, column, encoder or option is unknown, or they do not fit together.
        DataError: There is no input column.
    """
    if not columns.inputs:
        raise DataError("there is no input column: every column is label, id, group or ignored")
    _check_names(settings.kinds, _KINDS, "encode.kinds", "kind of column")
    _check_names(settings.columns, columns.inputs, "encode.columns", "input column")
    encoders = []
    for column in columns.inputs:
        kind = columns.kinds[column]
        if column in settings.columns:
            spec, setting = settings.columns[column], f"encode.columns.{column}"
        elif kind in settings.kinds:
            spec, setting = settings.kinds[kind], f"encode.kinds.{kind}"
        else:
            raise SettingsError(f"encode.kinds: column {column!r} is {kind}, which has no encoder")
        encoders.append(make_encoder(spec, ColumnSetting(column, kind, setting, settings.seed)))
    return encoders


def _check_names(
    given: Mapping[str, object], known: tuple[str, ...] | list[str], setting: str, what: str
) -> None:
    for name in given:
        if name not in known:
            raise SettingsError(f"{setting}: there is no {what} {name!r}; {nearest(name, known)}")


def make_encoder(spec: Mapping[str, object], place: ColumnSetting) -> ColumnEncoder:
    """The encoder that a setting names by ``encoder`` or by ``_target_``.

    Raises:
        SettingsError: It names none, both or an unknown one, or an option does not fit.
    """
    if ("encoder" in spec) == ("_target_" in spec):
        raise SettingsError(f"{place.setting}: name an 'encoder' or a class by '_target_'")
    if "_target_" in spec:
        return Named(place, spec)
    name = str(spec["encoder"])
    if name not in ENCODERS:
        known = nearest(name, ENCODERS)
        raise SettingsError(f"{place.setting}: there is no encoder {name!r}; {known}")
    options = {key: value for key, value in spec.items() if key != "encoder"}
    return ENCODERS[name](place, options)
