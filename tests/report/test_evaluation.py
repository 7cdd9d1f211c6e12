import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from shoal.report.evaluation import (
    Candidate,
    PartitionReport,
    ReportDetails,
    StageCost,
    not_chosen_page,
    report_page,
)
from shoal.report.plots import interval_svg, map_svg
from shoal.report.words import not_chosen_text

VOID = {"meta", "br", "wbr"}
EVIL = "<script>alert('x')</script>\"&"


class Reader(HTMLParser):
    """Text, tags and attributes of a page; fails where tags do not nest."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.attributes, self.words = [], [], [], []
        self.feed(page)
        self.close()
        assert self.open == []
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):  # noqa: D102 - HTMLParser's
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):  # noqa: D102 - HTMLParser's
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):  # noqa: D102 - HTMLParser's
        assert self.open.pop() == tag

    def handle_data(self, data):  # noqa: D102 - HTMLParser's
        if self.open and self.open[-1] != "style":
            self.words.append(data)


def part(number, **changes):
    base = PartitionReport(
        partition=number,
        rows={"train": 600, "validation": 120, "test": 119},
        test_units=119,
        grid_point={"lr": 0.001},
        server="specialist",
        base_loss=0.4321,
        specialist_loss=0.4011,
        generalist_score=0.842,
        pool_score=0.872,
        digest=f"{number:024x}",
    )
    return replace(base, **changes)


@pytest.fixture
def details():
    return ReportDetails(
        experiment="demo",
        generation=1,
        partitions=[part(0), part(1, grid_point=None, specialist_loss=None)],
        map_points=np.array([[0.0, 0.0], [1.0, 2.0], [3.0, 1.0]]),
        map_partition=np.array([0, 1, 1]),
        map_method="pca",
        rows_in=7400,
        dropped={"drop_duplicates": 92},
        stages=[
            StageCost("embed", 9, 2.5e11, 40.0),
            StageCost("train-specialists", 4, 7.5e11, 80, 1_234_000_000),
        ],
        trained_on={"generalist": "the current 5,032 training rows"},
        settings={"name": "demo"},
        lineage={"rows (train)": "9f8e7d6c"},
        versions={"torch": "2.13.0"},
        candidates=[
            Candidate(1, loss=0.5, gain=0.0, standard_error=0.0, taken=False),
            Candidate(2, loss=0.41, gain=0.09, standard_error=0.012, taken=True),
        ],
    )


def test_the_page_says_everything(metrics, details):
    """Verdict, contenders, partitions, rows, compute and lineage are all there to read."""
    text = Reader(report_page(metrics, details)).text

    for expected in (
        metrics["sentence"],
        "2,000 resamples, seed 7",
        "Random partitions",
        "The pool took 1.00 times the generalist's training FLOPs and 1.78 times",
        "the current 5,032 training rows",
        "partition 1, 123 rows",
        "lr 0.001",
        "2 0.4100 +0.0900 ± 0.0120 yes",
        "0.4321",
        "Dropped by drop_duplicates 92 1.2 %",
        "7,400 rows in the source files, 7,400 accounted for.",
        "43.0 % of the rows outside every fold",
        "All 13 2 min 00 s 1.00 TFLOP 100.0 %",
        "making the pool 1.00 TFLOP in 13 jobs",
        "9f8e7d6c",
        "torch 2.13.0",
        "000000000000000000000001",
        "principal components",
        "Training FLOPs on the critical path 1 node 8 nodes any number of nodes",
        "Pool, before its gate 1.00 TFLOP 1.00 of the generalist's 520 GFLOP 0.52 of",
        "train-specialists 4 1 min 20 s 750 GFLOP 75.0 % 1,234 MB",
    ):
        assert expected in text


def searched(**changes):
    """A search of two widths: the pool of one, the generalist of the other."""
    scores = {"pool": 0.9, "generalist": 0.8, "pool_flops": 1e9, "generalist_flops": 2e9}
    scores["error"] = 0.01
    variants = [
        {"variant": "narrow", "changes": {"model.width": 16}} | scores,
        {"variant": "wide", "changes": {"model.width": EVIL}} | scores | {"pool": 0.85},
    ]
    search = {"rows": 120, "units": 120, "pool": "narrow", "generalist": "wide"}
    costs = {"pools_flops": 1.5e9, "generalists_flops": 4e9, "spent": 6e9}
    return search | {"variants": variants} | costs | changes


def test_the_page_tells_a_search_and_its_cost(metrics, details):
    """Validation scores of all variants; the generalist of the same model beside the best."""
    found = metrics | {"search": searched(), "same_model": metrics["generalist"]}

    text = Reader(report_page(found, details)).text

    assert "chosen among 2 variants on 120 validation rows" in text
    assert "1.50 GFLOP for all pools and 4.00 GFLOP for all generalists" in text
    assert "narrow model.width 16 0.9000 0.8000 1.00 GFLOP 2.00 GFLOP" in text
    assert "Generalist, same model" in text
    assert "The search" not in Reader(report_page(metrics, details)).text


def test_the_page_of_what_was_not_chosen_has_validation_scores_alone():
    """It names whose pool was, and escapes what users named."""
    own = {"metric": "accuracy", "verdict": "not chosen", "search": searched()}
    own["sentence"] = not_chosen_text(own["search"], "wide")

    settings, answers = {"name": "demo", "generation": 1}, "../../answers/report.html"

    page = not_chosen_page(own, "wide", settings, answers)

    assert "the pool of narrow (model.width 16) on 120 validation rows" in Reader(page).text
    assert "0.9000 against 0.8500 here" in Reader(page).text
    assert "Its generalist was chosen" in Reader(page).text
    assert EVIL not in page


def test_the_page_tells_leaks_and_that_there_are_none(metrics, details):
    """What was looked at is always said; a column's name is text, whatever it holds."""
    found = {"column": EVIL, "score": 1.0, "constant": 0.6}
    leaking = metrics | {"leaks": metrics["leaks"] | {"columns": [found]}}

    clean, accused = (Reader(report_page(m, details)).text for m in (metrics, leaking))

    assert "2,156 held-out rows were compared" in clean
    assert "No leak was found." in clean
    assert "alone gives the label: right in 100.0 %" in accused
    assert "No leak was found." not in accused


