"""The only writer to Docker: one plain DELETE of one object, or a prune of the build cache, which has no objects."""

from __future__ import annotations

import http.client
import io
import json
import re
import socket
import ssl
from datetime import timedelta
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import quote, urlencode, urlsplit

from collectors.facts import SubjectKind
from collectors.storage_facts import BuildPrune
from daemon.outcome import Answer, Outcome
from policies import words

if TYPE_CHECKING:
    from collections.abc import Callable

    from collectors.engine_calls import EngineCalls
    from collectors.engine_http import Endpoint
    from collectors.facts import ObjectRef
    from daemon.clock import Clock

PATIENCE: Final = timedelta(minutes=30)
"""An image of 20 GiB takes minutes. If a client hangs up, the engine finishes this one object all the same."""
_CONNECT_SECONDS: Final = 5.0
_SLICE_SECONDS: Final = 0.5
_LONGEST_ANSWER: Final = 64 * 1024
_LONGEST_WORDS: Final = 300
_PATHS: Final = {
    SubjectKind.CONTAINER: "/containers/{id}",
    # By its id, so that a second name is a conflict and no name is taken from it; without its parents, which
    # nobody has planned.
    SubjectKind.IMAGE: "/images/{id}?noprune=1",
    SubjectKind.NETWORK: "/networks/{id}",
    SubjectKind.VOLUME: "/volumes/{id}",
}
_NO_ROOM: Final = "no space left on device"
"""The words of ENOSPC, which an engine passes on."""
_JOINED: Final = b"has active endpoints"
"""Of a network in use Docker says that it is forbidden to remove it."""
_RESERVED_SPACE: Final = (1, 48)
"""Since then the floor is called `reserved-space`: an unknown name is dropped in silence, and then nothing stays."""


_ERRORS: Final = {Outcome.UNANSWERED: "unanswered", Outcome.REFUSED: "forbidden", Outcome.FAILED: "status"}
"""What counts as an error of the API, by the kinds that the reader knows as well."""


class AbandonedError(Exception):
    """The wait for an answer was given up because the daemon ends: nobody knows what comes of the request."""


class DockerWriter:
    """
    Sends DELETE without force, the one prune, and nothing else, each on a connection of its own.

    For one thread: `waiting` is called at least once a second while an answer is outstanding, and `give_up`
    asked whether to go on waiting.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        calls: EngineCalls,
        clock: Clock,
        waiting: Callable[[], None],
        give_up: Callable[[], bool],
    ) -> None:
        """Take `calls` to count every request in, as the reader does."""
        self._endpoint = endpoint
        self._calls = calls
        self._clock = clock
        self._waiting = waiting
        self._give_up = give_up

    def remove(self, ref: ObjectRef, api_version: str) -> Answer:
        """
        Remove one object through this version of the API, and say what came of it.

        Raises AbandonedError when `give_up` says so before the answer is there.
        """
        return self._send(*_request(ref, api_version), api_version)

    def untag(self, tag: str, api_version: str) -> Answer:
        """
        Take a tag from an image that bears another one as well, and say what came of it.

        Of an image that bears no other it would be the removal. Raises AbandonedError as `remove` does.
        """
        return self._send("DELETE", _PATHS[SubjectKind.IMAGE].format(id=quote(tag, safe=":/")), api_version)

    def _send(self, method: str, path: str, api_version: str) -> Answer:
        path = f"/v{api_version}{path}"
        counted = path.partition("?")[0]
        with self._calls.timed(counted):
            answer = self._answer_to(method, path)
        if kind := _ERRORS.get(answer.outcome):
            self._calls.failed(counted, kind)
        return answer

    def _answer_to(self, method: str, path: str) -> Answer:
        try:
            with _connected(self._endpoint) as sock:
                return self._asked(sock, method, path)
        except (OSError, http.client.HTTPException) as error:
            return Answer(Outcome.UNANSWERED, f"{type(error).__name__}: {error}"[:_LONGEST_WORDS])

    def _asked(self, sock: socket.socket, method: str, path: str) -> Answer:
        connection = http.client.HTTPConnection("docker")
        connection.sock = sock
        connection.request(method, path, headers={"User-Agent": "shipkeeper", "Connection": "close"})
        sock.settimeout(_SLICE_SECONDS)
        reading = _PatientReader(sock, self._patience())
        # The response asks its socket for nothing but a file to read from.
        with http.client.HTTPResponse(cast("socket.socket", reading), method=method) as response:
            response.begin()
            return _answer(response.status, response.reason, _read(response))

    def _patience(self) -> Callable[[], None]:
        deadline = self._clock.monotonic() + PATIENCE.total_seconds()

        def still_waiting() -> None:
            self._waiting()
            if self._give_up():
                raise AbandonedError
            if self._clock.monotonic() > deadline:
                raise TimeoutError(f"Docker has not answered for {words.duration(PATIENCE)}")

        return still_waiting


class _PatientReader(io.RawIOBase):
    """The reading end of a connection: waits in slices, and calls `still_waiting` before each."""

    def __init__(self, sock: socket.socket, still_waiting: Callable[[], None]) -> None:
        self._sock = sock
        self._still_waiting = still_waiting

    def makefile(self, mode: str) -> io.BufferedReader:
        """Give itself, buffered."""
        del mode
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """Tell that it can be read from."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # what BufferedReader hands in
        """Wait for bytes as long as `still_waiting` does not raise."""
        while True:
            self._still_waiting()
            try:
                return self._sock.recv_into(buffer)
            except TimeoutError:
                continue  # only this slice is over


