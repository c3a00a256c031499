"""The messages as people read them: each example stands in tests/golden/messages, as text and as Slack's JSON."""

from __future__ import annotations

import io
import json
import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from daemon.alerts import message
from daemon.alerts.console import ConsoleSink
from daemon.alerts.message import Message, compose, summary
from daemon.alerts.slack_blocks import blocks_of
from daemon.alerts.state import Notice, NoticeKind
from policies.catalogue import BY_NAME
from policies.gpu_devices import GpuDevices
from policies.gpu_usage import GpuUsage
from policies.gpu_xids import GpuXids
from policies.policy import Condition, Occurrence, Severity
from tests.daemon.alerts import build
from tests.daemon.alerts.build import (
    BAD,
    DISK,
    DOWN,
    ENGINE,
    HOST,
    LOOP,
    OK,
    OOM,
    ROOT,
    UNHEALTHY,
    Story,
    condition,
    occurrence,
)
from tests.fakes.clock import NOW
from tests.policies.build import container, facts
from tests.policies.build_gpu import faulty, gpu, hold, idle, reserved, use, xid
from tests.policies.build_gpu import gpus as some_gpus

if TYPE_CHECKING:
    from collectors.gpu_facts import Gpus
    from policies.policy import Policy

GOLDEN = Path(__file__).parents[2] / "golden" / "messages"
LOG = (
    "step 4180 loss 2.113",
    "\x1b[33mallocating activation buffer …\x1b[0m",
    "\tRuntimeError: out of <memory> & `luck`",
)


def compose_of(notices: tuple[Notice, ...]) -> Message:
    return compose([notice.state for notice in notices], notices[0].kind, HOST)


def crashed() -> Message:
    story = Story()
    subject = build.compose("trainer", 3)
    crashes = [occurrence(subject=subject, at=NOW + timedelta(seconds=each), log_tail=LOG) for each in (0, 10)]
    story.step(*crashes)
    return compose_of(story.step(*crashes, after=30).notices)


def resolved() -> Message:
    story = Story()
    story.step(occurrence())
    story.step(occurrence(), after=30)
    story.step(condition(OK), after=29 * 60)
    return compose_of(story.step(condition(OK), after=2 * 60).notices)


def together() -> Message:
    kills = [occurrence(OOM, build.compose("trainer", number)) for number in range(1, 4)]
    return compose_of(Story().step(*kills).notices)


def resolved_together() -> Message:
    story = Story()
    subjects = [build.compose("trainer", number) for number in range(1, 4)]
    story.step(*(occurrence(OOM, subject) for subject in subjects))
    well = [condition(OK, OOM, subject, reason="running without another kill") for subject in subjects]
    story.step(*well, after=60)
    return compose_of(story.step(*well, after=30 * 60).notices)


def looping() -> Message:
    words = "ended 5 times within 10 min, last: exited 1 (error) after 0.4 s"
    loop = condition(BAD, LOOP, severity=Severity.CRITICAL, reason=words)
    return compose_of(Story().step(occurrence(log_tail=LOG), loop).notices)


def unhealthy() -> Message:
    story = Story()
    sick = condition(
        BAD, UNHEALTHY, reason="3 probes failed in a row: " + "curl: (7) Failed to connect to port 80 " * 3
    )
    story.step(sick)
    return compose_of(story.step(sick, after=60).notices)


def filling() -> Message:
    return compose_of(Story().step(condition(BAD, DISK, ROOT, reason="11.4 GiB (9 %) left")).notices)


def escalated() -> Message:
    story = Story()
    story.step(condition(BAD, DISK, ROOT, reason="11.4 GiB (9 %) left"))
    worse = condition(BAD, DISK, ROOT, reason="3.0 GiB (2 %) left", severity=Severity.CRITICAL)
    return compose_of(story.step(worse, after=60).notices)


def engine_down() -> Message:
    return compose_of(Story().step(condition(BAD, DOWN, ENGINE, severity=Severity.CRITICAL, reason="hung")).notices)


def on_gpus(policy: Policy, alert: str, gpus: Gpus) -> Message:
    """Say what a policy finds of these GPUs, once it has stood for long enough."""
    labels = {"com.docker.compose.project": "nlp", "com.docker.compose.service": "trainer"}
    trainer = container("nlp-trainer-3", labels={**labels, "shipkeeper.owner": "vision team"})
    world = facts(containers=[trainer, container("notebook")], gpus=gpus, owner_label="shipkeeper.owner")
    story = Story({alert: BY_NAME[alert]})
    found = [each for each in policy.decide(world) if isinstance(each, Condition | Occurrence) and each.alert == alert]
    first = story.step(*found).notices
    return compose_of(first or story.step(*found, after=3600).notices)


