"""Fitting the router, its scores, and routing."""

from __future__ import annotations

import numpy as np
import pytest

from shoal.cluster.assigner import AtomAssigner, ColumnAssigner
from shoal.cluster.merge import Bounds
from shoal.formats.fitted_state import load_state, save_state
from shoal.settings.learning import Classifier, NearestAtom, NearestNeighbours
from shoal.train_router.fit import fit_router, soft_targets
from shoal.train_router.router import Router, log_softmax, scores_from_tensors
from shoal_edge.routing import BASE, ByClassifier, ByDistance, ByNeighbours

COMMON = {"top_k": 1, "temperature": 1.0, "fallback_quantile": 1.0, "seed": 0}
LEARNED = COMMON | {"atom_weight": 0.5, "loss_temperature": 0.2, "fit_rows": 500}
NEAREST = NearestAtom(method="nearest_atom", **COMMON)
KNN = NearestNeighbours(method="knn", neighbours=5, **LEARNED)
CLASSIFIER = Classifier(method="classifier", penalty=1.0, **LEARNED)
ALL = pytest.mark.parametrize(
    "settings", [NEAREST, KNN, CLASSIFIER], ids=["nearest_atom", "knn", "classifier"]
)
LOSS_AWARE = pytest.mark.parametrize("settings", [KNN, CLASSIFIER], ids=["knn", "classifier"])
CENTRES = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]], np.float32)
ASSIGNER = AtomAssigner(
    CENTRES, np.arange(4, dtype=np.int32), np.array([0, 1, 2, 2], np.int32), Bounds(0, 99), 99
)
COLOURS = ColumnAssigner("colour", ["red", "green", "blue"], np.array([5, 4, 3]))


def some_rows(count=300, seed=0):
    """Rows around the four centres, and their partition."""
    rng = np.random.default_rng(seed)
    rows = CENTRES[rng.integers(0, 4, count)] + rng.normal(size=(count, 2))
    rows = rows.astype(np.float32)
    return rows, ASSIGNER.assign(rows)


def losses_of(best, trained):
    """Losses of 0.1 for the best specialist of each row and 2 for the others."""
    return np.where(best[:, None] == np.array(trained)[None], 0.1, 2.0)


def changed(settings, **values):
    return settings.model_copy(update=values)


@pytest.fixture
def fitted():
    """Fits a router whose specialists are best at home."""

    def fit(settings, trained=(0, 1, 2), count=300):
        rows, partition = some_rows(count)
        losses = losses_of(partition, trained) if trained else np.empty((count, 0))
        return fit_router(settings, ASSIGNER, trained, rows, partition, losses)

    return fit


@ALL
def test_rows_go_to_the_specialist_of_their_partition(fitted, settings):
    """Where every specialist is best at home, every method routes home, with all the weight."""
    rows, partition = some_rows()

    routes = fitted(settings).route(rows)

    assert (routes.experts[:, 0] == partition).mean() > 0.99
    assert routes.experts.shape == (300, 1)
    np.testing.assert_array_equal(routes.weights, np.ones((300, 1), np.float32))
    np.testing.assert_array_equal(routes.distance, ASSIGNER.nearest(rows)[2])


def test_nearest_atom_is_the_assigner(fitted):
    """The nearest-atom router's first choice is the assigner's partition for every row."""
    rows = np.random.default_rng(3).uniform(2, 8, size=(500, 2)).astype(np.float32)

    routes = changed_threshold(fitted(NEAREST)).route(rows)

    np.testing.assert_array_equal(routes.experts[:, 0], ASSIGNER.assign(rows))


def changed_threshold(router, threshold=np.inf):
    fields = {name: getattr(router, name) for name in router.__dataclass_fields__}
    return Router(**fields | {"threshold": threshold})


@LOSS_AWARE
def test_losses_overrule_the_nearest_atom(settings):
    """Where another specialist is better on a whole region, the learned router sends it there."""
    rows, partition = some_rows()
    best = np.where(partition == 0, 1, partition)
    aware = changed(settings, atom_weight=0.1)

    router = fit_router(aware, ASSIGNER, (0, 1, 2), rows, partition, losses_of(best, (0, 1, 2)))

    assert (router.route(rows).experts[:, 0] == best).mean() > 0.99


@LOSS_AWARE
def test_atom_weight_holds_the_router_to_the_nearest_atom(settings):
    """With all weight on the atom, losses do not matter."""
    rows, partition = some_rows()
    best = np.where(partition == 0, 1, partition)
    stubborn = changed(settings, atom_weight=1.0)

    router = fit_router(stubborn, ASSIGNER, (0, 1, 2), rows, partition, losses_of(best, (0, 1, 2)))

    assert (router.route(rows).experts[:, 0] == partition).mean() > 0.99


