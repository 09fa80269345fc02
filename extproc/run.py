"""The processes: the sidecar alone (`serve`), or with Envoy and simulated vendors beside it (`run`).

Rule: everything started here is stopped here, in the order in which requests flow; when one part dies, all stop and
the message says which.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
import os
from pathlib import Path
import signal
import socket
import sys
import tempfile

import aiohttp
import structlog

from extproc import admin, contexts, demo, envoy_process, logs, server
from extproc.config import Config, ConfigError, Problem
from extproc.envoy_process import EnvoyError, EnvoyProcess, die_with_parent
from extproc.exchange import Snapshot
from extproc.kept_keys import keys_kept
from extproc.keys import Keys
from extproc.listening import OWNER_ONLY, Tls
from extproc.load import Loaded
from extproc.placement import Placement, objection

__all__ = [
    "Address",
    "Door",
    "EnvoyError",
    "PartDied",
    "RunOptions",
    "check_free",
    "on_loop",
    "run",
    "serve",
    "until_stopped",
]

log = structlog.get_logger("extproc.run")

DRAIN_SECONDS = 30.0
"""How long open exchanges may go on after a stop was asked for."""


class PartDied(Exception):
    """A supervised process ended by itself."""


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Door:
    """Where Envoy reaches the sidecar: an address or `unix:PATH`, with mutual TLS or without."""

    address: Address | str
    tls: Tls | None = None
    socket_mode: int = OWNER_ONLY


def _snapshots(config: Config, texts: contexts.Contexts, keys: Keys) -> Callable[[], Snapshot]:
    return lambda: Snapshot(config, texts.texts, keys)


def _not_ready(config: Config, texts: contexts.Contexts) -> str | None:
    """A route whose context text is missing cannot serve chats; only if that is so for all is nothing to be had."""
    wanting = {p.id for p in config.providers if p.context_source is not None and p.id not in texts.texts}
    served = [route for route in config.effective_routes if route.steps]
    if all(step.provider in wanting for route in served for step in route.steps):
        return "no route can serve: context texts are missing"
    return None


@asynccontextmanager
async def sidecar(loaded: Loaded, door: Door, grace: float) -> AsyncIterator[tuple[int, Callable[[], str | None]]]:
    """The gRPC server with its context texts; yields its port and what tells why it is not ready."""
    config = loaded.config
    for note in loaded.notes:
        log.info(note)
    sources = {p.id: source for p in config.providers if (source := p.context_source) is not None}
    async with contexts.kept(sources) as texts, keys_kept(lambda: config) as keys:
        snapshots = _snapshots(config, texts, keys)
        async with server.serving(
            str(door.address),
            snapshots,
            max_body_bytes=config.max_body_bytes,
            grace=grace,
            tls=door.tls,
            socket_mode=door.socket_mode,
        ) as port:
            yield port, lambda: _not_ready(config, texts)


class _Life:
    """Where a program stands, as `/readyz` tells it. SIGTERM and SIGINT set `stop`; a start they break
    off, and the second one a stop."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.not_ready: Callable[[], str | None] = lambda: "starting"
        self._started = False
        self._task = asyncio.current_task()

    def reason(self) -> str | None:
        """Why requests would not be served; None if they are."""
        return "stopping" if self.stop.is_set() else self.not_ready()

    def started(self, not_ready: Callable[[], str | None]) -> None:
        """From now on a signal means: finish what is under way."""
        self.not_ready, self._started = not_ready, True

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


async def serve(loaded: Loaded, door: Door, admin_address: Address, grace: float) -> None:
    """The sidecar alone, until SIGTERM or SIGINT. Raises `OSError` when an address is taken."""
    if isinstance(door.address, Address):
        check_free(door.address, admin_address)
    async with (
        _living() as life,
        admin.serving(admin_address.host, admin_address.port, life.reason) as admin_port,
        sidecar(loaded, door, grace) as (port, not_ready),
    ):
        life.started(not_ready)
        address = door.address if isinstance(door.address, str) else Address(door.address.host, port)
        log.info(
            "serving", grpc=str(address), tls=door.tls is not None, admin=_url(Address(admin_address.host, admin_port))
        )
        await life.stop.wait()
        log.info("stopping: open exchanges may finish (again to stop now)", seconds=grace)


