"""Tells when a certificate ends: the one figure of it that Python's ssl keeps to itself."""

from __future__ import annotations

import re
import ssl
from datetime import UTC, datetime

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_SEQUENCE, _UTC_TIME, _GENERALIZED_TIME, _EXPLICIT_0 = 0x30, 0x17, 0x18, 0xA0
_LONG = 0x80
_FORMATS = {_UTC_TIME: "%y%m%d%H%M%SZ", _GENERALIZED_TIME: "%Y%m%d%H%M%SZ"}


def ends_at(pem: str) -> datetime:
    """Give the last moment at which the first certificate of a PEM text is valid; ValueError if there is none."""
    found = _PEM.search(pem)
    if found is None:
        raise ValueError("holds no certificate")
    try:
        return _not_after(ssl.PEM_cert_to_DER_cert(found[0]))
    except (IndexError, UnicodeDecodeError) as error:
        raise ValueError("holds a certificate that cannot be read") from error


def _not_after(der: bytes) -> datetime:
    """Walk to the validity of a certificate (RFC 5280, 4.1): [version] serial algorithm issuer VALIDITY ..."""
    certificate = _Reader(der).take(_SEQUENCE)
    fields = _Reader(_Reader(certificate).take(_SEQUENCE))
    if fields.next_tag == _EXPLICIT_0:
        fields.take()
    for _ in ("serial", "algorithm", "issuer"):
        fields.take()
    validity = _Reader(fields.take(_SEQUENCE))
    validity.take()
    form = _FORMATS.get(validity.next_tag)
    if form is None:
        raise ValueError("holds a certificate without an end")
    return datetime.strptime(validity.take().decode("ascii"), form).replace(tzinfo=UTC)


class _Reader:
    """Takes one value after the other from DER; IndexError when there is no more."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def next_tag(self) -> int:
        return self._data[self._at]

    def take(self, tag: int | None = None) -> bytes:
        """Give the content of the next value, which has to have this tag if one is named."""
        if tag is not None and self.next_tag != tag:
            raise ValueError("holds a certificate of an unknown shape")
        length, begin = self._data[self._at + 1], self._at + 2
        if length >= _LONG:
            size = length - _LONG
            length = int.from_bytes(self._data[begin : begin + size], "big")
            begin += size
        self._at = begin + length
        return self._data[begin : self._at]