@ALL
def test_top_two_of_a_router_fitted_for_one(fitted, settings):
    """One fitted router gives top-1 and top-2: the same first choice, weights that sum to one."""
    rows = np.random.default_rng(3).uniform(3, 7, size=(200, 2)).astype(np.float32)
    router = changed_threshold(fitted(changed(settings, atom_weight=0.3)))

    one, two = router.route(rows, k=1), router.route(rows, k=2)

    np.testing.assert_array_equal(two.experts[:, 0], one.experts[:, 0])
    assert two.experts.shape == (200, 2)
    np.testing.assert_allclose(two.weights.sum(axis=1), 1, rtol=1e-6)
    assert (two.weights[:, 0] >= two.weights[:, 1]).all()
    used = two.weights[:, 1] > 0
    assert used.any()
    assert (two.experts[used, 0] != two.experts[used, 1]).all()
    assert (two.experts[~used, 1] == BASE).all()


def test_nearest_atom_weights_are_the_formula(fitted):
    """Weights are the softmax of -d^2 / (2 T s^2) over the chosen, s the median distance."""
    rows, _ = some_rows()
    router = fitted(changed(NEAREST, temperature=3.0))
    middle = np.array([[4.0, 0.5]], np.float32)

    routes = changed_threshold(router).route(middle, k=2)

    scale = np.median(ASSIGNER.nearest(rows)[2])
    squared = np.sort(ASSIGNER.distances_to_partitions(middle).astype(float)[0] ** 2)[:2]
    weight = np.exp(-squared / (2 * 3.0 * scale**2))
    np.testing.assert_allclose(routes.weights[0], weight / weight.sum(), rtol=1e-5)
    assert routes.experts[0].tolist() == [0, 1]


@ALL
def test_temperature_softens_the_weights(fitted, settings):
    """A higher temperature gives the second specialist more."""
    rows = np.random.default_rng(3).uniform(3, 7, size=(100, 2)).astype(np.float32)

    second = [
        changed_threshold(fitted(changed(settings, temperature=t))).route(rows, k=2).weights[:, 1]
        for t in (0.5, 5.0)
    ]

    assert (second[0] <= second[1]).all()
    assert second[0].mean() < second[1].mean()


@ALL
def test_far_rows_go_to_the_base(fitted, settings):
    """Rows farther than the validation quantile are the base's, the nearer ones are not."""
    rows, _ = some_rows()
    far = np.array([[200.0, 200.0]], np.float32)
    router = fitted(changed(settings, fallback_quantile=0.9))

    near, away = router.route(rows, k=2), router.route(far, k=2)

    distance = ASSIGNER.nearest(rows)[2]
    to_base = near.experts[:, 0] == BASE
    np.testing.assert_array_equal(to_base, distance > np.quantile(distance.astype(float), 0.9))
    assert away.experts.tolist() == [[BASE, BASE]]
    assert away.weights.tolist() == [[1, 0]]


@ALL
def test_no_validation_row_is_far_at_quantile_one(fitted, settings):
    """With the whole of validation within the threshold, none of its rows falls back."""
    assert (fitted(settings).route(some_rows()[0]).experts >= 0).all()


@ALL
def test_untrained_partition_goes_to_the_base(fitted, settings):
    """A row whose partition has no specialist is the base's, and no other row asks for it."""
    rows, partition = some_rows()

    routes = fitted(settings, trained=(0, 2)).route(rows, k=3)

    assert routes.experts.shape == (300, 2)
    assert (routes.experts[partition == 1] == BASE).all()
    assert (routes.experts != 1).all()
    home = routes.experts[partition != 1, 0] == partition[partition != 1]
    assert home.mean() > 0.99


@ALL
@pytest.mark.parametrize("trained", [(), (2,)])
def test_few_specialists_are_enough(fitted, settings, trained):
    """With one specialist or none every method still routes."""
    rows, partition = some_rows()

    routes = fitted(settings, trained=trained).route(rows, k=2)

    expected = np.where(np.isin(partition, trained), partition, BASE)
    assert routes.experts[:, 0].tolist() == expected.tolist()
    assert (routes.weights[:, 0] == 1).all()


@ALL
def test_no_validation_rows_mean_no_threshold(settings):
    """Without rows to fit on, the router is the nearest atom's and nothing is far."""
    nothing = np.empty((0, 2), np.float32)
    router = fit_router(
        settings, ASSIGNER, (0, 1, 2), nothing, np.empty(0, np.int32), np.empty((0, 3))
    )

    assert router.route(CENTRES * 1000).experts[:, 0].tolist() == [0, 1, 2, 2]


