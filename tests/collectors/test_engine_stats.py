from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.cgroup import CgroupReader
from collectors.cgroup_files import BlockIo, Traffic
from collectors.engine_api import EngineApi
from collectors.engine_errors import EngineProtocolError
from collectors.engine_http import Endpoint
from collectors.engine_stats import reading
from collectors.reading import Limits, Reading
from tests.fakes.cgroup_tree import a_container
from tests.lab.images import IDLE
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collectors.facts import Container
    from tests.lab.engine import PrivateEngine

WEB = a_container(memory_limit_bytes=512 << 20)
READ = "2026-11-23T16:02:00.123456789Z"
SECOND = 1_000_000_000
V2: dict[str, Any] = {
    "read": READ,
    "pids_stats": {"current": 7, "limit": 18446744073709551615},
    "blkio_stats": {
        "io_service_bytes_recursive": [
            {"major": 8, "minor": 0, "op": "read", "value": 4096},
            {"major": 8, "minor": 0, "op": "write", "value": 8192},
        ],
        "io_serviced_recursive": None,
    },
    "cpu_stats": {
        "cpu_usage": {"total_usage": 12 * SECOND, "usage_in_usermode": 9 * SECOND, "usage_in_kernelmode": 3 * SECOND},
        "throttling_data": {"periods": 400, "throttled_periods": 12, "throttled_time": SECOND},
    },
    "memory_stats": {
        "usage": 100 << 20,
        "limit": 16 << 30,
        "stats": {"anon": 60 << 20, "file": 30 << 20, "file_mapped": 8 << 20, "inactive_file": 20 << 20},
    },
    "networks": {
        "eth0": {
            "rx_bytes": 1048576, "rx_packets": 1000, "rx_errors": 1, "rx_dropped": 2,
            "tx_bytes": 524288, "tx_packets": 800, "tx_errors": 3, "tx_dropped": 4,
        }
    },
}  # fmt: skip
V1_MEMORY = {
    "usage": 100 << 20,
    "stats": {
        "rss": 1, "cache": 2, "inactive_file": 3, "total_rss": 60 << 20, "total_cache": 30 << 20,
        "total_mapped_file": 8 << 20, "total_inactive_file": 20 << 20, "total_swap": 4096,
    },
}  # fmt: skip
WHOLE = Reading(
    cpu_seconds=12,
    cpu_user_seconds=9,
    cpu_system_seconds=3,
    cpu_periods=400,
    cpu_throttled_periods=12,
    cpu_throttled_seconds=1,
    memory_bytes=100 << 20,
    memory_working_set_bytes=80 << 20,
    memory_rss_bytes=60 << 20,
    memory_cache_bytes=30 << 20,
    memory_mapped_bytes=8 << 20,
    pids=7,
    block_io={"8:0": BlockIo(4096, 8192)},
    network={"eth0": Traffic(1048576, 1000, 1, 2, 524288, 800, 3, 4)},
    limits=Limits(memory_bytes=512 << 20, pids=0),
)
PLACES = ("cpu_stats", "memory_stats", "pids_stats", "blkio_stats", "networks")
KEYS = st.sampled_from(["stats", "eth0", "current", "usage", "io_service_bytes_recursive"])


def test_the_statistics_of_an_engine_on_cgroup_v2_are_a_reading() -> None:
    assert reading(V2, WEB) == WHOLE


def test_those_of_an_engine_on_cgroup_v1_too() -> None:
    found = reading(V2 | {"memory_stats": V1_MEMORY, "pids_stats": {"current": 7}}, WEB)
    assert found is not None
    assert (found.memory_working_set_bytes, found.memory_rss_bytes) == (80 << 20, 60 << 20)
    assert found.memory_swap_bytes == 4096
    assert found.limits == Limits(memory_bytes=512 << 20)


def test_what_docker_leaves_out_is_not_known() -> None:
    assert reading({"read": READ}, WEB) == Reading(limits=Limits(memory_bytes=512 << 20))


@pytest.mark.parametrize("answer", [{"id": WEB.id, "name": "/web-1"}, V2 | {"read": "0001-01-01T00:00:00Z"}])
def test_a_container_that_does_not_run_has_none(answer: dict[str, Any]) -> None:
    assert reading(answer, WEB) is None


def test_the_traffic_of_another_container_is_not_its_own() -> None:
    found = reading(V2, a_container(network_mode="container:0123456789ab"))
    assert found is not None
    assert found.network == {}


@given(
    place=st.sampled_from(PLACES),
    answer=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3),
        lambda each: st.lists(each, max_size=2) | st.dictionaries(KEYS, each, max_size=3),
        max_leaves=5,
    ),
)
def test_an_answer_of_another_shape_is_an_error_that_names_the_place(place: str, answer: object) -> None:
    try:
        reading(V2 | {place: answer}, WEB)
    except EngineProtocolError as error:
        assert place in str(error)  # noqa: PT017  that it is an error at all depends on the shape


def processes(container: Container) -> int | None:
    read = CgroupReader().read(container)
    return read.pids if read else None


def test_a_real_engine_tells_what_its_cgroup_tells(engine: PrivateEngine) -> None:
    id_ = engine.run(IDLE, name="web", mem_limit=64 << 20)
    with closing(EngineApi.connect(Endpoint(host=engine.docker_host), timedelta(seconds=10))) as api:
        container = api.container(id_)
        assert container is not None
        wait_until(lambda: processes(container) == 2, "the shell and its sleep to be all that is in it")
        told, read = api.stats(container), CgroupReader().read(container)
        engine.api.kill(id_)
        engine.api.wait(id_)
        assert api.stats(container) is None
    assert told is not None
    assert read is not None
    assert (told.pids, told.limits.memory_bytes) == (read.pids, read.limits.memory_bytes)
    assert told.cpu_seconds is not None
    assert read.cpu_seconds is not None
    assert 0 < told.cpu_seconds <= read.cpu_seconds
    assert told.memory_working_set_bytes is not None
    assert 0 < told.memory_working_set_bytes < 64 << 20
    assert told.limits.pids in {None, 0}
