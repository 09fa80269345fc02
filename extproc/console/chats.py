"""Chats that the console sends through the gateway's own listener, like any client, and what is known of them behind.

Rule: each carries a name that only this process can make (`CONSOLE_HEADER`), so that workers tell what it was made of,
and of nobody else's. Everything is bounded; nothing is kept when the answer is told.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
import secrets
import time
from typing import Any, Final

import aiohttp
import msgspec

from extproc.console.house import House
from extproc.console.ways import Way
from extproc.terms.agreed import CONSOLE_HEADER
from extproc.text import sse
from extproc.worker.channel import Traced

PATIENCE: Final = 120.0
MOST: Final = 1 << 20
_TRACES: Final = 256
_TRACE_SECONDS: Final = 3.0
_MOST_ATTEMPTS: Final = 20


class NoGateway(Exception):
    """It is not known where the gateway listens."""


@dataclass(slots=True)
class Said:
    """What came back of one chat, as far as it has. `first_ms`, `total_ms`: since it was sent."""

    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    text: str = ""
    thinking: str = ""
    calls: dict[int, dict[str, str]] = field(default_factory=dict)
    usage: Any = None
    error: str | None = None
    first_ms: float | None = None
    total_ms: float = 0.0
    attempts: list[Traced] = field(default_factory=list)


class Chats:
    def __init__(self, house: House) -> None:
        self._house = house
        self._traces: OrderedDict[str, list[Traced]] = OrderedDict()
        self._came = asyncio.Event()
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def traced(self, traced: Traced) -> None:
        """A worker tells of an attempt. Called in the loop."""
        if (known := self._traces.get(traced.trace)) is not None and len(known) < _MOST_ATTEMPTS:
            known.append(traced)
            self._came.set()

    def url(self, way: Way) -> str:
        """Raises `NoGateway`."""
        if self._house.base is None:
            raise NoGateway("the gateway's listener is not known here: console: {gateway: http://HOST:PORT}")
        return f"{self._house.base}{way.prefix}/v1/chat/completions"

    async def send(self, way: Way, body: bytes, key: str, said: Said) -> AsyncGenerator[str, None]:
        """Send a chat; yields its text as it comes, `said` has the rest. What goes wrong is in `said.error`."""
        name, begun = secrets.token_urlsafe(12), time.monotonic()
        self._traces[name] = []
        while len(self._traces) > _TRACES:
            self._traces.popitem(last=False)
        headers = {"content-type": "application/json", **way.headers}
        if key:
            headers["authorization"] = f"Bearer {key}"
        headers[CONSOLE_HEADER] = f"{self._house.token}.{name}"
        try:
            async for text in self._exchanged(self.url(way), body, headers, said, begun):
                yield text
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            said.error = said.error or f"the connection broke: {type(error).__name__}"
        finally:
            said.total_ms = round((time.monotonic() - begun) * 1000, 1)
            said.attempts = await self._told(name, said)

    async def _exchanged(
        self, url: str, body: bytes, headers: Mapping[str, str], said: Said, begun: float
    ) -> AsyncGenerator[str, None]:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE), trust_env=False)
        decoder = sse.Decoder(MOST)
        async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
            said.status = answer.status
            said.headers = [(name.lower(), value) for name, value in answer.headers.items()]
            streams = answer.content_type == "text/event-stream"
            async for piece in answer.content.iter_any():
                if said.first_ms is None:
                    said.first_ms = round((time.monotonic() - begun) * 1000, 1)
                said.body = (said.body + piece)[:MOST]
                if streams:
                    for event in decoder.feed(piece):
                        if text := _heard(event.data, said):
                            yield text
            if not streams and (text := _whole(said)):
                yield text

    async def _told(self, name: str, said: Said) -> list[Traced]:
        """What workers tell of a chat, waited for a moment: every attempt has a word of its own."""
        count = next((int(v) for n, v in said.headers if n == "x-ai-attempts" and v.isdigit()), 1)
        with suppress(TimeoutError):
            async with asyncio.timeout(_TRACE_SECONDS if said.status else 0.2):
                while len(self._traces.get(name, ())) < count:
                    self._came.clear()
                    await self._came.wait()
        return sorted(self._traces.pop(name, []), key=lambda traced: traced.attempt)


def _document(data: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def _heard(data: bytes, said: Said) -> str:
    """One event of a stream; gives its text."""
    if not data or data == b"[DONE]":
        return ""
    document = _document(data)
    if "error" in document:
        said.error = _error(document)
    said.usage = document.get("usage") or said.usage
    text = ""
    for choice in document.get("choices") or ():
        delta = choice.get("delta") or {}
        text += delta.get("content") or ""
        said.thinking += delta.get("reasoning_content") or ""
        _calls(said, delta.get("tool_calls") or ())
    said.text += text
    return text


def _whole(said: Said) -> str:
    document = _document(said.body)
    if said.status >= 400 or "error" in document:
        said.error = _error(document) or f"status {said.status}"
        return ""
    said.usage = document.get("usage")
    for choice in document.get("choices") or ():
        message = choice.get("message") or {}
        said.text += message.get("content") or ""
        said.thinking += message.get("reasoning_content") or ""
        _calls(said, message.get("tool_calls") or ())
    return said.text


def _calls(said: Said, calls: Any) -> None:
    for place, call in enumerate(calls):
        function = call.get("function") or {}
        known = said.calls.setdefault(int(call.get("index", place)), {"name": "", "arguments": ""})
        for name in known:
            known[name] += function.get(name) or ""


def _error(document: Mapping[str, Any]) -> str:
    error = document.get("error")
    words = error.get("message") if isinstance(error, dict) else error
    return str(words or "an error without words")[:500]
