"""Encoder of any column by a class that the user names.

A class is applied so that each row gives the same bits whatever rows it is transformed with.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NotRequired

import numpy as np
from pydantic import ConfigDict, FiniteFloat, PositiveInt
from typing_extensions import TypedDict

from shoal.encode import skops_file
from shoal.encode.column import ColumnEncoder, Target, fill_gaps, fit_gaps, gap_names
from shoal.errors import CorruptError, ModelError
from shoal.formats.stored import naming, tensor_of
from shoal.formats.tables import ARRAY_KINDS, without_gaps
from shoal.settings.targets import import_target
from shoal.settings.user_code import check_arguments
from shoal_edge.exact import BLOCK_ROWS, ExactProduct

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from shoal.encode.column import Floats

    Float64 = NDArray[np.float64]

_PROJECTIONS = (
    "sklearn.decomposition.PCA",
    "sklearn.decomposition.IncrementalPCA",
    "sklearn.decomposition.TruncatedSVD",
    "sklearn.random_projection.GaussianRandomProjection",
    "sklearn.random_projection.SparseRandomProjection",
)
_WITHOUT_PRODUCTS = ("sklearn.preprocessing", "sklearn.feature_extraction")
_OF_THE_USER = "sklearn.preprocessing.FunctionTransformer"


class Projection:
    """A linear projection as scikit-learn fitted it, applied by an exact product."""

    def __init__(self, estimator: Any) -> None:  # noqa: ANN401 - one of _PROJECTIONS
        """Copy mean, components and, where it whitens, deviations."""
        components = estimator.components_
        dense = components.toarray() if hasattr(components, "toarray") else components
        weights = np.asarray(dense.T, dtype=np.float64)
        if getattr(estimator, "whiten", False):
            variance = np.asarray(estimator.explained_variance_)
            least = np.finfo(variance.dtype).eps
            weights = weights / np.maximum(np.sqrt(variance), least)
        self._product = ExactProduct(weights, getattr(estimator, "mean_", 0.0))

    def __call__(self, rows: Any) -> Floats:  # noqa: ANN401 - what the class would be given
        """The projected rows, float32 ``(rows, components)``."""
        return self._product(rows)


def projection_of(estimator: Any) -> Projection | None:  # noqa: ANN401 - any class
    """The estimator as an exact projection, if it is one of scikit-learn's that is linear."""
    return Projection(estimator) if _name(estimator) in _PROJECTIONS else None


def rows_at_once(estimator: Any) -> int:  # noqa: ANN401 - any class
    """Rows that a class may transform together: 1, unless it is known to multiply no matrices."""
    name = _name(estimator)
    alone = name == _OF_THE_USER or name.rpartition(".")[0] not in _WITHOUT_PRODUCTS
    return 1 if alone else BLOCK_ROWS


def _name(estimator: Any) -> str:  # noqa: ANN401 - any class
    """The public name of a class of scikit-learn's, without its private modules."""
    kind = type(estimator)
    return ".".join([*kind.__module__.split(".")[:2], kind.__name__])


class _NamedFitted(TypedDict):
    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    estimator: Any
    width: PositiveInt
    fill: NotRequired[FiniteFloat]
    marked: NotRequired[bool]


def named_class(spec: Mapping[str, object], setting: str) -> Callable[..., Any]:
    """The class that a setting names by ``_target_``, with arguments that it takes.

    Raises:
        ModelError: It does not import, has no ``fit`` and ``transform``, or does not take them.
    """
    try:
        named: Callable[..., Any] = import_target(str(spec["_target_"]), "encoder")
    except ModelError as error:
        raise ModelError(f"{setting}: {error}") from error
    check_arguments(named, f"{setting}: {spec['_target_']}", **named_options(spec))
    return named


def named_options(spec: Mapping[str, object]) -> dict[str, object]:
    """Arguments of a class that a setting names."""
    return {name: value for name, value in spec.items() if name != "_target_"}


