"""How a cleanup run looks in a terminal."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Any

from daemon.lines import BAD, GOOD, WARNING, Line
from daemon.outcome import Outcome, counted, in_words
from policies import words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


def step_lines(steps: Sequence[Mapping[str, Any]], before: int, planned: int) -> Iterator[Line]:
    """Say what came of each object, on a line of its own; `before` of the planned ones were told already."""
    for number, step in enumerate(steps, before + 1):
        outcome = Outcome(step["outcome"])
        size = f" · {_gain(step)}" if outcome is Outcome.REMOVED else ""
        more = f" · {step['words']}" if step["words"] else ""
        style = BAD if outcome.is_failure else GOOD if outcome is Outcome.REMOVED else WARNING
        place = f"{number:>{len(str(planned))}} of {planned}"
        yield Line(words.plain(f"{place}  {in_words(outcome)}: {step['kind']} {step['name']}{size}{more}"), style)


def _gain(step: Mapping[str, Any]) -> str:
    """Say what was estimated, and what its filesystem had more afterwards, if that was measured."""
    freed = step["freed_bytes"]
    measured = f", {words.size(max(freed, 0))} measured" if freed is not None else ""
    return f"{words.size(step['size_bytes'])}{measured}"


def run_lines(run: Mapping[str, Any]) -> Iterator[Line]:
    """Say in one line how a run stands, and what it has done."""
    outcomes = Counter(Outcome(step["outcome"]) for step in run["steps"] if step["outcome"])
    removed = [step["size_bytes"] for step in run["steps"] if step["outcome"] == Outcome.REMOVED]
    known = [size for size in removed if size is not None]
    freed = [step["freed_bytes"] for step in run["steps"] if step["freed_bytes"] is not None]
    parts = [
        f"run {run['id']} of plan {run['plan_id']} {run['state']}",
        counted(outcomes),
        *([f"{words.size(sum(known))} expected"] if known else []),
        *([f"{words.size(max(sum(freed), 0))} measured"] if freed else []),
        *([run["words"]] if run["words"] else []),
    ]
    yield Line(words.plain(" · ".join(parts)), GOOD if went_well(run) else BAD)


def cleanup_lines(cleanup: Mapping[str, Any]) -> Iterator[Line]:
    """Say what stands in the way of a cleanup, and how the last one went."""
    yield Line(f"not by itself: {words.plain(cleanup['held_up'])}" if cleanup["held_up"] else "removes by itself")
    if run := cleanup["last_run"]:
        begun = words.moment(datetime.fromisoformat(run["begun"]))
        for line in run_lines(run):
            yield Line(f"{line.text} · begun {begun}, asked for by {words.plain(run['asked_by'])}", line.style)


def went_well(run: Mapping[str, Any]) -> bool:
    """Tell whether a run did all that it should, or still does."""
    failed = any(Outcome(step["outcome"]).is_failure for step in run["steps"] if step["outcome"])
    return run["state"] in {"running", "done"} and not failed
