from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from daemon.alerts import outbox
from daemon.alerts.state import NoticeKind
from daemon.alerts.telling import FLAPS
from daemon.steady import SteadyClock
from policies.policy import Severity
from tests.daemon.alerts.build import (
    BAD,
    DISK,
    DOWN,
    ENGINE,
    LOOP,
    OK,
    OOM,
    ROOT,
    UNHEALTHY,
    Story,
    compose,
    condition,
    occurrence,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collectors.facts import Subject
    from daemon.alerts.outbox import Batch
    from daemon.alerts.telling import Telling
    from daemon.store import Store
    from policies.policy import Condition
    from tests.fakes.clock import FakeClock

WAIT = timedelta(seconds=20)


class Desk:
    """An outbox that is told what a story brings, and read as a sender would."""

    def __init__(self, store: Store, clock: FakeClock) -> None:
        self.store = store
        self.clock = SteadyClock(clock, clock.now())
        self._wall = clock

    def save(self, step: Telling, sinks: Sequence[str] = ("slack",)) -> None:
        """Write what a step brought."""
        now = self.clock.now()
        self.store.write(lambda inside: outbox.save(inside, step.changed, step.notices, sinks, WAIT, now))

    def next(self, sink: str = "slack") -> Batch | None:
        """Give what is to be told first."""
        return outbox.next_batch(self.store, sink, self.clock.now())

    def told(self) -> list[tuple[str, list[str]]]:
        """Take all that is due, as delivered: the kinds with the names of what they are about."""
        told = []
        while batch := self.next():
            told.append((batch.kind.value, [state.subject.name for state in batch.states]))
            outbox.mark_sent(self.store, batch.ids, self.clock.now())
        return told

    def pass_time(self, seconds: float) -> None:
        """Let so many seconds pass."""
        self._wall.advance(timedelta(seconds=seconds))

    def set_clock(self, step: timedelta) -> None:
        """Set the wall clock, as an admin would."""
        self._wall.step(step)

    def states(self) -> list[str]:
        """Give the state of every row."""
        return [row["state"] for row in self.store.read("SELECT state FROM outbox ORDER BY id")]


@pytest.fixture
def desk(store: Store, clock: FakeClock) -> Desk:
    return Desk(store, clock)


def test_states_are_there_after_a_restart(desk: Desk) -> None:
    story = Story()
    desk.save(story.step(occurrence(log_tail=("last words",)), condition(BAD, DISK, ROOT)))
    assert outbox.load_states(desk.store) == story.states


def test_a_message_waits_for_others_of_its_family_and_goes_with_them(desk: Desk) -> None:
    story = Story()
    first, second = compose("train", 1), compose("train", 2)
    desk.save(story.step(occurrence(OOM, first)))
    desk.pass_time(15)
    desk.save(story.step(occurrence(OOM, first), occurrence(OOM, second), after=15))
    assert desk.told() == []
    desk.pass_time(5)
    assert desk.told() == [("fired", ["nlp-train-1", "nlp-train-2"])]


def test_another_project_has_a_message_of_its_own(desk: Desk) -> None:
    desk.save(Story().step(occurrence(OOM, compose("train")), occurrence(OOM, compose("train", project="web"))))
    desk.pass_time(20)
    assert desk.told() == [("fired", ["nlp-train-1"]), ("fired", ["web-train-1"])]


def test_a_critical_alert_waits_less_and_goes_first(desk: Desk) -> None:
    story = Story()
    desk.save(story.step(condition(BAD, DISK, ROOT)))
    desk.pass_time(17)
    desk.save(story.step(condition(BAD, DOWN, ENGINE, severity=Severity.CRITICAL), after=17))
    desk.pass_time(5)
    assert desk.told() == [("fired", ["Docker Engine"]), ("fired", ["/"])]


def test_what_is_over_before_it_is_told_is_never_told(desk: Desk) -> None:
    story = Story()
    desk.save(story.step(condition(BAD, LOOP)))
    desk.pass_time(10)
    desk.save(story.step(condition(OK, LOOP), after=10))
    desk.pass_time(60)
    assert desk.told() == []
    assert desk.states() == ["dropped"]


def test_what_was_over_during_an_outage_is_told_as_one_resolution(desk: Desk) -> None:
    story = Story()
    desk.save(story.step(condition(BAD, LOOP)))
    desk.pass_time(20)
    failed = desk.next()
    assert failed is not None
    outbox.mark_retry(desk.store, failed.ids, "Slack cannot be reached", desk.clock.now() + timedelta(minutes=5))
    desk.pass_time(60)
    desk.save(story.step(condition(OK, LOOP), after=60))
    desk.pass_time(300)
    assert desk.told() == [("resolved", ["trainer-3"])]


def test_that_something_flaps_is_told_after_an_outage_though_it_was_well_for_a_moment(desk: Desk) -> None:
    story = Story()
    bad, well = condition(BAD, UNHEALTHY), condition(OK, UNHEALTHY)

    def go_on(finding: Condition) -> None:
        for _ in range(2):
            desk.save(story.step(finding, after=61))
            desk.pass_time(61)

    for _ in range(FLAPS - 1):
        go_on(bad)
        desk.told()
        go_on(well)
        desk.told()
    go_on(bad)
    failed = desk.next()
    assert failed is not None
    outbox.mark_retry(desk.store, failed.ids, "Slack cannot be reached", desk.clock.now() + timedelta(minutes=5))
    go_on(well)
    desk.save(story.step(bad, after=1))
    desk.save(story.step(well, after=1))  # over before its time
    go_on(bad)
    desk.pass_time(300)
    assert desk.told() == [("flapping", ["trainer-3"])]


def test_a_resolution_says_how_that_episode_ended_though_the_next_may_be_coming(desk: Desk) -> None:
    story = Story()
    bad, well = condition(BAD, UNHEALTHY), condition(OK, UNHEALTHY)
    desk.save(story.step(bad))
    desk.save(story.step(bad, after=60))
    desk.pass_time(20)
    desk.told()
    desk.save(story.step(well, after=20))
    desk.save(story.step(well, after=60))
    desk.save(story.step(bad, after=1))
    desk.pass_time(20)
    batch = desk.next()
    assert batch is not None
    assert (batch.kind, batch.states[0].resolution) == (NoticeKind.RESOLVED, "running again")


def test_the_end_is_told_of_what_people_know_though_it_came_and_went_once_more(desk: Desk) -> None:
    story = Story()
    desk.save(story.step(condition(BAD, LOOP)))
    desk.pass_time(20)
    assert desk.told() == [("fired", ["trainer-3"])]
    for state in (OK, BAD, OK):
        desk.save(story.step(condition(state, LOOP), after=1))
        desk.pass_time(1)
    desk.pass_time(20)
    assert desk.told() == [("resolved", ["trainer-3"])]


def test_the_end_is_told_after_an_outage_though_it_nearly_came_back_meanwhile(desk: Desk) -> None:
    story = Story()
    bad, well = condition(BAD, UNHEALTHY), condition(OK, UNHEALTHY)
    desk.save(story.step(bad))
    desk.save(story.step(bad, after=60))
    desk.pass_time(20)
    assert desk.told() == [("fired", ["trainer-3"])]
    desk.save(story.step(well, after=20))
    desk.save(story.step(well, after=60))
    desk.save(story.step(bad, after=1))
    desk.save(story.step(well, after=1))
    desk.pass_time(300)
    assert desk.told() == [("resolved", ["trainer-3"])]


def test_the_end_is_told_of_what_was_delivered_by_a_daemon_that_was_killed(desk: Desk) -> None:
    story = Story()
    desk.save(story.step(condition(BAD, LOOP)))
    desk.pass_time(20)
    assert desk.next() is not None, "taken and delivered, but never noted"
    for state in (OK, BAD, OK):
        desk.save(story.step(condition(state, LOOP), after=1))
        desk.pass_time(1)
    desk.pass_time(20)
    assert desk.told() == [("resolved", ["trainer-3"])]


def test_the_end_is_told_of_what_went_early_with_a_storm_from_a_daemon_that_was_killed(desk: Desk) -> None:
    story = Story()
    fleet = [compose("web", number, project=f"shop-{number}") for number in range(12)]
    desk.save(story.step(*(condition(BAD, LOOP, each) for each in fleet[:6])))
    desk.pass_time(19)
    desk.save(story.step(*(condition(BAD, LOOP, each) for each in fleet[6:]), after=19))
    desk.pass_time(1)
    taken = desk.next()
    assert taken is not None
    assert len(outbox.claim(desk.store, taken, desk.clock.now()).states) == 12, "delivered, but never noted"
    desk.save(story.step(*(condition(OK, LOOP, each) for each in fleet), after=1))
    desk.pass_time(20)
    assert desk.told() == [("resolved", [each.name for each in fleet])]


def test_what_is_over_while_a_storm_is_put_together_does_not_go_early_with_it(desk: Desk) -> None:
    story = Story()
    fleet = [compose("web", number, project=f"shop-{number}") for number in range(12)]
    desk.save(story.step(condition(BAD, LOOP, fleet[0])))
    desk.pass_time(19)
    desk.save(story.step(*(condition(BAD, LOOP, each) for each in fleet[1:]), after=19))
    desk.pass_time(1)
    taken = desk.next()
    assert taken is not None
    desk.save(story.step(condition(OK, LOOP, fleet[5]), after=1))
    claimed = outbox.claim(desk.store, taken, desk.clock.now())
    assert [each.subject.name for each in claimed.states] == [each.name for each in fleet if each is not fleet[5]]
    assert len(claimed.ids) == 11


def test_a_new_episode_makes_the_old_resolution_no_news(desk: Desk) -> None:
    story = Story()
    desk.save(story.step(condition(BAD, LOOP)))
    desk.pass_time(20)
    desk.told()
    desk.save(story.step(condition(OK, LOOP), after=20))
    desk.save(story.step(condition(BAD, LOOP), after=1))
    desk.pass_time(20)
    assert desk.told() == [("fired", ["trainer-3"])]


def test_a_waiting_message_that_becomes_critical_goes_sooner_and_says_so(desk: Desk) -> None:
    story = Story()
    desk.save(story.step(condition(BAD, DISK, ROOT)))
    desk.pass_time(1)
    desk.save(story.step(condition(BAD, DISK, ROOT, severity=Severity.CRITICAL), after=1))
    desk.pass_time(5)
    batch = desk.next()
    assert batch is not None
    assert (batch.kind, batch.states[0].severity) == (NoticeKind.FIRED, Severity.CRITICAL)
    assert len(desk.told()) == 1


def test_an_escalation_after_the_message_is_a_message(desk: Desk) -> None:
    story = Story()
    desk.save(story.step(condition(BAD, DISK, ROOT)))
    desk.pass_time(20)
    desk.told()
    desk.save(story.step(condition(BAD, DISK, ROOT, severity=Severity.CRITICAL), after=20))
    desk.pass_time(5)
    assert desk.told() == [("escalated", ["/"])]


def test_what_became_part_of_a_loop_before_it_was_told_is_not_told(desk: Desk) -> None:
    story = Story()
    desk.save(story.step(occurrence(OOM)))
    desk.pass_time(3)
    desk.save(story.step(occurrence(OOM), condition(BAD, LOOP), after=3))
    desk.pass_time(20)
    told = desk.next()
    assert told is not None
    assert [state.alert for state in told.states] == [LOOP]
    assert len(desk.told()) == 1


def test_a_late_message_shows_how_things_stand_now(desk: Desk) -> None:
    story = Story()
    desk.save(story.step(condition(BAD, DISK, ROOT, reason="11.4 GiB (9 %) left")))
    desk.pass_time(20)
    desk.save(story.step(condition(BAD, DISK, ROOT, reason="8.0 GiB (6 %) left"), after=20))
    batch = desk.next()
    assert batch is not None
    assert batch.states[0].reason == "8.0 GiB (6 %) left"


def test_each_sink_has_its_own_copy(desk: Desk) -> None:
    desk.save(Story().step(condition(BAD, DISK, ROOT)), sinks=("console", "slack"))
    desk.pass_time(20)
    assert len(desk.told()) == 1
    assert desk.next("console") is not None


def test_a_message_that_fails_again_and_again_lets_the_others_go_first(desk: Desk) -> None:
    desk.save(Story().step(condition(BAD, DISK, ROOT, severity=Severity.CRITICAL), occurrence(OOM)))
    desk.pass_time(20)
    for _ in range(4):
        batch = desk.next()
        assert batch is not None
        assert batch.states[0].alert == DISK
        outbox.mark_retry(desk.store, batch.ids, "HTTP 500", desk.clock.now())
    assert desk.told() == [("fired", ["trainer-3"]), ("fired", ["/"])]


def test_what_one_message_cannot_name_is_told_in_the_next(desk: Desk) -> None:
    desk.save(Story().step(*(occurrence(OOM, compose("trainer", number)) for number in range(130))))
    desk.pass_time(20)
    told = [names for _, names in desk.told()]
    assert [len(names) for names in told] == [outbox.MOST_IN_STORM, 5]
    assert len({name for names in told for name in names}) == 130


def test_what_was_dropped_while_it_was_sent_is_not_sent_again(desk: Desk) -> None:
    story = Story()
    desk.save(story.step(occurrence(OOM)))
    desk.pass_time(20)
    in_flight = desk.next()
    assert in_flight is not None
    desk.save(story.step(occurrence(OOM), condition(BAD, LOOP), after=20))
    outbox.mark_retry(desk.store, in_flight.ids, "HTTP 500", desk.clock.now())
    assert desk.states()[0] == "dropped"


@pytest.mark.parametrize("step", [timedelta(hours=1), timedelta(hours=-1), timedelta(days=366), timedelta(days=-366)])
def test_a_wall_clock_that_is_set_neither_holds_nor_hurries_nor_gives_up_a_message(desk: Desk, step: timedelta) -> None:
    desk.save(Story().step(condition(BAD, DISK, ROOT)))
    desk.pass_time(10)
    desk.set_clock(step)
    desk.store.write(lambda inside: outbox.prune(inside, desk.clock.now()))
    assert desk.told() == []
    desk.pass_time(10)
    assert desk.told() == [("fired", ["/"])]


def test_what_could_not_be_delivered_for_a_day_is_given_up(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    critical = condition(BAD, DISK, ROOT, severity=Severity.CRITICAL)
    desk.save(Story().step(critical, occurrence(OOM)))
    desk.pass_time(25 * 3600)
    desk.store.write(lambda inside: outbox.prune(inside, desk.clock.now()))
    assert "gave up 1 message of severity warning: not delivered within 1 day" in caplog.text
    assert desk.told() == [("fired", ["/"])]


def test_after_a_week_only_what_is_still_on_is_remembered(desk: Desk) -> None:
    story = Story()
    desk.save(story.step(condition(BAD, LOOP), condition(BAD, DISK, ROOT)))
    desk.save(story.step(condition(OK, LOOP), after=1))
    desk.pass_time(20)
    desk.told()
    desk.pass_time(8 * 24 * 3600)
    for _ in range(2):
        desk.store.write(lambda inside: outbox.prune(inside, desk.clock.now()))
    assert [state.alert for state in outbox.load_states(desk.store).values()] == [DISK]
    assert desk.states() == []


def test_names_without_number_do_not_fill_the_store(desk: Desk) -> None:
    jobs = [compose("job", number) for number in range(outbox.MOST_ENDED)]
    end(desk, compose("first"))
    end(desk, *jobs)
    desk.store.write(lambda inside: outbox.prune(inside, desk.clock.now()))
    assert len(outbox.load_states(desk.store)) == outbox.MOST_ENDED + 1, "they ended just now"
    desk.pass_time(3 * 3600)
    desk.store.write(lambda inside: outbox.prune(inside, desk.clock.now()))
    assert {state.subject for state in outbox.load_states(desk.store).values()} == set(jobs)
    end(desk, compose("first"))


def end(desk: Desk, *subjects: Subject) -> None:
    """Let the alerts of these be told, and be over, as if they had never been before."""
    story = Story()
    desk.save(story.step(*(condition(BAD, LOOP, subject) for subject in subjects)))
    desk.pass_time(20)
    assert sum(len(names) for _, names in desk.told()) == len(subjects)
    desk.save(story.step(*(condition(OK, LOOP, subject) for subject in subjects)))
    desk.pass_time(20)
    assert sum(len(names) for _, names in desk.told()) == len(subjects)


def test_the_backlog_is_counted(desk: Desk) -> None:
    assert outbox.backlog(desk.store, "slack") == outbox.Backlog(0, None)
    began = desk.clock.now()
    desk.save(Story().step(condition(BAD, DISK, ROOT), occurrence(OOM)))
    assert outbox.backlog(desk.store, "slack") == outbox.Backlog(2, began)
    assert outbox.next_due(desk.store, "slack") == began + WAIT


def test_a_record_that_cannot_be_read_is_left_out(desk: Desk) -> None:
    desk.save(Story().step(condition(BAD, DISK, ROOT)))
    desk.store.write(lambda inside: inside.execute("UPDATE alert_states SET record = '{}'"))
    desk.pass_time(20)
    assert outbox.load_states(desk.store) == {}
    assert desk.told() == [("fired", ["/"])], "the notice itself can still be told"


@pytest.mark.parametrize("spoiled", ["{}", '{"phase'])
def test_what_a_record_that_cannot_be_read_was_about_is_told_again(desk: Desk, spoiled: str) -> None:
    desk.save(Story().step(condition(BAD, DISK, ROOT)))
    desk.pass_time(20)
    assert desk.told() == [("fired", ["/"])]
    desk.store.write(lambda inside: inside.execute("UPDATE alert_states SET record = ?", (spoiled,)))
    assert outbox.load_states(desk.store) == {}
    desk.save(Story().step(condition(BAD, DISK, ROOT)))
    desk.pass_time(20)
    assert desk.told() == [("fired", ["/"])]


def test_a_record_that_is_no_json_stops_no_housekeeping(desk: Desk) -> None:
    desk.save(Story().step(condition(BAD, DISK, ROOT)))
    desk.store.write(lambda inside: inside.execute("UPDATE alert_states SET record = '{'"))
    outbox.load_states(desk.store)
    desk.pass_time(timedelta(hours=25).total_seconds())
    desk.store.write(lambda inside: outbox.prune(inside, desk.clock.now()))
    assert desk.states() == ["failed"]
