"""The shipped unit under a real systemd: this machine's, and that of Debian 13."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from daemon.keys import KEYS
from tests.integration.test_stalled_threads import HEARTBEATS, LONGEST, THREADS
from tests.lab.binaries import REPOSITORY
from tests.lab.checkout import for_debian_13, putting_it_to_use
from tests.lab.nvml import FakeGpu, FakeNvml
from tests.lab.scripted_engine import ScriptedEngine
from tests.lab.stall import bury, release, stall, threads
from tests.lab.systemd import SHARED, Guest, trixie
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

UNIT = "shipkeeper.service"
DEPLOY = REPOSITORY / "deploy" / "systemd"
METRICS = "http://127.0.0.1:9817/metrics"
PROGRAM = Path(sys.executable).with_name("shipkeeper")
DROP_IN = f"""
[Service]
Environment=SHIPKEEPER_DOCKER__HOST=unix://{SHARED}/docker.sock
# Only for the test: it is not to wait for a minute after the deadline of the heartbeat.
WatchdogSec=6
"""
WITH_EVERY_SINK = """
Environment=SHIPKEEPER_SLACK__WEBHOOK_URL=http://127.0.0.1:9 SHIPKEEPER_WEBHOOK__URL=http://127.0.0.1:9
Environment='SHIPKEEPER_ALERTMANAGER__URLS=["http://127.0.0.1:9"]' SHIPKEEPER_ALERTMANAGER__SLACK_TOO=true
Environment=SHIPKEEPER_HEARTBEAT__URL=http://127.0.0.1:9
StateDirectory=
StateDirectory=%N
RuntimeDirectory=
RuntimeDirectory=%N
"""
PROXY = "/usr/lib/systemd/systemd-socket-proxyd"
"""Stands for an engine that is started by its socket."""
WAKINGS = 3
LONG = 3.0
"""Seconds, of the five between two looks at the engine."""
FIRST_PORT = 9900
TRIES = 20
DATA_ROOT = "/var/lib/docker"
LOG_BYTES = 1 << 20


class Service:
    """The unit in a guest, with an engine whose socket belongs to the guest's group docker."""

    def __init__(self, guest: Guest, engine: ScriptedEngine) -> None:
        self.guest = guest
        self.engine = engine

    def install(self) -> None:
        """Install the unit as a person would, from the files as they are; the program is there already."""
        shutil.copytree(DEPLOY, self.guest.shared / "deploy")
        self.guest.shell(
            f"""
            cp {SHARED}/deploy/shipkeeper.service /etc/systemd/system/
            systemd-sysusers {SHARED}/deploy/shipkeeper.sysusers.conf
            getent group docker || groupadd docker
            chgrp docker {SHARED}/docker.sock
            chmod 660 {SHARED}/docker.sock
            """
        )
        self.configure(DROP_IN)

    def configure(self, drop_in: str, name: str = "lab.conf") -> None:
        """Add a drop-in; an empty one removes it."""
        folder = f"/etc/systemd/system/{UNIT}.d"
        self.guest.shell(f"mkdir -p {folder}; cat > {folder}/{name} <<'END'\n{drop_in}\nEND\nsystemctl daemon-reload")

    def write_configuration(self, text: str) -> None:
        """Write the configuration, for its account to read."""
        self.guest.shell(
            f"""
            mkdir -p -m 750 /etc/shipkeeper
            printf '%s\n' '{text}' > /etc/shipkeeper/shipkeeper.toml
            chmod 640 /etc/shipkeeper/shipkeeper.toml
            chgrp -R shipkeeper /etc/shipkeeper
            """
        )

    def start(self) -> None:
        """Start it, with no memory of earlier starts, and wait until it is ready."""
        self.guest.run("systemctl", "reset-failed", UNIT, check=False)
        self.guest.run("systemctl", "start", UNIT)

    def state(self) -> dict[str, str]:
        """Give what systemd thinks of it."""
        return self.guest.show(
            UNIT, "ActiveState", "Result", "NRestarts", "StatusText", "ExecMainStatus", "MainPID", "User"
        )

    def host_pid(self) -> int:
        """Give the id of its process, as it is out here."""
        return self.guest.host_pid(int(self.state()["MainPID"]))

    def journal(self, *options: str) -> list[dict[str, Any]]:
        """Give its entries in the journal."""
        self.guest.run("journalctl", "--sync")
        told = self.guest.run("journalctl", "-u", UNIT, "-o", "json", "--no-pager", *options)
        return [json.loads(line) for line in told.splitlines()]

    def said(self, words: str) -> bool:
        """Tell whether an entry of the journal holds these words."""
        return any(words in entry["MESSAGE"] for entry in self.journal())

    def page(self) -> str:
        """Scrape it; empty as long as it does not answer."""
        ask = f"import urllib.request as r; print(r.urlopen('{METRICS}').read().decode())"
        return self.guest.run("python3", "-c", ask, check=False)

    def came_back(self) -> bool:
        """Tell whether it was started again and is ready."""
        state = self.state()
        return state["NRestarts"] == "1" and state["ActiveState"] == "active"


