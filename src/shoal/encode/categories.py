"""Encoders of categorical columns."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from shoal.encode.column import ColumnEncoder, Estimator, Target, no_value
from shoal.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shoal.encode.column import Floats


class OneHot(ColumnEncoder):
    """One feature a category of the training fold; missing is a category, unseen is all 0."""

    name = "one_hot"
    kinds = ("categorical", "text")
    Fitted: ClassVar[Any] = Estimator

    @property
    def estimator_class(self) -> type:
        """scikit-learn's."""
        from sklearn.preprocessing import OneHotEncoder

        return OneHotEncoder  # type: ignore[no-any-return]

    def fit(self, values: NDArray[Any], target: Target) -> None:  # noqa: ARG002
        """Learn the categories."""
        from sklearn.preprocessing import OneHotEncoder

        encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False, dtype=np.float32)
        self.fitted = {"estimator": encoder.fit(values[:, np.newaxis])}

    def encode(self, values: NDArray[Any]) -> Floats:
        """One feature a category, 0 or 1."""
        encoded = self.fitted["estimator"].transform(values[:, np.newaxis])
        return np.asarray(encoded, dtype=np.float32)

    def decode(self, features: Floats) -> NDArray[Any]:
        """Categories; None for a gap, and where no feature is 1."""
        values = self.fitted["estimator"].inverse_transform(features)
        return np.asarray(values, dtype=object)[:, 0]

    @property
    def names(self) -> list[str]:
        """``column=category``, and ``column (missing)``."""
        (categories,) = self.fitted["estimator"].categories_
        return [
            f"{self.column} (missing)" if category is None else f"{self.column}={category}"
            for category in categories.tolist()
        ]


class Ordinal(ColumnEncoder):
    """The category's place among the sorted ones of the training fold; unseen -1, missing -2."""

    name = "ordinal"
    kinds = ("categorical", "text")
    Fitted: ClassVar[Any] = Estimator

    @property
    def estimator_class(self) -> type:
        """scikit-learn's."""
        from sklearn.preprocessing import OrdinalEncoder

        return OrdinalEncoder  # type: ignore[no-any-return]

    def fit(self, values: NDArray[Any], target: Target) -> None:  # noqa: ARG002
        """Learn the categories, sorted.

        Raises:
            DataError: The column has no value at all.
        """
        from sklearn.preprocessing import OrdinalEncoder

        present = np.array([value for value in values if value is not None], dtype=object)
        if not len(present):
            raise no_value(self.column, len(values))
        encoder = OrdinalEncoder(
            handle_unknown="use_encoded_value", unknown_value=-1, dtype=np.float32
        )
        self.fitted = {"estimator": encoder.fit(present[:, np.newaxis])}

    def encode(self, values: NDArray[Any]) -> Floats:
        """One feature, a whole number."""
        encoded = self.fitted["estimator"].transform(values[:, np.newaxis])
        encoded[[value is None for value in values]] = -2
        return np.asarray(encoded, dtype=np.float32)

    def decode(self, features: Floats) -> NDArray[Any]:
        """Categories; None for a gap, and for an unseen category."""
        (categories,) = self.fitted["estimator"].categories_
        # -1 and -2 find the two that stand last.
        known: NDArray[Any] = np.array([*categories, None, None], dtype=object)
        values: NDArray[Any] = known[features[:, 0].astype(np.int64)]
        return values

    @property
    def names(self) -> list[str]:
        """The column's name."""
        return [self.column]


class _TargetFitted(Estimator):
    names: list[str]


class TargetMean(ColumnEncoder):
    """The label's mean among training rows of the category, shrunk towards the overall mean.

    One feature for numbers and for two classes, one a class for more. Training rows are encoded
    with means that their own labels are part of, since every row is encoded alike: prefer
    ``one_hot`` where categories are rare.

    Source:
        Micci-Barreca 2001, as scikit-learn's ``TargetEncoder``.
    """

    name = "target"
    kinds = ("categorical", "text")
    Fitted: ClassVar[Any] = _TargetFitted

    @property
    def estimator_class(self) -> type:
        """scikit-learn's."""
        from sklearn.preprocessing import TargetEncoder

        return TargetEncoder  # type: ignore[no-any-return]

    def fit(self, values: NDArray[Any], target: Target) -> None:
        """Learn the label's mean in each category.

        Raises:
            DataError: The sample holds one class only.
        """
        from sklearn.preprocessing import TargetEncoder

        kind = "continuous"
        names = [f"{self.column} (mean label)"]
        if target.classes is not None:
            codes = np.unique(target.y).tolist()
            if len(codes) < 2:
                raise DataError(
                    f"column {self.column!r}: the rows that encoders are fitted on hold one class "
                    f"only; raise encode.fit_rows or use another encoder than 'target'"
                )
            kind = "binary" if len(codes) == 2 else "multiclass"
            told = codes[1:] if len(codes) == 2 else codes
            names = [f"{self.column} (share of {target.classes[code]})" for code in told]
        encoder = TargetEncoder(target_type=kind, random_state=self.place.seed)
        with warnings.catch_warnings():
            # Many classes are no mistake here: the type of the label is known.
            warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
            encoder.fit(values[:, np.newaxis], target.y)
        self.fitted = {"estimator": encoder, "names": names}

    def encode(self, values: NDArray[Any]) -> Floats:
        """One feature, or one a class."""
        encoded = self.fitted["estimator"].transform(values[:, np.newaxis])
        return np.asarray(encoded, dtype=np.float32)

    @property
    def names(self) -> list[str]:
        """``column (mean label)``, or ``column (share of class)``."""
        return list(self.fitted["names"])
