from __future__ import annotations

import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from collectors.container_labels import MOST_CHARACTERS, Blocks
from collectors.facts import Container, Death, HealthStatus, Intent
from daemon.counters import (
    DEATHS,
    DROPPED,
    GPU_ALLOCATED,
    GPU_SM,
    HEALTH,
    MOST_GPUS,
    MOST_NAMES,
    OOM_KILLS,
    REASONS,
    RESTARTS,
    Counters,
    families,
    reason_of,
)
from daemon.gpu_account import GpuCharge
from daemon.store import Store
from daemon.turns import Turn
from tests.fakes.clock import FakeClock
from tests.policies.build import compose, container, death, oom_kill, unhealthy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DAY = 86_400.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path, FakeClock())
    yield opened
    opened.close()


def value(counters: Counters, name: str, reason: str = "", family: str = DEATHS) -> float | None:
    """Give the value of one series, or `None` if there is none."""
    wanted = [f'name="{name}"', f'reason="{reason}"' if reason else ""]
    found = [number for block, number in counters.samples().get(family, ()) if all(part in block for part in wanted)]
    return sum(found) if found else None


def saved(counters: Counters, store: Store) -> None:
    store.write(lambda connection: counters.save(connection, 0.0))
    counters.saved()


def crash(name: str = "web", **changes: object) -> Death:
    return death(name, **changes)  # type: ignore[arg-type]  # the caller names fields of Death


def charge(name: str = "web", gpu: str = "GPU-1", **changes: Any) -> GpuCharge:
    """Give what a container had of a GPU: 15 s, of which it worked 3."""
    plain = GpuCharge(container=container(name), gpu_uuid=gpu, profile="", allocated_seconds=15.0, sm_seconds=3.0)
    return replace(plain, **changes)


def test_every_series_of_a_container_begins_at_zero() -> None:
    counters = Counters({})
    counters.meet([container("web")], 0.0)
    assert [value(counters, "web", reason) for reason in REASONS] == [0] * len(REASONS)
    assert value(counters, "web", family=OOM_KILLS) == 0


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (crash(code=0), "clean"),
        (crash(code=1), "error"),
        (crash(code=255), "error"),
        (crash(code=137), "signal"),
        (crash(code=139), "signal"),
        (crash(code=None), "unknown"),
        (crash(code=137, oom=True), "oom"),
        (crash(code=143, intent=Intent.API), "api"),
        (crash(code=137, intent=Intent.ENGINE), "engine"),
    ],
)
def test_an_end_is_counted_by_what_ended_it(end: Death, reason: str) -> None:
    assert reason_of(end) == reason
    assert reason in REASONS
    counters = Counters({})
    counters.count([end], [], [])
    assert value(counters, "web", reason) == 1


def test_a_kill_that_the_container_survived_is_counted_with_its_number() -> None:
    counters, web = Counters({}), container("web")
    counters.count([crash(code=137, oom=True)], [oom_kill(web, count=3), oom_kill(web, count=2)], [web])
    assert value(counters, "web", family=OOM_KILLS) == 6


def test_counters_survive_a_restart_and_the_recreation_of_the_container(store: Store) -> None:
    labels = compose("shop", "web")
    before = Counters.load(store)
    before.meet([container("shop-web-1", labels=labels)], 0.0)
    before.count([crash("shop-web-1", labels=labels)], [], [])
    saved(before, store)
    after = Counters.load(store)
    assert {key: set(series) for key, series in after.samples().items()} == {
        key: set(series) for key, series in before.samples().items()
    }
    recreated = container("shop-web-1", labels=labels, id="f" * 64)
    after.meet([recreated], 0.0)
    after.count([crash("shop-web-1", labels=labels, container_id=recreated.id)], [], [])
    assert value(after, "shop-web-1", "error") == 2
    assert value(after, "shop-web-1", "clean") == 0


def test_what_a_failed_transaction_did_not_store_the_next_one_does(store: Store) -> None:
    counters = Counters({})
    counters.count([crash()], [], [])

    def half(connection: sqlite3.Connection) -> None:
        counters.save(connection, 0.0)
        raise sqlite3.IntegrityError

    with pytest.raises(sqlite3.IntegrityError):
        store.write(half)
    counters.count([crash()], [], [])
    saved(counters, store)
    assert value(Counters.load(store), "web", "error") == 2


