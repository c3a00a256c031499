"""What a real Alertmanager makes of a daemon's alerts, and what becomes of them while one of the two is away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from daemon.clock import SystemClock
from tests.integration.daemon_under_test import DaemonUnderTest
from tests.lab.alertmanager import Alertmanager
from tests.lab.receiver import Answer, Receiver
from tests.lab.scripted_engine import ScriptedContainer, ScriptedEngine
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from tests.lab.receiver import Request
    from tests.lab.slack import FakeSlack

COMPOSE = {
    "com.docker.compose.project": "shop",
    "com.docker.compose.service": "web",
    "com.docker.compose.container-number": "1",
}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[ScriptedEngine]:
    with ScriptedEngine(tmp_path / "docker.sock") as scripted:
        yield scripted


@pytest.fixture
def hook() -> Iterator[Receiver]:
    """Give what Alertmanager routes to, and what takes our own documents and heartbeats beside."""
    with Receiver() as server:
        yield server


@pytest.fixture
def elsewhere() -> Iterator[Receiver]:
    """Give something that answers and is no Alertmanager."""
    with Receiver() as server:
        server.answer = Answer(404)
        yield server


@pytest.fixture
def alertmanager(tmp_path: Path, hook: Receiver) -> Iterator[Alertmanager]:
    (tmp_path / "alertmanager").mkdir()
    with Alertmanager(tmp_path / "alertmanager", f"{hook.url}/routed", {}) as server:
        yield server


@pytest.fixture
def tables(alertmanager: Alertmanager, elsewhere: Receiver, hook: Receiver) -> str:
    return f"""
[alertmanager]
urls = ["{alertmanager.url}", "{elsewhere.url}/wrong"]
[webhook]
url = "{hook.url}/hook"
bearer_token = "a-token-of-ours"
[heartbeat]
url = "{hook.url}/alive"
every = "10s"
[alerts.rules.notify-degraded]
enabled = false
"""


@pytest.fixture
def keeper(tmp_path: Path, engine: ScriptedEngine, slack: FakeSlack, tables: str) -> Iterator[DaemonUnderTest]:
    """Give a daemon that tells a good Alertmanager, a wrong address, a webhook and a dead man's switch."""
    with DaemonUnderTest(tmp_path, engine, slack, tables) as daemon:
        yield daemon


def turn(engine: ScriptedEngine, container: ScriptedContainer, health: str) -> None:
    """Let the health check of a container say something else."""
    engine.now = SystemClock().now()
    container.health = health
    engine.emit(f"health_status: {health}", container.id, name=container.name, image="bb:latest")


def routed(requests: Sequence[Request]) -> list[tuple[str, str]]:
    """Give what Alertmanager sent on, in order: what is wrong with whom, or is no more."""
    return [(alert["status"], alert["labels"].get("container", "")) for alert in alerts(requests)]


def alerts(requests: Sequence[Request]) -> list[Mapping[str, Any]]:
    return [each for request in requests if request.path == "/routed" for each in request.document["alerts"]]


def sinks(keeper: DaemonUnderTest) -> dict[str, Mapping[str, Any]]:
    return {sink["name"]: sink for sink in keeper.status()["sinks"]}


def test_alertmanager_gets_firing_and_resolved_and_routes_them_on(
    keeper: DaemonUnderTest, engine: ScriptedEngine, hook: Receiver, slack: FakeSlack, alertmanager: Alertmanager
) -> None:
    web = engine.add("shop-web-1", health="healthy", labels=COMPOSE)
    turn(engine, web, "unhealthy")
    came = hook.wait(lambda requests: ("firing", "shop-web-1") in routed(requests))
    assert alerts(came)[0]["labels"] == {
        "alertname": "ContainerUnhealthy", "severity": "warning", "host": "test-host",
        "container": "shop-web-1", "project": "shop", "service": "web",
    }  # fmt: skip
    assert alerts(came)[0]["annotations"]["runbook"] == "docs/alerts.md#container-unhealthy"
    turn(engine, web, "healthy")
    came = hook.wait(lambda requests: ("resolved", "shop-web-1") in routed(requests))
    assert routed(came) == [("firing", "shop-web-1"), ("resolved", "shop-web-1")]
    assert "healthy again" in alerts(came)[1]["annotations"]["summary"]
    assert alertmanager.alerts() == []

    # Slack is left to Alertmanager; the webhook and the heartbeat have their own.
    hook.wait(lambda requests: [r.document["kind"] for r in requests if r.path == "/hook"] == ["fired", "resolved"])
    assert {r.headers["Authorization"] for r in hook.requests if r.path == "/hook"} == {"Bearer a-token-of-ours"}
    assert next(r.method for r in hook.requests if r.path == "/alive") == "GET"
    assert slack.posts == []
    log = keeper.log.read_text()
    assert "Slack is left to it" in log
    assert "a-token-of-ours" not in log

    # The wrong address is named with its cure, and was in nobody's way.
    wrong = wait_until(lambda: (sink := sinks(keeper)["alertmanager-2"])["state"] == "down" and sink, "the fault")
    assert "nothing is there: check [alertmanager] urls" in wrong["last_error"]
    assert 'shipkeeper_messages_sent_total{sink="alertmanager"}' in keeper.metrics()
    said = {outcome["sink"]: outcome for outcome in keeper.ask("/alerts/test", "POST")}
    assert (said["alertmanager"]["ok"], said["alertmanager-2"]["ok"]) == (True, False)
    hook.wait(lambda requests: any(a["labels"]["alertname"] == "ShipkeeperTest" for a in alerts(requests)))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_nothing_is_lost_or_told_twice_while_one_of_the_two_is_away(
    keeper: DaemonUnderTest,
    engine: ScriptedEngine,
    hook: Receiver,
    elsewhere: Receiver,
    alertmanager: Alertmanager,
) -> None:
    web, db, later = (engine.add(name, health="healthy") for name in ("web", "db", "later"))
    turn(engine, web, "unhealthy")
    hook.wait(lambda requests: routed(requests) == [("firing", "web")])
    # By the time that it has sent another one on it has also noted that it sent the first.
    turn(engine, later, "unhealthy")
    hook.wait(lambda requests: ("firing", "later") in routed(requests))

    # Alertmanager goes away, and forgets all but what it sent on.
    alertmanager.stop()
    turn(engine, web, "healthy")
    turn(engine, db, "unhealthy")
    wait_until(lambda: sinks(keeper)["alertmanager"]["state"] == "retrying", "the failure", 30)
    alertmanager.start()
    hook.wait(lambda requests: {("resolved", "web"), ("firing", "db")} <= set(routed(requests)), 90)

    # The daemon goes away without a word, and the end comes meanwhile.
    keeper.kill()
    turn(engine, db, "healthy")
    elsewhere.answer = Answer(500)
    keeper.start()
    hook.wait(lambda requests: ("resolved", "db") in routed(requests), 60)
    assert sorted(routed(hook.requests)) == [
        ("firing", "db"),
        ("firing", "later"),
        ("firing", "web"),
        ("resolved", "db"),
        ("resolved", "web"),
    ]
    wait_until(lambda: "HTTP 500" in sinks(keeper)["alertmanager-2"]["last_error"], "the other one's fault", 60)
