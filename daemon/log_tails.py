"""Reads the last log lines of containers that ended badly, within bounds of number and time."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from collectors.engine_errors import EngineError, EngineUnavailable
from policies import words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collectors.engine_api import EngineApi
    from collectors.facts import Death
    from daemon.clock import Clock
    from daemon.redact import Redactor

log = logging.getLogger(__name__)

TAIL_BYTES = 8192
MOST_READ = 20
"""Of more deaths at once than that nobody reads the logs in a message."""
PATIENCE = timedelta(seconds=5)
"""For all of them together: other containers wait to be looked at."""


class LogTails:
    """`lines` is how many lines a death record keeps; 0 keeps none."""

    def __init__(self, lines: int, redact: Redactor, clock: Clock) -> None:
        self._lines = lines
        self._redact = redact
        self._clock = clock

    def add(self, deaths: Sequence[Death], api: EngineApi) -> tuple[Death, ...]:
        """
        Give the deaths, the bad ones with their last log lines, redacted.

        A log that cannot be read is no reason to stay silent. Of several deaths of one container the newest
        gets the lines: they are what stands in the log now.
        """
        if not self._lines:
            return tuple(deaths)
        newest = {death.container_id: death for death in sorted(deaths, key=lambda death: death.finished_at)}
        wanted = [death for death in newest.values() if death.bad][-MOST_READ:]
        tails: dict[str, tuple[str, ...]] = {}
        until = self._clock.monotonic() + PATIENCE.total_seconds()
        for death in wanted:
            if self._clock.monotonic() > until:
                log.warning("no log lines of some that ended just now: Docker takes too long to give them")
                break
            try:
                tails[death.key] = self._read(death, api)
            except EngineUnavailable as error:
                log.warning("no log lines of what ended just now: %s", error.why)
                break  # of a hundred deaths each would wait for it anew
        return tuple(replace(death, log_tail=tails.get(death.key, ())) for death in deaths)

    def _read(self, death: Death, api: EngineApi) -> tuple[str, ...]:
        try:
            return self._redact.lines(api.log_tail(death.container_id, self._lines, TAIL_BYTES, since=None))
        except EngineUnavailable:
            raise
        except EngineError as error:
            log.debug("no log lines of %s: %s", words.plain(death.name), error)
            return ()
