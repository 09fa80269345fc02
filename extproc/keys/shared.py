"""Which keys rest, shared by processes and machines through Redis or Valkey.

Rule: nobody waits for Redis. Changes are told to it when it can be reached, and believed when it tells them; without
it each process goes on with what it knows. Redis sees fingerprints, never keys.

One sorted set has the rests, by their end on Redis' own clock (`ZADD GT`: the longer of two rests counts, whoever is
later); one channel tells changes, as seconds that are left, in the order of the set, to everybody, their author
included. So no machine's clock is compared with another's, and none may be wrong. A lease says who checks a key's
health.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
import math
import secrets
import time
from typing import Any

import redis.asyncio
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.exceptions import RedisError
import structlog

from extproc.keys.choice import Keys, Rest
from extproc.providers import blocks

log = structlog.get_logger("extproc.shared_keys")

_FAULTS = (RedisError, OSError)

_KEPT = 86_400.0
"""Seconds after the last change until Redis forgets all."""
_ROUND = 30
"""Attempts to connect after which the waits begin short again: the back-off of redis-py 8.1 overflows at 1024."""
_QUIET = 20.0
"""Seconds of silence after which the connection is tested."""
_PAUSE = 0.5
"""Seconds between the loss of a connection and the first attempt to have another."""


class SharedKeys:
    """Keeps `keys` and Redis alike. `tried`: set once Redis was asked what rests, or could not be."""

    def __init__(self, block: blocks.Redis, keys: Keys) -> None:
        self._keys = keys
        self._place = block.place
        self._timeout = block.timeout
        self._me = secrets.token_hex(8)
        self._client = redis.asyncio.Redis.from_url(
            block.url.get_secret_value(),
            protocol=2,  # what every server and every proxy before one speaks
            client_name="ai-proxy",
            socket_timeout=None,  # `_within` instead: redis-py's `wait_for` loses cancellations (python/cpython#86296)
            socket_connect_timeout=block.timeout,
            retry=Retry(NoBackoff(), 0),  # `run` tries again, and has to know when the connection was lost
        )
        database = self._client.connection_pool.connection_kwargs.get("db", 0)
        self._prefix = block.key_prefix
        self._rests = f"{block.key_prefix}rests"
        self._channel = f"{block.key_prefix}left:{database}"  # channels are the same for all databases
        self._changed: dict[str, tuple[float, ...]] = {}
        self._change = asyncio.Event()
        self._retry = Retry(ExponentialWithJitterBackoff(cap=10.0, base=0.1), _ROUND, (RedisError,))
        self._joined = False
        self._lost = False
        self.tried = asyncio.Event()

    def tell(self, rest: Rest) -> None:
        """A key was put to rest here, or is back; the others hear of it when they can."""
        member = f"{rest.fingerprint} {rest.provider}"
        came_back = rest.until and self._changed.get(member, (1.0,))[0] == 0  # else a longer rest would outlive it
        self._changed[member] = (0.0, rest.until) if came_back else (rest.until,)
        self._change.set()

    async def claim(self, provider: str, fingerprint: str, interval: float) -> bool:
        """Whether this process is the one to check a key now. It stays so as long as it keeps asking."""
        if not self._joined:
            return True
        name = f"{self._prefix}check:{provider}:{fingerprint}"
        lease = int(interval * 2500) + 1
        try:
            async with self._within():
                if await self._client.set(name, self._me, nx=True, px=lease):
                    return True
                if await self._client.get(name) != self._me.encode():
                    return False
                await self._client.pexpire(name, lease)
        except _FAULTS:
            pass  # `_hear` and `_write` notice too, and say so
        return True

    @asynccontextmanager
    async def _within(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._timeout):
                yield
        except TimeoutError:
            raise redis.exceptions.TimeoutError(f"no answer within {self._timeout:g} s") from None

    async def run(self) -> None:
        """Stay connected, until cancelled."""
        try:
            while True:
                try:
                    await self._session()
                except _FAULTS as error:
                    await self._failed(error)
                except Exception:
                    log.exception("sharing the keys' state failed unexpectedly")
                await asyncio.sleep(_PAUSE)
        finally:
            with suppress(*_FAULTS):
                await self._client.aclose()

    async def _session(self) -> None:
        pubsub = await self._retry.call_with_retry(self._join, self._failed)
        try:
            self._found()
            await self._follow(pubsub)
        finally:
            self._joined = False
            await _closed(pubsub)

    async def _failed(self, error: Exception) -> None:
        self.tried.set()
        if not self._lost:
            self._lost = True
            reason = str(error) or type(error).__name__
            log.warning("key state is not shared: Redis is away", redis=self._place, reason=reason)

    def _found(self) -> None:
        self._joined, again, self._lost = True, self._lost, False
        self.tried.set()
        log.info("key state is shared again" if again else "key state is shared", redis=self._place)

    async def _join(self) -> PubSub:
        """Subscribe, and only then read what rests, so that nothing falls in between. What could not be told before is
        told first: where that is not allowed, the connection is worth nothing."""
        pubsub = self._client.pubsub()
        try:
            async with self._within(), self._client.pipeline(transaction=True) as both:
                await pubsub.subscribe(self._channel)
                await pubsub.get_message(timeout=None)
                await self._flush()
                now = await self._now()
                both.zremrangebyscore(self._rests, "-inf", now)
                both.zrange(self._rests, 0, -1, withscores=True)
                _, rests = await both.execute()
        except BaseException:
            await _closed(pubsub)
            raise
        for member, until in rests:
            self._apply(member, until - now)
        return pubsub

    async def _follow(self, pubsub: PubSub) -> None:
        """Hear and tell changes; ends with the first error of either."""
        tasks = [asyncio.create_task(self._hear(pubsub)), asyncio.create_task(self._write())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _hear(self, pubsub: PubSub) -> None:
        asked = False
        while True:
            message = await pubsub.get_message(timeout=self._timeout if asked else _QUIET)
            if message is not None:
                asked = False
                if message["type"] == "message":
                    self._heard(message["data"])
            elif asked:
                raise redis.exceptions.TimeoutError("the connection has gone silent")
            else:
                asked = True
                async with self._within():
                    await pubsub.ping()

    def _heard(self, data: bytes) -> None:
        left, _, member = data.partition(b" ")
        with suppress(ValueError):  # whoever published this is not one of us
            self._apply(member, float(left))

    def _apply(self, member: bytes, left: float) -> None:
        """`left`: seconds until the key may be used; 0: it is back."""
        fingerprint, _, provider = member.decode(errors="replace").partition(" ")
        if not math.isnan(left):
            until = time.monotonic() + (left if math.isinf(left) else min(left, _KEPT)) if left else 0.0
            self._keys.rest(Rest(provider, fingerprint, until))

    async def _now(self) -> float:
        """Redis' clock."""
        seconds, micros = await self._client.time()
        return float(seconds) + float(micros) / 1e6

    async def _write(self) -> None:
        while True:
            await self._change.wait()
            await self._flush()

    async def _flush(self) -> None:
        self._change.clear()
        if not self._changed:
            return
        changed = dict(self._changed)
        await self._store(changed)
        for member, untils in changed.items():
            if self._changed[member] is untils:
                del self._changed[member]

    async def _store(self, changed: dict[str, tuple[float, ...]]) -> None:
        async with self._within(), self._client.pipeline(transaction=True) as both:
            now, last = await self._now(), 0.0
            for member, untils in changed.items():
                for until in untils:
                    left = until and until - time.monotonic()
                    if until:
                        both.zadd(self._rests, {member: now + left}, gt=True)
                    else:
                        both.zrem(self._rests, member)
                    both.publish(self._channel, f"{left!r} {member}")
                    last = max(last, now + left) if math.isfinite(left) else last
            both.zremrangebyscore(self._rests, "-inf", now)
            both.expireat(self._rests, int(max(now + _KEPT, last)))
            await both.execute()


async def _closed(pubsub: Any) -> None:
    with suppress(*_FAULTS):
        await pubsub.aclose()


@asynccontextmanager
async def sharing(block: blocks.Redis, keys: Keys) -> AsyncIterator[SharedKeys]:
    """Share `keys`; yields once what rests elsewhere is known, or Redis had its chance to say it."""
    shared = SharedKeys(block, keys)
    async with at_work(shared.run(), shared.tried, block.timeout):
        yield shared


@asynccontextmanager
async def at_work(run: Coroutine[Any, Any, None], tried: asyncio.Event, patience: float) -> AsyncIterator[None]:
    """Have it run until the end of the block; yields once the server answered, or had its chance to."""
    task = asyncio.create_task(run)
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await tried.wait()
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
