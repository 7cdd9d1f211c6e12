"""The descriptions of the stages, against the rules of the Snakefile and against each other."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from snakemake.api import SnakemakeApi
from snakemake.io import is_flagged, strip_wildcard_constraints
from snakemake.iocontainers import Wildcards
from snakemake.settings.types import ConfigSettings, OutputSettings, Quietness, ResourceSettings

import shoal
from shoal.formats.json_file import write_json
from shoal.plan.layout import Layout
from shoal.plan.paths import beside, glob, inputs, jobs_of, outputs, parse
from shoal.plan.stages import KEYS, PACKS, STAGES, Stage
from shoal.settings import Settings
from tests.documents import partition_entry, partition_index
from tests.workflow.small import set_up

OTHER_RULES = {"all"}

TRAINED = ("a" * 24, "b" * 24)
OTHERS = ("c" * 24, "d" * 24)
HALVED = ("search.halving.rungs=2", "search.halving.reduction_factor=2")
PROPOSED = ("search.grid.sampler=tpe", "search.grid.samples=3", "search.grid.batch=2")
RANGE = "+grid.weight_decay=[0.0,0.1]"
PROBED = ("cluster=auto", "cluster.partitions=[2]")
WAYS = {
    "grid": (),
    "halved": HALVED,
    "proposed": (*PROPOSED, RANGE),
    "probed": PROBED,
    "current": ("changes.baselines=current",),
    "widths": ("model.width=[4,8]",),
}


class Workflow:
    """The workflow of a small experiment, as Snakemake reads it."""

    def __init__(self, workflow: Any) -> None:
        self.rules = {rule.name: rule for rule in workflow.rules}
        self.plan = workflow.globals["plans"].first
        # As if rows had arrived since a release, and copies were deployed.
        deployed = {"after": "c" * 10, "bases": ("c" * 10, "d" * 10)}
        self.plan.layout = replace(self.plan.layout, previous=("a" * 10, "b" * 10), **deployed)
        self.index = partition_index(
            *(
                partition_entry(
                    number,
                    trained=number < 2,
                    specialist=digest,
                    digests={"train": digest, "validation": digest[::-1], "test": digest},
                )
                for number, digest in enumerate((*TRAINED, *OTHERS))
            ),
            root={"all": "e" * 24, "fit": "f" * 24, "train": "0" * 24},
        )

    @property
    def layout(self) -> Layout:
        """The experiment's layout."""
        layout: Layout = self.plan.layout
        return layout

    def jobs(self) -> Iterator[tuple[Stage, dict[str, str]]]:
        """All jobs but those about several variants, which take files of others."""
        for stage in STAGES.values():
            if stage.per != "variants":
                yield from ((stage, job) for job in jobs_of(self.layout, stage, self.index))

    def make(self) -> None:
        """Make what the plan looks at: summaries, index, choices."""
        layout = self.layout
        for path in [layout.file("assign.summary", shard=shard) for shard in layout.shards]:
            write_json(path, {})
        write_json(layout.index, self.index)
        for entry in layout.specialised(self.index):
            write_json(layout.choice(entry), {})

    def inputs(self, stage: Stage, job: dict[str, str]) -> dict[str, Any]:
        """What the stage's rule takes for a job of it, by name."""
        rule, values = self.rules[stage.name], dict[str, str]()
        for name, path in outputs(self.layout, stage, job, self.index).items():
            values |= getattr(rule.output, name).match(str(path)).groupdict()
        return dict(rule.input[0]._file.callable(Wildcards(fromdict=values)))


def as_list(value: Any) -> list[Any]:
    """An input, or inputs."""
    return value if isinstance(value, list) else [value]


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Workflow]]:
    """Reads the Snakefile of a small experiment, with changes of its settings."""
    folder = set_up(tmp_path_factory.mktemp("stages") / "experiment").folder
    with (
        pytest.MonkeyPatch.context() as patch,
        SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api,
    ):
        patch.chdir(folder)
        patch.setenv("PYTHONSAFEPATH", "1")  # as the Snakefile does; it is unset at the end

        def workflow(*overrides: str) -> Workflow:
            config = ConfigSettings(config={"experiment": "tiny", "overrides": list(overrides)})
            made = api.workflow(ResourceSettings(), config, snakefile=Path("Snakefile"))
            return Workflow(made._workflow)

        yield workflow


