"""The ledger of deaths: turns events, with what inspect shows afterwards, into each death exactly once."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from collectors.facts import Container, ContainerState, Death, Intent, OomKill
from daemon.endings import ALIVE, EVENT_EARLY, container_of, death_of, inferred_exit_code, spoken_labels, uptime_before

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from collectors.engine_api import Event

INTENDED_SIGNALS = frozenset({15, 9, 2})
KILLED_EXIT_CODE = 137
ENDED = frozenset({ContainerState.EXITED, ContainerState.DEAD})

KILL_GRACE = timedelta(seconds=15)
"""How long after its stop timeout a container may still be ending because of one API kill."""
EVENT_DELAY = timedelta(seconds=5)
"""How much later than FinishedAt a loaded engine may stamp the `die` event."""
NEXT_END = timedelta(milliseconds=100)
"""Docker waits for so long, at least, before it starts a container again: the next end is no earlier."""
SETTLING = timedelta(seconds=2)
"""
So long an end waits for the event that explains it: a SIGKILL for its `oom`, which may come after the `die`, and
an end that a complete look found for the `kill` and the `die` that were still on their way.
"""
MEMORY = timedelta(minutes=10)
"""How long signals and told deaths can still explain something."""
MOST_SIGNALS = 64
"""Kept for each container and each signal: whoever sends more, all the time, explains no end with the oldest."""
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
    """True if the engine was away since the last complete look, or the machine, and took its containers along."""
    oom_counts: Mapping[str, int]
    """The cgroup `oom_kill` counters, by container id; absent where unreadable."""


@dataclass(frozen=True, slots=True)
class _End:
    """One end as first seen: whose it is, and for an inferred one the mark that it was inferred from."""

    death: Death
    container: Container
    mark: Mark | None = None

    @property
    def unexplained(self) -> bool:
        """True if an event that has not come yet may give it another reason."""
        killed = self.death.exit_code == KILLED_EXIT_CODE and not self.death.oom
        return self.death.intent is Intent.NONE and (killed or self.death.inferred)


class Ledger:
    """
    Recognises deaths; keeps only what it needs for that.

    `stored` is the baseline of the last run, or `None` on the very first start, when nothing that lies there
    already is news. A death is told once: by its event, or, when the event was lost, by the next complete look.
    `told` are deaths of the last run whose events may be read again.
    """

    def __init__(self, stored: Baseline | None, now: datetime, told: Iterable[Death] = ()) -> None:
        self._marks = dict(stored.marks) if stored else {}
        self._first_look = stored is None
        self._not_before = min(stored.events_until, now) if stored else now
        self._events_until = self._not_before
        self._aboard = now
        self._kills: dict[tuple[str, int], deque[datetime]] = defaultdict(lambda: deque(maxlen=MOST_SIGNALS))
        self._last_end: dict[str, datetime] = {}
        self._unclaimed: dict[str, list[datetime]] = defaultdict(list)
        for death in told:
            self._unclaimed[death.container_id].append(death.finished_at)
        self._held: dict[str, _End] = {}
        self._oom_events: dict[str, datetime] = {}
        self._oom_counts: dict[str, tuple[datetime | None, int]] = {}
        self._survived: dict[str, datetime | None] = {}
        """By container, when the run began in which it lived on after a memory kill."""
        self._spoofed: set[str] = set()
        self._unread: set[str] = set()

    @property
    def baseline(self) -> Baseline:
        """What to store now: a death that is still held back does not count as told yet, nor as heard of."""
        marks, until = dict(self._marks), self._events_until
        for death, mark in ((end.death, end.mark) for end in self._held.values()):
            until = min(until, death.finished_at - EVENT_EARLY)
            if mark is not None:
                marks[death.container_id] = mark
            elif known := marks.get(death.container_id):
                marks[death.container_id] = replace(known, told=max(known.told - 1, 0), newest_told=None)
        return Baseline(marks, until)

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
        if look.now < self._not_before:  # the wall clock was set back: what happens from now on is no old story
            self._not_before = look.now - MEMORY
        self._note_signals(look.events)
        self._meet(look)
        ends = list(self._from_events(look))
        if look.complete:
            ends += self._missed(look)
            self._marks = dict(self._marks_of(look.after))
        settled = tuple(self._settle(ends, look))
        kills = tuple(self._survived_kills(look))
        self._forget(look)
        return settled, kills

    def _note_signals(self, events: Iterable[Event]) -> None:
        for event in events:
            if event.type != "container":
                continue
            if event.action == "kill":
                self._kills[event.id, _signal_number(event.attributes.get("signal", ""))].append(event.at)
            elif event.action == "oom":
                self._oom_events[event.id] = event.at
            elif event.action in {"create", "start"} and "exitCode" in event.attributes:
                # These events have no exit code of their own: it is a label, and will overwrite the true one.
                self._spoofed.add(event.id)

    def _meet(self, look: Look) -> None:
        """Give every container seen for the first time its mark: blank, unless we have only just come aboard."""
        for key, container in look.after.items():
            if key in self._marks:
                continue
            if not container.inspected:
                self._unread.add(key)
                continue
            # Of one that could not be read for a while nobody knows which of its ends are news.
            seen = self._first_look or key in self._unread
            self._marks[key] = Mark(container.finished_at, container.restart_count) if seen else Mark()
        if look.complete:
            self._first_look = False

    def _marks_of(self, after: Mapping[str, Container]) -> Iterator[tuple[str, Mark]]:
        for key, container in after.items():
            if container.inspected:
                yield key, Mark(container.finished_at, container.restart_count)
            elif known := self._marks.get(key):
                yield key, known

    def _from_events(self, look: Look) -> Iterator[_End]:
        for event in look.events:
            if event.type != "container" or event.action != "die":
                continue
            self._events_until = max(self._events_until, event.at)
            # The stream begins before our start, for the signals that explain an end: its older ends are no news.
            shown = look.after.get(event.id)
            if event.at <= self._not_before or self._claims(event, shown):
                continue
            container = shown if shown and shown.inspected else look.before.get(event.id) or container_of(event)
            matches = shown is not None and self._shows(shown, event)
            finished_at = shown.finished_at if matches and shown and shown.finished_at else event.at
            self._last_end[event.id] = event.at
            if mark := self._marks.get(event.id):
                self._marks[event.id] = replace(mark, told=mark.told + 1, newest_told=finished_at)
            ended = matches and shown is not None and shown.state not in ALIVE
            code = container.exit_code if ended else self._exit_code_of(event, container)
            intent = self._intent(container, event.at)
            death = death_of(
                container,
                finished_at,
                exit_code=code,
                oom=ended and self._by_memory(container, finished_at, code, intent),
                uptime=uptime_before(finished_at, (shown, look.before.get(event.id))),
                intent=intent,
            )
            yield _End(death, container)

    def _claims(self, event: Event, shown: Container | None) -> bool:
        """
        Tell whether this event is about a death that is known already: inferred, or told by the last run.

        One stamped at that very moment is, and one from before the end that the last complete look saw, which counted
        all up to there. In a loop of ends a later one may be about the next end: then it is about a known one only if
        every end that Docker counts has been told.
        """
        claimed = min(self._unclaimed.get(event.id, ()), key=lambda at: abs(event.at - at), default=None)
        if claimed is None:
            return False
        mark = self._marks.get(event.id)
        counted = mark is not None and mark.finished_at is not None and event.at - mark.finished_at <= NEXT_END
        is_that = counted or -EVENT_EARLY <= event.at - claimed <= NEXT_END
        may_be_that = abs(event.at - claimed) <= EVENT_DELAY
        if not is_that and (not may_be_that or self._owes(event.id, shown)):
            return False
        self._unclaimed[event.id].remove(claimed)
        self._complete(claimed, event)
        return True

    def _owes(self, container_id: str, shown: Container | None) -> bool:
        """Tell whether Docker counts more ends since the last complete look than events have told."""
        mark = self._marks.get(container_id)
        return mark is not None and shown is not None and _ends_since(mark, shown) > mark.told

    def _complete(self, finished_at: datetime, event: Event) -> None:
        """Add what a late event tells to a death that was inferred before it came."""
        for key, end in self._held.items():
            death = end.death
            if (death.container_id, death.finished_at, death.inferred) == (event.id, finished_at, True):
                code = death.exit_code if death.exit_code is not None else self._exit_code_of(event, end.container)
                self._held[key] = replace(end, death=replace(death, inferred=False, exit_code=code))

    def _shows(self, shown: Container, event: Event) -> bool:
        """Tell whether inspect's FinishedAt is this event's end, and not a later or an earlier one."""
        if shown.finished_at is None or not -EVENT_EARLY <= event.at - shown.finished_at <= EVENT_DELAY:
            return False
        last_end = self._last_end.get(event.id)
        return last_end is None or shown.finished_at > last_end

    def _missed(self, look: Look) -> Iterator[_End]:
        """Infer the deaths that no event told of, from FinishedAt and from Docker's own count of restarts."""
        for container in look.after.values():
            if not container.inspected or container.finished_at is None:
                continue
            mark = self._marks[container.id]
            missing = min(_ends_since(mark, container) - mark.told, MOST_INFERRED)
            if missing <= 0:
                continue
            intent = Intent.ENGINE if look.engine_restarted else self._intent(container, container.finished_at)
            # Only the newest end has a known time; those before it need distinct keys, not true ones.
            first = 1 if mark.newest_told is not None and mark.newest_told >= container.finished_at else 0
            for back in range(first, first + missing):
                at = container.finished_at - timedelta(microseconds=back)
                newest = back == 0
                self._unclaimed[container.id].append(at)
                code = inferred_exit_code(container) if newest else None
                ended = newest and container.state not in ALIVE
                death = death_of(
                    container,
                    at,
                    exit_code=code,
                    oom=ended and self._by_memory(container, at, code, intent),
                    uptime=uptime_before(at, (container, look.before.get(container.id))) if newest else None,
                    intent=intent,
                    inferred=True,
                )
                yield _End(death, container, mark)
            self._last_end[container.id] = container.finished_at

    def _exit_code_of(self, event: Event, container: Container) -> int | None:
        """Give the event's exit code, unless a label of that name overwrote it."""
        text = event.attributes.get("exitCode", "")
        spoofed = "exitCode" in container.labels or event.id in self._spoofed
        return int(text) if not spoofed and text.isascii() and text.isdigit() else None

    def _intent(self, container: Container, at: datetime) -> Intent:
        signals = INTENDED_SIGNALS | {container.stop_signal}
        reach = container.stop_timeout + KILL_GRACE
        kills = (when for number in signals for when in self._kills.get((container.id, number), ()))
        asked = any(-EVENT_DELAY <= at - when <= reach for when in kills)
        return Intent.API if asked else Intent.NONE

    def _by_memory(self, shown: Container | None, at: datetime, exit_code: int | None, intent: Intent) -> bool:
        """Tell whether Docker's flag is about this end: one that a survived kill set stays until the next start."""
        if shown is None or not shown.oom_killed:
            return False
        if self._killed_at(shown.id, at) or (exit_code == KILLED_EXIT_CODE and intent is Intent.NONE):
            return True
        return shown.id not in self._survived or self._survived[shown.id] != shown.started_at

    def _killed_at(self, container_id: str, at: datetime) -> bool:
        """Tell whether an event named a memory kill about then."""
        told_at = self._oom_events.get(container_id)
        return told_at is not None and abs(told_at - at) <= EVENT_DELAY

    def _settle(self, ends: Iterable[_End], look: Look) -> Iterator[Death]:
        """Hold what is unexplained back until the event that explains it could have come; let the others through."""
        for end in ends:
            if end.unexplained:
                self._held[end.death.key] = end
            else:
                yield end.death
        for key, end in list(self._held.items()):
            death = replace(end.death, intent=self._intent(end.container, end.death.finished_at))
            explained = not replace(end, death=death).unexplained
            shown = look.after.get(death.container_id)
            its = shown is not None and shown.finished_at == death.finished_at
            flagged = its and self._by_memory(shown, death.finished_at, death.exit_code, death.intent)
            named = self._killed_at(death.container_id, death.finished_at)
            # A wall clock that stepped back must not hold a death for ever: hence abs().
            if explained or flagged or named or abs(look.now - death.finished_at) >= SETTLING:
                del self._held[key]
                yield replace(death, oom=death.oom or flagged or named)

    def _survived_kills(self, look: Look) -> Iterator[OomKill]:
        """Tell of memory kills inside containers that live on: by the counter, by the event where it is unreadable."""
        for container_id, container in look.after.items():
            told_at = self._oom_events.get(container_id)
            if container.state not in ALIVE or (told_at is not None and abs(look.now - told_at) < SETTLING):
                continue
            count = look.oom_counts.get(container_id)
            last = self._last_count(container)
            if count is not None:
                self._oom_counts[container_id] = (container.started_at, count)
            last_end = self._last_end.get(container_id)
            explained = last_end is not None and told_at is not None and abs(last_end - told_at) <= EVENT_DELAY
            killed = 0
            if count is not None and last is not None:
                killed = count - last
            elif told_at is not None:
                killed = count or 1
            if count or killed:
                self._survived[container_id] = container.started_at
            if killed > 0 and not explained:
                yield OomKill(
                    container_id=container_id,
                    subject=container.subject,
                    at=told_at or look.now,
                    count=killed,
                    labels=spoken_labels(container),
                )

    def _last_count(self, container: Container) -> int | None:
        """Give how many memory kills of this run are known: none of one that began after we came aboard."""
        started_at, count = self._oom_counts.get(container.id, (None, None))
        if count is not None and started_at == container.started_at:
            return count
        return 0 if container.started_at is not None and container.started_at > self._aboard else None

    def _forget(self, look: Look) -> None:
        # Of times to come too: they were stamped before the wall clock was set back.
        def lately(at: datetime) -> bool:
            return abs(look.now - at) < MEMORY

        for key in [key for key, kills in self._kills.items() if not any(map(lately, kills))]:
            del self._kills[key]
        self._oom_events = {
            key: at for key, at in self._oom_events.items() if abs(look.now - at) < SETTLING or key in self._held_ids()
        }
        self._unclaimed = defaultdict(
            list, {key: kept for key, ends in self._unclaimed.items() if (kept := [at for at in ends if lately(at)])}
        )
        self._last_end = {key: at for key, at in self._last_end.items() if lately(at)}
        self._oom_counts = {key: count for key, count in self._oom_counts.items() if key in look.after}
        self._survived = {key: run for key, run in self._survived.items() if key in look.after}
        self._spoofed = {key for key in self._spoofed if key in look.after or key in self._last_end}
        self._unread = {key for key in self._unread if key in look.after and key not in self._marks}

    def _held_ids(self) -> set[str]:
        return {end.death.container_id for end in self._held.values()}


def _ends_since(mark: Mark, container: Container) -> int:
    """Count the ends since the mark: Docker's policy restarts, and the present end if it is a new one."""
    fresh = container.finished_at is not None and container.finished_at != mark.finished_at
    restarts = container.restart_count - mark.restart_count
    if restarts < 0:  # a start by hand resets Docker's counter
        restarts = container.restart_count
    ends = restarts + (1 if fresh and container.state in ENDED else 0)
    return max(ends, 1 if fresh else 0)


def _signal_number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0
