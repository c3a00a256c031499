from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from collectors.engine_api import EngineApi
from collectors.engine_http import Endpoint
from daemon.log_tails import MOST_READ, PATIENCE, LogTails
from daemon.redact import Redactor
from tests.daemon.watchpost import framed
from tests.fakes.clock import FakeClock
from tests.policies.build import SECOND, death

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.scripted_engine import ScriptedEngine

LOGS = "/containers/*/logs"


@pytest.fixture
def api(engine: ScriptedEngine) -> Iterator[EngineApi]:
    with closing(EngineApi.connect(Endpoint(host=engine.host), timedelta(seconds=5))) as connected:
        yield connected


def tails(lines: int = 20) -> LogTails:
    return LogTails(lines, Redactor(), FakeClock())


def test_a_bad_end_gets_its_last_lines_without_their_secrets(engine: ScriptedEngine, api: EngineApi) -> None:
    end = death(code=1)
    engine.logs[end.container_id] = framed("one\npassword=hunter2\nthree\n")
    [told] = tails(2).add([end], api)
    assert told.log_tail == ("password=***", "three")


def test_an_end_that_is_not_bad_and_a_host_that_keeps_its_logs_are_not_asked_for(
    engine: ScriptedEngine, api: EngineApi
) -> None:
    assert tails().add([death(code=0)], api) == (death(code=0),)
    assert tails(0).add([death(code=1)], api) == (death(code=1),)
    assert engine.count(LOGS) == 0


def test_of_several_ends_of_one_container_the_newest_has_the_lines(engine: ScriptedEngine, api: EngineApi) -> None:
    newest, older = death(ago=SECOND), death(ago=2 * SECOND)
    engine.logs[newest.container_id] = framed("boom\n")
    told = tails().add([newest, older], api)
    assert [end.log_tail for end in told] == [("boom",), ()]
    assert engine.count(LOGS) == 1


def test_of_very_many_ends_only_the_newest_are_asked_for(engine: ScriptedEngine, api: EngineApi) -> None:
    storm = [death(f"web-{number}", ago=number * SECOND) for number in range(100)]
    for end in storm:
        engine.logs[end.container_id] = framed("boom\n")
    told = tails().add(storm, api)
    assert [end.name for end in told if end.log_tail] == [end.name for end in storm[:MOST_READ]]


def test_an_engine_that_is_slow_over_logs_does_not_hold_up_the_watch(engine: ScriptedEngine, api: EngineApi) -> None:
    class Slow(FakeClock):
        """Each look at it costs two seconds."""

        def monotonic(self) -> float:
            self.advance(PATIENCE * 0.4)
            return super().monotonic()

    storm = [death(f"web-{number}") for number in range(10)]
    assert len(LogTails(20, Redactor(), Slow()).add(storm, api)) == 10
    assert engine.count(LOGS) == 2
