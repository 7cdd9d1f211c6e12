"""Routes of validation rows, and what the gate decides on them."""

import numpy as np
import pytest

from shoal.cluster.assigner import AtomAssigner
from shoal.cluster.merge import Bounds
from shoal.formats.hashing import KEY_BYTES, hash_rows
from shoal.gate.command import decided
from shoal.gate.routing import Compared, routed
from shoal.gate.softness import SOFTNESSES
from shoal.settings.learning import Classifier, NearestAtom
from shoal.train_router.fit import nearest_atom
from shoal_edge.mixing import mixed
from shoal_edge.routing import BASE, GENERALIST

NEAREST = NearestAtom(
    method="nearest_atom", top_k=1, temperature=1.0, fallback_quantile=0.99, seed=0
)
LEARNED = Classifier(
    method="classifier",
    top_k=1,
    temperature=1.0,
    fallback_quantile=0.99,
    seed=0,
    atom_weight=0.5,
    loss_temperature=1.0,
    fit_rows=10_000,
    penalty=1.0,
)


class Said:
    """Answers to rows on a line between two partitions, of models known by the label's chance."""

    mixing, density = "mean", True

    def __init__(self, rows, right):
        rng = np.random.default_rng(0)
        place = rng.uniform(-1, 1, rows).astype(np.float32)
        self.rows = {
            "embedding": np.stack([place, np.zeros(rows, np.float32)], axis=1),
            "y": np.zeros(rows, np.int64),
            "key": hash_rows({"row": np.arange(rows)}, KEY_BYTES),
            "partition": (place > 0).astype(np.int32),
        }
        self.specialised = [0, 1]
        self._right = right

    def answer(self, expert, places):
        """Probabilities of right and wrong."""
        chance = self._right(expert, self.rows["embedding"][places, 0])
        return np.stack([chance, 1 - chance], axis=1).astype(np.float32)

    def mix(self, experts, weights, places):
        """Of several experts."""
        return mixed(lambda expert, rows: self.answer(expert, places[rows]), experts, weights)


def independent(expert, place):
    """Each specialist knows its own side a little better, and errs on rows of its own."""
    noise = np.random.default_rng(expert + 5).uniform(-0.4, 0.4, 10_000)
    rows = (np.abs(place) * 9_999).astype(int)
    return np.clip(0.5 + noise[rows], 0.01, 0.99)


def sharp(expert, place):
    """Each specialist knows its own side alone, the others know half of everything."""
    own = (place > 0) == expert if expert >= 0 else np.full(len(place), 0.5)
    return np.clip(own, 0.05, 0.95)


def compared(right, rows=600):
    said = Said(rows, right)
    places = np.arange(rows)
    known, units = np.ones(rows, bool), places.astype(np.uint64)
    return Compared(said, places, known, units, "classification", 0.95)


@pytest.fixture
def assigner():
    centres = np.array([[-1, 0], [1, 0]], np.float32)
    numbers = np.arange(2, dtype=np.int32)
    return AtomAssigner(centres, numbers, numbers, Bounds(1, 600), 600)


def test_the_nearest_atom_routes_as_the_pool_does(assigner):
    """Its threshold is that of the half that the pool's router is fitted on."""
    on = compared(sharp)

    found = routed(NEAREST, assigner, on)

    half = on.rows["key"][:, 0] & 1 == 1
    distance = assigner.nearest(on.rows["embedding"])[2]
    router = nearest_atom(NEAREST, assigner, [0, 1], distance[half])
    expected = router.route(on.rows["embedding"])
    assert all((a == b).all() for a, b in zip(found.routes, expected, strict=True))
    assert found.softness is None
    assert (found.routes.leading == BASE).any()


def test_two_specialists_are_asked_where_they_err_on_different_rows(assigner):
    """The weights that won are those of the routes, which ask two."""
    on = compared(independent)

    found = routed(NEAREST, assigner, on)

    assert found.softness in SOFTNESSES
    assert (found.routes.weights[:, 1] > 0).mean() > 0.9
    assert found.asked == 0  # the routes' own answers have decided it


def test_two_specialists_that_were_not_better_have_been_paid_for(assigner):
    """Who was asked in vain is counted."""
    found = routed(NEAREST, assigner, compared(sharp))

    assert found.routes.experts.shape[1] == 1
    assert found.asked > 500


def test_routers_that_learn_keep_their_settings(assigner):
    """Each half of the rows is routed by a router that the other has fitted."""
    found = routed(LEARNED, assigner, compared(independent))

    assert found.softness is None
    assert found.asked == 2 * 600
    assert found.flops > 0


def test_a_pool_that_holds_the_generalist_asks_it_in_place_of_the_base(assigner):
    """One whose specialists answer alone asks the base, which no row has shown to be worse."""

    def shares(right):
        on = compared(right)
        found = routed(NEAREST, assigner, on)
        said = on.answers.mix(found.routes.experts, found.routes.weights, on.places)
        whole = on.answers.answer(GENERALIST, on.places)
        return decided(on, found.routes.leading, said, whole)[0]

    assert shares(sharp) == {BASE: 1.0, 0: 1.0, 1: 1.0}
    assert shares(
        lambda expert, place: np.full(len(place), 0.3 + 0.1 * (expert == GENERALIST))
    ) == {
        BASE: 0.0,
        0: 0.0,
        1: 0.0,
    }


def test_only_rows_that_chose_nothing_are_compared(assigner):
    """Where the others say the opposite, they are not asked."""
    on = compared(sharp)
    known = on.rows["embedding"][:, 0] > 0
    half = Compared(on.answers, on.places, known, on.units, on.task, on.confidence)
    found = routed(NEAREST, assigner, half)
    said = np.where(known[:, None], [0.9, 0.1], [0.01, 0.99]).astype(np.float32)

    shares, decision = decided(half, found.routes.leading, said, on.answers.answer(-2, on.places))

    assert shares[1] == 1.0
    assert [each.rows for each in decision.experts] == [
        0,
        int((known & (found.routes.leading >= 0)).sum()),
    ]
