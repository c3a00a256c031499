from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.bounds import Bounds
from policies.disk_pressure import DiskPressure
from policies.gauges import Level, Missing
from policies.policy import Condition, ConditionState, Severity
from policies.selection import parse
from tests.policies.build import GIB, MIB, facts, filesystem, image

if TYPE_CHECKING:
    from collectors.facts import Filesystem

BAD, OK, BETWEEN = ConditionState.BAD, ConditionState.OK, ConditionState.BETWEEN
POLICY = DiskPressure()


def judge(thing: Filesystem) -> Condition:
    [condition] = POLICY.decide(facts(filesystems=[thing]))
    assert isinstance(condition, Condition)
    return condition


def level(thing: Filesystem) -> Level | None:
    return POLICY.level(thing, facts(filesystems=[thing]))


@pytest.mark.parametrize(
    ("free_percent", "expected", "severity"),
    [
        (20, Level.OK, Severity.WARNING),
        (19, Level.WARN, Severity.WARNING),
        (12, Level.WARN, Severity.WARNING),
        (11, Level.ACT, Severity.WARNING),
        (5, Level.ACT, Severity.WARNING),
        (4, Level.CRITICAL, Severity.CRITICAL),
        (0, Level.CRITICAL, Severity.CRITICAL),
    ],
)
def test_on_a_small_disk_the_percentage_decides(free_percent: int, expected: Level, severity: Severity) -> None:
    small = filesystem(size=100 * MIB, available=free_percent * MIB)
    assert level(small) is expected
    assert judge(small).severity is severity


@pytest.mark.parametrize(
    ("free", "expected"), [(30, Level.OK), (29, Level.WARN), (19, Level.ACT), (8, Level.ACT), (7, Level.CRITICAL)]
)
def test_on_a_large_disk_the_size_decides(free: int, expected: Level) -> None:
    assert level(filesystem(size=4000 * GIB, available=free * GIB)) is expected


def test_the_reason_says_what_is_left_and_the_numbers_say_the_same() -> None:
    found = judge(filesystem(size=125 * GIB, available=int(11.4 * GIB)))
    assert found.reason == "11.4 GiB (9 %) left"
    assert (found.value, found.limit) == (int(11.4 * GIB), 15.0 * GIB)


@pytest.mark.parametrize(("free_percent", "state"), [(19, BAD), (20, BETWEEN), (24, BETWEEN), (25, OK)])
def test_the_alert_clears_five_points_above_the_warning(free_percent: int, state: ConditionState) -> None:
    assert judge(filesystem(size=100 * MIB, available=free_percent * MIB)).state is state


@pytest.mark.parametrize(("free", "state"), [(29, BAD), (30, BETWEEN), (37, BETWEEN), (38, OK)])
def test_on_a_large_disk_it_clears_at_the_like_share_above(free: int, state: ConditionState) -> None:
    assert judge(filesystem(size=4000 * GIB, available=free * GIB)).state is state


def test_the_free_share_counts_as_df_does_without_the_reserve_of_root() -> None:
    reserved = filesystem(size=100 * MIB, used_bytes=76 * MIB, available_bytes=19 * MIB)
    assert level(reserved) is Level.OK


def test_running_out_of_inodes_is_a_disk_that_fills() -> None:
    found = judge(filesystem(inodes=1_000_000, inodes_free=39_999))
    assert (found.state, found.severity, found.limit) == (BAD, Severity.CRITICAL, 40_000.0)
    assert found.reason == "39,999 inodes (3 %) left"


def test_where_both_run_out_both_are_said() -> None:
    found = judge(filesystem(size=100 * MIB, available=10 * MIB, inodes=1000, inodes_free=140))
    assert found.reason == "10.0 MiB (10 %) left and 140 inodes (14 %) left"
    assert found.value == 10 * MIB


def test_inodes_that_have_not_cleared_keep_the_alert() -> None:
    assert judge(filesystem(inodes=1000, inodes_free=199)).state is BETWEEN


@pytest.mark.parametrize("count", [None, 0])
def test_a_filesystem_without_an_inode_count_is_judged_by_space_alone(count: int | None) -> None:
    assert judge(filesystem(inodes=count, inodes_free=count)).state is OK


