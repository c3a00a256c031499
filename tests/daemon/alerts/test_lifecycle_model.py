"""What must hold in every story, checked against a model that only keeps the list of what was found."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from collectors.facts import container_subject
from daemon.alerts import outbox, report
from daemon.alerts.ack import Ack
from daemon.alerts.matchers import Matcher, labels_of
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
    from sqlite3 import Connection

    from daemon.alerts.outbox import Batch
    from daemon.alerts.state import AlertState, Notice
    from daemon.alerts.telling import Happening, Telling
    from policies.policy import ConditionState

SUBJECTS = [container_subject(name, {}) for name in ("a", "b")]
VERDICTS = st.sampled_from([BAD, OK, BETWEEN, None])
MOSTLY_OK = st.sampled_from([OK] * 8 + [BAD, BETWEEN, None])
NO_TIME = timedelta(0)
GROUP_WAIT = timedelta(seconds=20)
SECONDS = st.sampled_from([0, 1, 1, 15, 29, 31, 61, 300, 1900])
MATCHERS = [
    (),
    (Matcher("container", "=", "a"),),
    (Matcher("alert", "!=", LOOP),),
    (Matcher("subject", "=~", "b|D.*"),),
]
ALERTS = [(DOWN, ENGINE), *((alert, subject) for alert in (LOOP, UNHEALTHY, CRASHED) for subject in SUBJECTS)]
BAD_NEWS = {NoticeKind.FIRED, NoticeKind.ESCALATED, NoticeKind.FLAPPING, NoticeKind.REMINDED}


class Stories(RuleBasedStateMachine):
    """
    Two containers and an engine, with anything that may be found of them in any order.

    The daemon that lives through it is restarted, also in the middle of a delivery, its wall clock is set, and its
    sink fails; people silence alerts and take them on. `on` are the alerts that fire, `told` those that people are to
    know of, and `heard` is what they know: the last news of each alert, with its episode. `bad_for` is for how long
    each of the others has had reason to fire, `well_for` for how long each of those that do has had none.
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
        self.on: set[str] = set()
        self.told: set[str] = set()
        self.reports: dict[str, tuple[AlertState, ...]] = {}
        self.episodes: dict[str, int] = defaultdict(int)
        self.bad_for: dict[str, timedelta | None] = defaultdict(lambda: None)
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
        self.measure(found, seconds, docker=docker)
        ran = frozenset(RULES) if docker else frozenset({DOWN})
        telling = self.story.step(*found, after=seconds, ran=ran)
        self.store.write(partial(self.save, telling))
        for happening in telling.happened:
            self.judge(happening, ran)
        for end in telling.ends:
            self.told |= {state.fingerprint for state in end.firing}
        for notice in telling.notices:
            self.tell(notice)
        for key in self.on:
            well_for = self.well_for[key]
            assert well_for is None or well_for < RULES[self.story.states[key].alert].clear, "its time is up"
        self.forget_what_another_alert_speaks_for()
        for alert, subject in ALERTS:
            bad_for = self.bad_for[fingerprint(alert, subject)]
            assert bad_for is None or bad_for < RULES[alert].hold, "it was to be told by now"

    def save(self, telling: Telling, connection: Connection) -> None:
        """Store what one round brought, as the watch does."""
        outbox.save(connection, telling.changed, telling.notices, ["slack"], GROUP_WAIT, self.steady)
        for end in telling.ends:
            written = report.of_end(end)
            outbox.save_report(connection, written, ["slack"], self.steady)
            self.reports[written.key] = end.firing

    def measure(self, found: list[Condition | Occurrence], seconds: int, *, docker: bool) -> None:
        """Keep for how long each alert has been bad, or well again, by the plainest reading of the rules."""
        standing = {fingerprint(each.alert, each.subject): each.state for each in found if isinstance(each, Condition)}
        happened = defaultdict(set)
        for each in found:
            if isinstance(each, Occurrence):
                happened[fingerprint(each.alert, each.subject)].add(each.key)
        for alert, subject in ALERTS:
            key = fingerprint(alert, subject)
            verdict = standing.get(key)
            state = self.story.states.get(key)
            news = bool(happened[key] - {seen.key for seen in (state.seen if state else ())})
            present = self.story.present
            over = verdict is OK or (subject != ENGINE and present is not None and subject.key not in present)
            if key in self.on:
                if verdict is BAD or news:
                    self.well_for[key] = None
                elif over:
                    self.well_for[key] = _longer(self.well_for[key], seconds)
            elif alert == CRASHED:
                self.wait_for_well(key, verdict, seconds, news=news, docker=docker)
            elif verdict is BAD:
                self.bad_for[key] = _longer(self.bad_for[key], seconds)
            elif over:
                self.bad_for[key] = None

    def wait_for_well(
        self, key: str, verdict: ConditionState | None, seconds: int, *, news: bool, docker: bool
    ) -> None:
        """Keep for how long a crash waits to be told: it stays true, unless all is well again by then."""
        if news or (docker and self.bad_for[key] is not None):
            self.bad_for[key] = _longer(self.bad_for[key], seconds)
        if (self.bad_for[key] or NO_TIME) >= RULES[CRASHED].hold and verdict is OK:
            self.bad_for[key] = None

    def forget_what_another_alert_speaks_for(self) -> None:
        """Let what is bad begin anew once nobody speaks for it; what is on has had its time."""
        states = self.story.states.values()
        speaking = {(state.alert, state.subject) for state in states if state.phase.active}
        for alert, subject in ALERTS:
            key = fingerprint(alert, subject)
            speakers = RULES[alert].folded_into
            if key in self.on or any((each, about) in speaking for each in speakers for about in (subject, ENGINE)):
                self.bad_for[key] = None

    def judge(self, happening: Happening, ran: frozenset[str]) -> None:
        """Check one thing that became of an alert against all that came before it."""
        state = happening.state
        key = state.fingerprint
        if happening.what == "ended untold":
            self.on.discard(key)
            if not state.flapping:
                self.told.discard(key)
        elif happening.what == "firing" and key not in self.on:
            assert state.alert in ran, "nothing begins of what nobody looked at"
            down = self.story.states.get(fingerprint(DOWN, ENGINE))
            assert state.alert == DOWN or not (down and down.phase.active), "while it is down nothing else begins"
            bad_for = self.bad_for[key]
            assert bad_for is not None, "it fires only of what is bad, or has happened"
            assert bad_for >= RULES[state.alert].hold, "not before its time"
            assert state.episode == self.episodes[key] + 1
            self.episodes[key] = state.episode
            self.well_for[key] = None
            self.on.add(key)
        elif happening.what == "resolved" and key in self.on:
            assert state.alert in ran, "nothing is over of what nobody looked at"
            well_for = self.well_for[key]
            assert well_for is not None, "it is resolved only by being well, or removed"
            assert well_for >= RULES[state.alert].clear
            self.on.remove(key)

    def tell(self, notice: Notice) -> None:
        """Check one piece of news against what people know, and what they want to hear."""
        state = notice.state
        key = state.fingerprint
        assert not state.unknown
        if notice.kind in BAD_NEWS:
            covering = [each for each in self.story.wishes().silences if each.covers(labels_of(state))]
            assert not covering, "what is silenced is not told"
            assert not state.inhibited_by, "what another alert speaks for is not told"
        match notice.kind:
            case NoticeKind.FIRED:
                assert key not in self.told, "an episode is told once"
                assert not state.flapping
                self.told.add(key)
            case NoticeKind.FLAPPING:
                assert state.flapping
                self.told.add(key)
            case NoticeKind.RESOLVED:
                assert key in self.told, "only what was told is resolved"
                self.told.remove(key)
            case NoticeKind.REMINDED:
                assert key in self.told
                assert not state.acked_by, "somebody looks after it"
            case _:
                assert key in self.told

    @rule()
    def restart(self) -> None:
        """End the daemon and start it again: all that it knows is what it has stored."""
        self.store.close()
        self.store = Store.open(Path(self.folder.name), FakeClock())
        stored = outbox.load_states(self.store)
        assert stored == self.story.states
        self.story.states = stored

    @rule(matchers=st.sampled_from(MATCHERS), seconds=st.sampled_from([20, 400, 5000]), window=st.booleans())
    def silence(self, *, matchers: tuple[Matcher, ...], seconds: int, window: bool) -> None:
        """Let somebody want to hear nothing for a while."""
        self.story.silence(*matchers, seconds=seconds, window=window)

    @rule()
    def end_silences(self) -> None:
        """Let all silences be over now."""
        self.story.silences = tuple(replace(each, until=self.story.steady) for each in self.story.silences)

    @rule()
    def acknowledge_all(self) -> None:
        """Let somebody take on all that fires."""
        for key in self.on:
            state = self.story.states[key]
            self.story.acks[key] = Ack(
                fingerprint=key,
                incident=state.incident,
                severity=state.severity,
                by="ada",
                why="",
                at=self.steady,
            )

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
            if state.heard:
                assert kind is not NoticeKind.RESOLVED, "lost"
                assert episode <= state.episode
            elif state.phase is Phase.RESOLVED:
                assert kind is NoticeKind.RESOLVED, "its end is lost"

    def hear(self, batch: Batch, *, noted: bool) -> None:
        """Take one message, as the people who read it."""
        for state in batch.states:
            news = (state.fingerprint, state.episode, batch.kind)
            once = batch.kind in {NoticeKind.FIRED, NoticeKind.RESOLVED}
            assert not once or news not in self.delivered or news in self.unnoted, "told twice"
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
        if batch.report:
            for state in self.reports[batch.report.key]:
                last, episode = self.heard.get(state.fingerprint, (NoticeKind.RESOLVED, 0))
                if state.episode > episode:
                    self.heard[state.fingerprint] = batch.kind, state.episode
        if noted:
            outbox.mark_sent(self.store, batch.ids, self.steady)

    def teardown(self) -> None:
        """Let go of the store."""
        self.store.close()
        self.folder.cleanup()

    @invariant()
    def what_was_told_is_what_is_told(self) -> None:
        """No alert is on without people knowing, and none that they know of is forgotten, if they want to know."""
        states = self.story.states
        assert {key for key, state in states.items() if state.phase.told} == self.on
        assert {key for key, state in states.items() if state.heard} == self.told
        for key in self.on - self.told:
            state = states[key]
            assert state.silenced_by or state.inhibited_by or state.unknown, "nobody knows of it"

    @invariant()
    def what_another_alert_speaks_for_is_silent(self) -> None:
        """While a loop is told there is no crash; while the engine is down nothing is about to be told."""
        states = [state for state in self.story.states.values() if state.phase.active]
        on = {(state.alert, state.subject.key) for state in states}
        if DOWN in {alert for alert, _ in on}:
            assert all(state.fingerprint in self.on for state in states)
            assert all(state.inhibited_by == DOWN for state in states if state.alert != DOWN)
        for subject in SUBJECTS:
            assert not {(LOOP, subject.key), (CRASHED, subject.key)} <= on

    @invariant()
    def timers_fit_their_phase(self) -> None:
        """Only what waits has a timer, and never one that has run out."""
        for state in self.story.states.values():
            alert_rule = RULES[state.alert]
            limit = {Phase.PENDING: alert_rule.hold, Phase.CLEARING: alert_rule.clear}.get(state.phase)
            assert state.timer < limit if limit else state.timer == NO_TIME


def _longer(before: timedelta | None, seconds: int) -> timedelta:
    """Count the time since the round before; the first round only begins."""
    return NO_TIME if before is None else before + timedelta(seconds=seconds)


Stories.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestStories = Stories.TestCase
