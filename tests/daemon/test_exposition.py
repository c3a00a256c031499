from __future__ import annotations

import os
import re
import subprocess
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.parser import text_string_to_metric_families

from collectors.cadvisor import DataRoot, Machine
from collectors.containers import ContainerCollector, View
from collectors.disk_families import filesystem_families, growth_families, log_families, usage_families
from collectors.engine_calls import EngineCalls
from collectors.engine_errors import EngineUnavailable
from collectors.engine_families import engine_families
from collectors.facts import DiskKind, Engine, EngineState, Facts, Filesystem, KindUsage
from collectors.families import Family
from collectors.host import Host
from collectors.inventory_families import inventory_families
from daemon.alerts.lane import SinkStats
from daemon.alerts.matchers import Matcher
from daemon.app import App
from daemon.cleanup_metrics import cleanup_families, image_families
from daemon.config import Metrics
from daemon.counters import OOM_KILLS, Counters
from daemon.counters import families as counter_families
from daemon.dead_mans_switch import SwitchStats, heartbeat_families
from daemon.decide import Decision, decide
from daemon.events import ReaderStats
from daemon.jobs import JobStats
from daemon.loading import load
from daemon.outcome import Answer, Outcome
from daemon.reload import Configuration, Standing
from daemon.run_figures import RunFigures
from daemon.runs import RunState
from daemon.self_metrics import self_families
from daemon.snapshot import Snapshot
from daemon.vitals import Vitals, vital_families
from daemon.web.access import AccessStats
from daemon.web.exposition import Exposition, NamedCollector, NotReadableError, process_registry
from daemon.web.server import WebStats
from policies.containers import ExitedContainers
from policies.disk_causes import causes
from policies.networks import UnusedNetworks
from tests.daemon.alerts.build import BAD, OOM, UNHEALTHY, Story, condition, death, occurrence
from tests.fakes.cgroup_tree import CgroupTree
from tests.fakes.clock import NOW, FakeClock
from tests.fakes.fleet import mixed_fleet
from tests.fakes.gpu_hosts import a_gpu_host, gpu_page, some_charges
from tests.policies.build import exited, facts, image, volume

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from collectors.facts import Container
    from daemon.counters import Samples

TESTS = Path(__file__).parent.parent
DOCS = TESTS.parent / "docs" / "metrics.md"
GOLDEN = {"v1": TESTS / "golden" / "metrics-cgroup-v1.txt", "v2": TESTS / "golden" / "metrics-cgroup-v2.txt"}

ENGINE = Engine(
    state=EngineState.UP,
    since=NOW,
    version="28.5.1",
    api_version="1.51",
    storage_driver="overlayfs",
    containerd_store=True,
)
ROOT = Filesystem(
    mountpoint="/",
    device=2049,
    roles=("data-root", "containerd-root", "volumes", "logs", "os-root"),
    size_bytes=100 << 30,
    used_bytes=60 << 30,
    available_bytes=35 << 30,
    inodes=6553600,
    inodes_free=6000000,
    read_only=False,
)


def counted(fleet: Sequence[Container]) -> Samples:
    """Give the counters after one container of the fleet was killed for memory."""
    counters = Counters({})
    counters.meet(fleet, 0.0)
    counters.count([replace(death(NOW, name="etl"), oom=True)], [], {})
    counters.charge(some_charges(fleet))
    return counters.samples()


def disk_usage() -> Iterator[Family]:
    """Give what takes the space of the disk."""
    at, gib = NOW - timedelta(minutes=2), 1 << 30
    figures = [
        (DiskKind.IMAGES, 31 * gib, 12 * gib, 14, 9),
        (DiskKind.CONTAINER_LAYERS, 3 * gib, 1 * gib, 7, 5),
        (DiskKind.BUILD_CACHE, 4 * gib, 4 * gib, 120, 0),
        (DiskKind.VOLUMES, 5 * gib, 2 * gib, 6, 4),
    ]
    usages = {
        kind: KindUsage(kind=kind, at=at, size_bytes=size, reclaimable_bytes=freed, count=count, active=active)
        for kind, size, freed, count, active in figures
    }
    measured = dict.fromkeys([*usages, DiskKind.CONTAINER_LOGS], at)
    return usage_families(causes(ENGINE, [ROOT], usages, 9 * gib + 8192), usages, measured)


def disks() -> Iterator[Family]:
    """Give a filesystem that fills, beside one that does not answer."""
    yield from filesystem_families([ROOT], {"state": "it does not answer"})
    yield from growth_families([(ROOT, 695_000.5, timedelta(hours=15, seconds=2))])


