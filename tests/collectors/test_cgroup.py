from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors import cgroup_files as files
from collectors.cgroup import CgroupReader
from collectors.cgroup_files import Flow
from collectors.reading import Reading
from tests.fakes.cgroup_tree import V1, V2, CgroupTree, a_container

if TYPE_CHECKING:
    from collections.abc import Iterator

WEB = a_container()


@pytest.fixture
def tree(tmp_path: Path) -> CgroupTree:
    return CgroupTree(tmp_path)


def test_a_v2_cgroup_of_the_systemd_driver_is_read_in_full(tree: CgroupTree) -> None:
    tree.add_v2(f"system.slice/docker-{WEB.id}.scope")
    tree.add_process(WEB.pid)
    assert tree.reader.read(WEB) == Reading(
        cpu_seconds=12.5,
        cpu_user_seconds=9.0,
        cpu_system_seconds=3.5,
        cpu_periods=400,
        cpu_throttled_periods=12,
        cpu_throttled_seconds=0.75,
        memory_bytes=100 << 20,
        memory_working_set_bytes=80 << 20,
        memory_rss_bytes=60 << 20,
        memory_cache_bytes=30 << 20,
        memory_limit_bytes=512 << 20,
        oom_kills=1,
        pids=7,
        pids_limit=None,
        block_io={"sda": Flow(4096, 8192), "259:3": Flow(1, 2)},
        network={"eth0": Flow(1048576, 524288)},
    )


def test_a_v1_cgroup_gives_the_same_figures(tree: CgroupTree) -> None:
    tree.add_v1(f"docker/{WEB.id}")
    tree.add_process(WEB.pid)
    assert tree.reader.read(WEB) == Reading(
        cpu_seconds=12.5,
        cpu_user_seconds=900 / os.sysconf("SC_CLK_TCK"),
        cpu_system_seconds=350 / os.sysconf("SC_CLK_TCK"),
        cpu_periods=400,
        cpu_throttled_periods=12,
        cpu_throttled_seconds=0.75,
        memory_bytes=100 << 20,
        memory_working_set_bytes=80 << 20,
        memory_rss_bytes=60 << 20,
        memory_cache_bytes=30 << 20,
        memory_limit_bytes=512 << 20,
        oom_kills=1,
        pids=7,
        pids_limit=100,
        block_io={"sda": Flow(4096, 8192)},
        network={"eth0": Flow(1048576, 524288)},
    )


@pytest.mark.parametrize(
    ("parent", "path"),
    [
        ("", "docker/{id}"),
        ("", "system.slice/docker-{id}.scope"),
        ("batch.slice", "batch.slice/docker-{id}.scope"),
        ("shop-web-blue.slice", "shop.slice/shop-web.slice/shop-web-blue.slice/docker-{id}.scope"),
        ("/jobs/night", "jobs/night/{id}"),
    ],
)
def test_a_cgroup_is_found_where_either_driver_puts_it(tree: CgroupTree, parent: str, path: str) -> None:
    container = a_container(cgroup_parent=parent)
    tree.add_v2(path.format(id=container.id))
    assert tree.reader.oom_kills(container) == 1


@pytest.mark.parametrize(
    "told",
    [
        "0::/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{id}.scope",
        "0::/../../user.slice/user-1000.slice/user@1000.service/user.slice/docker-{id}.scope",
        "0::/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{id}.scope/init.scope",
    ],
)
def test_else_it_is_found_where_its_process_says(tree: CgroupTree, told: str) -> None:
    tree.add_v2(f"user.slice/user-1000.slice/user@1000.service/user.slice/docker-{WEB.id}.scope")
    tree.add_process(WEB.pid, told.format(id=WEB.id) + "\n")
    assert tree.reader.oom_kills(WEB) == 1


def test_a_process_of_another_container_says_nothing(tree: CgroupTree) -> None:
    tree.add_v2("elsewhere")
    tree.add_process(WEB.pid, f"0::/docker/{a_container(2).id}\n")
    assert tree.reader.read(WEB) is None


def test_a_cgroup_parent_cannot_lead_out_of_the_tree(tree: CgroupTree) -> None:
    container = a_container(cgroup_parent="../../outside")
    tree.add_v2("inside")
    (tree.cgroups / "../outside" / container.id).mkdir(parents=True)
    assert tree.reader.read(container) is None


@pytest.mark.parametrize("unlimited", [b"max\n", b"9223372036854771712\n"])
def test_no_limit_is_none(unlimited: bytes) -> None:
    assert files.limit(unlimited) is None


def test_without_a_cpu_quota_nothing_is_said_of_throttling(tree: CgroupTree) -> None:
    directory = tree.add_v2(f"docker/{WEB.id}")
    (directory / "cpu.stat").write_text("usage_usec 5\nnr_periods 0\nnr_throttled 0\nthrottled_usec 0\n")
    reading = tree.reader.read(WEB)
    assert reading is not None
    assert (reading.cpu_periods, reading.cpu_throttled_periods, reading.cpu_throttled_seconds) == (None, None, None)


