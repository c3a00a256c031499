"""Each thread of a real daemon stalled in turn: systemd notices, and SIGTERM ends it all the same."""

from __future__ import annotations

import re
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from daemon.app import DEADLINES
from tests.integration.watched_daemon import WatchedDaemon
from tests.lab.scripted_engine import ScriptedEngine
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.lab.slack import FakeSlack

THREADS = (
    "shipkeeper",  # the main thread, which bears the name of the process
    "engine",
    "reader",
    "sampler",
    "gpu",
    "images",
    "watch",
    "executor",
    "sender-console",
    "sender-slack",
    "sender-webhook",
    "alertmanager",
    "heartbeat",
    "scheduler",
    "web",
    "control",
    "watchdog",
)
"""As the kernel knows them."""
HEARTBEATS = {"shipkeeper": "main"}
"""The heartbeats of threads that have another name than that."""
LONGEST = max(DEADLINES.values()).total_seconds()
TIME_TO_END = 20.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def daemons(tmp_path: Path, slack: FakeSlack) -> Iterator[Mapping[str, WatchedDaemon]]:
    """Give a daemon for each thread, all of them at one engine, each with that one thread stalled."""
    with ExitStack() as closing:
        engine = closing.enter_context(ScriptedEngine(tmp_path / "docker.sock"))
        engine.add("web")
        daemons = {
            name: closing.enter_context(WatchedDaemon(tmp_path / name, engine.host, slack.webhook_url))
            for name in THREADS
        }
        for name, daemon in daemons.items():
            daemon.wait_ready()
            assert daemon.names() == set(THREADS)
            daemon.stall(name)
        yield daemons


def test_the_watchdog_of_systemd_notices_whichever_thread_is_stalled(daemons: Mapping[str, WatchedDaemon]) -> None:
    for name, daemon in daemons.items():
        if name == "watchdog":
            continue  # it cannot name itself
        heartbeat = HEARTBEATS.get(name, name)
        unfed = re.compile(rf"the watchdog is not fed: no sign of life from .*\b{heartbeat}\b")
        wait_until(lambda: unfed.search(daemon.log), f"{name} to be missed; the log: {daemon.log}", LONGEST + 60)  # noqa: B023
        fed = daemon.fed()
        wait_until(lambda: len(unfed.findall(daemon.log)) >= 4, "it to be missed for longer", 60)  # noqa: B023
        assert daemon.fed() == fed, f"{name} is stalled, and yet the watchdog is fed"
    assert daemons["watchdog"].fed() < min(daemon.fed() for name, daemon in daemons.items() if name != "watchdog")


def test_sigterm_ends_the_daemon_with_0_whichever_thread_is_stalled(daemons: Mapping[str, WatchedDaemon]) -> None:
    # The main thread is the one that hears the signal: stalled, it leaves the daemon to systemd's SIGKILL.
    asked = {name: daemon for name, daemon in daemons.items() if name != "shipkeeper"}
    for daemon in asked.values():
        daemon.notify.deafen()
    until = time.monotonic() + TIME_TO_END
    for daemon in asked.values():
        daemon.terminate()
    for name, daemon in asked.items():
        wait_until(daemon.ended, f"the end of the daemon with a stalled {name}", max(until - time.monotonic(), 0.1))
    assert {name: daemon.process.returncode for name, daemon in asked.items()} == dict.fromkeys(asked, 0)
