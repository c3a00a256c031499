"""What may go from a full disk: never what is protected, the cheapest to lose first, no more than is needed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.facts import Facts, SourceName, SubjectKind, Unknown
from collectors.storage_facts import BuildPrune
from policies.disk_pressure import DiskPressure
from policies.gauges import Missing
from policies.policy import Removal
from policies.relief import Gain, stalled
from tests.policies.build import DAY, GIB, HOUR, MIB, MINUTE, NOW, container, facts, filesystem, image, record

if TYPE_CHECKING:
    from collectors.facts import Image

POLICY = DiskPressure()
LOW = filesystem(available=10 * GIB)
"""Of 100 GiB: at the act level, 10 GiB short of its target."""
CRITICAL = filesystem(available=4 * GIB)


def world(**changes: Any) -> Facts:
    """Give a host whose one disk is too full, that we have watched for a month."""
    return facts(**({"filesystems": [LOW], "pressed": frozenset({"/"}), "watched": 30 * DAY} | changes))


def pulled(tag: str, *, idle: int = 10, size: int = GIB, **changes: Any) -> Image:
    """Give an image that a registry has, tagged and seen last so many days ago."""
    plain: dict[str, Any] = {"last_tagged_at": NOW - idle * DAY, "digests": (f"{tag}@sha256:1",), "unique_bytes": size}
    return image(tag, **(plain | {"size_bytes": size} | changes))


def going(of: Facts, policy: DiskPressure = POLICY) -> list[Removal]:
    return [each for each in policy.decide(of) if isinstance(each, Removal)]


def names(of: Facts, policy: DiskPressure = POLICY) -> list[str]:
    return [each.object.name for each in going(of, policy)]


def test_nothing_goes_from_a_disk_that_is_not_pressed() -> None:
    assert names(world(images=[pulled("a:1")])) == ["a:1"]
    assert names(world(images=[pulled("a:1")], pressed=frozenset())) == []


def test_the_cheapest_to_lose_goes_first() -> None:
    dangling = image(unique_bytes=MIB)
    of = world(images=[pulled("a:1", idle=40), dangling], build_records=[record(unused=3 * DAY, size_bytes=15 * GIB)])
    assert [each.object.kind for each in going(of)] == [
        SubjectKind.BUILD_CACHE,
        SubjectKind.IMAGE,
        SubjectKind.IMAGE,
    ]
    assert names(of)[1:] == [dangling.ref.name, "a:1"]


def test_images_go_by_the_rank_of_their_idle_time_and_half_the_rank_of_what_only_they_hold() -> None:
    old, large, young = pulled("old:1", idle=90, size=5 * MIB), pulled("large:1", idle=80, size=20 * GIB), pulled("y:1")
    assert names(world(images=[young, old, large])) == ["large:1", "old:1", "y:1"]


def test_images_that_are_about_as_large_go_by_their_idle_time_alone() -> None:
    images = [pulled(f"app:{number}", idle=90 - number, size=(600 + number) * MIB) for number in range(6)]
    assert names(world(images=images)) == [image.ref.name for image in images]


def test_what_frees_nothing_by_itself_goes_last() -> None:
    shared, own = pulled("shared:1", idle=90, unique_bytes=0), pulled("own:1", idle=2, size=MIB)
    assert names(world(images=[shared, own])) == ["own:1", "shared:1"]


def test_of_the_build_cache_goes_only_what_is_missing_even_while_a_build_runs() -> None:
    records = [record(str(number), unused=3 * DAY, size_bytes=10 * GIB) for number in range(4)]
    busy = record("busy", in_use=True, size_bytes=GIB)
    [removal] = going(world(build_records=[*records, busy]))
    assert BuildPrune.of(removal.object.id) == BuildPrune(unused_for=2 * DAY, floor_bytes=31 * GIB)
    assert removal.size_bytes == 10 * GIB


def test_the_build_cache_keeps_its_floor_or_a_tenth_of_the_disk_where_that_is_less() -> None:
    [removal] = going(world(build_records=[record(unused=3 * DAY, size_bytes=15 * GIB)]))
    assert BuildPrune.of(removal.object.id).floor_bytes == 10 * GIB
    assert going(world(build_records=[record(unused=3 * DAY, size_bytes=9 * GIB)])) == []


def test_where_inodes_are_missing_the_build_cache_goes_down_to_its_floor() -> None:
    low = filesystem(inodes=1000, inodes_free=50)
    [removal] = going(world(filesystems=[low], build_records=[record(unused=3 * DAY, size_bytes=30 * GIB)]))
    assert BuildPrune.of(removal.object.id).floor_bytes == 10 * GIB


def test_what_comes_after_enough_is_spare() -> None:
    images = [pulled(f"app:{number}", idle=90 - number, size=6 * GIB) for number in range(4)]
    assert [each.spare for each in going(world(images=images))] == [False, False, True, True]


def test_of_inodes_nobody_knows_how_many_an_object_gives_so_nothing_is_spare() -> None:
    low = filesystem(inodes=1000, inodes_free=50)
    images = [pulled(f"app:{number}", size=60 * GIB) for number in range(3)]
    assert [each.spare for each in going(world(filesystems=[low], images=images))] == [False] * 3


@pytest.mark.parametrize(
    ("disk", "idle", "goes"),
    [(LOW, 25 * HOUR, True), (LOW, 23 * HOUR, False), (CRITICAL, 61 * MINUTE, True), (CRITICAL, 59 * MINUTE, False)],
)
def test_only_at_the_critical_level_an_hour_is_enough(disk: Any, idle: Any, goes: bool) -> None:  # noqa: FBT001
    young = pulled("a:1", last_tagged_at=NOW - idle, watched_for=idle)
    assert bool(names(world(filesystems=[disk], images=[young]))) is goes


def test_on_a_disk_that_was_full_before_we_came_the_date_of_the_tag_counts() -> None:
    found = pulled("a:1", watched_for=3 * MINUTE)
    assert names(world(images=[found], watched=4 * MINUTE)) == ["a:1"]
    assert names(world(images=[found], watched=30 * DAY)) == [], "it came, or was in use, while we watched"
    assert names(world(images=[found], watched=None)) == []
    assert names(world(images=[found], watched=4 * MINUTE, clock_set_ago=MINUTE)) == [], "no date is believed then"
    assert names(world(images=[replace(found, inspected=False)], watched=4 * MINUTE)) == []


@pytest.mark.parametrize(
    "kept",
    [
        pulled("a:1", labels={"shipkeeper.protect": "true"}),
        pulled("a:1", digests=()),
        pulled("a:1", tags=tuple(f"a:{number}" for number in range(33))),
        pulled("a:1", id="sha256:" + "9" * 64),
    ],
    ids=["label", "never pushed", "many tags", "used"],
)
def test_pressure_lifts_no_protection(kept: Image) -> None:
    user = container("old", image_id="sha256:" + "9" * 64, image="other")
    assert names(world(filesystems=[CRITICAL], images=[kept], containers=[user])) == []


def test_what_was_only_built_here_goes_where_its_owner_says_so() -> None:
    built = world(images=[pulled("a:1", digests=())])
    assert names(built, replace(POLICY, include_local_builds=True)) == ["a:1"]


def test_an_image_bears_all_its_tags_to_the_end() -> None:
    [removal] = going(world(images=[pulled("a:1", tags=("a:1", "b:1"))]))
    assert removal.tags == ("a:1", "b:1")
    assert removal.reason == "/ is too full: unused for 10 days, goes with all its tags: a:1, b:1"


def test_only_what_lies_on_the_full_disk_counts() -> None:
    data = replace(LOW, mountpoint="/data")
    os = filesystem(mountpoint="/", device=2, available=90 * GIB, roles=("containerd-root", "os-root"))
    both = {"pressed": frozenset({"/", "/data"}), "images": [pulled("a:1", pull_seen=True)]}
    overlay = world(filesystems=[data, os], **both)
    assert [each.filesystem for each in going(overlay)] == ["/data"]
    containerd = replace(overlay.engine, containerd_store=True)
    assert going(world(filesystems=[data, os], engine=containerd, **both)) == []
    full_os = replace(os, used_bytes=90 * GIB, available_bytes=10 * GIB)
    moved = world(filesystems=[replace(data, available_bytes=60 * GIB), full_os], engine=containerd, **both)
    assert [each.filesystem for each in going(moved)] == ["/"]


def test_what_cannot_be_read_does_not_go() -> None:
    of = world(images=[pulled("a:1")], build_records=[record(unused=3 * DAY, size_bytes=30 * GIB)])
    for source, left in ((SourceName.IMAGES, ["records unused for 48 h"]), (SourceName.BUILD_CACHE, ["a:1"])):
        unread = {**of.sources, source: Unknown("broken", NOW)}
        assert names(replace(of, sources=unread)) == left
    assert names(replace(of, sources={**of.sources, SourceName.DOCKER: Unknown("down", NOW)})) == []


@given(
    st.lists(
        st.builds(
            lambda number, idle, unique, tagged, pushed, protected: pulled(
                f"app:{number}",
                name=f"{number}-{idle}",
                idle=idle,
                unique_bytes=unique,
                tags=(f"app:{number}",) if tagged else (),
                digests=("app@sha256:1",) if pushed else (),
                labels={"shipkeeper.protect": ""} if protected else {},
            ),
            st.integers(0, 1000),
            st.integers(0, 60),
            st.none() | st.integers(0, 10 * GIB),
            st.booleans(),
            st.booleans(),
            st.booleans(),
        ),
        max_size=12,
        unique_by=lambda each: each.id,
    ),
    st.integers(0, 20 * GIB),
)
def test_whatever_lies_there_it_is_allowed_and_no_more_than_needed(images: list[Image], available: int) -> None:
    disk = filesystem(available=available)
    of = world(filesystems=[disk], images=images)
    removals = going(of)
    by_id = {each.id: each for each in images}
    missing = POLICY.missing(disk, of).bytes
    assert len({each.object.id for each in removals}) == len(removals)
    for each in removals:
        gone = by_id[each.object.id]
        assert not gone.labels
        assert gone.dangling or gone.digests
        assert gone.last_tagged_at is not None
        assert NOW - gone.last_tagged_at >= HOUR
    needed = [each for each in removals if not each.spare]
    assert removals[: len(needed)] == needed
    assert sum(each.size_bytes or 0 for each in needed[:-1]) < max(missing, 1)
    assert not removals or missing


NEED = Missing(bytes=10 * GIB)


@pytest.mark.parametrize(
    ("gains", "missing", "over"),
    [
        ([(GIB, 0)] * 2, NEED, False),
        ([(GIB, 0)] * 3, NEED, True),
        ([(GIB, GIB // 5)] * 3, NEED, False),
        ([(GIB, -GIB)] * 3, NEED, True),
        ([(GIB, GIB), (GIB, 0), (GIB, 0), (GIB, 0)], NEED, True),
        ([(MIB, 0)] * 3, NEED, False),
        ([(0, 0), (None, 0), (0, 0)], NEED, True),
        ([(0, GIB), (None, 0), (0, 0)], NEED, False),
        ([(GIB, GIB)] * 3, Missing(inodes=1000), True),
    ],
)
def test_three_removals_that_gave_next_to_nothing_are_enough(
    gains: list[tuple[int | None, int]],
    missing: Missing,
    over: bool,  # noqa: FBT001
) -> None:
    made = [Gain(claimed_bytes=claimed, bytes=freed, inodes=0) for claimed, freed in gains]
    assert stalled(made, missing, 100 * GIB) is over


def test_inodes_that_come_back_are_progress() -> None:
    made = [Gain(claimed_bytes=0, bytes=0, inodes=10)] * 3
    assert not stalled(made, Missing(inodes=1000), 100 * GIB)
    assert stalled(made, Missing(inodes=10_000), 100 * GIB)
