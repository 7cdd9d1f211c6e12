"""Text as the numbers of its bytes or tokens, for models that read sequences."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NotRequired

import numpy as np
from pydantic import ConfigDict, Field, PositiveInt
from typing_extensions import TypedDict

from shoal.encode.column import ColumnEncoder, Target, no_value
from shoal.errors import CorruptError, SettingsError
from shoal.formats.stored import tensor_of
from shoal.formats.tables import without_gaps
from shoal.settings.data import BYTES
from shoal.settings.section import Section

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

_PADDING = 0


class TokenOptions(Section):
    """Kind of token, and the number of places."""

    tokens: str = Field(
        default=BYTES,
        min_length=1,
        description="`bytes` of UTF-8, or a file of the library tokenizers (`tokenizer.json`)",
    )
    length: PositiveInt | None = Field(
        default=None,
        description="places; what is longer is cut; left out: of the longest training text",
    )


class _Fitted(TypedDict):
    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    length: PositiveInt
    tokenizer: NotRequired[Any]


class Tokens(ColumnEncoder):
    """A text as whole numbers, one for each byte or token from 1 on; 0 beyond the end.

    Where the column is the only input, a model gets int64 numbers of shape ``(rows, length)``, and
    ``${data:tokens}`` is how many there are: 257 for bytes. Beside other inputs they are float32.

    Missing: as the empty text: zeros.
    Unseen: a byte or token: its number as any other's.
    """

    name = "tokens"
    kinds = ("text", "categorical")
    Options: ClassVar[type[Section]] = TokenOptions
    Fitted: ClassVar[Any] = _Fitted

    def fit(self, values: NDArray[Any], target: Target) -> None:  # noqa: ARG002
        """Keep the tokenizer, and learn the length, unless it is given.

        Raises:
            SettingsError: The file is missing or no tokenizer's, or the library is not installed.
            DataError: The column has no value at all.
        """
        self.fitted = {}
        if self.options.tokens != BYTES:
            self.fitted["tokenizer"] = np.frombuffer(self._file(), np.uint8)
            try:
                _ = self._tokenizer
            except CorruptError as error:
                raise SettingsError(
                    f"{self.place.setting}: {self.options.tokens}: {error}"
                ) from None
        longest = max(map(len, self._numbers(values)), default=0)
        if not longest:
            raise no_value(self.column, len(values))
        self.fitted["length"] = self.options.length or longest

    def _file(self) -> bytes:
        try:
            return Path(self.options.tokens).read_bytes()
        except OSError as error:
            raise SettingsError(
                f"{self.place.setting}: tokens is `bytes` or a file of the library tokenizers; "
                f"{self.options.tokens}: {error.strerror}"
            ) from None

    def check_arrays(self) -> None:
        """Compare the tokenizer with what a fit gives."""
        if self.options.tokens != BYTES:
            tensor_of(self.fitted, "tokenizer", "uint8", (None,))
            _ = self._tokenizer

    @cached_property
    def _tokenizer(self) -> Any:  # noqa: ANN401 - of a library that may be missing
        """The tokenizer; None for bytes.

        Raises:
            SettingsError: The library is not installed.
            CorruptError: It is no tokenizer.
        """
        if self.options.tokens == BYTES:
            return None
        try:
            from tokenizers import Tokenizer
        except ImportError:
            raise SettingsError(
                f"{self.place.setting}: tokens of a file need a package more, tokenizers: "
                f"pip install 'shoal[tokenizers]'"
            ) from None
        try:
            tokenizer = Tokenizer.from_str(self.fitted["tokenizer"].tobytes().decode())
        except Exception as error:  # the library raises no type of its own
            raise CorruptError(f"no tokenizer ({error})") from None
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer

    @property
    def vocabulary(self) -> int:
        """How many numbers there are, that of padding among them."""
        return 257 if self._tokenizer is None else max(self._tokenizer.get_vocab().values()) + 2

    def _numbers(self, values: NDArray[Any]) -> Iterable[NDArray[np.int64]]:
        """Number of each byte or token of each text, from 0."""
        texts = without_gaps(values)
        if self._tokenizer is None:
            return [np.frombuffer(text.encode(), np.uint8).astype(np.int64) for text in texts]
        found = self._tokenizer.encode_batch(texts)
        return [np.array(each.ids, dtype=np.int64) for each in found]

    def encode(self, values: NDArray[Any]) -> NDArray[Any]:
        """Whole numbers, int64 ``(rows, length)``."""
        codes = np.full((len(values), self.fitted["length"]), _PADDING, dtype=np.int64)
        for row, numbers in zip(codes, self._numbers(values), strict=True):
            own = numbers[: len(row)]
            row[: len(own)] = own + 1
        return codes

    def decode(self, features: NDArray[Any]) -> NDArray[Any]:
        """Texts; where a cut parted the bytes of a letter it is a replacement character."""
        texts = []
        for row in features.astype(np.int64):
            numbers = row[row != _PADDING] - 1
            if self._tokenizer is None:
                texts.append(numbers.astype(np.uint8).tobytes().decode(errors="replace"))
            else:
                texts.append(self._tokenizer.decode(numbers.tolist()))
        return np.array(texts, dtype=object)

    @property
    def names(self) -> list[str]:
        """``column[place]``."""
        return [f"{self.column}[{place}]" for place in range(self.fitted["length"])]
