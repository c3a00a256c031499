"""The thread that looks after the NVML reader, at real readers and, for what no test can cause, at made-up ones."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from signal import SIGKILL
from typing import TYPE_CHECKING, Any

from collectors.facts import Known, Unknown
from collectors.gpu_facts import GpuFault, Xid
from collectors.kernel_log import LoggedXid
from daemon.clock import SystemClock
from daemon.gpu_child import NvmlChild
from daemon.gpu_watch import GpuWatch, Patience
from tests.daemon.test_gpu_roster import a_gpu
from tests.fakes.crew import a_crew
from tests.lab import nvml as fake
from tests.lab.nvml import FakeGpu, FakeNvml, FakeProcess
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from collectors.gpu_facts import Gpu

INTERVAL = timedelta(milliseconds=500)
DEADLINE = 60.0
QUICK = Patience(
    first=timedelta(seconds=30),
    absent=timedelta(milliseconds=50),
    again=(timedelta(milliseconds=50), timedelta(milliseconds=200)),
    renewed=(timedelta(milliseconds=200), timedelta(seconds=1)),
)
HOUR = timedelta(hours=1)


class Post:
    """A watch over the GPUs of a fake driver, whose readers, wake-ups and kernel log a test looks at."""

    def __init__(self, nvml: FakeNvml, patience: Patience = QUICK, interval: timedelta = INTERVAL, **more: Any) -> None:
        self.nvml = nvml
        self._interval = interval
        self.readers: list[NvmlChild] = []
        self.wakes = threading.Semaphore(0)
        self.kernel_log: tuple[LoggedXid, ...] = ()
        self.watch = GpuWatch(
            self._begin,
            lambda: self.kernel_log,
            SystemClock(),
            self.wakes.release,
            a_crew(),
            interval=interval,
            patience=patience,
            **{"driver": nvml.folder / "none", **more},
        )

    def gpus(self) -> tuple[Gpu, ...]:
        """Give the GPUs that are shown now."""
        sample = self.watch.latest
        return sample.gpus if sample else ()

    def wait_for_faults(self, *faults: GpuFault | None) -> tuple[Gpu, ...]:
        """Wait until GPUs with these faults are shown."""
        seen: tuple[Gpu, ...] = ()

        def fit() -> bool:
            nonlocal seen
            seen = self.gpus()
            return [gpu.fault for gpu in seen] == list(faults)

        wait_until(fit, f"GPUs with the faults {faults}", DEADLINE)
        return seen

    def wait_unknown(self, words: str) -> None:
        """Wait until the GPUs cannot be read, for a reason with these words."""
        wait_until(lambda: words in getattr(self.watch.source, "why", ""), f"the reason: {words}", DEADLINE)

    def _begin(self) -> NvmlChild:
        self.readers.append(NvmlChild(self._interval, {**os.environ, **self.nvml.environment}))
        return self.readers[-1]


@contextmanager
def watching(nvml: FakeNvml, patience: Patience = QUICK, interval: timedelta = INTERVAL, **more: Any) -> Iterator[Post]:
    """Watch the GPUs of a driver; in the end no reader is left, not even dead."""
    post = Post(nvml, patience, interval, **more)
    post.watch.start()
    try:
        yield post
    finally:
        post.watch.close()
    for reader in post.readers:
        assert not Path(f"/proc/{reader.pid}").exists()


def test_the_gpus_are_known_and_whoever_decides_on_them_is_woken(tmp_path: Path) -> None:
    with watching(FakeNvml(tmp_path, FakeGpu(), FakeGpu())) as post:
        post.wait_for_faults(None, None)
        assert isinstance(post.watch.source, Known)
        assert post.wakes.acquire(timeout=DEADLINE)


def test_samples_that_change_nothing_wake_nobody(tmp_path: Path) -> None:
    with watching(FakeNvml(tmp_path, FakeGpu()), interval=timedelta(seconds=2)) as post:
        post.wait_for_faults(None)
        assert post.wakes.acquire(timeout=DEADLINE)
        first = post.watch.latest
        wait_until(lambda: post.watch.latest not in (None, first), "another sample", DEADLINE)
        assert not post.wakes.acquire(blocking=False)


def test_a_lost_gpu_wakes_and_is_remembered_by_its_uuid(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with watching(FakeNvml(tmp_path, FakeGpu(), FakeGpu())) as post:
        post.wait_for_faults(None, None)
        assert post.wakes.acquire(timeout=DEADLINE)
        post.nvml.gpus[1].fault = fake.GPU_IS_LOST
        post.nvml.write()
        _, lost = post.wait_for_faults(None, GpuFault.LOST)
        assert (lost.uuid, lost.readings) == (fake.uuid(1), None)
        assert post.wakes.acquire(timeout=DEADLINE)
        assert f"GPU 1 ({fake.uuid(1)}): lost" in caplog.text


def test_a_gpu_that_came_back_is_seen_again_by_a_fresh_reader(tmp_path: Path) -> None:
    with watching(FakeNvml(tmp_path, FakeGpu(), FakeGpu())) as post:
        post.wait_for_faults(None, None)
        gone = post.nvml.gpus.pop(1)
        post.nvml.write()
        post.wait_for_faults(None, GpuFault.LOST)
        wait_until(lambda: len(post.readers) > 1, "a fresh reader", DEADLINE)
        post.nvml.gpus[1] = gone
        post.nvml.write()
        post.wait_for_faults(None, None)


def test_no_gpus_where_there_were_some_are_lost_and_not_idle(tmp_path: Path) -> None:
    with watching(FakeNvml(tmp_path, FakeGpu(), FakeGpu())) as post:
        post.wait_for_faults(None, None)
        post.nvml.gpus.clear()
        post.nvml.write()
        post.wait_for_faults(GpuFault.LOST, GpuFault.LOST)


def test_a_machine_without_gpus_is_known_and_silent(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    nvml = FakeNvml(tmp_path)
    nvml.remove()
    caplog.set_level("INFO")
    with watching(nvml) as post:
        wait_until(lambda: len(post.readers) > 2, "the third look", DEADLINE)
        assert isinstance(post.watch.source, Known)
        assert post.watch.latest is None
    assert caplog.text == ""


def test_a_driver_without_any_gpu_and_one_that_is_not_loaded_are_no_fault_either(tmp_path: Path) -> None:
    nvml = FakeNvml(tmp_path)
    with watching(nvml) as post:
        wait_until(lambda: len(post.readers) > 1 and isinstance(post.watch.source, Known), "a second look", DEADLINE)
        nvml.failing["nvmlInitWithFlags", None] = fake.DRIVER_NOT_LOADED
        nvml.write()
        looks = len(post.readers)
        wait_until(lambda: len(post.readers) > looks + 1, "two more looks", DEADLINE)
        assert isinstance(post.watch.source, Known)


def test_a_loaded_driver_that_is_out_of_reach_is_no_machine_without_gpus(tmp_path: Path) -> None:
    nvml = FakeNvml(tmp_path, FakeGpu())
    nvml.failing["nvmlInitWithFlags", None] = fake.DRIVER_NOT_LOADED
    nvml.write()
    loaded = tmp_path / "version"
    loaded.touch()
    with watching(nvml, driver=loaded) as post:
        post.wait_unknown("its devices cannot be opened")


def test_none_at_the_start_where_there_were_some_before_it_are_a_fault(tmp_path: Path) -> None:
    with watching(FakeNvml(tmp_path), before=(a_gpu(0), a_gpu(1))) as post:
        lost = post.wait_for_faults(GpuFault.LOST, GpuFault.LOST)
        assert [gpu.uuid for gpu in lost] == ["GPU-0", "GPU-1"]
        post.nvml.failing["*", None] = fake.DRIVER_NOT_LOADED
        post.nvml.write()
        post.wait_unknown("Driver Not Loaded")
        post.nvml.remove()
        post.wait_unknown("NVML Shared Library Not Found")


def test_gpus_that_come_later_are_found(tmp_path: Path) -> None:
    nvml = FakeNvml(tmp_path)
    with watching(nvml) as post:
        wait_until(lambda: isinstance(post.watch.source, Known), "the first look", DEADLINE)
        nvml.gpus[0] = FakeGpu()
        nvml.write()
        post.wait_for_faults(None)


def test_a_library_that_is_gone_where_gpus_were_is_a_fault(tmp_path: Path) -> None:
    with watching(FakeNvml(tmp_path, FakeGpu())) as post:
        post.wait_for_faults(None)
        post.nvml.remove()
        os.kill(post.readers[-1].pid, SIGKILL)
        post.wait_unknown("NVML Shared Library Not Found")
        assert post.watch.latest is None


def test_a_mismatch_of_driver_and_library_is_a_fault_also_at_the_start(tmp_path: Path) -> None:
    nvml = FakeNvml(tmp_path, FakeGpu())
    nvml.kernel = "570.00"  # as after an upgrade of the packages: the kernel has the old module
    nvml.write()
    with watching(nvml) as post:
        post.wait_unknown("version mismatch")


def test_after_an_upgrade_of_the_driver_a_fresh_reader_goes_on(tmp_path: Path) -> None:
    with watching(FakeNvml(tmp_path, FakeGpu())) as post:
        post.wait_for_faults(None)
        post.nvml.upgrade("590.10")
        wait_until(
            lambda: (sample := post.watch.latest) and sample.driver_version == "590.10", "the new driver", DEADLINE
        )
        assert len(post.readers) > 1


def test_a_killed_reader_withdraws_what_it_said_and_a_fresh_one_goes_on(tmp_path: Path) -> None:
    with watching(FakeNvml(tmp_path, FakeGpu()), replace(QUICK, again=(timedelta(seconds=1), HOUR))) as post:
        post.wait_for_faults(None)
        os.kill(post.readers[0].pid, SIGKILL)
        post.wait_unknown("ended by signal 9")
        assert post.watch.latest is None
        post.wait_for_faults(None)
        assert len(post.readers) > 1


def test_a_driver_that_crashes_the_reader_crashes_nothing_else(tmp_path: Path) -> None:
    with watching(FakeNvml(tmp_path, FakeGpu())) as post:
        post.wait_for_faults(None)
        post.nvml.crashing.add("nvmlDeviceGetPowerUsage")
        post.nvml.write()
        post.wait_unknown("ended by signal 11")
        post.nvml.crashing.clear()
        post.nvml.write()
        post.wait_for_faults(None)


def test_a_call_that_hangs_withdraws_the_sample_until_it_is_over(tmp_path: Path) -> None:
    with watching(FakeNvml(tmp_path, FakeGpu(), FakeGpu()), replace(QUICK, first=3 * INTERVAL)) as post:
        post.wait_for_faults(None, None)
        post.nvml.delays["nvmlDeviceGetMemoryInfo_v2", 1] = 600_000
        post.nvml.write()
        wait_until(lambda: post.watch.latest is None, "the withdrawal of the sample", DEADLINE)
        post.wait_unknown("has not answered for 1.5 s")
        hung = len(post.readers)
        wait_until(lambda: len(post.readers) > hung, "another try", DEADLINE)
        post.nvml.delays.clear()
        post.nvml.write()
        post.wait_for_faults(None, None)


def test_an_xid_error_is_counted_and_wakes(tmp_path: Path) -> None:
    with watching(FakeNvml(tmp_path, FakeGpu())) as post:
        post.wait_for_faults(None)
        assert post.wakes.acquire(timeout=DEADLINE)
        post.nvml.xid(0, 43)
        wait_until(lambda: counts(post), "the XID error", DEADLINE)
        assert counts(post) == [(43, 1)]
        assert post.wakes.acquire(timeout=DEADLINE)


def test_the_kernels_log_tells_what_came_before_and_between_the_readers(tmp_path: Path) -> None:
    post = Post(FakeNvml(tmp_path, FakeGpu()))
    before = LoggedXid(time.monotonic() - 60, (0, 1, 0), 79)
    elsewhere = LoggedXid(time.monotonic() - 60, (0, 99, 0), 48)
    post.kernel_log = (before, elsewhere)
    post.watch.start()
    try:
        post.wait_for_faults(None)
        while_listening = LoggedXid(time.monotonic(), (0, 1, 0), 13)  # NVML tells that one itself
        wait_until(lambda: told_after(post, while_listening.at), "a later sample", DEADLINE)
        os.kill(post.readers[0].pid, SIGKILL)
        post.wait_unknown("signal 9")
        between = LoggedXid(time.monotonic(), (0, 1, 0), 31)
        post.kernel_log = (before, elsewhere, while_listening, between)
        wait_until(lambda: len(counts(post)) > 1, "both", DEADLINE)
        assert counts(post) == [(31, 1), (79, 1)]
        sample = post.watch.latest
        assert sample is not None
        assert timedelta(seconds=50) < sample.at - sample.gpus[0].xids[1].last_at < HOUR
    finally:
        post.watch.close()


def test_what_was_counted_before_our_own_start_is_not_counted_again(tmp_path: Path) -> None:
    counted_to = time.monotonic() - 30
    known = Xid(xid=79, count=1, last_at=SystemClock().now() - timedelta(minutes=1))
    before = replace(a_gpu(0), uuid=fake.uuid(0), xids=(known,))
    post = Post(FakeNvml(tmp_path, FakeGpu()), before=(before,), xids_until=counted_to)
    post.kernel_log = (LoggedXid(counted_to - 30, (0, 1, 0), 79), LoggedXid(counted_to + 10, (0, 1, 0), 31))
    post.watch.start()
    try:
        post.wait_for_faults(None)
        assert counts(post) == [(31, 1), (79, 1)]
    finally:
        post.watch.close()


def test_where_nvml_tells_no_errors_the_kernels_log_does(tmp_path: Path) -> None:
    nvml = FakeNvml(tmp_path, FakeGpu())
    nvml.failing["nvmlEventSetCreate", None] = fake.NOT_SUPPORTED
    nvml.write()
    post = Post(nvml)
    post.kernel_log = (LoggedXid(time.monotonic() - 5, (0, 1, 0), 79),)
    post.watch.start()
    try:
        wait_until(lambda: counts(post), "the XID error", DEADLINE)
        first = post.watch.latest
        wait_until(lambda: post.watch.latest is not first, "another sample", DEADLINE)
        assert counts(post) == [(79, 1)]
    finally:
        post.watch.close()


def test_readers_that_the_driver_holds_are_abandoned_and_not_heaped_up(tmp_path: Path) -> None:
    begun: list[Held] = []

    def begin() -> Held:
        begun.append(Held())
        return begun[-1]

    del tmp_path
    watch = GpuWatch(
        begin, tuple, SystemClock(), lambda: None, a_crew(), interval=INTERVAL, patience=replace(QUICK, first=INTERVAL)
    )
    watch.start()
    try:
        wait_until(
            lambda: isinstance(source := watch.source, Unknown) and "does not let go" in source.why,
            "the watch to give up",
            DEADLINE,
        )
        assert len(begun) == 3
        assert all(reader.ended.is_set() for reader in begun)
        begun[0].let_go.set()
        wait_until(lambda: len(begun) == 4, "another reader once one is let go", DEADLINE)
    finally:
        for reader in begun:
            reader.let_go.set()
        watch.close()


def test_a_fault_of_our_own_ends_nothing_but_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    post = Post(FakeNvml(tmp_path, FakeGpu()))
    post.kernel_log = None  # type: ignore[assignment]  # the fault
    post.watch.start()
    try:
        post.wait_unknown("cannot be looked after")
        post.kernel_log = ()
        post.wait_for_faults(None)
    finally:
        post.watch.close()
    assert "could not look after the NVML reader" in caplog.text


def test_what_cannot_be_started_is_told(tmp_path: Path) -> None:
    def begin() -> NvmlChild:
        raise FileNotFoundError(2, "No such file or directory", str(tmp_path / "python"))

    watch = GpuWatch(begin, tuple, SystemClock(), lambda: None, a_crew(), interval=INTERVAL, patience=QUICK)
    watch.start()
    try:
        wait_until(lambda: "cannot be started" in getattr(watch.source, "why", ""), "the reason", DEADLINE)
    finally:
        watch.close()


def test_one_look_gives_one_sample_and_leaves_no_reader(tmp_path: Path) -> None:
    post = Post(FakeNvml(tmp_path, FakeGpu(processes=[FakeProcess(1)])))
    post.watch.look_once()
    assert len(post.gpus()) == 1
    assert not Path(f"/proc/{post.readers[0].pid}").exists()


def test_switched_off_it_reads_nothing_and_there_are_none(tmp_path: Path) -> None:
    del tmp_path
    watch = GpuWatch(
        lambda: 1 / 0,  # type: ignore[arg-type,return-value]  # nobody begins a reader
        tuple,
        SystemClock(),
        lambda: None,
        a_crew(),
        interval=INTERVAL,
        enabled=False,
    )
    watch.start()
    watch.look_once()
    assert isinstance(watch.source, Known)
    assert watch.latest is None
    watch.close()


def test_the_reader_gets_nothing_of_our_environment_but_where_the_library_is(tmp_path: Path) -> None:
    nvml = FakeNvml(tmp_path, FakeGpu())
    environ = {**nvml.environment, "PATH": os.environ["PATH"], "SHIPKEEPER_SLACK__WEBHOOK_URL": "https://secret"}
    child = NvmlChild(INTERVAL, environ)
    try:
        assert child.line(timedelta(seconds=DEADLINE))
        given = Path(f"/proc/{child.pid}/environ").read_bytes().split(b"\0")
    finally:
        child.end()
        wait_until(child.gone, "its end")
    assert {name.partition(b"=")[0] for name in given if name} == {b"LD_LIBRARY_PATH", b"PATH"}


class Held:
    """A reader that says nothing and does not end, as one whose call the driver never finishes."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.let_go = threading.Event()

    def line(self, patience: timedelta) -> bytes | None:
        """Say nothing for as long as that."""
        self.ended.wait(patience.total_seconds())
        return None

    def end(self) -> None:
        """Take the signal, which shows no effect."""
        self.ended.set()

    def gone(self) -> bool:
        """Be gone once the driver lets go."""
        return self.let_go.is_set()


def told_after(post: Post, moment: float) -> bool:
    sample = post.watch.latest
    return sample is not None and sample.at.timestamp() - time.time() + time.monotonic() > moment


def counts(post: Post) -> list[tuple[int, int]]:
    return [(xid.xid, xid.count) for gpu in post.gpus() for xid in gpu.xids]
