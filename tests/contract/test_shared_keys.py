"""Which keys rest, shared through a Redis server; and what becomes of it when that server does not answer."""

import asyncio
from collections.abc import Callable, Iterator
import contextlib
from dataclasses import dataclass
import json
import math
from pathlib import Path
import threading
import time
from typing import Any

import pytest
import redis
import structlog

from extproc.config.config import Config
from extproc.keys import shared as shared_keys
from extproc.keys.choice import Keys, Rest, fingerprint
from extproc.keys.kept import keys_kept

from . import processes
from .raw import ask, chat
from .scripted import Reply, Request, Vendor, vendor
from .stores import Store, store

TOKENS = ("sk-PLANTED-key-0001", "sk-PLANTED-key-0002")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Store]:
    with store(tmp_path) as running:
        yield running


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_keys, "_PAUSE", 0.05)
    monkeypatch.setattr("extproc.keys.kept._GLANCE", 0.05)


def config(url: str | None, **more: Any) -> Config:
    failover = {"enabled": True, "failureThreshold": 1, "healthCheckModel": "m", "healthCheckInterval": 60_000}
    failover |= {"failoverOnStatus": ["401"]}
    provider = {"type": "openai", "apiTokens": list(TOKENS), "failover": failover}
    shared = {"redis": {"url": url, "timeout": "100s", **more}} if url else {}
    return Config.model_validate({"providers": [provider], **shared})


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(processes.PATIENCE):
        while not condition():  # noqa: ASYNC110  nobody tells the test when the news has come
            await asyncio.sleep(0.01)


def fail(keys: Keys, token: str = TOKENS[0], status: int = 401, retry_after: str | None = None) -> None:
    keys.report(config(None).providers[0], token, status, retry_after, time.monotonic(), time.time())


def used(keys: Keys) -> set[str | None]:
    """Which keys requests would be given now."""
    return {keys.choose(config(None).providers[0], chance, 1, time.monotonic()) for chance in range(4)}


def kept(url: str | None, **more: Any) -> "contextlib.AbstractAsyncContextManager[Keys]":
    given = config(url, **more)
    return keys_kept(lambda: given)


LOST, AGAIN = "key state is not shared: Redis is away", "key state is shared again"


async def test_a_rest_is_known_everywhere_and_to_those_who_come_later(server: Store) -> None:
    async with kept(server.url) as here, kept(server.url) as there:
        fail(here, status=429, retry_after="600")
        await until(lambda: used(there) == {TOKENS[1]})
        async with kept(server.url) as later:
            assert used(later) == {TOKENS[1]}
        async with kept(server.url, keyPrefix="other:") as others, kept(server.url[:-1] + "4") as elsewhere:
            assert used(others) == used(elsewhere) == set(TOKENS)


async def test_a_recovery_is_known_everywhere(server: Store) -> None:
    provider = config(None).providers[0]
    async with kept(server.url) as here, kept(server.url) as there:
        fail(here)
        await until(lambda: list(there.set_aside(provider)) == [TOKENS[0]])
        assert there.checked(provider, TOKENS[0], healthy=True)
        await until(lambda: used(here) == set(TOKENS))
        fail(here, status=429, retry_after="600")  # and a short rest after a long one is short for all
        await until(lambda: used(there) == {TOKENS[1]})
        assert list(there.set_aside(provider)) == []


async def test_the_longer_rest_counts(server: Store) -> None:
    async with kept(server.url) as here, kept(server.url) as there:
        fail(here, status=429, retry_after="600")
        await until(lambda: used(there) == {TOKENS[1]})
        fail(there, TOKENS[1], 429, "1")
        await until(lambda: used(here) == {TOKENS[1]})  # all rest: the one that soonest works
        there.rest(Rest("openai", fingerprint(TOKENS[0]), 1.0))
        assert used(there) == {TOKENS[1]}


async def test_redis_holds_no_key_and_forgets(server: Store) -> None:
    async with kept(server.url) as here:
        fail(here)
        fail(here, TOKENS[1], 429, "1")
        with redis.Redis.from_url(server.url, protocol=2) as client:
            await until(lambda: client.zcard("ai-proxy:rests") == 2)
            assert client.keys() == [b"ai-proxy:rests"]
            scores = dict(client.zrange("ai-proxy:rests", 0, -1, withscores=True))
            assert scores[f"{fingerprint(TOKENS[0])} openai".encode()] == math.inf
            assert 0 < client.ttl("ai-proxy:rests") <= 86_400
            name = f"{fingerprint(TOKENS[1])} openai"
            over = client.zscore("ai-proxy:rests", name)
            await until(lambda: time.time() > over)
            fail(here, TOKENS[1], 429, "1")  # once the last rest is over, a new one counts again
            await until(lambda: client.zscore("ai-proxy:rests", name) > over)
    async with kept(server.url) as later:
        assert used(later) == {TOKENS[1]}


