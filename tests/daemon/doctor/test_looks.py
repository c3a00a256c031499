"""What the looks see: of files laid out like a host's, of real filesystems, of programs that do not answer."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest

from collectors.engine_api import Endpoint
from collectors.facts import EngineState
from daemon.doctor import look_disks, look_engine, look_gpus, look_host, look_ourselves
from daemon.doctor.checks import disks as disk_checks
from daemon.doctor.facts import Disks, Process, Reach, Unseen
from daemon.doctor.finding import Level
from daemon.doctor.look import Look
from daemon.doctor.world import World
from tests.daemon.doctor.hosts import ENGINE, WELL
from tests.fakes.clock import FakeClock
from tests.lab.disks import small_disk
from tests.lab.nvml import FakeGpu, FakeNvml

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from daemon.doctor.facts import Host, Seen

SHOWN = """\
Id=docker.service
LoadState=loaded
ActiveState=inactive
UnitFileState=enabled
MainPID=0
ExecStart={ path=/usr/bin/dockerd ; argv[]=/usr/bin/dockerd -H fd:// --config-file=/srv/d.json ; ignore_errors=no }

Id=docker.socket
LoadState=loaded
ActiveState=active
"""


def a_world(root: Path, said: str = "", **environ: str) -> World:
    """Give a world whose systemctl says this."""

    def run(_: Sequence[str]) -> str:
        if not said:
            raise subprocess.TimeoutExpired("systemctl", 5)
        return said

    (root / "run/systemd/system").mkdir(parents=True, exist_ok=True)
    return World(environ=environ, home=root / "home", run=run, clock=FakeClock(), root=root)


def test_a_look_that_never_comes_back_is_given_up() -> None:
    forever = Event()
    seen = Look("the disk", 0.05, forever.wait).seen()
    forever.set()
    assert seen == Unseen("the disk: no answer within 0 s")


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/etc/x"), "it: permission denied (/etc/x)"),
        (OSError("systemd does not run this host"), "it: systemd does not run this host"),
        (KeyError("odd"), "it: KeyError: 'odd'"),
    ],
)
def test_whatever_a_look_meets_is_a_reason_and_no_crash(error: Exception, why: str) -> None:
    def look() -> int:
        raise error

    assert Look("it", 5, look).seen() == Unseen(why)


def test_units_are_read_and_the_flags_of_an_engine_that_does_not_run(tmp_path: Path) -> None:
    world = a_world(tmp_path, SHOWN)
    units = look_host.units(world)
    assert units["docker.socket"]["ActiveState"] == "active"
    process = look_host.process("", units, world)
    assert process == Process(arguments=("-H", "fd://", "--config-file=/srv/d.json"))
    (tmp_path / "srv").mkdir()
    (tmp_path / "srv/d.json").write_text("{}")
    assert look_engine.daemon_json(process, world).text == "{}"


def test_a_systemctl_that_hangs_is_a_reason(tmp_path: Path) -> None:
    world = a_world(tmp_path)
    seen = Look("systemd", 5, lambda: look_host.units(world)).seen()
    assert isinstance(seen, Unseen)
    assert "timed out" in seen.why


def test_an_engine_that_somebody_stopped_is_not_started_by_the_doctor(tmp_path: Path) -> None:
    reach = look_engine.reach(Endpoint(host="unix:///var/run/docker.sock"), a_world(tmp_path, SHOWN))
    assert (reach.state, reach.why) == (EngineState.STOPPED, "docker.service was stopped")


def test_a_rootless_engine_has_its_settings_at_home(tmp_path: Path) -> None:
    file = look_engine.daemon_json(Process(arguments=("--rootless",)), a_world(tmp_path))
    assert file.path == str(tmp_path / "home/.config/docker/daemon.json")
    assert look_engine.daemon_json(Process(arguments=()), a_world(tmp_path), rootless=True) == file


def test_in_a_container_nobody_knows_whether_the_engine_has_settings(tmp_path: Path) -> None:
    (tmp_path / ".dockerenv").touch()
    world = a_world(tmp_path)
    seen = Look("daemon.json", 5, lambda: look_engine.daemon_json(Process(arguments=()), world)).seen()
    assert seen == Unseen("daemon.json: this is a container, the file is on its host")


def test_the_docker_command_is_asked_where_it_looks_in_its_own_order(tmp_path: Path) -> None:
    folder = tmp_path / "home/.docker"
    meta = folder / "contexts/meta" / sha256(b"rootless").hexdigest()
    meta.mkdir(parents=True)
    ours = look_engine.DEFAULT
    assert look_engine.address(ours, a_world(tmp_path)).cli == ours
    (folder / "config.json").write_text(json.dumps({"currentContext": "rootless"}))
    assert "cannot be read" in look_engine.address(ours, a_world(tmp_path)).cli
    (meta / "meta.json").write_text(json.dumps({"Endpoints": {"docker": {"Host": "unix:///run/user/1/d.sock"}}}))
    found = look_engine.address(ours, a_world(tmp_path))
    assert (found.cli, found.cli_from) == (
        "unix:///run/user/1/d.sock",
        f"the context rootless, by {folder}/config.json",
    )
    assert look_engine.address(ours, a_world(tmp_path, DOCKER_CONTEXT="default")).cli == ours
    assert look_engine.address(ours, a_world(tmp_path, DOCKER_HOST="tcp://x:1")).cli == "tcp://x:1"


@pytest.mark.parametrize("text", ["[]", "{", '{"currentContext": 7}', '{"currentContext": null}', "\xff"])
def test_an_odd_configuration_of_the_docker_command_breaks_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "home/.docker").mkdir(parents=True)
    (tmp_path / "home/.docker/config.json").write_text(text, encoding="latin-1")
    assert look_engine.address(look_engine.DEFAULT, a_world(tmp_path)).cli


def a_device(root: Path, name: str, vendor: str, kind: str, driver: str = "") -> None:
    device = root / "sys/bus/pci/devices" / name
    device.mkdir(parents=True)
    (device / "vendor").write_text(f"{vendor}\n")
    (device / "class").write_text(f"{kind}\n")
    if driver:
        (root / "drivers" / driver).mkdir(parents=True)
        (device / "driver").symlink_to(root / "drivers" / driver)


def test_gpus_are_counted_on_the_bus_without_those_of_virtual_machines(tmp_path: Path) -> None:
    a_device(tmp_path, "0000:01:00.0", "0x10de", "0x030200", "nvidia")
    a_device(tmp_path, "0000:01:00.1", "0x10de", "0x040300")  # its sound
    a_device(tmp_path, "0000:02:00.0", "0x10de", "0x030200", "vfio-pci")
    a_device(tmp_path, "0000:03:00.0", "0x1002", "0x030000")
    (tmp_path / "proc/driver/nvidia").mkdir(parents=True)
    (tmp_path / "proc/driver/nvidia/version").write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27\n"
    )
    (tmp_path / "etc/cdi").mkdir(parents=True)
    (tmp_path / "etc/cdi/nvidia.yaml").write_text("kind: nvidia.com/gpu\n")
    (tmp_path / "etc/cdi/other.yaml").write_text("kind: vendor.com/net\n")
    nvml = FakeNvml(tmp_path / "nvml", FakeGpu())
    found = look_gpus.gpus(a_world(tmp_path, **nvml.environment))
    assert (found.on_pci_bus, found.driver, found.cdi_files) == (1, "580.65.06", ("/etc/cdi/nvidia.yaml",))
    assert not isinstance(found.devices, Unseen)
    assert len(found.devices) == 1


def test_a_driver_that_crashes_its_callers_is_a_reason(tmp_path: Path) -> None:
    nvml = FakeNvml(tmp_path / "nvml", FakeGpu())
    nvml.crashing.add("nvmlInitWithFlags")
    nvml.write()
    found = look_gpus.gpus(a_world(tmp_path, **nvml.environment))
    assert found.devices == Unseen("the NVML reader was ended by signal 11")


def test_a_bad_configuration_leaves_all_else_to_be_looked_at(tmp_path: Path) -> None:
    file = tmp_path / "shipkeeper.toml"
    file.write_text("[docker]\nhots = 3\n")
    world = a_world(tmp_path, SHIPKEEPER_DOCKER__HOST="unix:///srv/docker.sock")
    settings, name, problem = look_ourselves.configured(file, world)
    assert (settings.docker.host, name) == ("unix:///srv/docker.sock", str(file))
    assert isinstance(problem, str)
    assert 'did you mean "host"?' in problem


def with_web(root: Path, text: str) -> tuple[Seen[str], bool]:
    """Give what is said of a configuration with this web-config file, and whether its pages ask who is there."""
    (root / "web.yml").write_text(text)
    (root / "c.toml").write_text(f'[web]\nlisten = "0.0.0.0:0"\nconfig_file = "{root}/web.yml"\n')
    world = a_world(root, SHOWN)
    settings, file, problem = look_ourselves.configured(root / "c.toml", world)
    return problem, look_ourselves.ourselves(settings, file, problem, {}, world).web_protected


def test_a_web_configuration_that_keeps_the_daemon_from_starting_is_told(tmp_path: Path) -> None:
    problem, _ = with_web(tmp_path, "basic_auth_users: {ada: secret}\n")
    assert isinstance(problem, str)
    assert "no bcrypt hash" in problem


def test_pages_are_closed_by_passwords_and_not_by_any_web_configuration(tmp_path: Path) -> None:
    assert with_web(tmp_path, "http_server_config: {http2: false}\n") == ("", False)
    assert with_web(tmp_path, f"basic_auth_users: {{ada: $2y$10${'a' * 53}}}\n") == ("", True)


def looked_at(data_root: Path, root: Path, state: Path) -> Host:
    """Give the host with the filesystems that really are there, seen by an engine with this data-root."""
    with suppress(FileExistsError):
        (root / "proc").symlink_to("/proc")
    reach = Reach(state=EngineState.UP, engine=replace(ENGINE, data_root=str(data_root)))
    disks = look_disks.disks(a_world(root), reach, Unseen(""), Unseen(""), state)
    return replace(WELL, disks=disks, reach=reach)


def test_a_data_root_on_a_small_system_disk_is_found(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 40) as disk:
        (disk / "docker").mkdir()
        host = looked_at(disk / "docker", disk, tmp_path / "state")
        (finding,) = disk_checks.data_root(host)
    assert finding.level is Level.WARNING
    assert str(disk / "docker") in finding.what
    assert isinstance(host.disks, Disks)
    assert all(not target.mountpoint.startswith(str(disk)) for target in host.disks.targets)
    if host.disks.targets:  # whatever larger disks the machine of the test has
        assert any(line.startswith("sudo rsync -aHAXS --numeric-ids ") for line in finding.cure)


def test_a_disk_without_inodes_is_found(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 40, "-N", "64") as disk:
        with suppress(OSError):
            for number in range(100):
                (disk / str(number)).touch()
        (finding,) = disk_checks.inodes(looked_at(disk, tmp_path, tmp_path / "state"))
    assert (finding.level, str(disk) in finding.what) == (Level.PROBLEM, True)


def test_a_disk_that_is_full_and_one_that_nobody_can_write_to_are_found(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 40) as disk:
        with suppress(OSError), (disk / "large").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 20))
        full = list(disk_checks.disk_space(looked_at(disk, tmp_path, tmp_path / "state")))
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        read_only = list(disk_checks.disk_space(looked_at(disk, tmp_path, tmp_path / "state")))
    assert [each.level for each in full if str(disk) in each.what] == [Level.PROBLEM]
    assert any("mounted read-only" in each.what for each in read_only)


def test_blocks_kept_back_for_root_are_found(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 40_000, "-E", "lazy_itable_init=1,nodiscard", "-O", "^has_journal") as disk:
        device = subprocess.run(
            ["findmnt", "-no", "SOURCE", str(disk)], check=True, capture_output=True, text=True
        ).stdout.strip()
        subprocess.run(["tune2fs", "-m", "5", device], check=True, capture_output=True)
        (finding,) = disk_checks.reserved_blocks(looked_at(disk, tmp_path, tmp_path / "state"))
        (cure,) = finding.cure
        subprocess.run(cure.replace("sudo ", "").split(), check=True, capture_output=True)
        (after,) = disk_checks.reserved_blocks(looked_at(disk, tmp_path, tmp_path / "state"))
    assert (finding.level, device in cure) == (Level.NOTE, True)
    assert after.level is Level.OK


def test_where_an_engine_that_does_not_answer_keeps_its_data_is_read_from_its_settings(tmp_path: Path) -> None:
    reach = Reach(state=EngineState.STOPPED)
    by_flag = Process(arguments=(f"--data-root={tmp_path}",))
    disks = look_disks.disks(a_world(tmp_path), reach, by_flag, Unseen(""), tmp_path / "state")
    assert disks.data_root == str(tmp_path)
    assert any("data-root" in each.roles for each in disks.filesystems)


def test_the_folder_and_the_socket_are_told_with_owner_and_mode(tmp_path: Path) -> None:
    (tmp_path / "file").touch(mode=0o640)
    os.chown(tmp_path / "file", 65534, 6)
    seen: Any = look_host.socket_file(str(tmp_path / "file"))
    assert (seen.owner, seen.group, seen.mode) == ("nobody", "disk", 0o640)
    assert look_host.socket_file(str(tmp_path / "none")) is None
