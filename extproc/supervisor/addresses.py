"""Says which vendors have no address: Envoy passes them over without an attempt, so no line of its own tells of them.

Rule: said when it begins and when it ends, by Envoy's own count of a vendor's addresses; nothing depends on it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final

import structlog

from extproc.providers import Provider

log = structlog.get_logger("extproc.addresses")

SECONDS: Final = 2.0
"""Between looks. What is so twice counts: Envoy has no address yet of a vendor that a change has just brought."""
_PROVIDERS: Final = 50
"""One more look's pause for each so many: Envoy goes through all its statistics for an answer."""

Lacking = Callable[[], Awaitable[Collection[str]]]


class Addresses:
    """`look` now and then. `lacking`: asks Envoy; `providers`: those that are configured now."""

    def __init__(self, lacking: Lacking, providers: Callable[[], Sequence[Provider]]) -> None:
        self._lacking = lacking
        self._providers = providers
        self._before: frozenset[str] = frozenset()
        self._said: frozenset[str] = frozenset()

    async def look(self) -> None:
        """Say what has changed since the last look, and was so at that one."""
        hosts = {provider.id: provider.upstream.address for provider in self._providers()}
        now = frozenset(await self._lacking()) & hosts.keys()
        for id in sorted((now & self._before) - self._said):
            log.warning("a vendor has no address: requests pass it over", provider=id, host=hosts[id], reason="DNS")
        for id in sorted((self._said - now) & hosts.keys()):
            log.info("a vendor has an address again", provider=id, host=hosts[id])
        self._said = (self._said | self._before) & now
        self._before = now

    async def watch(self) -> None:
        """For ever."""
        while True:
            await self.look()
            await asyncio.sleep(SECONDS * (1 + len(self._providers()) // _PROVIDERS))