@pytest.mark.parametrize(
    "message", [b"", b"x", b"nan 0 openai", b"soon 0123 openai", b"inf", b"\xff\xfe", b"1e999 \xff openai", b"0.0 "]
)
async def test_what_others_publish_does_no_harm(server: Store, message: bytes) -> None:
    async with kept(server.url) as here:
        with redis.Redis.from_url(server.url, protocol=2) as client:
            assert client.publish("ai-proxy:left:3", message) == 1
            assert used(here) == set(TOKENS)
            client.publish("ai-proxy:left:3", f"inf {fingerprint(TOKENS[0])} openai")
        await until(lambda: used(here) == {TOKENS[1]})


async def test_one_process_checks_a_key_and_another_when_it_is_gone(server: Store) -> None:
    block = config(server.url).redis
    assert block is not None
    async with shared_keys.sharing(block, Keys()) as one, shared_keys.sharing(block, Keys()) as other:

        async def claims() -> tuple[bool, bool]:
            return await one.claim("p", "f", 60), await other.claim("p", "f", 60)

        assert [await claims() for _ in range(3)] == [(True, False)] * 3
        assert await other.claim("p", "another", 60)
        assert await one.claim("p", "left", 0.1)
        async with asyncio.timeout(processes.PATIENCE):
            while not await other.claim("p", "left", 60):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert not await one.claim("p", "left", 60)
        server.stop()
        assert await one.claim("p", "f", 60)  # whoever cannot ask checks


async def test_redis_is_away_at_first_goes_and_comes_back(tmp_path: Path) -> None:
    with store(tmp_path, started=False) as server, structlog.testing.capture_logs() as lines:

        def said(event: str) -> int:
            return len([line for line in lines if line["event"] == event])

        async with kept(server.url) as here, kept(server.url) as there:
            assert said(LOST) == 2
            fail(here)
            assert (used(here), used(there)) == ({TOKENS[1]}, set(TOKENS))  # each goes on with what it knows
            await asyncio.sleep(0.5)
            assert said(LOST) == 2  # and says so once

            server.start()
            await until(lambda: said(AGAIN) == 2)
            await until(lambda: used(there) == {TOKENS[1]})  # what happened meanwhile is told

            server.stop()
            await until(lambda: said(LOST) == 4)
            here.checked(config(None).providers[0], TOKENS[0], healthy=True)
            fail(here, TOKENS[1], 429, "600")
            assert (used(here), used(there)) == ({TOKENS[0]}, {TOKENS[1]})

            server.start()
            await until(lambda: said(AGAIN) == 4)
            await until(lambda: used(there) == {TOKENS[0]})
        assert {line["redis"] for line in lines if "shared" in line["event"]} == {server.url}


async def test_a_redis_that_hangs_holds_up_nobody(server: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_keys, "_QUIET", 0.2)
    with structlog.testing.capture_logs() as lines:
        async with kept(server.url, timeout="300ms") as here:
            server.freeze()
            fail(here)
            assert used(here) == {TOKENS[1]}
            await until(lambda: any(line["event"] == LOST for line in lines))
            async with kept(server.url, timeout="300ms") as there:
                assert used(there) == set(TOKENS)


async def test_a_refusal_is_said_without_the_password(server: Store) -> None:
    with structlog.testing.capture_logs() as lines:
        async with kept(server.url.replace("//", "//user:PLANTED-password@")):
            pass
    [line] = lines
    assert line["event"] == LOST
    assert line["reason"]
    assert "PLANTED" not in repr(lines)


