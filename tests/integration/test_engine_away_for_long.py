"""An engine that is away for longer than every deadline: the daemon waits, and systemd leaves it alone."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from daemon.app import DEADLINES
from tests.integration.watched_daemon import WATCHDOG, WatchedDaemon
from tests.lab.scripted_engine import ScriptedEngine
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.slack import FakeSlack

MINUTES = float(os.environ.get("ENGINE_AWAY_MINUTES", "4"))
"""An hour was tried with the first version of this; four minutes are longer than every deadline."""
assert max(DEADLINES.values()).total_seconds() < MINUTES * 60


def told(daemon: WatchedDaemon) -> str:
    """Give the status that systemd was told last."""
    return next((line for line in reversed(daemon.notify.heard) if line.startswith("STATUS=")), "")


@pytest.mark.slow
@pytest.mark.timeout(MINUTES * 90 + 180)
def test_the_watchdog_is_fed_all_the_time_without_an_engine_and_with_a_frozen_one(
    tmp_path: Path, slack: FakeSlack
) -> None:
    with (
        ScriptedEngine(tmp_path / "docker.sock") as engine,
        WatchedDaemon(tmp_path / "none", f"unix://{tmp_path}/none.sock", slack.webhook_url) as without,
        WatchedDaemon(tmp_path / "frozen", engine.host, slack.webhook_url) as frozen,
    ):
        engine.add("web")
        for daemon in (without, frozen):
            daemon.wait_ready()
        wait_until(lambda: told(frozen).endswith("Docker 28.5.2 up"), "the engine to be seen", 60)
        engine.freeze()
        enough = MINUTES * 60 / (WATCHDOG.total_seconds() / 2)
        for daemon in (without, frozen):
            wait_until(
                lambda: daemon.fed() >= enough or daemon.ended(),  # noqa: B023  it is called at once
                f"the watchdog to be fed {enough:.0f} times",
                MINUTES * 90,
            )
            assert not daemon.ended(), daemon.log
            assert "the watchdog is not fed" not in daemon.log
        engine.thaw()
        wait_until(lambda: told(frozen).endswith("Docker 28.5.2 up"), "the engine to be up again", 60)
        for daemon in (without, frozen):
            daemon.terminate()
            wait_until(daemon.ended, "its end", 30)
            assert daemon.process.returncode == 0
