from __future__ import annotations

import os
import re
import subprocess
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import pytest

from collectors.facts import EngineState
from daemon.doctor.catalogue import CHECKS, examine
from daemon.doctor.facts import Host, Process, Target, TextFile, Unseen
from daemon.doctor.finding import Level
from daemon.doctor.report import as_json, explained, lines, wrong
from tests.daemon.doctor.cases import CASES, Case
from tests.daemon.doctor.hosts import (
    GIB,
    WELL,
    a_container,
    a_filesystem,
    settings,
    with_disks,
    with_engine,
    with_gpus,
    with_ours,
    without_engine,
)
from tests.daemon.doctor.troubleshooting import PAGE, page

if TYPE_CHECKING:
    from pathlib import Path

    from daemon.doctor.facts import Seen

JUDGES = {check.name: check.judge for check in CHECKS}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.check}-{case.what[:40]}-{case.cure[:30]}")
def test_each_fault_is_told_with_its_cure(case: Case) -> None:
    found = [each for each in JUDGES[case.check](case.host) if case.what in each.what]
    (finding,) = found
    assert finding.level is case.level
    assert any(case.cure in line for line in finding.cure) if case.cure else not finding.cure


def test_every_check_finds_something_wrong_somewhere() -> None:
    assert {case.check for case in CASES} == set(JUDGES)


def test_a_good_host_has_nothing_to_be_told() -> None:
    results = list(examine(WELL))
    assert {each.finding.level for each in results} == {Level.OK}
    assert [line.text for line in lines(WELL, results)] == [
        "doctor on gpu-host-2 · Docker 28.5.2 at unix:///var/run/docker.sock · nothing is wrong",
        "",
        f"{len(results)} things looked at and well",
    ]


def test_what_cannot_be_seen_is_never_called_well() -> None:
    blind: dict[str, Any] = {
        field.name: Unseen("this user may not look")
        for field in fields(Host)
        if field.name in {"socket", "units", "process", "daemon_json", "containers", "disks", "gpus"}
    }
    host = replace(without_engine(EngineState.DENIED, "permission denied"), **blind)
    told = {each.check.name: each.finding.level for each in examine(host)}
    for check in ("daemon-json", "disk-space", "inodes", "data-root", "reserved-blocks", "engine-exposed"):
        assert told[check] is Level.UNSEEN
    for check in ("gpu-driver", "gpu-runtime", "gpu-cdi", "gpu-containers", "service-access", "socket-activation"):
        assert told[check] is Level.UNSEEN
    for check in ("log-rotation", "build-cache", "live-restore", "storage-driver", "engine-age", "cgroup-version"):
        assert told[check] is Level.UNSEEN


def test_the_worst_comes_first_and_among_equals_what_matters_most() -> None:
    host = replace(
        with_engine({"LoggingDriver": "json-file"}, live_restore=False), clock=replace(WELL.clock, synchronized=False)
    )
    told = [(each.check.name, each.finding.level) for each in examine(host) if each.finding.level is not Level.OK]
    assert told == [("log-rotation", Level.WARNING), ("clock", Level.WARNING), ("live-restore", Level.NOTE)]


def test_a_note_is_not_wrong_and_a_warning_is() -> None:
    assert not wrong(list(examine(with_engine(live_restore=False))))
    assert wrong(list(examine(with_engine(storage_driver="devicemapper"))))


def test_the_document_for_programs_holds_every_finding() -> None:
    results = list(examine(with_engine(live_restore=False)))
    document = as_json(results)
    assert document["ok"] is True
    assert len(document["findings"]) == len(results)
    assert {each["status"] for each in document["findings"]} == {"ok", "note"}
    (note,) = [each for each in document["findings"] if each["status"] == "note"]
    assert note["check"] == "live-restore"
    assert note["why"].startswith("Each upgrade of Docker")
    assert note["cure"][-1] == "sudo systemctl reload docker"


def test_a_finding_is_told_as_what_why_and_lines_to_paste() -> None:
    host = with_engine(live_restore=False)
    script = "import json,sys; f=sys.argv[1]; d=json.load(open(f)); d.update(json.loads(sys.argv[2])); "
    script += 'open(f,"w").write(json.dumps(d,indent=2)+chr(10))'
    assert [line.text for line in lines(host, list(examine(host)))][2:6] == [
        "note      live-restore is off: containers are stopped with the engine  [live-restore]",
        "  why     Each upgrade of Docker, which may come by itself, is an outage of everything otherwise.",
        "  cure    sudo cp -p /etc/docker/daemon.json /etc/docker/daemon.json.before",
        f"          sudo python3 -c '{script}' /etc/docker/daemon.json '{{\"live-restore\": true}}'",
    ]


