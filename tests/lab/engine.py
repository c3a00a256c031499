"""A private Docker Engine: a real dockerd with everything of its own, of which nothing is left afterwards."""

from __future__ import annotations

import http
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import docker

from tests.lab import binaries
from tests.lab.binaries import REPOSITORY, Suite
from tests.lab.disks import mount_small_disk
from tests.lab.errors import LabError
from tests.lab.gpu_runtime import pretend_gpus
from tests.lab.images import IMAGE, busybox_tar
from tests.lab.namespace import MountNamespace
from tests.lab.sweep import MARK, cgroup_parent, sweep
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

_START_SECONDS = 30.0
_STOP_SECONDS = 30.0
_CONTAINERD_TOML = """\
version = 2
root = {root}
state = "/run/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = {address}
"""


class PrivateEngine:
    """
    A context manager around one dockerd with its own socket, data-root, exec-root, mount namespace and containerd.

    As on a real host containerd is a process beside dockerd, and outlives its death. There is no bridge, and
    neither iptables nor sysctls are touched. Everything lies in `folder`, which it makes and
    deletes. With `data_root_image_mb` the data-root is an ext4 file system of that size, with `data_root_inodes` in it;
    with `containerd_image_mb` containerd's root is another one, to which the data-root only links. When the block
    ends, in whatever way, and even when this process is killed, all of it goes: processes, mounts, loop
    devices, cgroups, files. With `gpus` it gives containers that ask for one of so many GPUs what they ask for,
    which is nothing. `settings` stand in its `daemon_json`, a file that a test may change between two starts.
    """

    def __init__(  # noqa: PLR0913  each is a way in which hosts differ
        self,
        suite: Suite = Suite.BOOKWORM,
        *,
        folder: Path | None = None,
        arguments: Sequence[str] = (),
        data_root_image_mb: int | None = None,
        data_root_inodes: int | None = None,
        containerd_image_mb: int | None = None,
        gpus: int = 0,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.suite = suite
        self.folder = folder or Path(tempfile.gettempdir()) / f"shipkeeper-lab-{uuid.uuid4().hex[:8]}"
        self.socket = self.folder / "docker.sock"
        self.docker_host = f"unix://{self.socket}"
        self.data_root = self.folder / "data"
        self.cgroup_parent = cgroup_parent(self.folder)
        self.bond: Mapping[str, str] = {MARK: str(self.folder)}
        """An environment variable: a program that carries it is killed when the engine's remains are swept away."""
        self.daemon_json = self.folder / "daemon.json"
        self._arguments = tuple(arguments)
        self._settings = dict(settings or {})
        self._image_mb = data_root_image_mb
        self._inodes = data_root_inodes
        self._containerd_mb = containerd_image_mb
        self.containerd_root = self.folder / "containerd" if containerd_image_mb else self.data_root / "containerd"
        self._gpus = gpus
        self._binaries: binaries.Binaries | None = None
        self._janitor: subprocess.Popen[bytes] | None = None
        self._namespace: MountNamespace | None = None
        self._containerd: subprocess.Popen[bytes] | None = None
        self._dockerd: subprocess.Popen[bytes] | None = None
        self._api: docker.APIClient | None = None

    def __enter__(self) -> Self:
        found = binaries.find(self.suite)
        self.folder.mkdir(parents=True)
        try:
            self._janitor = self._hire_janitor()
            self.data_root.mkdir()
            self.daemon_json.write_text(json.dumps(self._settings))
            (self.folder / "root").mkdir()
            if self._image_mb is not None:
                inodes = ["-N", str(self._inodes)] if self._inodes else []
                mount_small_disk(self.folder / "disk.img", self.data_root, self._image_mb, *inodes)
            if self._containerd_mb is not None:
                self.containerd_root.mkdir()
                mount_small_disk(self.folder / "containerd.img", self.containerd_root, self._containerd_mb)
                (self.data_root / "containerd").symlink_to(self.containerd_root)
            self._board(found)
            self.start()
            self.import_image(IMAGE)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def api(self) -> docker.APIClient:
        """A client of docker-py that speaks the engine's own version, for tests to change things with."""
        if self._api is None:
            raise LabError(f"the engine in {self.folder} was not started")
        return self._api

    @property
    def pid(self) -> int:
        """The process id of dockerd. Raises `LabError` while it does not run."""
        return self._running().pid

    @property
    def root_pid(self) -> int:
        """A process in the engine's mount namespace: `nsenter --target <root_pid> --mount` leads there."""
        if self._namespace is None:
            raise LabError(f"the engine in {self.folder} was not started")
        return self._namespace.pid

    def start(self) -> None:
        """Start dockerd, also after `stop` or `kill`; returns once it answers. Raises `LabError`."""
        assert self._binaries is not None
        if self._dockerd is not None:
            raise LabError(f"the engine in {self.folder} runs already")
        self._dockerd = self._spawn("dockerd", self._dockerd_command(self._binaries.dockerd), self.socket)
        if self._api is not None:
            self._api.close()
        # dockerd listens a moment before it serves; this first request waits for it
        self._api = docker.APIClient(base_url=self.docker_host, version="auto", timeout=int(_START_SECONDS))

    def stop(self) -> None:
        """Ask dockerd to end (SIGTERM); without live-restore it stops its containers first."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill dockerd (SIGKILL): the socket file and the containers stay."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop and start dockerd."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Let dockerd hang (SIGSTOP): it accepts connections and answers nothing from now on."""
        self._running().send_signal(signal.SIGSTOP)
        # The signal stops one thread after the other: until the last one stands, an answer may still come.
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def thaw(self) -> None:
        """End `freeze`."""
        self._running().send_signal(signal.SIGCONT)

    def upgrade(self, suite: Suite) -> None:
        """
        Put another suite's programs under a stopped engine: the next `start` finds its old data-root and socket.

        Containers that outlived dockerd end: their mounts lie in the old namespace.
        """
        if self._dockerd is not None or self._containerd is None or self._namespace is None:
            raise LabError(f"stop the engine in {self.folder} before its upgrade")
        found = binaries.find(suite)
        self._containerd.terminate()
        self._containerd.wait(_STOP_SECONDS)
        self._namespace.close()
        self.suite = suite
        self._board(found)

    def recover(self) -> None:
        """Bring dockerd back to answering, whatever a test has done to it."""
        if self._dockerd is not None:
            self.thaw()
        if self._dockerd is None or self._dockerd.poll() is not None:
            self._dockerd = None
            self.start()

    def log_tail(self, program: str = "dockerd", lines: int = 20) -> str:
        """Give the last lines that dockerd, or containerd, has logged."""
        log = self.folder / f"{program}.log"
        return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])

    def import_image(
        self, reference: str, padding: bytes = b"", *, files: int = 0, labels: Mapping[str, str] | None = None
    ) -> str:
        """
        Import a busybox image under a reference and give its id; the image that bore it before is left dangling.

        So many empty `files` take inodes.
        """
        assert self._binaries is not None
        busybox = self._binaries.root / self._binaries.busybox.lstrip("/")
        repository, _, tag = reference.partition(":")
        client: Any = self.api  # half of docker-py's image calls carry no types
        changes = [f'LABEL {key}="{value}"' for key, value in (labels or {}).items()]
        client.import_image_from_data(
            busybox_tar(busybox, padding, files), repository=repository, tag=tag or "latest", changes=changes
        )
        return str(client.inspect_image(reference)["Id"])

    def build(self, dockerfile: str, *, tag: str = "", **files: bytes) -> None:
        """Build with BuildKit, which leaves records in the build cache; `files` lie beside the Dockerfile."""
        context = io.BytesIO()
        with tarfile.open(fileobj=context, mode="w") as archive:
            for name, content in {"Dockerfile": dockerfile.encode(), **files}.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
        client: Any = self.api  # docker-py itself knows the classic builder alone, which keeps no records
        answer = client.post(
            f"{client.base_url}/v{client._version}/build",
            params={"version": "2", "t": tag},
            data=context.getvalue(),
            headers={"Content-Type": "application/x-tar"},
        )
        if answer.status_code != http.HTTPStatus.OK or '"error"' in answer.text:
            raise LabError(f"the build failed: {answer.text}")

    def create(
        self,
        command: Sequence[str],
        *,
        name: str | None = None,
        config: Mapping[str, Any] | None = None,
        **host_config: Any,
    ) -> str:
        """
        Create a container without network and give its id; nothing is ever pulled.

        `config` and `host_config` take docker-py's names (`labels`, `healthcheck`; `mem_limit`,
        `restart_policy`). `config={"image": …}` runs another image than busybox.
        """
        host = self.api.create_host_config(**{"network_mode": "none", **host_config})
        settings: dict[str, Any] = {"image": IMAGE, **(config or {})}
        created = self.api.create_container(command=list(command), name=name, host_config=host, **settings)
        return str(created["Id"])

    def run(
        self,
        command: Sequence[str],
        *,
        name: str | None = None,
        config: Mapping[str, Any] | None = None,
        **host_config: Any,
    ) -> str:
        """Create a container as `create` does and start it; gives its id."""
        container = self.create(command, name=name, config=config, **host_config)
        self.api.start(container)
        return container

    def host_pid(self, container: str) -> int:
        """Give the process id of a running container's first process, as this machine counts."""
        state = self.api.inspect_container(container)["State"]
        if not state["Pid"]:
            raise LabError(f"container {container} has no process: it is {state['Status']}")
        return int(state["Pid"])

    def sentinel(self) -> str:
        """
        Cause two harmless events (a volume made and removed) and give the volume's name.

        Whoever has seen its `destroy` event has seen every event before.
        """
        name = f"sentinel-{uuid.uuid4().hex[:12]}"
        self.api.create_volume(name)
        self.api.remove_volume(name)
        return name

    def clear(self) -> None:
        """Remove all containers, volumes, networks and build cache, and all images but busybox."""
        for container in self.api.containers(all=True, quiet=True):
            self.api.remove_container(container["Id"], force=True, v=True)
        for volume in self.api.volumes()["Volumes"] or []:
            self.api.remove_volume(volume["Name"], force=True)
        for network in self.api.networks(filters={"type": "custom"}):
            self.api.remove_network(network["Id"])  # and with it a bridge of this machine
        client: Any = self.api  # half of docker-py's image calls carry no types
        client.prune_builds(all=True)
        for image in self.api.images():
            if IMAGE not in (image["RepoTags"] or []):
                self.api.remove_image(image["Id"], force=True)

    def close(self) -> None:
        """
        End the engine at once and remove everything it had; harmless when repeated.

        Raises `LabError` with what would not go.
        """
        if self._api is not None:
            self._api.close()
            self._api = None
        sweep(self.folder)
        for killed in (self._dockerd, self._containerd):
            if killed is not None:
                killed.wait()
        self._dockerd = self._containerd = None
        if self._namespace is not None:
            self._namespace.close()
            self._namespace = None
        if self._janitor is not None:
            self._janitor.communicate(b"swept\n")
            self._janitor = None

    @property
    def _containerd_socket(self) -> Path:
        return self.folder / "containerd.sock"

    def _running(self) -> subprocess.Popen[bytes]:
        if self._dockerd is None:
            raise LabError(f"the engine in {self.folder} does not run")
        return self._dockerd

    def _end(self, how: signal.Signals) -> None:
        dockerd = self._running()
        dockerd.send_signal(how)
        dockerd.wait(_STOP_SECONDS)
        self._dockerd = None

    def _board(self, found: binaries.Binaries) -> None:
        """Build a namespace around these programs, and start the containerd among them."""
        self._binaries = found
        self._namespace = MountNamespace(found.root, self.folder, found.busybox)
        self._namespace.open()
        if self._gpus:
            pretend_gpus(Path(f"/proc/{self._namespace.pid}/root"), found.busybox, self._gpus)
        self._containerd = self._spawn("containerd", self._containerd_command(), self._containerd_socket)

    def _spawn(self, program: str, command: list[str], listens_on: Path) -> subprocess.Popen[bytes]:
        """Start a program in the namespace and wait for its socket."""
        if self._namespace is None:
            raise LabError("enter the engine's context before starting it")
        with (self.folder / f"{program}.log").open("ab") as log:
            process = self._namespace.spawn(command, log)
        try:
            wait_until(lambda: process.poll() is not None or _listens(listens_on), program, _START_SECONDS)
        except BaseException:
            process.kill()
            process.wait()
            raise
        if process.poll() is not None:
            raise LabError(f"{program} ended with {process.returncode}; its last words:\n{self.log_tail(program)}")
        return process

    def _containerd_command(self) -> list[str]:
        config = self.folder / "containerd.toml"
        root, address = json.dumps(str(self.containerd_root)), json.dumps(str(self._containerd_socket))
        config.write_text(_CONTAINERD_TOML.format(root=root, address=address))
        return ["containerd", f"--config={config}"]

    def _dockerd_command(self, dockerd: str) -> list[str]:
        return [
            dockerd,
            f"--host={self.docker_host}",
            f"--containerd={self._containerd_socket}",
            f"--data-root={self.data_root}",
            "--exec-root=/run/docker",  # the namespace's own /run; a short path, as sockets need it
            f"--pidfile={self.folder / 'docker.pid'}",
            f"--config-file={self.daemon_json}",  # else the host's own, if it has one
            f"--cgroup-parent={self.cgroup_parent}",
            "--bridge=none",
            "--iptables=false",
            "--ip-forward=false",
            "--ip-masq=false",
            *self._arguments,
        ]

    def _hire_janitor(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.lab.sweep", str(self.folder)]
        return subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, start_new_session=True)


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0
