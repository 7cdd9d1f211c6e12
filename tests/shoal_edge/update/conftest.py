"""Releases on a web server, and a device that is behind."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from shoal.deploy.distribute import publish, start
from shoal_edge.folder import read_pool
from shoal_edge.update import update
from tests.shoal_edge.conftest import change
from tests.shoal_edge.web_server import serving


@pytest.fixture(scope="session")
def copies(two_pools, tmp_path_factory):
    """Three pools that follow each other."""
    newest = Path(shutil.copytree(two_pools[1], tmp_path_factory.mktemp("third") / "pool"))
    change(newest, "specialists/0.safetensors", 0.02)
    return [*two_pools, newest]


@pytest.fixture(scope="session")
def releases(copies, tmp_path_factory):
    """The publisher's folder after each release."""
    folder = tmp_path_factory.mktemp("releases")
    repository, found = folder / "now", []
    start(repository, None)
    for count in (1, 2, 3):
        publish(repository, copies[:count], None)
        found.append(Path(shutil.copytree(repository, folder / str(count))))
    return found


@pytest.fixture
def publisher(releases, tmp_path):
    """The publisher's folder after the second release, to change."""
    return Path(shutil.copytree(releases[1], tmp_path / "publisher"))


@pytest.fixture
def server(publisher):
    """The server of that folder."""
    with serving(publisher / "public") as server:
        yield server


@pytest.fixture
def device(publisher, server, copies, releases, tmp_path):
    """The pool of a device that has the first release, and has seen no other."""
    pool = tmp_path / "device" / "pool"
    server.folder = releases[0] / "public"
    update(pool, server.url, publisher / "public/metadata/1.root.json")
    server.folder = publisher / "public"
    server.forget()
    assert read_pool(pool) == read_pool(copies[0])
    return pool
