"""What the daemon answers of alerts, and what it notes of what people say about them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from daemon import moments, status
from daemon.alerts import chronicle, matchers, outbox
from daemon.alerts.silence import LONGEST, Silence
from daemon.alerts.state import SHORTEST_ID
from daemon.errors import ShipkeeperError
from policies import words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from daemon.alerts.ack import Ack
    from daemon.alerts.acks import Acks
    from daemon.alerts.chronicle import Entry
    from daemon.alerts.matchers import Matcher
    from daemon.alerts.silences import Silences
    from daemon.alerts.state import AlertState
    from daemon.steady import SteadyClock
    from daemon.store import Store

HISTORY_PAGE = 1000
"""So many entries of the history are told at a time."""
MOST_MATCHERS = 10
LONGEST_REASON = 300


class AlertAnswers:
    """
    Safe to ask from any thread: what is said here is taken up by the watch thread, which `wake` asks for a cycle.

    `clock` is the one that the store is dated by.
    """

    def __init__(
        self, store: Store, silences: Silences, acks: Acks, clock: SteadyClock, wake: Callable[[], None]
    ) -> None:
        self._store = store
        self._silences = silences
        self._acks = acks
        self._clock = clock
        self._wake = wake

    def show(self, query: Mapping[str, str]) -> list[dict[str, Any]]:
        """Answer `shipkeeper alerts show NAME`: everything that is known of each alert of this name."""
        return [self._full(state) for state in self._find(query.get("about", ""))]

    def ack(self, query: Mapping[str, str], by: str) -> list[dict[str, Any]]:
        """Answer `shipkeeper alerts ack NAME`: note that somebody looks after each alert of this name that fires."""
        about, why = query.get("about", ""), _reason(query, needed=False)
        firing = [state for state in self._find(about) if state.phase.told]
        if not firing:
            raise ShipkeeperError(f'no alert of "{about}" fires; `shipkeeper alerts list` shows those that do')
        for state in firing:
            self._acks.give(state, by, why)
        self._wake()
        return [status.alert_json(state) | {"acked_by": by} for state in firing]

    def silence(self, query: Mapping[str, str], by: str) -> dict[str, Any]:
        """Answer `shipkeeper alerts silence`: begin a silence, and say what of that which is on it covers."""
        window = query.get("window") == "true"
        read = _matchers(query, window=window)
        now = self._clock.now()
        silence = self._silences.begin(
            Silence(
                matchers=read,
                by=by,
                why=_reason(query, needed=True),
                begun=now,
                until=self._clock.of_wall(_until(query.get("until", ""), self._clock.to_wall(now))),
                window=window,
            )
        )
        self._wake()
        return self._silence_json(silence, outbox.active_states(self._store))

    def unsilence(self, query: Mapping[str, str], by: str) -> dict[str, Any]:
        """Answer `shipkeeper alerts unsilence NUMBER`: end a silence now."""
        try:
            number = int(query.get("id", ""))
        except ValueError:
            raise ShipkeeperError(
                f'"{query.get("id", "")}" is no number of a silence\n'
                "  cure: take it from `shipkeeper alerts silences`: shipkeeper alerts unsilence 3"
            ) from None
        ended = self._silences.end(number, by)
        self._wake()
        return self._silence_json(ended, outbox.active_states(self._store))

    def silences(self) -> list[dict[str, Any]]:
        """Answer `shipkeeper alerts silences`: those in force."""
        on = outbox.active_states(self._store)
        return [self._silence_json(silence, on) for silence in self._silences.in_force()]

    def history(self, query: Mapping[str, str]) -> list[dict[str, Any]]:
        """Answer `shipkeeper alerts history`: what happened since a time or an age, page by page."""
        try:
            since = moments.since(query.get("since", ""), self._clock.to_wall(self._clock.now()))
            after = int(query.get("after", "0"))
        except ValueError as error:
            raise ShipkeeperError(
                f'"{query.get("since", "")}" is no time to begin with\n'
                "  cure: say how long ago, or since which day or moment: --since 7d, --since 2026-11-23"
            ) from error
        about = query.get("about", "")
        entries = chronicle.read(self._store, self._clock.of_wall(since), after, HISTORY_PAGE, about)
        return [self._entry_json(entry) for entry in entries]

    def _find(self, about: str) -> list[AlertState]:
        """Find alerts by the name of their subject or the beginning of their id, those that are on first."""
        states = outbox.find_states(self._store, about) if about else {}
        found = list(states.values())
        if not found:
            raise ShipkeeperError(
                f'no alert is known of "{about}"\n'
                "  cure: name a container, a mount point or an id as `shipkeeper alerts list` shows them; of an id"
                f" {SHORTEST_ID} characters are enough"
            )
        on = [state for state in found if state.phase.active]
        return sorted(on or found, key=lambda state: (-state.severity.rank, state.since))

    def _full(self, state: AlertState) -> dict[str, Any]:
        entries = chronicle.read(self._store, self._clock.now() - chronicle.KEPT, 0, HISTORY_PAGE, state.fingerprint)
        death = state.death
        silence = next((each for each in self._silences.in_force() if each.id == state.silenced_by), None)
        return status.alert_json(state) | {
            "episode": state.episode,
            "incident": state.incident,
            "reason": state.reason,
            "details": list(state.details),
            "value": state.value,
            "limit": state.limit,
            "fired_at": state.fired_at.isoformat() if state.fired_at else None,
            "resolved_at": state.resolved_at.isoformat() if state.resolved_at else None,
            "resolution": state.resolution or None,
            "silence": self._silence_json(silence, [state]) if silence else None,
            "ack": self._ack_json(self._acks.by_alert().get(state.fingerprint), state),
            "told": [
                {
                    "sink": each.sink,
                    "kind": each.kind,
                    "state": each.state,
                    "at": self._clock.to_wall(each.at).isoformat(),
                    "last_error": each.last_error or None,
                }
                for each in outbox.sendings(self._store, state)
            ],
            "container_id": death.container_id if death else None,
            "image": death.image if death else None,
            "log_tail": list(death.log_tail) if death else [],
            "history": [self._entry_json(entry) for entry in entries],
        }

    def _ack_json(self, ack: Ack | None, state: AlertState) -> dict[str, Any] | None:
        if ack is None or not (state.phase.told and ack.holds(state)):
            return None
        return {"by": ack.by, "why": ack.why or None, "at": self._clock.to_wall(ack.at).isoformat()}

    def _silence_json(self, silence: Silence, on: Sequence[AlertState]) -> dict[str, Any]:
        return {
            "id": silence.id,
            "matchers": [str(matcher) for matcher in silence.matchers],
            "window": silence.window,
            "by": silence.by,
            "why": silence.why,
            "begun": self._clock.to_wall(silence.begun).isoformat(),
            "until": self._clock.to_wall(silence.until).isoformat(),
            "covers": [status.alert_json(state) for state in on if silence.covers(matchers.labels_of(state))],
        }

    def _entry_json(self, entry: Entry) -> dict[str, Any]:
        return {
            "entry": entry.number,
            "at": self._clock.to_wall(entry.at).isoformat(),
            "what": entry.what,
            "alert": entry.alert or None,
            "subject": entry.subject or None,
            "severity": entry.severity or None,
            "id": entry.fingerprint or None,
            "why": entry.why or None,
            "by": entry.by or None,
        }


def _matchers(query: Mapping[str, str], *, window: bool) -> tuple[Matcher, ...]:
    try:
        texts = json.loads(query.get("matchers", "[]"))
    except ValueError as error:
        raise ShipkeeperError('conditions are a list in JSON: ["container=web-1"]') from error
    if not isinstance(texts, list) or len(texts) > MOST_MATCHERS:
        raise ShipkeeperError(f"a silence takes a list of at most {MOST_MATCHERS} conditions")
    if not texts and not window:
        raise ShipkeeperError(
            "a silence needs a condition, or it would be about everything\n"
            "  cure: name what it is about, as in container=web-1 or 'project=~ci.*'\n"
            "        or make it a maintenance window, which may be about everything: --window"
        )
    return _read_all(texts)


def _read_all(texts: Sequence[object]) -> tuple[Matcher, ...]:
    try:
        return tuple(matchers.read(str(text)) for text in texts)
    except ValueError as error:
        raise ShipkeeperError(f"{error}\n  conditions: LABEL=TEXT, !=, =~PATTERN and !~PATTERN") from None


def _reason(query: Mapping[str, str], *, needed: bool) -> str:
    why = words.one_line(query.get("why", ""), LONGEST_REASON)
    if needed and not why:
        raise ShipkeeperError(
            'a silence needs a reason: others will ask why nobody told them\n  cure: --reason "load test until noon"'
        )
    return why


def _until(text: str, now: datetime) -> datetime:
    """Read when a silence ends, by the wall clock; ShipkeeperError unless that is within a week."""
    try:
        at = moments.until(text, now)
    except ValueError:
        raise ShipkeeperError(
            f'"{text}" is no time for a silence to end\n'
            "  cure: say how long, or until when: --for 2h, --until 2026-11-23T18:00"
        ) from None
    if at <= now:
        raise ShipkeeperError(f"{words.moment(at)} is over already: a silence ends in the future")
    if at - now > LONGEST:
        raise ShipkeeperError(
            f"a silence lasts at most {words.duration(LONGEST)}, so that none is forgotten\n"
            "  cure: what is to be silent for longer belongs into the configuration: [alerts] ignore, or\n"
            "        [alerts.rules.ALERT] enabled = false"
        )
    return at
