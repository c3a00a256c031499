"""How full the filesystems are on which Docker keeps its data, and what may go from one that is too full."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

from collectors.facts import SourceName, SubjectKind
from policies import disk_words, growth, knobs, places, relief, words
from policies.bounds import PLAIN, Bounds, touching
from policies.gauges import Gauge, Level, Missing
from policies.policy import Condition, Removal, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collectors.facts import Facts, Filesystem

_GIB = 1024**3
_ALL = 100.0
_PULLS = 1.5
"""A pull takes so many times the size of the image: what is compressed and what is unpacked lie there at once."""
_MOST_FOR_A_PULL_PERCENT = 25.0
"""However large an image is, the act level is not raised above this share of the disk."""
_CACHE_FLOOR_SHARE = 0.1
_SOON = timedelta(hours=48)
"""What fills in more time than that is no reason to hurry."""
_ROLES = frozenset({"data-root", "containerd-root"})


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskPressure:
    """
    Judge each filesystem that holds Docker's data by its free space and its free inodes.

    Of a percentage and a size the one that means less space counts: 20 % of a small disk, 30 GiB of a large one.
    """

    needs: ClassVar[frozenset[SourceName]] = frozenset({SourceName.FILESYSTEMS})
    alerts: ClassVar[tuple[str, ...]] = ("disk-low",)

    warn_percent: float = 20.0
    warn_bytes: int = 30 * _GIB
    act_percent: float = 12.0
    act_bytes: int = 20 * _GIB
    critical_percent: float = 5.0
    critical_bytes: int = 8 * _GIB
    inodes_warn_percent: float = 15.0
    inodes_act_percent: float = 8.0
    inodes_critical_percent: float = 4.0
    clear_points: float = 5.0
    """Percentage points above the warn level at which the alert clears; beside a size, its like share of it."""
    target_points: float = 8.0
    target_bytes: int = 100 * _GIB
    """What is to be left above the act level after a run, percentage points of the disk and size."""
    inodes_target_percent: float = 12.0
    sustain_samples: int = 2
    """So many samples in a row, 15 s apart, have to be at the act level or beyond before anything goes."""
    cooldown: timedelta = timedelta(minutes=10)
    """After a run a filesystem is left alone for so long, unless it comes to a worse level."""
    timeout: timedelta = timedelta(minutes=10)
    """A run begins nothing new after so long."""
    min_age: timedelta = timedelta(hours=24)
    """What came, was tagged or used within this time stays."""
    critical_min_age: timedelta = timedelta(hours=1)
    """The same at the critical level."""
    build_cache_unused_for: timedelta = timedelta(hours=48)
    build_cache_floor_bytes: int = 20 * _GIB
    """So much of the build cache stays, or a tenth of the disk where that is less."""
    include_local_builds: bool = False
    """Also images that no registry is known to have: nobody could pull them again."""
    bounds: Bounds = field(default=PLAIN, metadata={"knob": False})
    """What bounds it, for its words alone: whoever asks it for removals bounds them."""

    def __post_init__(self) -> None:
        self._check_relief()
        knobs.falling(
            warn_percent=self.warn_percent, act_percent=self.act_percent, critical_percent=self.critical_percent
        )
        knobs.falling(warn_bytes=self.warn_bytes, act_bytes=self.act_bytes, critical_bytes=self.critical_bytes)
        knobs.falling(
            inodes_warn_percent=self.inodes_warn_percent,
            inodes_act_percent=self.inodes_act_percent,
            inodes_critical_percent=self.inodes_critical_percent,
        )
        if not self.clear_points >= 0:  # written so that it refuses nan as well
            raise ValueError("clear_points must be 0 or more")
        for name in ("warn_percent", "inodes_warn_percent"):
            if getattr(self, name) + self.clear_points > 100:  # noqa: PLR2004  all of it
                raise ValueError(f"{name} + clear_points must be at most 100, or the alert could never clear")

    def _check_relief(self) -> None:
        knobs.larger_than_zero(target_points=self.target_points, target_bytes=self.target_bytes)
        knobs.larger_than_zero(sustain_samples=self.sustain_samples)
        knobs.longer_than_zero(
            cooldown=self.cooldown,
            timeout=self.timeout,
            min_age=self.min_age,
            critical_min_age=self.critical_min_age,
            build_cache_unused_for=self.build_cache_unused_for,
        )
        if self.build_cache_floor_bytes < 0:
            raise ValueError("build_cache_floor_bytes must be 0 or more")
        if self.build_cache_unused_for % timedelta(seconds=1) or self.critical_min_age % timedelta(seconds=1):
            raise ValueError(
                "build_cache_unused_for and critical_min_age must be whole seconds: Docker takes no fractions"
            )
        if self.critical_min_age > self.min_age:
            raise ValueError("critical_min_age must be at most min_age: less patience is due at the critical level")
        if max(self.act_percent, _MOST_FOR_A_PULL_PERCENT) + self.target_points > _ALL:
            raise ValueError(
                "act_percent, or the 25 % that a large image may raise it to, and target_points must be at most 100 "
                "together, or the target lies above the disk"
            )
        if not self.inodes_act_percent < self.inodes_target_percent < _ALL:
            raise ValueError("inodes_target_percent must be larger than inodes_act_percent, and below 100")

    def decide(self, facts: Facts) -> Iterator[Condition | Removal]:
        """
        Yield a condition for every filesystem with Docker's data, and what may go from those that are too full.

        One that tells no size has none.
        """
        yield from self._conditions(facts)
        for filesystem in facts.filesystems:
            if filesystem.mountpoint in facts.pressed and self.missing(filesystem, facts):
                yield from relief.candidates(self.want(filesystem, facts), facts)

    def _conditions(self, facts: Facts) -> Iterator[Condition]:
        for filesystem in facts.filesystems:
            if not self.concerns(filesystem) or not (gauges := self._gauges(filesystem, _largest(filesystem, facts))):
                continue
            worst = max(gauges, key=lambda gauge: gauge.urgency)
            low = [gauge for gauge in gauges if gauge.level is not Level.OK] or [worst]
            forecast = _forecast(filesystem, facts)
            yield Condition(
                alert="disk-low",
                subject=filesystem.subject,
                severity=Severity.CRITICAL if worst.level is Level.CRITICAL else Severity.WARNING,
                state=worst.state,
                reason=" and ".join(gauge.words for gauge in low) + (forecast if worst.level is not Level.OK else ""),
                details=self._details(filesystem, facts) if worst.level is not Level.OK else (),
                value=float(worst.left),
                limit=worst.limits[Level.WARN if worst.level is Level.OK else worst.level],
            )

    def _details(self, filesystem: Filesystem, facts: Facts) -> tuple[str, ...]:
        """Say what takes the space, and what a cleanup would free of it."""
        if facts.engine.containerd_store and "data-root" not in filesystem.roles:
            where = "Docker's images are here, not in the data-root: the containerd image store keeps them."
        else:
            where = ""
        return tuple(
            text
            for text in (where, disk_words.takes(filesystem.mountpoint, facts), self._gain(filesystem, facts))
            if text
        )

    def _gain(self, filesystem: Filesystem, facts: Facts) -> str:
        candidates = touching(relief.candidates(self.want(filesystem, facts), facts), facts, self.bounds)
        going = [each for each in candidates if isinstance(each, Removal) and not each.spare]
        if not going:
            return ""
        size = sum(each.size_bytes or 0 for each in going)
        images = sum(each.object.kind is SubjectKind.IMAGE for each in going)
        of = [words.count(images, "unused image")] if images else []
        of += ["what no build has used lately of the build cache"] if len(going) > images else []
        least = "at least " if any(each.size_bytes is None for each in going) else ""
        return f"A cleanup would {f'free {least}{words.size(size)}:' if size else 'remove'} {', '.join(of)}."

    @staticmethod
    def concerns(filesystem: Filesystem) -> bool:
        """Tell whether Docker's data lies on a filesystem."""
        return not _ROLES.isdisjoint(filesystem.roles)

    def level(self, filesystem: Filesystem, facts: Facts) -> Level | None:
        """Give the level of one filesystem, whatever its role; None where it tells no size."""
        return self.level_of(filesystem, _largest(filesystem, facts))

    def level_of(self, filesystem: Filesystem, largest_image: int) -> Level | None:
        """Give it where no more is known of the images on it than the size of the largest, 0 for none."""
        gauges = self._gauges(filesystem, largest_image)
        return max((gauge.level for gauge in gauges), key=lambda level: level.rank) if gauges else None

    def missing(self, filesystem: Filesystem, facts: Facts) -> Missing:
        """Give what a filesystem lacks to its target, at whatever level it is."""
        space, inodes = (
            self._space(filesystem, _largest(filesystem, facts)),
            self._inodes(filesystem),
        )
        return Missing(bytes=space.missing if space else 0, inodes=inodes.missing if inodes else 0)

    def any_critical(self, facts: Facts) -> bool:
        """Tell whether a filesystem with Docker's data is at its critical level."""
        return any(self.level(each, facts) is Level.CRITICAL for each in facts.filesystems if self.concerns(each))

    def want(self, filesystem: Filesystem, facts: Facts) -> relief.Want:
        """Give what a filesystem is to gain, and how patient a run may be about it."""
        critical = self.level(filesystem, facts) is Level.CRITICAL
        total = filesystem.used_bytes + filesystem.available_bytes
        return relief.Want(
            filesystem=filesystem,
            missing=self.missing(filesystem, facts),
            min_age=self.critical_min_age if critical else self.min_age,
            cache_min_age=min(self.build_cache_unused_for, self.critical_min_age)
            if critical
            else self.build_cache_unused_for,
            cache_floor_bytes=min(self.build_cache_floor_bytes, int(total * _CACHE_FLOOR_SHARE)),
            include_local_builds=self.include_local_builds,
        )

    def _gauges(self, filesystem: Filesystem, largest_image: int) -> list[Gauge]:
        return [gauge for gauge in (self._space(filesystem, largest_image), self._inodes(filesystem)) if gauge]

    def _space(self, filesystem: Filesystem, largest_image: int) -> Gauge | None:
        left, total = filesystem.available_bytes, filesystem.used_bytes + filesystem.available_bytes
        if total <= 0:
            return None
        for_a_pull = min(_PULLS * largest_image, total * _MOST_FOR_A_PULL_PERCENT / 100)
        act = max(min(total * self.act_percent / 100, float(self.act_bytes)), for_a_pull)
        warn = max(min(total * self.warn_percent / 100, float(self.warn_bytes)), act)
        return Gauge(
            left=left,
            total=total,
            limits={
                Level.WARN: warn,
                Level.ACT: act,
                Level.CRITICAL: min(total * self.critical_percent / 100, float(self.critical_bytes)),
            },
            # A like share of a size, but no more than the points: what a large image raised may start low.
            clear_from=warn + min(warn / self.warn_percent, total / 100) * self.clear_points,
            target=act + min(total * self.target_points / 100, float(self.target_bytes)),
            words=f"{words.size(left)} ({_percent(left, total)}) left",
        )

    def _inodes(self, filesystem: Filesystem) -> Gauge | None:
        left, total = filesystem.inodes_free, filesystem.inodes
        if not total or left is None:
            return None
        return Gauge(
            left=left,
            total=total,
            limits={
                Level.WARN: total * self.inodes_warn_percent / 100,
                Level.ACT: total * self.inodes_act_percent / 100,
                Level.CRITICAL: total * self.inodes_critical_percent / 100,
            },
            clear_from=total * (self.inodes_warn_percent + self.clear_points) / 100,
            target=total * self.inodes_target_percent / 100,
            words=f"{left:,} inodes ({_percent(left, total)}) left",
        )


def _largest(filesystem: Filesystem, facts: Facts) -> int:
    """Give the size of the largest image that lies on a filesystem; zero where none does."""
    if places.of_layers(facts.engine, facts.filesystems) != filesystem.mountpoint:
        return 0
    return max((image.size_bytes for image in facts.images), default=0)


def _forecast(filesystem: Filesystem, facts: Facts) -> str:
    """Say when it will be full, if that is soon enough to matter."""
    full_in = growth.full_in(filesystem.available_bytes, facts.growth.get(filesystem.mountpoint))
    return f", full in about {words.about(full_in)}" if full_in is not None and full_in < _SOON else ""


def _percent(left: int, total: int) -> str:
    """Say a share in whole percent, rounded down: "0 %" is reached, never feared."""
    return f"{100 * left // total} %"
