from __future__ import annotations

import errno
import gzip
import http.client
import os
import socket
import ssl
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from collectors.families import CONTENT_TYPE, Family
from daemon.errors import ShipkeeperError
from daemon.web.access import Access
from daemon.web.exchange import Request, Response
from daemon.web.exposition import Exposition, NamedCollector
from daemon.web.holder import holder
from daemon.web.listener import MAX_ANSWERS, MAX_CONNECTIONS, Listener
from daemon.web.pages import LandingPage, MetricsPage, Overview, ReadyPage, healthy_page
from daemon.web.server import WebServer
from tests.fakes.clock import FakeClock
from tests.fakes.crew import a_crew

if TYPE_CHECKING:
    from collections.abc import Iterator

from daemon.web.exchange import Answer

PATIENCE = 10.0
"""Seconds until a test gives up; longer than nothing here takes, shorter than a client may stay."""

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"

STUCK_FOR = 60.0
"""The deadline of connections in tests where only room for others is looked at, so no cut can help."""


def hello(_: Request) -> Response:
    return Response(HTTPStatus.OK, b"hello\n")


def echo(request: Request) -> Response:
    return Response(HTTPStatus.OK, f"{request.method} {request.path} {dict(request.query)} {request.body!r}".encode())


def started(answer: Answer, **options: Any) -> tuple[Listener, tuple[str, int]]:
    sock = socket.create_server(("127.0.0.1", 0))
    address = sock.getsockname()
    listener = Listener(sock, answer, name="stuck", crew=a_crew(), **{"deadline": STUCK_FOR} | options)
    listener.start()
    return listener, address


@contextmanager
def listening(answer: Answer, **options: Any) -> Iterator[tuple[str, int]]:
    listener, address = started(answer, **options)
    try:
        yield address
    finally:
        listener.close()


def talk(address: tuple[str, int], request: bytes) -> bytes:
    """Send bytes and read until the server ends the connection."""
    with socket.create_connection(address, PATIENCE) as client:
        # A server may refuse and go before it has read everything.
        with suppress(ConnectionError):
            client.sendall(request)
        return received(client)


def received(client: socket.socket) -> bytes:
    """Read until the server ends the connection, in whatever way."""
    chunks: list[bytes] = []
    with suppress(ConnectionError):
        chunks.extend(iter(lambda: client.recv(65536), b""))
    return b"".join(chunks)


def refused(answer: bytes) -> bool:
    """Tell whether a request was answered with an error of the client's, or not at all."""
    return not answer or 400 <= status(answer) < 500


def get(address: tuple[str, int], path: str = "/", method: str = "GET") -> bytes:
    return talk(address, f"{method} {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@contextmanager
def clients(address: tuple[str, int], count: int, say: bytes = b"") -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        opened = [stack.enter_context(socket.socket()) for _ in range(count)]
        for client in opened:
            client.settimeout(PATIENCE)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            client.connect(address)
            client.sendall(say)
        yield opened


STUCK = {
    "silent": b"",
    "in the middle of its header": b"GET / HTTP/1.1\r\nHost: test\r\nX-Slow: ",
    "without reading": b"GET /big HTTP/1.1\r\nHost: test\r\n\r\n",
}


BIG = bytes(6 << 20)  # more than the kernel buffers on its way to a client with a small buffer


def big_or_hello(request: Request) -> Response:
    return Response(HTTPStatus.OK, BIG) if request.path == "/big" else hello(request)


@pytest.mark.parametrize("say", STUCK.values(), ids=STUCK)
def test_clients_that_stay_stuck_do_not_block_others(say: bytes) -> None:
    with listening(big_or_hello) as address, clients(address, 20, say):
        assert get(address).endswith(b"hello\n")


@pytest.mark.parametrize("say", STUCK.values(), ids=STUCK)
def test_a_client_that_stays_stuck_is_cut_at_its_deadline(say: bytes) -> None:
    with listening(big_or_hello, deadline=0.2) as address, clients(address, 1, say) as [client]:
        received(client)


def test_when_all_places_are_taken_the_oldest_client_has_to_go() -> None:
    with listening(hello) as address, clients(address, MAX_CONNECTIONS) as opened:
        assert get(address).endswith(b"hello\n")
        assert opened[0].recv(1) == b""


@pytest.mark.parametrize("say", STUCK.values(), ids=STUCK)
def test_close_ends_the_threads_of_stuck_clients(say: bytes) -> None:
    listener, address = started(big_or_hello)
    with clients(address, 20, say):
        get(address)  # accepted in order, so the others are in by now
        listener.close()
        for thread in [thread for thread in threading.enumerate() if thread.name.startswith("stuck")]:
            thread.join(PATIENCE)
            assert not thread.is_alive()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, PATIENCE)
        listener.close()  # closing twice does no harm


