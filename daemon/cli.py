"""The command `shipkeeper`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode

import typer

from daemon import unit_state
from daemon.alert_commands import alerts
from daemon.asking import AsJson, Config, ask, echo_json
from daemon.audit_lines import audit_lines
from daemon.autopsy_lines import autopsy_lines
from daemon.client import NoDaemonError
from daemon.clock import SystemClock
from daemon.doctor import report
from daemon.doctor.catalogue import CHECKS, examine
from daemon.doctor.observe import observe
from daemon.doctor.world import World
from daemon.errors import ShipkeeperError
from daemon.lines import BAD, Line
from daemon.live import show_live
from daemon.loading import config_file, load_for_judging
from daemon.overview import overview
from daemon.plans import from_json, plan_lines
from daemon.run_lines import run_lines, step_lines, went_well
from daemon.status_lines import status_lines
from daemon.terminal import show
from daemon.verbs import APPLY, AUDIT, AUTOPSY, AUTOPSY_LINES, PLAN, RUN, STATUS
from daemon.web.access import Access
from policies import words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daemon.doctor.catalogue import Check

_WATCH_SECONDS = 2.0

app = typer.Typer(
    name="shipkeeper",
    help="The watchman of a Docker host: watches, measures, tells, and removes what nobody needs, if you let it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(alerts, name="alerts")


@app.callback()
def _everywhere(context: typer.Context, config: Config = None) -> None:
    """Take --config before the command as well as after it."""
    context.obj = config


@app.command()
def run(
    context: typer.Context,
    config: Config = None,
    *,
    once: Annotated[bool, typer.Option("--once", help="Look once, tell what is wrong, and end.")] = False,
) -> None:
    """Watch this host until a signal ends it; systemd starts this."""
    # The daemon takes this process over, so that it does not carry typer and rich along for weeks.
    command = daemon_command(config or context.obj, *(["--once"] if once else []))
    os.execv(command[0], command)  # noqa: S606  no shell


@app.command()
def check_config(context: typer.Context, config: Config = None) -> None:
    """Say what the configuration switches on and off, and everything that is wrong with it."""
    file = config_file(config or context.obj, os.environ)
    settings = load_for_judging(file, os.environ)
    access = Access(settings.web.config_file, SystemClock())
    access.open()
    for line in overview(settings, file, os.environ, os.geteuid(), web=access.overview):
        typer.echo(line)


@app.command()
def plan(
    context: typer.Context,
    config: Config = None,
    *,
    as_json: AsJson = False,
    explain: Annotated[bool, typer.Option("--explain", help="Name what stays, too, and why.")] = False,
) -> None:
    """Show what a cleanup would remove, and why; this removes nothing."""
    chosen = config or context.obj
    try:
        answer = ask(chosen, "GET", PLAN)
    except NoDaemonError:
        answer = _plan_without_daemon(chosen)
    if as_json:
        echo_json(answer)
        return
    for line in plan_lines(from_json(answer), explain=explain):
        typer.echo(line)


@app.command()
def apply(
    context: typer.Context,
    plan: Annotated[str, typer.Argument(metavar="PLAN", help="The six characters after the word Plan, or its hash.")],
    config: Config = None,
) -> None:
    """Remove what a plan names, as far as it may still be removed; for root and the daemon's user."""
    chosen = config or context.obj
    answer = ask(chosen, "POST", f"{APPLY}?{urlencode({'plan': plan})}")
    told = 0
    while True:
        done = [step for step in answer["steps"] if step["outcome"]]
        show(step_lines(done[told:], told, answer["planned"]))
        told = len(done)
        if answer["state"] != "running":
            break
        answer = ask(chosen, "GET", f"{RUN}?{urlencode({'id': answer['id'], 'seen': told})}")
    show(run_lines(answer))
    if not went_well(answer):
        raise typer.Exit(1)


