"""The sink that posts to a channel of Slack with a bot's token, and edits what it posted."""

from __future__ import annotations

import logging
import ssl
from http.client import HTTPException
from typing import TYPE_CHECKING, Any

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError

from daemon.alerts import slack_answers
from daemon.alerts.sink import Gone, Outcome, Reference, Rejected, Retry, Sent, SinkDown
from daemon.alerts.slack_blocks import forms_of, reply_text
from daemon.secret_texts import Hider

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping

    from pydantic import SecretStr
    from slack_sdk.web import SlackResponse

    from daemon.alerts.message import Message

_SCOPES = "x-oauth-scopes"
"""The header in which Slack names what a token allows."""


class SlackBotSink:
    """
    Posts, edits and answers once per call; whoever calls retries.

    A message that Slack refuses for its form is sent again as plain text, and at last as 300 characters of it.
    """

    def __init__(
        self,
        token: SecretStr,
        channel: str,
        *,
        name: str = "slack",
        api_url: str = WebClient.BASE_URL,
        here: Container[str] = (),
    ) -> None:
        """Take a channel by its #name or id; messages of the severities in `here` notify whoever is online."""
        # The SDK logs every failure at ERROR with what was sent: it gets a logger of its own that lets nothing
        # through. What failed is said by the outcome.
        silent = logging.getLogger(f"{__name__}.sdk")
        silent.setLevel(logging.CRITICAL)
        self.name = name
        self._channel = channel
        self._here = here
        self._hidden = Hider([token.get_secret_value()])
        self._client = WebClient(
            token.get_secret_value(),
            base_url=api_url,
            timeout=slack_answers.TIMEOUT_SECONDS,
            # Made once: loading the authorities takes longer than posting.
            ssl=ssl.create_default_context() if api_url.startswith("https:") else None,
            logger=silent,
            retry_handlers=[],  # its own would send twice what may have arrived, and sleep in the lane's thread
        )

    def send(self, message: Message) -> Outcome:
        """Post it, in a plainer form if need be."""

        def post(form: Mapping[str, Any]) -> SlackResponse:
            return self._client.chat_postMessage(channel=self._channel, unfurl_links=False, unfurl_media=False, **form)

        outcome = self._in_some_form(post, forms_of(message, here=message.calls(self._here)))
        return _failed(outcome) if isinstance(outcome, Gone) else outcome

    def edit(self, reference: Reference, message: Message) -> Outcome | Gone:
        """Put this message in the place of that one, in a plainer form if need be."""

        def update(form: Mapping[str, Any]) -> SlackResponse:
            # An edit without blocks keeps none only if that is said, and parses names unless that is forbidden.
            whole = {"blocks": [], **form}
            return self._client.chat_update(
                channel=reference.channel, ts=reference.ts, parse="none", link_names=False, **whole
            )

        return self._in_some_form(update, forms_of(message))

    def reply(self, reference: Reference, text: str, *, aloud: bool) -> Outcome | Gone:
        """Write these lines into the thread of that message."""

        def post(form: Mapping[str, Any]) -> SlackResponse:
            return self._client.chat_postMessage(
                channel=reference.channel,
                thread_ts=reference.ts,
                reply_broadcast=aloud,
                unfurl_links=False,
                unfurl_media=False,
                **form,
            )

        return self._in_some_form(post, [{"text": reply_text(text)}])

    def link(self, reference: Reference) -> str:
        """Ask Slack where that message is read."""
        answer = self._ask(lambda: self._client.chat_getPermalink(channel=reference.channel, message_ts=reference.ts))
        return "" if isinstance(answer, Retry | SinkDown | Rejected | Gone) else str(answer.get("permalink") or "")

    def probe(self) -> Outcome:
        """Ask whether the token is good, and whether it allows to post."""
        answer = self._ask(self._client.auth_test)
        if isinstance(answer, Gone):
            return _failed(answer)
        if isinstance(answer, Retry | SinkDown | Rejected):
            return answer
        scopes = {name.lower(): value for name, value in answer.headers.items()}.get(_SCOPES)
        if scopes is not None and slack_answers.POST_SCOPE not in scopes.replace(" ", "").split(","):
            return SinkDown(slack_answers.missing_scope(slack_answers.POST_SCOPE))
        return Sent()

    def _in_some_form(
        self, call: Callable[[Mapping[str, Any]], SlackResponse], forms: Iterable[Mapping[str, Any]]
    ) -> Outcome | Gone:
        """Make the call with each form until one is not refused."""
        outcome: Outcome | Gone = Rejected("")
        for form in forms:
            answer = self._ask(lambda form=form: call(form))  # type: ignore[misc]
            if not isinstance(answer, Retry | SinkDown | Rejected | Gone):
                return Sent(Reference(str(answer.get("channel")), str(answer.get("ts"))))
            outcome = answer
            if not isinstance(outcome, Rejected):
                return outcome
        if isinstance(outcome, slack_answers.Puzzling):
            # A short text cannot be wrong: it is the place, or the app. What a person can mend is not thrown away.
            return SinkDown(f"{outcome.why}; Slack's page on chat.postMessage says what that means")
        return outcome

    def _ask(self, call: Callable[[], SlackResponse]) -> SlackResponse | Retry | SinkDown | Rejected | Gone:
        try:
            return call()
        except SlackApiError as refusal:
            answer, status, headers = _parts(refusal.response)
            said = {key: self._hidden(value) if isinstance(value, str) else value for key, value in answer.items()}
            return slack_answers.of_method(status, said, headers, self._channel)
        except AttributeError:
            return Retry("Slack answered with JSON that is no object")  # of which the SDK asks for a key
        except (OSError, HTTPException, ValueError, LookupError, SlackClientError) as fault:
            # ValueError, LookupError: a body that is not in the charset that its header names.
            return Retry(f"Slack cannot be reached: {slack_answers.network_words(fault)}")


def _parts(response: SlackResponse) -> tuple[Mapping[str, object], int, Mapping[str, str]]:
    """Give the JSON, the status and the headers of an answer that the SDK did not like."""
    data = response.data
    return data if isinstance(data, dict) else {}, response.status_code, response.headers


def _failed(gone: Gone) -> Outcome:
    """Say of a message that had nothing to be gone: the place is."""
    return SinkDown(f"Slack said {gone.why}: look at the channel")