def _request(ref: ObjectRef, api_version: str) -> tuple[str, str]:
    """Give method and path of the one request that removes this."""
    if ref.kind is SubjectKind.BUILD_CACHE:
        return "POST", f"/build/prune?{urlencode(_terms(BuildPrune.of(ref.id), api_version))}"
    return "DELETE", _PATHS[ref.kind].format(id=quote(ref.id, safe=":"))


def _terms(prune: BuildPrune, api_version: str) -> dict[str, str | int]:
    """Give the parameters of a prune; the floor goes by both of its names where the engine may know either."""
    until = f"{int(prune.unused_for.total_seconds())}s"
    terms: dict[str, str | int] = {"filters": json.dumps({"until": {until: True}}), "keep-storage": prune.floor_bytes}
    if tuple(map(int, api_version.split("."))) >= _RESERVED_SPACE:
        terms["reserved-space"] = prune.floor_bytes
    return terms | ({"all": 1} if prune.all_records else {})


def _connected(endpoint: Endpoint) -> socket.socket:
    """Connect to the engine; OSError when it is not there or its TLS is not ours."""
    if endpoint.socket_path:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(_CONNECT_SECONDS)
            sock.connect(endpoint.socket_path)
        except OSError:
            sock.close()
            raise
        return sock
    address = urlsplit(endpoint.host)
    host = address.hostname or ""
    plain = socket.create_connection((host, address.port or (443 if endpoint.tls else 80)), _CONNECT_SECONDS)
    if not endpoint.tls:
        return plain
    try:
        context = ssl.create_default_context(cafile=endpoint.tls_ca or None)
        if endpoint.tls_cert:
            context.load_cert_chain(endpoint.tls_cert, endpoint.tls_key or None)
        return context.wrap_socket(plain, server_hostname=host)
    except OSError:
        plain.close()
        raise


def _answer(status: int, reason: str, body: bytes) -> Answer:
    match status:
        case 404:
            return Answer(Outcome.GONE)
        case 409:
            return Answer(Outcome.IN_USE, _said(body, reason))
        case 403 if _JOINED in body:
            return Answer(Outcome.IN_USE, _said(body, reason))
        case _ if 200 <= status < 300:  # noqa: PLR2004  the range of success
            return Answer(Outcome.REMOVED, _reclaimed(body))
        case _ if 400 <= status < 500:  # noqa: PLR2004  the range of "you may not"
            return Answer(Outcome.REFUSED, f"{status}: {_said(body, reason)}")
        case _:
            said = _said(body, reason)
            return Answer(Outcome.FAILED, f"{status}: {said}", no_room=_NO_ROOM in said)


def _read(response: http.client.HTTPResponse) -> bytes:
    """Read the whole answer and give its end: a prune names every record that it took before it says the sum."""
    end = b""
    while chunk := response.read(_LONGEST_ANSWER):
        end = (end + chunk)[-_LONGEST_ANSWER:]
    return end


def _reclaimed(body: bytes) -> str:
    """Say what a prune freed, as Docker counts it; empty for any other answer."""
    found = re.search(rb'"SpaceReclaimed":\s*(\d+)', body)
    return f"{words.size(int(found[1]))} freed" if found else ""


def _said(body: bytes, reason: str) -> str:
    """Give Docker's own words, or the beginning of what a proxy said."""
    text = body.decode(errors="replace")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    told = document.get("message", "") if isinstance(document, dict) else text
    return words.one_line(str(told), _LONGEST_WORDS) or reason
