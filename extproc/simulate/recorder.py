"""What arrived, for tests to read: the last 1,000 requests.

Rule: recorded before anything is checked, so a refused request is there too; `status` is filled in when it is answered,
`finished` when that is over: false where the client left before.
"""

import asyncio
import base64
from collections import deque
import json
from typing import Any

KEPT = 1000


class Recorder:
    """The memory of `/__sim__/requests`."""

    def __init__(self) -> None:
        self.requests: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self.server_names: deque[str | None] = deque(maxlen=KEPT)
        self.released = asyncio.Event()
        """For the exchanges that began since the last `release`."""

    def found(self, mark: str) -> list[dict[str, Any]]:
        """The requests whose path, query or body contain `mark` (str), oldest first: list of dict."""
        return [entry for entry in self.requests if mark in f"{entry['path']}?{entry['query']} {entry['body']}"]

    def release(self) -> None:
        """Let go on whatever is held now."""
        self.released.set()
        self.released = asyncio.Event()

    def add(
        self, method: str, path: str, query: str, headers: list[tuple[str, str]], vendor: str | None
    ) -> dict[str, Any]:
        """Record a request whose body is yet to come: the entry, a dict to fill in."""
        joined: dict[str, str] = {}
        for name, value in headers:
            joined[name] = f"{joined[name]}, {value}" if name in joined else value
        entry = {
            "vendor": vendor,
            "method": method,
            "path": path,
            "query": query,
            "headers": joined,
            "body": None,
            "size": 0,
            "status": None,
            "finished": None,
        }
        self.requests.append(entry)
        return entry


def readable(body: bytes) -> Any:
    """A body as JSON where it is JSON, else `{"base64": …}`, None when empty."""
    if not body:
        return None
    try:
        return json.loads(body.decode())
    except (ValueError, RecursionError):
        return {"base64": base64.b64encode(body).decode()}
