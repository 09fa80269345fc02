"""The processes: the sidecar alone (`serve`), or with Envoy and simulated vendors beside it (`run`).

Rule: everything started here is stopped here, in the order in which requests flow; when one part dies, all stop and
the message says which. Workers are no such part: they are started again.
"""

import asyncio
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from dataclasses import dataclass, replace
from functools import partial
import os
from pathlib import Path
import tempfile

import structlog

from extproc import console
from extproc.config.config import ConfigError, Problem
from extproc.config.load import Loaded, StandIn
from extproc.envoy import process as envoy_process
from extproc.envoy.placement import Placement, objection
from extproc.envoy.process import EnvoyError
from extproc.supervisor import admin, demo
from extproc.supervisor.aside import aside
from extproc.supervisor.beside import (
    PartDied,
    RunOptions,
    default_ca_file,
    envoy_beside,
    prepared,
    reachable,
    simulator,
    system_ca_file,
    until_routing,
    watch_vendors,
)
from extproc.supervisor.books import Books
from extproc.supervisor.house import House
from extproc.supervisor.life import Life, first_end, living, until_stopped
from extproc.supervisor.live import LOAD_SECONDS, EnvoySide, Live, NoEnvoy, Source
from extproc.supervisor.sidecar import Options as SidecarOptions
from extproc.supervisor.sidecar import sidecar
from extproc.supervisor.spawning import WorkerFailed
from extproc.supervisor.supervisor import Logging, Window
from extproc.terms.agreed import LAME_SECONDS
from extproc.worker.places import Address, Door, reserved_address

__all__ = [
    "Address",
    "Door",
    "EnvoyError",
    "Logging",
    "PartDied",
    "RunOptions",
    "ServeOptions",
    "Source",
    "WorkerFailed",
    "check_free",
    "run",
    "serve",
    "system_ca_file",
    "until_stopped",
]

log = structlog.get_logger("extproc.run")

DRAIN_SECONDS = 30.0
"""How long open exchanges may go on after a stop was asked for."""

SIMULATED_KEY = "sk-sim-stand-in"

_PROXIES = frozenset({"HTTPS_PROXY", "ALL_PROXY"})
"""Variables by which other programs find a proxy."""


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """`xds`: the directory through which an Envoy follows, see `extproc envoy --xds-dir`. `console`: False for none,
    whatever the configuration says. `metrics`: where `/metrics` is beside the admin port."""

    door: Door
    admin: Address
    grace: float
    workers: int | None
    logging: Logging
    xds: Path | None
    console: bool = True
    metrics: Address | None = None


async def serve(source: Source, options: ServeOptions) -> None:
    """The sidecar alone, until SIGTERM or SIGINT. Raises what loading raises, `OSError`, `WorkerFailed`."""
    source = replace(source, console=options.console)
    live = await Live.opened(source, partial(check_console, options.admin))
    if isinstance(options.door.first, Address):
        check_free(options.door.first, options.admin)
    envoy = (
        NoEnvoy(live.loaded) if options.xds is None else await asyncio.to_thread(_kept_fresh, options.xds, live.loaded)
    )
    async with AsyncExitStack() as stack:
        life = await stack.enter_async_context(living())
        house, books = House(live, options.admin, options.door, life.reason), Books()
        admin_port, window = await _admin(stack, options.admin, life, house, books)
        await stack.enter_async_context(_metrics(options.metrics, books))
        given = SidecarOptions(options.door, options.workers, options.logging, LAME_SECONDS, options.grace, window)
        running = house.sidecar = await stack.enter_async_context(sidecar(live, given, books))
        await stack.enter_async_context(running.following(envoy))
        life.started(running)
        grpc = ", ".join(map(str, running.addresses))
        tls = options.door.tls is not None
        address = _url(Address(options.admin.host, admin_port))
        log.info("serving", grpc=grpc, tls=tls, admin=address, **_console(house, address))
        await life.stop.wait()
        log.info("stopping: open exchanges may finish (again to stop now)", seconds=options.grace)


def _kept_fresh(path: Path, loaded: Loaded) -> EnvoySide:
    """What `extproc envoy --xds-dir` wrote. Raises `OSError` where it did not."""
    from extproc.envoy import directory as xds  # half a second that only who keeps an Envoy's files pays

    directory = xds.opened(path)
    directory.write_all(loaded)
    return directory


