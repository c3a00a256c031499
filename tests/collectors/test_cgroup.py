from __future__ import annotations

import os
import shutil
import subprocess
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors import cgroup_files as files
from collectors.cgroup import LIMITS_EVERY, CgroupReader
from collectors.cgroup_files import BlockIo, Pressure, Traffic
from collectors.reading import Limits, MemoryMarks, Reading
from tests.fakes.cgroup_tree import V1, V2, CgroupTree, a_container

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collectors.facts import Container

WEB = a_container()
ETH0 = Traffic(1048576, 1000, 0, 0, 524288, 800, 0, 0)
LIMITS = Limits(
    memory_bytes=512 << 20,
    memory_reservation_bytes=256 << 20,
    memory_swap_bytes=0,
    cpu_quota_us=50_000,
    cpu_period_us=100_000,
    cpu_shares=2597,
)
MARKS = MemoryMarks(peak_bytes=200 << 20, limit_hits=7, oom_kills=1)


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
        cpu_pressure=Pressure(2.5, 1.25),
        memory_bytes=100 << 20,
        memory_working_set_bytes=80 << 20,
        memory_rss_bytes=60 << 20,
        memory_cache_bytes=30 << 20,
        memory_mapped_bytes=8 << 20,
        memory_swap_bytes=4096,
        memory_pressure=Pressure(0.75, 0.5),
        pids=7,
        block_io={"sda": BlockIo(4096, 8192, 1, 2), "259:3": BlockIo(1, 2, 1, 1)},
        io_pressure=Pressure(0.125, 0.0625),
        network={"eth0": ETH0},
        limits=replace(LIMITS, pids=0),
    )
    assert tree.reader.marks(WEB) == MARKS


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
        memory_mapped_bytes=8 << 20,
        memory_swap_bytes=4096,
        pids=7,
        block_io={"sda": BlockIo(4096, 8192, 1, 2)},
        network={"eth0": ETH0},
        limits=replace(LIMITS, pids=100, cpu_shares=1024),
    )
    assert tree.reader.marks(WEB) == MARKS


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
def test_no_limit_is_zero(unlimited: bytes) -> None:
    assert files.limit(unlimited) == 0


def test_a_limit_that_cannot_be_read_is_none() -> None:
    assert files.limit(None) is None
    assert files.limit(b"-1\n") is None


def test_limits_are_read_again_after_an_update_and_at_every_twentieth_reading(tree: CgroupTree) -> None:
    limit = tree.add_v2(f"docker/{WEB.id}") / "memory.max"

    def told(container: Container) -> int | None:
        reading = tree.reader.read(container)
        assert reading is not None
        return reading.limits.memory_bytes

    assert told(WEB) == 512 << 20
    limit.write_text("1024\n")
    assert told(replace(WEB)) == 1024
    limit.write_text("2048\n")
    assert 2048 in [told(WEB) for _ in range(LIMITS_EVERY + 1)]


def test_a_counter_that_goes_backwards_is_told_as_it_is(tree: CgroupTree) -> None:
    usage = tree.add_v2(f"docker/{WEB.id}") / "cpu.stat"
    assert tree.reader.read(WEB)
    usage.write_text("usage_usec 5\n")
    reading = tree.reader.read(WEB)
    assert reading is not None
    assert reading.cpu_seconds == 5e-6


def test_a_container_with_ten_thousand_processes_is_read_without_looking_at_each(tree: CgroupTree) -> None:
    group = tree.add_v2(f"docker/{WEB.id}")
    (group / "pids.current").write_text("10000\n")
    for name in ("cgroup.procs", "cgroup.threads"):
        os.mkfifo(group / name)  # whoever opens it waits for ever
    reading = tree.reader.read(WEB)
    assert reading is not None
    assert reading.pids == 10_000


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
    assert (tree.reader.oom_kills(WEB) is None) == (missing == "memory.events")


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
    for found in (files.io_v1(content, content), files.io_v2(content), files.interfaces(content)):
        assert all(count is None or count >= 0 for counts in found.values() for count in counts)
    assert all(seconds is None or seconds >= 0 for seconds in files.pressure(content))
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


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_working_set_alone_is_that_of_a_whole_reading(tree: CgroupTree, version: str) -> None:
    path = f"docker/{WEB.id}"
    place = tree.add_v2(path) if version == "v2" else tree.add_v1(path) / "memory" / path
    reading = tree.reader.read(WEB)
    assert reading
    assert tree.reader.working_set(WEB) == reading.memory_working_set_bytes == 80 << 20
    (place / "memory.stat").unlink()
    assert tree.reader.working_set(WEB) is None
    assert tree.reader.path(WEB) == path


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_cgroup_that_vanished_from_the_working_sets_is_looked_for_anew(tree: CgroupTree, version: str) -> None:
    add = tree.add_v2 if version == "v2" else tree.add_v1
    path = f"docker/{WEB.id}"
    add(path)
    assert tree.reader.working_set(WEB)
    for place in (tree.cgroups, *(tree.cgroups / controller for controller in ("memory", "cpu", "cpuacct"))):
        shutil.rmtree(place / path, ignore_errors=True)
    assert tree.reader.working_set(WEB) is None
    add(f"system.slice/docker-{WEB.id}.scope")
    assert tree.reader.working_set(WEB)


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


