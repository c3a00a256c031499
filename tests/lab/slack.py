"""A local Slack: a webhook and the Web API of a bot, which remember what they took and fail as Slack fails."""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Event, Thread
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl

from tests.lab import block_kit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

TOKEN = "xoxb-0000-notasecret"  # noqa: S105  it opens nothing
WEBHOOK = "webhook"
POST, UPDATE, PERMALINK, AUTH = "chat.postMessage", "chat.update", "chat.getPermalink", "auth.test"
_API = "/api/"
_WEBHOOK = "/services/T00000000/B00000000/notasecret"
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time: close() sends RST


@dataclass(frozen=True, slots=True)
class Reply:
    """What the fake answers: a status with a body, after a delay; or, with `reset`, no answer at all."""

    status: int = 200
    body: bytes = b"ok"
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_seconds: float = 0.0
    reset: bool = False


OK = Reply()
SERVER_ERROR = Reply(500, b"server_error")
HTML = Reply(503, b"<!DOCTYPE html><html><body>Something went wrong</body></html>", {"Content-Type": "text/html"})
RESET = Reply(reset=True)


def api(**answer: Any) -> Reply:
    """Give an answer of the Web API."""
    return Reply(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})


def refused(error: str, **more: Any) -> Reply:
    """Give an answer of the Web API that names an error; its status is 200, as Slack's is."""
    return api(ok=False, error=error, **more)


_NO_SERVICE = Reply(404, b"no_service")
_INVALID_PAYLOAD = Reply(400, b"invalid_payload")


def rate_limited(seconds: int) -> Reply:
    """Give a 429 that asks to come again after so many seconds."""
    return Reply(429, b"rate_limited", {"Retry-After": str(seconds)})


def slow(seconds: float) -> Reply:
    """Give a good answer that comes late."""
    return Reply(delay_seconds=seconds)


@dataclass(frozen=True, slots=True)
class Post:
    """One request: when its last byte came (Unix nanoseconds), what it said, what was answered."""

    arrived_ns: int
    payload: Mapping[str, Any]
    reply: Reply
    method: str = WEBHOOK

    @property
    def accepted(self) -> bool:
        """True if it was answered with success."""
        good = self.reply.status < 300 and not self.reply.reset
        return good and (self.method == WEBHOOK or b'"ok": true' in self.reply.body)


@dataclass(slots=True)
class Channel:
    """A channel of the workspace: its messages by their time stamps, and their threads."""

    id: str
    name: str
    member: bool = True
    private: bool = False
    archived: bool = False
    messages: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    threads: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)


