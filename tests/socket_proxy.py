"""The allow-list of docs/socket-proxy.md, read as a proxy would apply it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.proofs import REPOSITORY, rows_below

_VERSION = re.compile(r"/v1\.\d+(?=/)")


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the page."""

    feature: str
    method: str
    path: re.Pattern[str]

    def allows(self, method: str, path: str) -> bool:
        """Tell whether a request may pass; `path` as it is sent, or without its version."""
        plain = _VERSION.sub("", path.partition("?")[0], count=1)
        return method == self.method and self.path.fullmatch(plain) is not None


def rules() -> list[Rule]:
    """Give the rows of the page."""
    page = (REPOSITORY / "docs" / "socket-proxy.md").read_text()
    rows = rows_below("## What is asked", page)
    return [Rule(feature, method, re.compile(path.strip("`"))) for feature, method, path, _ in rows]
