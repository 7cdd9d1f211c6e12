"""The command evaluate-drift, on small stores."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from shoal.cluster.assigner import AtomAssigner, ColumnAssigner
from shoal.cluster.merge import Bounds
from shoal.embed.embedder import IdentityEmbedder
from shoal.errors import SourceError
from shoal.evaluate.drift_command import drift_sample, evaluate_drift
from shoal.formats.fitted_state import save_state
from shoal.formats.hashing import KEY_BYTES, hash_rows
from shoal.formats.json_file import write_json
from shoal.formats.kinds import OUTSIDE, TEST, TRAIN, VALIDATION
from shoal.formats.row_store import RowArray, write_rows
from shoal.partitions.grouping import group_order, groups
from shoal.partitions.index import merge_summaries
from shoal.settings.learning import NearestAtom
from shoal.settings.running import Drift
from shoal.train_router.fit import fit_router

SETTINGS = Drift(rows=400, level=0.01, seed=0)
CENTRES = np.array([[0, 0, 0, 0], [20, 0, 0, 0], [0, 20, 0, 0]], np.float32)
ASSIGNER = AtomAssigner(
    CENTRES, np.arange(3, dtype=np.int32), np.arange(3, dtype=np.int32), Bounds(0, 9999), 9999
)
COLOURS = ColumnAssigner("colour", ["red", "green", "blue"], np.array([5, 4, 3]))
COMMON = {"method": "nearest_atom", "top_k": 1, "temperature": 1.0, "seed": 0}


def made_rows(count, seed):
    """Rows around the three centres and their folds."""
    rng = np.random.default_rng(seed)
    x = CENTRES[rng.integers(0, 3, count)] + rng.normal(size=(count, 4))
    fold = rng.choice([TRAIN, VALIDATION, TEST], size=count, p=[0.5, 0.25, 0.25])
    return x.astype(np.float32), fold.astype(np.uint8)


class World:
    """An experiment's row stores, index, router and choices."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.assign = ASSIGNER.assign
        self.stores = folder / "stores"
        self.router = folder / "router.safetensors"
        self.sample = folder / "sample.safetensors"
        self.out = folder / "drift.json"
        self.embedder = folder / "embedder.safetensors"
        save_state(self.embedder, *IdentityEmbedder(CENTRES.shape[1:]).state())
        self.fit(ASSIGNER, made_rows(4000, 99)[0])

    def fit(self, assigner, rows, quantile=0.99):
        """Fit the router on rows."""
        settings = NearestAtom(**COMMON, fallback_quantile=quantile)
        partition = np.zeros(len(rows), np.int32)
        losses = np.empty((len(rows), 0))
        router = fit_router(settings, assigner, [0, 1, 2], rows, partition, losses)
        save_state(self.router, *router.state())

    def store(self, name, x, fold, unit=None):
        """Write a shard's rows as ``assign`` does; returns its summary."""
        hashes, keys = (hash_rows({"x": x.astype(float)}, size) for size in (32, KEY_BYTES))
        partition = self.assign(x)
        order = group_order(partition, fold, hashes, keys, np.full(len(x), -1))
        arrays = {"hash": hashes, "fold": fold, "partition": partition, "x": x}
        arrays |= {} if unit is None else {"unit": unit}
        arrays = {name: array[order] for name, array in arrays.items()}
        specs = {n: RowArray(array.shape[1:], str(array.dtype)) for n, array in arrays.items()}
        write_rows(self.stores / f"{name}.zarr.zip", len(x), specs, [arrays], {})
        own = groups(arrays["partition"], arrays["fold"], arrays["hash"])
        counts = {"shard": name, "rows": len(x), "groups": own, "asked": []}
        return counts | {"unknown_labels": 0}

    def index(self, shards, min_rows=1):
        """Write shards and their index."""
        summaries = [self.store(name, *rows) for name, rows in shards.items()]
        index, members = merge_summaries(summaries, 3, min_rows, "g1")
        path = self.folder / "indexes" / "-".join(shards) / "index.json"
        for number, places in members.items():
            write_json(path.parent / "members" / f"{number}.json", places)
        write_json(path, index | {"stores": "../../stores"})
        return path

    def choice(self, when, partition, loss, rows=100):
        """Write what train-choose records."""
        path = self.folder / when / f"{partition}.json"
        losses = {} if loss is None else {"base": 9.0, "p0": loss, "p1": loss + 1}
        content = {"partition": partition, "point": "p0", "losses": losses, "rows": rows}
        unread = {
            "digests": {"train": "", "validation": ""},
            "points": {},
            "specialist": "",
            "margin": None,
            "next": [],
        }
        write_json(path, content | unread)
        return path

    def drift(
        self, now, basis, choices=(), choices_before=(), settings=SETTINGS, min_rows=1, unread=()
    ):
        """Run both commands for the shards of now against those of the basis.

        Between them the stores of shards that may not be read are removed.
        """
        index = self.index(now, min_rows)
        for name in set(basis) - set(now):
            self.store(name, *basis[name])
        paths = [self.stores / f"{name}.zarr.zip" for name in basis]
        told = {json.loads(path.read_text())["partition"] for path in choices}
        entries = json.loads(index.read_text())["partitions"]
        trained = [entry["partition"] for entry in entries if entry["trained"]]
        choices = [*choices, *(self.choice("now", p, None) for p in trained if p not in told)]
        drift_sample(settings, paths, self.embedder, self.sample)
        for name in unread:
            (self.stores / f"{name}.zarr.zip").unlink()
        fits = (self.sample, self.router, self.embedder)
        evaluate_drift(settings, index, paths, *fits, choices, choices_before, self.out)
        return json.loads(self.out.read_text())


