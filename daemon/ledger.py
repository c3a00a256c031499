"""The ledger of deaths: turns events, with what inspect shows afterwards, into each death exactly once."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from collectors.facts import (
    COMPOSE_NUMBER,
    COMPOSE_PROJECT,
    COMPOSE_SERVICE,
    Container,
    ContainerState,
    Death,
    Intent,
    OomKill,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from collectors.engine_api import Event

INTENDED_SIGNALS = frozenset({15, 9, 2})
KILLED_EXIT_CODE = 137
LOST_EXIT_CODE = 255
"""What the engine writes for a container that ended while the engine itself was away."""
ALIVE = frozenset({ContainerState.RUNNING, ContainerState.PAUSED})
ENDED = frozenset({ContainerState.EXITED, ContainerState.DEAD})

KILL_GRACE = timedelta(seconds=15)
"""How long after its stop timeout a container may still be ending because of one API kill."""
EVENT_DELAY = timedelta(seconds=5)
"""How much later than FinishedAt a loaded engine may stamp the `die` event."""
EVENT_EARLY = timedelta(milliseconds=50)
OOM_DELAY = timedelta(seconds=2)
"""An `oom` event may come after the `die` that it explains; until then a SIGKILL is not judged."""
MEMORY = timedelta(minutes=10)
"""How long signals and told deaths can still explain something."""
SPOKEN_LABELS = frozenset({COMPOSE_PROJECT, COMPOSE_SERVICE, COMPOSE_NUMBER})
MOST_INFERRED = 1000
"""An absurd RestartCount must not flood the ledger."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One container's row of the baseline: how it stood at the last complete look, and the deaths told since."""

    finished_at: datetime | None = None
    restart_count: int = 0
    told: int = 0
    newest_told: datetime | None = None


@dataclass(frozen=True, slots=True)
class Baseline:
    """What is stored to recognise later what happened in our absence."""

    marks: Mapping[str, Mark]
    """By container id."""
    events_until: datetime
    """Ends that events tell of up to then are in the ledger, or will be found by the next complete look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one refresh of the inventory showed, as far as the ledger cares."""

    now: datetime
    events: Sequence[Event] = ()
    before: Mapping[str, Container]
    """By id, as known before the refresh."""
    after: Mapping[str, Container]
    """By id, as inspected after the events came."""
    complete: bool = False
    """True if every container was listed, so that what events did not tell shows."""
    engine_restarted: bool = False
    """True if the engine itself was away since the last complete look and took its containers with it."""
    oom_counts: Mapping[str, int]
    """The cgroup `oom_kill` counters, by container id; absent where unreadable."""