class OneOfMany:
    """The unit once more, under the name of a thread that is to be stalled, with every kind of sink."""

    def __init__(self, service: Service, name: str, port: int) -> None:
        self.name = name
        self._guest = service.guest
        self._unit = f"of-{name}.service"
        self._page = f"http://127.0.0.1:{port}/-/healthy"
        self._guest.shell(
            f"""
            cp /etc/systemd/system/{UNIT} /etc/systemd/system/{self._unit}
            mkdir -p /etc/systemd/system/{self._unit}.d
            cat > /etc/systemd/system/{self._unit}.d/lab.conf <<'END'
{DROP_IN}{WITH_EVERY_SINK}
Environment=SHIPKEEPER_WEB__LISTEN=127.0.0.1:{port}
END
            systemctl daemon-reload
            """
        )

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self._guest.run("systemctl", "start", self._unit)

    def stop(self) -> None:
        """Stop it."""
        self._guest.run("systemctl", "stop", self._unit)

    def stall(self) -> int:
        """Stall its thread at a moment at which the others go on, and give the thread's id."""
        pid = self._guest.host_pid(int(self._guest.show(self._unit, "MainPID")["MainPID"]))
        for _ in range(TRIES):
            known = {"shipkeeper": pid, **{name: tid for tid, name in threads(pid).items() if tid != pid}}
            tid = known[self.name]
            stall(tid)
            if self._goes_on():
                return tid
            release(tid)
        raise AssertionError(f"{self.name} was never found at rest")

    def came_back(self) -> bool:
        """Tell whether it was started again and is ready."""
        state = self._guest.show(self._unit, "NRestarts", "ActiveState")
        return state == {"NRestarts": "1", "ActiveState": "active"}

    def journal(self) -> str:
        """Give what it said, and what systemd said of it."""
        self._guest.run("journalctl", "--sync")
        return self._guest.run("journalctl", "-u", self._unit, "-o", "cat", "--no-pager")

    def _goes_on(self) -> bool:
        """Tell whether the interpreter is free: another thread answers."""
        if self.name == "web":
            control = f"SHIPKEEPER_CONTROL__SOCKET=/run/of-{self.name}/control.sock"
            return '"up"' in self._guest.run(
                "env", control, "timeout", "10", "/opt/shipkeeper/bin/shipkeeper", "status", "--json", check=False
            )
        ask = f"import urllib.request as r; print(r.urlopen('{self._page}', timeout=3).status)"
        return self._guest.run("python3", "-c", ask, check=False).strip() == "200"


def link_program(guest: Guest) -> None:
    """Let the guest run this checkout, in our own environment."""
    folders = " ".join(f"'{folder}'" for start in (PROGRAM, Path(sys.executable)) for folder in start.resolve().parents)
    guest.shell(
        f"""
        chmod o+x {folders}  # only in the guest: its account has to reach them
        mkdir -p /opt/shipkeeper/bin
        ln -s '{PROGRAM}' /opt/shipkeeper/bin/shipkeeper
        """
    )


