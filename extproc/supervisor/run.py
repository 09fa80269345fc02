"""The processes: the sidecar alone (`serve`), or with Envoy and simulated vendors beside it (`run`).

Rule: everything started here is stopped here, in the order in which requests flow; when one part dies, all stop and
the message says which. Workers are no such part: they are started again.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
import os
from pathlib import Path
import signal
import sys
import tempfile
from typing import TYPE_CHECKING

import aiohttp
import structlog

from extproc import console
from extproc.config.config import ConfigError, Problem
from extproc.config.load import Loaded, StandIn
from extproc.envoy import process as envoy_process
from extproc.envoy.lines import Told
from extproc.envoy.placement import Placement, objection
from extproc.envoy.process import EnvoyError, EnvoyProcess, die_with_parent, keyless_environment
from extproc.providers import Provider
from extproc.supervisor import admin, demo, reach
from extproc.supervisor.addresses import Addresses
from extproc.supervisor.aside import aside
from extproc.supervisor.books import Books
from extproc.supervisor.care import Care
from extproc.supervisor.house import House
from extproc.supervisor.live import LOAD_SECONDS, EnvoySide, Live, NoEnvoy, Source
from extproc.supervisor.quotas import Quotas
from extproc.supervisor.sidecar import Options as SidecarOptions
from extproc.supervisor.sidecar import Sidecar, sidecar
from extproc.supervisor.spawning import WorkerFailed
from extproc.supervisor.supervisor import Logging, Window
from extproc.terms.agreed import LAME_SECONDS, PROBE_PATH
from extproc.worker.places import Address, Door, reserved_address

if TYPE_CHECKING:
    from extproc.envoy import directory

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
    "until_stopped",
]

log = structlog.get_logger("extproc.run")

DRAIN_SECONDS = 30.0
"""How long open exchanges may go on after a stop was asked for."""

SIMULATED_KEY = "sk-sim-stand-in"

_PROXIES = frozenset({"HTTPS_PROXY", "ALL_PROXY"})
"""Variables by which other programs find a proxy."""


class PartDied(Exception):
    """A supervised process ended by itself."""


class _Life:
    """Where a program stands, as `/readyz` tells it. SIGTERM and SIGINT set `stop`; a start they break
    off, and the second one a stop."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.not_ready: Callable[[], str | None] = lambda: "starting"
        self.trouble: Callable[[], Mapping[str, str]] = dict
        self.quotas: Quotas | None = None
        self._started = False
        self._task = asyncio.current_task()

    def reason(self) -> str | None:
        """Why requests would not be served; None if they are."""
        return "stopping" if self.stop.is_set() else self.not_ready()

    def started(self, running: Sidecar) -> None:
        """From now on a signal means: finish what is under way."""
        self.not_ready, self.trouble, self._started = running.not_ready, running.trouble, True
        self.quotas = running.quotas

    def on_signal(self) -> None:
        if self._task is not None and (self.stop.is_set() or not self._started):
            self._task.cancel()
        self.stop.set()

    def broken_off(self) -> bool:
        """Whether a cancellation was ours."""
        if not self.stop.is_set() or self._task is None:
            return False
        self._task.uncancel()
        return True


@asynccontextmanager
async def _living() -> AsyncIterator[_Life]:
    life = _Life()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, life.on_signal)
    try:
        yield life
    except asyncio.CancelledError:
        if not life.broken_off():
            raise
    log.info("stopped")


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
        life = await stack.enter_async_context(_living())
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
    async with _living() as life, AsyncExitStack() as stack:
        # Held until the end: a port that the system chose would else be anybody's while everything starts.
        options = replace(options, listen=stack.enter_context(reserved_address(options.listen)))
        house, books = House(live, options.admin, door, life.reason), Books()
        admin_port, window = await _admin(stack, options.admin, life, house, books)
        await stack.enter_async_context(_metrics(options.metrics, books))
        parts: dict[str, Awaitable[int]] = {}
        url = None
        if simulate:
            log.info("starting the simulated vendors")
            url, parts["the simulated vendors"] = await _simulator(stack)
            live = house.live = await live.with_stand_in(StandIn(url, SIMULATED_KEY))
        path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="extproc-")))
        prepared = asyncio.create_task(aside(partial(_prepared, live.loaded, path, options), None))
        stack.callback(prepared.cancel)
        log.info("starting the workers")
        given = SidecarOptions(door, options.workers, options.logging, 0.0, options.grace, window, hears_ends=True)
        running = house.sidecar = await stack.enter_async_context(sidecar(live, given, books))
        log.info("starting Envoy")
        envoy, side = await _envoy(stack, live.loaded, running, books, options, await prepared)
        parts["Envoy"], house.process = envoy.exited, envoy
        house.tries = lambda: [p for p in live.loaded.config.providers if url is None or p.endpoint != url]
        house.ca_file = _system_ca_file()
        _watch_vendors(stack, house.tries(), envoy, lambda: live.loaded.config.providers)
        base = house.listener = _url(Address(_reachable(options.listen.host), envoy.listener_port))
        await _until_routing(base)
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
        died = await _first(life.stop, parts)
        life.stop.set()
        if died is not None:
            raise PartDied(f"{died} stopped unexpectedly, so everything stops")
        log.info("stopping: open exchanges may finish (again to stop now)", seconds=options.grace)


async def _admin(
    stack: AsyncExitStack, address: Address, life: _Life, house: House, books: Books
) -> tuple[int, Window]:
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


async def _simulator(stack: AsyncExitStack) -> tuple[str, Awaitable[int]]:
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


def _prepared(loaded: Loaded, path: Path, options: RunOptions) -> "directory.Directory":
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


async def _envoy(
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


def _watch_vendors(
    stack: AsyncExitStack, tried: Sequence[Provider], envoy: EnvoyProcess, now: Callable[[], Sequence[Provider]]
) -> None:
    """Say in the background which vendors cannot be reached, and which have no address any more."""
    care = Care()
    care.keep("vendors are tried", partial(reach.warn, tried, _system_ca_file()))
    care.keep("vendors without an address are said", Addresses(envoy.without_addresses, now).watch)
    stack.push_async_callback(care.end)


def _system_ca_file() -> str:
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


def check_free(address: Address, admin_address: Address | None = None) -> None:
    """Raises `OSError` in one line where Envoy or gRPC would say it in ten."""
    if admin_address and address.port == admin_address.port != 0:
        hosts = {address.host, admin_address.host}
        if len(hosts) == 1 or hosts & {"0.0.0.0", "::"}:
            raise OSError(f"--listen {address} and --admin {admin_address}: each needs a port of its own")
    with reserved_address(address):
        pass


def system_ca_file(candidates: Sequence[str]) -> str:
    """The system's CA bundle: `SSL_CERT_FILE`, or the first candidate that exists."""
    return next(filter(os.path.exists, filter(None, (os.environ.get("SSL_CERT_FILE"), *candidates))), candidates[0])


async def _first(stop: asyncio.Event, parts: dict[str, Awaitable[int]]) -> str | None:
    """Wait for the stop signal or the first part to end; its name."""
    tasks = {asyncio.ensure_future(ended): name for name, ended in parts.items()}
    stopped = asyncio.create_task(stop.wait())
    done, pending = await asyncio.wait({stopped, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    return next((tasks[task] for task in done if task in tasks), None)


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


async def _until_routing(base: str) -> None:
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


async def until_stopped(work: Coroutine[None, None, None]) -> None:
    """Do `work` until it ends or SIGTERM or SIGINT breaks it off."""
    async with _living():
        await work