HANG = """
import socket, threading
from daemon.web.listener import Listener
from tests.fakes.crew import a_crew
from tests.fakes.crew import a_crew

asked, forever = threading.Event(), threading.Event()

def hang(request):
    asked.set()
    forever.wait()

sock = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(sock.getsockname())
client.sendall(b"GET / HTTP/1.1\\r\\nHost: test\\r\\n\\r\\n")
listener = Listener(sock, hang, name="hanging", crew=a_crew())
listener.start()
asked.wait()
listener.close()
"""


def test_neither_close_nor_the_end_of_the_process_waits_for_an_answer_that_hangs() -> None:
    subprocess.run([sys.executable, "-c", HANG], timeout=PATIENCE, check=True)


class SocketThatCannotBeServed(socket.socket):
    """As one of a process that has no descriptor left."""

    def dup(self) -> NoReturn:
        """Fail."""
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def test_a_server_whose_thread_cannot_live_does_not_start_and_says_so() -> None:
    with SocketThatCannotBeServed() as sock:
        sock.bind(("127.0.0.1", 0))
        crew = a_crew()
        with pytest.raises(ShipkeeperError, match="the thread web does not come to life"):
            Listener(sock, hello, name="web", crew=crew).start()
        assert crew.lost == "web"


@contextmanager
def all_answers_busy() -> Iterator[tuple[tuple[str, int], list[socket.socket], threading.Semaphore, threading.Event]]:
    """Let as many clients as have a turn wait for `release`; `asked` counts who comes to have one."""
    asked, release = threading.Semaphore(0), threading.Event()

    def hang(request: Request) -> Response:
        asked.release()
        release.wait(PATIENCE)
        return hello(request)

    with listening(hang) as address, clients(address, MAX_ANSWERS, GET) as busy:
        for _ in busy:
            assert asked.acquire(timeout=PATIENCE)
        yield address, busy, asked, release


def test_one_answer_too_many_waits_for_its_turn() -> None:
    with all_answers_busy() as (address, busy, asked, release), clients(address, 1, GET) as [waiting]:
        assert not asked.acquire(blocking=False)
        release.set()
        assert {status(received(client)) for client in [*busy, waiting]} == {200}


def test_who_is_cut_while_waiting_takes_no_turn_along() -> None:
    with all_answers_busy() as (address, _, _, release):
        with clients(address, MAX_ANSWERS, GET) as waiting, clients(address, MAX_CONNECTIONS):
            for client in waiting:
                assert received(client) == b""  # among the oldest, which have to go
        release.set()
        assert get(address).endswith(b"hello\n")


