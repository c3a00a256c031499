"""Secrets that are planted in the configuration and in containers, and everything in which they must not be found."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from daemon.verbs import ALERTS, ALERTS_TEST, PLAN, STATUS
from tests.integration.daemon_under_test import DaemonUnderTest, message
from tests.lab.receiver import Answer, Receiver
from tests.lab.slack import HTML, RESET, Reply
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.engine import PrivateEngine
    from tests.lab.slack import FakeSlack

URL_LINE = re.compile(r'^webhook_url = "(.*)"$', re.MULTILINE)
OURS = """
[alertmanager]
urls = ["{url}"]
username = "keeper"
password = "verysecret-password"
slack_too = true
[webhook]
url = "{url}/verysecret-hook?key=verysecret-key"
bearer_token = "verysecret-token"
[heartbeat]
url = "{url}/verysecret-heartbeat"
"""
LOGIN = base64.b64encode(b"keeper:verysecret-password").decode()
IN_CONTAINERS = ("hunter2env", "hunter2label", "hunter2log", "hunter2bearer", "hunter2probe", "hunter2command")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Give a server that takes nothing, and shows what it was sent."""
    with Receiver() as server:
        server.answer = Answer(404, echoes=True)
        yield server


@pytest.fixture
def keeper(engine: PrivateEngine, slack: FakeSlack, receiver: Receiver, tmp_path: Path) -> Iterator[DaemonUnderTest]:
    """Give a daemon that was handed the webhook's address in the environment, by somebody without a umask."""
    daemon = DaemonUnderTest(tmp_path, engine, slack, OURS.format(url=receiver.url))
    daemon.config.write_text(URL_LINE.sub("", daemon.config.read_text()))
    daemon._environment["SHIPKEEPER_SLACK__WEBHOOK_URL"] = slack.webhook_url
    before = os.umask(0)
    try:
        with daemon:
            yield daemon
    finally:
        os.umask(before)


def everything_shown(keeper: DaemonUnderTest) -> dict[str, str]:
    """Give all that the daemon writes, answers and is seen with, by where it was found."""
    keeper.command("alerts", "test")
    broken = keeper.folder / "broken.toml"
    broken.touch(mode=0o600)
    mistyped = f'[slack]\nwebhok_url = "{keeper.slack.webhook_url}"'
    broken.write_text(keeper.config.read_text().replace("[slack]", mistyped))
    ours, keeper.config = keeper.config, broken
    shown = {"check-config of a bad file": keeper.command("check-config").stderr}
    keeper.config = ours
    for command in (["status"], ["alerts", "list"], ["plan", "--explain"], ["check-config"]):
        done = keeper.command(*command)
        shown[" ".join(command)] = done.stdout + done.stderr
    shown |= {path: json.dumps(keeper.ask(path)) for path in (STATUS, ALERTS, PLAN)}
    shown |= {page: keeper.page(page) for page in ("/", "/metrics", "/-/ready", "/-/healthy")}
    shown |= {str(path): path.read_bytes().decode("latin-1") for path in (keeper.folder / "state").iterdir()}
    for pid in (keeper.pid, *children_of(keeper.pid)):
        shown[f"arguments of {pid}"] = arguments_of(pid)
    for pid in children_of(keeper.pid):
        shown[f"environment of {pid}"] = environment_of(pid)
    shown["messages"] = json.dumps([post.payload for post in keeper.slack.posts])
    return shown | {"log": keeper.log.read_text()}


def children_of(pid: int) -> list[int]:
    return [int(child) for file in Path(f"/proc/{pid}/task").glob("*/children") for child in file.read_text().split()]


def arguments_of(pid: int) -> str:
    """Give the arguments of a process; a word for one that has ended, which shows none."""
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode()
        return "ended" if "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text() else arguments
    except (FileNotFoundError, ProcessLookupError):
        return "ended"


def environment_of(pid: int) -> str:
    """Give the environment of a process; a word for one that has ended, which shows none."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().decode() or "ended"
    except (FileNotFoundError, ProcessLookupError):
        return "ended"


def assert_the_state_is_its_owners_alone_and_the_socket_its_groups(keeper: DaemonUnderTest) -> None:
    state = keeper.folder / "state"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (state, *state.iterdir())}
    assert modes.pop("state") == 0o700
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE((keeper.folder / "control.sock").stat().st_mode) == 0o660


def all_were_refused(keeper: DaemonUnderTest) -> bool:
    """Tell whether Alertmanager, the webhook and who takes the heartbeat have all answered with an error."""
    status = keeper.status()
    errors = {sink["name"]: sink["last_error"] for sink in status["sinks"]}
    return bool(errors["alertmanager"] and errors["webhook"] and status["heartbeat"]["last_error"])


def assert_nothing_can_be_done_over_tcp(keeper: DaemonUnderTest) -> None:
    paths = ("/", "/metrics", "/-/healthy", "/-/ready", "/-/reload", "/-/quit", STATUS, PLAN, ALERTS, ALERTS_TEST)
    answers = {}
    for path in paths:
        for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"):
            connection = http.client.HTTPConnection(keeper.address, timeout=10)
            connection.request(method, path)
            answers[method, path] = connection.getresponse().status
            connection.close()
    assert {status for (_, path), status in answers.items() if path in paths[:4]} == {405}
    assert {status for (_, path), status in answers.items() if path not in paths[:4]} == {404}


def test_no_door_is_open_and_no_secret_is_found_where_anybody_but_its_owner_looks(
    keeper: DaemonUnderTest, engine: PrivateEngine, slack: FakeSlack
) -> None:
    assert_the_state_is_its_owners_alone_and_the_socket_its_groups(keeper)
    assert_nothing_can_be_done_over_tcp(keeper)
    assert {message(post)[0] for post in slack.posts} <= {"notify-degraded"}
    secret_path = urlsplit(slack.webhook_url).path
    slack.fail(Reply(500, f"Cannot POST {secret_path}".encode()), RESET, HTML)
    says = "echo 'password=hunter2log'; echo 'Authorization: Bearer hunter2bearer'; exit 3 # --token hunter2command"
    config = {"environment": {"API_TOKEN": "hunter2env"}, "labels": {"com.example.token": "hunter2label"}}
    engine.run(["sh", "-c", says], name="careless", config=config)
    probe = "printf 'token=hunter2probe'; false # --token hunter2command"
    check = {"test": ["CMD-SHELL", probe], "interval": 200_000_000, "retries": 1}
    engine.run(["sleep", "1000"], name="ill", config={"healthcheck": check})
    keeper.wait_for("container-crashed", "password=***", 30)
    keeper.wait_for("container-unhealthy", "token=***", 30)
    wait_until(lambda: all_were_refused(keeper), "every place to answer with what it was sent", 30)
    shown = everything_shown(keeper)
    assert len(shown) > 15
    assert [place for place, text in shown.items() if not text] == []
    assert "Cannot POST ***" in shown["status"] + shown[STATUS], "an answer is quoted, without its secrets"
    secrets = (secret_path, "verysecret", LOGIN, *IN_CONTAINERS)
    assert [(secret, place) for place, text in shown.items() for secret in secrets if secret in text] == []
