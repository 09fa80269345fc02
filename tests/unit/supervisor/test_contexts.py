"""Context texts: fetched ahead, the last good copy kept, everything else is absent and says why."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import aiohttp
from aiohttp import web
import pytest

from extproc.providers.base import ContextSource
from extproc.supervisor import contexts
from extproc.supervisor.contexts import ContextError, fetch, keeping
from tests.unit.player import config_of


class Server:
    """Answers what it is told, and keeps the requests."""

    def __init__(self) -> None:
        self.answer = web.Response(text="背景 📎")
        self.seen: list[web.BaseRequest] = []
        self.url = ""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.seen.append(request)
        told = self.answer
        return web.Response(status=told.status, body=told.body, headers=told.headers)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    runner = web.ServerRunner(web.Server(server.handle))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


def source(url: str, **more: object) -> ContextSource:
    return replace(ContextSource(url, refresh=300.0, timeout=60.0, max_bytes=64), **more)  # type: ignore[arg-type]


async def once(wanted: ContextSource) -> str:
    async with aiohttp.ClientSession() as session:
        return await fetch(wanted, session)


async def test_a_text_is_fetched_with_its_query_and_headers(server: Server) -> None:
    assert (
        await once(source(f"{server.url}/a?b=c", headers={"authorization": "Bearer k", "host": "h.test"})) == "背景 📎"
    )
    assert server.seen[0].raw_path == "/a?b=c"
    assert server.seen[0].headers["authorization"] == "Bearer k"
    assert server.seen[0].headers["host"] == "h.test"


async def test_a_file_is_read_without_its_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "with space.md"
    path.write_bytes("\ufeff文本".encode())
    assert await once(source(path.as_uri())) == "文本"


@pytest.mark.parametrize(
    ("answer", "more", "reason"),
    [
        (web.Response(status=404), {}, "status 404"),
        (web.Response(text="x" * 65), {}, "longer than 64 bytes"),
        (web.Response(body=b"\xff"), {}, "not UTF-8"),
        (web.Response(text="plain"), {"field": "content"}, "not JSON"),
        (web.Response(text='{"content": 1}'), {"field": "content"}, "not text"),
        (web.Response(text="[1]"), {"field": "content"}, "not JSON"),
        (web.Response(status=302, headers={"location": "/b"}), {"headers": {"authorization": "k"}}, "status 302"),
    ],
)
async def test_what_is_no_text_is_refused_with_a_reason(
    server: Server, answer: web.Response, more: dict[str, object], reason: str
) -> None:
    server.answer = answer
    with pytest.raises(ContextError, match=reason):
        await once(source(server.url, **more))


async def test_a_member_of_a_json_answer_is_the_text(server: Server) -> None:
    server.answer = web.Response(text='{"content": "文件"}')
    assert await once(source(server.url, field="content")) == "文件"


async def test_the_last_good_copy_is_kept_and_a_later_one_replaces_it(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contexts, "_RETRY", (0.01,))
    async with keeping(lambda _: None) as texts:
        await texts.follow({"p": source(server.url, refresh=0.01)})
        assert texts.texts == {"p": "背景 📎"}
        server.answer = web.Response(status=500)
        asked = len(server.seen)
        await until(lambda: len(server.seen) >= asked + 3)
        assert texts.texts == {"p": "背景 📎"}
        server.answer = web.Response(text="新")
        await until(lambda: texts.texts == {"p": "新"})


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  nobody tells the test when a background fetch is over
            await asyncio.sleep(0.01)


async def test_a_text_that_cannot_be_had_does_not_hold_up_the_others(server: Server, tmp_path: Path) -> None:
    async with keeping(lambda _: None) as texts:
        await texts.follow({"p": source(server.url), "q": source((tmp_path / "none").as_uri())})
        assert texts.texts == {"p": "背景 📎"}


@pytest.mark.parametrize("endpoint", ["http://h:1", "http://h:1/", "http://h:1//"])
def test_a_files_address_has_no_slash_too_many(endpoint: str) -> None:
    provider = {"type": "moonshot", "apiTokens": ["k"], "endpoint": endpoint, "moonshotFileId": "f"}
    source = config_of({"providers": [provider]}).providers[0].context_source
    assert source is not None
    assert source.url == "http://h:1/v1/files/f/content"
