from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from collectors.facts import container_subject
from daemon.alerts.lifecycle import MOST_SEEN
from daemon.alerts.state import RECORD, Phase, compose_of
from policies.catalogue import BY_NAME
from policies.policy import Severity
from tests.daemon.alerts.build import (
    BAD,
    BETWEEN,
    CRASHED,
    DISK,
    DOWN,
    ENGINE,
    GPU,
    LOOP,
    OK,
    OOM,
    ROOT,
    RULES,
    TRAINER,
    UNHEALTHY,
    Story,
    compose,
    condition,
    occurrence,
)
from tests.fakes.clock import NOW

NOTHING_RAN: frozenset[str] = frozenset()


def test_a_condition_fires_when_it_was_bad_for_long_enough() -> None:
    story = Story()
    bad = condition(BAD, UNHEALTHY)
    assert story.round(bad) == []
    assert story.round(bad, after=59) == []
    assert story.phase(UNHEALTHY) is Phase.PENDING
    assert story.round(bad, after=1) == [(UNHEALTHY, "fired")]


def test_a_condition_without_a_delay_fires_at_once() -> None:
    assert Story().round(condition(BAD, DISK, ROOT)) == [(DISK, "fired")]


def test_a_pending_condition_that_is_ok_again_ends_untold() -> None:
    story = Story()
    story.round(condition(BAD, UNHEALTHY))
    ended = story.step(condition(OK, UNHEALTHY), after=30)
    assert ended.notices == ()
    assert [str(each) for each in ended.happened] == [
        "alert container-unhealthy ended untold: trainer-3 on gpu-host-2 · running again"
    ]
    assert story.round(condition(BAD, UNHEALTHY), after=1) == []
    assert story.round(condition(BAD, UNHEALTHY), after=59) == [], "the time spent before does not count"


def test_what_is_well_is_not_remembered() -> None:
    story = Story()
    story.round(condition(OK), condition(BETWEEN, LOOP))
    assert story.states == {}


def test_a_firing_alert_is_resolved_when_it_was_ok_for_long_enough() -> None:
    story = Story()
    story.round(condition(BAD, DISK, ROOT))
    assert story.round(condition(OK, DISK, ROOT), after=60) == []
    assert story.phase(DISK) is Phase.CLEARING
    assert story.round(condition(OK, DISK, ROOT), after=299) == []
    assert story.round(condition(OK, DISK, ROOT), after=1) == [(DISK, "resolved")]


def test_bad_again_while_clearing_goes_on_firing_without_another_message() -> None:
    story = Story()
    story.round(condition(BAD, DISK, ROOT))
    story.round(condition(OK, DISK, ROOT), after=200)
    assert story.round(condition(BAD, DISK, ROOT), after=200) == []
    assert story.round(condition(OK, DISK, ROOT), after=200) == []
    assert story.round(condition(OK, DISK, ROOT), after=299) == []
    assert story.state(DISK).episode == 1


def test_between_neither_fires_nor_clears() -> None:
    story = Story()
    story.round(condition(BAD, UNHEALTHY))
    assert story.round(condition(BETWEEN, UNHEALTHY), after=600) == []
    assert story.phase(UNHEALTHY) is Phase.PENDING
    story.round(condition(BAD, UNHEALTHY), after=60)
    assert story.phase(UNHEALTHY) is Phase.FIRING
    story.round(condition(OK, UNHEALTHY), after=1)
    assert story.round(condition(BETWEEN, UNHEALTHY), after=600) == []
    assert story.phase(UNHEALTHY) is Phase.CLEARING


def test_a_higher_severity_is_told_once_in_an_episode() -> None:
    story = Story()
    warning, critical = (condition(BAD, DISK, ROOT, severity=each) for each in (Severity.WARNING, Severity.CRITICAL))
    assert story.round(warning) == [(DISK, "fired")]
    assert story.round(critical, after=15) == [(DISK, "escalated")]
    assert story.round(warning, after=15) == []
    assert story.round(critical, after=15) == []
    assert story.state(DISK).version == 2


