"""The sink that posts to a Slack incoming webhook."""

from __future__ import annotations

import logging
import ssl
from http.client import HTTPException, InvalidURL
from typing import TYPE_CHECKING, Any

from slack_sdk.errors import SlackRequestError
from slack_sdk.webhook import WebhookClient

from daemon import secret_texts
from daemon.alerts.sink import Outcome, Rejected, Retry, Sent, SinkDown
from daemon.alerts.slack_answers import TIMEOUT_SECONDS, network_words, of_webhook
from daemon.alerts.slack_blocks import forms_of
from daemon.secret_texts import Hider

if TYPE_CHECKING:
    from collections.abc import Container

    from pydantic import SecretStr

    from daemon.alerts.message import Message


class SlackSink:
    """
    Posts each message once per call; whoever calls retries.

    A message that Slack refuses for its form is sent again as plain text, and at last as 300 characters of it.
    What it posted it can neither change nor answer: a webhook does not tell which message that was.
    """

    name = "slack"

    def __init__(self, webhook_url: SecretStr, here: Container[str] = ()) -> None:
        """Take the address; messages of the severities in `here` notify whoever is online."""
        url = webhook_url.get_secret_value()
        # The SDK logs the URL, which is the secret, at DEBUG and every failure at ERROR: it gets a logger of its
        # own that lets nothing through. What failed is said by the outcome.
        silent = logging.getLogger(f"{__name__}.sdk")
        silent.setLevel(logging.CRITICAL)
        self._here = here
        self._hidden = Hider(secret_texts.of_address(url))
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
        for body in forms_of(message, here=message.calls(self._here)):
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
            return Retry(f"Slack cannot be reached: {network_words(fault)}")
        # A page of errors, of a proxy say, may show the path, which is the secret.
        said = self._hidden(response.body.strip())
        return of_webhook(response.status_code, said, response.headers) or Sent()