@pytest.fixture
def world(tmp_path):
    """A world in a folder of its own."""
    return World(tmp_path)


def test_more_rows_of_the_same_kind_change_nothing(world):
    """Rows are counted and compared in each partition and overall; quiet rows keep all."""
    a, b = made_rows(900, 0), made_rows(600, 1)

    found = world.drift({"a": a, "b": b}, {"a": a})

    homes = [np.bincount(ASSIGNER.assign(x), minlength=3).tolist() for x, _ in (a, b)]
    assert [part["rows_before"] for part in found["partitions"]] == homes[0]
    assert [part["arrived"] for part in found["partitions"]] == homes[1]
    assert [part["partition"] for part in found["partitions"]] == [0, 1, 2]
    overall = found["overall"]
    assert (overall["rows_before"], overall["arrived"], overall["gone"]) == (900, 600, 0)
    assert all(part["p_value"] > 0.01 for part in found["partitions"])
    assert overall["beyond_after"] < 0.05
    assert found["recommendation"]["action"] == "keep"


def test_nothing_arrived_is_told_without_tests(world):
    """The same rows in other shards and order are no change; no loss is judged either."""
    x, fold = made_rows(300, 0)
    parts = {"b": (x[200:][::-1], fold[200:][::-1]), "c": (x[:200], fold[:200])}
    losses = [world.choice("now", 0, 9.0)], [world.choice("then", 0, 0.1)]

    found = world.drift(parts, {"a": (x, fold)}, *losses)

    for part in (found["overall"], *found["partitions"]):
        assert (part["arrived"], part["gone"]) == (0, 0)
        assert part["p_value"] is part["accuracy"] is part["beyond_p_value"] is None
        assert part["beyond_before"] is part["beyond_after"] is part.get("loss_p_value") is None
    assert (found["partitions"][0]["loss_before"], found["partitions"][0]["loss_after"]) == (0.1, 9)
    assert found["recommendation"] == {
        "action": "keep",
        "partitions": [],
        "reason": "nothing has arrived since the generation was fitted",
    }


def test_nothing_arrived_is_told_fast(world):
    """Where nothing arrived neither scikit-learn nor scipy is imported."""
    rows = made_rows(50, 0)
    index = world.index({"a": rows})
    files = (str(index), str(world.stores / "a.zarr.zip"), str(world.folder / "fast.json"))
    script = f"""
import sys
from pathlib import Path
from shoal.evaluate.drift_command import evaluate_drift
from shoal.settings.running import Drift
index, basis, out = map(Path, {files})
settings = Drift.model_validate_json({SETTINGS.model_dump_json()!r})
evaluate_drift(settings, index, [basis], *map(Path, ("none", "none", "none")), [], [], out)
print(*[name for name in ("sklearn", "scipy", "torch") if name in sys.modules])
"""

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == ""


