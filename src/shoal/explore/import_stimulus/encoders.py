"""Encoders of stimulus, and the types in its headers, as kinds and encoders of Shoal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

_LETTERS = {
    frozenset("ACGT"): "dna",
    frozenset("ACDEFGHIKLMNPQRSTVWY"): "protein",
}


class Meaning(NamedTuple):
    """What a type or an encoder of stimulus is in Shoal.

    Attributes:
        kind: The column's kind.
        spec: Its encoder, None where the kind's own serves.
        is_class: Whether a label of it is a class; None where its values tell.
    """

    kind: str
    spec: dict[str, Any] | None = None
    is_class: bool | None = None


def _sequence(alphabet: str) -> dict[str, Any]:
    return {"encoder": "sequence_one_hot", "alphabet": alphabet}


_RANK = {"encoder": "rank"}

TYPES = {
    "dna": Meaning("text", _sequence("dna")),
    "rna": Meaning("text", _sequence("ACGU")),
    "prot": Meaning("text", _sequence("protein")),
    "protein": Meaning("text", _sequence("protein")),
    "str": Meaning("text", is_class=True),
    "str_class": Meaning("categorical", is_class=True),
    "int_class": Meaning("categorical", is_class=True),
    "bool": Meaning("categorical", is_class=True),
    "int": Meaning("numeric"),
    "int_reg": Meaning("numeric", is_class=False),
    "int_rank": Meaning("numeric", _RANK, is_class=False),
    "float": Meaning("numeric", is_class=False),
    "float_rank": Meaning("numeric", _RANK, is_class=False),
}
"""Type in a header, or ``data_type``, to what it is."""

_VALUE = Meaning("numeric", {"encoder": "passthrough"})
_CODE = Meaning("categorical", {"encoder": "ordinal"}, is_class=True)
_RANKED = Meaning("numeric", _RANK, is_class=False)
_CLASSES = {
    "NumericEncoder": _VALUE,
    "FloatEncoder": _VALUE,
    "IntEncoder": _VALUE,
    "NumericRankEncoder": _RANKED,
    "FloatRankEncoder": _RANKED,
    "IntRankEncoder": _RANKED,
    "StrClassificationEncoder": _CODE,
    "StrClassificationIntEncoder": _CODE,
}

_SAME = {"dtype", "force_cpu", "padding", "convert_lowercase"}
"""Arguments that change no meaning: features are float32, texts are padded, case is ignored."""


def meaning_of(name: str, params: Mapping[str, Any]) -> tuple[Meaning | None, list[str]]:
    """What an encoder of stimulus is in Shoal, None if nothing, and which arguments are lost.

    Args:
        name: Its class.
        params: Its arguments.
    """
    left = {key: value for key, value in params.items() if key not in _SAME}
    meaning = _CLASSES.get(name)
    if name == "TextOneHotEncoder":
        meaning = Meaning("text", _sequence(_alphabet(left.pop("alphabet", "acgt"))))
    elif meaning is _RANKED and left.get("scale") is True:
        left.pop("scale")  # ranks are from 0 to 1 in Shoal
    elif meaning is _CODE and left.get("scale") is False:
        left.pop("scale")
    return meaning, sorted(left)


def _alphabet(letters: Any) -> str:  # noqa: ANN401 - any argument
    known = _LETTERS.get(frozenset(str(letters).upper()))
    return known or str(letters)
