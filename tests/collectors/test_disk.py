from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from collectors.disk import Filesystems, Measurement, Place
from tests.lab.disks import fail, small_disk

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
    [filesystem] = Filesystems(lambda: [Place("data-root", small / "docker")]).measure().filesystems
    assert filesystem.mountpoint == str(small)
    assert filesystem.device == small.stat().st_dev
    assert filesystem.size_bytes == 8 * MIB
    assert filesystem.used_bytes == 2 * MIB
    assert filesystem.available_bytes == 6 * MIB
    assert filesystem.inodes == 100
    assert filesystem.inodes_free == 97


def test_paths_on_one_filesystem_are_one_entry_with_all_roles(small: Path, tmp_path: Path) -> None:
    places = [Place("data-root", small), Place("os-root", tmp_path), Place("state", small)]
    roles = [filesystem.roles for filesystem in Filesystems(lambda: places).measure().filesystems]
    assert roles == [("data-root", "state"), ("os-root",)]


def test_a_link_leads_to_the_filesystem_behind_it(small: Path, tmp_path: Path) -> None:
    (tmp_path / "docker").symlink_to(small)
    [filesystem] = Filesystems(lambda: [Place("data-root", tmp_path / "docker")]).measure().filesystems
    assert filesystem.mountpoint == str(small)


def test_a_missing_path_is_an_error_and_the_others_are_measured(tmp_path: Path) -> None:
    missing = tmp_path / "not there"
    measured = Filesystems(lambda: [Place("data-root", missing), Place("os-root", tmp_path)]).measure()
    assert measured.errors == {"data-root": f"{missing}: No such file or directory"}
    assert [filesystem.roles for filesystem in measured.filesystems] == [("os-root",)]


class StuckPath(type(Path())):  # type: ignore[misc]  # the concrete class depends on the platform
    """A path on a filesystem that does not answer until `answer` is written to."""

    asked, answer = os.pipe()

    def resolve(self, *, strict: bool = False) -> Path:
        """Hang as a dead network filesystem does."""
        os.read(self.asked, 1)
        return Path(str(self)).resolve(strict=strict)


def test_a_filesystem_that_hangs_costs_itself_only_and_is_back_once_it_answers(tmp_path: Path) -> None:
    stuck = StuckPath(tmp_path)
    places = [Place("data-root", stuck), Place("os-root", Path("/"))]
    filesystems = Filesystems(lambda: places, patience=0.05)
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


@pytest.fixture
def countless(tmp_path: Path) -> Iterator[Path]:
    """Mount a filesystem that counts no inodes, as btrfs does not, and give its mount point."""
    point = tmp_path / "countless"
    point.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,nr_inodes=0", "shipkeeper-test", str(point)], check=True)
    yield point
    subprocess.run(["umount", str(point)], check=True)


def test_a_filesystem_without_an_inode_count_has_none_free_and_none_used(countless: Path) -> None:
    [filesystem] = Filesystems(lambda: [Place("data-root", countless)]).measure().filesystems
    assert (filesystem.inodes, filesystem.inodes_free) == (None, None)


def test_a_filesystem_that_turned_read_only_says_so(small: Path) -> None:
    filesystems = Filesystems(lambda: [Place("data-root", small)])
    assert not filesystems.measure().filesystems[0].read_only
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    assert filesystems.measure().filesystems[0].read_only


def test_an_ext4_that_met_an_error_says_so_though_new_kernels_call_it_writable(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 16, "-e", "remount-ro") as point:
        filesystems = Filesystems(lambda: [Place("data-root", point)])
        assert filesystems.measure().filesystems[0].read_only is False
        fail(point)
        assert filesystems.measure().filesystems[0].read_only
        with pytest.raises(OSError, match="Read-only file system"):
            (point / "file").touch()


def test_a_data_root_that_was_unmounted_lies_on_the_filesystem_below(tmp_path: Path) -> None:
    point = tmp_path / "data"
    point.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "shipkeeper-test", str(point)], check=True)
    filesystems = Filesystems(lambda: [Place("data-root", point)])
    [mounted] = filesystems.measure().filesystems
    subprocess.run(["umount", str(point)], check=True)
    [below] = filesystems.measure().filesystems
    assert mounted.mountpoint == str(point)
    assert below.mountpoint != str(point)
    assert below.device == tmp_path.stat().st_dev


def test_of_several_paths_the_first_that_exists_counts(small: Path, tmp_path: Path) -> None:
    place = Place("containerd-root", tmp_path / "missing", (small, tmp_path))
    [filesystem] = Filesystems(lambda: [place]).measure().filesystems
    assert filesystem.mountpoint == str(small)


def test_a_path_that_need_not_be_there_is_no_error(tmp_path: Path) -> None:
    measured = Filesystems(lambda: [Place("containerd-root", tmp_path / "missing", optional=True)]).measure()
    assert measured == Measurement((), {})


def test_a_volume_is_named_only_where_it_has_a_filesystem_to_itself(small: Path, tmp_path: Path) -> None:
    places = [Place("os-root", tmp_path), Place("volume", tmp_path), Place("volume", small)]
    roles = [filesystem.roles for filesystem in Filesystems(lambda: places).measure().filesystems]
    assert roles == [("os-root",), ("volume",)]


def test_a_mount_that_is_read_only_for_us_alone_does_not_make_the_filesystem_so(small: Path) -> None:
    subprocess.run(["mount", "-o", "remount,bind,ro", str(small)], check=True)
    [filesystem] = Filesystems(lambda: [Place("data-root", small)]).measure().filesystems
    assert filesystem.read_only is False


class ForbiddenPath(type(Path())):  # type: ignore[misc]  # the concrete class depends on the platform
    """A path below a folder that we may not look into; root may look into every one."""

    def resolve(self, *, strict: bool = False) -> Path:
        """Be refused."""
        if strict:
            raise PermissionError(13, "Permission denied", str(self))
        return Path(str(self))


def test_where_we_may_not_look_the_place_named_instead_counts(small: Path) -> None:
    shut = ForbiddenPath(small / "volumes")
    measured = Filesystems(lambda: [Place("volumes", shut, if_forbidden=small)]).measure()
    assert [filesystem.mountpoint for filesystem in measured.filesystems] == [str(small)]
    assert measured.errors == {}
    measured = Filesystems(lambda: [Place("volumes", shut, (small,))]).measure()
    assert measured == Measurement((), {"volumes": f"{shut}: Permission denied"})


def test_a_link_to_itself_is_an_error_of_its_role(tmp_path: Path) -> None:
    path = tmp_path / "loop"
    path.symlink_to(path)
    measured = Filesystems(lambda: [Place("data-root", path)]).measure()
    assert (measured.filesystems, measured.errors) == ((), {"data-root": f"{path}: Too many levels of symbolic links"})
