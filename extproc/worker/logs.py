"""How logs look: lines for people on a terminal, JSON for machines; always on stderr.

Rule: nobody waits until a line is written, see `output`. What is not ours is escaped and cut (`_clean`). An
exception is logged by its type and where it happened. Its message may quote a body or a key, and so may local
variables, which structlog's console shows of its own accord where rich is installed.
"""

import atexit
from collections.abc import Callable
from contextlib import suppress
import logging
import sys
import time
import traceback
from typing import Final, Literal, TextIO, cast

import msgspec
import structlog

from extproc.text import jsontext
from extproc.worker import people
from extproc.worker.output import Output

Format = Literal["console", "json"]


def _say_lost(lines: int) -> None:
    structlog.get_logger("extproc.logs").warning("log lines were lost: nobody read them", lines=lines)


_output = Output(_say_lost)
hold = _output.hold
"""Whether log lines wait, so that they do not break a line that is being printed."""
drain = _output.drain
"""Wait until every line is written, at most so many seconds."""

LONGEST: Final = 1024
"""Characters of one value."""


def _clean(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Values come from clients and vendors: what moves a terminal's cursor or hides text is escaped, what is overlong
    cut."""
    for name, value in event.items():
        if type(value) is str and (len(value) > LONGEST or not value.isprintable()):
            event[name] = shown(value)
    return event


def shown(text: str) -> str:
    """A text as a line can have it."""
    cut = text if len(text) <= LONGEST else text[:LONGEST] + "…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in cut)


def _trace(exc_info: structlog.typing.ExcInfo) -> str:
    """An exception and what caused it, the first cause first, without their messages."""
    chain: list[BaseException] = []
    error: BaseException | None = exc_info[1]
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n".join(
        f"{type(one).__module__}.{type(one).__qualname__}\n{''.join(traceback.format_tb(one.__traceback__))}"
        for one in reversed(chain)
    )


def _write_trace(stream: TextIO, exc_info: structlog.typing.ExcInfo) -> None:
    stream.write("\n" + _trace(exc_info))


def _line(event: structlog.typing.EventDict) -> str:
    """As `_json` after `_clean`, in one go where there is nothing to clean, which the line itself shows: it is short,
    ASCII and without an escape."""
    with suppress(UnicodeEncodeError):  # half a surrogate pair
        line = _encoder.encode(event)
        if len(line) <= LONGEST and line.isascii() and b"\\" not in line and b"\x7f" not in line:
            return line.decode()
    return _json(_clean(None, "", event))


def _json(event: structlog.typing.EventDict, **_: object) -> str:
    """A line for machines; by msgspec, since there is one per exchange."""
    try:
        return _encoder.encode(event).decode()
    except UnicodeEncodeError:  # half a surrogate pair
        return jsontext.dump(
            {name: value if isinstance(value, int | float | None) else str(value) for name, value in event.items()}
        ).decode()


_encoder = msgspec.json.Encoder(enc_hook=str)


Write = Callable[[str, structlog.typing.EventDict], None]


def _for_people(event: str, values: structlog.typing.EventDict) -> None:
    getattr(structlog.get_logger("extproc"), people.level(values))(event, **values)


def _by_structlog(event: str, values: structlog.typing.EventDict) -> None:
    structlog.get_logger("extproc").info(event, **values)


_often: Write = _by_structlog


def often(event: str, values: structlog.typing.EventDict) -> None:
    """A line about what happens with every exchange; for people of a level by what happened, for machines of level
    info. For these it takes a fraction of structlog's time: what copies the values and looks for an exception is left
    out, the line is the same. `values` are the line's from now on."""
    _often(event, values)


class _Stamp:
    """The time as structlog's `TimeStamper` says it, with what holds for a second said once."""

    def __init__(self) -> None:
        self._second = -1
        self._said = ""

    def now(self) -> str:
        second, part = divmod(time.time_ns() // 1000, 1_000_000)
        if second != self._second:
            self._second, self._said = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._said}.{part:06}Z"


def configure(format: Format, level: str = "info", worker: int | None = None, *, verbose: bool = False) -> None:
    """Set up structlog. `level`: debug, info, warning or error. `worker`: the process, on every line. `verbose`: people
    see every id."""

    def named(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        if worker is not None:
            event["worker"] = worker
        return event

    shared: list[structlog.typing.Processor] = [
        named,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=format == "json"),
        _clean,
    ]
    last: list[structlog.typing.Processor] = (
        [structlog.processors.ExceptionRenderer(_trace), structlog.processors.JSONRenderer(_json)]
        if format == "json"
        else [
            people.Line(
                structlog.dev.ConsoleRenderer(
                    colors=sys.stderr.isatty(), pad_event_to=0, sort_keys=False, exception_formatter=_write_trace
                ),
                colors=sys.stderr.isatty(),
                verbose=verbose,
            )
        ]
    )

    stamp = _Stamp()

    def write(event: str, values: structlog.typing.EventDict) -> None:
        values["event"] = event
        if worker is not None:
            values["worker"] = worker
        values["level"] = "info"
        values["timestamp"] = stamp.now()
        _output.write(_line(values) + "\n")

    _output.open()
    atexit.register(drain, 1.0)
    global _often
    least = logging.getLevelNamesMapping()[level.upper()]
    for_machines = write if least <= logging.INFO else _by_structlog
    _often = for_machines if format == "json" else _for_people
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, _output)),
        cache_logger_on_first_use=True,
    )
