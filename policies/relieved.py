"""What people are told of cleanups of full disks: that one acted, fell short, or is the wrong remedy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from collectors.facts import DiskKind, SourceName
from collectors.storage_facts import ReliefEnd
from policies import disk_words, places, relief, words
from policies.bounds import ask
from policies.gauges import Level
from policies.policy import Condition, ConditionState, Occurrence, Removal, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collectors.facts import Facts, Filesystem
    from collectors.storage_facts import Relieved
    from policies.disk_pressure import DiskPressure

ACTED: Final = "disk-relieved"
SHORT: Final = "disk-target-missed"
FOREIGN: Final = "disk-not-docker"
_DOCKER: Final = frozenset({SourceName.DOCKER, SourceName.IMAGES})
_LARGEST: Final = 3
_MOSTLY: Final = 0.5
"""With a larger share that is not Docker's a cleanup is the wrong remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliefs:
    """Judge what cleanups can do for the filesystems that `pressure` finds too full, within its bounds."""

    needs: ClassVar[frozenset[SourceName]] = frozenset({SourceName.FILESYSTEMS})
    alerts: ClassVar[tuple[str, ...]] = (ACTED, SHORT, FOREIGN)

    pressure: DiskPressure

    def decide(self, facts: Facts) -> Iterator[Condition | Occurrence]:
        """Yield for every filesystem with Docker's data what the last run came to, and whether one can help."""
        runs = {each.mountpoint: each for each in facts.reliefs}
        for filesystem in facts.filesystems:
            if self.pressure.concerns(filesystem):
                run = runs.get(filesystem.mountpoint)
                yield from _acted(filesystem, run)
                yield from self._verdicts(filesystem, run, facts)

    def _verdicts(self, filesystem: Filesystem, run: Relieved | None, facts: Facts) -> Iterator[Condition]:
        if filesystem.mountpoint not in facts.pressed:
            left = f"{words.size(filesystem.available_bytes)} left"
            for alert in (SHORT, FOREIGN):
                yield _condition(alert, filesystem, ConditionState.OK, left)
            return
        foreign, reason = self._why_short(filesystem, run, facts)
        state = ConditionState.BAD if reason else ConditionState.BETWEEN
        severity = Severity.CRITICAL if self.pressure.level(filesystem, facts) is Level.CRITICAL else Severity.WARNING
        stays = () if foreign else self._stays(filesystem, facts)
        details = (*stays, _consumers(filesystem, facts), *_largest(filesystem, facts)) if reason else ()
        for alert, is_it in ((SHORT, not foreign), (FOREIGN, foreign)):
            yield Condition(
                alert=alert,
                subject=filesystem.subject,
                severity=severity,
                state=state if is_it else ConditionState.BETWEEN,
                reason=reason if is_it and reason else "a cleanup is due",
                details=details if is_it else (),
            )

    def _why_short(self, filesystem: Filesystem, run: Relieved | None, facts: Facts) -> tuple[bool, str]:
        """Say why no cleanup brings it to its target, and whether that is for what is not Docker's."""
        if run is not None and run.end is ReliefEnd.NO_PROGRESS:
            return True, relief.in_words(run)
        if self._nothing_may_go(filesystem, facts):
            other = _other_share(filesystem, facts)
            left = f"{words.size(filesystem.available_bytes)} left, and nothing that lies there may go"
            if other is not None and other > _MOSTLY:
                return True, f"{left}: {other:.0%} of what it holds is not Docker's"
            return False, left
        if run is not None and run.end is not ReliefEnd.TARGET:
            return False, relief.in_words(run)
        return False, ""

    def _nothing_may_go(self, filesystem: Filesystem, facts: Facts) -> bool:
        """Tell whether that is known: while Docker cannot be read nobody knows what may go."""
        if not facts.known(_DOCKER):
            return False
        verdicts = ask(self.pressure, facts, self.pressure.bounds)
        return not any(isinstance(each, Removal) and each.filesystem == filesystem.mountpoint for each in verdicts)

    def _stays(self, filesystem: Filesystem, facts: Facts) -> tuple[str, ...]:
        if places.of_layers(facts.engine, facts.filesystems) != filesystem.mountpoint:
            return ("No images lie there, and nothing else goes for a full disk but build cache.",)
        if not facts.known(_DOCKER):
            return ()
        counted = relief.staying(self.pressure.want(filesystem, facts), facts)
        said = ", ".join(
            f"{count} {why}" for why, count in sorted(counted.items(), key=lambda each: (-each[1], each[0]))
        )
        return (f"Images that stay: {said}; `shipkeeper plan --explain` says of each why.",) if said else ()


def _acted(filesystem: Filesystem, run: Relieved | None) -> Iterator[Condition | Occurrence]:
    if run is not None and run.removed:
        yield Occurrence(
            alert=ACTED,
            subject=filesystem.subject,
            severity=Severity.INFO,
            at=run.at,
            key=f"{run.mountpoint}@{run.at.isoformat()}",
            reason=relief.in_words(run),
            details=(f"{words.count(run.removed, 'removal')}; `shipkeeper audit` lists each.",),
        )
    yield _condition(ACTED, filesystem, ConditionState.OK, "no further cleanup of it")


def _condition(alert: str, filesystem: Filesystem, state: ConditionState, reason: str) -> Condition:
    return Condition(alert=alert, subject=filesystem.subject, severity=Severity.INFO, state=state, reason=reason)


def _other_share(filesystem: Filesystem, facts: Facts) -> float | None:
    """Give the share of what is used that none of Docker's data explains; None where that is not known."""
    found = (use for use in facts.disk_uses if use.mountpoint == filesystem.mountpoint and use.kind is DiskKind.OTHER)
    other = next(found, None)
    return None if other is None or not filesystem.used_bytes else other.size_bytes / filesystem.used_bytes


def _consumers(filesystem: Filesystem, facts: Facts) -> str:
    if said := disk_words.takes(filesystem.mountpoint, facts):
        return f"It holds: {said}"
    return "What takes the space is not known yet; `shipkeeper status` shows it when Docker has told."


def _largest(filesystem: Filesystem, facts: Facts) -> tuple[str, ...]:
    """Name the largest single objects that lie there, as far as they were measured."""
    sizes: list[tuple[int, str]] = []
    if places.of_layers(facts.engine, facts.filesystems) == filesystem.mountpoint:
        sizes += [(each.unique_bytes or 0, f"image {each.ref.name}") for each in facts.images]
        sizes += [(each.size_bytes or 0, f"layer of {each.name}") for each in facts.containers]
    if places.of_role("volumes", facts.filesystems) == filesystem.mountpoint:
        sizes += [(each.size_bytes or 0, f"volume {each.name}") for each in facts.volumes]
    if places.of_role("logs", facts.filesystems) == filesystem.mountpoint:
        names = {each.id: each.name for each in facts.containers}
        sizes += [(each.size_bytes, f"log of {names.get(each.container_id, '?')}") for each in facts.logs]
    said = [f"{name} {words.size(size)}" for size, name in sorted(sizes, reverse=True)[:_LARGEST] if size]
    return (f"The largest: {', '.join(said)}",) if said else ()
