from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.engine_api import Event
from collectors.facts import (
    COMPOSE_NUMBER,
    COMPOSE_ONEOFF,
    COMPOSE_PROJECT,
    COMPOSE_SERVICE,
    Container,
    ContainerState,
    Death,
    Intent,
    OomKill,
    RestartPolicy,
)
from daemon.ledger import Baseline, Ledger, Look, Mark

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ID = "c" * 64


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def event(action: str, seconds: float, **attributes: str) -> Event:
    return Event(
        "container", action, ID, {"name": "web", "image": "bb", **attributes}, int(at(seconds).timestamp() * 1e9)
    )


def running(**changes: object) -> Container:
    base = Container(
        id=ID,
        name="web",
        image="bb",
        image_id="sha256:1",
        state=ContainerState.RUNNING,
        created_at=at(-3600),
        started_at=at(-600),
    )
    return replace(base, **changes)  # type: ignore[arg-type]  # the caller names fields of Container


def exited(code: int, seconds: float, **changes: object) -> Container:
    return running(state=ContainerState.EXITED, exit_code=code, finished_at=at(seconds), **changes)


class Watchman:
    """Drives a ledger look by look, remembering what it knew before."""

    def __init__(self, *containers: Container) -> None:
        self.ledger = Ledger(None, at(-1))
        self.known: Mapping[str, Container] = {}
        self.look(0, *containers, complete=True)

    def look(
        self,
        seconds: float,
        *containers: Container,
        events: Sequence[Event] = (),
        complete: bool = False,
        engine_restarted: bool = False,
        oom_counts: Mapping[str, int] | None = None,
    ) -> tuple[tuple[Death, ...], tuple[OomKill, ...]]:
        """Give what the ledger tells of this look."""
        after = {container.id: container for container in containers}
        told = self.ledger.record(
            Look(
                now=at(seconds),
                events=events,
                before=self.known,
                after=after,
                complete=complete,
                engine_restarted=engine_restarted,
                oom_counts=oom_counts or {},
            )
        )
        self.known = after
        return told

    def deaths(
        self, seconds: float, *containers: Container, events: Sequence[Event] = (), complete: bool = False
    ) -> list[Death]:
        """Give the deaths alone."""
        return list(self.look(seconds, *containers, events=events, complete=complete)[0])


def test_a_crash_is_told_once_with_the_code_that_inspect_shows() -> None:
    watchman = Watchman(running())
    crashed = exited(7, 1)
    [death] = watchman.deaths(1.1, crashed, events=[event("die", 1.01, exitCode="7")])
    assert (death.exit_code, death.intent, death.uptime, death.inferred) == (
        7,
        Intent.NONE,
        timedelta(seconds=601),
        False,
    )
    assert watchman.deaths(2, crashed, complete=True) == []


def test_what_lies_there_on_the_first_start_is_not_news() -> None:
    assert Watchman(exited(1, -100)).deaths(1, exited(1, -100), complete=True) == []


def test_ends_from_before_the_first_start_are_not_news() -> None:
    gone = event("die", -30, exitCode="1")
    assert Watchman().deaths(1, events=[gone]) == []


def test_an_end_told_before_a_restart_of_ours_is_not_told_again() -> None:
    watchman = Watchman(running())
    die = event("die", 1.01, exitCode="7")
    again = running(started_at=at(1.2), finished_at=at(1), restart_count=1)
    assert len(watchman.deaths(1.3, again, events=[die])) == 1
    look = Look(now=at(5), events=[die], before={}, after={ID: again}, complete=True, oom_counts={})
    assert Ledger(watchman.ledger.baseline, at(4)).record(look) == ((), ())


def test_a_label_cannot_spoof_the_exit_code() -> None:
    watchman = Watchman(running(labels={"exitCode": "0"}))
    [death] = watchman.deaths(1.1, exited(3, 1, labels={"exitCode": "0"}), events=[event("die", 1, exitCode="0")])
    assert death.exit_code == 3


def test_a_spoofed_code_of_a_container_that_runs_again_is_unknown_and_still_bad() -> None:
    again = running(labels={"exitCode": "0"}, started_at=at(1.2), finished_at=at(1))
    [death] = Watchman(running(labels={"exitCode": "0"})).deaths(1.3, again, events=[event("die", 1, exitCode="0")])
    assert death.exit_code is None
    assert death.bad


