"""Until when a certificate is good.

Rule: only the date is read, of PEM files that were loaded by others: nothing is verified here (X.690, RFC 5280, 4.1).
"""

from datetime import UTC, datetime
from pathlib import Path
import ssl
from typing import Final

_VERSION: Final = 0xA0
_UTC_TIME: Final = 0x17


def end_of(path: Path) -> float | None:
    """The end of a file's first certificate, seconds since 1970; None where there is none to be read."""
    try:
        text = path.read_text()
        begin = text.index("-----BEGIN CERTIFICATE-----")
        end = "-----END CERTIFICATE-----"
        return ends(ssl.PEM_cert_to_DER_cert(text[begin : text.index(end, begin) + len(end)]))
    except (OSError, ValueError, IndexError):
        return None


def ends(der: bytes) -> float:
    """The same of a certificate in DER. Raises `ValueError`, `IndexError`."""
    certificate, _ = _inside(der)
    fields, _ = _inside(certificate)
    if fields[0] == _VERSION:
        _, fields = _inside(fields)
    for _ in range(3):  # serial number, algorithm, issuer
        _, fields = _inside(fields)
    validity, _ = _inside(fields)
    _, rest = _inside(validity)
    text, _ = _inside(rest)
    # A UTCTime's two digits are 1950 to 2049 (RFC 5280, 4.1.2.5.1), strptime's are 1969 to 2068.
    said = text.decode("ascii")
    if rest[0] == _UTC_TIME:
        said = ("20" if said[:2] < "50" else "19") + said
    return datetime.strptime(said, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _inside(data: bytes) -> tuple[bytes, bytes]:
    """What the first element holds, and what is behind it."""
    length, at = data[1], 2
    if length & 0x80:
        count = length & 0x7F
        length, at = int.from_bytes(data[2 : 2 + count]), 2 + count
    return data[at : at + length], data[at + length :]
