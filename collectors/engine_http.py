"""GET requests to a Docker endpoint, with every way to fail told by its own error."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import requests
import urllib3
from requests.adapters import BaseAdapter, HTTPAdapter
from requests.structures import CaseInsensitiveDict

from collectors.engine_calls import EngineCalls
from collectors.engine_errors import (
    EngineFailure,
    EngineForbidden,
    EngineProtocolError,
    EngineUnavailable,
    unavailable,
)
from collectors.facts import EngineState
from collectors.json_fields import sound
from collectors.unix_socket import UnixSocketAdapter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import timedelta

Params: TypeAlias = "Mapping[str, str | int | Sequence[str]] | None"

_FORBIDDEN: Final = 403
_NOT_FOUND: Final = 404
_MESSAGE_LENGTH: Final = 300
_PIECE: Final = 65_536
_HEADERS: Final = CaseInsensitiveDict(
    {
        "User-Agent": "shipkeeper",
        "Accept-Encoding": "identity",  # a proxy that compressed the event stream would hold events back
        "Accept": "*/*",
        "Connection": "keep-alive",
    }
)
_SERVED: Final = "reach it over a unix socket, or over tcp:// with TLS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where an engine listens: `unix:///path` or `tcp://host:port`, the latter with the files of its TLS if any."""

    host: str
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""

    @property
    def socket_path(self) -> str:
        """The path of a unix socket, or an empty string."""
        return self.host.removeprefix("unix://") if self.host.startswith("unix://") else ""

    @property
    def tls(self) -> bool:
        """True when the connection is encrypted."""
        return bool(self.tls_ca or self.tls_cert)


class Transport:
    """
    HTTP with one engine, for one thread, able to send nothing but GET.

    It is docker-py's transport without docker-py's `APIClient`: the latter opens `~/.docker/config.json`,
    keeps the registry passwords in it and sends the headers in it. Here nothing but the endpoint counts, not
    even the environment's proxies.
    """

    def __init__(self, endpoint: Endpoint, timeout: timedelta, calls: EngineCalls | None = None) -> None:
        """Open a connection whose every question is counted by `calls`."""
        self.endpoint = endpoint
        self.calls = calls or EngineCalls()
        self._patience = timeout
        self._timeout = timeout.total_seconds()
        self._verify: bool | str = True
        self._certificate: str | tuple[str, str] | None = None
        self._adapter: BaseAdapter = HTTPAdapter()
        self._base = self._mount()

    def _mount(self) -> str:
        endpoint = self.endpoint
        if endpoint.socket_path:
            self._adapter = UnixSocketAdapter(endpoint.socket_path)
            return "http+docker://localhost"
        scheme, _, address = endpoint.host.partition("://")
        if scheme != "tcp" or not address:
            why = f"{scheme}:// endpoints are not served ({endpoint.host})"
            raise EngineUnavailable(EngineState.UNSUPPORTED, why, _SERVED)
        for path in (endpoint.tls_ca, endpoint.tls_cert, endpoint.tls_key):
            if path and not Path(path).is_file():
                why = f"the TLS file {path} cannot be read"
                raise EngineUnavailable(EngineState.UNSUPPORTED, why, "correct [docker] tls_ca, tls_cert, tls_key")
        if not endpoint.tls:
            return f"http://{address}"
        self._verify = endpoint.tls_ca or True
        if endpoint.tls_cert:
            self._certificate = (endpoint.tls_cert, endpoint.tls_key) if endpoint.tls_key else endpoint.tls_cert
        return f"https://{address}"

    def another(self) -> Transport:
        """Give a connection of its own to the same endpoint."""
        return Transport(self.endpoint, self._patience, self.calls)

    def get(self, path: str, params: Params = None, *, stream: bool = False) -> requests.Response | None:
        """
        Ask for a path; `None` when it is not there (404).

        The caller closes the response of a `stream`. Raises EngineUnavailable when no answer comes,
        EngineForbidden on 403, EngineFailure on any other error status.
        """
        with self.calls.timed(path):
            return self._get(path, params, stream=stream)

    def json(self, path: str, params: Params = None) -> object:
        """Ask for a JSON document; `None` when it is not there (404). Raises as `get`, and EngineProtocolError."""
        with self.calls.timed(path):
            response = self._get(path, params, stream=False)
            return None if response is None else _document(path, response)

    def json_of_all(self, path: str, params: Params = None) -> object:
        """Ask for a JSON document that every engine has. Raises as `json`, and on 404 EngineFailure, too."""
        with self.calls.timed(path):
            return _document(path, self._answer(path, params, stream=False))

    def _get(self, path: str, params: Params, *, stream: bool) -> requests.Response | None:
        try:
            return self._answer(path, params, stream=stream)
        except EngineFailure as error:
            if error.status == _NOT_FOUND:
                return None
            raise

    def _answer(self, path: str, params: Params, *, stream: bool) -> requests.Response:
        try:
            response = self._ask(path, params, stream=stream)
            if response.ok:
                return response
            with response:
                raise _refusal(path, response)
        except (requests.RequestException, OSError) as error:
            raise unavailable(error, self.endpoint.host) from error

    def _ask(self, path: str, params: Params, *, stream: bool) -> requests.Response:
        """
        Send a question and, unless it is a `stream`, read the answer.

        By the adapter itself: what a session of requests merges into each question, and looks for in each answer, is
        a third of the cost of both, and of no use here. There are no cookies, no redirects, and nobody logs in.
        """
        question = requests.PreparedRequest()
        question.method = "GET"
        question.prepare_url(self._base + path, params)
        question.headers = _HEADERS
        response = self._adapter.send(
            question, stream=stream, timeout=self._timeout, verify=self._verify, cert=self._certificate
        )
        if not stream:
            _ = response.content  # whatever goes wrong goes wrong here, where it gets its name
        return response

    def close(self) -> None:
        """Close all connections."""
        self._adapter.close()


@contextmanager
def pieces(response: requests.Response, host: str) -> Iterator[Iterator[bytes]]:
    """Give a streamed answer piece by piece, and close it; EngineUnavailable if it breaks off."""
    try:
        with response:
            yield response.iter_content(_PIECE)
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        raise unavailable(error, host) from error


def decoded(path: str, response: requests.Response) -> object:
    """Give the JSON of an answer, `None` for null; EngineProtocolError when it is none."""
    try:
        answer: object = response.json()
    except (ValueError, RecursionError) as error:
        raise EngineProtocolError(f"GET {path}", "is not JSON") from error
    return answer


def _document(path: str, response: requests.Response) -> object:
    answer = decoded(path, response)
    if answer is None:
        raise EngineProtocolError(f"GET {path}", "is null")
    return answer


def _refusal(path: str, response: requests.Response) -> EngineForbidden | EngineFailure:
    if response.status_code == _FORBIDDEN:
        return EngineForbidden(path)
    return EngineFailure(path, response.status_code, _message(response))


def _message(response: requests.Response) -> str:
    """Give Docker's own words on an error, or the beginning of what a proxy said."""
    try:
        body = response.json()
    except ValueError:
        body = response.text
    words = body.get("message", "") if isinstance(body, dict) else body
    return sound(str(words).strip()[:_MESSAGE_LENGTH] or response.reason)
