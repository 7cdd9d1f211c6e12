"""Old releases let go of their models, and models are rebased, in a small experiment."""

import re
import shutil

from shoal.archive.kept import Archive
from shoal.archive.storage import keep_as
from shoal.model_store.care import collectable, usage
from tests.workflow.small import nudge_training_rows


def test_old_releases_let_go_of_what_they_alone_have(copied):
    """Models with a tag and those of the last release stay, bit for bit; nothing goes unasked.

    Nor while a run is in progress.
    """
    kept = Archive(copied.folder / "results" / "tiny")
    first = {each["id"]: kept.store.load(each["id"]) for each in kept.releases[0]["models"]}
    nudge_training_rows(copied, 1)
    copied.run()
    kept = Archive(copied.folder / "results" / "tiny")
    last = {each["id"] for each in kept.releases[-1]["models"]}
    alone = set(first) - last
    tagged = kept.tag("favourite", min(each for each in alone if kept.store.record(each)["base"]))
    keep_as(kept, tagged, "recipe")
    ids = kept.store.ids()

    dry = copied.shoal("gc", "tiny", "--keep-models", "1")
    assert dry.returncode == 0, dry.stderr
    listed = set(re.findall(r"^\w{10}-\w{6}$", dry.stdout, re.M))
    assert listed == alone - {tagged}
    assert kept.store.ids() == ids
    assert f"models that no kept release has: {len(listed)}" in dry.stdout
    size = collectable(kept.store, listed)
    assert bool(re.search(r"^results/tiny/store +[\d.,]+ \w+$", dry.stdout, re.M)) == bool(size)
    for options in ([], ["--keep-models", "2"]):
        every = copied.shoal("gc", "results/tiny", *options)
        assert every.stdout == "results/tiny: everything in it is reached\n"

    remove = ["gc", "tiny", "--keep-models", "1", "--remove"]
    locks = copied.folder / ".snakemake" / "locks"
    locks.mkdir(exist_ok=True)
    (locks / "0.output.lock").write_text("")
    refused = copied.shoal(*remove)
    assert refused.returncode == 2
    assert "a run of the workflow is in progress, nothing was removed" in refused.stderr
    assert kept.store.ids() == ids
    shutil.rmtree(locks)

    result = copied.shoal(*remove)
    assert result.returncode == 0, result.stderr
    assert copied.shoal("models", "fsck", "results/tiny").returncode == 0
    assert set(kept.models) == last | {tagged}
    for model in set(first) - listed:
        found = kept.load(model)
        assert all(found[n].tobytes() == each.tobytes() for n, each in first[model].items())
    assert kept.store.fsck() == []
    gone = copied.shoal("models", "show", "results/tiny", min(listed))
    assert gone.returncode == 2
    assert copied.shoal("models", "log", "results/tiny").returncode == 0

    before = kept.store.bytes
    rebased = copied.shoal("models", "rebase", "results/tiny", "--longest-chain", "2")
    assert rebased.returncode == 0, rebased.stderr
    said = re.search(r"([\d,]+) bytes before, ([\d,]+) now", " ".join(rebased.stdout.split()))
    numbers = [int(each.replace(",", "")) for each in said.groups()]
    assert numbers == [before, kept.store.bytes]
    assert numbers[1] <= before
    for model in last & set(first):
        found = kept.load(model)
        assert all(found[n].tobytes() == each.tobytes() for n, each in first[model].items())
        assert usage(kept.store, model).steps <= 2
