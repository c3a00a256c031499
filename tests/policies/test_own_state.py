from __future__ import annotations

from collectors.facts import SourceName, Unknown
from policies.own_state import StateUnsaved
from policies.policy import ConditionState
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
