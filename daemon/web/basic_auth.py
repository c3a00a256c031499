"""Decides whether a request carries the password of a known user."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import threading
from typing import TYPE_CHECKING

import bcrypt

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST_PASSWORD = 72
"""Bytes; bcrypt has always left the rest out, and its library now refuses to."""
_REMEMBERED = 64
_WAITING = 4
"""Checks that run or wait, so that those whose password is known by heart always find a free thread."""


class BasicAuth:
    """
    Checks the header `Authorization` against bcrypt hashes; safe to call from several threads.

    A check takes as long as the hash wants it to, and the same for a user who does not exist. One runs at a time,
    so a flood of wrong passwords takes one core at most. A right password is remembered, as a keyed hash.
    """

    def __init__(self, users: Mapping[str, str]) -> None:
        self._users = dict(users)
        self._key = secrets.token_bytes(32)
        self._known: dict[bytes, None] = {}
        self._waiting = threading.Semaphore(_WAITING)
        self._one_at_a_time = threading.Lock()

    def admits(self, header: str) -> bool | None:
        """Tell whether the header proves a user; `None` when too many passwords are being checked to find out."""
        name, password = _credentials(header)
        if name is None:
            return False
        mark = self._mark(name, password)
        if mark in self._known:
            return True
        if not self._waiting.acquire(blocking=False):
            return None
        try:
            with self._one_at_a_time:
                right = self._matches(name, password)
        finally:
            self._waiting.release()
        if right:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[mark] = None
        return right

    def _matches(self, name: str, password: bytes) -> bool:
        wanted = self._users.get(name)
        # Somebody's hash, so that a name that is wrong takes as long as a password that is wrong.
        some = wanted or next(iter(self._users.values()))
        try:
            right = bcrypt.checkpw(password[:_LONGEST_PASSWORD], some.encode())
        except ValueError:  # a password that bcrypt does not take, with a NUL in it
            return False
        return right and wanted is not None

    def _mark(self, name: str, password: bytes) -> bytes:
        said = hashlib.sha256(name.encode()).digest() + password
        return hmac.digest(self._key, said, "sha256")


def _credentials(header: str) -> tuple[str | None, bytes]:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None, b""
    try:
        name, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        return (name.decode(), password) if colon else (None, b"")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None, b""
