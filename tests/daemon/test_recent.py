from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from daemon.recent import MOST_SHOWN, Recent
from tests.fakes.clock import FakeClock
from tests.policies.build import MINUTE, SECOND, container, death, oom_kill

if TYPE_CHECKING:
    import pytest

    from collectors.facts import Death


def names(recent: Recent, clock: FakeClock) -> list[str]:
    return [shown.name for shown in recent.shown(clock.now())[0]]


def test_deaths_are_shown_for_an_hour_the_oldest_first() -> None:
    clock = FakeClock()
    recent = Recent([death("old", ago=59 * MINUTE)], [], clock)
    recent.add([death("new", ago=SECOND), death("late", ago=30 * MINUTE)], [])
    assert names(recent, clock) == ["old", "late", "new"]
    clock.advance(MINUTE)
    assert names(recent, clock) == ["late", "new"]


def test_kills_are_shown_for_an_hour() -> None:
    clock = FakeClock()
    kill = oom_kill(container(), ago=59 * MINUTE)
    recent = Recent([], [kill], clock)
    assert recent.shown(clock.now())[1] == (kill,)
    clock.advance(MINUTE)
    assert recent.shown(clock.now())[1] == ()


def test_of_very_many_the_newest_are_shown() -> None:
    clock = FakeClock()
    storm: list[Death] = [death(f"web-{n}", ago=timedelta(milliseconds=n)) for n in range(MOST_SHOWN + 10)]
    recent = Recent(storm, [], clock)
    shown = names(recent, clock)
    assert len(shown) == MOST_SHOWN
    assert shown[-1] == "web-0"


def test_after_the_clock_was_set_back_what_happened_later_still_comes_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = FakeClock()
    recent = Recent([death("first", ago=SECOND)], [], clock)
    clock.advance(MINUTE)
    clock.step(-30 * MINUTE)
    clock.advance(MINUTE)
    recent.add([death("second", finished_at=clock.now())], [])
    assert names(recent, clock) == ["first", "second"]
    assert [shown.age(clock.now()) for shown in recent.shown(clock.now())[0]] == [2 * MINUTE + SECOND, timedelta(0)]
    assert caplog.messages == ["the wall clock was set back by 30 min"]


def test_a_clock_that_is_slewed_is_not_set(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    recent = Recent([death()], [], clock)
    for _ in range(100):
        clock.advance(SECOND)
        clock.step(timedelta(milliseconds=100))
        recent.shown(clock.now())
    assert caplog.messages == []
