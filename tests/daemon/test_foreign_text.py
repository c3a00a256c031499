"""Whatever strangers write into names, labels, logs and errors stays text in every place that shows it."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.families import Family, label_block, render
from collectors.json_fields import Fields
from daemon.alert_lines import alert_lines
from daemon.alerts import message
from daemon.alerts.console import ConsoleSink
from daemon.alerts.slack_blocks import blocks_of
from daemon.alerts.state import NoticeKind
from daemon.config import Log
from daemon.logs import log_handler
from daemon.plans import from_json, make_plan, plan_lines, to_json
from daemon.terminal import outcome_lines
from daemon.web.exchange import Request
from daemon.web.pages import LandingPage, Overview
from policies.policy import Kept, Removal
from tests.daemon.alerts.build import BAD, UNHEALTHY, Story, compose, condition, occurrence
from tests.daemon.watchpost import WatchPost
from tests.lab.binaries import promtool
from tests.lab.block_kit import foreign_markup
from tests.lab.scripted_engine import ScriptedEngine
from tests.policies.build import NOW, container

if TYPE_CHECKING:
    from pathlib import Path

    from daemon.alerts.message import Message

TRICKS = (
    "\x1b[2J", "\x1b]0;owned\x07", "\x9b31m", "\x00", "\r", "\n", "\t", "\u2028", "\u202e", "\u2066", "\u200b",
    "\ufeff",
    "<!channel>", "<@U1>", "<https://evil.example|here>", "@here", "*", "_", "~", "`", "```", "&amp;", "</h1><script>",
    '"', "\\", "{", "}", "%s", "%(name)s", "[red]x[/red]", "é", "🚢", "x" * 4096,
)  # fmt: skip
HOSTILE = st.lists(st.sampled_from(TRICKS) | st.text(max_size=5), min_size=1, max_size=6).map(
    lambda parts: "".join(parts).encode(errors="replace").decode()  # as it comes out of `collectors/json_fields.py`
)


def message_about(text: str) -> Message:
    """Give a message whose every foreign part is this text."""
    story = Story()
    subject = compose(text, project=text)
    story.step(occurrence(subject=subject, log_tail=(text, text)), condition(BAD, UNHEALTHY, subject, reason=text))
    return message.compose([story.state()], NoticeKind.FIRED, text)


def is_text(shown: str) -> bool:
    """Tell that nothing in it moves a cursor, ends a line or turns the order of what follows."""
    return shown.isprintable()


@given(HOSTILE)
def test_a_message_is_lines_of_printable_text_at_the_terminal(text: str) -> None:
    paper = io.StringIO()
    told = message_about(text)
    ConsoleSink(paper).send(told)
    lines = paper.getvalue().split("\n")
    assert all(map(is_text, lines))
    assert len(lines) == 1 + len(told.lines) + len(told.log_tail) + bool(told.moments) + bool(told.what_to_do) + 1


@given(HOSTILE)
def test_a_message_is_no_markup_in_slack(text: str) -> None:
    body = json.loads(json.dumps(blocks_of(message_about(text))).encode())
    for block in body["blocks"]:
        for part in (block.get("text"), *block.get("elements", ())):
            if part is None:
                continue
            assert foreign_markup({"text": part["text"]}) == []
            fences = 0 if block["type"] == "context" else 2
            assert part["type"] == "plain_text" or part["text"].count("```") == fences
            assert all(is_text(line.replace("\u200b", "")) for line in part["text"].split("\n"))


@given(HOSTILE)
@pytest.mark.parametrize("form", ["text", "journal", "json"])
def test_a_line_of_the_log_is_one_printable_line(form: str, text: str) -> None:
    with open(os.devnull, "w", encoding="utf-8") as stream:  # noqa: PTH123  it lends a descriptor
        opened = os.fstat(stream.fileno())
        environ = {"JOURNAL_STREAM": f"{opened.st_dev}:{opened.st_ino}"} if form == "journal" else {}
        handler = log_handler(Log(format="json" if form == "json" else "text"), ("verysecret",), environ, stream)
        fault = RuntimeError(text)
        told = (RuntimeError, fault, None)
        record = logging.LogRecord("daemon.x", logging.ERROR, "x.py", 1, "%s in %s", (text, text), told)
        handler.filter(record)
        lines = handler.format(record).split("\n")
    assert all(map(is_text, lines))
    assert form != "journal" or all(line.startswith("<3>") for line in lines)
    assert form != "json" or len(lines) == 1


@given(HOSTILE)
def test_a_plan_and_the_alerts_are_printable_lines(text: str) -> None:
    ref = container(text).ref
    removal = Removal(object=ref, size_bytes=1, filesystem=text, policy="containers", reason=text)
    plan = make_plan([removal, Kept(object=ref, reason=text)], "observe", NOW)
    lines = plan_lines(from_json(json.loads(json.dumps(to_json(plan)))), explain=True)
    alert = {"severity": "critical", "summary": text, "state": text, "since": NOW.isoformat(), "count": 2, "id": text}
    alert |= {"silenced_by": 3, "acked_by": text, "inhibited_by": text, "flapping": True}
    lines += [line.text for line in alert_lines([alert])]
    lines += [line.text for line in outcome_lines([{"sink": text, "said": text, "ok": False}])]
    assert all(map(is_text, lines))


class Elements(HTMLParser):
    """Counts what a browser would take for elements."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note one."""
        del attrs
        self.tags.append(tag)


def tags_of(text: str) -> list[str]:
    page = LandingPage(lambda: Overview(host=text, version=text, mode=text, engine=text))
    elements = Elements()
    elements.feed(page(Request(method="GET", path="/", query={}, headers={}, body=b"", peer=None)).body.decode())
    return elements.tags


@given(HOSTILE)
def test_the_front_page_has_the_elements_that_we_wrote(text: str) -> None:
    assert tags_of(text) == tags_of("calm")


def test_promtool_reads_every_trick_in_a_label() -> None:
    samples = [(label_block(name=trick, all="".join(TRICKS)), 1) for trick in TRICKS]
    page = render([Family("shipkeeper_x", "gauge", "".join(TRICKS), samples)])
    checked = subprocess.run([promtool(), "check", "metrics"], input=page, capture_output=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, b"")


@given(st.text(st.characters(), max_size=20))
def test_what_utf_8_cannot_hold_does_not_come_in(text: str) -> None:
    spoiled = json.loads(json.dumps({"Name": text, "Labels": {text: text}, "Tags": [text]}))
    fields = Fields(spoiled, "inspect")
    for inside in (
        fields.text("Name"),
        *fields.labels("Labels").values(),
        *fields.labels("Labels"),
        *fields.texts("Tags"),
    ):
        inside.encode()


def test_half_a_character_in_a_name_stops_no_cycle(tmp_path: Path) -> None:
    with ScriptedEngine(tmp_path / "docker.sock") as engine:
        post = WatchPost(engine, tmp_path)
        web = engine.add("web", labels={"com.docker.compose.project": "a\udc80", "shipkeeper.note": "\ud83d"})
        web.name = "web-\udfff"
        post.cycle()
        post.die(web, 3)
        post.cycles(40)
        assert [death.exit_code for death in post.stored_deaths()] == [3]
        assert post.told() == [("container-crashed", "fired")]
        post.close()
