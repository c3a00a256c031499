"""The observer on a scripted engine: no answer of Docker costs a death, and none is taken for a fact."""

from __future__ import annotations

import struct
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from collectors.cgroup import CgroupReader
from collectors.disk import Filesystems
from collectors.engine_api import EngineApi
from collectors.engine_http import Endpoint
from collectors.facts import Death, Engine, EngineState, Known, Protection, SourceName, Unknown
from collectors.inventory import Inventory
from daemon.events import EventReader
from daemon.ledger import Ledger
from daemon.observe import Eyes, Observation, Observer, Rules
from daemon.redact import Redactor
from daemon.sampler import Sampler, Sources
from daemon.sightings import Sightings
from daemon.store import Store
from tests.fakes.clock import NOW, FakeClock
from tests.lab.scripted_engine import ScriptedEngine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class UpEngine:
    """An engine watch that takes the engine for up, and counts who found it lost."""

    def __init__(self) -> None:
        self.engine = Engine(state=EngineState.UP, since=NOW)
        self.outages = 0
        self.lost = 0

    def wait_up(self, timeout: timedelta) -> bool:
        """Say yes."""
        del timeout
        return True

    def report_lost(self) -> None:
        """Count."""
        self.lost += 1


class Outlook:
    """An observer at its scripted engine; each `look` sees what the engine shows by then."""

    def __init__(self, engine: ScriptedEngine, folder: Path) -> None:
        self.engine = engine
        self.clock = FakeClock()
        self.watch = UpEngine()
        self.store = Store.open(folder / "state", self.clock)
        self.reader = EventReader(self.connect, self.watch, self.clock, lambda: None, lambda: None)
        inventory = Inventory(self.connect)
        cgroups = CgroupReader(folder, folder, folder)
        self.observer = Observer(
            Eyes(
                connect=self.connect,
                engine=self.watch,
                reader=self.reader,
                inventory=inventory,
                sampler=Sampler(Sources(Filesystems(dict), cgroups, list), self.clock, lambda: None, lambda: None),
                ledger=Ledger(None, self.clock.now()),
                sightings=Sightings(self.store, self.clock),
                oom_count=cgroups.oom_kills,
                sizes=dict,
                redact=Redactor(),
            ),
            self.clock,
            Rules(protection=Protection(), ignore=(), log_lines=20),
            [],
            [],
        )

    def connect(self) -> EngineApi:
        """Make a client that does not wait for long."""
        return EngineApi.connect(Endpoint(host=self.engine.host), timedelta(seconds=0.3))

    def look(self) -> Observation:
        """Look again, so much later that everything is compared."""
        self.clock.advance(timedelta(minutes=6))
        self.engine.now = self.clock.now()
        return self.observer.observe()

    def end(self, *names: str) -> None:
        """Let running containers exit 3."""
        for container in self.engine.containers.values():
            if container.name in names:
                container.state, container.exit_code = "exited", 3
                container.finished_at = self.clock.now() + timedelta(minutes=1)

    def close(self) -> None:
        """Let go of the engine and the store."""
        self.observer.close()
        self.store.close()


@pytest.fixture
def outlook(tmp_path: Path) -> Iterator[Outlook]:
    with ScriptedEngine(tmp_path / "docker.sock") as engine:
        seen = Outlook(engine, tmp_path)
        yield seen
        seen.close()


def framed(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">BxxxL", 1, len(data)) + data


def by_name(observation: Observation) -> dict[str, Death]:
    return {death.name: death for death in observation.deaths}


def test_an_end_is_found_with_its_last_lines(outlook: Outlook) -> None:
    web = outlook.engine.add("web")
    outlook.look()
    outlook.end("web")
    outlook.engine.logs[web.id] = framed("token=hunter2\nboom\n")
    assert by_name(outlook.look())["web"].log_tail == ("token=***", "boom")


@pytest.mark.parametrize("status", [403, 404, 500, 501])
def test_a_log_that_docker_refuses_costs_only_its_lines(outlook: Outlook, status: int) -> None:
    outlook.engine.add("web")
    outlook.look()
    outlook.end("web")
    outlook.engine.statuses["/containers/*/logs"] = status
    assert by_name(outlook.look())["web"].log_tail == ()


def test_an_engine_that_hangs_over_a_log_is_asked_for_no_other(outlook: Outlook) -> None:
    names = [f"web-{number}" for number in range(30)]
    for name in names:
        outlook.engine.add(name)
    outlook.look()
    outlook.end(*names)
    outlook.engine.hung_paths.add("/containers/*/logs")
    assert set(by_name(outlook.look())) == set(names)
    assert outlook.engine.count("/containers/*/logs") == 1


def test_an_engine_that_fails_is_unknown_and_nothing_is_forgotten(outlook: Outlook) -> None:
    outlook.engine.add("web")
    assert isinstance(outlook.look().facts.sources[SourceName.DOCKER], Known)
    outlook.engine.statuses["/containers/json"] = 500
    outlook.end("web")
    blind = outlook.look()
    source = blind.facts.sources[SourceName.DOCKER]
    assert isinstance(source, Unknown)
    assert "scripted 500" in source.why
    assert blind.deaths == ()
    outlook.engine.statuses.clear()
    assert "web" in by_name(outlook.look())
