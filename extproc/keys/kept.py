"""The keys of a process with all that happens to them beside the exchanges: health checks, Redis, log lines.

Rule: `Keys` decides; this carries what it decided to people and to other processes, under whatever the configuration
is at the time. A key is shown by its last characters only.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
import math
import time
from typing import TYPE_CHECKING

import structlog

from extproc.config.config import Config
from extproc.config.describe import redact
from extproc.keys.choice import Keys, Rest, fingerprint
from extproc.keys.health import Checks
from extproc.providers.blocks import Redis

if TYPE_CHECKING:
    from extproc.keys.shared import SharedKeys

log = structlog.get_logger("extproc.keys")

_GLANCE = 1.0
"""Seconds between looks at whether the configuration names another Redis."""


class _Keeper:
    """`shared`: who shares the keys now; None where nobody does."""

    def __init__(self, config: Callable[[], Config], tell: Callable[[Rest], None]) -> None:
        self._config = config
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self.keys = Keys(self._hear)
        self.shared: SharedKeys | None = None
        self.started = asyncio.Event()

    def _hear(self, rest: Rest) -> None:
        """Called by the exchanges' thread, too."""
        self._loop.call_soon_threadsafe(self._on_rest, rest)

    def _on_rest(self, rest: Rest) -> None:
        self._tell(rest)
        if self.shared is not None:
            self.shared.tell(rest)
        about = {"provider": rest.provider, "key": self._shown(rest)}
        if not rest.until:
            log.info("key is back", **about)
        elif math.isinf(rest.until):
            log.warning("key set aside", **about, until="a health check succeeds")
        else:
            write = log.warning if rest.aside else log.info
            said = "key set aside" if rest.aside else "key rests"
            write(said, **about, seconds=round(rest.until - time.monotonic(), 1))

    def _shown(self, rest: Rest) -> str:
        provider = self._config().by_id.get(rest.provider)
        tokens = [token.get_secret_value() for token in provider.tokens] if provider is not None else []
        return next((redact(token) for token in tokens if fingerprint(token) == rest.fingerprint), "…")

    async def claim(self, provider: str, known: str, interval: float) -> bool:
        """Whether this process is the one to check a key now; without Redis each is."""
        return self.shared is None or await self.shared.claim(provider, known, interval)

    async def share(self) -> None:
        """Share the keys as the configuration says, whatever it says later."""
        while True:
            block = self._config().redis
            if block is None:
                await self._until_other(block)
                continue
            from extproc.keys import (
                shared as shared_keys,  # an optional dependency, missed when the configuration is loaded
            )

            async with shared_keys.sharing(block, self.keys) as self.shared:
                try:
                    await self._until_other(block)
                finally:
                    self.shared = None

    async def _until_other(self, block: Redis | None) -> None:
        self.started.set()
        while self._config().redis == block:  # noqa: ASYNC110  the configuration is asked, it tells nobody
            await asyncio.sleep(_GLANCE)


async def _for_ever(work: Callable[[], Coroutine[None, None, None]]) -> None:
    while True:
        try:
            await work()
        except Exception:
            log.exception("the care for the keys failed unexpectedly")
        await asyncio.sleep(_GLANCE)


@asynccontextmanager
async def keys_kept(
    config: Callable[[], Config], tell: Callable[[Rest], None] = lambda rest: None
) -> AsyncIterator[Keys]:
    """The keys of a process, for as long as it lives. `config`: gives the configuration as it is now. `tell`: hears of
    every key that is put to rest or comes back here."""
    keeper = _Keeper(config, tell)
    checks = Checks(config, keeper.keys, keeper.claim)
    tasks = [asyncio.create_task(_for_ever(work)) for work in (keeper.share, checks.run)]
    try:
        await keeper.started.wait()
        yield keeper.keys
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
