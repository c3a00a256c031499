"""Keeps the inventory true: what Docker is asked after which events, and when everything is compared."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from collectors.engine_errors import EngineError, EngineUnavailable
from collectors.facts import Engine, EngineState, Known, Source, Unknown
from collectors.image_inventory import NO_IMAGES
from policies import words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from collectors.engine_api import EngineApi, Event
    from collectors.facts import Container, Image
    from collectors.image_inventory import ImageList
    from collectors.inventory import Inventory
    from daemon.clock import Clock
    from daemon.event_queue import Batch

log = logging.getLogger(__name__)

COMPARE_EVERY = timedelta(minutes=5)
COMPARE_OFTEN = timedelta(seconds=15)
"""While there is no event stream to tell what changed, or a container cannot be inspected."""
BLIND_AFTER = timedelta(seconds=15)
"""A stream that is opened again is closed for a moment: only one that stays closed changes how we look."""
FIRST_IMAGES = timedelta(seconds=2)
"""The first look waits so long for the images; later ones take what was read since."""
IMAGES_APART = timedelta(seconds=1)
"""A pull or a build sends many image events: so long lies at least between two readings of all images."""
IMAGES_SHARE = 10
"""And so many times as long as one reading takes: then they cost a tenth of the time at most."""
MOST_ASKED_SINGLY = 500
"""When events tell of more containers, the list shows first which of them are still there."""
FLOOD_OVER_AFTER = timedelta(seconds=60)
"""Without a lost event for so long a flood is over."""
MOST_KEPT_EVENTS = 10_000
"""While Docker does not answer, this many events wait; beyond, the next complete look finds what they told."""


class EngineView(Protocol):
    """What the lookout asks of the engine watch."""

    @property
    def engine(self) -> Engine:
        """The engine as last judged."""
        ...

    @property
    def outages(self) -> int:
        """How often the engine was seen gone since we started."""
        ...

    def report_lost(self) -> None:
        """Hear that a call failed, and look again at once."""
        ...


class ImageSource(Protocol):
    """What the lookout asks of the images' lane."""

    def ask(self) -> None:
        """Ask for a reading that begins after this; never waits."""
        ...

    def answer(self, within: timedelta) -> ImageList | None:
        """Give what came of the newest question; `None` if it is still open after so long."""
        ...


class EventSource(Protocol):
    """What the lookout asks of the event reader."""

    @property
    def connected(self) -> bool:
        """Whether events come at present."""
        ...

    def drain(self) -> Batch:
        """Take what came since the last call, oldest first."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What one look at Docker showed."""

    events: tuple[Event, ...]
    before: Mapping[str, Container]
    """By id, as known before the look."""
    complete: bool
    """True if every container was listed."""
    engine_restarted: bool
    """True if the engine was away since the last complete look, and its containers with it."""
    images_read: bool
    """True if the images were listed, after these events and all before them."""


