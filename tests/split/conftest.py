"""Settings for the tests of split."""

import pytest

from shoal.settings.data import Sources, Split


@pytest.fixture
def split_settings():
    """Split settings, hash by default."""

    def make(method="hash", **changes):
        settings = {
            "fractions": {"train": 0.6, "validation": 0.2, "test": 0.2},
            "column": None,
            "values": {},
            "outside": [],
            "seed": 0,
        }
        return Split(method=method, **(settings | changes))

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
