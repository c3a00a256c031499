"""The limits of Slack's Block Kit, the one that no page names among them, as a check of one payload."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MOST_BLOCKS = 50
ALL_BLOCKS = 13_200
TEXT = 40_000
_TEXTS = {"header": 150, "section": 3000}
_KINDS = {"header": {"plain_text"}, "section": {"plain_text", "mrkdwn"}, "context": {"plain_text", "mrkdwn"}}
_ELEMENTS = 10
_SEQUENCE = re.compile(r"<(?:!date\^\d+\^[^<>|^]+\|[^<>|]+|!here|https://[^<>|\s]+\|[^<>|]+)>")
"""What we write on purpose. Anything else in angle brackets came from a host."""
_ESCAPE = re.compile(r"&(?:amp|lt|gt);")


def fault(payload: Mapping[str, Any]) -> str:
    """Give the error with which Slack refuses a payload, or nothing for a good one."""
    blocks = payload.get("blocks") or []
    if not blocks and not payload.get("text"):
        return "no_text"
    if len(str(payload.get("text", ""))) > TEXT:
        return "msg_too_long"
    if len(blocks) > MOST_BLOCKS or not all(_is_good(block) for block in blocks):
        return "invalid_blocks"
    return "msg_blocks_too_long" if sum(len(text) for text in texts_of(payload)) > ALL_BLOCKS else ""


def texts_of(payload: Mapping[str, Any]) -> list[str]:
    """Give every text in the blocks of a payload."""
    return [text["text"] for block in payload.get("blocks") or [] for text in _text_objects(block)]


def foreign_markup(payload: Mapping[str, Any]) -> list[str]:
    """Give every text that holds markup, or half an escape, which we did not write on purpose."""
    found = []
    for text in (str(payload.get("text", "")), *texts_of(payload)):
        bare = _SEQUENCE.sub("", text)
        if "<" in bare or ">" in bare or "&" in _ESCAPE.sub("", bare):
            found.append(text)
    return found


def _is_good(block: Mapping[str, Any]) -> bool:
    kind = block.get("type", "")
    objects = list(_text_objects(block))
    if kind not in _KINDS or not objects or len(objects) > _ELEMENTS:
        return False
    limit = _TEXTS.get(kind, 3000)
    return all(each.get("type") in _KINDS[kind] and 0 < len(each["text"]) <= limit for each in objects)


def _text_objects(block: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if "text" in block:
        yield block["text"]
    yield from block.get("elements", ())
