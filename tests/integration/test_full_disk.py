"""The state on a file system of 2 MB that is full to the last block: what is kept, what is said, what is told."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.integration.daemon_under_test import DaemonUnderTest
from tests.lab.disks import mount_small_disk
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab.engine import PrivateEngine
    from tests.lab.slack import FakeSlack

pytestmark = pytest.mark.parametrize("shared_engine", ["28"], indirect=True)
CRASH = ["sh", "-c", "exit 3"]
ILL = {"healthcheck": {"test": ["CMD", "false"], "interval": 200_000_000, "retries": 1}}
HEALED_SECONDS = 60


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Give the state folder, a file system of its own."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    mount_small_disk(tmp_path / "state.img", state, 2)
    yield state
    subprocess.run(["umount", str(state)], check=True)


@pytest.fixture
def keeper(disk: Path, engine: PrivateEngine, slack: FakeSlack, tmp_path: Path) -> Iterator[DaemonUnderTest]:
    """Give a daemon whose state lies on the small disk; leaving it proves an end with 0."""
    assert disk == tmp_path / "state"
    with DaemonUnderTest(tmp_path, engine, slack, '[alerts.rules.state-unsaved]\nfor = "0s"') as daemon:
        yield daemon


def fill(disk: Path) -> None:
    """Leave not one block free."""
    with (disk / "ballast").open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(512))


def free(disk: Path) -> None:
    (disk / "ballast").unlink()


def degraded(keeper: DaemonUnderTest) -> str:
    return str(keeper.status()["store"]["degraded"] or "")


def told(keeper: DaemonUnderTest, news: str) -> int:
    return sum(news in headline and "🟠" in headline for headline in keeper.headlines())


def test_a_disk_that_fills_up_under_it_is_told_and_loses_nothing(
    keeper: DaemonUnderTest, engine: PrivateEngine, disk: Path
) -> None:
    engine.run(CRASH, name="before")
    keeper.wait_for("container-crashed", "before")
    fill(disk)
    engine.run(CRASH, name="while-full")
    keeper.wait_for("container-crashed", "while-full", 60)
    assert "cannot be written" in degraded(keeper)
    assert "the state is kept in memory only" in keeper.log.read_text()
    keeper.wait_for("state-unsaved", "database or disk is full", 60)
    free(disk)
    wait_until(lambda: not degraded(keeper), "the state to be on the disk again", HEALED_SECONDS)
    keeper.wait_for("state-unsaved", "🟢", 60)
    keeper.kill()
    keeper.start()
    engine.run(CRASH, name="sentinel")
    keeper.wait_for("container-crashed", "sentinel")
    assert [told(keeper, f"{name} crashed") for name in ("before", "while-full")] == [1, 1]


def test_a_disk_that_is_full_at_the_start_is_told_and_what_is_still_true_or_can_be_seen_is_told_again(
    keeper: DaemonUnderTest, engine: PrivateEngine, disk: Path
) -> None:
    engine.run(CRASH, name="before")
    keeper.wait_for("container-crashed", "before")
    keeper.stop()
    fill(disk)
    engine.run(CRASH, name="absent")
    engine.run(["sleep", "1000"], name="ill", config=ILL)
    keeper.start()
    keeper.wait_for("container-crashed", "absent", 60)
    keeper.wait_for("container-unhealthy", "ill", 60)
    assert "cannot be written" in degraded(keeper)
    keeper.kill()  # what it kept in memory is gone, but Docker still shows how these containers ended and are
    keeper.start()
    wait_until(lambda: told(keeper, "absent crashed") == 2, "the crash to be told again", 60)
    wait_until(lambda: told(keeper, "ill is unhealthy") == 2, "what is still true to be told again", 60)
    keeper.stop()
    free(disk)
    keeper.start()
    assert not degraded(keeper)
    engine.run(CRASH, name="sentinel")
    keeper.wait_for("container-crashed", "sentinel")
    assert told(keeper, "before crashed") == 1, "what was committed is not lost"