@app.command()
def audit(
    context: typer.Context,
    config: Config = None,
    *,
    since: Annotated[str, typer.Option("--since", metavar="WHEN", help='"7d", or an RFC 3339 date or time.')] = "30d",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """List what was removed, skipped or failed, who asked for it and why, the oldest first."""
    chosen, after = config or context.obj, 0
    while steps := ask(chosen, "GET", f"{AUDIT}?{urlencode({'since': since, 'after': after})}"):
        after = steps[-1]["entry"]
        if as_json:
            typer.echo("\n".join(json.dumps(step) for step in steps))
        else:
            show(audit_lines(steps))


@app.command()
def autopsy(
    context: typer.Context,
    container: Annotated[str, typer.Argument(metavar="NAME", help="The name or id of a container, removed or not.")],
    config: Config = None,
    *,
    as_json: AsJson = False,
    log_lines: Annotated[
        int, typer.Option("--log-lines", min=0, help="So many of the last log lines.")
    ] = AUTOPSY_LINES,
) -> None:
    """Tell how a container ended or is, from Docker or from what was kept of it, and how to look further."""
    question = urlencode({"container": container, "log_lines": log_lines})
    answer = ask(config or context.obj, "GET", f"{AUTOPSY}?{question}")
    if as_json:
        echo_json(answer)
    else:
        show(autopsy_lines(answer, SystemClock().now()))


@app.command()
def status(
    context: typer.Context,
    seconds: Annotated[
        float | None, typer.Argument(metavar="[SECONDS]", help="How often, with --watch; else every 2.", min=0.1)
    ] = None,
    config: Config = None,
    *,
    as_json: AsJson = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again and again, until Ctrl-C.")] = False,
) -> None:
    """Show the engine, filesystems, containers in trouble, GPUs, alerts, cleanup, and the daemon itself."""
    chosen = config or context.obj
    if seconds is not None and not watch:
        raise typer.BadParameter("belongs to --watch", param_hint="SECONDS")
    answer = ask(chosen, "GET", STATUS)  # what is wrong with the way to the daemon ends this here
    if watch:
        every = seconds or _WATCH_SECONDS
        show_live(partial(_watched_json, chosen) if as_json else partial(_watched, chosen, every), every)
    elif as_json:
        echo_json(answer)
    else:
        show(status_lines(answer))


@app.command()
def doctor(
    context: typer.Context,
    config: Config = None,
    *,
    as_json: AsJson = False,
    explain: Annotated[
        str, typer.Option("--explain", metavar="CHECK", help="Tell what a check looks at, and why.")
    ] = "",
) -> None:
    """Say what is wrong with this Docker host, and how to cure it; needs neither the daemon nor root."""
    if explain:
        show(report.explained(_check(explain)))
        return
    world = World(environ=os.environ, home=Path.home(), run=unit_state.run, clock=SystemClock())
    host = observe(config or context.obj, world)
    results = list(examine(host))
    if as_json:
        echo_json(report.as_json(results))
    else:
        show(report.lines(host, results))
    if report.wrong(results):
        raise typer.Exit(1)


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(f"shipkeeper {installed_version('shipkeeper')}")


def main() -> None:
    """Run the command, and end with its exit code."""
    try:
        app()
    except ShipkeeperError as error:
        typer.echo("\n".join(words.plain(line) for line in f"shipkeeper: {error}".split("\n")), err=True)
        sys.exit(error.exit_code)


def daemon_command(config: Path | None, *options: str) -> list[str]:
    """Give the command of the daemon's own program; -P keeps modules of the current folder out of it."""
    configured = ["--config", str(config)] if config else []
    return [sys.executable, "-P", "-m", "daemon.app", *configured, *options]


def _watched(config: Path | None, seconds: float) -> Sequence[Line]:
    """Give the page of this moment; a daemon that is away is no reason to stop looking."""
    head = Line(f"{SystemClock().now():%Y-%m-%d %H:%M:%S UTC} · every {seconds:g} s · Ctrl-C ends it")
    try:
        return [head, Line(""), *status_lines(ask(config, "GET", STATUS))]
    except ShipkeeperError as error:
        return [head, Line(""), *(Line(words.plain(line), BAD) for line in str(error).splitlines())]


def _watched_json(config: Path | None) -> Sequence[Line]:
    """Give the document of this moment in one line, and nothing while no daemon answers."""
    try:
        return [Line(json.dumps(ask(config, "GET", STATUS)))]
    except ShipkeeperError as error:
        typer.echo(f"shipkeeper: {words.plain(str(error))}", err=True)
        return []


def _check(name: str) -> Check:
    """Give the check of this name; typer.BadParameter, which is wrong usage, where there is none."""
    known = {check.name: check for check in CHECKS}
    if name not in known:
        raise typer.BadParameter(f"no such check; there are: {', '.join(known)}", param_hint="--explain")
    return known[name]


def _plan_without_daemon(config: Path | None) -> Any:
    """Let the daemon's own program look once; its log goes to standard error."""
    made = subprocess.run(daemon_command(config, "--plan-json"), stdout=subprocess.PIPE, check=False)  # noqa: S603  no shell
    if made.returncode != 0:
        raise typer.Exit(made.returncode)
    typer.echo("shipkeeper: no daemon runs; this plan was made without its memory and cannot be applied", err=True)
    return json.loads(made.stdout)


if __name__ == "__main__":
    main()
