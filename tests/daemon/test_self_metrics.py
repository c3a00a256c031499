from __future__ import annotations

from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING

from collectors.families import render
from daemon.alerts.lane import SinkStats
from daemon.decide import Decision
from daemon.events import ReaderStats
from daemon.reload import Standing
from daemon.self_metrics import self_families
from daemon.snapshot import Snapshot
from policies.policy import Severity
from tests.daemon.alerts.build import BAD, DISK, ROOT, UNHEALTHY, Story, condition
from tests.fakes.clock import NOW
from tests.policies.build import facts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from daemon.alerts.state import AlertState


REMOVALS = {("image", "images_dangling", "in_use"): 1, ("container", "containers", "removed"): 2}


def reader(*, last: datetime | None = NOW, lag: float | None = 0.25) -> ReaderStats:
    return ReaderStats(
        connected=last is not None,
        reconnects=2,
        events_total=MappingProxyType({("container", "die"): 3}),
        unreadable=1,
        dropped=4,
        overflows=1,
        last_event_at=last,
        lag_seconds=lag,
    )


def sink(oldest: datetime | None = None) -> SinkStats:
    return SinkStats(name="slack", state="ok", sent=3, failed=1, depth=2, oldest=oldest, last_error="")


def page(
    alerts: Sequence[AlertState] = (),
    *,
    told: ReaderStats | None = None,
    sinks: Sequence[SinkStats] = (),
    started: bool = True,
) -> list[str]:
    """Give the lines of the page that are no comments."""
    decision = Decision((), (), (), frozenset(), {})
    states = {state.fingerprint: state for state in alerts}
    snapshot = (
        Snapshot(facts=facts(), taken_at=0.0, decision=decision, alerts=states, counters={}, complete=True)
        if started
        else None
    )
    families = self_families(
        snapshot,
        reader=told or reader(),
        sinks=sinks,
        removals=REMOVALS,
        cycles=9,
        failures=1,
        restarts={"watch": 2},
        configuration=Standing(taken_at=NOW, problem="[docker] host = 5"),
        now=NOW,
    )
    return [line for line in render(families).decode().splitlines() if not line.startswith("#")]


def test_the_stream_and_the_cycles_are_shown() -> None:
    assert {
        "shipkeeper_event_stream_connected 1",
        'shipkeeper_thread_restarts_total{thread="watch"} 2',
        "shipkeeper_event_stream_reconnects_total 2",
        'shipkeeper_events_total{type="container",action="die"} 3',
        "shipkeeper_events_dropped_total 4",
        "shipkeeper_events_unreadable_total 1",
        f"shipkeeper_event_last_timestamp_seconds {NOW.timestamp()!r}",
        "shipkeeper_event_lag_seconds 0.25",
        "shipkeeper_cycles_total 9",
        "shipkeeper_cycle_failures_total 1",
        "shipkeeper_config_last_reload_successful 0",
    } <= set(page())


def test_before_the_first_event_there_is_no_time_of_one_and_no_lag() -> None:
    shown = "\n".join(page(told=reader(last=None, lag=None)))
    assert "event_last_timestamp" not in shown
    assert "event_lag" not in shown
    assert "shipkeeper_event_stream_connected 0" in shown


def test_cycles_are_counted_on_while_there_is_no_snapshot() -> None:
    shown = page(started=False)
    assert "shipkeeper_cycles_total 9" in shown
    assert not [line for line in shown if line.startswith("shipkeeper_alerts")]


def test_alerts_are_counted_by_name_state_and_severity() -> None:
    story = Story()
    story.round(condition(BAD, UNHEALTHY), condition(BAD, DISK, ROOT, severity=Severity.CRITICAL))
    shown = [line for line in page(list(story.states.values())) if line.startswith("shipkeeper_alerts")]
    assert shown == [
        'shipkeeper_alerts{alert="ContainerUnhealthy",state="pending",severity="warning"} 1',
        'shipkeeper_alerts{alert="DiskLow",state="firing",severity="critical"} 1',
    ]


def test_a_sink_shows_the_age_of_what_waits_and_none_when_nothing_does() -> None:
    assert 'shipkeeper_outbox_oldest_seconds{sink="slack"} 60.0' in page(sinks=[sink(NOW - timedelta(minutes=1))])
    shown = page(sinks=[sink()])
    assert 'shipkeeper_outbox_depth{sink="slack"} 2' in shown
    assert not [line for line in shown if "oldest" in line]


def test_a_clock_that_was_set_back_makes_no_negative_age() -> None:
    assert 'shipkeeper_outbox_oldest_seconds{sink="slack"} 0' in page(sinks=[sink(NOW + timedelta(hours=1))])


def test_what_came_of_each_object_is_counted_by_kind_policy_and_outcome() -> None:
    assert [line for line in page() if line.startswith("shipkeeper_removals_total")] == [
        'shipkeeper_removals_total{kind="container",policy="containers",outcome="removed"} 2',
        'shipkeeper_removals_total{kind="image",policy="images_dangling",outcome="in_use"} 1',
    ]
