"""Which GPUs are lost, too hot, or have memory that fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from collectors.facts import SourceName
from collectors.gpu_facts import GpuFault
from policies import gpu_words, words
from policies.gpu_xids import newest_fault
from policies.policy import Condition, ConditionState, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collectors.facts import Facts
    from collectors.gpu_facts import Gpu, GpuReadings

_LOST = "gpu-lost"
_THERMAL = "gpu-thermal"
_ECC = "gpu-ecc"
_FAULTS = {
    GpuFault.LOST: "the driver cannot reach it any more",
    GpuFault.RESET_REQUIRED: "it cannot be read until it is reset",
    GpuFault.UNKNOWN: "the driver answers with an unknown error",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuDevices:
    """Judge each GPU by itself, and whether as many are listed as were seen since the machine started."""

    needs: ClassVar[frozenset[SourceName]] = frozenset({SourceName.GPU})
    alerts: ClassVar[tuple[str, ...]] = (_LOST, _THERMAL, _ECC)

    margin_celsius: float = 5.0
    """Too hot is so close to the device's own slowdown limit, or closer."""
    clear_celsius: float = 10.0
    """Cool again is so far away from it."""

    def __post_init__(self) -> None:
        if not self.margin_celsius > 0:  # written so that it refuses nan as well
            raise ValueError("margin_celsius must be larger than zero")
        if not self.clear_celsius >= self.margin_celsius:
            raise ValueError("clear_celsius must be margin_celsius or more")

    def decide(self, facts: Facts) -> Iterator[Condition]:
        """Yield a condition for everything that a GPU tells of itself."""
        for gpu in facts.gpus.devices:
            yield _lost(gpu, facts)
            if gpu.fault is None and gpu.readings is not None:
                yield from self._thermal(gpu, gpu.readings, facts)
                yield from _ecc(gpu, gpu.readings, facts)
        if facts.gpus.seen:
            yield _missing(facts)

    def _thermal(self, gpu: Gpu, readings: GpuReadings, facts: Facts) -> Iterator[Condition]:
        """Judge the heat; a device whose limit is unknown, or already passed by its own figures, tells no margin."""
        now, limit, shutdown = (
            readings.temperature_celsius.get("gpu"),
            readings.slowdown_celsius,
            readings.shutdown_celsius,
        )
        margin = limit - now if limit is not None and limit > 0 and now is not None else None
        slowed = None if readings.throttle_reasons is None else "hw_thermal" in readings.throttle_reasons
        at_the_end = now is not None and shutdown is not None and 0 < shutdown <= now
        state = ConditionState.BAD if slowed or at_the_end else self._by_margin(margin, slowed=slowed)
        if state is None:
            return
        yield Condition(
            alert=_THERMAL,
            subject=gpu_words.subject(gpu),
            severity=Severity.CRITICAL if at_the_end else Severity.WARNING,
            state=state,
            reason=_heat(now, margin, slowed=bool(slowed), at_the_end=at_the_end),
            details=_details(gpu, facts) if state is ConditionState.BAD else (),
            value=now,
            limit=limit,
        )

    def _by_margin(self, margin: float | None, *, slowed: bool | None) -> ConditionState | None:
        """Judge a GPU that is not slowed down, as far as that is known; None if nothing can be said of its heat."""
        if margin is not None and margin > 0:
            if margin <= self.margin_celsius:
                return ConditionState.BAD
            return ConditionState.OK if margin >= self.clear_celsius else ConditionState.BETWEEN
        if slowed is None:
            return None
        # The driver's word is all that there is; at the limit itself it may come in a moment.
        return ConditionState.OK if margin is None else ConditionState.BETWEEN


def _lost(gpu: Gpu, facts: Facts) -> Condition:
    details: tuple[str, ...] = ()
    if gpu.fault is not None:
        # The alert of the error itself is not told beside this one, so its words stand here.
        error = newest_fault(gpu, facts.now)
        details = (gpu_words.affected(facts, gpu.uuid), *([error] if error else []), gpu_words.identity(gpu))
    return Condition(
        alert=_LOST,
        subject=gpu_words.subject(gpu),
        severity=Severity.CRITICAL,
        state=ConditionState.OK if gpu.fault is None else ConditionState.BAD,
        reason="it can be read again" if gpu.fault is None else _FAULTS[gpu.fault],
        details=details,
    )


def _missing(facts: Facts) -> Condition:
    listed, seen = len(facts.gpus.devices), facts.gpus.seen
    bad = listed < seen
    return Condition(
        alert=_LOST,
        subject=gpu_words.GPUS,
        severity=Severity.CRITICAL,
        state=ConditionState.BAD if bad else ConditionState.OK,
        reason=f"{listed} of {seen} are listed" if bad else f"all {seen} are listed",
        details=("The driver does not name the missing one any more.",) if bad else (),
        value=float(listed),
        limit=float(seen),
    )


def _heat(now: float | None, margin: float | None, *, slowed: bool, at_the_end: bool) -> str:
    told = f"{now:.0f} °C" if now is not None else "temperature unknown"
    if at_the_end:
        return f"{told}, at the limit at which it switches itself off"
    if slowed:
        return f"{told}, the hardware slows it down"
    if margin is None:
        return f"{told}, the hardware does not slow it down"
    if margin <= 0:
        return f"{told}, at its slowdown limit"
    return f"{told}, {margin:.0f} °C below its slowdown limit"


def _ecc(gpu: Gpu, readings: GpuReadings, facts: Facts) -> Iterator[Condition]:
    """Judge the memory; `volatile` counts since the last reset, so a reset is what ends it."""
    uncorrected = readings.ecc_errors.get(("uncorrected", "volatile"))
    flags = (readings.remap_failure, readings.remap_pending, readings.retired_pages_pending)
    if uncorrected is None and all(flag is None for flag in flags):
        return
    failed = [f"{words.count(uncorrected, 'uncorrectable error')} since the last reset"] if uncorrected else []
    failed += ["a row could not be remapped"] if readings.remap_failure else []
    pending = ["rows wait for a reset to be remapped"] if readings.remap_pending else []
    pending += ["pages wait for a reset to be retired"] if readings.retired_pages_pending else []
    bad = failed + pending
    yield Condition(
        alert=_ECC,
        subject=gpu_words.subject(gpu),
        severity=Severity.CRITICAL if failed else Severity.WARNING,
        state=ConditionState.BAD if bad else ConditionState.OK,
        reason="; ".join(bad) or "no error since the last reset",
        details=_details(gpu, facts) if bad else (),
        value=None if uncorrected is None else float(uncorrected),
    )


def _details(gpu: Gpu, facts: Facts) -> tuple[str, ...]:
    return gpu_words.affected(facts, gpu.uuid), gpu_words.identity(gpu)
