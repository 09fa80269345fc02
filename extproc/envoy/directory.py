"""The directory through which an Envoy follows changes of the configuration.

Rule: Envoy never sees half a file: each is written beside and renamed onto. What the files say is `bootstrap.xds`'.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
import os
from pathlib import Path
import tempfile

import msgspec
import structlog

from extproc.config.load import Loaded
from extproc.envoy import bootstrap, xds
from extproc.envoy import process as envoy_process
from extproc.envoy.parts import LISTENERS_FILE, ROUTES_FILE
from extproc.envoy.process import EnvoyError

log = structlog.get_logger("extproc.xds")

_OPTIONS_FILE = "options.json"

BLIND_SECONDS = 0.5
"""How long an Envoy that cannot be asked is given to notice a file."""

Confirm = Callable[[Mapping[str, str]], Awaitable[bool]]
"""Whether Envoy, perhaps after a while, works with these versions, by the statistic that tells. Raises `EnvoyError`."""


class Directory:
    """An `EnvoySide` made of files. `confirm`: asks Envoy, where it can be asked."""

    def __init__(self, options: bootstrap.Options, confirm: Confirm | None = None) -> None:
        assert options.xds_directory is not None
        self._path = Path(options.xds_directory)
        self._options = options
        self.confirm = confirm

    def write_all(self, loaded: Loaded) -> None:
        """Everything that Envoy starts with."""
        self._write(xds.CLUSTERS_FILE, xds.clusters(loaded.config, (), self._options, loaded.files))
        self._write(LISTENERS_FILE, xds.listeners(loaded.config, self._options))
        self._write(ROUTES_FILE, xds.routes(loaded.config, self._options))

    def write_bootstrap(self, loaded: Loaded, sidecars: tuple[str, ...]) -> Path:
        """Where Envoy reads what is not in the files that it follows. `sidecars`: as in `Options`."""
        self._options = replace(self._options, sidecars=sidecars)
        path = self._path / "envoy.json"
        write(path, bootstrap.bootstrap(loaded.config, self._options))
        return path

    async def confirm_all(self) -> None:
        """Raises `EnvoyError` where Envoy refused a file that it started with."""
        assert self.confirm is not None
        await self.confirm({stat: xds.version((self._path / name).read_text()) for name, stat in xds.VERSIONS.items()})

    async def check(self, loaded: Loaded) -> None:
        """Let the Envoy of this machine look at a configuration. Raises `EnvoyError`: what it says."""
        text = await asyncio.to_thread(bootstrap.bootstrap, loaded.config, bootstrap.static(self._options))
        await asyncio.to_thread(envoy_process.validate_text, text)

    async def expect(self, loaded: Loaded, former: Sequence[Loaded]) -> None:
        files = {path: content for each in (*former, loaded) for path, content in each.files.items()}
        configs = [each.config for each in reversed(former)]
        target = self._path / xds.CLUSTERS_FILE
        before = target.read_text()
        try:
            text = await asyncio.to_thread(xds.clusters, loaded.config, configs, self._options, files)
            await self._replace({xds.CLUSTERS_FILE: text})
        except EnvoyError:
            write(target, before)
            await self.check(loaded)  # says why
            raise

    async def follow(self, loaded: Loaded) -> None:
        documents = {
            ROUTES_FILE: await asyncio.to_thread(xds.routes, loaded.config, self._options),
            LISTENERS_FILE: await asyncio.to_thread(xds.listeners, loaded.config, self._options),
        }
        try:
            await self._replace(documents)
        except EnvoyError as error:
            log.error("Envoy keeps its listener and routes", reason=str(error))

    async def _replace(self, documents: Mapping[str, str]) -> None:
        written = [name for name, text in documents.items() if self._write(name, text)]
        if not written:
            return
        if self.confirm is None:
            await asyncio.sleep(BLIND_SECONDS)
        elif not await self.confirm({xds.VERSIONS[name]: xds.version(text) for name, text in documents.items()}):
            log.error("Envoy did not follow a change in time", files=written)

    def _write(self, name: str, text: str) -> bool:
        """Whether it is another than before."""
        target = self._path / name
        if target.exists() and target.read_text() == text:
            return False
        write(target, text)
        return True


def created(path: Path, options: bootstrap.Options, loaded: Loaded) -> None:
    """Make the directory what an Envoy of these options reads, and let `opened` know them. Raises `OSError`."""
    path.mkdir(parents=True, exist_ok=True)
    write(path / _OPTIONS_FILE, msgspec.json.encode(options).decode())
    Directory(options).write_all(loaded)


def opened(path: Path) -> Directory:
    """What `created` made. Raises `OSError` where it did not."""
    try:
        return Directory(msgspec.json.decode((path / _OPTIONS_FILE).read_bytes(), type=bootstrap.Options))
    except (OSError, msgspec.MsgspecError) as error:
        reason = f"run `extproc envoy --xds-dir {path}` first"
        raise OSError(f"{path} is no directory that an Envoy follows ({error}): {reason}") from None


def write(target: Path, text: str) -> None:
    """Replace a file as a whole. Raises `OSError`, and leaves what was."""
    descriptor, name = tempfile.mkstemp(prefix=".", dir=target.parent)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        os.chmod(name, 0o644)
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
