"""``shoal replay``: the releases of an experiment, made again from nothing.

Jobs are those of the workflow, one after the other in this process in place of Snakemake's;
``test_continuing.py`` has a replay by Snakemake.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from shoal.cli.commands import run as command
from shoal.deploy.copies import RECORD
from shoal.errors import SourceError
from shoal.formats.json_file import read_json
from shoal.operate import replay
from shoal.plan.history import History
from shoal.plan.plan import Plan
from tests.shoal_edge.conftest import change
from tests.workflow.in_turn import run
from tests.workflow.small import set_up, write_rows

ON = ["continuing=proactive", "grid.lr=[0.01]"]
DEPLOYED = [*ON, "deploy=grid", "deploy.most_loss=1.0"]
WAVE = Path("data", "part-3.csv")
ASIDE = WAVE.with_suffix(".aside")


@pytest.fixture(scope="module")
def replayed(tmp_path_factory):
    """An experiment to which a wave of rows came, and went again; with a replay of it."""
    folder = set_up(tmp_path_factory.mktemp("replayed") / "experiment").folder
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(replay, "run_snakemake", run)
        for number in (1, 2):
            Path(f"data/part-{number}.csv").unlink()
        run(Plan("tiny", ON, Path("config")))
        run(Plan("tiny", DEPLOYED, Path("config")))
        write_rows(WAVE, 3, 60)
        run(Plan("tiny", DEPLOYED, Path("config")))
        WAVE.rename(ASIDE)
        run(Plan("tiny", DEPLOYED, Path("config")))
        shutil.copy(ASIDE, WAVE)
        found = list(replay.replay(Plan("tiny", [], Path("config")), Path("again"), "1"))
    return folder, found


@pytest.fixture
def copy(replayed, tmp_path, monkeypatch):
    """A copy to change, which is the current folder; its replay is of it."""
    folder = tmp_path / "experiment"
    shutil.copytree(replayed[0], folder, symlinks=True)
    monkeypatch.chdir(folder)
    mark = Path("again", replay.MARK)
    mark.write_text(mark.read_text().replace(str(replayed[0]), str(folder)))


def test_each_release_comes_out_with_its_names_and_bits(replayed):
    """Also one whose models continue from others, and one that goes back to those."""
    folder, found = replayed

    assert all(each.agrees for each in found)
    assert ["links 1 to 1" in each.line for each in found] == [False, False, True, False]
    assert all("same bits of 5 models" in each.line for each in found)
    first, second = (
        [each["release"] for each in History(root / "results" / "tiny").entries]
        for root in (folder, folder / "again")
    )
    assert first == second


def test_copies_for_devices_come_out_with_their_names_and_bits(replayed):
    """Also of a channel that was switched on between releases, and goes on when rows have gone."""
    folder, found = replayed
    assert ["and the copy" in each.line for each in found] == [False, True, True, True]

    first, second = (
        {
            path.relative_to(root): path.read_bytes()
            for path in sorted(root.glob("results/tiny/g1/deploy/**/*"))
            if path.is_file() and path.name != RECORD
        }
        for root in (folder, folder / "again")
    )

    assert sum(path.name == "manifest.json" for path in first) == 3
    assert sum(path.suffix == ".patch" for path in first) == 3
    assert first.keys() == second.keys()
    assert [str(path) for path in first if first[path] != second[path]] == []


def test_a_copy_that_is_another_is_named(replayed, copy, capsys):
    """By one bit of its weights; nothing else of its release is."""
    manifest = Path(History(Path("results/tiny")).entries[-1]["copy"]["manifest"])
    change(manifest.parent, "specialists/1.safetensors", 0.01)

    code = command(["replay", "tiny", "--out", "again"])

    *same, line, _ = capsys.readouterr().out.splitlines()
    assert code == 1
    assert same == [each.line for each in replayed[1][:3]]
    assert line.endswith("differs in the bits of the copy")


def test_what_is_made_is_compared_again_and_another_bit_is_found(replayed, copy, capsys):
    """A model that the experiment has otherwise is named, and the exit code is 1."""
    before = sorted(Path("again").rglob("*"))
    path = sorted(Path("results/tiny/models").glob("*.json"))[2]
    listed = read_json(path, dict)
    router = next(each for each in listed["models"] if each["kind"] == "router")
    router["id"] = router["id"][:-6] + "0" * 6
    path.write_text(json.dumps(listed))

    code = command(["replay", "tiny", "--out", "again"])

    *same, changed, _, last = capsys.readouterr().out.splitlines()
    assert code == 1
    assert same == [each.line for each in replayed[1][:2]]
    assert changed.endswith("differs in the bits of router")
    assert last == "3 of 4 releases came out the same: again"
    assert sorted(Path("again").rglob("*")) == before


def test_a_source_file_that_is_gone_or_edited_is_named_and_nothing_begins(copy):
    """A release cannot be made without its rows; they may lie among the sources elsewhere."""
    WAVE.unlink()
    with pytest.raises(SourceError, match=f"{WAVE}: is gone, and release"):
        command(["replay", "tiny", "--out", "other"])
    write_rows(WAVE, 4, 60)
    with pytest.raises(SourceError, match=f"{WAVE}: was edited, and release"):
        command(["replay", "tiny", "--out", "other"])

    assert not Path("other").exists()


def test_a_folder_of_something_else_is_left_alone(copy):
    """Another history's replay in it is something else, too."""
    with pytest.raises(SourceError, match="data: not empty"):
        command(["replay", "tiny", "--out", "data"])
    mark = Path("again", replay.MARK)
    mark.write_text(mark.read_text().replace("g1", "g2"))
    with pytest.raises(SourceError, match="again: holds the replay of another history"):
        command(["replay", "tiny", "--out", "again"])
