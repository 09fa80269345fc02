"""Until when certificates are valid.

Rule: as much of X.509 as that needs (RFC 5280, 4.1), since Python's own library reads no certificate without a
connection. What cannot be read has no date, and is nobody's failure here.
"""

from base64 import b64decode
import binascii
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
import re
from typing import Final

_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)
_VERSION, _UTC_TIME, _TIME = 0xA0, 0x17, 0x18
_MOST_BYTES = 16 << 20


def expiry(path: Path, *, authorities: bool = False) -> float | None:
    """When a PEM file is of no use any more, in seconds since 1970: when the first certificate of its chain ends to be
    valid, or the last of its `authorities`, of which one is enough. None where none is there."""
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES)
    except OSError:
        return None
    found = (_ends(body) for body in _PEM.findall(text))
    ends = [end for end in found if end is not None]
    return (max if authorities else min)(ends, default=None)


def _ends(body: bytes) -> float | None:
    try:
        (_, certificate), *_ = _values(b64decode(body))
        (_, signed), *_ = _values(certificate)
        fields = list(_values(signed))
        _, validity = fields[4 if fields[0][0] == _VERSION else 3]
        _, (kind, text) = _values(validity)
        return _date(kind, text.decode("ascii")).timestamp()
    except (ValueError, IndexError, binascii.Error):
        return None


def _values(text: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each value in a row (DER). Raises `ValueError`, `IndexError`."""
    at = 0
    while at < len(text):
        tag, length = text[at], text[at + 1]
        at += 2
        if length & 0x80:
            more = length & 0x7F
            length, at = int.from_bytes(text[at : at + more]), at + more
        yield tag, text[at : at + length]
        at += length


def _date(kind: int, text: str) -> datetime:
    """A two-digit year of 50 and above is of the last century (RFC 5280, 4.1.2.5.1)."""
    if kind == _UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