async def run(source: Source, options: RunOptions, *, simulate: bool) -> None:
    """Sidecar, Envoy and perhaps the simulated vendors, until SIGTERM, SIGINT or the death of one of them.

    Raises `PartDied`, `EnvoyError`, `WorkerFailed`, `OSError`, and what loading raises.
    """
    if simulate:
        source = replace(source, stand_in=StandIn("http://127.0.0.1:1", SIMULATED_KEY))
    if proxies := sorted({name.upper() for name in os.environ if name.upper() in _PROXIES}):
        log.warning("not used: Envoy connects to vendors directly", variables=proxies)
    source = replace(source, console=options.console)
    version = await aside(envoy_process.version, LOAD_SECONDS)
    checks = (partial(check_placement, options.placement, version), partial(check_console, options.admin))
    live = await Live.opened(source, lambda loaded: [check(loaded) for check in checks])
    check_free(options.listen, options.admin)
    door = Door(Address("127.0.0.1", 0))
    async with living() as life, AsyncExitStack() as stack:
        # Held until the end: a port that the system chose would else be anybody's while everything starts.
        options = replace(options, listen=stack.enter_context(reserved_address(options.listen)))
        house, books = House(live, options.admin, door, life.reason), Books()
        admin_port, window = await _admin(stack, options.admin, life, house, books)
        await stack.enter_async_context(_metrics(options.metrics, books))
        parts: dict[str, Awaitable[int]] = {}
        url = None
        if simulate:
            log.info("starting the simulated vendors")
            url, parts["the simulated vendors"] = await simulator(stack)
            live = house.live = await live.with_stand_in(StandIn(url, SIMULATED_KEY))
        path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="extproc-")))
        files = asyncio.create_task(aside(partial(prepared, live.loaded, path, options), None))
        stack.callback(files.cancel)
        log.info("starting the workers")
        given = SidecarOptions(door, options.workers, options.logging, 0.0, options.grace, window, hears_ends=True)
        running = house.sidecar = await stack.enter_async_context(sidecar(live, given, books))
        log.info("starting Envoy")
        envoy, side = await envoy_beside(stack, live.loaded, running, books, options, await files)
        parts["Envoy"], house.process = envoy.exited, envoy
        house.tries = lambda: [p for p in live.loaded.config.providers if url is None or p.endpoint != url]
        house.ca_file = default_ca_file()
        watch_vendors(stack, house.tries(), envoy, lambda: live.loaded.config.providers)
        base = house.listener = _url(Address(reachable(options.listen.host), envoy.listener_port))
        await until_routing(base)
        await stack.enter_async_context(running.following(side))
        life.started(running)
        address = _url(Address(options.admin.host, admin_port))
        page = _console(house, address)
        log.info("ready", base_url=f"{base}/v1", admin=address, **page)
        if options.demo:
            with running.quiet():
                await demo.chat(base, live.loaded.config)
        if options.logging.format == "json":
            log.info("try it", **demo.for_machines(base, live.loaded.config))
        else:
            print(demo.banner(base, live.loaded.config, **page), flush=True)
        died = await first_end(life.stop, parts)
        life.stop.set()
        if died is not None:
            raise PartDied(f"{died} stopped unexpectedly, so everything stops")
        log.info("stopping: open exchanges may finish (again to stop now)", seconds=options.grace)


async def _admin(stack: AsyncExitStack, address: Address, life: Life, house: House, books: Books) -> tuple[int, Window]:
    """The admin port with the console, until the end of the stack; its number, and what workers are told of it."""
    keeper = console.Console(house)
    window = Window(house.token, keeper.traced)
    live = lambda: house.live.description()  # noqa: E731  the house changes its configuration once, at start
    about = (life.reason, live, lambda: life.trouble(), books.families, lambda: life.quotas, keeper.mount)
    serving = admin.serving(address.host, address.port, *about)
    return await stack.enter_async_context(serving), window


def _console(house: House, address: str) -> dict[str, str]:
    """Where the console is, if there is one."""
    return {} if house.config.console is None else {"console": f"{address}/console/"}


def check_console(admin_address: Address, loaded: Loaded) -> None:
    """Raises `ConfigError` where others would reach the console who need not say who they are."""
    if (problem := console.objection(admin_address.host, loaded.config.console)) is not None:
        raise ConfigError([Problem(loaded.source, 0, "console", problem)])


def _metrics(address: Address | None, books: Books) -> AbstractAsyncContextManager[int | None]:
    return nullcontext() if address is None else admin.metrics_alone(address.host, address.port, books.families)


def check_placement(placement: Placement, envoy: tuple[int, ...], loaded: Loaded) -> None:
    """Raises `ConfigError` where the configuration cannot be served with the filter in this place of this Envoy."""
    if (problem := objection(placement, envoy, loaded.config)) is not None:
        raise ConfigError([Problem(loaded.source, 0, "", problem)])


def _url(address: Address) -> str:
    return f"http://{address}"


def check_free(address: Address, admin_address: Address | None = None) -> None:
    """Raises `OSError` in one line where Envoy or gRPC would say it in ten."""
    if admin_address and address.port == admin_address.port != 0:
        hosts = {address.host, admin_address.host}
        if len(hosts) == 1 or hosts & {"0.0.0.0", "::"}:
            raise OSError(f"--listen {address} and --admin {admin_address}: each needs a port of its own")
    with reserved_address(address):
        pass
