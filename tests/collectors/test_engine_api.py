"""What the reader of Docker's API gives, and how it tells the ways to fail apart."""

from __future__ import annotations

import json
import struct
import threading
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import requests

from collectors.engine_api import EngineApi
from collectors.engine_errors import EngineFailure, EngineForbidden, EngineProtocolError, EngineUnavailable, unavailable
from collectors.engine_events import StreamEnd
from collectors.engine_http import Endpoint
from collectors.facts import DiskKind, EngineState, HealthStatus
from tests.fakes.clock import NOW
from tests.lab.scripted_engine import ScriptedEngine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SHORT = timedelta(seconds=0.2)
ENOUGH = timedelta(seconds=5)


@pytest.fixture
def engine(scripted_engine: ScriptedEngine) -> ScriptedEngine:
    return scripted_engine


@pytest.fixture
def api(engine: ScriptedEngine) -> Iterator[EngineApi]:
    connected = EngineApi.connect(Endpoint(host=engine.host), ENOUGH)
    yield connected
    connected.close()


def refused(host: str, timeout: timedelta = ENOUGH) -> EngineUnavailable:
    with pytest.raises(EngineUnavailable) as caught:
        EngineApi.connect(Endpoint(host=host), timeout)
    return caught.value


@pytest.mark.parametrize(("spoken", "asked"), [("1.41", "1.41"), ("1.45", "1.45"), ("1.51", "1.51"), ("1.52", "1.51")])
def test_it_asks_in_the_engines_version_but_none_newer_than_we_know(tmp_path: Path, spoken: str, asked: str) -> None:
    with ScriptedEngine(tmp_path / "docker.sock", spoken) as engine:
        engine.add("web")
        api = EngineApi.connect(Endpoint(host=engine.host), ENOUGH)
        assert (api.api_version, api.podman) == (asked, False)
        assert [summary.name for summary in api.containers()] == ["web"]
        assert api.engine(NOW).api_version == spoken
        api.close()


def test_an_engine_that_is_too_old_is_unsupported(tmp_path: Path) -> None:
    with ScriptedEngine(tmp_path / "docker.sock", "1.40") as engine:
        error = refused(engine.host)
    assert error.state is EngineState.UNSUPPORTED
    assert "too old" in error.why
    assert "20.10" in error.cure


def test_podman_is_recognised(engine: ScriptedEngine) -> None:
    engine.components = [{"Name": "Podman Engine"}]
    api = EngineApi.connect(Endpoint(host=engine.host), ENOUGH)
    assert api.podman
    assert api.engine(NOW).podman
    api.close()


def test_no_socket_means_stopped(tmp_path: Path) -> None:
    error = refused(f"unix://{tmp_path}/none.sock")
    assert error.state is EngineState.STOPPED
    assert f"{tmp_path}/none.sock" in error.why


def test_the_cure_names_systemd_only_for_the_systems_own_socket() -> None:
    assert unavailable(FileNotFoundError(), "unix:///var/run/docker.sock").cure == "sudo systemctl start docker"
    assert "[docker] host" in unavailable(FileNotFoundError(), "unix:///tmp/other.sock").cure


def test_a_socket_that_nobody_listens_on_means_crashed(engine: ScriptedEngine) -> None:
    engine.crash()
    error = refused(engine.host)
    assert error.state is EngineState.CRASHED
    assert "connection refused" in error.why


def test_a_refused_tcp_endpoint_means_crashed() -> None:
    assert refused("tcp://127.0.0.1:1").state is EngineState.CRASHED


def test_no_answer_means_hung(engine: ScriptedEngine) -> None:
    engine.freeze()
    error = refused(engine.host, SHORT)
    assert error.state is EngineState.HUNG


def test_a_full_backlog_means_hung() -> None:
    assert unavailable(BlockingIOError(11, "try again"), "unix:///x").state is EngineState.HUNG


def test_permission_denied_names_the_group() -> None:
    error = unavailable(PermissionError(13, "Permission denied"), "unix:///var/run/docker.sock")
    assert error.state is EngineState.DENIED
    assert "usermod -aG docker" in error.cure


def test_ssh_is_refused_with_the_cure() -> None:
    error = refused("ssh://host")
    assert error.state is EngineState.UNSUPPORTED
    assert "ssh://" in error.why
    assert "TLS" in error.cure


def test_a_missing_tls_file_is_named() -> None:
    with pytest.raises(EngineUnavailable, match=r"/nowhere/ca\.pem cannot be read; correct \[docker\] tls_ca"):
        EngineApi.connect(Endpoint(host="tcp://127.0.0.1:1", tls_ca="/nowhere/ca.pem"), ENOUGH)


def test_an_id_from_outside_leads_to_no_other_path(engine: ScriptedEngine, api: EngineApi) -> None:
    assert api.container("../../info?") is None
    assert engine.count("/containers/..%2F..%2Finfo%3F/json") == 1


