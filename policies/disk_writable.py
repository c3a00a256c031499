"""Which filesystems of Docker's cannot be written to any more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from collectors.facts import SourceName
from policies.disk_pressure import DiskPressure
from policies.policy import Condition, ConditionState, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collectors.facts import Facts


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskReadOnly:
    """Judge each filesystem that holds Docker's data by whether anybody can write to it."""

    needs: ClassVar[frozenset[SourceName]] = frozenset({SourceName.FILESYSTEMS})
    alerts: ClassVar[tuple[str, ...]] = ("disk-read-only",)

    def decide(self, facts: Facts) -> Iterator[Condition]:
        """Yield a condition for every filesystem of which the kernel tells it."""
        for filesystem in facts.filesystems:
            if filesystem.read_only is not None and DiskPressure.concerns(filesystem):
                yield Condition(
                    alert="disk-read-only",
                    subject=filesystem.subject,
                    severity=Severity.CRITICAL,
                    state=ConditionState.BAD if filesystem.read_only else ConditionState.OK,
                    reason="nobody can write to it" if filesystem.read_only else "it can be written to",
                )
