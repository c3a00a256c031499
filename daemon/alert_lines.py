"""How alerts, silences and what became of them look in a terminal."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from daemon.alerts.state import SHOWN_ID
from daemon.lines import BAD, GOOD, WARNING, Line
from policies import words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_STYLES = {"critical": BAD, "warning": WARNING}
_ORDER = ("critical", "warning", "info")
_WIDTH = 13


def alert_lines(alerts: Sequence[Mapping[str, Any]]) -> Iterator[Line]:
    """Render the answer of `/alerts`: the worst first."""
    if not alerts:
        yield Line("none", GOOD)
    for alert in sorted(alerts, key=lambda alert: (_ORDER.index(alert["severity"]), alert["since"])):
        text = " · ".join(_said(part) for part in (alert["summary"], *_standing(alert)))
        hushed = alert["silenced_by"] is not None or alert["acked_by"] or alert["inhibited_by"]
        style = "" if hushed else _STYLES.get(alert["severity"], "")
        yield Line(f"{alert['severity']:<8}  {_said(alert['id'][:SHOWN_ID])}  {text}", style)


def silence_lines(silences: Sequence[Mapping[str, Any]]) -> Iterator[Line]:
    """Render the answer of `/alerts/silences`: the oldest first."""
    for silence in silences:
        covered = words.count(len(silence["covers"]), "alert")
        yield Line(_said(f"{silence_words(silence)} · until {_moment(silence['until'])} · {covered} covered now"))
    if not silences:
        yield Line("none")


def silence_words(silence: Mapping[str, Any]) -> str:
    """Say a silence: `silence 3 of project=ci by ada (uid 1000): load test`."""
    kind = "maintenance window" if silence["window"] else "silence"
    about = " ".join(silence["matchers"]) or "everything"
    return f"{kind} {silence['id']} of {about} by {silence['by']}: {silence['why']}"


def begun_lines(silence: Mapping[str, Any]) -> Iterator[Line]:
    """Render the answer of `/alerts/silence`: what nobody hears of now, and how to end it."""
    yield Line(_said(f"{silence_words(silence)} · until {_moment(silence['until'])}"), GOOD)
    if silence["covers"]:
        yield from alert_lines(silence["covers"])
    else:
        yield Line("nothing that is on now is covered by it; `shipkeeper alerts list` shows what is on")
    yield Line(f"to end it: shipkeeper alerts unsilence {silence['id']}")


def ended_lines(silence: Mapping[str, Any]) -> Iterator[Line]:
    """Render the answer of `/alerts/unsilence`: what people hear of again."""
    yield Line(_said(f"ended: {silence_words(silence)}"), GOOD)
    if silence["covers"]:
        yield Line("still on, and told now unless another silence covers it:")
        yield from alert_lines(silence["covers"])


def acked_lines(alerts: Iterable[Mapping[str, Any]]) -> Iterator[Line]:
    """Render the answer of `/alerts/ack`."""
    for alert in alerts:
        yield Line(_said(f"{alert['acked_by']} looks after it: {alert['summary']}"), GOOD)
    yield Line("nobody is reminded of it until it is over or gets worse")


def full_lines(alerts: Sequence[Mapping[str, Any]]) -> Iterator[Line]:
    """Render the answer of `/alerts/show`, one alert below the other."""
    for number, alert in enumerate(alerts):
        if number:
            yield Line("")
        yield from _full(alert)


def history_lines(entries: Iterable[Mapping[str, Any]]) -> Iterator[Line]:
    """Render the answer of `/alerts/history`, every entry on a line of its own."""
    for entry in entries:
        about = f": {entry['alert']} {entry['subject']}" if entry["alert"] else ""
        parts = [f"{entry['what']}{about}", entry["why"], f"by {entry['by']}" if entry["by"] else ""]
        style = _STYLES.get(entry["severity"] or "", "") if entry["what"] == "firing" else ""
        yield Line(_said(f"{_moment(entry['at'])}  {' · '.join(part for part in parts if part)}"), style)


def _full(alert: Mapping[str, Any]) -> Iterator[Line]:
    yield Line(_said(alert["summary"]), _STYLES.get(alert["severity"], "") if not alert["resolution"] else "")
    yield _labelled("alert", f"{alert['alert']}, {alert['severity']} · id {alert['id']}")
    over = f" · {alert['resolution']}" if alert["resolution"] else ""
    yield _labelled("state", f"{' · '.join(_standing(alert))} · episode {alert['episode']}{over}")
    yield from _block("details", alert["details"])
    if alert["image"]:
        yield _labelled("container", f"{alert['container_id'][:12]} · image {alert['image']}")
    if silence := alert["silence"]:
        yield _labelled("silenced", f"{silence_words(silence)} · until {_moment(silence['until'])}")
    if ack := alert["ack"]:
        why = f": {ack['why']}" if ack["why"] else ""
        yield _labelled("acknowledged", f"{_moment(ack['at'])} by {ack['by']}{why}")
    yield from _block("told", [_sending(each) for each in alert["told"]] or ["nobody"])
    yield from _block("history", [line.text for line in history_lines(alert["history"])])
    yield from _block("last log", alert["log_tail"])


def _standing(alert: Mapping[str, Any]) -> Iterator[str]:
    yield f"{alert['state']} since {_moment(alert['since'])}"
    if alert["count"] > 1:
        yield f"{alert['count']} times"
    if alert["flapping"]:
        yield "flapping"
    if alert["silenced_by"] is not None:
        yield f"silenced by {alert['silenced_by']}"
    if alert["inhibited_by"]:
        yield f"{alert['inhibited_by']} speaks for it"
    if alert["acked_by"]:
        yield f"acknowledged by {alert['acked_by']}"


def _sending(told: Mapping[str, Any]) -> str:
    error = f" · {told['last_error']}" if told["last_error"] else ""
    return f"{told['sink']}: {told['kind']}, {told['state']} {_moment(told['at'])}{error}"


def _block(label: str, texts: Iterable[str]) -> Iterator[Line]:
    for text in texts:
        yield _labelled(label, text)
        label = ""


def _labelled(label: str, text: str) -> Line:
    return Line(f"{label:<{_WIDTH}}{_said(text)}")


def _said(text: str) -> str:
    return words.plain(text)


def _moment(text: str) -> str:
    return words.moment(datetime.fromisoformat(text))
