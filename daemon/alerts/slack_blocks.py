"""The neutral message in the forms that Slack takes: blocks, plain text, and a text that is short at last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slack_sdk.models.blocks import ContextBlock, HeaderBlock, MarkdownTextObject, PlainTextObject, SectionBlock

from policies import words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from slack_sdk.models.blocks import Block

    from daemon.alerts.message import Message

# Slack's limits, in characters after escaping. The blocks together stay below 10,000: above some 13,000 Slack
# answers msg_blocks_too_long, though no page of its documentation says so.
_HEADER = 150
_SECTION = 2900
_SECTIONS_OF_LINES = 2
_LINE = 1000
_TEXT = 3900
_SHORT_TEXT = 300
_COMMANDS = 3
_COMMAND = 200
_URL = 1000

# A space without width behind each backtick: no three of them meet, so nothing opens or ends a fence.
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "`": "`\u200b"}
_HERE = "<!here>"


def forms_of(message: Message, *, here: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the bodies of a request, each plainer than the one before; `here` notifies whoever is online."""
    yield blocks_of(message, here=here)
    call = f"{_HERE} " if here else ""
    yield {"text": call + _plain_text(message)}
    yield {"text": call + _escaped(message.headline, _SHORT_TEXT)}


def blocks_of(message: Message, *, here: bool = False) -> dict[str, Any]:
    """Give the body of the request in its full form: blocks, with a text for notifications."""
    blocks: list[Block] = [HeaderBlock(text=_plain(_escaped(message.headline, _HEADER)))]
    blocks += [SectionBlock(text=_plain(text)) for text in _packed(message.lines)]
    if message.log_tail:
        blocks.append(SectionBlock(text=_mrkdwn(_fenced(message.log_tail, _SECTION))))
    if small := [*_moments(message), *_commands(message), *([_HERE] if here else [])]:
        blocks.append(ContextBlock(elements=[_mrkdwn(" · ".join(small))]))
    if message.what_to_do:
        advice = _escaped(f"What to do: {message.what_to_do}", _LINE)
        blocks.append(ContextBlock(elements=[_plain(advice)]))
    fallback = _escaped("\n".join((message.headline, *message.lines[:1])), _TEXT)
    return {"text": fallback, "blocks": [block.to_dict() for block in blocks]}


def reply_text(text: str) -> str:
    """Give the text of a line in a thread."""
    return _escaped(text, _TEXT)


def _moments(message: Message) -> Iterator[str]:
    """Yield points in time, which Slack shows to each reader by the reader's own clock."""
    for moment in message.moments:
        written = words.moment(moment.at)
        yield f"{moment.what} <!date^{int(moment.at.timestamp())}^{{date_short_pretty}} {{time}}|{written}>"
    if message.earlier:
        yield f"<{_escaped(message.earlier, _URL)}|the message before>"


def _commands(message: Message) -> Iterator[str]:
    for command in message.commands[:_COMMANDS]:
        # Between backticks a backtick cannot be escaped: one would end the code too early.
        yield f"`{_escaped(command.replace('`', chr(39)), _COMMAND)}`"


def _plain_text(message: Message) -> str:
    head = _escaped("\n".join((message.headline, *message.lines)), _TEXT // 2)
    log = _fenced(message.log_tail, _TEXT // 2) if message.log_tail else ""
    return f"{head}\n{log}".rstrip()


def _plain(text: str) -> PlainTextObject:
    # Asterisks and backticks in a label or in a probe's output mean nothing here.
    return PlainTextObject(text=text)


def _mrkdwn(text: str) -> MarkdownTextObject:
    # verbatim: Slack makes no links, channels or people out of what only looks like them.
    return MarkdownTextObject(text=text, verbatim=True)


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
