"""How the status looks in a terminal: the engine, disks, containers, GPUs, alerts, cleanup, and the daemon itself."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from daemon.alert_lines import alert_lines, silence_lines
from daemon.digest import PolicyWeek, in_words
from daemon.disk_lines import disk_lines
from daemon.lines import BAD, WARNING, Line
from daemon.run_lines import cleanup_lines
from policies import words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_LABEL_WIDTH: Final = 13
_MOST_TROUBLES: Final = 10
_MOST_NAMED: Final = 4
_FAILING: Final = frozenset({"down", "retrying"})


def status_lines(status: Mapping[str, Any]) -> Iterator[Line]:
    """Render the answer of `/status`."""
    host, uptime = _said(status["host"]), words.duration(timedelta(seconds=status["uptime_seconds"]))
    yield Line(f"shipkeeper {_said(status['version'])} on {host} · {_said(status['mode'])} · running for {uptime}")
    yield _docker_line(status["docker"])
    counts = ", ".join(f"{count} {_said(state)}" for state, count in status["containers"].items() if count)
    yield _labelled("containers", counts or "none")
    yield from _labelled_block("", list(_trouble_lines(status["troubles"])), empty=False)
    yield from _labelled_block("filesystems", list(disk_lines(status)))
    yield from _labelled_block("gpus", list(_gpu_lines(status)), empty=False)
    yield from _labelled_block("alerts", list(alert_lines(status["alerts"])))
    yield from _labelled_block(
        "silences", list(silence_lines(status["silences"])) if status["silences"] else [], empty=False
    )
    yield from _labelled_block("cleanup", list(cleanup_lines(status["cleanup"])))
    yield from _labelled_block("policies", list(_policy_lines(status["policies"])))
    if status["week"]:
        yield from _labelled_block("this week", [_week_line(each) for each in status["week"]])
    yield from _labelled_block("sinks", [_sink_line(each) for each in status["sinks"]])
    if heartbeat := status["heartbeat"]:
        yield _heartbeat_line(heartbeat)
    yield _store_line(status["store"])
    yield from _configuration_lines(status["configuration"])


def _docker_line(docker: Mapping[str, Any]) -> Line:
    since = f"since {_moment(docker['since'])}"
    if docker["up"]:
        return _labelled("docker", f"up {since} · {_said(docker['version'])}, API {_said(docker['api_version'])}")
    why = f" · {_said(docker['why'])}" if docker["why"] else ""
    return _labelled("docker", f"{_said(docker['state'])} {since}{why}", BAD)


def _trouble_lines(troubles: Sequence[Mapping[str, Any]]) -> Iterator[Line]:
    """Name the containers that somebody should look at, the newest trouble first."""
    for each in troubles[:_MOST_TROUBLES]:
        yield Line(f"{_said(each['name'])} {_said(each['what'])} · since {_moment(each['since'])}", WARNING)
    if len(troubles) > _MOST_TROUBLES:
        yield Line(f"and {len(troubles) - _MOST_TROUBLES} more: shipkeeper status --json names them", WARNING)


def _gpu_lines(status: Mapping[str, Any]) -> Iterator[Line]:
    if status["gpus_unknown"]:
        yield Line(f"cannot be read: {_said(status['gpus_unknown'])}", BAD)
    for gpu in status["gpus"]:
        name = f"GPU {gpu['index']} · {_said(gpu['name'])}"
        if gpu["fault"]:
            yield Line(f"{name} · cannot be reached: {_said(gpu['fault'])}", BAD)
            continue
        yield Line(" · ".join([name, *_gpu_figures(gpu)]))
        for each in gpu["containers"]:
            yield Line(f"  {_said(each['name'])} · {_holding(each)}")


def _gpu_figures(gpu: Mapping[str, Any]) -> Iterator[str]:
    """Say what is known of a GPU; what it does not tell is left out."""
    if (ratio := gpu["utilization_ratio"]) is not None:
        yield f"{ratio * 100:.0f} % busy"
    if gpu["memory_used_bytes"] is not None and gpu["memory_total_bytes"] is not None:
        yield f"{words.size(gpu['memory_used_bytes'])} of {words.size(gpu['memory_total_bytes'])}"
    if gpu["temperature_celsius"] is not None:
        yield f"{gpu['temperature_celsius']:.0f} °C"
    if gpu["power_watts"] is not None:
        yield f"{gpu['power_watts']:.0f} W"


def _holding(holder: Mapping[str, Any]) -> str:
    if not holder["processes"]:
        return "reserved, not in use" if holder["processes"] == 0 else "processes unknown"
    memory = words.size(holder["memory_bytes"]) if holder["memory_bytes"] is not None else "memory unknown"
    idle = holder["idle_seconds"]
    return f"{memory} · idle for {words.duration(timedelta(seconds=idle))}" if idle else memory


def _policy_lines(policies: Sequence[Mapping[str, Any]]) -> Iterator[Line]:
    """
    Say of each policy that removes how it stands, and of the others only what keeps them from their work.

    What keeps several from it is said once: while Docker is down it is the same for nearly all.
    """
    kept_back: defaultdict[str, list[str]] = defaultdict(list)
    for policy in policies:
        kept_back[policy["skipped"] or ""].append(_said(policy["name"]))
    for policy in policies:
        name = _said(policy["name"])
        if why := policy["skipped"]:
            if names := kept_back.pop(why, []):
                yield Line(f"{words.some(names, _MOST_NAMED)} · skipped: {_said(why)}", WARNING)
        elif policy["halted"]:
            yield Line(f"{name} · halted: {_said(policy['halted'])}{_last(policy)}", WARNING)
        elif policy["mode"]:
            yield Line(f"{name} · {_said(policy['mode'])}{_last(policy)}{_next(policy)}")


def _last(policy: Mapping[str, Any]) -> str:
    last = policy["last"]
    if last is None:
        return ""
    freed = f", {words.size(max(last['freed_bytes'], 0))}" if last["freed_bytes"] is not None else ""
    return f" · last {_moment(last['at'])}: {last['removed']} of {last['objects']} removed{freed}"


def _next(policy: Mapping[str, Any]) -> str:
    if policy["next_at"]:
        return f" · next {_moment(policy['next_at'])}"
    return " · next as soon as there is something" if policy["mode"] == "enforce" and not policy["schedule"] else ""


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


def _labelled_block(label: str, lines: Sequence[Line], *, empty: bool = True) -> Iterator[Line]:
    """Put the label before the first line and blanks before the others; without any say "none" if `empty`."""
    for line in lines or ([Line("none")] if empty else []):
        yield _labelled(label, line.text, line.style)
        label = ""


def _said(value: object) -> str:
    return "unknown" if value is None else words.plain(str(value))


def _moment(text: str) -> str:
    return words.moment(datetime.fromisoformat(text))