class Ledger:
    """
    Recognises deaths; keeps only what it needs for that.

    `stored` is the baseline of the last run, or `None` on the very first start, when nothing that lies there
    already is news. A death is told once: by its event, or, when the event was lost, by the next complete look.
    """

    def __init__(self, stored: Baseline | None, now: datetime) -> None:
        self._marks = dict(stored.marks) if stored else {}
        self._first_look = stored is None
        self._not_before = stored.events_until if stored else now
        self._events_until = self._not_before
        self._kills: dict[str, list[tuple[datetime, int]]] = defaultdict(list)
        self._last_end: dict[str, datetime] = {}
        self._unclaimed: dict[str, list[datetime]] = defaultdict(list)
        self._held: dict[str, Death] = {}
        self._oom_events: dict[str, datetime] = {}
        self._oom_counts: dict[str, int] = {}
        self._spoofed: set[str] = set()

    @property
    def baseline(self) -> Baseline:
        """What to store now: a death that is still held back does not count as told yet."""
        marks = dict(self._marks)
        for death in self._held.values():
            if mark := marks.get(death.container_id):
                marks[death.container_id] = replace(mark, told=max(mark.told - 1, 0), newest_told=None)
        return Baseline(marks, self._events_until)

    @property
    def unsettled(self) -> bool:
        """True while a death or a memory kill waits for its explanation: look again within a second."""
        return bool(self._held or self._oom_events)

    @property
    def awaiting_oom(self) -> frozenset[str]:
        """The containers whose `oom_kill` counter is wanted at the next look."""
        return frozenset(self._oom_events)

    def record(self, look: Look) -> tuple[tuple[Death, ...], tuple[OomKill, ...]]:
        """Give what this look shows for the first time: deaths, and memory kills that a container survived."""
        self._note_signals(look.events)
        self._meet(look)
        deaths = list(self._from_events(look))
        if look.complete:
            deaths += self._missed(look)
            self._marks = {key: Mark(c.finished_at, c.restart_count) for key, c in look.after.items()}
        settled = tuple(self._settle(deaths, look))
        kills = tuple(self._survived_kills(look))
        self._forget(look)
        return settled, kills

    def _note_signals(self, events: Iterable[Event]) -> None:
        for event in events:
            if event.type != "container":
                continue
            if event.action == "kill":
                self._kills[event.id].append((event.at, _signal_number(event.attributes.get("signal", ""))))
            elif event.action == "oom":
                self._oom_events[event.id] = event.at
            elif event.action in {"create", "start"} and "exitCode" in event.attributes:
                # These events have no exit code of their own: it is a label, and will overwrite the true one.
                self._spoofed.add(event.id)

    def _meet(self, look: Look) -> None:
        """Give every container seen for the first time its mark: blank, unless we have only just come aboard."""
        for key, container in look.after.items():
            if key not in self._marks:
                seen = Mark(container.finished_at, container.restart_count)
                self._marks[key] = seen if self._first_look else Mark()
        if look.complete:
            self._first_look = False

    def _from_events(self, look: Look) -> Iterator[Death]:
        for event in look.events:
            if event.type != "container" or event.action != "die":
                continue
            self._events_until = max(self._events_until, event.at)
            # The stream begins before our start, for the signals that explain an end: its older ends are no news.
            if event.at <= self._not_before or self._claims(event):
                continue
            shown = look.after.get(event.id)
            container = shown or look.before.get(event.id) or _from_attributes(event)
            matches = shown is not None and self._shows(shown, event)
            finished_at = shown.finished_at if matches and shown and shown.finished_at else event.at
            self._last_end[event.id] = event.at
            if mark := self._marks.get(event.id):
                self._marks[event.id] = replace(mark, told=mark.told + 1, newest_told=finished_at)
            ended = matches and shown is not None and shown.state not in ALIVE
            yield _death(
                container,
                finished_at,
                exit_code=container.exit_code if ended else self._exit_code_of(event, container),
                oom=ended and container.oom_killed,
                uptime=_uptime(finished_at, (shown, look.before.get(event.id))),
                intent=self._intent(container, event.at),
            )

    def _claims(self, event: Event) -> bool:
        """Tell whether this event comes late for a death that a complete look has already inferred."""
        for finished_at in self._unclaimed[event.id]:
            if -EVENT_EARLY <= event.at - finished_at <= EVENT_DELAY:
                self._unclaimed[event.id].remove(finished_at)
                return True
        return False

    def _shows(self, shown: Container, event: Event) -> bool:
        """Tell whether inspect's FinishedAt is this event's end, and not a later or an earlier one."""
        if shown.finished_at is None or not -EVENT_EARLY <= event.at - shown.finished_at <= EVENT_DELAY:
            return False
        last_end = self._last_end.get(event.id)
        return last_end is None or shown.finished_at > last_end

    def _missed(self, look: Look) -> Iterator[Death]:
        """Infer the deaths that no event told of, from FinishedAt and from Docker's own count of restarts."""
        for container in look.after.values():
            mark = self._marks[container.id]
            missing = min(_ends_since(mark, container) - mark.told, MOST_INFERRED)
            if missing <= 0 or container.finished_at is None:
                continue
            intent = Intent.ENGINE if look.engine_restarted else self._intent(container, container.finished_at)
            # Only the newest end has a known time; those before it need distinct keys, not true ones.
            first = 1 if mark.newest_told is not None and mark.newest_told >= container.finished_at else 0
            for back in range(first, first + missing):
                at = container.finished_at - timedelta(microseconds=back)
                newest = back == 0
                self._unclaimed[container.id].append(at)
                yield _death(
                    container,
                    at,
                    exit_code=_inferred_exit_code(container) if newest else None,
                    oom=newest and container.oom_killed and container.state not in ALIVE,
                    uptime=_uptime(at, (container, look.before.get(container.id))) if newest else None,
                    intent=intent,
                    inferred=True,
                )
            self._last_end[container.id] = container.finished_at

    def _exit_code_of(self, event: Event, container: Container) -> int | None:
        """Give the event's exit code, unless a label of that name overwrote it."""
        text = event.attributes.get("exitCode", "")
        spoofed = "exitCode" in container.labels or event.id in self._spoofed
        return int(text) if not spoofed and text.isascii() and text.isdigit() else None

    def _intent(self, container: Container, at: datetime) -> Intent:
        signals = INTENDED_SIGNALS | {container.stop_signal}
        reach = container.stop_timeout + KILL_GRACE
        kills = self._kills.get(container.id, ())
        asked = any(number in signals and -EVENT_DELAY <= at - when <= reach for when, number in kills)
        return Intent.API if asked else Intent.NONE

    def _settle(self, deaths: Iterable[Death], look: Look) -> Iterator[Death]:
        """Hold an unexplained SIGKILL back until its `oom` event could have come; let the others through."""
        for death in deaths:
            if death.exit_code == KILLED_EXIT_CODE and not death.oom and death.intent is Intent.NONE:
                self._held[death.key] = death
            else:
                yield death
        for key, death in list(self._held.items()):
            shown = look.after.get(death.container_id)
            flagged = shown is not None and shown.oom_killed and shown.finished_at == death.finished_at
            told_at = self._oom_events.get(death.container_id)
            named = told_at is not None and abs(told_at - death.finished_at) <= EVENT_DELAY
            # A wall clock that stepped back must not hold a death for ever: hence abs().
            if flagged or named or abs(look.now - death.finished_at) >= OOM_DELAY:
                del self._held[key]
                yield replace(death, oom=flagged or named)

    def _survived_kills(self, look: Look) -> Iterator[OomKill]:
        """Tell of memory kills inside containers that live on: by the counter, by the event where it is unreadable."""
        for container_id, container in look.after.items():
            told_at = self._oom_events.get(container_id)
            if container.state not in ALIVE or (told_at is not None and abs(look.now - told_at) < OOM_DELAY):
                continue
            count = look.oom_counts.get(container_id)
            last = self._oom_counts.get(container_id)
            if count is not None:
                self._oom_counts[container_id] = count
            last_end = self._last_end.get(container_id)
            explained = last_end is not None and told_at is not None and abs(last_end - told_at) <= EVENT_DELAY
            killed = 0
            if count is not None and last is not None:
                killed = count - last
            elif told_at is not None:
                killed = count or 1
            if killed > 0 and not explained:
                yield OomKill(
                    container_id=container_id, subject=container.subject, at=told_at or look.now, count=killed
                )

    def _forget(self, look: Look) -> None:
        horizon = look.now - MEMORY
        for container_id, kills in list(self._kills.items()):
            self._kills[container_id] = [kill for kill in kills if kill[0] > horizon]
            if not self._kills[container_id]:
                del self._kills[container_id]
        self._oom_events = {
            key: at for key, at in self._oom_events.items() if abs(look.now - at) < OOM_DELAY or key in self._held_ids()
        }
        self._unclaimed = defaultdict(
            list, {key: kept for key, ends in self._unclaimed.items() if (kept := [at for at in ends if at > horizon])}
        )
        self._last_end = {key: at for key, at in self._last_end.items() if at > horizon}
        self._oom_counts = {key: count for key, count in self._oom_counts.items() if key in look.after}
        self._spoofed = {key for key in self._spoofed if key in look.after or key in self._last_end}

    def _held_ids(self) -> set[str]:
        return {death.container_id for death in self._held.values()}


