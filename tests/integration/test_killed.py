"""
The daemon killed with SIGKILL at its commit boundaries, again and again: what people are told in the end.

Meanwhile some die in storms, and some of what dies is silenced for a while. As a bot it edits: there the message of
what is over must say so in the end, whenever it was killed.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import sqlite3
import threading
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlencode

import pytest

from daemon.client import call
from daemon.clock import SystemClock
from daemon.errors import ShipkeeperError
from daemon.verbs import SILENCE, SILENCES
from tests.integration.daemon_under_test import DaemonUnderTest
from tests.lab.binaries import Suite
from tests.lab.engine import PrivateEngine
from tests.lab.mortal import ALL_POINTS, EDIT_POINTS, POINTS, SILENCE_POINTS
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from tests.lab.slack import FakeSlack

SEED = "SHIPKEEPER_TEST_SEED"
"""An environment variable: the seed of the run to repeat."""
MIGRATION = "start: within a migration"
LATE = frozenset(point for point in ALL_POINTS if not point.startswith("start"))
"""Points at which messages can have gone out."""
KILLS = int(os.environ.get("KILLS") or 200)
"""Fewer for a shorter run; each point is among them in any case."""
_CLOCK = SystemClock()
_NAME = re.compile(r"(?:death|storm|hush)-\d{5}")
_PASSED_SECONDS = 120
_TOLD_SECONDS = 60
_STORM_EVERY = 40
"""So many deaths, one by one, lie between two storms."""
_STORM = 16
_STORM_PROJECTS = 4
_HUSHED = 2
"""Deaths within each silence."""
_SILENT_SECONDS = 6
_SURE_SECONDS = 2
"""With less than this left of a silence, what begins to die may do so after its end."""


@dataclass(frozen=True, slots=True)
class Hush:
    """A silence that is wanted of all that belongs to one compose project."""

    project: str
    until: datetime

    @property
    def condition(self) -> str:
        """What it is about, as people type it."""
        return f"project={self.project}"

    @property
    def left(self) -> float:
        """The seconds until its end."""
        return (self.until - _CLOCK.now()).total_seconds()


class Misfortune:
    """
    A context manager: a thread whose containers end badly, each under a name of its own and each once.

    Every end that Docker has confirmed goes into a journal on the disk. What people were told of is removed: all but
    the last `standing` ones. Each belongs to a compose project of its own, so that no two share a message; now and
    then a storm ends some of a few projects within a moment. At any time the daemon at `control` is asked to silence
    one more project; what dies within that silence is in `silent_until`, with its end.
    """

    def __init__(
        self, engine: PrivateEngine, slack: FakeSlack, journal: Path, control: Path, standing: int = 20
    ) -> None:
        self._engine = engine
        self._slack = slack
        self._journal = journal
        self._control = control
        self._standing: list[str] = []
        self._most_standing = standing
        self._hush: Hush | None = None
        self._silenced = False
        self._hushes = 0
        self.buried: set[str] = set()
        self.silent_until: dict[str, datetime] = {}
        self.storms = 0
        self._ending = threading.Event()
        self._fault: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="misfortune")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def end(self) -> list[str]:
        """Let the last one end, and give the names in the journal."""
        self.__exit__()
        if self._fault:
            raise self._fault
        return self._journal.read_text().split()

    def _run(self) -> None:
        try:
            with self._journal.open("a") as journal:
                number = 0
                while not self._ending.is_set():
                    number += 1
                    died = [*self._silence(), self._die(f"death-{number:05}", f"death-{number:05}")]
                    if number % _STORM_EVERY == _STORM_EVERY // 4:
                        died += self._storm()
                    journal.writelines(f"{name}\n" for name in died)
                    journal.flush()
                    os.fsync(journal.fileno())
                    self._bury()
        except Exception as fault:  # noqa: BLE001  raised again by `end`, in the test's own thread
            self._fault = fault

    def _die(self, name: str, project: str) -> str:
        container = self._engine.run(["sh", "-c", "exit 3"], name=name, config={"labels": _labels(name, project)})
        assert self._engine.api.wait(container)["StatusCode"] == 3
        self._standing.append(name)
        return name

    def _storm(self) -> list[str]:
        """End many at once."""
        self.storms += 1
        names = [f"storm-{self.storms * 100 + each:05}" for each in range(_STORM)]
        containers = [
            self._engine.run(
                ["sleep", "1000"],
                name=name,
                config={"labels": _labels(name, f"storm-{self.storms}-{each % _STORM_PROJECTS}")},
            )
            for each, name in enumerate(names)
        ]
        for pid in [self._engine.host_pid(container) for container in containers]:
            os.kill(pid, signal.SIGKILL)
        for container in containers:
            assert self._engine.api.wait(container)["StatusCode"] == 137
        self._standing += names
        return names

    def _silence(self) -> list[str]:
        """Go on towards the next silence: ask for it, let some die in it, see that it is still there."""
        if self._hush is None or self._hush.left < _SURE_SECONDS:
            # What was asked for may hold now though nobody heard so; nothing dies of which that is not known.
            self._hushes += 1
            until = _CLOCK.now() + timedelta(seconds=_SILENT_SECONDS)
            self._hush, self._silenced = Hush(f"hush-{self._hushes}", until), False
        hush = self._hush
        try:
            known = self._holds(hush)
            if not known and hush.left > 0:
                assert not self._silenced, f"the silence of {hush.condition} is lost"
                self._ask_for(hush)
        except ShipkeeperError:
            return []  # it is dead, starts, or died with this
        died = []
        if not self._silenced and hush.left > _SURE_SECONDS:
            self._silenced = True
            for each in range(_HUSHED):
                died.append(self._die(f"hush-{self._hushes * 10 + each:05}", hush.project))
                if hush.left > 0:
                    self.silent_until[died[-1]] = hush.until
        return died

    def _holds(self, hush: Hush) -> bool:
        return any(each["matchers"] == [hush.condition] for each in call(self._control, "GET", SILENCES))

    def _ask_for(self, hush: Hush) -> None:
        asked = {"matchers": json.dumps([hush.condition]), "until": hush.until.isoformat(), "why": "they die"}
        call(self._control, "POST", f"{SILENCE}?{urlencode(asked)}")

    def _bury(self) -> None:
        told = told_of(self._slack)
        for name in [name for name in self._standing[: -self._most_standing] if told[name]]:
            self._engine.api.remove_container(name)
            self._standing.remove(name)
            self.buried.add(name)


def _labels(name: str, project: str) -> dict[str, str]:
    return {"com.docker.compose.project": project, "com.docker.compose.service": name}


def told_of(slack: FakeSlack) -> Counter[str]:
    """Count the messages in which each crash is told; what is resolved is another message."""
    return _count(payload for payload in slack.delivered if "🟢" not in str(payload["text"]))


def over_of(slack: FakeSlack) -> Counter[str]:
    """Count the messages, or lines in threads, in which the end of each is told."""
    return _count(payload for payload in slack.delivered if "🟢" in str(payload["text"]))


def told_too_early(slack: FakeSlack, silent_until: Mapping[str, datetime]) -> set[str]:
    """Give those of whom something was said before the end of their silence."""
    return {
        name
        for request in slack.requests
        for name in _count([request.payload]).keys() & silent_until.keys()
        if request.arrived_ns / 1e9 < silent_until[name].timestamp()
    }


def shown_as_over(slack: FakeSlack) -> set[str]:
    """Give the names of those whose message, posted by the bot, now says that they are over."""
    standing = slack.channels["#alerts"].messages.values()
    return set(_count(payload for payload in standing if "🟢" in str(payload["text"])))


def _count(payloads: Iterable[Mapping[str, Any]]) -> Counter[str]:
    counted: Counter[str] = Counter()
    for payload in payloads:
        counted.update(set(_NAME.findall(json.dumps(payload))))
    return counted


def in_flight(state: Path, slack: FakeSlack, scratch: Path) -> set[str]:
    """Give the names that Slack took, but the dead daemon had not noted as sent: it will send them again."""
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(state, scratch)  # a look at the original would tidy up what the kill has left
    with closing(sqlite3.connect(scratch / "state.db")) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'outbox'").fetchall():
            return set()
        rows = connection.execute(
            "SELECT kind, record FROM outbox"
            " WHERE sink = 'slack' AND kind IN ('fired', 'resolved', 'report') AND state = 'due'"
        )
        taken = {"fired": told_of(slack), "report": told_of(slack), "resolved": over_of(slack)}
        return {name for kind, record in rows for name in _NAME.findall(record) if taken[kind][name]}


def kill_at(daemon: DaemonUnderTest, point: str, passage: int, *, after_calm: bool) -> None:
    """Let it live until it is killed there."""
    calm = ["--after-calm"] if after_calm else []
    daemon.launch("tests.lab.mortal", point, str(passage), *calm)
    if point.startswith("closing"):
        wait_until(lambda: "ready" in daemon.page("/-/ready"), "the daemon to be ready", _PASSED_SECONDS)
        code = daemon.end(_PASSED_SECONDS, signal.SIGTERM)
    else:
        code = daemon.end(_PASSED_SECONDS)
    assert code == -signal.SIGKILL, f"at {point!r} it ended with {code}:\n{daemon.log.read_text()[-3000:]}"


def run_script(
    folder: Path, engine: PrivateEngine, slack: FakeSlack, kills: Sequence[tuple[str, int]], *, bot: str = ""
) -> None:
    """Kill it at each of these points and passages while containers end badly; then prove that all is told."""
    daemon = DaemonUnderTest(folder, engine, slack, bot=bot)
    with daemon.tap:
        try:
            for point, passage in kills:
                if point == MIGRATION:
                    kill_at(daemon, point, passage, after_calm=False)
            daemon.start()  # what ended before the very first look is no news
            control, standing = folder / "control.sock", 5 if bot else 20
            with Misfortune(engine, slack, folder / "journal", control, standing) as misfortune:
                slack.wait(lambda posts: len(posts) > 0, 30)
                daemon.kill()
                for point, passage in kills:
                    if point != MIGRATION:
                        # Delivery is at least once: killed in mid-delivery once more, it would be told thrice.
                        again = bool(in_flight(folder / "state", slack, folder / "scratch"))
                        kill_at(daemon, point, passage, after_calm=again and point in LATE)
                deaths = misfortune.end()
            daemon.start()
            wait_for_all(slack, deaths)
            if bot:
                wait_until(
                    lambda: misfortune.buried <= shown_as_over(slack),
                    "the messages of all that is over to say so",
                    _TOLD_SECONDS,
                )
            assert daemon.stop() == 0
        finally:
            daemon.kill()
    told = told_of(slack)
    lost = sorted(set(deaths) - set(told))
    early = told_too_early(slack, misfortune.silent_until)
    report(kills, deaths, told, lost)
    silenced = len(misfortune.silent_until)
    print(f"{misfortune.storms} storms, {silenced} deaths within silences, {len(early)} of them told too early")
    assert lost == []
    assert misfortune.storms > 0
    assert silenced > 0
    assert early == set()
    assert max(told.values()) <= 2, "told more than twice"
    if bot:
        print(f"{len(misfortune.buried)} were over, {sum(n == 2 for n in over_of(slack).values())} of them said twice")
        assert max(over_of(slack).values()) <= 2, "the end told more than twice"
    assert daemon.tap.non_get == []


def wait_for_all(slack: FakeSlack, deaths: Sequence[str]) -> None:
    """Wait until all are told, or until it is plain that some never will be."""
    try:
        slack.wait(lambda _: not set(deaths) - set(told_of(slack)), _TOLD_SECONDS)
    except TimeoutError:
        return


def report(kills: Sequence[tuple[str, int]], deaths: Sequence[str], told: Counter[str], lost: Sequence[str]) -> None:
    """Print the figures; pytest shows them with `-s`, or when the proof fails."""
    for point, count in sorted(Counter(point for point, _ in kills).items()):
        print(f"{count:5} {point}")
    twice = sum(1 for count in told.values() if count == 2)
    print(f"{len(kills)} kills, {len(deaths)} deaths, {twice} told twice, {len(lost)} lost {' '.join(lost)}")


@pytest.fixture
def newest_engine() -> Iterator[PrivateEngine]:
    """Give an engine 28 of its own: what ends there ends within the proof alone."""
    with PrivateEngine(Suite.SID) as engine:
        yield engine


@pytest.mark.timeout(400)
def test_one_kill_at_each_boundary_loses_nothing(
    newest_engine: PrivateEngine, slack: FakeSlack, tmp_path: Path
) -> None:
    run_script(tmp_path, newest_engine, slack, [(point, 1) for point in (*POINTS, *SILENCE_POINTS)])


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_200_kills_at_random_boundaries_lose_nothing(
    newest_engine: PrivateEngine, slack: FakeSlack, tmp_path: Path
) -> None:
    seed = int(os.environ.get(SEED) or random.SystemRandom().randrange(10**6))
    print(f"seed {seed}: to repeat, {SEED}={seed} make slow ARGS='-s -k 200_kills'")
    dice = random.Random(seed)  # noqa: S311  it has to be repeatable
    of_a_webhook = [*POINTS, *SILENCE_POINTS]
    points = of_a_webhook + [dice.choice(of_a_webhook) for _ in range(KILLS - len(of_a_webhook))]
    dice.shuffle(points)
    run_script(tmp_path, newest_engine, slack, [(point, passages(point, dice)) for point in points])


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_one_kill_at_each_boundary_of_posts_edits_and_threads_loses_nothing(
    newest_engine: PrivateEngine, slack: FakeSlack, tmp_path: Path
) -> None:
    points = [(point, 1) for point in ALL_POINTS if point.startswith(("sender", "watch", "silence"))]
    run_script(tmp_path, newest_engine, slack, [*points, *points], bot="#alerts")


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_200_kills_of_a_bot_lose_nothing(newest_engine: PrivateEngine, slack: FakeSlack, tmp_path: Path) -> None:
    seed = int(os.environ.get(SEED) or random.SystemRandom().randrange(10**6))
    print(f"seed {seed}: to repeat, {SEED}={seed} make slow ARGS='-s -k 200_kills_of_a_bot'")
    dice = random.Random(seed)  # noqa: S311  it has to be repeatable
    points = [*ALL_POINTS] + [dice.choice([*ALL_POINTS]) for _ in range(KILLS - len(ALL_POINTS))]
    dice.shuffle(points)
    run_script(tmp_path, newest_engine, slack, [(point, passages(point, dice)) for point in points], bot="#alerts")


def passages(point: str, dice: random.Random) -> int:
    """Choose at which of its passages a point kills; many come by only now and then."""
    often = point.startswith(("watch", "sender")) and point not in {**EDIT_POINTS, **SILENCE_POINTS}
    return dice.randint(1, 4) if often else 1
