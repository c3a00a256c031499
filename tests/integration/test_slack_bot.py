"""The whole daemon telling a local Slack as a bot: what stands in the channel while things come and go."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.integration.daemon_under_test import DaemonUnderTest
from tests.integration.test_alerts import crash
from tests.lab.slack import TOKEN
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.lab.engine import PrivateEngine
    from tests.lab.slack import FakeSlack


def shown(slack: FakeSlack, channel: str = "#alerts") -> list[str]:
    """Give the first lines of what stands in a channel."""
    return [str(each["text"]).split("\n")[0] for each in slack.channels[channel].messages.values()]


def wait_for(slack: FakeSlack, expected: Sequence[str]) -> None:
    """Wait until the channel shows this."""
    wait_until(lambda: shown(slack) == expected, f"{expected}; what stands there: {shown(slack)}", 30)


def sent(daemon: DaemonUnderTest) -> int:
    """Give how many messages to Slack it has noted as sent since its start."""
    return next(int(sink["sent"]) for sink in daemon.status()["sinks"] if sink["name"] == "slack")


@pytest.mark.parametrize("shared_engine", ["28"], indirect=True)
def test_an_incident_is_one_message_in_the_channel_and_a_restart_goes_on_in_it(
    engine: PrivateEngine, slack: FakeSlack, tmp_path: Path
) -> None:
    daemon = DaemonUnderTest(tmp_path, engine, slack, bot="#alerts")
    with daemon:
        container = engine.run(crash("nothing helps"), name="trainer")
        wait_for(slack, ["🟠 trainer crashed · test-host"])
        # Killed before Slack's answer is noted it may tell once more: that is at-least-once, and proved elsewhere.
        wait_until(lambda: sent(daemon) == 1, "the post to be noted", 30)
        daemon.kill()
        daemon.start()
        engine.api.remove_container(container)
        over = "🟢 trainer crashed · resolved after"
        wait_until(lambda: shown(slack)[0].startswith(over), "the message to be edited", 30)
    assert len(shown(slack)) == 1
    (thread,) = slack.channels["#alerts"].threads.values()
    assert [str(line["text"]).startswith(over) for line in thread] == [True]


TWO_CHANNELS = """
[[alerts.routes]]
containers = ["db-*"]
to = ["#others", "#secret", "#alerts"]
"""


@pytest.mark.parametrize("shared_engine", ["28"], indirect=True)
def test_the_test_of_all_places_names_each_fault_with_its_cure(
    engine: PrivateEngine, slack: FakeSlack, tmp_path: Path
) -> None:
    with DaemonUnderTest(tmp_path, engine, slack, TWO_CHANNELS, bot="#alerts") as daemon:
        said = daemon.command("alerts", "test")
        assert said.returncode == 1
        assert "slack: accepted" in said.stdout
        assert (
            "#others: Slack said not_in_channel about #others: the bot is not in that channel; write /invite"
            in said.stdout
        )
        assert "#secret: Slack said channel_not_found about #secret" in said.stdout
        slack.scopes = []
        assert "slack: Slack said missing_scope: the token lacks chat:write" in daemon.command("alerts", "test").stdout
        slack.tokens = {"xoxb-another"}
        assert (
            "slack: Slack said invalid_auth about #alerts: the token is wrong"
            in daemon.command("alerts", "test").stdout
        )
        daemon.config.write_text(
            daemon.config.read_text().replace('"#others"', '"pager"').replace(TOKEN, "xoxb-another")
        )
        os.kill(daemon.pid, signal.SIGHUP)
        nowhere = "configuration: "
        wait_until(lambda: nowhere in daemon.command("alerts", "test").stdout, "the bad configuration to be named", 30)
        assert "[[alerts.routes]] 1 to pager leads nowhere" in " ".join(daemon.command("alerts", "test").stdout.split())
        slack.scopes = ["chat:write"]
        daemon.config.write_text(daemon.config.read_text().replace('"pager", "#secret", ', ""))
        os.kill(daemon.pid, signal.SIGHUP)
        wait_until(lambda: daemon.command("alerts", "test").returncode == 0, "the new token to be taken over", 30)
