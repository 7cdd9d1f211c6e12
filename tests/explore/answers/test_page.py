"""The page that says what the choices did."""

from shoal.explore.answers.gather import Move
from shoal.explore.answers.page import answers_page
from shoal.explore.answers.plots import plots
from shoal.explore.answers.tables import compare
from tests.explore.answers.conftest import variant, winner
from tests.explore.answers.test_tables import searched
from tests.report.test_evaluation import EVIL, Reader


def page_of(found):
    """The page of variants."""
    answers = compare(found)
    return answers_page(answers, plots(answers))


def four(*, moves=(), embed="pca"):
    """Two embedders by two seeds, two partitions each."""
    ones = [winner(0, {0.01: 0.1, 0.03: 0.5}), winner(1, {0.01: 0.4, 0.03: 0.1}, error=0.9)]
    changes = [{"seed": seed, "embed": each} for seed in (0, 1) for each in (embed, "scarf")]
    scores = (0.7, 0.81, 0.72, 0.8)
    return [
        variant(f"{n:010x}", own, score, winners=ones, moves=moves)
        for n, (own, score) in enumerate(zip(changes, scores, strict=True))
    ]


def test_the_page_answers_what_was_asked():
    """Best on validation, spread over seeds, shares, winners and moves are there to read."""
    moved = Move(1, "moved", {"lr": 0.01}, {"lr": 0.03})
    same = Move(0, "same rows", {"lr": 0.01}, {"lr": 0.01})

    text = Reader(page_of(four(moves=[same, moved]))).text

    for expected in (
        "Pool minus generalist, test accuracy: difference +0.1000 (95 % interval",
        "0.8050 ± 0.0071",
        "4 scores of a complete grid",
        "lr 0.01 4 of 8 50.0 % 4",
        "4 partitions have the training and validation rows that they had",
        "0 kept their winner and 4 moved",
        "0000000001 1 lr 0.01 lr 0.03",
    ):
        assert expected in text


def test_splits_stand_beside_each_other():
    """Which unseen rows a pool generalises to is read from one row a split."""
    text = Reader(page_of(searched(splits=("random", "group"), seeds=(0,)))).text

    assert "Which unseen rows does it generalise to" in text
    assert "random: difference +0.0200" in text
    assert "group 1 model.width 16 model.width 32 0.8000 0.8800 difference -0.0800" in text


def test_the_page_is_self_contained_and_escapes_what_users_named():
    """No script, no outside resource; links lead to the variants' reports alone."""
    reader = Reader(page_of(four(embed=EVIL)))

    assert "script" not in reader.tags
    links = [value for name, value in reader.attributes if name in ("href", "src")]
    assert sorted(links) == [f"../variants/{n:010x}/report.html" for n in range(4)]
    assert EVIL in reader.text


def test_one_variant_is_about_its_grid_alone():
    """Without variants the page has neither their plot nor a decomposition of their scores."""
    (only, *_) = four()
    alone = variant("", {}, 0.8, winners=only.winners)

    text = Reader(page_of([alone])).text

    assert "What explains the scores" not in text
    assert "2 grid points in 2 partitions. Test accuracy 0.8000" in text
    assert "There is no earlier release of other rows" in text


def test_two_hundred_variants_stay_readable(many):
    """200 variants of 8 partitions and 4 grid points: one row each, in less than 2 MB."""
    page = page_of(many)

    assert len(page) < 2_000_000
    assert page.count('<a href="../variants/') == 200
    text = Reader(page).text
    assert "200 scores of a complete grid" in text
    assert "transform.steps.0.options.sd" in text
