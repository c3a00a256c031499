"""What must hold however much news comes at once: each told once, in few messages, and shown as it stands."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from datetime import timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from daemon.alerts import outbox
from daemon.alerts.lane import Lane
from daemon.alerts.sink import Reference, Retry, Sent
from daemon.alerts.state import NoticeKind
from daemon.store import Store
from policies.policy import Severity
from tests.daemon.alerts.build import BAD, LOOP, OK, Story, compose, condition
from tests.fakes.clock import FakeClock

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from collectors.facts import Subject
    from daemon.alerts.message import Message
    from daemon.alerts.sink import Outcome

FLEET = [compose("web", number, project=f"shop-{number % 5}") for number in range(24)]
MANY = [compose("web", number, project=f"shop-{number % 25}") for number in range(500)]
GROUP_WAIT = timedelta(seconds=20)
ONCE = {NoticeKind.FIRED, NoticeKind.RESOLVED}
MOST_MESSAGES = 5
SETTLED = timedelta(minutes=5)
"""Within so long all is told, and every message is edited to how things stand."""


MOST_READS = 300
"""One round of a lane asks the store far less often."""


class WaryStore(Store):
    """A store that notices when a lane goes round in circles; `reads` are those of its round."""

    reads = 0

    def read(self, sql: str, params: Sequence[object] = ()) -> list[sqlite3.Row]:
        """Give all rows of one query."""
        self.reads += 1
        assert self.reads < MOST_READS, "it goes round in circles"
        return super().read(sql, params)


class Killed(BaseException):
    """The daemon ends here, as by SIGKILL."""


class Reader:
    """A sink that remembers what it took, and what people know by that; `fate` is that of its next request."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.fate = ""
        self.taken: list[Message] = []
        self.told: Counter[tuple[str, int, NoticeKind]] = Counter()
        self.last: dict[str, NoticeKind] = {}
        self.in_flight: set[tuple[str, int, NoticeKind]] = set()

    def send(self, message: Message) -> Outcome:
        """Take a message, or what is said of it."""
        if self._fails():
            return Retry("HTTP 500")
        self.taken.append(message)
        assert message.kind is not None
        for state in message.states:
            news = (state.fingerprint, state.episode, message.kind)
            assert message.kind not in ONCE or not self.told[news] or news in self.in_flight, "told twice"
            self.told[news] += 1
            self.last[state.fingerprint] = message.kind
        self._survive({(state.fingerprint, state.episode, message.kind) for state in message.states})
        return Sent(Reference("C", str(len(self.taken))))

    def _fails(self) -> bool:
        refused = self.fate == "refused"
        self.fate = "" if refused else self.fate
        return refused

    def _survive(self, told: Iterable[tuple[str, int, NoticeKind]] = ()) -> None:
        if self.fate == "killed":
            self.fate = ""
            self.in_flight |= set(told)
            raise Killed
        self.in_flight -= set(told)