@ALL
@pytest.mark.parametrize("size", [1, 37])
def test_route_of_a_row_does_not_depend_on_batch_mates(fitted, settings, size):
    """The same rows in other batches and another order give the same bits."""
    rows = np.random.default_rng(4).uniform(-3, 13, size=(300, 2)).astype(np.float32)
    order = np.random.default_rng(5).permutation(300)
    router = fitted(settings)

    whole = router.route(rows, k=2)
    parts = [router.route(rows[order][s : s + size], k=2) for s in range(0, 300, size)]

    for name, values in whole._asdict().items():
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(joined, values[order])


@ALL
def test_fit_does_not_depend_on_the_order_of_rows(settings):
    """Validation rows, and specialists, in another order give the same router, bit for bit."""
    rows, partition = some_rows()
    losses = np.random.default_rng(1).uniform(size=(300, 3))
    order = np.random.default_rng(2).permutation(300)
    few = changed(settings, fit_rows=200) if settings is not NEAREST else settings

    one = fit_router(few, ASSIGNER, (0, 1, 2), rows, partition, losses)
    two = fit_router(
        few, ASSIGNER, (2, 0, 1), rows[order], partition[order], losses[order][:, [2, 0, 1]]
    )

    tensors, meta = one.state()
    again, same = two.state()
    assert meta == same
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(tensor, again[name])


