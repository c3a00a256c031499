"""A Docker Engine that does what a test tells it to: HTTP over a unix socket, nothing behind it."""

from __future__ import annotations

import contextlib
import json
import queue
import re
import socket
import socketserver
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler
from itertools import islice
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs, urlsplit

from tests.fakes.clock import NOW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

Json = dict[str, Any]

ZERO_TIME = "0001-01-01T00:00:00Z"
HTML = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 20\r\n\r\n<html>Hello!</html>\n"
NOISE = b"\x00\xff\x17 220 ready when you are\r\n\r\n"
"""Two kinds of `babble`: of a web server that sits where an engine should, and of nobody that speaks HTTP."""
_RING = 256
_NO_ROOM = {"message": "write /data/image/overlay2/.tmp-repositories.json1109180067: no space left on device"}
_BATCHES_PER_SECOND = 100
_RELEASES = {
    "1.41": "20.10.24",
    "1.44": "25.0.6",
    "1.45": "26.1.5",
    "1.48": "28.0.4",
    "1.51": "28.5.2",
    "1.52": "29.1.0",
}


def stamp(moment: datetime | None) -> str:
    """Write a time as Docker does: with nanoseconds, year 1 for never."""
    return ZERO_TIME if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


def human_duration(age: timedelta) -> str:
    """Say an age as Docker's list does (go-units, HumanDuration)."""
    seconds = int(age.total_seconds())
    minutes, hours = seconds // 60, int(age.total_seconds() / 3600 + 0.5)
    steps: list[tuple[bool, str]] = [
        (seconds < 1, "Less than a second"),
        (seconds == 1, "1 second"),
        (seconds < 60, f"{seconds} seconds"),
        (minutes == 1, "About a minute"),
        (minutes < 60, f"{minutes} minutes"),
        (hours == 1, "About an hour"),
        (hours < 48, f"{hours} hours"),
        (hours < 24 * 14, f"{hours // 24} days"),
        (hours < 24 * 60, f"{hours // 24 // 7} weeks"),
        (hours < 24 * 365 * 2, f"{hours // 24 // 30} months"),
        (True, f"{seconds // 3600 // 24 // 365} years"),
    ]
    return next(text for holds, text in steps if holds)


