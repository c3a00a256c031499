"""Whatever happens on a host, before, between and amid runs of all policies: nothing is lost, and every run ends."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias
from urllib.parse import parse_qs, urlsplit

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from daemon.docker_writer import AbandonedError
from daemon.errors import ShipkeeperError
from daemon.outcome import Outcome
from daemon.runs import RunState
from tests.daemon.deck import DAY
from tests.daemon.tidy_host import CAPS, KEEP_UNTIL, TidyHost, compose
from tests.daemon.watchpost import HOUR, MINUTE
from tests.lab.scripted_engine import ScriptedEngine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import timedelta

    from daemon.runs import Run

Event: TypeAlias = tuple[str, dict[str, Any]]
"""A method of the host with its arguments."""

OWNER: list[dict[str, str]] = [
    *[{}] * 6,
    compose("shop", "web"),
    {"shipkeeper.protect": "true"},
    {"shipkeeper.keep-until": "tomorrow"},
    {"shipkeeper.keep-until": KEEP_UNTIL.isoformat()},
    {"shipkeeper.ttl": "90d"},
]
ANONYMOUS = {"com.docker.volume.anonymous": ""}
EPHEMERAL = {"shipkeeper.ephemeral": "true"}
NAMES = st.sampled_from([f"job-{number}" for number in range(8)])
TAGS = st.sampled_from(["app:1", "app:2", "app:3", "tool:1", "tool:2", "base:1", "pinned:1"])
NETWORKS = st.sampled_from(["net-a", "net-b", "net-c"])
VOLUMES = st.sampled_from(["a" * 64, "b" * 64, "scratch", "pgdata"])
RECORDS = st.sampled_from(["r0", "r1", "r2"])
CONTAINERS = st.fixed_dictionaries(
    {
        "state": st.sampled_from(["exited", "exited", "exited", "created", "dead", "running", "paused"]),
        "code": st.sampled_from([0, 0, 1, 137]),
        "labels": st.sampled_from(OWNER),
        "image": TAGS,
    },
    optional={
        "network": NETWORKS,
        "volume": VOLUMES,
        "mounted": TAGS,
        "joins": NAMES,
        "restart": st.sampled_from(["no", "no", "always", "unless-stopped", "on-failure"]),
    },
)


def event(what: str, /, **arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Event]:
    """Give events that this method of the host lets happen."""
    return st.tuples(st.just(what), st.fixed_dictionaries(arguments))


LEAVES = st.builds(lambda name, job: ("leave", {"name": name, **job}), NAMES, CONTAINERS)
EVENTS: st.SearchStrategy[Event] = st.one_of(
    LEAVES,
    event("start", name=NAMES),
    event("end", name=NAMES, code=st.sampled_from([0, 1])),
    event("rename", name=NAMES),
    event("pull", tag=TAGS, anew=st.booleans()),
    event("build", tag=TAGS, parent=TAGS),
    event("tag", source=TAGS, target=TAGS),
    event("untag", tag=TAGS),
    event("network", name=NETWORKS, labels=st.sampled_from(OWNER)),
    event("connect", name=NETWORKS),
    event("volume", name=VOLUMES, labels=st.sampled_from([ANONYMOUS, EPHEMERAL, *OWNER])),
    event("cache", name=RECORDS, in_use=st.booleans()),
    event("protect", name=NAMES | TAGS | NETWORKS | VOLUMES),
)
PATHS = ["/containers/json", "/images/json", "/images/*/json", "/networks/*", "/volumes", "/system/df"]
TROUBLE: st.SearchStrategy[Event] = st.one_of(
    event("fails", path=st.sampled_from(PATHS), status=st.sampled_from([500, 403])),
    event(
        "fails",
        path=st.sampled_from(["/containers/" + "?" * 64, "/images/*", "/networks/*", "/volumes/*", "/build/prune"]),
        status=st.sampled_from([409, 404, 403, 500]),
    ),
    event("answers_get_lost", path=st.sampled_from(["/containers/*", "/images/*", "/networks/*", "/volumes/*"])),
    event("is_silent", path=st.sampled_from(PATHS[:-1])),  # for the last one Docker has half a minute
    event("babbles"),
    event("engine_goes"),
    event("set_clock", span=st.sampled_from([-30 * DAY, DAY, 400 * DAY])),
)
OURS = {Outcome.REMOVED, Outcome.UNANSWERED, Outcome.UNKNOWN}
"""What may have come of an object that is gone by a request of ours."""
BETWEEN = st.lists(EVENTS, max_size=3)
DURING = st.lists(st.one_of(EVENTS, EVENTS, TROUBLE), max_size=4)
WINDOW = st.lists(event("start", name=NAMES) | LEAVES, max_size=1)
DIES_AFTER = st.sampled_from([None] * 9 + [0, 1, 2])
PASSES = st.sampled_from([MINUTE, HOUR, DAY, 4 * DAY, 9 * DAY])
VERSIONS = st.sampled_from(["1.41", "1.44", "1.48", "1.52"])


class Host(RuleBasedStateMachine):
    """A host on which everything happens at once."""

    tally: ClassVar[Counter[str]] = Counter()
    """How many hosts and runs there were, and what came of the objects of each kind."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()

    def teardown(self) -> None:
        """Let go of everything."""
        if hasattr(self, "host"):
            self.host.mend()
            self.host.close()
            self.host.engine.stop()
        self.folder.cleanup()

    @initialize(
        version=VERSIONS,
        mode=st.sampled_from(["approve", "enforce"]),
        jobs=st.dictionaries(NAMES, st.tuples(CONTAINERS, st.sampled_from([30, 5, 0])), min_size=2, max_size=6),
        tags=st.lists(TAGS, min_size=3, max_size=5, unique=True),
    )
    def begin(self, version: str, mode: Any, jobs: dict[str, Any], tags: list[str]) -> None:
        """Begin with a host on which much lies around."""
        engine = ScriptedEngine(Path(self.folder.name) / "docker.sock", version)
        engine.listen()
        self.host = TidyHost(engine, Path(self.folder.name), mode)
        for tag in tags:
            self.host.pull(tag, anew=True)
        for name in ("net-a", "net-b"):
            self.host.network(name, compose("shop", "web") if name == "net-b" else {})
        for name, labels in (("a" * 64, ANONYMOUS), ("scratch", EPHEMERAL), ("pgdata", {})):
            self.host.volume(name, labels)
        for name in ("r0", "r1", "r2"):
            self.host.cache(name, in_use=False)
        for name, (job, days) in jobs.items():
            self.host.leave(name, **job, ago=days * DAY + HOUR)
        self.host.look()
        self.host.look(9 * DAY)
        self.tally["hosts"] += 1

    @rule(what=EVENTS)
    def something_happens(self, what: Event) -> None:
        """Let people do something."""
        self._let_and_hear(what)

    @rule(name=NAMES)
    def somebody_removes_it(self, name: str) -> None:
        """Remove it behind our back; what came and went between two looks is known by its events."""
        self.host.remove(name)
        self.host.look()

    @rule(span=PASSES)
    def time_passes(self, span: timedelta) -> None:
        """Watch for a while."""
        self.host.look(span)

    @rule(away=st.sampled_from([MINUTE, 40 * DAY]))
    def the_daemon_is_away(self, away: timedelta) -> None:
        """End it, and begin again much later."""
        self.host.restart(away)
        self.host.look()

    @rule(between=BETWEEN, during=DURING, window=WINDOW, dies_after=DIES_AFTER)
    def a_plan_is_approved(
        self, between: Sequence[Event], during: Sequence[Event], window: Sequence[Event], dies_after: int | None
    ) -> None:
        """Show a plan, let things happen, carry it out while things happen, and see what is gone."""
        self.host.look()
        if (plan := self.host.plan()) is None:
            return
        for each in between:
            self._let_and_hear(each)
        self._prepare(during, window, dies_after)
        self._run(lambda: self.host.deck.apply(plan))

    @precondition(lambda self: self.host.mode == "enforce")
    @rule(wait=st.sampled_from([MINUTE, 16 * MINUTE, 5 * DAY]), during=DURING, window=WINDOW, dies_after=DIES_AFTER)
    def it_acts_by_itself(
        self, wait: timedelta, during: Sequence[Event], window: Sequence[Event], dies_after: int | None
    ) -> None:
        """Let a cycle hand over what it would remove, and see what is gone."""
        self.host.look(wait)
        deck = self.host.deck
        deck.executor.offer(deck.post.handed_over[-1] if deck.post.handed_over else ())
        kinds, quiet, last = self.host.kinds(), self.host.quiet, deck.runs.last()
        self._prepare(during, window, dies_after)

        def by_itself() -> Run | None:
            deck.executor.round()
            run = deck.runs.last()
            return run if run != last else None

        run = self._run(by_itself)
        assert not (run and quiet), "nothing goes by itself in the time of grace"
        if run:
            self._see_that_most_is_left(run, kinds)

    @invariant()
    def nothing_was_lost(self) -> None:
        """Look at all that was ever sent."""
        if not hasattr(self, "host"):
            return
        assert not self.host.lost, self.host.lost
        engine = self.host.engine
        assert {method for method, _ in engine.non_get()} <= {"DELETE", "POST"}
        assert {path for method, path in engine.non_get() if method == "POST"} <= {"/build/prune"}
        assert not [each for each in engine.deleted if {"force", "v", "link"} & parse_qs(urlsplit(each).query).keys()]
        assert not [each for each in engine.pruned if "all" in parse_qs(urlsplit(each).query)]

    def _let(self, what: Event) -> None:
        name, arguments = what
        getattr(self.host, name)(**arguments)

    def _let_and_hear(self, what: Event) -> None:
        self._let(what)
        if what[0] == "connect":
            self.host.look()  # of who joined a network and left it again nothing but events tells

    def _prepare(self, during: Sequence[Event], window: Sequence[Event], dies_after: int | None) -> None:
        """Let these things happen in the middle of the next run."""
        self.host.meanwhile = [lambda each=each: self._let(each) for each in during]  # type: ignore[misc]
        self.host.in_the_window = [lambda each=each: self._let(each) for each in window]  # type: ignore[misc]
        self.host.dies_after = dies_after

    def _run(self, act: Callable[[], Run | None]) -> Run | None:
        """Let a run go on to its end, and see that it did what it says."""
        host, before, sent = self.host, self.host.objects(), len(self.host.engine.deleted)
        last = host.deck.runs.last()
        run = None
        try:
            run = act()
        except ShipkeeperError:
            self.tally["refused"] += 1  # the engine is away, or the clock was set
        except AbandonedError:
            host.restart()
            run = host.deck.runs.last()
            assert run is not None
            assert run.state is RunState.INTERRUPTED
        host.mend()
        after = host.objects()
        gone = {id_ for id_, thing in before.items() if thing is not after.get(id_)}
        if run is not None:
            # What a cycle offered before may go first, as a run of its own.
            runs = [host.deck.runs.run(number) for number in range(last.id + 1 if last else 1, run.id + 1)]
            self.tally["runs"] += len(runs)
            for each in runs:
                self.tally.update(f"{step.removal.object.kind} {step.outcome}" for step in each.steps)
                self._see_that_it_ended(each, gone)
            # What went without a request of ours was somebody else's doing. A volume's name may be one removed before.
            ours = {id_ for id_ in gone if any(id_ in path for path in host.engine.deleted[sent:])}
            assert ours <= {step.removal.object.id for each in runs for step in each.steps if step.outcome in OURS}
        return run

    @staticmethod
    def _see_that_it_ended(run: Run, gone: set[str]) -> None:
        assert run.state is not RunState.RUNNING
        done = {step.removal.object.id: step.outcome for step in run.steps}
        assert None not in done.values()
        for policy, most in CAPS.items():
            assert sum(step.removal.policy == policy for step in run.steps) <= most
        things = {id_ for id_, outcome in done.items() if outcome is Outcome.REMOVED and not id_.startswith("private:")}
        assert things <= gone

    @staticmethod
    def _see_that_most_is_left(run: Run, kinds: Mapping[str, int]) -> None:
        gone = Counter(
            (step.removal.policy, step.removal.object.kind.value)
            for step in run.steps
            if step.outcome is Outcome.REMOVED
        )
        for (policy, kind), count in gone.items():
            assert kinds[kind] < 10 or count * 2 <= kinds[kind], f"{policy} took more than half"


TestHosts = Host.TestCase
TestHosts.settings = settings(max_examples=8, stateful_step_count=12)
