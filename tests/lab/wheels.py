"""Our dependencies, as locked, for the Python of another machine."""

from __future__ import annotations

import hashlib
import subprocess
from typing import TYPE_CHECKING

from tests.lab.binaries import REPOSITORY, cached
from tests.lab.errors import LabError

if TYPE_CHECKING:
    from pathlib import Path

_UV = REPOSITORY / ".cache/uv/bin/uv"
_LOCK = REPOSITORY / "uv.lock"


def packages_for(python: str, platform: str) -> Path:
    """Give a folder for PYTHONPATH, filled first if need be: `packages_for("3.13", "x86_64-manylinux_2_28")`."""
    digest = hashlib.sha256(_LOCK.read_bytes()).hexdigest()[:12]
    return cached(
        f"wheels/python-{python.replace('.', '-')}-{digest}", lambda folder: _install(folder, python, platform)
    )


def locked(*selection: str) -> str:
    """Give the packages of the lock with their hashes, as pip reads them."""
    return _uv("export", "--frozen", "--no-emit-project", "--no-header", "--no-annotate", *selection)


def download(folder: Path, python: str) -> None:
    """Fetch the packages of an installation, those that build it included, for this machine's kind and a Python."""
    for name in ("requirements.txt", "requirements-build.txt"):
        wanted = ("--require-hashes", "--only-binary", ":all:", "--python-version", python, "--dest", str(folder))
        command = [str(_UV.with_name("pip")), "download", "--quiet", *wanted, "--requirement", f"deploy/{name}"]
        done = subprocess.run(command, cwd=REPOSITORY, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            raise LabError(f"pip could not fetch the packages: {done.stderr.strip()}")


def _install(folder: Path, python: str, platform: str) -> None:
    locked = _uv("export", "--locked", "--no-dev", "--no-emit-project", "--no-hashes")
    wanted = ("--python-version", python, "--python-platform", platform, "--only-binary", ":all:")
    _uv("pip", "install", "--target", str(folder), *wanted, "--requirement", "-", given=locked)


def _uv(*arguments: str, given: str = "") -> str:
    try:
        command = [str(_UV), "--quiet", *arguments]
        return subprocess.run(command, cwd=REPOSITORY, input=given, check=True, capture_output=True, text=True).stdout
    except FileNotFoundError as error:
        raise LabError(f"{_UV} is missing\n  cure: make setup") from error
    except subprocess.CalledProcessError as error:
        raise LabError(f"uv {arguments[0]} failed: {error.stderr.strip()}") from error
