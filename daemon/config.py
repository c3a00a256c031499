"""The settings of a running Shipkeeper: the tables of its configuration in one frozen value."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping  # noqa: TC003  pydantic reads the annotation at run time
from dataclasses import replace
from datetime import timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, SecretStr, Strict, field_validator, model_validator
from pydantic_core import PydanticCustomError

from collectors.engine_http import Endpoint
from collectors.facts import COMPOSE_PROJECT, COMPOSE_SERVICE, Protection
from daemon import secret_texts
from daemon.alerts.http_call import Credentials
from daemon.alerts.routing import RoutingRule
from daemon.derived_tables import (
    AlertTables,
    BoundedSettings,
    CleanupSettings,
    PolicyTables,
    ReliefSettings,
    alert_tables,
    policy_tables,
    read_as,
)
from daemon.modes import Mode  # noqa: TC001  pydantic reads it
from daemon.values import (
    AbsolutePath,
    ApiAddress,
    BotToken,
    Duration,
    EngineAddress,
    Globs,
    HttpAddresses,
    LabelNames,
    ListenAddress,
    Patterns,
    SecretAddress,
    Section,
    Severities,
    Size,
    SlackChannel,
    WebhookAddress,
    is_channel,
)
from policies import relief
from policies.build_cache import BuildCache
from policies.catalogue import BY_NAME, RULES
from policies.containers import ExitedContainers
from policies.disk_forecast import DiskForecast
from policies.disk_pressure import DiskPressure
from policies.engine import EngineSlow
from policies.gpu_devices import GpuDevices
from policies.gpu_usage import GpuUsage
from policies.images import DanglingImages
from policies.images_unused import UnusedImages
from policies.logs import LargeLogs
from policies.memory import ContainerMemory, HostMemoryLow
from policies.networks import UnusedNetworks
from policies.volumes import UnusedVolumes

if TYPE_CHECKING:
    from typing import Self

    from policies.bounds import Bounds
    from policies.catalogue import AlertRule
    from policies.policy import Policy

CLEANUPS: Mapping[str, type[Policy]] = MappingProxyType(
    {
        "containers": ExitedContainers,
        "images_dangling": DanglingImages,
        "images_unused": UnusedImages,
        "build_cache": BuildCache,
        "networks": UnusedNetworks,
        "volumes": UnusedVolumes,
    }
)
"""Every policy that removes, by the name of its table. A new one is one line here."""
JUDGES: Mapping[str, type[Policy]] = MappingProxyType(
    {
        "logs": LargeLogs,
        relief.NAME: DiskPressure,
        "disk_forecast": DiskForecast,
        "container_memory": ContainerMemory,
        "host_memory": HostMemoryLow,
        "engine_slow": EngineSlow,
        "gpu_devices": GpuDevices,
        "gpu_usage": GpuUsage,
    }
)
"""The same of those that have settings and alerts; disk_pressure removes as well, only what a full disk needs."""
OFF = frozenset({"images_unused"})
"""What somebody has to switch on."""

_ALERT_TABLES = alert_tables(RULES)
_POLICY_TABLES = policy_tables(
    {**CLEANUPS, **JUDGES}, {**dict.fromkeys(CLEANUPS, CleanupSettings), relief.NAME: ReliefSettings}, OFF
)
_SHORTEST_GPU_INTERVAL = timedelta(seconds=1)
_LONGEST_GPU_INTERVAL = timedelta(minutes=5)
_SHORTEST_HEARTBEAT = timedelta(seconds=10)
_LONGEST_HEARTBEAT = timedelta(hours=1)
_SYSTEM_RUNTIME = Path("/run/shipkeeper")
_SYSTEM_STATE = Path("/var/lib/shipkeeper")
_SOCKET_NAME = "control.sock"
_SMALLEST_EVIDENCE = 16 << 20


class Host(Section):
    """`[host]`: how this machine is called in messages; empty for its hostname."""

    name: str = ""


class Docker(Section):
    """`[docker]`: where the engine is, and the certificates for an engine behind TLS."""

    host: EngineAddress = "unix:///var/run/docker.sock"
    tls_ca_cert: AbsolutePath = None
    tls_client_cert: AbsolutePath = None
    tls_client_key: AbsolutePath = None

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if (self.tls_client_cert is None) != (self.tls_client_key is None):
            raise ValueError("tls_client_cert and tls_client_key belong together; set both or none")
        if self.host.startswith("unix://") and (self.tls_ca_cert or self.tls_client_cert):
            raise ValueError("a unix socket has no TLS; remove the tls_ keys or name a tcp:// host")
        return self

    def endpoint(self) -> Endpoint:
        """Give it in the form that the collectors read."""
        files = (self.tls_ca_cert, self.tls_client_cert, self.tls_client_key)
        ca, cert, key = (str(path) if path else "" for path in files)
        return Endpoint(host=self.host, tls_ca=ca, tls_cert=cert, tls_key=key)


class Control(Section):
    """`[control]`: the socket on which the command line talks to the daemon."""

    socket: AbsolutePath = None


class State(Section):
    """`[state]`: the folder of what must survive a restart."""

    dir: AbsolutePath = None


class Log(Section):
    """`[log]`: how much the journal gets, and in which form."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class Web(Section):
    """`[web]`: where metrics and health are served; port 0 takes any free one. The file holds TLS and passwords."""

    listen: ListenAddress = "127.0.0.1:9817"
    config_file: AbsolutePath = None


