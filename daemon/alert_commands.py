"""The command `shipkeeper alerts`."""

from __future__ import annotations

import json
from typing import Annotated
from urllib.parse import urlencode

import typer

from daemon.alert_lines import (
    acked_lines,
    alert_lines,
    begun_lines,
    ended_lines,
    full_lines,
    history_lines,
    silence_lines,
)
from daemon.asking import AsJson, Config, ask, echo_json
from daemon.terminal import outcome_lines, show
from daemon.verbs import (
    ALERTS,
    ALERTS_ACK,
    ALERTS_HISTORY,
    ALERTS_SHOW,
    ALERTS_TEST,
    SILENCE,
    SILENCES,
    UNSILENCE,
)

alerts = typer.Typer(
    help="The alerts that are pending or firing, what people do about them, and the way to people.",
    no_args_is_help=True,
)

About = Annotated[
    str, typer.Argument(metavar="NAME", help="A container, a mount point, or an id of which 4 characters are enough.")
]


@alerts.command("list")
def list_alerts(context: typer.Context, config: Config = None, *, as_json: AsJson = False) -> None:
    """List the alerts that are pending or firing, the worst first."""
    answer = ask(config or context.obj, "GET", ALERTS)
    if as_json:
        echo_json(answer)
    else:
        show(alert_lines(answer))


@alerts.command("show")
def show_alert(context: typer.Context, about: About, config: Config = None, *, as_json: AsJson = False) -> None:
    """Show all that is known of an alert: why, who was told, who looks after it, what became of it before."""
    answer = ask(config or context.obj, "GET", f"{ALERTS_SHOW}?{urlencode({'about': about})}")
    if as_json:
        echo_json(answer)
    else:
        show(full_lines(answer))


@alerts.command("ack")
def acknowledge(
    context: typer.Context,
    about: About,
    config: Config = None,
    *,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="What you do about it.")] = "",
    as_json: AsJson = False,
) -> None:
    """Say that you look after what fires: nobody is reminded of it; for root and the daemon's user."""
    question = urlencode({"about": about, "why": reason})
    answer = ask(config or context.obj, "POST", f"{ALERTS_ACK}?{question}")
    if as_json:
        echo_json(answer)
    else:
        show(acked_lines(answer))


@alerts.command("silence")
def silence(  # noqa: PLR0913  each is an option
    context: typer.Context,
    conditions: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CONDITION...",
            help="What it is about: container=web-1, 'project=~ci.*', severity!=critical. All have to hold.",
        ),
    ] = None,
    config: Config = None,
    *,
    until: Annotated[
        str, typer.Option("--for", "--until", metavar="WHEN", help='"2h", or an RFC 3339 time; at most a week.')
    ] = "1h",
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; others will ask.")] = "",
    window: Annotated[
        bool,
        typer.Option("--window", help="A maintenance window: about everything if need be, and its end is told."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Let nobody hear of some alerts for a while; what still fires then is told; for root and the daemon's user."""
    asked = {"matchers": json.dumps(conditions or []), "until": until, "why": reason, "window": str(window).lower()}
    answer = ask(config or context.obj, "POST", f"{SILENCE}?{urlencode(asked)}")
    if as_json:
        echo_json(answer)
    else:
        show(begun_lines(answer))


@alerts.command("silences")
def list_silences(context: typer.Context, config: Config = None, *, as_json: AsJson = False) -> None:
    """List the silences and maintenance windows in force."""
    answer = ask(config or context.obj, "GET", SILENCES)
    if as_json:
        echo_json(answer)
    else:
        show(silence_lines(answer))


@alerts.command("unsilence")
def unsilence(
    context: typer.Context,
    number: Annotated[str, typer.Argument(metavar="NUMBER", help="As `shipkeeper alerts silences` shows it.")],
    config: Config = None,
    *,
    as_json: AsJson = False,
) -> None:
    """End a silence now; what still fires is told; for root and the daemon's user."""
    answer = ask(config or context.obj, "POST", f"{UNSILENCE}?{urlencode({'id': number})}")
    if as_json:
        echo_json(answer)
    else:
        show(ended_lines(answer))


@alerts.command("history")
def history(
    context: typer.Context,
    about: Annotated[
        str, typer.Argument(metavar="[NAME]", help="A container, a mount point or an id; else everything.")
    ] = "",
    config: Config = None,
    *,
    since: Annotated[str, typer.Option("--since", metavar="WHEN", help='"7d", or an RFC 3339 date or time.')] = "7d",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """List what became of alerts, and what people did about them, the oldest first."""
    chosen, after = config or context.obj, 0
    while entries := ask(
        chosen, "GET", f"{ALERTS_HISTORY}?{urlencode({'since': since, 'after': after, 'about': about})}"
    ):
        after = entries[-1]["entry"]
        if as_json:
            typer.echo("\n".join(json.dumps(entry) for entry in entries))
        else:
            show(history_lines(entries))


@alerts.command("test")
def send_test(context: typer.Context, config: Config = None, *, as_json: AsJson = False) -> None:
    """Send a test message everywhere alerts go, and tell what each place said; for root and the daemon's user."""
    answer = ask(config or context.obj, "POST", ALERTS_TEST)
    if as_json:
        echo_json(answer)
    else:
        show(outcome_lines(answer))
    if not all(outcome["ok"] for outcome in answer):
        raise typer.Exit(1)
