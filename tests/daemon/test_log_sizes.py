from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from collectors.facts import SourceName, Unknown
from daemon.decide import decide
from daemon.log_sizes import PATIENCE, LogLane
from daemon.snapshot import Snapshot
from tests.fakes.clock import NOW, FakeClock
from tests.policies.build import container, facts

if TYPE_CHECKING:
    from pathlib import Path

BLOCK = 4096


class Host:
    """Two containers with logs below a data-root."""

    def __init__(self, data_root: Path, clock: FakeClock | None = None) -> None:
        self.data_root = data_root
        self.clock = clock or FakeClock()
        self.containers = [container("api"), container("web")]
        for blocks, each in enumerate(self.containers, start=1):
            folder = data_root / "containers" / each.id
            folder.mkdir(parents=True)
            (folder / "container-cached.log").write_bytes(bytes(blocks * BLOCK))
        self.snapshot: Snapshot | None = None
        self.lane = LogLane(lambda: self.snapshot, self.clock)

    def look(self, *, docker: bool = True, complete: bool = True) -> None:
        """Let a cycle see the containers."""
        world = facts(containers=self.containers)
        world = replace(world, engine=replace(world.engine, data_root=str(self.data_root)))
        if not docker:
            world = replace(world, sources={SourceName.DOCKER: Unknown("gone", NOW)})
        self.snapshot = Snapshot(
            facts=world, taken_at=0.0, decision=decide({}, world), alerts={}, counters={}, complete=complete
        )


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def sizes(host: Host) -> dict[str, int]:
    return {each.name: size for each, size in host.lane.latest.sizes} if host.lane.latest else {}


def test_logs_are_measured_one_by_one_and_together(host: Host) -> None:
    host.look()
    host.lane.measure()
    assert sizes(host) == {"api": BLOCK, "web": 2 * BLOCK}
    assert host.lane.latest is not None
    assert host.lane.latest.total_bytes == 3 * BLOCK


def test_before_all_containers_are_known_and_without_docker_nothing_is_measured(host: Host) -> None:
    host.lane.measure()
    host.look(complete=False)
    host.lane.measure()
    host.look(docker=False)
    host.lane.measure()
    assert host.lane.latest is None


def test_figures_disappear_once_they_are_old(host: Host) -> None:
    host.look()
    host.lane.measure()
    host.clock.advance(timedelta(minutes=4))
    assert host.lane.latest is None


def test_a_container_that_is_gone_is_left_out(host: Host) -> None:
    host.containers.append(container("removed"))
    host.look()
    host.lane.measure()
    assert host.lane.latest is not None
    assert host.lane.latest.total_bytes == 3 * BLOCK


def test_logs_out_of_reach_have_no_sum_and_are_told_of_once(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    shut = host.data_root / "containers" / host.containers[0].id
    kept = shut.rename(host.data_root / "kept")
    shut.write_text("no folder")
    host.look()
    for _ in range(3):
        host.lane.measure()
    assert sizes(host) == {"web": 2 * BLOCK}
    assert host.lane.latest is not None
    assert host.lane.latest.total_bytes is None
    assert len(caplog.messages) == 1
    assert str(shut) in caplog.messages[0]
    shut.unlink()
    kept.rename(shut)
    host.lane.measure()
    assert host.lane.latest.total_bytes == 3 * BLOCK


def test_a_round_that_takes_too_long_has_no_sum(tmp_path: Path) -> None:
    class Slow(FakeClock):
        """Each look at it costs more than half of a round."""

        def monotonic(self) -> float:
            self.advance(PATIENCE * 0.6)
            return super().monotonic()

    host = Host(tmp_path, Slow())
    host.look()
    host.lane.measure()
    assert host.lane.latest is not None
    assert len(host.lane.latest.sizes) == 1
    assert "1 of 2" in host.lane.latest.problem
