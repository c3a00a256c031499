"""What a configuration switches on and off, in lines for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon import modes
from policies import words
from policies.catalogue import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from daemon.config import Settings


def overview(settings: Settings, file: Path | None, environ: Mapping[str, str], uid: int, *, web: str) -> Iterator[str]:
    """Give the lines of `check-config` for a daemon of this environment and user; `web` says who may see its pages."""
    told = settings.rules()
    policies = settings.policies.by_name()
    rows = {
        "file": str(file) if file else "none: the defaults hold",
        "mode": f"{settings.mode}: {modes.IN_WORDS[settings.mode]}",
        "host": settings.host_name(),
        "docker": settings.docker.host,
        "web": f"{settings.web.listen}: {web}",
        "control": str(settings.control_socket(environ, uid)),
        "state": str(settings.state_dir(environ, uid)),
        "alerts to": _sinks(settings),
        "alerts on": _listed(told),
        "alerts off": _listed(BY_NAME.keys() - told.keys()),
        "log lines": f"{settings.alerts.log_lines} per alert" if settings.alerts.log_lines else "never leave this host",
        "policies on": _listed(name for name, policy in policies.items() if policy.enabled),
        "policies off": _listed(name for name, policy in policies.items() if not policy.enabled),
        "protected": _listed([*settings.protect.containers, *settings.protect.images]),
    }
    return (words.plain(f"{name:<13}{value}") for name, value in rows.items())


def _sinks(settings: Settings) -> str:
    slack = [_slack(settings)] if settings.slack_told() else []
    webhook = ["webhook"] if settings.webhook.url.get_secret_value() else []
    alertmanagers = [f"alertmanager {url}" for url in settings.alertmanager.urls]
    return ", ".join(["console", *slack, *webhook, *alertmanagers]) + ("" if slack else "; slack is off")


def _slack(settings: Settings) -> str:
    if settings.slack.has_bot:
        return f"slack as a bot in {settings.slack.channel}"
    return "slack by a webhook, which can neither edit nor answer"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
