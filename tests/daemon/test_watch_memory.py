"""How long the watch gives out and remembers what it knew."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, cast

import pytest

from collectors.facts import Engine, EngineState, Facts, Known, Protection, SourceName
from daemon.alerts import outbox
from daemon.alerts.acks import Acks
from daemon.alerts.silences import Silences
from daemon.alerts.state import Phase
from daemon.clock_steps import ClockSteps
from daemon.counters import Counters
from daemon.idle import IdleTimes
from daemon.last_use import LastUse
from daemon.observe import Observation, Observer
from daemon.sightings import Sightings
from daemon.steady import SteadyClock
from daemon.store import Store
from daemon.turns import Turns
from daemon.watch import FRESH, Watch
from tests.daemon.alerts.build import BAD, CRASHED, DISK, OK, ROOT, RULES, condition, occurrence
from tests.daemon.watchpost import Options
from tests.fakes.clock import NOW, FakeClock
from tests.fakes.crew import a_crew

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from daemon.rulebook import Rulebook
    from policies.policy import Verdict

SECOND = timedelta(seconds=1)


class CalmObserver:
    """Sees a host on which nothing is, or fails."""

    ready = True
    broken = False

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock

    def observe(self, book: Rulebook) -> Observation:
        """Look."""
        del book
        if self.broken:
            raise RuntimeError("the observer is broken")
        facts = Facts(
            now=self._clock.now(),
            sources={SourceName.DOCKER: Known(NOW), SourceName.FILESYSTEMS: Known(NOW)},
            engine=Engine(state=EngineState.UP, since=NOW),
            containers=(),
            images=(),
            filesystems=(),
            deaths=(),
            oom_kills=(),
            protection=Protection(),
            ignore=(),
        )
        return Observation(
            facts=facts, deaths=(), kills=(), baseline=None, unsettled=False, charges=(), touched=frozenset()
        )


class SpokenPolicy:
    """Finds what a test puts into its mouth."""

    needs: ClassVar[frozenset[SourceName]] = frozenset()
    alerts: ClassVar[tuple[str, ...]] = (DISK, CRASHED)

    def __init__(self) -> None:
        self.findings: list[Verdict] = []

    def decide(self, facts: Facts) -> list[Verdict]:
        """Say it."""
        del facts
        return self.findings


class Bridge:
    """A watch that a test runs cycle by cycle."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.observer = CalmObserver(self.clock)
        self.policy = SpokenPolicy()
        self.store = Store.open(folder, self.clock)
        self.steady = SteadyClock(self.clock, self.clock.now())
        sightings = Sightings(self.store, self.clock)
        self.watch = Watch(
            observer=cast("Observer", self.observer),
            book=replace(
                Options().book(),
                policies={"spoken": self.policy},
                rules={name: replace(RULES[name], hold=timedelta(0), clear=timedelta(0)) for name in (DISK, CRASHED)},
            ),
            store=self.store,
            counters=Counters.load(self.store),
            turns=Turns(self.store),
            last_use=LastUse(self.store, self.steady),
            sightings=sightings,
            idle=IdleTimes(self.store, self.clock, lambda: sightings.watched),
            clock_steps=ClockSteps(self.store, self.clock, lambda: sightings.watched),
            silences=Silences(self.store, self.steady),
            acks=Acks(self.store, self.steady),
            sinks=lambda: ("slack",),
            away=timedelta(0),
            clock=self.clock,
            steady=self.steady,
            notify=lambda: None,
            hand_over=lambda _: None,
            crew=a_crew(self.clock),
        )


@pytest.fixture
def bridge(tmp_path: Path) -> Iterator[Bridge]:
    bridge = Bridge(tmp_path)
    yield bridge
    bridge.store.close()


def test_before_the_first_cycle_there_is_nothing_to_give(bridge: Bridge) -> None:
    assert bridge.watch.snapshot is None
    assert not bridge.watch.ready


def test_it_is_ready_when_the_first_complete_look_can_be_asked_for_not_before(bridge: Bridge) -> None:
    bridge.observer.ready = False
    bridge.watch.cycle()
    bridge.observer.ready = True  # the look is complete, what it showed is still being judged
    assert not bridge.watch.ready
    bridge.watch.cycle()
    assert bridge.watch.ready


def test_what_a_cycle_knew_is_given_out_until_it_is_stale(bridge: Bridge) -> None:
    bridge.watch.cycle()
    bridge.clock.advance(FRESH)
    assert bridge.watch.snapshot
    assert bridge.watch.ready
    bridge.clock.advance(SECOND)
    assert bridge.watch.snapshot is None
    assert not bridge.watch.ready


def test_a_cycle_that_fails_makes_nothing_fresh(bridge: Bridge) -> None:
    bridge.watch.cycle()
    bridge.clock.advance(FRESH + SECOND)
    bridge.observer.broken = True
    with pytest.raises(RuntimeError):
        bridge.watch.cycle()
    assert bridge.watch.snapshot is None
    bridge.observer.broken = False
    bridge.watch.cycle()
    assert bridge.watch.snapshot


def test_a_wall_clock_that_jumps_ages_nothing(bridge: Bridge) -> None:
    bridge.watch.cycle()
    bridge.clock.step(timedelta(days=1))
    assert bridge.watch.snapshot


def test_an_alert_that_is_over_stays_in_the_store_alone(bridge: Bridge) -> None:
    other = replace(ROOT, key="/data", name="/data")
    bridge.policy.findings = [condition(BAD, DISK, subject=ROOT), condition(BAD, DISK, subject=other)]
    bridge.watch.cycle()
    bridge.policy.findings = [condition(OK, DISK, subject=ROOT), condition(BAD, DISK, subject=other)]
    bridge.watch.cycle()
    assert {state.subject for state in bridge.watch._alerts.values()} == {other}
    assert {state.subject for state in outbox.load_states(bridge.store).values()} == {ROOT, other}


def test_the_episodes_of_an_alert_that_was_over_count_on(bridge: Bridge) -> None:
    for state in (BAD, OK, OK, BAD):
        bridge.policy.findings = [condition(state, DISK, subject=ROOT)]
        bridge.watch.cycle()
    (again,) = bridge.watch._alerts.values()
    assert (again.phase, again.episode) == (Phase.FIRING, 2)


def test_what_happened_once_is_told_once_though_it_was_not_seen_meanwhile(bridge: Bridge) -> None:
    crash = occurrence(CRASHED)
    story: list[list[Verdict]] = [[crash], [condition(OK, CRASHED)], [], [crash], [crash]]
    for findings in story:
        bridge.policy.findings = findings
        bridge.watch.cycle()
    kinds = bridge.store.read("SELECT kind FROM outbox ORDER BY id")
    assert [row["kind"] for row in kinds] == ["fired", "resolved"]
