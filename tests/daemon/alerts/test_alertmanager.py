from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from collectors.facts import Subject, SubjectKind
from daemon.alerts.alertmanager import HOLDS, RESENT, Told, alert_of, labels_of, trial
from policies.policy import Severity
from tests.daemon.alerts.build import BAD, CRASHED, DISK, GPU, OK, ROOT, Story, compose, condition, occurrence
from tests.fakes.clock import NOW

if TYPE_CHECKING:
    from daemon.alerts.state import AlertState

MINUTE = timedelta(minutes=1)


def low(severity: Severity = Severity.WARNING) -> AlertState:
    story = Story()
    story.round(condition(BAD, DISK, ROOT, severity=severity, reason="11.4 GiB (9 %) left"))
    return story.state(DISK)


def resolved() -> AlertState:
    story = Story()
    story.round(condition(BAD, DISK, ROOT))
    story.round(condition(OK, DISK, ROOT, reason="80 GiB left"), after=60)
    story.round(condition(OK, DISK, ROOT, reason="80 GiB left"), after=300)
    return story.state(DISK)


def ends(pushed: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(pushed["endsAt"])


def test_an_alert_that_is_on_holds_for_four_minutes_from_now() -> None:
    pushed = alert_of(low(), NOW + MINUTE)
    assert pushed["labels"] == {
        "alertname": "DiskLow", "severity": "warning", "host": "gpu-host-2", "filesystem": "/",
    }  # fmt: skip
    assert pushed["startsAt"] == NOW.isoformat()
    assert ends(pushed) == NOW + MINUTE + HOLDS


def test_a_container_of_compose_bears_its_project_and_service_and_brings_its_last_lines() -> None:
    story = Story()
    lines = ("epoch 41", "out of \x1b[31mmemory")
    crash = occurrence(CRASHED, compose("train", 3), log_tail=lines)
    story.round(crash)
    story.round(crash, after=60)
    pushed = alert_of(story.state(), NOW)
    assert pushed["labels"] == {
        "alertname": "ContainerCrashed", "severity": "warning", "host": "gpu-host-2",
        "container": "nlp-train-3", "project": "nlp", "service": "train",
    }  # fmt: skip
    assert pushed["annotations"]["summary"] == "nlp-train-3 crashed"
    assert pushed["annotations"]["log"] == "epoch 41\nout of memory"
    assert pushed["annotations"]["runbook"] == "docs/alerts.md#container-crashed"
    assert "exited 7 (error)" in pushed["annotations"]["description"]


def test_what_is_over_ended_when_it_did_and_says_why() -> None:
    pushed = alert_of(resolved(), NOW + 10 * MINUTE)
    assert ends(pushed) == NOW + 6 * MINUTE
    assert pushed["annotations"]["summary"] == "/ is filling · resolved after 6 min: 80 GiB left"


def test_a_wall_clock_that_was_set_back_does_not_make_it_end_before_it_began() -> None:
    state = replace(resolved(), resolved_at=NOW - 60 * MINUTE)
    pushed = alert_of(state, NOW)
    assert pushed["endsAt"] == pushed["startsAt"]


@given(st.text(), st.text(), st.sampled_from(SubjectKind))
def test_no_label_is_empty_or_holds_what_moves_a_cursor(host: str, name: str, kind: SubjectKind) -> None:
    state = replace(low(), host=host, subject=Subject(kind, name, name))
    for label, value in labels_of(state):
        assert label.isidentifier()
        assert value.isprintable()
        assert value


def test_all_that_is_on_is_pushed_in_each_round_and_what_is_over_for_a_quarter_of_an_hour() -> None:
    told = Told()
    (first,), (again,) = told.round([low()], NOW), told.round([low()], NOW + MINUTE)
    assert ends(again) - ends(first) == MINUTE
    # It became part of another alert: nothing in the store says any more that it was on.
    (gone,) = told.round([], NOW + 2 * MINUTE)
    assert ends(gone) == NOW + 2 * MINUTE
    (still,) = told.round([], NOW + 2 * MINUTE + RESENT - MINUTE)
    assert still == gone
    assert told.round([], NOW + 2 * MINUTE + RESENT) == []


def test_what_becomes_worse_ends_under_its_old_labels() -> None:
    told = Told()
    told.round([low()], NOW)
    pushed = told.round([low(Severity.CRITICAL)], NOW + MINUTE)
    assert {(each["labels"]["severity"], ends(each)) for each in pushed} == {
        ("critical", NOW + MINUTE + HOLDS),
        ("warning", NOW + MINUTE),
    }


def test_what_begins_anew_is_not_over_any_more() -> None:
    told = Told()
    told.round([low()], NOW)
    told.round([], NOW + MINUTE)
    (again,) = told.round([low()], NOW + 2 * MINUTE)
    assert ends(again) == NOW + 2 * MINUTE + HOLDS


def test_a_gpu_is_named_as_people_call_it() -> None:
    assert dict(labels_of(replace(low(), subject=GPU)))["gpu"] == "GPU 2"


def test_the_test_alert_ends_by_itself() -> None:
    pushed = trial("gpu-host-2", NOW)
    assert pushed["labels"] == {"alertname": "ShipkeeperTest", "severity": "info", "host": "gpu-host-2"}
    assert NOW < ends(pushed) <= NOW + 10 * MINUTE
