"""How the doctor's findings are printed, for people and for programs."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING, Any

from daemon.doctor.finding import Level
from daemon.lines import BAD, WARNING, Line
from policies import words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from daemon.doctor.catalogue import Check, Result
    from daemon.doctor.facts import Host

_WORDS = {
    Level.PROBLEM: "problem",
    Level.WARNING: "warning",
    Level.NOTE: "note",
    Level.UNSEEN: "not seen",
    Level.OK: "ok",
}
_STYLES = {Level.PROBLEM: BAD, Level.WARNING: WARNING}
_WIDTH = 100
_LABEL = 10


def as_json(results: Sequence[Result]) -> dict[str, Any]:
    """Give the document of `doctor --json`; `cure` holds lines to type."""
    return {
        "ok": not wrong(results),
        "findings": [
            {
                "check": each.check.name,
                "status": each.finding.level.value,
                "what": each.finding.what,
                "why": each.finding.why,
                "cure": list(each.finding.cure),
            }
            for each in results
        ],
    }


def wrong(results: Iterable[Result]) -> bool:
    """Tell whether a person has something to mend."""
    return any(each.finding.level.wrong for each in results)


def lines(host: Host, results: Sequence[Result]) -> Iterator[Line]:
    """Tell what is wrong, each thing with its reason and its cure; of what is well only how much it is."""
    told = [each for each in results if each.finding.level is not Level.OK]
    counts = [
        words.count(number, _WORDS[level])
        for level in (Level.PROBLEM, Level.WARNING, Level.NOTE)
        if (number := sum(each.finding.level is level for each in told))
    ]
    engine = host.reach.engine
    docker = f"Docker {engine.version}" if engine else f"Docker {host.reach.state}"
    yield _plain(f"doctor on {host.name} · {docker} at {host.address.ours} · {', '.join(counts) or 'nothing is wrong'}")
    for each in told:
        if each.finding.level is not Level.UNSEEN:
            yield Line("")
            yield from _told(each)
    yield from _not_seen([each for each in told if each.finding.level is Level.UNSEEN])
    yield Line("")
    well = len(results) - len(told)
    yield Line(f"{words.count(well, 'thing')} looked at and well" if well else "nothing looked at is well")


def _not_seen(results: Sequence[Result]) -> Iterator[Line]:
    """Say what could not be looked at, once for each reason, and for what checks that would have been."""
    if results:
        yield Line("")
    reasons: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for each in results:
        reasons.setdefault((each.finding.what, each.finding.cure), []).append(each.check.name)
    for (what, cure), checks in reasons.items():
        yield _plain(f"{_WORDS[Level.UNSEEN]:<{_LABEL}}{what}  [{', '.join(checks)}]")
        yield from _labelled("cure", cure)


def _told(result: Result) -> Iterator[Line]:
    finding = result.finding
    style = _STYLES.get(finding.level, "")
    yield _plain(f"{_WORDS[finding.level]:<{_LABEL}}{finding.what}  [{result.check.name}]", style)
    yield from _labelled("why", wrap(words.plain(finding.why), _WIDTH))
    # What is to be pasted is never broken into lines.
    yield from _labelled("cure", finding.cure)


def _labelled(label: str, texts: Iterable[str]) -> Iterator[Line]:
    for text in texts:
        yield _plain(f"  {label:<{_LABEL - 2}}{text}")
        label = ""


def explained(check: Check) -> Iterator[Line]:
    """Tell what a check looks at, and why."""
    yield _plain(f"{check.name}: {check.about}")
    yield _plain(check.why)


def _plain(text: str, style: str = "") -> Line:
    return Line(words.plain(text), style)