@pytest.mark.parametrize("way", ["grid", "halved"])
def test_every_rule_is_a_stage_with_the_same_paths(read, way):
    """A rule and its stage have the same outputs, with the same wildcards."""
    rules = read(*WAYS[way]).rules

    assert set(rules) - OTHER_RULES == set(STAGES)
    for stage in STAGES.values():
        rule = rules[stage.name]
        said = {name: strip_wildcard_constraints(path.file) for name, path in rule.output.items()}
        made = set(stage.outputs) - set(() if way == "halved" else stage.carried)
        assert said == {name: stage.pattern(name) for name in made}


@pytest.mark.parametrize("way", WAYS)
def test_every_rule_takes_the_files_that_its_stage_says(read, way):
    """For each job: the same files by the same names, ancient unless it is of a generation."""
    workflow = read(*WAYS[way])
    workflow.make()

    for stage, job in workflow.jobs():
        own = inputs(workflow.layout, stage, job, workflow.index)
        taken = workflow.inputs(stage, job)
        assert set(taken) == {name for name, each in stage.inputs.items() if each.awaited}
        for name, value in taken.items():
            assert set(map(str, as_list(value))) == set(map(str, as_list(own[name])))
            assert all(is_flagged(each, "ancient") == stage.ancient for each in as_list(value))


def test_jobs_take_the_assigner_as_it_has_grown_last(read):
    """Each growth that of before, all that follows the last one; every growth is a job."""
    workflow = read()
    first, second = "a" * 10, "b" * 10
    layout = replace(workflow.layout, grown=(first, second))

    def assigner(stage: str, **job: str) -> Any:
        return inputs(layout, STAGES[stage], job, workflow.index)["assigner"]

    files = [layout.file("cluster_grow.assigner", grown_id=each) for each in (first, second)]
    fitted = layout.file("cluster_fit.assigner")

    grow = [job.wildcards["grown_id"] for job in layout.early_jobs() if job.rule == "cluster_grow"]
    assert grow == [first, second]
    assert [assigner("cluster_grow", grown_id=each) for each in grow] == [fitted, files[0]]
    assert assigner("cluster_grow", grown_id="c" * 10) == files[1]
    assert assigner("assign", shard=layout.shards[0]) == layout.assigner == files[1]
    for stage in ("partition", "train_router", "gate", "drift_sample"):
        assert assigner(stage) == files[1]


@pytest.mark.parametrize("way", WAYS)
def test_a_job_comes_after_those_that_make_its_inputs(read, way):
    """In the order of a layout's jobs; no file is made twice."""
    workflow = read(*WAYS[way])
    layout, index, made = workflow.layout, workflow.index, set()
    jobs = layout.jobs(index)
    every = {path for job in jobs for path in job.outputs}

    packs = {stage.name for stage in PACKS}
    others = {*packs, "answers", "cluster_grow"} | (
        {"choose_variant"} if way != "widths" else set()
    )
    assert {job.rule for job in jobs} == set(STAGES) - others
    for job in jobs:
        takes = inputs(layout, STAGES[job.rule], job.wildcards, index).values()
        paths = {path for each in takes for path in as_list(each)}
        assert paths & every <= made
        assert made.isdisjoint(job.outputs)
        made.update(job.outputs)


@pytest.mark.parametrize("way", WAYS)
def test_a_path_says_which_job_made_it(read, way):
    """Of which stage it is, and by which wildcards; where results lie does not matter."""
    workflow = read(*WAYS[way])

    for stage, job in workflow.jobs():
        files = outputs(workflow.layout, stage, job, workflow.index)
        for name, path in files.items() if stage.place == "generation" else ():
            place = parse(f"/elsewhere/{path}")
            assert place is not None
            assert (place.stage, place.output) == (stage, name)
            assert job.items() - {("validation", job.get("validation"))} <= place.wildcards.items()
            inside = path.relative_to(workflow.layout.root)
            assert inside.match(glob(stage, name))
            given = {key: place.wildcards[key] for key in stage.keys if key in place.wildcards}
            assert inside.match(glob(stage, name, **given))


@pytest.mark.parametrize(
    "path",
    [
        "data/part-1.csv",
        "results/tiny/published/0123456789.json",
        "results/tiny/g1/gate/0123456789/.123-unfinished.json",
        "results/tiny/g1/pool/0123456789/root/specialist-0.safetensors",
        "results/tiny/gate/0123456789/root.json",
    ],
)
def test_other_files_are_no_outputs_of_a_generation(path):
    """Source files, records beside it, what is being written, what an output lists."""
    assert parse(path) is None


