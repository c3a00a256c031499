from __future__ import annotations

from datetime import timedelta

from collectors.own_facts import MemoryUse
from daemon.memory_trends import MemoryTrends
from daemon.sampler import Sample
from tests.fakes.clock import FakeClock

STEP = timedelta(seconds=15)


def sample(clock: FakeClock, largest: dict[str, tuple[str, int]] | None = None, **memory: int) -> Sample:
    return Sample(at=clock.now(), filesystems=(), errors={}, marks={}, memory=memory, largest=largest or {})


def test_how_it_rose_is_told_over_ten_minutes_at_most() -> None:
    clock = FakeClock()
    trends = MemoryTrends(clock)
    for number in range(100):
        trends.note(sample(clock, web=number))
        clock.advance(STEP)
    assert trends.last("web") == MemoryUse(used_bytes=99, rose_bytes=40, over=timedelta(minutes=10))


def test_of_one_that_ended_the_last_is_known_for_ten_minutes_and_none_of_it_is_a_use_now() -> None:
    clock = FakeClock()
    trends = MemoryTrends(clock)
    trends.note(sample(clock, {"web": ("python", 5)}, web=7))
    clock.advance(STEP)
    later = sample(clock)
    trends.note(later)
    assert trends.uses(later) == {}
    assert trends.last("web") == MemoryUse(used_bytes=7, largest="python", largest_bytes=5)
    clock.advance(timedelta(minutes=11))
    trends.note(sample(clock))
    assert trends.last("web") is None


def test_who_was_largest_is_forgotten_when_nobody_is_near_the_limit_any_more() -> None:
    clock = FakeClock()
    trends = MemoryTrends(clock)
    trends.note(sample(clock, {"web": ("python", 5)}, web=7))
    clock.advance(STEP)
    trends.note(sample(clock, web=1))
    assert trends.uses(sample(clock, web=1))["web"].largest == ""
