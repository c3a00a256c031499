"""What a real engine does to containers, and what people are told of it."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.integration.daemon_under_test import DaemonUnderTest
from tests.lab.waiting import wait_until
from tests.lab.workload import OUTGROW, run_short_of_memory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab.engine import PrivateEngine
    from tests.lab.slack import FakeSlack

SLEEP = ["sleep", "1000"]


def crash(words: str = "", code: int = 1) -> list[str]:
    """Give a command that logs words and ends with an error."""
    return ["sh", "-c", f"echo {words}; exit {code}"]


@pytest.fixture
def keeper(engine: PrivateEngine, slack: FakeSlack, tmp_path: Path) -> Iterator[DaemonUnderTest]:
    """Give a daemon that watches the engine and tells the fake Slack."""
    with DaemonUnderTest(tmp_path, engine, slack) as daemon:
        yield daemon


def only(keeper: DaemonUnderTest, engine: PrivateEngine, *alerts: str) -> None:
    """Prove that these and no other alerts were told: a last crash is the sentinel behind which nothing can come."""
    engine.run(crash(code=9), name="sentinel")
    keeper.wait_for("container-crashed", "sentinel")
    assert sorted(keeper.alerts_told()) == sorted([*alerts, "container-crashed"]), keeper.headlines()


def test_a_killed_process_is_a_crash_told_with_its_last_log_lines(
    keeper: DaemonUnderTest, engine: PrivateEngine
) -> None:
    container = engine.run(["sh", "-c", "echo step 4180; echo token=hunter2; exec sleep 1000"], name="trainer")
    wait_until(lambda: b"token" in engine.api.logs(container), "the log lines")
    os.kill(engine.host_pid(container), signal.SIGKILL)
    text = keeper.wait_for("container-crashed", "trainer")
    assert "exited 137 (SIGKILL)" in text
    assert "step 4180" in text
    assert "hunter2" not in text
    only(keeper, engine, "container-crashed")


def test_a_kill_for_memory_is_only_that(keeper: DaemonUnderTest, engine: PrivateEngine) -> None:
    run_short_of_memory(engine, "hog")
    text = keeper.wait_for("container-oom-killed", "hog")
    assert "16.0 MiB" in text
    only(keeper, engine, "container-oom-killed")
    assert (
        'shipkeeper_container_oom_kills_total{name="hog",compose_project="",compose_service=""} 1' in keeper.metrics()
    )


def test_a_child_killed_for_memory_is_told_though_the_container_lives(
    keeper: DaemonUnderTest, engine: PrivateEngine
) -> None:
    container = run_short_of_memory(engine, "parent", f"{OUTGROW}; exec sleep 1000")
    keeper.wait_for("container-oom-killed", "parent", 30)
    assert engine.api.inspect_container(container)["State"]["Status"] == "running"
    only(keeper, engine, "container-oom-killed")


def test_a_restart_loop_is_one_incident(keeper: DaemonUnderTest, engine: PrivateEngine) -> None:
    engine.run(["sh", "-c", "sleep 0.1; exit 7"], name="loop", restart_policy={"Name": "always"})
    text = keeper.wait_for("container-restart-loop", "loop", 30)
    assert "exited 7" in text
    wait_until(lambda: 'reason="error"} 7' in keeper.metrics(), "seven deaths", 30)
    # Until it is known for a loop its first ends are crashes, each over as soon as it runs again (said without a name).
    told = [name for name in keeper.alerts_told() if name not in {"container-crashed", ""}]
    assert told == ["container-restart-loop"]


def test_what_people_do_to_containers_is_no_incident(keeper: DaemonUnderTest, engine: PrivateEngine) -> None:
    stopped, killed, restarted, removed = (engine.run(SLEEP, name=name) for name in ("stop1", "kill1", "again1", "rm1"))
    engine.api.stop(stopped, timeout=0)
    engine.api.kill(killed)
    engine.api.restart(restarted, timeout=0)
    engine.api.remove_container(removed, force=True)
    engine.run(["true"], name="done1")
    only(keeper, engine)
    assert 'shipkeeper_container_deaths_total{name="kill1",compose_project="",compose_service="",reason="api"} 1' in (
        keeper.metrics()
    )


def test_a_label_cannot_hide_a_crash(keeper: DaemonUnderTest, engine: PrivateEngine) -> None:
    engine.run(crash("spoofed", 3), name="spoof", config={"labels": {"exitCode": "0"}})
    assert "exited 3" in keeper.wait_for("container-crashed", "spoof")


def test_a_container_that_is_gone_at_once_still_crashed(keeper: DaemonUnderTest, engine: PrivateEngine) -> None:
    engine.run(crash("gone", 4), name="oneshot", auto_remove=True)
    assert "exited 4" in keeper.wait_for("container-crashed", "oneshot")


def test_a_crash_of_a_muted_container_is_not_told(keeper: DaemonUnderTest, engine: PrivateEngine) -> None:
    engine.run(crash("quiet", 5), name="quiet", config={"labels": {"shipkeeper.alerts": "off"}})
    only(keeper, engine)


def test_health_going_bad_and_good_is_told_and_over(keeper: DaemonUnderTest, engine: PrivateEngine) -> None:
    check = {"test": ["CMD-SHELL", "echo probe says no; test ! -e /bad"], "interval": 200_000_000, "retries": 1}
    container = engine.run(["sh", "-c", "while :; do sleep 1; done"], name="api", config={"healthcheck": check})
    execute(engine, container, "touch /bad")
    assert "probe says no" in keeper.wait_for("container-unhealthy", "api")
    execute(engine, container, "rm /bad")
    assert "resolved" in keeper.wait_for("container-unhealthy", "🟢")
    only(keeper, engine, "container-unhealthy", "container-unhealthy")


def execute(engine: PrivateEngine, container: str, command: str) -> None:
    engine.api.exec_start(engine.api.exec_create(container, ["sh", "-c", command])["Id"])


@pytest.mark.parametrize(("command", "words"), [("/nope", "127"), ("/bin", "126")])
def test_a_failed_start_is_told_with_the_engines_words(
    keeper: DaemonUnderTest, engine: PrivateEngine, command: str, words: str
) -> None:
    container = engine.create([command], name="broken")
    with pytest.raises(Exception, match=r"OCI|exec"):
        engine.api.start(container)
    assert f"exited {words}" in keeper.wait_for("container-start-failed", "broken")
    only(keeper, engine, "container-start-failed")