def test_a_file_beside_an_output_is_of_its_job():
    """As the members of a pool beside its manifest."""
    pool = Path("g1/pool/0123456789/root")

    place = beside(pool / "specialist-0.safetensors")

    assert place is not None
    assert place == parse(pool / "manifest.json")


def test_a_benchmark_is_called_by_the_wildcards_of_its_job(read):
    """As its rule says it."""
    rules = read().rules
    for stage in STAGES.values():
        benchmark = strip_wildcard_constraints(str(rules[stage.name].benchmark))
        if stage.place == "generation":
            path = stage.pattern(next(iter(stage.outputs)))
            place = parse(path.replace("{generation}", "g1"))
            assert place is not None
            said = Path("results/{experiment}/benchmarks", place.benchmark)
            assert str(said) == benchmark.replace("{generation}", "g1")


def test_one_job_for_all_takes_what_there_is_of_each(read):
    """The router takes the choice of each partition, drift the rows of shards that were fitted."""
    layout, index = (workflow := read()).layout, workflow.index
    choices = layout.folder / "choices" / layout.made["choices"]

    found = inputs(layout, STAGES["train_router"], {}, index)

    assert found["choices"] == [choices / d / "0" / f"{d[::-1]}.json" for d in TRAINED]
    assert found["assigner"] == layout.folder / "cluster" / layout.fits["cluster"] / (
        "assigner.safetensors"
    )
    rows = [layout.file("assign.rows", shard=shard) for shard in layout.shards[:2]]
    ledger = layout.file("cluster_fit.ledger")
    names = [str(path).replace("cluster", "encode") for path in rows]
    write_json(ledger, {"made_from": {"files": dict.fromkeys([*names, "base.safetensors"], "")}})
    write_json(rows[1], {})

    assert inputs(layout, STAGES["evaluate_drift"], {}, index)["basis"] == [rows[1]]


def test_a_step_of_a_search_takes_what_the_one_before_left(read):
    """Nothing in the first step, later the decision before it and the states of all slots."""
    layout = read(*HALVED).layout
    stage, validation = STAGES["train_specialist"], OTHERS[0]
    about = {"digest": TRAINED[0], "step": "0", "slot": layout.points[0]}

    first = inputs(layout, stage, about)
    later = inputs(layout, stage, {**about, "step": "1", "slot": f"{validation}-0"})

    own = layout.folder / "specialists" / layout.made["specialists"] / TRAINED[0] / "0"
    decision = layout.search(TRAINED[0], validation).decision(0)
    assert (first["decision"], first["states"]) == ([], [])
    assert later["decision"] == [decision]
    assert later["states"] == [own / point / "state.safetensors" for point in layout.points]


def test_a_decision_compares_a_rung_or_all_trials(read):
    """Under halving the slots of its step; of proposed points those of the steps before too."""
    stage = STAGES["train_choose"]
    about = {"digest": TRAINED[0], "step": "1", "validation": OTHERS[0]}
    found = {}
    for way in ("halved", "proposed"):
        paths = inputs(read(*WAYS[way]).layout, stage, about)["specialists"]
        found[way] = [path.parts[-3] for path in as_list(paths)]

    assert found == {"halved": ["1"], "proposed": ["0", "0", "1"]}


def test_a_stage_takes_outputs_of_stages_before_it():
    """But for steps of one search, which take turns, and what is of an earlier run."""
    order = list(STAGES)
    for stage in STAGES.values():
        for origin in (origin for each in stage.inputs.values() for origin in each.origins):
            assert origin.output in STAGES[origin.stage].outputs
            takes_turns = stage.per in ("slot", "step", "pack") or origin.at_fit
            assert takes_turns or order.index(origin.stage) < order.index(stage.name)


def test_what_stages_name_is_there():
    """Settings and modules that enter an identity; a job's own wildcards in its path."""
    package = Path(shoal.__file__).parent
    for stage in STAGES.values():
        assert set(stage.settings) <= set(Settings.model_fields)
        path = "".join(map(stage.pattern, stage.outputs))
        assert all(f"{{{key}}}" in path for key in stage.keys)
        if stage.code is not None:
            assert package.joinpath(*stage.code.split(".")).with_suffix(".py").is_file()
    assert {stage.per for stage in STAGES.values()} == set(KEYS)
