"""One message for each incident: a real lane and the real Slack SDK before a local Slack, on a simulated clock."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from daemon.alerts import outbox
from daemon.alerts.lane import Lane
from daemon.alerts.slack_bot import SlackBotSink
from daemon.alerts.state import Notice, NoticeKind
from policies.policy import Severity
from tests.daemon.alerts.build import BAD, CRASHED, DISK, LOOP, OK, OOM, ROOT, Story, compose, condition, occurrence
from tests.lab.slack import AUTH, HTML, POST, TOKEN, UPDATE, rate_limited, refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from daemon.alerts.message import Message
    from daemon.alerts.sink import Outcome
    from daemon.store import Store
    from policies.policy import Condition, Occurrence
    from tests.fakes.clock import FakeClock
    from tests.lab.slack import FakeSlack

LOW = condition(BAD, DISK, ROOT, reason="11.4 GiB (9 %) left")
WORSE = condition(BAD, DISK, ROOT, severity=Severity.CRITICAL, reason="3.0 GiB (2 %) left")
FREE = condition(OK, DISK, ROOT, reason="60.0 GiB (47 %) left")
TRAINERS = [compose("train", number) for number in range(1, 41)]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what would lead the SDK elsewhere than to the local Slack."""
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


class Desk:
    """A lane to the local Slack, and the rounds of a watch."""

    per_second = 0.0

    def __init__(self, store: Store, clock: FakeClock, slack: FakeSlack) -> None:
        self.store = store
        self.clock = clock
        self.slack = slack
        self.story = Story()
        self.lane = self.new_lane()

    def new_lane(self) -> Lane:
        """Build the lane as a start of the daemon does."""
        return Lane(
            store=self.store,
            sink=SlackBotSink(SecretStr(TOKEN), "#alerts", api_url=self.slack.api_url),
            clock=self.clock,
            host="h",
            per_second=self.per_second,
            jitter=lambda: 1.0,
            abandoned=threading.Event(),
        )

    def find(self, *findings: Condition | Occurrence, after: float = 0) -> None:
        """Let seconds pass, do a round of the watch, and work the lane."""
        self.note(*findings, after=after)
        self.lane.send_due()

    def note(self, *findings: Condition | Occurrence, after: float = 0) -> None:
        """Let seconds pass and do a round of the watch."""
        self.clock.advance(timedelta(seconds=after))
        step = self.story.step(*findings, after=after)
        save = partial(
            outbox.save,
            changed=step.changed,
            notices=step.notices,
            sinks=["slack"],
            group_wait=timedelta(0),
            now=self.clock.now(),
        )
        self.store.write(save)

    def pass_time(self, seconds: float) -> None:
        """Let time pass as the sender's thread does: it looks when the lane says so."""
        end = self.clock.monotonic() + seconds
        while (left := end - self.clock.monotonic()) > 0:
            self.clock.advance(timedelta(seconds=min(max(self.lane.send_due(), 0.001), left)))
        self.lane.send_due()

    @property
    def messages(self) -> list[Mapping[str, Any]]:
        """What stands in the channel, oldest first."""
        return list(self.slack.channels["#alerts"].messages.values())

    @property
    def headlines(self) -> list[str]:
        """The first lines of that."""
        return [message["text"].split("\n")[0] for message in self.messages]

    @property
    def thread(self) -> list[str]:
        """All lines in threads, with a mark at those that went into the channel too."""
        threads = self.slack.channels["#alerts"].threads
        return [
            ("(aloud) " if line["reply_broadcast"] else "") + line["text"]
            for lines in threads.values()
            for line in lines
        ]

    def asked(self, method: str) -> int:
        """Count the requests to this method."""
        return sum(request.method == method for request in self.slack.requests)


class SlowSlackBot(SlackBotSink):
    """Takes its time over the next post: so much happens in `meanwhile`."""

    def __init__(self, meanwhile: Callable[[], None], api_url: str) -> None:
        super().__init__(SecretStr(TOKEN), "#alerts", api_url=api_url)
        self._meanwhile = meanwhile

    def send(self, message: Message) -> Outcome:
        """Post it."""
        outcome = super().send(message)
        self._meanwhile()
        return outcome


