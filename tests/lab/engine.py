"""A private Docker Engine: a real dockerd with everything of its own, of which nothing is left afterwards."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import docker

from tests.lab import binaries
from tests.lab.binaries import REPOSITORY, Suite
from tests.lab.errors import LabError
from tests.lab.images import IMAGE, busybox_tar
from tests.lab.namespace import MountNamespace
from tests.lab.sweep import cgroup_parent, sweep
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

_START_SECONDS = 30.0
_STOP_SECONDS = 30.0


class PrivateEngine:
    """
    A context manager around one dockerd with its own socket, data-root, exec-root and mount namespace.

    It has no bridge and touches neither iptables nor sysctls. Everything lies in `folder`, which it makes and
    deletes. With `data_root_image_mb` the data-root is an ext4 file system of that size. When the block
    ends, in whatever way, and even when this process is killed, all of it goes: processes, mounts, loop
    devices, cgroups, files.
    """

    def __init__(
        self,
        suite: Suite = Suite.BOOKWORM,
        *,
        folder: Path | None = None,
        arguments: Sequence[str] = (),
        data_root_image_mb: int | None = None,
    ) -> None:
        self.suite = suite
        self.folder = folder or Path(tempfile.gettempdir()) / f"shipkeeper-lab-{uuid.uuid4().hex[:8]}"
        self.socket = self.folder / "docker.sock"
        self.docker_host = f"unix://{self.socket}"
        self.data_root = self.folder / "data"
        self.cgroup_parent = cgroup_parent(self.folder)
        self._arguments = tuple(arguments)
        self._image_mb = data_root_image_mb
        self._binaries: binaries.Binaries | None = None
        self._janitor: subprocess.Popen[bytes] | None = None
        self._namespace: MountNamespace | None = None
        self._dockerd: subprocess.Popen[bytes] | None = None
        self._api: docker.APIClient | None = None

    def __enter__(self) -> Self:
        self._binaries = found = binaries.find(self.suite)
        self.folder.mkdir(parents=True)
        try:
            self._janitor = self._hire_janitor()
            self.data_root.mkdir()
            (self.folder / "root").mkdir()
            (self.folder / "daemon.json").write_text("{}")
            if self._image_mb is not None:
                self._mount_data_root(self._image_mb)
            self._namespace = MountNamespace(found.root, self.folder, found.busybox)
            self._namespace.open()
            self.start()
            self.import_image(IMAGE)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
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
        """Start dockerd, also after `stop` or `kill`; returns once it answers. Raises `LabError` with its last words."""
        if self._namespace is None or self._binaries is None:
            raise LabError("enter the engine's context before starting it")
        if self._dockerd is not None:
            raise LabError(f"the engine in {self.folder} runs already")
        with self._log.open("ab") as log:
            self._dockerd = dockerd = self._namespace.spawn(self._command(self._binaries.dockerd), log)
        wait_until(lambda: dockerd.poll() is not None or self._listens(), "dockerd to listen", _START_SECONDS)
        if dockerd.poll() is not None:
            self._dockerd = None
            raise LabError(f"dockerd ended with {dockerd.returncode}; its last words:\n{self.log_tail()}")
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
        """Let dockerd hang (SIGSTOP): it accepts connections and answers nothing."""
        self._running().send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """End `freeze`."""
        self._running().send_signal(signal.SIGCONT)

    def recover(self) -> None:
        """Bring dockerd back to answering, whatever a test has done to it."""
        if self._dockerd is not None:
            self.thaw()
        if self._dockerd is None or self._dockerd.poll() is not None:
            self._dockerd = None
            self.start()

    def log_tail(self, lines: int = 20) -> str:
        """Give the last lines of dockerd's log."""
        return "\n".join(self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])

    def import_image(self, reference: str, padding: bytes = b"") -> str:
        """Import a busybox image under a reference and give its id; the image that bore it before is left dangling."""
        assert self._binaries is not None
        busybox = self._binaries.root / self._binaries.busybox.lstrip("/")
        repository, _, tag = reference.partition(":")
        self.api.import_image_from_data(busybox_tar(busybox, padding), repository=repository, tag=tag or "latest")
        return str(self.api.inspect_image(reference)["Id"])

    def create(
        self,
        command: str | Sequence[str],
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
        created = self.api.create_container(command=command, name=name, host_config=host, **settings)
        return str(created["Id"])

    def run(
        self,
        command: str | Sequence[str],
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
        """Remove all containers and volumes, and all images but busybox."""
        for container in self.api.containers(all=True, quiet=True):
            self.api.remove_container(container["Id"], force=True, v=True)
        for volume in self.api.volumes()["Volumes"] or []:
            self.api.remove_volume(volume["Name"], force=True)
        for image in self.api.images():
            if IMAGE not in (image["RepoTags"] or []):
                self.api.remove_image(image["Id"], force=True)

    def close(self) -> None:
        """End the engine at once and remove everything it had; harmless when repeated. Raises `LabError` if something stays."""
        if self._api is not None:
            self._api.close()
            self._api = None
        sweep(self.folder)
        if self._dockerd is not None:
            self._dockerd.wait()
            self._dockerd = None
        if self._namespace is not None:
            self._namespace.close()
            self._namespace = None
        if self._janitor is not None:
            self._janitor.communicate(b"swept\n")
            self._janitor = None

    @property
    def _log(self) -> Path:
        return self.folder / "dockerd.log"

    def _running(self) -> subprocess.Popen[bytes]:
        if self._dockerd is None:
            raise LabError(f"the engine in {self.folder} does not run")
        return self._dockerd

    def _end(self, how: signal.Signals) -> None:
        dockerd = self._running()
        dockerd.send_signal(how)
        dockerd.wait(_STOP_SECONDS)
        self._dockerd = None

    def _command(self, dockerd: str) -> list[str]:
        return [
            dockerd,
            f"--host={self.docker_host}",
            f"--data-root={self.data_root}",
            "--exec-root=/run/docker",  # the namespace's own /run; a short path, as sockets need it
            f"--pidfile={self.folder / 'docker.pid'}",
            f"--config-file={self.folder / 'daemon.json'}",
            f"--cgroup-parent={self.cgroup_parent}",
            "--bridge=none",
            "--iptables=false",
            "--ip-forward=false",
            "--ip-masq=false",
            *self._arguments,
        ]

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(str(self.socket)) == 0

    def _hire_janitor(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.lab.sweep", str(self.folder)]
        return subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, start_new_session=True)

    def _mount_data_root(self, size_mb: int) -> None:
        image = self.folder / "disk.img"
        with image.open("wb") as file:
            file.truncate(size_mb * 2**20)
        for command in (["mkfs.ext4", "-q", "-F", "-m", "0", image], ["mount", "-o", "loop", image, self.data_root]):
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            if done.returncode != 0:
                raise LabError(f"no small file system for the data-root: {done.stderr.strip()}\n  cure: run as root, with loop devices")
