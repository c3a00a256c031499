"""What must hold in every story, checked against a model that only keeps the list of what was found."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from collectors.facts import container_subject
from daemon.alerts import outbox
from daemon.alerts.state import NoticeKind, Phase, fingerprint
from daemon.store import Store
from policies.policy import Condition, Occurrence
from tests.daemon.alerts.build import (
    BAD,
    BETWEEN,
    CRASHED,
    DOWN,
    ENGINE,
    LOOP,
    OK,
    RULES,
    UNHEALTHY,
    Story,
    condition,
    occurrence,
)
from tests.fakes.clock import NOW, FakeClock

if TYPE_CHECKING:
    from daemon.alerts.outbox import Batch
    from daemon.alerts.state import Notice
    from policies.policy import ConditionState

SUBJECTS = [container_subject(name, {}) for name in ("a", "b")]
VERDICTS = st.sampled_from([BAD, OK, BETWEEN, None])
MOSTLY_OK = st.sampled_from([OK] * 8 + [BAD, BETWEEN, None])
NO_TIME = timedelta(0)
GROUP_WAIT = timedelta(seconds=20)
SECONDS = st.sampled_from([0, 1, 15, 29, 31, 61, 300])


class Stories(RuleBasedStateMachine):
    """
    Two containers and an engine, with anything that may be found of them in any order.

    The daemon that lives through it is restarted, also in the middle of a delivery, its wall clock is set, and its
    sink fails. `heard` is what people know: the last news of each alert, with its episode.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.steady = NOW
        self.store = Store.open(Path(self.folder.name), FakeClock())
        self.heard: dict[str, tuple[NoticeKind, int]] = {}
        self.delivered: set[tuple[str, int, NoticeKind]] = set()
        self.unnoted: set[tuple[str, int, NoticeKind]] = set()
        self.story = Story()
        self.told: set[str] = set()
        self.episodes: dict[str, int] = defaultdict(int)
        self.well_for: dict[str, timedelta | None] = defaultdict(lambda: None)
        self.crashes: list[Occurrence] = []

    @rule(
        engine=MOSTLY_OK,
        loop=st.tuples(MOSTLY_OK, MOSTLY_OK),
        health=st.tuples(VERDICTS, VERDICTS),
        alive=st.tuples(VERDICTS.filter(lambda verdict: verdict is not BAD), st.sampled_from([OK, BETWEEN])),
        crash=st.sampled_from([None, 0, 1]),
        seconds=SECONDS,
        docker=st.booleans(),
        present=st.sets(st.sampled_from(["a", "b"])),
    )
    def one_round(  # noqa: PLR0913
        self,
        *,
        engine: ConditionState | None,
        loop: tuple[ConditionState | None, ...],
        health: tuple[ConditionState | None, ...],
        alive: tuple[ConditionState | None, ...],
        crash: int | None,
        seconds: int,
        docker: bool,
        present: set[str],
    ) -> None:
        """Find anything, then look at what is told of it."""
        found: list[Condition | Occurrence] = [condition(engine, DOWN, ENGINE)] if engine else []
        if docker:
            if crash is not None:
                self.crashes.append(occurrence(CRASHED, SUBJECTS[crash], self.story.now + timedelta(seconds=seconds)))
            found += self.crashes
            for alert, verdicts in ((LOOP, loop), (UNHEALTHY, health), (CRASHED, alive)):
                found += [condition(each, alert, SUBJECTS[number]) for number, each in enumerate(verdicts) if each]
        self.story.present = frozenset(present) if docker else None
        self.steady += timedelta(seconds=seconds)
        self.measure(found, seconds)
        ran = frozenset(RULES) if docker else frozenset({DOWN})
        step = self.story.step(*found, after=seconds, ran=ran)
        self.store.write(
            lambda inside: outbox.save(inside, step.changed, step.notices, ["slack"], GROUP_WAIT, self.steady)
        )
        for notice in step.notices:
            self.judge(notice, ran)
        for state in step.quiet:
            self.told.discard(state.fingerprint)
        for key in self.told:
            well_for = self.well_for[key]
            assert well_for is None or well_for < RULES[self.story.states[key].alert].clear, "its time is up"

    def measure(self, found: list[Condition | Occurrence], seconds: int) -> None:
        """Keep for how long each told alert has been well, by the plainest reading of the rules."""
        standing = {fingerprint(each.alert, each.subject): each.state for each in found if isinstance(each, Condition)}
        happened = defaultdict(set)
        for each in found:
            if isinstance(each, Occurrence):
                happened[fingerprint(each.alert, each.subject)].add(each.key)
        for key in self.told:
            state = self.story.states[key]
            is_container = state.subject != ENGINE
            gone = is_container and self.story.present is not None and state.subject.key not in self.story.present
            if standing.get(key) is BAD or happened[key] - {seen.key for seen in state.seen}:
                self.well_for[key] = None
            elif gone or standing.get(key) is OK:
                before = self.well_for[key]
                self.well_for[key] = NO_TIME if before is None else before + timedelta(seconds=seconds)

    def judge(self, notice: Notice, ran: frozenset[str]) -> None:
        """Check one piece of news against all that came before it."""
        state = notice.state
        key = state.fingerprint
        assert state.alert in ran, "nothing is told of what nobody looked at"
        assert not state.unknown
        if notice.kind is NoticeKind.FIRED:
            assert key not in self.told, "an episode is told once"
            down = self.story.states.get(fingerprint(DOWN, ENGINE))
            assert state.alert == DOWN or not (down and down.phase.active), "while it is down nothing else begins"
            assert state.episode == self.episodes[key] + 1
            self.episodes[key] = state.episode
            self.well_for[key] = None
            self.told.add(key)
        elif notice.kind is NoticeKind.RESOLVED:
            assert key in self.told, "only what was told is resolved"
            well_for = self.well_for[key]
            assert well_for is not None, "it is resolved only by being well, or removed"
            assert well_for >= RULES[state.alert].clear
            self.told.remove(key)

    @rule()
    def restart(self) -> None:
        """End the daemon and start it again: all that it knows is what it has stored."""
        self.store.close()
        self.store = Store.open(Path(self.folder.name), FakeClock())
        stored = outbox.load_states(self.store)
        assert stored == self.story.states
        self.story.states = stored

    @rule(step=st.sampled_from([-3600, -5, 5, 3600, 365 * 86400]))
    def set_the_wall_clock(self, step: int) -> None:
        """Set it to another time, which is no time that passes."""
        self.story.now += timedelta(seconds=step)

    @rule(end=st.sampled_from(["noted", "noted", "noted", "killed", "refused"]))
    def deliver_one(self, end: str) -> None:
        """Let the sink be given what is due first; the daemon may be killed before it notes what came of it."""
        if batch := outbox.next_batch(self.store, "slack", self.steady):
            if end == "refused":
                outbox.mark_retry(self.store, batch.ids, "HTTP 500", self.steady + timedelta(seconds=30))
            else:
                self.hear(batch, noted=end == "noted")

    @rule()
    def deliver_all(self) -> None:
        """Let all that waits go out; then people know how everything stands."""
        self.steady += max(GROUP_WAIT, timedelta(seconds=30))
        while batch := outbox.next_batch(self.store, "slack", self.steady):
            self.hear(batch, noted=True)
        for key, state in self.story.states.items():
            kind, episode = self.heard.get(key, (NoticeKind.RESOLVED, 0))
            if state.phase.told:
                assert kind is not NoticeKind.RESOLVED, "lost"
                assert episode == state.episode
            elif state.phase is Phase.RESOLVED:
                assert kind is NoticeKind.RESOLVED, "its end is lost"

    def hear(self, batch: Batch, *, noted: bool) -> None:
        """Take one message, as the people who read it."""
        for state in batch.states:
            news = (state.fingerprint, state.episode, batch.kind)
            assert news not in self.delivered or news in self.unnoted, "told twice"
            last, episode = self.heard.get(state.fingerprint, (NoticeKind.RESOLVED, 0))
            assert state.episode >= episode, "an older story after a newer one"
            assert (
                (last, batch.kind) != (NoticeKind.RESOLVED, NoticeKind.RESOLVED)
                or state.episode > episode
                or (news in self.unnoted)
            )
            self.heard[state.fingerprint] = batch.kind, state.episode
            self.delivered.add(news)
            (self.unnoted.discard if noted else self.unnoted.add)(news)
        if noted:
            outbox.mark_sent(self.store, batch.ids, self.steady)

    def teardown(self) -> None:
        """Let go of the store."""
        self.store.close()
        self.folder.cleanup()

    @invariant()
    def what_was_told_is_what_is_told(self) -> None:
        """No alert is on without people knowing, and none that they know of is forgotten."""
        assert {key for key, state in self.story.states.items() if state.phase.told} == self.told

    @invariant()
    def what_another_alert_speaks_for_is_silent(self) -> None:
        """While a loop is told there is no crash; while the engine is down nothing is about to be told."""
        states = [state for state in self.story.states.values() if state.phase.active]
        on = {(state.alert, state.subject.key) for state in states}
        if DOWN in {alert for alert, _ in on}:
            assert all(state.fingerprint in self.told for state in states)
        for subject in SUBJECTS:
            assert not {(LOOP, subject.key), (CRASHED, subject.key)} <= on

    @invariant()
    def timers_fit_their_phase(self) -> None:
        """Only what waits has a timer, and never one that has run out."""
        for state in self.story.states.values():
            alert_rule = RULES[state.alert]
            limit = {Phase.PENDING: alert_rule.hold, Phase.CLEARING: alert_rule.clear}.get(state.phase)
            assert state.timer < limit if limit else state.timer == NO_TIME


Stories.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestStories = Stories.TestCase
