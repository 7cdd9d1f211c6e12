"""What models say of all partitions' rows, merged from files, against the models themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from benchmarks.rows_after_edit import MODEL, ROUTER, SHAPES, Lab, after_edit
from shoal.ask.answers import Answers
from shoal.cluster.assigner import load_assigner
from shoal.formats.fitted_state import load_state
from shoal.partitions.reader import Index
from shoal.plan.paths import jobs_of, outputs
from shoal.plan.stages import STAGES
from shoal.train_router.fit import nearest_atom
from shoal.train_specialists.experts import Experts
from shoal.training.model import trained_model
from shoal_edge.routing import BASE, GENERALIST

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from shoal.plan.layout import Layout
    from shoal.settings.learning import NearestAtom

SITES, SITE_ROWS = 3, 600


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """All jobs, done."""
    made = Lab(tmp_path_factory.mktemp("lab"), SITES, SITE_ROWS)
    made.run()
    return made


class Asked:
    """Answers of an experiment, its models, and its rows as the index reads them."""

    def __init__(self, lab: Lab, fold: str = "test") -> None:
        layout = lab.layout
        index = layout.read_index()
        assert index is not None
        self.index = Index(layout.index)
        models = {entry["partition"]: layout.candidates(entry)[0] for entry in index["partitions"]}
        models |= {BASE: layout.file("base_fit.base")}
        models |= {GENERALIST: layout.file("evaluate_generalist.model", link="generation")}
        nets = {n: trained_model(MODEL, SHAPES, load_state(path)[0]) for n, path in models.items()}
        self.experts = Experts(nets, SHAPES.task)
        self.numbers = sorted(n for n in nets if n >= 0)
        self.asked_anew: list[int] = []
        names = ("x", "key", "hash", "partition")
        self.rows = Index(layout.index).gather(self.numbers, fold, names)
        self.rows["embedding"] = self.rows["x"]  # the embedder leaves rows as they are
        paths = [
            outputs(layout, STAGES["ask"], job, index)[fold]
            for job in jobs_of(layout, STAGES["ask"], index)
        ]
        self.answers = Answers(reversed(paths), self.index, fold, self._ask)

    def _ask(self, expert: int, x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float32]:
        self.asked_anew.append(len(x))
        return self.experts.answer(expert, x, y)

    def routes(
        self, layout: Layout, k: int, settings: NearestAtom
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Of the nearest atoms."""
        assigner = load_assigner(layout.file("cluster_fit.assigner"))
        router = nearest_atom(settings, assigner, self.numbers, np.empty(0, dtype=np.float32))
        return router.route(self.rows["embedding"], k=k)[:2]


def test_rows_are_those_of_the_index_in_canonical_order(lab: Lab) -> None:
    """Whatever the order of the files."""
    asked = Asked(lab)

    for name in ("key", "hash", "embedding", "partition"):
        np.testing.assert_array_equal(asked.answers.rows[name], asked.rows[name])


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("fold", ["validation", "test"])
def test_the_two_nearest_specialists_were_asked(lab: Lab, fold: str, k: int) -> None:
    """The answers have the models' own bits, no row is read and no model asked again."""
    asked = Asked(lab, fold)
    experts, weights = asked.routes(lab.layout, k, ROUTER)
    assert len(np.unique(experts)) > 2

    found = asked.answers.mix(experts, weights)

    np.testing.assert_array_equal(found, asked.experts.mix(asked.rows["x"], experts, weights))
    assert (asked.asked_anew, asked.index.rows_read) == ([], 0)


def test_any_specialist_answers_any_row(lab: Lab) -> None:
    """One that was not asked is asked about just those rows, with the same bits as all at once."""
    asked = Asked(lab)
    draw = np.random.default_rng(0)
    places = draw.permutation(len(asked.rows["key"]))[:100]
    pool = [BASE, GENERALIST, *asked.numbers]
    experts = draw.choice(pool, (100, 3)).astype(np.int32)
    weights = np.full((100, 3), 1 / 3, dtype=np.float32)

    found = asked.answers.mix(experts, weights, places)

    expected = asked.experts.mix(asked.rows["x"][places], experts, weights)
    np.testing.assert_array_equal(found, expected)
    assert 0 < sum(asked.asked_anew) < (experts >= 0).sum()


def test_labels_add_up_over_partitions(lab: Lab) -> None:
    """Shares of the classes among all training rows."""
    asked = Asked(lab)

    y = asked.index.gather(asked.numbers, "train", ("y",))["y"]

    np.testing.assert_array_equal(asked.answers.label_shares(), np.bincount(y) / len(y))


def test_rows_outside_every_fold_come_with_the_test_rows(lab: Lab) -> None:
    """Embedding and partition of each."""
    asked = Asked(lab)

    outside = asked.index.gather(asked.numbers, "outside", ("x", "partition"))
    outside["embedding"] = outside.pop("x")

    assert len(outside["partition"])
    for name, values in outside.items():
        np.testing.assert_array_equal(asked.answers.outside[name], values)
    assert Asked(lab, "validation").answers.outside == {}


def test_random_partitions_answer_by_a_rows_key(lab: Lab) -> None:
    """Of two halves, each specialist answers the rows that draw it."""
    asked, layout = Asked(lab), lab.layout
    tensors = load_state(layout.file("evaluate_random.models", basis="generation"))[0]
    own = [
        {name[2:]: value for name, value in tensors.items() if name.startswith(f"{n}/")}
        for n in range(2)
    ]
    nets = {n: trained_model(MODEL, SHAPES, weights) for n, weights in enumerate(own)}
    said = [Experts(nets, SHAPES.task).answer(n, asked.rows["x"]) for n in range(2)]

    which = [(asked.answers.by_chance == each).all(axis=1) for each in said]

    assert (which[0] ^ which[1]).all()
    assert 0.3 < which[0].mean() < 0.7


def test_after_an_edit_rows_read_follow_what_changed(tmp_path: Path) -> None:
    """For twice the shards and partitions a run reads twice the rows, an edit no more of them."""
    small, large = (after_edit(tmp_path / str(n), n, SITE_ROWS) for n in (3, 6))

    assert large["whole"].total() > 1.8 * small["whole"].total()
    assert large["again"].total() < 1.3 * small["again"].total()
    assert large["again"]["evaluate"] == large["again"]["gate"] == 0
    assert large["again"]["train_router"] == 0
