"""The real policies and the lifecycle together: what people are told of one container's fate."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from collectors.facts import ContainerState, Death, Facts, Intent, RestartPolicy
from policies.catalogue import BY_NAME
from policies.deaths import Crashes
from tests.daemon.alerts.build import CRASHED, LOOP, OOM, Story
from tests.policies.build import container, death, facts

ALWAYS = RestartPolicy("always")


def tell(story: Story, snapshot: Facts, after: float = 0) -> list[tuple[str, str]]:
    """Let the policies judge a snapshot, and do a round with what they find."""
    story.present = frozenset(each.subject.key for each in snapshot.containers)
    findings = list(Crashes().decide(snapshot))
    return story.round(*findings, after=after, ran=frozenset(Crashes.alerts))


def end(story: Story, **changes: Any) -> Death:
    """Give an end of the container `web` just now."""
    return death("web", finished_at=story.now, **changes)


def test_a_container_that_crashes_quickly_again_and_again_is_told_once_as_a_loop() -> None:
    story = Story(BY_NAME)
    deaths: list[Death] = []
    told = []
    for pause in (0, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2):
        story.now += timedelta(seconds=pause)
        deaths.append(end(story, restart_policy=ALWAYS))
        restarting = container("web", state=ContainerState.RESTARTING, restart_policy=ALWAYS)
        told += tell(story, facts(containers=(restarting,), deaths=tuple(deaths), now=story.now), after=pause)
    assert told == [(LOOP, "fired")]


def test_a_crash_with_a_restart_that_works_is_not_told() -> None:
    story = Story(BY_NAME)
    snapshot = facts(containers=(container("web", restart_policy=ALWAYS),), deaths=(end(story, restart_policy=ALWAYS),))
    assert [tell(story, snapshot, after=seconds) for seconds in (0, 15, 15, 15)] == [[], [], [], []]


def test_a_crash_of_a_container_that_removes_itself_is_told() -> None:
    story = Story(BY_NAME)
    snapshot = facts(deaths=(end(story),))
    assert [tell(story, snapshot, after=seconds) for seconds in (0, 15, 15)] == [[], [], [(CRASHED, "fired")]]


def test_a_kill_for_memory_is_not_told_as_a_crash_too() -> None:
    story = Story(BY_NAME)
    snapshot = facts(deaths=(end(story, oom=True, exit_code=137),))
    assert [tell(story, snapshot, after=seconds) for seconds in (0, 30, 30)] == [[(OOM, "fired")], [], []]


def test_a_container_that_somebody_stopped_is_not_told() -> None:
    story = Story(BY_NAME)
    snapshot = facts(deaths=(end(story, intent=Intent.API, exit_code=137),))
    assert [tell(story, snapshot, after=seconds) for seconds in (0, 30)] == [[], []]
