"""The command line, the pages and the process itself, on a real engine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from collectors.facts import DiskKind
from tests.integration.daemon_under_test import DaemonUnderTest
from tests.lab.images import IDLE
from tests.lab.tap import Asked
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab.engine import PrivateEngine
    from tests.lab.slack import FakeSlack

TIDY = """
[policies.containers]
exited_for = "1s"
failed_for = "1s"
created_for = "1s"
keep_last_per_compose_service = 0
[policies.images_dangling]
unused_for = "1s"
"""


@pytest.fixture
def keeper(engine: PrivateEngine, slack: FakeSlack, tmp_path: Path) -> Iterator[DaemonUnderTest]:
    """Give a daemon whose policies find something within seconds."""
    with DaemonUnderTest(tmp_path, engine, slack, TIDY) as daemon:
        yield daemon


def test_the_plan_names_what_a_cleanup_would_remove_and_removes_nothing(
    keeper: DaemonUnderTest, engine: PrivateEngine
) -> None:
    engine.run(["true"], name="old-job")
    engine.run(["true"], name="kept-job", config={"labels": {"shipkeeper.protect": "true"}})
    engine.run(IDLE, name="service")
    engine.import_image("app:latest", padding=b"a" * 100_000)
    engine.import_image("app:latest", padding=b"b" * 100_000)
    before = everything(engine)
    wait_until(lambda: len(keeper.ask("/plan")["removals"]) == 2, "one container and one image in the plan", 60)
    plan = json.loads(keeper.command("plan", "--json").stdout)
    assert {(one["kind"], one["name"]) for one in plan["removals"] if one["kind"] == "container"} == {
        ("container", "old-job")
    }
    assert {one["name"] for one in plan["kept"]} >= {"kept-job", "service"}
    shown = keeper.command("plan", "--explain")
    assert shown.returncode == 0
    assert "old-job" in shown.stdout
    assert "protect" in shown.stdout
    assert everything(engine) == before


def everything(engine: PrivateEngine) -> tuple[list[str], list[str]]:
    """Give the ids of all containers and images."""
    containers = [one["Id"] for one in engine.api.containers(all=True)]
    return sorted(containers), sorted(one["Id"] for one in engine.api.images(all=True))


def test_the_tap_counts_a_planted_delete(keeper: DaemonUnderTest, engine: PrivateEngine) -> None:
    container = engine.create(["true"], name="planted")
    request = f"DELETE /v1.41/containers/{container} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n"
    with keeper.tap.client() as client:
        client.sendall(request.encode())
        assert client.recv(65536).startswith(b"HTTP/1.1 204")
    assert keeper.tap.non_get == [Asked("DELETE", f"/v1.41/containers/{container}")]
    keeper.tap.forget()


def test_alerts_test_reaches_every_sink_and_says_what_came_back(keeper: DaemonUnderTest, slack: FakeSlack) -> None:
    done = keeper.command("alerts", "test")
    assert done.returncode == 0, done.stderr
    assert "slack" in done.stdout
    assert "console" in done.stdout
    assert slack.wait(lambda posts: len(posts) == 1)


def test_a_silence_keeps_a_crash_quiet_and_its_end_tells_of_it(
    keeper: DaemonUnderTest, engine: PrivateEngine, slack: FakeSlack
) -> None:
    said = keeper.command("alerts", "silence", "container=~trainer-.*", "--reason", "new image")
    assert said.returncode == 0, said.stderr
    engine.run(["sh", "-c", "exit 3"], name="trainer-1")
    wait_until(lambda: "silenced by 1" in keeper.command("alerts", "list").stdout, "the crash to be silenced", 30)
    assert keeper.status()["silences"][0]["covers"][0]["subject"] == "trainer-1"
    wait_until(lambda: keeper.ask("/alerts")[0]["state"] == "firing", "the crash to fire", 60)
    assert slack.posts == []
    assert keeper.command("alerts", "ack", "trainer-1", "--reason", "on it").returncode == 0
    assert keeper.command("alerts", "unsilence", "1").returncode == 0
    assert "trainer-1 crashed" in str(slack.wait(lambda posts: len(posts) == 1)[0].payload)
    shown = keeper.command("alerts", "show", "trainer-1").stdout
    assert "(uid 0): on it" in shown
    told = [line.split(" UTC  ")[1] for line in keeper.command("alerts", "history").stdout.splitlines()]
    assert [line.partition(" · ")[0] for line in told] == [
        "silenced",
        "firing: container-crashed trainer-1",
        "acknowledged: container-crashed trainer-1",
        "unsilenced",
        "silence over",
    ]


def test_status_is_one_json_document(keeper: DaemonUnderTest) -> None:
    status = json.loads(keeper.command("status", "--json").stdout)
    assert status["docker"]["up"] is True
    assert status["mode"] == "observe"
    assert any("data-root" in one["roles"] for one in status["filesystems"])
    assert {one["name"] for one in status["sinks"]} == {"console", "slack"}
    assert keeper.command("status").returncode == 0


def test_soon_after_its_start_the_daemon_knows_what_takes_the_space(
    keeper: DaemonUnderTest, engine: PrivateEngine
) -> None:
    engine.run(IDLE, name="service")
    wait_until(
        lambda: {use["kind"] for use in keeper.ask("/status")["disk_usage"]} == set(DiskKind),
        "every kind of thing that takes space",
        60,
    )
    page = keeper.metrics()
    for kind in DiskKind:
        assert f'shipkeeper_disk_usage_bytes{{kind="{kind}"' in page
    assert 'shipkeeper_container_log_bytes{id="' in page
    assert "not Docker's" in keeper.command("status").stdout


def test_without_a_daemon_the_plan_is_made_in_process_and_other_commands_say_so(
    keeper: DaemonUnderTest, engine: PrivateEngine
) -> None:
    engine.run(["true"], name="old-job")
    keeper.stop()
    plan = keeper.command("plan", "--json")
    assert plan.returncode == 0, plan.stderr
    assert "cannot be applied" in plan.stderr
    assert "old-job" in plan.stdout
    status = keeper.command("status")
    assert status.returncode == 1
    assert "no daemon answers" in status.stderr


def test_one_round_tells_what_is_wrong_and_ends(keeper: DaemonUnderTest, engine: PrivateEngine) -> None:
    keeper.stop()
    check = {"test": ["CMD-SHELL", "false"], "interval": 100_000_000, "retries": 1}
    container = engine.run(IDLE, name="ill", config={"healthcheck": check})
    wait_until(
        lambda: engine.api.inspect_container(container)["State"]["Health"]["Status"] == "unhealthy", "bad health"
    )
    done = keeper.command("run", "--once")
    assert "ill is unhealthy" in done.stdout
    assert done.returncode == 1


def test_a_second_daemon_on_the_same_state_is_refused(keeper: DaemonUnderTest) -> None:
    done = keeper.command("run")
    assert done.returncode == 1
    assert "already running" in done.stderr or "in use by another shipkeeper" in done.stderr


def test_a_taken_port_ends_the_start_with_1(keeper: DaemonUnderTest, tmp_path: Path) -> None:
    address = keeper.log.read_text().split("http://", 1)[1].split("/", 1)[0]
    environment = {**os.environ, "SHIPKEEPER_WEB__LISTEN": address, "SHIPKEEPER_STATE__DIR": str(tmp_path / "other")}
    environment["SHIPKEEPER_CONTROL__SOCKET"] = str(tmp_path / "other.sock")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "daemon.app"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 1
    assert f"cannot listen on {address}: Address already in use by pid {keeper.pid} (" in done.stderr


def test_the_daemon_loads_nothing_that_only_the_command_line_needs() -> None:
    code = "import sys, daemon.app; print(sorted({'typer', 'rich', 'click'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_metrics_are_one_valid_document(keeper: DaemonUnderTest, engine: PrivateEngine) -> None:
    engine.run(IDLE, name="service")
    wait_until(lambda: 'shipkeeper_container_memory_usage_bytes{id="' in keeper.metrics(), "figures of the container")
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=keeper.metrics(), capture_output=True, text=True, check=False
    )
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "shipkeeper_" in line]
    assert ours == []
    for name in ("cpu_usage_seconds_total", "memory_working_set_bytes", "pids"):
        assert f'shipkeeper_container_{name}{{id="' in keeper.metrics()
