"""Settings of encode."""

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
    }

    def make(fit_rows=1000, seed=0, **columns):
        content = {"kinds": kinds, "columns": columns, "fit_rows": fit_rows, "seed": seed}
        return parse(Encode, content, "encode")

    return make