class Lookout:
    """Used from the watch thread only. No call to Docker that it makes takes longer than its client's 2 s."""

    def __init__(  # noqa: PLR0913, PLR0917  a collaborator each, named at the one place that builds lookouts
        self,
        connect: Callable[[], EngineApi],
        engine: EngineView,
        reader: EventSource,
        inventory: Inventory,
        image_source: ImageSource,
        clock: Clock,
    ) -> None:
        self._connect = connect
        self._engine = engine
        self._reader = reader
        self._inventory = inventory
        self._clock = clock
        self._events: list[Event] = []
        self._resync = True
        self._outages = 0
        self._compared: float | None = None
        self._images = _ImageNews(image_source, clock)
        self._flood = _Flood(clock)
        self._stream = _StreamState(clock)
        self.api: EngineApi | None = None
        """The connection that the last look went through; `None` while there is none."""
        self.docker: Source = Unknown("not read yet", clock.now())
        """Whether Docker could be read at the last look."""
        self.images: Source = self.docker
        """Whether its images could be read; they are not known without the rest of Docker."""

    @property
    def ready(self) -> bool:
        """True once every container has been seen at least once, and the images too, if Docker lists them in time."""
        return self._compared is not None and self._images.answered

    @property
    def no_events_for(self) -> timedelta | None:
        """How long no events have come though the engine is up; `None` while they come."""
        return self._stream.closed_for

    @property
    def listed_images(self) -> Mapping[str, Image]:
        """The images by id as read last, inspected but for the newest of many."""
        return self._images.listed

    @property
    def unsettled(self) -> bool:
        """True if something is to be looked at again within a second."""
        return self._images.waiting or bool(self._inventory.unsettled(self._clock.now()))

    def close(self) -> None:
        """Let go of the connection to the engine."""
        if self.api is not None:
            self.api.close()
            self.api = None

    def look(self) -> Sight | None:
        """
        Bring the inventory up to date with the events that came; `None` if Docker could not be read.

        Then `docker` says why, and the events wait for the next look.
        """
        self._take_events()
        engine = self._engine.engine
        if engine.state is not EngineState.UP:
            # The engine watch has told that already, with its cure.
            self._lose(engine.why or f"the engine is {engine.state.value}", logging.DEBUG)
            return None
        before = self._inventory.containers
        touched = {event.container_id for event in self._events if event.container_id}
        due = self._due() or len(touched) > MOST_ASKED_SINGLY
        # First: the images' thread reads them while we read the containers, and the first look waits for both.
        self._images.ask(due=due)
        try:
            self._refresh(touched, due=due)
        except EngineUnavailable as error:
            self._lose(error.why, logging.INFO)
            self._engine.report_lost()
            return None
        except EngineError as error:
            self._lose(str(error), logging.WARNING)
            return None
        now = self._clock.now()
        self.docker = Known(now)
        read = self._images.take()
        unread = self._images.unread
        self.images = _unknown(self.images, unread, now) if unread else Known(now)
        events, self._events = tuple(self._events), []
        restarted = self._engine.outages != self._outages and not engine.live_restore
        if due:
            self._resync, self._compared, self._outages = False, self._clock.monotonic(), self._engine.outages
        return Sight(
            events=events,
            before=before,
            complete=due,
            engine_restarted=restarted,
            images_read=read and not unread,
        )

    def _take_events(self) -> None:
        batch = self._reader.drain()
        self._resync = self._resync or batch.resync
        self._events += batch.events
        self._images.note(batch.events)
        too_many = max(len(self._events) - MOST_KEPT_EVENTS, 0)
        if too_many:
            del self._events[:too_many]
            self._resync = True
        self._flood.note(batch.dropped + too_many)

    def _due(self) -> bool:
        blind = self._stream.blind(connected=self._reader.connected)
        if self._resync or self._compared is None:
            return True
        every = COMPARE_OFTEN if blind or self._inventory.uninspected else COMPARE_EVERY
        return self._clock.monotonic() - self._compared >= every.total_seconds()

    def _refresh(self, touched: set[str], *, due: bool) -> None:
        if self.api is None:
            self.api = self._connect()
        now = self._clock.now()
        if due:
            self._inventory.reconcile(self.api, now)
            # The list is newer than the events: what it does not show is gone, and need not be asked for.
            touched &= self._inventory.containers.keys()
        if wanted := touched | self._inventory.unsettled(now):
            self._inventory.look(self.api, wanted)

    def _lose(self, why: str, level: int) -> None:
        """Know nothing of Docker from now on, say why, once, and compare everything when it is back."""
        was = self.docker
        self.docker = _unknown(was, why, self._clock.now())
        self.images = _unknown(self.images, why, self._clock.now())
        if isinstance(was, Known) or was.why != why:
            log.log(level, "docker cannot be read: %s", why)
        self.close()
        self._images.lose()
        self._stream.look_away()
        self._resync = True


