"""Puts together all that is known of one container: inspect, ends, log, changed files, marks of its memory."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from collectors.engine_errors import EngineFailure, EngineForbidden, EngineProtocolError
from daemon.redact_inspect import redacted_inspect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from collectors.engine_api import EngineApi
    from collectors.facts import Death
    from collectors.reading import MemoryMarks
    from daemon.clock import Clock
    from daemon.redact import Redactor

LOG_BYTES: Final = 4 << 20
_READ_BYTES: Final = 192 << 20
"""Ten thousand of the longest lines that a log driver writes."""
_MOST_CHANGES: Final = 10_000
_CHANGES_BYTES: Final = 1 << 20
_INSPECT_BYTES: Final = 1 << 20
_ESSENTIALS: Final = ("Id", "Name", "Created", "Image", "State", "RestartCount")
_BATCH: Final = 200
"""Lines that are redacted at a time: whoever else wants to run need not wait for ten thousand."""
_UNREADABLE: Final = (EngineFailure, EngineForbidden, EngineProtocolError)

Record = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where an examiner looks."""

    connect: Callable[[], EngineApi]
    """Makes a client of its own for each examination."""
    deaths: Callable[[str], Sequence[Death]]
    """Gives the known ends of the container of this id, oldest first."""
    marks: Callable[[str], MemoryMarks | None]
    """Gives what last was seen of its memory."""
    redact: Callable[[], Redactor]


class Examiner:
    """May be used from any thread; everything that it gives is redacted."""

    def __init__(self, sources: Sources, clock: Clock) -> None:
        self._sources = sources
        self._clock = clock

    def examine(self, name: str, log_lines: int, beat: Callable[[], None] = lambda: None) -> Record | None:
        """
        Look at the container of this name or id; `None` when there is none.

        `beat` is called between the questions. What alone cannot be read, its log or its changed files, is
        named in `notes`. Raises EngineError when Docker cannot tell of it at all.
        """
        redact, notes = self._sources.redact(), dict[str, str]()
        with closing(self._sources.connect()) as api:
            inspect = api.whole_inspect(name)
            if inspect is None:
                return None
            id_ = str(inspect.get("Id", ""))
            beat()
            log = self._log(api, id_, log_lines, notes)
            beat()
            changes = self._changes(api, id_, notes)
        beat()
        marks = self._sources.marks(id_)
        return {
            "version": 1,
            "taken_at": self._clock.now().isoformat(),
            "id": id_,
            "name": str(inspect.get("Name", "")).removeprefix("/"),
            "inspect": _bounded(redacted_inspect(inspect, redact), notes),
            "deaths": [_death(each) for each in self._sources.deaths(id_)],
            "log": list(_redacted(log, redact, beat)),
            "changes": changes,
            "memory": None if marks is None else asdict(marks),
            "notes": notes,
        }

    @staticmethod
    def _log(api: EngineApi, id_: str, lines: int, notes: dict[str, str]) -> Sequence[str]:
        try:
            return api.log_tail(id_, lines, LOG_BYTES, since=None, read_limit=_READ_BYTES)
        except _UNREADABLE as error:
            notes["log"] = str(error)
            return ()

    @staticmethod
    def _changes(api: EngineApi, id_: str, notes: dict[str, str]) -> list[list[str]]:
        try:
            found = api.changes(id_, _MOST_CHANGES)
        except _UNREADABLE as error:
            notes["changes"] = str(error)
            return []
        listed, left = list[list[str]](), _CHANGES_BYTES
        for change in found:
            left -= len(change.path) + 16
            if left < 0:
                break
            listed.append([change.kind, change.path])
        if len(listed) < len(found) or len(found) == _MOST_CHANGES:
            notes["changes"] = f"only the first {len(listed)} paths"
        return listed


def _bounded(inspect: dict[str, Any], notes: dict[str, str]) -> dict[str, Any]:
    if len(str(inspect)) <= _INSPECT_BYTES:
        return inspect
    notes["inspect"] = "too long: only the essentials"
    return {key: inspect[key] for key in _ESSENTIALS if key in inspect}


def _redacted(lines: Sequence[str], redact: Redactor, beat: Callable[[], None]) -> Iterator[str]:
    for first in range(0, len(lines), _BATCH):
        yield from redact.lines(lines[first : first + _BATCH])
        beat()


def _death(death: Death) -> dict[str, Any]:
    return {
        "at": death.finished_at.isoformat(),
        "exit_code": death.exit_code,
        "oom": death.oom,
        "intent": death.intent.value,
        "uptime_seconds": death.uptime / timedelta(seconds=1) if death.uptime is not None else None,
        "inferred": death.inferred,
    }
