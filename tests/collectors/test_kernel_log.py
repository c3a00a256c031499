from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from collectors.kernel_log import LoggedXid, logged_xids, pci_address

if TYPE_CHECKING:
    from pathlib import Path

LOG = """\
6,1,1000000,-;NVRM: loading NVIDIA UNIX x86_64 Kernel Module  580.65.06
3,2,2500000,-;NVRM: Xid (PCI:0000:41:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.
 SUBSYSTEM=pci
 DEVICE=+pci:0000:41:00.0
3,3,3000000,-;NVRM: Xid (0000:01:00): 43, Ch 00000008
3,4,4000000,-;NVRM: Xid (PCI:0000:c1:00 GPU-I:05): 31, pid=5, name=python, Ch 00000002
4,5,5000000,-;a container says: Xid (PCI:0000:41:00): 48
3,6,x,-;NVRM: Xid (PCI:0000:41:00): 48, broken
"""


def test_the_xid_errors_of_the_drivers_lines_are_found(tmp_path: Path) -> None:
    log = tmp_path / "kmsg"
    log.write_text(LOG)
    assert logged_xids(log) == (
        LoggedXid(2.5, (0, 0x41, 0), 79),
        LoggedXid(3.0, (0, 1, 0), 43),
        LoggedXid(4.0, (0, 0xC1, 0), 31),
    )


def test_a_log_that_may_not_be_read_tells_nothing(tmp_path: Path) -> None:
    assert logged_xids(tmp_path / "none") == ()


def test_the_kernels_own_log_is_read_without_waiting() -> None:
    assert isinstance(logged_xids(), tuple)


@pytest.mark.parametrize("text", ["00000000:41:00.0", "0000:41:00", "0:41:0"])
def test_addresses_are_the_same_however_they_are_written(text: str) -> None:
    assert pci_address(text) == (0, 0x41, 0)


@pytest.mark.parametrize("text", ["", "x:y:z"])
def test_what_is_no_address_is_none(text: str) -> None:
    assert pci_address(text) == ()