def copy_program(guest: Guest) -> None:
    """Give the guest a copy of ours, for its own Python."""
    for_debian_13(guest.shared / "ours")
    guest.shell(putting_it_to_use(SHARED / "ours"))


@pytest.fixture(scope="module", params=["this machine", "Debian 13"])
def guest(request: pytest.FixtureRequest) -> Iterator[Service]:
    """Give one guest for all of these tests, the unit installed."""
    own = request.param == "this machine"
    with (
        Guest() if own else Guest(trixie()) as systemd,
        ScriptedEngine(systemd.shared / "docker.sock") as engine,
    ):
        web = engine.add("web")
        web.inspect_extra["LogPath"] = f"{DATA_ROOT}/containers/{web.id}/{web.id}-json.log"
        (link_program if own else copy_program)(systemd)
        service = Service(systemd, engine)
        service.install()
        yield service


@pytest.fixture
def service(guest: Service) -> Iterator[Service]:
    """Give the unit, running; whatever a test leaves of it is stopped."""
    guest.start()
    yield guest
    guest.guest.run("systemctl", "stop", UNIT)


def since_the_last_look(guest: Service) -> float:
    """Give the seconds since the engine was looked at last; 0 if that is not known."""
    found = re.search(r'^shipkeeper_heartbeat_age_seconds\{thread="engine"\} (\S+)$', guest.page(), re.MULTILINE)
    return float(found[1]) if found else 0.0


def shipped(folder: Path) -> Path:
    """Give a copy of the unit whose program is there."""
    unit = folder / UNIT
    unit.write_text((DEPLOY / UNIT).read_text().replace("/opt/shipkeeper/bin/shipkeeper", "/bin/true"))
    return unit


def analyze(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)
    return done.returncode, done.stderr + (done.stdout if done.returncode else "")


def test_the_unit_is_sound_and_its_exposure_at_most_two(tmp_path: Path) -> None:
    unit = str(shipped(tmp_path))
    assert analyze("verify", "--recursive-errors=yes", unit) == (0, "")
    assert analyze("security", "--offline=true", "--threshold=20", unit) == (0, "")


def test_the_drop_in_for_gpus_is_sound_and_leaves_the_exposure_at_two(tmp_path: Path) -> None:
    unit = str(shipped(tmp_path))
    drop_in = tmp_path / "shipkeeper.service.d" / "gpu.conf"
    drop_in.parent.mkdir()
    drop_in.write_text((DEPLOY / "gpu.conf").read_text())
    assert analyze("verify", "--recursive-errors=yes", unit) == (0, "")
    assert analyze("security", "--offline=true", "--threshold=20", unit) == (0, "")
    assert not re.search(r"(?m)^#\w", drop_in.read_text()), "nothing to be switched on in it: an upgrade replaces it"


def test_the_drop_in_for_the_kernels_log_is_sound_and_lets_in_no_other_device(tmp_path: Path) -> None:
    unit = str(shipped(tmp_path))
    drop_in = tmp_path / "shipkeeper.service.d" / "kernel-log.conf"
    drop_in.parent.mkdir()
    drop_in.write_text((DEPLOY / "kernel-log.conf").read_text())
    assert analyze("verify", "--recursive-errors=yes", unit) == (0, "")
    assert analyze("security", "--offline=true", "--threshold=23", unit) == (0, ""), "the exposure that it speaks of"
    assert re.findall(r"(?m)^DeviceAllow=(.*)$", drop_in.read_text()) == ["/dev/kmsg r"]


def test_every_secret_may_come_as_a_credential() -> None:
    names = [".".join(key.path) for key in KEYS.values() if key.secret]
    lines = re.findall(r"(?m)^LoadCredential=(.*)$", (DEPLOY / UNIT).read_text())
    assert sorted(lines) == sorted(f"{name}:shipkeeper.{name}" for name in names), "of the unit in deploy/systemd"


