"""Whatever happens on a host between the plan and the removal: nothing goes that must stay, and every run ends."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeAlias

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from collectors.facts import Protection
from daemon.lookout import COMPARE_EVERY
from daemon.outcome import Outcome
from daemon.runs import RunState
from tests.daemon.deck import DAY, Deck
from tests.daemon.watchpost import HOUR
from tests.lab.scripted_engine import ScriptedContainer, ScriptedEngine

if TYPE_CHECKING:
    from daemon.plans import Plan

NAMES = st.sampled_from([f"job-{letter}" for letter in "abcdef"])
LABELS: list[dict[str, str]] = [
    {},
    {},
    {},
    {},
    {"shipkeeper.protect": "true"},
    {"shipkeeper.keep-until": "tomorrow"},
    {"shipkeeper.ttl": "90d"},
]
Job: TypeAlias = tuple[int, int, dict[str, str]]
JOBS = st.tuples(st.sampled_from([30, 30, 1, 0]), st.sampled_from([0, 1, 137]), st.sampled_from(LABELS))
FAULTS = st.sampled_from(
    [
        ("/containers/*/json", 500),
        ("/containers/json", 500),
        ("/containers/*/logs", 500),
        ("/containers/*/changes", 403),
        ("/containers/" + "?" * 64, 409),
        ("/containers/" + "?" * 64, 500),
    ]
)


class Host(RuleBasedStateMachine):
    """A host on which people and faults are at work while a person approves plans."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.engine = ScriptedEngine(Path(self.folder.name) / "docker.sock")
        self.engine.listen()
        self.deck = Deck(self.engine, Path(self.folder.name), "approve")
        self.planned: Plan | None = None

    def teardown(self) -> None:
        """Let go of everything."""
        self.deck.close()
        self.engine.stop()
        self.folder.cleanup()

    @initialize(jobs=st.dictionaries(NAMES, JOBS, min_size=2), protect=st.booleans())
    def begin(self, jobs: dict[str, Job], protect: bool) -> None:  # noqa: FBT001
        """Leave containers that ended, and show the first plan."""
        for name, job in jobs.items():
            self.somebody_left_a_container(name, job)
        if protect:
            self.deck.adopt(protection=Protection(containers=("job-a",)))
        self.a_plan_is_shown()

    @rule(name=NAMES, job=JOBS)
    def somebody_left_a_container(self, name: str, job: Job) -> None:
        """Leave one that ended, so many days and an hour ago."""
        days, code, labels = job
        if self._named(name) is None:
            self.deck.job(name, ago=days * DAY + HOUR, labels=labels).exit_code = code

    @rule(name=NAMES, policy=st.sampled_from(["always", "unless-stopped"]))
    def somebody_stopped_a_service(self, name: str, policy: str) -> None:
        """Leave one that was started to stay."""
        if self._named(name) is None:
            restart = {"RestartPolicy": {"Name": policy, "MaximumRetryCount": 0}, "NetworkMode": "none", "Memory": 0}
            self.deck.job(name).inspect_extra = {"HostConfig": restart}

    @rule(name=NAMES)
    def somebody_starts_it(self, name: str) -> None:
        """Start it."""
        if found := self._named(name):
            found.state, found.started_at = "running", self.engine.now

    @rule(name=NAMES)
    def it_ends_now(self, name: str) -> None:
        """End it, if it runs."""
        if (found := self._named(name)) and found.state == "running":
            found.state, found.finished_at = "exited", self.engine.now

    @rule(name=NAMES)
    def somebody_removes_it(self, name: str) -> None:
        """Remove it behind our back."""
        if found := self._named(name):
            del self.engine.containers[found.id]

    @rule(name=NAMES)
    def somebody_renames_it(self, name: str) -> None:
        """Give it another name."""
        if (found := self._named(name)) and not any(
            each.name == f"{name}-kept" for each in self.engine.containers.values()
        ):
            found.name = f"{name}-kept"

    @rule(fault=FAULTS)
    def docker_fails(self, fault: tuple[str, int]) -> None:
        """Let Docker answer one thing badly."""
        self.engine.statuses = dict([fault])

    @rule()
    def docker_is_well_again(self) -> None:
        """Let Docker answer."""
        self.engine.statuses = {}

    @rule(blocked=st.booleans())
    def the_place_of_the_evidence_is_blocked_or_free(self, blocked: bool) -> None:  # noqa: FBT001
        """Put a file in the way of the folder, or take it away."""
        folder = self.deck.evidence_files.folder
        if blocked and not folder.exists():
            folder.touch()
        elif not blocked and folder.is_file():
            folder.unlink()

    @rule()
    def a_plan_is_shown(self) -> None:
        """Show a plan, if Docker can be read."""
        self.deck.post.cycle(COMPARE_EVERY)
        if (snapshot := self.deck.post.watch.snapshot) and snapshot.docker_known:
            plan = self.deck.plan()
            self.planned = plan if plan.removals else None

    @precondition(lambda self: self.planned is not None)
    @rule()
    def it_is_approved(self) -> None:
        """Carry the plan out, and see what is gone."""
        assert self.planned is not None
        before, sent = dict(self.engine.containers), len(self.engine.deleted)
        protected = {each.id for each in before.values() if self._must_stay(each)}
        run = self.deck.apply(self.planned)
        gone = before.keys() - self.engine.containers.keys()
        planned = {removal.object.id: removal.object.name for removal in self.planned.removals}
        assert gone <= planned.keys()
        assert not gone & protected
        assert all(planned[each] == before[each].name for each in gone)
        assert run.state in {RunState.DONE, RunState.FAILED}
        assert [step.removal for step in run.steps] == list(self.planned.removals)
        assert all(step.outcome is not None for step in run.steps)
        assert gone == {step.removal.object.id for step in run.steps if step.outcome is Outcome.REMOVED}
        kept = {entry.container_id for entry in self.deck.evidence_files.entries()}
        assert {each for each in gone if before[each].exit_code} <= kept
        assert all("force" not in each and "v=" not in each for each in self.engine.deleted[sent:])
        self.planned = None

    @invariant()
    def nothing_but_deletes_is_ever_sent(self) -> None:
        """Look at all that was ever asked."""
        assert {method for method, _ in self.engine.non_get()} <= {"DELETE"}

    def _named(self, name: str) -> ScriptedContainer | None:
        return next((each for each in self.engine.containers.values() if each.name == name), None)

    def _must_stay(self, container: ScriptedContainer) -> bool:
        restart: dict[str, Any] = container.inspect_extra.get("HostConfig", {}).get("RestartPolicy", {})
        young = container.finished_at is None or self.engine.now - container.finished_at < DAY
        by_name = container.name in self.deck.post.watch.book.protection.containers
        labelled = bool(container.labels)
        return container.state == "running" or bool(restart) or young or by_name or labelled


TestHosts = Host.TestCase
TestHosts.settings = settings(
    max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
