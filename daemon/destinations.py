"""Where the settings send what is told: people, Alertmanagers, and the monitor that misses us."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pydantic import SecretStr

from daemon.alerts.alertmanager import PATH as ALERTS_PATH
from daemon.alerts.console import ConsoleSink
from daemon.alerts.http_call import Credentials, HttpCall
from daemon.alerts.sender import Route
from daemon.alerts.slack import SlackSink
from daemon.alerts.slack_bot import SlackBotSink
from daemon.alerts.webhook import WebhookSink

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from daemon.alerts.sink import Sink
    from daemon.config import Settings


def routes(settings: Settings) -> Sequence[Route]:
    """Give every place that alerts go to; a new one is one line here."""
    return (
        Route(sink=ConsoleSink(sys.stdout)),
        *(
            Route(
                sink=sink,
                per_second=settings.slack.max_per_second,
                by_default=sink.name == "slack" and settings.slack_told(),
            )
            for sink in _slack_sinks(settings)
        ),
        *([Route(sink=WebhookSink(_webhook(settings)))] if settings.webhook.url.get_secret_value() else []),
    )


def monitor(settings: Settings) -> HttpCall | None:
    """Give the service that misses us when we are silent, if there is one."""
    url = settings.heartbeat.url
    return HttpCall("[heartbeat] url", url) if url.get_secret_value() else None


def alertmanagers(settings: Settings) -> Mapping[str, HttpCall]:
    """Give every Alertmanager by the name of its thread, the first without a number."""
    key, credentials = "[alertmanager] urls", settings.alertmanager.credentials()
    return {
        f"alertmanager-{number}" if number > 1 else "alertmanager": HttpCall(
            key, SecretStr(url.rstrip("/") + ALERTS_PATH), credentials
        )
        for number, url in enumerate(settings.alertmanager.urls, start=1)
    }


def _slack_sinks(settings: Settings) -> Iterator[Sink]:
    """Yield one for each channel that a bot writes to, or the one of a webhook."""
    slack = settings.slack
    own = settings.slack_told() or settings.routes_to("slack")
    if own and slack.has_webhook:
        yield SlackSink(slack.webhook_url, slack.here)
    channels = {"slack": slack.channel} if own else {}
    for name, channel in {**channels, **{each: each for each in settings.channels()}}.items():
        if slack.has_bot:
            yield SlackBotSink(slack.token, channel, name=name, api_url=slack.api_url, here=slack.here)


def _webhook(settings: Settings) -> HttpCall:
    webhook = settings.webhook
    return HttpCall("[webhook] url", webhook.url, Credentials(bearer_token=webhook.bearer_token))
