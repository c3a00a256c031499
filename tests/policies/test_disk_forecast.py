from __future__ import annotations

from datetime import timedelta

import pytest

from collectors.facts import DiskKind, DiskUse
from policies.disk_forecast import DiskForecast
from policies.disk_writable import DiskReadOnly
from policies.policy import Condition, ConditionState, Severity
from tests.policies.build import GIB, HOUR, MIB, conditions, container, facts, filesystem, log_size

BAD, OK, BETWEEN = ConditionState.BAD, ConditionState.OK, ConditionState.BETWEEN
[PREDICTED] = DiskForecast.alerts
[READ_ONLY] = DiskReadOnly.alerts
DISK = filesystem(size=1000 * GIB, available=100 * GIB)


def judge(full_in: timedelta, **changes: object) -> Condition:
    rate = DISK.available_bytes / full_in.total_seconds()
    [found] = conditions(DiskForecast(), facts(filesystems=[DISK], growth={"/": rate}, **changes), PREDICTED)
    return found


@pytest.mark.parametrize(
    ("hours", "expected", "severity"),
    [
        (3, BAD, Severity.CRITICAL),
        (5, BAD, Severity.WARNING),
        (23, BAD, Severity.WARNING),
        (25, BETWEEN, Severity.WARNING),
        (47, BETWEEN, Severity.WARNING),
        (49, OK, Severity.WARNING),
    ],
)
def test_a_day_is_a_warning_four_hours_are_critical_and_two_days_are_well(
    hours: int, expected: ConditionState, severity: Severity
) -> None:
    found = judge(hours * HOUR)
    assert (found.state, found.severity) == (expected, severity)


def test_what_hardly_grows_is_no_trend_however_full_it_is() -> None:
    full = filesystem(size=1000 * GIB, available=100 * MIB)
    rate = GIB / timedelta(hours=6).total_seconds()
    [found] = conditions(DiskForecast(), facts(filesystems=[full], growth={"/": rate}), PREDICTED)
    assert found.state is OK


def test_what_empties_is_well_and_of_what_is_not_known_nothing_is_said() -> None:
    [found] = conditions(DiskForecast(), facts(filesystems=[DISK], growth={"/": -1e9}), PREDICTED)
    assert (found.state, found.reason) == (OK, "it no longer fills, 100.0 GiB left")
    assert conditions(DiskForecast(), facts(filesystems=[DISK]), PREDICTED) == []
    others = filesystem(roles=("state",))
    assert conditions(DiskForecast(), facts(filesystems=[others], growth={"/": 1e9}), PREDICTED) == []


def test_it_says_what_takes_the_space_the_largest_first_and_whose_log_it_is() -> None:
    web = container("web")
    uses = (
        DiskUse(kind=DiskKind.CONTAINER_LOGS, mountpoint="/", size_bytes=10 * GIB),
        DiskUse(kind=DiskKind.IMAGES, mountpoint="/", size_bytes=61 * GIB, reclaimable_bytes=38 * GIB),
        DiskUse(kind=DiskKind.VOLUMES, mountpoint="/data", size_bytes=99 * GIB),
    )
    found = judge(HOUR, disk_uses=uses, containers=[web], logs=[log_size(web, 9 * GIB)])
    assert found.details == ("images 61.0 GiB (38.0 GiB unused) · container logs 10.0 GiB (web alone 9.0 GiB)",)


def test_times_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="critical_within must be at most warn_within"):
        DiskForecast(critical_within=timedelta(days=2))


@pytest.mark.parametrize(("read_only", "states"), [(True, [BAD]), (False, [OK]), (None, [])])
def test_a_filesystem_that_nobody_can_write_to_is_told(
    read_only: bool | None,  # noqa: FBT001
    states: list[ConditionState],
) -> None:
    world = facts(filesystems=[filesystem(read_only=read_only), filesystem(mountpoint="/x", roles=("state",))])
    assert [each.state for each in conditions(DiskReadOnly(), world, READ_ONLY)] == states
