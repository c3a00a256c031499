"""Reads a web-config file, in the format that Prometheus and its exporters share, into one frozen value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, Field, Strict, ValidationError, model_validator

from daemon.errors import ConfigError
from daemon.problems import Problem, found_by_validation, report
from daemon.values import Section

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import Self

CIPHERS: Mapping[str, str] = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
}
"""The suites of TLS 1.2 under the names of the file, each with OpenSSL's."""

_TLS_1_3_CIPHERS = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}
_BCRYPT = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")
_COSTS = range(4, 17)
"""Each step doubles the time of a check; 16 takes some seconds."""

_FILES_ONLY = "is not served here: put it into a file, and name that with "
_NOT_SERVED: Mapping[tuple[str, ...], str] = {
    ("tls_server_config", "cert"): _FILES_ONLY + "cert_file",
    ("tls_server_config", "key"): _FILES_ONLY + "key_file",
    ("tls_server_config", "client_ca"): _FILES_ONLY + "client_ca_file",
    ("tls_server_config", "client_allowed_sans"): "is not served here: use a client CA of its own instead",
    ("tls_server_config", "curve_preferences"): "is not served here: leave it out",
    ("rate_limit",): "is not served here: leave it out, the number of scrapes at once is limited in any case",
}
"""What others understand and we do not. Who asks for a bar must not get a door without a word."""


def _cipher(name: str) -> str:
    if name not in CIPHERS and name not in _TLS_1_3_CIPHERS:
        raise ValueError(f"is not served here; known are {', '.join(sorted(CIPHERS))}")
    return name


def _password_hash(text: str) -> str:
    found = _BCRYPT.fullmatch(text)
    if found is None:
        raise ValueError("this user's password is no bcrypt hash; make one with: htpasswd -nBC 10 NAME")
    if int(found[1]) not in _COSTS:
        raise ValueError(f"this user's bcrypt hash has the cost {found[1]}; {_COSTS[0]} to {_COSTS[-1]} are served")
    return text


def _client_auth(value: str) -> str:
    if value in {"RequestClientCert", "RequireAnyClientCert", "RequireClientCert"}:
        raise ValueError("takes certificates that nobody vouches for; write RequireAndVerifyClientCert")
    return value


def _header(value: str) -> str:
    # In YAML a text of several lines ends with a line break, which others make a blank, too.
    line = " ".join(value.split())
    if not (line.isascii() and line.isprintable()):
        raise ValueError("holds a character that no header can hold")
    return line


_HeaderText = Annotated[str, AfterValidator(_header)]
_Version = Literal["TLS12", "TLS13"]


class TlsServer(Section):
    """`tls_server_config`: paths are relative to the folder of the web-config file."""

    cert_file: Annotated[str, Field(min_length=1)]
    key_file: Annotated[str, Field(min_length=1)]
    client_auth_type: Annotated[
        Literal[
            "",
            "NoClientCert",
            "VerifyClientCertIfGiven",
            "RequireAndVerifyClientCert",
            "RequestClientCert",
            "RequireAnyClientCert",
            "RequireClientCert",
        ],
        AfterValidator(_client_auth),
    ] = ""
    client_ca_file: str = ""
    min_version: _Version = "TLS12"
    max_version: _Version = "TLS13"
    cipher_suites: Annotated[tuple[Annotated[str, AfterValidator(_cipher)], ...], Strict(strict=False)] = ()
    prefer_server_cipher_suites: bool = True

    @model_validator(mode="after")
    def _fit(self) -> Self:
        verifies = self.client_auth_type not in {"", "NoClientCert"}
        if verifies and not self.client_ca_file:
            # OpenSSL would take everyone's public certificate, by the authorities of the web.
            raise ValueError(f"{self.client_auth_type} needs client_ca_file")
        if self.client_ca_file and not verifies:
            raise ValueError("client_ca_file needs client_auth_type: RequireAndVerifyClientCert")
        if self.min_version > self.max_version:
            raise ValueError("min_version is above max_version")
        return self

    @property
    def ciphers(self) -> str:
        """The suites of TLS 1.2 as OpenSSL names them; empty for its own choice."""
        return ":".join(CIPHERS[name] for name in self.cipher_suites if name in CIPHERS)


class _Headers(Section):
    """`http_server_config.headers`: the ones that the format knows."""

    content_security_policy: Annotated[_HeaderText, Field(alias="Content-Security-Policy")] = ""
    strict_transport_security: Annotated[_HeaderText, Field(alias="Strict-Transport-Security")] = ""
    content_type_options: Annotated[Literal["", "nosniff"], Field(alias="X-Content-Type-Options")] = ""
    frame_options: Annotated[Literal["", "deny", "sameorigin"], Field(alias="X-Frame-Options")] = ""
    xss_protection: Annotated[_HeaderText, Field(alias="X-XSS-Protection")] = ""


class _HttpServer(Section):
    """`http_server_config`: without TLS nobody asks for HTTP/2, and with it we offer HTTP/1.1 alone."""

    http2: bool = True
    headers: _Headers = _Headers()


class _File(Section):
    """The whole file."""

    tls_server_config: TlsServer | None = None
    http_server_config: _HttpServer = _HttpServer()
    basic_auth_users: dict[str, Annotated[str, AfterValidator(_password_hash)]] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebConfig:
    """What a web-config file asks for; an empty one asks for nothing."""

    tls: TlsServer | None = None
    headers: tuple[tuple[str, str], ...] = ()
    """Sent with every response."""
    users: Mapping[str, str]
    """bcrypt hashes of passwords, by user; empty when nobody is asked for one."""


def read_web_config(file: Path) -> WebConfig:
    """Read the file, or raise ConfigError with everything that is wrong with it."""
    document = _document(file)
    problems = list(_not_served(document))
    try:
        read = _File.model_validate(document)
    except ValidationError as error:
        unserved = set(_NOT_SERVED)
        findings = found_by_validation(error, {})
        problems += [found for found, path in zip(findings, _paths(error), strict=True) if path not in unserved]
        raise ConfigError(report(file, problems)) from None  # pydantic's own text shows what it was given
    headers = read.http_server_config.headers.model_dump(by_alias=True)
    return WebConfig(
        tls=read.tls_server_config,
        headers=tuple((name, value) for name, value in headers.items() if value),
        users=dict(read.basic_auth_users),
    )


def _document(file: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"cannot read the web configuration {file}: {why}") from error
    except yaml.YAMLError as error:
        # The error's own text shows the line, which may be a password.
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        why = getattr(error, "problem", None) or "unreadable"
        raise ConfigError(f"cannot read the web configuration {file}\n  this is not YAML: {line}{why}") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(f"cannot read the web configuration {file}\n  it has no keys such as tls_server_config")
    return {key: _without_empty(value) for key, value in document.items() if value is not None}


def _without_empty(value: Any) -> Any:
    """Leave out the keys that stand there without a value: as if they were not there."""
    if not isinstance(value, dict):
        return value
    return {key: _without_empty(inner) for key, inner in value.items() if inner is not None}


def _not_served(document: dict[str, Any]) -> Iterator[Problem]:
    for path, cure in _NOT_SERVED.items():
        found: Any = document
        for name in path:
            found = found.get(name) if isinstance(found, dict) else None
        if found is not None:
            yield Problem(".".join(path), cure)


def _paths(error: ValidationError) -> Iterator[tuple[str, ...]]:
    for finding in error.errors(include_url=False):
        yield tuple(part for part in finding["loc"] if isinstance(part, str))
