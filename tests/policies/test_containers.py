from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from collectors.facts import COMPOSE_ONEOFF, ContainerState, Facts, Protection, RestartPolicy
from policies.containers import ExitedContainers
from policies.policy import Removal
from tests.policies.build import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    compose,
    container,
    exited,
    facts,
    filesystem,
    image,
    kept,
    never_started,
    removed,
)

POLICY = ExitedContainers()


def test_a_clean_exit_is_removed_after_three_days_with_its_story_as_the_reason() -> None:
    world = facts(containers=[exited("etl", ago=9 * DAY)])
    assert removed(POLICY, world) == {"etl": "exited 0 (clean exit) 9 days ago"}


def test_a_failure_is_kept_longer_than_a_clean_exit() -> None:
    world = facts(containers=[exited("good", ago=4 * DAY), exited("bad", ago=4 * DAY, code=1)])
    assert list(removed(POLICY, world)) == ["good"]
    assert kept(POLICY, world) == {"bad": "too recent: exited 1 (error) 4 days ago, kept for 7 days"}


def test_a_kill_for_memory_counts_as_a_failure_whatever_the_exit_code() -> None:
    world = facts(containers=[exited("trainer", ago=4 * DAY, oom_killed=True)])
    assert kept(POLICY, world) == {"trainer": "too recent: killed for memory 4 days ago, kept for 7 days"}


def test_a_container_created_long_ago_that_ended_a_minute_ago_is_kept() -> None:
    old = exited("nightly", ago=MINUTE, created_at=NOW - 300 * DAY, started_at=NOW - HOUR)
    assert removed(POLICY, facts(containers=[old])) == {}


def test_a_container_that_was_never_started_counts_from_its_creation() -> None:
    world = facts(containers=[never_started("old", ago=3 * DAY), never_started("young", ago=HOUR)])
    assert removed(POLICY, world) == {"old": "created 3 days ago, never started"}


def test_a_dead_container_goes_after_an_hour() -> None:
    world = facts(containers=[exited("zombie", ago=2 * HOUR, code=137, state=ContainerState.DEAD)])
    assert removed(POLICY, world) == {"zombie": "ended 2 h ago, dead since Docker failed to remove it"}


@pytest.mark.parametrize(
    "date",
    [None, datetime(1970, 1, 1, tzinfo=UTC), datetime(2012, 12, 31, tzinfo=UTC), NOW + timedelta(seconds=1)],
    ids=["missing", "1970", "before Docker", "in the future"],
)
def test_an_end_at_an_unknown_time_is_never_old(date: datetime | None) -> None:
    odd = exited("odd", ago=9 * DAY, finished_at=date)
    assert kept(POLICY, facts(containers=[odd])) == {"odd": "age unknown: exited 0 (clean exit) at an unknown time"}


@pytest.mark.parametrize(
    "state",
    [ContainerState.RUNNING, ContainerState.PAUSED, ContainerState.RESTARTING, ContainerState.REMOVING],
)
def test_what_has_not_ended_is_in_use_whatever_its_dates_say(state: ContainerState) -> None:
    world = facts(containers=[exited("busy", ago=300 * DAY, state=state)])
    assert kept(POLICY, world) == {"busy": f"in use: {state}"}


@pytest.mark.parametrize("policy", ["always", "unless-stopped"])
def test_a_service_that_somebody_stopped_is_not_garbage(policy: str) -> None:
    stopped = exited("db", ago=300 * DAY, restart_policy=RestartPolicy(policy))
    assert removed(POLICY, facts(containers=[stopped])) == {}


def test_a_job_with_restart_on_failure_that_ended_is_no_service() -> None:
    done = exited("job", ago=300 * DAY, restart_policy=RestartPolicy("on-failure", 3))
    assert list(removed(POLICY, facts(containers=[done]))) == ["job"]


def test_a_protected_container_stays() -> None:
    world = facts(containers=[exited("ci-1", ago=300 * DAY)], protection=Protection(containers=("ci-*",)))
    assert kept(POLICY, world) == {"ci-1": 'protected: [protect] containers names "ci-*"'}


def test_a_compose_project_with_a_running_container_is_left_alone() -> None:
    migrate = exited("shop-migrate-1", ago=300 * DAY, labels=compose("shop", "migrate"))
    world = facts(containers=[migrate, container("shop-web-1", labels=compose("shop", "web"))])
    assert kept(POLICY, world)["shop-migrate-1"] == "in use: compose project shop runs"
    eager = ExitedContainers(skip_compose_projects_with_running=False, keep_last_per_compose_service=0)
    assert list(removed(eager, world)) == ["shop-migrate-1"]


