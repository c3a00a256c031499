"""A watch post with an executor: a scripted engine, a fake clock, and everything between them as in the daemon."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from collectors.engine_calls import EngineCalls
from collectors.engine_http import Endpoint
from daemon import examination, history
from daemon.acting import ActingLock
from daemon.docker_writer import DockerWriter
from daemon.evidence import Evidence
from daemon.evidence_files import EvidenceFiles
from daemon.examination import Examiner
from daemon.executor import Executor
from daemon.grace import Grace
from daemon.plans import make_plan
from daemon.recheck import Recheck
from daemon.runs import Run, Runs
from tests.daemon.watchpost import HOUR, SECOND, WatchPost
from tests.fakes.crew import a_crew
from tests.lab.scripted_engine import ZERO_TIME
from tests.policies.build import filesystem

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from collectors.facts import Filesystem
    from daemon.modes import Mode
    from daemon.outcome import Outcome
    from daemon.plans import Plan
    from policies.policy import Removal
    from tests.lab.scripted_engine import ScriptedContainer, ScriptedEngine

DAY = 24 * HOUR


class Deck:
    """Rounds of the executor are done by `round` in the test's own thread, or by its own after `start`."""

    def __init__(
        self, engine: ScriptedEngine, folder: Path, mode: Mode = "enforce", post: WatchPost | None = None
    ) -> None:
        self.engine = engine
        self.post = post or WatchPost(engine, folder)
        self.clock = self.post.clock
        self.adopt(mode=mode)
        self.crew = a_crew(self.clock)
        self.beats = 0
        self.runs = Runs(self.post.store, self.post.steady)
        self.recheck = Recheck(
            self.post.connect,
            lambda: self.post.watch.snapshot,
            lambda: self.post.watch.book,
            self.clock,
            self._measured,
        )
        self.evidence_files = EvidenceFiles(folder / "evidence")
        self.critical = False
        self.examiner = Examiner(
            examination.Sources(
                connect=self.post.connect,
                deaths=lambda id_: history.deaths_of(self.post.store, id_, self.post.steady),
                marks=lambda _: None,
                redact=lambda: self.post.watch.book.redact,
            ),
            self.clock,
        )
        self.measure: Callable[[str], Filesystem | None] = lambda _: filesystem()
        self.executor = self._executor(DockerWriter)
        self.post.reliefs = lambda: self.executor.reliefs

    def with_writer(self, writer: type[DockerWriter]) -> None:
        """Go on with an executor that removes through another writer."""
        self.executor.close()
        self.executor = self._executor(writer)

    def adopt(self, **changes: Any) -> None:
        """Change what is judged by, as a reload of the configuration does."""
        self.post.watch.adopt(replace(self.post.watch.book, **changes))

    def job(self, name: str, *, ago: timedelta = 30 * DAY, labels: dict[str, str] | None = None) -> ScriptedContainer:
        """Add a container that ended so long ago."""
        begun, ended = self.engine.now - ago - HOUR, self.engine.now - ago
        return self.engine.add(
            name, state="exited", created_at=begun, started_at=begun, finished_at=ended, labels=labels or {}
        )

    def dangling(self, digit: str, *tags: str) -> str:
        """Add an image, dangling without tags, and give its id."""
        image_id = "sha256:" + digit * 64
        self.engine.images.append({"Id": image_id, "RepoTags": list(tags), "Size": 9, "Created": 1_700_000_000})
        self.engine.last_tagged[image_id] = ZERO_TIME
        return image_id

    def look(self, after: timedelta = SECOND) -> tuple[Removal, ...]:
        """Let the watch do a cycle, and give what it would remove."""
        self.post.cycle(after)
        snapshot = self.post.watch.snapshot
        assert snapshot is not None
        return snapshot.decision.removals

    def plan(self, after: timedelta = SECOND) -> Plan:
        """Give the plan of a cycle."""
        return make_plan(self.look(after), self.post.watch.book.mode, self.clock.now())

    def offer(self, after: timedelta = SECOND) -> None:
        """Let a cycle hand over what it would remove."""
        self.look(after)
        self.executor.offer(self.post.handed_over[-1])

    def apply(self, plan: Plan) -> Run:
        """Carry out a plan that somebody approved."""
        self.executor.round()
        run = self.executor.submit(plan, "ada")
        self.executor.round()
        return self.runs.run(run)

    def by_itself(self, after: timedelta = SECOND) -> Run | None:
        """Let a cycle offer, and give the run that it caused."""
        before = self.runs.last()
        self.offer(after)
        self.executor.round()
        run = self.runs.last()
        return run if run != before else None

    def close(self) -> None:
        """Let go of everything."""
        self.executor.close()
        self.recheck.close()
        self.post.close()

    def _executor(self, writer: type[DockerWriter]) -> Executor:
        endpoint = Endpoint(host=self.engine.host)
        return Executor(
            runs=self.runs,
            recheck=self.recheck,
            writer=lambda beat, give_up: writer(
                endpoint, EngineCalls(), self.clock, partial(self._beat, beat), give_up
            ),
            acting=ActingLock(endpoint),
            evidence=Evidence(
                self.evidence_files,
                self.examiner,
                lambda: self.post.watch.book.evidence_bytes,
                lambda: self.critical,
            ),
            measure=self._measured,
            grace=Grace(self.clock, self.post.view, lambda: self.post.watch.book.grace),
            engine=self.post.view,
            book=lambda: self.post.watch.book,
            clock=self.clock,
            crew=self.crew,
            settles=timedelta(0),
        )

    def _measured(self, mountpoint: str) -> Filesystem | None:
        return self.measure(mountpoint)

    def _beat(self, beat: Callable[[], None]) -> None:
        self.beats += 1
        beat()


def outcomes(run: Run | None) -> dict[str, Outcome | None]:
    """Give what came of each object of a run, by its name."""
    assert run is not None
    return {step.removal.object.name: step.outcome for step in run.steps}
