"""What Envoy writes to its standard error, for our log.

Rule: only lines of its logger go on, each cut to a length. When Envoy ends with a signal it also writes what it was
working on, and that quotes requests and answers, keys included (1.40.0, 2026): no line of another form is shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass
import json
import re
from typing import Final

from extproc.terms.ends import CLIENT_LEFT, ENDS, TIMED_OUT, UNAVAILABLE, VENDOR_CUT

HEAD: Final = re.compile(r"^\[[^]]*\]\[\d+\]\[(?P<level>\w+)\]\[(?P<logger>[^]]*)\] (?:\[[^]]*\] )?")
_ITS_END: Final = ("backtrace", "assert")
"""Loggers that say of what Envoy ends. From then on nothing else is a log line, whatever it looks like."""

_LONGEST: Final = 1000

_EXPECTED: Final = "'CEL' formatter is always enabled"
"""What Envoy 1.40 says of each start: older ones have that formatter only where they are told of it (`listener.py`)."""


_FIELDS: Final = ("request_id", "route", "provider", "host", "attempts", "path", "status", "details")
_FLAGS: Final = {
    "UF": ("no connection in time", UNAVAILABLE),
    "UT": ("no answer in time", TIMED_OUT),
    "UC": ("the vendor closed the connection", VENDOR_CUT),
    "UR": ("the vendor reset the connection", VENDOR_CUT),
    "UO": ("circuitBreakers are full", UNAVAILABLE),
    "UPE": ("not HTTP, or broken off", VENDOR_CUT),
    "DC": ("the client left", CLIENT_LEFT),
}
"""What Envoy's flags of a failed attempt mean where it gives no reason, and how its exchange ended."""


@dataclass(frozen=True, slots=True)
class Told:
    """A line of our access loggers (`replies.py`). `kind`: a failed `attempt`, an `answer` of Envoy's own, the `end` of
    an exchange. `known`: what it says, for people. `error`: how the attempt with this number ended, if nobody finished
    it (`terms.ends`); no number: the first of the request of which that was not told."""

    kind: str
    known: Mapping[str, object]
    error: str | None = None
    attempt: int | None = None

    @property
    def request_id(self) -> str:
        return str(self.known.get("request_id", ""))


def told_by(line: str) -> Told | None:
    """None for a line of another form."""
    if not line.startswith("{"):
        return None
    try:
        said = json.loads(line)
    except ValueError:
        return None
    if not isinstance(said, dict) or (kind := said.get("ai_proxy")) not in ("attempt", "answer", "end"):
        return None
    known = {name: _short(said[name]) for name in _FIELDS if said.get(name) not in (None, "", "-")}
    error = said.get("error") if kind == "end" else None
    if kind == "attempt":
        flags = str(said.get("flags") or "")
        reason, error = _meaning(flags)
        known["reason"] = _reason(str(said.get("reason") or "")) or reason
    attempts = said.get("attempts")
    attempt = max(attempts, 1) if isinstance(attempts, int) else None  # 0: the client left before the first one
    return Told(kind, known, error if isinstance(error, str) and error in ENDS else None, attempt)


def _short(value: object) -> object:
    return value if isinstance(value, int) else str(value)[:300]


def _meaning(flags: str) -> tuple[str, str | None]:
    return next((meaning for flag, meaning in _FLAGS.items() if flag in flags.split(",")), (flags, None))


def _reason(words: str) -> str:
    """DNS, refused, TLS with the certificate's words; empty where Envoy has none."""
    if words in ("", "-"):
        return ""
    said = words.replace("_", " ").removesuffix(":TLS error end")
    if said.startswith("TLS error"):  # number and library of an error of OpenSSL's form come first
        pieces = [piece.strip() for piece in said.split(":")]
        said = f"TLS: {': '.join(pieces[4:] or pieces[1:])}"
    return said[:300]


class Lines:
    """Feed it every line of one process. `left_out`: how many were not for a log."""

    def __init__(self) -> None:
        self.left_out = 0
        self._ends = False

    def known(self, line: str) -> str | None:
        """What of a line may be logged."""
        head = HEAD.match(line)
        if head is None or (self._ends and head["logger"] not in _ITS_END):
            self.left_out += 1
            return None
        if _EXPECTED in line:
            return None
        self._ends = self._ends or (head["level"] == "critical" and head["logger"] in _ITS_END)
        return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"
