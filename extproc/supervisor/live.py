"""The configuration that is served, and how another takes its place.

Rule: the order of a change. Whoever is named must be there first: context texts and Envoy's clusters, then the workers,
then Envoy's routes; an id that changes hands is known to the workers before Envoy has it. What nobody names any more
goes last, when no exchange is served under it. A configuration that is refused changes nothing.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
import time
from typing import Protocol, TypeVar

import structlog

from extproc.config.config import Config, ConfigError, Problem
from extproc.config.describe import describe
from extproc.config.files import Files
from extproc.config.load import Loaded, StandIn, load
from extproc.config.summary import summary
from extproc.envoy.process import EnvoyError
from extproc.supervisor.aside import aside
from extproc.supervisor.contexts import Contexts, Kept, file_of
from extproc.supervisor.quotas import store_path
from extproc.supervisor.supervisor import Workers
from extproc.worker import channel

log = structlog.get_logger("extproc.live")

T = TypeVar("T")

TEXT_SECONDS = 1.0
"""How long a change waits for new context texts; slower ones come later."""
LOAD_SECONDS = 30.0
"""How long reading and checking files may take: one may be a pipe that nobody fills, or lie on a disk that is away."""
SETTLE_SECONDS = 0.2
"""A file that is wrong may be half written: it is read once more after this."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where the configuration comes from; the same for every process. `console`: False for none, whatever it says."""

    path: Path | None
    environ: Mapping[str, str] = field(repr=False)
    stand_in: StandIn | None = None
    console: bool = True

    def load(self, files: Files) -> Loaded:
        """Raises `ConfigError`."""
        loaded = load(self.path, self.environ, stand_in=self.stand_in, files=files)
        return loaded if self.console else replace(loaded, config=loaded.config.model_copy(update={"console": None}))

    def order(self, generation: int, files: Mapping[str, bytes], texts: Mapping[str, str]) -> channel.Load:
        """For a worker: the same load, from the same bytes."""
        stand_in = None if self.stand_in is None else (self.stand_in.url, self.stand_in.key)
        return channel.Load(generation, None if self.path is None else str(self.path), files, stand_in, texts)


class EnvoySide(Protocol):
    """What Envoy has to follow of a change. Every method is back when Envoy did, or after a bounded time."""

    async def expect(self, loaded: Loaded, former: Sequence[Loaded]) -> None:
        """Know the providers of a configuration, and still those of former ones. Raises `EnvoyError` where Envoy
        refuses, which then knows what it knew."""

    async def follow(self, loaded: Loaded) -> None:
        """Listen and route as a configuration says."""


class NoEnvoy:
    """An Envoy that somebody else configures."""

    def __init__(self, loaded: Loaded) -> None:
        self._known = self._upstreams(loaded.config)

    async def expect(self, loaded: Loaded, former: Sequence[Loaded]) -> None:
        upstreams = self._upstreams(loaded.config)
        if changed := sorted({id for id, _ in upstreams - self._known}):
            log.warning("Envoy does not know of these providers: give it a new bootstrap", providers=changed)
        self._known = upstreams

    async def follow(self, loaded: Loaded) -> None:
        pass

    def _upstreams(self, config: Config) -> set[tuple[str, object]]:
        return {(p.id, (p.upstream, p.tls.ca_file)) for p in config.providers}


async def _in_time(path: Path | None, work: Callable[[], T]) -> T:
    """A load's result. Raises `ConfigError`, also where it takes too long."""
    try:
        return await aside(work, LOAD_SECONDS)
    except TimeoutError:
        raise ConfigError([Problem(str(path or "environment"), 0, "", f"not read within {LOAD_SECONDS:g} s")]) from None


def in_time(path: Path | None, work: Callable[[], T]) -> T:
    """The same for a program without a loop."""
    return asyncio.run(_in_time(path, work))


def sources(config: Config) -> dict[str, Kept]:
    """What a configuration wants kept beside the exchanges: context texts by provider id, tokens by their names."""
    found: dict[str, Kept | None] = {p.id: p.context_source for p in config.providers}
    found |= {p.token_name: p.token_source for p in config.providers}
    return {name: source for name, source in found.items() if source is not None}


def moved(before: Config, after: Config) -> bool:
    """Whether an id stands for another vendor, or for another address, than before."""
    return any((old := before.by_id.get(p.id)) is not None and old.place != p.place for p in after.providers)


