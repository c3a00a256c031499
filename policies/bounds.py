"""What bounds the removals of one policy: its own mode, which objects, how many at once, and how many are too many."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from policies import words
from policies.policy import Kept, Removal
from policies.selection import Rule, why_left_out

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from collectors.facts import Facts, ObjectRef
    from policies.policy import Policy, Verdict
    from policies.selection import Selectable

SMALL: Final = 10
"""Of fewer objects half is nothing unusual."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The settings that every policy has that removes; a number of 0 bounds nothing."""

    mode: str = ""
    """`observe`, `approve` or `enforce`: it may do less than the mode of the whole, never more. Empty: the same."""
    schedule: str = ""
    """When it removes by itself, as five fields of cron. Empty: as soon as there is something."""
    max_removals: int = 100
    max_bytes: int = 0
    abort_over_percent: float = 50.0
    include: tuple[Rule, ...] = ()
    exclude: tuple[Rule, ...] = ()
    in_order: bool = False
    """The policy's own order counts, and so do objects of unknown size: what they free is measured."""


PLAIN: Final = Bounds()


def ask(policy: Policy, facts: Facts, bounds: Bounds) -> Iterable[Verdict]:
    """Give the verdicts of a policy, of which no removal is of an object that it is not to touch."""
    return touching(policy.decide(facts), facts, bounds)


def touching(verdicts: Iterable[Verdict], facts: Facts, bounds: Bounds) -> Iterable[Verdict]:
    """Give these verdicts; a removal of an object that is left out becomes the reason why that stays."""
    return _touching(verdicts, facts, bounds) if bounds.include or bounds.exclude else verdicts


def _touching(verdicts: Iterable[Verdict], facts: Facts, bounds: Bounds) -> Iterator[Verdict]:
    things: dict[ObjectRef, Selectable] = {each.ref: each for each in facts.containers}
    things |= {each.ref: each for each in facts.images}
    things |= {each.ref: each for each in facts.networks}
    things |= {each.ref: each for each in facts.volumes}
    owed: Counter[str] = Counter()
    """What is left out of each filesystem's expected gain: as much of what was spare is needed in its place."""
    for verdict in verdicts:
        if not isinstance(verdict, Removal):
            yield verdict
            continue
        thing, size = things.get(verdict.object), verdict.size_bytes or 0
        if thing is not None and (reason := why_left_out(thing, bounds.include, bounds.exclude)):
            owed[verdict.filesystem] += 0 if verdict.spare else size
            yield Kept(object=verdict.object, reason=reason)
        elif verdict.spare and owed[verdict.filesystem] > 0:
            owed[verdict.filesystem] -= size
            yield replace(verdict, spare=False)
        else:
            yield verdict


def too_many(selected: int, population: int, bounds: Bounds) -> str | None:
    """Say why so many of a population may not go by themselves; None when they may."""
    if population < SMALL or selected * 100 <= population * bounds.abort_over_percent:
        return None
    return (
        f"it would remove {selected} of {population}, more than {bounds.abort_over_percent:g} %: nothing goes by itself"
        " until a person approves that plan or raises abort_over_percent"
    )


def within(removals: Iterable[Removal], bounds: Mapping[str, Bounds]) -> tuple[tuple[Removal, ...], tuple[Kept, ...]]:
    """Give what one run may remove at most, of each policy what has been of no use for longest, and what waits."""
    given = list(removals)
    in_order = [each for each in given if bounds.get(each.policy, PLAIN).in_order]
    others = (each for each in given if not bounds.get(each.policy, PLAIN).in_order)
    by_age = sorted(others, key=lambda each: (each.idle is None, -(each.idle or timedelta(0)), each.object.id))
    counts: dict[str, int] = {}
    sizes: dict[str, int] = {}
    taken: list[Removal] = []
    waiting: list[Kept] = []
    for removal in (*by_age, *in_order):
        own = bounds.get(removal.policy, PLAIN)
        count, size = counts.get(removal.policy, 0), sizes.get(removal.policy, 0)
        if reason := _why_later(removal, own, count, size):
            waiting.append(Kept(object=removal.object, reason=reason))
            continue
        counts[removal.policy], sizes[removal.policy] = count + 1, size + (removal.size_bytes or 0)
        taken.append(removal)
    return tuple(taken), tuple(waiting)


def observed(removals: Sequence[Removal]) -> tuple[Kept, ...]:
    """Give the removals of policies that only observe as what stays."""
    return tuple(
        Kept(object=each.object, reason=f"only observed: [policies.{each.policy}] mode is observe; {each.reason}")
        for each in removals
    )


def _why_later(removal: Removal, own: Bounds, count: int, size: int) -> str | None:
    if own.max_removals and count >= own.max_removals:
        return f"next run: one removes {own.max_removals} at most (max_removals)"
    if not own.max_bytes or (removal.size_bytes is None and own.in_order):
        return None
    if removal.size_bytes is None:
        return "size unknown: max_bytes counts sizes, and its own is not known yet"
    if removal.size_bytes > own.max_bytes:
        most = words.size(own.max_bytes)
        return f"too large: {words.size(removal.size_bytes)}, and no run removes more than {most} (max_bytes)"
    if size + removal.size_bytes > own.max_bytes:
        return f"next run: one removes {words.size(own.max_bytes)} at most (max_bytes)"
    return None
