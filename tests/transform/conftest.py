"""Settings of transform."""

import pytest

from shoal.settings import parse
from shoal.settings.data import Transform


@pytest.fixture
def settings():
    """Makes transform settings from steps of (step, columns, options)."""

    def make(*steps, fit_rows=1000, seed=0):
        entries = [
            {"step": step, "columns": names, "options": options} for step, names, options in steps
        ]
        content = {"steps": entries, "fit_rows": fit_rows, "seed": seed}
        return parse(Transform, content, "transform")

    return make