def test_the_newest_stopped_container_of_a_compose_service_stays() -> None:
    world = etl_runs(ages=[30 * DAY, 10 * DAY, 20 * DAY])
    assert kept(POLICY, world) == {"etl-1": "newest of its service: nlp/etl"}
    assert sorted(removed(POLICY, world)) == ["etl-0", "etl-2"]


@pytest.mark.parametrize("state", [ContainerState.DEAD, ContainerState.REMOVING])
def test_one_whose_removal_has_begun_is_not_the_newest_of_its_service(state: ContainerState) -> None:
    half = exited("half", ago=5 * DAY, labels=compose("nlp", "etl"), state=state)
    world = facts(containers=[*etl_runs(ages=[10 * DAY]).containers, half])
    assert kept(POLICY, world)["etl-0"] == "newest of its service: nlp/etl"
    assert list(removed(POLICY, world)) == (["half"] if state is ContainerState.DEAD else [])


def test_a_one_off_run_neither_counts_as_its_service_nor_stays_as_the_newest() -> None:
    one_off = exited("run-x", ago=8 * DAY, labels=compose("nlp", "etl") | {COMPOSE_ONEOFF: "True"})
    world = facts(containers=[*etl_runs(ages=[10 * DAY]).containers, one_off])
    assert list(removed(POLICY, world)) == ["run-x"]


def test_the_space_comes_back_on_the_filesystem_of_the_data_root() -> None:
    world = facts(containers=[exited(ago=9 * DAY, size_bytes=42)], filesystems=[filesystem(mountpoint="/data")])
    [verdict] = POLICY.decide(world)
    assert isinstance(verdict, Removal)
    assert (verdict.filesystem, verdict.size_bytes, verdict.policy) == ("/data", 42, "containers")


@pytest.mark.parametrize("name", ["exited_for", "failed_for", "created_for", "dead_for"])
def test_a_duration_of_zero_is_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be longer than zero"):
        ExitedContainers(**{name: timedelta(0)})  # type: ignore[arg-type]  # the field varies


def test_a_negative_number_of_containers_to_keep_is_refused() -> None:
    with pytest.raises(ValueError, match="keep_last_per_compose_service"):
        ExitedContainers(keep_last_per_compose_service=-1)


def etl_runs(ages: list[timedelta]) -> Facts:
    return facts(
        containers=[exited(f"etl-{n}", ago=age, labels=compose("nlp", "etl", n)) for n, age in enumerate(ages)]
    )


def test_its_owners_ttl_takes_the_place_of_the_policys_age() -> None:
    base = image("app:1")
    soon = exited("soon", ago=2 * HOUR, image_id=base.id, labels={"shipkeeper.ttl": "1h"})
    late = exited("late", ago=30 * DAY, image_id=base.id, labels={"shipkeeper.ttl": "60d"})
    world = facts(containers=[soon, late], images=[base])
    assert removed(ExitedContainers(), world) == {
        "soon": "exited 0 (clean exit) 2 h ago, its label shipkeeper.ttl allows that after 1 h"
    }
    assert kept(ExitedContainers(), world)["late"] == "protected: label shipkeeper.ttl, for 30 days more"


def test_an_end_is_never_older_than_we_have_watched_it() -> None:
    """A wall clock that is set a year ahead makes the dates old, and what was watched stays as young as it is."""
    seen = exited("seen", ago=400 * DAY, stopped_for=2 * HOUR)
    world = facts(
        containers=[seen, exited("unseen", ago=400 * DAY), exited("long", ago=400 * DAY, stopped_for=9 * DAY)]
    )
    assert kept(POLICY, world) == {"seen": "too recent: exited 0 (clean exit) 2 h ago, kept for 3 days"}
    assert list(removed(POLICY, world)) == ["unseen", "long"]


def test_watching_for_long_makes_an_end_of_unknown_date_no_older() -> None:
    ahead = exited("ahead", ago=-DAY, stopped_for=90 * DAY)
    assert kept(POLICY, facts(containers=[ahead]))["ahead"].startswith("age unknown: ")


def test_a_service_that_was_stopped_and_could_not_start_on_a_full_disk_is_kept() -> None:
    error = "failed to create task: write /run/x: no space left on device"
    service = exited("db", ago=30 * DAY, code=128, error=error, restart_policy=RestartPolicy("unless-stopped"))
    plain = exited("job", ago=4 * DAY, error=error)
    new = never_started("new", ago=2 * DAY, error=error)
    world = facts(containers=[service, plain, new])
    assert removed(POLICY, world) == {}
    assert kept(POLICY, world)["db"].startswith("protected: a service that somebody stopped")
    assert kept(POLICY, world)["new"] == "too recent: created 2 days ago, could not start, kept for 7 days"