@pytest.fixture
def desk(store: Store, clock: FakeClock, slack: FakeSlack) -> Desk:
    return Desk(store, clock, slack)


def test_an_incident_is_one_message_edited_when_it_is_over(desk: Desk) -> None:
    desk.find(LOW)
    desk.find(FREE, after=60)
    desk.find(FREE, after=300)
    assert desk.headlines == ["🟢 / is filling · resolved after 6 min: 60.0 GiB (47 %) left · h"]
    assert desk.thread == ["🟢 / is filling · resolved after 6 min: 60.0 GiB (47 %) left"]
    assert (desk.asked(POST), desk.asked(UPDATE)) == (2, 1)


def test_a_rise_to_critical_goes_into_the_channel_at_once(desk: Desk) -> None:
    desk.find(LOW)
    desk.find(WORSE, after=3)
    assert desk.headlines == ["🔴 / is filling: 3.0 GiB (2 %) left · h"]
    assert desk.thread == ["(aloud) 🔴 / is filling, raised to critical: 3.0 GiB (2 %) left"]


def test_edits_of_one_message_keep_their_distance_and_collapse(desk: Desk) -> None:
    desk.find(occurrence(OOM, TRAINERS[0]))
    for number, trainer in enumerate(TRAINERS[1:12], 2):
        desk.find(*(occurrence(OOM, each) for each in TRAINERS[:number]), after=1)
        assert desk.asked(UPDATE) == 0, trainer
    desk.pass_time(4)
    assert desk.asked(UPDATE) == 1
    assert desk.headlines == ["🟠 nlp-train-1 was killed for memory, and 11 more containers of compose project nlp · h"]
    assert len(desk.thread) == 1, "what came together is one entry in the thread"


def test_figures_that_change_are_shown_in_a_while_and_without_a_word(desk: Desk) -> None:
    desk.find(LOW)
    for left in ("11.3", "11.2", "11.1"):
        desk.find(condition(BAD, DISK, ROOT, reason=f"{left} GiB (9 %) left"), after=10)
    assert desk.asked(UPDATE) == 0
    desk.pass_time(60)
    assert desk.headlines == ["🟠 / is filling: 11.1 GiB (9 %) left · h"]
    assert (desk.asked(UPDATE), desk.thread) == (1, [])
    desk.pass_time(600)
    assert desk.asked(UPDATE) == 1, "nothing changed since"


def test_what_changes_while_its_message_goes_out_is_shown_too(desk: Desk) -> None:
    worse = condition(BAD, DISK, ROOT, reason="11.1 GiB (9 %) left")

    def meanwhile() -> None:
        desk.note(worse, after=1)
        desk.clock.advance(timedelta(seconds=1))

    desk.lane.sink = SlowSlackBot(meanwhile, desk.slack.api_url)
    desk.find(LOW)
    desk.pass_time(60)
    assert desk.headlines == ["🟠 / is filling: 11.1 GiB (9 %) left · h"]
    assert desk.asked(UPDATE) == 1


def test_what_comes_again_soon_goes_on_in_its_message(desk: Desk) -> None:
    desk.find(LOW)
    desk.find(FREE, after=60)
    desk.find(FREE, after=300)
    desk.find(LOW, after=300)
    assert desk.headlines == ["🟠 / is filling: 11.4 GiB (9 %) left · h"]
    assert desk.thread[1:] == ["🟠 / is filling: 11.4 GiB (9 %) left"]


def test_what_comes_again_later_is_another_message(desk: Desk) -> None:
    desk.find(LOW)
    desk.find(FREE, after=60)
    desk.find(FREE, after=300)
    desk.find(LOW, after=3600)
    assert [line[0] for line in desk.headlines] == ["🟢", "🟠"]


def test_what_comes_again_as_critical_goes_into_the_channel_too(desk: Desk) -> None:
    desk.find(LOW)
    desk.find(FREE, after=60)
    desk.find(FREE, after=300)
    desk.find(WORSE, after=60)
    assert len(desk.messages) == 1
    assert desk.thread[-1] == "(aloud) 🔴 / is filling: 3.0 GiB (2 %) left"


