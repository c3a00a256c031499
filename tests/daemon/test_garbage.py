from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING

import pytest

from daemon.garbage import keep_what_is_there, look_through_all

if TYPE_CHECKING:
    from collections.abc import Iterator


class Knot:
    """Refers to itself."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Leave the collector as it was."""
    yield
    gc.unfreeze()
    gc.enable()


def test_what_became_garbage_after_it_was_kept_apart_goes_with_the_next_look() -> None:
    knot = Knot()
    gone = weakref.ref(knot)
    keep_what_is_there()
    del knot
    gc.collect()
    assert gone() is not None
    look_through_all()
    assert gone() is None


def test_what_is_there_is_kept_apart() -> None:
    look_through_all()
    frozen = gc.get_freeze_count()
    knots = [Knot() for _ in range(1000)]
    assert gc.get_freeze_count() == frozen
    look_through_all()
    assert gc.get_freeze_count() >= frozen + len(knots)