def test_only_what_changed_is_written(store: Store) -> None:
    counters = Counters({})
    counters.meet([container(f"web-{number}") for number in range(50)], 0.0)
    saved(counters, store)
    counters.count([crash("web-7")], [], [])
    store.write(lambda connection: counters.save(connection, 9.0))
    assert [row["n"] for row in store.read("SELECT COUNT(*) AS n FROM counters WHERE touched = 9.0")] == [1]


def test_beyond_five_hundred_containers_the_later_ones_share_a_name() -> None:
    counters = Counters({})
    counters.meet([container(f"web-{number}") for number in range(MOST_NAMES)], 0.0)
    counters.count([crash("late-1"), crash("late-2"), crash("web-3")], [], [])
    assert value(counters, "late-1") is None
    assert value(counters, "_other", "error") == 2
    assert value(counters, "web-3", "error") == 1
    names = {block.partition('"')[2].partition('"')[0] for block, _ in counters.samples()[DEATHS]}
    assert len(names) == MOST_NAMES + 1
    assert counters.samples()[DROPPED] == (("", 2),)


def full_house() -> Counters:
    """Give counters whose names are all taken by containers that went away at the time 0."""
    counters = Counters({})
    counters.meet([container(f"job-{number}") for number in range(MOST_NAMES)], 0.0)
    counters.meet([], 0.0)
    return counters


def test_a_name_is_free_again_a_day_after_its_container_went_away() -> None:
    counters = full_house()
    counters.meet([container("early", health=unhealthy())], DAY - 1)
    assert value(counters, "early") is None
    counters.meet([container("early", health=unhealthy()), container("late")], DAY)
    assert (value(counters, "early"), value(counters, "early", family=HEALTH)) == (0, 0)
    assert value(counters, "late") == 0
    assert len(counters.samples()[OOM_KILLS]) == MOST_NAMES + 1


def test_who_came_back_keeps_its_counters_and_whoever_has_been_gone_longer_gives_way() -> None:
    counters = full_house()
    counters.count([crash("job-0")], [], [])
    counters.meet([container("job-0")], DAY / 2)
    counters.meet([], DAY / 2)
    counters.meet([container(f"new-{number}") for number in range(MOST_NAMES - 1)], DAY)
    assert value(counters, "job-0", "error") == 1
    counters.meet([container("one-more")], DAY)
    assert (value(counters, "one-more"), value(counters, "job-0", "error")) == (None, 1)


def test_how_long_a_container_has_been_gone_is_known_after_a_restart(store: Store) -> None:
    before = full_house()
    before.count([crash("job-7")], [], [])
    store.write(lambda connection: before.save(connection, 1000.0))
    before.saved()
    before.meet([container("job-7")], 2000.0)
    before.meet([], 2000.0)
    store.write(lambda connection: before.save(connection, 2000.0))
    before.saved()
    after = Counters.load(store)
    after.meet([container(f"new-{number}") for number in range(MOST_NAMES)], 1000.0 + DAY)
    saved(after, store)
    kept = Counters.load(store)
    assert value(kept, "job-7", "error") == 1, "it went later than the others"
    assert (value(kept, "job-8"), value(kept, "new-9")) == (None, 0)
    names = {block.partition('"')[2].partition('"')[0] for block, _ in kept.samples()[OOM_KILLS]}
    assert len(names - {"_other"}) == MOST_NAMES


def test_restarts_and_turns_of_health_are_counted() -> None:
    web, plain = container("web", health=unhealthy()), container("plain")
    counters = Counters({})
    counters.meet([web, plain], 0.0)
    assert value(counters, "web", family=RESTARTS) == 0
    assert value(counters, "web", family=HEALTH) == 0
    assert value(counters, "plain", family=HEALTH) is None
    counters.turn([Turn(container=web, policy_restarts=2, starts=1, health=HealthStatus.UNHEALTHY)])
    assert dict(counters.samples()[RESTARTS]) == {
        '{name="plain",compose_project="",compose_service="",trigger="policy"}': 0,
        '{name="plain",compose_project="",compose_service="",trigger="start"}': 0,
        '{name="web",compose_project="",compose_service="",trigger="policy"}': 2,
        '{name="web",compose_project="",compose_service="",trigger="start"}': 1,
    }
    [unhealthy_turns] = [count for block, count in counters.samples()[HEALTH] if 'to="unhealthy"' in block]
    assert unhealthy_turns == 1


