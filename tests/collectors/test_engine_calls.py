from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from collectors.engine_api import Endpoint, EngineApi
from collectors.engine_calls import EngineCalls, endpoint_of
from collectors.engine_errors import EngineError
from collectors.families import render
from tests.lab.scripted_engine import ScriptedEngine

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        ("/_ping", "ping"),
        ("/version", "version"),
        ("/v1.51/containers/json", "container_list"),
        ("/v1.41/containers/0123abcd/json", "container_inspect"),
        ("/v1.41/containers/0123abcd/logs", "container_logs"),
        ("/v1.51/images/json", "image_list"),
        ("/v1.51/images/sha256:0123/json", "image_inspect"),
        ("/v1.51/images/registry:5000/a/b/json", "image_inspect"),
        ("/v1.51/system/df", "df"),
        ("/v1.51/containers/0123abcd", "container_remove"),
        ("/v1.51/containers/0123abcd/changes", "container_changes"),
        ("/v1.51/images/registry:5000/team/app:1", "image_remove"),
        ("/v1.51/networks", "network_list"),
        ("/v1.51/networks/0123abcd", "network"),
        ("/v1.51/volumes", "volume_list"),
        ("/v1.51/volumes/data", "volume_remove"),
        ("/v1.51/build/prune", "build_prune"),
        ("/v1.51/images/sha256:0123", "image_remove"),
        ("/v1.51/events", "events"),
        ("/v1.51/anything/else", "other"),
        ("/containers/a/b/c", "other"),
        ("", "other"),
    ],
)
def test_a_path_is_one_of_few_endpoints(path: str, endpoint: str) -> None:
    assert endpoint_of(path) == endpoint


def lines(calls: EngineCalls) -> list[str]:
    return [line for line in render(calls.families()).decode().splitlines() if not line.startswith("#")]


def test_what_was_asked_is_counted_by_how_long_it_took() -> None:
    moments = iter((0.0, 0.005, 1.0, 1.3, 2.0, 99.0))
    calls = EngineCalls(lambda: next(moments))
    for _ in range(3):
        with calls.timed("/_ping"):
            pass
    shown = lines(calls)
    name = "shipkeeper_docker_api_duration_seconds"
    counts = [line.rpartition(" ")[2] for line in shown if "_bucket" in line]
    assert counts == ["1", "1", "1", "2", "2", "2", "2", "2", "3"]
    assert f'{name}_bucket{{endpoint="ping",le="+Inf"}} 3' in shown
    assert f'{name}_count{{endpoint="ping"}} 3' in shown
    assert any(line.startswith(f'{name}_sum{{endpoint="ping"}} 97.3') for line in shown)


def test_failures_are_counted_by_what_went_wrong(tmp_path: Path) -> None:
    calls = EngineCalls()
    with ScriptedEngine(tmp_path / "docker.sock") as engine:
        engine.statuses = {"/containers/json": 500, "/images/json": 403}
        api = EngineApi.connect(Endpoint(host=engine.host), timedelta(seconds=5), calls)
        for ask in (api.containers, api.images):
            with pytest.raises(EngineError):
                ask()
        assert api.container("0" * 64) is None  # an answer like others
        api.close()
        engine.stop()
        with pytest.raises(EngineError):
            EngineApi.connect(Endpoint(host=engine.host), timedelta(seconds=5), calls)
    assert [line for line in lines(calls) if "errors" in line] == [
        'shipkeeper_docker_api_errors_total{endpoint="container_list",kind="status"} 1',
        'shipkeeper_docker_api_errors_total{endpoint="image_list",kind="forbidden"} 1',
        'shipkeeper_docker_api_errors_total{endpoint="version",kind="stopped"} 1',
    ]
    assert 'shipkeeper_docker_api_duration_seconds_count{endpoint="version"} 2' in lines(calls)
