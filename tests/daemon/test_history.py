from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.facts import Death, Intent, OomKill, RestartPolicy, container_subject
from collectors.gpu_facts import GpuHold
from collectors.own_facts import MemoryUse
from daemon import history
from daemon.history import MOST_KEPT, MOST_UNSAVED, Unsaved
from daemon.ledger import Baseline, Mark
from daemon.steady import SteadyClock
from daemon.store import Store
from tests.fakes.clock import NOW, FakeClock
from tests.policies.build import container, death, object_id, oom_kill

if TYPE_CHECKING:
    from collections.abc import Iterator

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
CLOCK = SteadyClock(FakeClock(), NOW)
moments = st.datetimes(datetime(2013, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  hypothesis adds the zone
deaths = st.builds(
    Death,
    container_id=st.text("0123456789abcdef", min_size=64, max_size=64),
    name=st.text(max_size=20),
    image=st.text(max_size=20),
    labels=st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3),
    restart_policy=st.builds(RestartPolicy, st.sampled_from(["no", "always"]), st.integers(0, 9)),
    memory_limit_bytes=st.none() | st.integers(0, 2**62),
    finished_at=moments,
    exit_code=st.none() | st.integers(0, 255),
    oom=st.booleans(),
    intent=st.sampled_from(Intent),
    uptime=st.none() | st.timedeltas(timedelta(0), timedelta(days=400)),
    inferred=st.booleans(),
    log_tail=st.lists(st.text(max_size=20), max_size=3).map(tuple),
)
holds = st.builds(
    GpuHold,
    container_id=st.just(""),
    gpu_uuid=st.text(max_size=10),
    gpu_index=st.integers(0, 15),
    memory_bytes=st.none() | st.integers(0, 2**40),
    at=moments,
)


def with_holds(end: Death, held: list[GpuHold]) -> Death:
    return replace(end, gpus=tuple(replace(each, container_id=end.container_id) for each in held))


deaths = st.builds(with_holds, deaths, st.lists(holds, max_size=2))
kills = st.builds(
    OomKill,
    container_id=st.text("0123456789abcdef", min_size=64, max_size=64),
    subject=st.text(min_size=1, max_size=10).map(lambda name: container_subject(name, {})),
    at=moments,
    count=st.integers(1, 99),
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path, FakeClock())
    yield opened
    opened.close()


def save(unsaved: Unsaved, store: Store, clock: SteadyClock = CLOCK) -> None:
    store.write(partial(unsaved.save, clock=clock))
    unsaved.saved()


@settings(max_examples=30)
@given(deaths, kills)
def test_what_is_stored_comes_back_as_it_was(end: Death, kill: OomKill) -> None:
    with TemporaryDirectory() as folder, closing(Store.open(Path(folder), FakeClock())) as store:
        unsaved = Unsaved()
        unsaved.add([end], [kill], None)
        save(unsaved, store)
        assert history.deaths_since(store, datetime(2012, 1, 1, tzinfo=UTC), CLOCK) == (end,)
        assert history.kills_since(store, datetime(2012, 1, 1, tzinfo=UTC)) == (kill,)


def test_a_death_of_a_version_that_knew_nothing_of_gpus_is_read(store: Store) -> None:
    unsaved = Unsaved()
    unsaved.add([death()], [], None)
    save(unsaved, store)
    store.write(lambda inside: inside.execute("UPDATE deaths SET record = json_remove(record, '$.gpus')"))
    assert history.deaths_since(store, LONG_AGO, CLOCK) == (death(),)


def test_a_baseline_comes_back_whole_and_replaces_the_one_before(store: Store) -> None:
    assert history.load_baseline(store) is None
    unsaved = Unsaved()
    first = Baseline({"a": Mark(NOW, 2, 1, NOW), "b": Mark()}, NOW)
    unsaved.add([], [], first)
    save(unsaved, store)
    assert history.load_baseline(store) == first
    second = Baseline({"b": Mark(NOW, 1)}, NOW + timedelta(seconds=1))
    unsaved.add([], [], second)
    save(unsaved, store)
    assert history.load_baseline(store) == second


def test_an_empty_baseline_is_not_the_same_as_none(store: Store) -> None:
    unsaved = Unsaved()
    unsaved.add([], [], Baseline({}, NOW))
    assert unsaved
    save(unsaved, store)
    assert history.load_baseline(store) == Baseline({}, NOW)


def test_nothing_is_news_once_it_is_stored(store: Store) -> None:
    unsaved = Unsaved()
    assert not unsaved
    unsaved.add([death()], [], Baseline({}, NOW))
    assert unsaved
    save(unsaved, store)
    assert not unsaved
    unsaved.add([], [], Baseline({}, NOW))
    assert not unsaved
    unsaved.add([], [], None)
    assert not unsaved


def test_a_transaction_that_fails_loses_nothing_and_doubles_nothing(store: Store) -> None:
    unsaved = Unsaved()
    unsaved.add([death("a")], [oom_kill(container("a"))], Baseline({"a": Mark()}, NOW))

    def half(connection: sqlite3.Connection) -> None:
        unsaved.save(connection, CLOCK)
        raise sqlite3.IntegrityError

    with pytest.raises(sqlite3.IntegrityError):
        store.write(half)
    unsaved.add([death("b")], [], Baseline({"a": Mark(NOW)}, NOW))
    save(unsaved, store)
    assert sorted(end.name for end in history.deaths_since(store, LONG_AGO, CLOCK)) == ["a", "b"]
    assert len(history.kills_since(store, LONG_AGO)) == 1
    assert history.load_baseline(store) == Baseline({"a": Mark(NOW)}, NOW)


def test_the_same_death_is_stored_once(store: Store) -> None:
    for _ in range(2):
        unsaved = Unsaved()
        unsaved.add([death()], [], None)
        save(unsaved, store)
    assert len(history.deaths_since(store, LONG_AGO, CLOCK)) == 1


def test_what_cannot_be_stored_for_long_is_bounded() -> None:
    unsaved = Unsaved()
    unsaved.add((death(f"web-{number}") for number in range(MOST_UNSAVED + 5)), [], None)
    assert len(unsaved._deaths) == MOST_UNSAVED
    assert unsaved._deaths[-1].name == f"web-{MOST_UNSAVED + 4}"


def test_after_a_week_deaths_and_kills_are_dropped(store: Store) -> None:
    unsaved = Unsaved()
    week = timedelta(days=7)
    unsaved.add([death("old", ago=week + timedelta(seconds=1)), death("new", ago=week)], [], None)
    unsaved.add([], [oom_kill(container(), ago=2 * week), oom_kill(container(), ago=week)], None)
    save(unsaved, store)
    store.write(lambda connection: history.prune(connection, NOW))
    assert [end.name for end in history.deaths_since(store, LONG_AGO, CLOCK)] == ["new"]
    assert len(history.kills_since(store, LONG_AGO)) == 1


def test_of_too_many_the_newest_are_kept(store: Store) -> None:
    unsaved = Unsaved()
    unsaved.add((death(f"web-{n}", ago=timedelta(seconds=n)) for n in range(MOST_KEPT + 3)), [], None)
    unsaved.add([], (oom_kill(container(), ago=timedelta(seconds=n)) for n in range(MOST_KEPT + 3)), None)
    save(unsaved, store)
    store.write(lambda connection: history.prune(connection, NOW))
    kept = history.deaths_since(store, LONG_AGO, CLOCK)
    assert len(kept) == len(history.kills_since(store, LONG_AGO)) == MOST_KEPT
    assert (kept[-1].name, kept[0].name) == ("web-0", f"web-{MOST_KEPT - 1}")


def test_what_was_seen_of_memory_comes_back_with_the_death(store: Store) -> None:
    use = MemoryUse(used_bytes=9, rose_bytes=3, over=timedelta(minutes=9), largest="python", largest_bytes=7)
    unsaved = Unsaved()
    unsaved.add([death(memory=use)], [], None)
    save(unsaved, store)
    [found] = history.deaths_since(store, LONG_AGO, CLOCK)
    assert found.memory == use


def test_of_each_container_the_newest_reason_counts_and_one_that_no_event_told_is_none(store: Store) -> None:
    unsaved = Unsaved()
    hour = timedelta(hours=1)
    unsaved.add([death("a", ago=3 * hour, intent=Intent.API), death("a", ago=2 * hour)], [], None)
    unsaved.add([death("b", ago=2 * hour, intent=Intent.API), death("b", ago=hour, inferred=True)], [], None)
    save(unsaved, store)
    assert history.last_intents(store) == {object_id("a"): Intent.NONE}


def test_a_stop_after_the_end_is_remembered_and_the_end_stays_what_it_was(store: Store) -> None:
    unsaved = Unsaved()
    unsaved.add([death("a", ago=timedelta(hours=2)), death("a")], [], None, {object_id("a"): Intent.API})
    save(unsaved, store)
    assert not unsaved
    assert history.last_intents(store) == {object_id("a"): Intent.API}
    assert {each.intent for each in history.deaths_since(store, LONG_AGO, CLOCK)} == {Intent.NONE}
