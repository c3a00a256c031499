"""The one reader of Docker's API: it asks, and never changes anything."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from collectors import disk_usage, engine_parse, engine_stats, storage_parse
from collectors.engine_errors import (
    EngineError,
    EngineFailure,
    EngineForbidden,
    EngineProtocolError,
    EngineUnavailable,
)
from collectors.engine_events import EVENT_TYPES, Event, EventStream
from collectors.engine_http import Endpoint, Transport
from collectors.engine_logs import READ_LIMIT, read_log_tail
from collectors.engine_parse import ContainerSummary, FileChange, Versions
from collectors.facts import EngineState
from collectors.json_fields import Fields
from collectors.long_lists import read_list

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from collectors.engine_calls import EngineCalls
    from collectors.engine_http import Params
    from collectors.facts import Container, DiskKind, Engine, Image, KindUsage
    from collectors.reading import Reading
    from collectors.storage_facts import Network, Volume

__all__ = [
    "ContainerSummary",
    "Endpoint",
    "EngineApi",
    "EngineError",
    "EngineFailure",
    "EngineForbidden",
    "EngineProtocolError",
    "EngineUnavailable",
    "Event",
    "EventStream",
    "FileChange",
]

NEWEST_API: Final = (1, 51)
OLDEST_API: Final = (1, 41)
QUIET_AFTER: Final = timedelta(seconds=60)
"""
A stream may be silent for so long. Then it is opened again, which costs one request and shows whether the other
side still lives: a frozen engine and a half-open connection are silent too.
"""

_USAGE_BY_TYPE: Final = (1, 42)
_ASKED_AGAIN: Final = 2
_CONFLICT: Final = 409
_NOT_IMPLEMENTED: Final = 501
_ABSENT: Final = "shipkeeper-capability-probe"
_PROBES: Final[dict[str, tuple[str, dict[str, str | int]]]] = {
    "info": ("/info", {}),
    "containers": ("/containers/json", {"limit": 1}),
    "inspect": (f"/containers/{_ABSENT}/json", {}),
    "logs": (f"/containers/{_ABSENT}/logs", {"stdout": 1, "tail": 1}),
    "images": ("/images/json", {"filters": json.dumps({"reference": [_ABSENT]})}),
    "image inspect": (f"/images/{_ABSENT}/json", {}),
    "networks": ("/networks", {"filters": json.dumps({"name": [_ABSENT]})}),
    "volumes": ("/volumes", {"filters": json.dumps({"name": [_ABSENT]})}),
    "events": ("/events", {"since": 1, "until": 1}),
}
"""The cheapest question for each thing that we ask: 404 is a yes, 403 a no."""


class EngineApi:
    """
    A connection to one engine, for one thread.

    Every method sends GET requests only. All raise EngineUnavailable when Docker cannot be reached,
    EngineForbidden on 403, EngineFailure on another error status, EngineProtocolError on an answer of an
    unknown shape.
    """

    def __init__(self, transport: Transport, timeout: timedelta, said: Versions) -> None:
        self._transport = transport
        self._timeout = timeout
        self._said = said
        major, minor = min(_api_version(said.api), NEWEST_API)
        self.api_version = f"{major}.{minor}"
        """The version of the API that we ask with."""
        self.version = said.engine
        self.podman = said.podman

    @classmethod
    def connect(cls, endpoint: Endpoint, timeout: timedelta, calls: EngineCalls | None = None) -> EngineApi:
        """
        Greet an engine and settle the version of the API; `timeout` holds for each answer, `calls` counts them.

        Raises EngineUnavailable, also for an engine that we cannot serve, and EngineProtocolError when what
        answers is no engine.
        """
        transport = Transport(endpoint, timeout, calls)
        try:
            said = engine_parse.versions(transport.json("/version"))
            _check_supported(said)
            return cls(transport, timeout, said)
        except EngineForbidden as error:
            transport.close()
            raise EngineUnavailable(EngineState.DENIED, str(error), "allow GET /version in the proxy") from error
        except EngineError:
            transport.close()
            raise

    def another(self) -> EngineApi:
        """Give one more client of the same engine, for another thread; it does not greet it again."""
        return EngineApi(self._transport.another(), self._timeout, self._said)

    def ping(self) -> None:
        """Return if the engine answers; unlike everything else this asks no lock of the engine."""
        try:
            self._transport.get("/_ping")
        except EngineForbidden as error:
            raise EngineUnavailable(EngineState.DENIED, str(error), "allow GET /_ping in the proxy") from error
        except EngineFailure as error:
            raise EngineUnavailable(EngineState.HUNG, str(error), "see the engine's log") from error

    def engine(self, since: datetime) -> Engine:
        """Give what the engine says of itself, as up since `since`."""
        return engine_parse.engine(self._json("/info"), self._said, since)

    def whole_info(self) -> dict[str, Any]:
        """Give the answer to `GET /info`, as Docker wrote it."""
        return Fields(self._json("/info"), "info").document

    def forbidden_features(self) -> dict[str, str]:
        """Try everything that we will ask for: give what a proxy answers 403 to, with the reason."""
        forbidden = {}
        for feature, (path, params) in _PROBES.items():
            try:
                self._transport.get(self._versioned(path), params)
            except EngineForbidden as error:
                forbidden[feature] = str(error)
            except EngineFailure:
                continue  # whatever is wrong with it, it was not forbidden
        return forbidden

    def containers(self) -> tuple[ContainerSummary, ...]:
        """List all containers, in every state."""
        return engine_parse.container_summaries(self._json("/containers/json", {"all": 1}))

    def container(self, container_id: str) -> Container | None:
        """Inspect one container; `None` when it is not there."""
        answer = self._transport.json(self._versioned(f"/containers/{_escaped(container_id)}/json"))
        return None if answer is None else engine_parse.container(answer)

    def whole_inspect(self, name: str) -> dict[str, Any] | None:
        """Give the inspect of a container, by its id or name, as Docker wrote it; `None` when it is not there."""
        answer = self._transport.json(self._versioned(f"/containers/{_escaped(name)}/json"))
        return None if answer is None else Fields(answer, "container").document

    def changes(self, container_id: str, at_most: int) -> tuple[FileChange, ...]:
        """Give the first paths that a container changed in its own layer; none when it is not there."""
        path = self._versioned(f"/containers/{_escaped(container_id)}/changes")
        response = self._transport.get(path, stream=True)
        if response is None:
            return ()
        # A million paths would take half a gigabyte.
        return engine_parse.file_changes(read_list(response, f"GET {path}", self._transport.endpoint.host), at_most)

    def container_size(self, container_id: str) -> int | None:
        """Measure the writable layer in bytes; `None` when it is not there. The engine walks the whole layer."""
        answer = self._transport.json(self._versioned(f"/containers/{container_id}/json"), {"size": 1})
        return None if answer is None else engine_parse.writable_size(answer)

    def stats(self, container: Container) -> Reading | None:
        """Give what Docker counted for a container; `None` when it is not there or does not run."""
        path = f"/containers/{_escaped(container.id)}/stats"
        answer = self._transport.json(self._versioned(path), {"stream": 0, "one-shot": 1})
        return None if answer is None else engine_stats.reading(answer, container)

    def images(self, *, shared_sizes: bool = False) -> tuple[Image, ...]:
        """
        List the images that are tagged or dangling, without the layers between.

        With `shared_sizes` the engine works out what each shares with others; before API 1.42 it does not.
        """
        params = {"shared-size": "1"} if shared_sizes else None
        return engine_parse.images(_whole(self._transport, self._versioned("/images/json"), params))

    def image(self, image_id: str, summary: Image) -> Image | None:
        """Add to an image of the list what only its inspect tells; `None` when it is not there."""
        answer = self._transport.json(self._versioned(f"/images/{_escaped(image_id)}/json"))
        if answer is None:
            return None
        return replace(summary, last_tagged_at=engine_parse.last_tagged_at(answer), inspected=True)

    def networks(self) -> tuple[Network, ...]:
        """List the networks, without what is connected to them."""
        return storage_parse.networks(self._json("/networks"))

    def network(self, network_id: str) -> Network | None:
        """Inspect one network with what is connected to it; `None` when it is not there."""
        answer = self._transport.json(self._versioned(f"/networks/{_escaped(network_id)}"))
        return None if answer is None else storage_parse.network(answer)

    def volumes(self) -> tuple[Volume, ...]:
        """List the volumes, each with whether a container refers to it."""
        listed = self._json("/volumes")
        # Asked last: a volume that comes into use between the two answers must not pass for idle.
        idle = self._json("/volumes", {"filters": json.dumps({"dangling": ["true"]})})
        return storage_parse.volumes(listed, idle)

    @property
    def usage_by_kind(self) -> bool:
        """True if the engine measures one kind without the others."""
        return _api_version(self.api_version) >= _USAGE_BY_TYPE

    def disk_usage(
        self, kinds: Collection[DiskKind], patience: timedelta, at: datetime
    ) -> Mapping[DiskKind, KindUsage]:
        """
        Let the engine measure what objects of these kinds take, waiting for `patience`; the answer is of `at`.

        It may walk every layer and every volume for that, which takes minutes. Kinds that it tells nothing of
        are not in the answer.
        """
        transport = Transport(self._transport.endpoint, patience)
        types = {"type": [disk_usage.TYPES[kind] for kind in kinds]} if self.usage_by_kind else {}
        try:
            answer = _whole(transport, self._versioned("/system/df"), types)
        finally:
            transport.close()
        return disk_usage.parse(answer, kinds, at)

    def log_tail(
        self,
        container_id: str,
        lines: int,
        max_bytes: int,
        since: datetime | None,
        read_limit: int = READ_LIMIT,
    ) -> tuple[str, ...]:
        """
        Give the last lines that a container wrote, oldest first, at most the last `max_bytes` of them.

        Lines can be long: more than `read_limit` bytes of them are not read.

        Empty when its log driver cannot be read, when it is gone or being removed.
        """
        params: dict[str, str | int] = {"stdout": 1, "stderr": 1, "tail": lines}
        if since is not None:
            params["since"] = f"{since.timestamp():.6f}"
        try:
            response = self._transport.get(
                self._versioned(f"/containers/{_escaped(container_id)}/logs"), params, stream=True
            )
        except EngineFailure as error:
            if error.status in {_CONFLICT, _NOT_IMPLEMENTED}:
                return ()
            raise
        if response is None:
            return ()
        return read_log_tail(response, lines, max_bytes, self._transport.endpoint.host, read_limit)

    def events(self, since: str, quiet_after: timedelta = QUIET_AFTER) -> EventStream:
        """
        Open the stream of events from `since` on, which is written as `"<seconds>.<9 digits>"`.

        What the engine still remembers comes first. The stream has a connection of its own, outlives this
        object and belongs to the caller. Silent for longer than `quiet_after` it ends.
        """
        transport = Transport(self._transport.endpoint, quiet_after, self._transport.calls)
        params = {"since": since, "filters": json.dumps({"type": list(EVENT_TYPES)})}
        try:
            response = transport.get(self._versioned("/events"), params, stream=True)
        except EngineError:
            transport.close()
            raise
        if response is None:
            transport.close()
            raise EngineProtocolError("GET /events", "is not there (404)")
        return EventStream(response, transport.close)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def _versioned(self, path: str) -> str:
        return f"/v{self.api_version}{path}"

    def _json(self, path: str, params: dict[str, str | int] | None = None) -> object:
        """Ask for something that every engine has."""
        return self._transport.json(self._versioned(path), params)


def _whole(transport: Transport, path: str, params: Params) -> object:
    """
    Ask about all images at once.

    The containerd store answers 404 when an image, or a snapshot of a build, goes while it looks at it: ask again.
    """
    for _ in range(_ASKED_AGAIN):
        answer = transport.json(path, params)
        if answer is not None:
            return answer
    return transport.json_of_all(path, params)


def _escaped(id_: str) -> str:
    """Make an id safe for a path: one that came with an event is text from outside. One of dots alone is nobody's."""
    return quote(id_, safe=":") if id_.strip(".") else _ABSENT


def _api_version(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    try:
        return int(major), int(minor)
    except ValueError as error:
        raise EngineProtocolError("version.ApiVersion", f"is {text[:20]!r}, not a version") from error


def _check_supported(said: Versions) -> None:
    oldest, newest = (".".join(map(str, version)) for version in (OLDEST_API, NEWEST_API))
    if _api_version(said.api) < OLDEST_API:
        why = f"Docker {said.engine} is too old: it speaks API {said.api} at most, Shipkeeper needs {oldest}"
        raise EngineUnavailable(EngineState.UNSUPPORTED, why, "upgrade Docker to 20.10 or newer")
    if said.api_minimum and _api_version(said.api_minimum) > NEWEST_API:
        why = f"Docker {said.engine} is too new: it speaks API {said.api_minimum} at least, Shipkeeper {newest} at most"
        raise EngineUnavailable(EngineState.UNSUPPORTED, why, "upgrade Shipkeeper")
