"""How the daemon's answers look in a terminal."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.text import Text

from daemon.digest import PolicyWeek, in_words
from daemon.disk_lines import disk_lines
from daemon.lines import BAD, GOOD, WARNING, Line
from daemon.run_lines import cleanup_lines
from policies import words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_LABEL_WIDTH = 13
_SEVERITY_STYLES = {"critical": BAD, "warning": WARNING}


def show(lines: Iterable[Line]) -> None:
    """Print lines: in colour at a terminal, as they are for a program."""
    if not sys.stdout.isatty():
        for line in lines:
            typer.echo(line.text)
        return
    console = Console(highlight=False)
    for line in lines:
        # `Text` takes every character as it is: a name in square brackets is no markup.
        console.print(Text(line.text, style=line.style), soft_wrap=True)


def status_lines(status: Mapping[str, Any]) -> Iterator[Line]:
    """Render the answer of `/status`."""
    host, uptime = _said(status["host"]), words.duration(timedelta(seconds=status["uptime_seconds"]))
    yield Line(f"shipkeeper {_said(status['version'])} on {host} · {_said(status['mode'])} · running for {uptime}")
    yield _docker_line(status["docker"])
    counts = ", ".join(f"{count} {_said(state)}" for state, count in status["containers"].items() if count)
    yield _labelled("containers", counts or "none")
    yield from _labelled_block("filesystems", list(disk_lines(status)))
    yield from _labelled_block("alerts", list(alert_lines(status["alerts"])))
    yield from _labelled_block("policies", [_policy_line(each) for each in status["policies"]])
    yield from _labelled_block("cleanup", list(cleanup_lines(status["cleanup"])))
    if status["week"]:
        yield from _labelled_block("this week", [_week_line(each) for each in status["week"]])
    yield from _labelled_block("sinks", [_sink_line(each) for each in status["sinks"]])
    if heartbeat := status["heartbeat"]:
        yield _heartbeat_line(heartbeat)
    yield _store_line(status["store"])
    yield from _configuration_lines(status["configuration"])


def alert_lines(alerts: Sequence[Mapping[str, Any]]) -> Iterator[Line]:
    """Render the answer of `/alerts`: the worst first."""
    if not alerts:
        yield Line("none", GOOD)
    order = ("critical", "warning", "info")
    for alert in sorted(alerts, key=lambda alert: (order.index(alert["severity"]), alert["since"])):
        parts = [alert["summary"], f"{alert['state']} since {_moment(alert['since'])}"]
        if alert["count"] > 1:
            parts.append(f"{alert['count']} times")
        text = " · ".join(_said(part) for part in parts)
        yield Line(f"{alert['severity']:<8}  {text}", _SEVERITY_STYLES.get(alert["severity"], ""))


def outcome_lines(outcomes: Sequence[Mapping[str, Any]]) -> Iterator[Line]:
    """Render the answer of `/alerts/test`: what each sink said."""
    for outcome in outcomes:
        yield Line(f"{_said(outcome['sink'])}: {_said(outcome['said'])}", GOOD if outcome["ok"] else BAD)


def _docker_line(docker: Mapping[str, Any]) -> Line:
    since = f"since {_moment(docker['since'])}"
    if docker["up"]:
        return _labelled("docker", f"up {since} · {_said(docker['version'])}, API {_said(docker['api_version'])}")
    why = f" · {_said(docker['why'])}" if docker["why"] else ""
    return _labelled("docker", f"{_said(docker['state'])} {since}{why}", BAD)


def _policy_line(policy: Mapping[str, Any]) -> Line:
    name = _said(policy["name"])
    if not policy["enabled"]:
        return Line(f"{name} · off")
    if policy["skipped"]:
        return Line(f"{name} · skipped: {_said(policy['skipped'])}", WARNING)
    if policy.get("halted"):
        return Line(f"{name} · halted: {_said(policy['halted'])}", WARNING)
    return Line(f"{name} · on")


def _week_line(week: Mapping[str, Any]) -> Line:
    return Line(_said(f"{week['policy']} · {in_words(PolicyWeek(**week))}"))


def _heartbeat_line(heartbeat: Mapping[str, Any]) -> Line:
    text = f"{heartbeat['sent']} sent, {heartbeat['failures']} failed"
    if heartbeat["last_error"]:
        return _labelled("heartbeat", f"{text} · last: {_said(heartbeat['last_error'])}", WARNING)
    return _labelled("heartbeat", text)


def _sink_line(sink: Mapping[str, Any]) -> Line:
    text = f"{_said(sink['name'])} · {_said(sink['state'])} · {sink['sent']} sent, {sink['failed']} failed"
    if sink["name"] == "slack" and not sink["edits"]:
        text += " · by a webhook, which can neither edit nor answer"
    if sink["last_error"]:
        return Line(f"{text} · last: {_said(sink['last_error'])}", WARNING)
    return Line(text)


def _store_line(store: Mapping[str, Any]) -> Line:
    if store["degraded"]:
        return _labelled("store", f"{_said(store['path'])} · in memory only: {_said(store['degraded'])}", BAD)
    return _labelled("store", _said(store["path"]))


def _configuration_lines(configuration: Mapping[str, Any]) -> Iterator[Line]:
    """Say what of the configuration is not in force; nothing where all of it is."""
    since = _moment(configuration["taken_at"])
    if configuration["problem"]:
        problem = configuration["problem"].splitlines()
        yield _labelled("config", f"bad since it was changed, so the one of {since} is in force:", BAD)
        yield from (_labelled("", _said(line), BAD) for line in problem)
    if waiting := configuration["awaits_restart"]:
        yield _labelled("config", f"a restart is needed for {_said(', '.join(waiting))}", WARNING)


def _labelled(label: str, text: str, style: str = "") -> Line:
    return Line(f"{label:<{_LABEL_WIDTH}}{text}", style)


def _labelled_block(label: str, lines: Sequence[Line]) -> Iterator[Line]:
    """Put the label before the first line and blanks before the others."""
    for line in lines or [Line("none")]:
        yield _labelled(label, line.text, line.style)
        label = ""


def _said(value: object) -> str:
    return "unknown" if value is None else words.plain(str(value))


def _moment(text: str) -> str:
    return words.moment(datetime.fromisoformat(text))