def test_others_of_the_family_join_a_young_message_and_an_old_one_no_more(desk: Desk) -> None:
    first, second, third = (occurrence(OOM, trainer) for trainer in TRAINERS[:3])
    desk.find(first)
    desk.find(first, second, after=60)
    assert len(desk.messages) == 1
    assert desk.thread == ["🟠 nlp-train-2 was killed for memory: exited 7 (error) after 3 h 12 min"]
    desk.find(first, second, third, after=900)
    assert len(desk.messages) == 2


def test_some_are_over_and_some_are_not(desk: Desk) -> None:
    kills = [occurrence(OOM, trainer) for trainer in TRAINERS[:3]]
    desk.find(*kills)
    well = [condition(OK, OOM, TRAINERS[1], reason="running without another kill")]
    for _ in range(2):
        desk.find(*well, after=1800)
    (shown,) = desk.messages
    assert shown["text"].startswith("🟠 nlp-train-1 was killed for memory, and 1 more container")
    assert "🟢 nlp-train-2: resolved after 1 h: running without another kill" in str(shown["blocks"])
    assert "nlp-train-2 was killed for memory · resolved" in desk.thread[-1]


def test_a_crash_that_turns_out_to_be_a_loop_is_said_in_its_message(desk: Desk) -> None:
    crash = occurrence(CRASHED, TRAINERS[0])
    desk.find(crash)
    desk.find(crash, after=30)
    loop = condition(BAD, LOOP, TRAINERS[0], severity=Severity.CRITICAL, reason="ended 5 times within 10 min")
    desk.find(crash, loop, after=30)
    desk.pass_time(120)
    assert desk.headlines == [
        "🟠 nlp-train-1 crashed · now part of container-restart-loop · h",
        "🔴 nlp-train-1 keeps restarting: ended 5 times within 10 min · h",
    ]


def test_a_deleted_message_is_posted_anew_with_the_next_news(desk: Desk) -> None:
    desk.find(LOW)
    (ts,) = desk.slack.channels["#alerts"].messages
    desk.slack.delete("#alerts", ts)
    desk.find(WORSE, after=60)
    assert desk.headlines == ["🔴 / is filling: 3.0 GiB (2 %) left · h"]
    assert "the message before" not in str(desk.messages)
    desk.find(FREE, after=60)
    desk.find(FREE, after=300)
    assert [line[0] for line in desk.headlines] == ["🟢"], "the new one is edited from then on"


def test_whoever_deletes_a_message_does_not_get_it_back_for_a_figure(desk: Desk) -> None:
    desk.find(LOW)
    (ts,) = desk.slack.channels["#alerts"].messages
    desk.slack.delete("#alerts", ts)
    desk.find(condition(BAD, DISK, ROOT, reason="11.3 GiB (9 %) left"), after=60)
    desk.pass_time(600)
    assert (desk.messages, desk.asked(UPDATE)) == ([], 1)


def test_a_message_that_may_not_be_edited_any_more_is_linked_from_the_new_one(desk: Desk) -> None:
    desk.find(LOW)
    desk.slack.fail_method(UPDATE, refused("edit_window_closed"))
    desk.find(WORSE, after=60)
    assert len(desk.messages) == 2
    assert "https://example.slack.com/archives/C0ALERTS/p1800000000000001|the message before>" in str(desk.messages[1])


def test_a_thread_that_is_locked_costs_nothing_but_its_line(desk: Desk) -> None:
    desk.find(LOW)
    desk.slack.fail_method(POST, refused("restricted_action_thread_locked"))
    desk.find(FREE, after=60)
    desk.find(FREE, after=300)
    assert [line[0] for line in desk.headlines] == ["🟢"]
    assert (desk.lane.stats.state, desk.lane.stats.depth) == ("ok", 0)


def test_a_restart_goes_on_in_the_messages_that_stand(desk: Desk) -> None:
    desk.find(LOW)
    desk.lane = desk.new_lane()
    desk.find(FREE, after=60)
    desk.find(FREE, after=300)
    assert [line[0] for line in desk.headlines] == ["🟢"]


