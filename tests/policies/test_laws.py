"""What holds for every host that there could be."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from collectors.facts import (
    COMPOSE_ONEOFF,
    NO_LABELS,
    ContainerState,
    EngineState,
    Facts,
    Health,
    HealthStatus,
    Image,
    Intent,
    OomKill,
    Protection,
    RestartPolicy,
    SourceName,
    SubjectKind,
    container_subject,
)
from collectors.gpu_facts import Gpus
from collectors.own_facts import HostOom
from daemon.decide import decide
from policies.catalogue import BY_NAME
from policies.container_states import ContainerStates
from policies.containers import ExitedContainers
from policies.deaths import Crashes
from policies.disk_forecast import DiskForecast
from policies.disk_pressure import DiskPressure
from policies.disk_writable import DiskReadOnly
from policies.engine import EngineDown, EngineSlow, EngineStuck, EventsStale
from policies.gpu_containers import ContainerGpus
from policies.gpu_devices import GpuDevices
from policies.gpu_refused import GpuRefused
from policies.gpu_usage import GpuUsage
from policies.gpu_xids import GpuXids
from policies.health import ContainerHealth
from policies.health_turns import HealthFlapping
from policies.host_oom import HostOutOfMemory
from policies.images import DanglingImages
from policies.images_unused import UnusedImages
from policies.logs import LargeLogs
from policies.memory import ContainerMemory, HostMemoryLow
from policies.nvml import NvmlUnavailable
from policies.own_state import OwnWorkDone, StateUnsaved
from policies.policy import Condition, Occurrence, Policy, Removal
from policies.relieved import Reliefs
from policies.singly import asked_singly, only
from policies.store_place import StorePlace
from tests.policies.build import NOW, compose, container, death, facts, filesystem, image, object_id
from tests.policies.build_gpu import any_gpus

UNUSED = UnusedImages(unused_for=timedelta(hours=24), keep_last_per_repository=1)
CLEANUPS: tuple[Policy, ...] = (ExitedContainers(), DanglingImages(), UNUSED)
OF_GPUS: tuple[Policy, ...] = (GpuDevices(), GpuXids(), GpuUsage(), ContainerGpus(), GpuRefused(), NvmlUnavailable())
JUDGES: tuple[Policy, ...] = (
    *(Crashes(), ContainerHealth(), HealthFlapping(), ContainerStates(), ContainerMemory(), HostMemoryLow()),
    *(EngineDown(), EngineSlow(), EventsStale(), DiskPressure(), DiskForecast(), DiskReadOnly(), LargeLogs()),
    *(StateUnsaved(), OwnWorkDone(), HostOutOfMemory()),
    *(Reliefs(pressure=DiskPressure()), EngineStuck(), StorePlace()),
    *OF_GPUS,
)
POLICIES = CLEANUPS + JUDGES

NAMES = [f"c{n}" for n in range(4)]
IMAGES = [f"i{n}" for n in range(4)]
TAGS = [f"{name}:{n}" for name in (*IMAGES[:2], "r") for n in range(3)]

# Most of what is drawn is old and plain, else next to nothing would ever be removed and the laws prove nothing.
long_ago = st.timedeltas(timedelta(days=8), timedelta(days=20))
spans = st.one_of(
    long_ago,
    long_ago,
    st.timedeltas(timedelta(0), timedelta(days=20)),
    st.sampled_from([timedelta(hours=h) for h in (24, 72, 168)]),
)
moments = st.one_of(
    long_ago.map(lambda span: NOW - span),
    spans.map(lambda span: NOW - span),
    st.sampled_from([NOW + timedelta(seconds=1), datetime(1, 1, 1, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC)]),
    st.datetimes(timezones=st.just(UTC)),
)
labels = st.just(NO_LABELS) | st.fixed_dictionaries(
    {},
    optional={
        "shipkeeper.protect": st.sampled_from(["true", "false", ""]),
        "shipkeeper.keep-until": st.sampled_from(["2026-11-23T16:02:01Z", "2020-01-01T00:00:00Z", "soon"]),
        "shipkeeper.ttl": st.sampled_from(["1h", "30d", "x"]),
        "shipkeeper.alerts": st.sampled_from(["off", "on"]),
        "shipkeeper.expect": st.sampled_from(["running", "batch", "x"]),
        COMPOSE_ONEOFF: st.sampled_from(["True", "False"]),
    },
)
compose_labels = st.builds(compose, st.sampled_from("pq"), st.sampled_from("st"), st.integers(1, 2)) | st.just(
    NO_LABELS
)
all_labels = st.builds(lambda mine, composed: {**mine, **composed}, labels, compose_labels)
restart_policies = st.builds(RestartPolicy, st.sampled_from(["no", "no", "always", "unless-stopped", "on-failure"]))
exit_codes = st.sampled_from([0, 1, 125, 126, 127, 128, 137, 143, 255])
containers = st.builds(
    container,
    st.sampled_from(NAMES),
    image=st.sampled_from([*IMAGES, "other:1", "other:2", ""]),
    image_id=st.sampled_from([f"sha256:{object_id(name)}" for name in (*IMAGES[:2], "other:1")]),
    labels=all_labels,
    state=st.just(ContainerState.EXITED) | st.sampled_from(ContainerState),
    health=st.none() | st.builds(Health, st.sampled_from(HealthStatus), st.integers(0, 9), st.text(max_size=20)),
    exit_code=exit_codes,
    oom_killed=st.booleans(),
    error=st.sampled_from(["", "not found"]),
    created_at=moments,
    started_at=moments | st.none(),
    finished_at=moments | st.none(),
    restart_policy=restart_policies,
    size_bytes=st.none() | st.integers(0, 10**12),
)
images = st.builds(
    lambda name, tags, **changes: image(*tags, name=name, **changes),
    st.sampled_from(IMAGES),
    st.lists(st.sampled_from(TAGS), max_size=3, unique=True),
    digests=st.sampled_from([(), ("app@sha256:1",), ("r@sha256:2",), ("r@sha256:2",)]),
    inspected=st.sampled_from([True, True, True, False]),
    last_used_at=st.none() | moments,
    pull_seen=st.booleans(),
    unique_bytes=st.none() | st.integers(0, 10**12),
    labels=labels,
    last_tagged_at=st.none() | moments | st.just(NOW - timedelta(hours=1)),
    parent_id=st.sampled_from(["", f"sha256:{object_id(IMAGES[0])}"]),
    watched_for=spans,
)
deaths = st.builds(
    death,
    st.sampled_from(NAMES),
    ago=st.timedeltas(timedelta(0), timedelta(hours=1)),
    code=st.none() | exit_codes,
    oom=st.booleans(),
    intent=st.sampled_from(Intent),
    labels=all_labels,
    restart_policy=restart_policies,
)
oom_kills = st.builds(
    lambda name, labels, at: OomKill(
        container_id=object_id(name), subject=container_subject(name, labels), at=at, count=1, labels=labels
    ),
    st.sampled_from(NAMES),
    all_labels,
    moments,
)
host_ooms = st.builds(
    HostOom,
    key=st.uuids().map(str),
    at=moments,
    process=st.sampled_from(["python", ""]),
    resident_bytes=st.integers(0, 10**14),
    containers=st.none() | st.lists(st.sampled_from(NAMES).map(object_id), max_size=2).map(tuple),
)
filesystems = st.builds(
    filesystem,
    used_bytes=st.integers(0, 10**14),
    available_bytes=st.integers(0, 10**14),
    inodes=st.none() | st.integers(0, 10**9),
    inodes_free=st.none() | st.integers(0, 10**9),
)


@st.composite
def hosts(draw: st.DrawFn) -> Facts:
    world = facts(
        containers=draw(st.lists(containers, max_size=5, unique_by=lambda each: each.id)),
        images=draw(st.lists(images, max_size=5, unique_by=lambda each: each.id)),
        filesystems=draw(st.lists(filesystems, max_size=1)),
        deaths=sorted(draw(st.lists(deaths, max_size=9)), key=lambda each: each.finished_at),
        oom_kills=draw(st.lists(oom_kills, max_size=2)),
        host_ooms=draw(st.none() | st.lists(host_ooms, max_size=2).map(tuple)),
        gpus=draw(st.just(Gpus()) | any_gpus()),
        protection=Protection(
            containers=draw(st.sampled_from([(), (), ("c0",), ("*",)])),
            images=draw(st.sampled_from([(), (), ("app",), ("i*",)])),
        ),
        ignore=draw(st.sampled_from([(), ("c1",)])),
    )
    return replace(world, engine=replace(world.engine, state=draw(st.sampled_from(EngineState))))


def removals(world: Facts, kind: SubjectKind) -> set[str]:
    verdicts = [verdict for policy in CLEANUPS for verdict in policy.decide(world)]
    return {each.object.id for each in verdicts if isinstance(each, Removal) and each.object.kind is kind}


@given(hosts())
def test_every_object_gets_one_answer_with_a_reason(world: Facts) -> None:
    decision = decide({str(number): policy for number, policy in enumerate(CLEANUPS)}, world)
    answered = [each.object for each in decision.removals] + [each.object for each in decision.kept]
    objects = [each.ref for each in world.containers] + [each.ref for each in world.images]
    assert len(answered) == len(objects)
    assert set(answered) == set(objects)
    assert all(each.reason for each in decision.removals)
    assert all(each.reason for each in decision.kept)


@given(hosts())
def test_no_container_goes_that_is_alive_protected_a_service_or_too_young(world: Facts) -> None:
    gone = removals(world, SubjectKind.CONTAINER)
    for each in world.containers:
        if each.id not in gone:
            continue
        ended = each.finished_at or each.created_at
        assert each.state in {ContainerState.EXITED, ContainerState.DEAD, ContainerState.CREATED}
        assert each.labels.get("shipkeeper.protect", "false") == "false"
        assert each.labels.get("shipkeeper.keep-until") in {None, "2020-01-01T00:00:00Z"}
        assert each.restart_policy.name in {"no", "on-failure"}
        assert "*" not in world.protection.containers
        assert not any(use.container_id == each.id and use.processes for use in world.gpus.use)
        assert each.name not in world.protection.containers
        assert ended.year >= 2013
        assert world.now - ended >= timedelta(hours=1)


@given(hosts())
def test_no_image_goes_that_is_referenced_a_parent_protected_unwatched_or_known_to_nobody_else(world: Facts) -> None:
    gone = removals(world, SubjectKind.IMAGE)
    assert not gone & {each.image_id for each in world.containers}
    assert not gone & {each.parent_id for each in world.images}
    for each in world.images:
        if each.id in gone:
            assert each.inspected
            assert each.labels.get("shipkeeper.protect", "false") == "false"
            assert not (each.digests and "app" in world.protection.images and "app@sha256:1" in each.digests)
            assert not (each.tags and "i*" in world.protection.images and any("i" in tag for tag in each.tags))
            assert each.watched_for >= timedelta(hours=24)
            assert each.last_tagged_at is None or world.now - each.last_tagged_at >= timedelta(hours=24)
            assert each.digests or each.pull_seen or not each.tags


@given(hosts())
def test_of_each_repository_that_loses_an_image_one_that_was_used_no_earlier_stays(world: Facts) -> None:
    gone = removals(world, SubjectKind.IMAGE)

    def used(each: Image) -> datetime:
        return max(each.last_used_at or world.now, each.last_tagged_at or datetime.min.replace(tzinfo=UTC))

    for lost in world.images:
        for repository in {tag.partition(":")[0] for tag in lost.tags} if lost.id in gone else ():
            bearing = [each for each in world.images if any(tag.startswith(f"{repository}:") for tag in each.tags)]
            stays = [used(each) for each in bearing if each.id not in gone]
            assert stays
            if lost.last_used_at:
                assert max(stays) >= used(lost)


@given(hosts(), st.sampled_from(NAMES))
def test_protecting_one_more_thing_never_removes_another(world: Facts, name: str) -> None:
    wider = replace(world, protection=replace(world.protection, containers=(*world.protection.containers, name)))
    for kind in (SubjectKind.CONTAINER, SubjectKind.IMAGE):
        assert removals(wider, kind) <= removals(world, kind)


@given(hosts())
def test_every_subject_is_judged_once_for_each_alert_that_the_policy_names(world: Facts) -> None:
    for policy in JUDGES:
        found = [verdict for verdict in policy.decide(world) if isinstance(verdict, Condition)]
        assert max(Counter((each.alert, each.subject.key) for each in found).values(), default=1) == 1
        assert {each.alert for each in found} <= set(policy.alerts)
        assert all(each.reason for each in found)
    present = {each.subject.key for each in world.containers}
    for policy in (Crashes(), ContainerHealth(), ContainerStates(), HealthFlapping(), ContainerGpus(), GpuRefused()):
        for alert in policy.alerts:
            judged = {
                each.subject.key for each in policy.decide(world) if isinstance(each, Condition) and each.alert == alert
            }
            assert present <= judged


@given(hosts())
def test_what_happened_is_told_once_and_again_in_the_next_cycle(world: Facts) -> None:
    told = [verdict for verdict in Crashes().decide(world) if isinstance(verdict, Occurrence)]
    keys = [each.key for each in world.deaths] + [
        f"{each.container_id}@{each.at.isoformat()}" for each in world.oom_kills
    ]
    assert all(count <= Counter(keys)[key] for (_, key), count in Counter((t.alert, t.key) for t in told).items())
    later = replace(world, now=world.now + timedelta(seconds=15))
    assert [verdict for verdict in Crashes().decide(later) if isinstance(verdict, Occurrence)] == told


def test_every_alert_that_a_policy_names_stands_in_the_catalogue_and_has_one_speaker() -> None:
    named = [alert for policy in POLICIES for alert in policy.alerts]
    assert sorted(named) == sorted(BY_NAME)


@given(hosts(), st.sets(st.sampled_from([*NAMES, "p/s/1", "p/t/2", "q/s/2"]), min_size=1))
def test_what_is_asked_singly_says_the_same_of_a_few_as_of_all(world: Facts, keys: set[str]) -> None:
    for policy in asked_singly({str(number): policy for number, policy in enumerate(POLICIES)}).values():
        of_all = [each for each in policy.decide(world) if isinstance(each, Condition | Occurrence)]
        assert list(policy.decide(only(world, keys))) == [each for each in of_all if each.subject.key in keys]


def test_what_is_asked_singly_is_spoken_for_by_the_engine_and_its_like_alone() -> None:
    singly = asked_singly({str(number): policy for number, policy in enumerate(POLICIES)}).values()
    alerts = {alert for policy in singly for alert in policy.alerts}
    engine = {alert for policy in (EngineDown(), EngineSlow(), EngineStuck(), EventsStale()) for alert in policy.alerts}
    assert {speaker for alert in alerts for speaker in BY_NAME[alert].folded_into} <= alerts | engine
    assert {frozenset(policy.needs) for policy in singly} == {frozenset({SourceName.DOCKER})}
