"""Which specialists were chosen, and which rows a router learns from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from benchmarks.rows_after_edit import Lab
from shoal.embed.embedder import IdentityEmbedder
from shoal.errors import CorruptError
from shoal.formats.hashing import uniform
from shoal.formats.json_file import write_json
from shoal.partitions.reader import Index, halves
from shoal.settings.learning import NearestNeighbours
from shoal.train_router.command import chosen_specialists, routing_rows

if TYPE_CHECKING:
    from pathlib import Path

SPECIALIST = "../../specialists/a/p/model.safetensors"
CHOICE = {
    "partition": 3,
    "digests": {"train": "a", "validation": "b"},
    "rows": 9,
    "point": "p",
    "points": {"p": {"lr": 0.1}},
    "specialist": SPECIALIST,
    "losses": {"p": 0.5},
    "margin": None,
    "next": [],
}


def choice(folder: Path, **changes: Any) -> Path:
    """A choice's document."""
    path = folder / "choices" / "a" / "choice.json"
    write_json(path, CHOICE | changes)
    return path


def test_a_partition_has_the_file_that_it_chose(tmp_path: Path):
    """By the partition's number."""
    file = tmp_path / "specialists" / "a" / "p" / "model.safetensors"

    assert chosen_specialists([choice(tmp_path)], [file]) == {3: file}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"partition": "x"}, "partition: Input should be a valid integer, not 'x'; remove it"),
        ({"specialist": "other"}, "specialist: 'other' is no input"),
    ],
)
def test_a_choice_that_is_none_is_named(tmp_path: Path, changes: dict[str, Any], line: str):
    """Its file and the key that is wrong."""
    path = choice(tmp_path, **changes)

    with pytest.raises(CorruptError, match=rf"choice\.json: {line}"):
        chosen_specialists([path], [tmp_path / "model.safetensors"])


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """Rows of two sites in four partitions."""
    lab = Lab(tmp_path_factory.mktemp("lab"), sites=2, site_rows=1000)
    return Index(lab.run().index)


@pytest.mark.parametrize("fit_rows", [1, 40, 10_000])
def test_routers_that_learn_take_rows_that_chose_no_grid_point(index: Index, fit_rows: int):
    """Those with the smallest draws, in order of partition and row hash."""
    settings = NearestNeighbours(
        method="knn", neighbours=3, atom_weight=0.5, loss_temperature=1, fit_rows=fit_rows,
        top_k=1, temperature=1, fallback_quantile=0.9, seed=3,
    )  # fmt: skip
    rows = index.gather(range(4), "validation", ("x", "y", "key", "partition"))
    second = np.flatnonzero(halves(rows) == 1)
    draws = uniform(rows["key"][second], 3, "router")
    wanted = np.sort(second[np.argsort(draws)[:fit_rows]])

    found = routing_rows(index, settings, IdentityEmbedder(rows["x"].shape[1:]))

    assert len(second) > 40
    for name in ("x", "y", "partition"):
        np.testing.assert_array_equal(found[name], rows[name][wanted])
    np.testing.assert_array_equal(found["embedding"], found["x"])
