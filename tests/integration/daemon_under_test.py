"""The daemon as its users run it: a process of its own, on a real engine, telling a local Slack."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol, Self

from daemon.client import NoDaemonError, call
from policies.catalogue import RULES
from tests.lab.slack import TOKEN
from tests.lab.tap import SocketTap
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

    from tests.lab.slack import FakeSlack, Post
    from tests.lab.tap import Asked

PRUNE = "build/prune"
"""What stands for the one prune of the build cache in `may_remove`."""
_STOP_SECONDS = 20

CONFIG = """
[host]
name = "test-host"
[docker]
host = "{docker_host}"
[control]
socket = "{folder}/control.sock"
[state]
dir = "{folder}/state"
[log]
level = "debug"
[web]
listen = "127.0.0.1:0"
[slack]
{way}
max_per_second = 0
[alerts]
group_wait = "0s"
[alerts.rules.container-crashed]
for = "0s"
clear = "0s"
[alerts.rules.container-unhealthy]
for = "0s"
clear = "0s"
[alerts.rules.engine-down]
clear = "0s"
[alerts.rules.host-oom]
# It is about the machine that the tests run on.
enabled = false
{more}
"""


class WatchedEngine(Protocol):
    """What the daemon needs of an engine, real or scripted."""

    @property
    def socket(self) -> Path:
        """Where it listens."""
        ...

    @property
    def bond(self) -> Mapping[str, str]:
        """Environment by which the daemon is swept away with the engine."""
        ...


class DaemonUnderTest:
    """
    A context manager around one running daemon whose every request to the engine goes through a tap.

    Its output lies in `log`; leaving the block stops it with SIGTERM and asserts that it ended with 0 and sent
    the engine nothing but GETs, and plain DELETEs of the objects in `may_remove`, where `PRUNE` stands for that of
    the build cache.
    """

    def __init__(self, folder: Path, engine: WatchedEngine, slack: FakeSlack, more: str = "", *, bot: str = "") -> None:
        """Write its configuration; it tells Slack by the webhook, or as a bot in the channel `bot`."""
        self.folder = folder
        self.slack = slack
        self.log = folder / "output.log"
        self.config = folder / "shipkeeper.toml"
        self.tap = SocketTap(folder / "tap.sock", engine.socket)
        self.config.touch(mode=0o600)
        way = f'webhook_url = "{slack.webhook_url}"'
        if bot:
            way = f'token = "{TOKEN}"\nchannel = "{bot}"\napi_url = "{slack.api_url}"'
        self.config.write_text(CONFIG.format(docker_host=self.tap.docker_host, folder=folder, way=way, more=more))
        self._environment = {**_environment(), **engine.bond}
        self._process: subprocess.Popen[bytes] | None = None
        self._begun = 0
        self.may_remove: set[str] = set()

    def __enter__(self) -> Self:
        self.tap.__enter__()
        try:
            self.start()
        except BaseException:
            self.kill()
            self.tap.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            code = self.stop()
        finally:
            self.tap.__exit__(None, None, None)
        assert error is not None or code == 0, f"the daemon ended with {code}:\n{self.log.read_text()}"
        assert self.tap.asked, "the tap saw nothing: it counts nothing"
        assert [one for one in self.tap.non_get if not self._is_allowed(one)] == []

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    def start(self, *, ready: bool = True) -> None:
        """Start it and, unless told otherwise, wait until it has seen every container."""
        self.launch()
        wait_until(self._answers, f"the daemon to answer; its output: {self.log}", 20)
        if ready:
            wait_until(lambda: "ready" in self.page("/-/ready"), "the daemon to be ready", 20)

    def launch(self, *program: str) -> None:
        """Start it without waiting, or instead of it a program that takes its arguments after its own."""
        with self.log.open("ab") as output:
            self._begun = output.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", *(program or ("daemon.app",)), "--config", str(self.config)],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=self._environment | self._apart_from_this_disk(),
            )

    def end(self, timeout: float, asked_to: signal.Signals | None = None) -> int:
        """Wait until it has ended by itself, or on this signal, and give its exit code."""
        assert self._process is not None
        if asked_to is not None:
            self._process.send_signal(asked_to)
        code = self._process.wait(timeout)
        self._process = None
        return code

    def stop(self) -> int:
        """Stop it with SIGTERM and give its exit code."""
        if self._process is None:
            return 0
        try:
            return self.end(_STOP_SECONDS, signal.SIGTERM)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """End it with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def ask(self, path: str, method: str = "GET") -> Any:
        """Ask the control socket."""
        return call(self.folder / "control.sock", method, path)

    def metrics(self) -> str:
        """Scrape once."""
        return self.page("/metrics")

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command line as a person does."""
        return subprocess.run(
            [sys.executable, "-P", "-m", "daemon.cli", *arguments, "--config", str(self.config)],
            capture_output=True,
            text=True,
            check=False,
            env=self._environment,
        )

    def wait_for(self, alert: str, words: str = "", timeout: float = 15.0) -> str:
        """Wait for a message about this alert that holds these words, and give its whole text."""
        posts = self.slack.wait(lambda posts: any(_matches(post, alert, words) for post in posts), timeout)
        return next(json.dumps(post.payload, ensure_ascii=False) for post in posts if _matches(post, alert, words))

    def alerts_told(self) -> list[str]:
        """Give the names of the alerts in all messages so far, in order."""
        return [message(post)[0] for post in self.slack.posts]

    def headlines(self) -> list[str]:
        """Give the first lines of all messages so far."""
        return [message(post)[1] for post in self.slack.posts]

    def status(self) -> Any:
        """Give `status --json`."""
        return self.ask("/status")

    def removed(self) -> list[str]:
        """Give the ids of the objects whose removal it asked for, in order."""
        return [_removed_id(one) for one in self.tap.non_get]

    def _apart_from_this_disk(self) -> dict[str, str]:
        """Let a full disk of this machine remove nothing, unless the test is about full disks."""
        about = "[policies.disk_pressure]" in self.config.read_text()
        return {} if about else {"SHIPKEEPER_POLICIES__DISK_PRESSURE__MODE": "observe"}

    def _is_allowed(self, asked: Asked) -> bool:
        return _removed_id(asked) in self.may_remove

    def _answers(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise AssertionError(f"the daemon ended with {self._process.returncode}:\n{self.log.read_text()}")
        try:
            self.ask("/alerts")
        except NoDaemonError:
            return False
        except Exception as error:  # noqa: BLE001  whatever it says, it answers: or the next look tells
            return "starting" in str(error)
        return True

    @property
    def address(self) -> str:
        """Where its pages are, as `host:port`; empty as long as it has not said."""
        said = re.findall(r"http://(127\.0\.0\.1:\d+)/metrics", self.log.read_bytes()[self._begun :].decode())
        return said[-1] if said else ""

    def page(self, path: str) -> str:
        """Get a page; empty where there is none, or where it is not good."""
        if not self.address:
            return ""
        try:
            with urllib.request.urlopen(f"http://{self.address}{path}", timeout=10) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return ""


def message(post: Post) -> tuple[str, str]:
    """Give the alert that a message is about, by the title in its headline, and that headline."""
    headline = str(post.payload.get("text", "")).split("\n")[0]
    return next((rule.name for rule in RULES if f" {rule.title}" in headline), ""), headline


def deaths(keeper: DaemonUnderTest) -> dict[str, int]:
    """Give how many ends of containers the page counts, by name, where there was one."""
    counted = Counter[str]()
    for name, _, count in _ends(keeper):
        counted[name] += count
    return dict(+counted)


def ends_of(keeper: DaemonUnderTest, name: str) -> set[str]:
    """Give the reasons of all ends of a container that the page counts."""
    return {reason for named, reason, count in _ends(keeper) if named == name and count}


def _ends(keeper: DaemonUnderTest) -> list[tuple[str, str, int]]:
    pattern = r'(?m)^shipkeeper_container_deaths_total\{name="([^"]+)",.*reason="([a-z]+)"\} (\d+)'
    return [(name, reason, int(count)) for name, reason, count in re.findall(pattern, keeper.metrics())]


def _matches(post: Post, alert: str, words: str) -> bool:
    return message(post)[0] == alert and words in json.dumps(post.payload, ensure_ascii=False)


def _removed_id(asked: Asked) -> str:
    """Give the id, tag or name in a plain DELETE without force, volumes and parents, or `PRUNE`; empty for all else."""
    if asked.method == "POST" and re.match(r"/v1\.\d+/build/prune\?filters=", asked.path):
        return "" if "all=" in asked.path else PRUNE
    plain = re.fullmatch(
        r"/v1\.\d+/(?:(?:containers|networks)/([0-9a-f]{64})|images/([\w./:-]+)\?noprune=1|volumes/([\w.-]+))",
        asked.path,
    )
    return next(filter(None, plain.groups())) if plain and asked.method == "DELETE" else ""


def _environment() -> dict[str, str]:
    """Give our environment without settings of ours and without what systemd would tell a service."""
    dropped = ("SHIPKEEPER_", "NOTIFY_SOCKET", "CREDENTIALS_DIRECTORY", "RUNTIME_DIRECTORY", "STATE_DIRECTORY")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
    return {**kept, "PYTHONDEVMODE": "1", "PYTHONWARNINGS": "error::ResourceWarning"}
