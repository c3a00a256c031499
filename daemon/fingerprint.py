"""A number that tells one configuration from another, without giving away what stands in it."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from pydantic import SecretStr

if TYPE_CHECKING:
    from daemon.config import Settings

_BYTES = 6
"""A sample's value is a double, which holds whole numbers of 53 bits."""


def fingerprint(settings: Settings) -> int:
    """Give the same for the same values, wherever they came from; a secret counts only as set or not."""
    values = json.dumps(settings.model_dump(by_alias=True), sort_keys=True, default=_written)
    return int.from_bytes(hashlib.sha256(values.encode()).digest()[:_BYTES], "big")


def _written(value: object) -> str:
    return str(bool(value.get_secret_value())) if isinstance(value, SecretStr) else str(value)
