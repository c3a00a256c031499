"""Names, paths and headers made to lead somewhere else: into another request, another file, another answer."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

import pytest

from daemon.errors import ShipkeeperError
from tests.integration.daemon_under_test import DaemonUnderTest
from tests.lab.scripted_engine import ScriptedEngine
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab.slack import FakeSlack

TRAVERSAL = "../../images/json"
SPLIT = "x HTTP/1.1\r\nHost: docker\r\n\r\nDELETE /v1.51/containers/victim HTTP/1.1\r\n\r\n"
QUERY = "a?force=1&v=1#"
TRICKS = (TRAVERSAL, SPLIT, QUERY, "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "/etc/passwd", "a\x00b", "..")
REQUESTS = (
    b"GET /../../../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET //evil.example.org/ HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET http://evil.example.org/metrics%0d%0aSet-Cookie:a=b HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /metrics%0d%0aSet-Cookie:%20a=b HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /?next=%0d%0aSet-Cookie:a=b HTTP/1.1\r\nHost: x\r\nX-Forwarded-Host: evil.example.org\r\n\r\n",
    b"GET /-/healthy HTTP/1.1\r\nHost: evil.example.org\r\nX: a\r\n Set-Cookie: a=b\r\n\r\n",
    b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nX-HTTP-Method-Override: DELETE\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length:4\r\nTransfer-Encoding:chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n",
)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[ScriptedEngine]:
    with ScriptedEngine(tmp_path / "docker.sock") as scripted:
        scripted.add("web")
        yield scripted


@pytest.fixture
def keeper(engine: ScriptedEngine, slack: FakeSlack, tmp_path: Path) -> Iterator[DaemonUnderTest]:
    with DaemonUnderTest(tmp_path, engine, slack) as daemon:
        yield daemon


def assert_it_stays_where_it_is(address: str, request: bytes) -> None:
    host, _, port = address.partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as client:
        client.sendall(request)
        answer = b""
        while data := client.recv(65536):
            answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    assert re.match(rb"HTTP/1\.1 (200|4\d\d) ", head), answer[:200]
    assert answer.count(b"HTTP/1.1 ") == 1, "one request, one answer"
    for never in (b"set-cookie", b"location", b"evil", b"access-control"):
        assert never not in head.lower()
    assert b"root:" not in body
    assert b"evil" not in body


def plain(name: str) -> str:
    """Give a name as the command understands it: without blanks around it, and without Docker's slash."""
    return name.strip().removeprefix("/")


def test_no_name_no_path_and_no_header_leads_somewhere_else(keeper: DaemonUnderTest, engine: ScriptedEngine) -> None:
    for request in REQUESTS:
        assert_it_stays_where_it_is(keeper.address, request)
    for trick in TRICKS:
        engine.emit("start", trick)
        engine.emit("die", trick, name=trick, exitCode="3")
    for trick in TRICKS:
        with pytest.raises(ShipkeeperError) as refused:
            keeper.ask(f"/autopsy?container={quote(trick, safe='')}")
        assert "root:" not in str(refused.value)
    looked = engine.count("/containers/*")
    engine.emit("start", next(iter(engine.containers)))
    wait_until(lambda: engine.count("/containers/*") > looked, "a look after all of them", 30)
    known = {plain(name) for name in (*engine.containers, *TRICKS, "shipkeeper-capability-probe")}
    for asked in keeper.tap.asked:
        path = asked.path.partition("?")[0]
        assert asked.method == "GET"
        assert re.fullmatch(r"[\w/.:%~-]+", path), asked
        for part in path.split("/")[3:]:
            assert part not in {".", ".."}, asked
        shown = re.fullmatch(r"/v1\.51/containers/([^/]+)/(json|logs|changes|stats)", path)
        assert shown or "containers/" not in path or path.endswith("/containers/json"), asked
        assert shown is None or plain(unquote(shown[1])) in known, asked
    assert {path.name for path in keeper.folder.iterdir()} == {
        *("docker.sock", "tap.sock", "control.sock", "shipkeeper.toml", "output.log", "state")
    }