class _ImageNews:
    """What is known of the images, whether they have changed since, and whether it is time to read them again."""

    def __init__(self, source: ImageSource, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._not_before = clock.monotonic()
        self._asked: float | None = None
        """When the question was asked that is open."""
        self._newer = False
        """True if an event came after that question."""
        self.waiting = False
        """True from an image's event until the images are read, all of them inspected."""
        self.answered = False
        """True once there was an answer, whatever it was, or none in time."""
        self.unread = "Docker has not listed them yet"
        """Why the images are not known; empty while they are."""
        self.listed: Mapping[str, Image] = NO_IMAGES

    def note(self, events: tuple[Event, ...]) -> None:
        if any(event.type == "image" for event in events):
            self.waiting = self._newer = True

    def ask(self, *, due: bool) -> None:
        """Ask for all images if there is cause."""
        if due or (self._asked is None and self.waiting and self._clock.monotonic() >= self._not_before):
            self._source.ask()
            self._asked, self._newer = self._clock.monotonic(), False

    def take(self) -> bool:
        """Take what was read; tell whether all images were listed after the events that were noted so far."""
        if self._asked is None:
            return False
        answer = self._source.answer(timedelta(0) if self.answered else FIRST_IMAGES)
        if answer is None:
            self.answered = True
            return False
        now = self._clock.monotonic()
        self._not_before = now + max(IMAGES_APART.total_seconds(), IMAGES_SHARE * (now - self._asked))
        self._asked, self.answered = None, True
        self.waiting = self._newer or answer.pending
        self.unread, self.listed = answer.unread, answer.images
        return not self._newer

    def lose(self) -> None:
        """Know nothing of the images until they are read again: the next look asks."""
        self._asked, self.unread = None, "Docker has not listed them again yet"


class _Flood:
    """Says once when more events come than can be kept, and once how many were lost when that is over."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lost = 0
        self._last = clock.monotonic()

    def note(self, lost: int) -> None:
        """Take note of how many events were lost since the last time."""
        now = self._clock.monotonic()
        if lost:
            if not self._lost:
                log.warning(
                    "Docker sends more events than can be kept: some are dropped, and all containers are compared"
                    " instead, so no end is missed but some are told as found later"
                )
            self._lost, self._last = self._lost + lost, now
        elif self._lost and now - self._last >= FLOOD_OVER_AFTER.total_seconds():
            log.info("the flood of events is over; %s were dropped", words.count(self._lost, "event"))
            self._lost = 0


class _StreamState:
    """Whether events come at all; says once when they do not, and once when they do again."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._closed_since: float | None = None
        self._said = False

    def blind(self, *, connected: bool) -> bool:
        """Tell whether the stream has been closed for so long that looking more often has to do."""
        if connected:
            if self._said:
                log.info("Docker's events come again")
            self._closed_since, self._said = None, False
            return False
        if self._closed_since is None:
            self._closed_since = self._clock.monotonic()
        blind = self._clock.monotonic() - self._closed_since >= BLIND_AFTER.total_seconds()
        if blind and not self._said:
            self._said = True
            log.warning(
                "no events come from Docker, so everything is compared every %.0f s: crashes are told that much later,"
                " and a stop that somebody asked for looks like one; cure: let a proxy before Docker allow GET /events",
                COMPARE_OFTEN.total_seconds(),
            )
        return blind

    @property
    def closed_for(self) -> timedelta | None:
        """How long it has been closed while the engine was up; `None` while it is open, or as good as open."""
        if self._closed_since is None:
            return None
        closed = timedelta(seconds=self._clock.monotonic() - self._closed_since)
        return closed if closed >= BLIND_AFTER else None

    def look_away(self) -> None:
        """Begin to count anew: while the engine is away its stream is closed, and that says nothing."""
        self._closed_since = None


def _unknown(was: Source, why: str, now: datetime) -> Unknown:
    return Unknown(why, now if isinstance(was, Known) else was.since)
