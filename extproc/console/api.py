"""The JSON and SSE answers of the pages.

Rule: reads and passes on; each page's facts are made in a file of its own.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
import time

from aiohttp import web

from extproc import __version__
from extproc.console.house import House
from extproc.console.hub import Hub
from extproc.console.sending import answer, stream
from extproc.console.use import sheet, use, wanted
from extproc.console.well import well

_MOST_STREAMS = 32
"""Pages that may follow at a time."""


class Api:
    def __init__(self, house: House) -> None:
        self._house = house
        self._hub = Hub(house)
        self._streams = 0

    async def living(self, app: web.Application) -> AsyncIterator[None]:
        """For as long as the application lives."""
        task = asyncio.create_task(self._hub.run())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/console/api/about", self._about),
            web.get("/console/api/well", self._well),
            web.get("/console/api/use", self._use),
            web.get("/console/api/use.csv", self._sheet),
            web.get("/console/api/now", self._now),
            web.get("/console/api/now/live", self._live),
            web.get("/console/api/now/request", self._request),
        ]

    async def _about(self, _: web.Request) -> web.Response:
        return web.json_response({"version": __version__, "base": self._house.base})

    async def _well(self, _: web.Request) -> web.Response:
        return answer(await well(self._house, self._hub))

    async def _use(self, request: web.Request) -> web.Response:
        return answer(await use(self._house, wanted(request.query), time.time()))

    async def _sheet(self, request: web.Request) -> web.Response:
        asked = wanted(request.query)
        disposition = f'attachment; filename="use-{asked.period}.csv"'
        text = await sheet(self._house, asked, time.time())
        return web.Response(text=text, content_type="text/csv", headers={"Content-Disposition": disposition})

    async def _now(self, _: web.Request) -> web.Response:
        await self._hub.fresh()
        hub = self._hub
        return answer({"rows": list(hub.rows), "ended": hub.ended, "open": hub.open, "under_way": hub.under_way})

    async def _request(self, request: web.Request) -> web.Response:
        await self._hub.fresh()
        return answer({"attempts": self._hub.attempts(request.query.get("id", ""))})

    async def _live(self, request: web.Request) -> web.StreamResponse:
        if self._streams >= _MOST_STREAMS:
            raise web.HTTPServiceUnavailable(reason="too many pages follow")
        self._streams += 1
        try:
            return await stream(request, self._hub.follow())
        finally:
            self._streams -= 1
