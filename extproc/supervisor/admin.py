"""The admin port: `/healthz` (the process lives), `/readyz` (requests will be served), `/version`, `/config` (what is
served now, keys redacted), `/metrics` (for Prometheus), `/console/` (see extproc/console), `/` (this list; browsers are
led to the console)."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
import os
from typing import Any

from aiohttp import web

from extproc import __version__
from extproc.supervisor import exposition, usage_api
from extproc.supervisor.families import Family
from extproc.supervisor.quotas import Quotas
from extproc.worker import form

_PATHS = {
    "/healthz": "the process lives",
    "/readyz": "requests will be served; else 503 and why not",
    "/version": "what this is",
    "/config": "what is served now, keys redacted",
    **usage_api.PATHS,
    "/console/": "the console, for a browser",
    "/metrics": "what all exchanges sum up to, for Prometheus",
}
"""What `/` says there is."""


@asynccontextmanager
async def serving(
    host: str,
    port: int,
    not_ready: Callable[[], str | None],
    config: Callable[[], Mapping[str, Any] | None],
    trouble: Callable[[], Mapping[str, str]] = dict,
    families: Callable[[], Iterable[Family]] = tuple,
    quotas: Callable[[], Quotas | None] = lambda: None,
    also: Callable[[web.Application], None] = lambda app: None,
) -> AsyncIterator[int]:
    """Serve the admin port; yields the port it got. `not_ready`: why requests would not be served, None if they are.
    `config`: what is known of the configuration, None before there is one. `trouble`: what goes wrong and is tried
    again, whether or not requests are served meanwhile. `families`: the metrics. `quotas`: what was used and what is
    left. `also`: adds what else there is.

    Raises `OSError` when the address is taken.
    """

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(_: web.Request) -> web.Response:
        reason, failing = not_ready(), dict(trouble())
        more = {"trouble": failing} if failing else {}
        if reason is None:
            return web.json_response({"status": "ready", **more})
        return web.json_response({"status": "not ready", "reason": reason, **more}, status=503)

    async def version(_: web.Request) -> web.Response:
        return web.json_response({"name": "ai-proxy-envoy", "version": __version__, "codec": form.NAME})

    async def active(_: web.Request) -> web.Response:
        document = config()
        return web.json_response(document or {"reason": "starting"}, status=200 if document else 503)

    app = web.Application()

    async def index(request: web.Request) -> web.Response:
        if "text/html" in request.headers.get("Accept", ""):
            raise web.HTTPFound("/console/")
        return web.json_response({"name": "ai-proxy-envoy", "version": __version__, "paths": _PATHS})

    handlers = {"/": index, "/healthz": healthz, "/readyz": readyz, "/version": version, "/config": active}
    app.add_routes([web.get(path, handler) for path, handler in handlers.items()])
    app.add_routes(usage_api.routes(quotas))
    app.add_routes([_metrics(families)])
    also(app)
    async with _listening(app, host, port, "--admin") as got:
        yield got


@asynccontextmanager
async def metrics_alone(host: str, port: int, families: Callable[[], Iterable[Family]]) -> AsyncIterator[int]:
    """Serve `/metrics` and nothing else, for whoever may not reach the admin port; yields the port it got. Raises
    `OSError` when the address is taken."""
    app = web.Application()
    app.add_routes([_metrics(families)])
    async with _listening(app, host, port, "--metrics") as got:
        yield got


def _metrics(families: Callable[[], Iterable[Family]]) -> web.RouteDef:
    async def metrics(request: web.Request) -> web.Response:
        openmetrics = exposition.wants_openmetrics(request.headers.get("accept", ""))
        body = exposition.written(families(), openmetrics=openmetrics)
        kind = exposition.OPENMETRICS if openmetrics else exposition.TEXT
        return web.Response(body=body, headers={"content-type": kind, "vary": "accept"})

    return web.get("/metrics", metrics)


@asynccontextmanager
async def _listening(app: web.Application, host: str, port: int, option: str) -> AsyncIterator[int]:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)  # pages that follow do not keep us
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise OSError(f"cannot listen on {host}:{port} ({option}): {reason}") from None
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