async def test_a_server_that_takes_no_changes_is_as_good_as_away(
    server: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(*_: object) -> None:
        raise redis.exceptions.NoPermissionError("this user has no permissions to run the 'publish' command")

    with structlog.testing.capture_logs() as lines:
        async with kept(server.url) as here:
            with monkeypatch.context() as patch:
                patch.setattr(shared_keys.SharedKeys, "_store", refused)
                fail(here)
                await until(lambda: any(line["event"] == LOST for line in lines))
            await until(lambda: any(line["event"] == AGAIN for line in lines))
        async with kept(server.url) as later:
            assert used(later) == {TOKENS[1]}
    assert [line["event"] for line in lines if "state" in line["event"]][:3] == ["key state is shared", LOST, AGAIN]


async def test_redis_may_be_named_and_left_while_running(server: Store) -> None:
    now = config(None)
    with structlog.testing.capture_logs() as lines:
        async with keys_kept(lambda: now) as here, kept(server.url) as there:
            fail(here)
            now = config(server.url)
            await until(lambda: [line["event"] for line in lines].count("key state is shared") == 2)
            fail(here, TOKENS[1], 429, "600")
            await until(lambda: used(there) == {TOKENS[0]})
            now = config(None)
            await asyncio.sleep(0.2)
            fail(there)
            assert used(there) == {TOKENS[1]}
    assert [line["event"] for line in lines if "away" in line["event"]] == []


CHAT = {"id": "c", "object": "chat.completion", "created": 1, "model": "m"}
CHOICE = {"index": 0, "message": {"role": "assistant", "content": "ja"}, "finish_reason": "stop"}
GOOD = Reply(200, (json.dumps(CHAT | {"choices": [CHOICE]}).encode(),))
GATEWAY = """\
providers:
  - type: openai
    apiTokens: [sk-PLANTED-key-0001, sk-PLANTED-key-0002]
    endpoint: VENDOR
    failover: {enabled: true, failureThreshold: 1, healthCheckModel: checks, healthCheckInterval: 1000, failoverOnStatus: ["401"]}
    retryOnFailure: {enabled: true, retryOnStatus: ["401", "429"]}
    modelMapping: {checks: gpt-4o-mini}
redis: {url: "redis://${STORE}/3", timeout: 100s}
"""  # noqa: E501


@dataclass
class Traffic:
    """Clients of a gateway and what its vendor saw."""

    gateway: processes.Gateway
    vendor: Vendor

    async def used(self, times: int = 10) -> list[str]:
        """The keys that the gateway uses for its next requests, each of which is answered."""
        before = len(self.vendor.requests)
        for _ in range(times):
            answer = await asyncio.to_thread(ask, self.gateway.port, body=chat("x"), leaks=())
            assert answer.status == 200
        clients = [request for request in self.vendor.requests[before:] if b'"x"' in request.body]
        return [request.headers["authorization"].removeprefix("Bearer ") for request in clients]

    def checks(self) -> list[Request]:
        return [request for request in self.vendor.requests if b'"hi"' in request.body]


@pytest.fixture
def traffic(server: Store, tmp_path: Path) -> Iterator[Traffic]:
    path = tmp_path / "gateway.yaml"
    environ = processes.environment(STORE=f"127.0.0.1:{server.port}")
    with vendor() as seen:
        seen.reply = GOOD
        path.write_text(GATEWAY.replace("VENDOR", seen.url))
        with processes.gateway(tmp_path, "--config", str(path), environ=environ) as gateway:
            yield Traffic(gateway, seen)
        assert "PLANTED" not in gateway.process.errors + gateway.access_log.read_text()


async def test_a_gateway_and_another_process_tell_each_other(server: Store, traffic: Traffic) -> None:
    gateway, provider = traffic.gateway, config(None).providers[0]
    async with kept(server.url) as here:
        # A key that its vendor refuses is set aside until a health check succeeds, here and there.
        go = threading.Event()
        outcomes = [Reply(401), Reply(GOOD.status, GOOD.pieces, wait=go)]
        traffic.vendor.chosen = lambda request: outcomes.pop(0) if b'"hi"' in request.body and outcomes else None
        traffic.vendor.replies = [Reply(401)]
        refused, good = await traffic.used(1)
        await until(lambda: list(here.set_aside(provider)) == [refused])
        await until(lambda: traffic.checks())
        assert set(await traffic.used(6)) == {good}
        go.set()
        await until(lambda: used(here) == {refused, good})
        while set(await traffic.used(6)) != {refused, good}:
            pass

        # The gateway learns, this process knows.
        traffic.vendor.replies = [Reply(429, headers={"retry-after": "4"})]
        throttled, good = await traffic.used(1)
        await until(lambda: used(here) == {good})
        await until(lambda: used(here) == {throttled, good})

        # This process learns, the gateway knows.
        fail(here, good, 429, "600")
        while set(await traffic.used(6)) != {throttled}:
            pass
    checks = [(c.path, c.headers["host"], json.loads(c.body)["model"]) for c in traffic.checks()]
    assert checks == [("/v1/chat/completions", "api.openai.com", "gpt-4o-mini")] * 2
    assert {check.headers["authorization"] for check in traffic.checks()} == {f"Bearer {refused}"}
    for event, reason in (("key set aside", None), ("key health check failed", "status 401"), ("key is back", None)):
        [line] = gateway.events(event)
        assert (line["provider"], line["key"], line.get("reason")) == ("openai", f"sk-…{refused[-4:]}", reason)


async def test_what_is_shared_is_how_long_a_key_still_rests(server: Store) -> None:
    """Seconds that are left, and ends on Redis' clock: machines need not agree on the time."""
    member = f"{fingerprint(TOKENS[0])} openai"
    async with kept(server.url) as here:
        with redis.Redis.from_url(server.url, protocol=2) as client:
            client.publish("ai-proxy:left:3", f"600.0 {member}")
            await until(lambda: used(here) == {TOKENS[1]})
            fail(here, TOKENS[1], 429, "600")
            await until(lambda: client.zcard("ai-proxy:rests") == 1)
            [(_, end)] = client.zrange("ai-proxy:rests", 0, -1, withscores=True)
            assert 0 < end - client.time()[0] <= 601
