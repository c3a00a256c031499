"""What strangers write into labels, logs and probes, and what must not leave the daemon: the webhook's address."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.integration.daemon_under_test import DaemonUnderTest
from tests.lab.slack import RESET, SERVER_ERROR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.engine import PrivateEngine
    from tests.lab.slack import FakeSlack

TRICKS = "<!channel> \x1b[2J\x1b]0;owned\x07 *bold* ``` </h1><script> [red]x[/red]"
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
"""Control characters other than tab and newline."""


@pytest.fixture
def keeper(engine: PrivateEngine, slack: FakeSlack, tmp_path: Path) -> Iterator[DaemonUnderTest]:
    """Give a daemon that watches the engine and tells the fake Slack."""
    with DaemonUnderTest(tmp_path, engine, slack) as daemon:
        yield daemon


def test_foreign_text_stays_text_wherever_it_is_shown(keeper: DaemonUnderTest, engine: PrivateEngine) -> None:
    labels = {
        "com.docker.compose.project": f"shop{TRICKS}",
        "com.docker.compose.service": "web\nforged 1",
        "com.docker.compose.container-number": "1",
    }
    script = f"printf '%s\\n' '{TRICKS}'; exit 3"
    engine.run(["sh", "-c", script], name="hostile", config={"labels": labels})
    check = {"test": ["CMD-SHELL", f"printf '%s' '{TRICKS}'; false"], "interval": 200_000_000, "retries": 1}
    engine.run(["sleep", "1000"], name="ill", config={"healthcheck": check})
    keeper.wait_for("container-crashed", "hostile")
    keeper.wait_for("container-unhealthy", "ill")
    for post in keeper.slack.posts:
        shown = [text for text in _strings(post.payload) if "owned" in text or "channel" in text]
        assert shown
        for text in shown:
            assert "<!channel" not in text
            assert not CONTROL.search(text)
            assert text.count("```") in {0, 2}
    plan = keeper.command("plan", "--explain").stdout
    assert "newest of its service: shop<!channel>" in plan
    terminal = [plan, keeper.command("status").stdout, keeper.command("alerts", "list").stdout, keeper.log.read_text()]
    for text in terminal:
        assert text
        assert not CONTROL.search(text)
    assert "\nforged" not in "".join(terminal)
    assert "\nforged" not in keeper.metrics()


def _strings(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for item in value.values():
                yield from _strings(item)
        case list():
            for item in value:
                yield from _strings(item)
        case _:
            pass


def test_the_webhooks_address_is_nowhere_but_in_the_configuration(
    keeper: DaemonUnderTest, engine: PrivateEngine, slack: FakeSlack
) -> None:
    secret = urlsplit(slack.webhook_url).path
    slack.fail(SERVER_ERROR, RESET)
    engine.run(["sh", "-c", "exit 3"], name="careless")
    slack.wait(lambda posts: any(post.reply.status == 200 and not post.reply.reset for post in posts), 30)
    slack.close()
    tried = keeper.command("alerts", "test")
    assert "cannot be reached" in tried.stdout
    seen = {
        "a failed test": tried.stdout + tried.stderr,
        "check-config": keeper.command("check-config").stdout,
        "status": json.dumps(keeper.status()),
        "alerts": json.dumps(keeper.ask("/alerts")),
        "metrics": keeper.metrics(),
        "the log": keeper.log.read_text(),
        "the command line": Path(f"/proc/{keeper.pid}/cmdline").read_text(),
    }
    seen |= {f"{path}": path.read_bytes().decode("latin-1") for path in (keeper.folder / "state").iterdir()}
    assert secret in keeper.config.read_text()
    assert len(seen) > 7
    assert [place for place, text in seen.items() if not text or secret in text] == []
