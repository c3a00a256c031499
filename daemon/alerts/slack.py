"""The sink that posts to a Slack incoming webhook."""

from __future__ import annotations

import logging
import ssl
from datetime import timedelta
from http.client import HTTPException, InvalidURL
from typing import TYPE_CHECKING, Any

from slack_sdk.errors import SlackRequestError
from slack_sdk.webhook import WebhookClient

from daemon.alerts.sink import Outcome, Rejected, Retry, Sent, SinkDown
from policies import words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic import SecretStr
    from slack_sdk.webhook import WebhookResponse

    from daemon.alerts.message import Message

TIMEOUT_SECONDS = 10

# Slack's limits, in characters after escaping. The blocks together stay below 10,000: above some 13,000 Slack
# answers msg_blocks_too_long, though no page of its documentation says so.
_HEADER = 150
_SECTION = 2900
_SECTIONS_OF_LINES = 2
_LINE = 1000
_TEXT = 3900
_SHORT_TEXT = 300
_QUOTED = 80

# A space without width behind each backtick: no three of them meet, so nothing opens or ends a fence.
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "`": "`\u200b"}

_ABOUT_THE_MESSAGE = frozenset({400, 413})
_ABOUT_THE_MOMENT = frozenset({408, 425})
_NEW_WEBHOOK = "create a new webhook and put its URL into [slack] webhook_url"
_CURES = {
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


class SlackSink:
    """
    Posts each message once per call; whoever calls retries.

    A message that Slack refuses for its form is sent again as plain text, and at last as 300 characters of it.
    """

    name = "slack"

    def __init__(self, webhook_url: SecretStr) -> None:
        url = webhook_url.get_secret_value()
        # The SDK logs the URL, which is the secret, at DEBUG and every failure at ERROR: it gets a logger of its
        # own that lets nothing through. What failed is said by the outcome.
        silent = logging.getLogger(f"{__name__}.sdk")
        silent.setLevel(logging.CRITICAL)
        self._client = WebhookClient(
            url,
            timeout=TIMEOUT_SECONDS,
            # Made once: loading the authorities takes longer than posting.
            ssl=ssl.create_default_context() if url.startswith("https:") else None,
            logger=silent,
            retry_handlers=[],
        )

    def send(self, message: Message) -> Outcome:
        """Post it, in a plainer form if need be."""
        outcome: Outcome = Rejected("")
        for body in (blocks_of(message), _plain_text(message), _short_text(message)):
            outcome = self._post(body)
            if not isinstance(outcome, Rejected):
                break
        return outcome

    def _post(self, body: dict[str, Any]) -> Outcome:
        try:
            response = self._client.send_dict({**body, "unfurl_links": False, "unfurl_media": False})
        except (SlackRequestError, InvalidURL):
            return SinkDown("[slack] webhook_url is no URL; copy it again, it begins with https://")
        except (OSError, HTTPException, ValueError, LookupError) as fault:
            # ValueError, LookupError: a body that is not in the charset that its header names.
            return Retry(f"Slack cannot be reached: {_network_words(fault)}")
        return _judge(response)


def _judge(response: WebhookResponse) -> Outcome:
    status, body = response.status_code, response.body.strip()
    said = words.plain(words.one_line(body, _QUOTED)) or f"HTTP {status}"
    if status == 200 and body == "ok":  # noqa: PLR2004
        return Sent()
    if status == 429:  # noqa: PLR2004
        return Retry("Slack said that we send too much", _retry_after(response))
    if body in _CURES:
        return SinkDown(f"Slack said {body}: {_CURES[body]}")
    if status in _ABOUT_THE_MESSAGE:
        return Rejected(f"Slack refused the message: {said}")
    if 400 <= status < 500 and status not in _ABOUT_THE_MOMENT:  # noqa: PLR2004
        return SinkDown(f"Slack answered HTTP {status} ({said}): check [slack] webhook_url")
    return Retry(f"Slack answered HTTP {status} ({said})")


def _retry_after(response: WebhookResponse) -> timedelta | None:
    value = response.headers.get("Retry-After") or ""
    return timedelta(seconds=int(value)) if value.isascii() and value.isdigit() and len(value) < 7 else None  # noqa: PLR2004


def _network_words(fault: Exception) -> str:
    """Say what failed without quoting the library: some of its texts hold the URL."""
    reason = getattr(fault, "reason", fault)
    if isinstance(reason, TimeoutError):
        return f"no answer within {TIMEOUT_SECONDS} s"
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({reason.verify_message})"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    return type(reason).__name__


def blocks_of(message: Message) -> dict[str, Any]:
    """Give the body of the request in its full form: blocks, with a text for notifications."""
    blocks: list[dict[str, Any]] = [{"type": "header", "text": _plain(_escaped(message.headline, _HEADER))}]
    blocks += [{"type": "section", "text": _plain(text)} for text in _packed(message.lines)]
    if message.log_tail:
        blocks.append({"type": "section", "text": _mrkdwn(_fenced(message.log_tail, _SECTION))})
    if message.what_to_do:
        advice = _escaped(f"What to do: {message.what_to_do}", _LINE)
        blocks.append({"type": "context", "elements": [_plain(advice)]})
    fallback = _escaped("\n".join((message.headline, *message.lines[:1])), _TEXT)
    return {"text": fallback, "blocks": blocks}


def _plain_text(message: Message) -> dict[str, Any]:
    head = _escaped("\n".join((message.headline, *message.lines)), _TEXT // 2)
    log = _fenced(message.log_tail, _TEXT // 2) if message.log_tail else ""
    return {"text": f"{head}\n{log}".rstrip()}


def _short_text(message: Message) -> dict[str, Any]:
    return {"text": _escaped(message.headline, _SHORT_TEXT)}


def _plain(text: str) -> dict[str, Any]:
    # Asterisks and backticks in a label or in a probe's output mean nothing here.
    return {"type": "plain_text", "text": text}


def _mrkdwn(text: str) -> dict[str, Any]:
    # verbatim: Slack makes no links, channels or people out of what only looks like them.
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _packed(lines: Sequence[str]) -> list[str]:
    """Pack escaped lines into as few sections as they need; what is beyond the last one is left out."""
    sections: list[str] = []
    for line in (_escaped(line, _LINE) for line in lines if line):
        if sections and len(sections[-1]) + 1 + len(line) <= _SECTION:
            sections[-1] += f"\n{line}"
        elif len(sections) < _SECTIONS_OF_LINES:
            sections.append(line)
        else:
            sections[-1] += "\n…"
            break
    return sections


def _fenced(lines: Sequence[str], limit: int) -> str:
    """Put the newest of these lines between fences that nothing in them can end."""
    room = limit - len("```\n```")
    return "```\n" + "".join(reversed(list(_newest(lines, room)))) + "```"


def _newest(lines: Sequence[str], room: int) -> Iterator[str]:
    for line in reversed(lines):
        text = _escaped(line, _LINE) + "\n"
        room -= len(text)
        if room < 0:
            return
        yield text


def _escaped(text: str, limit: int) -> str:
    """Escape what Slack gives a meaning to, and cut between characters, never within an escape."""
    pieces: list[str] = []
    room = limit - 1
    for char in text:
        piece = _ESCAPES.get(char, char)
        room -= len(piece)
        if room < 0:
            return "".join(pieces) + "…"
        pieces.append(piece)
    return "".join(pieces)