class Named(ColumnEncoder):
    """Any class with ``fit`` and ``transform``, such as one of scikit-learn's.

    It sees numbers and categories as ``(rows, 1)``, texts as a list, images and vectors as
    ``(rows, entries)`` of float32; ``fit`` also gets the labels. Gaps of numbers are filled and
    marked as for ``scale``.

    A row's bits depend on no other row: scikit-learn's linear projections are applied by an exact
    product, what multiplies no matrices is given blocks of one size, and any other class one row
    at a time, which takes a few tenths of a millisecond per row.
    """

    name = "_target_"
    kinds = ("numeric", "categorical", "text", *ARRAY_KINDS)
    Fitted: ClassVar[Any] = _NamedFitted

    def stored(self) -> tuple[Mapping[str, object], Sequence[str]]:
        """The estimator as an array of the bytes of a skops file."""
        raw = skops_file.dumps(self.fitted["estimator"], self._stored)
        array = np.frombuffer(raw, np.uint8)
        return self.fitted | {"estimator": array}, skops_file.types_to_trust(raw)

    def restore(self, fitted: object, trusted: Sequence[str] = ()) -> None:
        """Set estimator and width, and the gaps of numbers."""
        super().restore(fitted)
        with naming(self._stored):
            raw = tensor_of(self.fitted, "estimator", "uint8", (None,)).tobytes()
        self.fitted["estimator"] = skops_file.parse(raw, self._stored, trusted)
        if self.place.kind == "numeric" and not {"fill", "marked"} <= self.fitted.keys():
            raise CorruptError(f"{self._stored}: fill and marked are missing, what fills its gaps")

    def check(self) -> None:
        """Nothing to check: the user's class may refuse missing values, and hold any number."""

    def parsed(self, options: Mapping[str, object]) -> Any:  # noqa: ANN401
        """The class's own arguments, passed as they stand."""
        return named_options(options)

    def fit(self, values: NDArray[Any], target: Target) -> None:
        """Build the class with its arguments and fit it.

        Raises:
            ModelError: The class does not import, or refuses its arguments or the column.
        """
        if self.place.kind == "numeric":
            self.fitted = fit_gaps(values, self.column)
        try:
            estimator = named_class(self.given, self.place.setting)(**self.options)
            draws = "random_state" in getattr(estimator, "get_params", dict)()
            if draws and "random_state" not in self.options:
                estimator.set_params(random_state=self.place.seed)
            estimator.fit(self._inputs(values), target.y)
        except ModelError:
            raise
        except Exception as error:  # the user's class may raise anything
            raise self._failure("fitted", error) from error
        self.fitted["estimator"] = estimator
        self.fitted["width"] = self._transformed(values[:1]).shape[1]

    def _failure(self, what: str, error: Exception) -> ModelError:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        named = self.given["_target_"]
        return ModelError(
            f"{self.place.setting}: {named} cannot be {what} on column {self.column!r}: {text}"
        )

    def _inputs(self, values: NDArray[Any]) -> Any:  # noqa: ANN401 - what the class is given
        if self.place.kind == "numeric":
            return fill_gaps(values, self.fitted)[0]
        if self.place.kind == "text":
            return without_gaps(values)
        flat = values.reshape(len(values), -1)
        return flat.astype(np.float32) if self.place.kind in ARRAY_KINDS else flat

    @cached_property
    def _projection(self) -> Projection | None:
        return projection_of(self.fitted["estimator"])

    def _transformed(self, values: NDArray[Any]) -> Floats:
        """Rows as the class transforms them, without the mark of gaps."""
        try:
            with np.errstate(over="ignore"):  # what is not finite is reported by the caller
                if self._projection is not None:
                    return self._projection(self._inputs(values))
                size = rows_at_once(self.fitted["estimator"])
                starts = range(0, len(values), size)
                return np.concatenate(
                    [self._block(values[start : start + size], size) for start in starts]
                )
        except Exception as error:  # the user's class may raise anything
            raise self._failure("used", error) from error

    def _block(self, values: NDArray[Any], size: int) -> Floats:
        """Features of at most ``size`` rows, computed with padding to as many."""
        padding = np.repeat(values[:1], size - len(values), axis=0)
        padded = np.concatenate([values, padding])
        features = self.fitted["estimator"].transform(self._inputs(padded))
        dense = features.toarray() if hasattr(features, "toarray") else features
        out = np.asarray(dense, dtype=np.float32)
        if out.ndim != 2 or len(out) != size:
            raise ValueError(f"it made shape {out.shape} of {size} rows")
        return out[: len(values)]

    def encode(self, values: NDArray[Any]) -> Floats:
        """Rows as the class transforms them, then the mark of gaps."""
        features = self._transformed(values)
        if self.place.kind != "numeric":
            return features
        return np.concatenate([features, fill_gaps(values, self.fitted)[1]], axis=1)

    @property
    def names(self) -> list[str]:
        """``column``, or ``column#index`` where there are several."""
        width = self.fitted["width"]
        own = [f"{self.column}#{index}" for index in range(width)] if width > 1 else [self.column]
        marks = gap_names(self.column, self.fitted) if self.place.kind == "numeric" else []
        return own + marks

    @property
    def shape(self) -> tuple[int, ...]:
        """The class's features, and the mark of gaps."""
        return (self.fitted["width"] + int(self.fitted.get("marked", False)),)
