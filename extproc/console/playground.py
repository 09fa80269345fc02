"""The playground: one chat, and its four columns: what the client sent, what the vendor was sent, what the vendor said,
and what the client got.

Rule: of chats that were sent from here alone. Keys are masked where the columns are made (`worker/trace.py`); what the
page itself sent is known to it.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from typing import Any, Final

import msgspec

from extproc.config.describe import redact
from extproc.config.masking import SECRET_NAME, mask
from extproc.console.chats import Chats, Said
from extproc.console.ways import Way
from extproc.terms.agreed import CONSOLE_HEADER
from extproc.worker.channel import Traced

MOST: Final = 8 << 20
"""Bytes of what the page sends: pictures are in it."""
_SHOWN: Final = 256 << 10


class Asked(msgspec.Struct):
    """`parameters`: further members of the body; `tools`: as chat has them; `image`: a data URL."""

    route: str
    model: str
    text: str
    system: str = ""
    image: str = ""
    tools: list[Any] = []
    parameters: dict[str, Any] = {}
    stream: bool = True
    key: str = ""


def body_of(asked: Asked) -> bytes:
    """The chat, as any client would send it."""
    content: Any = asked.text
    if asked.image:
        content = [
            {"type": "text", "text": asked.text},
            {"type": "image_url", "image_url": {"url": asked.image}},
        ]
    system = [{"role": "system", "content": asked.system}] if asked.system else []
    body: dict[str, Any] = {"model": asked.model, "messages": [*system, {"role": "user", "content": content}]}
    if asked.stream:
        body["stream"] = True
    if asked.tools:
        body["tools"] = asked.tools
    return msgspec.json.encode(body | asked.parameters)


async def play(chats: Chats, way: Way, asked: Asked) -> AsyncGenerator[Mapping[str, Any], None]:
    """Pieces of the answer as they come, and at the end all that is known of the exchange."""
    body, said = body_of(asked), Said()
    async with aclosing(chats.send(way, body, asked.key, said)) as texts:
        async for text in texts:
            yield {"text": text}
    yield {"end": _end(chats.url(way), way, asked.key, body, said)}


def _end(url: str, way: Way, key: str, body: bytes, said: Said) -> dict[str, Any]:
    headers = [("content-type", "application/json"), *way.headers.items()]
    if key:
        headers = [(n, v) for n, v in headers if n != "authorization"] + [("authorization", f"Bearer {key}")]
    row = said.attempts[-1].row if said.attempts else None
    facts = {name: getattr(row, name) for name in row.__struct_fields__} if row is not None else {}
    return {
        "status": said.status,
        "error": said.error,
        "thinking": said.thinking,
        "calls": list(said.calls.values()),
        "usage": said.usage,
        "first_ms": said.first_ms,
        "total_ms": said.total_ms,
        "facts": {name: value for name, value in facts.items() if value is not None},
        "sent": _message(f"POST {url}", headers, body),
        "attempts": [_attempt(traced, said) for traced in said.attempts],
        "got": _message(f"{said.status}", said.headers, said.body),
    }


def _attempt(traced: Traced, said: Said) -> dict[str, Any]:
    passed = traced.said_body is None
    answer = said.body if passed and traced.said_status == str(said.status) else (traced.said_body or b"")
    return {
        "attempt": traced.attempt,
        "cut": traced.cut,
        "passed": passed and bool(traced.said_status),
        "to": _message(f"{traced.sent_method} {traced.sent_url}", traced.sent_headers, traced.sent_body)
        if traced.sent_method
        else None,
        "from": _message(traced.said_status, traced.said_headers, answer) if traced.said_status else None,
    }


def _message(first: str, headers: list[tuple[str, str]], body: bytes) -> dict[str, Any]:
    """One message, for eyes: JSON is set out in lines."""
    text = body[:_SHOWN].decode(errors="replace")
    if len(body) <= _SHOWN:
        with suppress(msgspec.DecodeError, UnicodeDecodeError):
            text = msgspec.json.format(body, indent=2).decode()
    shown = [(name, _masked(name, value)) for name, value in headers if name not in (CONSOLE_HEADER, "set-cookie")]
    return {"first": first, "headers": [f"{name}: {value}" for name, value in shown], "body": text}


def _masked(name: str, value: str) -> str:
    if not SECRET_NAME.search(name) or value.isdecimal():
        return mask(value)
    if "…" in value:  # where it was made
        return value
    scheme, space, secret = value.partition(" ")
    return f"{scheme} {redact(secret)}" if space else redact(value)