def test_nobody_knows_is_not_ok() -> None:
    story = Story()
    story.round(condition(BAD, UNHEALTHY))
    story.round(condition(BAD, UNHEALTHY), after=60)
    assert story.round(after=3600, ran=NOTHING_RAN) == []
    assert story.round(after=3600) == [], "a policy that ran and did not speak of it knows nothing either"
    assert (story.phase(UNHEALTHY), story.state(UNHEALTHY).unknown) == (Phase.FIRING, True)
    story.round(condition(OK, UNHEALTHY), after=1)
    assert (story.phase(UNHEALTHY), story.state(UNHEALTHY).unknown) == (Phase.CLEARING, False)


def test_timers_stand_still_while_nobody_knows() -> None:
    story = Story()
    story.round(condition(BAD, UNHEALTHY))
    story.round(condition(BAD, UNHEALTHY), after=30)
    story.round(after=3600, ran=NOTHING_RAN)
    assert story.round(condition(BAD, UNHEALTHY), after=29) == []
    assert story.round(condition(BAD, UNHEALTHY), after=1) == [(UNHEALTHY, "fired")]


def test_a_wall_clock_that_is_set_back_does_not_disturb_timers() -> None:
    story = Story()
    story.round(condition(BAD, UNHEALTHY))
    story.now -= timedelta(hours=1)
    assert story.round(condition(BAD, UNHEALTHY), after=60) == [(UNHEALTHY, "fired")]


def test_a_crash_that_does_not_come_back_is_told_after_its_delay() -> None:
    story = Story()
    crash = occurrence(log_tail=("step 4180",))
    assert story.round(crash, condition(BETWEEN)) == []
    assert story.round(crash, condition(BETWEEN), after=29) == []
    assert story.round(crash, condition(BETWEEN), after=1) == [(CRASHED, "fired")]
    told = story.state()
    assert told.death is not None
    assert (told.count, told.death.log_tail, told.reason) == (1, ("step 4180",), "exited 7 (error) after 3 h 12 min")


def test_a_crash_that_is_over_when_its_time_is_up_ends_untold() -> None:
    story = Story()
    story.round(occurrence(), condition(OK))
    assert story.round(occurrence(), condition(OK), after=29) == []
    ended = story.step(occurrence(), condition(OK), after=1)
    assert (ended.notices, [each.what for each in ended.happened]) == ((), ["ended untold"])
    assert story.round(occurrence(), condition(BETWEEN), after=600) == [], "the same crash is no news"


def test_a_crash_of_a_container_that_is_gone_at_once_is_told() -> None:
    story = Story()
    story.present = frozenset()
    story.round(occurrence(), condition(BETWEEN))
    assert story.round(occurrence(), after=30) == [(CRASHED, "fired")]


def test_a_removed_container_resolves_its_alert() -> None:
    story = Story()
    story.present = frozenset({TRAINER.key})
    story.round(occurrence(), condition(BETWEEN))
    story.round(occurrence(), condition(BETWEEN), after=30)
    story.present = frozenset()
    story.round(occurrence(), condition(BETWEEN), after=15)
    assert story.round(occurrence(), after=120) == [(CRASHED, "resolved")]
    assert story.state().resolution == "it was removed"


def test_while_docker_cannot_tell_nothing_counts_as_removed() -> None:
    story = Story()
    story.round(occurrence(), condition(BETWEEN))
    story.round(occurrence(), condition(BETWEEN), after=30)
    story.present = None
    assert story.round(after=3600) == []
    assert story.phase() is Phase.FIRING


def test_a_crash_without_a_delay_is_told_even_if_it_runs_again_already() -> None:
    story = Story({CRASHED: replace(RULES[CRASHED], hold=timedelta(0))})
    assert story.round(occurrence(), condition(OK)) == [(CRASHED, "fired")]
    assert story.round(occurrence(), condition(OK), after=1) == []
    assert story.phase() is Phase.CLEARING