def test_what_is_no_engine_is_said_to_be_none(engine: ScriptedEngine) -> None:
    engine.components = [{"Name": 7}]
    with pytest.raises(EngineProtocolError, match=r"version\.Components\[0\]\.Name is a whole number, not a string"):
        EngineApi.connect(Endpoint(host=engine.host), ENOUGH)


def test_403_is_told_by_its_path(engine: ScriptedEngine, api: EngineApi) -> None:
    engine.statuses["/images/*"] = 403
    with pytest.raises(EngineForbidden) as caught:
        api.images()
    assert caught.value.feature == "/v1.51/images/json"


def test_an_error_status_keeps_dockers_words(engine: ScriptedEngine, api: EngineApi) -> None:
    engine.statuses["/containers/json"] = 500
    with pytest.raises(EngineFailure, match="500: scripted 500"):
        api.containers()


def test_of_images_of_which_one_goes_meanwhile_it_asks_again(engine: ScriptedEngine, api: EngineApi) -> None:
    engine.images.append({"Id": "sha256:1", "RepoTags": ["app:1"]})
    engine.disk_usage = {"LayersSize": 7, "Images": []}
    engine.passing |= {"/images/json": [404, 404], "/system/df": [404, 404]}
    assert [image.tags for image in api.images()] == [("app:1",)]
    assert api.disk_usage([DiskKind.IMAGES], ENOUGH, NOW)[DiskKind.IMAGES].size_bytes == 7


def test_of_what_every_engine_has_a_404_is_told_in_dockers_words(engine: ScriptedEngine, api: EngineApi) -> None:
    engine.statuses |= {"/images/json": 404, "/system/df": 404}
    with pytest.raises(EngineFailure, match=r"/images/json with 404: scripted 404$"):
        api.images()
    assert engine.count("/images/json") == 3
    with pytest.raises(EngineFailure, match=r"/system/df with 404: scripted 404$"):
        api.disk_usage([DiskKind.IMAGES], ENOUGH, NOW)


def test_the_probe_finds_what_a_proxy_forbids_with_gets_alone(engine: ScriptedEngine, api: EngineApi) -> None:
    assert api.forbidden_features() == {}
    engine.statuses = {"/images/json": 403, "/containers/*/logs": 403}
    assert set(api.forbidden_features()) == {"images", "logs"}
    assert engine.non_get() == []


def test_a_planted_delete_is_seen_by_the_counter(engine: ScriptedEngine, api: EngineApi) -> None:
    api._transport._adapter.send(requests.Request("DELETE", "http+docker://localhost/v1.51/containers/web").prepare())
    assert engine.non_get() == [("DELETE", "/containers/web")]


def test_ping_answers_quietly_and_fails_by_state(engine: ScriptedEngine, api: EngineApi) -> None:
    api.ping()
    engine.stop()
    with pytest.raises(EngineUnavailable) as caught:
        api.ping()
    assert caught.value.state is EngineState.STOPPED


def test_inspect_gives_the_facts(engine: ScriptedEngine, api: EngineApi) -> None:
    web = engine.add("web", health="unhealthy", labels={"exitCode": "9"})
    container = api.container(web.id)
    assert container is not None
    assert (container.name, container.image, container.exit_code) == ("web", "bb:latest", 0)
    assert container.health is not None
    assert container.health.status is HealthStatus.UNHEALTHY
    assert (container.started_at, container.finished_at) == (web.started_at, None)
    assert container.memory_limit_bytes is None
    assert api.container("f" * 64) is None


def test_the_users_own_docker_settings_are_not_read(
    engine: ScriptedEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".docker").mkdir()
    # docker-py's own client would end in an AttributeError on this file.
    (tmp_path / ".docker" / "config.json").write_text("[]")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    EngineApi.connect(Endpoint(host=engine.host), ENOUGH).close()


def frames(*payloads: bytes) -> bytes:
    return b"".join(struct.pack(">BxxxL", 1 + n % 2, len(part)) + part for n, part in enumerate(payloads))


@pytest.mark.parametrize(
    ("stream", "lines"),
    [
        (frames(b"one\n", b"two\r\n", b"thr", b"ee\n"), ("one", "two", "three")),
        (b"one\r\ntwo\r\n", ("one", "two")),
        (b"", ()),
        (frames(b"\xff\xfebad\n"), ("\ufffd\ufffdbad",)),
        (frames(b"whole\n") + frames(b"cut off")[:-3], ("whole", "cut ")),
    ],
)
def test_the_log_tail_is_read_with_and_without_a_terminal(
    engine: ScriptedEngine, api: EngineApi, stream: bytes, lines: tuple[str, ...]
) -> None:
    web = engine.add("web")
    engine.logs[web.id] = stream
    assert api.log_tail(web.id, 20, 8192, None) == lines


def test_of_a_long_log_the_last_bytes_and_lines_are_kept(engine: ScriptedEngine, api: EngineApi) -> None:
    web = engine.add("web")
    engine.logs[web.id] = frames(*(f"line {n}\n".encode() for n in range(5000)))
    assert api.log_tail(web.id, 3, 8192, NOW) == ("line 4997", "line 4998", "line 4999")
    assert api.log_tail(web.id, 20, 15, NOW) == ("4998", "line 4999")


