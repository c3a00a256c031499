"""An engine that stops, crashes or hangs under the daemon, and what people are told when it is back."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.daemon_under_test import DaemonUnderTest, deaths, ends_of
from tests.lab.binaries import Suite
from tests.lab.engine import PrivateEngine
from tests.lab.images import IDLE
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.slack import FakeSlack

PATIENCE = 60.0
"""A hung engine takes three pings of five seconds to be called so, while other tests keep the machine busy."""


@pytest.fixture
def keeper(engine: PrivateEngine, slack: FakeSlack, tmp_path: Path) -> Iterator[DaemonUnderTest]:
    """Give a daemon that watches the engine and tells the fake Slack."""
    with DaemonUnderTest(tmp_path, engine, slack) as daemon:
        yield daemon


def test_a_stopped_engine_is_told_as_stopped_and_its_containers_as_nothing(
    keeper: DaemonUnderTest, engine: PrivateEngine
) -> None:
    engine.run(IDLE, name="service")
    engine.stop()
    assert "stopped" in keeper.wait_for("engine-down", "Docker Engine", PATIENCE)
    assert "shipkeeper_docker_up 0" in keeper.metrics()
    assert "shipkeeper_container_state" not in keeper.metrics().replace("# ", "")
    engine.start()
    keeper.wait_for("engine-down", "🟢", PATIENCE)
    engine.run(["sh", "-c", "exit 9"], name="sentinel")
    keeper.wait_for("container-crashed", "sentinel", PATIENCE)
    assert keeper.alerts_told() == ["engine-down", "engine-down", "container-crashed"], keeper.headlines()


def test_what_should_run_and_does_not_come_back_with_the_engine_is_told(
    engine: PrivateEngine, slack: FakeSlack, tmp_path: Path
) -> None:
    should_run = {"labels": {"shipkeeper.expect": "running"}}
    with DaemonUnderTest(tmp_path, engine, slack, '[alerts.rules.container-not-running]\nfor = "3s"') as keeper:
        engine.run(IDLE, name="expected", config=should_run)
        engine.run(IDLE, name="stopped", restart_policy={"Name": "unless-stopped"})
        wait_until(lambda: 'name="stopped",state="running"' in keeper.metrics(), "the containers to be seen running")
        engine.api.stop("stopped", timeout=0)
        engine.stop()
        keeper.wait_for("engine-down", "Docker Engine", PATIENCE)
        engine.start()
        assert "its label says" in keeper.wait_for("container-not-running", "expected", PATIENCE)
        assert keeper.alerts_told().count("container-not-running") == 1, keeper.headlines()


def test_a_frozen_engine_is_told_as_hung_and_what_happened_meanwhile_is_told_after(
    keeper: DaemonUnderTest, engine: PrivateEngine
) -> None:
    engine.run(["sh", "-c", "sleep 5; exit 6"], name="meanwhile")
    wait_until(lambda: 'name="meanwhile",state="running"' in keeper.metrics(), "the container to be seen running")
    engine.freeze()
    assert "hung" in keeper.wait_for("engine-down", "Docker Engine", PATIENCE)
    engine.thaw()
    assert "exited 6" in keeper.wait_for("container-crashed", "meanwhile", PATIENCE)
    keeper.wait_for("engine-down", "🟢", PATIENCE)


def test_a_killed_engine_is_told_as_crashed(keeper: DaemonUnderTest, engine: PrivateEngine) -> None:
    engine.run(IDLE, name="taken-along")
    wait_until(lambda: 'name="taken-along",state="running"' in keeper.metrics(), "the container to be seen running")
    engine.kill()
    assert "crashed" in keeper.wait_for("engine-down", "Docker Engine", PATIENCE)
    engine.start()  # without live-restore it ends what it finds running
    keeper.wait_for("engine-down", "🟢", PATIENCE)
    wait_until(lambda: 'name="taken-along",state="exited"' in keeper.metrics(), "its end on the page", PATIENCE)
    engine.run(["sh", "-c", "exit 9"], name="sentinel")
    keeper.wait_for("container-crashed", "sentinel", PATIENCE)
    assert keeper.alerts_told() == ["engine-down", "engine-down", "container-crashed"], keeper.headlines()
    assert ends_of(keeper, "taken-along") == {"engine"}
    assert "shipkeeper_docker_up 1" in keeper.metrics()


@pytest.mark.slow
def test_what_lives_through_a_restart_of_the_engine_is_told_as_nothing(slack: FakeSlack, tmp_path: Path) -> None:
    with PrivateEngine(Suite.SID, arguments=["--live-restore"]) as engine:
        pid = engine.host_pid(engine.run(IDLE, name="survivor"))
        with DaemonUnderTest(tmp_path, engine, slack) as keeper:
            for end in (engine.stop, engine.kill):
                end()
                keeper.wait_for("engine-down", "Docker Engine", PATIENCE)
                engine.start()
                keeper.wait_for("engine-down", "🟢", PATIENCE)
                assert keeper.alerts_told() == ["engine-down", "engine-down"], keeper.headlines()
                keeper.slack.clear()
            assert engine.host_pid("survivor") == pid
            assert ends_of(keeper, "survivor") == set()
            engine.run(["sh", "-c", "exit 9"], name="sentinel")
            keeper.wait_for("container-crashed", "sentinel", PATIENCE)
            assert keeper.alerts_told() == ["container-crashed"], keeper.headlines()


@pytest.mark.slow
def test_an_engine_that_hangs_from_our_start_on_is_told_and_watched_when_it_wakes(
    keeper: DaemonUnderTest, engine: PrivateEngine
) -> None:
    keeper.stop()
    engine.freeze()
    keeper.start(ready=False)
    assert "hung" in keeper.wait_for("engine-down", "Docker Engine", PATIENCE)
    engine.thaw()
    keeper.wait_for("engine-down", "🟢", PATIENCE)
    engine.run(["sh", "-c", "exit 9"], name="after")
    keeper.wait_for("container-crashed", "after", PATIENCE)


def test_containers_that_come_and_go_while_the_stream_is_cut_die_once_each(
    keeper: DaemonUnderTest, engine: PrivateEngine
) -> None:
    names = [f"churn-{number}" for number in range(8)]
    for name in names:
        engine.run(["sh", "-c", "exit 3"], name=name)
        keeper.tap.cut()
    for name in names[:4]:
        engine.api.wait(name)
        engine.api.remove_container(name)
        engine.run(["sh", "-c", "exit 3"], name=name)
        keeper.tap.cut()
    expected = {name: 2 if name in names[:4] else 1 for name in names}
    wait_until(lambda: deaths(keeper) == expected, "every end to be counted once", PATIENCE)
    assert "engine-down" not in keeper.alerts_told()


def test_a_death_under_a_dead_engine_is_found_when_it_is_back(slack: FakeSlack, tmp_path: Path) -> None:
    with PrivateEngine(Suite.SID, arguments=["--live-restore"]) as engine:
        engine.run(IDLE, name="survivor")
        pid = engine.host_pid(engine.run(["sh", "-c", "exec sleep 1000"], name="orphan"))
        with DaemonUnderTest(tmp_path, engine, slack) as keeper:
            engine.kill()
            keeper.wait_for("engine-down", "Docker Engine", PATIENCE)
            kill_and_await(pid)
            engine.start()
            text = keeper.wait_for("container-crashed", "orphan", PATIENCE)
            # The engine itself has lost the exit code, so nobody may claim to know it.
            assert "exit code unknown" in text or "exited 137" in text
            assert set(deaths(keeper)) == {"orphan"}


def test_a_death_in_our_own_absence_is_told_after_our_start(keeper: DaemonUnderTest, engine: PrivateEngine) -> None:
    engine.run(["sh", "-c", "sleep 1; exit 8"], name="absent")
    wait_until(lambda: 'name="absent"' in keeper.metrics(), "the container to be seen")
    keeper.stop()
    wait_until(lambda: engine.api.inspect_container("absent")["State"]["Status"] == "exited", "its end")
    keeper.start()
    assert "exited 8" in keeper.wait_for("container-crashed", "absent")
    assert keeper.alerts_told().count("container-crashed") == 1


def test_a_proxy_that_cuts_every_stream_costs_nothing(keeper: DaemonUnderTest, engine: PrivateEngine) -> None:
    engine.run(["sh", "-c", "exit 3"], name="before")
    keeper.wait_for("container-crashed", "before")
    keeper.tap.cut()
    engine.run(["sh", "-c", "exit 4"], name="after")
    keeper.wait_for("container-crashed", "after")
    assert "engine-down" not in keeper.alerts_told()


def kill_and_await(pid: int) -> None:
    """Kill a container's process from outside, and wait until it runs no more."""
    os.kill(pid, signal.SIGKILL)

    def ended() -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except (FileNotFoundError, ProcessLookupError):  # it may go while it is being read
            return True

    wait_until(ended, f"the end of {pid}")
