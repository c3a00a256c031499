"""The configuration of a running daemon: read again on SIGHUP, and kept as it is when the new one is bad."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from daemon.crew import name_this_thread
from daemon.errors import ConfigError
from daemon.keys import KEYS, value_at
from daemon.loading import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime, timedelta
    from pathlib import Path

    from daemon.clock import Clock
    from daemon.config import Settings
    from daemon.keys import KeyPath

log = logging.getLogger(__name__)

FIXED: tuple[KeyPath, ...] = (
    ("state",),
    ("control",),
    ("docker",),
    ("web", "listen"),
    ("gpu", "enabled"),
    ("gpu", "interval"),
)
"""Tables and keys that count from the next start on: files, sockets and threads hang on them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How the configuration in force stands to the one in the file."""

    taken_at: datetime
    """When the one in force was read."""
    problem: str = ""
    """What was wrong with the newest one, which therefore is not in force; empty when nothing was."""
    awaits_restart: tuple[str, ...] = ()
    """Keys that have another value in the file and keep the old one until a restart: `docker.host`."""


@dataclass(slots=True)
class Configuration:
    """
    The settings in force, and how they stand.

    `find` gives the file to read, or `None` for the defaults. One thread at a time reads it again; any may look at
    `settings` and `standing`.
    """

    settings: Settings
    find: Callable[[], Path | None]
    environ: Mapping[str, str]
    clock: Clock
    standing: Standing = field(init=False)
    secrets: tuple[str, ...] = field(init=False)
    """What no log may show: those of earlier settings too, which a thread may still be speaking of."""
    _file: Path | None = field(init=False)

    def __post_init__(self) -> None:
        self._file = self.find()
        self.standing = Standing(taken_at=self.clock.now())
        self.secrets = self.settings.secrets()

    def read_again(self) -> bool:
        """Read the configuration once more; False if it is bad, which is logged, and leaves the old one in force."""
        # Whoever moves the file away for a moment does not ask for the defaults, which protect nothing.
        self._file = self.find() or self._file
        try:
            wanted = load(self._file, self.environ)
        except ConfigError as error:
            self.standing = replace(self.standing, problem=str(error))
            for line in ("the changed configuration is bad, the old one stays in force", *str(error).splitlines()):
                log.error("%s", line)  # noqa: TRY400  the error is for people, and its place is in the file
            return False
        changed = tuple(_changed(self.settings, wanted))
        waiting = tuple(key for key in changed if _is_fixed(key))
        taken = [_written(key) for key in changed if key not in waiting]
        self.settings = _with_fixed(wanted, self.settings)
        self.secrets = tuple(dict.fromkeys((*self.secrets, *self.settings.secrets())))
        self.standing = Standing(taken_at=self.clock.now(), awaits_restart=tuple(map(_written, waiting)))
        log.info("the configuration was read again; changed: %s", ", ".join(taken) or "nothing")
        if waiting:
            log.warning("a restart is needed for: %s", ", ".join(self.standing.awaits_restart))
        return True


class Reloads:
    """
    The reading on SIGHUP, beside the main thread: that hears SIGTERM, whatever a dead disk does to a reading.

    For the main thread alone.
    """

    def __init__(self, reload: Callable[[], object]) -> None:
        self._reload = reload
        self._asked = False
        self._thread: threading.Thread | None = None

    def ask(self) -> None:
        """Want one more reading, after the one that may be going on; never waits."""
        self._asked = True

    def tend(self) -> None:
        """Begin the reading that was asked for, unless one is going on; never waits."""
        if self._asked and not (self._thread and self._thread.is_alive()):
            self._asked = False
            self._thread = threading.Thread(target=self._read, name="reload", daemon=True)
            self._thread.start()

    def close(self, patience: timedelta) -> None:
        """Wait for the reading that may be going on, within this time; begin none."""
        if self._thread is not None:
            self._thread.join(patience.total_seconds())

    def _read(self) -> None:
        name_this_thread("reload")
        self._reload()


def _changed(running: Settings, wanted: Settings) -> Iterator[KeyPath]:
    before, after = running.model_dump(by_alias=True), wanted.model_dump(by_alias=True)
    for path in KEYS:
        if value_at(before, path) != value_at(after, path):
            yield path


def _is_fixed(path: KeyPath) -> bool:
    return any(path[: len(fixed)] == fixed for fixed in FIXED)


def _with_fixed(wanted: Settings, running: Settings) -> Settings:
    """Give the wanted settings, but for what cannot change while the daemon runs."""
    web = wanted.web.model_copy(update={"listen": running.web.listen})
    gpu = wanted.gpu.model_copy(update={"enabled": running.gpu.enabled, "interval": running.gpu.interval})
    fixed = {"state": running.state, "control": running.control, "docker": running.docker, "web": web, "gpu": gpu}
    return wanted.model_copy(update=fixed)


def _written(path: KeyPath) -> str:
    return ".".join(path)
