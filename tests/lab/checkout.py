"""Copies of this project's sources, as somebody would unpack them, today's and those of an earlier commit."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from typing import TYPE_CHECKING

from tests.lab.binaries import REPOSITORY
from tests.lab.errors import LabError
from tests.lab.wheels import packages_for

if TYPE_CHECKING:
    from pathlib import Path

PACKAGES = ("collectors", "policies", "daemon")
_GUEST = ("__init__.py", "lab/__init__.py", "lab/waiting.py", "lab/guest")
_FILES = ("pyproject.toml", "uv.lock", "README.md", "LICENSE")


def of_today(place: Path) -> Path:
    """Copy what is in the working tree, as far as an installation needs it, and give the place."""
    for name in (*PACKAGES, "deploy"):
        shutil.copytree(REPOSITORY / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in _FILES:
        shutil.copy(REPOSITORY / name, place)
    return place


def for_debian_13(place: Path) -> None:
    """Lay our packages and `site`, what they need of others, into a folder, for the Python of Debian 13."""
    for name in PACKAGES:
        shutil.copytree(REPOSITORY / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(packages_for("3.13", "x86_64-manylinux_2_28"), place / "site")
    about = place / "site/shipkeeper-0.dist-info"  # an installed program knows its version
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: shipkeeper\nVersion: 0\n")


def for_guest(place: Path) -> None:
    """Lay what tests run inside of a virtual machine into a folder, where it is imported as `tests.lab.guest`."""
    for name in _GUEST:
        there = place / "tests" / name
        there.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (REPOSITORY / "tests" / name).is_dir() else shutil.copy)(REPOSITORY / "tests" / name, there)


def putting_it_to_use(place: Path) -> str:
    """Give a script of sh that makes the command `shipkeeper` of what `for_debian_13` laid into `place`."""
    return f"""
    mkdir -p /usr/local/lib/python3.13/dist-packages
    printf '{place}\\n{place}/site\\n' > /usr/local/lib/python3.13/dist-packages/shipkeeper.pth
    mkdir -p /opt/shipkeeper/bin
    printf '#!/bin/sh\\nexec python3 -P -m daemon.cli "$@"\\n' > /opt/shipkeeper/bin/shipkeeper
    chmod 755 /opt/shipkeeper/bin/shipkeeper
    """


def of_before(place: Path) -> Path:
    """Copy the newest commit whose program differs from the working tree, for today's installer, and give the place."""
    for commit in _git("rev-list", "--first-parent", "--max-count=100", "HEAD").decode().split():
        same = subprocess.run(
            ["git", "diff", "--quiet", commit, "--", *PACKAGES, "pyproject.toml"], cwd=REPOSITORY, check=False
        )
        if same.returncode == 0:
            continue
        with tarfile.open(fileobj=io.BytesIO(_git("archive", commit, *PACKAGES, *_FILES))) as archive:
            archive.extractall(place, filter="data")
        shutil.copytree(REPOSITORY / "deploy", place / "deploy")
        return place
    raise LabError("no commit before this one is known\n  cure: git fetch --unshallow")


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=REPOSITORY, check=True, capture_output=True).stdout
