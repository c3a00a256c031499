"""The daemon waits for signals as values, and tells systemd how it is."""

from __future__ import annotations

import errno
import os
import queue
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from daemon.heartbeats import Heartbeats
from daemon.systemd import Notifier, Watchdog, watchdog_interval
from tests.fakes.clock import FakeClock
from tests.fakes.crew import a_crew
from tests.lab.notify import fill
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

WAIT_AND_TELL = (
    "from daemon.lifecycle import await_signal, block_signals\n"
    "from datetime import timedelta\n"
    "block_signals(); print('blocked', flush=True); print(await_signal(timedelta(minutes=1)).name)"
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


def drain(systemd: socket.socket) -> None:
    """Take everything that waits to be heard."""
    systemd.settimeout(0)
    with suppress(BlockingIOError):
        while True:
            systemd.recv(4096)
    systemd.settimeout(10)


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_arrives_as_a_value(sent: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", WAIT_AND_TELL], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "blocked\n"
        child.send_signal(sent)
        assert child.stdout.readline() == f"{sent.name}\n"
    assert child.returncode == 0


def test_without_a_signal_the_wait_is_over_in_time() -> None:
    code = "from daemon.lifecycle import *; block_signals(); print(await_signal(timedelta(milliseconds=1)))"
    command = [sys.executable, "-c", f"from datetime import timedelta; {code}"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "None\n"


STUCK = """
import logging, sys, threading
from datetime import timedelta
from daemon.lifecycle import end_within
logging.basicConfig(handlers=[handler := logging.StreamHandler()])
if "log" in sys.argv:
    handler.acquire()
end_within(timedelta(milliseconds=1), lambda: ("watch", "sender-slack"), 7)
threading.Event().wait()
"""


def test_what_hangs_is_named_and_the_process_ends_all_the_same() -> None:
    done = subprocess.run([sys.executable, "-c", STUCK], stderr=subprocess.PIPE, text=True, timeout=30, check=False)
    assert done.returncode == 7
    assert "what hangs: watch, sender-slack" in done.stderr


def test_the_process_ends_even_if_the_log_hangs() -> None:
    assert subprocess.run([sys.executable, "-c", STUCK, "log"], timeout=30, check=False).returncode == 7


def test_a_part_is_stale_once_its_deadline_has_passed() -> None:
    clock = FakeClock()
    heartbeats = Heartbeats({"watch": timedelta(seconds=60), "sender": timedelta(seconds=90)}, clock)
    assert heartbeats.stale() == ()
    heartbeats.beat("watch")
    heartbeats.beat("sender-slack")
    clock.advance(timedelta(seconds=60))
    assert heartbeats.stale() == ()
    clock.advance(timedelta(seconds=1))
    assert heartbeats.stale() == ("watch",)
    heartbeats.beat("watch")
    assert heartbeats.stale() == ()
    clock.advance(timedelta(seconds=30))
    assert heartbeats.stale() == ("sender-slack",)
    heartbeats.leave("sender-slack")
    assert heartbeats.stale() == ()


def test_a_part_without_a_deadline_cannot_beat() -> None:
    with pytest.raises(KeyError):
        Heartbeats({}, FakeClock()).beat("unheard-of")


def test_systemd_hears_ready_a_new_status_reloading_and_stopping(systemd: socket.socket) -> None:
    told = notifier(systemd)
    told.ready("watching 12 containers")
    assert heard(systemd) == ["READY=1", "STATUS=watching 12 containers"]
    told.status("engine down\nREADY=1")
    told.status("engine down\nREADY=1")
    assert heard(systemd) == ["STATUS=engine down READY=1"]
    told.reloading(12.5)
    assert heard(systemd) == ["RELOADING=1", "MONOTONIC_USEC=12500000"]
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


def test_a_systemd_that_does_not_listen_is_waited_for_once(
    systemd: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    fill(systemd)
    told = Notifier({"NOTIFY_SOCKET": systemd.getsockname()}, timedelta(milliseconds=1))
    told.status("12 containers")
    told.stopping()
    waited, not_waited = caplog.messages
    assert waited.endswith("timed out")
    assert not_waited.endswith(os.strerror(errno.EAGAIN))
    drain(systemd)
    told.stopping()
    assert heard(systemd) == ["STOPPING=1"]
    fill(systemd)
    caplog.clear()
    told.stopping()
    assert "timed out" in caplog.text, "one that has listened again is waited for again"


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
    crew = a_crew()
    watchdog = Watchdog(timedelta(milliseconds=1), notifier(systemd), lambda: answers.get(timeout=10), crew)
    watchdog.start()
    answers.put(())
    assert heard(systemd) == ["WATCHDOG=1"]
    answers.put(("watch", "sender"))
    answers.put(())
    assert heard(systemd) == ["WATCHDOG=1"]
    assert "no sign of life from watch, sender" in caplog.text
    watchdog.stop()
    answers.put(())
    watchdog.close()
    assert crew.hanging == ()


STOPPED_WHILE_IT_WAITS = """
from datetime import timedelta
from daemon.lifecycle import await_signal, block_signals
block_signals()
print("waiting", flush=True)
print(await_signal(timedelta(seconds=0.5)), flush=True)
"""


def test_a_process_that_was_stopped_while_it_waited_goes_on() -> None:
    with subprocess.Popen([sys.executable, "-c", STOPPED_WHILE_IT_WAITS], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: "\nState:\tT" in Path(f"/proc/{process.pid}/status").read_text(), "it stops")
        patience_is_over = time.monotonic() + 0.6
        wait_until(lambda: time.monotonic() > patience_is_over, "its patience to be over")
        process.send_signal(signal.SIGCONT)
        assert process.stdout.read() == "None\n"
    assert process.returncode == 0