def test_without_a_thread_for_the_answer_it_is_a_500_and_no_turn_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    real = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name.endswith("-answer"):
            raise RuntimeError("can't start new thread")
        real(thread)

    with listening(hello) as address:
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", start)
            assert {status(get(address)) for _ in range(MAX_ANSWERS)} == {500}
        assert get(address).endswith(b"hello\n")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a certificate and its key in one file."""
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-keyout", str(path), "-out", f"{path}.crt"],
        check=True,
        capture_output=True,
    )  # fmt: skip
    path.write_text(path.read_text() + path.with_name(f"{path.name}.crt").read_text())
    return path


@pytest.mark.parametrize(
    "say",
    [b"", b"\x16\x03\x01\x02\x00\x01\x00", GET, bytes(range(256))],
    ids=["silent", "half a hello", "plain HTTP", "noise"],
)
def test_a_tls_handshake_that_leads_nowhere_does_not_block_others(certificate: Path, say: bytes) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    trusting = ssl.create_default_context(cafile=str(certificate))
    with (
        listening(hello, tls=lambda: context) as address,
        clients(address, 20, say),
        socket.create_connection(address, PATIENCE) as raw,
        trusting.wrap_socket(raw, server_hostname="localhost") as client,
    ):
        client.sendall(GET)
        assert received(client).endswith(b"hello\n")


def post(address: tuple[str, int], body: bytes) -> bytes:
    head = f"POST /x%20y?a=1 HTTP/1.1\r\nHost: test\r\nContent-Length: {len(body)}\r\n\r\n"
    return talk(address, head.encode() + body)


@pytest.mark.parametrize("body", [b"h", b"hello", bytes(1 << 20)], ids=len)
def test_a_body_is_refused_where_none_is_taken(body: bytes) -> None:
    with listening(echo) as address:
        assert refused(post(address, body))


def test_a_chunked_body_is_refused_where_none_is_taken() -> None:
    request = b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    with listening(echo) as address:
        assert refused(talk(address, request))


def test_a_body_within_the_limit_is_handed_on() -> None:
    with listening(echo, body_limit=5) as address:
        assert post(address, b"hello").endswith(b"POST /x y {'a': '1'} b'hello'")
        assert refused(post(address, b"hello!"))


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/2\r\nHost: test\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: -1\r\n\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: test\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: test\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: test\r\nX: " + b"y" * 1_000_000 + b"\r\n\r\n",
    ],
    ids=["TLS", "no version", "HTTP/2", "negative length", "long target", "many headers", "long header"],
)
def test_what_is_no_decent_request_is_refused(request_bytes: bytes) -> None:
    with listening(hello) as address:
        assert refused(talk(address, request_bytes))


@settings(max_examples=50, deadline=None)
@given(content=st.binary(max_size=300), head=st.sampled_from([b"", b"GET / HTTP/1.1\r\nHost: test\r\n"]))
def test_whatever_a_client_sends_the_next_one_is_served(shared: tuple[str, int], content: bytes, head: bytes) -> None:
    with socket.create_connection(shared, PATIENCE) as client:
        client.sendall(head + content)
    assert get(shared).endswith(b"hello\n")


def test_an_answer_that_fails_is_a_500_and_the_next_one_is_served(caplog: pytest.LogCaptureFixture) -> None:
    def fail(request: Request) -> Response:
        if request.path == "/bad":
            raise LookupError("secret detail")
        return hello(request)

    with listening(fail) as address:
        answer = get(address, "/bad")
        assert status(answer) == 500
        assert b"secret detail" not in answer
        assert get(address).endswith(b"hello\n")
    assert "'/bad' failed" in caplog.text


def test_the_peer_of_a_unix_socket_is_known(tmp_path: Path) -> None:
    seen: list[Request] = []

    def note(request: Request) -> Response:
        seen.append(request)
        return hello(request)

    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(tmp_path / "control.sock"))
    listener = Listener(sock, note, name="control", crew=a_crew())
    listener.start()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "control.sock"))
        client.sendall(GET)
        assert client.recv(65536)
    listener.close()
    [request] = seen
    assert request.peer is not None
    assert (request.peer.pid, request.peer.uid, request.peer.gid) == (os.getpid(), os.getuid(), os.getgid())


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[str, int]]:
    """Serve one listener for all examples of a property."""
    with listening(hello) as address:
        yield address


class Site:
    """A web server with every page, whose words a test can change."""

    def __init__(self) -> None:
        self.waiting_for = ""
        self.overview = Overview(host="gpu-host-2", version="0.1.0", mode="observe", engine="up, 28.5.1")
        self.exposition = Exposition([NamedCollector("many", self.families)], CollectorRegistry(), FakeClock())
        self.server = WebServer(
            "127.0.0.1:0",
            {
                "/": LandingPage(lambda: self.overview),
                "/metrics": MetricsPage(self.exposition),
                "/-/healthy": healthy_page,
                "/-/ready": ReadyPage(lambda: self.waiting_for),
            },
            Access(None, FakeClock()),
            a_crew(),
        )

    def families(self) -> list[Family]:
        """Give enough to be worth compressing."""
        return [Family("many", "gauge", "Many.", [(f'{{n="{number}"}}', number) for number in range(100)])]

    def ask(self, path: str, method: str = "GET", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
        """Give the response and its body."""
        connection = http.client.HTTPConnection(self.server.address, timeout=PATIENCE)
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return response, body


@pytest.fixture
def site() -> Iterator[Site]:
    """Serve a site for one test."""
    site = Site()
    site.server.start()
    yield site
    site.server.close()


def test_the_metrics_page_is_the_exposition(site: Site) -> None:
    response, body = site.ask("/metrics")
    assert response.status == 200
    assert response.getheader("Content-Type") == CONTENT_TYPE
    assert body == site.exposition.document()


@pytest.mark.parametrize(
    ("offer", "packed"),
    [("gzip", True), ("deflate, GZIP;q=0.5", True), ("identity", False), ("gzip;q=0", False), ("", False)],
)
def test_metrics_are_gzipped_for_who_asks(site: Site, offer: str, packed: bool) -> None:  # noqa: FBT001  a parameter
    response, body = site.ask("/metrics", Accept_Encoding=offer)
    assert (response.getheader("Content-Encoding") == "gzip") == packed
    assert (gzip.decompress(body) if packed else body) == site.exposition.document()


def test_head_gives_the_length_without_the_body(site: Site) -> None:
    response, body = site.ask("/metrics", "HEAD")
    assert body == b""
    assert int(response.getheader("Content-Length") or 0) == len(site.exposition.document())


def test_only_get_and_head_are_served(site: Site) -> None:
    response, _ = site.ask("/metrics", "DELETE")
    assert response.status == 405
    assert response.getheader("Allow") == "GET, HEAD"


def test_an_unknown_page_is_404(site: Site) -> None:
    assert site.ask("/nothing")[0].status == 404


def test_it_is_ready_once_there_is_nothing_to_wait_for(site: Site) -> None:
    site.waiting_for = "the first inventory is not complete"
    response, body = site.ask("/-/ready")
    assert (response.status, body) == (503, b"Not ready: the first inventory is not complete\n")
    site.waiting_for = ""
    assert site.ask("/-/ready")[0].status == 200
    assert site.ask("/-/healthy")[0].status == 200


def test_the_landing_page_escapes_what_it_is_told(site: Site) -> None:
    site.overview = Overview(host="<script>alert(1)</script>", version="0.1.0", mode="observe", engine='"&')
    response, body = site.ask("/")
    assert b"<script>" not in body
    assert b"&lt;script&gt;" in body
    assert b"&quot;&amp;" in body
    assert "default-src 'none'" in (response.getheader("Content-Security-Policy") or "")


def test_fifty_scrapes_at_once_are_all_answered_and_no_more_than_the_limit_run() -> None:
    running: set[int] = set()
    most: list[int] = []
    begun, release = threading.Semaphore(0), threading.Event()

    def counted() -> list[Family]:
        running.add(threading.get_ident())
        most.append(len(running))
        begun.release()
        release.wait(PATIENCE)
        running.discard(threading.get_ident())
        return []

    page = MetricsPage(Exposition([NamedCollector("counted", counted)], CollectorRegistry(), FakeClock()), 2)
    with listening(page) as address, clients(address, 50, GET) as opened:
        assert begun.acquire(timeout=PATIENCE)
        assert begun.acquire(timeout=PATIENCE)
        release.set()
        answers = [received(client) for client in opened]
    assert {status(answer) for answer in answers} <= {200, 503}
    assert sum(status(answer) == 200 for answer in answers) >= 2
    assert all(b"Retry-After: 1" in answer for answer in answers if status(answer) == 503)
    assert max(most) == 2


PROMETHEUS_ACCEPTS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=1.0.0;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.1"
)


@pytest.mark.parametrize("accepted", [PROMETHEUS_ACCEPTS, "application/json", "*/*", "nonsense;;q"])
def test_whatever_a_scraper_prefers_the_format_is_0_0_4(site: Site, accepted: str) -> None:
    response, _ = site.ask("/metrics", Accept=accepted)
    assert (response.status, response.getheader("Content-Type")) == (200, CONTENT_TYPE)


def test_one_scrape_too_many_is_503_and_room_comes_back() -> None:
    started, release = threading.Event(), threading.Event()

    def slow() -> list[Family]:
        started.set()
        release.wait(PATIENCE)
        return []

    page = MetricsPage(Exposition([NamedCollector("slow", slow)], CollectorRegistry(), FakeClock()), max_scrapes=1)
    with listening(page) as address, clients(address, 1, GET) as [first]:
        assert started.wait(PATIENCE)
        assert status(get(address)) == 503
        release.set()
        assert status(first.recv(65536)) == 200
        assert status(get(address)) == 200


def test_a_taken_port_is_named_with_its_holder_and_its_cure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        own = rf"by pid {os.getpid()} \(.+\)"
        with pytest.raises(
            ShipkeeperError, match=f"cannot listen on {address}: Address already in use {own}"
        ) as caught:
            WebServer(address, {}, Access(None, FakeClock()), a_crew()).start()
    assert "[web] listen" in str(caught.value)
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("listen", ["192.0.2.1:9817", "no-such-host.invalid:9817", "[2001:db8::1]:9817"])
def test_an_address_that_this_host_does_not_have_is_named_with_its_cure(listen: str) -> None:
    with pytest.raises(ShipkeeperError, match="this host has no such address") as caught:
        WebServer(listen, {}, Access(None, FakeClock()), a_crew()).start()
    assert str(caught.value).startswith(f"cannot listen on {listen}: ")
    assert caught.value.exit_code == 1


def test_the_holder_of_a_free_port_is_nobody_and_that_of_a_strangers_port_unknown(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "net").mkdir()
        (tmp_path / "net" / "tcp").write_text(Path("/proc/net/tcp").read_text())
        (tmp_path / "4711").mkdir()
        assert holder(port, tmp_path) == ""
    assert holder(port) == ""


def test_ipv6_is_served() -> None:
    server = WebServer("[::1]:0", {"/": hello}, Access(None, FakeClock()), a_crew())
    server.start()
    assert server.address.startswith("[::1]:")
    server.close()
