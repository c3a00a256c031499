from __future__ import annotations

import logging
import socket
import ssl
import subprocess
import threading
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import SecretStr

from daemon.alerts.message import Message, Moment, incident
from daemon.alerts.sink import Rejected, Retry, Sent, SinkDown
from daemon.alerts.slack import SlackSink
from daemon.alerts.slack_blocks import blocks_of, forms_of
from policies.policy import Severity
from tests.daemon.alerts.build import HOST, OK, OOM, Story, compose, condition, occurrence
from tests.fakes.clock import NOW
from tests.lab import block_kit
from tests.lab.slack import RESET, Reply, slow

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.slack import FakeSlack

MESSAGE = Message(
    mark="🟠",
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


def sink(slack: FakeSlack) -> SlackSink:
    return SlackSink(SecretStr(slack.webhook_url))


def test_a_message_arrives_as_blocks_with_a_text_for_notifications(slack: FakeSlack) -> None:
    assert sink(slack).send(MESSAGE) == Sent()
    (posted,) = slack.delivered
    assert posted["text"] == "🟠 trainer-3 crashed · gpu-host-2\nexited 7 (error)"
    assert [block["type"] for block in posted["blocks"]] == ["header", "section", "section", "context"]
    assert posted["unfurl_links"] is False


@pytest.mark.parametrize(
    ("status", "body", "headers", "expected"),
    [
        (429, "ratelimited", {"Retry-After": "30"}, Retry("Slack said that we send too much", timedelta(seconds=30))),
        (429, "", {"Retry-After": "soon"}, Retry("Slack said that we send too much")),
        (500, "oops", {}, Retry("Slack answered HTTP 500 (oops)")),
        (503, "<html>\n<h1>down</h1>", {}, Retry("Slack answered HTTP 503 (<html> <h1>down</h1>)")),
        (408, "", {}, Retry("Slack answered HTTP 408 (HTTP 408)")),
        (
            200,
            "<html>sign in to the hotel's network",
            {},
            Retry("Slack answered HTTP 200 (<html>sign in to the hotel's network)"),
        ),
    ],
)
def test_what_may_work_later_is_tried_again(
    slack: FakeSlack, status: int, body: str, headers: dict[str, str], expected: Retry
) -> None:
    slack.fail(Reply(status, body.encode(), headers))
    assert sink(slack).send(MESSAGE) == expected
    assert len(slack.posts) == 1


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (404, "no_service", "the webhook was removed or disabled; create a new webhook"),
        (403, "invalid_token", "copy it again into [slack] webhook_url"),
        (403, "action_prohibited", "an admin of the workspace"),
        (404, "channel_not_found", "the channel is gone"),
        (410, "channel_is_archived", "unarchive it"),
        (400, "user_not_found", "create a new webhook"),
        (404, "<html>not found", "check [slack] webhook_url"),
    ],
)
def test_what_needs_a_person_says_the_cure(slack: FakeSlack, status: int, body: str, words: str) -> None:
    slack.fail(Reply(status, body.encode()))
    outcome = sink(slack).send(MESSAGE)
    assert isinstance(outcome, SinkDown)
    assert words in outcome.why
    assert len(slack.posts) == 1


def test_a_message_that_slack_refuses_is_sent_plainer_and_then_shorter(slack: FakeSlack) -> None:
    slack.fail(*[Reply(400, b"invalid_blocks")] * 2)
    assert sink(slack).send(MESSAGE) == Sent()
    _, plain, short = (post.payload for post in slack.posts)
    assert plain["text"].endswith("Restart policy no: it stays down.\n```\nlast words\n```")
    assert short["text"] == "🟠 trainer-3 crashed · gpu-host-2"


def test_a_message_that_slack_refuses_in_every_form_is_rejected(slack: FakeSlack) -> None:
    slack.fail(*[Reply(400, b"invalid_payload")] * 3)
    assert sink(slack).send(MESSAGE) == Rejected("Slack refused the message: invalid_payload")


def test_a_connection_that_breaks_off_is_tried_again(slack: FakeSlack) -> None:
    slack.fail(RESET)
    outcome = sink(slack).send(MESSAGE)
    assert isinstance(outcome, Retry)
    assert outcome.why.startswith("Slack cannot be reached: ")


def test_a_slack_that_is_not_there_is_tried_again(slack: FakeSlack) -> None:
    nowhere = sink(slack)
    slack.close()
    assert nowhere.send(MESSAGE) == Retry("Slack cannot be reached: Connection refused")


def test_a_name_that_cannot_be_resolved_is_tried_again() -> None:
    outcome = SlackSink(SecretStr("https://no-such-host.invalid/services/notasecret")).send(MESSAGE)
    assert isinstance(outcome, Retry)
    assert "name" in outcome.why.lower()
    assert "notasecret" not in outcome.why


