"""What a device does, honest or refused, and its clock."""

from __future__ import annotations

import datetime
import time
from types import SimpleNamespace

import pytest
from tuf.ngclient._internal import trusted_metadata_set

from shoal_edge.errors import PatchError
from shoal_edge.folder import read_pool
from shoal_edge.update import update


def shift_clock(monkeypatch, days):
    """Have the device's clock be wrong."""
    by = datetime.timedelta(days=days)

    class Shifted(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.datetime.now(tz) + by

    module = SimpleNamespace(datetime=Shifted, timezone=datetime.timezone)
    monkeypatch.setattr(trusted_metadata_set, "datetime", module)
    real = time.time
    monkeypatch.setattr(
        "shoal_edge.update.time", SimpleNamespace(time=lambda: real() + days * 86400)
    )


def left(pool):
    """Names of what lies beside a pool."""
    return {path.name for path in pool.parent.iterdir()} - {
        pool.name,
        ".pool.updates",
        ".pool.lock",
    }


def refused(pool, server, match):
    """Look for a newer pool, which ends in one line and changes nothing."""
    before = read_pool(pool)
    with pytest.raises(PatchError, match=match) as error:
        update(pool, server.url)
    assert "\n" not in str(error.value)
    assert read_pool(pool) == before
    assert ".pool.next" not in left(pool)


def honest(pool, server, content):
    """Look for a newer pool at the honest server, and find it."""
    server.honest()
    update(pool, server.url)
    assert read_pool(pool) == read_pool(content)
