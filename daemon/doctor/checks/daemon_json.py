"""Whether the engine's own settings are such that it would start with them again."""

from __future__ import annotations

from difflib import get_close_matches
from shlex import quote
from typing import TYPE_CHECKING

from daemon.doctor import cures, settings
from daemon.doctor.facts import Unseen
from daemon.doctor.finding import Finding, Level, ok, unseen
from daemon.doctor.seen import flags, remote

if TYPE_CHECKING:
    from collections.abc import Iterator

    from daemon.doctor.facts import Host
    from daemon.doctor.settings import Settings

_ENDS = "The engine that runs now does not mind, and the next one does not start: after a reboot, say."
_NOTHING = "The engine takes it without a word, and nothing comes of it."
_FLAGS_ONLY_ONCE = frozenset({"runtimes"})
"""May stand in both places: they are laid together."""
_FIRST_TO_VALIDATE = (23, 0)


def daemon_json(host: Host) -> Iterator[Finding]:
    """Judge the file `daemon.json`, and whether it goes with dockerd's flags."""
    if remote(host):
        yield unseen("the engine is on another host")
        return
    if isinstance(host.daemon_json, Unseen):
        denied = "permission denied" in host.daemon_json.why
        yield unseen(host.daemon_json.why, *(["sudo shipkeeper doctor"] if denied else []))
        return
    path, found = host.daemon_json.path, settings.parse(host.daemon_json.text)
    if found.error:
        yield Finding(Level.PROBLEM, f"{path} is no valid JSON: {found.error}", _edited(host, path), _ENDS)
        return
    findings = [
        *_refused(host, path, found),
        *_misspelled(host, path, found),
        *_in_both_places(host, path, found),
        *_old(host, path, found),
    ]
    what = f"there is no {path}: Docker's defaults hold" if host.daemon_json.text is None else f"{path} is valid"
    yield from findings or [ok(what)]


def _edited(host: Host, path: str, *what: str) -> tuple[str, ...]:
    """Let a person change it, and the engine say whether it is right now."""
    check = f"sudo dockerd --validate --config-file {quote(path)}"
    known = host.reach.version is None or host.reach.version >= _FIRST_TO_VALIDATE
    return (*cures.edit(path, *what), *([check] if known else []))


def _refused(host: Host, path: str, found: Settings) -> Iterator[Finding]:
    version = host.reach.version
    for name in found.named:
        why = settings.refused(name, version)
        if not why:
            continue
        known = name in settings.KEYS | settings.REMOVED.keys()
        close = [] if known else get_close_matches(name, settings.KEYS, n=1)
        hint = f'; did you mean "{close[0]}"?' if close else ""
        yield Finding(Level.PROBLEM, f'{path}: "{name}": {why}{hint}', _edited(host, path, f'remove "{name}"'), _ENDS)
    options = found.values.get("log-opts")
    for name, value in options.items() if isinstance(options, dict) else ():
        if not isinstance(value, str):
            what = f'{path}: "log-opts" "{name}" has to be text in quotes'
            yield Finding(Level.PROBLEM, what, _edited(host, path, f'write it as "{value}"'), _ENDS)


def _misspelled(host: Host, path: str, found: Settings) -> Iterator[Finding]:
    for name, meant in settings.written_as_flag(found.named).items():
        what = f'{path}: "{name}" has no effect: in this file it is called "{meant}"'
        yield Finding(Level.WARNING, what, _edited(host, path, f'rename "{name}" to "{meant}"'), _NOTHING)
    for name in found.twice:
        what = f'{path}: "{name}" stands in it twice: the last one counts'
        yield Finding(Level.WARNING, what, _edited(host, path, f'leave one "{name}"'), _NOTHING)


def _in_both_places(host: Host, path: str, found: Settings) -> Iterator[Finding]:
    both = (found.named.keys() & flags(host).keys()) - _FLAGS_ONLY_ONCE
    for name in sorted(both):
        yield Finding(
            Level.PROBLEM,
            f'"{name}" is set in {path} and by a flag of dockerd as well',
            (
                *_edited(host, path, f'remove "{name}", or remove the flag:'),
                "sudo systemctl edit --full docker.service",
            ),
            "The engine does not start with a setting in both places. " + _ENDS,
        )


def _old(host: Host, path: str, found: Settings) -> Iterator[Finding]:
    for name in found.named:
        if name in settings.DEPRECATED:
            why = settings.DEPRECATED[name]
        elif name in settings.REMOVED and not settings.refused(name, host.reach.version):
            gone, instead = settings.REMOVED[name]
            why = f"refused from {gone[0]}.{gone[1]} on: {instead}"
        else:
            continue
        what = f'{path}: "{name}": {why}'
        yield Finding(Level.WARNING, what, _edited(host, path, f'remove "{name}"'), "An upgrade would end with it.")