@pytest.mark.slow
def test_it_is_ready_as_its_own_user_and_says_how_the_host_is(service: Service) -> None:
    state = service.state()
    assert (state["ActiveState"], state["User"]) == ("active", "shipkeeper")
    wait_until(
        lambda: service.state()["StatusText"] == "1 container, no alert, Docker 28.5.2 up", "the status of the host", 30
    )
    owned = service.guest.shell("stat -c '%U %a' /var/lib/shipkeeper/state.db /run/shipkeeper/control.sock")
    assert owned.splitlines() == ["shipkeeper 600", "shipkeeper 660"]
    assert '"up": true' in service.guest.shell("/opt/shipkeeper/bin/shipkeeper status --json")


@pytest.mark.slow
def test_the_journal_knows_how_grave_a_line_is(service: Service) -> None:
    wait_until(lambda: "Docker 28" in service.state()["StatusText"], "the engine to be seen", 30)
    service.engine.freeze()
    wait_until(lambda: "hung" in service.state()["StatusText"], "the hung engine", 60)
    service.engine.thaw()
    grave = service.journal("-p", "warning")
    assert {entry["PRIORITY"] for entry in grave} == {"4"}
    assert any("cure:" in entry["MESSAGE"] for entry in grave)
    assert not service.said("cannot give")
    own = [entry for entry in service.journal() if entry["_PID"] == service.state()["MainPID"]]
    assert not any(entry["MESSAGE"].startswith("<") for entry in own)
    assert {entry["SYSLOG_IDENTIFIER"] for entry in own} == {"shipkeeper"}
    assert {entry["_SYSTEMD_UNIT"] for entry in own} == {UNIT}
    assert {entry["PRIORITY"] for entry in own} >= {"4", "6"}


@pytest.mark.slow
def test_a_stop_is_clean(service: Service) -> None:
    service.guest.run("systemctl", "stop", UNIT)
    state = service.state()
    assert (state["ActiveState"], state["Result"], state["ExecMainStatus"]) == ("inactive", "success", "0")
    assert service.said("SIGTERM received, stopping")


@pytest.mark.slow
def test_a_daemon_that_is_killed_is_started_again(service: Service) -> None:
    service.guest.run("systemctl", "kill", "--signal=KILL", UNIT)
    wait_until(service.came_back, "the next start", 60)


@pytest.mark.slow
def test_a_reload_takes_over_a_good_configuration_and_refuses_a_bad_one(guest: Service) -> None:
    guest.write_configuration("[alerts]\nlog_lines = 5")
    guest.start()
    before = guest.state()["MainPID"]
    guest.write_configuration("[alerts]\nlog_lines = 7")
    guest.guest.run("systemctl", "reload", UNIT)
    wait_until(lambda: guest.said("the configuration was read again; changed: alerts.log_lines"), "the new one", 30)
    guest.write_configuration("nonsense = 1")
    guest.guest.shell(f"! systemctl reload {UNIT}")
    assert guest.said("nonsense = …")
    assert not guest.said("the changed configuration is bad"), "the daemon was not even asked"
    guest.guest.run("systemctl", "kill", "--signal=HUP", UNIT)
    wait_until(lambda: "changed configuration is bad" in guest.state()["StatusText"], "the refusal", 30)
    assert (guest.state()["ActiveState"], guest.state()["MainPID"]) == ("active", before)
    guest.guest.run("systemctl", "stop", UNIT)
    guest.guest.run("rm", "/etc/shipkeeper/shipkeeper.toml")


@pytest.mark.slow
def test_a_bad_configuration_is_not_tried_again_and_again(guest: Service) -> None:
    guest.write_configuration("nonsense = 1")
    guest.guest.run("systemctl", "start", UNIT, check=False)
    state = guest.state()
    assert (state["ActiveState"], state["Result"], state["ExecMainStatus"]) == ("failed", "exit-code", "78")
    assert state["NRestarts"] == "0"
    assert guest.said("nonsense")
    guest.guest.run("rm", "/etc/shipkeeper/shipkeeper.toml")


