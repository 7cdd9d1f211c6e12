"""`shoal gc` on a small experiment before and after a change of its data."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from shoal.cli.operate import audit, gc
from shoal.errors import DataError, ShoalError
from shoal.formats.json_file import read_json, write_json
from shoal.operate.audit.files import read_artifact
from shoal.operate.gc import find_garbage
from shoal.operate.reach import Reach
from shoal.plan.layout import Layout
from shoal.plan.plan import Plan
from tests.workflow.small import Experiment, remove_training_row

app = typer.Typer()
app.command()(audit)
app.command()(gc)


@pytest.fixture(scope="module")
def changed_once(finished, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """The finished experiment, run again after a source file lost a training row."""
    experiment = finished.copy(tmp_path_factory.mktemp("changed") / "experiment")
    remove_training_row(experiment)
    experiment.run()
    return experiment


@pytest.fixture
def changed(changed_once, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A copy of the experiment with two releases, in which the test stands."""
    copy = changed_once.copy(tmp_path / "experiment")
    monkeypatch.chdir(copy.folder)
    return copy


@pytest.fixture
def collected(copied, monkeypatch: pytest.MonkeyPatch):
    """A copy of the finished experiment, in which the test stands."""
    monkeypatch.chdir(copied.folder)
    return copied


def command(*arguments: str) -> tuple[int, list[str]]:
    """Exit code and lines of a command."""
    result = CliRunner().invoke(app, arguments)
    if isinstance(result.exception, ShoalError):
        raise result.exception
    return result.exit_code, result.stdout.splitlines()


def made() -> set[Path]:
    """All files and folders of the results."""
    return set(Path("results").rglob("*"))


def specialists() -> set[str]:
    """Training digests that there are specialists of."""
    return {path.name for path in Path("results/tiny/g1").glob("specialists/*/*")}


def in_use() -> set[str]:
    """Training digests of the current index."""
    index = Plan("tiny", [], Path("config")).layout.read_index()
    return {entry["specialist"] for entry in index["partitions"]}


def test_everything_of_a_finished_experiment_is_reached(collected):
    """A run leaves nothing that it does not need."""
    assert command("gc", "tiny", "--keep", "1") == (
        0,
        ["results/tiny: everything in it is reached"],
    )


def test_an_undone_state_is_kept_as_long_as_its_release(changed):
    """With the last two releases kept, the one before the change loses nothing."""
    before = made()

    code, lines = command("gc", "tiny", "--keep", "2", "--remove")

    assert (code, lines) == (0, ["results/tiny: everything in it is reached"])
    assert made() == before
    assert len(specialists() - in_use()) == 1


def test_an_older_release_goes_when_it_is_not_kept(changed):
    """With one release kept, specialists of the earlier rows go and the current ones stay."""
    code, lines = command("gc", "tiny", "--keep", "1", "--remove")

    assert code == 0
    assert any(line.startswith("results/tiny/g1/specialists  ") for line in lines)
    assert lines[-1] == "removed"
    assert specialists() == in_use()


def test_settings_files_stay_as_long_as_their_releases(changed):
    """Of two runs, each with a release, the first one's goes where one release is kept."""
    before, now = sorted(
        Path("results/tiny/settings").iterdir(), key=lambda p: p.stat().st_mtime_ns
    )
    plans = [Plan("tiny", [], Path("config"))]

    def garbage(keep: int) -> set[Path]:
        return {before, now} & set(find_garbage(plans, keep).files)

    assert now == plans[0].run_file
    assert (garbage(2), garbage(1)) == (set(), {before})


def test_the_current_plan_is_whole_after_removal(changed):
    """After removal no job has to run, every artifact agrees and nothing else is garbage."""
    command("gc", "tiny", "--keep", "1", "--remove")

    assert command("audit", "tiny")[0] == 0
    assert command("gc", "tiny", "--keep", "1")[1][0].endswith("everything in it is reached")
    assert changed.run() == []


def test_listing_removes_nothing(changed):
    """Without --remove there is a line a folder and a total, and every file stays."""
    before = made()

    code, lines = command("gc", "tiny", "--keep", "1")

    assert code == 0
    folders = [line.split()[0] for line in lines if line.startswith("results/")]
    assert folders == sorted(set(folders))
    assert any(line.startswith("total") for line in lines)
    assert lines[-1] == "nothing was removed; --remove removes it"
    assert made() == before


def test_rows_and_choices_of_the_fit_stay(changed):
    """Drift and removals are told by the rows that the generation was fitted on."""
    plan = Plan("tiny", [], Path("config"))
    stores = [plan.layout.file("assign.rows", shard=shard) for shard in plan.basis()]
    gone = set(plan.basis()) - set(plan.layout.shards)
    indexes = set(Path("results/tiny/g1").glob("cluster/*/indexes/*/*"))
    choices = set(Path("results/tiny/g1").glob("choices/*/*/*/*"))

    command("gc", "tiny", "--keep", "1", "--remove")

    assert len(gone) == 1
    assert all(path.exists() for path in stores)
    assert indexes | choices <= made()


def test_what_is_undone_after_removal_is_made_again(changed, finished):
    """An undone change whose files have gone runs again, and everything agrees."""
    command("gc", "tiny", "--keep", "1", "--remove")
    shutil.copyfile(finished.folder / "data" / "part-0.csv", "data/part-0.csv")

    ran = changed.run()

    assert ran.count("train_specialist") == 2
    assert command("audit", "tiny")[0] == 0


