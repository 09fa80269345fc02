"""How logs look: lines for people on a terminal, JSON for machines; always on stderr.

Rule: of an exception only its kind and the places it passed are written. Its message, and the values of variables, may
quote a body, a header or a key.
"""

from collections.abc import Iterator
from contextlib import contextmanager
import logging
import sys
import traceback
from typing import Literal, TextIO, cast

import structlog

Format = Literal["console", "json"]


class _Output:
    """stderr, whose lines can be held back while something else is written piece by piece."""

    def __init__(self) -> None:
        self._held: list[str] | None = None

    def write(self, text: str) -> None:
        if self._held is None:
            sys.stderr.write(text)
        else:
            self._held.append(text)

    def flush(self) -> None:
        sys.stderr.flush()

    @contextmanager
    def held(self) -> Iterator[None]:
        self._held = []
        try:
            yield
        finally:
            lines, self._held = self._held, None
            sys.stderr.writelines(lines)


_output = _Output()
held = _output.held
"""A context in which log lines wait, so that they do not break a line that is being printed."""


def _told(exc_info: structlog.typing.ExcInfo) -> str:
    """An exception and those that it came from, the first one last, as lines."""
    parts: list[str] = []
    exception: BaseException | None = exc_info[1]
    while exception is not None and len(parts) < 10:
        frames = "".join(traceback.format_tb(exception.__traceback__))
        parts.append(f"{frames}{type(exception).__qualname__}")
        exception = exception.__cause__ or exception.__context__
    return "\nbecause of\n".join(parts)


def configure(format: Format, level: str = "info") -> None:
    """Set up structlog. `level`: debug, info, warning or error."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=format == "json"),
        structlog.processors.ExceptionRenderer(_told),
    ]
    last: list[structlog.typing.Processor] = (
        [structlog.processors.JSONRenderer(ensure_ascii=False)]
        if format == "json"
        else [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0, sort_keys=False)]
    )
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, _output)),
        cache_logger_on_first_use=True,
    )
