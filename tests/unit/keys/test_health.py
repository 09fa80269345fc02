"""Health checks: what a key is asked, which answers count, and when nothing is sent at all."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
import json
import time
from typing import Any

import aiohttp
from aiohttp import web
import pytest
import structlog

from extproc.config.config import Config
from extproc.keys.choice import Keys, Rest, fingerprint
from extproc.keys.health import Checks, ask
from extproc.providers import Provider

KEY = "sk-PLANTED-key-0001"


@dataclass
class Vendor:
    """Answers every request with `status` after `wait` seconds, cut short if it `breaks`."""

    url: str = ""
    status: int = 200
    wait: float = 0.0
    breaks: bool = False
    seen: list[tuple[web.BaseRequest, dict[str, Any]]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.seen.append((request, json.loads(await request.read())))
        self.times.append(time.monotonic())
        await asyncio.sleep(self.wait)
        if not self.breaks:
            return web.Response(status=self.status, body=b"{}", headers={"location": "/elsewhere"})
        answer = web.StreamResponse(status=self.status, headers={"content-length": "10"})
        await answer.prepare(request)
        await answer.write(b"{")
        assert request.transport is not None
        request.transport.abort()
        return answer


@pytest.fixture
async def vendor() -> AsyncIterator[Vendor]:
    vendor = Vendor()
    runner = web.ServerRunner(web.Server(vendor.handle), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    vendor.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield vendor
    await runner.cleanup()


FAILOVER = {"enabled": True, "failureThreshold": 1, "healthCheckModel": "gpt-4o", "healthCheckInterval": 100}


def config(endpoint: str, *providers: dict[str, Any], **failover: Any) -> Config:
    block = {"apiTokens": [KEY], "endpoint": endpoint, "failover": FAILOVER | failover}
    given = [block | provider for provider in providers or ({"type": "openai"},)]
    routes = [{"name": p.get("id", p["type"]), "provider": p.get("id", p["type"])} for p in given]
    return Config.model_validate({"providers": given, "routes": routes})


async def checked(provider: Provider) -> str | None:
    async with aiohttp.ClientSession() as session:
        return await ask(provider, "gpt-4o", KEY, session)


GENERATION = "/api/v1/services/aigc/text-generation/generation"


@pytest.mark.parametrize(
    ("provider", "path", "host", "key", "model"),
    [
        ({"type": "openai"}, "/v1/chat/completions", "api.openai.com", "authorization", "gpt-4o"),
        (
            {"type": "openai", "openaiCustomUrl": "https://o.example/api/v3"},
            "/api/v3/chat/completions",
            "o.example",
            "authorization",
            "gpt-4o",
        ),
        (
            {"type": "qwen", "modelMapping": {"gpt-*": "qwen-max"}},
            GENERATION,
            "dashscope.aliyuncs.com",
            "authorization",
            "qwen-max",
        ),
        (
            {"type": "qwen", "protocol": "original", "qwenDomain": "d.example", "modelMapping": {"*": "qwen-plus"}},
            GENERATION,
            "d.example",
            "authorization",
            "qwen-plus",
        ),
        (
            {"type": "azure", "azureServiceUrl": "https://r.openai.azure.com?api-version=2024-10-21"},
            "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21",
            "r.openai.azure.com",
            "api-key",
            "gpt-4o",
        ),
        (
            {"type": "moonshot", "modelMapping": {"*": "moonshot-v1-8k"}},
            "/v1/chat/completions",
            "api.moonshot.cn",
            "authorization",
            "moonshot-v1-8k",
        ),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else "",
)
async def test_a_check_is_a_chat_as_the_provider_makes_it(
    vendor: Vendor, provider: dict[str, Any], path: str, host: str, key: str, model: str
) -> None:
    assert await checked(config(vendor.url, provider).providers[0]) is None
    [(request, body)] = vendor.seen
    assert (request.method, request.raw_path, request.headers["host"]) == ("POST", path, host)
    assert request.headers[key].removeprefix("Bearer ") == KEY
    assert request.headers["content-type"] == "application/json"
    assert body["model"] == model
    said = body["input"]["messages"] if provider["type"] == "qwen" else body["messages"]
    assert said == [{"role": "user", "content": "hi"}]
    assert body.get("parameters", body)["max_tokens"] == 16


async def test_settings_that_every_request_gets_count(vendor: Vendor) -> None:
    settings = {"type": "openai", "customSettings": [{"name": "seed", "value": 7}]}
    assert await checked(config(vendor.url, settings).providers[0]) is None
    assert vendor.seen[0][1]["seed"] == 7


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ({"status": 200}, None),
        ({"status": 201}, "status 201"),
        ({"status": 302}, "status 302"),
        ({"status": 401}, "status 401"),
        ({"status": 429}, "status 429"),
        ({"status": 500}, "status 500"),
        ({"status": 200, "breaks": True}, "not completed"),
    ],
    ids=str,
)
async def test_only_a_whole_200_counts(vendor: Vendor, answer: dict[str, Any], problem: str | None) -> None:
    for name, value in answer.items():
        setattr(vendor, name, value)
    said = await checked(config(vendor.url).providers[0])
    assert said == problem or (problem in said if problem and said else False)
    assert len(vendor.seen) == 1


async def test_a_vendor_that_is_not_there() -> None:
    said = await checked(config("http://127.0.0.1:1").providers[0])
    assert said is not None
    assert "PLANTED" not in said


async def always(provider: str, known: str, interval: float) -> bool:
    return True


class Checking:
    """Health checks under way. `config` may be replaced; `claimed`: what was asked for; `claims`: the answer."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.told: list[Rest] = []
        self.keys = Keys(self.told.append)
        self.claimed: list[tuple[str, str, float]] = []
        self.claims = True

    async def claim(self, *asked: Any) -> bool:
        self.claimed.append(asked)
        return self.claims

    def fail(self, provider: int = 0) -> None:
        self.keys.report(self.config.providers[provider], KEY, 401, None, time.monotonic(), time.time())

    @property
    def aside(self) -> list[str]:
        return [key for provider in self.config.providers for key in self.keys.set_aside(provider)]


