"""Limits of use that several machines share, through Redis or Valkey, cluster or not.

Rule: one script per request and hash tag, and nothing is sent twice that counts: what was perhaps reserved is cancelled
by its id. While the server is away nobody waits for it: requests go by `onFailure`, which is said once, and the ends of
what is held there are told when it is back.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from hashlib import sha1
import secrets
import time
from typing import Any, Final, cast

import redis.asyncio
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError
import structlog

from extproc.keys.shared import at_work
from extproc.limits import script
from extproc.limits.authority import Granted, Need, Verdict
from extproc.limits.buckets import Bucket, Spend
from extproc.limits.script import Part
from extproc.limits.windows import Now
from extproc.providers import blocks

log = structlog.get_logger("extproc.shared_quotas")

FAULTS: Final = (RedisError, OSError, TimeoutError)

_SHAS: Final = {
    text: sha1(text.encode(), usedforsecurity=False).hexdigest()
    for text in (script.RESERVE, script.SETTLE, script.CANCEL, script.RENEW)
}
_CONNECTIONS: Final = 8
"""Of each process: requests at once take turns, since a connection for each costs more than the wait."""
_PROBE_SECONDS: Final = 0.5
"""How often a server that was away is tried."""
_RENEW_SECONDS: Final = script.HELD_MS / 3000
_MOST_UNTOLD: Final = 100_000
"""Ends that wait for the server; beyond, the oldest are settled by it as a dead worker's."""


@dataclass(eq=False, slots=True)
class Shared:
    """What one request holds there. `running`: tells what is used until now."""

    parts: list[Part]
    running: Callable[[], Spend | None]