def test_more_crashes_of_one_episode_are_counted_not_told() -> None:
    story = Story()
    crashes = [occurrence(at=NOW + timedelta(seconds=each)) for each in (0, 40, 80)]
    story.round(crashes[0], condition(BETWEEN))
    story.round(crashes[0], condition(BETWEEN), after=30)
    assert story.round(*crashes, condition(BETWEEN), after=60) == []
    assert story.state().count == 3
    assert story.round(*crashes, condition(BETWEEN), after=15) == []
    assert story.state().count == 3


def test_a_crash_after_the_resolution_is_a_new_episode() -> None:
    story = Story({CRASHED: replace(RULES[CRASHED], hold=timedelta(0))})
    first, second = occurrence(), occurrence(at=NOW + timedelta(minutes=10))
    story.round(first)
    story.round(first, condition(OK), after=15)
    assert story.round(first, condition(OK), after=120) == [(CRASHED, "resolved")]
    assert story.round(first, condition(OK), after=15) == []
    assert story.round(first, second, after=600) == [(CRASHED, "fired")]
    assert (story.state().episode, story.state().count) == (2, 1)


def test_an_older_crash_that_is_found_late_does_not_open_a_closed_story() -> None:
    story = Story({CRASHED: replace(RULES[CRASHED], hold=timedelta(0))})
    story.round(occurrence())
    story.round(occurrence(), condition(OK), after=15)
    story.round(occurrence(), condition(OK), after=120)
    assert story.round(occurrence(at=NOW - timedelta(minutes=5)), occurrence(), after=15) == []


def test_a_crash_after_the_clock_was_set_back_is_news_all_the_same() -> None:
    story = Story()
    story.round(occurrence(at=story.now), condition(OK))
    story.round(condition(OK), after=31)
    assert not story.phase().active
    story.now -= timedelta(hours=1)
    story.round(occurrence(at=story.now), condition(BETWEEN), after=1)
    assert story.phase() is Phase.PENDING


def test_occurrences_beyond_what_is_remembered_stay_old() -> None:
    story = Story()
    storm = [occurrence(at=NOW + timedelta(milliseconds=each)) for each in range(3 * MOST_SEEN)]
    story.round(*storm, condition(BETWEEN))
    story.round(*storm, condition(BETWEEN), after=30)
    assert story.state().count == 3 * MOST_SEEN
    assert len(story.state().seen) == MOST_SEEN
    story.round(*storm, condition(BETWEEN), after=15)
    assert story.state().count == 3 * MOST_SEEN


def test_a_quick_restart_loop_is_one_message_and_no_crash() -> None:
    story = Story()
    crashes = [occurrence(at=NOW + timedelta(seconds=each), log_tail=(f"try {each}",)) for each in range(5)]
    news = [story.round(*crashes[: each + 1], condition(OK), condition(BETWEEN, LOOP), after=1) for each in range(4)]
    news.append(story.round(*crashes, condition(OK), condition(BAD, LOOP, severity=Severity.CRITICAL), after=1))
    news += [story.round(*crashes, condition(BETWEEN), condition(BAD, LOOP), after=15) for _ in range(9)]
    assert [each for each in news if each] == [[(LOOP, "fired")]]
    told = story.state(LOOP).death
    assert told is not None
    assert told.log_tail == ("try 4",), "it shows what the crash would have shown"


def test_a_kill_for_memory_that_was_told_before_the_loop_is_known_ends_without_a_word() -> None:
    story = Story()
    assert story.round(occurrence(OOM)) == [(OOM, "fired")]
    assert story.round(occurrence(OOM), condition(BAD, LOOP), after=3) == [(LOOP, "fired")]
    assert story.phase(OOM) is Phase.INACTIVE
    assert story.state(OOM).resolution == "part of container-restart-loop"