def test_a_crash_while_removing_leaves_nothing_without_its_inputs(changed):
    """Whatever is removed goes before what it was made from, and a head before its folder."""
    order = find_garbage([Plan("tiny", [], Path("config"))], 1).files
    turn = {str(path): place for place, path in enumerate(order)}

    for path in order:
        if path.suffix in (".json", ".safetensors", ".zip") and "members" not in path.parts:
            for name in (read_artifact(path).made_from or {"files": {}})["files"]:
                assert turn.get(name, len(order)) > turn[str(path)]
        if path.name == "manifest.json":
            beside = [each for each in order if path.parent in each.parents]
            assert beside[0] == path


def test_a_generation_without_a_release_goes(changed):
    """A generation that no kept release has goes altogether, fits and folders included."""
    Path("results/tiny/g1").rename("results/tiny/g3")
    shutil.copytree("results/tiny/g3", "results/tiny/g1")

    command("gc", "tiny", "--remove")

    assert not Path("results/tiny/g3").exists()
    assert command("audit", "tiny")[0] == 0


def test_leftovers_of_killed_jobs_go(collected):
    """Temporary files of dead processes and empty folders go; a living one's file stays."""
    dead = subprocess.Popen(["true"])
    dead.wait()
    folder = Path("results/tiny/g1/pool/0123456789/empty")
    folder.mkdir(parents=True)
    left = Path("results/tiny/pool", f".{dead.pid}-base.safetensors")
    left.write_bytes(b"half")
    written = Path("results/tiny/g1/encode", f".{os.getpid()}-x.zarr.zip.raw")
    written.write_bytes(b"half")

    command("gc", "tiny", "--remove")

    assert not left.exists()
    assert not folder.parent.exists()
    assert written.exists()


def test_links_are_left_alone(collected, tmp_path: Path):
    """Neither a link nor what lies behind it is removed or counted."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious.json").write_text("{}")
    link = Path("results/tiny/g1/linked")
    link.symlink_to(outside)

    _, lines = command("gc", "tiny", "--remove")

    assert lines == ["results/tiny: everything in it is reached"]
    assert link.is_symlink()
    assert (outside / "precious.json").exists()


def test_nothing_is_removed_while_a_run_is_in_progress(changed):
    """Snakemake's lock makes --remove refuse with one line; listing goes on."""
    locks = Path(".snakemake/locks")
    locks.mkdir(exist_ok=True)
    (locks / "0.output.lock").write_text("")
    before = made()

    with pytest.raises(DataError, match="a run of the workflow is in progress"):
        command("gc", "tiny", "--keep", "1", "--remove")

    assert made() == before
    assert command("gc", "tiny", "--keep", "1")[0] == 0


def test_an_index_that_does_not_read_stops_everything(changed):
    """Where nobody knows what an index reaches, nothing is garbage."""
    path = Plan("tiny", [], Path("config")).layout.index
    path.write_text("{")

    with pytest.raises(ShoalError, match="not readable as JSON"):
        command("gc", "tiny", "--remove")


def test_rows_that_a_waiting_partition_was_trained_on_stay(collected):
    """The index a partition waits since is reached, and the row stores that it names."""
    layout = Plan("tiny", [], Path("config")).layout
    index = read_json(layout.index, Any)
    since = layout.index_of("0123456789")
    write_json(since, index | {"partitions": index["partitions"][:1]})
    for number in (-1, 0):
        folds = {fold: [] for fold in ("train", "validation", "test", "outside")}
        write_json(since.parent / "members" / f"{number}.json", folds | {"train": [["gone", 0, 3]]})
    index["partitions"][0]["waiting"] = {
        "index": "../0123456789/index.json",
        "added": 1,
        "removed": 0,
        "share": 0.01,
    }
    write_json(layout.index, index)

    reached = Reach()
    reached.add(layout)

    assert reached.covers(since.parent / "members" / "0.json")
    assert reached.covers(layout.file("assign.rows", shard="gone"))
    assert not reached.covers(layout.file("encode.rows", shard="gone"))


def test_waiting_partitions_agree_and_lose_nothing(collected):
    """Where a partition waits, its specialist is no mismatch, and the next change still counts."""
    tolerant = "changes.tolerance=0.2"
    remove_training_row(collected)
    collected.run(overrides=f"[{tolerant}]")

    code, lines = command("gc", "tiny", tolerant, "--keep", "1", "--remove")

    assert (code, lines[-1]) == (0, "removed")
    assert command("audit", "tiny", tolerant)[0] == 0
    assert collected.run(overrides=f"[{tolerant}]") == []
    index = Plan("tiny", [tolerant], Path("config")).layout.read_index()
    assert any("waiting" in entry for entry in index["partitions"])
    remove_training_row(collected)
    assert "train_specialist" not in collected.run(overrides=f"[{tolerant}]")


def test_a_kept_layout_of_another_generation_keeps_its_fits(collected):
    """What a layout reaches is in its own generation."""
    layout = Plan("tiny", [], Path("config")).layout
    other = Layout.from_json(layout.as_json() | {"generation": "g2"})

    reached = Reach()
    reached.add(other)

    assert reached.covers(other.file("base_fit.base"))
    assert not reached.covers(layout.file("base_fit.base"))


def test_a_checkpoint_is_reached_while_its_output_is_missing(collected):
    """A job that was ended goes on from it; one that is left over is garbage, and no mismatch."""
    model = next(Path("results/tiny/g1/specialists").rglob("model.safetensors"))
    checkpoints = [model.with_name(f"model.checkpoint{n}.safetensors") for n in ("", "-2")]
    for path in checkpoints:
        path.write_bytes(b"")

    assert set(find_garbage([Plan("tiny", [], Path("config"))], 1).files) == set(checkpoints)
    assert command("audit", "tiny")[0] == 0

    model.unlink()

    assert not find_garbage([Plan("tiny", [], Path("config"))], 1).files
