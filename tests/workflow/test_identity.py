"""Which identities a setting, a code or a source file is part of."""

import functools
from pathlib import Path

import pytest

from shoal.plan.ids import APPLY_MODULES, apply_codes, fit_codes, fit_ids, made_ids
from shoal.search.space import points
from shoal.settings.compose import compose

CONFIG = Path(__file__).parents[2] / "config"
SHARDS = ("0123456789ab", "ba9876543210")

HALVED = ("search.halving.rungs=3", "search.halving.reduction_factor=3")
PROPOSED = (
    "grid.lr={low: 0.001, high: 0.1}",
    "search.grid.sampler=tpe",
    "search.grid.samples=8",
)

EVALUATED = {"evaluate"}
DEPLOYED = {"deploy", "patch"}
GATED = {"gate", "pool"} | EVALUATED | DEPLOYED
ASKED = {"ask"} | GATED
POOLED = {"router", "drift"} | ASKED
CHOSEN = {"choices"} | POOLED
TRAINED = {"specialists"} | CHOSEN
CLUSTERED = {"cluster", "index", "sample"} | TRAINED
ENCODED = {"encode", "content"} | CLUSTERED
TRANSFORMED = {"transform"} | ENCODED
EVERYTHING = {"split", "check", "prequential"} | TRANSFORMED


composed = functools.cache(lambda *overrides: compose(CONFIG, "demo", list(overrides)))


def identities(*overrides, codes=None, shards=SHARDS):
    """Ids of the demo's fits, and of what applies them."""
    settings = composed(*overrides)
    sampling = settings.search.grid
    grid = points(settings.grid, settings.model, settings.train_specialists, sampling)
    fits = fit_ids(settings, grid)
    found = dict.fromkeys(APPLY_MODULES, "code") | (codes or {})
    return fits, made_ids(settings, fits, found, shards, grid)


def changed(before, after):
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize(
    ("override", "fits", "made"),
    [
        ("split.seed=9", {"split", "transform", "encode", "embed", "cluster", "base"}, EVERYTHING),
        ("transform.seed=9", {"transform", "encode", "embed", "cluster", "base"}, TRANSFORMED),
        ("encode.seed=9", {"encode", "embed", "cluster", "base"}, ENCODED),
        ("compute.threads=2", {"encode", "embed", "cluster", "base"}, ENCODED),
        ("embed.dims=3", {"embed", "cluster"}, CLUSTERED),
        ("cluster.partitions=3", {"cluster"}, CLUSTERED),
        ("model.width=4", {"base"}, TRAINED),
        ("train_specialists.lr=0.5", {"base"}, TRAINED),
        ("train_specialists.patience=3", {"base"}, {"index"} | TRAINED),
        ("grid.lr=[0.001]", set(), CHOSEN),
        ("train_router.temperature=0.3", set(), POOLED),
        ("gate.confidence=0.9", set(), GATED),
        ("evaluate.bootstrap=9", set(), EVALUATED | DEPLOYED | {"prequential"}),
        ("evaluate.seed=9", set(), ASKED | {"prequential"}),
        ("changes.baselines=current", set(), ASKED),
        ("changes.drift.level=0.2", set(), {"sample", "drift"}),
        ("changes.tolerance=0.1", set(), set()),
        ("changes.on_drift=refit", set(), set()),
        ("sources.batch_rows=9", set(), set()),
        ("compute.checkpoint_seconds=9", set(), set()),
        ("compute.memory=1000000000", set(), set()),
        ("sources.folder=elsewhere", set(), set()),
        ("name=other", set(), set()),
        ("search.variants.samples=2", set(), set()),
        ("search.grid.seed=9", set(), set()),
        ("search.grid.batch=9", set(), set()),
        ("search.halving.reduction_factor=9", set(), set()),
    ],
)
def test_a_setting_is_part_of_what_reads_it_and_of_what_follows(override, fits, made):
    """A changed setting gives other ids to the stages that read it and to those after them."""
    before, after = identities(), identities(override)

    assert changed(before[0], after[0]) - {"baselines"} == fits
    assert changed(before[1], after[1]) == made


def test_halving_is_part_of_what_is_chosen_and_of_the_baselines():
    """Of the first step only how long it trains; of the rest points, rungs and code too."""
    three, four, other, code, points = (
        identities(*HALVED, *overrides, codes=codes)
        for overrides, codes in [
            ([], None),
            (["search.halving.rungs=4", "search.halving.reduction_factor=3"], None),
            (["search.halving.rungs=2", "search.halving.reduction_factor=9"], None),
            ([], {"choices": "changed"}),
            (["grid.lr=[0.001,0.01]"], None),
        ]
    )

    assert changed(identities()[1], three[1]) == {"search"} | TRAINED
    assert changed(three[1], four[1]) == {"search"} | TRAINED
    assert changed(three[1], other[1]) == {"search"} | CHOSEN
    assert changed(three[1], code[1]) == {"search"} | CHOSEN
    assert changed(three[1], points[1]) == CHOSEN
    assert all(changed(three[0], each[0]) == {"baselines"} for each in (four, other, points))


def test_how_points_are_proposed_is_part_of_what_is_chosen_and_of_the_baselines():
    """Space, sampler, seed, batch and code; their number is part of the choice alone."""
    pytest.importorskip("optuna", reason="needs pip install 'shoal[optuna]'")
    found = {
        name: identities(*PROPOSED, *overrides, codes=codes)
        for name, overrides, codes in [
            ("before", [], None),
            ("seed", ["search.grid.seed=9"], None),
            ("batch", ["search.grid.batch=2"], None),
            ("space", ["grid.weight_decay=[0,0.1]"], None),
            ("code", [], {"choices": "changed"}),
            ("samples", ["search.grid.samples=9"], None),
        ]
    }
    fits, made = found.pop("before")

    # They go on without a point that diverges, where a plain grid fails.
    assert changed(identities()[1], made) == {"search"} | TRAINED
    for name, (other_fits, other) in found.items():
        own = set() if name == "samples" else {"search"}
        assert changed(made, other) == own | CHOSEN
        assert changed(fits, other_fits) == (set() if name == "code" else {"baselines"})


