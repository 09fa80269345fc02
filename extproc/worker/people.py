"""An exchange's line as people read it on a terminal: what was asked of whom, what came of it, how long it took.

Rule: words out of values; every value is in the line of `--log-format json`, and what is here is there under its name.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import structlog

from extproc.terms.ends import CLIENT_LEFT

_ENDS: Final = "\x1b[0m"
_DIM: Final = "\x1b[2m"
_GREEN, _YELLOW, _RED = "\x1b[32m", "\x1b[33m", "\x1b[31m"

_SHORT: Final = {"chat/completions": "chat"}
_WARNED: Final = (401, 429)
"""Statuses of clients' errors that whoever runs the gateway may have to mend."""


def level(values: Mapping[str, Any]) -> str:
    """How much an exchange matters: whether it failed, and whether somebody can do something about it."""
    status = values.get("status") or 0
    if status >= 500:
        return "error"
    failed = status < 400 and values.get("error", CLIENT_LEFT) != CLIENT_LEFT  # a user may stop an answer
    return "warning" if status in _WARNED or failed else "info"


class Line:
    """structlog's last step: exchanges here, everything else by `rest`. `colors`: for a terminal. `verbose`: with ids
    also where nothing failed."""

    def __init__(self, rest: structlog.typing.Processor, *, colors: bool, verbose: bool = False) -> None:
        self._rest = rest
        self._verbose = verbose
        self._colors = colors

    def __call__(self, logger: Any, name: str, event: structlog.typing.EventDict) -> Any:
        return self._line(event) if event.get("event") == "exchange" else self._rest(logger, name, event)

    def _line(self, values: Mapping[str, Any]) -> str:
        words = [
            str(values.get("timestamp", ""))[11:19],
            _asked(values),
            _models(values),
            _who(values),
            self._shown(_outcome(values), _color(values)),
            _tokens(values),
            _time(values.get("duration_ms")),
            f"for {values['client']}" if "client" in values else "",
            f"({values['details']})" if "details" in values else "",
            self._shown(" ".join(self._ids(values)), _DIM),
        ]
        return " ".join(filter(None, words)).encode("utf-8", "backslashreplace").decode()  # half a surrogate pair

    def _ids(self, values: Mapping[str, Any]) -> Iterator[str]:
        if self._verbose or level(values) != "info" or (values.get("status") or 0) >= 400:
            yield str(values.get("request_id", ""))
        if self._verbose and "upstream_request_id" in values:
            yield f"vendor's {values['upstream_request_id']}"
        if self._verbose and "worker" in values:
            yield f"worker {values['worker']}"

    def _shown(self, text: str, color: str) -> str:
        return f"{color}{text}{_ENDS}" if self._colors and text else text


def _asked(values: Mapping[str, Any]) -> str:
    """The API, or the path where it is none."""
    path = str(values.get("path", ""))
    api = path.rpartition("/v1/")[2].strip("/") if "/v1/" in path else path
    method = values.get("method", "POST")
    return ("" if method == "POST" else f"{method} ") + _SHORT.get(api, api)


def _models(values: Mapping[str, Any]) -> str:
    ours, theirs = values.get("model"), values.get("upstream_model")
    return f"{ours}→{theirs}" if ours and theirs and ours != theirs else str(ours or theirs or "")


def _who(values: Mapping[str, Any]) -> str:
    attempt = f" (attempt {values['attempt']})" if "attempt" in values else ""
    return f"{values['provider']}{attempt}" if "provider" in values else ""


def _outcome(values: Mapping[str, Any]) -> str:
    return " ".join(str(values[name]) for name in ("status", "error") if name in values)


def _color(values: Mapping[str, Any]) -> str:
    if values.get("error") == CLIENT_LEFT:
        return _YELLOW
    if (values.get("status") or 500) >= 500:
        return _RED
    return _YELLOW if values["status"] >= 400 or "error" in values else _GREEN


def _tokens(values: Mapping[str, Any]) -> str:
    counts = [values.get("prompt_tokens"), values.get("completion_tokens")]
    return f"{'+'.join(str(n) for n in counts if n is not None)} tok" if any(n is not None for n in counts) else ""


def _time(milliseconds: float | None) -> str:
    if milliseconds is None:
        return ""
    return f"{milliseconds:.0f} ms" if milliseconds < 10_000 else f"{milliseconds / 1000:.1f} s"