@asynccontextmanager
async def checking(config: Config) -> AsyncIterator[Checking]:
    state = Checking(config)
    task = asyncio.create_task(Checks(lambda: state.config, state.keys, state.claim).run())
    yield state
    assert not task.done()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert not [task for task in asyncio.all_tasks() if "Checks" in repr(task)]


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  nobody tells the test when a background check is over
            await asyncio.sleep(0.01)


async def test_nothing_is_sent_while_nothing_is_set_aside(vendor: Vendor) -> None:
    async with checking(config(vendor.url)) as state:
        state.keys.report(state.config.providers[0], KEY, 200, None, time.monotonic(), time.time())
        await asyncio.sleep(0.35)
    assert (vendor.seen, state.claimed) == ([], [])


async def test_a_key_comes_back_after_so_many_good_answers(vendor: Vendor) -> None:
    vendor.status = 401
    async with checking(config(vendor.url, successThreshold=2)) as state:
        state.fail()
        with structlog.testing.capture_logs() as lines:
            await until(lambda: len(vendor.seen) == 3)
            assert state.aside == [KEY]
            vendor.status = 200
            await until(lambda: not state.aside)
        asked = len(vendor.seen)
        assert 5 <= asked <= 6
        assert state.told == [
            Rest("openai", fingerprint(KEY), float("inf"), aside=True),
            Rest("openai", fingerprint(KEY), 0.0),
        ]
        await asyncio.sleep(0.25)
    assert len(vendor.seen) == asked
    assert [(line["event"], line["reason"], line["key"]) for line in lines] == [
        ("key health check failed", "status 401", "sk-…0001")
    ]
    assert {(known, interval) for _, known, interval in state.claimed} == {(fingerprint(KEY), 0.1)}


async def test_a_slow_vendor_fails_and_is_not_asked_twice_at_a_time(vendor: Vendor) -> None:
    vendor.wait = 0.6
    async with checking(config(vendor.url, healthCheckTimeout=300)) as state:
        state.fail()
        with structlog.testing.capture_logs() as lines:
            await until(lambda: lines)
        assert lines[0]["reason"] == "no answer within 300 ms"
        await until(lambda: len(vendor.seen) == 2)
        assert vendor.times[1] - vendor.times[0] > 0.1
        assert state.aside == [KEY]


async def test_whoever_may_not_check_does_not(vendor: Vendor) -> None:
    async with checking(config(vendor.url)) as state:
        state.claims = False
        state.fail()
        await until(lambda: len(state.claimed) == 2)
        assert vendor.seen == []
        state.claims = True
        await until(lambda: not state.aside)


async def test_providers_may_change(vendor: Vendor) -> None:
    vendor.status = 500
    both = ({"type": "openai", "id": "a"}, {"type": "openai", "id": "b", "openaiCustomUrl": "https://b.example"})
    async with checking(config(vendor.url, both[0])) as state:
        state.fail()
        await until(lambda: vendor.seen)
        state.config = config(vendor.url, both[1])  # another in its place, whose key works
        asked = len(vendor.seen)
        await asyncio.sleep(0.3)
        assert len(vendor.seen) <= asked + 1
        vendor.status, vendor.seen = 200, []
        state.fail()
        await until(lambda: not state.aside)
        assert [request.headers["host"] for request, _ in vendor.seen] == ["b.example"]
        state.config = config(vendor.url, *both)  # the first again: its key is still set aside
        assert state.aside == [KEY]
        await until(lambda: not state.aside)


async def test_without_health_checks_nothing_stays_set_aside(vendor: Vendor) -> None:
    async with checking(config(vendor.url)) as state:
        state.fail()
        state.config = config(vendor.url, healthCheckModel=None, cooldownDuration=600_000)
        assert state.aside == []
        await asyncio.sleep(0.25)
        assert vendor.seen == []
        state.fail()  # and it may be set aside as the configuration says now
        assert 500 < state.told[-1].until - time.monotonic() <= 600
