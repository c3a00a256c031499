"""The doctor on a host whose system disk is small, which holds Docker's data as well, beside larger disks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.doctor_under_test import doctor
from tests.lab.binaries import Suite
from tests.lab.disks import make_small_disk, small_disk
from tests.lab.engine import PrivateEngine

if TYPE_CHECKING:
    from pathlib import Path

SYSTEM = """
cd "$1"
for each in /*; do
    if [ -L "$each" ]; then
        cp --no-dereference "$each" .
    elif [ -d "$each" ]; then
        mkdir --parents ".$each"
        mount --rbind "$each" ".$each"
    fi
done
mount -o loop "$2" var/log
shift 2
exec chroot . "$@"
"""
"""Makes the disk at `$1` the system's, and the one in `$2` that of its logs, for the rest of the line alone."""


@pytest.mark.slow
def test_a_data_root_on_a_small_system_disk_is_to_move_to_the_disk_that_is_made_for_data(tmp_path: Path) -> None:
    logs, large = tmp_path / "logs.img", tmp_path / "large"
    make_small_disk(logs, 16 << 10)
    with PrivateEngine(Suite.SID, data_root_image_mb=2048) as engine, small_disk(large, 8 << 10):
        inside = ("unshare", "--mount", "sh", "-ec", SYSTEM, "system", str(engine.data_root), str(logs))
        [told] = doctor(engine.docker_host, tmp_path, inside=inside).of("data-root")
    assert told["status"] == "warn"
    assert f"Docker's data-root {engine.data_root} lies on the system's disk" in told["what"]
    lines = "\n".join(told["cure"])
    # The disk of the logs has more room, and folders that are mounted from other disks have more still.
    assert f"{large}/docker" in lines
    # systemd did not start this engine: its units would stop nothing.
    assert "stop it by what started it" in lines
    assert "systemctl" not in lines
