from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from daemon.alerts.message import Message
from daemon.alerts.sink import Gone, Outcome, Reference, Rejected, Retry, Sent, SinkDown
from daemon.alerts.slack_bot import SlackBotSink
from policies.policy import Severity
from tests.lab.slack import AUTH, HTML, POST, RESET, SERVER_ERROR, TOKEN, UPDATE, Reply, api, rate_limited, refused

if TYPE_CHECKING:
    from tests.lab.slack import FakeSlack

MESSAGE = Message(
    mark="🟠",
    severity=Severity.WARNING,
    title="trainer-3 crashed",
    host="gpu-host-2",
    lines=("exited 7 (error)", "Restart policy no: it stays down."),
    log_tail=("last words",),
    what_to_do="docs/alerts.md#container-crashed",
)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what would lead the SDK elsewhere than to the local Slack."""
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


def bot(slack: FakeSlack, channel: str = "#alerts", token: str = TOKEN, here: tuple[str, ...] = ()) -> SlackBotSink:
    return SlackBotSink(SecretStr(token), channel, api_url=slack.api_url, here=here)


def posted(sink: SlackBotSink) -> Reference:
    """Post the message and give its reference."""
    sent = sink.send(MESSAGE)
    assert isinstance(sent, Sent)
    assert sent.reference is not None
    return sent.reference


def why(outcome: Outcome | Gone) -> str:
    """Give what a sink that is down says."""
    assert isinstance(outcome, SinkDown)
    return outcome.why


def test_a_message_is_posted_edited_and_answered(slack: FakeSlack) -> None:
    sink = bot(slack)
    reference = posted(sink)
    assert reference.channel == "C0ALERTS", "an edit needs the id, whatever name was posted to"
    edited = Message(mark="🟢", title="trainer-3 crashed · resolved", host="h", lines=())
    assert sink.edit(reference, edited) == Sent(reference)
    assert isinstance(sink.reply(reference, "resolved & <over>", aloud=True), Sent)
    (shown,) = slack.channels["#alerts"].messages.values()
    assert shown["blocks"][0]["text"]["text"] == "🟢 trainer-3 crashed · resolved · h"
    (line,) = slack.channels["#alerts"].threads[reference.ts]
    assert (line["text"], line["reply_broadcast"]) == ("resolved &amp; &lt;over&gt;", True)
    assert sink.link(reference).startswith("https://example.slack.com/archives/C0ALERTS/")


def test_an_edit_parses_no_names_and_a_post_unfurls_nothing(slack: FakeSlack) -> None:
    sink = bot(slack)
    sink.edit(posted(sink), MESSAGE)
    first, second = (request.payload for request in slack.requests)
    assert (first["unfurl_links"], first["unfurl_media"]) == (False, False)
    assert (second["parse"], second["link_names"]) == ("none", False)


def test_who_is_online_is_called_only_for_the_severities_named_and_never_by_an_edit(slack: FakeSlack) -> None:
    sink = bot(slack, here=("warning",))
    sink.edit(posted(sink), MESSAGE)
    bot(slack, here=("critical",)).send(MESSAGE)
    assert ["<!here>" in str(request.payload) for request in slack.requests] == [True, False, False]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (rate_limited(30), Retry("Slack said that we send too much", timedelta(seconds=30))),
        (refused("ratelimited"), Retry("Slack said that we send too much")),
        (refused("fatal_error"), Retry("Slack said fatal_error")),
        (refused("service_unavailable"), Retry("Slack said service_unavailable")),
        (
            SERVER_ERROR,
            Retry("Slack answered HTTP 500 (Received a response in a non-JSON format: server_error)"),
        ),
        (Reply(200, b"[1]"), Retry("Slack answered with JSON that is no object")),
        (RESET, Retry("Slack cannot be reached: Connection reset by peer")),
    ],
    ids=["429", "ratelimited", "fatal", "unavailable", "500", "list", "reset"],
)
def test_what_may_work_later_is_tried_again_by_the_outbox_and_not_by_the_sdk(
    slack: FakeSlack, fault: Reply, expected: Retry
) -> None:
    slack.fail(fault)
    assert bot(slack).send(MESSAGE) == expected
    assert len(slack.requests) == 1


@pytest.mark.parametrize("fault", [HTML, Reply(200, b"<html>sign in to the hotel's network")], ids=["503", "200"])
def test_a_page_where_json_belongs_is_no_answer(slack: FakeSlack, fault: Reply) -> None:
    slack.fail(fault)
    assert isinstance(bot(slack).send(MESSAGE), Retry)


@pytest.mark.parametrize(
    ("error", "cure"),
    [
        ("invalid_auth", "copy the bot's token"),
        ("not_authed", "copy the bot's token"),
        ("token_revoked", "install the app into the workspace again"),
        ("token_expired", "switch token rotation off"),
        ("account_inactive", "install the app into the workspace again"),
        ("not_in_channel", "/invite @shipkeeper"),
        ("channel_not_found", "correct the name"),
        ("is_archived", "unarchive it"),
        ("restricted_action", "ask an admin"),
        ("message_limit_exceeded", "used up the messages"),
    ],
)
def test_what_needs_a_person_says_the_cure_and_the_channel(slack: FakeSlack, error: str, cure: str) -> None:
    slack.fail(refused(error))
    said = why(bot(slack).send(MESSAGE))
    assert said.startswith(f"Slack said {error} about #alerts: ")
    assert cure in said
    assert len(slack.requests) == 1


def test_faults_that_the_workspace_itself_makes_are_told_apart(slack: FakeSlack) -> None:
    assert "not_in_channel about #others" in why(bot(slack, "#others").send(MESSAGE))
    assert "channel_not_found about #secret" in why(bot(slack, "#secret").send(MESSAGE))
    assert "channel_not_found about #nowhere" in why(bot(slack, "#nowhere").send(MESSAGE))
    assert "is_archived about #old" in why(bot(slack, "#old").send(MESSAGE))
    assert "invalid_auth" in why(bot(slack, token="xoxb-wrong").send(MESSAGE))  # noqa: S106


def test_a_missing_scope_is_named(slack: FakeSlack) -> None:
    slack.scopes = ["channels:read"]
    said = why(bot(slack).send(MESSAGE))
    assert "the token lacks chat:write; add it on the app's page OAuth & Permissions" in said
    assert why(bot(slack).probe()) == said, "the probe sees it without posting"


def test_the_probe_posts_nothing_and_tells_whether_the_token_is_good(slack: FakeSlack) -> None:
    assert bot(slack).probe() == Sent()
    slack.fail(refused("token_revoked"))
    assert "token_revoked" in why(bot(slack).probe())
    assert {request.method for request in slack.requests} == {AUTH}


def test_a_form_that_is_refused_is_sent_plainer_and_then_shorter(slack: FakeSlack) -> None:
    slack.fail(refused("invalid_blocks"), refused("msg_too_long"))
    assert isinstance(bot(slack).send(MESSAGE), Sent)
    full, plain, short = (request.payload for request in slack.requests)
    assert "blocks" in full
    assert plain["text"].endswith("Restart policy no: it stays down.\n```\nlast words\n```")
    assert short["text"] == "🟠 trainer-3 crashed · gpu-host-2"


def test_an_edit_in_a_plainer_form_takes_the_blocks_away(slack: FakeSlack) -> None:
    sink = bot(slack)
    reference = posted(sink)
    slack.fail_method(UPDATE, refused("msg_blocks_too_long"))
    assert isinstance(sink.edit(reference, MESSAGE), Sent)
    assert slack.channels["#alerts"].messages[reference.ts]["blocks"] == []


def test_a_form_that_is_refused_to_the_last_is_lost_but_an_unknown_error_waits_for_a_person(slack: FakeSlack) -> None:
    slack.fail(*[refused("invalid_blocks")] * 3)
    assert bot(slack).send(MESSAGE) == Rejected("Slack refused the message: invalid_blocks")
    slack.fail(*[refused("moon_in_wrong_phase")] * 3)
    assert "moon_in_wrong_phase" in why(bot(slack).send(MESSAGE))


@pytest.mark.parametrize(
    ("error", "readable"), [("message_not_found", False), ("cant_update_message", True), ("edit_window_closed", True)]
)
def test_a_message_that_cannot_be_edited_is_gone(slack: FakeSlack, error: str, readable: bool) -> None:  # noqa: FBT001
    sink = bot(slack)
    reference = posted(sink)
    slack.fail_method(UPDATE, refused(error))
    assert sink.edit(reference, MESSAGE) == Gone(error, readable=readable)


def test_a_deleted_message_can_be_neither_edited_nor_answered(slack: FakeSlack) -> None:
    sink = bot(slack)
    reference = posted(sink)
    slack.delete("#alerts", reference.ts)
    assert sink.edit(reference, MESSAGE) == Gone("message_not_found", readable=False)
    assert sink.reply(reference, "over", aloud=False) == Gone("thread_not_found", readable=False)
    assert sink.link(reference) == ""


def test_the_token_is_never_logged_nor_said(slack: FakeSlack, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        slack.fail(SERVER_ERROR, refused("invalid_auth"), RESET, api(ok=True), refused(f"No such token: {TOKEN}"))
        said: list[object] = [bot(slack).send(MESSAGE) for _ in range(6)]
        said.append(bot(slack, token=f"{TOKEN}\nX-Header: x").send(MESSAGE))
    assert "notasecret" not in caplog.text
    assert "notasecret" not in repr(said)
    assert "notasecret" not in repr(vars(bot(slack)))
    assert POST in {request.method for request in slack.requests}
