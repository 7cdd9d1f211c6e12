"""Random faults in bytes, in JSON and in what holds JSON."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from random import Random

_DEEP = "\ufdd0"
_TWICE = "\ufdd1"
"""Marks, which no document has, of what ``json.dumps`` does not write."""

ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    2**31,
    2**63,
    -(2**64),
    10**400,
    1e308,
    -0.5,
    float("nan"),
    float("-inf"),
    "",
    "a",
    "..",
    "../../x",
    "/etc/passwd",
    "0",
    "1e9",
    "nan",
    "\x00",
    "\n",
    "\ud800",
    "é" * 300,
    "x" * 100_000,
    [],
    [[]],
    [0],
    [None],
    ["a", "a"],
    [-1] * 1000,
    {},
    {"": 0},
    {"a": {}},
    {"_target_": "os.system"},
    _DEEP,
)
"""Values that few documents have anywhere."""

_DEEPER, _WHOLE = 0.75, 0.02
"""How often a fault is not in a container itself, and how often it is the whole document."""

_LENGTHS = (1, 1, 2, 4, 8, 64, 1000)


def spoiled(rng: Random, content: bytes, others: bytes = b"") -> bytes:
    """Bytes with one to three faults; some of ``others`` may be spliced in."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        place = rng.randrange(len(content) + 1)
        length = rng.choice(_LENGTHS)
        head, part, tail = content[:place], content[place : place + length], content[place:]
        kind = rng.randrange(9)
        if kind == 0:
            content = head
        elif kind == 1:
            content = tail
        elif kind == 2:
            content = head + content[place + length :]
        elif kind == 3:
            content = head + part * rng.choice((2, 3, 100)) + content[place + length :]
        elif kind == 4:
            content = head + rng.randbytes(length) + content[place + length :]
        elif kind == 5:
            content = head + rng.choice(ANY_TEXT) + tail
        elif kind == 6:
            start = rng.randrange(len(others) + 1)
            content = head + others[start : start + length * 8] + tail
        elif part:  # a bit, most of the time
            flipped = bytes([part[0] ^ 1 << rng.randrange(8)])
            content = head + flipped + content[place + 1 :]
    return content


ANY_TEXT = tuple(
    b"\x00|\xff|\xef\xbb\xbf|\"|'|,|\n|\r\n|\r|;|\t|{|}|[|]|:|-|.|null|NaN|-1|1e999|\\|%|${a}|&a|*a|!!x|\xd8\x00"
    b"|99999999999999999999|\xc3\x28|True|#|__index_level_0__|../x".split(b"|")
)
"""What formats of text give a meaning to."""


def changed(rng: Random, content: Any) -> Any:
    """A JSON value with one to three faults in its structure."""
    content = deepcopy(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if not isinstance(content, dict | list) or not content or rng.random() < _WHOLE:
            return deepcopy(rng.choice(ODD))
        parent, key = _place(rng, content)
        kind = rng.randrange(8)
        if kind == 0:
            del parent[key]
        elif kind == 1:
            donor, other = _place(rng, content)
            parent[key] = deepcopy(donor[other])
        elif kind == 2 and isinstance(parent, dict):
            parent[rng.choice(("a", "", f"{key}s", "_target_", "x" * 300))] = parent.pop(key)
        elif kind == 2:
            parent.insert(key, parent[key])
        elif kind == 3 and isinstance(parent, dict):
            parent[key + _TWICE] = parent[key]
        elif kind == 4 and isinstance(parent[key], int | float):
            parent[key] = rng.choice((-parent[key], parent[key] * 10**6, parent[key] + 1, 1.5))
        elif kind == 5 and isinstance(parent[key], str):
            parent[key] = parent[key][:-1] + rng.choice(("", "x", "/../x", "\n", "é"))
        else:
            parent[key] = deepcopy(rng.choice(ODD))
    return content


def written(rng: Random, content: Any) -> bytes:
    """A JSON value as text, with the faults that values cannot have."""
    text = json.dumps(content)
    levels = rng.choice((30, 70, 500, 100_000))
    deep = (
        ("[" * levels + "]" * levels)
        if rng.random() < 0.5
        else '{"a":' * levels + "1" + "}" * levels
    )
    text = text.replace(json.dumps(_DEEP), deep).replace(json.dumps(_TWICE)[1:-1], "")
    return text.encode()


def spoiled_json(rng: Random, content: bytes, others: bytes = b"") -> bytes:
    """A document with a fault in its bytes or in its structure."""
    if rng.random() < 0.3:
        return spoiled(rng, content, others)
    return written(rng, changed(rng, json.loads(content)))


def _place(rng: Random, content: Any) -> tuple[Any, Any]:
    """A container that is not empty, and a key in it; what is high up is found often."""
    key = rng.choice(list(content) if isinstance(content, dict) else range(len(content)))
    child = content[key]
    if isinstance(child, dict | list) and child and rng.random() < _DEEPER:
        return _place(rng, child)
    return content, key
