"""The static files: read once, sent with their hash, and nothing else of the disk.

Rule: a name is looked up in what was read; no path of a request becomes a path of the disk.
"""

import gzip
from hashlib import sha256
from importlib import resources
from typing import Final

from aiohttp import web

_KINDS: Final = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


class Pages:
    def __init__(self) -> None:
        folder = resources.files("extproc.console") / "static"
        self._files = {entry.name: entry.read_bytes() for entry in folder.iterdir() if "." in entry.name}
        self._packed = {name: gzip.compress(body, mtime=0) for name, body in self._files.items()}
        self._marks = {name: f'"{sha256(body).hexdigest()[:16]}"' for name, body in self._files.items()}

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/console", self._redirected),
            web.get("/console/", self._index),
            web.get("/console/{name}", self._file),
        ]

    async def _redirected(self, _: web.Request) -> web.Response:
        raise web.HTTPFound("/console/")

    async def _index(self, request: web.Request) -> web.Response:
        return self._sent(request, "index.html")

    async def _file(self, request: web.Request) -> web.Response:
        return self._sent(request, request.match_info["name"])

    def _sent(self, request: web.Request, name: str) -> web.Response:
        if name not in self._files:
            raise web.HTTPNotFound(reason="there is no such file")
        headers = {"ETag": self._marks[name], "Cache-Control": "no-cache"}
        if request.headers.get("If-None-Match") == self._marks[name]:
            return web.Response(status=304, headers=headers)
        packed = "gzip" in request.headers.get("Accept-Encoding", "")
        if packed:
            headers["Content-Encoding"] = "gzip"
        body = (self._packed if packed else self._files)[name]
        kind = _KINDS.get(name.rpartition(".")[2], "application/octet-stream")
        return web.Response(body=body, content_type=kind, charset="utf-8", headers=headers)