@dataclass
class ScriptedContainer:
    """One container; change its fields to change what the engine says. `inspect_extra` goes over its inspect."""

    id: str
    name: str
    state: str = "running"
    started_at: datetime | None = NOW - timedelta(hours=3)
    finished_at: datetime | None = None
    created_at: datetime = NOW - timedelta(hours=3)
    exit_code: int = 0
    health: str = ""
    error: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    image: str = "bb:latest"
    image_id: str = "sha256:" + "b" * 64
    inspect_extra: Json = field(default_factory=dict)

    def status(self, now: datetime) -> str:
        """Give the list's text for people."""
        match self.state:
            case "running" | "paused":
                mark = "Paused" if self.state == "paused" else self.health
                mark = "health: starting" if mark == "starting" else mark
                text = f"Up {human_duration(now - (self.started_at or now))}"
                return f"{text} ({mark})" if mark else text
            case "exited" | "restarting":
                ago = human_duration(now - (self.finished_at or now))
                return f"{self.state.capitalize()} ({self.exit_code}) {ago} ago"
            case "removing":
                return "Removal In Progress"
            case other:
                return other.capitalize()

    def listed(self, now: datetime) -> Json:
        """Give its entry in the list."""
        host = self.inspect_extra.get("HostConfig", {})
        told = {"HostConfig": {"NetworkMode": host["NetworkMode"]}} if "NetworkMode" in host else {}
        return {
            "Id": self.id,
            "Names": [f"/{self.name}"],
            "Image": self.image,
            "ImageID": self.image_id,
            "Labels": self.labels,
            "State": self.state,
            "Status": self.status(now),
            "Created": int(self.created_at.timestamp()),
            **told,
        } | {key: self.inspect_extra[key] for key in ("Mounts", "NetworkSettings") if key in self.inspect_extra}

    def inspected(self) -> Json:
        """Give its inspect."""
        state: Json = {
            "Status": self.state,
            "Pid": 4242 if self.state == "running" else 0,
            "ExitCode": self.exit_code,
            "OOMKilled": False,
            "Error": self.error,
            "StartedAt": stamp(self.started_at),
            "FinishedAt": stamp(self.finished_at),
        }
        if self.health:
            streak = 3 if self.health == "unhealthy" else 0
            state["Health"] = {"Status": self.health, "FailingStreak": streak, "Log": None}
        return {
            "Id": self.id,
            "Name": f"/{self.name}",
            "Created": stamp(self.created_at),
            "Image": self.image_id,
            "State": state,
            "RestartCount": 0,
            "LogPath": "",
            "Config": {"Image": self.image, "Labels": self.labels, "StopSignal": "SIGTERM"},
            "HostConfig": {"RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}, "NetworkMode": "none", "Memory": 0},
        } | self.inspect_extra


@dataclass(frozen=True, slots=True)
class ScriptedEvent:
    """One event that is still to be stamped."""

    action: str
    id: str = "c" * 64
    attributes: Mapping[str, str] = field(default_factory=dict)
    kind: str = "container"


class ScriptedEngine:
    """
    The engine itself: a context manager that listens on `socket_path` while it is open.

    State: `containers`, `images`, `networks`, `volumes` (JSON of the lists; the containers' `inspect_extra` says who
    uses them), `last_tagged`, `logs`, `changes` and `stats` by id, `disk_usage` (JSON of
    its df, of which `usage_asked` notes the types that were asked for). `now` is its clock.
    Faults: `freeze`, `crash`, `stop`, `cut_streams`, `statuses` (path pattern → status), `passing` (path → the
    statuses of the next answers alone), `hung_paths` (patterns that get no answer), `no_room` (a full disk: no tag of
    an image can be taken off it until an image is deleted), `lost_answers` (patterns of changes that are done, and
    told to nobody), `slow` (seconds), `babble` (bytes that every request gets instead of an answer).
    Proof: `requests`, counted by method and path without its version; `deleted`, every DELETE, and
    `pruned`, every prune of the build cache, as it was sent.
    """

    def __init__(self, socket_path: Path, api_version: str = "1.51") -> None:
        self.socket_path = socket_path
        self.api_version = api_version
        self.now = NOW
        self.bond: Mapping[str, str] = {}
        """Nothing of this engine outlives the test, so nothing has to be bound to it."""
        self.containers: dict[str, ScriptedContainer] = {}
        self.images: list[Json] = []
        self.networks: list[Json] = []
        self.volumes: list[Json] = []
        self.last_tagged: dict[str, str] = {}
        self.logs: dict[str, bytes] = {}
        self.stats: dict[str, object] = {}
        self.changes: dict[str, list[Json]] = {}
        self.info: Json = {
            "DockerRootDir": "/var/lib/docker",
            "Driver": "overlay2",
            "CgroupDriver": "systemd",
            "CgroupVersion": "2",
        }
        self.disk_usage: Json = {}
        self.usage_asked: list[list[str]] = []
        self.components: list[Json] = [{"Name": "Engine"}]
        self.statuses: dict[str, int] = {}
        self.passing: dict[str, list[int]] = {}
        self.slow = 0.0
        self.babble = b""
        self.no_room = False
        self.hung_paths: set[str] = set()
        self.lost_answers: set[str] = set()
        self.requests: Counter[tuple[str, str]] = Counter()
        self.deleted: list[str] = []
        self.after_delete: Callable[[], None] = lambda: None
        """Called with every DELETE and prune, before it does anything: what happens meanwhile."""
        self.pruned: list[str] = []
        self._ring: deque[Json] = deque(maxlen=_RING)
        self._streams: list[queue.SimpleQueue[bytes | None]] = []
        self._changed = threading.Condition()
        self._thawed = threading.Event()
        self._thawed.set()
        self._ended = threading.Event()
        self._server: _Server | None = None

    def __enter__(self) -> ScriptedEngine:  # noqa: PYI034  it has no subclasses
        self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def socket(self) -> Path:
        """Where it listens, by the name that a private engine has for it."""
        return self.socket_path

    @property
    def host(self) -> str:
        """The endpoint to connect to."""
        return f"unix://{self.socket_path}"

    def add(self, name: str, **fields: Any) -> ScriptedContainer:
        """Add a container; its id is made from its name."""
        container = ScriptedContainer(id=name.encode().hex().ljust(64, "0")[:64], name=name, **fields)
        self.containers[container.id] = container
        return container

    def listen(self) -> None:
        """Begin to listen, as after a start of the engine."""
        self.socket_path.unlink(missing_ok=True)
        self._ended.clear()
        self._server = _Server(self)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), name="scripted-engine").start()

    def crash(self) -> None:
        """Be gone at once: all connections end, the socket stays and refuses."""
        self.thaw()
        with self._changed:
            self._ended.set()
            self._changed.notify_all()
        self.cut_streams()
        if self._server is not None:
            self._server.end()
            self._server = None
        self._ring.clear()

    def stop(self) -> None:
        """Be gone as after a clean stop: the socket is gone too."""
        self.crash()
        self.socket_path.unlink(missing_ok=True)

    def freeze(self) -> None:
        """Accept and never answer."""
        self._thawed.clear()

    def relent(self) -> None:
        """Answer what `hung_paths` left without an answer."""
        with self._changed:
            self.hung_paths.clear()
            self._changed.notify_all()

    def thaw(self) -> None:
        """Answer again, what waited first."""
        self._thawed.set()

    def emit(self, action: str, container: str = "c" * 64, *, kind: str = "container", **attributes: str) -> Json:
        """Send an event, stamped with this engine's clock, which then moves on by a millisecond."""
        event = self.happen(ScriptedEvent(action, container, attributes, kind))
        self.emit_raw(json.dumps(event).encode() + b"\n")
        return event

    def pour(self, events: Iterable[ScriptedEvent], per_second: int) -> None:
        """Send events at this rate, a hundred batches a second; this engine's clock moves with them."""
        coming, apart, never = iter(events), timedelta(seconds=1 / per_second), threading.Event()
        deadline = time.monotonic()
        while batch := list(islice(coming, max(per_second // _BATCHES_PER_SECOND, 1))):
            lines = [json.dumps(self.happen(event, apart)).encode() + b"\n" for event in batch]
            self.emit_raw(b"".join(lines))
            deadline += len(batch) / per_second
            never.wait(max(0.0, deadline - time.monotonic()))

    def emit_raw(self, data: bytes) -> None:
        """Send bytes to all open streams; they are not remembered."""
        with self._changed:
            for stream in self._streams:
                stream.put(data)

    def cut_streams(self) -> None:
        """End all open streams in the middle, as a proxy does; everything else goes on."""
        with self._changed:
            for stream in self._streams:
                stream.put(None)

    def count(self, path: str, method: str = "GET") -> int:
        """Tell how often a path (with `*` in it) was asked for."""
        with self._changed:
            return sum(n for (verb, asked), n in self.requests.items() if verb == method and fnmatch(asked, path))

    def non_get(self) -> list[tuple[str, str]]:
        """Give every request that could have changed something."""
        with self._changed:
            return [request for request in self.requests if request[0] not in {"GET", "HEAD"}]

    def wait(self, holds: Callable[[], bool], timeout: float = 10.0) -> bool:
        """Wait until something holds that changes with a request or a stream; tell whether it does."""
        with self._changed:
            return self._changed.wait_for(holds, timeout)

    def wait_streams(self, count: int) -> bool:
        """Wait until so many event streams are open."""
        return self.wait(lambda: len(self._streams) == count)

    @property
    def _api(self) -> tuple[int, ...]:
        return tuple(int(part) for part in self.api_version.split("."))

    def note(self, method: str, path: str) -> int:
        """Count a request, hold it as long as a fault says, and give the status that a fault gives it, or 0."""
        with self._changed:
            self.requests[method, path] += 1
            self._changed.notify_all()
        self._thawed.wait()
        with self._changed:
            self._changed.wait_for(lambda: self._ended.is_set() or not self._hangs(path))
        if self.slow:
            threading.Event().wait(self.slow)
        with self._changed:
            if passing := self.passing.get(path):
                return passing.pop(0)
        return next((status for pattern, status in self.statuses.items() if fnmatch(path, pattern)), 0)

    def loses(self, path: str) -> bool:
        """Tell whether the answer to this change gets lost."""
        return any(fnmatch(path, pattern) for pattern in self.lost_answers)

    def _hangs(self, path: str) -> bool:
        return any(fnmatch(path, pattern) for pattern in self.hung_paths)

    def change(self, method: str, path: str, sent: str) -> tuple[int, object]:
        """Do what a request other than GET asks for; those that change nothing here succeed."""
        if method == "DELETE":
            return self.remove(path, sent)
        return (200, self.prune(sent)) if (method, path) == ("POST", "/build/prune") else (204, None)

    def remove(self, path: str, sent: str) -> tuple[int, object]:
        """Do what a DELETE asks for as the engine does it without force; `sent` is its path as it was sent."""
        self.deleted.append(sent)
        self.after_delete()
        kind, _, id_ = path.strip("/").partition("/")
        if kind == "containers" and id_ in self.containers:
            if self.containers[id_].state in {"running", "paused", "restarting"}:
                return 409, {"message": f"cannot remove container {id_}: container is running"}
            del self.containers[id_]
            return 204, None
        if kind in {"networks", "volumes"}:
            return self._remove_stored(kind, id_)
        return self._remove_image(id_) if kind == "images" else (404, {"message": f"no such thing: {path}"})

    def _remove_image(self, name: str) -> tuple[int, object]:
        found = self._image(name)
        if found is None:
            return 404, {"message": f"no such image: {name}"}
        tags = found["RepoTags"] or []
        if len(tags) > 1 and found["Id"] != name:
            tags.remove(name)
            return (500, _NO_ROOM) if self.no_room else (200, [{"Untagged": name}])
        if conflict := self._conflict(found):
            return 409, {"message": f"conflict: unable to delete {name}: {conflict}"}
        if self.no_room and tags:  # as a real one: taken off in memory, then not written down
            tags.clear()
            return 500, _NO_ROOM
        self.no_room = False
        self.images.remove(found)
        return 200, [{"Deleted": found["Id"]}]

    def _conflict(self, image: Json) -> str:
        """Say why an image cannot be removed; empty when it can."""
        if len(image["RepoTags"] or ()) > 1:
            return "image is referenced in multiple repositories"
        if any(each.image_id == image["Id"] for each in self.containers.values()):
            return "image is being used by a container"
        has_child = any(each.get("ParentId") == image["Id"] for each in self.images)
        return "image has dependent child images" if has_child else ""

    def _image(self, name: str) -> Json | None:
        """Find an image by its id or by one of its tags."""
        return next((each for each in self.images if name == each["Id"] or name in (each["RepoTags"] or ())), None)

    def _remove_stored(self, kind: str, id_: str) -> tuple[int, object]:
        listed, key = (self.networks, "Id") if kind == "networks" else (self.volumes, "Name")
        found = next((each for each in listed if each[key] == id_), None)
        if found is None:
            return 404, {"message": f"no such thing: {id_}"}
        if found.get("Containers"):
            return 403, {"message": f"error while removing network: network {found['Name']} has active endpoints"}
        if kind == "volumes" and id_ in self.mounted:
            return 409, {"message": f"{id_} is in use"}
        listed.remove(found)
        return 204, None

    @property
    def mounted(self) -> set[str]:
        """The names of the volumes that containers mount."""
        mounts = [mount for each in self.containers.values() for mount in each.inspect_extra.get("Mounts", ())]
        return {mount["Name"] for mount in mounts if mount["Type"] == "volume"}

    def prune(self, sent: str) -> Json:
        """Prune the build cache as BuildKit does: what was not used since `until`, the oldest first, to the floor."""
        self.pruned.append(sent)
        self.after_delete()
        terms = {name: values[-1] for name, values in parse_qs(urlsplit(sent).query).items()}
        [until] = json.loads(terms["filters"])["until"]
        before = stamp(self.now - timedelta(seconds=int(until.removesuffix("s"))))
        floor = int(terms.get("reserved-space" if self._api >= (1, 48) else "keep-storage", 0))
        records = [each for each in self.disk_usage.get("BuildCache") or () if not each["Shared"]]
        left, gone = sum(each["Size"] for each in records), []
        for each in sorted(records, key=lambda each: str(each["LastUsedAt"] or "")):
            if not each["InUse"] and str(each["LastUsedAt"] or "") <= before and left > floor:
                gone.append(each)
                left -= each["Size"]
        self.disk_usage["BuildCache"] = [each for each in self.disk_usage.get("BuildCache") or () if each not in gone]
        return {"CachesDeleted": [each["ID"] for each in gone], "SpaceReclaimed": sum(each["Size"] for each in gone)}

    def _stored(self, path: str, filters: str) -> object | None:
        match path.strip("/").split("/"):
            case ["networks"]:
                return [{key: each[key] for key in each if key != "Containers"} for each in self.networks]
            case ["networks", id_]:
                return next((each for each in self.networks if each["Id"] == id_), None)
            case ["volumes"]:
                used = self.mounted if "dangling" in filters else set()
                return {"Volumes": [each for each in self.volumes if each["Name"] not in used] or None}
            case _:
                return None

    def answer(self, path: str, types: list[str], filters: str = "") -> object | None:
        """Give the JSON at a path, or `None`; of df that of these types."""
        match path.strip("/").split("/"):
            case ["version" | "info" as page]:
                return self.info if page == "info" else self._version()
            case ["containers", "json"]:
                return [self._listed(container) for container in self.containers.values()]
            case ["containers", name, "json" | "stats" | "changes" as page] if id_ := self._named(name):
                return self._shown(id_, page)
            case ["images", "json"] | ["system", "df"]:
                return self.images if "images" in path else self.measured(types)
            case ["images", *words, "json"] if self._image("/".join(words)) is not None:
                id_ = "/".join(words)
                return {"Id": id_, "Metadata": {"LastTagTime": self.last_tagged.get(id_, ZERO_TIME)}}
            case _:
                return self._stored(path, filters)

    def _named(self, name: str) -> str:
        """Give the id of the container of this name or id; empty where it is not there, or on its way out."""
        found = (id_ for id_, each in self.containers.items() if name in {id_, each.name} and each.state != "removing")
        return next(found, "")

    def _shown(self, id_: str, page: str) -> object | None:
        match page:
            case "stats":
                return self.stats.get(id_)
            case "changes":
                return self.changes.get(id_, [])
            case _:
                return self.containers[id_].inspected()

    def happen(self, told: ScriptedEvent, apart: timedelta = timedelta(milliseconds=1)) -> Json:
        """Move the clock on and remember an event, which no open stream is told of; gives it as a stream would."""
        with self._changed:
            self.now += apart
            nanos = int((self.now - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1)) * 1000
            event: Json = {
                "Type": told.kind,
                "Action": told.action,
                "Actor": {"ID": told.id, "Attributes": told.attributes},
                "scope": "local",
                "time": nanos // 1_000_000_000,
                "timeNano": nanos,
            }
            if self._api < (1, 52):
                event |= {"status": told.action, "id": told.id, "from": "bb:latest"}
            self._ring.append(event)
        return event

    def measured(self, types: list[str]) -> Json:
        """Give what takes space; engines that know types give what was not asked for as null."""
        self.usage_asked.append(types)
        if not types or self._api < (1, 42):
            return self.disk_usage
        asked = tuple(word.title().replace("-", "") for word in types)
        return {
            key: value if key == "LayersSize" or key.startswith(asked) else None
            for key, value in self.disk_usage.items()
        }

    def _version(self) -> Json:
        return {
            "Version": _RELEASES.get(self.api_version, "0.0.0"),
            "ApiVersion": self.api_version,
            "MinAPIVersion": "1.44" if self._api >= (1, 52) else "1.12",
            "Components": self.components,
        }

    def _listed(self, container: ScriptedContainer) -> Json:
        entry = container.listed(self.now)
        if self._api >= (1, 52):
            entry["Health"] = {"Status": container.health or "none", "FailingStreak": 0}
        return entry

    def stream(self, since_nanos: int) -> tuple[list[bytes], queue.SimpleQueue[bytes | None]]:
        """Open an event stream: what is remembered, and the queue of what comes."""
        with self._changed:
            remembered = [event for event in self._ring if event["timeNano"] >= since_nanos]
            stream: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
            self._streams.append(stream)
            self._changed.notify_all()
            return [json.dumps(event).encode() + b"\n" for event in remembered], stream

    def ended(self, stream: queue.SimpleQueue[bytes | None]) -> None:
        """Forget a stream."""
        with self._changed:
            self._streams.remove(stream)
            self._changed.notify_all()


def _nanos(since: str) -> int:
    """Read `<seconds>.<9 digits>` without losing a digit; without it, nothing that is past."""
    seconds, _, fraction = since.partition(".")
    return int(seconds + fraction.ljust(9, "0")) if since else 1 << 63


def _asked(query: str) -> tuple[list[str], str]:
    """Give the types and the filters of a query."""
    asked = parse_qs(query)
    return asked.get("type", []), asked.get("filters", [""])[-1]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        engine = cast("_Server", self.server).engine
        version = re.match(r"/v(\d+)\.(\d+)(?=/)", url.path)
        path = url.path[version.end() :] if version else url.path
        status = engine.note(self.command, path)
        if engine.babble:
            self.close_connection = True
            self.wfile.write(engine.babble)
        elif status:
            self._json(status, {"message": f"scripted {status}"})
        elif self.command != "GET":
            answer = engine.change(self.command, path, self.path)
            if engine.loses(path):
                self.close_connection = True
            else:
                self._json(*answer)
        elif version and (int(version[1]), int(version[2])) > tuple(map(int, engine.api_version.split("."))):
            self._json(400, {"message": f"client version {version[0][2:]} is too new"})
        elif path == "/_ping":
            self._bytes(200, b"OK", "text/plain")
        elif path == "/events":
            self._events(engine, {name: values[-1] for name, values in parse_qs(url.query).items()})
        elif path.endswith("/logs") and path.split("/")[2] in engine.logs:
            self._bytes(200, engine.logs[path.split("/")[2]], "application/octet-stream")
        elif (found := engine.answer(path, *_asked(url.query))) is not None:
            self._json(200, found)
        else:
            self._json(404, {"message": f"no such thing: {path}"})

    do_HEAD = do_GET  # noqa: N815  the base class looks these names up
    do_POST = do_GET  # noqa: N815
    do_PUT = do_GET  # noqa: N815
    do_DELETE = do_GET  # noqa: N815

    def _events(self, engine: ScriptedEngine, query: dict[str, str]) -> None:
        if "until" in query:
            self._bytes(200, b"", "application/json")
            return
        self.close_connection = True
        remembered, stream = engine.stream(_nanos(query.get("since", "")))
        try:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for data in remembered:
                self._chunk(data)
            while (data := stream.get()) is not None:  # type: ignore[assignment]  # None ends it
                self._chunk(data)
        finally:
            engine.ended(stream)

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def _json(self, status: int, body: object) -> None:
        self._bytes(status, json.dumps(body).encode(), "application/json")

    def _bytes(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(0 if status == 204 else len(body)))
        self.end_headers()
        if self.command != "HEAD" and status != 204:
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing: the test looks at `requests`."""


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    request_queue_size = 128

    def __init__(self, engine: ScriptedEngine) -> None:
        self.engine = engine
        self._connections: list[socket.socket] = []
        super().__init__(str(engine.socket_path), _Handler)

    def get_request(self) -> tuple[socket.socket, str]:
        """Accept; a unix peer has no address, which the base class cannot do without."""
        connection, _ = self.socket.accept()
        self._connections.append(connection)
        return connection, "unix"

    def end(self) -> None:
        """Stop listening and end every connection, then wait for their threads."""
        self.shutdown()
        for connection in self._connections:
            with contextlib.suppress(OSError):  # it has ended by itself
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()

    def handle_error(self, *_: object) -> None:
        """Say nothing: that peers go away in the middle is what tests are about."""
