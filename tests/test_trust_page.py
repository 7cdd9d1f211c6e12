"""The page about trust and its tests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NAMED = re.findall(r"`(tests/\S+\.py)::(\w+)`", (ROOT / "docs" / "trust.md").read_text())


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_each_test_that_the_page_names_is_there(path, name):
    """A sentence of docs/trust.md does not outlive the test that shows it."""
    assert f"\ndef {name}(" in (ROOT / path).read_text()
