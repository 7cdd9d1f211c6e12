"""Plans of variants that are compared: what is chosen among what, and what its path is made of."""

from pathlib import Path

import pytest

from shoal.plan.plan import Plan, planned
from tests.workflow.small import set_up, write_rows

CONFIG = Path("config")
WIDTHS = "model.width=[4,8]"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """The folder of a small experiment."""
    monkeypatch.chdir(set_up(tmp_path / "experiment").folder)


def made(*overrides, asked=0):
    """Identities of the plans that are asked for, or of all, by the variant."""
    found = planned(Plan, "tiny", list(overrides), CONFIG)[asked]
    return {plan.variant.id: plan.layout.made for plan in found}


def made_fits(*overrides):
    """Identities of the fits of each plan."""
    return [plan.layout.fits for plan in planned(Plan, "tiny", list(overrides), CONFIG)[0]]


def choices(*overrides):
    """The choice that each plan's evaluation follows."""
    return [each["chosen"] for each in made(*overrides).values()]


def test_variants_of_one_seed_and_split_share_a_choice():
    """Two seeds by two splits by two widths have four; without a rival there is none."""
    found = choices("seed=[0,1]", "split=[random,hash]", WIDTHS)

    assert sorted(found.count(each) for each in set(found)) == [2, 2, 2, 2]
    assert set(choices("seed=[0,1]", "split=[random,hash]")) == {""}
    assert choices() == [""]


def test_a_rival_changes_what_is_judged_and_nothing_that_is_trained():
    """Another width changes evaluations alone; the order of widths changes nothing."""
    before, after = made(WIDTHS), made("model.width=[16,8,4]")

    for variant, own in before.items():
        changed = {name for name, each in own.items() if after[variant][name] != each}
        assert changed == {"chosen", "evaluate"}
    assert made("model.width=[8,4]") == before


def test_the_order_of_models_is_no_part_of_a_choice():
    """Also where their code is the user's."""
    for name in ("one", "other"):
        source = f"from torch import nn\nclass Net(nn.Module):\n    {name} = 1\n"
        Path(f"{name}.py").write_text(source)

    first, second = (
        made(f"model._target_=[{models}]") for models in ("one.Net,other.Net", "other.Net,one.Net")
    )

    assert first == second
    assert len({each["base"] for each in made_fits("model._target_=[one.Net,other.Net]")}) == 2


def test_a_variant_alone_is_planned_as_among_all():
    """Its evaluation follows the choice among all, whose plans are there too."""
    whole = made(WIDTHS)
    one = next(iter(whole))
    chosen = (WIDTHS, f"variant={one}")

    assert made(*chosen) == {one: whole[one]}
    assert made(*chosen, asked=1) == whole


ON = "continuing=proactive"


def index_id(*overrides):
    """Identity of the index that is planned."""
    return Plan("tiny", list(overrides), CONFIG).layout.index_id


def publish(*overrides):
    """Publish a plan; of its files only the index is there."""
    plan = Plan("tiny", list(overrides), CONFIG)
    plan.layout.index.parent.mkdir(parents=True)
    plan.layout.index.touch()
    plan.history.withdraw()
    plan.history.publish({**plan.record["plan"], "rows": "", "released": []})


def test_a_crash_while_a_release_is_published_changes_no_plan():
    """What is continued from is the last release, also where nothing says that it is published."""
    publish(ON)
    write_rows(Path("data/part-3.csv"), 3, rows=9)
    plan = Plan("tiny", [ON], CONFIG)

    plan.history.withdraw()

    assert plan.before is not None
    assert index_id(ON) == plan.layout.index_id


def test_a_generation_that_is_gone_back_to_is_continued():
    """Releases of other generations in between are none of its history."""
    publish(ON, "generation=1")
    write_rows(Path("data/part-3.csv"), 3)
    wanted = index_id(ON, "generation=1")

    publish(ON, "generation=2")

    assert index_id(ON, "generation=1") == wanted


def test_an_index_is_named_by_how_the_generalist_continues():
    """It may do so in the first index of a history, which so depends on all that decides it."""
    refreshed = "changes.baselines=current"

    assert index_id(ON) != index_id(ON, refreshed)
    assert index_id() == index_id(refreshed)
