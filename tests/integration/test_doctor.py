"""The doctor on real engines with real faults."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from daemon.doctor.checks.daemon_json import daemon_json
from daemon.doctor.cures import move_folder
from daemon.doctor.facts import Process, TextFile
from daemon.doctor.finding import Level
from tests.daemon.doctor.hosts import ENGINE, WELL
from tests.integration.daemon_under_test import DaemonUnderTest
from tests.integration.doctor_under_test import Said, doctor
from tests.lab.binaries import Suite
from tests.lab.engine import PrivateEngine
from tests.lab.errors import LabError
from tests.lab.images import IDLE
from tests.lab.nvml import FakeGpu, FakeNvml
from tests.lab.scripted_engine import ScriptedEngine
from tests.lab.slack import SERVER_ERROR
from tests.lab.tap import SocketTap
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from tests.lab.slack import FakeSlack

REFUSED = (
    "{",
    "[]",
    '{"graph": "/data"}',
    '{"cluster-store": "x"}',
    '{"api-cors-header": "*"}',
    '{"oom-score-adjust": -500}',
    '{"live-restor": true}',
    '{"Debug": true}',
    '{"log-opts": {"max-file": 3}}',
    '{"firewall-backend": "nftables"}',
    '{"log-opt": {"max-size": "10m"}}',
    '{"insecure": {"registries": []}}',
    '{"pidfile": "/run/x.pid"}',  # the lab gives it by a flag
    '{"hosts": ["unix:///x.sock"]}',
)
TAKEN = (
    "{}",
    "",
    '{"log-driver": "local", "log-opts": {"max-size": "10m"}, "live-restore": true}',
    '{"proxies": {"http-proxy": "http://x"}, "cdi-spec-dirs": ["/x"], "features": {"cdi": true}}',
    '{"registry-mirror": ["https://mirror.example"]}',
    '{"anything": {"debug": true}}',
    '{"builder": {"gc": {"enabled": true, "defaultKeepStorage": "1GB"}}, "default-ulimits": {}}',
    '{"deprecated-key-path": "/etc/docker/key.json", "debug": true, "debug": false}',
)

WITH_CDI = """
mount -t tmpfs cdi /run
mkdir /run/cdi
cp "$1"/*.json /run/cdi
shift
exec "$@"
"""
"""Shows the specifications of the engine's root as this host's own, for the rest of the line alone."""


def test_the_doctor_refuses_the_settings_that_the_engine_refuses_and_no_others() -> None:
    with PrivateEngine(Suite.SID) as engine:
        command = Path(f"/proc/{engine.pid}/cmdline").read_text().split("\0")[:-1]
        inside = ["nsenter", "--target", str(engine.root_pid), "--mount", *command, "--validate"]
        reach = replace(WELL.reach, engine=replace(ENGINE, version=engine.api.version()["Version"]))
        for text in (*REFUSED, *TAKEN):
            engine.daemon_json.write_text(text)
            file = TextFile(path=str(engine.daemon_json), text=text)
            host = replace(WELL, reach=reach, process=Process(arguments=tuple(command[1:])), daemon_json=file)
            told = {each.level for each in daemon_json(host)}
            taken = subprocess.run(inside, check=False, capture_output=True).returncode == 0
            assert (Level.PROBLEM not in told) == taken == (text in TAKEN), text


@pytest.mark.slow
def test_an_old_engine_ends_with_the_settings_that_the_doctor_refused(tmp_path: Path) -> None:
    with PrivateEngine(Suite.BOOKWORM) as engine:
        engine.daemon_json.write_text('{"log-format": "json"}')
        assert doctor(engine.docker_host, tmp_path).one("daemon-json")[0] == "fail"
        with pytest.raises(LabError, match="log-format"):
            engine.restart()


@pytest.mark.slow
def test_a_stopped_a_killed_and_a_frozen_engine_are_told_apart(engine: PrivateEngine, tmp_path: Path) -> None:
    engine.freeze()
    frozen = doctor(engine.docker_host, tmp_path)
    engine.thaw()
    engine.kill()
    killed = doctor(engine.docker_host, tmp_path)
    engine.start()
    engine.stop()
    stopped = doctor(engine.docker_host, tmp_path)
    told = [said.one("engine-reachable")[1] for said in (frozen, killed, stopped)]
    assert "does not answer in time" in told[0]
    assert "connection refused" in told[1]
    assert "no such socket" in told[2]
    for said in (frozen, killed, stopped):
        assert said.code == 1
        assert said.of("engine-reachable")[0]["cure"]
        assert said.one("live-restore")[0] == "skipped"


@pytest.mark.slow
def test_it_looks_and_changes_nothing(engine: PrivateEngine, tmp_path: Path) -> None:
    engine.run(IDLE, name="service")
    with SocketTap(tmp_path / "tap.sock", engine.socket) as tap:
        said = doctor(tap.docker_host, tmp_path)
        assert {each.method for each in tap.asked} == {"GET"}
    assert said.one("engine-reachable")[0] == "ok"
    assert not (tmp_path / "state").exists()


@pytest.mark.slow
def test_an_engine_that_never_ends_an_answer_holds_nobody_up(tmp_path: Path) -> None:
    with ScriptedEngine(tmp_path / "docker.sock") as engine:
        engine.hung_paths = {"/info", "/containers/json"}
        said = doctor(f"unix://{engine.socket_path}", tmp_path)
    assert said.one("engine-reachable")[0] == "fail"


@pytest.mark.slow
def test_without_root_and_group_it_names_the_group_and_what_was_not_seen(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    folder.mkdir()
    with PrivateEngine(Suite.SID) as engine:
        os.chown(engine.socket, 0, 6)
        engine.socket.chmod(0o660)
        said = doctor(engine.docker_host, folder, nobody=True)
    assert said.code == 1
    assert "this user may not talk to it" in said.one("engine-reachable")[1]
    assert "sudo usermod -aG disk nobody" in said.cure("engine-reachable")
    assert said.one("log-rotation")[0] == "skipped"


@pytest.mark.slow
def test_a_socket_that_everyone_may_use_is_a_problem(engine: PrivateEngine, tmp_path: Path) -> None:
    before = engine.socket.stat().st_mode
    engine.socket.chmod(0o666)
    try:
        assert f"sudo chmod o= {engine.socket}" in doctor(engine.docker_host, tmp_path).cure("engine-exposed")
    finally:
        engine.socket.chmod(before)


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_what_an_engine_was_started_with_is_judged(tmp_path: Path) -> None:
    settings = {
        "storage-driver": "vfs",
        "live-restore": True,
        "builder": {"gc": {"enabled": False}},
        "registry-mirror": ["https://mirror.example"],
    }
    port = f"tcp://127.0.0.1:{free_port()}"
    with PrivateEngine(Suite.SID, settings=settings, arguments=[f"--host={port}", "--tls=false"]) as engine:
        engine.run(IDLE, name="chatty")
        said = doctor(engine.docker_host, tmp_path)
        assert engine.api.info()["RegistryConfig"]["Mirrors"] is None
    assert said.one("storage-driver")[0] == "fail"
    assert said.one("live-restore")[0] == "ok"
    assert said.one("build-cache")[0] == "warn"
    assert "has no effect" in said.one("daemon-json")[1]  # and it has none
    assert not (tmp_path / "state").exists()
    assert [each["status"] for each in said.of("log-rotation")] == ["warn", "warn"]
    assert "chatty" in said.of("log-rotation")[1]["what"]
    assert (said.one("engine-exposed")[0], port in said.one("engine-exposed")[1]) == ("warn", True)


@pytest.mark.slow
def test_an_old_engine_is_told_its_age_and_what_it_lacks(tmp_path: Path) -> None:
    with PrivateEngine(Suite.BOOKWORM) as engine:
        info = engine.api.info()
        said = doctor(engine.docker_host, tmp_path)
        change_settings(said.cure("live-restore"))
        os.kill(engine.pid, signal.SIGHUP)
        wait_until(lambda: engine.api.info()["LiveRestoreEnabled"], "live-restore")
        assert doctor(engine.docker_host, tmp_path).one("live-restore")[0] == "ok"
    assert said.one("engine-age")[0] == "note"
    assert "of a line from December 2020" in said.one("engine-age")[1]
    assert said.one("live-restore")[0] == "note"
    assert said.one("build-cache")[0] == "note"
    version = {
        "1": ("note", "this host uses control groups of version 1"),
        "2": ("ok", "control groups are of version 2"),
    }
    assert said.one("cgroup-version") == version[info["CgroupVersion"]]
    warned = [each.removeprefix("WARNING: ") for each in info["Warnings"] or ["the engine warns of nothing"]]
    assert [each["what"] for each in said.of("engine-warnings")] == warned


@pytest.mark.slow
def test_the_docker_command_of_another_engine_is_told(engine: PrivateEngine, tmp_path: Path) -> None:
    other = doctor(engine.docker_host, tmp_path, environ={"DOCKER_HOST": "ssh://build@far"})
    assert "docker of this user talks to ssh://build@far (DOCKER_HOST)" in other.one("docker-context")[1]
    same = doctor(engine.docker_host, tmp_path, environ={"DOCKER_HOST": engine.docker_host})
    assert same.one("docker-context")[0] == "ok"


@pytest.mark.slow
def test_the_cure_for_logs_without_end_cures_them(tmp_path: Path) -> None:
    with PrivateEngine(Suite.SID, settings={"debug": False}) as engine:
        said = doctor(engine.docker_host, tmp_path)
        assert said.one("log-rotation")[0] == "warn"
        change_settings(said.cure("log-rotation"))
        assert json.loads(engine.daemon_json.read_text()) == {"debug": False, "log-driver": "local"}
        engine.restart()
        assert doctor(engine.docker_host, tmp_path).one("log-rotation")[0] == "ok"


@pytest.mark.slow
def test_the_lines_that_move_a_data_root_keep_what_layers_are_made_of_and_see_what_differs(tmp_path: Path) -> None:
    old, new = tmp_path / "old root", tmp_path / "disk" / "docker"
    (layer := old / "layer").mkdir(parents=True)
    (file := layer / "file").write_text("content")
    os.link(file, layer / "linked")
    os.setxattr(file, "trusted.overlay.origin", b"kept")
    os.mknod(layer / "whiteout", 0o600 | stat.S_IFCHR, os.makedev(0, 0))
    with (layer / "sparse").open("wb") as sparse:
        sparse.truncate(64 << 20)
    os.chown(layer, 100_000, 4242)
    layer.chmod(0o710)
    mounted, _, make, copy, compare, set_aside = (line.replace("sudo ", "") for line in move_folder(str(old), str(new)))
    for line in (make, copy):
        assert shell(line) == ""
    moved = new / "layer"
    assert (moved.stat().st_uid, moved.stat().st_gid, stat.S_IMODE(moved.stat().st_mode)) == (100_000, 4242, 0o710)
    assert (moved / "file").stat().st_ino == (moved / "linked").stat().st_ino
    assert os.getxattr(moved / "file", "trusted.overlay.origin") == b"kept"
    assert stat.S_ISCHR((moved / "whiteout").stat().st_mode)
    assert (moved / "sparse").stat().st_blocks == 0
    assert shell(compare) == ""
    (moved / "linked").unlink()
    assert "layer/linked" in shell(compare)
    assert shell(f"{mounted.partition('   #')[0]} || true") == ""
    shell(set_aside)
    assert (tmp_path / "old root.old" / "layer" / "file").read_text() == "content"


def change_settings(cure: str) -> None:
    """Run the lines of a cure that change the engine's settings; what they need then is for the test."""
    for line in cure.splitlines()[:2]:
        shell(line.replace("sudo ", ""))


def shell(line: str) -> str:
    """Run a line as a person pastes it, and give what it printed."""
    done = subprocess.run(line, shell=True, check=True, capture_output=True, text=True)  # noqa: S602  it is the subject
    return done.stdout


@pytest.mark.slow
def test_gpus_that_the_engine_cannot_give_are_found_and_who_asked_for_one(tmp_path: Path) -> None:
    nvml = FakeNvml(tmp_path / "nvml", FakeGpu())
    with PrivateEngine(Suite.SID) as engine:
        device = {"Driver": "", "Count": 1, "Capabilities": [["gpu"]]}
        container = engine.create(IDLE, name="trainer", device_requests=[device])
        with pytest.raises(Exception, match="could not select device driver"):
            engine.api.start(container)
        engine.run(IDLE, name="notebook", config={"environment": {"NVIDIA_REQUIRE_CUDA": "cuda>=12"}})
        said = doctor(engine.docker_host, tmp_path, environ=nvml.environment)
        nvml.kernel = "570.00"
        nvml.write()
        broken = doctor(engine.docker_host, tmp_path, environ=nvml.environment)
    assert said.one("gpu-driver")[0] == "ok"
    assert said.one("gpu-runtime")[0] == "fail"
    told = {each["what"].partition(":")[0]: each["status"] for each in said.of("gpu-containers")}
    assert told == {"trainer": "warn", "notebook": "note"}
    # Here is no kernel module that could be asked as well, so it is not said whether there are GPUs at all.
    assert "mismatch" in broken.one("gpu-driver")[1]
    assert broken.one("gpu-runtime")[0] == "skipped"


@pytest.mark.slow
def test_an_engine_with_the_hook_gives_gpus(tmp_path: Path) -> None:
    nvml = FakeNvml(tmp_path / "nvml", FakeGpu())
    with PrivateEngine(Suite.SID, gpus=1) as engine:
        said = doctor(engine.docker_host, tmp_path, environ=nvml.environment)
    # The engine found them by CDI, which 28.3 and later tell; the hook lies in its own mount namespace.
    assert said.one("gpu-runtime") == ("ok", "the engine gives containers GPUs by CDI")


@pytest.mark.slow
def test_a_cdi_specification_that_the_engine_does_not_read_is_read_after_the_lines_it_says(tmp_path: Path) -> None:
    with PrivateEngine(Suite.SID, gpus=1, settings={"features": {"cdi": False}}) as engine:

        def told() -> Said:
            inside = ("unshare", "--mount", "sh", "-ec", WITH_CDI, "sh", f"/proc/{engine.root_pid}/root/etc/cdi")
            return doctor(engine.docker_host, tmp_path, inside=inside)

        assert not engine.api.info().get("DiscoveredDevices")
        before = told()
        change_settings(before.cure("gpu-cdi"))
        engine.restart()
        assert engine.api.info()["DiscoveredDevices"]
        after = told()
    assert before.one("gpu-cdi")[0] == "note"
    assert after.one("gpu-cdi") == ("ok", "the engine reads /var/run/cdi/nvidia.json")


@pytest.mark.slow
def test_a_slack_that_cannot_be_reached_is_told(engine: PrivateEngine, slack: FakeSlack, tmp_path: Path) -> None:
    with DaemonUnderTest(tmp_path, engine, slack) as daemon:
        slack.fail_always(SERVER_ERROR)
        engine.run(["sh", "-c", "exit 3"], name="crasher")
        wait_until(lambda: daemon.status()["sinks"][-1]["state"] != "ok", "a sink that fails")
        said = doctor(daemon.tap.docker_host, tmp_path, environ={"SHIPKEEPER_CONFIG": str(daemon.config)})
        slack.heal()
    assert said.code == 1
    assert said.one("sinks")[0] == "fail"
    assert said.one("sinks")[1].startswith("alerts do not reach slack: ")
    assert "shipkeeper alerts test" in said.cure("sinks")


@pytest.mark.slow
def test_a_running_daemon_is_asked_and_its_mistakes_are_told(
    engine: PrivateEngine, slack: FakeSlack, tmp_path: Path
) -> None:
    with DaemonUnderTest(tmp_path, engine, slack) as daemon:
        said = doctor(daemon.tap.docker_host, tmp_path, environ={"SHIPKEEPER_CONFIG": str(daemon.config)})
        daemon.config.chmod(0o644)
        exposed = doctor(daemon.tap.docker_host, tmp_path, environ={"SHIPKEEPER_CONFIG": str(daemon.config)})
        daemon.config.chmod(0o600)
    assert said.one("service") == ("ok", "the daemon runs, version 0.1.0")
    assert said.one("sinks") == ("ok", "alerts go to people")
    assert said.one("configuration")[0] == "ok"
    assert "others may read this secret" in exposed.cure("configuration")
    assert exposed.one("configuration")[0] == "fail"


@pytest.mark.slow
def test_a_port_that_is_taken_is_told_with_who_has_it(engine: PrivateEngine, tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        listen = f"127.0.0.1:{server.getsockname()[1]}"
        said = doctor(engine.docker_host, tmp_path, environ={"SHIPKEEPER_WEB__LISTEN": listen})
    assert said.one("port")[1].startswith(f"the port of {listen} is taken by pid {os.getpid()} (")