@pytest.mark.slow
def test_a_daemon_that_ends_again_and_again_stays_down_after_five_starts(guest: Service) -> None:
    guest.configure("[Service]\nType=exec\nExecStart=\nExecStart=/bin/sh -c 'exit 42'\nRestartSec=100ms", "ends.conf")
    guest.guest.run("systemctl", "reset-failed", UNIT, check=False)
    guest.guest.run("systemctl", "start", UNIT, check=False)
    wait_until(lambda: guest.said("Start request repeated too quickly"), "the last start to be refused", 60)
    assert guest.state()["ActiveState"] == "failed"
    assert sum("status=42" in entry["MESSAGE"] for entry in guest.journal()) == 5
    guest.configure("", "ends.conf")


@pytest.mark.slow
def test_a_secret_can_come_as_a_credential(guest: Service) -> None:
    secret, stored = "https://hooks.slack.com/services/T/B/notasecret", "/etc/credstore/shipkeeper.slack.webhook_url"
    guest.guest.shell(f"echo {secret} | install -D -m 600 /dev/stdin {stored}")
    guest.start()
    assert guest.said("this terminal or journal, and Slack")
    guest.guest.run("systemctl", "reload", UNIT)  # what checks the configuration is shown it, too
    shown = guest.guest.shell(f"stat -c '%U %a' /run/credentials/{UNIT}; ! runuser -u nobody -- cat {stored} 2>&1")
    assert shown.splitlines()[0] != "nobody 755"
    assert "Permission denied" in shown
    guest.guest.run("systemctl", "stop", UNIT)
    guest.guest.run("rm", stored)


@pytest.mark.slow
def test_without_a_group_docker_systemd_says_what_is_missing(guest: Service) -> None:
    guest.guest.shell("sed -i.bak '/^docker:/d' /etc/group /etc/gshadow")
    guest.guest.run("systemctl", "start", UNIT, check=False)
    assert guest.state()["ExecMainStatus"] == "216"
    assert guest.said("Failed to determine supplementary groups") or guest.said("status=216/GROUP")
    guest.guest.run("systemctl", "stop", UNIT)
    guest.configure("[Service]\nSupplementaryGroups=", "no-group.conf")
    guest.start()
    wait_until(lambda: "usermod -aG docker" in str(guest.journal()), "the cure for a closed socket", 30)
    guest.guest.run("systemctl", "stop", UNIT)
    guest.configure("", "no-group.conf")
    guest.guest.shell("mv /etc/group.bak /etc/group; mv /etc/gshadow.bak /etc/gshadow")


@pytest.mark.slow
def test_logs_and_filesystems_below_a_closed_data_root_are_measured(guest: Service) -> None:
    [web] = guest.engine.containers.values()
    folder = f"{DATA_ROOT}/containers/{web.id}"
    guest.guest.shell(
        f"""
        mkdir -p {folder} {DATA_ROOT}/volumes
        chmod 710 {DATA_ROOT} {DATA_ROOT}/containers {folder}
        head -c {LOG_BYTES} /dev/urandom > {folder}/{web.id}-json.log
        chmod 640 {folder}/{web.id}-json.log
        mount -t tmpfs -o size=64M,mode=701 none {DATA_ROOT}/volumes
        """
    )
    guest.start()
    wait_until(lambda: re.search(r"shipkeeper_container_log_bytes\{.*\} 1", guest.page()), "the size of the log", 120)
    assert f'mountpoint="{DATA_ROOT}/volumes"' in guest.page()
    pid = guest.state()["MainPID"]
    assert "what container logs take is not known" not in str(guest.journal(f"_PID={pid}"))
    hidden = guest.guest.host_pid(int(pid))
    assert Path(f"/proc/{hidden}/root/etc/shadow").read_text() == "", "what it has no use for, it does not see"
    guest.guest.run("systemctl", "stop", UNIT)
    guest.guest.run("umount", f"{DATA_ROOT}/volumes")


@pytest.mark.slow
def test_a_stop_in_mid_cycle_is_clean(service: Service) -> None:
    wait_until(lambda: "Docker 28" in service.state()["StatusText"], "the engine to be seen", 30)
    before = service.engine.count("/containers/*")
    service.engine.freeze()
    service.engine.emit("start", next(iter(service.engine.containers)))
    assert service.engine.wait(lambda: service.engine.count("/containers/*") > before, 30), "a cycle that waits"
    service.guest.run("systemctl", "stop", UNIT)
    service.engine.thaw()
    state = service.state()
    assert (state["ActiveState"], state["Result"], state["ExecMainStatus"]) == ("inactive", "success", "0")