@dataclass(frozen=True, slots=True)
class RunOptions:
    """`listen`: where Envoy takes requests. `demo`: show one streamed chat once it routes."""

    listen: Address
    admin: Address
    grace: float
    demo: bool
    access_log: str | None
    concurrency: int
    placement: Placement


async def run(load: Callable[[str | None], Loaded], options: RunOptions, *, simulate: bool) -> None:
    """Sidecar, Envoy and perhaps the simulated vendors, until SIGTERM, SIGINT or the death of one of them.

    `load`: gives the configuration for the simulator's URL (None without one). Raises `PartDied`, `EnvoyError`,
    `OSError`, and what `load` raises.
    """
    loaded = load("http://127.0.0.1:1" if simulate else None)  # a wrong configuration is said before anything starts
    check_placement(options.placement, envoy_process.version(), loaded)
    check_free(options.listen, options.admin)
    async with _living() as life, AsyncExitStack() as stack:
        admin_port = await stack.enter_async_context(admin.serving(options.admin.host, options.admin.port, life.reason))
        parts: dict[str, Awaitable[int]] = {}
        if simulate:
            url, parts["the simulated vendors"] = await _simulator(stack)
            loaded = load(url)
        port, not_ready = await stack.enter_async_context(sidecar(loaded, Door(Address("127.0.0.1", 0)), options.grace))
        envoy = await _envoy(stack, loaded.config, port, options)
        parts["Envoy"] = envoy.exited
        base = _url(Address(_reachable(options.listen.host), envoy.listener_port))
        await _until_routing(base)
        life.started(not_ready)
        log.info("ready", base_url=f"{base}/v1", admin=_url(Address(options.admin.host, admin_port)))
        if options.demo:
            with logs.held():
                await demo.chat(base, loaded.config)
        print(demo.banner(base, loaded.config), flush=True)
        died = await _first(life.stop, parts)
        life.stop.set()
        if died is not None:
            raise PartDied(f"{died} stopped unexpectedly, so everything stops")
        log.info("stopping: open exchanges may finish (again to stop now)", seconds=options.grace)


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


async def _envoy(stack: AsyncExitStack, config: Config, sidecar_port: int, options: RunOptions) -> EnvoyProcess:
    """Start Envoy with a bootstrap made for `config`; it is drained and stopped with the stack."""
    from extproc import bootstrap  # half a second that only who runs Envoy pays

    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="extproc-")))
    path = directory / "envoy.json"
    path.write_text(
        bootstrap.bootstrap(
            config,
            bootstrap.Options(
                host=options.listen.host,
                port=options.listen.port,
                admin_port=0,
                sidecars=(f"127.0.0.1:{sidecar_port}",),
                access_log=options.access_log,
                ca_file=system_ca_file(bootstrap.SYSTEM_CA_FILES),
                exclusive_port=True,
                placement=options.placement,
            ),
        )
    )
    envoy = EnvoyProcess(path, concurrency=options.concurrency, on_line=_log_envoy)
    await envoy.start()
    stack.push_async_callback(envoy.drain_and_stop, options.grace)
    return envoy


def _log_envoy(line: str) -> None:
    write = log.debug if "caught ENVOY_SIGTERM" in line else log.warning  # we sent it
    write("envoy", line=line)


def check_free(address: Address, admin_address: Address | None = None) -> None:
    """Raises `OSError` in one line where Envoy or gRPC would say it in ten."""
    if admin_address and address.port == admin_address.port != 0:
        hosts = {address.host, admin_address.host}
        if len(hosts) == 1 or hosts & {"0.0.0.0", "::"}:
            raise OSError(f"--listen {address} and --admin {admin_address}: each needs a port of its own")
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
        except OSError as error:
            raise OSError(f"cannot listen on {address} (--listen): {error.strerror}") from None


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
                async with session.get(f"{base}{server.PROBE_PATH}") as answer:
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


def on_loop(main: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run `main` to its end, on uvloop where there is one."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if sys.platform != "win32":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
