from __future__ import annotations

import pytest

from collectors.facts import SourceName, Unknown
from collectors.own_facts import Awaiting, OwnWork
from policies.own_state import OwnWorkDone, StateUnsaved
from policies.policy import ConditionState, Severity
from tests.policies.build import NOW, facts


def test_a_state_that_cannot_be_saved_is_bad_and_its_fault_is_told() -> None:
    fault = "/var/lib/shipkeeper/state.db cannot be written (database or disk is full)"
    [condition] = StateUnsaved().decide(facts(state_fault=fault))
    assert (condition.state, condition.reason) == (ConditionState.BAD, fault)


def test_it_is_judged_while_nothing_else_can_be_read() -> None:
    blind = facts(sources=dict.fromkeys(SourceName, Unknown("no engine", NOW)))
    assert blind.known(StateUnsaved.needs)
    [condition] = StateUnsaved().decide(blind)
    assert condition.state is ConditionState.OK


@pytest.mark.parametrize(
    ("alert", "own"),
    [
        ("notify-degraded", OwnWork(undelivered={"slack": "takes none: invalid_auth", "webhook": "takes none: 403"})),
        ("job-overdue", OwnWork(overdue={"ask-usage": "not done for 25 min"})),
        ("config-reload-failed", OwnWork(reload_fault="[docker] hots: no such key")),
        ("cleanup-failed", OwnWork(cleanup_fault="run 12: 3 objects in a row failed")),
        ("cleanup-awaiting-approval", OwnWork(awaiting=Awaiting(objects=2, size_bytes=1024))),
    ],
)
def test_each_fault_of_our_own_work_is_one_alert_and_the_others_are_well(alert: str, own: OwnWork) -> None:
    found = {each.alert: each for each in OwnWorkDone().decide(facts(own=own))}
    assert {name for name, each in found.items() if each.state is ConditionState.BAD} == {alert}
    assert set(found) == set(OwnWorkDone.alerts)
    assert {each.state for each in OwnWorkDone().decide(facts())} == {ConditionState.OK}


def test_what_waits_for_an_approval_while_a_disk_is_full_is_a_warning() -> None:
    own = OwnWork(awaiting=Awaiting(objects=1, size_bytes=0))
    severities = {each.alert: each.severity for each in OwnWorkDone().decide(facts(own=own, pressed=frozenset("/")))}
    assert severities["cleanup-awaiting-approval"] is Severity.WARNING
    [calm] = [each for each in OwnWorkDone().decide(facts(own=own)) if each.alert == "cleanup-awaiting-approval"]
    assert calm.severity is Severity.INFO
