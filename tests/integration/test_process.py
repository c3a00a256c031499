"""The daemon as a process: signals, its end in every trouble, and a state folder that it cannot have."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.daemon_under_test import DaemonUnderTest
from tests.lab.slack import slow
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.engine import PrivateEngine
    from tests.lab.slack import FakeSlack


@pytest.fixture
def keeper(engine: PrivateEngine, slack: FakeSlack, tmp_path: Path) -> Iterator[DaemonUnderTest]:
    """Give a daemon that watches the engine and tells the fake Slack; leaving it proves an end with 0."""
    with DaemonUnderTest(tmp_path, engine, slack) as daemon:
        yield daemon


def test_it_ends_while_the_engine_is_frozen(keeper: DaemonUnderTest, engine: PrivateEngine) -> None:
    engine.run(["sleep", "1000"], name="service")
    wait_until(lambda: 'name="service"' in keeper.metrics(), "the container to be seen")
    engine.freeze()
    assert keeper.stop() == 0


def test_it_ends_while_slack_hangs(keeper: DaemonUnderTest, engine: PrivateEngine, slack: FakeSlack) -> None:
    slack.fail_always(slow(60))
    engine.run(["sh", "-c", "exit 3"], name="crash")
    slack.wait(lambda posts: len(posts) == 1)
    assert keeper.stop() == 0
    slack.heal()
    keeper.start()
    slack.wait(lambda posts: any(post.reply.status == 200 and not post.reply.delay_seconds for post in posts))


def test_it_ends_while_the_reading_of_its_configuration_hangs(keeper: DaemonUnderTest) -> None:
    # A pipe that nobody writes into is to whoever opens it what a file on a dead network disk is.
    keeper.config.unlink()
    os.mkfifo(keeper.config, mode=0o600)
    os.kill(keeper.pid, signal.SIGHUP)
    status = Path(f"/proc/{keeper.pid}/task")
    wait_until(lambda: "reload" in {(each / "comm").read_text().strip() for each in status.iterdir()}, "the reading")
    assert keeper.stop() == 0


def test_it_ends_while_events_rain(keeper: DaemonUnderTest, engine: PrivateEngine) -> None:
    for number in range(10):
        engine.run(["sh", "-c", "exit 3"], name=f"drop-{number}")
    assert keeper.stop() == 0


def test_a_hangup_takes_over_a_good_configuration_and_leaves_a_bad_one(
    keeper: DaemonUnderTest, engine: PrivateEngine, slack: FakeSlack
) -> None:
    good = keeper.config.read_text()
    engine.run(["sleep", "1000"], name="before")
    wait_until(lambda: 'name="before"' in keeper.metrics(), "the container to be seen")

    keeper.config.write_text(good.replace('name = "test-host"', "name = 5"))
    os.kill(keeper.pid, signal.SIGHUP)
    wait_until(lambda: "shipkeeper_config_last_reload_successful 0" in keeper.metrics(), "the refusal")
    assert keeper.status()["host"] == "test-host"
    assert "[host] name = 5" in keeper.command("status").stdout

    changed = good.replace('name = "test-host"', 'name = "new-host"').replace("[alerts]", '[alerts]\nignore = ["mute"]')
    keeper.config.write_text(changed.replace('listen = "127.0.0.1:0"', 'listen = "127.0.0.1:1"'))
    os.kill(keeper.pid, signal.SIGHUP)
    wait_until(lambda: "shipkeeper_config_last_reload_successful 1" in keeper.metrics(), "the new configuration")
    assert keeper.status()["host"] == "new-host"
    assert "a restart is needed for web.listen" in keeper.command("status").stdout
    engine.run(["sh", "-c", "exit 3"], name="mute")
    engine.run(["sh", "-c", "exit 3"], name="loud")
    assert "new-host" in keeper.wait_for("container-crashed", "loud")
    assert "mute" not in str(slack.posts)
    keeper.config.write_text(good)  # it is asserted on leaving that the daemon ends well


def test_a_state_folder_that_cannot_be_made_is_said_and_the_watch_goes_on(
    keeper: DaemonUnderTest, engine: PrivateEngine
) -> None:
    keeper.stop()
    (keeper.folder / "file").touch()
    text = keeper.config.read_text()
    keeper.config.write_text(text.replace(f'dir = "{keeper.folder}/state"', f'dir = "{keeper.folder}/file/state"'))
    keeper.start()
    assert "the state is kept in memory only" in keeper.status()["store"]["degraded"]
    banner = [line for line in keeper.log.read_text().splitlines() if line.startswith("  state")]
    assert "in memory only" in banner[-1]
    engine.run(["sh", "-c", "exit 3"], name="crash")
    keeper.wait_for("container-crashed", "crash")


def test_connections_that_are_cut_again_and_again_leave_nothing_open(
    keeper: DaemonUnderTest, engine: PrivateEngine
) -> None:
    descriptors = Path(f"/proc/{keeper.pid}/fd")
    counts = []
    for number in range(4):
        keeper.tap.cut()
        engine.run(["sh", "-c", "exit 3"], name=f"crash-{number}")
        keeper.wait_for("container-crashed", f"crash-{number}", 30)
        counts.append(len(list(descriptors.iterdir())))
    assert max(counts[2:]) <= max(counts[:2]) + 2, counts
