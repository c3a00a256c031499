"""A real Alertmanager on loopback that routes everything on to one webhook; of it nothing is left afterwards."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import urllib.request
from typing import TYPE_CHECKING, Any, Self

from tests.lab import binaries
from tests.lab.errors import LabError
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_CONFIG = """\
route:
  receiver: hook
  group_by: ['...']
  group_wait: 1s
  group_interval: 1s
  repeat_interval: 1h
receivers:
- name: hook
  webhook_configs: [{{url: {webhook}, send_resolved: true}}]
"""
# Debian's server reads its templates from one place of the system's: it gets a view of it in which they are there.
_WITHIN = 'mount -t overlay -o "lowerdir=$1:/usr/share" lab /usr/share && shift && exec "$@"'


class Alertmanager:
    """
    A context manager around one server that keeps all it has in `folder`; it can be ended and begun again.

    `bond` are environment variables that it carries, as an engine gives them: a sweep of that engine ends it, too.
    """

    def __init__(self, folder: Path, webhook: str, bond: Mapping[str, str]) -> None:
        self._folder = folder
        self._webhook = webhook
        self._environment = {**os.environ, **bond}
        self._log = folder / "alertmanager.log"
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, at the same address each time, and wait until it is ready. Raises `LabError`."""
        tree = binaries.alertmanager()
        config = self._folder / "alertmanager.yml"
        config.write_text(_CONFIG.format(webhook=json.dumps(self._webhook)))
        command = [
            *("unshare", "--mount", "--propagation", "private", "sh", "-c", _WITHIN, "sh", str(tree / "usr/share")),
            str(tree / "usr/bin/prometheus-alertmanager"),
            f"--config.file={config}",
            f"--storage.path={self._folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--cluster.listen-address=",
        ]
        with self._log.open("ab") as log:
            self._process = process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)
        try:
            wait_until(lambda: process.poll() is not None or self._ready(), "Alertmanager to be ready", _START_SECONDS)
        except BaseException:
            self.stop()
            raise
        if process.poll() is not None:
            raise LabError(f"alertmanager ended with {process.returncode}; its output:\n{self._log.read_text()}")

    def stop(self) -> None:
        """End it; harmless when repeated."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def alerts(self) -> Sequence[Mapping[str, Any]]:
        """Give all alerts that are on there."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v2/alerts", timeout=10) as answer:
            found: Sequence[Mapping[str, Any]] = json.load(answer)
        return found

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=10):
                return True
        except OSError:
            return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
