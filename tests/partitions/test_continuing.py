"""What a partition's specialist continues from, and by which rows."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from shoal.cluster.command import assign, cluster_fit, partition
from shoal.formats.documents.index import named_file
from shoal.formats.fitted_state import save_state
from shoal.formats.hashing import ROW_HASH_BYTES, more_often
from shoal.formats.headers import weights_id
from shoal.formats.kinds import VALIDATION
from shoal.partitions.continuing import Deployed
from shoal.partitions.drawn import drawn_rows
from shoal.partitions.reader import Index, halves
from shoal.settings.discovery import ColumnPartition
from shoal.settings.running import Continuing

COLUMN = ColumnPartition(method="column", column="colour", max_partitions=8, min_rows=1, seed=0)
POINT = {"lr": 0.1}


def asked(**changes):
    """Settings of continuing."""
    settings = {
        "method": "proactive",
        "history": 1.0,
        "recency": "uniform",
        "longest": 16,
        "buffers": "trained",
    }
    return Continuing(**(settings | changes))


class Lab:
    """Makes one index after another; a specialist is a file of its name, as training leaves one."""

    def __init__(self, folder: Path, shards) -> None:
        self.folder, self.shards = folder, shards
        self.assigner = folder / "assigner.safetensors"
        self.index: Index | None = None
        self.count = 0

    def weights(self, entry) -> Path:
        """Weights of a partition's specialist."""
        return self.folder / "specialists" / entry["specialist"] / "model.safetensors"

    def chosen(self, entry):
        """The same with point and FLOPs; None where they are gone."""
        path = self.weights(entry)
        return (path, POINT, 1.0) if path.exists() else None

    def next(
        self,
        *files,
        settings=None,
        trainings=1.0,
        tolerance=0.0,
        stops_early=False,
        mixes=(),
        deployed=None,
        put_back=None,
    ) -> Index:
        """The index of some rows in files, after the one before; its specialists are trained."""
        name = f"i{self.count}"
        self.count += 1
        summaries, folder = [], self.folder / "rows"
        for rows in files:
            shard = f"s{abs(hash(rows.key.tobytes()))}"
            made = self.shards.write(self.folder, f"{name}-{shard}", rows)
            if not self.assigner.exists():
                lists = [made.encoded], made.embedder, [made.table]
                cluster_fit(COLUMN, *lists, self.assigner, self.folder / "ledger.json", 1)
            summary, store = self.folder / f"{name}-{shard}.json", folder / f"{shard}.zarr.zip"
            out = (store, summary, self.folder / f"{shard}.safetensors")
            assign(made.encoded, made.embedder, made.table, self.assigner, shard, *out, 1)
            summaries.append(summary)
        path = self.folder / "indexes" / name / "index.json"
        before = self.index.path if self.index else None
        partition(
            summaries, self.assigner, 1, "lineage", folder, path, tolerance, before,
            continuing=settings or asked(), chosen=self.chosen, continues=before is not None,
            trainings=trainings, stops_early=stops_early, mixes=mixes, deployed=deployed,
            put_back=put_back,
        )  # fmt: skip
        self.index = Index(path)
        for entry in self.index.trained:
            self.weights(entry).parent.mkdir(parents=True, exist_ok=True)
            if not self.weights(entry).exists():
                save_state(self.weights(entry), {"w": np.zeros(2, np.float32)}, {})
        return self.index

    def deploy(self, copy: str) -> Deployed:
        """A copy of the last index's specialists."""
        assert self.index is not None
        trained = {entry["partition"]: self.weights(entry) for entry in self.index.trained}
        weights = {number: self.folder / copy / f"{number}.safetensors" for number in trained}
        for path in weights.values():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        models = {number: weights_id(path) for number, path in trained.items()}
        return Deployed(copy, weights, models)


@pytest.fixture
def lab(tmp_path, shards):
    return Lab(tmp_path, shards)


@pytest.fixture
def rows(shards):
    """Training rows, cut into a first file and waves of new ones."""
    found = shards.as_training(shards.random_rows(400))
    return [found[:200], found[200:230], found[230:260], found[260:290]]


def links(index):
    return [entry.get("continued", {"links": 0})["links"] for entry in index.trained]


def test_new_rows_are_trained_on_with_as_much_history(lab, rows):
    """Added rows are all that came; as many are drawn from those before; links count up."""
    first = lab.next(rows[0])
    for number in (1, 2, 3):
        index = lab.next(*rows[: number + 1])
        assert set(links(index)) == {number}
        for entry in index.trained:
            own = entry["partition"]
            came = [rows[n] for n in range(1, number + 1)]
            grown = entry["rows"]["train"] - first.partitions[own]["rows"]["train"]
            assert 0 < entry["continued"]["added"] <= grown <= sum(map(len, came))
            chosen, _ = index.specialist_rows(own, ("x",))
            size = entry["continued"]["added"] + entry["continued"]["drawn"]
            assert len(chosen["x"]) == size
            assert entry["continued"]["drawn"] == entry["continued"]["added"]


