"""The admin port: `/healthz` (the process lives), `/readyz` (requests will be served), `/version`."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
import os

from aiohttp import web

from extproc import __version__


@asynccontextmanager
async def serving(host: str, port: int, not_ready: Callable[[], str | None]) -> AsyncIterator[int]:
    """Serve the admin port; yields the port it got. `not_ready`: why requests would not be served, None if they are.

    Raises `OSError` when the address is taken.
    """

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(_: web.Request) -> web.Response:
        reason = not_ready()
        if reason is None:
            return web.json_response({"status": "ready"})
        return web.json_response({"status": "not ready", "reason": reason}, status=503)

    async def version(_: web.Request) -> web.Response:
        return web.json_response({"name": "ai-proxy-envoy", "version": __version__})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/version", version)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise OSError(f"cannot listen on {host}:{port} (--admin): {reason}") from None
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
