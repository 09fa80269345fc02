"""A house of the console without processes, and a client of its admin port."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from extproc.config.config import Config
from extproc.console import Console
from extproc.limits.authority import Fill
from extproc.limits.history import By, grouped
from extproc.limits.history import Row as Rows
from extproc.worker.channel import Rested, Row, Seen

PROVIDER = {"type": "qwen", "apiTokens": ["sk-PLANTED-key-a1b2"]}


def configured(console: Any = None, **more: Any) -> Config:
    document = {"providers": [PROVIDER], **more}
    return Config.model_validate(document if console is None else {**document, "console": console})


@dataclass
class House:
    config: Config = field(default_factory=configured)
    host: str = "127.0.0.1"
    token: str = "TOKEN"
    base: str | None = None
    told: list[Seen] = field(default_factory=list)
    asked: int = 0
    resting: tuple[Rested, ...] = ()
    reached: tuple[Mapping[str, object], ...] = ()
    reason: str | None = None
    refused: tuple[str, ...] = ()
    out: Mapping[str, float] = field(default_factory=dict)
    history: Sequence[Rows] = ()
    filled: Sequence[Fill] = ()
    votes: Path | None = None

    def configuration(self) -> Mapping[str, object]:
        return {"generation": 1, "source": "f.yaml", "since": 1.0, "refused": list(self.refused), "notes": []}

    def rests(self) -> Sequence[Rested]:
        return self.resting

    def processes(self) -> Sequence[Mapping[str, object]]:
        return ()

    def not_ready(self) -> str | None:
        return self.reason

    def trouble(self) -> Mapping[str, str]:
        return {}

    async def look(self, most: int) -> Sequence[Seen]:
        self.asked += 1
        told, self.told = self.told, []
        return told

    async def envoy(self) -> Mapping[str, object] | None:
        return {"pid": 1, "left_out": self.out}

    async def vendors(self) -> Sequence[Mapping[str, object]]:
        return self.reached

    async def redis(self) -> Mapping[str, object] | None:
        return None

    async def used(self, since: float, by: Sequence[By], width: int) -> Sequence[Rows]:
        return grouped((row for row in self.history if row.at >= since), by, width)

    def fills(self) -> Sequence[Fill]:
        return self.filled

    def certificates(self) -> Sequence[Mapping[str, object]]:
        return ()


def row(number: int = 1, **more: Any) -> Row:
    """An exchange that went well."""
    values: dict[str, Any] = dict.fromkeys(Row.__struct_fields__)
    values |= {"number": number, "began": 100.0 + number, "method": "POST", "path": "/v1/chat/completions"}
    values |= {"front": "chat", "attempt": 1, "status": 200, "provider": "qwen", "duration_ms": 5.0}
    return Row(**values | {"stream": False, "converted": False, "estimated": False} | more)


Client = TestClient[web.Request, web.Application]


@asynccontextmanager
async def looking(house: House) -> AsyncIterator[Client]:
    app = web.Application()
    Console(house).mount(app)
    async with TestClient(TestServer(app)) as client:
        yield client