@pytest.mark.parametrize("missing", V2)
def test_a_missing_file_costs_its_own_figures_only(tree: CgroupTree, missing: str) -> None:
    (tree.add_v2(f"docker/{WEB.id}") / missing).unlink()
    reading = tree.reader.read(WEB)
    assert reading is not None
    assert (reading.cpu_seconds is None) == (missing == "cpu.stat")
    assert (reading.memory_bytes is None) == (missing == "memory.current")
    assert (reading.pids is None) == (missing == "pids.current")
    assert (reading.oom_kills is None) == (missing == "memory.events")


@given(name=st.sampled_from(sorted(V2)), content=st.binary(max_size=200))
def test_garbage_in_a_file_is_never_an_error(
    tmp_path_factory: pytest.TempPathFactory, name: str, content: bytes
) -> None:
    tree = CgroupTree(tmp_path_factory.mktemp("garbage"))
    (tree.add_v2(f"docker/{WEB.id}") / name).write_bytes(content)
    assert tree.reader.read(WEB) is not None


@given(content=st.binary())
def test_parsers_take_any_bytes(content: bytes) -> None:
    for value in (files.number(content), files.limit(content), files.keyed(content, b"anon")):
        assert value is None or value >= 0
    for flows in (files.io_v1(content), files.io_v2(content), files.interfaces(content)):
        assert all(flow.incoming >= 0 and flow.outgoing >= 0 for flow in flows.values())
    assert all(".." not in path.split("/") for path in files.paths_of(content, WEB.id).values())


@given(
    figures=st.dictionaries(st.from_regex(rb"[a-z_]{1,20}", fullmatch=True), st.integers(0, 2**64 - 1), max_size=20),
    order=st.randoms(use_true_random=False),
)
def test_a_figure_is_found_by_its_key_wherever_it_stands(figures: dict[bytes, int], order: object) -> None:
    lines = [b"%s %d\n" % (key, value) for key, value in figures.items()]
    order.shuffle(lines)  # type: ignore[attr-defined]  # hypothesis types its Random loosely
    text = b"".join(lines)
    assert {key: files.keyed(text, key) for key in figures} == figures
    assert files.keyed(text, b"not there") is None


def test_a_vanished_cgroup_is_none_and_found_again_when_it_comes_back(tree: CgroupTree) -> None:
    directory = tree.add_v2(f"docker/{WEB.id}")
    assert tree.reader.read(WEB)
    shutil.rmtree(directory)
    assert tree.reader.read(WEB) is None
    tree.add_v2(f"system.slice/docker-{WEB.id}.scope")
    assert tree.reader.read(WEB)


@pytest.mark.parametrize("mode", ["host", "container:0123456789ab"])
def test_a_shared_network_namespace_has_no_traffic_of_its_own(tree: CgroupTree, mode: str) -> None:
    container = a_container(network_mode=mode)
    tree.add_v2(f"docker/{container.id}")
    tree.add_process(container.pid)
    reading = tree.reader.read(container)
    assert reading is not None
    assert reading.network == {}


def test_a_file_longer_than_a_page_is_read_to_its_end(tree: CgroupTree) -> None:
    directory = tree.add_v2(f"docker/{WEB.id}")
    (directory / "memory.stat").write_text("x" * 70_000 + "\n" + V2["memory.stat"])
    reading = tree.reader.read(WEB)
    assert reading is not None
    assert reading.memory_rss_bytes == 60 << 20


def test_forgotten_containers_are_looked_for_anew(tree: CgroupTree) -> None:
    directory = tree.add_v2(f"docker/{WEB.id}")
    assert tree.reader.oom_kills(WEB) == 1
    tree.reader.retain(set())
    shutil.rmtree(directory)
    assert tree.reader.oom_kills(WEB) is None


def test_every_fixture_of_v1_is_used(tree: CgroupTree) -> None:
    root = tree.add_v1(f"docker/{WEB.id}")
    whole = tree.reader.read(WEB)
    for name in V1:
        controller, file = name.split("/")
        path = root / controller / "docker" / WEB.id / file
        text = path.read_text()
        path.unlink()
        assert tree.reader.read(WEB) != whole, name
        path.write_text(text)


ROOT = Path("/sys/fs/cgroup")


@pytest.fixture
def real_cgroup() -> Iterator[str]:
    """Make a cgroup as a container has it, with one process in it, and give its parent."""
    unified = (ROOT / "cgroup.controllers").exists()
    places = [ROOT] if unified else [ROOT / name for name in ("cpu", "cpuacct", "memory", "pids", "blkio")]
    parent = f"shipkeeper-test-{os.getpid()}"
    for place in places:
        (place / parent / WEB.id).mkdir(parents=True)
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        for place in places:
            (place / parent / WEB.id / "cgroup.procs").write_text(f"{process.pid}\n")
        yield parent
    finally:
        process.kill()
        process.communicate()
        for place in places:
            (place / parent / WEB.id).rmdir()
            (place / parent).rmdir()


def test_a_real_cgroup_of_this_kernel_is_read(real_cgroup: str) -> None:
    reading = CgroupReader().read(a_container(cgroup_parent=real_cgroup))
    assert reading is not None
    assert reading.cpu_seconds is not None
    if not (ROOT / "cgroup.controllers").exists():  # under v2 the parent may not delegate every controller
        assert reading.memory_bytes is not None
        assert reading.pids == 1
        assert reading.oom_kills == 0
