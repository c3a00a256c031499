"""The pages of hosts with GPUs, as they are to look."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from collectors import dcgm, families, gpu_containers, gpu_targets
from collectors import gpu_families as gpu_families_module
from collectors.dcgm import dcgm_families
from collectors.families import render
from collectors.gpu_containers import container_gpu_families
from collectors.gpu_facts import Gpus, Xid
from collectors.gpu_families import gpu_families
from collectors.gpu_use import share
from policies.xids import XID_WORDS
from tests.fakes.clock import NOW
from tests.fakes.gpu_hosts import GpuHost, a_split_one, eight_gpus, gpu_page, one_lost_of_two
from tests.fakes.gpus import a_gpu, a_process, a_sample, a_split_gpu
from tests.policies.build import container

if TYPE_CHECKING:
    from collections.abc import Sequence

GOLDEN = Path(__file__).parent.parent / "golden"
HOSTS = {
    "gpus-8-with-20-processes": lambda: eight_gpus(containers=4),
    "gpu-split-by-mig": a_split_one,
    "gpus-2-one-lost": one_lost_of_two,
}


def text(host: GpuHost) -> str:
    return render(gpu_page(host)).decode()


@pytest.mark.parametrize("name", HOSTS)
def test_the_page_of_a_host_is_the_golden_one(name: str) -> None:
    page, golden = text(HOSTS[name]()), GOLDEN / f"{name}.txt"
    if os.environ.get("GOLDEN") == "write":
        golden.write_text(page)
    assert page == golden.read_text()


@pytest.mark.parametrize("name", HOSTS)
def test_promtool_has_nothing_to_say_of_our_own_names(name: str) -> None:
    ours = render(family for family in gpu_page(HOSTS[name]()) if family.name.startswith("shipkeeper_"))
    checked = subprocess.run(["promtool", "check", "metrics"], input=ours, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


def test_no_page_shows_what_an_earlier_one_left_behind() -> None:
    before = a_split_one()
    [gpu], [first, second] = before.gpus.devices, before.containers
    assert gpu.readings is not None
    changes: list[GpuHost] = [
        GpuHost(replace(before.gpus, driver_version="999"), before.containers),
        GpuHost(before.gpus, (replace(first, name="another"), second)),
        GpuHost(before.gpus, (replace(first, gpu_requests=second.gpu_requests), second)),
        *(
            GpuHost(replace(before.gpus, devices=(changed,)), before.containers)
            for changed in (
                replace(gpu, index=5),
                replace(gpu, instances=gpu.instances[::-1]),
                replace(gpu, xids=(Xid(xid=79, count=1, last_at=NOW),)),
                replace(gpu, xids=(Xid(xid=79, count=2, last_at=NOW),)),
                replace(gpu, readings=replace(gpu.readings, throttle_reasons=frozenset({"idle"}))),
                replace(gpu, readings=replace(gpu.readings, ecc_errors={("corrected", "volatile"): 4})),
            )
        ),
    ]
    fresh = []
    for host in changes:
        forget_everything()
        fresh.append(text(host))
    assert len({text(before), *fresh}) == len(fresh) + 1, "a change does not show at all"
    for host, page in zip(changes, fresh, strict=True):
        text(before)
        assert text(host) == page


def forget_everything() -> None:
    for module in (families, gpu_families_module, gpu_containers, gpu_targets, dcgm):
        for each in vars(module).values():
            if hasattr(each, "cache_clear"):
                each.cache_clear()


def test_no_series_stands_twice_where_compute_instances_share_a_gpu_instance() -> None:
    split = a_split_gpu(0)
    first = replace(split.instances[0], profile="1c.3g.40gb")
    second = replace(first, uuid="MIG-another", compute_instance_id=1)
    page = text(GpuHost(Gpus(devices=(replace(split, instances=(first, second, split.instances[1])),)), ()))
    series = [line.rpartition(" ")[0] for line in page.splitlines() if not line.startswith("#")]
    assert len(set(series)) == len(series)
    used = [line for line in series if line.startswith("DCGM_FI_DEV_FB_USED")]
    assert [line.partition("GPU_I_PROFILE=")[2] for line in used] == [
        '"3g.40gb",GPU_I_ID="1"}',
        '"3g.40gb",GPU_I_ID="2"}',
    ]


def test_no_series_names_a_process() -> None:
    assert "pid=" not in text(eight_gpus(containers=4))


def test_of_a_lost_gpu_nothing_is_told_but_that_it_is_lost_and_who_asked_for_it() -> None:
    lost = {line.partition("{")[0] for line in text(one_lost_of_two()).splitlines() if 'gpu="1"' in line}
    assert lost == {
        "shipkeeper_gpu_up",
        "shipkeeper_gpu_info",
        "shipkeeper_gpu_xid_errors_total",
        "shipkeeper_gpu_xid_last_timestamp_seconds",
        "shipkeeper_container_gpu_requested",
        "DCGM_FI_DEV_XID_ERRORS",
    }


def test_a_host_without_gpus_has_no_series() -> None:
    nothing = Gpus()
    assert not [
        *gpu_families(nothing),
        *container_gpu_families(nothing, [container()]),
        *dcgm_families(nothing, "h", {}),
    ]


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        ((), 'err_code="0",err_msg="No Error"} 0'),
        (((13, 2), (79, 1)), 'err_code="79",err_msg="the GPU has fallen off the bus"} 79'),
        (((4711, 1),), 'err_code="4711",err_msg="Unknown Error"} 4711'),
    ],
    ids=["none", "the last of two", "a number that nobody knows"],
)
def test_dcgms_xid_series_says_the_last_error_in_words(seen: Sequence[tuple[int, int]], told: str) -> None:
    xids = tuple(Xid(xid=code, count=1, last_at=NOW - timedelta(minutes=ago)) for code, ago in seen)
    page = render(dcgm_families(Gpus(devices=(replace(a_gpu(0), xids=xids),)), "h", XID_WORDS)).decode()
    [series] = [line for line in page.splitlines() if line.startswith("DCGM_FI_DEV_XID_ERRORS{")]
    assert series.endswith(told)


def test_where_processes_cannot_be_matched_it_says_so_and_shows_no_zero() -> None:
    sample = a_sample(a_gpu(0, a_process(1)))
    shares = share(sample, None, [])
    blind = Gpus(devices=sample.gpus, use=shares.use, held=shares.held, attributable=False)
    shown = {family.name: list(family.samples) for family in gpu_families(blind)}
    assert shown["shipkeeper_gpu_attribution_available"] == [("", False)]
    assert shown["shipkeeper_gpu_host_memory_bytes"] == shown["shipkeeper_gpu_unattributed_memory_bytes"] == []
