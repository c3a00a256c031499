"""The threads of a running daemon: each is looked after, and one that keeps dying is the end."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from daemon.app import DEADLINES
from tests.integration.watched_daemon import WatchedDaemon
from tests.lab.scripted_engine import ScriptedEngine

if TYPE_CHECKING:
    from tests.lab.slack import FakeSlack

SHORT_LIVED = {"statvfs", "inspect", "job"}
"""Helpers that somebody waits for; most of them bear the name of the thread that began them."""

HEAP_BYTES = 64 * 1024 * 1024

DYING = """
import os, sys, threading
from daemon.app import run
from daemon.clock import SystemClock
from daemon.loading import load
from daemon.reload import Configuration

class Deadly(SystemClock):
    def now(self):
        if threading.current_thread().name == "sampler":
            raise SystemExit("the sampler cannot live with this clock")
        return super().now()

sys.exit(run(Configuration(load(None, os.environ), lambda: None, os.environ, Deadly())))
"""


def test_every_thread_of_a_running_daemon_has_a_heartbeat_with_a_deadline(tmp_path: Path, slack: FakeSlack) -> None:
    with (
        ScriptedEngine(tmp_path / "docker.sock") as engine,
        WatchedDaemon(tmp_path / "daemon", engine.host, slack.webhook_url) as daemon,
    ):
        daemon.wait_ready()
        kinds = {name.partition("-")[0] for name in daemon.names()} - SHORT_LIVED
        assert (kinds - {"shipkeeper"}) | {"main", "lane"} == DEADLINES.keys()


def test_the_threads_of_a_running_daemon_share_one_heap(tmp_path: Path, slack: FakeSlack) -> None:
    with (
        ScriptedEngine(tmp_path / "docker.sock") as engine,
        WatchedDaemon(tmp_path / "daemon", engine.host, slack.webhook_url) as daemon,
    ):
        daemon.wait_ready()
        assert heaps_of_threads(daemon.process.pid) == []


def test_a_daemon_that_cannot_keep_a_thread_alive_closes_in_order_and_ends_with_1(tmp_path: Path) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "SHIPKEEPER_DOCKER__HOST": f"unix://{tmp_path}/none.sock",
        "SHIPKEEPER_STATE__DIR": str(tmp_path / "state"),
        "SHIPKEEPER_CONTROL__SOCKET": str(tmp_path / "control.sock"),
        "SHIPKEEPER_WEB__LISTEN": "127.0.0.1:0",
    }
    done = subprocess.run(
        [sys.executable, "-c", DYING], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1, done.stderr
    assert "the thread sampler died 3 times within 10 min: the daemon ends with exit code 1" in done.stderr
    assert not (tmp_path / "control.sock").exists()
    assert not (tmp_path / "state" / "state.db-wal").exists()


def heaps_of_threads(pid: int) -> list[str]:
    """Give where glibc has heaps beside the first: each is the begun part of 64 MiB that are set aside for it."""
    maps = re.findall(r"(?m)^(\w+)-(\w+) (\S+) \S+ \S+ 0 *$", Path(f"/proc/{pid}/maps").read_text())
    return [
        begin
        for (begin, end, rights), (rest, rest_end, rest_rights) in pairwise(maps)
        if (rights, rest_rights, end) == ("rw-p", "---p", rest)
        and int(begin, 16) % HEAP_BYTES == 0
        and int(rest_end, 16) == int(begin, 16) + HEAP_BYTES
    ]