def test_undone_rows_give_the_specialist_that_was_there(lab, rows):
    """Partitions get back the names that they had; and the later ones when the rows are back."""
    lab.next(rows[0])
    one = lab.next(*rows[:2])
    two = lab.next(*rows[:3])
    undone = lab.next(*rows[:2])
    again = lab.next(*rows[:3])

    def names(index):
        return [entry["specialist"] for entry in index.partitions]

    assert names(undone) == names(one)
    assert names(again) == names(two)
    assert undone.content["root"] == one.content["root"]


def test_a_chain_ends_after_the_longest(lab, rows):
    """The next one is trained from the base, and the index says why."""
    lab.next(rows[0], settings=asked(longest=1))
    lab.next(*rows[:2], settings=asked(longest=1))
    index = lab.next(*rows[:3], settings=asked(longest=1))

    assert set(links(index)) == {0}
    assert {entry["cold"] for entry in index.trained} == {"1 links"}


@pytest.mark.parametrize(("trainings", "continues"), [(1.0, False), (3.0, True)])
def test_a_mix_as_dear_as_all_rows_is_no_link(lab, rows, trainings, continues):
    """The search counts: from the base each grid point is trained."""
    lab.next(rows[1])
    index = lab.next(*rows[1:4], settings=asked(history=3.0), trainings=trainings)

    assert all(("continued" in entry) == continues for entry in index.trained)


def test_lost_weights_are_not_continued_from(lab, rows):
    """The one before those is, on the rows that came since."""
    lab.next(rows[0])
    one = lab.next(*rows[:2])
    for entry in one.trained:
        lab.weights(entry).unlink()

    index = lab.next(*rows[:3])

    assert set(links(index)) == {1}
    added = sum(entry["continued"]["added"] for entry in index.trained)
    assert added == len(rows[1]) + len(rows[2])


def test_the_mix_that_was_found_to_be_better_is_gone_on_by(lab, rows, tmp_path):
    found = {"mixes": [], "history": 0.0, "rows": 30, "spent": 0.0, "reason": None}
    path, auto = tmp_path / "mixes.json", asked(method="auto")
    path.write_text(json.dumps({"found": found, "flops": 0.0}))
    first, *waves = rows
    lab.next(first, settings=auto)
    index = lab.next(first, waves[0], settings=auto, mixes=[path])
    assert [each["continued"]["drawn"] for each in index.trained] == [0] * len(index.trained)
    assert index.content["mixes"] == found


def test_another_way_to_mix_is_another_link(lab, rows):
    """Settings of the mix are part of the name; what was made by others stays."""
    lab.next(rows[0])
    one = lab.next(*rows[:2])
    same = lab.next(*rows[:2], settings=asked(history=0.0))
    other = lab.next(*rows[:3], settings=asked(history=0.0))

    assert [e["specialist"] for e in same.trained] == [e["specialist"] for e in one.trained]
    assert all(each["continued"]["drawn"] == 0 for each in other.trained)


@pytest.mark.parametrize("seed", range(6))
def test_no_link_has_seen_a_removed_row(lab, rows, seed):
    """Whatever comes and goes, all rows of a chain are rows of today; those of others never."""
    rng = np.random.default_rng(seed)
    held: list[object] = [rows[0]]
    waiting = rows[1:]
    lab.next(*held)
    seen: dict[str, set[bytes]] = {}
    for _ in range(6):
        if waiting and rng.random() < 0.6:
            held.append(waiting.pop(0))
        else:
            place = int(rng.integers(len(held)))
            kept = np.sort(rng.permutation(len(held[place]))[2:])
            held[place] = held[place][kept]
        index = lab.next(*held)
        for entry in index.trained:
            own = int(entry["partition"])
            now = {h.tobytes() for h in index.read(own, "train", ("hash",))["hash"]}
            name = entry["specialist"]
            if name not in seen:
                parent = seen.get(entry.get("continued", {}).get("specialist", ""), set())
                used = index.specialist_rows(own, ("x", "hash"))[0]["hash"]
                seen[name] = parent | {h.tobytes() for h in used}
            assert seen[name] <= now


