"""Small builders of findings and states for the tests of alerts."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from collectors.facts import Death, RestartPolicy, Subject, SubjectKind, container_subject
from daemon.alerts.lifecycle import concerned, step
from daemon.alerts.silence import Silence
from daemon.alerts.telling import Wishes, tell
from policies.catalogue import BY_NAME
from policies.policy import Condition, ConditionState, Occurrence, Severity
from tests.fakes.clock import NOW

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from daemon.alerts.ack import Ack
    from daemon.alerts.matchers import Matcher
    from daemon.alerts.state import AlertState, Notice, Phase
    from daemon.alerts.telling import Telling
    from policies.catalogue import AlertRule

BAD, OK, BETWEEN = ConditionState.BAD, ConditionState.OK, ConditionState.BETWEEN
CRASHED, OOM, LOOP = "container-crashed", "container-oom-killed", "container-restart-loop"
UNHEALTHY, DOWN, DISK = "container-unhealthy", "engine-down", "disk-low"
HOST = "gpu-host-2"

DELAYS = {CRASHED: (30, 120), OOM: (0, 1800), LOOP: (0, 0), UNHEALTHY: (60, 60), DOWN: (0, 10), DISK: (0, 300)}
"""Seconds of `hold` and `clear`: a test names them, whatever the catalogue's defaults are."""
RULES = {
    name: replace(BY_NAME[name], hold=timedelta(seconds=hold), clear=timedelta(seconds=clear))
    for name, (hold, clear) in DELAYS.items()
}

TRAINER = container_subject("trainer-3", {})
ENGINE = Subject(SubjectKind.ENGINE, "docker", "Docker Engine")
GPU = Subject(SubjectKind.GPU, "GPU-8f6c2d1e-5b0a-4c3e-9a77-1f0e2d3c4b5a", "GPU 2")
ROOT = Subject(SubjectKind.FILESYSTEM, "/", "/")


def compose(service: str, number: int = 1, project: str = "nlp") -> Subject:
    """Give a container of a compose project."""
    labels = {"com.docker.compose.project": project, "com.docker.compose.service": service}
    labels["com.docker.compose.container-number"] = str(number)
    return container_subject(f"{project}-{service}-{number}", labels)


def death(at: datetime = NOW, *, name: str = "trainer-3", exit_code: int = 7, log_tail: tuple[str, ...] = ()) -> Death:
    """Give one end of a container."""
    return Death(
        container_id="3f2a9c41d07b" * 5,
        name=name,
        image="nlp/train:2026-11",
        restart_policy=RestartPolicy("on-failure", 5),
        memory_limit_bytes=16 * 1024**3,
        finished_at=at,
        exit_code=exit_code,
        uptime=timedelta(hours=3, minutes=12),
        log_tail=log_tail,
    )


def occurrence(
    alert: str = CRASHED,
    subject: Subject = TRAINER,
    at: datetime = NOW,
    *,
    severity: Severity = Severity.WARNING,
    log_tail: tuple[str, ...] = (),
) -> Occurrence:
    """Say that something happened, with a death of that time."""
    ended = death(at, name=subject.name, log_tail=log_tail)
    return Occurrence(
        alert=alert,
        subject=subject,
        severity=severity,
        at=at,
        key=ended.key,
        reason="exited 7 (error) after 3 h 12 min",
        death=ended,
    )


def condition(
    state: ConditionState,
    alert: str = CRASHED,
    subject: Subject = TRAINER,
    *,
    severity: Severity = Severity.WARNING,
    reason: str | None = None,
) -> Condition:
    """Say how a subject stands."""
    words = {BAD: "it is bad", OK: "running again", BETWEEN: "not running: exited"}
    return Condition(
        alert=alert,
        subject=subject,
        severity=severity,
        state=state,
        reason=reason if reason is not None else words[state],
    )


class Story:
    """Steps through rounds of findings as the watch thread does, remembering the states."""

    def __init__(self, rules: Mapping[str, AlertRule] = RULES) -> None:
        self.states: dict[str, AlertState] = {}
        self.rules = rules
        self.now = NOW
        self.steady = NOW
        self.silences: tuple[Silence, ...] = ()
        self.acks: dict[str, Ack] = {}
        self.present: frozenset[str] | None = None
        self.gpus: frozenset[str] | None = None

    def round(
        self, *findings: Condition | Occurrence, after: float = 0, ran: frozenset[str] | None = None
    ) -> list[tuple[str, str]]:
        """Do one round `after` so many seconds; give the news as (alert, kind)."""
        return [
            (notice.state.alert, notice.kind.value) for notice in self.step(*findings, after=after, ran=ran).notices
        ]

    def step(self, *findings: Condition | Occurrence, after: float = 0, ran: frozenset[str] | None = None) -> Telling:
        """Do one round and give all of what came of it: the same whether what is over is at hand or not."""
        self.now += timedelta(seconds=after)
        self.steady += timedelta(seconds=after)
        needed = concerned(findings, self.rules)
        at_hand = {key: state for key, state in self.states.items() if state.standing or key in needed}
        wishes = self.wishes()
        told, with_all = (
            tell(
                states,
                step(
                    states,
                    findings,
                    ran_alerts=frozenset(self.rules) if ran is None else ran,
                    present=self.present,
                    gpus=self.gpus,
                    now=self.now,
                    elapsed=timedelta(seconds=after),
                    rules=self.rules,
                    host=HOST,
                ),
                wishes,
                self.steady,
            )
            for states in (at_hand, self.states)
        )
        assert set(told.changed) == set(with_all.changed)
        assert set(map(str, told.happened)) == set(map(str, with_all.happened))
        assert sorted(told.notices, key=_told_first) == sorted(with_all.notices, key=_told_first)
        self.states |= {state.fingerprint: state for state in told.changed}
        self.silences = tuple(wishes.silences)
        return told

    def wishes(self) -> Wishes:
        """Give what people have said, at this moment."""
        return Wishes(
            silences=tuple(silence for silence in self.silences if silence.until > self.steady),
            ended=tuple(silence for silence in self.silences if silence.until <= self.steady),
            acks=self.acks,
        )

    def silence(self, *matchers: Matcher, seconds: float = 3600, window: bool = False) -> Silence:
        """Let a silence begin that lasts so long."""
        silence = Silence(
            id=max((each.id for each in self.silences), default=0) + 1,
            matchers=matchers,
            by="ada (uid 1000)",
            why="load test",
            begun=self.steady,
            until=self.steady + timedelta(seconds=seconds),
            window=window,
        )
        self.silences = (*self.silences, silence)
        return silence

    def phase(self, alert: str = CRASHED) -> Phase:
        """Give the phase of the one alert of this name."""
        return self.state(alert).phase

    def state(self, alert: str = CRASHED) -> AlertState:
        """Give the state of the one alert of this name."""
        (state,) = (state for state in self.states.values() if state.alert == alert)
        return state


def _told_first(notice: Notice) -> str:
    return notice.state.fingerprint
