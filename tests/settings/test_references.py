"""References in settings: to other settings and to facts of the data."""

import time

import pytest

from shoal.errors import SettingsError
from shoal.settings.references import check_references, followed


def test_a_reference_stands_for_the_value_of_the_setting_it_names():
    """A number stays a number, a mapping is copied, text around a reference stays."""
    content = {
        "seed": 7,
        "folder": "data/${name}",
        "name": "x",
        "split": {"seed": "${seed}"},
        "all": ["${split}", "${all.2}", True],
    }

    assert followed(content) == {
        "seed": 7,
        "folder": "data/x",
        "name": "x",
        "split": {"seed": 7},
        "all": [{"seed": 7}, True, True],
    }


def test_a_fact_of_the_data_is_left_for_the_data_to_fill_in():
    """The model asks for it when it is built."""
    assert followed({"model": {"outputs": "${data:outputs}"}}) == {
        "model": {"outputs": "data:outputs"}
    }


@pytest.mark.parametrize(
    "text",
    [
        "${oc.env:HOME}",
        "x${oc.env:HOME,${seed}}",
        "${oc.decode:'1'}",
        "${oc.create:{a: 1}}",
        "${oc.dict.keys:a}",
        "${hydra:runtime.cwd}",
        "${now:%Y}",
        "${${resolver}:HOME}",
        "${a.${b}}",
        "${.seed}",
        "${seed",
        r"\${seed}",
        "${seed}${seed}",
        "${data:${seed}}",
        "${ seed}",
        "${}",
    ],
)
@pytest.mark.parametrize("within", [lambda text: [text], lambda text: {text: 1}])
def test_nothing_else_is_looked_up(text: str, within):
    """Neither environment nor clock, nor what a reference within a reference could make of it."""
    content = {"seed": 0, "resolver": "oc.env", "model": {"x": within(text)}}

    with pytest.raises(SettingsError, match=r"^model\.x.*: a text may refer to one other setting"):
        check_references(content)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"a": "${b}"}, r"^a: \$\{b\} refers to a setting that is not there$"),
        ({"a": ["x"], "b": "${a.1}"}, r"^b: \$\{a.1\} refers to a setting that is not there$"),
        ({"a": "${b}", "b": "${a}"}, r"refers to itself$"),
        ({"a": {"b": "${a}"}}, r"refers to itself$"),
        ({"a": [1], "b": "x${a}"}, r"^b: \$\{a\} stands for several values, not for text$"),
        ({"a": "${data:feature}"}, r"^a: no such fact of the data, .*did you mean 'features'"),
        ({"a": {"b": [float("nan")]}}, r"^a\.b\.0: nan is not a finite number$"),
        ({"a": float("inf")}, r"^a: inf is not a finite number$"),
        ({"a": "${oc.env:HOME}"}, r"^a: .* a text may refer to one other setting"),
    ],
)
def test_a_reference_that_stands_for_nothing_is_one_line(content, said):
    """The line names the setting."""
    with pytest.raises(SettingsError, match=said) as caught:
        followed(content)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("first", "each"),
    [
        (1, lambda before: [before] * 10),
        ("x" * 1000, lambda before: {str(n): before for n in range(10)}),
        (1, lambda before: before),
    ],
)
def test_references_that_stand_for_too_much_are_refused_soon(first, each):
    """Chains whose lists grow tenfold with each link, and one of a thousand links."""
    content = {"a0": first}
    content |= {f"a{n}": each(f"${{a{n - 1}}}") for n in range(1, 1000)}
    before = time.perf_counter()

    with pytest.raises(SettingsError, match=r"refers to others that stand for too much$"):
        followed(content)

    assert time.perf_counter() - before < 10
