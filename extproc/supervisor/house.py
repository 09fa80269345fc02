"""What the console is told of this process: `extproc.console.House`, filled.

Rule: everything has a limit in time, and what was found a moment ago is not asked again: pages look every few seconds.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
import secrets
import time
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from extproc.config.config import Config
from extproc.config.masking import mask, one_line
from extproc.envoy.process import EnvoyError, EnvoyProcess
from extproc.limits.authority import Fill
from extproc.limits.history import By, Row
from extproc.providers import Provider
from extproc.supervisor import reach
from extproc.supervisor.certificates import expiry
from extproc.supervisor.live import Live
from extproc.worker.channel import Rested, Seen
from extproc.worker.places import Address, Door

if TYPE_CHECKING:
    from extproc.supervisor.sidecar import Sidecar

T = TypeVar("T")

VENDORS_SECONDS: Final = 60.0
ENVOY_SECONDS: Final = 2.0
REDIS_SECONDS: Final = 10.0


class _Kept(Generic[T]):
    """What was found is good for a while; those who ask meanwhile wait for the same answer."""

    def __init__(self, find: Callable[[], Awaitable[T]], seconds: float) -> None:
        self._find = find
        self._seconds = seconds
        self._lock = asyncio.Lock()
        self._at = 0.0
        self._found: T | None = None

    async def get(self) -> T:
        async with self._lock:
            if self._found is None or time.monotonic() - self._at > self._seconds:
                self._found = await self._find()
                self._at = time.monotonic()
            return self._found


class House:
    """`sidecar`, `process` and `base` are filled in as they come to be. `tries`: the providers whose vendors may be
    tried from here."""

    def __init__(self, live: Live, address: Address, door: Door, not_ready: Callable[[], str | None]) -> None:
        self.live = live
        self.host = address.host
        self.token = secrets.token_urlsafe(24)
        self.sidecar: Sidecar | None = None
        self.process: EnvoyProcess | None = None
        self.listener: str | None = None
        self.tries: Callable[[], Sequence[Provider]] = lambda: ()
        self.ca_file = ""
        self.not_ready = not_ready
        self._door = door
        self._vendors = _Kept(self._try_vendors, VENDORS_SECONDS)
        self._clusters = _Kept(self._ask_envoy, ENVOY_SECONDS)
        self._redis = _Kept(self._ask_redis, REDIS_SECONDS)
        self._out_since: dict[str, float] = {}

    @property
    def config(self) -> Config:
        return self.live.loaded.config

    @property
    def base(self) -> str | None:
        console = self.config.console
        return (console.gateway if console is not None else None) or self.listener

    @property
    def votes(self) -> Path | None:
        """Beside the file of what was used."""
        used = self.live.usage_file
        return used and used.with_name(f"{used.stem}-votes.db")

    def configuration(self) -> Mapping[str, object]:
        live = self.live
        notes = [one_line(mask(note)) for note in live.loaded.notes]
        return {
            "generation": live.generation,
            "source": live.loaded.source,
            "since": live.since,
            "refused": list(live.refused),
            "notes": notes,
        }

    def rests(self) -> Sequence[Rested]:
        return () if self.sidecar is None else self.sidecar.workers.rests

    def processes(self) -> Sequence[Mapping[str, object]]:
        return () if self.sidecar is None else self.sidecar.workers.processes

    def trouble(self) -> Mapping[str, str]:
        return {} if self.sidecar is None else self.sidecar.trouble()

    async def look(self, most: int) -> Sequence[Seen]:
        return () if self.sidecar is None else await self.sidecar.workers.look(most)

    async def used(self, since: float, by: Sequence[By], width: int) -> Sequence[Row]:
        return () if self.sidecar is None else await self.sidecar.quotas.history(since, by, None, width)

    def fills(self) -> Sequence[Fill]:
        return () if self.sidecar is None else self.sidecar.quotas.fills()

    async def envoy(self) -> Mapping[str, object] | None:
        return None if self.process is None else await self._clusters.get()

    async def _ask_envoy(self) -> Mapping[str, object]:
        assert self.process is not None
        try:
            out = await self.process.left_out()
        except (EnvoyError, TimeoutError, OSError) as error:
            return {"pid": self.process.pid, "reason": str(error) or type(error).__name__, "left_out": {}}
        now = time.time()
        self._out_since = {name: self._out_since.get(name, now) for name in out}
        ends = {
            name: since + self.config.by_id[name].outlier_detection.base_ejection_time
            for name, since in self._out_since.items()
            if name in self.config.by_id
        }
        return {"pid": self.process.pid, "left_out": ends}

    async def vendors(self) -> Sequence[Mapping[str, object]]:
        return await self._vendors.get()

    async def _try_vendors(self) -> Sequence[Mapping[str, object]]:
        found = await reach.found(self.tries(), self.ca_file)
        return [
            {"provider": one.provider, "host": str(one.place), "reason": one.reason, "ends": one.ends} for one in found
        ]

    async def redis(self) -> Mapping[str, object] | None:
        return None if self.config.redis is None else await self._redis.get()

    async def _ask_redis(self) -> Mapping[str, object]:
        block = self.config.redis
        if block is None:
            return {}
        import redis.asyncio  # an optional dependency, missed when the configuration is loaded
        from redis.exceptions import RedisError

        client = redis.asyncio.Redis.from_url(block.url.get_secret_value(), socket_timeout=block.timeout)
        try:
            async with asyncio.timeout(block.timeout):
                await client.ping()
        except (RedisError, OSError, TimeoutError) as error:  # its words may hold the URL
            return {"place": block.place, "reason": type(error).__name__}
        finally:
            await client.aclose()
        return {"place": block.place, "reason": None}

    def certificates(self) -> Sequence[Mapping[str, object]]:
        tls = self._door.tls
        if tls is None:
            return []
        known = ((tls.certificate, expiry(tls.certificate)), (tls.client_ca, expiry(tls.client_ca, authorities=True)))
        return [{"name": path.name, "ends": end, "whose": "sidecar"} for path, end in known if end]
