"""What is kept comes back as it was, or not at all."""

import numpy as np
import pytest

from shoal.errors import CorruptError
from shoal.explore.intermediates.catalogue import Catalogue, Column, address_of, overhead
from shoal.explore.intermediates.forms import Kind

COLUMN = Column("layers.1", "full", Kind((4,), "float32"))
ROOM = 1 << 20


def block(seed, rows=20):
    """Values of a block of rows."""
    return np.random.default_rng(seed).normal(size=(rows, 4)).astype(np.float32)


def address(number):
    """An address."""
    return address_of(f"function {number}", b"rows", "full")


@pytest.fixture
def catalogue(tmp_path):
    """Five blocks that are kept."""
    made = Catalogue(tmp_path / "kept")
    for number in range(5):
        made.add(address(number), COLUMN, block(number), ROOM)
    made.record["note"] = "mine"
    with made.lock():
        made.commit({address(number) for number in range(5)})
    return made


def again(catalogue):
    """The same folder, opened anew."""
    return Catalogue.load(catalogue.folder)


def packs(catalogue):
    """Its packs."""
    return sorted(catalogue.folder.glob("pack-*"))


def test_blocks_come_back_with_every_bit(catalogue):
    """Another process finds record and blocks as they were given."""
    found = again(catalogue)

    assert found.record["note"] == "mine"
    for number in range(5):
        assert np.array_equal(found.read(address(number), "it"), block(number))
    assert len(packs(catalogue)) == 1


def test_any_flipped_bit_is_found_or_harmless(catalogue):
    """Wherever a bit flips, blocks come back as they were or not at all, and the file is named."""
    rng = np.random.default_rng(0)
    messages = []
    for path in (*packs(catalogue), catalogue.folder / "catalogue.safetensors"):
        content = path.read_bytes()
        for place in rng.integers(0, len(content), 150).tolist():
            damaged = bytearray(content)
            damaged[place] ^= 1 << int(rng.integers(8))
            path.write_bytes(damaged)
            for number in range(5):
                try:
                    values = again(catalogue).read(address(number), "layer 'layers.1'")
                    assert np.array_equal(values, block(number))
                except CorruptError as error:
                    messages.append((path.name, str(error)))
        path.write_bytes(content)
    assert len(messages) > 300
    assert all(name in message for name, message in messages)


@pytest.mark.parametrize("how", ["gone", "short"])
def test_a_pack_that_is_gone_or_cut_short_is_named(catalogue, how):
    """The message has file, layer and rows, and what to do."""
    (pack,) = packs(catalogue)
    pack.unlink() if how == "gone" else pack.write_bytes(pack.read_bytes()[:600])

    with pytest.raises(CorruptError, match=rf"{pack.name}: layer 'a', rows 3 to 9.*remove"):
        again(catalogue).read(address(4), "layer 'a', rows 3 to 9")


def test_what_is_dropped_frees_its_bytes(catalogue):
    """After a commit without them, blocks and their bytes are gone and others are as they were."""
    before = catalogue.size
    with catalogue.lock():
        catalogue.commit({address(3)})

    found = again(catalogue)
    assert list(found.entries) == [address(3)]
    assert np.array_equal(found.read(address(3), "it"), block(3))
    assert found.size < before / 2
    assert len(packs(catalogue)) == 1


def test_a_reader_goes_on_while_packs_are_replaced(catalogue):
    """A reader that has opened before finds what was moved, and is told what was dropped."""
    reader = again(catalogue)
    catalogue.commit({address(3)})

    assert np.array_equal(reader.read(address(3), "it"), block(3))
    reader = again(catalogue)
    catalogue.add(address(7), COLUMN, block(7), ROOM)
    catalogue.commit(set())
    assert reader.read(address(3), "it") is None


def test_small_packs_are_joined(catalogue):
    """However many commits there are, small blocks share a file."""
    for number in range(5, 12):
        catalogue = again(catalogue)
        catalogue.add(address(number), COLUMN, block(number), ROOM)
        catalogue.commit({address(n) for n in range(number + 1)})

    assert len(packs(catalogue)) == 1
    found = again(catalogue)
    assert all(np.array_equal(found.read(address(n), "it"), block(n)) for n in range(12))


def test_equal_blocks_are_stored_once(tmp_path):
    """Blocks of several functions with the same values take the bytes of one."""
    sizes = []
    for count in (1, 50):
        made = Catalogue(tmp_path / str(count))
        for number in range(count):
            made.add(address(number), COLUMN, block(0, 500), ROOM)
        made.commit({address(number) for number in range(count)})
        sizes.append(made.size)
        assert np.array_equal(again(made).read(address(count - 1), "it"), block(0, 500))

    assert sizes[1] == sizes[0]


def test_a_block_without_room_is_not_taken_in(tmp_path):
    """What is larger than the room that is left is not written."""
    made = Catalogue(tmp_path / "kept")

    assert made.add(address(0), COLUMN, block(0), 10) == 0
    assert 0 < made.add(address(1), COLUMN, block(1), ROOM) < ROOM
    made.commit({address(0), address(1)})
    assert list(again(made).entries) == [address(1)]


def test_files_take_little_more_than_their_blocks(tmp_path):
    """What files take beside blocks is within what a budget reserves for it."""
    columns = [Column(f"a.rather.long.name.of.a.layer.{n}", *COLUMN[1:]) for n in range(30)]
    made = Catalogue(tmp_path / "kept")
    used = sum(made.add(address(n), columns[n], block(n), ROOM) for n in range(30))
    made.commit({address(n) for n in range(30)})

    assert used < made.size <= used + overhead(30, 1000)


def test_a_killed_writer_leaves_the_folder_as_it_was(catalogue):
    """A pack that no catalogue names counts for nothing, and the next commit removes it."""
    orphan = catalogue.folder / "pack-0123.zarr.zip"
    orphan.write_bytes(b"half")

    found = again(catalogue)
    assert len(found.entries) == 5
    found.commit(set(found.entries))
    assert not orphan.exists()
    assert len(again(catalogue).entries) == 5


def test_a_damaged_block_is_dropped_when_packs_are_written_anew(catalogue, capsys):
    """A commit copies no damaged block; it says which file it was in and keeps the others."""
    (pack,) = packs(catalogue)
    content = bytearray(pack.read_bytes())
    content[catalogue.entries[address(2)].offset + 20] ^= 1
    pack.write_bytes(content)

    catalogue.commit({address(n) for n in (1, 2)})

    assert list(again(catalogue).entries) == [address(1)]
    assert f"{pack.name}: a block is damaged" in capsys.readouterr().err


def test_a_pack_is_a_zarr_group(catalogue):
    """Other programs can open a pack: its frames are arrays with the layer's name."""
    import zarr
    from zarr.storage import ZipStore

    (pack,) = packs(catalogue)
    with ZipStore(pack, mode="r") as store:
        array = zarr.open_group(store, mode="r")["0"]
        assert (array.attrs["layer"], array.attrs["form"]) == ("layers.1", "full")
        assert array.shape[0] == sum(entry.size for entry in catalogue.entries.values())