def test_a_sink_that_asked_to_be_left_alone_is_left_alone_by_the_next_daemon_too(desk: Desk) -> None:
    desk.slack.fail_method(POST, rate_limited(30))
    desk.find(LOW)
    desk.clock.advance(timedelta(seconds=10))
    desk.lane = desk.new_lane()
    desk.find(LOW, occurrence(OOM, TRAINERS[0]), after=10)
    assert desk.asked(POST) == 1
    desk.pass_time(10)
    assert len(desk.messages) == 2


def test_an_edit_that_is_limited_waits_and_shows_the_newest_state(desk: Desk) -> None:
    desk.find(LOW)
    desk.slack.fail_method(UPDATE, rate_limited(20))
    desk.find(WORSE, after=60)
    desk.find(condition(BAD, DISK, ROOT, severity=Severity.CRITICAL, reason="0.5 GiB (1 %) left"), after=10)
    desk.pass_time(20)
    assert desk.headlines == ["🔴 / is filling: 0.5 GiB (1 %) left · h"]
    assert len(desk.thread) == 1


def test_a_token_that_was_revoked_is_asked_about_without_a_post_until_it_is_replaced(desk: Desk) -> None:
    desk.slack.tokens.clear()
    desk.find(LOW)
    desk.pass_time(1800)
    assert desk.lane.stats.state == "down"
    assert "invalid_auth" in desk.lane.stats.last_error
    assert desk.asked(POST) == 0, "the first question already told"
    assert 6 <= desk.asked(AUTH) <= 10, "every five minutes in the end"
    desk.slack.tokens.add("xoxb-new")
    new = SlackBotSink(SecretStr("xoxb-new"), "#alerts", api_url=desk.slack.api_url)
    desk.lane.adopt(new, "h", 0)
    desk.lane.send_due()
    assert desk.headlines == ["🟠 / is filling: 11.4 GiB (9 %) left · h"]
    assert (desk.lane.stats.state, desk.lane.stats.last_error) == ("ok", "")


def told_again(desk: Desk, kind: NoticeKind, **changes: Any) -> None:
    """Let the one alert on the disk be told of once more, as another kind of news."""
    state = desk.story.state(DISK)
    desk.story.states[state.fingerprint] = state = replace(state, version=state.version + 1, **changes)
    save = partial(
        outbox.save,
        changed=[state],
        notices=[Notice(kind=kind, state=state)],
        sinks=["slack"],
        group_wait=timedelta(0),
        now=desk.clock.now(),
    )
    desk.store.write(save)
    desk.lane.send_due()


def test_a_reminder_goes_into_the_channel(desk: Desk) -> None:
    desk.find(LOW)
    desk.clock.advance(timedelta(hours=24))
    told_again(desk, NoticeKind.REMINDED)
    assert len(desk.messages) == 1
    assert desk.thread == [
        "(aloud) 🟠 / is filling: 11.4 GiB (9 %) left. It still fires, and nobody has acknowledged it."
    ]


def test_what_comes_and_goes_is_said_so_in_its_message(desk: Desk) -> None:
    desk.find(LOW)
    desk.clock.advance(timedelta(minutes=2))
    told_again(desk, NoticeKind.FLAPPING, flapping=True, episode=2)
    assert len(desk.messages) == 1
    assert "It comes and goes" in str(desk.messages[0]["blocks"])
    assert desk.thread == ["🟠 / is filling, and not for the first time: it comes and goes"]


def test_who_looks_after_it_stands_in_the_message_and_once_in_the_thread(desk: Desk) -> None:
    desk.find(LOW)
    state = desk.story.state(DISK)
    desk.clock.advance(timedelta(seconds=61))
    acked = replace(state, acked_by="root")
    save = partial(
        outbox.save, changed=[acked], notices=[], sinks=["slack"], group_wait=timedelta(0), now=desk.clock.now()
    )
    desk.store.write(save)
    desk.lane.send_due()
    desk.pass_time(300)
    assert "root looks after it." in str(desk.messages[0]["blocks"])
    assert desk.thread == ["root looks after it: / is filling"]


