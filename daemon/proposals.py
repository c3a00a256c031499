"""What of a decision a plan proposes, and what holds up a part of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies.bounds import observed, within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daemon.decide import Decision
    from daemon.rulebook import Rulebook
    from policies.policy import Removal, Verdict


def verdicts(decision: Decision, book: Rulebook) -> list[Verdict]:
    """Give what one run may do of a decision, and everything that stays with the reason."""
    aged = {each.object.id for each in decision.removals}
    pressing = [each for each in decision.relief if not each.spare and each.object.id not in aged]
    removals: Sequence[Removal] = [*decision.removals, *pressing]
    only_seen: list[Removal] = []
    if book.mode != "observe":
        only_seen = [each for each in removals if book.mode_of(each.policy) == "observe"]
        removals = [each for each in removals if book.mode_of(each.policy) != "observe"]
    taken, later = within(removals, book.bounds)
    return [*taken, *later, *observed(only_seen), *decision.kept]


def notes(decision: Decision, book: Rulebook) -> list[str]:
    """Say of which policies the removals do not come by themselves, though the mode of the whole would let them."""
    halted = [f"policy {name} is halted: {why}" for name, why in sorted(decision.too_many.items())]
    if book.mode != "enforce":
        return halted
    named = sorted({removal.policy for removal in (*decision.removals, *decision.relief)})
    waits = [name for name in named if book.mode_of(name) == "approve"]
    timed = [(name, book.bounds_of(name).schedule) for name in named if book.mode_of(name) == "enforce"]
    return [
        *halted,
        *(f"policy {name} waits for an approval" for name in waits),
        *(f'policy {name} acts at the times of its schedule "{schedule}"' for name, schedule in timed if schedule),
    ]