def test_of_more_than_may_be_read_the_rest_is_left(engine: ScriptedEngine, api: EngineApi) -> None:
    web = engine.add("web")
    engine.logs[web.id] = frames(*(f"{n:065535d}\n".encode() for n in range(9)))
    assert api.log_tail(web.id, 1, 10, None, read_limit=1 << 20) == ("000000008",)
    [last] = api.log_tail(web.id, 1, 10, None, read_limit=100_000)
    assert last != "000000008"


def test_the_whole_inspect_is_had_by_id_and_by_name(engine: ScriptedEngine, api: EngineApi) -> None:
    web = engine.add("web", inspect_extra={"Mounts": [{"Type": "bind"}]})
    for name in (web.id, "web"):
        found = api.whole_inspect(name)
        assert found is not None
        assert (found["Id"], found["Mounts"]) == (web.id, [{"Type": "bind"}])
    assert api.whole_inspect("../web") is None


def test_what_a_container_changed_is_listed_up_to_a_number(engine: ScriptedEngine, api: EngineApi) -> None:
    web = engine.add("web")
    engine.changes[web.id] = [{"Kind": kind, "Path": f"/{kind}"} for kind in (1, 2, 0, 9)]
    assert [(each.kind, each.path) for each in api.changes(web.id, 10)] == [
        ("added", "/1"),
        ("deleted", "/2"),
        ("modified", "/0"),
        ("changed", "/9"),
    ]
    assert len(api.changes(web.id, 2)) == 2
    assert api.changes("c" * 64, 10) == ()
    engine.changes[web.id] = [{"Path": "/" + "x" * 4000, "Kind": 1}] * 3000
    assert 2000 < len(api.changes(web.id, 10_000)) < 2200, "8 MiB are read of it"


@pytest.mark.parametrize("status", [404, 409, 501])
def test_a_log_that_cannot_be_had_is_empty(engine: ScriptedEngine, api: EngineApi, status: int) -> None:
    engine.statuses["*/logs"] = status
    assert api.log_tail("c" * 64, 20, 8192, None) == ()


def test_events_resume_and_end_when_closed_from_another_thread(engine: ScriptedEngine, api: EngineApi) -> None:
    engine.emit("start")
    first_nanos = engine.emit("die", exitCode="7")["timeNano"]
    read: list[str] = []
    with api.events(f"{first_nanos // 10**9}.{first_nanos % 10**9:09d}") as stream:

        def follow() -> None:
            read.extend(event.action for event in stream)

        reader = threading.Thread(target=follow)
        reader.start()
        assert engine.wait_streams(1)
        engine.emit("health_status: unhealthy")
        stream.close()
        reader.join(10)
        assert not reader.is_alive()
        stream.close()
    assert read[0] == "die"
    assert stream.end is StreamEnd.CLOSED


def test_half_an_event_before_the_end_is_counted_and_left_out(engine: ScriptedEngine, api: EngineApi) -> None:
    with api.events("0.000000000") as stream:
        assert engine.wait_streams(1)
        engine.emit("start")
        engine.emit_raw(b'{"Type": "container", "Act')
        engine.cut_streams()
        assert [event.action for event in stream] == ["start"]
    assert (stream.end, stream.unreadable) == (StreamEnd.EOF, 1)


def test_what_is_no_event_is_counted_and_the_rest_read_on(engine: ScriptedEngine, api: EngineApi) -> None:
    with api.events("0.000000000") as stream:
        assert engine.wait_streams(1)
        for junk in (b"junk\n", b"[]\n", b'{"Action": 3}\n', b"\n", b"\xff\xff\n", b'{"timeNano": 1e400}\n'):
            engine.emit_raw(junk)
        engine.emit("die")
        engine.cut_streams()
        assert [event.action for event in stream] == ["die"]
    assert stream.unreadable == 5


def test_events_split_over_chunks_and_joined_in_one_are_told_apart(engine: ScriptedEngine, api: EngineApi) -> None:
    with api.events("0.000000000") as stream:
        assert engine.wait_streams(1)
        line = json.dumps({"Type": "container", "Action": "ümlaut", "timeNano": 5}, ensure_ascii=False).encode() + b"\n"
        for cut in range(1, len(line)):
            engine.emit_raw(line[:cut])
            engine.emit_raw(line[cut:] + line)
        engine.cut_streams()
        assert [event.action for event in stream] == ["ümlaut"] * 2 * (len(line) - 1)


def test_a_refused_event_stream_leaves_nothing_open(engine: ScriptedEngine, api: EngineApi) -> None:
    engine.statuses["/events"] = 403
    with pytest.raises(EngineForbidden):
        api.events("0.000000000")


def test_a_silent_stream_ends_as_quiet(engine: ScriptedEngine, api: EngineApi) -> None:
    engine.emit("start")
    with api.events("0.000000000", SHORT) as stream:
        assert [event.action for event in stream] == ["start"]
    assert stream.end is StreamEnd.QUIET
