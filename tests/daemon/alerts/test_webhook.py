from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from daemon.alerts import message
from daemon.alerts.http_call import Credentials, HttpCall
from daemon.alerts.sink import Rejected, Sent
from daemon.alerts.state import NoticeKind
from daemon.alerts.webhook import WebhookSink, document
from tests.daemon.alerts.build import CRASHED, OOM, Story, compose, occurrence
from tests.lab.receiver import Answer, Receiver

if TYPE_CHECKING:
    from daemon.alerts.state import AlertState

PAGE = (Path(__file__).parents[3] / "docs" / "webhook.md").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what would lead elsewhere than to this machine."""
    monkeypatch.delenv("http_proxy", raising=False)
    monkeypatch.delenv("HTTP_PROXY", raising=False)


def crashed() -> AlertState:
    story = Story()
    crash = occurrence(CRASHED, compose("train", 3), log_tail=("step 4180",))
    story.round(crash)
    story.round(crash, after=30)
    return story.state()


def fired(*states: AlertState) -> dict[str, Any]:
    return document(message.compose(states, NoticeKind.FIRED, "gpu-host-2"))


def test_the_document_has_the_keys_that_the_page_shows() -> None:
    example = json.loads(PAGE.partition("```json\n")[2].partition("```")[0])
    given = fired(crashed())
    assert given.keys() == example.keys()
    assert given["alerts"][0].keys() == example["alerts"][0].keys()
    assert given["version"] == example["version"]
    for key in ("alert", "name", "state", "severity", "reason", "count", "episode"):
        assert given["alerts"][0][key] == example["alerts"][0][key], key


def test_it_says_in_words_and_in_figures_what_happened() -> None:
    given = fired(crashed())
    assert given["kind"] == "fired"
    assert given["text"].startswith("🟠 nlp-train-3 crashed · gpu-host-2\n")
    assert given["log"] == ["step 4180"]
    assert given["alerts"][0]["subject"] == {"kind": "container", "key": "nlp/train/3", "name": "nlp-train-3"}


def test_several_alerts_share_a_document() -> None:
    story = Story()
    story.round(*(occurrence(OOM, compose("train", number)) for number in range(3)))
    given = fired(*story.states.values())
    assert [alert["alert"] for alert in given["alerts"]] == [OOM] * 3


def test_foreign_text_is_made_visible() -> None:
    state = crashed()
    given = fired(replace(state, reason="\x1b[2J\ud800", subject=replace(state.subject, name="a\nb")))
    assert given["alerts"][0]["reason"] == "\\x1b[2J\\ud800"
    assert given["alerts"][0]["subject"]["name"] == "a\\nb"
    json.dumps(given, ensure_ascii=False).encode()


def test_a_test_message_has_no_alerts() -> None:
    given = document(message.trial("gpu-host-2"))
    assert (given["kind"], given["alerts"], given["runbook"]) == ("test", [], None)


def test_it_is_posted_with_the_token_and_the_answer_is_judged() -> None:
    shown = message.trial("gpu-host-2")
    with Receiver() as receiver:
        token = Credentials(bearer_token=SecretStr("t0ken"))
        sink = WebhookSink(HttpCall("[webhook] url", SecretStr(f"{receiver.url}/hook"), token))
        assert sink.send(shown) == Sent()
        receiver.answer = Answer(422, b"unknown field")
        assert isinstance(sink.send(shown), Rejected)
        first = receiver.requests[0]
    assert first.document == document(shown)
    assert first.headers["Authorization"] == "Bearer t0ken"
