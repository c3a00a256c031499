"""A plan proposes what one run may do, and says what of it does not come by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from daemon import proposals
from daemon.decide import Decision, decide
from policies.bounds import Bounds
from policies.containers import ExitedContainers
from policies.policy import Kept, Removal
from tests.daemon.watchpost import Options
from tests.policies.build import DAY, exited, facts

if TYPE_CHECKING:
    from daemon.rulebook import Rulebook

POLICIES = {"containers": ExitedContainers()}


def book(whole: Any, **bounds: Any) -> Rulebook:
    return replace(Options(policies=POLICIES).book(), mode=whole, bounds={"containers": Bounds(**bounds)})


def decision(rules: Rulebook, jobs: int = 3) -> Decision:
    world = facts(containers=[exited(f"job-{number}", ago=(30 + number) * DAY) for number in range(jobs)])
    return decide(POLICIES, world, rules.bounds)


def proposed(rules: Rulebook) -> tuple[list[str], list[str]]:
    verdicts = proposals.verdicts(decision(rules), rules)
    removed = [each.object.name for each in verdicts if isinstance(each, Removal)]
    return removed, [each.reason for each in verdicts if isinstance(each, Kept)]


def test_what_goes_beyond_the_caps_waits_for_the_next_run() -> None:
    assert proposed(book("approve", max_removals=2)) == (
        ["job-2", "job-1"],
        ["next run: one removes 2 at most (max_removals)"],
    )


def test_what_a_policy_only_observes_is_not_proposed_for_approval() -> None:
    removed, kept = proposed(book("approve", mode="observe"))
    assert removed == []
    assert kept[0].startswith("only observed: [policies.containers] mode is observe; exited 0")


def test_where_nothing_is_removed_at_all_the_plan_shows_everything() -> None:
    assert len(proposed(book("observe", mode="observe"))[0]) == 3


def test_it_says_what_does_not_come_by_itself() -> None:
    def said(rules: Rulebook, jobs: int = 3) -> list[str]:
        return proposals.notes(decision(rules, jobs), rules)

    assert said(book("enforce")) == []
    assert said(book("approve", mode="approve")) == []
    assert said(book("enforce", mode="approve")) == ["policy containers waits for an approval"]
    assert said(book("enforce", schedule="0 3 * * *")) == [
        'policy containers acts at the times of its schedule "0 3 * * *"'
    ]
    [halted] = said(book("approve"), jobs=10)
    assert halted.startswith("policy containers is halted: it would remove 10 of 10, more than 50 %")
