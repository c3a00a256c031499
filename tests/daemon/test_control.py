"""The control socket answers who may ask, and the command line understands its answers."""

from __future__ import annotations

import grp
import os
import pwd
import socket
import stat
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from daemon.client import NoDaemonError, SilentDaemonError, call
from daemon.control import ControlServer, role_of
from daemon.errors import ShipkeeperError
from daemon.verbs import ALERTS_TEST, APPLY, PLAN, STATUS, Role, Verb, verb_table
from daemon.web.exchange import Peer
from tests.fakes.crew import a_crew

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from daemon.web.exchange import Request

NOBODY = 65534
AS_NOBODY = (
    "import os, sys; from pathlib import Path; from daemon.client import call\n"
    f"os.setgroups([]); os.setgid(int(sys.argv[3])); os.setuid({NOBODY})\n"
    "from daemon.errors import ShipkeeperError\n"
    "try: print(call(Path(sys.argv[1]), *sys.argv[2].split()))\n"
    "except ShipkeeperError as error: print(error)"
)


def echo(request: Request) -> dict[str, Any]:
    return {"query": dict(request.query)}


def who(request: Request) -> dict[str, Any]:
    assert request.peer is not None
    return {"user": request.peer.user}


def broken(_request: Request) -> dict[str, Any]:
    raise RuntimeError("the password is verysecret")


def not_ready(_request: Request) -> dict[str, Any]:
    raise ShipkeeperError("no plan yet: the first inventory is not complete")


@contextmanager
def answering(path: Path, *, group: str = "no-such-group") -> Iterator[Path]:
    verbs = verb_table(
        status=echo,
        plan=not_ready,
        apply=who,
        run=echo,
        audit=echo,
        autopsy=echo,
        alerts=broken,
        alerts_test=echo,
        alerts_show=echo,
        alerts_history=echo,
        alerts_ack=echo,
        silences=echo,
        silence=who,
        unsilence=echo,
    )
    server = ControlServer(path, verbs, a_crew(), group)
    server.start()
    try:
        yield path
    finally:
        server.close()


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Path]:
    with answering(tmp_path / "run" / "control.sock") as path:
        yield path


def refused(path: Path, method: str, target: str) -> str:
    with pytest.raises(ShipkeeperError) as caught:
        call(path, method, target)
    return str(caught.value)


def asked_as_nobody(path: Path, what: str, gid: int = NOBODY) -> str:
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(path), what, str(gid)], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def open_control(open_folder: Path) -> Iterator[Path]:
    """Give a server whose socket every user can reach, as if its owner had been careless with chmod."""
    with answering(open_folder / "run" / "control.sock") as path:
        path.parent.chmod(0o755)
        path.chmod(0o666)
        yield path


def test_a_call_gets_its_verbs_answer(control: Path) -> None:
    assert call(control, "GET", f"{STATUS}?explain=1") == {"query": {"explain": "1"}}
    assert call(control, "POST", ALERTS_TEST) == {"query": {}}


def test_the_socket_is_for_owner_and_group_alone(control: Path) -> None:
    mode = control.stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o660


def test_the_socket_is_given_to_its_group(tmp_path: Path) -> None:
    group = grp.getgrgid(NOBODY)
    with answering(tmp_path / "control.sock", group=group.gr_name) as path:
        assert path.stat().st_gid == group.gr_gid


def test_a_closed_server_leaves_no_socket(tmp_path: Path) -> None:
    with answering(tmp_path / "control.sock") as path:
        pass
    assert not path.exists()


def test_a_server_that_never_started_closes(tmp_path: Path) -> None:
    ControlServer(tmp_path / "control.sock", (), a_crew()).close()


def test_an_unknown_call_is_answered_in_words(control: Path) -> None:
    assert "knows no such call" in refused(control, "GET", "/nonsense")


def test_a_get_does_not_act(control: Path) -> None:
    assert f"{ALERTS_TEST} takes POST" in refused(control, "GET", ALERTS_TEST)


def test_a_refusal_of_the_daemon_is_told_in_its_words(control: Path) -> None:
    assert refused(control, "GET", PLAN) == "the daemon refused: no plan yet: the first inventory is not complete"


