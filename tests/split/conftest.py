"""Settings for the tests of split."""

import pytest

from shoal.settings import parse
from shoal.settings.data import Sources, Split


@pytest.fixture
def split_settings():
    """Split settings, hash by default."""
    shares = {"fractions": {"train": 0.6, "validation": 0.2, "test": 0.2}}
    plain = shares | {"column": None, "values": {}, "outside": []}
    own = {
        "k_fold": {"folds": 5, "fold": 0},
        "similarity": shares | {"similarity": 0.8, "characters": 5, "digits": 3},
    }

    def make(method="hash", **changes):
        settings = {"method": method, "seed": 0} | own.get(method, plain) | changes
        return parse(Split, settings, "split")

    return make


@pytest.fixture
def source_settings():
    """Sources of some files."""

    def make(files, columns, **changes):
        settings = {
            "folder": "",
            "task": "classification",
            "undeclared": "infer",
            "shuffle_labels": False,
            "batch_rows": 4,
        }
        return Sources(files=files, columns=columns, **(settings | changes))

    return make
