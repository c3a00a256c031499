"""How each command finds the daemon, and asks it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daemon.client import call
from daemon.errors import ConfigError
from daemon.loading import DEFAULT_FILE, config_file, load_for_asking

if TYPE_CHECKING:
    from daemon.config import Settings

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help=f"The configuration; else $SHIPKEEPER_CONFIG, else {DEFAULT_FILE}, else the defaults.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program.")]


def ask(config: Path | None, method: str, path: str) -> Any:
    """Make one call to the daemon of this configuration, and give its answer; ShipkeeperError when it refuses."""
    control_socket = _settings_for_asking(config).control_socket(os.environ, os.geteuid())
    return call(control_socket, method, path)


def _settings_for_asking(config: Path | None) -> Settings:
    """Give what leads to the daemon; the defaults where the system's file is closed to this user, who may ask."""
    file = config_file(config, os.environ)
    try:
        return load_for_asking(file, os.environ)
    except ConfigError as error:
        if file == DEFAULT_FILE and isinstance(error.__cause__, PermissionError):
            return load_for_asking(None, os.environ)
        raise


def echo_json(document: Any) -> None:
    """Print an answer for a program."""
    typer.echo(json.dumps(document, indent=2))
