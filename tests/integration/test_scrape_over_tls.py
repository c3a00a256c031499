"""A real Prometheus at the web server with TLS, client certificates and passwords."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import bcrypt

from collectors.families import CONTENT_TYPE
from daemon.web.access import Access
from daemon.web.exchange import Request, Response
from daemon.web.server import WebServer
from tests.fakes.clock import FakeClock
from tests.fakes.crew import a_crew
from tests.lab.certificates import self_signed, signed_by
from tests.lab.prometheus import Prometheus

if TYPE_CHECKING:
    from pathlib import Path

WEB_CONFIG = """\
tls_server_config:
  cert_file: server.crt
  key_file: server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: authority.crt
basic_auth_users:
  prometheus: {hashed}
"""
JOB = """\
  scheme: https
  basic_auth: {{username: prometheus, password: {password}}}
  tls_config:
    ca_file: {folder}/server.crt
    cert_file: {folder}/prometheus.crt
    key_file: {folder}/prometheus.key
"""


def a_page(_: Request) -> Response:
    return Response(HTTPStatus.OK, b"answer 42\n", CONTENT_TYPE)


def test_prometheus_scrapes_with_its_certificate_and_password_and_not_with_another(tmp_path: Path) -> None:
    self_signed(tmp_path)
    signed_by(self_signed(tmp_path, "authority"), tmp_path, "prometheus")
    file = tmp_path / "web.yml"
    file.write_text(WEB_CONFIG.format(hashed=bcrypt.hashpw(b"sesame", bcrypt.gensalt(4)).decode()))
    server = WebServer("127.0.0.1:0", {"/metrics": a_page}, Access(file, FakeClock()), a_crew())
    server.start()
    try:
        for password, up in (("sesame", 1), ("wrong", 0)):
            folder = tmp_path / password
            folder.mkdir()
            job = JOB.format(folder=tmp_path, password=password)
            with Prometheus(folder, server.address, {}, job) as prometheus:
                assert prometheus.wait_for("up")[0].value == up
                assert [series.value for series in prometheus.query("answer")] == [42] * up
    finally:
        server.close()