def test_rows_are_counted_with_their_copies(world):
    """Two more copies of a row arrived, one row went; rows outside every fold do not count."""
    x, _ = made_rows(40, 0)
    fold = np.full(40, TRAIN, np.uint8)
    fold[30:] = OUTSIDE
    copies = np.concatenate([x[:30], x[:1], x[:1]])
    folds = np.zeros(len(copies), np.uint8)

    found = world.drift({"b": (np.delete(copies, 5, 0), folds[1:])}, {"a": (x, fold)})

    overall = found["overall"]
    assert (overall["rows_before"], overall["arrived"], overall["gone"]) == (30, 2, 1)
    home, left = (int(ASSIGNER.assign(x[place : place + 1])[0]) for place in (0, 5))
    assert found["partitions"][home]["arrived"] == 2
    assert found["partitions"][left]["gone"] == 1
    assert found["recommendation"]["reason"].startswith("too few rows")


def test_a_partition_whose_rows_moved_is_retrained(world):
    """Rows that draw together around one centre retrain that partition."""
    a, (x, fold) = made_rows(900, 0), made_rows(600, 1)
    own = ASSIGNER.assign(x) == 1
    x[own] = CENTRES[1] + (x[own] - CENTRES[1]) * np.float32(0.5)

    found = world.drift({"a": a, "b": (x, fold)}, {"a": a})

    assert found["recommendation"]["action"] == "retrain"
    assert found["recommendation"]["partitions"] == [1]
    assert found["partitions"][1]["p_value"] < 0.01 < found["partitions"][0]["p_value"]


def test_a_partition_without_a_specialist_is_not_retrained(world):
    """Its drift is told, but there is nothing to retrain."""
    a, (x, fold) = made_rows(900, 0), made_rows(600, 1)
    own = ASSIGNER.assign(x) == 1
    x[own] *= np.float32(1.05)

    found = world.drift({"a": a, "b": (x, fold)}, {"a": a}, min_rows=9999)

    assert found["partitions"][1]["p_value"] < 0.001
    assert found["recommendation"]["action"] == "keep"


def new_place(rows, seed, share=10):
    """The same rows, some of them far from every centre."""
    x, fold = made_rows(rows, seed)
    x[::share] += np.float32(30)
    return x, fold


def test_rows_in_a_new_place_ask_to_grow(world):
    """A tenth of the rows far from every prototype is beyond the threshold, and lies together."""
    a = made_rows(900, 0)

    found = world.drift({"a": a, "b": new_place(600, 1)}, {"a": a})

    assert found["overall"]["beyond_before"] < 0.03
    assert found["overall"]["beyond_after"] > 0.09
    assert found["recommendation"]["action"] == "grow"


def test_a_router_fitted_since_does_not_hide_a_new_place(world):
    """A threshold that made room for the new rows is not the one that they are held against."""
    a, b = made_rows(900, 0), new_place(600, 1)
    world.fit(ASSIGNER, np.concatenate([a[0], b[0]]), quantile=1.0)

    found = world.drift({"a": a, "b": b}, {"a": a})

    assert found["recommendation"]["action"] == "grow"


def test_training_rows_do_not_stand_for_rows_before(world):
    """Training rows that fits have come too close to are no measure of rows that arrive."""
    x, fold = made_rows(1800, 0)
    training = fold == TRAIN
    home = CENTRES[ASSIGNER.assign(x)]
    x[training] = (home + (x - home) * np.float32(0.1))[training]

    found = world.drift({"a": (x, fold), "b": made_rows(600, 1)}, {"a": (x, fold)})

    assert found["recommendation"]["action"] == "keep"


def test_by_column_rows_of_a_new_value_are_not_covered(world):
    """An assigner by column has no distances: rows of no partition are those beyond it."""
    world.assign = lambda x: np.where(x.sum(axis=1) > 60, -1, ASSIGNER.assign(x)).astype(np.int32)
    world.fit(COLOURS, made_rows(100, 9)[0])
    a = made_rows(900, 0)

    found = world.drift({"a": a, "b": new_place(600, 1)}, {"a": a})

    assert found["overall"]["beyond_before"] == 0
    assert found["overall"]["beyond_after"] == pytest.approx(0.1, abs=0.03)
    assert found["overall"]["arrived"] == 600
    assert sum(part["arrived"] for part in found["partitions"]) == 540
    assert found["recommendation"]["action"] == "refit"