class Live:
    """`loaded`: the configuration that new exchanges are served under; `generation` counts from 1, and is served
    `since` then (seconds since 1970). `refused`: what is wrong with the files as they are now, if they were refused;
    `refusals`: how often that happened."""

    def __init__(self, source: Source, check: Callable[[Loaded], object] = lambda loaded: None) -> None:
        """Loads; raises `ConfigError`. `check` raises it too, for what cannot be served here."""
        files = Files()
        self._check = check
        self.loaded = source.load(files)
        check(self.loaded)
        self.generation, self.since = 1, time.time()
        self.refused: tuple[str, ...] = ()
        self.refusals = 0
        self._late = False  # the disk did not take a good change
        self._finished = self.loaded
        self._source = source
        self._asked = files.asked
        self._former: dict[int, Loaded] = {}
        self._changing = asyncio.Lock()

    @classmethod
    async def opened(cls, source: Source, check: Callable[[Loaded], object] = lambda loaded: None) -> "Live":
        """The same off the loop and within a bounded time. Raises `ConfigError`, also where that is over."""
        return await _in_time(source.path, partial(cls, source, check))

    @property
    def unfinished(self) -> bool:
        """Whether there is something to do of a good change: `change` goes on with it."""
        return self._late or self._finished is not self.loaded

    async def with_stand_in(self, stand_in: StandIn) -> "Live":
        """The same, loaded anew, with simulated vendors in the place of those without a key."""
        return await Live.opened(replace(self._source, stand_in=stand_in), self._check)

    def order(self, texts: Mapping[str, str]) -> channel.Load:
        """For workers: serve under this configuration."""
        return self._source.order(self.generation, self.loaded.files, texts)

    @property
    def usage_file(self) -> Path | None:
        """Where it is kept what was used; None: nowhere."""
        return store_path(self.loaded.config, self._source.path, self._source.environ)

    def description(self) -> dict[str, object]:
        """What is served, for programs and for people; keys are redacted."""
        return {
            "generation": self.generation,
            "source": self.loaded.source,
            "refused": self.refused,
            "config": summary(self.loaded.config),
            "description": describe(self.loaded).splitlines(),
        }

    def paths(self) -> set[Path]:
        """The files that matter: what was read, what was looked for, and context texts."""
        texts = (file_of(source) for source in sources(self.loaded.config).values())
        return {*self._asked, *(path for path in texts if path is not None)}

    def not_ready(self, texts: Mapping[str, str]) -> str | None:
        """A route whose context text is missing cannot serve chats; only if that is so for all is nothing to be had."""
        config = self.loaded.config
        wanting = {name.partition("#")[0] for name in sources(config).keys() - texts.keys()}
        if all(step.provider in wanting for route in config.effective_routes for step in route.steps):
            return "no route can serve: context texts are missing"
        return None

    async def change(self, changed: set[Path], contexts: Contexts, workers: Workers, envoy: EnvoySide) -> None:
        """Serve what the files say now. What is wrong with it is logged once, and changes nothing."""
        async with self._changing:
            try:
                problems = await self._take(contexts, workers, envoy)
                await self._finish(contexts, workers, envoy)
                self._late = False
            except OSError as error:  # Envoy's files could not be written
                problems, self._late = str(error), True
            self._refuse(tuple(problems.splitlines()))
            if not problems:
                await contexts.refetch(changed, TEXT_SECONDS)

    async def forget(self, workers: Workers, envoy: EnvoySide) -> None:
        """Let Envoy forget the providers of configurations that no exchange is served under any more."""
        async with self._changing:
            if self._finished is not self.loaded:  # Envoy still routes by what it would forget
                return
            remain = {g: loaded for g, loaded in self._former.items() if g >= workers.oldest}
            if remain != self._former:
                await envoy.expect(self.loaded, list(remain.values()))
                self._former = remain

    async def _take(self, contexts: Contexts, workers: Workers, envoy: EnvoySide) -> str:
        """Have new exchanges served as the files say; gives what is wrong with them, a line each."""
        try:
            loaded = await self._load()
            if loaded.files != self.loaded.files:
                await self._switch(loaded, contexts, workers, envoy)
        except (ConfigError, EnvoyError) as error:
            return str(error)
        return ""

    async def _finish(self, contexts: Contexts, workers: Workers, envoy: EnvoySide) -> None:
        """What is behind a switch, from its beginning where it was broken off: no step harms twice."""
        if self._finished is self.loaded:
            return
        config = self.loaded.config
        await envoy.follow(self.loaded)
        await contexts.follow(sources(config), 0)
        workers.recycle = config.recycle
        workers.quotas.on_failure = config.usage.on_failure
        for note in self.loaded.notes:
            log.info(note)
        log.info("configuration changed", generation=self.generation, source=self.loaded.source)
        self._finished = self.loaded

    async def _load(self) -> Loaded:
        for last in (False, True):
            files = Files()
            try:
                loaded = await _in_time(self._source.path, partial(self._read, files))
            except ConfigError:
                self._asked = files.asked
                if last:
                    raise
            else:
                self._asked = files.asked
                return loaded
            await asyncio.sleep(SETTLE_SECONDS)
        raise AssertionError

    def _read(self, files: Files) -> Loaded:
        loaded = self._source.load(files)
        self._check(loaded)
        return loaded

    def _refuse(self, problems: tuple[str, ...]) -> None:
        if problems != self.refused:
            self.refusals += bool(problems)
            for problem in problems:
                log.error("configuration change refused", problem=problem)
        self.refused = problems

    async def _switch(self, loaded: Loaded, contexts: Contexts, workers: Workers, envoy: EnvoySide) -> None:
        if loaded.config.workers != self.loaded.config.workers:
            log.warning("workers is read at start: it changes with a restart")
        if loaded.config.usage.store != self.loaded.config.usage.store:
            log.warning("usage.store is read at start: it changes with a restart")
        before = self.loaded
        if moved(before.config, loaded.config):  # Envoy will send the id's exchanges to the new place at once
            await workers.expect(self._source.order(self.generation + 1, loaded.files, contexts.texts))
        await envoy.expect(loaded, [*self._former.values(), before])
        await contexts.follow({**sources(before.config), **sources(loaded.config)}, TEXT_SECONDS)
        self._former[self.generation] = before
        self.loaded, self.generation, self.refused = loaded, self.generation + 1, ()
        self.since = time.time()
        await workers.apply(self.order(contexts.texts))
