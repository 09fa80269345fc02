"""How the console's answers are sent: JSON, or server-sent events."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiohttp import web
import msgspec

from extproc.console.guard import HEADERS


def answer(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")


async def stream(request: web.Request, events: AsyncIterator[Mapping[str, Any]]) -> web.StreamResponse:
    """Server-sent events until they end or the page goes."""
    response = web.StreamResponse(headers={**HEADERS, "Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(request)
    try:
        async for event in events:
            await response.write(b"data: " + msgspec.json.encode(event) + b"\n\n")
        await response.write_eof()
    except ConnectionError:
        pass
    finally:
        if (close := getattr(events, "aclose", None)) is not None:
            await close()
    return response
