from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import pytest

from tests.lab.slack import HTML, OK, RESET, SERVER_ERROR, FakeSlack, Reply, rate_limited, slow


def post(url: str, payload: object, timeout: float = 10) -> tuple[int, bytes, str | None]:
    request = urllib.request.Request(url, json.dumps(payload).encode())  # noqa: S310  a loopback address of our own
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310
            return answer.status, answer.read(), None
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), error.headers["Retry-After"]


def test_a_message_is_taken_and_its_arrival_noted(slack: FakeSlack) -> None:
    before = time.time_ns()
    assert post(slack.webhook_url, {"text": "hello"}) == (200, b"ok", None)
    (message,) = slack.wait(lambda posts: len(posts) == 1)
    assert message.payload == {"text": "hello"}
    assert before < message.arrived_ns < time.time_ns()


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        (rate_limited(3), (429, b"rate_limited", "3")),
        (SERVER_ERROR, (500, b"server_error", None)),
        (HTML, (503, HTML.body, None)),
    ],
)
def test_a_fault_strikes_once_and_what_it_struck_is_not_delivered(
    slack: FakeSlack, fault: Reply, seen: tuple[int, bytes, str | None]
) -> None:
    slack.fail(fault)
    assert post(slack.webhook_url, {"text": "first"}) == seen
    assert post(slack.webhook_url, {"text": "again"}) == (200, b"ok", None)
    assert slack.delivered == [{"text": "again"}]


def test_a_reset_cuts_the_connection(slack: FakeSlack) -> None:
    slack.fail(RESET)
    with pytest.raises(ConnectionResetError):
        post(slack.webhook_url, {"text": "lost"})
    assert slack.delivered == []


def test_a_slow_answer_does_not_hold_up_others_or_the_end() -> None:
    with FakeSlack() as slack:
        slack.fail(slow(3600))
        with pytest.raises(TimeoutError):
            post(slack.webhook_url, {"text": "late"}, timeout=0.1)
        assert post(slack.webhook_url, {"text": "prompt"}) == (200, b"ok", None)


def test_a_standing_fault_stays_until_it_is_healed(slack: FakeSlack) -> None:
    slack.fail_always(SERVER_ERROR)
    assert [post(slack.webhook_url, {"text": "hello"})[0] for _ in range(2)] == [500, 500]
    slack.heal()
    assert post(slack.webhook_url, {"text": "hello"})[0] == OK.status


def test_what_slack_would_refuse_is_refused(slack: FakeSlack) -> None:
    assert post(slack.webhook_url + "x", {})[:2] == (404, b"no_service")
    assert post(slack.webhook_url, ["not an object"])[:2] == (400, b"invalid_payload")
    assert slack.posts == []


def test_waiting_in_vain_shows_what_came(slack: FakeSlack) -> None:
    post(slack.webhook_url, {"text": "something else"})
    with pytest.raises(TimeoutError, match="something else"):
        slack.wait(lambda posts: len(posts) > 1, timeout=0.05)


def test_a_client_that_keeps_its_connection_does_not_hold_the_fake_open() -> None:
    with FakeSlack() as slack:
        client = http.client.HTTPConnection(urlsplit(slack.webhook_url).netloc)
        client.request("POST", urlsplit(slack.webhook_url).path, b'{"text": "hello"}')
        assert client.getresponse().read() == b"ok"
    client.close()