class Metrics(Section):
    """`[metrics]`: whose names are served beside our own, and which labels of containers."""

    cadvisor: bool = True
    dcgm: bool = True
    labels: LabelNames = (COMPOSE_PROJECT, COMPOSE_SERVICE)


class Gpu(Section):
    """`[gpu]`: whether and how often GPUs are read, where there are any, and how they are spoken of."""

    enabled: bool = True
    interval: Duration = timedelta(seconds=5)
    owner_label: str = "shipkeeper.owner"
    idle_below_percent: Annotated[float, Field(ge=0, le=100)] = 1.0

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if not _SHORTEST_GPU_INTERVAL <= self.interval <= _LONGEST_GPU_INTERVAL:
            raise ValueError('interval lies between "1s" and "5m"')
        return self


class Slack(Section):
    """`[slack]`: a bot's token with its channel, or a webhook; without both no Slack. 0 messages a second: no limit."""

    token: BotToken = SecretStr("")
    token_file: AbsolutePath = None
    channel: SlackChannel = ""
    api_url: ApiAddress = "https://slack.com/api/"
    webhook_url: WebhookAddress = SecretStr("")
    webhook_url_file: AbsolutePath = None
    here: Severities = ()
    max_per_second: Annotated[float, Field(ge=0)] = 1.0

    @property
    def has_bot(self) -> bool:
        """True if a bot posts."""
        return bool(self.token.get_secret_value())

    @property
    def has_webhook(self) -> bool:
        """True if a webhook does."""
        return bool(self.webhook_url.get_secret_value())

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if self.has_bot and self.has_webhook:
            raise ValueError("token and webhook_url exclude each other: everything would come twice; remove one")
        if self.has_bot and not self.channel:
            raise ValueError('a token needs the channel to post to, for example channel = "#alerts"')
        if self.channel and not self.has_bot:
            raise ValueError(
                "channel needs a token (one that is a credential the service alone is shown); "
                "a webhook posts where it was made for and nowhere else"
            )
        return self


class RouteTable(Section):
    """`[[alerts.routes]]`: where alerts go that fit everything that it names."""

    severities: Severities = ()
    alerts: Globs = ()
    containers: Globs = ()
    labels: Mapping[str, str] = Field(default_factory=dict)
    to: Annotated[tuple[str, ...], Strict(strict=False)]

    def rule(self, slack_channel: str) -> RoutingRule:
        """Give it in the form in which alerts are routed; Slack's own channel goes by the name of Slack."""
        return RoutingRule(
            severities=self.severities,
            alerts=self.alerts,
            containers=self.containers,
            labels=self.labels,
            to=tuple("slack" if place == slack_channel else place for place in self.to),
        )

    @field_validator("alerts")
    @classmethod
    def _known(cls, globs: tuple[str, ...]) -> tuple[str, ...]:
        for glob in globs:
            if not any(fnmatchcase(name, glob) for name in BY_NAME):
                raise ValueError(f"no alert is called {glob}; docs/alerts.md names them all")
        return globs

    @field_validator("to")
    @classmethod
    def _somewhere(cls, to: tuple[str, ...]) -> tuple[str, ...]:
        if not to:
            raise ValueError('leads nowhere; name a place, for example ["console"]')
        return to


