"""Gets the programs of a real Docker Engine without installing anything: unpacked Debian packages in a cache folder."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).resolve().parents[2]

_PACKAGES = ("docker.io", "busybox-static")
_TOOLS = ("apt-get", "dpkg-deb", "tar")
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_APT_CONF = """\
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "{folder}/none";
Dir::Etc::preferencesparts "{folder}/none";
Dir::State::lists "{folder}/lists";
Dir::State::status "{folder}/status";
Dir::Cache::archives "{folder}/archives";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Debug::NoLocking "1";
"""


class Suite(StrEnum):
    """Where an engine comes from."""

    BOOKWORM = "bookworm"
    """Debian 12: Docker 20.10, the oldest that we support."""
    SID = "sid"
    """Debian unstable: the newest Docker that Debian packages, 28 or later."""
    HOST = "host"
    """The `dockerd` on this machine's PATH."""


@dataclass(frozen=True, slots=True)
class Binaries:
    """A file tree that an engine can run in: its root folder, and `dockerd` and `busybox` as paths inside of it."""

    root: Path
    dockerd: str
    busybox: str


def find(suite: Suite) -> Binaries:
    """Give the engine of a suite, fetched and unpacked first if need be. Raises `LabError`."""
    if suite is Suite.HOST:
        return _on_path()
    cache = Path(os.environ.get("SHIPKEEPER_CACHE") or REPOSITORY / ".cache") / "engine"
    root = cache / suite.value
    if not root.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(cache / f"{suite.value}.lock"):
            # another process may have unpacked it while this one waited for the lock
            if not root.is_dir():
                _unpack(suite, cache)
    return Binaries(root, "/usr/sbin/dockerd", "/bin/busybox")


def _on_path() -> Binaries:
    dockerd, busybox = shutil.which("dockerd"), shutil.which("busybox")
    if dockerd is None:
        raise LabError(
            "no dockerd on this machine's PATH\n  cure: use the suite bookworm or sid, which are unpacked on demand"
        )
    if busybox is None:
        raise LabError("no busybox on this machine to make images of\n  cure: apt-get install busybox-static")
    return Binaries(Path("/"), dockerd, busybox)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _unpack(suite: Suite, cache: Path) -> None:
    """Build the tree beside its final place and rename it: whoever finds it finds it whole."""
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        raise LabError(f"engines come from Debian packages, and this machine lacks {', '.join(missing)}")
    new, apt = cache / f"{suite.value}.new", cache / f"{suite.value}.apt"
    for remains in (new, apt):  # of a run that was killed; the lock is ours
        shutil.rmtree(remains, ignore_errors=True)
    config = _private_apt(suite, apt)
    _step(f"reading Debian's package list ({suite})", ["apt-get", "-qq", "update"], config)
    _step(
        f"fetching a Docker Engine from Debian {suite} (about 85 MB)",
        ["apt-get", "-qq", "-y", "--download-only", "install", *_PACKAGES],
        config,
    )
    # packages of suites with a merged /usr unpack through these links
    for name in ("bin", "sbin", "lib", "lib64"):
        (new / "usr" / name).mkdir(parents=True)
        (new / name).symlink_to(f"usr/{name}")
    for package in sorted((apt / "archives").glob("*.deb")):
        _extract(package, new)
    for name in ("proc", "sys", "dev", "tmp", "run", "etc"):
        (new / name).mkdir(exist_ok=True)
    new.rename(cache / suite.value)
    shutil.rmtree(apt)


def _private_apt(suite: Suite, folder: Path) -> Path:
    """Write an apt configuration of its own; an empty dpkg status makes apt resolve everything down to libc."""
    for name in ("lists/partial", "archives/partial", "none"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    (folder / "sources.list").write_text(f"deb [signed-by={_KEYRING}] {_mirror()} {suite} main\n")
    config = folder / "apt.conf"
    config.write_text(_APT_CONF.format(folder=folder))
    return config


def _mirror() -> str:
    """Give the Debian mirror that this machine's own apt is set up with."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--no-release-info", "--format", "$(COMPONENT) $(RELEASE) $(SITE)"],
        check=False,
        capture_output=True,
        text=True,
    ).stdout
    codename = _codename()
    for line in listed.splitlines():
        component, release, site = line.split(" ", 2)
        # a mirror may have any address, and a machine on "stable" names no codename: either sign will do
        if component == "main" and (release == codename or site.endswith("/debian")):
            return site
    raise LabError(
        "this machine's apt knows no Debian mirror, so no engine can be fetched\n"
        "  cure: run on Debian 12 or later; or fill SHIPKEEPER_CACHE with the .cache of a machine that could"
    )


def _codename() -> str:
    lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    fields = dict(line.split("=", 1) for line in lines if "=" in line)
    # other distributions have a "main" too, but not Debian's packages
    return fields.get("VERSION_CODENAME", "") if fields.get("ID") == "debian" else ""


def _step(what: str, command: list[str], apt_config: Path) -> None:
    print(f"lab: {what}", file=sys.stderr, flush=True)
    environment = {**os.environ, "APT_CONFIG": str(apt_config), "LC_ALL": "C"}
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise LabError(f"failed while {what}: {' '.join(command)}\n{(done.stdout + done.stderr).strip()}")


def _extract(package: Path, root: Path) -> None:
    reader = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE)
    with reader:
        writer = ["tar", "-x", "--keep-directory-symlink", "-C", str(root)]
        unpacked = subprocess.run(writer, stdin=reader.stdout, check=False, capture_output=True, text=True)
    if reader.returncode or unpacked.returncode:
        raise LabError(f"could not unpack {package.name}; is the disk full?\n{unpacked.stderr.strip()}")


def main(names: list[str]) -> int:
    """Make the engines of the suites named ready, and say where they lie; 0, or 1 with the reason."""
    try:
        for name in names:
            print(f"lab: engine {name} is in {find(Suite(name)).root}", flush=True)
    except (LabError, ValueError) as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
