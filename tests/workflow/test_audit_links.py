"""What `shoal audit` says of models that continue, if their parent is another one."""

from __future__ import annotations

from pathlib import Path

import pytest

from shoal.formats.documents.index import PartitionIndex, named_file
from shoal.formats.fitted_state import load_state, save_state
from shoal.formats.json_file import read_made
from shoal.formats.provenance import recording
from shoal.operate.audit.files import read_artifact
from shoal.plan.plan import Plan
from tests.workflow.small import CONTINUING, as_config
from tests.workflow.spoil import audited, blamed, flip, swap


@pytest.fixture
def links(own) -> list[tuple[Path, Path]]:
    """Weights of each specialist's link and of its parent; then the generalist's."""
    layout = Plan("tiny", list(CONTINUING), Path("config")).layout
    index = read_made(layout.index, PartitionIndex)
    found = [
        (
            Path(layout.candidates(entry)[0]),
            named_file(layout.index, entry["continued"]["weights"]),
        )
        for entry in index["partitions"]
    ]
    generalist = layout.file("evaluate_generalist.model", index)
    return [*found, (generalist, named_file(layout.index, index["continued"]["weights"]))]


def rewrite(path: Path, shift: float = 0, **facts: object) -> None:
    """Write other weights, or facts beside them, as a whole file with the record that it had."""
    tensors, meta = load_state(path)
    record = read_artifact(path).made_from
    with recording(map(Path, record["files"]), record.get("code")):
        shifted = {name: tensor + tensor.dtype.type(shift) for name, tensor in tensors.items()}
        save_state(path, shifted, meta | facts)


def test_links_agree_with_their_parents(own, links):
    """Nothing is blamed, also where a parent is gone."""
    assert audited(*CONTINUING)[0] == 0

    for _, parent in links:
        parent.unlink()
    assert audited(*CONTINUING)[0] == 0


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_link_whose_parent_has_other_weights_is_named_with_it(own, links, which):
    """A flipped bit, and whole files of other weights; specialists, and the generalist."""
    link, parent = links[which]
    for spoil in (lambda path: rewrite(path, shift=1), lambda path: flip(path, -1)):
        content = parent.read_bytes()
        spoil(parent)

        code, (line, _) = audited(*CONTINUING)

        assert code == 1
        assert line.startswith(f"{link}: was trained on from another {parent} than the one that")
        parent.write_bytes(content)


def test_parents_in_each_others_place_are_named_with_their_links(own, links):
    """Both of them."""
    swap(links[0][1], links[1][1])

    assert set(blamed(*CONTINUING)) == {str(link) for link, _ in links[:2]}


@pytest.mark.parametrize("which", [0, 2])
def test_a_link_that_says_another_parent_than_the_index_is_named(own, links, which):
    """By name, or by the content of what it was trained on from."""
    link, _ = links[which]
    content = link.read_bytes()
    for name, said in (
        ("continues", "continues from 0"),
        ("parent", "was trained on from another"),
    ):
        rewrite(link, **{name: "0" * 24})

        code, lines = audited(*CONTINUING)

        assert code == 1
        assert [line for line in lines if line.startswith(f"{link}: {said}")]
        link.write_bytes(content)


def test_what_the_audit_advises_brings_the_parent_back(own, links):
    """Both files removed, a run has the parent from the store and the link with its bits."""
    (link, parent), *_ = links
    contents = [path.read_bytes() for path in (link, parent)]
    rewrite(parent, shift=1)
    assert "; remove both and run the workflow again, " in audited(*CONTINUING)[1][0]

    for path in (link, parent):
        path.unlink()
    own.run(overrides=as_config(*CONTINUING))

    assert [path.read_bytes() for path in (link, parent)] == contents
    assert audited(*CONTINUING)[0] == 0
