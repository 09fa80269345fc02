"""What `run` starts beside the sidecar: a real Envoy that follows its configuration, and the simulated vendors.

Rule: what is started here ends with the stack that it is given.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
import os
from pathlib import Path
import sys
from typing import TYPE_CHECKING

import aiohttp
import structlog

from extproc.config.load import Loaded
from extproc.envoy.lines import Told
from extproc.envoy.placement import Placement
from extproc.envoy.process import EnvoyError, EnvoyProcess, die_with_parent, keyless_environment
from extproc.providers import Provider
from extproc.supervisor import reach
from extproc.supervisor.addresses import Addresses
from extproc.supervisor.books import Books
from extproc.supervisor.care import Care
from extproc.supervisor.live import EnvoySide
from extproc.supervisor.sidecar import Sidecar
from extproc.supervisor.supervisor import Logging
from extproc.terms.agreed import PROBE_PATH
from extproc.worker.places import Address

if TYPE_CHECKING:
    from extproc.envoy import directory

log = structlog.get_logger("extproc.run")


@dataclass(frozen=True, slots=True)
class RunOptions:
    """`listen`: where Envoy takes requests. `demo`: show one streamed chat once it routes. `console`, `metrics`: as in
    `ServeOptions`."""

    listen: Address
    admin: Address
    grace: float
    workers: int | None
    logging: Logging
    demo: bool
    access_log: str | None
    concurrency: int
    placement: Placement
    console: bool = True
    metrics: Address | None = None


class PartDied(Exception):
    """A supervised process ended by itself."""


async def simulator(stack: AsyncExitStack) -> tuple[str, Awaitable[int]]:
    """Start `extproc simulate` on a free port, to end with the stack; gives its URL and what resolves at its end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "extproc", "simulate", "--listen", "127.0.0.1:0"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is ours to handle
        preexec_fn=die_with_parent(),
        env=keyless_environment(),
    )

    async def end() -> None:
        if process.returncode is None:
            process.terminate()
        await process.wait()

    stack.push_async_callback(end)
    assert process.stdout is not None
    url = (await process.stdout.readline()).decode().strip()
    if not url.startswith("http://"):
        raise PartDied("the simulated vendors did not start (pip install 'ai-proxy-envoy[simulate]')")
    return url, process.wait()


def prepared(loaded: Loaded, path: Path, options: RunOptions) -> "directory.Directory":
    """Write the files that Envoy follows, in a thread while the workers start: it takes long where there are many
    providers."""
    from extproc.envoy import bootstrap, directory  # half a second that only who runs Envoy pays

    given = bootstrap.Options(
        host=options.listen.host,
        port=options.listen.port,
        admin_port=0,
        access_log=options.access_log,
        ca_file=system_ca_file(bootstrap.SYSTEM_CA_FILES),
        placement=options.placement,
        xds_directory=str(path),
    )
    side = directory.Directory(given)
    side.write_all(loaded)
    return side


async def envoy_beside(
    stack: AsyncExitStack,
    loaded: Loaded,
    running: Sidecar,
    books: Books,
    options: RunOptions,
    side: "directory.Directory",
) -> tuple[EnvoyProcess, EnvoySide]:
    """Start Envoy with a bootstrap and files that it follows; it is drained and stopped with the stack."""
    path = side.write_bootstrap(loaded, tuple(map(str, running.addresses)))
    envoy = EnvoyProcess(
        path, concurrency=options.concurrency, on_line=_log_envoy, on_told=partial(_hear, running, books)
    )
    side.confirm = envoy.works_with
    try:
        await envoy.start()
        stack.push_async_callback(envoy.drain_and_stop, options.grace)
        await side.confirm_all()
    except EnvoyError:
        await side.check(loaded)  # says why
        raise
    return envoy, side


def watch_vendors(
    stack: AsyncExitStack, tried: Sequence[Provider], envoy: EnvoyProcess, now: Callable[[], Sequence[Provider]]
) -> None:
    """Say in the background which vendors cannot be reached, and which have no address any more."""
    care = Care()
    care.keep("vendors are tried", partial(reach.warn, tried, default_ca_file()))
    care.keep("vendors without an address are said", Addresses(envoy.without_addresses, now).watch)
    stack.push_async_callback(care.end)


def default_ca_file() -> str:
    """The CA bundle by which Envoy checks vendors."""
    from extproc.envoy.bootstrap import SYSTEM_CA_FILES  # half a second that only who runs Envoy pays

    return system_ca_file(SYSTEM_CA_FILES)


def _log_envoy(line: str) -> None:
    write = log.debug if "caught ENVOY_SIGTERM" in line else log.warning  # we sent it
    write("envoy", line=line)


def _hear(running: Sidecar, books: Books, told: Told) -> None:
    """An attempt that Envoy could not bring to an answer, an answer of Envoy's own, or the end of an exchange, of which
    whose it was has a line."""
    books.told(told)
    if told.error is not None:
        running.told_end(told.request_id, told.attempt, told.error)
    if told.kind == "answer":
        status = told.known.get("status")
        write = log.warning if isinstance(status, int) and status >= 500 else log.info
        write("Envoy answered itself", **told.known)
    elif told.kind == "attempt":
        log.warning("attempt failed", **told.known)


def system_ca_file(candidates: Sequence[str]) -> str:
    """The system's CA bundle: `SSL_CERT_FILE`, or the first candidate that exists."""
    return next(filter(os.path.exists, filter(None, (os.environ.get("SSL_CERT_FILE"), *candidates))), candidates[0])


def reachable(host: str) -> str:
    """Where whoever listens on a host is met from here."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


async def until_routing(base: str) -> None:
    """A request must come back from the sidecar through Envoy: its own error for a path that is no API."""
    async with aiohttp.ClientSession() as session:
        for _ in range(200):
            try:
                async with session.get(f"{base}{PROBE_PATH}") as answer:
                    text = await answer.text()
                    if "unknown_url" in text or "invalid_api_key" in text:  # the latter where clients are configured
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)
    raise PartDied("Envoy does not reach the sidecar")
