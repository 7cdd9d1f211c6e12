"""Encoders of text letter by letter: DNA, protein, and other sequences over a small alphabet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import ConfigDict, Field, PositiveInt, field_validator
from typing_extensions import TypedDict

from shoal.encode.column import ColumnEncoder, Target, no_value
from shoal.formats.tables import without_gaps
from shoal.settings.section import Section

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shoal.encode.column import Floats

ALPHABETS = {"dna": "ACGT", "protein": "ACDEFGHIKLMNPQRSTVWY"}
"""Name in the settings to letters, in the order of their codes; small letters count as capitals.

Source:
    IUPAC-IUB 1970 and 1968: the four bases, and the twenty amino acids in one-letter notation.
"""

_PADDING = 0


class SequenceOptions(Section):
    """Letters that are told apart, and the number of places."""

    alphabet: str = Field(
        min_length=1, description="`dna`, `protein`, or the letters themselves, such as `01`"
    )
    length: PositiveInt | None = Field(
        default=None,
        description="places; what is longer is cut; left out: of the longest training text",
    )

    @field_validator("alphabet")
    @classmethod
    def _letters_differ(cls, alphabet: str) -> str:
        if len(set(alphabet)) < len(alphabet) and alphabet not in ALPHABETS:
            raise ValueError(f"{alphabet!r} names a letter twice; known names: dna, protein")
        return alphabet


class _Fitted(TypedDict):
    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    length: PositiveInt


class _Sequence(ColumnEncoder):
    """One code per place: 0 beyond the end, 1, 2, … for the letters, the next for any other.

    Missing: as the empty text: zeros.
    """

    kinds = ("text", "categorical")
    Options: ClassVar[type[Section]] = SequenceOptions
    Fitted: ClassVar[Any] = _Fitted

    @property
    def letters(self) -> str:
        """The alphabet's letters, in the order of their codes."""
        alphabet: str = self.options.alphabet
        return ALPHABETS.get(alphabet, alphabet)

    def fit(self, values: NDArray[Any], target: Target) -> None:  # noqa: ARG002
        """Learn the length, unless it is given.

        Raises:
            DataError: The column has no value at all.
        """
        longest = max((len(value) for value in values if value), default=0)
        if not longest:
            raise no_value(self.column, len(values))
        self.fitted = {"length": self.options.length or longest}

    def _codes(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Code of each place, ``(rows, length)``."""
        texts = without_gaps(values)
        if self.options.alphabet in ALPHABETS:
            texts = [text.upper() for text in texts]
        length = self.fitted["length"]
        # numpy cuts longer texts, and fills up shorter ones with code point 0.
        points = np.array(texts, dtype=f"<U{length}").view("<u4").reshape(len(texts), length)
        known = np.array([ord(letter) for letter in self.letters], dtype=np.uint32)
        order = np.argsort(known)
        place = np.minimum(np.searchsorted(known[order], points), len(known) - 1)
        is_known = known[order][place] == points
        codes = np.where(is_known, order[place] + 1, len(known) + 1)
        return np.where(points == 0, _PADDING, codes).astype(np.int64)

    def _texts(self, codes: NDArray[np.int64]) -> NDArray[Any]:
        """Texts of codes, ``?`` where no letter of the alphabet stood."""
        letters = np.array(["", *self.letters, "?"], dtype=object)
        return np.array(["".join(row) for row in letters[codes]], dtype=object)


class SequenceOneHot(_Sequence):
    """A text place by place, one feature per letter of the alphabet; other letters are all 0.

    The shape is ``(length, letters)`` where the column is the only input, else flat.

    Unseen: a letter: 0 in every feature of its place.
    """

    name = "sequence_one_hot"

    def encode(self, values: NDArray[Any]) -> Floats:
        """0 or 1, ``(rows, length, letters)``; all 0 for other letters and beyond the end."""
        codes = self._codes(values)
        return np.asarray(
            codes[..., np.newaxis] == np.arange(1, len(self.letters) + 1), dtype=np.float32
        )

    def decode(self, features: Floats) -> NDArray[Any]:
        """Texts up to their last known letter; ``?`` for other letters before it."""
        known = features.max(axis=2) > 0
        codes = np.where(known, features.argmax(axis=2) + 1, len(self.letters) + 1)
        behind = np.cumsum(known[:, ::-1], axis=1)[:, ::-1] == 0
        return self._texts(np.where(behind, _PADDING, codes))

    @property
    def names(self) -> list[str]:
        """``column[place]=letter``."""
        places = range(self.fitted["length"])
        return [f"{self.column}[{place}]={letter}" for place in places for letter in self.letters]

    @property
    def shape(self) -> tuple[int, ...]:
        """Places and letters."""
        return (self.fitted["length"], len(self.letters))


class SequenceInteger(_Sequence):
    """A text place by place: 0 beyond the end, 1, 2, … for the letters, the next for any other.

    Unseen: a letter: a code of its own.
    """

    name = "sequence_integer"

    def encode(self, values: NDArray[Any]) -> Floats:
        """Whole numbers, ``(rows, length)``."""
        return self._codes(values).astype(np.float32)

    def decode(self, features: Floats) -> NDArray[Any]:
        """Texts; ``?`` for letters outside the alphabet."""
        return self._texts(features.astype(np.int64))

    @property
    def names(self) -> list[str]:
        """``column[place]``."""
        return [f"{self.column}[{place}]" for place in range(self.fitted["length"])]

    @property
    def shape(self) -> tuple[int, ...]:
        """Places."""
        return (self.fitted["length"],)
