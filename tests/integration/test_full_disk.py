"""The state on a file system of 2 MB that is full to the last block: what is kept, what is said, what is told."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.integration.daemon_under_test import DaemonUnderTest
from tests.lab.binaries import Suite
from tests.lab.disks import mount_small_disk
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab.engine import PrivateEngine
    from tests.lab.slack import FakeSlack

pytestmark = pytest.mark.parametrize("shared_engine", [Suite.SID], ids=["28"], indirect=True)
CRASH = ["sh", "-c", "exit 3"]
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


def crashes_told(keeper: DaemonUnderTest, name: str) -> int:
    return sum(f"{name} crashed" in headline and "🟠" in headline for headline in keeper.headlines())


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
    assert [crashes_told(keeper, name) for name in ("before", "while-full")] == [1, 1]


def test_a_disk_that_is_full_at_the_start_is_told_and_what_can_still_be_seen_is_told_again(
    keeper: DaemonUnderTest, engine: PrivateEngine, disk: Path
) -> None:
    engine.run(CRASH, name="before")
    keeper.wait_for("container-crashed", "before")
    keeper.stop()
    fill(disk)
    engine.run(CRASH, name="absent")
    keeper.start()
    keeper.wait_for("container-crashed", "absent", 60)
    assert "cannot be written" in degraded(keeper)
    keeper.kill()  # what it kept in memory is gone, but Docker still shows how that container ended
    keeper.start()
    wait_until(lambda: crashes_told(keeper, "absent") == 2, "the crash to be told again", 60)
    keeper.stop()
    free(disk)
    keeper.start()
    assert not degraded(keeper)
    engine.run(CRASH, name="sentinel")
    keeper.wait_for("container-crashed", "sentinel")
    assert crashes_told(keeper, "before") == 1, "what was committed is not lost"
