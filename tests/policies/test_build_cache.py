from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.facts import Facts, SubjectKind
from collectors.storage_facts import BuildPrune
from policies.build_cache import BuildCache
from policies.policy import Removal
from tests.policies.build import DAY, GIB, HOUR, MINUTE, NOW, facts, filesystem, kept, record, removed

POLICY = BuildCache(floor_bytes=2 * GIB)
NAME = "records unused for 168 h"


def cache(*unused: timedelta, **changes: object) -> Facts:
    """Give a host whose records were last used so long ago."""
    return facts(build_records=[record(str(n), unused=age, **changes) for n, age in enumerate(unused)])


def removal(policy: BuildCache, world: Facts) -> Removal:
    [verdict] = policy.decide(world)
    assert isinstance(verdict, Removal)
    return verdict


def test_what_no_build_has_used_for_a_week_goes_down_to_the_floor() -> None:
    world = replace(cache(*[30 * DAY] * 5, HOUR), filesystems=(filesystem(),))
    assert removed(POLICY, world) == {NAME: "5 of 6 records, 2.0 GiB of cache stay"}
    found = removal(POLICY, world)
    assert (found.size_bytes, found.filesystem, found.policy) == (4 * GIB, "/", "build_cache")


def test_the_terms_of_the_prune_are_what_an_approval_approves() -> None:
    ref = removal(POLICY, cache(*[30 * DAY] * 5)).object
    assert ref.kind is SubjectKind.BUILD_CACHE
    assert BuildPrune.of(ref.id) == BuildPrune(unused_for=timedelta(hours=168), floor_bytes=2 * GIB)
    other = removal(BuildCache(floor_bytes=0), cache(*[30 * DAY] * 5)).object
    assert other.id != ref.id


@given(
    st.builds(
        BuildPrune,
        unused_for=st.integers(1, 2**28).map(lambda seconds: timedelta(seconds=seconds)),
        floor_bytes=st.integers(0, 2**50),
        all_records=st.booleans(),
    )
)
def test_the_terms_are_read_back_as_they_were(prune: BuildPrune) -> None:
    assert BuildPrune.of(prune.ref.id) == prune


@pytest.mark.parametrize("text", ["", "a:b", "some:1s:2B", "all:1s:2B:3"])
def test_terms_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        BuildPrune.of(text)


def test_without_a_cache_there_is_nothing_to_say() -> None:
    assert list(POLICY.decide(facts())) == []


def test_a_build_that_runs_postpones_it() -> None:
    world = cache(*[30 * DAY] * 5)
    busy = replace(world, build_records=(*world.build_records, record("busy", in_use=True)))
    assert kept(POLICY, busy) == {NAME: "in use: a build seems to run, it holds 1 record"}


def test_what_is_young_stays() -> None:
    assert kept(POLICY, cache(DAY, 6 * DAY)) == {NAME: "too recent: no record has been unused for 7 days"}


def test_a_cache_within_its_floor_stays() -> None:
    assert kept(POLICY, cache(30 * DAY, 30 * DAY)) == {NAME: "within its floor: 2.0 GiB of cache stay"}


def test_what_images_share_and_what_buildkit_keeps_for_itself_goes_only_when_asked_for() -> None:
    ours = [record("i", type="internal"), record("f", type="frontend"), record("s", shared=True)]
    assert removed(BuildCache(floor_bytes=0), facts(build_records=ours)) == {}
    everything = BuildCache(floor_bytes=0, all_records=True)
    assert BuildPrune.of(removal(everything, facts(build_records=ours)).object.id).all_records


def test_a_wrong_wall_clock_makes_no_record_old() -> None:
    later = replace(cache(*[HOUR] * 5), now=NOW + 365 * DAY)
    assert removed(POLICY, later), "by their dates they are a year old"
    assert kept(POLICY, replace(later, clock_set_ago=HOUR))[NAME].startswith(
        "age unknown: the clock was set forward 1 h"
    )
    assert kept(POLICY, replace(later, clock_set_ago=timedelta(0)))[NAME].startswith("age unknown: ")
    assert removed(POLICY, replace(later, clock_set_ago=7 * DAY)), "as long ago as they have to be unused"


def test_a_clock_that_was_set_back_keeps_them() -> None:
    assert removed(POLICY, replace(cache(*[30 * DAY] * 5), now=NOW - 365 * DAY)) == {}


def test_a_record_without_a_date_of_use_that_docker_would_take_too_early_stops_it() -> None:
    fresh = record("fresh", last_used_at=None, created_at=NOW - MINUTE)
    world = facts(build_records=[*cache(*[30 * DAY] * 5).build_records, fresh])
    assert kept(POLICY, world)[NAME].startswith("too recent: 1 record would go")
    old = replace(fresh, created_at=NOW - 30 * DAY)
    assert removed(POLICY, facts(build_records=[*cache(*[30 * DAY] * 5).build_records, old]))


def test_a_size_that_docker_did_not_measure_makes_the_gain_unknown() -> None:
    assert removal(POLICY, cache(*[30 * DAY] * 5, size_bytes=None)).size_bytes is None


def test_podman_is_left_alone() -> None:
    world = cache(*[30 * DAY] * 5)
    assert removed(POLICY, replace(world, engine=replace(world.engine, podman=True))) == {}


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"unused_for": timedelta(0)}, "unused_for must be longer than zero"),
        ({"unused_for": timedelta(seconds=1.5)}, "whole seconds"),
        ({"floor_bytes": -1}, "floor_bytes must be 0 or more"),
    ],
)
def test_knobs_that_make_no_sense_are_refused(knobs: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        BuildCache(**knobs)  # type: ignore[arg-type]  # the wrong values are the point


@given(
    st.lists(
        st.builds(
            record,
            st.text("abc", min_size=1, max_size=3),
            unused=st.timedeltas(timedelta(0), 20 * DAY),
            in_use=st.booleans(),
            shared=st.booleans(),
            size_bytes=st.integers(0, 10 * GIB),
        ),
        max_size=8,
    ),
    st.integers(0, 20 * GIB),
)
def test_it_never_promises_more_than_lies_above_the_floor_and_never_runs_into_a_build(
    records: list[object], floor: int
) -> None:
    world = facts(build_records=records)
    for found in BuildCache(floor_bytes=floor).decide(world):
        if isinstance(found, Removal):
            ours = sum(each.size_bytes or 0 for each in world.build_records if not each.shared)
            assert found.size_bytes is not None
            assert 0 < found.size_bytes <= ours - floor
            assert not any(each.in_use for each in world.build_records)