def test_the_memory_kills_of_a_container_are_found_by_the_labels_that_outlive_it() -> None:
    web = container('odd"name', labels=compose("shop", "web"))
    counters = Counters({})
    counters.meet([web], 0.0)
    assert dict(counters.samples()[OOM_KILLS]) == {Blocks(web, ()).lasting: 0}


def test_labels_of_two_kilobytes_are_cut_as_everywhere_else() -> None:
    web = container("web", labels=compose("p" * 2048, "s" * 2048))
    counters = Counters({})
    counters.meet([web], 0.0)
    counters.count([crash("web", labels=web.labels)], [oom_kill(web)], [web])
    assert dict(counters.samples()[OOM_KILLS]) == {Blocks(web, ()).lasting: 1}
    assert value(counters, "web", "error") == 1
    assert len(Blocks(web, ()).lasting) < 2 * MOST_CHARACTERS + 100


def test_one_name_under_ever_new_projects_is_bounded_too() -> None:
    counters = Counters({})
    for number in range(3 * MOST_NAMES):
        counters.meet([container("web", labels=compose(f"project-{number}", "web"))], 0.0)
    assert len(counters.samples()[OOM_KILLS]) <= MOST_NAMES + 1


def test_containers_that_are_gone_leave_nothing_behind_but_their_counters() -> None:
    counters = Counters({})
    for number in range(2000):
        counters.meet([container(f"run-{number}")], 0.0)
    assert len(counters._met) == 1


def test_what_was_handed_out_does_not_change() -> None:
    counters = Counters({})
    counters.meet([container("web")], 0.0)
    before = counters.samples()
    counters.count([crash()], [], [])
    assert sum(number for _, number in before[DEATHS]) == 0
    assert counters.samples() is counters.samples()


def test_a_scrape_shows_every_family() -> None:
    counters = Counters({})
    only: list[Container] = [container('odd"name')]
    counters.meet(only, 0.0)
    shown = {family.name: family for family in families(counters.samples())}
    assert set(shown) == {DEATHS, OOM_KILLS, RESTARTS, HEALTH, GPU_ALLOCATED, GPU_SM, DROPPED}
    assert all(family.kind == "counter" for family in shown.values())
    assert 'name="odd\\"name"' in shown[OOM_KILLS].samples[0][0]


def test_what_a_container_had_of_a_gpu_shows_once_it_is_stored_and_goes_on_after_a_restart(store: Store) -> None:
    before = Counters.load(store)
    before.charge([charge(allocated_seconds=0.0, sm_seconds=0.0)])
    assert (value(before, "web", family=GPU_ALLOCATED), value(before, "web", family=GPU_SM)) == (0, 0)
    before.charge([charge(), charge("mig", profile="1g.10gb", sm_seconds=None)])
    assert value(before, "web", family=GPU_ALLOCATED) == 0, "a restart would take it back, which looks like a reset"
    saved(before, store)
    assert (value(before, "web", family=GPU_ALLOCATED), value(before, "web", family=GPU_SM)) == (15, 3)
    assert value(before, "mig", family=GPU_SM) is None
    after = Counters.load(store)
    after.charge([charge(container=container("web", id="f" * 64))])
    saved(after, store)
    assert dict(after.samples()[GPU_ALLOCATED]) == {
        '{name="web",compose_project="",compose_service="",uuid="GPU-1",profile=""}': 30,
        '{name="mig",compose_project="",compose_service="",uuid="GPU-1",profile="1g.10gb"}': 15,
    }


def test_what_a_failed_transaction_did_not_charge_the_next_one_does(store: Store) -> None:
    counters = Counters({})
    counters.charge([charge()])

    def half(connection: sqlite3.Connection) -> None:
        counters.save(connection, 0.0)
        raise sqlite3.IntegrityError

    with pytest.raises(sqlite3.IntegrityError):
        store.write(half)
    counters.charge([charge()])
    saved(counters, store)
    assert value(Counters.load(store), "web", family=GPU_SM) == 6


def test_ever_other_gpus_are_bounded() -> None:
    counters = Counters({})
    for number in range(3 * MOST_GPUS):
        counters.charge([charge(gpu=f"GPU-{number}")])
    assert len(counters.samples()[GPU_ALLOCATED]) == MOST_GPUS + 1
