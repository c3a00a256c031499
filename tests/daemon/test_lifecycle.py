"""The daemon waits for signals as values, and tells systemd how it is."""

from __future__ import annotations

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from daemon.heartbeats import Heartbeats
from daemon.systemd import Notifier, Watchdog, watchdog_interval
from tests.fakes.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WAIT_AND_TELL = (
    "from daemon.lifecycle import await_signal, block_signals\n"
    "block_signals(); print('blocked', flush=True); print(await_signal().name)"
)


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(10)
        yield sock


def notifier(systemd: socket.socket) -> Notifier:
    return Notifier({"NOTIFY_SOCKET": systemd.getsockname()})


def heard(systemd: socket.socket) -> list[str]:
    return systemd.recv(4096).decode().splitlines()


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_arrives_as_a_value(sent: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", WAIT_AND_TELL], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "blocked\n"
        child.send_signal(sent)
        assert child.stdout.readline() == f"{sent.name}\n"
    assert child.returncode == 0


def test_a_part_is_stale_once_its_deadline_has_passed() -> None:
    clock = FakeClock()
    heartbeats = Heartbeats({"watch": timedelta(seconds=60), "reader": timedelta(seconds=90)}, clock)
    clock.advance(timedelta(seconds=60))
    assert heartbeats.stale() == ()
    clock.advance(timedelta(seconds=1))
    assert heartbeats.stale() == ("watch",)
    heartbeats.beat("watch")
    assert heartbeats.stale() == ()
    clock.advance(timedelta(seconds=30))
    assert heartbeats.stale() == ("reader",)


def test_a_part_without_a_deadline_cannot_beat() -> None:
    with pytest.raises(KeyError):
        Heartbeats({}, FakeClock()).beat("unheard-of")


def test_systemd_hears_ready_status_and_stopping(systemd: socket.socket) -> None:
    told = notifier(systemd)
    told.ready("watching 12 containers")
    assert heard(systemd) == ["READY=1", "STATUS=watching 12 containers"]
    told.status("engine down\nREADY=1")
    assert heard(systemd) == ["STATUS=engine down READY=1"]
    told.stopping()
    assert heard(systemd) == ["STOPPING=1"]


def test_an_abstract_address_is_understood() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        name = f"shipkeeper-test-{os.getpid()}"
        systemd.bind(f"\0{name}")
        systemd.settimeout(10)
        Notifier({"NOTIFY_SOCKET": f"@{name}"}).stopping()
        assert heard(systemd) == ["STOPPING=1"]


def test_without_systemd_nothing_is_told(caplog: pytest.LogCaptureFixture) -> None:
    Notifier({}).ready("watching")
    assert caplog.text == ""


def test_a_deaf_systemd_is_a_line_in_the_log_and_no_more(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "absent")}).ready("watching")
    assert "cannot tell systemd READY=1" in caplog.text


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"WATCHDOG_USEC": "90000000"}, timedelta(seconds=45)),
        ({"WATCHDOG_USEC": "90000000", "WATCHDOG_PID": "7"}, timedelta(seconds=45)),
        ({"WATCHDOG_USEC": "90000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_fed_at_half_its_timeout_by_its_own_process(
    environ: dict[str, str], expected: timedelta | None
) -> None:
    assert watchdog_interval(environ, pid=7) == expected


def test_the_watchdog_is_fed_only_while_every_part_is_alive(
    systemd: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    answers: queue.SimpleQueue[tuple[str, ...]] = queue.SimpleQueue()
    watchdog = Watchdog(timedelta(milliseconds=1), notifier(systemd), lambda: answers.get(timeout=10))
    watchdog.start()
    answers.put(())
    assert heard(systemd) == ["WATCHDOG=1"]
    answers.put(("watch", "sender"))
    answers.put(())
    assert heard(systemd) == ["WATCHDOG=1"]
    assert "no sign of life from watch, sender" in caplog.text
    closing = threading.Thread(target=watchdog.close)
    closing.start()
    assert watchdog._closed.wait(10)
    answers.put(())
    closing.join()
