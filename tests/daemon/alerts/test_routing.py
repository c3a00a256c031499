from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from daemon.alerts.routing import RoutingRule, Ways
from daemon.alerts.state import Notice, NoticeKind
from policies.policy import Severity
from tests.daemon.alerts.build import BAD, DISK, OOM, ROOT, Story, compose, condition, occurrence
from tests.policies.build import container, facts

if TYPE_CHECKING:
    from daemon.alerts.state import AlertState

DEFAULT = ("console", "slack")


def disk(severity: Severity = Severity.WARNING) -> AlertState:
    story = Story()
    story.step(condition(BAD, DISK, ROOT, severity=severity))
    return story.state(DISK)


def oom() -> AlertState:
    story = Story()
    story.step(occurrence(OOM, compose("trainer")))
    return story.state(OOM)


def led(state: AlertState, *rules: RoutingRule, kind: NoticeKind = NoticeKind.FIRED, told: tuple[str, ...] = ()) -> str:
    """Give where this news goes."""
    labels = {"nlp/trainer/1": {"team": "vision-eu"}}
    ways = Ways(rules=rules, by_default=DEFAULT, labels=labels)
    return " ".join(ways.sinks(Notice(kind=kind, state=state), told))


def test_without_routes_everything_goes_everywhere() -> None:
    assert led(disk()) == "console slack"


@pytest.mark.parametrize(
    ("rule", "takes_disk", "takes_oom"),
    [
        (RoutingRule(to=("#x",)), True, True),
        (RoutingRule(to=("#x",), severities=("critical",)), False, False),
        (RoutingRule(to=("#x",), severities=("critical", "warning")), True, True),
        (RoutingRule(to=("#x",), alerts=("container-*",)), False, True),
        (RoutingRule(to=("#x",), containers=("nlp-*",)), False, True),
        (RoutingRule(to=("#x",), containers=("*",), alerts=("disk-*",)), False, False),
        (RoutingRule(to=("#x",), labels={"team": "vision*"}), False, True),
        (RoutingRule(to=("#x",), labels={"team": "nlp"}), False, False),
        (RoutingRule(to=("#x",), labels={"owner": "*"}), False, False),
    ],
)
def test_a_route_takes_what_fits_everything_that_it_names(
    rule: RoutingRule, *, takes_disk: bool, takes_oom: bool
) -> None:
    assert led(disk(), rule) == ("#x" if takes_disk else "console slack")
    assert led(oom(), rule) == ("#x" if takes_oom else "console slack")


def test_the_first_route_that_fits_counts() -> None:
    critical = RoutingRule(to=("slack", "#on-call"), severities=("critical",))
    disks = RoutingRule(to=("#disks",), alerts=("disk-*",))
    assert led(disk(), critical, disks) == "#disks"
    assert led(disk(Severity.CRITICAL), critical, disks) == "slack #on-call"


def test_who_was_told_hears_of_the_rest_and_nobody_else_of_the_end() -> None:
    critical = RoutingRule(to=("#on-call",), severities=("critical",))
    worse = disk(Severity.CRITICAL)
    assert led(worse, critical, kind=NoticeKind.ESCALATED, told=DEFAULT) == "#on-call console slack"
    assert led(worse, critical, kind=NoticeKind.RESOLVED, told=("#on-call", *DEFAULT)) == "#on-call console slack"
    mild = replace(worse, severity=Severity.WARNING)
    assert led(mild, critical, kind=NoticeKind.RESOLVED, told=("#on-call",)) == "#on-call"


def test_at_the_end_of_a_silence_everybody_hears_of_what_is_led_there() -> None:
    story = Story()
    story.silence(seconds=60)
    findings = (condition(BAD, DISK, ROOT, severity=Severity.CRITICAL), occurrence(OOM, compose("trainer")))
    story.step(*findings)
    (end,) = story.step(*findings, after=60).ends
    rules = (
        RoutingRule(to=("slack", "#on-call"), severities=("critical",)),
        RoutingRule(to=("#vision",), labels={"team": "nobody"}),
    )
    told = Ways(rules=rules, by_default=DEFAULT).of_end(end)
    assert {sink: [state.alert for state in end.firing] for sink, end in told.items()} == {
        "console": [DISK, OOM],
        "slack": [DISK, OOM],
        "#on-call": [DISK],
    }


def test_labels_are_those_of_the_containers_there_are_and_of_those_that_ended_lately() -> None:
    rules = (RoutingRule(to=("#x",), labels={"team": "*"}),)
    here = facts(containers=[container("web", labels={"team": "shop"})])
    assert Ways.of(rules, DEFAULT, here).labels["web"] == {"team": "shop"}
    assert Ways.of((RoutingRule(to=("#x",)),), DEFAULT, here).labels == {}
