"""The whole daemon at a GPU driver that hangs, crashes or is exchanged: everything else goes on, and it comes back."""

from __future__ import annotations

import os
import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from daemon.clock import SystemClock
from tests.integration.daemon_under_test import DaemonUnderTest
from tests.lab.nvml import UNKNOWN, FakeGpu, FakeNvml
from tests.lab.scripted_engine import ScriptedContainer, ScriptedEngine
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.lab.slack import FakeSlack

CONFIG = '[gpu]\ninterval = "1s"\n'
GOLDEN = Path(__file__).parent.parent / "golden" / "gpus-2-of-a-driver.txt"
UP, DOWN = (f'shipkeeper_collector_up{{collector="gpu"}} {value}\n' for value in (1, 0))
OF_GPUS = re.compile(r"(?m)^(?:# \w+ )?(?:shipkeeper_gpu_|DCGM_).*\n")
SERIES = re.compile(r"(?m)^shipkeeper_gpu_memory_used_bytes\{.*\} (\S+)$")
PATIENCE = 60.0


@dataclass(frozen=True)
class Host:
    """A scripted engine, with a fake driver as part of what its daemon is started with."""

    engine: ScriptedEngine
    web: ScriptedContainer
    nvml: FakeNvml

    @property
    def socket(self) -> Path:
        """Where the engine listens."""
        return self.engine.socket

    @property
    def bond(self) -> Mapping[str, str]:
        """Where the driver's library is."""
        return self.nvml.environment

    def crash_web(self) -> None:
        """Let the container end badly now."""
        self.engine.now = SystemClock().now()
        self.web.state, self.web.exit_code, self.web.finished_at = "exited", 7, self.engine.now
        self.engine.emit("die", self.web.id, name="web", image="bb:latest", exitCode="7")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with ScriptedEngine(tmp_path / "docker.sock") as engine:
        web = engine.add("web")
        yield Host(engine, web, FakeNvml(tmp_path / "driver", FakeGpu(), FakeGpu()))


@pytest.fixture
def keeper(host: Host, tmp_path: Path, slack: FakeSlack) -> Iterator[DaemonUnderTest]:
    with DaemonUnderTest(tmp_path, host, slack, CONFIG) as keeper:
        wait_until(lambda: shown(keeper) == 2, "both GPUs", PATIENCE)
        yield keeper


def shown(keeper: DaemonUnderTest) -> int:
    """Give how many GPUs a scrape shows; that it is answered at all is part of every test here."""
    page = keeper.metrics()
    assert page, "the scrape was not answered"
    assert (UP in page) is (DOWN not in page)
    return len(SERIES.findall(page)) if UP in page else -len(SERIES.findall(page)) - 1


def withdrawn(keeper: DaemonUnderTest) -> bool:
    """Tell whether nothing of GPUs is shown, and the collector says that this is not how things are."""
    page = keeper.metrics()
    assert page, "the scrape was not answered"
    return DOWN in page and not OF_GPUS.findall(page)


def assert_golden(keeper: DaemonUnderTest, driver: str = "580.65.06") -> None:
    """Compare all that a scrape tells of GPUs with the golden page; only the driver's version may be another."""
    shown_now = "".join(OF_GPUS.findall(keeper.metrics())).replace(driver, "VERSION")
    if os.environ.get("GOLDEN") == "write":
        GOLDEN.write_text(shown_now)
    assert shown_now == GOLDEN.read_text()


def reader_of(keeper: DaemonUnderTest) -> int:
    """Give the PID of the NVML reader."""
    for line in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = line.read_text().rpartition(")")[2].split()
            if int(fields[1]) == keeper.pid and b"collectors.nvml" in line.with_name("cmdline").read_bytes():
                return int(line.parent.name)
        except OSError:
            continue
    return 0


