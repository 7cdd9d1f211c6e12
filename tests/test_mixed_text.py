"""The benchmark on mixed text, and the model of the next byte that it trains."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.mixed_text import longest, shares_window
from examples.next_byte import NextByte


def test_a_text_is_seen_where_it_shares_a_whole_window_with_a_training_text():
    """At any place of either; one byte less, or texts that are too short, share none."""
    training = [b"the quick brown fox", b"jumps", b""]

    found = shares_window(
        [b"a quick brown dog", b"quick brow", b"xx quick xx", b"jumps", b""], training, length=11
    )

    assert found == [True, False, False, False, False]
    assert shares_window([b"jumps"], training, length=5) == [True]


def test_jobs_go_to_the_node_that_is_free_first_the_longest_before():
    """Nine jobs on eight nodes: the shortest two share one."""
    assert longest([5, 5, 5, 5, 5, 5, 5, 2, 1]) == 5
    assert longest([5, 5, 5, 5, 5, 5, 5, 4, 3]) == 7


@pytest.fixture
def rows() -> torch.Tensor:
    """Three rows of 30 bytes, the last one two bytes shorter."""
    x = torch.randint(1, 257, (3, 30), generator=torch.Generator().manual_seed(0))
    x[2, 28:] = 0
    return x


def test_the_loss_of_a_row_is_the_mean_of_its_bytes_behind_the_prefix(rows):
    """Byte by byte from the eight before it, each with a table of its own; padding is no byte."""
    torch.manual_seed(0)
    model = NextByte(257, width=5, prefix=20)
    tables = model.tables.view(8, 257, 5)

    losses = model.row_losses((rows, torch.empty(3, 0)))

    for row, loss in zip(rows, losses, strict=True):
        found = []
        for place in range(20, 30):
            inner = sum(tables[at, row[place - 8 + at]] for at in range(8)) + model.bias
            logits = model.leave(torch.relu(model.middle(torch.relu(inner))))
            if row[place]:
                found.append(-torch.log_softmax(logits, dim=0)[row[place]].item())
        assert loss.item() == pytest.approx(np.mean(found), rel=1e-5)


def test_what_comes_before_eight_bytes_of_the_prefix_changes_no_loss(rows):
    """A model of so few bytes cannot see what routes a row, only its end."""
    model = NextByte(257, width=5, prefix=20)
    changed = rows.clone()
    changed[:, :12] = 1

    batches = [(each, torch.empty(3, 0)) for each in (rows, changed)]

    one, other = map(model.row_losses, batches)
    assert torch.equal(one, other)
