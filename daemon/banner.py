"""The first lines of a start: what is on, what is off, and how to switch it on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon import modes
from policies import words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from daemon.config import Settings
    from daemon.store import Store


def lines(settings: Settings, url: str, store: Store, version: str, only_observes: str = "") -> Iterator[str]:
    """Give the lines in the order in which a newcomer asks; `only_observes` says why it does not act as set."""
    yield f"shipkeeper {version} watches {settings.docker.host} as {settings.host_name()}"
    yield f"  mode      {settings.mode}: {modes.IN_WORDS[settings.mode]}"
    if only_observes:
        yield f"            but this daemon only observes: {only_observes}"
    yield f"  metrics   {url}/metrics"
    if not settings.slack_told() and settings.alertmanager.urls:
        yield "  alerts    this terminal or journal; `shipkeeper alerts test` sends a message to each place"
    elif settings.slack.has_bot:
        yield f"  alerts    this terminal or journal, and {settings.slack.channel} in Slack;"
        yield "            `shipkeeper alerts test` sends a message to each"
    elif settings.slack.has_webhook:
        yield "  alerts    this terminal or journal, and Slack; `shipkeeper alerts test` sends a message to each"
        yield "            a webhook cannot edit a message: each change is one more; a bot can ([slack] token_file)"
    else:
        yield "  alerts    this terminal or journal; for Slack name a file with a bot's token: [slack] token_file"
    yield from _elsewhere(settings)
    lines_sent = settings.alerts.log_lines
    logs = f"the last {lines_sent} log lines of a crash, redacted" if lines_sent else "no log lines, no probe output"
    yield f"            they carry {logs} ([alerts] log_lines)"
    off = [name for name in settings.policies.by_name() if name not in settings.enabled_policies()]
    if off:
        yield f"  off       policies {', '.join(off)}"
    yield f"  state     {store.degraded or store.path}"
    yield from (f"            {note}" for note in store.notes)


def _elsewhere(settings: Settings) -> Iterator[str]:
    if settings.alertmanager.urls:
        yield f"            and Alertmanager at {', '.join(settings.alertmanager.urls)}"
    if (settings.slack.has_bot or settings.slack.has_webhook) and not settings.slack_told():
        yield "            Slack is left to it; [alertmanager] slack_too = true tells both"
    if settings.webhook.url.get_secret_value():
        yield "            and the webhook of [webhook] url"
    if settings.heartbeat.url.get_secret_value():
        yield f"            a heartbeat goes out every {words.duration(settings.heartbeat.every)} ([heartbeat] url)"
