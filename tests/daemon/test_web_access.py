"""TLS and passwords of the web server, by the web-config file."""

from __future__ import annotations

import base64
import http.client
import logging
import shutil
import ssl
import subprocess
import sys
import threading
from contextlib import contextmanager
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING

import bcrypt
import pytest

from daemon.errors import ConfigError
from daemon.web.access import Access
from daemon.web.basic_auth import BasicAuth
from daemon.web.certificate import ends_at
from daemon.web.exchange import Request, Response
from daemon.web.server import WebServer
from tests.fakes.clock import FakeClock
from tests.fakes.crew import a_crew
from tests.lab.certificates import self_signed, signed_by

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab.certificates import Pair

PATIENCE = 10.0
CHEAP = 4
HASH = bcrypt.hashpw(b"sesame", bcrypt.gensalt(CHEAP)).decode()
USERS = f"basic_auth_users:\n  alice: {HASH}\n"


def hello(_: Request) -> Response:
    return Response(HTTPStatus.OK, b"hello\n")


def tls_for(pair: Pair, *more: str) -> str:
    lines = [f"cert_file: {pair.certificate.name}", f"key_file: {pair.key.name}", *more]
    return "tls_server_config:\n" + "".join(f"  {line}\n" for line in lines)


class Site:
    """A web server with one page, behind a web-config file that the test writes."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "web.yml"
        self.clock = FakeClock()
        self.access = Access(self.file, self.clock)
        self.server = WebServer("127.0.0.1:0", {"/": hello, "/-/healthy": hello}, self.access, a_crew())

    @contextmanager
    def serving(self, text: str) -> Iterator[None]:
        """Serve with such a file."""
        self.write(text)
        self.server.start()
        try:
            yield
        finally:
            self.server.close()

    def write(self, text: str) -> None:
        """Put another file there."""
        self.file.write_text(text)

    def ask(self, credentials: str = "", path: str = "/") -> http.client.HTTPResponse:
        """Ask without TLS."""
        return asked(http.client.HTTPConnection(self.server.address, timeout=PATIENCE), credentials, path)

    def ask_safely(self, trusted: Path, client: Pair | None = None, credentials: str = "") -> http.client.HTTPResponse:
        """Ask over TLS."""
        context = ssl.create_default_context(cafile=str(trusted))
        if client:
            context.load_cert_chain(client.certificate, client.key)
        connection = http.client.HTTPSConnection(self.server.address, timeout=PATIENCE, context=context)
        return asked(connection, credentials, "/")


def asked(connection: http.client.HTTPConnection, credentials: str, path: str) -> http.client.HTTPResponse:
    headers = {"Authorization": f"Basic {base64.b64encode(credentials.encode()).decode()}"} if credentials else {}
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        response.read()
        return response
    finally:
        connection.close()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Give a site that does not serve yet."""
    return Site(tmp_path)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Make the certificate of a server."""
    return self_signed(tmp_path_factory.mktemp("server"))


def beside(site: Site, pair: Pair) -> Pair:
    """Copy a certificate and its key to where the web-config file is."""
    for file in (pair.certificate, pair.key):
        shutil.copy(file, site.file.parent)
    return pair


# Passwords


@pytest.mark.parametrize("path", ["/", "/-/healthy", "/nothing"])
def test_without_a_password_nothing_is_shown(site: Site, path: str) -> None:
    with site.serving(USERS):
        response = site.ask(path=path)
    assert response.status == 401
    assert response.getheader("WWW-Authenticate") == "Basic"


def test_the_right_password_opens_the_page_again_and_again(site: Site) -> None:
    with site.serving(USERS):
        assert [site.ask("alice:sesame").status for _ in range(3)] == [200, 200, 200]


@pytest.mark.parametrize("credentials", ["alice:wrong", "bob:sesame", "alice:", "alice", ":", "alice:ses\0ame"])
def test_anything_else_is_refused_and_counted(site: Site, credentials: str) -> None:
    with site.serving(USERS):
        assert site.ask(credentials).status == 401
        assert site.access.stats.rejected == 1


@pytest.mark.parametrize("header", ["", "Basic", "Basic !!!", "Bearer abc", "Basic /////w==", "Basic YQ=="])
def test_a_header_that_is_none_admits_nobody(header: str) -> None:
    assert not BasicAuth({"alice": HASH}).admits(header)


def test_a_password_is_as_long_as_bcrypt_looks() -> None:
    auth = BasicAuth({"alice": bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(CHEAP)).decode()})
    assert auth.admits("Basic " + base64.b64encode(b"alice:" + b"x" * 200).decode())


def test_a_flood_of_wrong_passwords_leaves_a_known_one_its_place() -> None:
    slow = bcrypt.hashpw(b"sesame", bcrypt.gensalt(12)).decode()  # some tenths of a second
    auth = BasicAuth({"alice": slow})
    right = "Basic " + base64.b64encode(b"alice:sesame").decode()
    assert auth.admits(right)
    busy, over = threading.Event(), threading.Event()

    def guess() -> None:
        wrong = "Basic " + base64.b64encode(b"alice:guess").decode()
        while not over.is_set():
            admitted = auth.admits(wrong)
            assert not admitted
            if admitted is None:
                busy.set()

    guessers = [threading.Thread(target=guess) for _ in range(8)]
    for guesser in guessers:
        guesser.start()
    assert busy.wait(PATIENCE)
    assert auth.admits(right)
    over.set()
    for guesser in guessers:
        guesser.join(PATIENCE)


# TLS


def test_the_page_is_served_over_tls(site: Site, server: Pair) -> None:
    with site.serving(tls_for(beside(site, server)) + USERS):
        assert site.server.url.startswith("https://127.0.0.1:")
        assert site.ask_safely(server.certificate, credentials="alice:sesame").status == 200
        assert site.ask_safely(server.certificate).status == 401


def test_a_client_certificate_is_demanded_where_the_file_says_so(
    site: Site, server: Pair, tmp_path_factory: pytest.TempPathFactory
) -> None:
    clients = tmp_path_factory.mktemp("clients")
    authority, stranger = self_signed(clients, "authority"), self_signed(clients, "stranger")
    prometheus = signed_by(authority, clients, "prometheus")
    shutil.copy(authority.certificate, site.file.parent)
    demand = ("client_auth_type: RequireAndVerifyClientCert", "client_ca_file: authority.crt")
    with site.serving(tls_for(beside(site, server), *demand)):
        assert site.ask_safely(server.certificate, prometheus).status == 200
        for client in (None, stranger):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                site.ask_safely(server.certificate, client)


def test_the_versions_and_suites_of_the_file_are_kept(site: Site, server: Pair) -> None:
    wanted = ("max_version: TLS12", "cipher_suites: [TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256]")
    site.write(tls_for(beside(site, server), *wanted))
    site.access.open()
    context = site.access.tls()
    assert context is not None
    assert (context.minimum_version, context.maximum_version) == (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2)
    offered = [suite["name"] for suite in context.get_ciphers() if suite["protocol"] != "TLSv1.3"]
    assert offered == ["ECDHE-ECDSA-CHACHA20-POLY1305"]


def test_the_headers_of_the_file_go_with_every_response(site: Site) -> None:
    headers = "http_server_config:\n  http2: true\n  headers:\n    X-Frame-Options: deny\n"
    with site.serving(headers + USERS):
        assert site.ask().getheader("X-Frame-Options") == "deny"
        assert site.ask("alice:sesame").getheader("X-Frame-Options") == "deny"


def test_a_header_may_be_written_on_several_lines(site: Site) -> None:
    policy = "    Content-Security-Policy: |\n      default-src 'none';\n      frame-ancestors 'none'\n"
    with site.serving(f"http_server_config:\n  headers:\n{policy}"):
        assert site.ask().getheader("Content-Security-Policy") == "default-src 'none'; frame-ancestors 'none'"


# Changes


def test_a_new_certificate_is_served_without_a_restart(
    site: Site, server: Pair, tmp_path_factory: pytest.TempPathFactory
) -> None:
    newer = self_signed(tmp_path_factory.mktemp("newer"))
    with site.serving(tls_for(beside(site, server))):
        assert site.ask_safely(server.certificate).status == 200
        beside(site, newer)
        assert site.ask_safely(newer.certificate).status == 200


def test_a_bad_change_leaves_the_old_file_in_force_and_is_said_once(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    with site.serving(USERS):
        assert site.access.stats.successful is True
        site.write("basic_auth_users:\n  alice: sesame\n")
        assert [site.ask("alice:sesame").status for _ in range(2)] == [200, 200]
        assert site.access.stats.successful is False
        said = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
        assert said[0] == "the changed web configuration is bad, the old one stays in force"
        assert "alice" in "".join(said)
        assert len([line for line in said if "stays in force" in line]) == 1
        assert "sesame" not in caplog.text
        site.write(USERS.replace("alice", "bob"))
        assert (site.ask("alice:sesame").status, site.ask("bob:sesame").status) == (401, 200)
        assert site.access.stats.successful is True


def test_a_certificate_whose_key_comes_later_is_taken_when_both_are_there(
    site: Site, server: Pair, tmp_path_factory: pytest.TempPathFactory
) -> None:
    newer = self_signed(tmp_path_factory.mktemp("newer"))
    with site.serving(tls_for(beside(site, server))):
        shutil.copy(newer.certificate, site.file.parent)
        assert site.ask_safely(server.certificate).status == 200
        shutil.copy(newer.key, site.file.parent)
        assert site.ask_safely(newer.certificate).status == 200


def test_another_file_is_adopted_and_a_bad_one_is_not(site: Site) -> None:
    with site.serving(USERS):
        other = site.file.with_name("other.yml")
        other.write_text(USERS.replace("alice", "bob"))
        site.server.adopt(other)
        assert site.ask("bob:sesame").status == 200
        site.server.adopt(site.file.with_name("nowhere.yml"))
        assert site.ask("bob:sesame").status == 200
        site.server.adopt(None)
        assert site.ask().status == 200


def test_an_expired_certificate_is_said_once(site: Site, server: Pair, caplog: pytest.LogCaptureFixture) -> None:
    end = ends_at(server.certificate.read_text())
    site.clock.step(end - timedelta(hours=1) - site.clock.now())
    site.write(tls_for(beside(site, server)))
    site.access.open()
    assert site.access.stats.certificate_ends_at == end
    assert "expired" not in caplog.text
    site.clock.step(timedelta(hours=2))
    for _ in range(3):
        assert site.access.tls() is not None
    assert caplog.text.count("the certificate of the web server expired at") == 1


# Mistakes


def complaint(site: Site, text: str) -> str:
    site.write(text)
    with pytest.raises(ConfigError) as caught:
        site.access.open()
    assert caught.value.exit_code == 78
    return str(caught.value)


@pytest.mark.parametrize(
    "word",
    ["sesame", HASH[:-1], HASH.replace("$2b$04", "$2b$31"), HASH.replace("$2b", "$1")],
    ids=["no hash", "too short", "too dear", "another kind"],
)
def test_a_password_that_is_no_bcrypt_hash_names_its_user(site: Site, word: str) -> None:
    said = complaint(site, f"basic_auth_users:\n  alice: {HASH}\n  bob: {word}\n")
    assert "[basic_auth_users.bob]" in said
    assert "alice" not in said
    assert word not in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tls_server_config:\n  cert_file: a\n", "[tls_server_config.key_file]"),
        ("tls_server_config:\n  cert_file: a\n  key_file: b\n  min_version: TLS10\n", 'needs "TLS12" or "TLS13"'),
        ("tls_server_config:\n  cert_file: a\n  key_file: b\n  cipher_suites: [RC4]\n", "is not served here; known"),
        (
            "tls_server_config:\n  cert_file: a\n  key_file: b\n  client_auth_type: RequireAndVerifyClientCert\n",
            "RequireAndVerifyClientCert needs client_ca_file",
        ),
        (
            "tls_server_config:\n  cert_file: a\n  key_file: b\n  client_auth_type: RequireAnyClientCert\n",
            "nobody vouches for",
        ),
        ("tls_server_config:\n  cert_file: a\n  key_file: b\n  client_ca_file: c\n", "needs client_auth_type"),
        ("tls_server_config:\n  cert_file: a\n  key_file: b\n  key: c\n", "put it into a file"),
        ("tls_server_config:\n  cert_file: nowhere.crt\n  key_file: nowhere.key\n", "nowhere.crt: No such file"),
        ("rate_limit:\n  interval: 1s\n", "rate_limit"),
        ("http_server_config:\n  headers:\n    X-Other: a\n", "X-Other = …  "),
        ('http_server_config:\n  headers:\n    X-XSS-Protection: "1\\u0001"\n', "no header can hold"),
        ("basic_auth_user:\n  alice: x\n", "no such table"),
        ("- alice\n", "has no keys"),
        ("basic_auth_users: {alice: [\n", "is not YAML: line 2"),
    ],
)
def test_a_mistake_is_named(site: Site, text: str, words: str) -> None:
    assert words in complaint(site, text)


def test_a_key_that_belongs_to_another_certificate_is_named(
    site: Site, server: Pair, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stranger = self_signed(tmp_path_factory.mktemp("stranger"), "stranger")
    beside(site, server), beside(site, stranger)
    said = complaint(site, "tls_server_config:\n  cert_file: server.crt\n  key_file: stranger.key\n")
    assert "server.crt with the key" in said
    assert "key values mismatch" in said


def test_a_file_that_is_no_certificate_is_named(site: Site, server: Pair) -> None:
    beside(site, server)
    (site.file.parent / "server.crt").write_text("hello")
    assert "cannot use the certificate" in complaint(site, tls_for(server))


def test_a_missing_file_is_named(site: Site) -> None:
    with pytest.raises(ConfigError, match=r"cannot read the web configuration .*No such file"):
        site.access.open()


@pytest.mark.parametrize("text", ["", "tls_server_config:\nbasic_auth_users:\n"])
def test_an_empty_file_asks_for_nothing(site: Site, text: str) -> None:
    with site.serving(text):
        assert site.ask().status == 200


@pytest.mark.parametrize("text", ["", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_has_no_end(text: str) -> None:
    with pytest.raises(ValueError, match="holds "):
        ends_at(text)


@pytest.mark.parametrize(
    "program", [["daemon.app"], ["daemon.cli", "check-config"]], ids=["the daemon", "check-config"]
)
def test_a_bad_file_at_the_start_ends_with_78_and_names_the_user(tmp_path: Path, program: list[str]) -> None:
    web, config = tmp_path / "web.yml", tmp_path / "shipkeeper.toml"
    web.write_text("basic_auth_users:\n  bob: sesame\n")
    config.write_text(
        f'[web]\nlisten = "127.0.0.1:0"\nconfig_file = "{web}"\n[docker]\nhost = "unix://{tmp_path}/none.sock"\n'
        f'[state]\ndir = "{tmp_path}/state"\n[control]\nsocket = "{tmp_path}/control.sock"\n'
    )
    command = [sys.executable, "-m", program[0], *program[1:], "--config", str(config)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 78
    assert "[basic_auth_users.bob]" in ended.stderr
    assert "sesame" not in ended.stderr + ended.stdout