def test_a_restarted_container_keeps_the_code_of_its_event() -> None:
    again = running(started_at=at(1.2), finished_at=at(1), restart_count=1)
    [death] = Watchman(running()).deaths(1.3, again, events=[event("die", 1.01, exitCode="7")])
    assert (death.exit_code, death.finished_at) == (7, at(1))


def test_a_container_gone_before_any_inspect_still_died() -> None:
    watchman = Watchman()
    events = [event("create", 1), event("start", 1.1), event("die", 1.2, exitCode="1"), event("destroy", 1.3)]
    [death] = watchman.deaths(1.4, events=events)
    assert (death.name, death.exit_code, death.bad) == ("web", 1, True)


def test_a_spoofed_code_of_a_container_never_inspected_is_unknown() -> None:
    events = [event("create", 1, exitCode="0"), event("die", 1.2, exitCode="0"), event("destroy", 1.3)]
    [death] = Watchman().deaths(1.4, events=events)
    assert death.exit_code is None


def test_docker_stop_is_intended() -> None:
    events = [event("kill", 1, signal="15"), event("kill", 11, signal="9"), event("die", 11.1, exitCode="137")]
    [death] = Watchman(running()).deaths(11.2, exited(137, 11.05), events=events)
    assert death.intent is Intent.API
    assert not death.bad


def test_a_hangup_that_is_not_the_stop_signal_is_no_intent() -> None:
    events = [event("kill", 1, signal="1"), event("die", 1.1, exitCode="129")]
    [death] = Watchman(running()).deaths(1.2, exited(129, 1.05), events=events)
    assert death.intent is Intent.NONE


def test_a_kill_of_long_ago_does_not_excuse_a_crash() -> None:
    events = [event("kill", 1, signal="15"), event("die", 60, exitCode="1")]
    [death] = Watchman(running()).deaths(60.1, exited(1, 60), events=events)
    assert death.intent is Intent.NONE


def test_a_sigkill_waits_two_seconds_for_its_oom_event() -> None:
    watchman = Watchman(running())
    gone = exited(137, 1)
    assert watchman.deaths(1.1, gone, events=[event("die", 1.05, exitCode="137")]) == []
    assert watchman.ledger.unsettled
    [death] = watchman.deaths(2, gone, events=[event("oom", 1.9)])
    assert death.oom


def test_a_sigkill_without_an_oom_event_is_told_after_two_seconds() -> None:
    watchman = Watchman(running())
    watchman.deaths(1.1, exited(137, 1), events=[event("die", 1.05, exitCode="137")])
    [death] = watchman.deaths(3.1, exited(137, 1))
    assert not death.oom
    assert death.bad


def test_a_held_death_does_not_count_as_told_in_the_stored_baseline() -> None:
    watchman = Watchman(running())
    watchman.deaths(1.1, exited(137, 1), events=[event("die", 1.05, exitCode="137")])
    look = Look(now=at(9), before={}, after={ID: exited(137, 1)}, complete=True, oom_counts={})
    deaths, _ = Ledger(watchman.ledger.baseline, at(9)).record(look)
    assert [(death.exit_code, death.inferred) for death in deaths] == [(137, True)]


def test_a_held_death_of_a_container_that_is_gone_survives_a_restart_of_ours() -> None:
    watchman = Watchman(running())
    die = event("die", 1.05, exitCode="137")
    assert watchman.deaths(1.1, events=[die]) == []
    reborn = Ledger(watchman.ledger.baseline, at(2))
    look = Look(now=at(4), events=[die], before={}, after={}, complete=True, oom_counts={})
    deaths, _ = reborn.record(look)
    assert [(death.name, death.exit_code, death.inferred) for death in deaths] == [("web", 137, False)]


def test_a_death_told_while_another_was_held_is_not_told_again_after_a_restart_of_ours() -> None:
    watchman = Watchman(running())
    other = replace(event("die", 1.2, exitCode="3"), id="d" * 64)
    events = [event("die", 1.05, exitCode="137"), other]
    told = watchman.deaths(1.3, events=events)
    assert [death.exit_code for death in told] == [3]
    look = Look(now=at(4), events=events, before={}, after={}, complete=True, oom_counts={})
    deaths, _ = Ledger(watchman.ledger.baseline, at(3), told).record(look)
    assert [death.exit_code for death in deaths] == [137]


def test_a_held_inferred_death_is_found_again_after_a_restart_of_ours() -> None:
    watchman = Watchman(running())
    assert watchman.deaths(1.1, exited(1, 1), complete=True) == []
    look = Look(now=at(9), before={}, after={ID: exited(1, 1)}, complete=True, oom_counts={})
    deaths, _ = Ledger(watchman.ledger.baseline, at(8)).record(look)
    assert [death.exit_code for death in deaths] == [1]


