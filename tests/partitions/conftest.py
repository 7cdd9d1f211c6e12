"""Small shards, as for the tests of cluster."""

from tests.cluster.conftest import shards

__all__ = ["shards"]
