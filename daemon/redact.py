"""Takes secrets out of foreign text before it is stored or sent."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_HIDDEN = "***"
_NAME = (
    r"(?:password|passwd|passphrase|pwd|token|credentials?|secret(?:[_-]?access)?(?:[_-]?key)?"
    r"|(?:api|access|private)[_-]?key)"
)
# What stands in quotes, also where a log quotes what was quoted already, or shows no end of it.
_QUOTED = r"[bru]{0,2}(?P<quote>\\*[\"'])(?:(?!(?P=quote))(?:\\.|[^\\\n]))*(?:(?P=quote))?"

# Each pattern hides its group `secret`; the text around it stays, so that a reader still sees what stood there.
_BUILT_IN = (
    # A whole key, or what a log tail shows of one that began earlier or does not end in it.
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----\n?(?P<secret>[\s\S]*?)(?=-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    r"\A(?P<secret>(?:[A-Za-z0-9+/=]+\n)+)(?=-----END [A-Z ]*PRIVATE KEY-----)",
    r"\b(?:authorization|proxy-authorization)(?:\\*[\"'])?\s*[:=]\s*(?:\\*[\"'])?(?:\w+\s+)?(?P<secret>[^\s\"',;\\]+)",
    r"\bbearer\s+(?P<secret>[\w.~+/=-]{8,})",
    rf"{_NAME}(?:\\*[\"'])?\s*(?:=>|[:=])\s*(?P<secret>{_QUOTED}|[^\s\"',;&]+)",
    rf"--(?:password|token|secret|api-key)(?:[\"'],)?\s+(?P<secret>{_QUOTED}|\S+)",
    r"://[^\s:/@]*:(?P<secret>[^\s/]+)@",
    r"\bhooks\.slack(?:-gov)?\.com/(?P<secret>[\w/-]+)",
    r"\b(?P<secret>xox[a-z](?:\.xox[a-z])?-[\w-]{8,}|xapp-[\w-]{8,})",
    r"\b(?P<secret>(?:AKIA|ASIA)[A-Z0-9]{16})\b",
    r"\b(?P<secret>gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{20,})",
    # Of Hugging Face, Docker Hub, npm, PyPI, NVIDIA, Google; of OpenAI, Anthropic and Stripe.
    r"\b(?P<secret>(?:hf_|dckr_pat_|npm_|pypi-|nvapi-|AIza)[\w-]{20,})",
    r"\b(?P<secret>(?:sk|rk)[-_](?=[\w-]*[0-9])[\w-]{20,})",
    r"\bcurl\s(?:[^\n|;&]*\s)?(?:-u|--user)[ =]?[\"']?[^\s:\"']+:(?P<secret>[^\s\"']+)",
    r"\b(?P<secret>eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*)",
)


class Redactor:
    """
    Hides what looks like a secret, and what the owner's regular expressions match.

    Of an owner's expression the group named `secret` is hidden, or all of the match. Raises re.error for an
    expression that is none.
    """

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        self._patterns = [re.compile(pattern, re.IGNORECASE) for pattern in _BUILT_IN]
        self._patterns += [re.compile(pattern) for pattern in patterns]

    def text(self, text: str) -> str:
        """Give the text with its secrets hidden."""
        for pattern in self._patterns:
            text = pattern.sub(_hide, text)
        return text

    def lines(self, lines: Sequence[str]) -> tuple[str, ...]:
        """Give the lines with their secrets hidden; a key that spans several of them leaves fewer."""
        return tuple(self.text("\n".join(lines)).split("\n")) if lines else ()


def _hide(match: re.Match[str]) -> str:
    if "secret" not in match.re.groupindex:
        return _HIDDEN
    whole, begin = match.group(), match.start()
    start, end = (place - begin for place in match.span("secret"))
    return f"{whole[:start]}{_HIDDEN}{whole[end:]}" if start >= 0 else whole
