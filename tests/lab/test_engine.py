from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.binaries import REPOSITORY, Suite
from tests.lab.engine import PrivateEngine
from tests.lab.errors import LabError
from tests.lab.images import IDLE
from tests.lab.sweep import leftovers
from tests.lab.waiting import wait_until

HOLDER = """
import signal, sys
from pathlib import Path
from tests.lab.engine import PrivateEngine
# Whoever was started by a shell in the background inherits that this signal is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
with PrivateEngine(folder=Path(sys.argv[1]), data_root_image_mb=100) as engine:
    engine.run(["sleep", "1000"], restart_policy={"Name": "always"})
    engine.run(["false"], restart_policy={"Name": "always"})
    engine.api.pause(engine.run(["sleep", "1000"]))
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "engine"


def test_an_engine_runs_a_container_whose_process_is_ours_to_see(engine: PrivateEngine) -> None:
    container = engine.run(IDLE, name="idle")
    membership = Path(f"/proc/{engine.host_pid(container)}/cgroup").read_text(encoding="utf-8")
    assert f"{engine.cgroup_parent}/{container}" in membership


def test_an_engine_comes_back_after_it_was_stopped_killed_or_frozen(engine: PrivateEngine) -> None:
    engine.restart()
    engine.kill()
    engine.start()
    engine.freeze()
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(0.2)
        client.connect(str(engine.socket))
        client.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
        with pytest.raises(TimeoutError):
            client.recv(1)
    engine.thaw()
    assert engine.api.ping()


def test_the_sentinels_events_come_after_all_before(engine: PrivateEngine) -> None:
    stream = engine.api.events(decode=True)
    container = engine.run(["false"])
    engine.api.wait(container)
    engine.api.inspect_container(container)  # its lock is held until the end is told; `wait` returns before that
    last = engine.sentinel()
    seen: list[tuple[str, str]] = []
    for event in stream:
        seen.append((event["Action"], event["Actor"]["ID"]))
        if seen[-1] == ("destroy", last):
            break
    stream.close()
    assert ("die", container) in seen


def test_an_image_imported_under_the_same_name_leaves_the_older_dangling(engine: PrivateEngine) -> None:
    older = engine.import_image("app:1", b"older")
    newer = engine.import_image("app:1", b"newer")
    assert older != newer
    assert [image["Id"] for image in engine.api.images(filters={"dangling": True})] == [older]


def test_a_container_outlives_its_engine_with_live_restore_and_can_still_be_entered(folder: Path) -> None:
    with PrivateEngine(folder=folder, arguments=["--live-restore"]) as engine:
        container = engine.run(IDLE)
        pid = engine.host_pid(container)
        engine.kill()
        engine.start()
        assert engine.host_pid(container) == pid
        command = engine.api.exec_create(container, ["echo", "still here"])
        assert engine.api.exec_start(command["Id"]) == b"still here\n"


@pytest.mark.parametrize("suite", [Suite.BOOKWORM, Suite.SID])
def test_a_test_that_fails_leaves_nothing(folder: Path, suite: Suite) -> None:
    def fail_inside() -> None:
        with PrivateEngine(suite, folder=folder, data_root_image_mb=100) as engine:
            engine.run(["sleep", "1000"])
            assert len(leftovers(folder)) > 5, "while it runs, the search for leftovers finds it"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_inside()
    assert leftovers(folder) == []


def test_an_engine_that_cannot_start_says_its_last_words_and_leaves_nothing(folder: Path) -> None:
    engine = PrivateEngine(folder=folder, arguments=["--no-such-flag"])
    with pytest.raises(LabError, match="unknown flag: --no-such-flag"):
        engine.__enter__()
    assert leftovers(folder) == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_program_that_is_interrupted_or_killed_leaves_nothing(folder: Path, how: signal.Signals) -> None:
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        assert json.dumps(leftovers(folder)).count("process") >= 6
        program.send_signal(how)
        program.wait(30)
    # the janitor of a killed program sweeps after its death
    wait_until(lambda: not leftovers(folder), "nothing to be left", 20)
