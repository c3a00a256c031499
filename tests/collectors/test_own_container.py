"""In a container the kernel tells which one it is; on the host it tells none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from collectors.own_container import own_container_id

if TYPE_CHECKING:
    from pathlib import Path

ID = "4f" * 32
ON_THE_HOST = "24 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n25 24 0:22 / /proc rw - proc proc rw\n"
MOUNTED = (
    f"512 500 8:1 /var/lib/docker/containers/{ID}/resolv.conf /etc/resolv.conf rw - ext4 /dev/sda1 rw\n"
    f"513 500 8:1 /var/lib/docker/containers/{ID}/hostname /etc/hostname rw - ext4 /dev/sda1 rw\n"
)


@pytest.mark.parametrize(
    ("mountinfo", "cgroup", "expected"),
    [
        (MOUNTED, "0::/\n", ID),
        (ON_THE_HOST, f"12:memory:/docker/{ID}\n0::/system.slice\n", ID),
        (ON_THE_HOST, f"0::/system.slice/docker-{ID}.scope\n", ID),
        (ON_THE_HOST, "0::/system.slice/shipkeeper.service\n", ""),
        # The host sees the mounts of its containers under other places.
        (f"90 24 0:50 / /var/lib/docker/containers/{ID}/mounts/shm rw - tmpfs shm rw\n", "0::/\n", ""),
        ("", "", ""),
    ],
)
def test_the_container_is_found_by_its_mounts_or_its_cgroup(
    tmp_path: Path, mountinfo: str, cgroup: str, expected: str
) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "mountinfo").write_text(mountinfo)
    (tmp_path / "self" / "cgroup").write_text(cgroup)
    assert own_container_id(tmp_path) == expected


def test_without_proc_there_is_no_answer(tmp_path: Path) -> None:
    assert own_container_id(tmp_path) == ""
