"""Encoder of text by counts of hashed n-grams, a few operations of numpy for many texts at once."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveInt, model_validator

from shoal.encode.column import ColumnEncoder, Target
from shoal.formats.tables import without_gaps
from shoal.settings.section import Section

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from shoal.encode.column import Floats

    Hashes = NDArray[np.uint64]
    Places = NDArray[np.int64]

_LETTERS = 1 << 17
"""Letters of the texts that are hashed at a time."""
_STEP = 0x9E3779B97F4A7C15
_BITS = (1 << 64) - 1
_FACTORS = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_SHIFTS = np.uint64(30), np.uint64(27), np.uint64(31)
_SPACES, _WORD = re.compile(r"\s\s+"), re.compile(r"\b\w\w+\b")


class NgramOptions(Section):
    """Which n-grams are counted, into how many features."""

    analyzer: Literal["char", "char_wb", "word"] = Field(
        default="char_wb", description="n-grams of letters, of letters within words, or of words"
    )
    ngram_range: tuple[PositiveInt, PositiveInt] = Field(
        default=(3, 5), description="shortest and longest"
    )
    features: PositiveInt = Field(description="features that n-grams are hashed to")

    @model_validator(mode="after")
    def _shortest_first(self) -> NgramOptions:
        if self.ngram_range[0] > self.ngram_range[1]:
            raise ValueError(f"ngram_range {list(self.ngram_range)}: the shortest comes first")
        return self


class Ngrams(ColumnEncoder):
    """Signed counts of hashed n-grams of the lower-cased text, of length 1; stateless.

    The n-grams are those of scikit-learn's ``HashingVectorizer``: a word has a space on both sides,
    and is counted once as a whole where it is too short.

    Missing: as the empty text: zeros.

    Source:
        Weinberger et al. 2009. The hash of an n-gram is mixed from the sum of its letters' hashes,
        each another one at each place: the outputs of SplitMix64, Steele et al. 2014.
    """

    name = "ngrams"
    kinds = ("text", "categorical")
    Options: ClassVar[type[Section]] = NgramOptions

    def fit(self, values: NDArray[Any], target: Target) -> None:
        """Nothing to fit."""

    def encode(self, values: NDArray[Any]) -> Floats:
        """Counts of hashed n-grams."""
        texts = without_gaps(values)
        counts = np.zeros((len(texts), self.options.features), dtype=np.float32)
        ends = np.cumsum([len(text) for text in texts])
        start = 0
        while start < len(texts):
            letters = ends[start - 1] if start else 0
            stop = max(start + 1, int(np.searchsorted(ends, letters + _LETTERS)))
            self._count(texts[start:stop], counts[start:stop])
            start = stop
        return counts

    def _count(self, texts: Sequence[str], counts: Floats) -> None:
        """Fill the texts' rows."""
        row, hashes = self._ngrams(texts)
        feature = (hashes >> np.uint64(1)) % np.uint64(self.options.features)
        sign = 1.0 - 2.0 * (hashes & np.uint64(1))
        cell, place = np.unique(
            row * self.options.features + feature.astype(np.int64), return_inverse=True
        )
        total = np.bincount(place, weights=sign)
        cell, total = cell[total != 0], total[total != 0]
        row = cell // self.options.features
        squares = np.bincount(row, weights=total**2)
        counts.ravel()[cell] = total / np.sqrt(squares[row])

    def _ngrams(self, texts: Sequence[str]) -> tuple[Places, Hashes]:
        """Row of each n-gram, and its hash."""
        pieces = [self._pieces(text.lower()) for text in texts]
        number = np.array([len(own) for own in pieces], dtype=np.int64)
        flat = list(itertools.chain.from_iterable(pieces))
        lengths = np.array([len(piece) for piece in flat], dtype=np.int64)
        encoded = "".join(flat).encode("utf-32-le", "surrogatepass")
        units = np.frombuffer(encoded, dtype="<u4").astype(np.uint64)
        row = np.repeat(np.arange(len(texts)), number)
        if self.options.analyzer == "word":
            units, lengths, row = _whole(units, lengths), number, np.arange(len(texts))
        of = np.repeat(row, lengths)
        shortest, longest = self.options.ngram_range
        whole = np.cumsum(lengths) - lengths
        lengths_of_whole = lengths if self.options.analyzer == "char_wb" else np.zeros_like(lengths)
        found = [(np.empty(0, np.int64), np.empty(0, np.uint64))]
        for length, places, sums in _windows(units, lengths, longest):
            counted = places if length >= shortest else whole[lengths_of_whole == length]
            found.append((of[counted], _mixed(sums[counted])))
        rows, hashes = zip(*found, strict=True)
        return np.concatenate(rows), np.concatenate(hashes)

    def _pieces(self, text: str) -> list[str]:
        """The parts of a text that no n-gram of letters reaches beyond; its words."""
        if self.options.analyzer == "char":
            return [_SPACES.sub(" ", text)]
        if self.options.analyzer == "char_wb":
            return [f" {word} " for word in text.split()]
        return _WORD.findall(text)

    @property
    def names(self) -> list[str]:
        """``column#index``."""
        return [f"{self.column}#{index}" for index in range(self.options.features)]

    @property
    def shape(self) -> tuple[int, ...]:
        """Features."""
        return (self.options.features,)


def _windows(units: Hashes, lengths: Places, longest: int) -> Iterator[tuple[int, Places, Hashes]]:
    """For each length the places where so many units of a piece follow, and sums of their hashes.

    Args:
        units: Letters or words.
        lengths: How many of them each piece has, one after the other.
        longest: Units together, at most.
    """
    ends = np.repeat(np.cumsum(lengths), lengths)
    left = ends - np.arange(len(units))
    sums = np.zeros(len(units), dtype=np.uint64)
    first = np.arange(len(units))
    for length in range(1, longest + 1):
        first = first[left[first] >= length]
        sums[first] += _mixed(units[first + (length - 1)] + np.uint64(length * _STEP & _BITS))
        yield length, first, sums


def _whole(units: Hashes, lengths: Places) -> Hashes:
    """One hash for each piece, none of which is empty."""
    if not len(lengths):
        return np.empty(0, dtype=np.uint64)
    begins = np.cumsum(lengths) - lengths
    place = (np.arange(1, len(units) + 1) - np.repeat(begins, lengths)).astype(np.uint64)
    return np.add.reduceat(_mixed(units + place * np.uint64(_STEP)), begins)


def _mixed(values: Hashes) -> Hashes:
    """SplitMix64's function of its state, which is invertible."""
    values = (values ^ (values >> _SHIFTS[0])) * _FACTORS[0]
    values = (values ^ (values >> _SHIFTS[1])) * _FACTORS[1]
    return values ^ (values >> _SHIFTS[2])
