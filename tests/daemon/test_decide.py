from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from collectors.facts import Known, SourceName, Unknown
from daemon.decide import decide
from policies.policy import Condition, ConditionState, Kept, Occurrence, Removal, Severity
from tests.policies.build import NOW, container, facts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collectors.facts import Facts
    from policies.policy import Verdict

WEB = container()
CONDITION = Condition(
    alert="a", subject=WEB.subject, severity=Severity.WARNING, state=ConditionState.OK, reason="it is well"
)
OCCURRENCE = Occurrence(alert="a", subject=WEB.subject, severity=Severity.WARNING, at=NOW, key="k", reason="it fell")
REMOVAL = Removal(object=WEB.ref, size_bytes=None, filesystem="/", policy="p", reason="old")
KEPT = Kept(object=container("other").ref, reason="in use: running")


class Script:
    """A policy that yields what a test tells it to."""

    needs: ClassVar[frozenset[SourceName]] = frozenset({SourceName.DOCKER})
    alerts: ClassVar[tuple[str, ...]] = ("a",)

    def __init__(self, *verdicts: Verdict) -> None:
        self.verdicts = verdicts

    def decide(self, facts: Facts) -> Iterator[Verdict]:
        """Yield it."""
        assert facts.now == NOW
        yield from self.verdicts


class OfDisks(Script):
    """Asks for disks alone."""

    needs: ClassVar[frozenset[SourceName]] = frozenset({SourceName.FILESYSTEMS})
    alerts: ClassVar[tuple[str, ...]] = ("b",)


class OfBoth(Script):
    """Asks for Docker and for disks."""

    needs: ClassVar[frozenset[SourceName]] = frozenset({SourceName.DOCKER, SourceName.FILESYSTEMS})


class OfNothing(Script):
    """Needs no source."""

    needs: ClassVar[frozenset[SourceName]] = frozenset()


def test_verdicts_are_sorted_by_what_they_are_for() -> None:
    decision = decide({"p": Script(CONDITION, REMOVAL, KEPT, OCCURRENCE)}, facts())
    assert decision.findings == (CONDITION, OCCURRENCE)
    assert (decision.removals, decision.kept) == ((REMOVAL,), (KEPT,))
    assert (decision.judged, decision.skipped) == (frozenset({"a"}), {})


def test_of_an_object_that_two_policies_look_at_the_removal_is_told_else_the_later_word() -> None:
    first, second = Kept(object=WEB.ref, reason="not mine: no"), Kept(object=WEB.ref, reason="too recent: 1 h")
    assert decide({"p": Script(first), "q": Script(second)}, facts()).kept == (second,)
    for policies in ({"p": Script(first), "q": Script(REMOVAL)}, {"p": Script(REMOVAL), "q": Script(first)}):
        decision = decide(policies, facts())
        assert (decision.removals, decision.kept) == ((REMOVAL,), ())


def test_a_policy_whose_source_is_unknown_is_skipped_with_the_reason_and_the_others_run() -> None:
    sources = {SourceName.DOCKER: Unknown("Docker is hung", NOW), SourceName.FILESYSTEMS: Known(NOW)}
    decision = decide({"p": Script(REMOVAL, CONDITION), "disks": OfDisks()}, facts(sources=sources))
    assert decision.skipped == {"p": "docker: Docker is hung"}
    assert decision.judged == {"b"}
    assert (decision.removals, decision.findings) == ((), ())


def test_every_missing_source_is_named() -> None:
    sources = {SourceName.DOCKER: Unknown("gone", NOW)}
    decision = decide({"p": OfBoth()}, facts(sources=sources))
    assert decision.skipped == {"p": "docker: gone; filesystems not read yet"}


def test_a_policy_without_needs_runs_when_nothing_is_known() -> None:
    nothing = {name: Unknown("gone", NOW) for name in SourceName}
    assert decide({"p": OfNothing(CONDITION)}, facts(sources=nothing)).findings == (CONDITION,)
