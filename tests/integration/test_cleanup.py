"""Removals on real engines: exactly what was planned, object by object, whatever happens meanwhile."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.daemon_under_test import DaemonUnderTest
from tests.lab.fixtures import KINDS
from tests.lab.images import IDLE
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.lab.engine import PrivateEngine
    from tests.lab.slack import FakeSlack

CLEANUP = """
[cleanup]
grace = "1s"
[policies.containers]
exited_for = "1s"
failed_for = "1h"
created_for = "1h"
keep_last_per_compose_service = 0
[policies.images_dangling]
unused_for = "1s"
"""
PROTECT = {"shipkeeper.protect": "true"}
PROTECTED = {"labels": PROTECT}
SHORT_LIVED = {"labels": {"shipkeeper.ttl": "1s"}}
SECONDS = 60.0
BELL = "bell"
ONE_ENGINE = pytest.mark.parametrize("shared_engine", ["28"], indirect=True)
"""For what is not the engine's doing."""
SLOW = [pytest.mark.slow, pytest.mark.timeout(400)]
EVERY_KIND = pytest.mark.parametrize(
    "shared_engine",
    [pytest.param(kind, marks=SLOW if kind == "28-containerd" else []) for kind in KINDS],
    indirect=True,
)


@pytest.fixture
def keepers(engine: PrivateEngine, slack: FakeSlack, tmp_path: Path) -> Iterator[Callable[..., DaemonUnderTest]]:
    """Give what makes a daemon of a mode; leaving it proves that it asked for no removal but the allowed ones."""
    made: list[DaemonUnderTest] = []

    def make(mode: str, name: str = "one", *, stalled: bool = False) -> DaemonUnderTest:
        folder = tmp_path / name
        folder.mkdir()
        keeper = DaemonUnderTest(folder, engine, slack, CLEANUP)
        keeper.config.write_text(f'mode = "{mode}"\n{keeper.config.read_text()}')
        if stalled:
            keeper.tap.stall_removals()
        keeper.__enter__()
        made.append(keeper)
        return keeper

    yield make
    for keeper in reversed(made):
        keeper.__exit__(None, None, None)


def shown_plan(keeper: DaemonUnderTest, count: int) -> dict[str, Any]:
    """Give the plan of so many removals, as the command shows it."""
    wait_until(lambda: len(keeper.ask("/plan")["removals"]) == count, f"{count} removals in the plan", SECONDS)
    plan: dict[str, Any] = json.loads(keeper.command("plan", "--json").stdout)
    return plan


def last_run(keeper: DaemonUnderTest) -> dict[str, Any]:
    """Give the newest run, or nothing."""
    return keeper.status()["cleanup"]["last_run"] or {}


def containers(engine: PrivateEngine) -> set[str]:
    """Give the names of all containers."""
    return {one["Names"][0].removeprefix("/") for one in engine.api.containers(all=True)} - {BELL}


def ring(engine: PrivateEngine) -> None:
    """Wake the watch in two seconds: by then what has just ended is old enough."""
    engine.run(["sleep", "2"], name=BELL, config=PROTECTED)


def images(engine: PrivateEngine) -> set[str]:
    """Give the ids of all images."""
    return {one["Id"] for one in engine.api.images(all=True)}


@dataclass(frozen=True)
class Cargo:
    """What lies on an engine, by its ids."""

    jobs: tuple[str, ...]
    """The containers that wait for their first start."""
    goes: frozenset[str]
    """What is to go, those jobs among it."""
    stays: Mapping[str, str]
    """How the reason begins for which something is to stay."""


def load(engine: PrivateEngine) -> Cargo:
    """Put on an engine what the policies for containers and for dangling images tell apart."""
    jobs = tuple(engine.create(["true"], name=name) for name in ("job-a", "job-b"))
    failed = engine.run(["sh", "-c", "exit 3"], name="failed", config=SHORT_LIVED)
    never_started = engine.create(["true"], name="never-started", config=SHORT_LIVED)
    dangling = leave_dangling(engine, "app:latest")
    used = leave_dangling(engine, "used:latest", by="service")
    stays = {
        engine.run(["sh", "-c", "exit 3"], name="kept-failure"): "too recent: exited 3 (error) ",
        engine.create(["true"], name="kept-unstarted"): "too recent: created ",
        engine.run(["true"], name="kept-job", config=PROTECTED): "protected: label shipkeeper.protect",
        engine.api.inspect_container("service")["Id"]: "in use: ",
        used: "in use: container service",
        leave_dangling(engine, "spared:latest", PROTECT): "protected: label shipkeeper.protect",
    }
    return Cargo(jobs, frozenset({*jobs, failed, never_started, dangling}), stays)