@pytest.mark.slow
def test_an_engine_that_was_stopped_is_not_woken_through_its_socket(guest: Service) -> None:
    systemd = guest.guest
    systemd.shell(
        f"""
        cat > /etc/systemd/system/docker.socket <<'END'
[Socket]
ListenStream=/run/docker.sock
SocketMode=0660
SocketGroup=docker
END
        cat > /etc/systemd/system/docker.service <<'END'
[Unit]
Requires=docker.socket
[Service]
ExecStart={PROXY} {SHARED}/docker.sock
END
        systemctl daemon-reload
        systemctl start docker.socket docker.service
        """
    )
    guest.configure(DROP_IN.replace(f"unix://{SHARED}/docker.sock", "unix:///run/docker.sock"))
    guest.start()
    wait_until(lambda: "shipkeeper_docker_up 1\n" in guest.page(), "the engine to be up", 30)
    for _ in range(WAKINGS):
        begun = systemd.show("docker.service", "InvocationID")
        systemd.run("systemctl", "stop", "docker.service")
        wait_until(lambda: "shipkeeper_docker_up 0\n" in guest.page(), "the stop to be told", 60)
        systemd.run("systemctl", "restart", UNIT)  # not by a start of ours either
        wait_until(lambda: "shipkeeper_docker_up 0\n" in guest.page(), "the start to tell it", 60)
        for _ in range(2):
            wait_until(lambda: since_the_last_look(guest) > LONG, "the next look to be near", 30)
            wait_until(lambda: since_the_last_look(guest) < LONG, "it", 30)
        assert systemd.show("docker.service", "ActiveState") == {"ActiveState": "inactive"}
        assert systemd.show("docker.service", "InvocationID") == begun
        assert systemd.show("docker.socket", "ActiveState") == {"ActiveState": "active"}
        systemd.run("systemctl", "start", "docker.service")
        wait_until(lambda: "shipkeeper_docker_up 1\n" in guest.page(), "its return", 60)
    systemd.run("systemctl", "stop", UNIT)
    systemd.shell(
        "systemctl stop docker.socket docker.service; rm /etc/systemd/system/docker.*; systemctl daemon-reload"
    )
    guest.configure(DROP_IN)


@pytest.mark.slow
def test_gpus_are_read_behind_all_that_the_unit_forbids(guest: Service) -> None:
    FakeNvml(guest.guest.shared / "driver", FakeGpu())
    guest.configure((DEPLOY / "gpu.conf").read_text(), "gpu.conf")
    guest.configure(f"[Service]\nEnvironment=LD_LIBRARY_PATH={SHARED}/driver", "driver.conf")
    guest.start()
    wait_until(lambda: "shipkeeper_gpu_up{" in guest.page(), "the GPU on the page", 60)
    guest.guest.run("systemctl", "stop", UNIT)
    for name in ("gpu.conf", "driver.conf"):
        guest.configure("", name)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_whichever_thread_is_stalled_the_watchdog_kills_the_daemon_and_systemd_starts_it_again(guest: Service) -> None:
    guest.guest.shell("test -d /etc/shipkeeper || install -d -m 750 -g shipkeeper /etc/shipkeeper")
    stalled = {}
    for port, name in enumerate(THREADS, FIRST_PORT):
        one = OneOfMany(guest, name, port)
        one.start()
        stalled[one] = one.stall()

    def came_back() -> bool:
        for tid in stalled.values():
            bury(tid)
        return all(one.came_back() for one in stalled)

    wait_until(came_back, "the watchdog to end each of them and systemd to start it again", LONGEST + 120)
    for one in stalled:
        said = one.journal()
        assert "Failed with result 'watchdog'" in said, one.name
        if one.name != "watchdog":  # it cannot name itself
            heartbeat = HEARTBEATS.get(one.name, one.name)
            assert re.search(rf"the watchdog is not fed: no sign of life from .*\b{heartbeat}\b", said), one.name
        one.stop()
