"""What Envoy writes to its standard error, for our log.

Rule: only lines of its logger go on, each cut to a length. When Envoy ends with a signal it also writes what it was
working on, and that quotes requests and answers, keys included (1.40.0, 2026): no line of another form is shown.
"""

import json
import re
from typing import Final

HEAD: Final = re.compile(r"^\[[^]]*\]\[\d+\]\[(?P<level>\w+)\]\[(?P<logger>[^]]*)\] (?:\[[^]]*\] )?")
_ITS_END: Final = ("backtrace", "assert")
"""Loggers that say of what Envoy ends. From then on nothing else is a log line, whatever it looks like."""

_LONGEST: Final = 1000


_FIELDS: Final = ("request_id", "route", "provider", "host", "attempts", "path", "status", "details")
_FLAGS: Final = {
    "UF": "no connection in time",
    "UT": "no answer in time",
    "UC": "the vendor closed the connection",
    "UR": "the vendor reset the connection",
    "UO": "circuitBreakers are full",
    "UPE": "not HTTP",
    "DC": "the client left",
}
"""What Envoy's flags of a failed attempt mean where it gives no reason."""


def failure(line: str) -> tuple[str, dict[str, object]] | None:
    """`attempt` or `answer`, and what is known of it, of a line that our access loggers wrote (`replies.py`)."""
    if not line.startswith("{"):
        return None
    try:
        said = json.loads(line)
    except ValueError:
        return None
    if not isinstance(said, dict) or said.get("ai_proxy") not in ("attempt", "answer"):
        return None
    known = {name: _short(said[name]) for name in _FIELDS if said.get(name) not in (None, "", "-")}
    if said["ai_proxy"] == "attempt":
        known["reason"] = _reason(str(said.get("flags") or ""), str(said.get("reason") or ""))
    return said["ai_proxy"], known


def _short(value: object) -> object:
    return value if isinstance(value, int) else str(value)[:300]


def _reason(flags: str, words: str) -> str:
    """DNS, refused, TLS with the certificate's words, or a time limit."""
    if words not in ("", "-"):
        said = words.replace("_", " ").removesuffix(":TLS error end")
        if said.startswith("TLS error"):  # number and library of an error of OpenSSL's form come first
            pieces = [piece.strip() for piece in said.split(":")]
            said = f"TLS: {': '.join(pieces[4:] or pieces[1:])}"
        return said[:300]
    return next((meaning for flag, meaning in _FLAGS.items() if flag in flags.split(",")), flags)


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
        self._ends = self._ends or (head["level"] == "critical" and head["logger"] in _ITS_END)
        return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"
