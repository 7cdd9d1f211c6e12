"""Embeddings by which rows are routed."""

import numpy as np
import pytest

from shoal.embed.apply import routing_embedding
from shoal.embed.embedder import IdentityEmbedder


@pytest.mark.parametrize(("by_group", "rows"), [(False, [0, 1, 2, 3]), (True, [2, 1, 2, 1])])
def test_a_row_is_routed_by_its_own_embedding_or_by_that_of_its_groups_leading_row(by_group, rows):
    """The one with the smallest key."""
    x = np.arange(8, dtype=np.float32).reshape(4, 2)
    key = np.array([[5], [1], [3], [7]], np.uint8)
    arrays = {"x": x, "key": key, "unit": np.array([9, 4, 9, 4], np.uint64)}

    found = routing_embedding(IdentityEmbedder((2,)), arrays, by_group=by_group)

    np.testing.assert_array_equal(found, x[rows])
