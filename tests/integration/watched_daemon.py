"""A daemon under a service manager: this test listens to what it tells systemd, and may stall its threads."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from tests.lab.notify import NotifySocket
from tests.lab.stall import bury, release, stall, threads
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

WATCHDOG = timedelta(seconds=4)
"""What systemd would wait: the daemon feeds it every two seconds."""
_TRIES = 20
_CONFIG = """
[docker]
host = "{docker_host}"
[control]
socket = "{folder}/control.sock"
[state]
dir = "{folder}/state"
[web]
listen = "127.0.0.1:0"
[slack]
webhook_url = "{webhook_url}"
[alertmanager]
urls = ["http://127.0.0.1:9"]
slack_too = true
[webhook]
url = "http://127.0.0.1:9"
[heartbeat]
url = "http://127.0.0.1:9"
"""


class WatchedDaemon:
    """A context manager around one daemon; leaving it kills what is left of it. Use it from one thread."""

    def __init__(self, folder: Path, docker_host: str, webhook_url: str) -> None:
        folder.mkdir()
        self.folder = folder
        self.notify = NotifySocket(folder / "notify")
        self._log = folder / "output.log"
        self._config = folder / "shipkeeper.toml"
        self._config.touch(mode=0o600)
        self._config.write_text(_CONFIG.format(docker_host=docker_host, folder=folder, webhook_url=webhook_url))
        self._stalled: int | None = None
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        self._closing.enter_context(self.notify)
        output = self._closing.enter_context(self._log.open("wb"))
        microseconds = str(WATCHDOG // timedelta(microseconds=1))
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "daemon.app", "--config", str(self._config)],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "NOTIFY_SOCKET": str(self.notify.path), "WATCHDOG_USEC": microseconds},
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._closing:
            self.process.kill()
            wait_until(self.ended, "the daemon to be gone", 30)

    @property
    def log(self) -> str:
        """Everything it has printed so far."""
        return self._log.read_text()

    def fed(self) -> int:
        """Tell how often the watchdog was fed."""
        return self.notify.heard.count("WATCHDOG=1")

    def wait_ready(self) -> None:
        """Wait until it has said so, and has fed the watchdog once."""
        wait_until(lambda: "READY=1" in self.notify.heard and self.fed(), f"the daemon to be ready: {self._log}", 60)

    def names(self) -> set[str]:
        """Give the names of its threads."""
        return set(threads(self.process.pid).values())

    def stall(self, name: str) -> None:
        """Stall the thread of this name at a moment at which the others go on."""
        for _ in range(_TRIES):
            tid = next(tid for tid, known in threads(self.process.pid).items() if known == name[:15])
            stall(tid)
            if self._goes_on(name):
                self._stalled = tid
                return
            release(tid)
        raise AssertionError(f"{name} was never found at rest")

    def terminate(self) -> None:
        """Ask it to end."""
        self.process.send_signal(signal.SIGTERM)

    def ended(self) -> bool:
        """Tell whether it is gone; then the exit code is in `process.returncode`."""
        if self._stalled is not None:
            bury(self._stalled)
        return self.process.poll() is not None

    def _goes_on(self, stalled: str) -> bool:
        """Tell whether the interpreter is free: another thread answers."""
        try:
            with self._connected("control" if stalled == "web" else "web") as client:
                client.settimeout(3)
                client.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n")
                return client.recv(16).startswith(b"HTTP/1.1")
        except TimeoutError:
            return False

    def _connected(self, server: str) -> socket.socket:
        if server == "control":
            client = socket.socket(socket.AF_UNIX)
            client.connect(str(self.folder / "control.sock"))
            return client
        host, port = self.log.split("http://", 1)[1].split("/metrics", 1)[0].split(":")
        return socket.create_connection((host, int(port)))
