"""Two hundred devices update from a plain web server, over bad lines and past an attacker.

    python -m benchmarks.devices

A publisher releases a pool a day, of which two specialists of twenty are new, and replaces keys as
days go by. Each day about half of the devices look for a newer pool. A look may meet the server, a
line that breaks, a wrong clock of its own, a full disk of its own, or an attacker in the server's
place. After each look the device's pool is compared with all that were released, byte by byte. On
the last day every device looks twice, with the right clock, some room and a whole line. The end is
1 where a device has a pool that was never released, goes back to an older one, or is not on the
newest at the end.

The clock is simulated; files, HTTP, signatures, broken lines and the limit on files are real. Bytes
are those of HTTP: requests, answers, and bodies alone.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import resource
import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone, tzinfo
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING
from unittest import mock

import numpy as np
from safetensors.numpy import load_file, save_file

from shoal.deploy.distribute import BEHIND, release, rotate, start
from shoal_edge.errors import PatchError
from shoal_edge.folder import read_pool
from shoal_edge.patch import MANIFEST, make, sha256
from shoal_edge.update import Updated, update
from tests.shoal_edge.web_server import WebServer, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SPECIALISTS, WEIGHTS, MOVED = 20, 2_000, 0.2
ROTATED = {3: ["timestamp"], 5: ["targets", "snapshot"]}
"""Roles whose keys were stolen, and are replaced, by day."""

ROOT_DAY = 7
"""When the root has a new key, as a precaution: a stolen root key is what TUF cannot help with."""

LINES = {"server": 58, "broken line": 10, "wrong clock": 5, "full disk": 6}
ATTACKS = ("old", "mixed", "altered", "endless", "silent", "other keys", "stolen keys")


@dataclass
class Clock:
    """The simulated time, and by how much the device that looks is wrong, in days."""

    day: float = 0
    wrong: float = 0

    @contextlib.contextmanager
    def rules(self) -> Iterator[None]:
        """Have publisher and devices read it."""

        def shifted(days: Callable[[], float]) -> type[datetime]:
            class Shifted(datetime):
                @classmethod
                def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
                    return datetime.now(tz) + timedelta(days=days())

            return Shifted

        def seconds() -> float:
            return time.time() + 86400 * (self.day + self.wrong)

        device = shifted(lambda: self.day + self.wrong)
        client = "tuf.ngclient._internal.trusted_metadata_set.datetime"
        module = SimpleNamespace(datetime=device, timezone=timezone)
        with (
            mock.patch("shoal.deploy.repository.datetime", shifted(lambda: self.day)),
            mock.patch("shoal_edge.update.datetime", device),
            mock.patch("shoal_edge.update.time", SimpleNamespace(time=seconds)),
            mock.patch(client, module),
        ):
            yield


@dataclass
class World:
    """Releases, and what an attacker can have of them.

    Attributes:
        folder: Where all of it lies.
        copies: Folders of released pools.
        digests: Place of each released pool by the hash of its manifest.
        days: What was public at the end of each day.
    """

    folder: Path
    rng: random.Random
    clock: Clock = field(default_factory=Clock)
    copies: list[Path] = field(default_factory=list)
    digests: dict[str, int] = field(default_factory=dict)
    days: list[Path] = field(default_factory=list)
    thieves: list[Path] = field(default_factory=list)

    @property
    def public(self) -> Path:
        """What the server serves."""
        return self.folder / "publisher/public"

    @property
    def root(self) -> Path:
        """The root that devices are made with."""
        return self.public / "metadata/1.root.json"

    def release(self) -> None:
        """Publish the next pool; on some days replace keys, of which a thief has the old ones."""
        day = len(self.days)
        self.clock.day = day
        publisher = self.folder / "publisher"
        if not day:
            start(publisher, None)
            other = self.folder / "other"
            start(other, None)
        self.copies.append(_next_pool(self.folder / f"copies/{day}", self.copies, self.rng))
        self.digests[sha256((self.copies[-1] / MANIFEST).read_bytes())] = day
        if day == ROOT_DAY:
            rotate(publisher, "root", None)
        if day in ROTATED:
            thief = Path(shutil.copytree(publisher, self.folder / f"thief-{day}"))
            for role in ROTATED[day]:
                rotate(publisher, role, None)
            _imitate(thief, publisher, self.copies[-1])
            self.thieves.append(thief / "public")
        _publish(publisher, self.copies)
        _publish(self.folder / "other", [_fake(self.folder, self.copies[-1])])
        self.days.append(Path(shutil.copytree(self.public, self.folder / f"days/{day}")))


def _imitate(thief: Path, publisher: Path, copy: Path) -> None:
    """Sign a pool that was never released with old keys, in versions ahead of the publisher's."""
    fake = _fake(thief, copy)
    for _ in range(2):
        _publish(thief, [copy])
        _publish(thief, [fake])
    for path in (publisher / "public/metadata").glob("*.root.json"):
        shutil.copy(path, thief / "public/metadata")


