"""What people are told of what happens: silences, acknowledgements, reminders, flapping, incidents."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from daemon.alerts import message, report
from daemon.alerts.ack import Ack
from daemon.alerts.matchers import Matcher
from daemon.alerts.state import Heard
from daemon.alerts.telling import FLAPS
from policies.catalogue import BY_NAME
from policies.policy import Severity
from tests.daemon.alerts.build import (
    BAD,
    BETWEEN,
    DISK,
    DOWN,
    ENGINE,
    HOST,
    LOOP,
    OK,
    OOM,
    ROOT,
    RULES,
    UNHEALTHY,
    Story,
    compose,
    condition,
    occurrence,
)

if TYPE_CHECKING:
    from policies.policy import Condition

MINUTE, HOUR, DAY = 60, 3600, 86400
LOW = condition(BAD, DISK, ROOT, reason="11.4 GiB (9 %) left")
LOWER = condition(BAD, DISK, ROOT, severity=Severity.CRITICAL, reason="1.0 GiB (1 %) left")
WELL = condition(OK, DISK, ROOT, reason="60.0 GiB (47 %) left")
ABOUT_DISKS = Matcher("kind", "=", "filesystem")


def over(story: Story, *findings: Condition) -> list[tuple[str, str]]:
    """Let it be well for as long as it takes."""
    return [*story.round(*findings, after=1), *story.round(*findings, after=300)]


def ack(story: Story, alert: str) -> None:
    """Let somebody take on an alert."""
    state = story.state(alert)
    taken = Ack(
        fingerprint=state.fingerprint,
        incident=state.incident,
        severity=state.severity,
        by="ada",
        why="",
        at=story.steady,
    )
    story.acks[state.fingerprint] = taken


def test_what_is_silenced_is_not_told_and_neither_is_its_end() -> None:
    story = Story()
    silence = story.silence(ABOUT_DISKS)
    step = story.step(LOW)
    assert step.notices == ()
    assert [str(each) for each in step.happened] == [
        f"alert disk-low firing: / on {HOST} · 11.4 GiB (9 %) left · not told: silence {silence.id}"
    ]
    assert story.round(LOWER, after=60) == []
    assert over(story, WELL) == []


def test_what_still_fires_at_the_end_of_a_silence_is_told_in_one_report() -> None:
    story = Story()
    story.round(LOW)
    story.silence(seconds=600)
    sick = condition(BAD, UNHEALTHY, severity=Severity.CRITICAL)
    story.round(LOW, sick, occurrence(OOM), after=1)
    assert story.round(LOW, sick, after=60) == []
    step = story.step(LOW, sick, condition(OK, OOM), after=540)
    assert step.notices == ()
    (end,) = step.ends
    assert [state.alert for state in end.firing] == [UNHEALTHY, DISK, OOM]
    said = message.reported(report.of_end(end), HOST)
    assert said.headline == f"🔴 silence 1 is over: 3 alerts still fire · {HOST}"
    assert said.lines == (
        "It was about everything and lasted 10 min. ada (uid 1000): load test",
        "trainer-3 is unhealthy: it is bad · since 2026-11-23 16:02 UTC",
        "/ is filling: 11.4 GiB (9 %) left · since 2026-11-23 16:02 UTC",
        "trainer-3 was killed for memory: exited 7 (error) after 3 h 12 min · since 2026-11-23 16:02 UTC",
    )
    assert over(story, WELL) == [(DISK, "resolved")], "people know of it now, so they hear of its end"


def test_of_a_maintenance_window_the_end_is_told_though_nothing_fires() -> None:
    story = Story()
    story.silence(seconds=60, window=True)
    story.silence(seconds=60)
    ends = [*story.step(after=30).ends, *story.step(after=30).ends]
    assert [report.of_end(end).title for end in ends] == ["maintenance window 1 is over: nothing fires"]
    assert story.step(after=1).ends == ()


def test_a_report_of_very_many_alerts_counts_the_rest() -> None:
    story = Story()
    story.silence(seconds=10)
    found = [occurrence(OOM, compose("train", number)) for number in range(100)]
    story.round(*found)
    (end,) = story.step(*found, after=10).ends
    assert report.of_end(end).lines[-1] == "and 60 more"


def test_what_another_silence_covers_is_not_told_at_the_end_of_the_first() -> None:
    story = Story()
    story.silence(ABOUT_DISKS, seconds=60)
    story.silence(seconds=120)
    story.round(LOW)
    assert story.step(LOW, after=60).ends == ()
    assert [len(end.firing) for end in story.step(LOW, after=60).ends] == [1]


def test_what_people_knew_of_before_a_silence_is_told_as_over() -> None:
    story = Story()
    assert story.round(LOW) == [(DISK, "fired")]
    story.silence(ABOUT_DISKS)
    assert over(story, WELL) == [(DISK, "resolved")]


def test_at_the_end_of_a_silence_nothing_is_told_of_what_nobody_can_see() -> None:
    story = Story()
    story.silence(seconds=60)
    story.round(LOW)
    assert story.step(after=60, ran=frozenset()).ends == ()
    assert story.round(LOW, after=15) == [(DISK, "fired")]


def test_a_silence_that_ends_while_the_engine_is_down_tells_of_its_containers_when_it_is_back() -> None:
    story = Story()
    story.silence(Matcher("kind", "=", "container"), seconds=90)
    sick, down = condition(BAD, UNHEALTHY), condition(BAD, DOWN, ENGINE)
    story.round(sick)
    story.round(sick, after=60)
    assert story.round(sick, down, after=5) == [(DOWN, "fired")]
    assert story.step(sick, down, after=30).ends == ()
    assert story.state(UNHEALTHY).inhibited_by == DOWN
    back = condition(OK, DOWN, ENGINE)
    assert story.round(sick, back, after=5) == []
    assert story.round(sick, back, after=10) == [(UNHEALTHY, "fired"), (DOWN, "resolved")]


def test_a_critical_alert_is_reminded_of_after_an_hour_after_four_and_daily() -> None:
    story = Story()
    story.round(LOWER)
    reminded = [hours for hours in range(1, 80) if story.round(LOWER, after=HOUR) == [(DISK, "reminded")]]
    assert reminded == [1, 4, 28, 52, 76]


@pytest.mark.parametrize(("severity", "hours"), [(Severity.WARNING, [24, 48]), (Severity.INFO, [])], ids=str)
def test_a_warning_is_reminded_of_daily_and_an_info_never(severity: Severity, hours: list[int]) -> None:
    story = Story()
    low = LOW._replace(severity=severity)
    story.round(low)
    assert [hour for hour in range(1, 60) if story.round(low, after=HOUR)] == hours


def test_nobody_is_reminded_of_what_somebody_looks_after_until_it_gets_worse() -> None:
    story = Story()
    story.round(LOW)
    ack(story, DISK)
    assert [news for _ in range(48) if (news := story.round(LOW, after=HOUR))] == []
    assert story.round(LOWER, after=HOUR) == [(DISK, "escalated")]
    assert story.state(DISK).acked_by == ""
    assert story.round(LOWER, after=HOUR) == [(DISK, "reminded")]


def test_after_a_long_absence_people_are_reminded_once() -> None:
    story = Story()
    story.round(LOWER)
    assert story.round(LOWER, after=10 * DAY) == [(DISK, "reminded")]
    assert story.round(LOWER, after=15) == []


def test_an_acknowledgement_holds_for_the_incident_and_not_for_the_next() -> None:
    story = Story()
    story.round(LOW)
    ack(story, DISK)
    over(story, WELL)
    assert story.round(LOW, after=9 * MINUTE) == [(DISK, "fired")]
    assert (story.state(DISK).incident, story.state(DISK).episode, story.state(DISK).acked_by) == (1, 2, "ada")
    over(story, WELL)
    story.round(LOW, after=11 * MINUTE)
    assert (story.state(DISK).incident, story.state(DISK).episode, story.state(DISK).acked_by) == (2, 3, "")


def test_what_flaps_is_told_once_as_that_until_it_has_settled() -> None:
    story = Story()
    bad, well = condition(BAD, LOOP), condition(OK, LOOP)
    news = [story.round(each, after=MINUTE) for _ in range(15) for each in (bad, well)]
    told = [kind for each in news for _, kind in each]
    assert told == ["fired", "resolved"] * (FLAPS - 1) + ["flapping"]
    assert story.round(well, after=29 * MINUTE) == []
    assert story.round(well, after=2 * MINUTE) == [(LOOP, "resolved")]
    assert story.round(bad, after=MINUTE) == [(LOOP, "fired")]


def test_what_has_settled_and_fires_is_told_as_firing() -> None:
    story = Story()
    bad, well = condition(BAD, LOOP), condition(OK, LOOP)
    for _ in range(FLAPS):
        story.round(well, after=1)
        story.round(bad, after=1)
    assert story.round(bad, after=30 * MINUTE) == [(LOOP, "reminded")]
    assert story.state(LOOP).heard is Heard.FIRING


def test_what_flaps_and_becomes_critical_is_told() -> None:
    story = Story()
    bad, well = condition(BAD, LOOP), condition(OK, LOOP)
    for _ in range(FLAPS):
        story.round(well, after=1)
        story.round(bad, after=1)
    assert story.round(bad._replace(severity=Severity.CRITICAL), after=1) == [(LOOP, "escalated")]
    story.round(well, after=1)
    assert story.round(bad._replace(severity=Severity.CRITICAL), after=1) == []


def test_what_comes_back_now_and_then_does_not_flap() -> None:
    story = Story()
    bad, well = condition(BAD, LOOP), condition(OK, LOOP)
    news = [story.round(each, after=7 * MINUTE) for _ in range(20) for each in (bad, well)]
    assert {kind for each in news for _, kind in each} == {"fired", "resolved"}


def test_what_flaps_while_it_is_silenced_is_told_as_that_when_it_is_heard_again() -> None:
    story = Story()
    story.silence(seconds=60)
    bad, well = condition(BAD, LOOP), condition(OK, LOOP)
    for _ in range(FLAPS):
        assert story.round(well, after=1) == []
        assert story.round(bad, after=1) == []
    assert story.round(bad, after=60) == [(LOOP, "flapping")]


def test_around_a_threshold_it_fires_once_and_is_resolved_once() -> None:
    story = Story({DISK: replace(RULES[DISK], hold=timedelta(seconds=30), clear=timedelta(minutes=5))})
    between = condition(BETWEEN, DISK, ROOT)
    news = [story.round(each, after=15) for _ in range(40) for each in (LOW, between, LOW, LOW)]
    assert [each for each in news if each] == [[(DISK, "fired")]]
    news = [story.round(each, after=15) for _ in range(10) for each in (WELL, between, WELL, LOW)]
    assert [each for each in news if each] == []
    news = [story.round(WELL, after=15) for _ in range(40)]
    assert [each for each in news if each] == [[(DISK, "resolved")]]


def test_messages_say_that_it_flaps_and_that_it_still_fires() -> None:
    story = Story()
    story.round(LOWER)
    (reminder,) = story.step(LOWER, after=HOUR).notices
    said = message.compose([reminder.state], reminder.kind, HOST)
    assert said.headline == f"🔴 / is filling: 1.0 GiB (1 %) left · {HOST}"
    key = reminder.state.fingerprint[:8]
    assert said.lines[0] == "It still fires, and nobody has acknowledged it."
    assert said.commands == ("shipkeeper plan", f"shipkeeper alerts ack {key}")
    well = condition(OK, LOOP)
    for _ in range(FLAPS):
        story.round(well, after=1)
        step = story.step(condition(BAD, LOOP), after=1)
    (flapping,) = step.notices
    assert message.compose([flapping.state], flapping.kind, HOST).lines[0].startswith("It comes and goes: nothing more")


def test_an_engine_that_is_down_speaks_for_all_containers_and_a_lost_gpu_for_all_that_is_wrong_with_it() -> None:
    for name, rule in BY_NAME.items():
        if name.startswith("container-"):
            assert "engine-down" in rule.folded_into
        if name.startswith("gpu-") and name != "gpu-lost":
            assert "gpu-lost" in rule.folded_into
