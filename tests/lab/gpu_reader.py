"""The NVML reader at a fake driver: a real process, whose lines are read as the daemon reads them."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from collectors.nvml_lines import Line, Listing, read_line
from daemon.gpu_child import NvmlChild
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.lab.nvml import FakeNvml

INTERVAL = timedelta(milliseconds=200)
PATIENCE = timedelta(seconds=30)


@contextmanager
def reader(nvml: FakeNvml, interval: timedelta = INTERVAL) -> Iterator[NvmlChild]:
    """Run a reader at this driver; leaving the block ends it."""
    child = NvmlChild(interval, nvml.environment)
    try:
        yield child
    finally:
        child.end()
        wait_until(child.gone, "the end of the NVML reader")


def next_line(child: NvmlChild) -> Line:
    """Give what the reader says next."""
    line = child.line(PATIENCE)
    assert line is not None, "the reader is silent"
    return read_line(line)


def next_listing(child: NvmlChild, fits: Callable[[Listing], object] = lambda _: True) -> Listing:
    """Give the next sample that fits."""
    for _ in range(100):
        said = next_line(child)
        assert isinstance(said, Listing), said
        if fits(said):
            return said
    raise AssertionError(f"no sample fits; the last one was {said}")


def one_listing(nvml: FakeNvml) -> Listing:
    """Give the first sample of a fresh reader."""
    with reader(nvml) as child:
        return next_listing(child)
