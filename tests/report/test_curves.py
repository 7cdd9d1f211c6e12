"""The plot of scores against FLOPs."""

from __future__ import annotations

import itertools
import re
from xml.etree import ElementTree

import pytest

from shoal.report.curves import Point, Series, _apart, curves_svg

SERIES = [
    Series(
        "Pool", [Point((1e9, 1e4), 0.8, 0.75, 0.85), Point((1e10, 2e4), 0.9, 0.86, 0.94, False)]
    ),
    Series("Generalist", [Point((1e9, 3e4), 0.7, 0.6, 0.8)]),
]


def drawn(series: list[Series], level: tuple[str, float] | None = None) -> ElementTree.Element:
    return ElementTree.fromstring(curves_svg(series, "accuracy", 3, level))


def test_better_scores_stand_higher_and_costly_models_further_right() -> None:
    """In both panels, by the same scale of scores."""
    circles = [c for c in drawn(SERIES).iter("circle") if c.find("title") is not None]
    places = [(float(c.get("cx", 0)), float(c.get("cy", 0))) for c in circles]
    cheap, costly, other = places[:3]
    cheap_row, costly_row, other_row = places[3:]

    assert costly[0] - cheap[0] > 150
    assert abs(other[0] - cheap[0]) <= 15
    assert costly[1] < cheap[1] < other[1]
    assert cheap_row[0] < costly_row[0] < other_row[0]
    assert [y for _, y in places[:3]] == [y for _, y in places[3:]]
    assert [c.get("class") for c in circles] == [None, "hollow", None] * 2


def test_the_line_leaves_out_what_a_cheaper_model_beats() -> None:
    """Of three points the second is worse than the first."""
    points = [Point((flops, None), score) for flops, score in ((1e9, 0.7), (2e9, 0.6), (4e9, 0.8))]
    (line,) = drawn([Series("Pool", points)]).iter("polyline")

    assert len(str(line.get("points")).split()) == 2


def test_the_level_crosses_both_panels_between_the_scores() -> None:
    """And has its place in the legend."""
    found = drawn(SERIES, ("Constant", 0.75))

    line = next(each for each in found.iter("line") if each.get("class") == "level")
    ys = sorted(float(c.get("cy", 0)) for c in found.iter("circle") if c.find("title") is not None)
    assert ys[0] < float(line.get("y1", 0)) < ys[-1]
    assert float(line.get("x2", 0)) - float(line.get("x1", 0)) > 750
    assert "Constant" in [each.text for each in found.iter("text")]


def test_bars_end_at_the_interval() -> None:
    """Its ends lie as far from the score as the numbers do."""
    found = drawn([Series("One", [Point((1e9, None), 0.8, 0.7, 0.85)])])

    bar = next(each for each in found.iter("line") if each.get("class") == "range")
    (circle,) = [c for c in found.iter("circle") if c.find("title") is not None]
    y, low, high = (float(v or 0) for v in (circle.get("cy"), bar.get("y1"), bar.get("y2")))
    assert (low - y) / (y - high) == pytest.approx(2, rel=0.02)


@pytest.mark.parametrize("places", [[5.0, 5.0, 5.0], [0.0, 1.0, 90.0], [199.0, 198.0, 197.0, 50.0]])
def test_points_never_hide_each_other(places: list[float]) -> None:
    """They keep their order, and stay inside."""
    found = _apart(places, 0.0, 200.0)

    ordered = sorted(found)
    assert all(b - a >= 15 - 1e-9 for a, b in itertools.pairwise(ordered))
    assert 0 <= ordered[0] <= ordered[-1] <= 200
    keyed = sorted(range(len(places)), key=lambda n: places[n])
    assert [found[n] for n in keyed] == ordered


def test_many_points_stay_where_they_are() -> None:
    """Two hundred variants cannot all stand apart."""
    places = [float(n % 7) for n in range(200)]

    assert _apart(places, 0.0, 400.0) == places


def test_labels_of_one_axis_do_not_touch() -> None:
    """Whatever the range of FLOPs: one decade or ten."""
    for most in (1.2e9, 5e9, 1e12, 1e19):
        svg = curves_svg(
            [Series("s", [Point((1e9, 1e3), 0.5), Point((most, 1e3), 0.6)])], "RMSE", 3
        )
        texts = re.findall(r'<text x="([\d.]+)" y="284.0"[^>]*>([^<]+)<', svg)
        left = sorted((float(x), text) for x, text in texts if float(x) < 470)
        assert 2 <= len(left) <= 6
        assert all(b[0] - a[0] > 7 * len(a[1]) for a, b in itertools.pairwise(left))


def test_there_is_no_plot_without_flops() -> None:
    """As of a run that counted none."""
    assert curves_svg([Series("Pool", [Point((0.0, None), 0.5)])], "accuracy", 3) == ""
