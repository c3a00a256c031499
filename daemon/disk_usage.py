"""The slow lane that asks Docker what its objects take on the disks."""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING

from collectors.disk_usage import TYPES
from collectors.engine_errors import EngineError, EngineUnavailable
from collectors.facts import DiskKind, EngineState
from policies import words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from collectors.engine_api import EngineApi
    from collectors.facts import Engine, KindUsage
    from daemon.clock import Clock

log = logging.getLogger(__name__)

PATIENCE = timedelta(minutes=10)
"""The engine walks through every layer and volume to answer: 5 minutes have been seen on large hosts."""
EVERY: Mapping[DiskKind, timedelta] = {
    DiskKind.IMAGES: timedelta(minutes=5),
    DiskKind.BUILD_CACHE: timedelta(minutes=5),
    DiskKind.CONTAINER_LAYERS: timedelta(minutes=15),
    DiskKind.VOLUMES: timedelta(minutes=15),
}
"""How often at most each kind is asked for: images and build cache cost the engine a look into its books."""
REST = 20
"""After an answer, good or bad, the engine is left alone for so many times as long as it took."""
STUCK_AFTER = timedelta(minutes=5)
"""An answer that is not there by then is told."""
_KEPT = 3
"""Intervals after which a figure is too old to be shown."""


@dataclass(frozen=True, slots=True)
class _Answer:
    usage: KindUsage | None
    error: str
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskUsage:
    """What Docker told last of each kind, and by kind in words why one is not known."""

    usages: Mapping[DiskKind, KindUsage]
    errors: Mapping[DiskKind, str]


class UsageLane:
    """
    Asks for each kind by itself where the engine can do that, else for all of them at once.

    `engine` gives the engine's state: one that is not up is not asked. `measure` belongs to one thread.
    """

    def __init__(
        self,
        connect: Callable[[], EngineApi],
        engine: Callable[[], Engine],
        clock: Clock,
        patience: timedelta = PATIENCE,
    ) -> None:
        self._connect = connect
        self._engine = engine
        self._clock = clock
        self._patience = patience
        self._due: dict[DiskKind, float] = {}
        self._answers: Mapping[DiskKind, _Answer] = MappingProxyType({})
        self._asking: tuple[float, Sequence[DiskKind]] | None = None
        """Since when Docker has been asked for what."""
        self._given_up: frozenset[DiskKind] = frozenset()
        """Of what Docker did not tell in time when it was asked last."""

    @property
    def stuck(self) -> str:
        """Say what Docker does not come to tell; empty if there is nothing. From any thread."""
        asking, given_up = self._asking, self._given_up
        if asking is not None:
            since, kinds = asking
            lasted = timedelta(seconds=self._clock.monotonic() - since)
            if lasted >= STUCK_AFTER:
                return f"it has been working out what {_named(kinds)} take for {words.about(lasted)}"
        if given_up:
            return f"it did not tell within {words.duration(self._patience)} what {_named(sorted(given_up))} take"
        return ""

    @property
    def latest(self) -> DiskUsage:
        """What is known at this moment, from any thread; what is three intervals old is not."""
        now = self._clock.monotonic()
        usages, errors = {}, {}
        for kind, answer in self._answers.items():
            if answer.usage is not None and now <= answer.until:
                usages[kind] = answer.usage
            if answer.error or now > answer.until:
                errors[kind] = answer.error or "the last answer is too old"
        return DiskUsage(usages=MappingProxyType(usages), errors=MappingProxyType(errors))

    def measure(self) -> None:
        """Ask for the kinds that are due; takes as long as the engine takes, `patience` for each at most."""
        due = [kind for kind in TYPES if self._due.get(kind, 0.0) <= self._clock.monotonic()]
        if not due or self._engine().state is not EngineState.UP:
            return
        try:
            with closing(self._connect()) as api:
                for kinds in [[kind] for kind in due] if api.usage_by_kind else [list(TYPES)]:
                    self._ask(api, kinds)
        except EngineError as error:
            log.debug("what Docker's objects take stays unknown for now: %s", error)

    def _ask(self, api: EngineApi, kinds: Sequence[DiskKind]) -> None:
        began = self._clock.monotonic()
        self._asking = began, kinds
        found: Mapping[DiskKind, KindUsage] = {}
        why, late = "Docker does not tell of it", False
        try:
            found = api.disk_usage(kinds, self._patience, self._clock.now())
        except EngineError as error:
            why = str(error)
            late = isinstance(error, EngineUnavailable) and error.state is EngineState.HUNG
        finally:
            self._asking = None
        now = self._clock.monotonic()
        self._given_up = self._given_up | frozenset(kinds) if late else self._given_up - frozenset(kinds)
        wait = max(*(EVERY[kind].total_seconds() for kind in kinds), REST * (now - began))
        for kind in kinds:
            self._due[kind] = now + wait
            before = self._answers.get(kind)
            if usage := found.get(kind):
                answer = _Answer(usage, "", now + _KEPT * wait)
            else:
                answer = _Answer(before.usage if before else None, why, before.until if before else now)
                if before is None or before.error != why:
                    again = words.duration(timedelta(seconds=wait))
                    log.warning("what %s take is not known: %s; asking again in %s", kind.replace("_", " "), why, again)
            self._answers = MappingProxyType({**self._answers, kind: answer})


def _named(kinds: Sequence[DiskKind]) -> str:
    return ", ".join(kind.replace("_", " ") for kind in kinds)