class FakeSlack:
    """
    A context manager around one HTTP server on a free port of the loopback.

    `webhook_url`, or `api_url` with `TOKEN` and a name of `channels`, go into the configuration under test. Requests
    are answered as Slack would unless `fail` says otherwise.
    """

    def __init__(self) -> None:
        self._posts: list[Post] = []
        self.channels = {
            channel.name: channel
            for channel in (
                Channel("C0ALERTS", "#alerts"),
                Channel("C0ONCALL", "#on-call"),
                Channel("C0OTHERS", "#others", member=False),
                Channel("C0SECRET", "#secret", member=False, private=True),
                Channel("C0OLD", "#old", archived=True),
            )
        }
        self.tokens = {TOKEN}
        self.scopes = ["chat:write"]
        self._failing: dict[str, deque[Reply]] = {}
        self._stamp = 0
        self._faults: deque[Reply] = deque()
        self._standing = OK
        self._changed = Condition()
        self._closing = Event()
        self._server: _Server | None = None
        self._thread: Thread | None = None

    def __enter__(self) -> Self:
        self._server = _Server(self._answer, self._closing)
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), name="fake-slack")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def webhook_url(self) -> str:
        """The address of the incoming webhook."""
        assert self._server is not None, "enter the fake Slack's context first"
        return f"http://127.0.0.1:{self._server.server_port}{_WEBHOOK}"

    @property
    def api_url(self) -> str:
        """The address of the Web API."""
        assert self._server is not None, "enter the fake Slack's context first"
        return f"http://127.0.0.1:{self._server.server_port}{_API}"

    @property
    def requests(self) -> list[Post]:
        """Every request so far, oldest first."""
        with self._changed:
            return list(self._posts)

    @property
    def posts(self) -> list[Post]:
        """Those of them that wanted to post something new."""
        return [post for post in self.requests if post.method in {WEBHOOK, POST}]

    @property
    def delivered(self) -> list[Mapping[str, Any]]:
        """The payloads of new messages that were answered with success: what people would be notified of."""
        return [post.payload for post in self.posts if post.accepted]

    def delete(self, channel: str, ts: str) -> None:
        """Delete a message, as people do."""
        with self._changed:
            del self.channels[channel].messages[ts]

    def fail_method(self, method: str, *replies: Reply) -> None:
        """Answer the next requests to this method of the Web API with these, one each, then as before."""
        with self._changed:
            self._failing.setdefault(method, deque()).extend(replies)

    def fail(self, *replies: Reply) -> None:
        """Answer the next requests with these, one each, then as before."""
        with self._changed:
            self._faults.extend(replies)

    def fail_always(self, reply: Reply) -> None:
        """Answer every request with this one until `heal`."""
        with self._changed:
            self._standing = reply

    def heal(self) -> None:
        """Answer `ok` from now on."""
        with self._changed:
            self._faults.clear()
            self._failing.clear()
            self._standing = OK

    def clear(self) -> None:
        """Forget all requests, and heal."""
        self.heal()
        with self._changed:
            self._posts.clear()

    def wait(self, enough: Callable[[Sequence[Post]], bool], timeout: float = 10.0) -> list[Post]:
        """Wait until the requests are `enough` and give them. Raises `TimeoutError` that shows what came instead."""
        with self._changed:
            if not self._changed.wait_for(lambda: enough(self._posts), timeout):
                came = [(post.reply.status, dict(post.payload)) for post in self._posts]
                raise TimeoutError(f"waited {timeout:g} s for Slack; what came: {came}")
            return list(self._posts)

    def close(self) -> None:
        """Stop answering and free the port; harmless when repeated."""
        if self._server is None or self._thread is None:
            return
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server = self._thread = None

    def _answer(self, path: str, token: str, body: bytes, arrived_ns: int) -> Reply:
        """Record one request and choose its answer."""
        if path != _WEBHOOK and not path.startswith(_API):
            return _NO_SERVICE
        method = path.removeprefix(_API) if path != _WEBHOOK else WEBHOOK
        try:
            payload = json.loads(body) if body.startswith(b"{") else dict(parse_qsl(body.decode()))
        except ValueError:
            return _INVALID_PAYLOAD
        if method == WEBHOOK and not body.startswith(b"{"):
            return _INVALID_PAYLOAD
        with self._changed:
            reply = self._planned(method) or self._regular(method, token, payload)
            self._posts.append(Post(arrived_ns, payload, reply, method))
            self._changed.notify_all()
        return reply

    def _planned(self, method: str) -> Reply | None:
        if failing := self._failing.get(method):
            return failing.popleft()
        if self._faults:
            return self._faults.popleft()
        return None if self._standing is OK else self._standing

    def _regular(self, method: str, token: str, payload: Mapping[str, Any]) -> Reply:  # noqa: PLR0911  as many as Slack
        if method == WEBHOOK:
            return Reply(400, wrong.encode()) if (wrong := block_kit.fault(payload)) else OK
        if token not in self.tokens:
            return refused("invalid_auth")
        if method == AUTH:
            granted = api(ok=True, team="Example", user="shipkeeper", bot_id="B0")
            return replace(granted, headers={**granted.headers, "X-OAuth-Scopes": ",".join(self.scopes)})
        if "chat:write" not in self.scopes:
            return refused("missing_scope", needed="chat:write", provided=",".join(self.scopes))
        named = payload.get("channel", "")
        channel = next((each for each in self.channels.values() if named in {each.id, each.name}), None)
        if channel is None or (channel.private and not channel.member):
            return refused("channel_not_found")
        if not channel.member or channel.archived:
            return refused("is_archived" if channel.archived else "not_in_channel")
        return self._in_channel(channel, method, payload)

    def _in_channel(self, channel: Channel, method: str, payload: Mapping[str, Any]) -> Reply:
        ts = str(payload.get("ts") or payload.get("message_ts") or payload.get("thread_ts") or "")
        if ts and ts not in channel.messages:
            return refused("thread_not_found" if method == POST else "message_not_found")
        if method == PERMALINK:
            return api(ok=True, permalink=f"https://example.slack.com/archives/{channel.id}/p{ts.replace('.', '')}")
        if wrong := block_kit.fault(payload):
            return refused(wrong)
        if method == UPDATE:
            channel.messages[ts] = payload
            return api(ok=True, channel=channel.id, ts=ts)
        self._stamp += 1
        new = f"1800000000.{self._stamp:06}"
        if ts:
            channel.threads.setdefault(ts, []).append(payload)
        else:
            channel.messages[new] = payload
        return api(ok=True, channel=channel.id, ts=new)


class _Server(ThreadingHTTPServer):
    """A server whose open connections end with it, so that no thread and no socket stays."""

    daemon_threads = False
    block_on_close = True

    def __init__(self, answer: Callable[[str, str, bytes, int], Reply], closing: Event) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.closing = closing
        self._open: set[socket.socket] = set()

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: Any) -> None:
        assert isinstance(request, socket.socket)
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        assert isinstance(request, socket.socket)
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: Any) -> None:
        """Let a client go that did not wait for its answer; anything else is a fault of the fake."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    def server_close(self) -> None:
        for connection in list(self._open):  # a client that keeps its connection alive would hold a thread for ever
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RD)
        super().server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        """Say nothing: the requests are recorded."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        reply = self.server.answer(self.path, token, body, time.time_ns())
        if reply.delay_seconds:
            self.server.closing.wait(reply.delay_seconds)
        if reply.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            os.close(self.connection.detach())  # at once; the server would say goodbye first
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in {"Content-Type": "text/plain", **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)