@ALL
@pytest.mark.parametrize("assigner", [ASSIGNER, COLOURS], ids=["atoms", "column"])
def test_router_survives_its_file(tmp_path, settings, assigner):
    """What is loaded needs nothing else and routes with the same bits."""
    rows, _ = some_rows()
    values = np.array(["red", "green", "blue", "pink"], dtype=object)[np.arange(300) % 4]
    partition = assigner.assign(rows, values)
    losses = losses_of(partition, (0, 1))
    router = fit_router(settings, assigner, (0, 1), rows, partition, losses)

    save_state(tmp_path / "router.safetensors", *router.state())
    loaded = Router.from_state(*load_state(tmp_path / "router.safetensors"))

    for ours, theirs in zip(
        router.route(rows, values, k=2), loaded.route(rows, values, k=2), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    assert loaded.flops_per_row == router.flops_per_row
    assert (loaded.top_k, loaded.threshold) == (router.top_k, router.threshold)


def test_column_value_routes():
    """By column, the value names the specialist; unseen, missing and untrained go to the base."""
    rows = np.zeros((5, 2), np.float32)
    router = fit_router(NEAREST, COLOURS, (0, 2), rows, np.zeros(5, np.int32), np.empty((5, 0)))

    routes = router.route(rows, ["red", "green", "blue", "pink", None], k=2)

    assert routes.experts.tolist() == [[0, -1], [-1, -1], [2, -1], [-1, -1], [-1, -1]]
    assert routes.weights.tolist() == [[1, 0]] * 5


def test_soft_targets_are_the_formula():
    """A share for the home partition, the rest by the softmax of minus the losses."""
    losses = np.array([[0.0, 1.0, np.inf]])

    target = soft_targets(np.array([1]), losses, atom_weight=0.25, loss_temperature=0.5)

    other = np.exp([0.0, -2.0]) / np.exp([0.0, -2.0]).sum()
    expected = [0.75 * other[0], 0.25 + 0.75 * other[1], 0.0]
    np.testing.assert_allclose(target, [expected])


@pytest.mark.parametrize("losses", [[[np.nan, 1.0]], [[np.inf, np.inf]]])
def test_losses_that_are_no_numbers_are_refused(losses):
    """A loss that is not a number never becomes a target."""
    with pytest.raises(ValueError, match="loss on a validation row is not a number"):
        soft_targets(np.array([0]), np.array(losses), 0.5, 1.0)


def test_classifier_is_logistic_regression_towards_soft_targets():
    """The fitted map has the gradient of the weighted, penalised log-loss at zero."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200, 2)).astype(np.float32) * 3
    partition = ASSIGNER.assign(rows + 5).astype(np.int32)
    losses = rng.uniform(size=(200, 3))

    router = fit_router(CLASSIFIER, ASSIGNER, (0, 1, 2), rows, partition, losses)

    target = soft_targets(partition.astype(np.int64), losses, 0.5, 0.2)
    scores = router.scores
    found = np.exp(log_softmax(scores.scores(rows, np.zeros((200, 3), np.float32))))
    spread = rows.astype(float).std(axis=0)
    scaled = (rows - rows.astype(float).mean(axis=0)) / spread
    gradient = scaled.T @ (found - target) + scores.weight * spread[:, None] / CLASSIFIER.penalty
    np.testing.assert_allclose(gradient, 0, atol=0.05)
    np.testing.assert_allclose((found - target).sum(axis=0), 0, atol=0.05)


@ALL
def test_flops_are_counted(fitted, settings):
    """Routing costs the assignment and the scores; fitting costs what learning scores takes."""
    router = fitted(settings)

    assignment = 2 * 4 * 2
    scores = {"nearest_atom": 0, "knn": 2 * 300 * 2, "classifier": 2 * 2 * 3}
    assert router.flops_per_row == assignment + scores[settings.method]
    iteration = 4 * 300 * 2 * 3 if settings.method == "classifier" else 1
    assert (router.fit_flops > 0) == (settings.method == "classifier")
    assert router.fit_flops % iteration == 0


RNG = np.random.default_rng(0)
REFERENCE = RNG.normal(size=(50, 7)).astype(np.float32)
TARGET = RNG.dirichlet(np.ones(4), size=50).astype(np.float32)
SCORES = {
    "nearest_atom": ByDistance(0.7),
    "knn": ByNeighbours(REFERENCE, TARGET, 5),
    "classifier": ByClassifier(RNG.normal(size=(7, 4)), RNG.normal(size=4)),
}


def some_rows_scores(count, seed=1):
    rng = np.random.default_rng(seed)
    distance = rng.uniform(0, 3, size=(count, 4)).astype(np.float32)
    return rng.normal(size=(count, 7)).astype(np.float32), distance


def probabilities(scores, embedding, distance):
    return np.exp(log_softmax(scores.logits(scores.scores(embedding, distance))))


def test_distance_scores_are_the_formula():
    """Softmax of minus the squared distance over twice the squared scale."""
    embedding, distance = some_rows_scores(20)

    found = probabilities(ByDistance(0.7), embedding, distance)

    weight = np.exp(-(distance.astype(float) ** 2) / (2 * 0.7**2))
    np.testing.assert_allclose(found, weight / weight.sum(1, keepdims=True), rtol=1e-9)


def test_neighbours_scores_are_their_mean_target():
    """The probabilities are the mean target of the nearest references."""
    embedding, distance = some_rows_scores(20)

    found = probabilities(SCORES["knn"], embedding, distance)

    gaps = np.linalg.norm(embedding[:, None] - REFERENCE[None], axis=2)
    expected = TARGET[np.argsort(gaps, axis=1)[:, :5]].mean(axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_fewer_references_than_neighbours_all_vote():
    """Where there are fewer references than neighbours asked for, all vote."""
    embedding, distance = some_rows_scores(3)

    found = probabilities(ByNeighbours(REFERENCE[:2], TARGET[:2], 9), embedding, distance)

    np.testing.assert_allclose(found, np.repeat([TARGET[:2].mean(0)], 3, 0), rtol=1e-5)


def test_classifier_scores_are_the_formula():
    """Softmax of the linear map of the embedding."""
    embedding, distance = some_rows_scores(20)
    classifier = SCORES["classifier"]

    found = probabilities(classifier, embedding, distance)

    weight = np.exp(embedding.astype(float) @ classifier.weight + classifier.bias)
    np.testing.assert_allclose(found, weight / weight.sum(1, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize("method", SCORES)
@pytest.mark.parametrize("size", [1, 11, 256])
def test_score_of_a_row_does_not_depend_on_batch_mates(method, size):
    """The same rows in other batches and another order give the same bits."""
    embedding, distance = some_rows_scores(400)
    order = np.random.default_rng(2).permutation(400)
    scores = SCORES[method]

    whole = scores.scores(embedding, distance)[order]
    batches = [order[start : start + size] for start in range(0, 400, size)]

    parts = [scores.scores(embedding[rows], distance[rows]) for rows in batches]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("method", SCORES)
def test_scores_survive_their_tensors(method):
    """Scores built again from their tensors give the same bits."""
    rows = some_rows_scores(30)

    again = scores_from_tensors(method, SCORES[method].tensors(), None, 4)

    expected = SCORES[method].scores(*rows)
    np.testing.assert_array_equal(again.scores(*rows), expected)
    assert again.flops_per_row == SCORES[method].flops_per_row


def test_log_softmax_of_impossible_and_large_values():
    """Minus infinity has probability zero, and large logits do not overflow."""
    found = np.exp(log_softmax(np.array([[1e4, -np.inf, 1e4]])))

    np.testing.assert_allclose(found, [[0.5, 0.0, 0.5]])