def everything(tree: CgroupTree) -> tuple[Reading | None, MemoryMarks | None]:
    """Read all files, as a daemon does that has just started."""
    reader = CgroupReader(tree.cgroups, tree.proc, tree.devices)
    return reader.read(WEB), reader.marks(WEB)


def test_every_fixture_of_v1_is_used(tree: CgroupTree) -> None:
    root = tree.add_v1(f"docker/{WEB.id}")
    whole = everything(tree)
    for name in V1:
        controller, file = name.split("/")
        path = root / controller / "docker" / WEB.id / file
        text = path.read_text()
        path.unlink()
        assert everything(tree) != whole, name
        path.write_text(text)


ROOT = Path("/sys/fs/cgroup")


def real_places() -> list[Path]:
    """Give the roots that a container has a cgroup below."""
    unified = (ROOT / "cgroup.controllers").exists()
    return [ROOT] if unified else [ROOT / name for name in ("cpu", "cpuacct", "memory", "pids", "blkio")]


@pytest.fixture
def real_cgroup() -> Iterator[str]:
    """Make a cgroup as a container has it, with one process in it, and give its parent."""
    places = real_places()
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
    reader, container = CgroupReader(), a_container(cgroup_parent=real_cgroup)
    reading = reader.read(container)
    assert reading is not None
    assert reading.cpu_seconds is not None
    if not (ROOT / "cgroup.controllers").exists():  # under v2 the parent may not delegate every controller
        marks = reader.marks(container)
        assert marks is not None
        assert marks.peak_bytes is not None
        assert marks.limit_hits == 0
        assert reading.limits.memory_bytes == 0
        assert reading.limits.cpu_shares == 1024
        assert reading.memory_bytes is not None
        assert reading.pids == 1
        assert reader.oom_kills(container) == 0


def test_a_real_cgroup_that_comes_and_goes_while_it_is_read_is_no_error(real_cgroup: str) -> None:
    fleeting = a_container(2, cgroup_parent=real_cgroup)
    folders = [place / real_cgroup / fleeting.id for place in real_places()]

    def come_and_go() -> None:
        for _ in range(100):
            for act in (Path.mkdir, Path.rmdir):
                for folder in folders:
                    act(folder)

    reader, churn = CgroupReader(), threading.Thread(target=come_and_go)
    churn.start()
    seen = set()
    while churn.is_alive():
        seen.add(reader.read(fleeting) is None)
    churn.join()
    assert True in seen
    assert reader.read(fleeting) is None


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_largest_process_of_a_container_is_found(tree: CgroupTree, version: str) -> None:
    path = f"docker/{WEB.id}"
    place = tree.add_v2(path) if version == "v2" else tree.add_v1(path) / "memory" / path
    (place / "cgroup.procs").write_text("11\n12\n13\n14\n")
    for pid, status in {
        11: "Name:\tsh\nVmRSS:\t    900 kB\n",
        12: "Name:\tpython\nVmRSS:\t   1024 kB\n",
        13: "Name:\tkthread\n",
    }.items():
        (tree.proc / str(pid)).mkdir()
        (tree.proc / str(pid) / "status").write_text(status)
    assert tree.reader.largest_process(WEB) == ("python", 1 << 20)


def test_of_a_container_without_a_cgroup_nobody_is_largest(tree: CgroupTree) -> None:
    assert tree.reader.largest_process(WEB) is None
