"""One request by HTTP to a place outside, and what came of it as an outcome in words."""

from __future__ import annotations

import base64
import json
import ssl
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from pydantic import SecretStr
from urllib3 import PoolManager, ProxyManager, Timeout
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    ReadTimeoutError,
)

from daemon import secret_texts
from daemon.alerts.sink import Outcome, Rejected, Retry, Sent, SinkDown
from daemon.secret_texts import Hider
from policies import words

if TYPE_CHECKING:
    from pathlib import Path

    from urllib3 import BaseHTTPResponse

CONNECT_SECONDS = 5.0
READ_SECONDS = 10.0

_NONE = SecretStr("")
_QUOTED = 120
_QUOTED_BYTES = 4096
_ABOUT_THE_MESSAGE = frozenset({400, 413, 422})
_ABOUT_THE_MOMENT = frozenset({408, 425, 429})
_CURES = {
    401: "it wants other credentials: check those beside {key}",
    403: "it wants other credentials: check those beside {key}",
    404: "nothing is there: check {key}",
    405: "that place takes no such request: check {key}",
    410: "it is gone for good: check {key}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """How to be let in: basic auth or a bearer token, and PEM files for TLS; empty is none."""

    username: str = ""
    password: SecretStr = _NONE
    bearer_token: SecretStr = _NONE
    ca_cert: Path | None = None
    """Who is trusted, instead of the authorities of this machine."""
    client_cert: Path | None = None
    client_key: Path | None = None

    def headers(self) -> dict[str, str]:
        """Give the header that opens the door, if any."""
        if token := self.bearer_token.get_secret_value():
            return {"Authorization": f"Bearer {token}"}
        if self.username:
            return {"Authorization": _basic(f"{self.username}:{self.password.get_secret_value()}")}
        return {}

    def secrets(self) -> tuple[str, ...]:
        """Give what nobody may read, also in the form in which it goes over the wire."""
        logins = (value.rpartition(" ")[2] for value in self.headers().values())
        return (self.password.get_secret_value(), self.bearer_token.get_secret_value(), *logins)


class HttpCall:
    """
    Sends requests to one address, each over a connection of its own, by the proxy that the environment names.

    `key` is where the address stands in the configuration. What is said of a failure names that key and the
    host, never the whole address, for whoever knows it may post there; what is quoted of an answer may show the
    request, and is shown without its secrets. No redirect is followed.
    """

    def __init__(self, key: str, url: SecretStr, credentials: Credentials | None = None) -> None:
        self._key = key
        self._url = url
        self._credentials = credentials or Credentials()
        self._hidden = Hider((*secret_texts.of_address(url.get_secret_value()), *self._credentials.secrets()))

    @property
    def place(self) -> str:
        """The part of the address that anybody may read: `https://host:port`."""
        parts = urlsplit(self._url.get_secret_value())
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"

    def get(self) -> Outcome:
        """Ask for the address itself."""
        return self._request("GET", None)

    def post(self, document: object) -> Outcome:
        """Send a document as JSON."""
        return self._request("POST", json.dumps(document).encode())

    def _request(self, method: str, body: bytes | None) -> Outcome:
        headers = {"User-Agent": "shipkeeper", "Connection": "close", **self._credentials.headers()}
        if body is not None:
            headers["Content-Type"] = "application/json"
        url = self._url.get_secret_value()
        try:
            with self._connections(url) as pool:
                response = pool.request(method, url, body=body, headers=headers, redirect=False, preload_content=False)
                with response:
                    return self._judge(response)
        except _TlsFilesError as fault:
            return SinkDown(f"{fault}: check the tls_ keys beside {self._key}")
        except (HTTPError, OSError, ValueError) as fault:
            return Retry(f"{self.place} cannot be reached: {_network_words(fault)}")

    def _connections(self, url: str) -> PoolManager:
        options: dict[str, Any] = {
            "timeout": Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
            "retries": False,
            "ssl_context": self._tls() if url.startswith("https:") else None,
        }
        proxy = _proxy_for(url)
        if not proxy:
            return PoolManager(**options)
        login = urlsplit(proxy).netloc.rpartition("@")[0]
        headers = {"Proxy-Authorization": _basic(unquote(login))} if login else None
        return ProxyManager(proxy, proxy_headers=headers, **options)

    def _tls(self) -> ssl.SSLContext:
        """Read the certificates anew for each call: they are renewed while we run."""
        mine = self._credentials
        try:
            context = ssl.create_default_context(cafile=mine.ca_cert)
            if mine.client_cert:
                context.load_cert_chain(mine.client_cert, mine.client_key)
        except (OSError, ssl.SSLError) as fault:
            raise _TlsFilesError(f"the certificates cannot be read ({_os_words(fault)})") from fault
        return context

    def _judge(self, response: BaseHTTPResponse) -> Outcome:
        status = response.status
        if 200 <= status < 300:  # noqa: PLR2004
            return Sent()
        answered = f"{self.place} answered HTTP {status}{_quoted(response, self._hidden)}"
        if status in _ABOUT_THE_MESSAGE:
            return Rejected(answered)
        if status in _ABOUT_THE_MOMENT or status >= 500:  # noqa: PLR2004
            return Retry(answered, _retry_after(response))
        cure = _CURES.get(status, "check {key}").format(key=self._key)
        if 300 <= status < 400:  # noqa: PLR2004
            cure = f"it has moved, and no redirect is followed: put its new address into {self._key}"
        return SinkDown(f"{answered}: {cure}")


class _TlsFilesError(Exception):
    """The PEM files that the owner named are none."""


def _basic(login: str) -> str:
    return f"Basic {base64.b64encode(login.encode()).decode()}"


def _proxy_for(url: str) -> str:
    parts = urlsplit(url)
    proxies = getproxies()
    if proxy_bypass(parts.netloc.rpartition("@")[2]):
        return ""
    proxy = proxies.get(parts.scheme) or proxies.get("all", "")
    return proxy if "://" in proxy or not proxy else f"http://{proxy}"


def _quoted(response: BaseHTTPResponse, hidden: Hider) -> str:
    """Give the first words of an answer; one that breaks off or drips says less."""
    try:
        text = response.read1(_QUOTED_BYTES).decode(errors="replace")
    except (HTTPError, OSError):
        return ""
    said = words.plain(words.one_line(hidden(text), _QUOTED))
    return f" ({said})" if said else ""


def _retry_after(response: BaseHTTPResponse) -> timedelta | None:
    value = response.headers.get("Retry-After") or ""
    return timedelta(seconds=int(value)) if value.isascii() and value.isdigit() and len(value) < 7 else None  # noqa: PLR2004


def _network_words(fault: Exception) -> str:
    """Say what failed without quoting the library: some of its texts hold the address."""
    if isinstance(fault, ProxyError):
        return f"the proxy that the environment names: {_network_words(fault.original_error)}"
    if isinstance(fault, NameResolutionError):
        return "its name cannot be resolved"
    if isinstance(fault, NewConnectionError) and isinstance(fault.__cause__, OSError):
        return _os_words(fault.__cause__)
    if isinstance(fault, ConnectTimeoutError | ReadTimeoutError):
        return "no answer in time"
    inner = next((each for each in (fault, *fault.args, fault.__cause__) if isinstance(each, OSError)), None)
    return _os_words(inner) if inner else type(fault).__name__


def _os_words(fault: OSError) -> str:
    if isinstance(fault, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({fault.verify_message})"
    return fault.strerror or type(fault).__name__
