from __future__ import annotations

import base64
import socket
import ssl
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from daemon.alerts.http_call import Credentials, HttpCall
from daemon.alerts.sink import Rejected, Retry, Sent, SinkDown
from tests.lab import certificates
from tests.lab.receiver import Answer, Receiver

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from daemon.alerts.sink import Outcome

KEY = "[webhook] url"
PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what would lead elsewhere than to this machine."""
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        yield server


def post(url: str, credentials: Credentials | None = None) -> Outcome:
    return HttpCall(KEY, SecretStr(url), credentials).post({"text": "one"})


def why(outcome: Outcome) -> str:
    assert not isinstance(outcome, Sent)
    return outcome.why


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_document_goes_out_as_json_and_a_get_has_no_body(receiver: Receiver) -> None:
    assert post(f"{receiver.url}/hook?a=b") == Sent()
    assert HttpCall(KEY, SecretStr(f"{receiver.url}/ping")).get() == Sent()
    posted, asked = receiver.requests
    assert (posted.method, posted.path, posted.document) == ("POST", "/hook?a=b", {"text": "one"})
    assert posted.headers["Content-Type"] == "application/json"
    assert (asked.method, asked.path, asked.body) == ("GET", "/ping", b"")


def test_it_is_let_in_by_a_bearer_token_or_by_basic_auth(receiver: Receiver) -> None:
    post(receiver.url)
    post(receiver.url, Credentials(bearer_token=SecretStr("t0ken")))
    post(receiver.url, Credentials(username="keeper", password=SecretStr("pä:ss")))
    none, bearer, basic = (request.headers.get("Authorization") for request in receiver.requests)
    assert (none, bearer) == (None, "Bearer t0ken")
    assert basic is not None
    assert base64.b64decode(basic.removeprefix("Basic ")).decode() == "keeper:pä:ss"


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_what_may_work_later_is_tried_again(receiver: Receiver, status: int) -> None:
    receiver.answer = Answer(status, b"not <now>\x1b[31m")
    outcome = post(f"{receiver.url}/secret-path")
    assert isinstance(outcome, Retry)
    assert outcome.why == f"{receiver.url} answered HTTP {status} (not <now>\\x1b[31m)"


def test_a_time_that_it_names_is_kept_and_nonsense_is_not(receiver: Receiver) -> None:
    receiver.answer = Answer(429, headers={"Retry-After": "30"})
    assert post(receiver.url) == Retry(f"{receiver.url} answered HTTP 429", timedelta(seconds=30))
    receiver.answer = Answer(503, headers={"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"})
    assert post(receiver.url) == Retry(f"{receiver.url} answered HTTP 503", None)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_is_wrong_with_the_message_itself_is_refused_for_good(receiver: Receiver, status: int) -> None:
    receiver.answer = Answer(status, b"bad field")
    assert isinstance(post(receiver.url), Rejected)


@pytest.mark.parametrize(
    ("status", "cure"),
    [(401, "credentials"), (403, "credentials"), (404, "nothing is there"), (405, "no such request"), (410, "gone")],
)
def test_what_needs_a_person_says_the_cure(receiver: Receiver, status: int, cure: str) -> None:
    receiver.answer = Answer(status)
    outcome = post(receiver.url)
    assert isinstance(outcome, SinkDown)
    assert cure in outcome.why
    assert KEY in outcome.why


def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    receiver.answer = Answer(302, headers={"Location": f"{receiver.url}/elsewhere"})
    outcome = post(receiver.url)
    assert isinstance(outcome, SinkDown)
    assert "has moved" in outcome.why
    assert len(receiver.requests) == 1


def test_whoever_is_not_there_is_tried_again_and_the_reason_is_said_without_the_address() -> None:
    port = unused_port()
    assert post(f"http://127.0.0.1:{port}/secret-path") == Retry(
        f"http://127.0.0.1:{port} cannot be reached: Connection refused"
    )
    unknown = why(post("http://no-such-host.invalid/secret-path"))
    assert unknown == "http://no-such-host.invalid cannot be reached: its name cannot be resolved"


@pytest.mark.parametrize("status", [302, 400, 404, 500])
@pytest.mark.parametrize(
    "credentials",
    [
        Credentials(username="keeper", password=SecretStr("verysecret-password")),
        Credentials(bearer_token=SecretStr("verysecret-token")),
    ],
    ids=["password", "token"],
)
def test_an_answer_that_shows_the_request_gives_no_secret_away(
    receiver: Receiver, status: int, credentials: Credentials
) -> None:
    receiver.answer = Answer(status, echoes=True)
    told = why(post(f"{receiver.url}/hooks/verysecret-path?key=verysecret-key&to=ops", credentials))
    assert "Cannot POST ***" in told
    assert "verysecret" not in told
    [(_, login)] = [header.split() for header in credentials.headers().values()]
    assert login[:12] not in told


def test_an_answer_that_never_comes_is_given_up(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.alerts.http_call.READ_SECONDS", 0.1)
    receiver.answer = Answer(after_seconds=30)
    assert why(post(f"{receiver.url}/secret-path")) == f"{receiver.url} cannot be reached: no answer in time"


def test_a_connection_that_breaks_off_is_tried_again(receiver: Receiver) -> None:
    receiver.answer = Answer(None)
    outcome = post(f"{receiver.url}/secret-path")
    assert isinstance(outcome, Retry)
    assert "secret-path" not in outcome.why


def test_a_certificate_is_checked_against_the_authority_that_the_owner_names(tmp_path: Path) -> None:
    pair = certificates.self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    with Receiver(tls=context) as receiver:
        refused = post(receiver.url)
        assert isinstance(refused, Retry)
        assert "its certificate is not trusted" in refused.why
        assert post(receiver.url, Credentials(ca_cert=pair.certificate)) == Sent()


def test_files_of_tls_that_cannot_be_read_are_for_a_person(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nonsense")
    for file in ("ca.pem", "absent.pem"):
        outcome = post("https://127.0.0.1:1", Credentials(ca_cert=tmp_path / file))
        assert isinstance(outcome, SinkDown)
        assert "the certificates cannot be read" in outcome.why


def test_the_proxy_of_the_environment_is_used_but_not_for_hosts_that_it_excepts(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", receiver.url.replace("//", "//user:secret@"))
    monkeypatch.setenv("no_proxy", "internal.invalid")
    assert post("http://far.invalid/hook") == Sent()
    (request,) = receiver.requests
    assert request.path == "http://far.invalid/hook"
    assert request.headers["Proxy-Authorization"].startswith("Basic ")
    assert "cannot be resolved" in why(post("http://internal.invalid/hook"))
    monkeypatch.setenv("http_proxy", f"127.0.0.1:{unused_port()}")
    assert "the proxy that the environment names" in why(post("http://far.invalid/hook"))
