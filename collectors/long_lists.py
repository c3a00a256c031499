"""The beginning of a JSON list that may be far longer than anybody wants to know."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from collectors.engine_errors import EngineProtocolError
from collectors.engine_http import pieces

if TYPE_CHECKING:
    from collections.abc import Iterable

    import requests

READ_LIMIT: Final = 8 << 20


def read_list(response: requests.Response, where: str, host: str) -> object:
    """
    Read the answer to `where` and close it: a list of objects as far as `READ_LIMIT` goes, or null.

    Raises EngineUnavailable if it breaks off, EngineProtocolError when it is no JSON.
    """
    with pieces(response, host) as chunks:
        text = beginning(chunks)
    try:
        answer: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise EngineProtocolError(where, "is not JSON") from error
    return answer


def beginning(chunks: Iterable[bytes], read_limit: int = READ_LIMIT) -> bytes:
    """Give a list in JSON whole, or one of the objects that were whole when the limit was reached."""
    text = bytearray()
    for chunk in chunks:
        text += chunk
        if len(text) > read_limit:
            return bytes(text[: _last_begun(text)]).rstrip(b", \n") + b"]"
    return bytes(text)


def _last_begun(text: bytearray) -> int:
    """Give where the last object begins: a brace and a key, between which a string would have a backslash."""
    at = text.rfind(b'{"')
    while at > 0 and not text[at + 2 : at + 3].isalpha():  # the end of a string that ends with a brace
        at = text.rfind(b'{"', 0, at)
    return at
