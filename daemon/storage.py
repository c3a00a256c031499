"""The slow lane that asks Docker for its networks and volumes."""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Generic, TypeVar

from collectors.engine_errors import EngineError, EngineForbidden
from collectors.facts import EngineState, Known, Unknown

if TYPE_CHECKING:
    from collections.abc import Callable

    from collectors.engine_api import EngineApi
    from collectors.facts import Engine, Source
    from collectors.storage_facts import Network, Volume
    from daemon.clock import Clock

log = logging.getLogger(__name__)

T = TypeVar("T")

EVERY = timedelta(minutes=1)
_KEPT = 3 * EVERY
"""After so long an answer is too old to decide on."""


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """All objects of one kind, and whether they could be read; empty while they could not."""

    source: Source
    objects: tuple[T, ...] = ()


class StorageLane:
    """
    Safe to ask from any thread; `read` belongs to one.

    A driver of volumes that is a plugin may hold its answer up, so this is nothing for a cycle.
    """

    def __init__(self, connect: Callable[[], EngineApi], engine: Callable[[], Engine], clock: Clock) -> None:
        self._connect = connect
        self._engine = engine
        self._clock = clock
        unread = Unknown("not read yet", clock.now())
        self._networks: Listing[Network] = Listing(unread)
        self._volumes: Listing[Volume] = Listing(unread)
        self._until = clock.monotonic() + _KEPT.total_seconds()

    @property
    def networks(self) -> Listing[Network]:
        """The networks as last read, without what is connected to them."""
        return self._fresh(self._networks)

    @property
    def volumes(self) -> Listing[Volume]:
        """The volumes as last read, without their sizes."""
        return self._fresh(self._volumes)

    def read(self) -> None:
        """Ask for both; what cannot be read costs only itself."""
        if self._engine().state is not EngineState.UP:
            return  # the last answer grows too old by itself
        try:
            with closing(self._connect()) as api:
                self._networks = self._listed("networks", self._networks, api.networks)
                self._volumes = self._listed("volumes", self._volumes, api.volumes)
        except EngineError as error:
            log.debug("networks and volumes stay unknown for now: %s", error)
            return
        self._until = self._clock.monotonic() + _KEPT.total_seconds()

    def _listed(self, what: str, before: Listing[T], ask: Callable[[], tuple[T, ...]]) -> Listing[T]:
        try:
            return Listing(Known(self._clock.now()), ask())
        except EngineError as error:
            since = before.source.since if isinstance(before.source, Unknown) else self._clock.now()
            unknown = Unknown(str(error), since)
            # What the owner switched off in a proxy was told at the start.
            if unknown != before.source and not isinstance(error, EngineForbidden):
                log.warning("%s cannot be read: %s", what, error)
            return Listing(unknown)

    def _fresh(self, listing: Listing[T]) -> Listing[T]:
        if isinstance(listing.source, Unknown) or self._clock.monotonic() <= self._until:
            return listing
        return replace(listing, source=Unknown("the last answer is too old", listing.source.at), objects=())
