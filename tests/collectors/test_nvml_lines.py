from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.gpu_facts import Gpu, GpuFault, GpuProcess, GpuProcessKind, GpuReadings
from collectors.nvml_lines import LineError, Listing, Refusal, read_line

GPU = {"index": 0, "uuid": "GPU-1", "readings": {}, "mig": False, "instances": [], "processes": []}
SAMPLE = {"driver_version": "580", "listening_since": None, "gpus": [GPU], "xids": []}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def told(**changes: object) -> bytes:
    return json.dumps({**SAMPLE, "gpus": [{**GPU, **changes}]}).encode()


def test_a_sample_is_read() -> None:
    gpu = Gpu(uuid="GPU-1", index=0, readings=GpuReadings(), processes=())
    assert read_line(json.dumps(SAMPLE).encode()) == Listing(
        driver_version="580", listening_since=None, gpus=(gpu,), xids=()
    )


def test_a_refusal_is_read() -> None:
    assert read_line(b'{"error":18,"why":"mismatch"}') == Refusal(18, "mismatch")


def test_a_gpu_that_failed_on_the_way_shows_nothing_of_what_was_read_before() -> None:
    said = read_line(told(fault="lost", processes=[[1, "compute", 5, 0, None, None]]))
    assert isinstance(said, Listing)
    assert said.gpus == (Gpu(uuid="GPU-1", index=0, fault=GpuFault.LOST),)


def test_a_process_is_what_this_line_says_of_it() -> None:
    process = GpuProcess(pid=1, kind=GpuProcessKind.COMPUTE, memory_bytes=5, sm_ratio=0.0)
    lines = {
        (1, "compute", 5, 0, None, None): process,
        (1, "compute", 5, 1, None, None): replace(process, sm_ratio=0.01),
        (1, "compute", 6, 0, None, None): replace(process, memory_bytes=6),
        (1, "mps", 5, 0, 0, None): replace(process, kind=GpuProcessKind.MPS, gpu_instance_id=0),
        (1, "compute", 5, 0, 0, 1): replace(process, gpu_instance_id=0, compute_instance_id=1),
    }
    for line, meant in [*lines.items(), *lines.items()]:
        said = read_line(told(processes=[line]))
        assert isinstance(said, Listing)
        assert said.gpus[0].processes == (meant,)


@pytest.mark.parametrize(
    "odd", [[True, "compute", 5, 1, None, None], [1.0, "compute", 5, 1, None, None], [1, [], 5, 1, None, None]]
)
def test_what_only_equals_a_process_that_was_told_is_an_error(odd: list[object]) -> None:
    read_line(told(processes=[[1, "compute", 5, 1, None, None]]))
    with pytest.raises(LineError):
        read_line(told(processes=[odd]))


def test_an_action_that_only_a_newer_driver_knows_is_not_told() -> None:
    said = read_line(told(readings={"recovery_action": 99}))
    assert isinstance(said, Listing)
    assert said.gpus[0].readings == GpuReadings()


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b"{}", id="no fields"),
        pytest.param(b'{"error":"x","why":""}', id="an error in words"),
        pytest.param(b"\xff", id="no UTF-8"),
        pytest.param(b"[" * 100_000, id="nested too deep"),
        pytest.param(told(index="0"), id="an index in words"),
        pytest.param(told(index=True), id="a yes as index"),
        pytest.param(told(fault="gone"), id="an unknown fault"),
        pytest.param(told(readings={"utilisation": 1}), id="an unknown reading"),
        pytest.param(told(readings={"power_watts": "70"}), id="a reading in words"),
        pytest.param(told(readings={"ecc_errors": {"corrected": 1}}), id="ECC errors without their kinds"),
        pytest.param(told(processes=[[1, "compute", 5, 0, None]]), id="a process too short"),
        pytest.param(told(processes=[[1, "idle", 5, 0, None, None]]), id="a process of an unknown sort"),
        pytest.param(told(instances=[{"uuid": "MIG-1"}]), id="an instance without its figures"),
    ],
)
def test_a_line_that_no_reader_of_this_build_writes_is_an_error(line: bytes) -> None:
    with pytest.raises(LineError):
        read_line(line)


@settings(max_examples=50)
@given(st.dictionaries(st.sampled_from([*SAMPLE, "error", "why"]), VALUES), VALUES, VALUES)
def test_no_line_does_worse_than_an_error(value: dict[str, object], gpu: object, reading: object) -> None:
    for each in (value, {**SAMPLE, "gpus": [gpu]}, {**SAMPLE, "gpus": [{**GPU, "readings": {"power_watts": reading}}]}):
        with suppress(LineError):
            read_line(json.dumps(each).encode())
