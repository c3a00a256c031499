from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from collectors.facts import ContainerState, Death, Intent, RestartPolicy
from policies.deaths import Crashes
from policies.policy import ConditionState, Severity
from tests.policies.build import (
    HOUR,
    MINUTE,
    SECOND,
    compose,
    conditions,
    container,
    death,
    exited,
    facts,
    never_started,
    object_id,
    occurrences,
    oom_kill,
    state,
    unhealthy,
)

BAD, OK, BETWEEN = ConditionState.BAD, ConditionState.OK, ConditionState.BETWEEN
CRASHED, OOM_KILLED, LOOP = Crashes.alerts
POLICY = Crashes()


def test_an_end_that_nobody_asked_for_is_a_crash_told_with_its_code_and_uptime() -> None:
    end = death(code=139, uptime=3 * HOUR + 12 * MINUTE)
    [crash] = occurrences(POLICY, facts(deaths=[end]), CRASHED)
    assert (crash.key, crash.at, crash.death) == (end.key, end.finished_at, end)
    assert crash.reason == "exited 139 (SIGSEGV) after 3 h 12 min"


def test_a_crash_that_no_event_told_of_is_said_to_be_found_later() -> None:
    [crash] = occurrences(POLICY, facts(deaths=[death(code=None, inferred=True)]), CRASHED)
    assert crash.reason == "ended, exit code unknown, found only later"


@pytest.mark.parametrize(
    "end",
    [death(code=0), death(code=143, intent=Intent.API), death(code=137, intent=Intent.ENGINE)],
    ids=["clean exit", "docker stop", "engine stopping"],
)
def test_a_clean_or_wanted_end_is_no_crash(end: Death) -> None:
    world = facts(deaths=[end], containers=[exited("web", ago=MINUTE, code=end.exit_code or 0)])
    assert occurrences(POLICY, world, CRASHED) == []
    assert state(POLICY, world, CRASHED) is OK


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_a_clock_that_was_set_neither_ends_nor_begins_a_loop(step: timedelta) -> None:
    def after_the_step(ends: list[Death]) -> list[Death]:
        return [replace(end, finished_at=end.finished_at - step, clock_set=step) for end in ends]

    looping = after_the_step([death(ago=n * MINUTE) for n in range(5, 0, -1)])
    assert state(POLICY, facts(containers=[container()], deaths=looping), LOOP) is BAD
    quiet = after_the_step([death(ago=(n + 20) * MINUTE) for n in range(5, 0, -1)])
    assert state(POLICY, facts(containers=[container()], deaths=quiet), LOOP) is OK


def test_a_death_for_memory_is_told_as_that_only() -> None:
    end = death(code=137, oom=True, memory_limit_bytes=16 * 1024**3)
    world = facts(deaths=[end])
    assert occurrences(POLICY, world, CRASHED) == []
    [kill] = occurrences(POLICY, world, OOM_KILLED)
    assert kill.reason == "exited 137 (SIGKILL), memory limit 16.0 GiB"


def test_a_death_for_memory_counts_though_somebody_was_stopping_it_but_not_while_the_engine_stops() -> None:
    assert occurrences(POLICY, facts(deaths=[death(oom=True, intent=Intent.API)]), OOM_KILLED)
    assert not occurrences(POLICY, facts(deaths=[death(oom=True, intent=Intent.ENGINE)]), OOM_KILLED)


def test_a_kill_that_the_container_survived_is_told_with_a_key_of_its_own() -> None:
    kill = oom_kill(container(), count=2)
    [told] = occurrences(POLICY, facts(oom_kills=[kill]), OOM_KILLED)
    assert told.reason == "2 processes killed, the container lives on"
    assert occurrences(POLICY, facts(oom_kills=[kill]), OOM_KILLED) == [told]


@pytest.mark.parametrize(
    ("bearer", "expected"),
    [
        (container(), OK),
        (container(state=ContainerState.PAUSED), OK),
        (container(health=unhealthy()), BETWEEN),
        (container(state=ContainerState.RESTARTING), BETWEEN),
        (exited("web", ago=MINUTE, code=1), BETWEEN),
        (exited("web", ago=9 * HOUR, code=0), OK),
        (exited("web", ago=9 * HOUR, code=143), BETWEEN),
        (never_started("web", ago=MINUTE), BETWEEN),
    ],
    ids=["running", "paused", "unhealthy", "restarting", "crashed", "clean long ago", "killed long ago", "created"],
)
def test_a_crash_is_over_when_the_container_runs_and_is_not_unhealthy(bearer: object, expected: ConditionState) -> None:
    assert state(POLICY, facts(containers=[bearer]), CRASHED) is expected


def test_a_recreated_container_clears_the_crash_of_its_predecessor() -> None:
    labels = compose("shop", "web")
    old = exited("shop-web-1-old", ago=MINUTE, code=1, labels=labels)
    new = container("shop-web-1", labels=labels)
    world = facts(containers=[new, old], deaths=[death(old.name, labels=labels)])
    assert state(POLICY, world, CRASHED) is OK
    [crash] = occurrences(POLICY, world, CRASHED)
    assert crash.subject.key == "shop/web/1"


