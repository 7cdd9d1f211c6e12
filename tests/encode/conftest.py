"""Settings of encode."""

from __future__ import annotations

import pytest

from shoal.settings import parse
from shoal.settings.data import Encode


@pytest.fixture
def settings():
    """Makes encode settings from encoders of kinds, and of columns where they differ."""
    kinds = {
        "numeric": {"encoder": "scale"},
        "categorical": {"encoder": "one_hot"},
        "text": {"encoder": "ngrams", "analyzer": "char_wb", "ngram_range": [2, 3], "features": 32},
        "image": {"encoder": "image"},
        "vector": {"encoder": "vector"},
    }

    def make(fit_rows=1000, seed=0, **columns):
        content = {"kinds": kinds, "columns": columns, "fit_rows": fit_rows, "seed": seed}
        return parse(Encode, content, "encode")

    return make


@pytest.fixture
def kinds(columns):
    """One column of each kind that a table has."""
    return columns(n="numeric", y="label", c="categorical", t="text")


@pytest.fixture
def table(kinds, rows):
    """Six rows, four of them training."""
    return rows(
        kinds,
        range(6),
        [0, 0, 0, 0, 1, 3],
        n=[1, 3, None, 2, 9, None],
        y=["q", "p", "q", "p", "q", "other"],
        c=["u", "v", "u", None, "w", "u"],
        t=["red", None, "blue", "red blue", "green", "x"],
    )
