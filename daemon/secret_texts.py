"""Which texts give a secret away, and how they are taken out of others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

HIDDEN: Final = "***"
_SHORTEST: Final = 8
"""Characters; hiding a path of fewer would hide half of the log, and nobody could be kept out by it."""


def of_address(url: str) -> tuple[str, ...]:
    """Give a secret address, and the parts of it that libraries and pages of errors show alone."""
    parts = urlsplit(url)
    return (url, parts.path, parts.query, *(value for _, value in parse_qsl(parts.query)))


def worth_hiding(texts: Iterable[str]) -> tuple[str, ...]:
    """Give those that are long enough, each once."""
    return tuple(text for text in dict.fromkeys(texts) if len(text) >= _SHORTEST)


class Hider:
    """Takes known secrets out of a text; what it shows of itself holds none of them."""

    def __init__(self, secrets: Iterable[str]) -> None:
        # One that holds another is hidden whole.
        self._secrets = sorted(worth_hiding(secrets), key=len, reverse=True)

    def __bool__(self) -> bool:
        """Tell whether there is anything to hide."""
        return bool(self._secrets)

    def __call__(self, text: str) -> str:
        """Give the text with stars in the place of each."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return text
