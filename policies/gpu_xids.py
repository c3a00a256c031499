"""What the driver reported of each GPU as an XID error: told by what resolves it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

from collectors.facts import SourceName
from policies import gpu_words, words
from policies.policy import Condition, ConditionState, Occurrence, Severity
from policies.xids import XIDS, Resolution

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from collectors.facts import Facts
    from collectors.gpu_facts import Gpu, Xid

_FAULT = "gpu-xid"
_OF_PROGRAM = "gpu-xid-app"
_HARD = frozenset({Resolution.REBOOT, Resolution.RESET, Resolution.HARDWARE})
_NEWS = timedelta(days=1)
"""What the kernel's log tells of older errors, at the first start of all, is no news."""
_COARSE = 10
"""Seconds within which errors of one kind are one."""
_RECOVERIES = {
    "reset": "the driver asks for a reset",
    "reboot": "the driver asks for a reboot of the host",
    "drain_p2p": "the driver asks to take it out of peer-to-peer use",
    "drain_and_reset": "the driver asks to take work off it and reset it",
    "imex": "the driver asks for a restart of the IMEX domain",
    "bus_reset": "the driver asks for a reset of its bus",
    "system_reboot": "the driver asks for a reboot of the host",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuXids:
    """Tell each XID that asks for somebody's hand: the hardware's and the programs', each as an alert of its own."""

    needs: ClassVar[frozenset[SourceName]] = frozenset({SourceName.GPU})
    alerts: ClassVar[tuple[str, ...]] = (_FAULT, _OF_PROGRAM)

    def decide(self, facts: Facts) -> Iterator[Occurrence | Condition]:
        """Yield what happened within a day, and how each GPU stands now."""
        for gpu in facts.gpus.devices:
            for xid in gpu.xids:
                yield from _occurrence(gpu, xid, facts)
            yield _standing(gpu, facts)
            yield Condition(
                alert=_OF_PROGRAM,
                subject=gpu_words.subject(gpu),
                severity=Severity.WARNING,
                state=ConditionState.OK,
                reason="no further one",
            )


def newest_fault(gpu: Gpu, now: datetime) -> str:
    """Say the newest XID of the hardware within a day in a line; empty if there is none."""
    hard = [xid for xid in gpu.xids if _alert_of(xid) == _FAULT and now - xid.last_at < _NEWS]
    if not hard:
        return ""
    newest = max(hard, key=lambda xid: xid.last_at)
    return f"Its last error: {_told(newest)}, at {words.moment(newest.last_at)}"


def _alert_of(xid: Xid) -> str | None:
    meaning = XIDS.get(xid.xid)
    if meaning is None or meaning.resolution is Resolution.NOTHING:
        return None
    return _FAULT if meaning.resolution in _HARD else _OF_PROGRAM


def _told(xid: Xid) -> str:
    meaning = XIDS[xid.xid]
    return f"XID {xid.xid}, {meaning.words} ({meaning.mnemonic})"


def _occurrence(gpu: Gpu, xid: Xid, facts: Facts) -> Iterator[Occurrence]:
    alert = _alert_of(xid)
    if alert is None or facts.now - xid.last_at >= _NEWS:
        return
    # The count repeats itself when counting begins anew, and the kernel's log dates an error a little differently
    # at each of our starts.
    at = xid.last_at.replace(second=xid.last_at.second // _COARSE * _COARSE, microsecond=0)
    yield Occurrence(
        alert=alert,
        subject=gpu_words.subject(gpu),
        severity=Severity.CRITICAL if alert == _FAULT else Severity.WARNING,
        at=at,
        key=f"{gpu.uuid}:{xid.xid}@{at.isoformat()}",
        reason=_told(xid),
        details=(
            gpu_words.affected(facts, gpu.uuid),
            f"NVIDIA's advice: {XIDS[xid.xid].resolution.action}.",
            gpu_words.identity(gpu),
        ),
    )


def _standing(gpu: Gpu, facts: Facts) -> Condition:
    """
    Judge whether the GPU is well after its last error.

    Newer drivers say so themselves. Of the others only time tells, for nothing else shows that somebody saw to it.
    """
    action = gpu.readings.recovery_action if gpu.readings is not None else None
    details: tuple[str, ...] = ()
    if action in _RECOVERIES:
        state, reason = ConditionState.BAD, _RECOVERIES[action]
        details = gpu_words.affected(facts, gpu.uuid), gpu_words.identity(gpu)
    elif gpu.fault is not None:
        state, reason = ConditionState.BETWEEN, "it cannot be read"
    elif action is None and newest_fault(gpu, facts.now):
        state, reason = ConditionState.BETWEEN, "the driver does not tell whether it is well again"
    elif action is None:
        state, reason = ConditionState.OK, "no further one for a day"
    else:
        state, reason = ConditionState.OK, "the driver asks for nothing"
    return Condition(
        alert=_FAULT,
        subject=gpu_words.subject(gpu),
        severity=Severity.CRITICAL,
        state=state,
        reason=reason,
        details=details,
    )
