"""What Envoy writes to its standard error, for our log.

Rule: only lines of its logger go on, each cut to a length. When Envoy ends with a signal it also writes what it was
working on, and that quotes requests and answers, keys included (1.40.0, 2026): no line of another form is shown.
"""

import re
from typing import Final

HEAD: Final = re.compile(r"^\[[^]]*\]\[\d+\]\[(?P<level>\w+)\]\[(?P<logger>[^]]*)\] (?:\[[^]]*\] )?")
_ITS_END: Final = ("backtrace", "assert")
"""Loggers that say of what Envoy ends. From then on nothing else is a log line, whatever it looks like."""

_LONGEST: Final = 1000


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