def _ends_since(mark: Mark, container: Container) -> int:
    """Count the ends since the mark: Docker's policy restarts, and the present end if it is a new one."""
    fresh = container.finished_at is not None and container.finished_at != mark.finished_at
    restarts = container.restart_count - mark.restart_count
    if restarts < 0:  # a start by hand resets Docker's counter
        restarts = container.restart_count
    ends = restarts + (1 if fresh and container.state in ENDED else 0)
    return max(ends, 1 if fresh else 0)


def _death(  # noqa: PLR0913  these are the fields of one record, not the steps of a procedure
    container: Container,
    finished_at: datetime,
    *,
    exit_code: int | None,
    oom: bool,
    uptime: timedelta | None,
    intent: Intent,
    inferred: bool = False,
) -> Death:
    spoken = {
        name: value
        for name, value in container.labels.items()
        if name in SPOKEN_LABELS or name.startswith("shipkeeper.")
    }
    return Death(
        container_id=container.id,
        name=container.name,
        image=container.image,
        labels=spoken,
        restart_policy=container.restart_policy,
        memory_limit_bytes=container.memory_limit_bytes,
        finished_at=finished_at,
        exit_code=exit_code,
        oom=oom,
        intent=intent,
        uptime=uptime,
        inferred=inferred,
    )


def _inferred_exit_code(container: Container) -> int | None:
    """Give inspect's exit code, unless the container runs again or the engine never saw it end."""
    lost = container.state in ALIVE or container.exit_code == LOST_EXIT_CODE
    return None if lost else container.exit_code


def _uptime(finished_at: datetime, seen: tuple[Container | None, ...]) -> timedelta | None:
    """Give the time since the last known start before this end."""
    latest = finished_at + EVENT_EARLY  # of the shortest lives Docker 20.10 writes an end before the start
    starts = [c.started_at for c in seen if c is not None and c.started_at is not None and c.started_at <= latest]
    return max(finished_at - max(starts), timedelta(0)) if starts else None


def _from_attributes(event: Event) -> Container:
    """Make do with the event when the container was gone before it could be inspected even once."""
    attributes = dict(event.attributes)
    name, image = attributes.pop("name", event.id[:12]), attributes.pop("image", "")
    labels = {key: value for key, value in attributes.items() if key not in {"exitCode", "execDuration", "signal"}}
    return Container(
        id=event.id,
        name=name,
        image=image,
        image_id="",
        labels=labels,
        state=ContainerState.REMOVING,
        created_at=event.at,
    )


def _signal_number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0
