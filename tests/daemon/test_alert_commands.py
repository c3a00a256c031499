"""What people say about alerts, from the command line to what the watch takes up."""

from __future__ import annotations

import json
import os
import sys
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from daemon.alert_answers import AlertAnswers
from daemon.alerts import chronicle, outbox
from daemon.alerts.acks import Acks
from daemon.alerts.silences import MOST, Silences
from daemon.cli import main
from daemon.control import ControlServer
from daemon.errors import ShipkeeperError
from daemon.status import alerts_json
from daemon.steady import SteadyClock
from daemon.verbs import Role, verb_table
from policies.policy import Severity
from tests.daemon.alerts.build import BAD, CRASHED, DISK, LOOP, OK, ROOT, Story, compose, condition, occurrence
from tests.fakes.crew import a_crew

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from daemon.store import Store
    from daemon.web.exchange import Request
    from policies.policy import Condition, Occurrence
    from tests.fakes.clock import FakeClock

ME = f"{os.environ.get('USER', 'root')} (uid {os.geteuid()})"


class Host:
    """The decision side of a daemon on a fake clock, with its control socket."""

    def __init__(self, store: Store, clock: FakeClock, path: Path) -> None:
        self.store = store
        self.wall = clock
        self.clock = SteadyClock(clock, clock.now())
        self.story = Story()
        self.woken = 0
        self.silences, self.acks = Silences(store, self.clock), Acks(store, self.clock)
        self.answers = AlertAnswers(store, self.silences, self.acks, self.clock, self._wake)
        self.server = ControlServer(path, self._verbs(), a_crew())

    def find(self, *findings: Condition | Occurrence, after: float = 0) -> list[tuple[str, str]]:
        """Do a round of the watch; give the news as (alert, kind)."""
        self.wall.advance(timedelta(seconds=after))
        silences, ended = self.silences.at(self.clock.now())
        self.story.silences, self.story.acks = (*silences, *ended), dict(self.acks.by_alert())
        telling = self.story.step(*findings, after=after)
        now = self.clock.now()
        save = partial(outbox.save, changed=telling.changed, notices=telling.notices, sinks=["slack"], now=now)
        self.store.write(partial(save, group_wait=timedelta(0)))
        self.store.write(lambda inside: chronicle.save_happenings(inside, telling.happened, now))
        self.store.write(lambda inside: self.silences.save_told(inside, ended))
        self.silences.forget(ended)
        return [(notice.state.alert, notice.kind.value) for notice in telling.notices]

    def restart(self) -> None:
        """Begin anew with what the store holds."""
        self.silences, self.acks = Silences(self.store, self.clock), Acks(self.store, self.clock)

    def _wake(self) -> None:
        self.woken += 1

    def _verbs(self) -> Any:
        def unused(_: Request) -> list[Any]:
            return []

        return verb_table(
            status=unused,
            plan=unused,
            apply=unused,
            run=unused,
            audit=unused,
            autopsy=unused,
            alerts=lambda _: alerts_json(self.story.states.values()),
            alerts_test=unused,
            alerts_show=lambda request: self.answers.show(request.query),
            alerts_history=lambda request: self.answers.history(request.query),
            alerts_ack=lambda request: self.answers.ack(request.query, self._who(request)),
            silences=lambda _: self.answers.silences(),
            silence=lambda request: self.answers.silence(request.query, self._who(request)),
            unsilence=lambda request: self.answers.unsilence(request.query, self._who(request)),
        )

    def _who(self, request: Request) -> str:
        assert request.peer is not None
        return request.peer.words