def test_what_is_still_bad_after_the_speaker_is_told_then() -> None:
    story = Story()
    down, sick = condition(BAD, DOWN, ENGINE), condition(BAD, UNHEALTHY)
    assert story.round(down, sick) == [(DOWN, "fired")]
    assert story.round(down, sick, after=600) == []
    story.round(condition(OK, DOWN, ENGINE), sick, after=5)
    assert story.round(condition(OK, DOWN, ENGINE), sick, after=10) == [(DOWN, "resolved")]
    assert story.round(condition(OK, DOWN, ENGINE), sick, after=60) == [(UNHEALTHY, "fired")]


def test_a_speaker_that_is_pending_holds_back_and_one_that_ends_untold_swallows_nothing() -> None:
    story = Story({"gpu-lost": BY_NAME["gpu-lost"], "gpu-xid": BY_NAME["gpu-xid"]})
    error, lost = occurrence("gpu-xid", GPU), condition(BAD, "gpu-lost", GPU)
    assert story.round(error, lost) == []
    assert story.round(error, lost, after=29) == []
    assert story.round(error, condition(OK, "gpu-lost", GPU), after=0.5) == [("gpu-xid", "fired")]


def test_what_a_speaker_held_back_is_part_of_it_once_it_is_told() -> None:
    story = Story({"gpu-lost": BY_NAME["gpu-lost"], "gpu-xid": BY_NAME["gpu-xid"]})
    error, lost = occurrence("gpu-xid", GPU), condition(BAD, "gpu-lost", GPU)
    story.round(error, lost)
    assert story.round(error, lost, after=30) == [("gpu-lost", "fired")]
    well = condition(OK, "gpu-lost", GPU)
    assert story.round(error, well, after=15) == []
    assert story.round(error, well, after=60) == [("gpu-lost", "resolved")]
    assert story.round(error, well, after=15) == [], "it was told with the loss"


def test_a_pending_speaker_does_not_end_what_people_know_of() -> None:
    story = Story({"gpu-lost": BY_NAME["gpu-lost"], "gpu-ecc": BY_NAME["gpu-ecc"]})
    failing, lost = condition(BAD, "gpu-ecc", GPU), condition(BAD, "gpu-lost", GPU)
    assert story.round(failing) == [("gpu-ecc", "fired")]
    assert story.round(failing, lost, after=15) == []
    assert story.phase("gpu-ecc") is Phase.FIRING
    assert story.round(lost, after=30) == [("gpu-lost", "fired")]
    assert story.phase("gpu-ecc") is Phase.INACTIVE


def test_a_gpu_that_is_not_there_after_a_reboot_resolves_its_alerts() -> None:
    story = Story({"gpu-lost": BY_NAME["gpu-lost"]})
    story.round(condition(BAD, "gpu-lost", GPU))
    assert story.round(condition(BAD, "gpu-lost", GPU), after=30) == [("gpu-lost", "fired")]
    story.round(after=15)
    assert story.state("gpu-lost").unknown, "while one is missing nobody knows which are there"
    story.gpus = frozenset({"GPU-another"})
    story.round(after=15)
    assert story.round(after=60) == [("gpu-lost", "resolved")]
    assert story.state("gpu-lost").resolution == "it was removed"


def test_the_journal_says_whom_it_affects() -> None:
    found = condition(BAD, "gpu-ecc", GPU)._replace(details=("Containers on it: trainer-3", "NVIDIA H100"))
    story = Story({"gpu-ecc": BY_NAME["gpu-ecc"]})
    [fired] = story.step(found).happened
    assert (
        str(fired)
        == "alert gpu-ecc firing: GPU 2 on gpu-host-2 · it is bad · Containers on it: trainer-3 · NVIDIA H100"
    )


