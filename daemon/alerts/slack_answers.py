"""What Slack's answers mean: which fault passes, which is the message's, and the cure of each that needs a person."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from daemon.alerts.sink import Gone, Outcome, Rejected, Retry, SinkDown
from policies import words

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT_SECONDS = 10
"""How long Slack is waited for."""
POST_SCOPE = "chat:write"
"""What the bot's token must allow."""

_QUOTED = 80
_OK = 200
_TOO_MANY = 429
_CLIENT_ERRORS = range(400, 500)
_ABOUT_THE_MESSAGE = frozenset({400, 413})
_ABOUT_THE_MOMENT = frozenset({408, 425})

_LIMITED = frozenset({"ratelimited", "rate_limited"})
_PASSING = frozenset(
    {
        "internal_error",
        "fatal_error",
        "service_unavailable",
        "request_timeout",
        "team_added_to_org",
        "accesslimited",
    }
)
_REFUSED_FORMS = frozenset(
    {
        "invalid_blocks",
        "invalid_blocks_format",
        "invalid_attachments",
        "invalid_arguments",
        "invalid_json",
        "json_not_object",
        "msg_too_long",
        "msg_blocks_too_long",
        "no_text",
        "too_many_attachments",
        "too_many_blocks",
    }
)
_GONE = {
    "message_not_found": False,
    "thread_not_found": False,
    "cant_update_message": True,
    "edit_window_closed": True,
    "is_inactive": True,
    "cannot_reply_to_message": True,
    "restricted_action_thread_locked": True,
}
"""Why a message cannot be edited or answered, and whether people can still read it."""

_IS_ERROR = re.compile(r"[a-z0-9_:]{1,80}")

_NEW_WEBHOOK = "create a new webhook and put its URL into [slack] webhook_url"
_WEBHOOK_CURES = {
    "no_service": f"the webhook was removed or disabled; {_NEW_WEBHOOK}",
    "no_service_id": f"the URL is not that of a webhook; {_NEW_WEBHOOK}",
    "no_team": f"the workspace is gone or the URL is wrong; {_NEW_WEBHOOK}",
    "no_active_hooks": f"the webhook is disabled; {_NEW_WEBHOOK}",
    "invalid_token": "the URL is wrong or was revoked; copy it again into [slack] webhook_url",
    "team_disabled": "the workspace is disabled; ask its owner",
    "user_not_found": f"the person that the webhook writes to is gone; {_NEW_WEBHOOK}",
    "channel_not_found": f"the channel is gone; {_NEW_WEBHOOK}",
    "channel_is_archived": f"the channel is archived; unarchive it, or {_NEW_WEBHOOK}",
    "action_prohibited": "an admin of the workspace does not allow it; ask them to",
    "posting_to_general_channel_denied": f"this app may not post to the general channel; {_NEW_WEBHOOK}",
}

_NEW_TOKEN = "copy the bot's token, xoxb-…, from the app's page OAuth & Permissions into [slack] token"  # noqa: S105
_REINSTALL = f"install the app into the workspace again, then {_NEW_TOKEN}"
_ASK = "ask an admin of the workspace"
_BOT_CURES = {
    "invalid_auth": f"the token is wrong; {_NEW_TOKEN}",
    "not_authed": f"there is no token; {_NEW_TOKEN}",
    "token_revoked": f"the token was revoked; {_REINSTALL}",
    "token_expired": f"the token has expired; switch token rotation off for the app, then {_REINSTALL}",
    "account_inactive": f"the app was removed from the workspace, or its owner left it; {_REINSTALL}",
    "user_is_bot": f"the token is of another kind; {_NEW_TOKEN}",
    "not_allowed_token_type": f"the token is of another kind; {_NEW_TOKEN}",
    "not_in_channel": "the bot is not in that channel; write /invite @shipkeeper there, or whatever the app is called",
    "channel_not_found": "there is no such channel, or it is private and the bot is not in it; correct the name,"
    " or write /invite @shipkeeper there",
    "is_archived": "the channel is archived; unarchive it, or name another one",
    "channel_is_archived": "the channel is archived; unarchive it, or name another one",
    "channel_type_not_supported": "the bot cannot post there; name a channel",
    "restricted_action": f"only some people may post to that channel; {_ASK} to add the app to them",
    "restricted_action_read_only_channel": f"that channel is read-only; {_ASK}, or name another one",
    "restricted_action_non_threadable_channel": "that channel has no threads; name another one",
    "restricted_action_thread_only_channel": "that channel only takes threads; name another one",
    "no_permission": f"the token may not do that; {_REINSTALL}",
    "ekm_access_denied": f"the workspace's key management does not allow it; {_ASK}",
    "enterprise_is_restricted": f"the organisation does not allow it; {_ASK}",
    "team_access_not_granted": f"the organisation did not grant the app this workspace; {_ASK}",
    "org_login_required": f"the workspace is being moved to an organisation; {_ASK} when it is done",
    "access_denied": f"the workspace does not allow it; {_ASK}",
    "message_limit_exceeded": f"the workspace has used up the messages of its plan; {_ASK}",
}


