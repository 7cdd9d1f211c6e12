"""What `shoal audit` says of a small experiment that has run."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workflow.spoil import audited, flip, one


@pytest.fixture
def spoiled(copied, monkeypatch: pytest.MonkeyPatch):
    """A copy of the finished experiment, in which the test stands."""
    monkeypatch.chdir(copied.folder)
    return copied


def test_a_finished_experiment_agrees(spoiled):
    """After a run every artifact is what index and settings say, and the exit code is 0."""
    code, lines = audited()

    files = [path for path in Path("results/tiny/g1").rglob("*") if path.is_file()]
    beside = 3 + 12  # members beside the index, files beside the pool's manifest
    published = 1
    answers = len([path for path in Path("results/tiny/answers").rglob("*") if path.is_file()])
    count = len(files) - beside + published + answers
    assert (code, lines) == (0, [f"{count} artifacts agree"])


def test_kept_models_and_answers_are_checked(spoiled):
    """A pack of the store that was cut off and a table of the answers that changed are named."""
    table = next(Path("results/tiny/answers").glob("*.parquet"))
    flip(table, 40)
    pack = next(Path("results/tiny/store").glob("pack-*"))
    pack.write_bytes(pack.read_bytes()[:-1])

    code, lines = audited()

    assert code == 1
    assert any(line.startswith(f"{table}: is not the file that ") for line in lines)
    assert any(line.startswith("results/tiny/store: pack-") for line in lines)
    assert len(lines) >= 3


def test_a_copy_without_snakemakes_records_agrees(spoiled):
    """Nothing that Snakemake keeps is read."""
    shutil.rmtree(".snakemake")
    shutil.rmtree("logs")

    assert audited()[0] == 0


def test_a_renamed_source_file_agrees(spoiled):
    """A source file's name is no part of what its rows are made from."""
    Path("data/part-0.csv").rename("data/other.csv")

    assert audited()[0] == 0


def test_a_missing_file_is_named(spoiled):
    """What is not there is told apart from what is wrong."""
    path = one("router/*/*/router.safetensors")
    path.unlink()

    code, lines = audited()

    assert code == 1
    assert f"{path}: is not there; run the workflow" in lines
    assert lines[-1].endswith("0 mismatches, 1 missing")


def test_a_missing_index_says_that_nothing_after_it_was_checked(spoiled):
    """Without an index nobody knows what follows."""
    path = one("cluster/*/indexes/*/index.json")
    path.unlink()

    code, lines = audited()

    assert code == 1
    assert f"{path}: is not there; run the workflow" in lines
    assert "what follows the partition index was not checked: there is none to go by" in lines


def test_changed_settings_show_what_is_not_made_yet(spoiled):
    """Under other settings the artifacts of the earlier ones are not taken for theirs."""
    code, lines = audited("grid.lr=[0.01,0.03,0.1]")

    assert code == 1
    assert sum("/specialists/" in line for line in lines) == 2 * 2


def test_changed_code_of_a_fit_is_a_notice(spoiled, monkeypatch: pytest.MonkeyPatch):
    """A generation is frozen: other code than it was fitted with is no mismatch."""
    from shoal.plan import ids as identity

    codes = identity.fit_codes
    monkeypatch.setattr(identity, "fit_codes", lambda settings: codes(settings) | {"base": "0"})

    code, lines = audited()

    assert code == 0
    assert lines[0].startswith("refit needed: the code of base has changed")


def test_json_holds_the_same_for_programs(spoiled):
    """--json prints one document with mismatches, missing files and notices."""
    path = one("specialists/*/*/*/*/model.safetensors")
    flip(path, -1)

    code, lines = audited("--json")
    content = json.loads("\n".join(lines))

    assert code == 1
    assert [each["path"] for each in content["mismatches"]] == [str(path)]
    assert content["mismatches"][0]["problem"].endswith("does not match its hash")
    assert (content["missing"], content["refit_needed"], content["complete"]) == ([], [], True)


def test_auditing_imports_no_torch(spoiled):
    """An audit reads with numpy: neither torch nor Lightning nor scikit-learn is imported."""
    code = (
        "import sys; from pathlib import Path; from shoal.plan.plan import Plan;"
        "from shoal.operate.audit.audit import audit; from shoal.operate.gc import find_garbage;"
        "plan = Plan('tiny', [], Path('config')); audit(plan); find_garbage([plan], 5);"
        "print([m for m in ('torch', 'pytorch_lightning', 'sklearn') if m in sys.modules])"
    )

    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert result.stdout.strip() == "[]"
