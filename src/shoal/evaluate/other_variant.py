"""The chosen generalist where it is another variant's than the pool that is scored."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.ask.answers import Answers
from shoal.encode.encoder import Encoder
from shoal.errors import DataError
from shoal.formats.documents.ledger import LedgerRecord
from shoal.formats.json_file import read_made
from shoal.formats.shapes import Shapes
from shoal.split.keys import flat_keys
from shoal.training.tasks import rules
from shoal_edge.routing import GENERALIST

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from shoal.formats.documents.judgement import VariantChoice
    from shoal.partitions.reader import Index
    from shoal.pool.pool import Pool


@dataclass(frozen=True)
class OtherGeneralist:
    """A generalist of another variant, on the test rows.

    Attributes:
        variant: Id of the variant.
        model: Its weights.
        ledger: What it cost.
        answer: Its answers, as they are scored, in the order of the pool's test rows.
        flops: FLOPs of one of them.
    """

    variant: str
    model: Path
    ledger: LedgerRecord
    answer: NDArray[Any]
    flops: float


def other_generalist(
    path: Path, choice: VariantChoice, pool: Pool, index: Index, said: Answers
) -> OtherGeneralist:
    """Read what the chosen generalist says of the test rows.

    Args:
        path: The file of the choice.
        choice: Its content.
        pool: The pool that is scored.
        index: Its partition index.
        said: What its models say of the rows.

    Raises:
        DataError: The other variant has other test rows.
    """
    found = {name: _beside(path, file) for name, file in choice["files"].items()}
    asked = [_beside(path, file) for file in choice["asked"]]
    other = Answers(asked, index, "test", pool.experts.answer)
    order, theirs = _by_key(said.rows), _by_key(other.rows)
    keys, others = flat_keys(said.rows["key"]), flat_keys(other.rows["key"])
    if len(keys) != len(others) or (keys[order] != others[theirs]).any():
        raise DataError(
            f"{path}: variant {choice['generalist']} has other test rows than {choice['pool']}, "
            f"though seed and split are the same"
        )
    places = np.empty(len(keys), dtype=np.int64)
    places[order] = theirs
    shapes = Shapes.load(found["shapes"])
    label = Encoder.load(found["encoder"], shapes.trusted).label
    answer = rules(shapes.task).told(other.answer(GENERALIST, places), label)
    if label.classes != pool.encoder.classes:
        answer = _in_classes(answer, label.classes or [], pool.encoder.classes or [])
    ledger = read_made(found["ledger"], LedgerRecord)
    return OtherGeneralist(choice["generalist"], found["model"], ledger, answer, other.flops)


def _beside(path: Path, file: str) -> Path:
    return Path(os.path.normpath(path.parent / file))


def _by_key(rows: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
    """Order of rows by key, and by label where several rows have one key."""
    labels = rows["y"].reshape(len(rows["y"]), -1).T
    return np.lexsort((*labels, np.unique(flat_keys(rows["key"]), return_inverse=True)[1]))


def _in_classes(answer: NDArray[Any], classes: list[str], wanted: list[str]) -> NDArray[Any]:
    """Probabilities in the order of other classes; 0 of one that the model does not know."""
    found = np.zeros((len(answer), len(wanted)), dtype=answer.dtype)
    for code, name in enumerate(wanted):
        if name in classes:
            found[:, code] = answer[:, classes.index(name)]
    return found
