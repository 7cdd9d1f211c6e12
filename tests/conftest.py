"""What all tests share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data():
    """Folder of the real datasets; the test is skipped where they are not."""
    default = Path(__file__).parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("SHOAL_SHARED_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no datasets at {folder}; set SHOAL_SHARED_DATA to their folder")
    return folder