def test_a_filesystem_that_tells_no_size_has_no_level() -> None:
    empty = filesystem(size=0, available=0, inodes=None)
    assert level(empty) is None
    assert list(POLICY.decide(facts(filesystems=[empty]))) == []


@pytest.mark.parametrize(("role", "judged"), [("data-root", 1), ("containerd-root", 1), ("os-root", 0), ("state", 0)])
def test_only_filesystems_with_dockers_data_are_judged(role: str, judged: int) -> None:
    assert len(list(POLICY.decide(facts(filesystems=[filesystem(roles=(role,))])))) == judged


@given(st.integers(0, 10**13), st.integers(0, 10**13), st.integers(1, 10**9), st.integers(0, 10**9))
def test_less_space_never_means_a_milder_level(used: int, available: int, inodes: int, free: int) -> None:
    now = filesystem(used_bytes=used, available_bytes=available, inodes=inodes, inodes_free=min(free, inodes))
    later = filesystem(
        used_bytes=used + available // 2,
        available_bytes=available - available // 2,
        inodes=inodes,
        inodes_free=min(free, inodes) // 2,
    )
    before, after = level(now), level(later)
    assert before is not None
    assert after is not None
    assert after.rank >= before.rank


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"act_percent": 25.0}, "warn_percent must be larger than act_percent"),
        ({"critical_bytes": 20 * GIB}, "act_bytes must be larger than critical_bytes"),
        ({"inodes_critical_percent": 0.0}, "inodes_critical_percent must be larger than zero"),
        ({"clear_points": -1.0}, "clear_points must be 0 or more"),
        ({"clear_points": float("nan")}, "clear_points must be 0 or more"),
        ({"critical_percent": float("nan")}, "critical_percent must be larger than zero"),
        ({"warn_percent": 99.0}, r"warn_percent \+ clear_points must be at most 100"),
        ({"inodes_warn_percent": 96.0}, r"inodes_warn_percent \+ clear_points must be at most 100"),
    ],
)
def test_levels_that_make_no_sense_are_refused_by_name(knobs: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        DiskPressure(**knobs)


def test_it_is_critical_while_one_filesystem_with_dockers_data_is() -> None:
    full = filesystem(available=GIB)
    assert POLICY.any_critical(facts(filesystems=[filesystem(), full]))
    assert not POLICY.any_critical(facts(filesystems=[filesystem(), replace(full, roles=("state",))]))
    assert not POLICY.any_critical(facts())


def test_room_for_pulling_the_largest_image_raises_the_act_level_up_to_a_quarter_of_the_disk() -> None:
    disk = filesystem(size=400 * GIB, available=45 * GIB)
    small, large, huge = (image("a:1", size_bytes=size * GIB) for size in (10, 31, 500))
    assert POLICY.level(disk, facts(filesystems=[disk], images=[small])) is Level.OK
    assert POLICY.level(disk, facts(filesystems=[disk], images=[small, large])) is Level.ACT
    wide = filesystem(size=400 * GIB, available=101 * GIB)
    assert POLICY.level(wide, facts(filesystems=[wide], images=[huge])) is Level.OK


def test_an_alert_promises_nothing_that_the_cleanup_is_to_leave_alone() -> None:
    disk = filesystem(size=100 * GIB, available=10 * GIB)
    images = [
        image(f"{name}:1", size_bytes=GIB, unique_bytes=GIB, digests=(f"{name}@sha256:1",)) for name in ("app", "base")
    ]
    world = facts(filesystems=[disk], images=images)
    said = []
    for left_out in ((), ("app",), ("app", "base")):
        policy = DiskPressure(bounds=Bounds(exclude=tuple(map(parse, left_out))))
        [condition] = policy.decide(world)
        assert isinstance(condition, Condition)
        said.append(condition.details)
    assert said == [
        ("A cleanup would free 2.0 GiB: 2 unused images.",),
        ("A cleanup would free 1.0 GiB: 1 unused image.",),
        (),
    ]


def test_an_alert_says_at_least_where_not_all_was_measured() -> None:
    disk = filesystem(size=100 * GIB, available=10 * GIB)
    images = [
        image(f"{name}:1", unique_bytes=size, digests=(f"{name}@sha256:1",)) for name, size in (("a", GIB), ("b", None))
    ]
    [condition] = POLICY.decide(facts(filesystems=[disk], images=images))
    assert isinstance(condition, Condition)
    assert condition.details == ("A cleanup would free at least 1.0 GiB: 2 unused images.",)


def test_an_alert_that_a_large_image_raised_clears_where_a_cleanup_ends() -> None:
    policy = DiskPressure(warn_percent=2, act_percent=1, critical_percent=0.5)
    disk = filesystem(size=100 * GIB, available=33 * GIB)
    world = facts(filesystems=[disk], images=[image("a:1", size_bytes=20 * GIB)])
    assert not policy.missing(disk, world)
    [condition] = policy.decide(world)
    assert isinstance(condition, Condition)
    assert condition.state is OK


def test_images_on_another_filesystem_raise_nothing() -> None:
    disk = filesystem(size=400 * GIB, available=45 * GIB, mountpoint="/data", roles=("data-root",))
    os = filesystem(mountpoint="/", device=2, roles=("containerd-root", "os-root"))
    engine = replace(facts().engine, containerd_store=True)
    world = facts(filesystems=[disk, os], images=[image("a:1", size_bytes=200 * GIB)], engine=engine)
    assert POLICY.level(disk, world) is Level.OK


@pytest.mark.parametrize(
    ("disk", "missing"),
    [
        (filesystem(size=100 * GIB, available=11 * GIB), Missing(bytes=9 * GIB)),
        (filesystem(size=4000 * GIB, available=19 * GIB), Missing(bytes=101 * GIB)),
        (filesystem(size=100 * GIB, available=20 * GIB), Missing()),
        (filesystem(inodes=1000, inodes_free=70), Missing(inodes=50)),
        (filesystem(inodes=None, inodes_free=None), Missing()),
        (filesystem(size=0, available=0, inodes=None), Missing()),
    ],
)
def test_what_is_missing_to_the_target_is_measured_in_bytes_and_in_inodes(disk: Filesystem, missing: Missing) -> None:
    assert POLICY.missing(disk, facts(filesystems=[disk])) == missing


@given(st.integers(1, 10**14), st.floats(0, 1), st.integers(0, 10**14), st.integers(1, 10**9))
def test_the_target_lies_above_the_act_level_and_within_the_disk(
    total: int, share: float, largest: int, inodes: int
) -> None:
    left = int(total * share)
    disk = filesystem(used_bytes=total - left, available_bytes=left, inodes=inodes, inodes_free=0)
    world = facts(filesystems=[disk], images=[image("a:1", size_bytes=largest)])
    missing = POLICY.missing(disk, world)
    assert left + missing.bytes <= total
    assert missing.inodes <= inodes
    reached = replace(disk, used_bytes=total - left - missing.bytes, available_bytes=left + missing.bytes)
    level = POLICY.level(replace(reached, inodes_free=missing.inodes), world)
    assert level in {Level.OK, Level.WARN}


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"target_points": 0.0}, "target_points must be larger than zero"),
        ({"target_points": 80.0}, "the target lies above the disk"),
        ({"target_bytes": 0}, "target_bytes must be larger than zero"),
        ({"inodes_target_percent": 8.0}, "inodes_target_percent must be larger than inodes_act_percent"),
        ({"inodes_target_percent": 101.0}, "inodes_target_percent must be larger than inodes_act_percent, and below"),
        ({"sustain_samples": 0}, "sustain_samples must be larger than zero"),
        ({"cooldown": timedelta(0)}, "cooldown must be longer than zero"),
        ({"min_age": timedelta(minutes=1)}, "critical_min_age must be at most min_age"),
        ({"build_cache_floor_bytes": -1}, "build_cache_floor_bytes must be 0 or more"),
        ({"build_cache_unused_for": timedelta(seconds=1.5)}, "must be whole seconds"),
    ],
)
def test_a_run_that_makes_no_sense_is_refused_by_name(knobs: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        DiskPressure(**knobs)
