"""Whether the Docker Engine itself is there, answers in time and sends its events."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

from collectors.facts import EngineState, SourceName
from policies import knobs, words
from policies.policy import Condition, ConditionState, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collectors.facts import Facts

_TELLING = {
    EngineState.UP: (ConditionState.OK, Severity.CRITICAL, "it answers"),
    EngineState.STARTING: (ConditionState.BETWEEN, Severity.CRITICAL, "not reached yet"),
    # Somebody stopped it: worth knowing, no reason to wake anybody.
    EngineState.STOPPED: (ConditionState.BAD, Severity.INFO, "stopped"),
    EngineState.CRASHED: (ConditionState.BAD, Severity.CRITICAL, "crashed"),
    EngineState.HUNG: (ConditionState.BAD, Severity.CRITICAL, "hung: it accepts connections and does not answer"),
    # It may well work for others; to us it is as good as down, for nothing on this host is watched.
    EngineState.DENIED: (ConditionState.BAD, Severity.CRITICAL, "out of our reach: it refuses us"),
    EngineState.UNSUPPORTED: (ConditionState.BAD, Severity.CRITICAL, "out of our reach: it is of no supported kind"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineDown:
    """Judge the one engine of this host; needs no source, for it speaks when they fail."""

    needs: ClassVar[frozenset[SourceName]] = frozenset()
    alerts: ClassVar[tuple[str, ...]] = ("engine-down",)

    def decide(self, facts: Facts) -> Iterator[Condition]:
        """Yield the one condition."""
        engine = facts.engine
        state, severity, telling = _TELLING[engine.state]
        reason = f"{telling}, since {words.moment(engine.since)}"
        detail = "; ".join(text for text in (engine.why, engine.cure) if text)
        yield Condition(
            alert="engine-down",
            subject=engine.subject,
            severity=severity,
            state=state,
            reason=f"{reason} ({detail})" if detail and state is ConditionState.BAD else reason,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStuck:
    """Judge whether the engine finishes what we ask of it; needs no source, for it is we who wait."""

    needs: ClassVar[frozenset[SourceName]] = frozenset()
    alerts: ClassVar[tuple[str, ...]] = ("engine-stuck",)

    def decide(self, facts: Facts) -> Iterator[Condition]:
        """Yield the one condition."""
        yield Condition(
            alert="engine-stuck",
            subject=facts.engine.subject,
            severity=Severity.WARNING,
            state=ConditionState.BAD if facts.engine_stuck else ConditionState.OK,
            reason=facts.engine_stuck or "it finishes what it is asked",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSlow:
    """Warn when the engine answers, but so late that what is asked of it is given up."""

    needs: ClassVar[frozenset[SourceName]] = frozenset()
    alerts: ClassVar[tuple[str, ...]] = ("engine-slow",)

    warn_after: timedelta = timedelta(seconds=2)
    """What nineteen of twenty answers took at most; no call of a cycle is waited for any longer."""
    clear_below: timedelta = timedelta(seconds=1)

    def __post_init__(self) -> None:
        knobs.longer_than_zero(warn_after=self.warn_after, clear_below=self.clear_below)
        if self.clear_below > self.warn_after:
            raise ValueError("clear_below must be at most warn_after")

    def decide(self, facts: Facts) -> Iterator[Condition]:
        """Yield one condition, once enough answers were timed."""
        took = facts.own.engine_answers_within
        if took is None:
            return
        state = ConditionState.BETWEEN
        if facts.engine.state is EngineState.UP:
            if took >= self.warn_after:
                state = ConditionState.BAD
            elif took < self.clear_below:
                state = ConditionState.OK
        yield Condition(
            alert="engine-slow",
            subject=facts.engine.subject,
            severity=Severity.WARNING,
            state=state,
            reason=f"a ping took up to {words.duration(took)} within the last 5 min",
            value=took.total_seconds(),
            limit=self.warn_after.total_seconds(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsStale:
    """Warn when the engine is up and its stream of events is closed all the same."""

    needs: ClassVar[frozenset[SourceName]] = frozenset({SourceName.DOCKER})
    alerts: ClassVar[tuple[str, ...]] = ("event-stream-stale",)

    def decide(self, facts: Facts) -> Iterator[Condition]:
        """Yield the one condition."""
        closed = facts.own.no_events_for
        yield Condition(
            alert="event-stream-stale",
            subject=facts.engine.subject,
            severity=Severity.WARNING,
            state=ConditionState.OK if closed is None else ConditionState.BAD,
            reason="its events come" if closed is None else f"none for {words.about(closed)}",
            details=()
            if closed is None
            else (
                "Everything is compared every few seconds instead; a stop that somebody asked for looks like a crash.",
            ),
        )
