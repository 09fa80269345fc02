"""What one exchange of the console's own is made of: what the vendor was sent, and what it said.

Rule: only for chats that carry the token of this process (`CONSOLE_HEADER`), never for anybody else's; bounded, and
with every key masked before it leaves this process.
"""

from collections.abc import Mapping
from typing import Final

from extproc.config.describe import redact
from extproc.config.masking import SECRET_NAME, mask
from extproc.terms.agreed import CLIENT_ATTRIBUTE, CONSOLE_HEADER
from extproc.terms.events import Event, Forward, Reply, RequestBody, RequestHeaders, ResponseBody, ResponseHeaders
from extproc.text import jsontext
from extproc.text.jsontext import NotJson
from extproc.worker import channel

MOST: Final = 256 << 10
"""Bytes that are kept of each body."""
_SHORTEST_KEY: Final = 8
_HIDDEN: Final = ("x-envoy-", "x-ai-proxy-", "x-ai-console")
"""Beginnings of headers that never reach a vendor."""


def mark_of(event: RequestHeaders) -> str:
    """How a request is marked. A later attempt has lost it: then it is in what Envoy kept of the client's head."""
    if mark := event.headers.get(CONSOLE_HEADER):
        return mark
    state = event.attributes.get(CLIENT_ATTRIBUTE, "")
    if CONSOLE_HEADER not in state:
        return ""
    try:
        kept = jsontext.load(state.encode())
    except NotJson:
        return ""
    found = kept.get(CONSOLE_HEADER) if isinstance(kept, dict) else None
    return found if isinstance(found, str) else ""


class Trace:
    """Feed it events with their replies. `name`: by which the console knows the chat."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._head: dict[str, str] = {}
        self._sent = b""
        self._goes = False
        self._answer: dict[str, str] = {}
        self._said: bytes | None = None
        self._cut = False

    def note(self, event: Event | None, reply: Reply | None) -> None:
        match event:
            case RequestHeaders(headers=headers):
                self._head = dict(headers)
                self._sends(reply, b"", last=event.end_of_stream)
            case RequestBody(body=body):
                self._sends(reply, body, last=True)
            case ResponseHeaders(headers=headers):
                self._answer = dict(headers)
            case ResponseBody(body=body):
                self._said = self._kept((self._said or b"") + body)

    def _sends(self, reply: Reply | None, body: bytes, *, last: bool) -> None:
        if not isinstance(reply, Forward):
            self._goes = False
            return
        for name in reply.remove_headers:
            self._head.pop(name, None)
        self._head |= reply.set_headers
        self._sent = self._kept(body if reply.body is None else reply.body)
        self._goes = last

    def _kept(self, body: bytes) -> bytes:
        self._cut = self._cut or len(body) > MOST
        return body[:MOST]

    def told(self, row: channel.Row, key: str | None) -> channel.Traced:
        """All of it, without `key`."""
        said = None if self._said is None else _without(self._said, key)
        return channel.Traced(
            self._name,
            row.attempt,
            self._head.get(":method", "") if self._goes else "",
            _masked(f"{self._head.get(':authority', '')}{self._head.get(':path', '')}", key),
            _headers(self._head, key) if self._goes else [],
            _without(self._sent, key) if self._goes else b"",
            self._answer.get(":status", ""),
            _headers(self._answer, key),
            said,
            self._cut,
            row,
        )


def _headers(headers: Mapping[str, str], key: str | None) -> list[tuple[str, str]]:
    return [
        (name, _value(name, value, key))
        for name, value in headers.items()
        if not name.startswith((":", *_HIDDEN)) and name != "x-request-id"
    ]


def _value(name: str, value: str, key: str | None) -> str:
    if not SECRET_NAME.search(name) or value.isdecimal():  # x-ratelimit-remaining-tokens
        return _masked(value, key)
    scheme, space, secret = value.partition(" ")
    return f"{scheme} {redact(secret)}" if space else redact(value)


def _masked(text: str, key: str | None) -> str:
    return mask(text.replace(key, redact(key)) if key and len(key) >= _SHORTEST_KEY else text)


def _without(body: bytes, key: str | None) -> bytes:
    return body.replace(key.encode(), redact(key).encode()) if key and len(key) >= _SHORTEST_KEY else body
