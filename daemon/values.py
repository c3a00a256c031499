"""What a value of the configuration must look like: each type reads its notation or says the cure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, SecretStr, Strict

from daemon import sizes
from daemon.schedules import trigger
from policies import durations, selection

_HIGHEST_PORT = 65535
_LONGEST = timedelta(days=3653)
_ANY_DAY = datetime(2026, 1, 1, tzinfo=UTC)
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def _duration(value: object) -> object:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, str) and value.strip().startswith("-"):
        raise ValueError("must not be negative: nothing is that old")
    try:
        read = durations.parse(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError('a duration needs a unit, for example "30d"') from None
    if read > _LONGEST:  # no date lies so far ahead: who adds it to one fails
        raise ValueError("is longer than ten years")
    return read


def _size(value: object) -> object:
    if isinstance(value, str):
        return sizes.parse(value)
    raise ValueError(sizes.NEEDS_UNIT)


def _absolute_path(value: object) -> object:
    """Take text as a path, the empty text as none; a daemon has no folder that a path could be relative to."""
    if not isinstance(value, str):
        raise ValueError("needs a path in quotes")  # noqa: TRY004  only a ValueError becomes a line of the report
    if not value:
        return None
    if not value.startswith("/") or "\0" in value:
        raise ValueError("needs an absolute path, one that begins with /")
    return Path(value)


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except (re.error, OverflowError) as error:
        raise ValueError(f"is no regular expression: {error}") from error
    return value


def _glob(value: str) -> str:
    if not value:
        raise ValueError('an empty pattern matches nothing; "*" matches everything')
    return value


def _rule(value: str) -> str:
    selection.parse(value)
    return value


def _schedule(value: str) -> str:
    if value and trigger(value).get_next_fire_time(None, _ANY_DAY) is None:
        raise ValueError("names a day that never comes")
    return value


def _label_name(value: str) -> str:
    if not value:
        raise ValueError("a label has a name; remove the empty one")
    return value


def _engine_address(value: str) -> str:
    """Take the two kinds of address that the daemon can talk to."""
    scheme, _, rest = value.partition("://")
    if scheme == "ssh":
        raise ValueError("ssh:// is not supported; forward the engine's socket with ssh -L and name that socket here")
    if scheme == "unix" and rest.startswith("/"):
        return value
    address = _split(value)
    if scheme == "tcp" and address and address.hostname and not address.path.strip("/"):
        return value
    raise ValueError('needs "unix:///path/of/docker.sock" or "tcp://host:2376"')


def _split(url: str) -> SplitResult | None:
    """Take an address apart; None for one that cannot be: its error would show it."""
    try:
        parts = urlsplit(url)
        reachable = parts.port != 0
    except ValueError:
        return None
    return parts if reachable else None


def _listen_address(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or (":" in host and not host.startswith("[")):
        raise ValueError('needs a host and a port, for example "127.0.0.1:9817" or "[::1]:9817"')
    if not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > _HIGHEST_PORT:
        raise ValueError("the port is a number up to 65535")
    return value


def _webhook_address(value: SecretStr) -> SecretStr:
    url = value.get_secret_value()
    address = _split(url)
    if not url or (address and address.scheme == "https" and address.hostname):
        return value
    if address and address.scheme == "http" and address.hostname in _LOOPBACK:
        return value
    raise ValueError("needs the https:// address that Slack shows for the webhook")


def _http_address(value: str) -> str:
    """Take an address of the web without credentials in it, for those have keys of their own, or none at all."""
    address = _split(value)
    if not value or (
        address and address.scheme in {"http", "https"} and address.hostname and "@" not in address.netloc
    ):
        return value
    raise ValueError("needs an address that begins with http:// or https://, without a password in it")


def _secret_address(value: SecretStr) -> SecretStr:
    _http_address(value.get_secret_value())
    return value


def _api_address(value: str) -> str:
    address = _split(value)
    local = address and address.scheme == "http" and address.hostname in _LOOPBACK
    if address and address.hostname and (address.scheme == "https" or local) and not address.query:
        return value if value.endswith("/") else f"{value}/"
    raise ValueError('needs the https:// address of Slack\'s Web API, "https://slack.com/api/"')


def _bot_token(value: SecretStr) -> SecretStr:
    token = value.get_secret_value()
    if not token or re.fullmatch(r"xoxb-[0-9A-Za-z-]+", token):
        return value
    raise ValueError("needs the bot's token from the app's page OAuth & Permissions; it begins with xoxb-")


def is_channel(text: str) -> bool:
    """Tell whether this is how a channel of Slack is named: by its name with a #, or by its id."""
    return re.fullmatch(r"#[^\s#@,]{1,80}|[CG][0-9A-Z]{5,}", text) is not None


def _channel(value: str) -> str:
    if not value or is_channel(value):
        return value
    raise ValueError('needs a channel by its name or id, for example "#alerts" or "C0123456789"')


Duration = Annotated[timedelta, BeforeValidator(_duration)]
Size = Annotated[int, BeforeValidator(_size)]
AbsolutePath = Annotated[Path | None, BeforeValidator(_absolute_path)]
Globs = Annotated[tuple[Annotated[str, AfterValidator(_glob)], ...], Strict(strict=False)]
Rules = Annotated[tuple[Annotated[str, AfterValidator(_rule)], ...], Strict(strict=False)]
Schedule = Annotated[str, AfterValidator(_schedule)]
LabelNames = Annotated[tuple[Annotated[str, AfterValidator(_label_name)], ...], Strict(strict=False)]
Patterns = Annotated[tuple[Annotated[str, AfterValidator(_pattern)], ...], Strict(strict=False)]
EngineAddress = Annotated[str, AfterValidator(_engine_address)]
ListenAddress = Annotated[str, AfterValidator(_listen_address)]
Severities = Annotated[tuple[Literal["critical", "warning", "info"], ...], Strict(strict=False)]
ApiAddress = Annotated[str, AfterValidator(_api_address)]
BotToken = Annotated[SecretStr, AfterValidator(_bot_token)]
SlackChannel = Annotated[str, AfterValidator(_channel)]
WebhookAddress = Annotated[SecretStr, AfterValidator(_webhook_address)]
SecretAddress = Annotated[SecretStr, AfterValidator(_secret_address)]
"""An address that is a secret, for whoever knows it may post there."""
HttpAddresses = Annotated[tuple[Annotated[str, AfterValidator(_http_address)], ...], Strict(strict=False)]


class Section(BaseModel):
    """One table: unknown keys are errors, `"5"` is not 5, and nothing changes once it is read."""

    # Pydantic's own text of an error would show a secret that was mistyped; ours is made in `problems.py`.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, hide_input_in_errors=True)