def test_a_failing_verb_is_told_by_its_kind_and_logged(control: Path, caplog: pytest.LogCaptureFixture) -> None:
    said = refused(control, "GET", "/alerts")
    assert "RuntimeError" in said
    assert "verysecret" not in said
    assert "GET /alerts failed" in caplog.text
    assert call(control, "GET", STATUS) == {"query": {}}


def test_the_socket_of_a_dead_daemon_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with answering(path):
        assert call(path, "GET", STATUS) == {"query": {}}


def test_a_second_daemon_is_told_who_runs_already(control: Path) -> None:
    with pytest.raises(ShipkeeperError, match=rf"already running \(pid {os.getpid()}\)"):
        ControlServer(control, (), a_crew()).start()
    assert call(control, "GET", STATUS) == {"query": {}}


def test_a_file_in_the_way_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    path.write_text("mine")
    with pytest.raises(ShipkeeperError, match="in the way"):
        ControlServer(path, (), a_crew()).start()
    assert path.read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_told_with_the_cure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ShipkeeperError, match=r"set \[control\] socket"):
        ControlServer(tmp_path / "file" / "control.sock", (), a_crew()).start()


def test_root_and_the_daemons_user_act_the_group_looks_others_nothing() -> None:
    gid = 4242
    assert role_of(Peer(1, 0, 0), gid) is Role.OPERATOR
    assert role_of(Peer(1, os.geteuid(), 1), gid) is Role.OPERATOR
    assert role_of(Peer(1, 99999, gid), gid) is Role.VIEWER
    assert role_of(Peer(1, 99999, 1), gid) is None


def test_a_stranger_is_refused_even_if_the_socket_is_open(open_control: Path) -> None:
    said = asked_as_nobody(open_control, f"GET {STATUS}")
    assert "only root, the daemon's user and the group" in said


def test_a_stranger_cannot_connect_and_learns_the_cure(open_control: Path) -> None:
    open_control.chmod(0o660)
    assert "usermod -aG shipkeeper" in asked_as_nobody(open_control, f"GET {STATUS}")


def test_a_member_of_the_group_looks_but_does_not_act(open_control: Path) -> None:
    gid = open_control.stat().st_gid
    open_control.chmod(0o660)
    assert asked_as_nobody(open_control, f"GET {STATUS}", gid) == "{'query': {}}"
    assert "use sudo" in asked_as_nobody(open_control, f"POST {ALERTS_TEST}", gid)


def test_without_a_daemon_the_caller_learns_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(NoDaemonError, match="start it with `shipkeeper run`"):
        call(tmp_path / "absent.sock", "GET", STATUS)


def test_something_else_at_the_socket_is_told(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()

        def answer() -> None:
            client, _ = other.accept()
            with client:
                client.recv(4096)
                client.sendall(b"220 mail.example ESMTP\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        assert "is no shipkeeper" in refused(path, "GET", STATUS)
        thread.join()


def test_a_daemon_that_ends_before_it_answers_and_one_that_never_does_are_told(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(SilentDaemonError, match="did not answer within"):
            call(path, "GET", STATUS, patience=0.05)

        def end() -> None:
            for _ in range(2):  # the first is the one that gave up
                other.accept()[0].close()

        thread = threading.Thread(target=end)
        thread.start()
        with pytest.raises(SilentDaemonError, match="ended before it had answered"):
            call(path, "GET", STATUS)
        thread.join()


def test_who_acts_is_told_by_the_kernel(tmp_path: Path) -> None:
    with answering(tmp_path / "control.sock") as path:
        assert call(path, "POST", APPLY) == {"user": pwd.getpwuid(os.geteuid()).pw_name}


def test_a_user_without_a_name_is_called_by_the_number() -> None:
    assert Peer(1, 4_000_000, 1).user == "uid 4000000"


def test_no_get_needs_an_operator() -> None:
    table: tuple[Verb, ...] = verb_table(
        status=echo,
        plan=echo,
        apply=echo,
        run=echo,
        audit=echo,
        autopsy=echo,
        alerts=echo,
        alerts_test=echo,
        alerts_show=echo,
        alerts_history=echo,
        alerts_ack=echo,
        silences=echo,
        silence=who,
        unsilence=echo,
    )
    assert {verb.role for verb in table if verb.method == "GET"} == {Role.VIEWER}
    assert {verb.role for verb in table if verb.method != "GET"} == {Role.OPERATOR}