def _fake(folder: Path, copy: Path) -> Path:
    """A pool that was never released."""
    fake = folder / "fake"
    shutil.rmtree(fake, ignore_errors=True)
    shutil.copytree(copy, fake)
    _move(fake, 0, np.random.default_rng(1), 1.0)
    reseal(fake)
    return fake


def _publish(publisher: Path, copies: list[Path]) -> None:
    *before, newest = [read_pool(copy) for copy in copies[-BEHIND - 1 :]]
    patches = {sha256(pool[MANIFEST]): make(pool, newest) for pool in before}
    release(publisher, newest, patches, None)


def reseal(pool: Path) -> None:
    """Write a manifest that fits the files."""
    paths = sorted((pool / "specialists").iterdir())
    files = {f"specialists/{path.name}": sha256(path.read_bytes()) for path in paths}
    (pool / MANIFEST).write_text(json.dumps({"format": 1, "files": files}))


def _specialist(pool: Path, number: int) -> Path:
    return pool / f"specialists/{number}.safetensors"


def _move(pool: Path, number: int, rng: np.random.Generator, share: float) -> None:
    path = _specialist(pool, number)
    weights = load_file(path)["weight"]
    steps = rng.choice([-1, 1], len(weights)) * (rng.random(len(weights)) < share)
    save_file({"weight": (weights + steps * np.float32(2**-8)).astype(np.float32)}, path)


def _next_pool(folder: Path, before: list[Path], draws: random.Random) -> Path:
    """The first pool, or the one before with two of its specialists changed."""
    rng = np.random.default_rng(draws.randrange(1 << 32))
    if before:
        shutil.copytree(before[-1], folder)
        for number in draws.sample(range(SPECIALISTS), 2):
            _move(folder, number, rng, MOVED)
    else:
        (folder / "specialists").mkdir(parents=True)
        for number in range(SPECIALISTS):
            weights = np.round(rng.normal(size=WEIGHTS) * 16) * 2.0**-8
            save_file({"weight": weights.astype(np.float32)}, _specialist(folder, number))
    reseal(folder)
    return folder


@dataclass
class Counts:
    """Looks by what they met and how they ended; bytes by how they ended."""

    looks: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    bodies: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    wire: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    wrong: int = 0
    back: int = 0
    behind: int = 0


@dataclass
class Device:
    """A device.

    Attributes:
        pool: Its pool's folder.
        digest: Hash of all files of a pool of its own, which it may keep.
        at: Release that it has; -1 for none or one of its own.
        away: Whether it is off until the last day.
    """

    pool: Path
    digest: str = ""
    at: int = -1
    away: bool = False


def _made(world: World, number: int, folder: Path) -> Device:
    """A device as it leaves the factory: of ten one is new, one adapted, one damaged, one off."""
    device = Device(folder / "pool", away=number % 10 == 3)
    if number % 10 == 0:
        folder.mkdir()
        return device
    shutil.copytree(world.copies[0], device.pool)
    if number % 10 == 1:
        _move(device.pool, 0, np.random.default_rng(number), MOVED)
        reseal(device.pool)
    if number % 10 == 2:
        path = _specialist(device.pool, 1)
        path.write_bytes(path.read_bytes()[:-1] + b"\1")
    device.digest = _digest(device.pool)
    device.at = world.digests.get(_manifest(device.pool), -1)
    return device


def _manifest(pool: Path) -> str:
    return sha256((pool / MANIFEST).read_bytes())


def _digest(pool: Path) -> str:
    paths = sorted(path for path in pool.rglob("*") if path.is_file())
    parts = [f"{path.relative_to(pool)} {sha256(path.read_bytes())}" for path in paths]
    return sha256("\n".join(parts).encode())


@contextlib.contextmanager
def _met(world: World, server: WebServer, kind: str) -> Iterator[None]:
    """Have the next look meet something."""
    rng = world.rng
    server.honest()
    server.folder = world.public
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    if kind == "broken line":
        victim = rng.choice(["timestamp", "snapshot", "targets.json", "/targets/", "/targets/"])
        server.ranges = rng.random() < 0.5

        def breaks(path: str, content: bytes | None) -> bytes | None:
            hit = content is not None and victim in path
            server.cut = rng.randrange(len(content)) if hit and content else None
            return content

        server.spoil = breaks
    elif kind == "wrong clock":
        world.clock.wrong = rng.choice([4000, 30, -20000])
    elif kind == "full disk":
        resource.setrlimit(resource.RLIMIT_FSIZE, (rng.randrange(1 << 15), limits[1]))
    elif kind == "old":
        server.folder = rng.choice(world.days)
    elif kind == "stolen keys" and world.thieves:
        server.folder = rng.choice(world.thieves)
    elif kind in ("other keys", "stolen keys"):
        server.folder = world.folder / "other/public"
    elif kind != "server":
        server.spoil = _spoiling(world, kind)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        world.clock.wrong = 0