def test_the_page_needs_nothing_else(metrics, details):
    """It holds no script, no link and no address, so that it can be kept and sent."""
    page = report_page(metrics, details)
    reader = Reader(page)

    assert not {"script", "link", "img", "iframe", "a"} & set(reader.tags)
    assert not {"src", "href", "onclick", "onload"} & {name for name, _ in reader.attributes}
    assert re.search(r"https?:|url\(|@import", page) is None


def test_text_of_the_user_stays_text(metrics, details):
    """Names and settings cannot add tags to the page, wherever they stand."""
    clean = Reader(report_page(metrics, details))
    evil = replace(
        details,
        experiment=EVIL,
        partitions=[part(0, grid_point={EVIL: EVIL}, digest=EVIL), details.partitions[1]],
        dropped={EVIL: 92},
        map_method=EVIL,
        stages=[replace(details.stages[0], stage=EVIL), details.stages[1]],
        trained_on={"generalist": EVIL},
        settings={"name": EVIL},
        lineage={EVIL: EVIL},
        versions={EVIL: EVIL},
    )

    reader = Reader(report_page(metrics | {"sentence": EVIL}, evil))

    assert reader.tags == clean.tags
    assert reader.text.count("<script>") >= 12


def test_the_same_input_gives_the_same_page(metrics, details):
    """No time, no chance: a page can be compared with another."""
    assert report_page(metrics, details) == report_page(metrics, details)


def test_rows_that_are_not_accounted_for_are_called_out(metrics, details):
    """Rows in must equal rows out and dropped; where not, the page says by how many."""
    page = report_page(metrics, replace(details, rows_in=7403))

    sentence = "7,403 rows in the source files, 7,400 accounted for: 3 differ."
    assert f'<p class="bad">{sentence}</p>' in page
    assert '<p class="bad">' not in report_page(metrics, details)


def test_rows_that_a_step_added_are_accounted_for(metrics, details):
    """Copies are shown, and counted neither as source rows nor as missing ones."""
    page = report_page(metrics, replace(details, rows_in=7300, added={"balance": 100}))

    assert '<p class="bad">' not in page
    assert "Added by balance" in page


def cell(page, partition):
    """Class and text of the last cell of a partition's line."""
    line = re.search(rf"</i>{partition}</th>.*?</tr>", page, re.DOTALL).group()
    return re.findall(r'<td class="(\w*)">([^<]*)</td>', line)[-1]


