"""The images' lane with its real thread: nobody waits for it, and it tells when it is done."""

from __future__ import annotations

import threading
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest

from collectors.engine_api import EngineApi
from collectors.engine_http import Endpoint
from daemon.image_lane import ImageLane
from tests.fakes.crew import a_crew

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.scripted_engine import ScriptedEngine

AT_ONCE, LONG = timedelta(0), timedelta(seconds=30)
LIST = "/images/json"


class Desk:
    """A lane at a scripted engine, and when it woke somebody."""

    def __init__(self, engine: ScriptedEngine) -> None:
        self.engine = engine
        self.woken = threading.Event()
        connect = partial(EngineApi.connect, Endpoint(host=engine.host), timedelta(seconds=20))
        self.lane = ImageLane(connect, self.woken.set, a_crew())

    def add(self, number: int) -> None:
        """Let there be one more image."""
        listed = {"Id": f"sha256:{number}", "RepoTags": [f"a:{number}"], "Size": 1, "Created": 1_700_000_000}
        self.engine.images.append(listed)


@pytest.fixture
def desk(engine: ScriptedEngine) -> Iterator[Desk]:
    desk = Desk(engine)
    desk.lane.start()
    yield desk
    desk.engine.relent()
    desk.lane.close()


def test_it_answers_and_wakes(desk: Desk) -> None:
    desk.add(1)
    desk.lane.ask()
    answer = desk.lane.answer(LONG)
    assert answer is not None
    assert set(answer.images) == {"sha256:1"}
    assert desk.woken.wait(LONG.total_seconds())


def test_nobody_waits_for_an_engine_that_does_not_list_them(desk: Desk) -> None:
    desk.engine.hung_paths.add(LIST)
    desk.lane.ask()
    assert desk.lane.answer(AT_ONCE) is None
    desk.engine.wait(lambda: desk.engine.count(LIST) == 1)
    assert not desk.woken.is_set()
    desk.add(1)
    desk.engine.relent()
    answer = desk.lane.answer(LONG)
    assert answer is not None
    assert set(answer.images) == {"sha256:1"}


def test_who_asks_anew_gets_what_was_read_after_that(desk: Desk) -> None:
    desk.engine.hung_paths.add(LIST)
    desk.lane.ask()
    desk.engine.wait(lambda: desk.engine.count(LIST) == 1)
    desk.lane.ask()
    desk.add(1)
    desk.engine.relent()
    answer = desk.lane.answer(LONG)
    assert answer is not None
    assert set(answer.images) == {"sha256:1"}
    assert desk.engine.count(LIST) == 2


def test_an_engine_that_is_away_is_an_answer_too(desk: Desk) -> None:
    desk.engine.stop()
    desk.lane.ask()
    answer = desk.lane.answer(LONG)
    assert answer is not None
    assert answer.unread
    desk.engine.listen()
    desk.lane.ask()
    answer = desk.lane.answer(LONG)
    assert answer is not None
    assert not answer.unread


def test_it_ends_while_docker_does_not_answer(desk: Desk) -> None:
    desk.engine.hung_paths.add(LIST)
    desk.lane.ask()
    desk.engine.wait(lambda: desk.engine.count(LIST) == 1)
    desk.lane.stop()
    desk.engine.relent()
    desk.lane.close()
    assert "images" not in desk.lane._worker._crew.hanging
