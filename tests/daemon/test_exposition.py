from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.parser import text_string_to_metric_families

from collectors.containers import ContainerCollector
from collectors.disk import filesystem_families
from collectors.engine_families import engine_families
from collectors.facts import Engine, EngineState, Filesystem
from collectors.families import Family
from daemon.web.exposition import Exposition, NamedCollector, process_registry
from tests.fakes.cgroup_tree import CgroupTree
from tests.fakes.clock import NOW, FakeClock
from tests.fakes.fleet import mixed_fleet

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).parent.parent
DOCS = TESTS.parent / "docs" / "metrics.md"
GOLDEN = {"v1": TESTS / "golden" / "metrics-cgroup-v1.txt", "v2": TESTS / "golden" / "metrics-cgroup-v2.txt"}

ENGINE = Engine(state=EngineState.UP, since=NOW, version="28.5.1", api_version="1.51", storage_driver="overlayfs")
ROOT = Filesystem(
    mountpoint="/",
    device=2049,
    roles=("data-root", "os-root"),
    size_bytes=100 << 30,
    used_bytes=60 << 30,
    available_bytes=35 << 30,
    inodes=6553600,
    inodes_free=6000000,
)


@pytest.fixture(params=["v1", "v2"])
def version(request: pytest.FixtureRequest) -> str:
    """Name a cgroup version."""
    return str(request.param)


@pytest.fixture
def page(tmp_path: Path, version: str) -> bytes:
    """Give the whole page of a host with every sort of container, without the figures of this process."""
    tree, fleet = CgroupTree(tmp_path), mixed_fleet()
    for container in fleet[:2]:
        if version == "v1":
            tree.add_v1(f"docker/{container.id}")
        else:
            tree.add_v2(f"system.slice/docker-{container.id}.scope")
        tree.add_process(container.pid)
    collectors = [
        NamedCollector("containers", ContainerCollector(tree.reader, lambda: fleet).collect),
        NamedCollector("filesystems", lambda: filesystem_families([ROOT], {"state": "it does not answer"})),
        NamedCollector("engine", lambda: engine_families(ENGINE)),
    ]
    return Exposition(collectors, CollectorRegistry(), FakeClock()).document()


def test_the_page_is_the_golden_one(page: bytes, version: str) -> None:
    assert page.decode() == GOLDEN[version].read_text()


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed (package prometheus)")
def test_promtool_has_nothing_to_say(page: bytes) -> None:
    checked = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


def test_every_metric_has_its_row_in_the_documentation_and_the_other_way_round() -> None:
    emitted = {
        tuple(line.split()[2:4])
        for golden in GOLDEN.values()
        for line in golden.read_text().splitlines()
        if line.startswith("# TYPE ")
    }
    documented = set(re.findall(r"^\| `(shipkeeper_\w+)` \| (\w+) \|", DOCS.read_text(), flags=re.MULTILINE))
    assert documented == emitted


def names(document: bytes) -> dict[str, float]:
    return {
        sample.name + str(sample.labels): sample.value
        for family in text_string_to_metric_families(document.decode())
        for sample in family.samples
    }


def one(name: str) -> Iterator[Family]:
    yield Family(name, "gauge", "One.", [("", 1)])


def broken() -> Iterator[Family]:
    yield Family("half", "gauge", "Never seen.", [("", 1)])
    raise OSError("the disk is gone")


def test_a_failing_collector_costs_its_own_series_only(caplog: pytest.LogCaptureFixture) -> None:
    collectors = [NamedCollector("broken", broken), NamedCollector("good", lambda: one("good"))]
    found = names(Exposition(collectors, CollectorRegistry(), FakeClock()).document())
    assert found["good{}"] == 1
    assert "half{}" not in found
    assert found["shipkeeper_collector_up{'collector': 'broken'}"] == 0
    assert found["shipkeeper_collector_up{'collector': 'good'}"] == 1
    assert "the disk is gone" in caplog.text


def test_a_collector_that_takes_anothers_name_is_left_out() -> None:
    collectors = [NamedCollector("first", lambda: one("same")), NamedCollector("second", lambda: one("same"))]
    document = Exposition(collectors, CollectorRegistry(), FakeClock()).document()
    assert document.count(b"# TYPE same ") == 1
    assert names(document)["shipkeeper_collector_up{'collector': 'second'}"] == 0


def test_figures_of_our_own_process_are_there_without_created_series() -> None:
    registry = process_registry()
    Counter("shipkeeper_tries_total", "Tries.", registry=registry).inc()
    found = names(Exposition([], registry, FakeClock()).document())
    assert found["shipkeeper_tries_total{}"] == 1
    assert found["process_cpu_seconds_total{}"] > 0
    assert not [name for name in found if "_created" in name]