@pytest.fixture
def host(store: Store, clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    path = tmp_path / "control.sock"
    monkeypatch.setenv("SHIPKEEPER_CONTROL__SOCKET", str(path))
    monkeypatch.delenv("SHIPKEEPER_CONFIG", raising=False)
    host = Host(store, clock, path)
    host.server.start()
    yield host
    host.server.close()


class Shell:
    """Runs `shipkeeper alerts` in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: str) -> list[str]:
        """Give the lines that were printed, those of a failure too."""
        self._monkeypatch.setattr(sys, "argv", ["shipkeeper", "alerts", *arguments])
        with pytest.raises(SystemExit):
            main()
        printed = self._capsys.readouterr()
        return (printed.out + printed.err).splitlines()


@pytest.fixture
def alerts(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(monkeypatch, capsys)


TRAIN = compose("train", 3)
LOOPING = condition(BAD, LOOP, TRAIN, severity=Severity.CRITICAL, reason="ended 5 times within 10 min")


def test_a_silence_says_what_it_covers_and_how_to_end_it(host: Host, alerts: Shell) -> None:
    host.find(LOOPING, condition(BAD, DISK, ROOT, reason="11.4 GiB (9 %) left"))
    said = alerts("silence", "project=nlp", "--for", "2h", "--reason", "new cluster")
    looping = f"{host.story.state(LOOP).fingerprint[:8]}  nlp-train-3 keeps restarting: ended 5 times within 10 min"
    assert said == [
        f"silence 1 of project=nlp by {ME}: new cluster · until 2026-11-23 18:02 UTC",
        f"critical  {looping} · firing since 2026-11-23 16:02 UTC",
        "to end it: shipkeeper alerts unsilence 1",
    ]
    assert host.woken == 1
    host.find(LOOPING, after=5)
    assert "silenced by 1" in "\n".join(alerts("list"))
    assert alerts("silences") == [
        f"silence 1 of project=nlp by {ME}: new cluster · until 2026-11-23 18:02 UTC · 1 alert covered now"
    ]


def test_a_silence_of_nothing_that_is_on_says_so(host: Host, alerts: Shell) -> None:
    host.find(LOOPING)
    said = alerts("silence", "container=~ci-.*", "--reason", "load test")
    assert "nothing that is on now is covered by it" in said[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["project=nlp"], "needs a reason"),
        (["--reason", "x"], "needs a condition"),
        (["project=nlp", "--reason", "x", "--for", "8d"], "at most 7 days"),
        (["project=nlp", "--reason", "x", "--for", "2"], '"2" is no time for a silence to end'),
        (["project=nlp", "--reason", "x", "--until", "2020-01-01"], "is over already"),
        (["projct=nlp", "--reason", "x"], 'did you mean "project"?'),
        (["a=b"] * 11, "at most 10 conditions"),
    ],
)
def test_a_silence_that_makes_no_sense_is_refused_with_the_cure(
    host: Host, alerts: Shell, arguments: list[str], words: str
) -> None:
    assert words in "\n".join(alerts("silence", *arguments))
    assert host.silences.in_force() == ()


def test_silences_and_acknowledgements_outlive_a_restart_and_end_on_time(host: Host, alerts: Shell) -> None:
    alerts("silence", "project=nlp", "--for", "30m", "--reason", "new cluster")
    assert host.find(LOOPING) == []
    host.restart()
    assert host.find(LOOPING, after=29 * 60) == []
    host.restart()
    assert host.find(LOOPING, after=60) == [], "it is told in the report of the end"
    assert host.story.state(LOOP).heard == "firing"
    assert host.silences.in_force() == ()
    alerts("ack", "nlp-train-3")
    host.restart()
    host.find(LOOPING, after=1)
    assert host.story.state(LOOP).acked_by == ME


def test_a_silence_ends_at_its_time_though_the_wall_clock_is_set(host: Host, alerts: Shell) -> None:
    alerts("silence", "project=nlp", "--for", "30m", "--reason", "new cluster")
    host.wall.step(timedelta(days=365))
    assert host.find(LOOPING, after=60) == []
    assert "until 2027-11-23 16:32 UTC" in alerts("silences")[0]


def test_a_silence_can_be_ended_and_only_once(host: Host, alerts: Shell) -> None:
    alerts("silence", "project=nlp", "--reason", "new cluster")
    host.find(LOOPING)
    said = alerts("unsilence", "1")
    assert said[0] == f"ended: silence 1 of project=nlp by {ME}: new cluster"
    assert "nlp-train-3 keeps restarting" in said[2]
    host.find(LOOPING, after=1)
    assert alerts("unsilence", "1")[0] == "shipkeeper: the daemon refused: there is no silence 1 in force"
    assert "is no number of a silence" in alerts("unsilence", "all")[0]


def test_there_are_not_more_silences_than_can_be_looked_through(host: Host) -> None:
    query = {"matchers": '["project=nlp"]', "until": "1h", "why": "x"}
    for _ in range(MOST):
        host.answers.silence(query, ME)
    with pytest.raises(ShipkeeperError, match="there are 100 silences already"):
        host.answers.silence(query, ME)


def test_who_looks_after_an_alert_is_shown_until_it_gets_worse_or_is_over(host: Host, alerts: Shell) -> None:
    low = condition(BAD, DISK, ROOT, reason="11.4 GiB (9 %) left")
    host.find(low)
    assert alerts("ack", "/", "--reason", "deleting old checkpoints") == [
        f"{ME} looks after it: / is filling: 11.4 GiB (9 %) left",
        "nobody is reminded of it until it is over or gets worse",
    ]
    host.find(low, after=5)
    assert f"acknowledged by {ME}" in alerts("list")[0]
    worse = condition(BAD, DISK, ROOT, severity=Severity.CRITICAL, reason="1.0 GiB (1 %) left")
    assert host.find(worse, after=5) == [(DISK, "escalated")]
    assert "acknowledged" not in alerts("list")[0]


@pytest.mark.parametrize(
    ("name", "words"),
    [("nobody", 'no alert is known of "nobody"'), ("", 'no alert is known of ""'), ("trainer-3", "fires;")],
)
def test_only_what_fires_can_be_taken_on(host: Host, alerts: Shell, name: str, words: str) -> None:
    host.find(occurrence(CRASHED))
    assert words in alerts("ack", name)[0]


def test_an_alert_is_shown_with_all_that_is_known_of_it(host: Host, alerts: Shell) -> None:
    crash = occurrence(CRASHED, log_tail=("step 4180 loss 2.113", "killed"))
    host.find(crash)
    host.find(crash, after=30)
    alerts("ack", "trainer-3", "--reason", "the new image")
    host.find(crash, after=1)
    key = host.story.state().fingerprint
    assert alerts("show", key[:4]) == [
        "trainer-3 crashed: exited 7 (error) after 3 h 12 min",
        f"alert        container-crashed, warning · id {key}",
        f"state        firing since 2026-11-23 16:02 UTC · acknowledged by {ME} · episode 1",
        "container    3f2a9c41d07b · image nlp/train:2026-11",
        f"acknowledged 2026-11-23 16:02 UTC by {ME}: the new image",
        "told         slack: fired, due 2026-11-23 16:02 UTC",
        "history      2026-11-23 16:02 UTC  firing: container-crashed trainer-3 · exited 7 (error) after 3 h 12 min",
        f"             2026-11-23 16:02 UTC  acknowledged: container-crashed trainer-3 · the new image · by {ME}",
        "last log     step 4180 loss 2.113",
        "             killed",
    ]
    host.find(crash, condition(OK, CRASHED), after=60)
    host.find(crash, condition(OK, CRASHED), after=120)
    assert "resolved" in alerts("show", "trainer-3")[2], "what is over is known, too"


def test_the_history_tells_what_happened_and_who_did_what(host: Host, alerts: Shell) -> None:
    alerts("silence", "project=nlp", "--reason", "new cluster")
    host.find(LOOPING)
    host.find(condition(OK, LOOP, TRAIN), after=60)
    alerts("unsilence", "1")
    host.find(after=60)
    at = "2026-11-23 16:0"
    assert alerts("history") == [
        f"{at}2 UTC  silenced · silence 1 of project=nlp by {ME}: new cluster · by {ME}",
        f"{at}2 UTC  firing: {LOOP} nlp-train-3 · ended 5 times within 10 min · not told: silence 1",
        f"{at}3 UTC  resolved: {LOOP} nlp-train-3 · running again · not told",
        f"{at}3 UTC  unsilenced · silence 1 of project=nlp by {ME}: new cluster · by {ME}",
        f"{at}4 UTC  silence over · silence 1 of project=nlp by {ME}: new cluster",
    ]
    assert len(alerts("history", "nlp-train-3")) == 2
    assert alerts("history", "--since", "1m")[0].startswith(f"{at}3")
    lines = [json.loads(line) for line in alerts("history", "--json")]
    assert [line["entry"] for line in lines] == [1, 2, 3, 4, 5]
    assert lines[1]["id"] == host.story.state(LOOP).fingerprint
    assert "is no time to begin with" in alerts("history", "--since", "then")[0]


def test_the_history_is_told_in_pages_and_forgotten_after_a_month(host: Host, alerts: Shell) -> None:
    entry = chronicle.Entry(at=host.clock.now(), what="silenced", why="x")
    host.store.write(lambda inside: chronicle.save(inside, [entry] * 2500))
    assert len(alerts("history", "--json")) == 2500
    host.store.write(lambda inside: chronicle.prune(inside, host.clock.now() + timedelta(days=29)))
    assert len(alerts("history")) == 2500
    host.store.write(lambda inside: chronicle.prune(inside, host.clock.now() + timedelta(days=31)))
    assert alerts("history") == []


def test_an_acknowledgement_is_forgotten_a_day_after_its_alert(host: Host) -> None:
    host.find(LOOPING)
    host.answers.ack({"about": "nlp-train-3"}, ME)
    host.wall.advance(timedelta(days=2))
    host.acks.prune()
    assert host.acks.by_alert(), "it still fires"
    host.find(condition(OK, LOOP, TRAIN), after=1)
    host.acks.prune()
    assert not host.acks.by_alert()
    host.restart()
    assert not host.acks.by_alert()


def test_who_may_only_look_cannot_say_anything_about_alerts(host: Host) -> None:
    roles = {verb.path: (verb.method, verb.role) for verb in host._verbs()}
    for path in ("/alerts/ack", "/alerts/silence", "/alerts/unsilence"):
        assert roles[path] == ("POST", Role.OPERATOR)


@pytest.mark.parametrize("command", [["list"], ["silences"], ["show", "/"], ["ack", "/"], ["unsilence", "1"]])
def test_every_answer_can_be_had_as_json(host: Host, alerts: Shell, command: list[str]) -> None:
    host.find(condition(BAD, DISK, ROOT))
    alerts("silence", "project=nlp", "--reason", "x", "--json")
    assert json.loads("\n".join(alerts(*command, "--json")))


def test_a_record_that_cannot_be_read_stops_nothing(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    host.find(condition(BAD, DISK, ROOT))
    host.answers.silence({"matchers": '["project=nlp"]', "until": "1h", "why": "x"}, ME)
    host.answers.ack({"about": "/"}, ME)
    host.store.write(lambda inside: inside.execute("UPDATE silences SET record = '{'"))
    host.store.write(lambda inside: inside.execute("UPDATE acks SET record = '{'"))
    host.restart()
    assert (host.silences.in_force(), dict(host.acks.by_alert())) == ((), {})
    assert "cannot be read" in caplog.text
