from __future__ import annotations

import json
import logging
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from daemon.alerts.message import Message
from daemon.alerts.sink import Rejected, Retry, Sent, SinkDown
from daemon.alerts.slack import SlackSink, blocks_of

if TYPE_CHECKING:
    from collections.abc import Iterator

MESSAGE = Message(
    mark="🟠",
    title="trainer-3 crashed",
    host="gpu-host-2",
    lines=("exited 7 (error)", "Restart policy no: it stays down."),
    log_tail=("last words",),
    what_to_do="docs/alerts.md#container-crashed",
)


class Webhook:
    """A webhook on a port of this machine: it keeps what is posted and answers as it is told, then with `ok`."""

    def __init__(self) -> None:
        self.posted: list[dict[str, Any]] = []
        self.answers: list[tuple[int, str, dict[str, str]]] = []
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                webhook.posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                status, body, headers = webhook.answers.pop(0) if webhook.answers else (200, "ok", {})
                if status == 0:
                    return
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/services/T0/B0/very-secret"

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    listening = Webhook()
    yield listening
    listening.close()


def sink(webhook: Webhook) -> SlackSink:
    return SlackSink(SecretStr(webhook.url))


def test_a_message_arrives_as_blocks_with_a_text_for_notifications(webhook: Webhook) -> None:
    assert sink(webhook).send(MESSAGE) == Sent()
    (posted,) = webhook.posted
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
    webhook: Webhook, status: int, body: str, headers: dict[str, str], expected: Retry
) -> None:
    webhook.answers = [(status, body, headers)]
    assert sink(webhook).send(MESSAGE) == expected
    assert len(webhook.posted) == 1


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
def test_what_needs_a_person_says_the_cure(webhook: Webhook, status: int, body: str, words: str) -> None:
    webhook.answers = [(status, body, {})]
    outcome = sink(webhook).send(MESSAGE)
    assert isinstance(outcome, SinkDown)
    assert words in outcome.why
    assert len(webhook.posted) == 1


def test_a_message_that_slack_refuses_is_sent_plainer_and_then_shorter(webhook: Webhook) -> None:
    webhook.answers = [(400, "invalid_blocks", {})] * 2
    assert sink(webhook).send(MESSAGE) == Sent()
    _, plain, short = webhook.posted
    assert plain["text"].endswith("Restart policy no: it stays down.\n```\nlast words\n```")
    assert short["text"] == "🟠 trainer-3 crashed · gpu-host-2"


def test_a_message_that_slack_refuses_in_every_form_is_rejected(webhook: Webhook) -> None:
    webhook.answers = [(400, "invalid_payload", {})] * 3
    assert sink(webhook).send(MESSAGE) == Rejected("Slack refused the message: invalid_payload")


def test_a_connection_that_breaks_off_is_tried_again(webhook: Webhook) -> None:
    webhook.answers = [(0, "", {})]
    outcome = sink(webhook).send(MESSAGE)
    assert isinstance(outcome, Retry)
    assert outcome.why.startswith("Slack cannot be reached: ")


def test_a_slack_that_is_not_there_is_tried_again(webhook: Webhook) -> None:
    webhook.close()
    assert sink(webhook).send(MESSAGE) == Retry("Slack cannot be reached: Connection refused")


def test_the_url_is_never_logged_nor_said(webhook: Webhook, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        webhook.answers = [(500, "oops", {}), (404, "no_service", {})]
        said = [sink(webhook).send(MESSAGE) for _ in range(3)]
        odd_port = webhook.url.replace("127.0.0.1:", "127.0.0.1:very-secret")
        for broken in (f"{webhook.url} x", f"ftp{webhook.url}", "very-secret", odd_port):
            said += [SlackSink(SecretStr(broken)).send(MESSAGE)]
    assert "very-secret" not in caplog.text
    assert "very-secret" not in repr(said)
    assert "very-secret" not in repr(vars(sink(webhook)))


TEXT = st.text(alphabet=st.characters(codec="utf-8"), max_size=400)


@given(
    title=st.one_of(TEXT, st.text("&<>`", min_size=200, max_size=9000)),
    lines=st.lists(st.one_of(TEXT, st.text("&<>", min_size=900, max_size=4000)), max_size=30),
    log_tail=st.lists(st.one_of(TEXT, st.text("`&", max_size=3000)), max_size=40),
)
def test_no_message_breaks_the_limits_or_the_markup_of_slack(title: str, lines: list[str], log_tail: list[str]) -> None:
    shown = Message(mark="🔴", title=title, host="h", lines=tuple(lines), log_tail=tuple(log_tail))
    body = blocks_of(shown)
    texts = [block["text"]["text"] for block in body["blocks"]]
    assert len(texts[0]) <= 150
    assert all(0 < len(text) <= 3000 for text in texts)
    assert sum(map(len, texts)) <= 10_000
    assert len(body["text"]) <= 4000
    for text in (*texts, body["text"]):
        assert "<" not in text
        assert ">" not in text
        assert all(text.startswith(("amp;", "lt;", "gt;")) for text in text.split("&")[1:]), "no escape is cut in two"
    if log_tail:
        assert texts[-1].count("```") == 2
        assert texts[-1].startswith("```\n")
        assert texts[-1].endswith("```")
