from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from collectors.disk import Filesystems, Measurement

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1 << 20


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """Mount a filesystem of 8 MiB with 100 inodes and give its mount point."""
    point = tmp_path / "small"
    point.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,nr_inodes=100", "shipkeeper-test", str(point)], check=True)
    yield point
    subprocess.run(["umount", str(point)], check=True)


def test_a_filesystem_is_measured_where_it_is_mounted(small: Path) -> None:
    (small / "docker").mkdir()
    (small / "docker" / "layer").write_bytes(bytes(2 * MIB))
    [filesystem] = Filesystems(lambda: {"data-root": small / "docker"}).measure().filesystems
    assert filesystem.mountpoint == str(small)
    assert filesystem.device == small.stat().st_dev
    assert filesystem.size_bytes == 8 * MIB
    assert filesystem.used_bytes == 2 * MIB
    assert filesystem.available_bytes == 6 * MIB
    assert filesystem.inodes == 100
    assert filesystem.inodes_free == 97


def test_paths_on_one_filesystem_are_one_entry_with_all_roles(small: Path, tmp_path: Path) -> None:
    paths = {"data-root": small, "os-root": tmp_path, "state": small}
    roles = [filesystem.roles for filesystem in Filesystems(lambda: paths).measure().filesystems]
    assert roles == [("data-root", "state"), ("os-root",)]


def test_a_link_leads_to_the_filesystem_behind_it(small: Path, tmp_path: Path) -> None:
    (tmp_path / "docker").symlink_to(small)
    [filesystem] = Filesystems(lambda: {"data-root": tmp_path / "docker"}).measure().filesystems
    assert filesystem.mountpoint == str(small)


def test_a_missing_path_is_an_error_and_the_others_are_measured(tmp_path: Path) -> None:
    missing = tmp_path / "not there"
    measured = Filesystems(lambda: {"data-root": missing, "os-root": tmp_path}).measure()
    assert measured.errors == {"data-root": f"{missing}: No such file or directory"}
    assert [filesystem.roles for filesystem in measured.filesystems] == [("os-root",)]


def test_a_path_that_need_not_be_there_is_no_error(tmp_path: Path) -> None:
    paths = {"containerd-root": tmp_path / "missing", "os-root": tmp_path}
    measured = Filesystems(lambda: paths, optional=frozenset({"containerd-root"})).measure()
    assert [filesystem.roles for filesystem in measured.filesystems] == [("os-root",)]
    assert measured.errors == {}


class StuckPath(type(Path())):  # type: ignore[misc]  # the concrete class depends on the platform
    """A path on a filesystem that does not answer until `answer` is written to."""

    asked, answer = os.pipe()

    def resolve(self, *, strict: bool = False) -> Path:
        """Hang as a dead network filesystem does."""
        os.read(self.asked, 1)
        return Path(str(self)).resolve(strict=strict)


def test_a_filesystem_that_hangs_costs_itself_only_and_is_back_once_it_answers(tmp_path: Path) -> None:
    stuck = StuckPath(tmp_path)
    filesystems = Filesystems(lambda: {"data-root": stuck, "os-root": Path("/")}, patience=0.05)
    for _ in range(2):
        measured = filesystems.measure()
        assert [filesystem.roles for filesystem in measured.filesystems] == [("os-root",)]
        assert "has not answered" in measured.errors["data-root"]
    os.write(stuck.answer, b"1")
    assert "data-root" in measured_until_whole(filesystems).filesystems[0].roles
    os.close(stuck.answer)
    os.close(stuck.asked)


def measured_until_whole(filesystems: Filesystems) -> Measurement:
    while (measured := filesystems.measure()).errors:
        pass
    return measured
