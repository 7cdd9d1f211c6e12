"""The choice among variants, from hand-made gates and ledgers."""

import json

import pytest

from shoal.errors import DataError
from shoal.evaluate.choose import Rival, choose_variant
from shoal.formats.json_file import write_json
from shoal.formats.ledger import Ledger
from tests.documents import gate_record


@pytest.fixture
def rival(tmp_path):
    """Makes a variant with these scores and costs; all have one embedder in common."""

    def ledger(name, job, flops):
        Ledger(job, flops=flops).write(tmp_path / name)
        return tmp_path / name

    shared = ledger("embed.json", "embed_fit", 1000.0)

    def make(name, pool, generalist, flops=100.0, share=1.0, rows=40):
        scores = {"pool": pool, "generalist": generalist}
        gate = gate_record({0: share, -1: 1.0}, validation=scores, scored=rows)
        write_json(tmp_path / f"{name}-gate.json", gate | Ledger("gate", flops=1.0).record())
        base = ledger(f"{name}-base.json", "base_fit", flops)
        cost = ledger(f"{name}-generalist.json", "evaluate_generalist", 5 * flops)
        chance = ledger(f"{name}-random.json", "evaluate_random", 3 * flops)
        file, own = tmp_path / f"{name}.safetensors", tmp_path / f"{name}-gate.json"
        return Rival(name, {}, own, [shared, base], cost, chance, {"model": file}, [file])

    return make


def choice(tmp_path, *rivals):
    """Content of the choice."""
    choose_variant(rivals, tmp_path / "chosen" / "choice.json")
    return json.loads((tmp_path / "chosen" / "choice.json").read_text())


def test_each_side_is_the_best_on_validation(tmp_path, rival):
    """Pool and generalist may be of different variants; the generalist's files go with it."""
    found = choice(tmp_path, rival("a", 0.9, 0.7), rival("b", 0.8, 0.8))

    assert (found["pool"], found["generalist"]) == ("a", "b")
    assert found["files"] == {"model": "../b.safetensors"}
    assert found["asked"] == ["../b.safetensors"]


@pytest.mark.parametrize("turned", [False, True])
def test_of_equals_the_cheaper_is_taken(tmp_path, rival, turned):
    """Whatever the order of the variants; on both sides."""
    rivals = [rival("a", 0.9, 0.8, flops=200.0), rival("b", 0.9, 0.8), rival("c", 0.9, 0.8)]

    found = choice(tmp_path, *(reversed(rivals) if turned else rivals))

    assert (found["pool"], found["generalist"]) == ("b", "b")


def test_the_cost_of_the_search_counts_what_is_shared_once(tmp_path, rival):
    """A pool that holds its generalist has trained it too, less the base that both start from."""
    found = choice(tmp_path, rival("a", 0.9, 0.8), rival("b", 0.9, 0.8, flops=200.0, share=0.5))

    scores = {each["variant"]: each for each in found["variants"]}
    assert scores["a"]["pool_flops"] == 1000 + 100 + 1
    assert scores["b"]["pool_flops"] == 1000 + 200 + 1 + (1000 - 200)
    assert found["pools_flops"] == 1000 + 100 + 200 + 2 + (1000 - 200)
    assert found["generalists_flops"] == 500 + 1000
    assert found["spent"] == 1000 + 100 + 200 + (400 + 800) + (200 + 400)


def test_scores_on_other_rows_are_not_compared(tmp_path, rival):
    """One line names the gate and the variant."""
    with pytest.raises(DataError, match=r"b-gate\.json: 39 validation rows, but 40 of variant a"):
        choice(tmp_path, rival("a", 0.9, 0.8), rival("b", 0.9, 0.8, rows=39))
