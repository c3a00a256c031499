"""Metric families of the daemon itself: its event stream, cycles, alerts and sinks."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from collectors.families import Family, label_block
from policies import catalogue

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from daemon.alerts.lane import SinkStats
    from daemon.alerts.state import AlertState
    from daemon.events import ReaderStats
    from daemon.reload import Standing
    from daemon.snapshot import Snapshot

_P = "shipkeeper_"


def self_families(  # noqa: PLR0913  each argument is one part of the daemon that tells of itself
    snapshot: Snapshot | None,
    *,
    reader: ReaderStats,
    sinks: Iterable[SinkStats],
    cycles: int,
    failures: int,
    restarts: Mapping[str, int],
    configuration: Standing,
    silences: int,
    now: datetime,
) -> Iterator[Family]:
    """Give the figures of this moment."""
    yield from _stream(reader)
    yield Family(f"{_P}cycles_total", "counter", "Cycles of the watch thread that ended well.", [("", cycles)])
    yield Family(f"{_P}cycle_failures_total", "counter", "Cycles that ended in an error.", [("", failures)])
    yield Family(
        f"{_P}thread_restarts_total",
        "counter",
        "Times a thread of the daemon died and was begun again.",
        [(label_block(thread=name), count) for name, count in restarts.items()],
    )
    yield from _configuration(configuration)
    yield _alerts(snapshot.alerts.values() if snapshot else ())
    yield _marked(snapshot.alerts.values() if snapshot else ())
    yield Family(f"{_P}silences", "gauge", "Silences and maintenance windows in force.", [("", silences)])
    yield from _sinks(sinks, now)


def _configuration(standing: Standing) -> Iterator[Family]:
    yield Family(
        f"{_P}config_last_reload_successful",
        "gauge",
        "0 while the newest configuration is bad and the one before it stays in force.",
        [("", not standing.problem)],
    )
    yield Family(
        f"{_P}config_last_reload_success_timestamp_seconds",
        "gauge",
        "When the configuration in force was read.",
        [("", standing.taken_at.timestamp())],
    )


def _stream(reader: ReaderStats) -> Iterator[Family]:
    yield Family(f"{_P}event_stream_connected", "gauge", "1 while the event stream is open.", [("", reader.connected)])
    yield Family(
        f"{_P}event_stream_reconnects_total",
        "counter",
        "Times the event stream was opened again.",
        [("", reader.reconnects)],
    )
    yield Family(
        f"{_P}events_total",
        "counter",
        "Events read from Docker.",
        [(label_block(type=kind, action=action), count) for (kind, action), count in reader.events_total.items()],
    )
    yield Family(
        f"{_P}events_dropped_total", "counter", "Events dropped because the queue was full.", [("", reader.dropped)]
    )
    yield Family(
        f"{_P}event_queue_overflows_total", "counter", "Times the queue of events was full.", [("", reader.overflows)]
    )
    yield Family(
        f"{_P}events_unreadable_total", "counter", "Lines of the stream that were no events.", [("", reader.unreadable)]
    )
    if reader.last_event_at is not None:
        yield Family(
            f"{_P}event_last_timestamp_seconds",
            "gauge",
            "When the newest event happened.",
            [("", reader.last_event_at.timestamp())],
        )
    yield Family(
        f"{_P}event_lag_seconds",
        "gauge",
        "How much later than its stamp the last event was read.",
        [("", reader.lag_seconds)] if reader.lag_seconds is not None else [],
    )


def _alerts(alerts: Iterable[AlertState]) -> Family:
    counts = Counter(
        (state.alert, "unknown" if state.unknown else state.phase.value, state.severity.value)
        for state in alerts
        if state.phase.active and state.alert in catalogue.BY_NAME
    )
    return Family(
        f"{_P}alerts",
        "gauge",
        "Alerts that are on, by state and severity.",
        [
            (label_block(alert=catalogue.BY_NAME[alert].camel, state=state, severity=severity), count)
            for (alert, state, severity), count in sorted(counts.items())
        ],
    )


def _marked(alerts: Iterable[AlertState]) -> Family:
    """Count what is not told as it would be by itself; one alert can be several of these."""
    counts = Counter(
        (state.alert, mark)
        for state in alerts
        if state.alert in catalogue.BY_NAME
        for mark, is_so in (
            ("silenced", state.silenced_by is not None),
            ("acked", bool(state.acked_by)),
            ("inhibited", bool(state.inhibited_by)),
            ("flapping", state.flapping),
        )
        if is_so
    )
    return Family(
        f"{_P}alerts_marked",
        "gauge",
        "Alerts that are silenced, acknowledged, flapping, or spoken for by another.",
        [
            (label_block(alert=catalogue.BY_NAME[alert].camel, mark=mark), count)
            for (alert, mark), count in sorted(counts.items())
        ],
    )


def _sinks(sinks: Iterable[SinkStats], now: datetime) -> Iterator[Family]:
    told = [(label_block(sink=stats.name), stats) for stats in sinks]
    yield Family(
        f"{_P}messages_sent_total", "counter", "Messages that a sink accepted.", [(block, s.sent) for block, s in told]
    )
    yield Family(
        f"{_P}messages_failed_total",
        "counter",
        "Messages that a sink refused for good.",
        [(block, s.failed) for block, s in told],
    )
    yield Family(
        f"{_P}outbox_depth", "gauge", "Alerts that wait to be told by a sink.", [(block, s.depth) for block, s in told]
    )
    yield Family(
        f"{_P}outbox_oldest_seconds",
        "gauge",
        "How long the oldest of them has waited.",
        [(block, max((now - s.oldest).total_seconds(), 0)) for block, s in told if s.oldest is not None],
    )