def test_differences_are_coloured_by_what_they_mean(metrics, details):
    """More accuracy is good, more error is bad, and few test rows say little."""
    few = part(2, rows={"train": 600, "validation": 9, "test": 19})
    parts = [part(0), part(1, pool_score=0.8), few, part(3, pool_score=0.842)]
    several = replace(details, partitions=parts)

    page = report_page(metrics, several)
    error_page = report_page(metrics | {"metric": "rmse"}, several)

    assert [cell(page, n) for n in range(4)] == [
        ("good", "+0.030"),
        ("bad", "-0.042"),
        ("soft", "+0.030"),
        ("", "0.000"),
    ]
    assert [cell(error_page, n)[0] for n in range(4)] == ["bad", "good", "soft", ""]


def test_a_regression_has_no_columns_of_probabilities(metrics, details):
    """What is not defined is left out, not shown as empty."""
    nothing = {"log_loss": None, "calibration_error": None}
    names = ("pool_top1", "pool_top2", "generalist", "random_partitions", "constant")
    changed = {name: metrics[name] | nothing for name in names}

    text = Reader(report_page(metrics | changed | {"metric": "rmse"}, details)).text

    assert "Log-loss" not in text
    assert "Calibration" not in text
    assert "Test RMSE" in text


def test_a_page_of_little_data_is_whole(metrics, details):
    """No map, no rejection, no compute and partitions without test rows are no failure."""
    bare = replace(
        details,
        partitions=[part(0, base_loss=None, generalist_score=None, pool_score=None)],
        map_points=np.empty((0, 2)),
        map_partition=np.empty(0, dtype=int),
        stages=[StageCost("split", 1, 0, 1.0)],
        trained_on={},
        lineage={},
        versions={},
    )
    free = {name: metrics[name] | {"train_flops": 0.0} for name in ("pool_top1", "generalist")}

    text = Reader(report_page(metrics | free | {"rejection": None}, bare)).text

    assert "Partition map" not in text
    assert "Trained on" not in text
    assert "took 1.78 times the generalist's inference FLOPs." in text


def dots(svg):
    """Coordinates of every dot, by path."""
    paths = re.findall(r' d="([^"]*)"', svg)
    return [
        [(float(x), float(y)) for x, y in re.findall(r"M([\d.]+) ([\d.]+)h0", path)]
        for path in paths
    ]


def test_the_map_keeps_distances_and_turns_up_upwards():
    """One unit across is one unit up, and a larger second coordinate is higher on the page."""
    first, second = dots(map_svg(np.array([[0, 0], [10, 0], [0, 5.0]]), np.array([3, 3, 8])))
    (x0, y0), (x1, y1) = first
    [(x2, y2)] = second

    assert y0 == y1
    assert x0 == x2
    assert y2 < y0
    assert x1 - x0 == pytest.approx(2 * (y0 - y2), abs=0.2)


@pytest.mark.parametrize("points", [[[1, 1], [1, 1]], [[0, 0], [0, 9]], [[0, 0], [1e-9, 1e6]]])
def test_every_dot_lies_within_the_map(points):
    """Rows in one place, on one line or far apart are drawn inside the frame."""
    svg = map_svg(np.array(points, dtype=float), np.array([0, 0]))
    width, height = map(float, re.search(r'viewBox="0 0 (\d+) (\d+)"', svg).groups())

    for x, y in dots(svg)[0]:
        assert 0 < x < width
        assert 0 < y < height


def test_the_map_names_partitions_and_rows_of_none():
    """Numbers tell partitions apart where colours repeat."""
    svg = map_svg(np.array([[0, 0], [1, 1.0], [2, 3]]), np.array([12, 0, -1]))

    assert re.findall(r">(\w+)</text>", svg) == ["none", "0", "12"]
    assert "partition 12: 1 rows shown" in svg


@pytest.mark.parametrize("points", [np.empty((0, 2)), np.array([[0, np.nan]]), np.zeros((1, 3))])
def test_a_map_of_what_is_no_point_is_refused(points):
    """A missing coordinate would make a path that browsers drop without a word."""
    with pytest.raises(ValueError, match="need finite points"):
        map_svg(points, np.zeros(len(points), dtype=int))


@pytest.mark.parametrize(
    ("lower_is_better", "left", "right"),
    [(False, "generalist better", "pool better"), (True, "pool better", "generalist better")],
)
def test_the_interval_plot_names_its_sides(lower_is_better, left, right):
    """For an error, the pool's side is the left."""
    svg = interval_svg((0.02, 0.01, 0.03), ("a", "b", "c"), lower_is_better=lower_is_better)

    assert f"← {left}" in svg
    assert f"{right} →" in svg