def test_what_could_not_be_seen_is_told_once_for_each_reason() -> None:
    host = without_engine(EngineState.HUNG, "Docker is hung")
    told = [line.text for line in lines(host, list(examine(host))) if line.text.startswith("not seen")]
    assert len(told) == len(set(told)) == 1
    assert "[log-rotation, storage-driver," in told[0]


def test_names_cannot_colour_or_forge_what_is_printed() -> None:
    forged = "x\n\x1b[31m\u202e"
    host = replace(
        with_ours(config_problem=forged, listen=f"{forged}:9817", port_holder=forged, status=None),
        name=forged,
        daemon_json=TextFile(path=forged, text='{"\\u001b[31m\\n": 1}'),
        units={"shipkeeper.service": {"LoadState": "loaded", "User": forged, "ActiveState": forged}},
    )
    printed = "".join(line.text for line in lines(host, list(examine(host))))
    assert not set(printed) & {"\n", "\x1b", "\u202e"}


def test_a_check_explains_itself() -> None:
    (inodes,) = [check for check in CHECKS if check.name == "inodes"]
    assert [line.text for line in explained(inodes)] == [
        "inodes: how many more files those filesystems can hold",
        "Without an inode every new file fails with `no space left on device`, on a disk that shows room.",
    ]


@pytest.mark.parametrize(
    "file",
    [Unseen("daemon.json: permission denied (/etc/docker/daemon.json)"), settings('{"data-root": "/data/docker"')],
    ids=["unreadable", "broken"],
)
def test_settings_that_nobody_could_read_are_never_written_anew(file: Seen[TextFile]) -> None:
    sick = with_engine({"LoggingDriver": "json-file"}, live_restore=False, storage_driver="vfs", version="20.10.24")
    host = replace(sick, daemon_json=file, containers=(a_container("web", log_driver="json-file"),))
    lines = [line for each in examine(host) for line in each.finding.cure]
    assert not [line for line in lines if "tee" in line or "python3" in line]
    assert '# add to what stands there: "live-restore": true' in lines


ROOTLESS = replace(
    with_engine(
        {"LoggingDriver": "json-file", "SecurityOptions": ["name=seccomp", "name=rootless"]}, live_restore=False
    ),
    address=replace(WELL.address, ours="unix:///run/user/1000/docker.sock"),
    daemon_json=TextFile(path="/home/ada/.config/docker/daemon.json", text=None),
)
SNAP = replace(
    with_engine({"LoggingDriver": "json-file"}, live_restore=False, data_root="/var/snap/docker/common/var-lib-docker"),
    units={},
    process=Process(arguments=("--group", "docker"), pid=4711),
)
BY_HAND = replace(
    with_engine({"LoggingDriver": "json-file"}, live_restore=False), process=Process(arguments=(), pid=4711)
)
FAR = replace(
    with_engine({"LoggingDriver": "json-file"}, live_restore=False),
    address=replace(WELL.address, ours="tcp://build:2376"),
    daemon_json=Unseen("the engine is on another host"),
    containers=(a_container("web", log_driver="json-file"),),
)


@pytest.mark.parametrize(
    ("host", "restart"),
    [
        (ROOTLESS, "systemctl --user restart docker   # without live-restore this restarts all containers"),
        (SNAP, "sudo snap restart docker   # without live-restore this restarts all containers"),
        (BY_HAND, "# restart it by what started it"),
        (FAR, "# restart it there"),
    ],
    ids=["rootless", "snap", "by hand", "on another host"],
)
def test_an_engine_that_is_not_the_systems_service_is_left_alone_by_it(host: Host, restart: str) -> None:
    full = with_disks(
        a_filesystem("/", "os-root", "data-root", size=40 * GIB),
        data_root="/var/lib/docker",
        targets=(Target(mountpoint="/data", size_bytes=1000 * GIB, available_bytes=900 * GIB),),
    )
    lines = [line for each in examine(replace(host, disks=full.disks)) for line in each.finding.cure]
    assert restart in lines
    assert not [
        line for line in lines if not line.startswith("#") and re.search("systemctl [a-z]+ docker|/mv | mv ", line)
    ]


