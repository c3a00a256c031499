"""Gets the programs that the lab runs without installing anything: Debian packages unpacked into a cache folder."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
    TRIXIE = "trixie"
    """Debian 13: Docker 26.1, between the two; only the proof of an upgrade needs it."""
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
    root = cached(f"engine/{suite}", lambda new: _unpack_engine(suite, new))
    return Binaries(root, "/usr/sbin/dockerd", "/bin/busybox")


def prometheus() -> Path:
    """Give the Prometheus server, this machine's or one unpacked. Raises `LabError`."""
    installed = shutil.which("prometheus")
    return Path(installed) if installed else cached("prometheus", _unpack_prometheus) / "usr/bin/prometheus"


def alertmanager() -> Path:
    """Give the tree of Alertmanager's package, unpacked: the server wants its templates at their place. `LabError`."""
    return cached("alertmanager", _unpack_alertmanager)


def promtool() -> Path:
    """Give Prometheus' own checker of metrics, which comes with it. Raises `LabError`."""
    return prometheus().with_name("promtool")


def cache() -> Path:
    """Give the folder of what the lab keeps from one run to the next."""
    return Path(os.environ.get("SHIPKEEPER_CACHE") or REPOSITORY / ".cache").absolute()


def _on_path() -> Binaries:
    dockerd, busybox = shutil.which("dockerd"), shutil.which("busybox")
    if dockerd is None:
        raise LabError(
            "no dockerd on this machine's PATH\n  cure: use the suite bookworm or sid, which are unpacked on demand"
        )
    if busybox is None:
        raise LabError("no busybox on this machine to make images of\n  cure: apt-get install busybox-static")
    return Binaries(Path("/"), dockerd, busybox)


def cached(name: str, make: Callable[[Path], None]) -> Path:
    """
    Give the folder of this name in the cache, made first if need be.

    It is made beside its final place and renamed: whoever finds it finds it whole, and of two processes that
    want it at once the second waits for the first.
    """
    folder = cache() / name
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            new = folder.with_suffix(".new")
            shutil.rmtree(new, ignore_errors=True)  # of a run that was killed
            new.mkdir()
            make(new)
            new.rename(folder)
    return folder


def _unpack_engine(suite: Suite, root: Path) -> None:
    # packages of suites with a merged /usr unpack through these links
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    what = f"fetching a Docker Engine of Debian {suite} (about 85 MB)"
    with _private_apt(suite) as apt:
        apt.get(what, "--yes", "--download-only", "install", *_PACKAGES)
        for package in apt.archives():
            _extract(package, root)
    for name in ("proc", "sys", "dev", "tmp", "run", "etc"):
        (root / name).mkdir(exist_ok=True)


def _unpack_prometheus(root: Path) -> None:
    with _private_apt(Suite.BOOKWORM) as apt:
        apt.get("fetching Prometheus of Debian bookworm (about 40 MB)", "download", "prometheus")
        for package in apt.archives():
            _extract(package, root, "./usr/bin/prometheus", "./usr/bin/promtool")


def _unpack_alertmanager(root: Path) -> None:
    with _private_apt(Suite.BOOKWORM) as apt:
        apt.get("fetching Alertmanager of Debian bookworm (about 10 MB)", "download", "prometheus-alertmanager")
        for package in apt.archives():
            _extract(package, root, "./usr/bin/prometheus-alertmanager", "./usr/share/prometheus")


_SERVERS = {"prometheus": prometheus, "alertmanager": alertmanager}


@dataclass(frozen=True, slots=True)
class _Apt:
    """An apt with lists, archives and configuration of its own: it neither reads nor changes what is installed."""

    folder: Path

    def get(self, what: str, *arguments: str) -> None:
        """Run one apt-get command, named on the screen as `what`. Raises `LabError` with apt's own words."""
        print(f"lab: {what}", file=sys.stderr, flush=True)
        done = subprocess.run(
            ["apt-get", "--quiet=2", *arguments],
            cwd=self.folder / "archives",  # where `download` puts what it fetches
            env={**os.environ, "APT_CONFIG": str(self.folder / "apt.conf"), "LC_ALL": "C"},
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise LabError(f"failed while {what}: apt-get {' '.join(arguments)}\n{(done.stdout + done.stderr).strip()}")

    def archives(self) -> list[Path]:
        """List the packages fetched."""
        return sorted((self.folder / "archives").glob("*.deb"))


@contextmanager
def _private_apt(suite: Suite) -> Iterator[_Apt]:
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        raise LabError(f"engines come from Debian packages, and this machine lacks {', '.join(missing)}")
    with tempfile.TemporaryDirectory(prefix="shipkeeper-apt-") as temporary:
        folder = Path(temporary)
        for name in ("lists/partial", "archives/partial", "none"):
            (folder / name).mkdir(parents=True)
        (folder / "status").touch()  # nothing is installed: apt resolves everything down to libc
        (folder / "sources.list").write_text(f"deb [signed-by={_KEYRING}] {mirror()} {suite} main\n")
        (folder / "apt.conf").write_text(_APT_CONF.format(folder=folder))
        apt = _Apt(folder)
        apt.get(f"reading the package list of Debian {suite}", "update")
        yield apt


def mirror() -> str:
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


def _extract(package: Path, root: Path, *members: str) -> None:
    reader = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE)
    with reader:
        writer = ["tar", "-x", "--keep-directory-symlink", "-C", str(root), *members]
        unpacked = subprocess.run(writer, stdin=reader.stdout, check=False, capture_output=True, text=True)
    if reader.returncode or unpacked.returncode:
        raise LabError(f"could not unpack {package.name}; is the disk full?\n{unpacked.stderr.strip()}")


def main(names: list[str]) -> int:
    """Make the engines of these suites ready, or the servers of these names, and say where; 0, or 1 with the reason."""
    try:
        for name in names:
            place = _SERVERS[name]() if name in _SERVERS else find(Suite(name)).root
            print(f"lab: {name} is in {place}", flush=True)
    except (LabError, ValueError) as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