@pytest.mark.parametrize("set_by", [-3600.0, 3600.0])
def test_a_clock_that_was_set_hides_no_death_and_tells_none_twice(set_by: float) -> None:
    watchman = Watchman(running())
    old, new = 10.0, 20 + set_by
    again = running(restart_count=1, finished_at=at(old), started_at=at(old + 0.2))
    assert len(watchman.deaths(old + 1, again, events=[event("die", old, exitCode="1")])) == 1
    once_more = running(restart_count=2, finished_at=at(new), started_at=at(new + 0.2))
    die = event("die", new, exitCode="2")
    assert [death.exit_code for death in watchman.deaths(new + 1, once_more, events=[die])] == [2]
    assert watchman.deaths(new + 30, once_more, complete=True) == []


def test_a_clock_that_was_set_back_in_our_absence_makes_no_event_an_old_story() -> None:
    watchman = Watchman(running())
    watchman.deaths(9, running(), events=[event("die", 8, exitCode="1")])
    reborn = Ledger(watchman.ledger.baseline, at(-3600))
    die = event("die", -3590, exitCode="5")
    look = Look(now=at(-3589), events=[die], before={}, after={ID: exited(5, -3590)}, oom_counts={})
    deaths, _ = reborn.record(look)
    assert [death.exit_code for death in deaths] == [5]


def test_a_one_off_keeps_its_identity_after_its_end() -> None:
    labels = {COMPOSE_PROJECT: "shop", COMPOSE_SERVICE: "web", COMPOSE_NUMBER: "1", COMPOSE_ONEOFF: "True", "a": "b"}
    one_off = exited(1, 1, labels=labels)
    [death] = Watchman(running(labels=labels)).deaths(1.1, one_off, events=[event("die", 1.01, exitCode="1")])
    assert death.subject == one_off.subject
    assert "a" not in death.labels


def test_of_a_container_that_docker_could_not_inspect_no_death_is_inferred() -> None:
    watchman = Watchman(running(inspected=False))
    assert watchman.deaths(30, exited(1, -100), complete=True) == []
    [death] = watchman.deaths(60, exited(1, 50), complete=True)
    assert death.inferred


def test_a_container_that_docker_cannot_inspect_for_a_while_keeps_its_mark() -> None:
    watchman = Watchman(running())
    assert watchman.deaths(30, running(inspected=False), complete=True) == []
    [death] = watchman.deaths(60, exited(1, 50), complete=True)
    assert death.exit_code == 1


def test_inspects_oom_flag_is_believed_at_once() -> None:
    events = [event("die", 1.05, exitCode="137")]
    [death] = Watchman(running()).deaths(1.1, exited(137, 1, oom_killed=True), events=events)
    assert death.oom


def test_a_lost_die_event_is_found_by_the_next_complete_look() -> None:
    watchman = Watchman(running())
    [death] = watchman.deaths(30, exited(1, 10), complete=True)
    assert (death.exit_code, death.inferred, death.finished_at) == (1, True, at(10))
    assert watchman.deaths(31, exited(1, 10), complete=True) == []


def test_an_event_that_comes_late_is_not_a_second_death() -> None:
    watchman = Watchman(running())
    [death] = watchman.deaths(3.1, exited(1, 1), complete=True)
    assert death.inferred
    assert watchman.deaths(3.4, exited(1, 1), events=[event("die", 1.3, exitCode="1")]) == []


def test_a_death_soon_after_one_that_no_event_told_of_is_not_taken_for_it() -> None:
    watchman = Watchman(running())
    first = running(restart_count=1, finished_at=at(1), started_at=at(1.2))
    assert len(watchman.deaths(1.5, first, complete=True) + watchman.deaths(3.1, first)) == 1
    second = running(restart_count=2, finished_at=at(3.4), started_at=at(3.6))
    [death] = watchman.deaths(3.7, second, events=[event("die", 3.41, exitCode="7")])
    assert (death.exit_code, death.inferred, death.finished_at) == (7, False, at(3.4))


def test_events_that_come_after_a_look_that_counted_their_ends_are_no_further_deaths() -> None:
    watchman = Watchman(running())
    looping = running(restart_count=3, finished_at=at(1.6), started_at=at(1.8))
    told = watchman.deaths(1.9, looping, complete=True)
    late = [event("die", moment, exitCode="7") for moment in (1.01, 1.31, 1.61)]
    told += watchman.deaths(2, looping, events=late)
    told += watchman.deaths(9, looping, complete=True)
    assert [(death.inferred, death.exit_code) for death in told] == [(False, 7)] * 3