def _spoiling(world: World, kind: str) -> Callable[[str, bytes | None], bytes | None]:
    rng = world.rng

    def spoil(path: str, content: bytes | None) -> bytes | None:
        if kind == "silent":
            return None
        if kind == "mixed":
            other = rng.choice(world.days) / path.lstrip("/")
            return other.read_bytes() if other.is_file() else content
        if content is None or rng.random() < 0.5:
            return content
        if kind == "endless":
            return content + bytes(1 << 22)
        place = rng.randrange(len(content))
        return (
            content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :]
        )

    return spoil


def _look(world: World, server: WebServer, device: Device, kind: str, counts: Counts) -> str:
    """Have a device look for a newer pool, and compare what it has then."""
    server.forget()
    with _met(world, server, kind):
        end: str
        try:
            done: Updated = update(device.pool, server.url, world.root)
            end = {"nothing": "nothing newer", "patch": "patched", "pool": "whole pool"}[done.by]
        except PatchError as error:
            end = "refused"
            if "\n" in str(error):
                raise SystemExit(f"more than a line: {error}") from None
    counts.looks["attacker: " + kind if kind in ATTACKS else kind, end] += 1
    if kind == "server":
        counts.bodies[end].append(server.bodies)
        counts.wire[end].append(server.wire)
    _compare(world, device, end, counts)
    return end


def _compare(world: World, device: Device, end: str, counts: Counts) -> None:
    if not device.pool.exists():
        counts.wrong += end != "refused" or device.at >= 0
        return
    at = world.digests.get(_manifest(device.pool), -1)
    if at >= 0 and end != "refused":
        counts.wrong += read_pool(device.pool) != read_pool(world.copies[at])
    elif _digest(device.pool) != device.digest:  # refused: the pool as it was, all of it
        counts.wrong += 1
    counts.back += at < device.at
    device.at = at
    device.digest = _digest(device.pool)


def simulate(devices: int, releases: int, seed: int, folder: Path) -> Counts:
    """Release pools and have devices look for them.

    Args:
        devices: How many.
        releases: How many.
        seed: Of all draws.
        folder: An empty folder.
    """
    world, counts = World(folder, random.Random(seed)), Counts()  # noqa: S311 - no secret
    kinds = [*LINES, *ATTACKS]
    shares = [*LINES.values(), *[(100 - sum(LINES.values())) / len(ATTACKS)] * len(ATTACKS)]
    with world.clock.rules():
        world.release()
        (folder / "devices").mkdir()
        fleet = [_made(world, number, folder / f"devices/{number}") for number in range(devices)]
        with serving(world.public) as server:
            for _ in range(1, releases):
                world.release()
                for device in fleet:
                    if not device.away and world.rng.random() < 0.5:
                        kind = world.rng.choices(kinds, shares)[0]
                        _look(world, server, device, kind, counts)
            for _ in range(2):
                for device in fleet:
                    _look(world, server, device, "server", counts)
    newest = read_pool(world.copies[-1])
    counts.behind = sum(read_pool(device.pool) != newest for device in fleet)
    return counts


def main() -> None:
    """Simulate, and print counts and bytes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=200)
    parser.add_argument("--releases", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        counts = simulate(asked.devices, asked.releases, asked.seed, Path(folder))
    ends = ("nothing newer", "patched", "whole pool", "refused")
    print(f"| a look meets | {' | '.join(ends)} |\n| --- | --: | --: | --: | --: |")
    for met in dict.fromkeys(met for met, _ in sorted(counts.looks)):
        print(f"| {met} | {' | '.join(str(counts.looks[met, end]) for end in ends)} |")
    print("\n| at the server | looks | bytes of bodies, mean | most | all of HTTP, mean | most |")
    print("| --- | --: | --: | --: | --: | --: |")
    for end in ends[:3]:
        bodies, wire = counts.bodies[end], counts.wire[end]
        if bodies:
            print(
                f"| {end} | {len(bodies)} | {statistics.mean(bodies):,.0f} | {max(bodies):,} "
                f"| {statistics.mean(wire):,.0f} | {max(wire):,} |"
            )
    looks = sum(counts.looks.values())
    print(
        f"\n{asked.devices} devices, {asked.releases} releases, {looks} looks: {counts.wrong} "
        f"times a wrong pool, {counts.back} times an older one, "
        f"{counts.behind} not on the newest at the end"
    )
    if counts.wrong or counts.back or counts.behind:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