def a_daemon() -> Iterator[Family]:
    """Give the families of a daemon that has something to tell under each of them."""
    story = Story()
    story.silence(Matcher("alert", "=", OOM))
    story.step(occurrence(OOM), condition(BAD, UNHEALTHY))
    snapshot = Snapshot(
        facts=facts(), taken_at=0.0, decision=decide({}, facts()), alerts=story.states, counters={}, complete=True
    )
    minute_ago = NOW - timedelta(minutes=1)
    reader = ReaderStats(
        connected=True,
        reconnects=1,
        events_total={("container", "die"): 3},
        unreadable=0,
        dropped=0,
        overflows=0,
        last_event_at=minute_ago,
        lag_seconds=0.002,
    )
    return self_families(
        snapshot,
        reader=reader,
        sinks=[SinkStats(name="console", sent=4), SinkStats(name="slack", failed=1, depth=2, oldest=minute_ago)],
        cycles=7,
        failures=0,
        restarts={"watch": 1},
        configuration=Standing(taken_at=minute_ago),
        silences=1,
        now=NOW,
    )


def a_decision() -> Decision:
    """Give what a host has to tidy up: a container, and no network."""
    old = exited("old", ago=timedelta(days=9), size_bytes=3 << 20)
    return decide({"containers": ExitedContainers(), "networks": UnusedNetworks()}, facts(containers=[old]))


def cleanups() -> Iterator[Family]:
    """Give what there is to tidy up, and what was."""
    figures = RunFigures()
    removal = a_decision().removals[0]
    figures.count(removal, Answer(Outcome.REMOVED, freed_bytes=2 << 20))
    figures.count(removal, Answer(Outcome.IN_USE))
    figures.ended("schedule", RunState.DONE, NOW)
    figures.reliefs["/", "target"] += 1
    return chain(cleanup_families(a_decision()), image_families(an_idle_host()), figures.families())


def an_idle_host() -> Facts:
    """Give a host with an image that has lain unused for a week."""
    return facts(images=[image(watched_for=timedelta(days=7))])


def a_stocked_host(fleet: Sequence[Container]) -> Facts:
    """Give a host with these containers, an image with a tag and one without, and a volume."""
    return facts(containers=list(fleet), images=[image("shop/web:1.4", last_used_at=NOW), image()], volumes=[volume()])


def a_few_calls() -> EngineCalls:
    """Give the account of a list that took 3 ms, and of a ping that nobody answered for 5 s."""
    moments = iter((0.0, 0.003, 10.0, 15.0))
    calls = EngineCalls(lambda: next(moments))
    with calls.timed("/v1.51/containers/json"):
        pass
    with suppress(EngineUnavailable), calls.timed("/_ping"):
        raise EngineUnavailable(EngineState.HUNG, "it does not answer", "look")
    return calls


A_CONDITION = Vitals(
    version="0.1.0",
    python="3.13.5",
    config_hash=123456789012345,
    beats={"watch": (0.5, 60.0)},
    jobs=JobStats({"heal-store": NOW.timestamp()}, {"heal-store": 0.002}, {"heal-store": 0}),
    web=WebStats(AccessStats(successful=True, certificate_ends_at=NOW, rejected=2), 0.001),
)


def a_view(tree: CgroupTree, fleet: Sequence[Container]) -> View:
    """Give what a scrape finds ready, with everything that is ever told."""
    marks = {each.id: found for each in fleet if each.pid and (found := tree.reader.marks(each))}
    return View(
        containers=fleet,
        labels=(*Metrics().labels, "team"),
        cadvisor=True,
        now=NOW.timestamp(),
        marks=marks,
        oom_kills=dict(counted(fleet)[OOM_KILLS]),
        looping={fleet[2].subject.key},
        layer_bytes={each.id: 2048 for each in fleet[::2]},
        written_bytes={each.id: 4096 for each in fleet[:1]},
        data_root=DataRoot(device="/dev/sda1", inodes=6553600, inodes_free=6000000),
        machine=Machine(cpus=2, memory_bytes=8 << 30),
    )


@pytest.fixture(params=["v1", "v2"])
def version(request: pytest.FixtureRequest) -> str:
    """Name a cgroup version."""
    return str(request.param)


@pytest.fixture
def page(tmp_path: Path, version: str) -> bytes:
    """Give the whole page of a host with every sort of container, without the figures of this process."""
    tree, fleet = CgroupTree(tmp_path), mixed_fleet()
    for container in fleet[:2]:
        if version == "v1":
            tree.add_v1(f"docker/{container.id}")
        else:
            tree.add_v2(f"system.slice/docker-{container.id}.scope")
        tree.add_process(container.pid)
    collectors = [
        NamedCollector("docker", lambda: engine_families(ENGINE)),
        NamedCollector("docker_api", a_few_calls().families),
        NamedCollector("containers", ContainerCollector(tree.reader, lambda: a_view(tree, fleet)).collect),
        NamedCollector("counters", lambda: counter_families(counted(fleet))),
        NamedCollector("inventory", lambda: inventory_families(a_stocked_host(fleet))),
        NamedCollector("gpu", lambda: gpu_page(a_gpu_host(fleet))),
        NamedCollector("host", Host(tree.proc).collect),
        NamedCollector("filesystems", disks),
        NamedCollector("disk_usage", disk_usage),
        NamedCollector("container_logs", lambda: log_families([(fleet[0], 9 << 30), (fleet[1], 8192)])),
        NamedCollector("cleanup", cleanups),
        NamedCollector("self", a_daemon),
        NamedCollector("heartbeat", lambda: heartbeat_families(SwitchStats(sent=190, failures=2, last_success=NOW))),
        NamedCollector("vitals", lambda: vital_families(A_CONDITION)),
    ]
    return Exposition(collectors, CollectorRegistry(), FakeClock()).document()


