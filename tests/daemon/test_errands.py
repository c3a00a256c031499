from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from daemon.errands import Errand
from tests.fakes.clock import FakeClock
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    import pytest


class Work:
    """Waits until it is let go, and counts."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.go = threading.Event()
        self.count = 0
        self.fails = False

    def __call__(self) -> None:
        """Work once."""
        self.count += 1
        self.begun.release()
        assert self.go.wait(30)
        if self.fails:
            raise RuntimeError("no luck")


def test_one_that_is_still_away_is_not_sent_again() -> None:
    work = Work()
    errand = Errand("slow", work, FakeClock())
    errand.run()
    assert work.begun.acquire(timeout=10)
    errand.run()
    errand.run()
    assert work.count == 1
    work.go.set()
    assert wait_until(lambda: sent_again(errand, work), "the errand to be back")


def sent_again(errand: Errand, work: Work) -> bool:
    errand.run()
    return work.begun.acquire(timeout=0.05)


def test_one_that_fails_is_logged_and_sent_again(caplog: pytest.LogCaptureFixture) -> None:
    work = Work()
    work.fails = True
    work.go.set()
    errand = Errand("slow", work, FakeClock())
    errand.run()
    assert work.begun.acquire(timeout=10)
    assert wait_until(lambda: sent_again(errand, work), "the errand to be sent again")
    assert "slow failed" in caplog.messages
    assert (errand.last_success, errand.failures >= 1) == (None, True)