def test_what_was_told_before_the_engine_went_down_is_resolved_when_it_is_well_after() -> None:
    story = Story()
    story.round(condition(BAD, UNHEALTHY))
    assert story.round(condition(BAD, UNHEALTHY), after=60) == [(UNHEALTHY, "fired")]
    assert story.round(condition(BAD, DOWN, ENGINE), after=5, ran=frozenset({DOWN})) == [(DOWN, "fired")]
    assert story.state(UNHEALTHY).unknown
    assert story.phase(UNHEALTHY) is Phase.FIRING
    story.round(condition(OK, DOWN, ENGINE), condition(OK, UNHEALTHY), after=5)
    assert story.round(condition(OK, DOWN, ENGINE), condition(OK, UNHEALTHY), after=60) == [
        (UNHEALTHY, "resolved"),
        (DOWN, "resolved"),
    ]


def test_another_container_is_not_part_of_a_loop() -> None:
    story = Story({OOM: RULES[OOM], LOOP: RULES[LOOP]})
    other = container_subject("other", {})
    assert story.round(occurrence(OOM, other), condition(BAD, LOOP)) == [(OOM, "fired"), (LOOP, "fired")]


def test_an_alert_that_is_switched_off_is_resolved_and_not_heard_of_again() -> None:
    story = Story()
    story.round(condition(BAD, DISK, ROOT))
    story.rules = {name: rule for name, rule in RULES.items() if name != DISK}
    assert story.round(condition(BAD, DISK, ROOT), after=15) == [(DISK, "resolved")]
    assert story.round(condition(BAD, DISK, ROOT), after=15) == []


def test_the_most_severe_news_comes_first() -> None:
    story = Story()
    news = story.round(condition(BAD, DISK, ROOT), condition(BAD, DOWN, ENGINE, severity=Severity.CRITICAL))
    assert news == [(DOWN, "fired"), (DISK, "fired")]


def test_a_recreated_container_is_the_same_subject_under_its_new_name() -> None:
    story = Story()
    story.round(condition(BAD, DISK, ROOT))
    story.round(condition(BAD, DISK, replace(ROOT, name="/ (new disk)")), after=15)
    assert story.state(DISK).subject.name == "/ (new disk)"


def test_a_state_comes_back_from_the_store_as_it_was() -> None:
    story = Story()
    story.round(occurrence(log_tail=("äöü \x1b[1m",)), condition(BAD, LOOP, severity=Severity.CRITICAL))
    for state in story.states.values():
        assert RECORD.validate_json(RECORD.dump_json(state)) == state


@pytest.mark.parametrize(
    ("subject", "expected"),
    [(compose("train", 3), ("nlp", "train")), (TRAINER, None), (ROOT, None), (ENGINE, None)],
)
def test_compose_names_are_read_from_the_identity(subject: object, expected: object) -> None:
    assert compose_of(subject) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("back", [timedelta(hours=1), timedelta(days=365)])
def test_after_very_many_crashes_and_a_clock_set_back_the_next_crash_is_still_news(back: timedelta) -> None:
    story = Story({OOM: RULES[OOM]})
    many = [occurrence(OOM, at=NOW + timedelta(seconds=number)) for number in range(MOST_SEEN + 10)]
    assert story.round(*many, after=MOST_SEEN + 10) == [(OOM, "fired")]
    story.round(condition(OK, OOM), after=1)
    assert story.round(condition(OK, OOM), after=1800) == [(OOM, "resolved")]
    story.now -= back
    assert story.round(*many, condition(OK, OOM), after=1) == []
    crash = occurrence(OOM, at=story.now)
    assert story.round(*many, crash, condition(BETWEEN, OOM), after=1) == [(OOM, "fired")]


def test_what_is_worse_than_its_speaker_speaks_for_itself() -> None:
    predicted = "disk-fill-predicted"
    story = Story({DISK: RULES[DISK], predicted: replace(BY_NAME[predicted], hold=timedelta(0))})
    low, full_soon = condition(BAD, DISK, ROOT), condition(BAD, predicted, ROOT)
    assert story.round(low, full_soon) == [(DISK, "fired")]
    assert story.round(low, full_soon._replace(severity=Severity.CRITICAL), after=15) == [(predicted, "fired")]