@dataclass(frozen=True, slots=True)
class Puzzling(Rejected):
    """Refused with an error that nobody here knows: for the form of the message, or for something else."""


def of_webhook(status: int, body: str, headers: Mapping[str, str]) -> Outcome | None:
    """Judge the answer to a post at an incoming webhook; `None` for a good one."""
    if status == _OK and body == "ok":
        return None
    if status == _TOO_MANY:
        return _too_much(headers)
    if body in _WEBHOOK_CURES:
        return SinkDown(f"Slack said {body}: {_WEBHOOK_CURES[body]}")
    said = _said(body) or f"HTTP {status}"
    if status in _ABOUT_THE_MESSAGE:
        return Rejected(f"Slack refused the message: {said}")
    if status in _CLIENT_ERRORS and status not in _ABOUT_THE_MOMENT:
        return SinkDown(f"Slack answered HTTP {status} ({said}): check [slack] webhook_url")
    return Retry(f"Slack answered HTTP {status} ({said})")


def of_method(  # noqa: PLR0911  one for each class of errors
    status: int, answer: Mapping[str, object], headers: Mapping[str, str], channel: str
) -> Retry | SinkDown | Rejected | Gone:
    """Judge the answer of a method of the Web API that failed; `answer` is its JSON."""
    error = str(answer.get("error") or "")
    if status == _TOO_MANY or error in _LIMITED:
        return _too_much(headers)
    if error in _PASSING:
        return Retry(f"Slack said {error}")
    if error in _GONE:
        return Gone(error, readable=_GONE[error])
    if error in _REFUSED_FORMS:
        return Rejected(f"Slack refused the message: {error}")
    if error == "missing_scope":
        return SinkDown(missing_scope(str(answer.get("needed") or POST_SCOPE)))
    if error in _BOT_CURES:
        place = f" about {words.plain(channel)}" if channel else ""
        return SinkDown(f"Slack said {error}{place}: {_BOT_CURES[error]}")
    if _IS_ERROR.fullmatch(error):
        return Puzzling(f"Slack refused the message: {_said(error)}")
    # Not Slack has spoken, but a proxy, or one of its servers in another language.
    said = f"Slack answered HTTP {status} ({_said(error) or 'nothing'})"
    if status in _CLIENT_ERRORS and status not in _ABOUT_THE_MOMENT:
        return SinkDown(f"{said}: check [slack] api_url, and whether a proxy is in between")
    return Retry(said)


def missing_scope(needed: str) -> str:
    """Say that the token does not allow enough, with the cure."""
    return (
        f"Slack said missing_scope: the token lacks {_said(needed)}; add it on the app's page OAuth & Permissions,"
        " under Bot Token Scopes, and install the app again"
    )


def network_words(fault: Exception) -> str:
    """Say what failed without quoting the library: some of its texts hold the secret."""
    reason = getattr(fault, "reason", fault)
    if isinstance(reason, TimeoutError):
        return f"no answer within {TIMEOUT_SECONDS} s"
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({reason.verify_message})"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    return type(reason).__name__


def _too_much(headers: Mapping[str, str]) -> Retry:
    value = {name.lower(): value for name, value in headers.items()}.get("retry-after", "")
    named = value.isascii() and value.isdigit() and len(value) < 7  # noqa: PLR2004  days are no answer
    return Retry("Slack said that we send too much", timedelta(seconds=int(value)) if named else None)


def _said(text: str) -> str:
    return words.plain(words.one_line(text, _QUOTED))