def leave_dangling(
    engine: PrivateEngine, reference: str, labels: Mapping[str, str] | None = None, *, by: str = ""
) -> str:
    """Give the id of an image that lost its tag to a newer one, perhaps while a container `by` that name ran it."""
    image = engine.import_image(reference, padding=reference.encode() * 10_000, labels=labels)
    if by:
        engine.run(IDLE, name=by, config={"image": reference})
    engine.import_image(reference, padding=b"newer")
    return image


def objects(engine: PrivateEngine) -> set[str]:
    """Give the ids of all containers and images."""
    return {one["Id"] for one in engine.api.containers(all=True) if one["Names"] != [f"/{BELL}"]} | images(engine)


def planned(keeper: DaemonUnderTest) -> set[str]:
    """Give the ids of what the plan is to remove."""
    return {each["id"] for each in keeper.ask("/plan")["removals"]}


@EVERY_KIND
def test_an_approved_plan_is_carried_out_but_for_what_was_started_meanwhile(
    engine: PrivateEngine, keepers: Callable[..., DaemonUnderTest]
) -> None:
    cargo = load(engine)
    # It ends once and, started again, goes on for long.
    again = engine.create(["sh", "-c", "[ -e /x ] && exec sleep 1000; touch /x"], name="job-c")
    before = objects(engine)
    keeper = keepers("approve")
    for job in (*cargo.jobs, again):
        engine.api.start(job)
    ring(engine)
    wait_until(lambda: planned(keeper) == cargo.goes | {again}, "the whole plan", SECONDS)
    plan = keeper.ask("/plan")
    assert (keeper.tap.non_get, objects(engine)) == ([], before)
    engine.api.start(again)
    keeper.may_remove = set(cargo.goes)
    done = keeper.command("apply", plan["plan_id"])
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    image = next(each["name"] for each in plan["removals"] if each["kind"] == "image")
    assert {line.partition("  ")[2].partition(" · ")[0] for line in lines[:-1]} == {
        *(f"removed: container {name}" for name in ("job-a", "job-b", "failed", "never-started")),
        "no longer eligible, stays: container job-c",
        f"removed: image {image}",
    }
    assert f"of plan {plan['plan_id']} done · 5 removed · 1 no longer eligible, stays" in lines[-1]
    assert sorted(keeper.removed()) == sorted(cargo.goes)
    assert objects(engine) == before - cargo.goes
    assert last_run(keeper)["asked_by"] == "root (uid 0)"
    removed = 'shipkeeper_removals_total{kind="container",policy="containers",outcome="removed"} 4'
    assert removed in keeper.metrics()


@EVERY_KIND
def test_in_observe_mode_the_plan_names_what_would_go_and_why_the_rest_stays_and_apply_refuses(
    engine: PrivateEngine, keepers: Callable[..., DaemonUnderTest]
) -> None:
    cargo = load(engine)
    before = objects(engine)
    keeper = keepers("observe")
    for job in cargo.jobs:
        engine.api.start(job)
    ring(engine)
    wait_until(lambda: planned(keeper) == cargo.goes, "the whole plan", SECONDS)
    plan = json.loads(keeper.command("plan", "--json").stdout)
    kept = {each["id"]: each["reason"] for each in plan["kept"]}
    assert {each: kept[each][: len(why)] for each, why in cargo.stays.items()} == cargo.stays
    done = keeper.command("apply", plan["plan_id"])
    assert done.returncode == 1
    assert "nothing is removed in observe mode" in done.stderr
    assert (keeper.tap.non_get, objects(engine)) == ([], before)


