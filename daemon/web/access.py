"""Who may use the web server and over which TLS: the web-config file in force, read again when it changes."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING

from daemon.errors import ConfigError
from daemon.web.certificate import ends_at
from daemon.web.exchange import Response
from daemon.web.tls import tls_context
from policies import words

if TYPE_CHECKING:
    import ssl
    from datetime import datetime
    from pathlib import Path

    from daemon.clock import Clock
    from daemon.web.basic_auth import BasicAuth
    from daemon.web.exchange import Request
    from daemon.web.web_config import WebConfig

log = logging.getLogger(__name__)

_UNAUTHORIZED = Response(
    HTTPStatus.UNAUTHORIZED, b"a user and a password are needed\n", headers=(("WWW-Authenticate", "Basic"),)
)
_BUSY = Response(
    HTTPStatus.SERVICE_UNAVAILABLE, b"too many passwords to check at once\n", headers=(("Retry-After", "1"),)
)


@dataclass(frozen=True, slots=True)
class AccessStats:
    """How the web-config file stands, for the metrics."""

    successful: bool | None = None
    """Whether the newest file could be read; `None` without one."""
    certificate_ends_at: datetime | None = None
    rejected: int = 0
    """Requests without a right password."""


@dataclass(frozen=True, slots=True)
class _InForce:
    """One web-config file as it was read, with all that follows from it."""

    config: WebConfig | None = None
    tls: ssl.SSLContext | None = None
    ends_at: datetime | None = None
    auth: BasicAuth | None = None


_OPEN = _InForce()


class Access:
    """
    Asked for each connection and each request; safe to call from several threads.

    The file and those it names are looked at for each connection, by four `stat` calls at most. A change that is bad
    is logged, and leaves in force what was.
    """

    def __init__(self, file: Path | None, clock: Clock) -> None:
        self._file = file
        self._clock = clock
        self._lock = threading.Lock()
        self._in_force = _OPEN
        self._named: tuple[Path, ...] = ()
        self._seen: tuple[object, ...] = ()
        self._stats = AccessStats()
        self._expired_said = False

    @property
    def stats(self) -> AccessStats:
        """How it stands now."""
        return self._stats

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """What is sent with every response."""
        config = self._in_force.config
        return config.headers if config else ()

    @property
    def overview(self) -> str:
        """In a few words, who may see what how."""
        force = self._in_force
        users = words.count(len(force.config.users), "user") if force.config and force.auth else "no password"
        return f"{'https' if force.tls else 'http'}, {users}"

    def open(self) -> None:
        """Read the file for the first time; ConfigError says all that is wrong with it."""
        with self._lock:
            self._in_force = self._read()
            self._note_success()

    def adopt(self, file: Path | None) -> None:
        """Take another file from now on; a bad one is logged and leaves in force what was."""
        with self._lock:
            if file != self._file:
                self._file = file
                self._read_again()

    def tls(self) -> ssl.SSLContext | None:
        """Give the TLS of a new connection, of the files as they are now; `None` for none."""
        with self._lock:
            if self._changed():
                self._read_again()
            self._say_if_expired()
            return self._in_force.tls

    def refusal(self, request: Request) -> Response | None:
        """Give what a request is answered that may not see anything; `None` for one that may."""
        auth = self._in_force.auth
        if auth is None:
            return None
        admitted = auth.admits(request.headers.get("Authorization", ""))
        if admitted:
            return None
        if admitted is None:
            return _BUSY
        with self._lock:
            self._stats = replace(self._stats, rejected=self._stats.rejected + 1)
        return _UNAUTHORIZED

    def _read_again(self) -> None:
        try:
            self._in_force = self._read()
        except ConfigError as error:
            self._stats = replace(self._stats, successful=False)
            log.error("the changed web configuration is bad, the old one stays in force")  # noqa: TRY400  for people
            for line in str(error).splitlines():
                log.error("%s", line)  # noqa: TRY400  as above
        else:
            log.info("the web configuration was read again")
            self._note_success()

    def _read(self) -> _InForce:
        """Read everything; each file's state is taken before it is read, so a change in between is seen next time."""
        if self._file is None:
            self._named, self._seen = (), ()
            return _OPEN
        # Here, for YAML, bcrypt and the models of the file take 50 ms of a start and 4 MiB, and few hosts have one.
        from daemon.web.basic_auth import BasicAuth  # noqa: PLC0415
        from daemon.web.web_config import read_web_config  # noqa: PLC0415

        state = _state_of(self._file)
        self._seen = (state, *map(_state_of, self._named))
        config = read_web_config(self._file)
        wanted, folder = config.tls, self._file.parent
        names = (wanted.cert_file, wanted.key_file, wanted.client_ca_file) if wanted else ()
        self._named = tuple(folder / name for name in names if name)
        self._seen = (state, *map(_state_of, self._named))
        auth = BasicAuth(config.users) if config.users else None
        if wanted is None:
            return _InForce(config, auth=auth)
        context = tls_context(wanted, folder)
        return _InForce(config, context, _end_of(folder / wanted.cert_file), auth)

    def _note_success(self) -> None:
        self._expired_said = False
        self._stats = replace(
            self._stats,
            successful=None if self._file is None else True,
            certificate_ends_at=self._in_force.ends_at,
        )
        self._say_if_expired()

    def _say_if_expired(self) -> None:
        end = self._in_force.ends_at
        if end is not None and not self._expired_said and end < self._clock.now():
            self._expired_said = True
            log.error(
                "the certificate of the web server expired at %s: scrapes fail until it is replaced",
                f"{end:%Y-%m-%d %H:%M} UTC",
            )

    def _changed(self) -> bool:
        return self._file is not None and self._seen != tuple(map(_state_of, (self._file, *self._named)))


def _state_of(file: Path) -> tuple[int, int, int] | None:
    """Give what changes when a file is written or replaced; `None` for one that is not there."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _end_of(certificate: Path) -> datetime:
    try:
        return ends_at(certificate.read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot use the certificate {certificate}: it {error}") from error