class Alertmanager(Section):
    """`[alertmanager]`: where the state of all alerts is pushed to, and whether Slack is told as well."""

    urls: HttpAddresses = ()
    username: str = ""
    password: SecretStr = SecretStr("")
    password_file: AbsolutePath = None
    bearer_token: SecretStr = SecretStr("")
    bearer_token_file: AbsolutePath = None
    tls_ca_cert: AbsolutePath = None
    tls_client_cert: AbsolutePath = None
    tls_client_key: AbsolutePath = None
    slack_too: bool = False

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if not all(self.urls):
            raise ValueError("an empty address among urls; remove it")
        if any("?" in url for url in self.urls):
            # It would stand in logs and answers, which show these addresses.
            raise ValueError(
                "an address among urls has a query, which Alertmanager has no use for; a secret has its own key"
            )
        if self.username and self.bearer_token.get_secret_value():
            raise ValueError("username and bearer_token exclude each other; set one of them")
        if self.tls_client_key and not self.tls_client_cert:
            raise ValueError("tls_client_key needs tls_client_cert beside it")
        return self

    def credentials(self) -> Credentials:
        """Give how to be let in."""
        return Credentials(
            username=self.username,
            password=self.password,
            bearer_token=self.bearer_token,
            ca_cert=self.tls_ca_cert,
            client_cert=self.tls_client_cert,
            client_key=self.tls_client_key,
        )


class Webhook(Section):
    """`[webhook]`: the address that gets every message as JSON, and the token that lets us in; empty for none."""

    url: SecretAddress = SecretStr("")
    url_file: AbsolutePath = None
    bearer_token: SecretStr = SecretStr("")
    bearer_token_file: AbsolutePath = None


class Heartbeat(Section):
    """`[heartbeat]`: the address that is asked for as long as the daemon works, and how often; empty for none."""

    url: SecretAddress = SecretStr("")
    url_file: AbsolutePath = None
    every: Duration = timedelta(seconds=60)

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if not _SHORTEST_HEARTBEAT <= self.every <= _LONGEST_HEARTBEAT:
            raise ValueError('every lies between "10s" and "1h"')
        return self


class Alerts(Section):
    """`[alerts]`: what is told and what a message may carry; `log_lines = 0` keeps logs on this host."""

    group_wait: Duration = timedelta(seconds=20)
    ignore: Globs = ()
    log_lines: Annotated[int, Field(ge=0, le=100)] = 20
    redact: Patterns = ()
    routes: Annotated[tuple[RouteTable, ...], Strict(strict=False)] = ()
    rules: Annotated[AlertTables, read_as(_ALERT_TABLES)] = _ALERT_TABLES()


class Protect(Section):
    """`[protect]`: what is never removed."""

    containers: Globs = ()
    images: Globs = ()
    volumes: Globs = ()
    networks: Globs = ()


class Cleanup(Section):
    """`[cleanup]`: how what is removed by itself is held back, and what is kept of it."""

    grace: Duration = timedelta(minutes=15)
    grace_critical: Duration = timedelta(minutes=2)
    evidence_max_bytes: Size = 256 << 20
    daily_digest: bool = True

    @field_validator("evidence_max_bytes")
    @classmethod
    def _enough(cls, size: int) -> int:
        if 0 < size < _SMALLEST_EVIDENCE:
            raise ValueError('needs at least "16MiB", for one container may leave so much; "0B" keeps none')
        return size


