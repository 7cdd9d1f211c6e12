"""A small store."""

from __future__ import annotations

import pytest

from shoal.model_store import ModelStore
from shoal.model_store.backends import Memory
from tests.model_store.tampering import pool


@pytest.fixture
def store():
    """A store in memory with a base and forty models."""
    models = pool()
    store = ModelStore(Memory())
    store.save({"base": models.pop("base")})
    store.save(models, base="base")
    return store
