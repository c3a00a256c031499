"""Runs Shipkeeper as a user does, as a process of its own, and reads what the kernel counts of it."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

from daemon.client import call
from tests.lab.binaries import REPOSITORY
from tests.lab.errors import LabError
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType

    from tests.lab.engine import PrivateEngine

_BYTECODE = Path(os.environ.get("SHIPKEEPER_CACHE", REPOSITORY / ".cache")) / "bytecode"
_READY_SECONDS = 30.0
_END_SECONDS = 15.0
_PROCESS_CPU_CLOCK = 2  # CPUCLOCK_SCHED of the kernel's posix-timers: nanoseconds, threads that ended included
_CONFIG = """\
[host]
name = "bench"
[docker]
host = {docker}
[state]
dir = {state}
[control]
socket = {control}
[web]
listen = {listen}
[slack]
webhook_url = {webhook}
max_per_second = 0
[alerts]
group_wait = "0s"
[alerts.rules.container-crashed]
for = "0s"
"""


class Subject:
    """
    A context manager around one daemon that keeps its things in `folder` and tells a fake Slack at once of every crash.

    `bond` is added to its environment, `within` is a program that it is run by.
    """

    def __init__(
        self,
        folder: Path,
        docker_host: str,
        webhook_url: str,
        *,
        bond: Mapping[str, str] = MappingProxyType({}),
        within: Sequence[str] = (),
    ) -> None:
        self._folder = folder
        self._folder.mkdir(exist_ok=True)
        self._within = within
        self.ready_seconds = 0.0
        """From the start of the process until `/-/ready` answered 200."""
        self._log = self._folder / "log"
        self._port = _free_port()
        places = {
            "docker": docker_host,
            "state": str(self._folder / "state"),
            "control": str(self._folder / "control.sock"),
            "listen": f"127.0.0.1:{self._port}",
            "webhook": webhook_url,
        }
        quoted = {key: json.dumps(place) for key, place in places.items()}
        self._config = self._folder / "shipkeeper.toml"
        self._config.touch(mode=0o600)  # it holds what counts as a secret
        self._config.write_text(_CONFIG.format(**quoted))
        # As an installed program has it: compiled once, whatever this shell says.
        compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(_BYTECODE)}
        self._environment = {**os.environ, **compiled, **bond}
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def on(cls, engine: PrivateEngine, webhook_url: str) -> Self:
        """Give one for a private engine, whose end is also its end."""
        return cls(engine.folder / "shipkeeper", engine.docker_host, webhook_url, bond=engine.bond)

    def __enter__(self) -> Self:
        command = [*self._within, sys.executable, "-m", "daemon.app", "--config", str(self._config)]
        began = time.monotonic()
        with self._log.open("wb") as log:
            self._process = process = subprocess.Popen(
                command, cwd=REPOSITORY, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )
        try:
            wait_until(lambda: process.poll() is not None or self._ready(), "Shipkeeper to be ready", _READY_SECONDS)
        except BaseException:
            self._end()
            raise
        self.ready_seconds = time.monotonic() - began
        if process.returncode is not None:
            raise LabError(f"shipkeeper ended with exit code {process.returncode}; its last words:\n{self.log_tail()}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    @property
    def address(self) -> str:
        """Where its pages are, as `host:port`."""
        return f"127.0.0.1:{self._port}"

    def page(self) -> bytes:
        """Scrape once as Prometheus does; gives the body as it came, gzipped."""
        return self._get("/metrics", {"Accept-Encoding": "gzip"})[1]

    def text(self) -> str:
        """Scrape once and give the page as text."""
        return self._get("/metrics", {})[1].decode()

    def status(self) -> object:
        """Ask the control socket for the status, as the command line does."""
        return call(self._folder / "control.sock", "GET", "/status")

    def descriptors(self) -> int:
        """Give how many files, sockets and pipes the process has open just now."""
        return sum(1 for _ in Path(f"/proc/{self._pid}/fd").iterdir())

    def state_bytes(self) -> int:
        """Give how much the state takes on the disk, the write-ahead log included."""
        return sum(file.stat().st_size for file in (self._folder / "state").iterdir())

    def cpu_seconds(self) -> float:
        """Give the CPU time that the process has used until now, user and system, of all threads it ever had."""
        return cpu_seconds(self._pid)

    def pss_bytes(self) -> dict[str, int]:
        """Give the memory of the process and its descendants, a shared page counted in parts, by kind and in all."""
        totals: dict[str, int] = {}
        for pid in _family(self._pid):
            for kind, kilobytes in _rollup(pid):
                totals[kind] = totals.get(kind, 0) + kilobytes * 1024
        return totals

    def threads(self) -> int:
        """Give how many threads the process has just now."""
        return sum(1 for _ in Path(f"/proc/{self._pid}/task").iterdir())

    def log_tail(self, lines: int = 20) -> str:
        """Give the last lines that it has printed or logged."""
        return "\n".join(self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])

    @property
    def _pid(self) -> int:
        assert self._process is not None, "enter the subject's context first"
        return self._process.pid

    def _ready(self) -> bool:
        try:
            return self._get("/-/ready", {})[0] == http.HTTPStatus.OK
        except OSError:
            return False

    def _get(self, path: str, headers: dict[str, str]) -> tuple[int, bytes]:
        client = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            client.request("GET", path, headers=headers)
            response = client.getresponse()
            return response.status, response.read()
        finally:
            client.close()

    def _end(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def cpu_seconds(pid: int) -> float:
    """Give the CPU time that a process has used until now, of all threads it ever had."""
    # clock_getcpuclockid(3): the clock of a process is made from its id
    return time.clock_gettime(~pid << 3 | _PROCESS_CPU_CLOCK)


def _family(pid: int) -> Iterator[int]:
    """Yield the process and all its descendants."""
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended, or a child
            for child in (task / "children").read_text().split():
                yield from _family(int(child))


def _rollup(pid: int) -> Iterator[tuple[str, int]]:
    """Yield the kinds of PSS of one process (`Pss`, `Pss_Anon`, `Pss_File`, …) with their KiB."""
    with suppress(FileNotFoundError, ProcessLookupError):  # a child that has just ended shares no memory any more
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            kind, _, value = line.partition(":")
            if kind.startswith("Pss"):
                yield kind, int(value.split()[0])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