class Settings(Section):
    """Everything that a person can set; `Settings()` is the built-in default of every key."""

    mode: Mode = "observe"
    host: Host = Host()
    docker: Docker = Docker()
    control: Control = Control()
    state: State = State()
    log: Log = Log()
    web: Web = Web()
    metrics: Metrics = Metrics()
    gpu: Gpu = Gpu()
    slack: Slack = Slack()
    alertmanager: Alertmanager = Alertmanager()
    webhook: Webhook = Webhook()
    heartbeat: Heartbeat = Heartbeat()
    alerts: Alerts = Alerts()
    protect: Protect = Protect()
    cleanup: Cleanup = Cleanup()
    policies: Annotated[PolicyTables, read_as(_POLICY_TABLES)] = _POLICY_TABLES()

    @model_validator(mode="after")
    def _routes_lead_somewhere(self) -> Self:
        problems = [
            (f"[[alerts.routes]] {number} to", f"{place} leads nowhere: {why}")
            for number, route in enumerate(self.alerts.routes, start=1)
            for place in route.to
            if (why := self._lacks(place))
        ]
        before_last = enumerate(self.alerts.routes[:-1], start=1)
        problems += [
            (f"[[alerts.routes]] {number + 1}", f"is never reached: number {number} takes everything")
            for number, route in before_last
            if route.rule("").takes_all
        ]
        if problems:
            raise PydanticCustomError("places", "routes lead nowhere", {"problems": problems})
        return self

    def _lacks(self, place: str) -> str:
        """Say why no message can go there; empty if it can."""
        if place in self.places():
            return ""
        if place == "slack":
            return "there is neither a [slack] token nor a webhook_url"
        if is_channel(place):
            return "a channel needs a bot: set [slack] token"
        return f"there is no such place; there are {', '.join(self.places())}, and channels of Slack like #alerts"

    def places(self) -> tuple[str, ...]:
        """Give the names of all sinks that messages can go to: each that is set up, and channels that routes name."""
        named = dict.fromkeys(place for route in self.alerts.routes for place in route.to if is_channel(place))
        slack = self.slack
        return (
            "console",
            *(["slack"] if slack.has_bot or slack.has_webhook else []),
            *(named if slack.has_bot else []),
            *(["webhook"] if self.webhook.url.get_secret_value() else []),
        )

    def channels(self) -> tuple[str, ...]:
        """Give the channels of Slack that routes name beside the one that is Slack's own."""
        return tuple(place for place in self.places() if is_channel(place) and place != self.slack.channel)

    def routes_to(self, place: str) -> bool:
        """Tell whether a route names this sink."""
        return any(place in rule.to for rule in self.routing())

    def routing(self) -> tuple[RoutingRule, ...]:
        """Give the routes in their order."""
        return tuple(route.rule(self.slack.channel) for route in self.alerts.routes)

    def host_name(self) -> str:
        """Give the name of this machine in messages and labels."""
        return self.host.name or socket.gethostname()

    def control_socket(self, environ: Mapping[str, str], uid: int, runtime: Path = _SYSTEM_RUNTIME) -> Path:
        """Give the socket's path: the setting, else systemd's runtime folder, the system's, the user's own."""
        if self.control.socket is not None:
            return self.control.socket
        if given := _first_folder(environ.get("RUNTIME_DIRECTORY", "")):
            return given / _SOCKET_NAME
        system = runtime / _SOCKET_NAME
        # Whoever may not write there and finds no daemon there runs a daemon of their own, if any.
        if uid == 0 or system.exists() or os.access(runtime, os.W_OK):
            return system
        users_own = environ.get("XDG_RUNTIME_DIR")  # only a login session has it, `su` and `cron` do not
        folder = Path(users_own) / "shipkeeper" if users_own else self.state_dir(environ, uid)
        return folder / _SOCKET_NAME

    def state_dir(self, environ: Mapping[str, str], uid: int) -> Path:
        """Give the folder of what survives a restart: the setting, else systemd's, root's, the user's own."""
        if self.state.dir is not None:
            return self.state.dir
        if given := _first_folder(environ.get("STATE_DIRECTORY", "")):
            return given
        if uid == 0:
            return _SYSTEM_STATE
        users_own = environ.get("XDG_STATE_HOME")
        return (Path(users_own) if users_own else Path.home() / ".local" / "state") / "shipkeeper"

    def rules(self) -> Mapping[str, AlertRule]:
        """Give the catalogue by name with the owner's delays; an alert that is switched off is absent."""
        told = {name: table for name, table in self.alerts.rules.by_name().items() if table.enabled}
        return {
            rule.name: replace(rule, hold=told[rule.name].hold, clear=told[rule.name].clear)
            for rule in RULES
            if rule.name in told
        }

    def enabled_policies(self) -> Mapping[str, Policy]:
        """Build every policy that is switched on, by the name of its table."""
        return {name: table.build() for name, table in self.policies.by_name().items() if table.enabled}

    def bounds(self) -> Mapping[str, Bounds]:
        """Give what bounds each policy that removes, by the name of its table."""
        tables = self.policies.by_name()
        return {name: table.bounds() for name, table in tables.items() if isinstance(table, BoundedSettings)}

    def protection(self) -> Protection:
        """Give the owner's globs in the form that policies read."""
        protect = self.protect
        return Protection(
            containers=protect.containers,
            images=protect.images,
            volumes=protect.volumes,
            networks=protect.networks,
        )

    def secrets(self) -> tuple[str, ...]:
        """Give every text that no log may show: keys, and secret addresses with their parts."""
        urls = (self.slack.webhook_url, self.webhook.url, self.heartbeat.url)
        addresses = [text for url in urls for text in secret_texts.of_address(url.get_secret_value())]
        keys = (self.slack.token.get_secret_value(), self.webhook.bearer_token.get_secret_value())
        return secret_texts.worth_hiding((*addresses, *keys, *self.alertmanager.credentials().secrets()))

    def slack_told(self) -> bool:
        """Tell whether messages go to Slack: beside an Alertmanager, which routes them there, only if asked for."""
        beside = not self.alertmanager.urls or self.alertmanager.slack_too
        return beside and (self.slack.has_bot or self.slack.has_webhook)


def _first_folder(listed: str) -> Path | None:
    """Give the first of the folders that systemd lists, separated by colons."""
    first = listed.partition(":")[0]
    return Path(first) if first else None