def test_a_container_that_is_gone_is_neither_bad_nor_good() -> None:
    world = facts(deaths=[death("job")], oom_kills=[oom_kill(container("other"))])
    for alert in Crashes.alerts:
        assert [(each.subject.key, each.state) for each in conditions(POLICY, world, alert)] == [
            ("job", BETWEEN),
            ("other", BETWEEN),
        ]


def test_five_ends_within_ten_minutes_are_a_loop() -> None:
    [loop] = conditions(POLICY, facts(containers=[container()], deaths=ends(5)), LOOP)
    assert (loop.state, loop.severity, loop.value, loop.limit) == (BAD, Severity.CRITICAL, 5.0, 5.0)
    assert loop.reason == "ended 5 times within 10 min, last: exited 7 (error) after 0.4 s"


def test_four_ends_are_no_loop_yet() -> None:
    assert state(POLICY, facts(containers=[container()], deaths=ends(4)), LOOP) is BETWEEN


def test_ends_of_several_containers_of_one_identity_make_one_loop() -> None:
    recreated = [death("web", container_id=object_id(str(n)), ago=(9 - n) * SECOND) for n in range(5)]
    assert state(POLICY, facts(containers=[container()], deaths=recreated), LOOP) is BAD


def test_a_loop_is_over_after_fifteen_quiet_minutes() -> None:
    assert state(POLICY, facts(containers=[container()], deaths=ends(5, last=14 * MINUTE)), LOOP) is BETWEEN
    assert state(POLICY, facts(containers=[container()], deaths=ends(5, last=15 * MINUTE)), LOOP) is OK


def test_a_clean_exit_counts_only_where_docker_itself_restarts_it() -> None:
    for policy, expected in (("always", BAD), ("unless-stopped", BAD), ("on-failure", OK), ("no", OK)):
        clean = ends(5, code=0, restart_policy=RestartPolicy(policy))
        assert state(POLICY, facts(containers=[container()], deaths=clean), LOOP) is expected


def test_who_keeps_restarting_is_told_as_the_alert_is_judged_and_when_muted_too() -> None:
    quiet = container("quiet", labels={"shipkeeper.alerts": "off"})
    deaths = [*ends(5), *(death("quiet", ago=n * MINUTE, labels=quiet.labels) for n in range(5, 0, -1)), death("once")]
    world = facts(containers=[container(), quiet, container("once")], deaths=deaths)
    assert POLICY.looping(world) == {"web", "quiet"}
    assert POLICY.looping(facts(containers=[container()], deaths=ends(4))) == frozenset()
    assert POLICY.looping(facts(containers=[], deaths=ends(5))) == frozenset(), "of who is gone nothing is told"


def test_wanted_ends_are_no_loop_however_many() -> None:
    assert state(POLICY, facts(containers=[container()], deaths=ends(9, intent=Intent.API)), LOOP) is OK


def test_a_loop_that_somebody_stopped_is_over() -> None:
    stop = death(ago=SECOND, code=137, intent=Intent.API)
    world = facts(containers=[exited("web", ago=SECOND, code=137)], deaths=[*ends(9), stop])
    assert state(POLICY, world, LOOP) is OK


def test_a_loop_goes_on_where_a_wanted_restart_did_not_help() -> None:
    restarted = death(ago=SECOND, code=143, intent=Intent.API)
    assert state(POLICY, facts(containers=[container()], deaths=[*ends(9), restarted]), LOOP) is BAD


def test_of_a_muted_container_nothing_is_told_and_all_is_well() -> None:
    label = {"shipkeeper.alerts": "off"}
    quiet = container(labels=label, state=ContainerState.RESTARTING)
    world = facts(
        containers=[quiet, container("ci-1")],
        deaths=[*ends(9, labels=label), death("ci-1"), death("ci-gone")],
        oom_kills=[oom_kill(quiet)],
        ignore=("ci-*",),
    )
    for alert in Crashes.alerts:
        assert occurrences(POLICY, world, alert) == []
        assert {each.subject.key: each.state for each in conditions(POLICY, world, alert)} == {"web": OK, "ci-1": OK}


def test_what_a_muted_predecessor_did_stays_muted() -> None:
    world = facts(containers=[container()], deaths=ends(9, labels={"shipkeeper.alerts": "off"}))
    assert occurrences(POLICY, world, CRASHED) == []
    assert state(POLICY, world, LOOP) is OK


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"deaths": 1}, "deaths must be 2 or more"),
        ({"window": timedelta(0)}, "window must be longer than zero"),
        ({"quiet": 2 * HOUR}, "quiet must be at most 1 h"),
    ],
)
def test_settings_that_make_no_sense_are_refused(knobs: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Crashes(**knobs)  # type: ignore[arg-type]  # the field varies


def ends(number: int, *, last: timedelta = SECOND, code: int = 7, **changes: Any) -> list[Death]:
    """Give so many ends of `web`, a second apart, oldest first."""
    changes.setdefault("uptime", timedelta(seconds=0.4))
    return [death(ago=last + n * SECOND, code=code, **changes) for n in reversed(range(number))]