class EditingReader(Reader):
    """
    The same of a sink that edits: `standing` is what people see.

    Of what it took when the daemon was killed nobody knows where it stands: no edit comes there, only a later message.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.standing: dict[Reference, Message] = {}
        self.lost: set[Reference] = set()
        self.spoken: dict[Reference, set[str]] = defaultdict(set)
        """Of which alerts each has ever spoken: an edited one names what is over in words alone."""

    def send(self, message: Message) -> Outcome:
        """Take a message and let it stand."""
        reference = Reference("C", str(len(self.taken) + 1))
        if self.fate != "refused":
            self.stand(reference, message)
        if self.fate == "killed":
            self.lost.add(reference)
        return super().send(message)

    def edit(self, reference: Reference, message: Message) -> Outcome:
        """Let this stand there."""
        if self._fails():
            return Retry("HTTP 500")
        self.stand(reference, message)
        self._survive()
        return Sent()

    def stand(self, reference: Reference, message: Message) -> None:
        """Let people see this there."""
        self.standing[reference] = message
        self.spoken[reference] |= {state.fingerprint for state in message.states}

    def reply(self, reference: Reference, text: str, *, aloud: bool) -> Outcome:
        """Take a line in the thread."""
        assert reference in self.standing
        assert text or aloud
        if self._fails():
            return Retry("HTTP 500")
        self._survive()
        return Sent()

    def link(self, reference: Reference) -> str:
        """Give no address."""
        assert reference in self.standing
        return ""

    @property
    def shown_as_wrong(self) -> set[str]:
        """Of which alerts the messages say that they are on, unless only a lost one does, and a later one speaks."""
        wrong: set[str] = set()
        outdated: set[str] = set()
        for reference, message in reversed(self.standing.items()):
            on = {state.fingerprint for state in message.states if state.phase.told and not message.over}
            wrong |= on - outdated if reference in self.lost else on
            outdated |= self.spoken[reference]
        return wrong


class Storms(RuleBasedStateMachine):
    """Containers of a few compose projects that go bad and well, any number at once, told to one sink of each sort."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.clock = FakeClock()
        self.store = self.open_store()
        self.story = Story()
        self.group_wait = GROUP_WAIT
        self.bad: dict[Subject, Severity] = {}
        self.readers = [Reader("webhook"), EditingReader("bot")]
        self.lanes = [self.new_lane(reader) for reader in self.readers]

    def open_store(self) -> WaryStore:
        """Open what the daemon remembers."""
        store = WaryStore.open(Path(self.folder.name), self.clock)
        assert isinstance(store, WaryStore)
        return store

    def new_lane(self, reader: Reader) -> Lane:
        """Build a lane as a start of the daemon does."""
        return Lane(
            store=self.store,
            sink=reader,
            clock=self.clock,
            host="h",
            per_second=0,
            jitter=lambda: 1.0,
            abandoned=threading.Event(),
        )

    def send_due(self, lane: Lane) -> float:
        """Work a lane for one round."""
        self.store.reads = 0
        return lane.send_due()

    @initialize(group_wait=st.sampled_from([timedelta(0), GROUP_WAIT]))
    def configure(self, *, group_wait: timedelta) -> None:
        """Let news wait for others, or not."""
        self.group_wait = group_wait

    @rule(
        turned=st.one_of(st.sets(st.sampled_from(FLEET), max_size=3), st.sampled_from([frozenset(FLEET[:20])])),
        severity=st.sampled_from([Severity.WARNING, Severity.CRITICAL]),
        seconds=st.sampled_from([0, 1, 5, 16]),
        woken=st.booleans(),
    )
    def turn(self, *, turned: set[Subject] | frozenset[Subject], severity: Severity, seconds: int, woken: bool) -> None:
        """Let what is well among these go bad, and what is bad be well again; the sender may look at once."""
        for subject in sorted(turned, key=lambda each: each.name):
            if self.bad.pop(subject, None) is None:
                self.bad[subject] = severity
        self.clock.advance(timedelta(seconds=seconds))
        found = [
            condition(BAD if each in self.bad else OK, LOOP, each, severity=self.bad.get(each, severity))
            for each in FLEET
        ]
        told = self.story.step(*found, after=seconds)
        now, names = self.clock.now(), [reader.name for reader in self.readers]
        self.store.write(
            partial(
                outbox.save,
                changed=told.changed,
                notices=told.notices,
                sinks=names,
                group_wait=self.group_wait,
                now=now,
            )
        )
        if woken:
            for lane in self.lanes:
                self.send_due(lane)

    @rule(number=st.sampled_from([0, 1]), fate=st.sampled_from(["", "", "refused", "killed"]))
    def work(self, *, number: int, fate: str) -> None:
        """Work a lane; its sink fails, or the daemon is killed when the sink has taken something."""
        self.readers[number].fate = fate
        try:
            self.send_due(self.lanes[number])
        except Killed:
            self.restart()
        self.readers[number].fate = ""

    @rule(seconds=st.sampled_from([1, 14, 20, 61, 700]))
    def pass_time(self, *, seconds: int) -> None:
        """Let time pass."""
        self.clock.advance(timedelta(seconds=seconds))

    @rule()
    def restart(self) -> None:
        """End the daemon and start it again."""
        self.store.close()
        self.store = self.open_store()
        self.lanes = [self.new_lane(reader) for reader in self.readers]

    @rule()
    def settle(self) -> None:
        """Let all go out: then people know how everything stands."""
        end = self.clock.now() + SETTLED
        while self.clock.now() < end:
            self.clock.advance(timedelta(seconds=max(min(map(self.send_due, self.lanes)), 0.001)))
        assert [outbox.backlog(self.store, reader.name).depth for reader in self.readers] == [0, 0]
        webhook, bot = self.readers
        assert isinstance(bot, EditingReader)
        steady = [state for state in self.story.states.values() if not state.flapping]
        for state in steady:
            heard = webhook.last.get(state.fingerprint, NoticeKind.RESOLVED)
            assert (heard is not NoticeKind.RESOLVED) == state.phase.told, "people know another story"
            assert (state.fingerprint in bot.shown_as_wrong) == state.phase.told, "they see another story"

    def teardown(self) -> None:
        """Settle at last, and let go of the store."""
        try:
            self.settle()
        finally:
            self.store.close()
            self.folder.cleanup()


Storms.TestCase.settings = settings(max_examples=50, stateful_step_count=12, deadline=None)
TestStorms = Storms.TestCase


@settings(max_examples=4, deadline=None)
@given(
    order=st.permutations(MANY),
    cuts=st.lists(st.integers(1, len(MANY) - 1), max_size=6),
    critical=st.sets(st.integers(0, len(MANY) - 1), max_size=20),
    restarts=st.booleans(),
)
def test_a_storm_in_any_order_is_few_messages_that_tell_each_once_and_the_worst_first(
    *, order: list[Subject], cuts: list[int], critical: set[int], restarts: bool
) -> None:
    machine = Storms()
    try:
        bounds = [0, *sorted(cuts), len(order)]
        for first, last in pairwise(bounds):
            found = [
                condition(BAD, LOOP, each, severity=Severity.CRITICAL if number in critical else Severity.WARNING)
                for number, each in enumerate(order[:last])
                if number >= first
            ]
            told = machine.story.step(*found, after=3)
            machine.clock.advance(timedelta(seconds=3))
            save = partial(
                outbox.save,
                changed=told.changed,
                notices=told.notices,
                sinks=["webhook", "bot"],
                group_wait=GROUP_WAIT,
                now=machine.clock.now(),
            )
            machine.store.write(save)
        if restarts:
            machine.restart()
        machine.clock.advance(GROUP_WAIT)
        for lane, reader in zip(machine.lanes, machine.readers, strict=True):
            machine.send_due(lane)
            assert len(reader.taken) <= MOST_MESSAGES
            told_in_order = [state for message in reader.taken for state in message.states]
            assert Counter(state.subject.name for state in told_in_order) == Counter(each.name for each in order)
            ranks = [state.severity.rank for state in told_in_order]
            assert ranks == sorted(ranks, reverse=True)
    finally:
        machine.store.close()
        machine.folder.cleanup()
