"""What holds for the networks, volumes and build cache of every host that there could be."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from collectors.facts import NO_LABELS, ContainerState, Facts, SubjectKind
from policies.build_cache import BuildCache
from policies.containers import ExitedContainers
from policies.networks import UnusedNetworks
from policies.policy import Removal
from policies.volumes import UnusedVolumes
from tests.policies.build import compose, container, exited, facts, network, object_id, record, volume

STORES = (UnusedNetworks(), UnusedVolumes(i_understand_data_loss=True), BuildCache(floor_bytes=1 << 30))
WEEK, MONTH = timedelta(days=7), timedelta(days=30)

# Most of what is drawn is old and plain, else next to nothing would ever be removed and the laws prove nothing.
spans = st.sampled_from([2 * MONTH, 2 * MONTH, MONTH, WEEK, timedelta(0), timedelta(hours=167)])
labels = st.sampled_from(
    [NO_LABELS, NO_LABELS, compose("p", "s"), {"shipkeeper.protect": "1"}, {"shipkeeper.ephemeral": "true"}]
)
containers = st.builds(
    container,
    st.sampled_from(["c0", "c1"]),
    state=st.sampled_from(ContainerState),
    labels=st.sampled_from([NO_LABELS, compose("p", "other")]),
    networks=st.sampled_from([(), ("n0",), (object_id("n1"),)]),
    volumes=st.sampled_from([(), ("v0",), ("a" * 64, "v1")]),
)
networks = st.builds(
    network,
    st.sampled_from(["n0", "n1", "n2", "host"]),
    scope=st.sampled_from(["local", "local", "local", "swarm"]),
    labels=labels,
    endpoints=st.sampled_from([0, 0, 1]),
    watched_for=spans,
)
volumes = st.builds(
    volume,
    st.sampled_from(["v0", "v1", "v2", "a" * 64, "b" * 64]),
    labels=labels,
    options=st.sampled_from([NO_LABELS, NO_LABELS, {"device": "/srv"}]),
    dangling=st.sampled_from([True, True, True, False, None]),
    references=st.sampled_from([0, 0, None, 1]),
    watched_for=spans,
)
records = st.builds(
    record,
    unused=spans,
    in_use=st.sampled_from([False] * 9 + [True]),
    shared=st.booleans(),
    size_bytes=st.none() | st.integers(0, 10**12),
)
hosts = st.builds(
    facts,
    containers=st.lists(containers, max_size=2, unique_by=lambda each: each.id),
    networks=st.lists(networks, max_size=3, unique_by=lambda each: each.id),
    volumes=st.lists(volumes, max_size=3, unique_by=lambda each: each.name),
    build_records=st.lists(records, max_size=3),
    clock_set_ago=st.none() | spans,
)


def removals(world: Facts) -> list[Removal]:
    verdicts = [verdict for policy in STORES for verdict in policy.decide(world)]
    return [verdict for verdict in verdicts if isinstance(verdict, Removal)]


@given(hosts)
def test_every_network_and_volume_gets_one_answer_with_a_reason(world: Facts) -> None:
    answers = [verdict for policy in STORES for verdict in policy.decide(world)]
    objects = [*(each.ref for each in world.networks), *(each.ref for each in world.volumes)]
    assert [answer.object for answer in answers][: len(objects)] == objects
    assert len(answers) == len(objects) + bool(world.build_records)
    assert all(answer.reason for answer in answers)


@given(hosts)
def test_no_network_goes_that_is_referred_to_protected_or_not_watched_for_long_enough(world: Facts) -> None:
    gone = {each.object.id for each in removals(world)}
    used = {name for each in world.containers for name in each.networks}
    composed = any(each.compose_project for each in world.containers)
    for each in world.networks:
        if each.id in gone:
            assert not {each.id, each.name} & used
            assert (each.scope, each.endpoints) == ("local", 0)
            assert each.name != "host"
            assert each.watched_for >= WEEK
            assert "shipkeeper.protect" not in each.labels
            assert not (composed and "com.docker.compose.project" in each.labels)


@given(hosts)
def test_no_volume_goes_that_is_used_named_protected_or_not_watched_for_long_enough(world: Facts) -> None:
    gone = {each.object.id for each in removals(world)}
    used = {name for each in world.containers for name in each.volumes}
    for each in world.volumes:
        if each.name in gone:
            assert each.name not in used
            assert each.dangling is True
            assert not each.references
            assert not each.options
            assert each.watched_for >= MONTH
            assert len(each.name) == 64 or "shipkeeper.ephemeral" in each.labels
            assert "shipkeeper.protect" not in each.labels


@given(hosts)
def test_the_build_cache_is_not_pruned_under_a_build_or_after_the_clock_was_set(world: Facts) -> None:
    if any(each.object.kind is SubjectKind.BUILD_CACHE for each in removals(world)):
        assert not any(each.in_use for each in world.build_records)
        assert world.clock_set_ago is None or world.clock_set_ago >= WEEK


@given(st.timedeltas(timedelta(0), timedelta(days=4000)), spans, st.integers(0, 3))
def test_no_container_is_older_than_we_have_watched_it_stopped(ago: timedelta, watched: timedelta, code: int) -> None:
    world = facts(containers=[exited("job", ago=ago, code=code, stopped_for=watched)])
    for verdict in ExitedContainers().decide(world):
        if isinstance(verdict, Removal):
            assert min(ago, watched) >= timedelta(hours=72)