@pytest.mark.parametrize("method", ["auto", "loss"])
@pytest.mark.parametrize("override", ["model.width=4", "train_specialists.lr=0.5"])
def test_an_assigner_that_trains_probes_follows_the_base(method, override):
    """Other models cut otherwise, so whatever the base is made from decides the cut too."""
    chosen = f"cluster={method}"
    before, after = identities(chosen), identities(chosen, override)

    assert changed(before[0], after[0]) - {"baselines"} == {"base", "cluster"}
    assert changed(before[1], after[1]) == CLUSTERED


@pytest.mark.parametrize(
    ("override", "retrained"),
    [
        ("grid.lr=[0.001]", True),
        ("train_router.temperature=0.3", True),
        ("evaluate.seed=9", True),
        ("evaluate.bootstrap=9", False),
        ("changes.baselines=current", False),
    ],
)
def test_baselines_follow_what_the_pool_costs(override, retrained):
    """They get the pool's grid and FLOPs, so they train anew where either changes."""
    before, after = identities(), identities(override)

    assert (before[0]["baselines"] != after[0]["baselines"]) == retrained


@pytest.mark.parametrize(
    ("stage", "made"),
    [
        ("split", (EVERYTHING - TRAINED - {"content"}) | {"drift"} | DEPLOYED),
        ("transform", (TRANSFORMED - TRAINED) | {"drift"}),
        ("encode", (ENCODED - TRAINED) | {"drift"}),
        ("cluster", {"cluster", "index", "sample", "drift"}),
        ("specialists", TRAINED),
        ("choices", {"search"} | CHOSEN),
        ("router", POOLED - {"ask", "gate"}),  # the gate fits routers of its own
        ("ask", ASKED),
        ("gate", GATED),
        ("pool", {"pool", "evaluate"} | DEPLOYED),
        ("evaluate", EVALUATED),
        ("sample", {"sample", "drift"}),
        ("drift", {"drift"}),
    ],
)
def test_code_is_part_of_what_applies_a_fit_and_of_no_fit(stage, made):
    """Changed code runs its stage again; of transform and encoder it is part of what rows are."""
    before, after = identities(), identities(codes={stage: "changed"})

    assert changed(before[0], after[0]) == set()
    assert changed(before[1], after[1]) == made


def test_the_order_of_shards_and_points_is_part_of_nothing():
    """Ids come from what there is, not from its place in a list."""
    before = identities("grid.lr=[0.001,0.003]")
    after = identities("grid.lr=[0.003,0.001]", shards=SHARDS[::-1])

    assert before == after


def test_the_users_model_is_code_of_what_trains_and_predicts(tmp_path, monkeypatch):
    """Its file counts for base, specialists and all that asks them, and for no earlier stage."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "my_model.py"
    settings = compose(CONFIG, "demo", ["model._target_=my_model.Net"])
    codes = []
    for text in ("one = 1", "one = 2"):
        file.write_text(text)
        codes.append((fit_codes(settings), apply_codes(settings)))

    (fits, applied), (later_fits, later_applied) = codes

    assert changed(fits, later_fits) == {"base", "baselines"}
    assert changed(applied, later_applied) == TRAINED | {"sample", "prequential", "mixes"}


def test_the_users_function_is_code_of_the_transform(tmp_path, monkeypatch):
    """The file of a step's function counts where the step is fitted and applied, and only there."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "my_steps.py"
    step = "{step: function, columns: [a], options: {_target_: my_steps.f, training_only: true}}"
    settings = compose(CONFIG, "demo", [f"transform.steps=[{step}]"])
    codes = []
    for text in ("one = 1", "one = 2"):
        file.write_text(text)
        codes.append((fit_codes(settings), apply_codes(settings)))

    (fits, applied), (later_fits, later_applied) = codes

    assert changed(fits, later_fits) == {"transform"}
    assert changed(applied, later_applied) == {"transform"}


def test_the_users_encoder_is_code_of_encode(tmp_path, monkeypatch):
    """The file of a class that encodes counts where it is fitted and applied, and only there."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "my_encoders.py"
    given = "encode.columns={a: {_target_: my_encoders.Bins}}"
    settings = compose(CONFIG, "demo", [given])
    codes = []
    for text in ("one = 1", "one = 2"):
        file.write_text(text)
        codes.append((fit_codes(settings), apply_codes(settings)))

    (fits, applied), (later_fits, later_applied) = codes

    assert changed(fits, later_fits) == {"encode"}
    assert changed(applied, later_applied) == {"encode"}


def test_the_users_model_is_code_of_an_assigner_that_trains_it(tmp_path, monkeypatch):
    """Its file counts for the fit of such an assigner, and assigns no row anew."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "my_model.py"
    settings = compose(CONFIG, "demo", ["model._target_=my_model.Net", "cluster=auto"])
    codes = []
    for text in ("one = 1", "one = 2"):
        file.write_text(text)
        codes.append((fit_codes(settings), apply_codes(settings)))

    (fits, applied), (later_fits, later_applied) = codes

    assert changed(fits, later_fits) == {"base", "baselines", "cluster"}
    assert changed(applied, later_applied) == TRAINED | {"sample", "prequential", "mixes"}
