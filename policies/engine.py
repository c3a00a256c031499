"""Whether the Docker Engine itself is there, and if not, in which way it is not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from collectors.facts import EngineState
from policies import words
from policies.policy import Condition, ConditionState, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collectors.facts import Facts, SourceName

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
