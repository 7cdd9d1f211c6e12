"""How specialists are scored for a row."""

import numpy as np
import pytest

from shoal.train_router.router import (
    ByClassifier,
    ByDistance,
    ByNeighbours,
    log_softmax,
    scores_from_tensors,
)

RNG = np.random.default_rng(0)
REFERENCE = RNG.normal(size=(50, 7)).astype(np.float32)
TARGET = RNG.dirichlet(np.ones(4), size=50).astype(np.float32)
SCORES = {
    "nearest_atom": ByDistance(0.7),
    "knn": ByNeighbours(REFERENCE, TARGET, 5),
    "classifier": ByClassifier(RNG.normal(size=(7, 4)), RNG.normal(size=4)),
}


def some_rows(count, seed=1):
    rng = np.random.default_rng(seed)
    distance = rng.uniform(0, 3, size=(count, 4)).astype(np.float32)
    return rng.normal(size=(count, 7)).astype(np.float32), distance


def probabilities(scores, embedding, distance):
    return np.exp(log_softmax(scores.logits(scores.scores(embedding, distance))))


def test_distance_scores_are_the_formula():
    """Softmax of minus the squared distance over twice the squared scale."""
    embedding, distance = some_rows(20)

    found = probabilities(ByDistance(0.7), embedding, distance)

    weight = np.exp(-(distance.astype(float) ** 2) / (2 * 0.7**2))
    np.testing.assert_allclose(found, weight / weight.sum(1, keepdims=True), rtol=1e-9)


def test_neighbours_scores_are_their_mean_target():
    """The probabilities are the mean target of the nearest references."""
    embedding, distance = some_rows(20)

    found = probabilities(SCORES["knn"], embedding, distance)

    gaps = np.linalg.norm(embedding[:, None] - REFERENCE[None], axis=2)
    expected = TARGET[np.argsort(gaps, axis=1)[:, :5]].mean(axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_fewer_references_than_neighbours_all_vote():
    """Where there are fewer references than neighbours asked for, all vote."""
    embedding, distance = some_rows(3)

    found = probabilities(ByNeighbours(REFERENCE[:2], TARGET[:2], 9), embedding, distance)

    np.testing.assert_allclose(found, np.repeat([TARGET[:2].mean(0)], 3, 0), rtol=1e-5)


def test_classifier_scores_are_the_formula():
    """Softmax of the linear map of the embedding."""
    embedding, distance = some_rows(20)
    classifier = SCORES["classifier"]

    found = probabilities(classifier, embedding, distance)

    weight = np.exp(embedding.astype(float) @ classifier.weight + classifier.bias)
    np.testing.assert_allclose(found, weight / weight.sum(1, keepdims=True), rtol=1e-9)


@pytest.mark.parametrize("method", SCORES)
@pytest.mark.parametrize("size", [1, 11, 256])
def test_score_of_a_row_does_not_depend_on_batch_mates(method, size):
    """The same rows in other batches and another order give the same bits."""
    embedding, distance = some_rows(400)
    order = np.random.default_rng(2).permutation(400)
    scores = SCORES[method]

    whole = scores.scores(embedding, distance)[order]
    batches = [order[start : start + size] for start in range(0, 400, size)]

    parts = [scores.scores(embedding[rows], distance[rows]) for rows in batches]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("method", SCORES)
def test_scores_survive_their_tensors(method):
    """Scores built again from their tensors give the same bits."""
    rows = some_rows(30)

    again = scores_from_tensors(method, SCORES[method].tensors(), None, 4)

    expected = SCORES[method].scores(*rows)
    np.testing.assert_array_equal(again.scores(*rows), expected)
    assert again.flops_per_row == SCORES[method].flops_per_row


def test_log_softmax_of_impossible_and_large_values():
    """Minus infinity has probability zero, and large logits do not overflow."""
    found = np.exp(log_softmax(np.array([[1e4, -np.inf, 1e4]])))

    np.testing.assert_allclose(found, [[0.5, 0.0, 0.5]])
