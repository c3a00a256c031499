from __future__ import annotations

import sqlite3
import stat
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from daemon.errors import StoreInUseError, StoreTooNewError
from daemon.schema import MIGRATIONS
from daemon.store import Store
from tests.fakes.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CLOCK = FakeClock()


def put(store: Store, key: str, value: str = "x") -> None:
    store.write(lambda inside: inside.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value)))


def keys(store: Store) -> set[str]:
    return {row["key"] for row in store.read("SELECT key FROM meta")}


def fill_the_disk(store: Store) -> None:
    """Make SQLite answer SQLITE_FULL, as on a disk without room: not one page more than there is."""
    store.read("PRAGMA max_page_count = 1")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path / "state", CLOCK)
    yield opened
    opened.close()


def reopened(store: Store) -> Store:
    store.close()
    return Store.open(store.path.parent, CLOCK)


def test_what_was_written_is_there_after_a_restart(store: Store) -> None:
    put(store, "a")
    again = reopened(store)
    assert keys(again) == {"a"}
    assert (again.degraded, again.notes) == (None, [])
    again.close()


def test_only_the_owner_may_read_the_state(store: Store) -> None:
    put(store, "a")
    assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in store.path.parent.iterdir()} == {0o600}


def test_a_write_that_fails_leaves_nothing_behind(store: Store) -> None:
    def half_done(inside: sqlite3.Connection) -> None:
        inside.execute("INSERT INTO meta VALUES ('half', 'x')")
        inside.execute("INSERT INTO meta VALUES ('half', 'x')")

    with pytest.raises(sqlite3.IntegrityError):
        store.write(half_done)
    assert keys(store) == set()
    assert store.degraded is None


def test_a_second_daemon_on_the_same_state_is_told_so(store: Store) -> None:
    with pytest.raises(StoreInUseError, match="in use by another shipkeeper"):
        Store.open(store.path.parent, CLOCK)


def test_a_store_of_a_newer_version_ends_the_program_with_the_cure(store: Store) -> None:
    store.read("PRAGMA user_version = 9")
    store.close()
    with pytest.raises(StoreTooNewError, match="cure: install the newer shipkeeper") as told:
        Store.open(store.path.parent, CLOCK)
    assert told.value.exit_code == 78


def test_an_older_store_is_copied_and_then_brought_up_to_date(store: Store) -> None:
    put(store, "a")
    store.close()
    newer = Store.open(store.path.parent, CLOCK, (*MIGRATIONS, ("ALTER TABLE meta ADD COLUMN note TEXT",)))
    assert [tuple(row) for row in newer.read("SELECT * FROM meta")] == [("a", "x", None)]
    newer.close()
    copy = store.path.with_name(f"state.db.v{len(MIGRATIONS)}")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with sqlite3.connect(copy) as old:
        assert old.execute("SELECT * FROM meta").fetchall() == [("a", "x")]
    old.close()


def test_a_migration_that_fails_changes_nothing(store: Store) -> None:
    store.close()
    broken = (*MIGRATIONS, ("ALTER TABLE meta ADD COLUMN note TEXT", "no such statement"))
    with pytest.raises(sqlite3.OperationalError):
        Store.open(store.path.parent, CLOCK, broken)
    again = Store.open(store.path.parent, CLOCK)
    assert [row["name"] for row in again.read("PRAGMA table_info(meta)")] == ["key", "value"]
    again.close()


@pytest.mark.parametrize("where", [0, 4096 + 100])
def test_a_corrupt_store_is_set_aside_and_begun_anew(store: Store, where: int) -> None:
    put(store, "a")
    store.close()
    with store.path.open("r+b") as file:
        file.seek(where)
        file.write(b"\xff" * 4000)
    again = Store.open(store.path.parent, CLOCK)
    assert keys(again) == set()
    assert again.degraded is None
    assert "state.db.corrupt-20261123T160200Z" in again.notes[0]
    assert (store.path.parent / "state.db.corrupt-20261123T160200Z").exists()
    again.close()


def test_on_a_full_disk_the_store_goes_on_in_memory_and_says_so(store: Store) -> None:
    put(store, "before")
    fill_the_disk(store)
    put(store, "meanwhile", "x" * 100_000)
    assert keys(store) == {"before", "meanwhile"}
    assert "cannot be written since 2026-11-23 16:02 UTC (database or disk is full)" in str(store.degraded)


def test_when_there_is_room_again_the_twin_goes_back_to_the_file(store: Store) -> None:
    put(store, "before")
    fill_the_disk(store)
    put(store, "meanwhile", "x" * 100_000)
    store.heal()
    assert store.degraded is None
    put(store, "after")
    again = reopened(store)
    assert keys(again) == {"before", "meanwhile", "after"}
    again.close()


def test_what_was_committed_stays_when_the_disk_never_recovers(store: Store) -> None:
    put(store, "before")
    fill_the_disk(store)
    put(store, "meanwhile", "x" * 100_000)
    again = reopened(store)
    assert keys(again) == {"before"}
    again.close()


def test_close_does_not_wait_for_a_write_that_hangs(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    begun, hold = threading.Event(), threading.Event()

    def hang(_inside: sqlite3.Connection) -> None:
        begun.set()
        hold.wait(60)

    writer = threading.Thread(target=store.write, args=(hang,))
    writer.start()
    assert begun.wait(10)
    store.close()
    assert "is still being written or read" in caplog.text
    hold.set()
    writer.join()


def test_without_a_folder_to_write_in_the_store_lives_in_memory_until_there_is_one(tmp_path: Path) -> None:
    in_the_way = tmp_path / "state"
    in_the_way.write_text("a file where the folder should be")
    store = Store.open(in_the_way, CLOCK)
    assert "kept in memory only" in str(store.degraded)
    put(store, "a")
    store.heal()
    assert store.degraded is not None
    in_the_way.unlink()
    store.heal()
    assert store.degraded is None
    again = reopened(store)
    assert keys(again) == {"a"}
    again.close()


def test_a_twin_that_could_not_read_the_file_is_not_copied_over_it(tmp_path: Path) -> None:
    (tmp_path / "state.db").mkdir()
    store = Store.open(tmp_path, CLOCK)
    put(store, "a")
    store.heal()
    assert store.degraded is None
    assert (tmp_path / "state.db.unread-20261123T160200Z").is_dir()
    store.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    mountpoint = tmp_path / "disk"
    mountpoint.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "shipkeeper-test", mountpoint], check=True)
    yield mountpoint
    subprocess.run(["umount", mountpoint], check=True)


def test_a_real_full_disk_at_the_start_and_later_loses_nothing_committed(small_disk: Path) -> None:
    store = Store.open(small_disk, CLOCK)
    put(store, "before")
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space left"):
        ballast.write_bytes(b"x" * 10_000_000)
    for number in range(30):
        put(store, f"more-{number}", "x" * 10_000)
    assert "disk is full" in str(store.degraded)
    store = reopened(store)
    assert "before" in keys(store)
    put(store, "while-full", "x" * 200_000)
    assert store.degraded is not None
    ballast.unlink()
    store.heal()
    assert store.degraded is None
    again = reopened(store)
    assert {"before", "while-full"} <= keys(again)
    again.close()


def test_a_read_only_disk_is_read_and_kept_in_memory(small_disk: Path) -> None:
    store = Store.open(small_disk, CLOCK)
    put(store, "before")
    store.close()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    store = Store.open(small_disk, CLOCK)
    assert keys(store) == {"before"}
    assert store.degraded is not None
    put(store, "meanwhile")
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    store.heal()
    again = reopened(store)
    assert keys(again) == {"before", "meanwhile"}
    again.close()
