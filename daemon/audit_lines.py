"""How the audit looks in a terminal."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from daemon.lines import BAD, GOOD, Line
from daemon.outcome import Outcome, in_words
from policies import words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


def audit_lines(steps: Iterable[Mapping[str, Any]]) -> Iterator[Line]:
    """Render the answer of `/audit`, every decision on a line of its own."""
    for step in steps:
        outcome = Outcome(step["outcome"])
        parts = [
            f"{words.moment(datetime.fromisoformat(step['at']))}  {in_words(outcome)}: {step['kind']} {step['name']}",
            step["reason"],
            *([_gain(step)] if outcome is Outcome.REMOVED else []),
            *([step["words"]] if step["words"] else []),
            f"run {step['run']} of plan {step['plan_id']}, asked for by {step['asked_by']}",
        ]
        style = BAD if outcome.is_failure else GOOD if outcome is Outcome.REMOVED else ""
        yield Line(words.plain(" · ".join(parts)), style)


def _gain(step: Mapping[str, Any]) -> str:
    estimated, freed = step["estimated_bytes"], step["freed_bytes"]
    parts = [f"about {words.size(estimated)}" if estimated is not None else "of unknown size"]
    if freed is not None:
        # What others wrote meanwhile can outweigh it.
        measured = words.size(freed) if freed >= 0 else f"{words.size(-freed)} less than before"
        parts.append(f"measured {measured}" + (f" on {step['filesystem']}" if step["filesystem"] else ""))
    return ", ".join(parts)
