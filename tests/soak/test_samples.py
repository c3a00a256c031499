"""A soak judges what grows in us, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench.figures import MIB
from tests.soak.samples import Sample, verdict

if TYPE_CHECKING:
    from collections.abc import Callable

HALF_AN_HOUR = range(0, 1801, 10)


def soak(own_mib: Callable[[int], float], others_mib: Callable[[int], float] = lambda _: 5.0) -> str:
    """Give the verdict on the slope of a soak in which memory went so, by the second."""
    samples = [
        Sample(
            at=float(at),
            pss_bytes=int((own_mib(at) + others_mib(at)) * MIB),
            own_bytes=int(own_mib(at) * MIB),
            descriptors=20,
            threads=13,
            database_bytes=MIB,
            cycles=at,
            lives=2 * at,
        )
        for at in HALF_AN_HOUR
    ]
    return next(figure.verdict for figure in verdict(samples, 3000) if "slope" in figure.name)


def test_memory_that_grows_by_more_than_a_mebibyte_in_ten_minutes_is_missed() -> None:
    assert soak(lambda at: 60 + 1.1 * at / 600) == "missed"
    assert soak(lambda at: 60 + 0.9 * at / 600) == "met"


def test_what_fills_up_in_the_first_ten_minutes_is_not_judged() -> None:
    assert soak(lambda at: 50 + min(at, 600) / 60) == "met"


def test_our_part_of_the_files_that_others_let_go_of_is_no_growth_of_ours() -> None:
    assert soak(lambda _: 60.0, others_mib=lambda at: 3 + 6 * at / 1800) == "met"
