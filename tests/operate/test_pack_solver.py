"""Packing against an exact solver, and what no packing may break."""

import itertools
import random

import pytest

from benchmarks.packing import optimum
from shoal.errors import SettingsError
from shoal.operate.pack_solver import ALONE, Limits, Member, Pack, lower_bound, makespan, pack


def members(*seconds: float) -> list[Member]:
    return [Member(f"m{number}", each) for number, each in enumerate(seconds)]


def drawn(seed: int) -> tuple[list[Member], int]:
    """A small random instance: at most 11 members, at most 4 devices."""
    rng = random.Random(seed)
    draw = rng.choice(
        [
            lambda: rng.uniform(1, 10),
            lambda: rng.lognormvariate(0, 1),
            lambda: float(rng.randint(1, 6)),
        ]
    )
    return members(*(draw() for _ in range(rng.randint(2, 11)))), rng.randint(1, 4)


def last_done(packs: list[Pack]) -> float:
    """When the last device is done."""
    done: dict[int, float] = {}
    for each in packs:
        done[each.device] = done.get(each.device, 0.0) + each.seconds
    return max(done.values())


@pytest.mark.parametrize("seed", range(60))
def test_the_last_device_is_done_within_five_percent_of_the_optimum(seed):
    """Small random instances against all assignments; no answer beats optimum or bound."""
    given, devices = drawn(seed)

    found = last_done(pack(given, Limits(devices)))

    best = optimum(given, devices)
    assert best * (1 - 1e-9) <= found <= best * 1.05
    assert lower_bound(given, devices) <= best * (1 + 1e-9)


def test_the_exact_solver_mends_what_greedy_gets_wrong():
    """Graham's worst case for two devices: greedy needs 7, the optimum is 6."""
    assert last_done(pack(members(3, 3, 2, 2, 2), Limits(2))) == 6


@pytest.mark.parametrize("seed", range(20))
def test_every_member_is_in_exactly_one_pack_that_keeps_the_walltime(seed):
    """Splitting a device's members by the walltime loses none and delays none."""
    given, devices = drawn(seed)
    longest = max(member.seconds for member in given) * 1.2

    packs = pack(given, Limits(devices, seconds=longest))

    assert sorted(m.name for each in packs for m in each.members) == sorted(m.name for m in given)
    assert all(each.members and each.seconds <= longest for each in packs)
    assert {each.device for each in packs} <= set(range(devices))
    assert last_done(packs) == pytest.approx(last_done(pack(given, Limits(devices))))


def test_no_more_packs_than_the_walltime_asks_for():
    """Ten hours of work on one device and four hours a pack make three packs, alike in length."""
    packs = pack(members(*[1.0] * 10), Limits(1, seconds=4.0))

    assert sorted(each.seconds for each in packs) == [3.0, 3.0, 4.0]


def test_the_order_of_the_members_does_not_matter():
    """Packs are a function of the set of members."""
    given, _ = drawn(5)

    assert pack(reversed(given), Limits(3)) == pack(given, Limits(3))


def test_a_member_longer_than_the_walltime_is_in_no_pack():
    """It takes no device from the others either."""
    given = members(60, 7200, 30)

    assert pack(given, Limits(2, seconds=3600)) == pack([given[0], given[2]], Limits(2))


def test_a_member_larger_than_the_memory_is_refused():
    """Members train in turn, so each must fit alone, and need not fit together."""
    fits = [Member("a", 1, 2**30), Member("b", 1, 2**30)]
    assert len(pack(fits, Limits(1, memory=2**30))) == 1

    with pytest.raises(SettingsError, match=r"b: needs about 4 GiB .* has 1 GiB"):
        pack([fits[0], Member("b", 1, 4 * 2**30)], Limits(1, memory=2**30))


def kinds(*counts: int) -> list[Member]:
    """So many members of each kind, of a second each."""
    return [
        Member(f"{kind}{number}", 1.0, kind=kind)
        for kind, count in zip("abcd", counts, strict=False)
        for number in range(count)
    ]


@pytest.mark.parametrize(
    ("counts", "devices", "fewest"), [((8, 8), 2, 8), ((3, 3, 2), 2, 3), ((5, 4), 3, 4)]
)
def test_members_that_share_a_program_are_on_one_device(counts, devices, fewest):
    """No assignment of all members is done earlier."""
    given = kinds(*counts)

    packs = pack(given, Limits(devices, fewest=fewest))

    loads = [each.members for each in packs]
    assert sorted(m.name for load in loads for m in load) == sorted(m.name for m in given)
    assert makespan(loads, fewest) <= least(counts, devices, fewest) * (1 + 0.02)


def least(counts: tuple[int, ...], devices: int, fewest: int) -> float:
    """The earliest end over all ways to spread so many members of each kind over devices."""

    def ways(count: int, left: int) -> list[tuple[int, ...]]:
        if left == 1:
            return [(count,)]
        return [(own, *rest) for own in range(count + 1) for rest in ways(count - own, left - 1)]

    def seconds(own: int) -> float:
        return own if own >= fewest else ALONE * own

    spread = itertools.product(*(ways(count, devices) for count in counts))
    return min(max(sum(map(seconds, load)) for load in zip(*each, strict=True)) for each in spread)


def test_there_are_no_empty_packs():
    """Fewer members than devices make a pack each, no members none."""
    assert [each.members for each in pack(members(1), Limits(4))] == [tuple(members(1))]
    assert pack([], Limits(4)) == []
