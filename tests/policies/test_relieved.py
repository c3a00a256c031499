"""What people are told of cleanups of full disks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from collectors.facts import DiskKind, DiskUse, Facts, SourceName, Unknown
from collectors.storage_facts import ReliefEnd, Relieved
from policies.bounds import Bounds
from policies.disk_pressure import DiskPressure
from policies.policy import ConditionState, Severity
from policies.relieved import ACTED, FOREIGN, SHORT, Reliefs
from policies.selection import parse
from tests.policies.build import (
    DAY,
    GIB,
    MINUTE,
    NOW,
    conditions,
    container,
    facts,
    filesystem,
    image,
    log_size,
    occurrences,
    state,
    volume,
)

if TYPE_CHECKING:
    from collectors.facts import Image

POLICY = Reliefs(pressure=DiskPressure())
BAD, OK, BETWEEN = ConditionState.BAD, ConditionState.OK, ConditionState.BETWEEN
ROLES = ("data-root", "volumes", "logs")


def run(end: ReliefEnd, **changes: Any) -> Relieved:
    plain = Relieved(
        mountpoint="/", at=NOW - MINUTE, end=end, removed=2, freed_bytes=GIB, freed_inodes=0, left_bytes=10 * GIB
    )
    return replace(plain, **changes)


def pulled(tag: str = "a:1") -> Image:
    return image(tag, last_tagged_at=NOW - 9 * DAY, digests=(f"{tag}@sha256:1",), unique_bytes=GIB, size_bytes=GIB)


def full(**changes: Any) -> Facts:
    plain = {
        "filesystems": [filesystem(available=10 * GIB, roles=ROLES)],
        "pressed": frozenset({"/"}),
        "watched": 30 * DAY,
        "images": [pulled()],
    }
    return facts(**(plain | changes))


def both(world: Facts, policy: Reliefs = POLICY) -> tuple[ConditionState, ConditionState]:
    return state(policy, world, SHORT), state(policy, world, FOREIGN)


def test_a_cleanup_that_is_still_to_come_is_no_news() -> None:
    assert both(full()) == (BETWEEN, BETWEEN)


@pytest.mark.parametrize("end", sorted(set(ReliefEnd) - {ReliefEnd.TARGET, ReliefEnd.NO_PROGRESS}))
def test_a_run_that_ends_short_of_its_target_says_why(end: ReliefEnd) -> None:
    world = full(reliefs=[run(end)])
    assert both(world) == (BAD, BETWEEN)
    [condition] = conditions(POLICY, world, SHORT)
    assert condition.reason.startswith("1.0 GiB freed, 10.0 GiB left: ")


def test_a_run_that_freed_next_to_nothing_says_that_the_space_is_not_dockers() -> None:
    assert both(full(reliefs=[run(ReliefEnd.NO_PROGRESS)])) == (BETWEEN, BAD)


def test_a_disk_that_fills_again_after_its_target_waits_for_the_next_run() -> None:
    assert both(full(reliefs=[run(ReliefEnd.TARGET)])) == (BETWEEN, BETWEEN)


@pytest.mark.parametrize("end", ReliefEnd)
def test_a_disk_that_has_come_to_its_target_is_well_whoever_made_the_room(end: ReliefEnd) -> None:
    assert both(full(reliefs=[run(end)], pressed=frozenset())) == (OK, OK)


def test_a_disk_of_which_nothing_may_go_is_told_in_every_mode() -> None:
    world = full(images=[pulled("a:1"), image("built:1"), pulled("b:1")], containers=[container("web", image="b:1")])
    world = replace(world, images=(replace(pulled("a:1"), last_tagged_at=NOW - MINUTE), *world.images[1:]))
    assert both(world) == (BAD, BETWEEN)
    [condition] = conditions(POLICY, world, SHORT)
    assert condition.reason == "10.0 GiB left, and nothing that lies there may go"
    assert condition.details[0].startswith("Images that stay: 1 in use, 1 protected, 1 too recent; ")


def test_what_the_owner_leaves_out_may_not_go_either() -> None:
    without = replace(POLICY, pressure=replace(POLICY.pressure, bounds=Bounds(in_order=True, exclude=(parse("a*"),))))
    assert both(full(), without) == (BAD, BETWEEN)


def test_while_docker_cannot_be_read_nobody_knows_what_may_go() -> None:
    world = full(images=[])
    blind = replace(world, sources={**world.sources, SourceName.IMAGES: Unknown("no engine", NOW)})
    assert both(blind) == (BETWEEN, BETWEEN)


@pytest.mark.parametrize(("other", "verdict"), [(46, (BETWEEN, BAD)), (44, (BAD, BETWEEN))])
def test_what_is_mostly_not_dockers_is_told_as_that_without_a_run(
    other: int, verdict: tuple[ConditionState, ConditionState]
) -> None:
    uses = [DiskUse(kind=DiskKind.OTHER, mountpoint="/", size_bytes=other * GIB)]
    assert both(full(images=[], disk_uses=uses)) == verdict


def test_it_names_what_takes_the_space_the_largest_first() -> None:
    web = container("web", size_bytes=GIB)
    world = full(
        reliefs=[run(ReliefEnd.NO_PROGRESS)],
        containers=[web],
        volumes=[volume("pgdata", size_bytes=30 * GIB), volume("small", size_bytes=1)],
        logs=[log_size(web, 3 * GIB)],
        disk_uses=[
            DiskUse(kind=DiskKind.IMAGES, mountpoint="/", size_bytes=9 * GIB, reclaimable_bytes=2 * GIB),
            DiskUse(kind=DiskKind.OTHER, mountpoint="/", size_bytes=46 * GIB),
            DiskUse(kind=DiskKind.VOLUMES, mountpoint="/data", size_bytes=99 * GIB),
        ],
    )
    [condition] = conditions(POLICY, world, FOREIGN)
    assert condition.details == (
        "It holds: not Docker's 46.0 GiB · images 9.0 GiB (2.0 GiB unused)",
        "The largest: volume pgdata 30.0 GiB, log of web 3.0 GiB, layer of web 1.0 GiB",
    )


def test_it_is_as_bad_as_the_disk_is_full() -> None:
    disk = filesystem(available=2 * GIB, roles=ROLES)
    [warning] = conditions(POLICY, full(reliefs=[run(ReliefEnd.CAPPED)]), SHORT)
    [critical] = conditions(POLICY, full(reliefs=[run(ReliefEnd.CAPPED)], filesystems=[disk]), SHORT)
    assert (warning.severity, critical.severity) == (Severity.WARNING, Severity.CRITICAL)


def test_a_run_that_removed_something_is_told_once_with_what_it_came_to() -> None:
    world = full(reliefs=[run(ReliefEnd.TARGET)], pressed=frozenset())
    [acted] = occurrences(POLICY, world, ACTED)
    assert (acted.at, acted.reason) == (NOW - MINUTE, "1.0 GiB freed, 10.0 GiB left: the target is reached")
    assert occurrences(POLICY, full(reliefs=[run(ReliefEnd.EXHAUSTED, removed=0)]), ACTED) == []


def test_a_filesystem_without_dockers_data_is_nobodys_business() -> None:
    assert list(POLICY.decide(full(filesystems=[filesystem(roles=("os-root",))]))) == []
