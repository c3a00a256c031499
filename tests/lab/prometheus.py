"""A real Prometheus on loopback that scrapes one target every second; of it nothing is left afterwards."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.lab import binaries
from tests.lab.errors import LabError
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_CONFIG = """\
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: {rules}
scrape_configs:
- job_name: shipkeeper
  static_configs: {hosts}
{more}"""


@dataclass(frozen=True, slots=True)
class Series:
    """One line of an answer: its labels, the metric's name among them, and its value now."""

    labels: Mapping[str, str]
    value: float


class Prometheus:
    """
    A context manager around one server that scrapes `target` (`host:port`) and keeps all it has in `folder`.

    `bond` are environment variables that it carries, as an engine gives them: a sweep of that engine ends it, too.
    `more` are further lines of the job, in YAML, two spaces deep; `rules` are files of rules, worked out every second.
    `hosts` is how often it scrapes the target, each time as another host.
    """

    def __init__(  # noqa: PLR0913  each has a default that most take
        self,
        folder: Path,
        target: str,
        bond: Mapping[str, str],
        more: str = "",
        rules: Sequence[Path] = (),
        *,
        hosts: int = 1,
    ) -> None:
        self._folder = folder
        host = {"targets": [target]}
        self._hosts = [host, *(host | {"labels": {"host": f"host-{number}"}} for number in range(1, hosts))]
        self._more = more
        self._rules = [str(file) for file in rules]
        self._environment = {**os.environ, **bond}
        self._log = folder / "prometheus.log"
        self._address = ""
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        server = binaries.prometheus()
        self._address = f"127.0.0.1:{_free_port()}"
        config = self._folder / "prometheus.yml"
        config.write_text(_CONFIG.format(hosts=json.dumps(self._hosts), rules=json.dumps(self._rules), more=self._more))
        command = [
            str(server),
            f"--config.file={config}",
            f"--storage.tsdb.path={self._folder / 'tsdb'}",
            f"--web.listen-address={self._address}",
            "--web.enable-admin-api",
        ]
        with self._log.open("wb") as log:
            self._process = process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)
        try:
            wait_until(lambda: process.poll() is not None or self._ready(), "Prometheus to be ready", _START_SECONDS)
        except BaseException:
            self._end()
            raise
        if process.poll() is not None:
            raise LabError(f"prometheus ended with {process.returncode}; its output:\n{self._log.read_text()}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def query(self, expression: str) -> Sequence[Series]:
        """Ask what an expression gives now. Raises `LabError` with Prometheus' own words if it makes no sense."""
        asked = urllib.parse.urlencode({"query": expression})
        try:
            answer = json.loads(self._get(f"/api/v1/query?{asked}"))
        except urllib.error.HTTPError as refusal:
            with refusal:
                raise LabError(f"prometheus refuses {expression}: {refusal.read().decode()}") from refusal
        return [_series(each) for each in answer["data"]["result"]]

    def wait_for(self, expression: str, seconds: float = 30.0) -> Sequence[Series]:
        """Wait until an expression gives at least one series."""
        return wait_until(lambda: self.query(expression), f"Prometheus to find {expression}", seconds)

    def snapshot(self) -> Path:
        """Let it write everything that it has into blocks, and give their folder."""
        with urllib.request.urlopen(
            f"http://{self._address}/api/v1/admin/tsdb/snapshot", data=b"", timeout=60
        ) as answer:
            name = json.loads(answer.read())["data"]["name"]
        return self._folder / "tsdb" / "snapshots" / str(name)

    def resident_bytes(self) -> int:
        """Give the memory of the server that no file stands behind."""
        assert self._process is not None, "enter its context first"
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(re.findall(r"(?m)^RssAnon:\s+(\d+) kB$", status)[0]) * 1024

    def _ready(self) -> bool:
        try:
            return self._get("/-/ready") != ""
        except OSError:
            return False

    def _get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://{self._address}{path}", timeout=10) as answer:
            return str(answer.read().decode())

    def _end(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _series(result: Mapping[str, Any]) -> Series:
    return Series(labels=result["metric"], value=float(result["value"][1]))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
