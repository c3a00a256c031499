"""What a bad disk or a careless hand does to the state: nobody loses more than what was spoiled, and it is said."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest

from daemon import absence, history, steady
from daemon.counters import Counters
from daemon.history import Unsaved
from daemon.ledger import Baseline, Mark
from daemon.sightings import Sightings
from daemon.store import Store
from tests.fakes.clock import NOW, FakeClock
from tests.lab.disks import mount_small_disk
from tests.policies.build import container, death, oom_kill

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CLOCK = FakeClock()
ROWS = 300
NOBODY = 65534


def put(store: Store, key: str, value: str = "x" * 200) -> None:
    store.write(lambda inside: inside.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value)))


def keys(store: Store) -> list[str]:
    return [row["key"] for row in store.read("SELECT key FROM meta ORDER BY key")]


def filled(folder: Path) -> Store:
    store = Store.open(folder, CLOCK)
    for number in range(ROWS):
        put(store, f"{number:04}")
    return store


def spoil(file: Path, share: float, count: int) -> None:
    """Overwrite so many bytes from this share of the file on."""
    with file.open("r+b") as stream:
        stream.seek(int(file.stat().st_size * share))
        stream.write(b"\xa5" * count)


def cut(file: Path, share: float) -> None:
    """Leave this share of the file."""
    os.truncate(file, int(file.stat().st_size * share))


def without_version(file: Path) -> None:
    """Make the tables somebody else's."""
    with closing(sqlite3.connect(file)) as stranger:
        stranger.execute("PRAGMA user_version = 0")


CORRUPTIONS: dict[str, Callable[[Path], None]] = {
    "garbage for a header": partial(spoil, share=0, count=100),
    "a page in the middle": partial(spoil, share=0.5, count=4096),
    "cut in half": partial(cut, share=0.5),
    "cut to a stump": partial(cut, share=0.013),
    "tables of nobody": without_version,
}


