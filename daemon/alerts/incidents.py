"""Keeps one message for each incident where a sink can edit: what is posted, edited in place, or said in a thread."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from daemon.alerts import message, outbox, posts
from daemon.alerts.sink import Gone, Rejected, Sent
from daemon.alerts.state import NoticeKind
from policies.policy import Severity

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from daemon.alerts.message import Message
    from daemon.alerts.outbox import Batch
    from daemon.alerts.posts import Post
    from daemon.alerts.sink import Editor, Outcome
    from daemon.alerts.state import AlertState
    from daemon.store import Store

log = logging.getLogger(__name__)

EDIT_EVERY = timedelta(seconds=15)
"""One message is edited at most so often; what comes meanwhile is shown by the next edit."""
REFRESH_EVERY = timedelta(seconds=60)
"""The same while only figures change: of that nobody is in a hurry to read."""
CONTINUES = timedelta(minutes=10)
"""What comes again so soon after it was over goes on in its message; so does what others of its family join."""

Note: TypeAlias = "Callable[[sqlite3.Connection, datetime], None]"
"""Writes what was done at the sink, in the transaction that marks the news as told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What came of telling some rows of the outbox: `note` holds only if the outcome is `Sent`."""

    ids: tuple[int, ...]
    outcome: Outcome
    note: Note | None = None
    requests: int = 1


def place(store: Store, sink: str, batch: Batch, now: datetime) -> tuple[Batch, Post | None]:
    """Choose the message in which the first of this news goes on, or none, with all news that goes there too."""
    if not batch.states:
        return batch, None
    fingerprints = [state.fingerprint for state in batch.states]
    known = posts.concerned(store, sink, batch.family, fingerprints, now - CONTINUES)
    homes = [_home(state, batch, known, now) for state in batch.states]
    together = [index for index, home in enumerate(homes) if home is homes[0]]
    # Rows that cannot be read go with the first: nothing can be said of them anywhere.
    elsewhere = {batch.rows[index] for index in range(len(homes)) if index not in together}
    mine = replace(
        batch,
        ids=tuple(id_ for id_ in batch.ids if id_ not in elsewhere),
        rows=tuple(batch.rows[index] for index in together),
        states=tuple(batch.states[index] for index in together),
    )
    return mine, homes[0]


def wait_until(batch: Batch, post: Post) -> datetime:
    """Give the time from which this message may be edited again; a rise to critical never waits."""
    return post.edited if _is_louder(batch, post) else post.edited + EDIT_EVERY


def begin(editor: Editor, batch: Batch, shown: Message) -> Delivery:
    """Post what stands in no message yet."""
    outcome = editor.send(shown)
    if not isinstance(outcome, Sent) or outcome.reference is None or not batch.states:
        return Delivery(ids=batch.ids, outcome=outcome)
    digest = _digest(message.incident(batch.states, shown.host))
    add = partial(
        posts.add,
        sink=editor.name,
        family=batch.family,
        reference=outcome.reference,
        states=batch.states,
        digest=digest,
    )
    return Delivery(ids=batch.ids, outcome=outcome, note=lambda connection, now: add(connection, now=now))


def go_on(editor: Editor, batch: Batch, post: Post, host: str) -> Delivery:
    """Edit the message of an incident to how it stands now, and say in its thread what changed."""
    states = _states(post, batch.states)
    shown = message.incident(states, host)
    digest = _digest(shown)
    requests = 1
    if digest != post.digest:
        requests += 1
        outcome = editor.edit(post.reference, shown)
        if isinstance(outcome, Gone):
            return _begin_anew(editor, batch, post, shown, outcome)
        if not isinstance(outcome, Sent):
            return Delivery(ids=batch.ids, outcome=outcome)
    said = editor.reply(post.reference, message.change(batch.states, batch.kind), aloud=_is_louder(batch, post))
    if isinstance(said, Gone | Rejected):
        log.info("%s took no line in the thread of a message: %s", editor.name, said.why)
        said = Sent()
    note = partial(posts.edited, post=post.id, states=states, digest=digest)
    return Delivery(
        ids=batch.ids, outcome=said, requests=requests, note=lambda connection, now: note(connection, now=now)
    )


def refresh(store: Store, editor: Editor, host: str, now: datetime) -> Delivery | None:
    """Edit one message whose alerts changed without being news, and say who took on which; `None` if there is none."""
    post = posts.stale(store, editor.name, now - REFRESH_EVERY)
    if post is None:
        return None
    states = _states(post, ())
    shown = message.incident(states, host)
    digest = _digest(shown)
    outcome: Outcome | Gone = Sent()
    if differs := digest != post.digest:
        outcome = editor.edit(post.reference, shown)
    acked = [each.now for each in post.members if each.now.acked_by and each.now.acked_by != each.shown.acked_by]
    if acked and isinstance(outcome, Sent):
        outcome = editor.reply(post.reference, message.acknowledged(acked), aloud=False)
    if isinstance(outcome, Gone | Rejected):
        # Whoever deleted it does not want it back for a figure; the next news is posted anew.
        outcome = Sent()
    note = partial(posts.edited, post=post.id, states=states, digest=digest)
    return Delivery(
        ids=(), outcome=outcome, requests=differs + bool(acked), note=lambda connection, at: note(connection, now=at)
    )


def _begin_anew(editor: Editor, batch: Batch, post: Post, shown: Message, gone: Gone) -> Delivery:
    """Post what cannot be edited any more, with a link to what people can still read."""
    log.info("a message to %s cannot be edited (%s); it is posted anew", editor.name, gone.why)
    earlier = editor.link(post.reference) if gone.readable else ""
    outcome = editor.send(replace(shown, earlier=earlier))
    requests = 2 + gone.readable
    if not isinstance(outcome, Sent) or outcome.reference is None:
        return Delivery(ids=batch.ids, outcome=outcome, requests=requests)
    reference, states, digest = outcome.reference, _states(post, batch.states), _digest(shown)

    def note(connection: sqlite3.Connection, now: datetime) -> None:
        posts.moved(connection, post.id, reference, now)
        posts.edited(connection, post.id, states, digest, now)

    return Delivery(ids=batch.ids, outcome=outcome, requests=requests, note=note)


def _home(state: AlertState, batch: Batch, known: Sequence[Post], now: datetime) -> Post | None:
    """Give the message that shows this episode, or in which it may go on."""
    all_shown = [(post, member.shown) for post in known for member in post.members]
    showing = [(post, shown) for post, shown in all_shown if shown.fingerprint == state.fingerprint]
    for post, shown in showing:
        if shown.episode == state.episode:
            return post
    if batch.kind not in {NoticeKind.FIRED, NoticeKind.FLAPPING}:
        return None
    if showing and _goes_on(state, *showing[0], now):
        return showing[0][0]
    more = len(batch.states)
    return next((post for post in known if _may_join(state, post, batch.family, more, now)), None)


def _goes_on(state: AlertState, post: Post, shown: AlertState, now: datetime) -> bool:
    """Tell whether it came again before people took the message for an old one."""
    if shown.phase.told or shown.resolved_at is None or state.fired_at is None:
        return now - post.edited <= CONTINUES
    return abs(state.fired_at - shown.resolved_at) <= CONTINUES


def _may_join(state: AlertState, post: Post, family: str, more: int, now: datetime) -> bool:
    """Tell whether a message that people just got is about the same trouble, and no less bad."""
    told = [member.now.severity.rank for member in post.members if member.now.phase.told]
    return (
        post.family == family
        and now - post.posted <= CONTINUES
        and len(post.members) + more <= outbox.most_together(family)
        and max(told, default=-1) >= state.severity.rank
    )


def _is_louder(batch: Batch, post: Post) -> bool:
    """Tell whether people must see it: it is critical, and what they saw last was not; or it is to remind them."""
    if batch.kind is NoticeKind.REMINDED:
        return True
    seen = any(member.shown.phase.told and member.shown.severity is Severity.CRITICAL for member in post.members)
    critical = any(state.severity is Severity.CRITICAL for state in batch.states)
    return critical and not seen and batch.kind is not NoticeKind.RESOLVED


def _states(post: Post, news: Iterable[AlertState]) -> tuple[AlertState, ...]:
    """Give how all alerts of a message stand, by the news where there is some."""
    states = {member.now.fingerprint: member.now for member in post.members}
    return tuple((states | {state.fingerprint: state for state in news}).values())


def _digest(shown: Message) -> str:
    """Tell one text from another; nothing but what people read is in it."""
    read = (shown.headline, shown.lines, shown.log_tail, shown.moments, shown.commands, shown.what_to_do)
    return hashlib.sha256(repr(read).encode()).hexdigest()[:16]
