"""What was used and what is left, over the admin port: `/usage`, `/limits`, and `/limits/reset`.

Rule: names and numbers, no key. What changes something is a POST with JSON, which no page of another origin can send.
"""

from collections.abc import Callable
import time
from typing import Any, Final, cast, get_args

from aiohttp import web
from msgspec import json as fast

from extproc.limits.history import KEPT, By
from extproc.limits.shown import filled, shown
from extproc.supervisor.quotas import Quotas

PATHS: Final = {
    "/usage": "what was used: ?since= and ?until= (seconds since 1970), ?by=time,client,model,provider,route, ?width=",
    "/limits": "what is left of the limits of use; POST /limits/reset {client}: forget what it used of them",
}

_FILTERS: Final[tuple[By, ...]] = ("client", "model", "provider", "route")


def routes(quotas: Callable[[], Quotas | None]) -> list[web.RouteDef]:
    """`quotas`: gives None before there is something to tell."""

    async def usage(request: web.Request) -> web.Response:
        if (known := quotas()) is None:
            return _starting()
        now, asked = time.time(), request.query
        by = cast(tuple[By, ...], tuple(filter(None, asked.get("by", "").split(","))))
        try:
            since, until = float(asked.get("since", now - 86_400)), float(asked.get("until", now + 1))
            width = int(asked["width"]) if "width" in asked else None
            if unknown := [name for name in by if name not in get_args(By)]:
                raise ValueError(f"by: there is no {unknown[0][:40]!r}; allowed: {', '.join(get_args(By))}")
            if width is not None and width < min(KEPT):
                raise ValueError(f"width: at least {min(KEPT)}")
        except ValueError as error:
            return web.json_response({"reason": str(error)}, status=400)
        wanted: dict[By, str] = {name: asked[name] for name in _FILTERS if name in asked}
        found = await known.history(since, (*by, *wanted), until, width)
        rows = [row for row in found if all(getattr(row.place, name) == value for name, value in wanted.items())]
        return _json({"since": since, "until": until, "rows": [shown(row, by) for row in rows]})

    async def limits(_: web.Request) -> web.Response:
        if (known := quotas()) is None:
            return _starting()
        return _json({"limits": [filled(fill) for fill in known.fills()], "trouble": known.failing})

    async def reset(request: web.Request) -> web.Response:
        if (known := quotas()) is None:
            return _starting()
        asked: Any = None
        if request.content_type == "application/json":
            try:
                asked = fast.decode(await request.content.read(10_000))
            except ValueError:
                asked = None
        client = asked.get("client") if isinstance(asked, dict) else None
        if not isinstance(client, str) or not client:
            return web.json_response({"reason": 'wanted JSON: {"client": NAME}'}, status=400)
        return _json({"reset": known.reset(client)})

    return [web.get("/usage", usage), web.get("/limits", limits), web.post("/limits/reset", reset)]


def _json(document: Any) -> web.Response:
    return web.Response(body=fast.encode(document), content_type="application/json")


def _starting() -> web.Response:
    return web.json_response({"reason": "starting"}, status=503)