def test_a_stop_that_a_complete_look_sees_before_its_events_is_no_crash() -> None:
    watchman = Watchman(running())
    assert watchman.deaths(1.1, exited(143, 1), complete=True) == []
    assert watchman.ledger.unsettled
    events = [event("kill", 0.9, signal="15"), event("die", 1.02, exitCode="143")]
    [death] = watchman.deaths(1.2, exited(143, 1), events=events)
    assert (death.intent, death.inferred) == (Intent.API, False)


def test_a_late_event_gives_an_inferred_death_its_code() -> None:
    watchman = Watchman(running())
    again = running(restart_count=1, finished_at=at(1), started_at=at(1.05))
    assert watchman.deaths(1.1, again, complete=True) == []
    [death] = watchman.deaths(1.2, again, events=[event("die", 1.02, exitCode="7")])
    assert (death.exit_code, death.inferred) == (7, False)


def test_a_fresh_death_that_no_event_explains_is_told_after_two_seconds() -> None:
    watchman = Watchman(running())
    assert watchman.deaths(1.1, exited(1, 1), complete=True) == []
    [death] = watchman.deaths(3.1, exited(1, 1))
    assert (death.exit_code, death.inferred) == (1, True)
    assert watchman.deaths(4, exited(1, 1), complete=True) == []


def test_lost_restarts_are_counted_by_dockers_own_counter() -> None:
    watchman = Watchman(running(restart_policy=RestartPolicy("always")))
    again = running(restart_policy=RestartPolicy("always"), restart_count=4, finished_at=at(9), started_at=at(9.5))
    deaths = watchman.deaths(12, again, events=[event("die", 3, exitCode="1")], complete=True)
    assert [death.inferred for death in deaths] == [False, True, True, True]
    assert len({death.key for death in deaths}) == 4


def test_deaths_in_our_absence_are_found_from_the_stored_baseline() -> None:
    marks = {ID: Mark(finished_at=None, restart_count=0)}
    look = Look(now=at(100), before={}, after={ID: exited(1, 50)}, complete=True, oom_counts={})
    deaths, _ = Ledger(Baseline(marks, at(0)), at(99)).record(look)
    assert [death.inferred for death in deaths] == [True]


def test_containers_that_an_engine_restart_took_along_are_not_crashes() -> None:
    watchman = Watchman(running())
    [death], _ = watchman.look(30, exited(255, 20), complete=True, engine_restarted=True)
    assert (death.intent, death.exit_code) == (Intent.ENGINE, None)


def test_a_memory_kill_that_the_container_survived_is_told_by_the_counter() -> None:
    watchman = Watchman(running())
    watchman.look(1, running(), oom_counts={ID: 0})
    _, [kill] = watchman.look(15, running(), oom_counts={ID: 2})
    assert kill.count == 2


def test_a_memory_kill_that_a_sample_counts_before_its_event_comes_is_told_once() -> None:
    watchman = Watchman()
    young = running(started_at=at(1))
    _, [kill] = watchman.look(2, young, oom_counts={ID: 1})
    assert kill.count == 1
    assert watchman.look(2.1, young, events=[event("oom", 1.9)], oom_counts={ID: 1})[1] == ()
    assert watchman.look(5, young, oom_counts={ID: 1})[1] == ()
    again = running(started_at=at(6), finished_at=at(5.9))
    _, [kill] = watchman.look(7, again, events=[event("die", 5.9, exitCode="0")], oom_counts={ID: 1})
    assert kill.count == 1


def test_a_memory_kill_that_was_survived_is_not_what_ended_the_container_later() -> None:
    watchman = Watchman(running())
    watchman.look(1, running(), oom_counts={ID: 0})
    _, [kill] = watchman.look(15, running(), oom_counts={ID: 1})
    assert kill.count == 1
    events = [event("kill", 3598, signal="15"), event("die", 3599.01, exitCode="0")]
    [death] = watchman.deaths(3600, exited(0, 3599, oom_killed=True), events=events)
    assert (death.oom, death.intent) == (False, Intent.API)


def test_one_survived_before_we_came_aboard_is_not_either() -> None:
    watchman = Watchman(running())
    watchman.look(1, running(), oom_counts={ID: 1})
    [death] = watchman.deaths(60, exited(1, 50, oom_killed=True), complete=True)
    assert (death.oom, death.inferred) == (False, True)