@pytest.mark.parametrize("told", [b"HTTP/1.0 400 Bad Request\r\n\r\n", b"\x15\x03\x01\x00\x02\x02\x28", b""])
def test_a_tls_handshake_that_fails_is_tried_again(told: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            client, _ = server.accept()
            with client:
                client.recv(4096)
                client.sendall(told)

        thread = threading.Thread(target=answer)
        thread.start()
        outcome = SlackSink(SecretStr(f"https://127.0.0.1:{server.getsockname()[1]}/services/notasecret")).send(MESSAGE)
        thread.join()
    assert isinstance(outcome, Retry)
    assert outcome.why.startswith("Slack cannot be reached: ")
    assert "notasecret" not in outcome.why


def test_a_certificate_of_nobody_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "server.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-keyout",
            path,
            "-out",
            path,
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def shake() -> None:
            client, _ = server.accept()
            with client, suppress(ssl.SSLError, ConnectionError):
                context.wrap_socket(client, server_side=True).close()

        thread = threading.Thread(target=shake)
        thread.start()
        outcome = SlackSink(SecretStr(f"https://127.0.0.1:{server.getsockname()[1]}/services/notasecret")).send(MESSAGE)
        thread.join()
    assert outcome == Retry("Slack cannot be reached: its certificate is not trusted (self-signed certificate)")


@pytest.mark.slow  # it waits for as long as the sink does
def test_an_answer_that_does_not_come_is_tried_again(slack: FakeSlack) -> None:
    slack.fail(slow(60))
    assert sink(slack).send(MESSAGE) == Retry("Slack cannot be reached: no answer within 10 s")


def test_the_url_is_never_logged_nor_said(slack: FakeSlack, caplog: pytest.LogCaptureFixture) -> None:
    url = slack.webhook_url
    page = f"Cannot POST {urlsplit(url).path}".encode()
    with caplog.at_level(logging.DEBUG):
        slack.fail(Reply(500, b"oops"), Reply(404, b"no_service"), Reply(404, page), Reply(502, page))
        said = [sink(slack).send(MESSAGE) for _ in range(5)]
        odd_port = url.replace("127.0.0.1:", "127.0.0.1:notasecret")
        for broken in (f"{url} x", f"ftp{url}", "notasecret", odd_port):
            said += [SlackSink(SecretStr(broken)).send(MESSAGE)]
    assert "notasecret" not in caplog.text
    assert "notasecret" not in repr(said)
    assert "notasecret" not in repr(vars(sink(slack)))


TEXT = st.text(alphabet=st.characters(codec="utf-8"), max_size=400)
"""Whatever a host may write, in more than one plane of Unicode."""
ALL_OF_IT = Message(
    mark="🔴",
    severity=Severity.CRITICAL,
    title="&<>`" * 3000,
    host="h" * 300,
    lines=("<!channel>" * 1000, "😀" * 5000) * 40,
    log_tail=("```" * 2000,) * 100,
    moments=(Moment("since", NOW), Moment("until", NOW)),
    commands=("shipkeeper autopsy " + "`x`" * 500,) * 10,
    what_to_do="docs/" + "x" * 5000,
    earlier="https://example.slack.com/" + "x" * 5000,
)


@given(
    title=st.one_of(TEXT, st.text("&<>`", min_size=200, max_size=9000)),
    lines=st.lists(st.one_of(TEXT, st.text("&<>`", min_size=900, max_size=4000)), max_size=30),
    log_tail=st.lists(st.one_of(TEXT, st.text("`&", max_size=3000)), max_size=40),
    commands=st.lists(TEXT, max_size=4),
)
@example(title=ALL_OF_IT.title, lines=[*ALL_OF_IT.lines], log_tail=[*ALL_OF_IT.log_tail], commands=["`" * 900] * 9)
def test_no_message_breaks_the_limits_or_the_markup_of_slack_in_any_form(
    title: str, lines: list[str], log_tail: list[str], commands: list[str]
) -> None:
    shown = replace(
        ALL_OF_IT, title=title, lines=tuple(lines), log_tail=tuple(log_tail), commands=tuple(filter(None, commands))
    )
    forms = list(forms_of(shown, here=True))
    assert [bool(form.get("blocks")) for form in forms] == [True, False, False]
    assert len(forms[2]["text"]) <= 310, "the last one cannot be too long for anybody"
    for form in forms:
        assert block_kit.fault(form) == ""
        assert block_kit.foreign_markup(form) == []
        assert sum(map(len, block_kit.texts_of(form))) <= 10_000
        assert all(text.count("```") in {0, 2} for text in (form["text"], *block_kit.texts_of(form)))
    for block in forms[0]["blocks"]:
        if block["type"] == "section" and block["text"]["type"] == "mrkdwn":
            assert block["text"]["text"].startswith("```\n")
            assert block["text"]["text"].endswith("```")


def test_a_character_of_four_bytes_is_not_cut_in_two() -> None:
    cut = blocks_of(replace(ALL_OF_IT, title="😀" * 400))["blocks"][0]["text"]["text"]
    assert set(cut) == {"🔴", " ", "😀", "…"}


def test_the_longest_list_of_an_incident_is_taken(slack: FakeSlack) -> None:
    story = Story()
    trainers = [compose("trainer", number, project="p" * 60) for number in range(1, 61)]
    story.step(*(occurrence(OOM, each, log_tail=("x" * 900,) * 20) for each in trainers))
    story.step(*(condition(OK, OOM, each, reason="r" * 900) for each in trainers[:30]))
    story.step(*(condition(OK, OOM, each, reason="r" * 900) for each in trainers[:30]), after=3600)
    shown = incident([*story.states.values()], HOST)
    assert block_kit.fault(blocks_of(shown)) == ""
    assert sink(slack).send(shown) == Sent()