def test_a_storm_is_a_few_messages_that_name_all_and_ends_in_them(desk: Desk) -> None:
    fleet = [compose("web", number, project=f"shop-{number // 20:02}") for number in range(500)]
    looping, killed = fleet[::5], [each for number, each in enumerate(fleet) if number % 5]
    loops = (condition(BAD, LOOP, each, severity=Severity.CRITICAL, reason="ended 5 times") for each in looping)
    desk.find(*loops, *(occurrence(OOM, each) for each in killed))
    desk.pass_time(600)
    assert len(desk.messages) == 5
    assert desk.headlines[0].endswith("keeps restarting, and 99 more containers · h"), "the worst first"
    assert desk.headlines[1].endswith("was killed for memory, and 124 more containers · h")
    shown = str([message["blocks"] for message in desk.messages])
    missing = {each.name for each in fleet if each.name not in shown}
    assert missing == set()
    well = [*(condition(OK, LOOP, each) for each in looping), *(condition(OK, OOM, each) for each in killed)]
    desk.find(*well, after=60)
    desk.find(*well, after=3600)
    desk.pass_time(600)
    assert len(desk.messages) == 5
    assert all(line.startswith("🟢") for line in desk.headlines), desk.headlines


def test_much_that_is_over_at_once_does_not_wait_for_a_message_that_was_edited_just_now(desk: Desk) -> None:
    fleet = [compose("web", project=f"shop-{number:02}") for number in range(12)]
    loops, well = ([condition(state, LOOP, each) for each in fleet] for state in (BAD, OK))
    desk.find(*loops[:10])
    desk.find(*loops, after=100)
    desk.find(*loops[:10], *well[10:], after=1)
    assert sum(line.startswith("🟢") for line in desk.headlines) == 0, "these two were posted a second ago"
    desk.find(*well, after=2)
    assert sum(line.startswith("🟢") for line in desk.headlines) == 10
    desk.pass_time(15)
    assert all(line.startswith("🟢") for line in desk.headlines), desk.headlines


class Pace:
    """When requests were made, by the simulated clock."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._before = len(desk.slack.requests)
        self.at: list[float] = []

    def pass_time(self, seconds: float) -> None:
        """Let time pass second by second, and note what was asked of Slack in each."""
        for _ in range(int(seconds)):
            self._desk.clock.advance(timedelta(seconds=1))
            self._desk.lane.send_due()
            new = len(self._desk.slack.requests) - self._before
            self.at += [self._desk.clock.monotonic()] * new
            self._before += new


def test_six_hours_without_slack_lose_nothing_and_end_in_order_and_at_its_pace(desk: Desk) -> None:
    desk.per_second = 1
    desk.lane = desk.new_lane()
    projects = [compose("train", project=f"project-{number:02}") for number in range(30)]
    desk.find(LOW, *(occurrence(OOM, each) for each in projects[:9]))
    desk.pass_time(60)
    assert len(desk.messages) == 10, "one more at once would be a storm, told together"
    desk.slack.fail_always(HTML)
    for hour in range(6):
        found = [occurrence(OOM, each) for each in projects[10 * (hour > 2) :][:10]]
        desk.find(LOW if hour < 3 else WORSE, *found, after=3600)
        desk.pass_time(600)
    well = [condition(OK, OOM, each, reason="running without another kill") for each in projects[:10]]
    desk.find(WORSE, *well)
    desk.find(WORSE, *well, after=1801)
    asked = len(desk.slack.requests)
    desk.slack.heal()
    pace = Pace(desk)
    pace.pass_time(600)
    assert asked < 11 * 4 + 8 * 60, "it was asked now and then, not in a storm"
    over, wrong = (sum(line.startswith(mark) for line in desk.headlines) for mark in ("🟢", "🟠"))
    assert desk.headlines[0] == "🔴 / is filling: 3.0 GiB (2 %) left · h", "edited in its place"
    assert (over, wrong) == (10, 10), "what is over is so in its own message, what is new has one"
    critical = "(aloud) 🔴 / is filling, raised to critical: 3.0 GiB (2 %) left"
    assert critical in desk.thread[:2], "the worst first, after the one by which the end of the silence was found"
    assert desk.lane.stats.depth == 0
    for second in range(len(pace.at)):
        within = [at for at in pace.at if pace.at[second] <= at < pace.at[second] + 30]
        assert len(within) <= 30 + 3 + 1, "a second each, after a burst of three"