class SharedQuotas:
    """`away`: why the server is not asked now, or None."""

    faults = FAULTS

    def __init__(self, block: blocks.Redis, away: Callable[[str | None], None] = lambda reason: None) -> None:
        self._block = block
        self._place = block.place
        self._me = secrets.token_hex(6)
        self._count = 0
        self._tell = away
        self._client: Any = None
        self._untold: deque[tuple[str, Part, list[str]]] = deque(maxlen=_MOST_UNTOLD)
        self._more = asyncio.Event()
        self._held: set[Shared] = set()
        self.away: str | None = "it was not asked yet"
        self._said: str | None = None
        self.tried = asyncio.Event()

    async def reserve(self, needs: list[Need], running: Callable[[], Spend | None]) -> tuple[Verdict, Shared | None]:
        """Reserve in all buckets or none. Raises one of `FAULTS` where it is not known whether."""
        self._count += 1
        now = Now(time.monotonic(), time.time())
        parts = script.parts(f"{self._block.key_prefix}limits:", f"{self._me}-{self._count}", needs)
        granted: dict[int, Granted] = {}
        done: list[Part] = []
        try:
            for part in parts:
                answer = await self._run(script.RESERVE, part.keys, part.reserve(now))
                verdict, told = part.verdict(answer, now)
                _tell_steps(told)
                if not verdict.granted:
                    self._later(script.CANCEL, done)
                    return verdict, None
                done.append(part)
                granted |= {id(need): one for need, one in zip(part.needs, verdict.granted, strict=True)}
        except BaseException as error:
            self._later(script.CANCEL, parts)
            if isinstance(error, FAULTS):
                self._failed(error)
            raise
        held = Shared(parts, running)
        self._held.add(held)
        return Verdict(tuple(granted[id(need)] for need in needs)), held

    def settle(self, held: Shared, spend: Spend | None) -> None:
        """It is over. Called again it does nothing."""
        if held in self._held:
            self._held.discard(held)
            for part in held.parts:
                self._untold.append((script.SETTLE, part, part.settle(spend)))
            self._more.set()

    def _later(self, what: str, parts: list[Part]) -> None:
        self._untold.extend((what, part, [part.id]) for part in parts)
        self._more.set()

    async def _run(self, what: str, keys: list[str], arguments: list[str]) -> Any:
        if self._client is None:
            raise redis.exceptions.ConnectionError(self.away or "it is away")
        async with asyncio.timeout(self._block.timeout):
            try:
                return await self._client.evalsha(_SHAS[what], len(keys), *keys, *arguments)
            except NoScriptError:  # nothing was done
                return await self._client.eval(what, len(keys), *keys, *arguments)

    def _failed(self, error: BaseException) -> None:
        reason = str(error) or ("no answer in time" if isinstance(error, TimeoutError) else type(error).__name__)
        self.away = reason
        self.tried.set()
        if self._said is None:
            self._said = reason
            log.error(
                "limits are not shared: Redis is away, requests go by onFailure", redis=self._place, reason=reason
            )
            self._tell(reason)

    def _found(self) -> None:
        self.away = None
        self.tried.set()
        if self._said is not None:
            self._said = None
            log.info("limits are shared again", redis=self._place)
            self._tell(None)

    async def run(self) -> None:
        """Keep the connection, tell what is over, renew what goes on; for ever."""
        renewing = asyncio.create_task(self._renew())
        try:
            while True:
                try:
                    await self._join()
                    self._found()
                    await self._write()
                except FAULTS as error:
                    self._failed(error)
                await asyncio.sleep(_PROBE_SECONDS)
        finally:
            renewing.cancel()
            await self._close()

    async def _join(self) -> None:
        if self._client is None:
            url, options = self._block.url.get_secret_value(), self._options()
            pool = redis.asyncio.BlockingConnectionPool.from_url(url, max_connections=_CONNECTIONS, **options)
            client: Any = redis.asyncio.Redis.from_pool(pool)
            async with asyncio.timeout(self._block.timeout):
                clustered = (await client.info("cluster")).get("cluster_enabled")
            if clustered:
                await client.aclose()
                client = RedisCluster.from_url(url, **options)
            self._client = client
        async with asyncio.timeout(self._block.timeout):  # what writes: a former master after a failover still reads
            await self._client.pexpire(f"{self._block.key_prefix}limits:probe", 1)

    def _options(self) -> dict[str, Any]:
        return {
            "protocol": 2,
            "client_name": "ai-proxy-limits",
            "socket_timeout": None,
            "socket_connect_timeout": self._block.timeout,
            "retry": Retry(NoBackoff(), 0),
        }

    async def _write(self) -> None:
        """Tell what is over, as it comes; ends with the first fault, here or of a request."""
        while self.away is None:
            self._more.clear()
            while self._untold:
                what, part, arguments = self._untold[0]
                await self._run(what, part.keys, arguments)  # again after a fault: by its id it counts once
                if self._untold and self._untold[0][1] is part:
                    self._untold.popleft()
            with suppress(TimeoutError):
                async with asyncio.timeout(_PROBE_SECONDS):
                    await self._more.wait()

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_SECONDS)
            by_keys: dict[tuple[str, ...], list[str]] = {}
            for held in list(self._held):
                spend = held.running()
                for part in held.parts:
                    by_keys.setdefault(tuple(part.keys[:2]), []).extend(part.renew(spend))
            with suppress(*FAULTS):
                for keys, arguments in by_keys.items():
                    await self._run(script.RENEW, list(keys), [str(script.HELD_MS), *arguments])

    async def _close(self) -> None:
        if self._client is not None:
            with suppress(*FAULTS):
                await self._write_last()
            with suppress(*FAULTS):
                await cast(Any, self._client).aclose()

    async def _write_last(self) -> None:
        while self._untold:
            what, part, arguments = self._untold.popleft()
            await self._run(what, part.keys, arguments)


def _tell_steps(told: list[tuple[Bucket, float]]) -> None:
    for bucket, share in told:
        write = log.warning if share >= 1 else log.info
        said = "a limit is reached" if share >= 1 else "little is left of a limit"
        write(said, limit=bucket.said, used=f"{share:.0%}", **({"shadow": True} if bucket.shadow else {}))


@asynccontextmanager
async def sharing(
    block: blocks.Redis, away: Callable[[str | None], None] = lambda reason: None
) -> AsyncIterator[SharedQuotas]:
    """Share limits until the end of the block; yields once the server answered, or had its chance to."""
    shared = SharedQuotas(block, away)
    async with at_work(shared.run(), shared.tried, block.timeout):
        yield shared