@pytest.mark.parametrize(
    ("address", "level"),
    [
        ("0.0.0.0:2375", Level.PROBLEM),
        ("[::]:2375", Level.PROBLEM),
        ("tcp://10.0.0.7:2375", Level.PROBLEM),
        ("tcp://:2375", Level.WARNING),
        (":2375", Level.WARNING),
        ("[::1]:2375", Level.WARNING),
        ("tcp://", Level.WARNING),
        ("unix://", Level.OK),
        ("fd://", Level.OK),
    ],
)
def test_an_address_is_read_as_the_engine_reads_it(address: str, level: Level) -> None:
    host = replace(WELL, process=Process(arguments=("-H", address), pid=612))
    assert [each.level for each in JUDGES["engine-exposed"](host)] == [level]


@pytest.mark.parametrize("reached", [WELL.address.ours, "tcp://10.0.0.7:2375"], ids=["here", "on another host"])
def test_an_open_port_that_only_the_engine_tells_of_is_found(reached: str) -> None:
    told = (
        "[DEPRECATION NOTICE]: API is accessible on http://0.0.0.0:2375 without encryption.\n         Access to it is"
    )
    unseen = Unseen("nobody may look")
    host = replace(
        with_engine({"Warnings": [told]}),
        process=unseen,
        daemon_json=unseen,
        socket=unseen,
        address=replace(WELL.address, ours=reached),
    )
    (finding,) = JUDGES["engine-exposed"](host)
    assert finding.level is Level.PROBLEM
    assert finding.what.startswith("the engine listens at tcp://0.0.0.0:2375 without verifying who asks")


def test_a_cure_that_is_pasted_whole_neither_reboots_nor_undoes_itself() -> None:
    lines = [line for case in CASES for each in examine(case.host) for line in each.finding.cure]
    typed = [line.partition("   #")[0] for line in lines if not line.startswith("#")]
    assert not [line for line in typed if "reboot" in line or "…" in line or line.endswith("stop docker.socket")]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('GRUB_CMDLINE_LINUX=""\n', 'GRUB_CMDLINE_LINUX="systemd.unified_cgroup_hierarchy=1 "\n'),
        (
            'GRUB_CMDLINE_LINUX_DEFAULT="quiet systemd.unified_cgroup_hierarchy=0"\nGRUB_CMDLINE_LINUX="splash"\n',
            'GRUB_CMDLINE_LINUX_DEFAULT="quiet"\nGRUB_CMDLINE_LINUX="systemd.unified_cgroup_hierarchy=1 splash"\n',
        ),
        (
            'GRUB_CMDLINE_LINUX="systemd.unified_cgroup_hierarchy=0 console=tty0"\n',
            'GRUB_CMDLINE_LINUX="systemd.unified_cgroup_hierarchy=1  console=tty0"\n',
        ),
    ],
)
def test_the_word_for_the_old_control_groups_goes_wherever_it_stands(tmp_path: Path, before: str, after: str) -> None:
    (finding,) = JUDGES["cgroup-version"](with_engine(cgroup_version="1"))
    file = tmp_path / "grub"
    file.write_text(before)
    _, _, rest = finding.cure[0].partition(" -i -E ")
    assert rest
    line = f"sed -i -E {rest.replace('/etc/default/grub', str(file))}"
    for _ in range(2):  # typed twice it does not stand there twice
        subprocess.run(line, shell=True, check=True)  # noqa: S602  as a person pastes it
        assert file.read_text().split() == after.split()


def on_a_small_disk(data_root: str, available: int) -> Host:
    target = Target(mountpoint="/data", size_bytes=1000 * GIB, available_bytes=available)
    small = a_filesystem("/", "os-root", "data-root", size=40 * GIB)
    return with_disks(small, data_root=data_root, targets=(target,))


def test_no_disk_is_named_that_what_is_on_the_old_one_may_not_fit_on() -> None:
    (finding,) = JUDGES["data-root"](on_a_small_disk("/var/lib/docker", 2 * GIB))
    assert finding.cure[0].startswith("lsblk ")
    (finding,) = JUDGES["data-root"](on_a_small_disk("/var/lib/docker", 41 * GIB))
    assert finding.cure[0] == "# to /data, where 41.0 GiB are left"