def test_losses_are_those_of_the_chosen_point(world):
    """A loss that rose retrains its partition; one that was not measured is told as none."""
    a, b = made_rows(900, 0), made_rows(600, 1)
    now = [world.choice("now", 0, 0.9), world.choice("now", 1, 0.5), world.choice("now", 2, 0.4)]
    then = [
        world.choice("then", 0, 0.3),
        world.choice("then", 1, 0.5),
        world.choice("then", 2, None),
    ]

    found = world.drift({"a": a, "b": b}, {"a": a}, now, then)

    losses = [(part["loss_before"], part["loss_after"]) for part in found["partitions"]]
    assert losses == [(0.3, 0.9), (0.5, 0.5), (None, 0.4)]
    assert found["partitions"][2]["loss_p_value"] is None
    assert found["recommendation"]["partitions"] == [0]
    assert found["recommendation"]["reason"] == "the validation loss of partition 0 rose"


def test_bytes_do_not_depend_on_shards(world, tmp_path):
    """The same rows cut into other shards give the same file, also where rows are drawn."""
    (x, fold), (new, its) = made_rows(900, 0), made_rows(600, 1)
    new[:50] = x[:50]  # copies of rows that were there
    drawn = SETTINGS.model_copy(update={"rows": 60})

    world.drift({"a": (x, fold), "b": (new, its)}, {"a": (x, fold)}, settings=drawn)
    other = World(tmp_path / "other")
    everything = np.concatenate([new, x]), np.concatenate([its, fold])
    basis = {"p": (x[400:], fold[400:]), "q": (x[:400], fold[:400])}
    other.drift({"r": everything}, basis, settings=drawn)

    assert world.out.read_bytes() == other.out.read_bytes()


def test_stores_that_did_not_change_are_not_read(world):
    """After an edit of one shard the rows of the others, then and now, are not looked at."""
    shards = {name: made_rows(200, seed) for seed, name in enumerate("abcdef")}
    x, fold = shards["f"]
    edited = np.concatenate([x[2:], x[:2] + np.float32(0.5)]), np.concatenate([fold[2:], fold[:2]])
    others = {name: shards[name] for name in "abcde"}

    found = world.drift({**others, "g": edited}, shards, unread=others)

    overall = found["overall"]
    assert (overall["rows_before"], overall["arrived"], overall["gone"]) == (1200, 2, 2)
    assert overall["compared_before"] == SETTINGS.rows


def test_copies_of_one_row_do_not_look_like_drift(world):
    """A row that is there a hundred times is drawn by copies, not as a whole or not at all."""
    shared = CENTRES[:1] + np.float32(0.5)

    def with_copies(count, seed):
        x, fold = made_rows(count, seed)
        x[::3] = shared
        return x, fold

    few = SETTINGS.model_copy(update={"rows": 200})
    a = with_copies(6000, 0)

    found = world.drift({"a": a, "b": with_copies(300, 1)}, {"a": a}, settings=few)

    assert found["recommendation"]["action"] == "keep"
    assert found["partitions"][0]["p_value"] > 0.01


def test_a_missing_store_of_the_basis_is_named(world):
    """A row store that is gone is an error, not a smaller basis."""
    index = world.index({"a": made_rows(50, 0)})
    missing = world.stores / "gone.zarr.zip"
    fits = (world.sample, world.router, world.embedder)

    with pytest.raises(SourceError, match=r"gone\.zarr\.zip: no such file"):
        drift_sample(SETTINGS, [missing], world.embedder, world.sample)
    with pytest.raises(SourceError, match=r"gone\.zarr\.zip: no such file"):
        evaluate_drift(SETTINGS, index, [missing], *fits, [], [], world.out)

    assert not world.out.exists()
    assert not world.sample.exists()


def patients(count, seed):
    """Thirty rows of each of some patients, who differ, and their folds."""
    rng = np.random.default_rng(seed)
    x = np.repeat(rng.normal(0, 2, (count, 4)), 30, axis=0) + rng.normal(size=(count * 30, 4))
    fold = np.repeat(rng.choice([VALIDATION, TEST], count), 30)
    unit = np.repeat(rng.integers(1 << 62, size=count), 30).astype(np.uint64)
    return x.astype(np.float32), fold.astype(np.uint8), unit


def test_new_patients_are_no_drift(world):
    """Rows of other patients differ from those before; one row of each does not."""
    before, after = patients(60, 0), patients(40, 1)

    by_row = world.drift({"a": before[:2], "b": after[:2]}, {"a": before[:2]})["overall"]
    by_unit = world.drift({"a": before, "b": after}, {"a": before})["overall"]

    assert by_row["p_value"] < 0.001
    assert (by_unit["rows_before"], by_unit["arrived"]) == (1800, 1200)
    assert (by_unit["compared_before"], by_unit["compared_after"]) == (60, 40)
    assert by_unit["p_value"] > 0.05