def test_the_interval_lies_on_its_side_of_zero():
    """An interval above zero is drawn right of the line at zero, one below left of it."""

    def ends(difference):
        svg = interval_svg(difference, ("a", "b", "c"), lower_is_better=False)
        found = re.search(r'class="bar" x1="([\d.]+)" x2="([\d.]+)"', svg).groups()
        zero = re.search(r'class="zero" x1="([\d.]+)"', svg).group(1)
        return [float(end) - float(zero) for end in found]

    above, below = (
        ends((0.02, 0.01, 0.03)),
        ends((-0.02, -0.03, -0.01)),
    )

    assert 0 < above[0] < above[1]
    assert below == [-above[1], -above[0]]
    assert ends((0.0, 0.0, 0.0)) == [0.0, 0.0]


def test_what_a_pool_lacks_is_at_the_top(metrics, details):
    """A partition whose training failed is named with its reason, as text."""
    lack = {"partition": 3, "specialist": False, "points": ["a"], "reasons": ["the loss <b>"]}

    page = report_page(metrics | {"incomplete": [lack]}, details)

    assert "incomplete: partition 3 without a specialist, because the loss &lt;b&gt;" in page


def test_a_run_on_a_cluster_is_linked(metrics, details):
    """The page beside the report says what the run took; without a cluster there is no link."""
    page = report_page(metrics, replace(details, cluster="cluster.html"))

    assert ("href", "cluster.html") in Reader(page).attributes
    assert "href" not in report_page(metrics, details)


def test_the_page_counts_what_rows_belong_to(metrics, details):
    """Test rows of groups, drawn by group; a partition of few groups is grey."""
    units = {"kind": "group", "test": 42, "least": 6}
    grouped = metrics | {"units": units}
    few = replace(details, partitions=[part(0, test_units=5), part(1, test_units=7)])

    page = report_page(grouped, few)

    text = Reader(page).text
    assert "bootstrap over the 1,078 test rows of 42 groups (2,000 resamples" in text
    assert "All on the same 1,078 test rows of 42 groups, each scored once" in text
    assert "partition 1, 123 rows of 123 groups" in text
    assert "fewer than 20 test rows, or on those of fewer than 6 groups, are grey" in text
    assert [re.findall(r'<td class="(soft|good)">', page)] == [["soft", "good"]]


def test_the_page_says_first_that_nothing_beats_a_constant(metrics, details):
    """It is the heading, marked as bad; without an interval there is no plot of one."""
    said = "No model is better than a constant answer: accuracy is 0.9."
    none = {"value": -0.019, "low": None, "high": None}
    word = {"verdict": "no better than constant", "sentence": said}

    page = report_page(metrics | word | {"difference": none}, details)

    assert f'<h1 class="no-better-than-constant">{said}</h1>' in page
    assert "h1.no-better-than-constant" in page
    assert '<svg class="interval"' not in page


def test_the_scores_that_do_not_decide_are_columns_too(metrics, details):
    """All of the task's, the one that decides first; what is not defined is a dash."""
    scores = {"accuracy": 0.861, "f1": 0.8123, "auroc": None, "log_loss": 0.41}
    names = ("pool_top1", "pool_top2", "generalist", "random_partitions", "constant")
    changed = {name: metrics[name] | {"scores": scores} for name in names}
    changed["generalist"]["scores"] = scores | {"auroc": 0.93456}

    text = Reader(report_page(metrics | changed, details)).text

    assert "Contender accuracy F1 AUROC log-loss Calibration error Worst partition" in text
    assert "0.842 0.812 0.935 0.4100" in text


def test_the_page_draws_every_contender_once(metrics, details):
    """Of pools the shipped one, bars where there are intervals, a line for the constant."""
    metrics["linear_model"] = metrics["generalist"] | {"score": 0.9}
    page = report_page(metrics, replace(details, intervals={"generalist": (0.8, 0.88)}))
    plot = page[page.index('<svg class="curves"') :]
    plot = plot[: plot.index("</svg>")]

    titles = re.findall(r"<title>([^<]+)</title>", plot)
    names = ["Pool, top 1, as shipped", "Generalist", "Random partitions", "Linear model"]
    assert titles == 2 * names
    assert plot.count('class="range"') == 2
    assert ">Constant<" in plot


def test_a_usual_model_that_is_better_is_told_as_bad_news(metrics, details):
    """Whatever splitting does."""
    ahead = {"contender": "linear_model", "worse": ["pool"]}
    found = Reader(report_page(metrics | {"against_usual": [ahead]}, details))

    assert ("class", "hurts") in found.attributes
    assert ("class", "helps") not in found.attributes
