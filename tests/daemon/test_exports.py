"""The metrics page of the whole daemon, put together as it is, over a scripted engine and a clock that a test moves."""

from __future__ import annotations

import re
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from collectors.cgroup import CgroupReader
from collectors.reading import MemoryMarks
from daemon.app import App
from daemon.engine_judge import FAILURES
from daemon.loading import load
from daemon.reload import Configuration
from daemon.sampler import INTERVAL
from tests.fakes.clock import FakeClock
from tests.lab.scripted_engine import ScriptedEngine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOUR = timedelta(hours=1)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[ScriptedEngine]:
    with ScriptedEngine(tmp_path / "docker.sock") as engine:
        yield engine


@pytest.fixture
def app(engine: ScriptedEngine, clock: FakeClock, tmp_path: Path) -> Iterator[App]:
    environ = {"SHIPKEEPER_STATE__DIR": str(tmp_path / "state"), "SHIPKEEPER_DOCKER__HOST": engine.host}
    with closing(App(Configuration(load(None, environ), lambda: None, environ, clock), clock)) as app:
        yield app


def value(app: App, series: str) -> float:
    """Give the one series that begins so."""
    [found] = re.findall(rf"^{re.escape(series)}.*? (\S+)$", app.exposition.document().decode(), flags=re.MULTILINE)
    return float(found)


def test_who_keeps_restarting_and_what_there_is_are_told(app: App, engine: ScriptedEngine) -> None:
    engine.add("web")
    assert b"shipkeeper_containers{" not in app.exposition.document()
    app.once()
    assert value(app, 'shipkeeper_container_restart_looping{name="web"') == 0
    assert value(app, 'shipkeeper_containers{state="running"}') == 1


def test_filesystems_that_were_not_measured_for_long_are_down_and_absent(
    app: App, engine: ScriptedEngine, clock: FakeClock
) -> None:
    up = 'shipkeeper_collector_up{collector="filesystems"}'
    assert value(app, up) == 0
    engine.add("web")
    app.once()
    assert value(app, up) == 1
    assert value(app, 'shipkeeper_filesystem_up{role="os-root"}') == 1
    clock.advance(3 * INTERVAL + timedelta(seconds=1))
    assert value(app, up) == 0
    assert b"shipkeeper_filesystem" not in app.exposition.document()
    measured = value(app, 'shipkeeper_collector_last_success_timestamp_seconds{collector="filesystems"}')
    assert clock.now().timestamp() - measured == 46


def test_what_befell_the_memory_of_the_run_before_is_not_shown_of_this_one(
    app: App, engine: ScriptedEngine, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CgroupReader, "marks", lambda *_: MemoryMarks(peak_bytes=7))
    web = engine.add("web")
    app.once()
    app.sampler.sample_now()
    assert value(app, "shipkeeper_container_memory_peak_bytes") == 7
    clock.advance(2 * INTERVAL)  # whoever hears no events compares so often
    web.started_at = engine.now = clock.now()
    app.watch.cycle()
    assert b"memory_peak_bytes" not in app.exposition.document()
    app.sampler.sample_now()
    assert value(app, "shipkeeper_container_memory_peak_bytes") == 7


def test_an_engine_that_goes_down_makes_no_container_look_killed(app: App, engine: ScriptedEngine) -> None:
    engine.add("web")
    app.once()
    assert b"container_last_seen{" in app.exposition.document()
    engine.crash()
    for _ in range(FAILURES):
        app.engine.look()
    app.watch.cycle()
    assert value(app, "shipkeeper_docker_up") == 0
    assert b"container_last_seen{" not in app.exposition.document()
    engine.listen()
    app.engine.look()
    app.watch.cycle()
    assert b"container_last_seen{" in app.exposition.document()


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_a_running_container_is_last_seen_now_by_the_clock_of_whoever_asks(
    app: App, engine: ScriptedEngine, clock: FakeClock, step: timedelta
) -> None:
    engine.add("web")
    clock.step(step)
    app.once()
    assert value(app, "container_last_seen") == clock.now().timestamp()
