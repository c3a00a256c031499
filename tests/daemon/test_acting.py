"""Of several daemons at one engine one acts."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from collectors.engine_http import Endpoint
from daemon.acting import ActingLock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOLD = (
    "import sys; from collectors.engine_http import Endpoint; from daemon.acting import ActingLock\n"
    "lock = ActingLock(Endpoint(host=sys.argv[1])); lock.update(wanted=True)\n"
    "print(lock.held, lock.why_not, flush=True); sys.stdin.read()"
)


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    with engine_socket(tmp_path / "docker.sock"):
        yield tmp_path / "docker.sock"


def engine_socket(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    return listening


def lock(path: Path) -> ActingLock:
    made = ActingLock(Endpoint(host=f"unix://{path}"))
    made.update(wanted=True)
    return made


def another_process(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, f"unix://{path}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_of_two_processes_one_acts_and_the_other_takes_over_when_it_is_gone(path: Path) -> None:
    with another_process(path) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True \n"
        with closing(lock(path)) as ours:
            assert not ours.held
            assert ours.why_not == f"another shipkeeper (pid {other.pid}) acts on this engine"
            other.kill()
            other.wait()
            ours.update(wanted=True)
            assert (ours.held, ours.why_not) == (True, "")


def test_the_other_is_told_our_pid_however_often_it_asks(path: Path) -> None:
    with closing(lock(path)) as ours:
        for _ in range(3):
            for _ in range(5):
                assert lock(path).why_not == f"another shipkeeper (pid {os.getpid()}) acts on this engine"
            ours.update(wanted=True)
        assert ours.held


def test_two_paths_to_one_engine_are_one(path: Path) -> None:
    link = path.with_name("link.sock")
    link.symlink_to(path)
    with closing(lock(path)) as ours:
        assert ours.held
        assert not lock(link).held


def test_two_engines_are_two(path: Path) -> None:
    with (
        engine_socket(path.with_name("other.sock")),
        closing(lock(path)) as one,
        closing(lock(path.with_name("other.sock"))) as other,
    ):
        assert (one.held, other.held) == (True, True)


def test_a_remote_engine_is_named_by_its_address() -> None:
    endpoint = Endpoint(host="tcp://docker.test.invalid:2376")
    with closing(ActingLock(endpoint)) as ours, closing(ActingLock(endpoint)) as other:
        ours.update(wanted=True)
        other.update(wanted=True)
        assert (ours.held, other.held) == (True, False)


def test_after_a_restart_of_the_engine_the_name_is_the_new_sockets(path: Path) -> None:
    with closing(lock(path)) as ours:
        path.unlink()
        ours.update(wanted=True)
        assert ours.held, "an engine that is down for a moment is still ours"
        path.with_name("filler").touch()  # or the new socket could get the inode of the old one
        with engine_socket(path):
            ours.update(wanted=True)
            assert ours.held
            assert not lock(path).held


def test_who_takes_the_new_name_first_acts(path: Path) -> None:
    with closing(lock(path)) as ours:
        path.unlink()
        path.with_name("filler").touch()
        with engine_socket(path), closing(lock(path)) as faster:
            ours.update(wanted=True)
            assert (faster.held, ours.held) == (True, False)


def test_an_engine_that_is_not_there_has_no_one_who_acts(tmp_path: Path) -> None:
    with closing(lock(tmp_path / "docker.sock")) as ours:
        assert not ours.held
        assert ours.why_not == f"{tmp_path}/docker.sock is not there"


def test_in_observe_mode_it_is_let_go(path: Path) -> None:
    with closing(lock(path)) as ours, closing(ActingLock(Endpoint(host=f"unix://{path}"))) as other:
        ours.update(wanted=False)
        assert not ours.held
        other.update(wanted=True)
        assert other.held


@contextmanager
def no_more_files() -> Iterator[None]:
    """Let this process open no further file, as one that has run out of them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_without_a_free_descriptor_it_keeps_what_it_holds_and_takes_nothing(path: Path) -> None:
    with closing(lock(path)) as held, closing(ActingLock(Endpoint(host=f"unix://{path}"))) as free:
        with no_more_files():
            held.update(wanted=True)
            free.update(wanted=True)
        assert held.held
        assert not free.held
        assert "Too many open files" in free.why_not