@pytest.mark.parametrize("harm", CORRUPTIONS.values(), ids=CORRUPTIONS)
def test_a_corrupt_state_is_set_aside_said_and_begun_anew(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    filled(tmp_path).close()
    harm(tmp_path / "state.db")
    store = Store.open(tmp_path, CLOCK)
    assert (keys(store), store.degraded) == ([], None)
    [note] = store.notes
    assert "was corrupt (" in note
    assert "begun anew, the old file is state.db.corrupt-" in note
    assert list(tmp_path.glob("state.db.corrupt-*"))
    put(store, "new")
    store.close()
    again = Store.open(tmp_path, CLOCK)
    assert (keys(again), again.notes) == (["new"], [])
    again.close()


def test_a_state_that_became_empty_is_said(tmp_path: Path) -> None:
    filled(tmp_path).close()
    cut(tmp_path / "state.db", 0)
    store = Store.open(tmp_path, CLOCK)
    assert "was empty, as after a crash of its filesystem: begun anew" in store.notes[0]
    store.close()


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("harm", [partial(spoil, count=100), cut], ids=["spoiled", "cut"])
def test_a_log_that_is_corrupt_costs_what_stands_behind_that_place(
    tmp_path: Path, harm: Callable[..., None], share: float
) -> None:
    killed = tmp_path / "killed"
    with closing(filled(tmp_path / "running")):
        shutil.copytree(tmp_path / "running", killed)  # what kill -9 leaves: the log is not folded in
    harm(killed / "state.db-wal", share=share)
    store = Store.open(killed, CLOCK)
    assert (store.degraded, store.notes) == (None, [])
    left = keys(store)
    assert 0 < len(left) < ROWS
    assert left == [f"{number:04}" for number in range(len(left))], "whole transactions, the oldest"
    store.close()


def test_records_that_make_no_sense_cost_themselves_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Store.open(tmp_path, CLOCK)
    time, counters, unsaved = steady.load(store, CLOCK), Counters({}), Unsaved()
    unsaved.add([death("a"), death("b")], [oom_kill(container("a"))], Baseline({"a": Mark(NOW), "b": Mark()}, NOW))
    counters.meet([container("a")], 0.0)

    def save(connection: sqlite3.Connection) -> None:
        unsaved.save(connection, time)
        counters.save(connection, 0)
        absence.save(connection, CLOCK)
        time.save(connection)
        connection.execute("UPDATE deaths SET record = CAST(x'7bff' AS TEXT) WHERE subject_key = 'a'")
        connection.execute("UPDATE oom_kills SET record = '[]'")
        connection.execute("UPDATE baseline SET record = '{}' WHERE container_id = 'a'")
        connection.execute("UPDATE counters SET labels = '7' WHERE labels LIKE '%oom%'")
        connection.execute("UPDATE meta SET value = 'zz' WHERE key IN ('steady', 'saved_at')")
        connection.execute("INSERT INTO meta VALUES ('watched_seconds', 'zz')")

    store.write(save)
    long_ago = NOW - timedelta(days=1)
    assert [each.name for each in history.deaths_since(store, long_ago, time)] == ["b"]
    assert history.kills_since(store, long_ago) == ()
    baseline = history.load_baseline(store)
    assert baseline is not None
    assert set(baseline.marks) == {"b"}
    assert sum(len(samples) for samples in Counters.load(store).samples().values()) == 10
    assert absence.load(store, CLOCK) == absence.Absence()
    assert steady.load(store, CLOCK).now() == NOW
    assert Sightings(store, CLOCK).watched == timedelta(0)
    assert caplog.text.count("cannot be read, it is left out") == 7
    store.close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    mountpoint = tmp_path / "disk"
    mountpoint.mkdir()
    mount_small_disk(tmp_path / "image", mountpoint, 8)
    yield mountpoint
    subprocess.run(["umount", mountpoint], check=True)


def test_a_disk_that_becomes_read_only_while_we_write_costs_nothing_while_we_run(disk: Path) -> None:
    store = filled(disk / "state")
    subprocess.run(["mount", "-o", "remount,abort", disk], check=True)  # as ext4 does by itself after an error
    put(store, "later")
    assert len(keys(store)) == ROWS + 1
    assert "kept in memory only" in str(store.degraded)
    store.heal()
    assert store.degraded is not None
    store.close()


AS_NOBODY = """
import os, pathlib, sys
from daemon.store import Store
from tests.fakes.clock import FakeClock
os.setgroups([]); os.setgid(65534); os.setuid(65534)
folder = pathlib.Path(sys.argv[1])
def start(): return Store.open(folder, FakeClock())
def count(store): return len(store.read("SELECT * FROM meta"))
def put(store, key): store.write(lambda inside: inside.execute("INSERT INTO meta VALUES (?, ?)", (key, "x" * 3000)))
"""


def as_nobody(script: str, folder: Path) -> str:
    """Run a script without any rights; give what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY + script, folder], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("mode", "rows"), [(0o700, 0), (0o755, ROWS)], ids=["closed", "open to read"])
def test_a_state_that_belongs_to_somebody_else_is_read_if_it_can_be_and_left_alone(
    open_folder: Path, mode: int, rows: int
) -> None:
    folder = open_folder / "state"
    filled(folder).close()
    folder.chmod(mode)
    (folder / "state.db").chmod(mode & 0o644)
    before = (folder / "state.db").read_bytes()
    said = as_nobody(
        "store = start(); put(store, 'new'); store.heal(); print(count(store), store.degraded)",
        folder,
    )
    assert said.startswith(f"{rows + 1} {folder}/state.db cannot be written since ")
    assert "Permission denied" in said
    assert (folder / "state.db").read_bytes() == before


def test_permissions_that_are_lost_while_we_run_cost_nothing_and_the_next_start_says_so(open_folder: Path) -> None:
    folder = open_folder / "mine"
    folder.mkdir()
    os.chown(folder, NOBODY, NOBODY)
    said = as_nobody(
        "store = start(); (folder / 'state.db').chmod(0); folder.chmod(0)\n"
        "for number in range(2000): put(store, str(number))\n"
        "print(count(store), store.degraded); store.close()\n"
        "store = start(); print(count(store), store.degraded); put(store, 'after')\n"
        "folder.chmod(0o700); store.heal(); print(count(store), store.degraded, len(list(folder.glob('*.unread-*'))))",
        folder,
    ).splitlines()
    assert said[0] == "2000 None"
    assert said[1].startswith("0 ")
    assert "Permission denied" in said[1]
    assert said[2] == "1 None 2", "what could not be read is kept beside it"