def test_one_that_a_later_kill_follows_is_believed_to_have_ended_it() -> None:
    watchman = Watchman(running())
    watchman.look(1, running(), oom_counts={ID: 1})
    [death] = watchman.deaths(60, exited(137, 59, oom_killed=True), events=[event("die", 59, exitCode="137")])
    assert death.oom
    watchman = Watchman(running())
    watchman.look(1, running(), oom_counts={ID: 1})
    events = [event("oom", 58), event("die", 59, exitCode="1")]
    [death] = watchman.deaths(60, exited(1, 59, oom_killed=True), events=events)
    assert death.oom


def test_memory_kills_from_before_we_came_aboard_are_no_news() -> None:
    watchman = Watchman(running())
    assert watchman.look(1, running(), oom_counts={ID: 7})[1] == ()
    young = running(started_at=at(10))
    watchman.look(20, young, oom_counts={ID: 1})
    again = Ledger(watchman.ledger.baseline, at(30))
    look = Look(now=at(31), before={}, after={ID: young}, complete=True, oom_counts={ID: 1})
    assert again.record(look)[1] == ()


def test_one_memory_kill_with_many_oom_events_is_one() -> None:
    watchman = Watchman(running())
    watchman.look(1, running(), events=[event("oom", 1 + n / 100) for n in range(28)])
    _, kills = watchman.look(4, running())
    assert [kill.count for kill in kills] == [1]
    assert watchman.look(6, running())[1] == ()


@given(
    st.lists(
        st.tuples(st.booleans(), st.booleans(), st.integers(1, 255).filter(lambda code: code != 137)),
        min_size=1,
        max_size=12,
    )
)
def test_every_death_is_told_exactly_once_whatever_events_are_lost(lives: list[tuple[bool, bool, int]]) -> None:
    """Each life: is its event lost, is there a complete look after it, its exit code; its policy restarts it."""
    watchman = Watchman(running())
    told: list[Death] = []
    clock = 0.0
    for count, (lost, complete, code) in enumerate(lives, start=1):
        clock += 20
        again = running(restart_count=count, finished_at=at(clock), started_at=at(clock + 0.2))
        events = [] if lost else [event("die", clock + 0.01, exitCode=str(code))]
        told += watchman.deaths(clock + 0.5, again, events=events, complete=complete)
    told += watchman.deaths(clock + 30, again, complete=True)
    assert len(told) == len(lives)
    assert len({death.key for death in told}) == len(lives)


class Looping:
    """A container that Docker starts again at each end, and the events of its ends that are on their way to us."""

    def __init__(self) -> None:
        self.watchman = Watchman(running())
        self.told: list[Death] = []
        self.ends = 0
        self._clock = 1.0
        self._ended: datetime | None = None
        self._coming: list[Event] = []
        self._missing = False

    def end(self) -> None:
        """End and start again."""
        self.ends += 1
        self._clock += 0.3
        self._ended = at(self._clock)
        self._coming.append(event("die", self._clock + 0.01, exitCode="7"))

    def lose(self) -> None:
        """Lose the events that have not come yet, which the next look knows."""
        self._coming, self._missing = [], True

    def look(self, *, complete: bool = False, ends_meanwhile: int = 0) -> None:
        """Take the events, then inspect, which takes a while."""
        events, self._coming = self._coming, []
        for _ in range(ends_meanwhile):
            self.end()
        complete, self._missing = complete or self._missing, False
        self._clock += 0.1
        shown = running(restart_count=self.ends, finished_at=self._ended, started_at=at(self._clock))
        self.told += self.watchman.deaths(self._clock, shown, events=events, complete=complete)

    def settle(self) -> None:
        """Let it be calm, and look at everything."""
        self._clock += 10
        self.look()
        self.look(complete=True)


@given(st.lists(st.sampled_from(["end", "look", "compare", "compare late", "lose"]), max_size=30))
def test_in_a_fast_loop_every_end_is_told_exactly_once_whatever_is_lost_or_late(steps: list[str]) -> None:
    loop = Looping()
    for step in steps:
        match step:
            case "end":
                loop.end()
            case "lose":
                loop.lose()
            case "look":
                loop.look()
            case "compare":
                loop.look(complete=True)
            case _:
                loop.look(complete=True, ends_meanwhile=2)
    loop.settle()
    assert len(loop.told) == loop.ends
    assert len({death.key for death in loop.told}) == loop.ends