def test_a_driver_that_hangs_costs_its_series_and_nothing_else(host: Host, keeper: DaemonUnderTest) -> None:
    assert_golden(keeper)
    host.nvml.delays["nvmlDeviceGetMemoryInfo_v2", 1] = 600_000
    host.nvml.write()
    wait_until(lambda: withdrawn(keeper), "the withdrawal of the GPUs", PATIENCE)
    host.crash_web()
    keeper.wait_for("container-crashed", timeout=PATIENCE)
    assert withdrawn(keeper)
    host.nvml.delays.clear()
    host.nvml.write()
    wait_until(lambda: shown(keeper) == 2, "both GPUs again", 90)
    assert_golden(keeper)


@pytest.mark.slow
def test_in_thirty_seconds_of_a_hanging_call_every_scrape_is_answered_without_gpus(
    host: Host, keeper: DaemonUnderTest
) -> None:
    began = time.monotonic()
    host.nvml.delays["nvmlDeviceGetMemoryInfo_v2", 1] = 600_000
    host.nvml.write()
    wait_until(lambda: withdrawn(keeper), "the withdrawal of the GPUs", PATIENCE)

    def endured() -> bool:
        assert withdrawn(keeper)
        return time.monotonic() - began > 30

    wait_until(endured, "the 30 s", PATIENCE)
    host.nvml.delays.clear()
    host.nvml.write()
    wait_until(lambda: shown(keeper) == 2, "both GPUs again", 90)
    assert_golden(keeper)


def test_an_exchanged_driver_comes_back_by_itself(host: Host, keeper: DaemonUnderTest) -> None:
    first = reader_of(keeper)
    host.nvml.upgrade("590.10")
    wait_until(lambda: reader_of(keeper) not in {0, first}, "another reader", PATIENCE)
    wait_until(lambda: shown(keeper) == 2 and 'driver="590.10"' in keeper.metrics(), "both GPUs again", PATIENCE)
    assert_golden(keeper, "590.10")


def test_a_driver_that_crashes_who_asks_it_does_not_crash_the_daemon(host: Host, keeper: DaemonUnderTest) -> None:
    host.nvml.crashing.add("nvmlDeviceGetPowerUsage")
    host.nvml.write()
    wait_until(lambda: withdrawn(keeper), "the withdrawal of the GPUs", PATIENCE)
    host.nvml.crashing.clear()
    host.nvml.write()
    wait_until(lambda: shown(keeper) == 2, "both GPUs again", PATIENCE)
    assert_golden(keeper)


def test_a_reader_that_is_killed_takes_its_series_along_and_a_fresh_one_brings_them_back(
    host: Host, keeper: DaemonUnderTest
) -> None:
    host.nvml.failing["nvmlInitWithFlags", None] = UNKNOWN  # so that no fresh one succeeds before we looked
    host.nvml.write()
    os.kill(reader_of(keeper), signal.SIGKILL)
    wait_until(lambda: withdrawn(keeper), "the withdrawal of the GPUs", PATIENCE)
    assert "ended by signal 9" in keeper.log.read_text()
    host.nvml.failing.clear()
    host.nvml.write()
    wait_until(lambda: shown(keeper) == 2, "both GPUs again", PATIENCE)
    assert_golden(keeper)


def test_an_xid_error_is_still_counted_after_a_restart(host: Host, keeper: DaemonUnderTest) -> None:
    counted = re.compile(r'(?m)^shipkeeper_gpu_xid_errors_total\{gpu="1",.*xid="48"\} 1$')
    host.nvml.xid(1, 48)
    wait_until(lambda: counted.search(keeper.metrics()), "the error", PATIENCE)
    keeper.kill()
    keeper.start()
    wait_until(lambda: shown(keeper) == 2, "both GPUs", PATIENCE)
    assert counted.search(keeper.metrics())


def test_a_daemon_that_is_killed_leaves_no_reader(keeper: DaemonUnderTest) -> None:
    reader = reader_of(keeper)
    assert reader
    keeper.kill()
    wait_until(lambda: not Path(f"/proc/{reader}").exists(), "the end of the reader", PATIENCE)


def test_a_daemon_that_ends_leaves_no_reader(keeper: DaemonUnderTest) -> None:
    reader = reader_of(keeper)
    assert reader
    assert keeper.stop() == 0
    assert not Path(f"/proc/{reader}").exists()
