"""How an autopsy looks in a terminal."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from daemon.lines import BAD, GOOD, WARNING, Line
from policies import words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_LABEL_WIDTH: Final = 14
_SHOWN_PATHS: Final = 8
_SHOWN_DEATHS: Final = 10
_LONGEST_COMMAND: Final = 200


def autopsy_lines(found: Mapping[str, Any], now: datetime) -> Iterator[Line]:
    """Render the answer of `/autopsy`."""
    yield _heading(found, now)
    yield Line("")
    yield from _what_it_was(found)
    yield from _block("ends", [_death_text(each, now) for each in reversed(found["deaths"][-_SHOWN_DEATHS:])])
    yield from _block("health", _health(found["health"]))
    yield from _block("GPUs", found["gpus"])
    yield from _block("mounts", [_mount(each) for each in found["mounts"]])
    yield from _block("changed", _changes(found["changes"]))
    yield from _block("not read", [f"{what}: {why}" for what, why in found["notes"].items()])
    yield from _block("earlier", [f"{each['id'][:12]}, in {each['evidence']}" for each in found["earlier"]])
    yield from _log(found)
    yield Line("")
    yield Line("Look further:")
    for each in found["look_further"]:
        yield Line(f"  # {words.plain(each['what'])}")
        yield Line(f"  {words.plain(each['command'])}", GOOD)


def _heading(found: Mapping[str, Any], now: datetime) -> Line:
    end, parts = found["end"], [f"{found['name']} ({found['id'][:12]})"]
    if end is not None:
        parts.append(_end_text(end, now))
    if found["state"] == "removed":
        parts.append(f"removed since; this is the evidence of {_moment(found['taken_at'])}")
    elif found["state"] not in {"exited", "dead"} or end is None:
        parts.append(f"{found['state']} now")
    bad = end is not None and (end["oom"] or end["exit_code"] != 0)
    return Line(words.plain(" · ".join(parts)), BAD if bad else "")


def _end_text(end: Mapping[str, Any], now: datetime) -> str:
    """Say an end in words: `exited 137 (SIGKILL), killed for memory, 9 days ago after 3 h 12 min`."""
    if end["at"] is None and end.get("error"):
        return f"could not be started (exit code {end['exit_code']})"
    parts = [end["words"]]
    if end["oom"]:
        parts.append("killed for memory")
    when = f"{_ago(end['at'], now)} ago" if end["at"] else "at an unknown time"
    lived = f" after {_span(end['uptime_seconds'])}" if end["uptime_seconds"] is not None else ""
    return f"{', '.join(parts)} {when}{lived}"


def _what_it_was(found: Mapping[str, Any]) -> Iterator[Line]:
    end, restarts = found["end"], found["restarts"]
    if end is not None and end["asked_for"]:
        yield _labelled("asked for", end["asked_for"])
    if end is not None and end.get("error"):
        yield _labelled("error", f"Docker said: {end['error']}", BAD)
    yield _labelled("image", f"{found['image']} ({found['image_id'].removeprefix('sha256:')[:12]})")
    command = " ".join(part for part in found["command"] if part)
    yield _labelled("command", words.one_line(command, _LONGEST_COMMAND) or "none")
    most = f", at most {restarts['at_most']}" if restarts["at_most"] else ""
    yield _labelled("restarts", f"{restarts['count']}, restart policy {restarts['policy']}{most}")
    yield _labelled("memory", _memory(found["memory"]))


def _memory(memory: Mapping[str, Any]) -> str:
    limit = memory["limit_bytes"]
    parts = [f"limit {words.size(limit)}" if limit else "no limit"]
    if memory.get("peak_bytes") is not None:
        parts.append(f"peak {words.size(memory['peak_bytes'])}")
    if memory.get("limit_hits"):
        parts.append(f"ran against its limit {words.count(memory['limit_hits'], 'time')}")
    if memory.get("oom_kills"):
        parts.append(f"{words.count(memory['oom_kills'], 'process', 'processes')} killed for memory")
    if "peak_bytes" not in memory:
        parts.append("its last readings are not known")
    return ", ".join(parts)


def _death_text(death: Mapping[str, Any], now: datetime) -> str:
    return f"{_moment(death['at'])}  {_end_text(death, now)}; {death['asked_for']}"


def _health(health: Mapping[str, Any] | None) -> list[str]:
    if health is None:
        return []
    streak = health["failing_streak"]
    failures = f", {words.count(streak, 'failure')} in a row" if streak else ""
    outputs = [
        f"exit code {each['exit_code']}: {words.one_line(str(each['output']), _LONGEST_COMMAND)}"
        for each in health["probes"][-3:]
    ]
    return [f"{health['status']}{failures}", *outputs]


def _mount(mount: Mapping[str, Any]) -> str:
    read_only = " (read-only)" if mount["read_only"] else ""
    return f"{mount['type']} {mount['source'] or 'without a source'} on {mount['destination']}{read_only}"


def _changes(changes: Mapping[str, Any]) -> list[str]:
    if not changes["count"]:
        return []
    kinds = Counter(kind for kind, _ in changes["paths"])
    counted = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
    # A folder is listed because something in it changed: the file says more.
    folders = {path.rpartition("/")[0] for _, path in changes["paths"]}
    files = [(kind, path) for kind, path in changes["paths"] if path not in folders]
    shown = [f"{kind} {path}" for kind, path in files[:_SHOWN_PATHS]]
    more = len(files) - len(shown)
    return [f"{words.count(changes['count'], 'path')}: {counted}", *shown, *([f"and {more} more"] if more else [])]


def _log(found: Mapping[str, Any]) -> Iterator[Line]:
    lines, held = found["log"], found["log_lines"]
    if not lines:
        yield _labelled("log", "nothing" if not held else f"{words.count(held, 'line')}, not shown")
        return
    yield _labelled(
        "log", f"the last {words.count(len(lines), 'line')} of {held}" if held > len(lines) else "all of it"
    )
    for line in lines:
        yield Line(f"    {words.plain(line)}", WARNING)


def _block(label: str, texts: Sequence[str]) -> Iterator[Line]:
    """Put the label before the first text and blanks before the others; nothing where there is none."""
    for text in texts:
        yield _labelled(label, text)
        label = ""


def _labelled(label: str, text: str, style: str = "") -> Line:
    return Line(f"  {label:<{_LABEL_WIDTH}}{words.plain(text)}", style)


def _moment(text: str) -> str:
    return words.moment(datetime.fromisoformat(text).astimezone(UTC))


def _ago(text: str, now: datetime) -> str:
    return words.duration(max(now - datetime.fromisoformat(text), timedelta(0)))


def _span(seconds: float) -> str:
    return words.duration(timedelta(seconds=seconds))
