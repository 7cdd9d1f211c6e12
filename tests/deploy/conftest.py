"""The small pool of ``tests/pool``."""

from tests.pool.conftest import built_pool, small_pool

__all__ = ["built_pool", "small_pool"]
