"""Looks at Shipkeeper itself: its configuration, its daemon, its folder and its port."""

from __future__ import annotations

import os
from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING, Any, Final

from daemon.client import NoDaemonError, SilentDaemonError, call
from daemon.config import Settings
from daemon.doctor.checks.ourselves import UNIT
from daemon.doctor.facts import Folder, Ourselves, Silent, Unseen
from daemon.doctor.look import Look
from daemon.doctor.look_host import groups_of, owner
from daemon.errors import ConfigError, ShipkeeperError
from daemon.loading import config_file, load_for_judging
from daemon.verbs import STATUS
from daemon.web.access import Access
from daemon.web.holder import holder, taken
from daemon.web.web_config import read_web_config

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from daemon.doctor.facts import Seen
    from daemon.doctor.world import World

_PATIENCE: Final = 8.0
_ANSWER_WITHIN: Final = 5.0
"""Seconds; a daemon that is well needs a few milliseconds."""
_HOST: Final = "SHIPKEEPER_DOCKER__HOST"


def configured(option: Path | None, world: World) -> tuple[Settings, str, Seen[str]]:
    """
    Read our configuration: the settings, the file's name, what is wrong with it.

    Where something is, the defaults and the environment's engine stand in for the settings, so that all else of this
    host can be looked at.
    """
    file = config_file(option, world.environ)
    name = str(file or "")
    try:
        settings = load_for_judging(file, world.environ, world.root)
    except ConfigError as error:
        host = world.environ.get(_HOST)
        try:
            settings = Settings.model_validate({"docker": {"host": host}} if host else {})
        except ValueError:
            settings = Settings()
        return settings, name, _problem(error)
    try:
        Access(settings.web.config_file, world.clock).open()
    except ConfigError as error:
        return settings, name, _problem(error)
    return settings, name, ""


def _problem(error: ConfigError) -> Seen[str]:
    """Give what is wrong, or that it could not be seen."""
    return Unseen(str(error)) if isinstance(error.__cause__, PermissionError) else str(error)


def ourselves(settings: Settings, file: str, problem: Seen[str], units: Seen[Any], world: World) -> Ourselves:
    """Look at everything that is ours."""
    unit = {} if isinstance(units, Unseen) else units.get(UNIT, {})
    folder, control = state_folder(settings, units, world), settings.control_socket(world.environ, os.geteuid())
    return Ourselves(
        config_file=file,
        config_problem=problem,
        status=Look("the daemon", _PATIENCE, lambda: _status(control)).seen(),
        state=Look("the state", _PATIENCE, lambda: _folder(folder)).seen(),
        version=installed_version("shipkeeper"),
        listen=settings.web.listen,
        web_protected=_asks_who_is_there(settings.web.config_file),
        port_holder=_port_holder(settings.web.listen),
        sinks=_tells_people(settings),
        service_groups=groups_of(str(unit.get("User") or "shipkeeper")),
    )


def state_folder(settings: Settings, units: Seen[Any], world: World) -> Path:
    """Give the folder of the state: that of the service, where there is one."""
    unit = {} if isinstance(units, Unseen) else units.get(UNIT, {})
    return settings.state_dir(_for_service(world.environ, unit), os.geteuid())


def _for_service(environ: Mapping[str, str], unit: Mapping[str, str]) -> Mapping[str, str]:
    """Give the environment, with what systemd would add to it for the service."""
    if unit.get("LoadState") == "loaded":
        return {"STATE_DIRECTORY": "/var/lib/shipkeeper", **environ}
    return environ


def _status(control: Path) -> Seen[Mapping[str, Any] | Silent | None]:
    try:
        answer: Mapping[str, Any] = call(control, "GET", STATUS, _ANSWER_WITHIN)
    except NoDaemonError:
        return None
    except SilentDaemonError as error:
        return Silent(str(error))
    except ShipkeeperError as error:
        return Unseen(str(error).splitlines()[0])
    return answer


def _folder(path: Path) -> Folder | None:
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Folder(
        path=str(path), owner=owner(found.st_uid), mode=found.st_mode & 0o7777, writable=os.access(path, os.W_OK)
    )


def _tells_people(settings: Settings) -> bool:
    """Tell whether alerts go anywhere besides the log."""
    webhook, alertmanagers = settings.webhook.url.get_secret_value(), settings.alertmanager.urls
    return settings.slack_told() or bool(webhook or alertmanagers)


def _asks_who_is_there(file: Path | None) -> bool:
    """Tell whether the web-config file asks for passwords or certificates; TLS alone hides nothing from who comes."""
    try:
        config = read_web_config(file) if file else None
    except ConfigError:  # told as a problem of the configuration, or not ours to see
        return True
    if config is None:
        return False
    certificates = config.tls is not None and config.tls.client_auth_type == "RequireAndVerifyClientCert"
    return certificates or bool(config.users)


def _port_holder(listen: str) -> str | None:
    port = int(listen.rpartition(":")[2])
    return holder(port) if port and taken(port) else None
