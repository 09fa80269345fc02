"""Faults, chosen per request by a marker in the last user text (or the input of other JSON APIs).

Rule: parsed here, once; nothing else looks for markers. `[[sim:NAME]]`, `[[sim:NAME=VALUE]]`, several with
commas or several markers. The marker itself is never quoted back. An unknown name is refused with 400. `@TYPE` behind
one, as in `[[sim:status=503@qwen]]` or `[[sim:cut@qwen]]`, limits it to that simulated vendor, so that a fallback can
be watched; TYPE is the provider's type. A `call` goes to whoever answers.

| marker            | effect                                                                            |
|-------------------|-----------------------------------------------------------------------------------|
| `status=N`        | error N in the vendor's own shape                                                 |
| `retry_after=N`   | `retry-after: N` on that error (429 unless `status` says otherwise)               |
| `error_frame[=N]` | half-way: an error event (native: with `:HTTP_STATUS/N`); whole: error N; 500   |
| `cut`             | the connection breaks in the middle of an event, or of a whole body               |
| `end`             | a clean end half-way, before any `finish_reason` or `[DONE]`                      |
| `gzip`            | the answer is compressed whatever `accept-encoding` says                          |
| `html=N`          | status N with an HTML page (502 without N)                                        |
| `garbage`         | 200 `application/json` whose body is not JSON                                     |
| `inspect`         | content inspection failed, in the vendor's own shape                              |
| `arrearage`       | the account owes money, in the vendor's own shape                                 |
| `delay=S`         | seconds before the first byte                                                     |
| `hold`            | a stream behind its first event, a whole answer before its first byte: waits for  |
|                   | the next `POST /__sim__/release`                                                  |
| `interval=S`      | seconds between events                                                            |
| `chunk=N`         | N bytes per write                                                                 |
| `tokens=N`        | exactly N pieces of text                                                          |
| `cumulative`      | native: frames repeat all text although deltas were asked for                     |
| `old`             | native: `output.text` and `output.finish_reason`                                  |
| `crlf`, `cr`      | lines end with CRLF, or CR                                                        |
| `noblank`         | native: no blank line between events                                              |
| `bom`             | the stream begins with a byte order mark                                          |
| `badjson`         | half-way: one event that is not readable JSON                                     |
| `done`            | native: the stream ends with `data:[DONE]`                                        |
| `noindex`         | native: streamed tool calls carry no `index`                                      |
| `big=N`           | one piece of text of N characters                                                 |
| `call=NAME`       | the tool is called, with arguments that fit its schema                            |
| `call=NAME:BASE`  | the same with these arguments: JSON in base64url. Several are made one after the  |
|                   | other, each after the result of the one before (`conversation.scripted`)          |
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
import re
from typing import Any

MARKER = re.compile(r"\[\[sim:([^\]]*)\]\]")
_CALL = re.compile(r"\s*call\s*=\s*\S")


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong in one exchange; see the table above."""

    status: int | None = None
    retry_after: int | None = None
    error_frame: int | None = None
    cut: bool = False
    end: bool = False
    gzip: bool = False
    html: int | None = None
    garbage: bool = False
    inspect: bool = False
    arrearage: bool = False
    delay: float | None = None
    hold: bool = False
    interval: float | None = None
    chunk: int | None = None
    tokens: int | None = None
    cumulative: bool = False
    old: bool = False
    crlf: bool = False
    cr: bool = False
    noblank: bool = False
    bom: bool = False
    badjson: bool = False
    done: bool = False
    noindex: bool = False
    big: int | None = None


_VALUES: dict[str, Callable[[str], float]] = {
    "status": int, "retry_after": int, "error_frame": int, "html": int, "delay": float,
    "interval": float, "chunk": int, "tokens": int, "big": int,
}  # fmt: skip
_DEFAULTS = {"error_frame": 500, "html": 502}
_FLAGS = {name for name in Faults.__slots__ if name not in _VALUES}


def _asked(name: str, value: str) -> dict[str, Any] | None:
    """What a marker sets; None if there is no such marker."""
    if name in _FLAGS and not value:
        return {name: True}
    if name in _VALUES and (value or name in _DEFAULTS):
        return {name: _VALUES[name](value) if value else _DEFAULTS[name]}
    return None


def parse(text: str, vendor: str, vendors: Collection[str]) -> Faults:
    """The faults asked for in `text` (str) of this `vendor` (str), one of all `vendors`: Faults. ValueError names a
    marker or a vendor it does not know."""
    wanted: dict[str, Any] = {}
    for item in ",".join(MARKER.findall(text)).split(","):
        if _CALL.match(item):  # `conversation.scripted`
            continue
        marker, limited, only = (part.strip() for part in item.partition("@"))
        if limited and only not in vendors:
            raise ValueError(f"unknown vendor behind a simulator marker: {item.strip()}")
        name, _, value = (part.strip() for part in marker.partition("="))
        asked = _asked(name, value)
        if item.strip() and asked is None:
            raise ValueError(f"unknown simulator marker: {item.strip()}")
        if not limited or only == vendor:
            wanted |= asked or {}
    if "retry_after" in wanted:
        wanted.setdefault("status", 429)
    return replace(Faults(), **wanted)


def without_markers(text: str) -> str:
    """`text` (str) as a human wrote it: str."""
    return MARKER.sub("", text).strip()
