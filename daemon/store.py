"""The SQLite file that holds what must not be lost, with an in-memory twin for when its disk fails."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from daemon.errors import ShipkeeperError, StoreInUseError, StoreTooNewError
from daemon.schema import MIGRATIONS
from policies import words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from daemon.clock import Clock
    from daemon.schema import Migration

log = logging.getLogger(__name__)

T = TypeVar("T")

_LOCK_WAIT_SECONDS = 1.0  # a predecessor that is just closing lets go of the file within that
_CLOSE_WAIT_SECONDS = 2.0
_DISK_FAULTS = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}
_CORRUPTION = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class Store:
    """
    One connection under one lock; every write is one transaction, on the disk when `write` returns.

    When the disk is full, read-only or broken, the store goes on in an in-memory twin that starts as a copy of
    the file, and says so in `degraded`; `heal` moves it back. `notes` tells what was unusual at the start.
    """

    def __init__(self, folder: Path, clock: Clock, migrations: Sequence[Migration] = MIGRATIONS) -> None:
        self.path = folder / "state.db"
        self._wal = folder / "state.db-wal"
        self.notes: list[str] = []
        self.degraded: str | None = None
        self._clock = clock
        self._migrations = migrations
        self._lock = threading.RLock()
        self._twin_is_blank = False
        self._connection = _connect(":memory:")

    @classmethod
    def open(cls, folder: Path, clock: Clock, migrations: Sequence[Migration] = MIGRATIONS) -> Store:
        """
        Open the state in this folder, made with mode 0700 if need be, and bring its tables up to date.

        Raises StoreTooNewError for a file of a newer version, StoreInUseError for one that another daemon
        holds. A corrupt file is set aside and a folder that cannot be written leads to the twin; neither ends
        the program.
        """
        store = cls(folder, clock, migrations)
        try:
            store._adopt(store._open_file())
        except (OSError, sqlite3.Error) as fault:
            store._go_on_in_memory(fault)
        except BaseException:
            store.close()
            raise
        return store

    def write(self, action: Callable[[sqlite3.Connection], T]) -> T:
        """
        Run the action in one transaction and give back what it returns.

        After a fault of the disk it runs a second time, on the twin: it must do nothing but SQL on the connection
        it is given. Any error undoes the transaction and is raised.
        """
        return self._survive(partial(_transaction, action=action))

    def read(self, sql: str, params: Sequence[object] = ()) -> list[sqlite3.Row]:
        """Give all rows of one query; columns can be asked for by name."""
        return self._survive(lambda connection: connection.execute(sql, params).fetchall())

    def heal(self) -> None:
        """Move from the twin back to the file if that works by now; housekeeping calls it every 30 s."""
        with self._lock:
            if self.degraded is None:
                return
            try:
                self._return_to_file()
            except (OSError, sqlite3.Error, ShipkeeperError) as fault:
                log.debug("the state stays in memory: %s", fault)
            else:
                self.degraded = None
                log.info("the state is on the disk again, in %s", self.path)

    def close(self) -> None:
        """Fold the write-ahead log into the file and let go of it; what hangs in it is left behind."""
        if not self._lock.acquire(timeout=_CLOSE_WAIT_SECONDS):
            log.warning("the state in %s is still being written or read; it is left as it is", self.path)
            return
        try:
            with contextlib.suppress(sqlite3.Error):  # the log is kept beside the file and read at the next start
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._connection.close()
        finally:
            self._lock.release()

    def _survive(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do the work on the file, or on the twin if the disk fails it."""
        with self._lock:
            try:
                return work(self._connection)
            except sqlite3.Error as fault:
                if self.degraded or _primary_code(fault) not in _DISK_FAULTS | _CORRUPTION:
                    raise
                self._go_on_in_memory(fault)
                return work(self._connection)

    def _return_to_file(self) -> None:
        if self._twin_is_blank and self.path.exists():
            # The twin knows nothing of what this file holds: it must not be copied over it.
            log.warning("what could not be read of the state is kept in %s", self._set_aside("unread"))
        self._twin_is_blank = False
        file = self._open_file()
        try:
            self._connection.backup(file)
        except sqlite3.Error:
            file.close()
            raise
        self._adopt(file)

    def _adopt(self, connection: sqlite3.Connection) -> None:
        self._connection.close()
        self._connection = connection

    def _open_file(self) -> sqlite3.Connection:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            return self._open_sound_file()
        except sqlite3.DatabaseError as fault:
            if _primary_code(fault) not in _CORRUPTION:
                raise
            aside = self._set_aside("corrupt")
            self._note(f"the state in {self.path} was corrupt ({fault}): begun anew, the old file is {aside.name}")
            return self._open_sound_file()

    def _open_sound_file(self) -> sqlite3.Connection:
        """Open, check and migrate the file; raise sqlite3.DatabaseError if it is corrupt."""
        if self.path.is_file() and self.path.stat().st_size == 0 and not self._wal.exists():
            self._note(f"the state in {self.path} was empty, as after a crash of its filesystem: begun anew")
        self.path.touch(mode=0o600)  # before SQLite makes it with the umask's mode; the log beside it gets the same
        connection = _connect(str(self.path))
        try:
            # Exclusive: only the daemon opens this file. It also needs no shared-memory file, for which a full
            # disk has no room.
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            _check(connection)
            version = self._version_of(connection)
            if 0 < version < len(self._migrations):
                self._copy(connection, version)
            self._migrate(connection, version)
        except BaseException as fault:
            connection.close()
            if isinstance(fault, sqlite3.Error) and _primary_code(fault) == sqlite3.SQLITE_BUSY:
                raise StoreInUseError(
                    f"the state in {self.path} is in use by another shipkeeper\n"
                    "  cure: stop that one first, or give this one a folder of its own in [state] dir",
                ) from fault
            raise
        return connection

    def _version_of(self, connection: sqlite3.Connection) -> int:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version > len(self._migrations):
            raise StoreTooNewError(
                f"the state in {self.path} was written by a newer shipkeeper "
                f"(its version is {version}, this one knows {len(self._migrations)})\n"
                "  cure: install the newer shipkeeper again, or move the file away to begin anew",
            )
        if version == 0 and connection.execute("SELECT 1 FROM sqlite_schema").fetchone():
            raise _corrupt("it holds tables of no version")
        return version

    def _migrate(self, connection: sqlite3.Connection, version: int) -> None:
        for number, statements in enumerate(self._migrations[version:], start=version + 1):
            _transaction(connection, partial(_apply, statements=statements, version=number))

    def _copy(self, connection: sqlite3.Connection, version: int) -> None:
        target = self.path.with_name(f"{self.path.name}.v{version}")
        target.unlink(missing_ok=True)
        target.touch(mode=0o600)
        with contextlib.closing(sqlite3.connect(target)) as copy:
            connection.backup(copy)
        log.info("copied the state to %s before changing its tables", target)

    def _set_aside(self, why: str) -> Path:
        stamp = self._clock.now().strftime("%Y%m%dT%H%M%SZ")
        aside = self.path.with_name(f"{self.path.name}.{why}-{stamp}")
        self.path.replace(aside)
        if self._wal.exists():
            self._wal.replace(aside.with_name(f"{aside.name}-wal"))
        return aside

    def _go_on_in_memory(self, fault: Exception) -> None:
        twin = _connect(":memory:")
        try:
            self._load(twin)
            version = self._version_of(twin)
        except (OSError, sqlite3.Error):
            twin.close()
            twin, version = _connect(":memory:"), 0
            self._twin_is_blank = True
        self._migrate(twin, version)
        self._adopt(twin)
        since = self._clock.now().strftime("%Y-%m-%d %H:%M UTC")
        self.degraded = (
            f"{self.path} cannot be written since {since} ({words.fault(fault)}): the state is kept in memory only"
        )
        log.error("%s", self.degraded)

    def _load(self, twin: sqlite3.Connection) -> None:
        """Fill the twin from the file; raise OSError or sqlite3.Error if it cannot be read or is not sound."""
        if self._on_disk():
            self._connection.backup(twin)
        else:
            # SQLite cannot open a file with a log on a read-only disk, unless told that nothing will change it.
            # Without a log that is true; with one it would overlook what stands there.
            how = "mode=ro" if self._wal.exists() else "immutable=1"
            with contextlib.closing(_connect(f"{self.path.absolute().as_uri()}?{how}")) as file:
                file.execute("PRAGMA locking_mode = EXCLUSIVE")
                file.backup(twin)
        _check(twin)

    def _on_disk(self) -> bool:
        return bool(self._connection.execute("PRAGMA database_list").fetchone()["file"])

    def _note(self, text: str) -> None:
        self.notes.append(text)
        log.error("%s", text)


def _connect(path: str) -> sqlite3.Connection:
    # Threads share it under the store's lock; transactions are begun by hand.
    connection = sqlite3.connect(
        path,
        timeout=_LOCK_WAIT_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        uri=path.startswith("file:"),
    )
    connection.row_factory = sqlite3.Row
    connection.text_factory = _text
    return connection


def _transaction(connection: sqlite3.Connection, action: Callable[[sqlite3.Connection], T]) -> T:
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = action(connection)
        connection.execute("COMMIT")
    except BaseException:
        # A fault of the disk may have rolled back already, or make this fail too: the first error tells more.
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
    return result


def _apply(connection: sqlite3.Connection, statements: Migration, version: int) -> None:
    for statement in statements:
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {version}")


def _primary_code(fault: sqlite3.Error) -> int:
    return getattr(fault, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF


def _check(connection: sqlite3.Connection) -> None:
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise _corrupt(found.strip().splitlines()[-1])


def _corrupt(why: str) -> sqlite3.DatabaseError:
    fault = sqlite3.DatabaseError(why)
    fault.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return fault


def _text(value: bytes) -> str:
    """Read text that a bad disk may have spoiled: one row that makes no sense is not the end of all."""
    return value.decode(errors="replace")