def test_where_trainings_stop_early_a_chosen_row_that_goes_is_rewound(lab, shards):
    """Where rows of that half come a specialist waits; one that goes is rewound."""
    all_rows = shards.random_rows(400)
    held = (all_rows.fold == VALIDATION) & (halves({"key": all_rows.key}) == 0)
    training, choosing = all_rows[~held], all_rows[held]
    half = len(choosing) // 2

    def next_index(*files):
        return lab.next(*files, trainings=9.0, stops_early=True)

    first = next_index(training[:200], choosing[:half])
    more = next_index(training[:200], choosing)
    two = next_index(training, choosing)
    fewer = next_index(training, choosing[1:])

    assert [e["specialist"] for e in more.trained] == [e["specialist"] for e in first.trained]
    assert all(each["waiting"]["removed"] == 0 for each in more.trained if "waiting" in each)
    assert any("waiting" in each for each in more.trained)
    assert set(links(two)) == {1}
    others = [
        new["partition"]
        for old, new in zip(two.trained, fewer.trained, strict=True)
        if old["specialist"] != new["specialist"]
    ]
    assert len(others) == 1
    assert fewer.partitions[others[0]].get("cold", fewer.partitions[others[0]].get("rewound"))


def test_a_specialist_that_waits_keeps_what_it_continues_from(lab, rows):
    """Few new rows leave a link as it is; when they are many, the next goes on from it."""
    lab.next(rows[0])
    one = lab.next(*rows[:2])
    waits = lab.next(*rows[:2], rows[2][:3], tolerance=0.2)
    two = lab.next(*rows[:3], tolerance=0.01)

    for before, during, after in zip(one.trained, waits.trained, two.trained, strict=True):
        assert during["specialist"] == before["specialist"]
        assert during["continued"]["links"] == 1
        assert after["continued"]["specialist"] == before["specialist"]
        assert after["continued"]["links"] == 2
    assert any("waiting" in each for each in waits.trained)


def test_equal_rows_count_as_often_as_they_are_there():
    """Of three equal rows, two of which were seen, the third is new."""
    hashes = np.zeros((4, ROW_HASH_BYTES), np.uint8)
    hashes[3] = 1

    assert more_often(hashes, hashes[:2]).tolist() == [False, False, True, True]


def test_recent_rows_are_drawn_more_often():
    """Rows of the last wave are drawn about as much more as they came later."""
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 256, (400, ROW_HASH_BYTES), dtype=np.uint8)
    seen = [hashes[:300], hashes[:200], hashes[:100]]
    counts: Counter[int] = Counter()
    for number in range(200):
        mixing = {"history": 0.3, "recency": "recent", "buffers": "trained"}
        continued = {"drawn": 30, "mixing": mixing}
        chosen = drawn_rows(hashes, seen, f"link {number}", continued)
        assert chosen[300:].all()
        counts.update((np.flatnonzero(chosen[:300]) // 100).tolist())

    assert counts[0] < 0.5 * counts[1] < 0.5 * counts[2]
    assert sum(counts.values()) == 200 * 30


def test_models_start_from_what_is_deployed(lab, rows):
    """A link names the copy's weights and the copy; from another copy it has another name."""
    lab.next(rows[0])
    first, copy = lab.index, lab.deploy("aaaaaaaaaa")
    found = lab.next(*rows[:2], deployed=copy)
    lab.index = first
    other = lab.next(*rows[:2], deployed=lab.deploy("bbbbbbbbbb"))
    lab.index = first
    trained = lab.next(*rows[:2])

    for one, two, three in zip(found.trained, other.trained, trained.trained, strict=True):
        assert one["continued"]["copy"] == "aaaaaaaaaa"
        path = named_file(found.path, one["continued"]["weights"])
        assert path == copy.weights[one["partition"]]
        assert "copy" not in three["continued"]
        assert len({each["specialist"] for each in (one, two, three)}) == 3


def test_after_removed_rows_a_model_starts_from_what_was_deployed_before_them(lab, rows):
    """The copy from which the lost link was trained; where that is gone, from the base."""
    lab.next(rows[0])
    first = lab.deploy("aaaaaaaaaa")
    lab.next(*rows[:2], deployed=first)
    second = lab.index

    found = lab.next(rows[0], rows[1][5:], rows[2], deployed=lab.deploy("bbbbbbbbbb"))

    rewound = [each for each in found.trained if "rewound" in each]
    assert rewound
    for entry in rewound:
        assert entry["continued"]["copy"] == "aaaaaaaaaa"
        path = named_file(found.path, entry["continued"]["weights"])
        assert path == first.weights[entry["partition"]]
        path.unlink()
    lab.index = second
    again = lab.next(rows[0], rows[1][5:], rows[2], deployed=lab.deploy("cccccccccc"))
    assert all("cold" in again.partitions[each["partition"]] for each in rewound)


def test_what_is_deployed_of_another_model_is_not_gone_on_from(lab, rows):
    """Where the copy was made of other weights, a link starts from the trained ones."""
    lab.next(rows[0])
    copy = lab.deploy("aaaaaaaaaa")
    others = Deployed(copy.copy, copy.weights, dict.fromkeys(copy.models, "0" * 64))

    found = lab.next(*rows[:2], deployed=others)

    assert not any("copy" in each["continued"] for each in found.trained)