TRAINER, NOTEBOOK = container("nlp-trainer-3"), container("notebook")


def gpu_lost() -> Message:
    lost = faulty(2, xids=(xid(79),))
    gpus = some_gpus(lost, use=(reserved(NOTEBOOK),), last_held=(hold(TRAINER, size=65_819_000_000),))
    return on_gpus(GpuDevices(), "gpu-lost", gpus)


def gpu_xid() -> Message:
    hit = replace(gpu(2), xids=(xid(48),))
    return on_gpus(GpuXids(), "gpu-xid", some_gpus(hit, use=(use(TRAINER, memory_bytes=65_819_000_000),)))


def gpu_idle() -> Message:
    uses = (idle(TRAINER, memory_bytes=65_819_000_000), reserved(NOTEBOOK))
    return on_gpus(GpuUsage(), "gpu-idle", some_gpus(gpu(2), use=uses))


def gpus_lost() -> Message:
    lost = [faulty(index) for index in (2, 3)]
    gpus = some_gpus(*lost, last_held=(hold(TRAINER, 2), hold(TRAINER, 3)))
    return on_gpus(GpuDevices(), "gpu-lost", gpus)


def killed_with_gpus() -> Message:
    kill = occurrence(OOM)
    assert kill.death is not None
    held = (hold(TRAINER, 0, size=1024**3), hold(TRAINER, 2, size=65_819_000_000))
    return compose_of(Story().step(replace(kill, death=replace(kill.death, gpus=held))).notices)


def trial() -> Message:
    return message.trial(HOST)


EXAMPLES = (
    crashed,
    resolved,
    together,
    resolved_together,
    looping,
    unhealthy,
    filling,
    escalated,
    engine_down,
    gpu_lost,
    gpus_lost,
    gpu_xid,
    gpu_idle,
    killed_with_gpus,
    trial,
)


def printed(shown: Message) -> str:
    paper = io.StringIO()
    ConsoleSink(paper).send(shown)
    return paper.getvalue()


@pytest.mark.parametrize("example", EXAMPLES)
def test_each_message_reads_as_its_golden_example(example: object) -> None:
    shown = example()  # type: ignore[operator]
    slack = json.dumps(blocks_of(shown), indent=1, ensure_ascii=False) + "\n"
    for text, suffix in ((printed(shown), "txt"), (slack, "json")):
        golden = GOLDEN / f"{example.__name__}.{suffix}"  # type: ignore[attr-defined]
        if os.environ.get("GOLDEN") == "write":  # to look at the difference before it is committed
            golden.write_text(text)
        assert text == golden.read_text()


def test_every_golden_example_is_still_made() -> None:
    assert {file.stem for file in GOLDEN.iterdir()} == {example.__name__ for example in EXAMPLES}


def test_the_summary_is_one_line_without_control_characters() -> None:
    story = Story()
    story.step(condition(BAD, DISK, ROOT, reason="9 %\nleft \u202e!"))
    assert summary(story.state(DISK)) == "/ is filling: 9 %\\nleft \\u202e!"


def test_a_long_list_ends_with_names_and_leaves_none_out() -> None:
    kills = [occurrence(OOM, build.compose("trainer", number)) for number in range(1, 26)]
    shown = compose_of(Story().step(*kills).notices)
    assert len(shown.lines) == 21
    assert shown.lines[-1] == "also nlp-trainer-21, nlp-trainer-22, nlp-trainer-23, nlp-trainer-24, nlp-trainer-25"


def test_an_alert_of_another_version_is_called_by_its_name() -> None:
    story = Story()
    story.step(condition(BAD, DISK, ROOT))
    renamed = replace(story.state(DISK), alert="moon-low")
    assert compose([renamed], NoticeKind.FIRED, HOST).title == "/ moon-low: it is bad"


def test_a_clock_that_was_set_back_meanwhile_leaves_no_figure_to_tell() -> None:
    story = Story()
    story.step(condition(BAD, DISK, ROOT))
    ended = replace(story.state(DISK), resolved_at=NOW - timedelta(hours=1), resolution="it has room again")
    shown = compose([ended], NoticeKind.RESOLVED, "h")
    assert shown.title == "/ is filling · resolved: it has room again"