@EVERY_KIND
def test_in_enforce_mode_it_removes_by_itself_and_keeps_what_is_protected_or_used(
    engine: PrivateEngine, keepers: Callable[..., DaemonUnderTest], slack: FakeSlack
) -> None:
    cargo = load(engine)
    before = objects(engine)
    keeper = keepers("enforce")
    keeper.may_remove = set(cargo.goes)
    for job in cargo.jobs:
        engine.api.start(job)
    ring(engine)
    wait_until(lambda: len(keeper.removed()) == len(cargo.goes), "what is old to be removed", SECONDS)
    wait_until(lambda: last_run(keeper)["state"] == "done", "the end of the last run")
    assert sorted(keeper.removed()) == sorted(cargo.goes)
    assert objects(engine) == before - cargo.goes
    assert last_run(keeper)["asked_by"] == "schedule"
    assert slack.posts == []


@ONE_ENGINE
def test_nothing_is_removed_without_an_approval_or_with_one_for_another_plan(
    engine: PrivateEngine, keepers: Callable[..., DaemonUnderTest]
) -> None:
    engine.run(["true"], name="old-job")
    keeper = keepers("approve")
    shown_plan(keeper, 1)
    done = keeper.command("apply", "ffffff")
    assert done.returncode == 1
    assert "no plan that this daemon remembers begins with ffffff" in done.stderr
    assert containers(engine) == {"old-job"}


@ONE_ENGINE
def test_a_crash_is_told_while_docker_takes_its_time_over_a_removal(
    engine: PrivateEngine, keepers: Callable[..., DaemonUnderTest]
) -> None:
    job = engine.run(["true"], name="slow-job")
    keeper = keepers("enforce", stalled=True)
    keeper.may_remove = {job}
    wait_until(lambda: keeper.tap.non_get, "the removal to be asked for", SECONDS)
    engine.run(["sh", "-c", "exit 3"], name="crash")
    keeper.wait_for("container-crashed", "crash", 30)
    assert last_run(keeper)["state"] == "running"
    keeper.tap.release()
    wait_until(lambda: last_run(keeper)["state"] == "done", "the end of the run")
    assert [step["outcome"] for step in last_run(keeper)["steps"]] == ["removed"]


@ONE_ENGINE
def test_it_ends_in_the_middle_of_a_removal_and_the_next_start_says_so_and_does_not_resume(
    engine: PrivateEngine, keepers: Callable[..., DaemonUnderTest]
) -> None:
    engine.run(["true"], name="job-a")
    engine.run(["true"], name="job-b")
    keeper = keepers("approve", stalled=True)
    plan = shown_plan(keeper, 2)
    keeper.may_remove = {removal["id"] for removal in plan["removals"]}
    keeper.ask(f"/apply?plan={plan['plan_id']}", "POST")
    wait_until(lambda: keeper.tap.non_get, "the removal to be asked for", SECONDS)
    assert keeper.stop() == 0
    keeper.tap.release()
    keeper.start()
    assert "1 cleanup run was in the middle when Shipkeeper ended; not resumed" in keeper.log.read_text()
    run = last_run(keeper)
    assert (run["state"], run["planned"]) == ("interrupted", 2)
    assert [step["outcome"] for step in run["steps"]] == ["unknown", "not_begun"]
    assert "interrupted" in keeper.command("status").stdout
    assert len(keeper.removed()) == 1
    assert len(containers(engine)) == 1


@ONE_ENGINE
def test_of_two_daemons_at_one_engine_one_acts(engine: PrivateEngine, keepers: Callable[..., DaemonUnderTest]) -> None:
    # Both taps are sockets of their own, so the second daemon is pointed at the first one's.
    first = keepers("enforce")
    second = keepers("enforce", "two")
    second.stop()
    text = second.config.read_text()
    second.config.write_text(text.replace(second.tap.docker_host, first.tap.docker_host))
    second.start()
    assert f"another shipkeeper (pid {first.pid}) acts on this engine" in second.status()["cleanup"]["held_up"]
    assert "but this daemon only observes: another shipkeeper" in second.log.read_text()
    first.may_remove = {engine.run(["true"], name="old-job")}
    ring(engine)
    wait_until(lambda: containers(engine) == set(), "the job to be removed", SECONDS)
    wait_until(lambda: last_run(first)["state"] == "done", "the end of the run")
    assert second.status()["cleanup"]["last_run"] is None
    first.stop()
    wait_until(lambda: not second.status()["cleanup"]["held_up"], "the second to take over", SECONDS)
    first.may_remove.add(engine.run(["true"], name="another-job"))
    engine.api.start(BELL)
    wait_until(lambda: containers(engine) == set(), "the second to remove", SECONDS)
    assert len(first.removed()) == 2