def test_of_an_engine_that_remaps_users_the_folder_is_moved_that_it_is_told() -> None:
    remapped = with_engine({"SecurityOptions": ["name=seccomp,profile=builtin", "name=userns"]}).reach
    host = replace(on_a_small_disk("/var/lib/docker/100000.100000", 900 * GIB), reach=remapped)
    (finding,) = JUDGES["data-root"](host)
    assert "sudo mv /var/lib/docker /var/lib/docker.old" in finding.cure
    assert any(line.endswith("""'{"data-root": "/data/docker"}'""") for line in finding.cure)
    assert any(line.endswith("# prints /data/docker/100000.100000") for line in finding.cure)


def test_a_rootless_engines_settings_are_written_by_its_user() -> None:
    (finding,) = JUDGES["log-rotation"](ROOTLESS)
    assert finding.cure[:2] == (
        "mkdir -p /home/ada/.config/docker",
        """echo '{"log-driver": "local"}' | tee /home/ada/.config/docker/daemon.json""",
    )


@pytest.mark.parametrize(
    ("socket", "cure"),
    [
        ("/run/user/1000/docker.sock", "systemctl --user restart docker"),
        ("/srv/docker.sock", "# it is not docker.service"),
    ],
)
@pytest.mark.parametrize("state", [EngineState.STOPPED, EngineState.CRASHED, EngineState.HUNG])
def test_another_engine_that_is_down_is_not_the_systems(state: EngineState, socket: str, cure: str) -> None:
    host = without_engine(state, "down", address=replace(WELL.address, ours=f"unix://{socket}", configured=True))
    (finding,) = JUDGES["engine-reachable"](host)
    assert finding.cure[0].startswith(cure)
    assert not [line for line in finding.cure if "docker.service" in line and not line.startswith("#")]


def test_what_a_flag_sets_is_changed_there_and_the_rest_in_the_file() -> None:
    process = Process(arguments=("--storage-opt", "dm.basesize=20G"), pid=612)
    host = replace(with_engine(storage_driver="devicemapper"), process=process, daemon_json=settings(None))
    (finding,) = JUDGES["storage-driver"](host)
    assert finding.cure[1:5] == (
        "sudo systemctl edit --full docker.service",
        "# a flag of dockerd sets storage-opts there: let it say []",
        "sudo mkdir -p /etc/docker",
        """echo '{"storage-driver": "overlay2"}' | sudo tee /etc/docker/daemon.json""",
    )


def test_logs_that_a_flag_bounds_are_bounded() -> None:
    flags = ("--log-driver=json-file", "--log-opt", "max-size=10m", "--log-opt=max-file=3")
    host = replace(
        with_engine({"LoggingDriver": "json-file"}),
        daemon_json=settings(None),
        process=Process(arguments=flags, pid=612),
    )
    assert [each.level for each in JUDGES["log-rotation"](host)] == [Level.OK]


def test_a_key_that_is_only_too_new_is_not_said_to_be_misspelt() -> None:
    told = JUDGES["daemon-json"](
        replace(with_engine(version="20.10.24"), daemon_json=settings('{"log-format": "json"}'))
    )
    assert [each.what.partition(": ")[2] for each in told] == ['"log-format": unknown to an engine as old as this one']


@pytest.mark.parametrize(
    ("host", "how"),
    [
        (with_gpus(on_pci_bus=1, driver="580.65", toolkit="/usr/bin/nvidia-container-runtime-hook"), "NVIDIA's hook"),
        (replace(with_engine(runtimes=("runc", "nvidia")), gpus=with_gpus(on_pci_bus=1).gpus), "the runtime nvidia"),
        (with_gpus(on_pci_bus=1, cdi_files=("/etc/cdi/nvidia.yaml",)), "CDI"),
    ],
)
def test_each_way_in_which_containers_get_gpus_will_do(host: Host, how: str) -> None:
    (finding,) = JUDGES["gpu-runtime"](host)
    assert (finding.level, finding.what) == (Level.OK, f"the engine gives containers GPUs by {how}")


def test_the_page_of_troubleshooting_is_what_the_checks_say() -> None:
    if os.environ.get("GOLDEN") == "write":
        PAGE.write_text(page())
    assert PAGE.read_text() == page()