def test_the_page_is_the_golden_one(page: bytes, version: str) -> None:
    if os.environ.get("GOLDEN") == "write":
        GOLDEN[version].write_bytes(page)
    assert page.decode() == GOLDEN[version].read_text()


def test_the_golden_page_has_every_collector_of_the_daemon(page: bytes, tmp_path: Path) -> None:
    environ = {"SHIPKEEPER_STATE__DIR": str(tmp_path / "state")}
    app = App(Configuration(load(None, environ), lambda: None, environ, FakeClock()), FakeClock())
    try:
        theirs = app.exposition.document().decode()
    finally:
        app.close()
    up = re.compile(r'^shipkeeper_collector_up{collector="(\w+)"} [01]$', flags=re.MULTILINE)  # nothing is measured yet
    assert up.findall(page.decode()) == up.findall(theirs)


def test_promtool_has_nothing_to_say(page: bytes) -> None:
    # cAdvisor's names are as they are, and dashboards ask for just these.
    ours = b"".join(line for line in page.splitlines(keepends=True) if b"shipkeeper_" in line[:80].split(b"{")[0])
    checked = subprocess.run(["promtool", "check", "metrics"], input=ours, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


def test_every_metric_has_its_row_in_the_documentation_and_the_other_way_round() -> None:
    emitted = {
        tuple(line.split()[2:4])
        for golden in GOLDEN.values()
        for line in golden.read_text().splitlines()
        if line.startswith("# TYPE ")
    }
    row = re.compile(r"^\| `((?:shipkeeper|container|machine|DCGM)_\w+)` \| (\w+) \|", flags=re.MULTILINE)
    documented = set(row.findall(DOCS.read_text()))
    assert documented == emitted


def names(document: bytes) -> dict[str, float]:
    return {
        sample.name + str(sample.labels): sample.value
        for family in text_string_to_metric_families(document.decode())
        for sample in family.samples
    }


def one(name: str) -> Iterator[Family]:
    yield Family(name, "gauge", "One.", [("", 1)])


def broken() -> Iterator[Family]:
    yield Family("half", "gauge", "Never seen.", [("", 1)])
    raise OSError("the disk is gone")


def test_a_failing_collector_costs_its_own_series_only(caplog: pytest.LogCaptureFixture) -> None:
    collectors = [NamedCollector("broken", broken), NamedCollector("good", lambda: one("good"))]
    found = names(Exposition(collectors, CollectorRegistry(), FakeClock()).document())
    assert found["good{}"] == 1
    assert "half{}" not in found
    assert found["shipkeeper_collector_up{'collector': 'broken'}"] == 0
    assert found["shipkeeper_collector_up{'collector': 'good'}"] == 1
    assert "the disk is gone" in caplog.text


def test_of_a_collector_that_fails_it_is_told_when_it_last_did_not() -> None:
    clock, works = FakeClock(), [True, False]
    collector = NamedCollector("shaky", lambda: one("good") if works.pop(0) else broken())
    exposition = Exposition([collector, NamedCollector("never", broken)], CollectorRegistry(), clock)
    exposition.document()
    clock.advance(timedelta(minutes=1))
    found = names(exposition.document())
    assert found["shipkeeper_collector_up{'collector': 'shaky'}"] == 0
    told = {key: at for key, at in found.items() if "last_success" in key}
    assert told == {"shipkeeper_collector_last_success_timestamp_seconds{'collector': 'shaky'}": NOW.timestamp()}


def blind() -> Iterator[Family]:
    yield Family("half", "gauge", "Never seen.", [("", 1)])
    raise NotReadableError("the driver hangs")


def test_a_collector_whose_source_is_out_of_reach_is_down_and_says_nothing_at_each_scrape(
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = names(Exposition([NamedCollector("gpu", blind)], CollectorRegistry(), FakeClock()).document())
    assert found["shipkeeper_collector_up{'collector': 'gpu'}"] == 0
    assert "half{}" not in found
    assert caplog.text == ""


def test_a_collector_that_takes_anothers_name_is_left_out() -> None:
    collectors = [NamedCollector("first", lambda: one("same")), NamedCollector("second", lambda: one("same"))]
    document = Exposition(collectors, CollectorRegistry(), FakeClock()).document()
    assert document.count(b"# TYPE same ") == 1
    assert names(document)["shipkeeper_collector_up{'collector': 'second'}"] == 0


def test_figures_of_our_own_process_are_there_without_created_series() -> None:
    registry = process_registry()
    Counter("shipkeeper_tries_total", "Tries.", registry=registry).inc()
    found = names(Exposition([], registry, FakeClock()).document())
    assert found["shipkeeper_tries_total{}"] == 1
    assert found["process_cpu_seconds_total{}"] > 0
    assert not [name for name in found if "_created" in name]
