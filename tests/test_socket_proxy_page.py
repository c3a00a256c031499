"""The page about socket proxies: it names what is asked of Docker, all of it and nothing else."""

from __future__ import annotations

import inspect
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from collectors.engine_api import EngineApi
from collectors.engine_calls import EngineCalls
from collectors.engine_http import Endpoint
from collectors.facts import DiskKind, ObjectRef, SubjectKind
from collectors.storage_facts import BuildPrune
from daemon.docker_writer import DockerWriter
from tests.fakes.clock import NOW, FakeClock
from tests.lab.scripted_engine import ScriptedEngine
from tests.proofs import REPOSITORY
from tests.socket_proxy import rules

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RULES = rules()
ENOUGH = timedelta(seconds=5)
ID = "a" * 64
IMAGE_ID = f"sha256:{ID}"
NOT_ASKING = {"connect", "another", "close", "usage_by_kind"}
"""What of the reader is public and asks nothing of its own; `connect` is the greeting that comes first."""
READS: dict[str, Callable[[EngineApi], Any]] = {
    "ping": lambda api: api.ping(),
    "engine": lambda api: api.engine(NOW),
    "whole_info": lambda api: api.whole_info(),
    "forbidden_features": lambda api: api.forbidden_features(),
    "containers": lambda api: api.containers(),
    "container": lambda api: api.container(ID),
    "whole_inspect": lambda api: api.whole_inspect("web"),
    "changes": lambda api: api.changes(ID, 1),
    "container_size": lambda api: api.container_size(ID),
    "stats": lambda api: api.stats(a_container(api)),
    "images": lambda api: api.images(),
    "image": lambda api: api.image(IMAGE_ID, api.images()[0]),
    "networks": lambda api: api.networks(),
    "network": lambda api: api.network(ID),
    "volumes": lambda api: api.volumes(),
    "disk_usage": lambda api: api.disk_usage([DiskKind.IMAGES], ENOUGH, NOW),
    "log_tail": lambda api: api.log_tail(ID, 1, 100, None),
    "events": lambda api: api.events("1.000000000").close(),
}
REMOVED = (
    ObjectRef(SubjectKind.CONTAINER, ID, "web"),
    ObjectRef(SubjectKind.IMAGE, IMAGE_ID, "old"),
    ObjectRef(SubjectKind.NETWORK, ID, "net"),
    ObjectRef(SubjectKind.VOLUME, "data_1.x", "data_1.x"),
    BuildPrune(unused_for=timedelta(days=7), floor_bytes=1).ref,
)


def a_container(api: EngineApi) -> Any:
    """Give the one container."""
    return api.container(api.containers()[0].id)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> set[tuple[str, str]]:
    """Give every request that reader and writer can send, by method and path without its version."""
    socket: Path = tmp_path_factory.mktemp("engine") / "docker.sock"
    with ScriptedEngine(socket) as engine:
        engine.add("web")
        engine.images = [{"Id": IMAGE_ID, "RepoTags": ["a/b:c"], "Size": 1, "Created": 1_700_000_000}]
        endpoint = Endpoint(host=engine.host)
        api = EngineApi.connect(endpoint, ENOUGH)
        for read in READS.values():
            read(api)
        api.close()
        writer = DockerWriter(endpoint, EngineCalls(), FakeClock(), lambda: None, lambda: False)
        for ref in REMOVED:
            writer.remove(ref, "1.51")
        writer.untag("registry.example.org:5000/a/b:c", "1.51")
        return set(engine.requests)


def test_every_call_of_the_reader_was_made() -> None:
    public = {name for name, _ in inspect.getmembers(EngineApi) if not name.startswith("_")}
    assert set(READS) == public - NOT_ASKING


def test_whatever_is_asked_stands_in_one_row(asked: set[tuple[str, str]]) -> None:
    for method, path in asked:
        assert len([rule for rule in RULES if rule.allows(method, path)]) == 1, (method, path)


def test_whatever_stands_in_a_row_is_asked(asked: set[tuple[str, str]]) -> None:
    assert [rule.feature for rule in RULES if not any(rule.allows(*one) for one in asked)] == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"/containers/{ID}/archive"),
        ("GET", f"/containers/{ID}/export"),
        ("GET", f"/containers/{ID}/attach/ws"),
        ("GET", f"/containers/{ID}/top/json"),
        ("GET", "/images/get"),
        ("GET", "/secrets"),
        ("GET", "/swarm/unlockkey"),
        ("POST", "/containers/create"),
        ("POST", f"/containers/{ID}/exec"),
        ("POST", f"/containers/{ID}/kill"),
        ("POST", "/containers/prune"),
        ("POST", "/images/prune"),
        ("POST", "/volumes/prune"),
        ("POST", "/build"),
        ("DELETE", "/containers/web"),
        ("DELETE", f"/containers/{ID}/checkpoints/one"),
        ("HEAD", f"/containers/{ID}/archive"),
    ],
)
def test_no_row_opens_more(method: str, path: str) -> None:
    assert not any(rule.allows(method, path) for rule in RULES)


def test_the_line_for_a_proxy_is_the_table_of_observe(asked: set[tuple[str, str]]) -> None:
    page = (REPOSITORY / "docs" / "socket-proxy.md").read_text()
    [line] = re.findall(r"(?m)^-allowGET=(.*)$", page)
    for method, path in asked:
        if method == "GET":
            sent = path if path in {"/_ping", "/version"} else f"/v1.51{path}"
            assert re.fullmatch(line, sent), sent
    for other in ("archive", "export", "attach/ws"):
        assert not re.fullmatch(line, f"/v1.51/containers/{ID}/{other}")
