from __future__ import annotations

import json
from datetime import timedelta

from collectors.facts import ContainerState, DiskKind, DiskUse, Engine, EngineState, Known, SourceName, Unknown
from daemon import status
from daemon.alerts.lane import SinkStats
from daemon.alerts.state import Phase
from daemon.decide import Decision
from daemon.snapshot import Snapshot
from policies.gauges import Level
from policies.policy import Severity
from tests.daemon.alerts.build import BAD, DISK, ROOT, UNHEALTHY, Story, condition
from tests.fakes.clock import NOW
from tests.policies.build import GIB, container, facts, filesystem


def snapshot(*, docker: bool = True) -> Snapshot:
    fleet = [container("a"), container("b"), container("c", state=ContainerState.EXITED)]
    source = Known(NOW) if docker else Unknown("gone", NOW)
    world = facts(containers=fleet, sources={SourceName.DOCKER: source})
    decision = Decision((), (), (), frozenset(), {})
    return Snapshot(facts=world, taken_at=0.0, decision=decision, alerts={}, counters={}, complete=True)


def test_containers_are_counted_by_state() -> None:
    assert status.containers_json(snapshot()) == {"exited": 1, "running": 2}


def test_while_docker_cannot_tell_no_container_is_counted() -> None:
    assert status.containers_json(snapshot(docker=False)) == {}


def test_alerts_stand_in_the_order_of_their_urgency_and_those_that_are_over_do_not() -> None:
    story = Story()
    story.round(condition(BAD, UNHEALTHY), condition(BAD, DISK, ROOT, severity=Severity.CRITICAL))
    story.states = dict(sorted(story.states.items(), key=lambda each: each[1].severity is Severity.CRITICAL))
    shown = status.alerts_json(story.states.values())
    assert [(alert["alert"], alert["state"], alert["severity"]) for alert in shown] == [
        (DISK, "firing", "critical"),
        (UNHEALTHY, "pending", "warning"),
    ]
    assert shown[0]["labels"] == {"kind": "filesystem", "key": "/", "host": "gpu-host-2"}
    assert shown[0]["since"] == "2026-11-23T16:02:00+00:00"
    assert json.dumps(shown)


def test_an_alert_of_which_nobody_knows_is_unknown() -> None:
    story = Story()
    story.round(condition(BAD, DISK, ROOT))
    story.round(after=1, ran=frozenset())
    assert [alert["state"] for alert in status.alerts_json(story.states.values())] == ["unknown"]
    assert story.phase(DISK) is Phase.FIRING


def test_the_engine_is_shown_with_why_it_is_down_and_what_to_do() -> None:
    down = Engine(state=EngineState.CRASHED, since=NOW, why="Docker is down", cure="look at its log", version="28.5.1")
    shown = status.engine_json(down)
    assert (shown["up"], shown["state"], shown["why"], shown["cure"]) == (
        False,
        "crashed",
        "Docker is down",
        "look at its log",
    )
    assert status.engine_json(Engine(state=EngineState.UP, since=NOW))["up"]


def test_a_filesystem_has_a_level_only_where_pressure_is_judged() -> None:
    low = filesystem(available=1 * GIB)
    assert status.filesystem_json(low, Level.CRITICAL)["level"] == "critical"
    shown = status.filesystem_json(low, None)
    assert (shown["level"], shown["free_ratio"], shown["available_bytes"]) == (None, round(low.free_ratio, 4), 1 * GIB)


def test_growth_and_uses_are_told_in_bytes_and_seconds() -> None:
    shown = status.filesystem_json(filesystem(), None, 2.5, timedelta(hours=5, milliseconds=700))
    assert (shown["growth_bytes_per_second"], shown["full_in_seconds"]) == (2.5, 18_000)
    assert status.filesystem_json(filesystem(), None)["full_in_seconds"] is None
    assert status.use_json(DiskUse(kind=DiskKind.IMAGES, mountpoint="", size_bytes=7)) == {
        "kind": "images",
        "mountpoint": None,
        "size_bytes": 7,
        "reclaimable_bytes": None,
    }


def test_a_sink_without_an_error_says_so_by_null() -> None:
    stats = SinkStats(
        name="slack", state="ok", sent=3, failed=1, depth=2, oldest=NOW - timedelta(minutes=1), last_error=""
    )
    assert status.sink_json(stats) == {
        "name": "slack",
        "edits": False,
        "state": "ok",
        "sent": 3,
        "failed": 1,
        "waiting": 2,
        "last_error": None,
    }
