"""
The daemon killed with SIGKILL at its commit boundaries, again and again: what people are told in the end.

As a bot it edits: there the message of what is over must say so in the end, whenever it was killed.
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
from typing import TYPE_CHECKING, Any, Self

import pytest

from tests.integration.daemon_under_test import DaemonUnderTest
from tests.lab.binaries import Suite
from tests.lab.engine import PrivateEngine
from tests.lab.mortal import ALL_POINTS, POINTS
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from tests.lab.slack import FakeSlack

SEED = "SHIPKEEPER_TEST_SEED"
"""An environment variable: the seed of the run to repeat."""
MIGRATION = "start: within a migration"
LATE = frozenset(point for point in POINTS if not point.startswith("start"))
"""Points at which messages can have gone out."""
KILLS = 200
_NAME = re.compile(r"death-\d{5}")
_PASSED_SECONDS = 60
_TOLD_SECONDS = 60


class Misfortune:
    """
    A context manager: a thread whose containers end badly, each under a name of its own and each once.

    Every end that Docker has confirmed goes into a journal on the disk. What people were told of is removed: all but
    the last `standing` ones. Each belongs to a compose project of its own, so that no two share a message.
    """

    def __init__(self, engine: PrivateEngine, slack: FakeSlack, journal: Path, standing: int = 20) -> None:
        self._engine = engine
        self._slack = slack
        self._journal = journal
        self._standing: list[str] = []
        self._most_standing = standing
        self.buried: set[str] = set()
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
                    self._die(f"death-{number:05}")
                    journal.write(f"death-{number:05}\n")
                    journal.flush()
                    os.fsync(journal.fileno())
                    self._bury()
        except Exception as fault:  # noqa: BLE001  raised again by `end`, in the test's own thread
            self._fault = fault

    def _die(self, name: str) -> None:
        labels = {f"com.docker.compose.{key}": name for key in ("project", "service")}
        container = self._engine.run(["sh", "-c", "exit 3"], name=name, config={"labels": labels})
        assert self._engine.api.wait(container)["StatusCode"] == 3
        self._standing.append(name)

    def _bury(self) -> None:
        told = told_of(self._slack)
        for name in [name for name in self._standing[: -self._most_standing] if told[name]]:
            self._engine.api.remove_container(name)
            self._standing.remove(name)
            self.buried.add(name)


def told_of(slack: FakeSlack) -> Counter[str]:
    """Count the messages in which each crash is told; what is resolved is another message."""
    return _count(payload for payload in slack.delivered if "🟢" not in str(payload["text"]))


def over_of(slack: FakeSlack) -> Counter[str]:
    """Count the messages, or lines in threads, in which the end of each is told."""
    return _count(payload for payload in slack.delivered if "🟢" in str(payload["text"]))


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
            "SELECT kind, json_extract(record, '$.subject.name') FROM outbox"
            " WHERE sink = 'slack' AND kind IN ('fired', 'resolved') AND state = 'due'"
        )
        taken = {"fired": told_of(slack), "resolved": over_of(slack)}
        return {name for kind, name in rows if taken[kind][name]}


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
            with Misfortune(engine, slack, folder / "journal", 5 if bot else 20) as misfortune:
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
    report(kills, deaths, told, lost)
    assert lost == []
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
    run_script(tmp_path, newest_engine, slack, [(point, 1) for point in POINTS])


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_200_kills_at_random_boundaries_lose_nothing(
    newest_engine: PrivateEngine, slack: FakeSlack, tmp_path: Path
) -> None:
    seed = int(os.environ.get(SEED) or random.SystemRandom().randrange(10**6))
    print(f"seed {seed}: to repeat, {SEED}={seed} make slow ARGS='-s -k 200_kills'")
    dice = random.Random(seed)  # noqa: S311  it has to be repeatable
    points = [*POINTS] + [dice.choice([*POINTS]) for _ in range(KILLS - len(POINTS))]
    dice.shuffle(points)
    run_script(tmp_path, newest_engine, slack, [(point, passages(point, dice)) for point in points])


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_one_kill_at_each_boundary_of_posts_edits_and_threads_loses_nothing(
    newest_engine: PrivateEngine, slack: FakeSlack, tmp_path: Path
) -> None:
    points = [(point, 1) for point in ALL_POINTS if point.startswith(("sender", "watch"))]
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
    """Choose at which of its passages a point kills; those of a start, an end and a prune come by only once."""
    return dice.randint(1, 4) if point.startswith(("watch", "sender")) else 1
