"""What a new index means for each partition, and the reasons that are given."""

from typing import Any

from shoal.operate.row_changes import FileChange
from shoal.operate.staleness import PartitionState, partition_states
from shoal.operate.why import Differences, SettingChange, reasons, setting_changes


def entry(number: int, train: str, trained: bool = True, **others: Any) -> dict[str, Any]:
    """A partition of an index whose digests are ``train``, ``v`` and ``t``."""
    return {
        "partition": number,
        "trained": trained,
        "rows": {"train": 10, "validation": 2, "test": 2},
        "digests": {"train": train, "validation": "v", "test": "t"},
        "specialist": train,
    } | others


def index(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"partitions": list(entries)}


def one(before: dict[str, Any], after: dict[str, Any], stale: bool = False) -> PartitionState:
    (state,) = partition_states(index(before), index(after), {0} if stale else set())
    return state


def test_the_same_rows_and_no_job_to_run_are_fresh():
    """Nothing about a fresh partition is different."""
    state = one(entry(0, "a"), entry(0, "a"))

    assert (state.status, state.folds) == ("fresh", ())


def test_other_training_rows_change_a_partition():
    """The folds whose digests differ are named."""
    state = one(entry(0, "a"), entry(0, "b"), stale=True)

    assert (state.status, state.folds) == ("changed", ("train",))


def test_a_job_to_run_changes_a_partition_of_the_same_rows():
    """Settings and code make a partition stale as rows do."""
    assert one(entry(0, "a"), entry(0, "a"), stale=True).status == "changed"


def test_without_a_published_index_every_partition_is_new():
    """A first run, another generation or another assigner has nothing to compare with."""
    states = partition_states(None, index(entry(0, "a"), entry(1, "b")), {0, 1})

    assert [state.status for state in states] == ["new", "new"]
    assert all(state.rows_before is None for state in states)


def test_a_partition_that_gets_too_small_is_gone_and_one_that_grows_is_new():
    """Whether a partition has a specialist decides, not whether it has rows."""
    before = index(entry(0, "a"), entry(1, "b", trained=False), entry(2, "c", trained=False))
    after = index(entry(0, "x", trained=False), entry(1, "y"), entry(2, "c", trained=False))

    states = partition_states(before, after, {1})

    assert [state.status for state in states] == ["gone", "new", "untrained"]


def test_a_partition_that_keeps_its_old_specialist_is_waiting():
    """The index says which partitions wait, and what it says is passed on."""
    waiting = {"index": "i", "added": 1, "removed": 0, "share": 0.1}
    state = one(entry(0, "a"), entry(0, "b", specialist="a", waiting=waiting))

    assert (state.status, state.waiting) == ("waiting", waiting)


def test_a_partition_that_waited_is_changed_by_its_own_earlier_rows():
    """Its rows are those of the published index, but its specialist has yet to see them."""
    held = entry(0, "b", specialist="a", waiting={"index": "i"})
    state = one(held, entry(0, "b"), stale=True)

    assert (state.status, state.folds, state.waited) == ("changed", (), True)


def test_placeholders_are_new_partitions_with_rows_unknown():
    """Before the generation is fitted nothing is known of a partition's rows."""
    planned = {"partition": 0, "trained": True, "specialist": "partition-0", "digests": {}}
    (state,) = partition_states(None, index(planned), {0})

    assert (state.status, state.rows_after) == ("new", None)


def files(*paths: str) -> list[FileChange]:
    return [FileChange(path, "edited", "a", "b") for path in paths]


def test_reasons_name_the_source_files_whose_rows_changed():
    """At most three files are named, the others counted."""
    state = one(entry(0, "a"), entry(0, "b"), stale=True)

    why = reasons(state, Differences(), files("w", "x", "y", "z", "q"), jobs=2)

    assert why == ["rows of w, x, y and 2 more files"]


def test_a_changed_test_row_is_said_to_change_nothing_else():
    """Only the folds that training does not read are named."""
    after = entry(0, "a")
    after["digests"] = after["digests"] | {"test": "other"}

    assert reasons(one(entry(0, "a"), after), Differences(), files("x"), jobs=0) == [
        "only test rows of x"
    ]


def test_reasons_name_settings_and_code_of_the_stages_that_train():
    """What only the router or the report reads is no reason for a partition."""
    changed = Differences(
        settings=[SettingChange("model.width", 4, 8), SettingChange("evaluate.seed", 0, 1)],
        codes=["train_specialists", "evaluate"],
    )
    state = one(entry(0, "a"), entry(0, "a"), stale=True)

    assert reasons(state, changed, [], jobs=2) == [
        "settings of model changed",
        "code of train_specialists changed",
    ]


def test_a_new_grid_point_is_named_by_its_values():
    """The reason is the point, not that the grid's settings changed."""
    changed = Differences(settings=[SettingChange("grid.lr", [1], [1, 2])], points=["lr=2"])
    state = one(entry(0, "a"), entry(0, "a"), stale=True)

    assert reasons(state, changed, [], jobs=1) == ["new grid point lr=2"]


def test_rows_that_were_trained_on_before_are_said_to_need_no_training():
    """An undone change finds its old specialist: changed, but no job."""
    state = one(entry(0, "a"), entry(0, "b"))

    assert reasons(state, Differences(), files("x"), jobs=0) == [
        "rows of x",
        "trained by an earlier run",
    ]


def test_setting_changes_have_dotted_names_and_leave_out_what_rows_show():
    """Lists are values; where files lie is seen in the rows."""
    before = {"grid": {"lr": [1]}, "sources": {"folder": "a", "task": "x"}, "seed": 0}
    after = {"grid": {"lr": [1, 2]}, "sources": {"folder": "b", "task": "x"}, "seed": 1}

    assert setting_changes(before, after) == [SettingChange("grid.lr", [1], [1, 2])]
