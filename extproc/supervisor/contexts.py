"""Context texts and tokens: made ahead of time, renewed in the background, the last good one kept.

Rule: an exchange never waits for one. What could not be fetched is absent, and its route says so with a 503.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
import math
from pathlib import Path
import ssl
from urllib.parse import urlsplit
from urllib.request import url2pathname

import aiohttp
import structlog

from extproc.providers.base import ContextSource, TokenSource
from extproc.supervisor import tokens
from extproc.supervisor.aside import aside
from extproc.text import jsontext

log = structlog.get_logger("extproc.contexts")

_FIRST_WAIT = 10.0
"""Seconds that a start waits for the first fetches; slower ones come later."""
_RETRY = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds between attempts while a fetch fails."""


Kept = ContextSource | TokenSource


class ContextError(Exception):
    """A text that cannot be had now; the message says why, without keys."""


async def fetch(source: ContextSource, session: aiohttp.ClientSession) -> str:
    """The text of a source. Raises `ContextError`."""
    try:
        async with asyncio.timeout(source.timeout):
            path = file_of(source)
            body = await (_get(source, session) if path is None else _read_file(path, source))
        text = body.decode("utf-8-sig")
        if source.field is None:
            return text
        value = jsontext.load(text.encode())[source.field]
    except TimeoutError:
        raise ContextError(f"no answer within {source.timeout:g} s") from None
    except (aiohttp.ClientConnectorError, FileNotFoundError, PermissionError) as error:
        raise ContextError(str(error)) from None
    except (
        OSError,
        aiohttp.ClientError,
    ) as error:  # some quote the whole URL, which may hold a password or a signature
        raise ContextError(type(error).__name__) from None
    except UnicodeDecodeError:
        raise ContextError("the text is not UTF-8") from None
    except UnicodeError:
        raise ContextError("the host name cannot be looked up") from None
    except (jsontext.NotJson, LookupError, TypeError):
        raise ContextError(f"the answer is not JSON with a member {source.field!r}") from None
    if not isinstance(value, str):
        raise ContextError(f"the member {source.field!r} is not text")
    return value


async def _read_file(path: Path, source: ContextSource) -> bytes:
    return await aside(partial(_bounded, path, source.max_bytes), source.timeout)  # it may be a pipe that nobody fills


def _bounded(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        body = file.read(limit + 1)
    if len(body) > limit:
        raise ContextError(f"the file is longer than {limit} bytes")
    return body


async def _get(source: ContextSource, session: aiohttp.ClientSession) -> bytes:
    trust = ssl.create_default_context(cafile=source.ca_file)
    # A key must not follow a redirect to another host.
    follow = "authorization" not in source.headers
    async with session.get(
        source.url, headers=source.headers, ssl=trust, server_hostname=source.server_name, allow_redirects=follow
    ) as answer:
        if answer.status != 200:
            raise ContextError(f"answered with status {answer.status}")
        body = bytearray()
        async for piece in answer.content.iter_chunked(1 << 16):
            body += piece
            if len(body) > source.max_bytes:
                raise ContextError(f"the answer is longer than {source.max_bytes} bytes")
    return bytes(body)


class Contexts:
    """`texts`: the texts at hand, by provider id; replaced whole with every change, and given to `changed`."""

    def __init__(self, session: aiohttp.ClientSession, changed: Callable[[Mapping[str, str]], None]) -> None:
        self.texts: Mapping[str, str] = {}
        self._session = session
        self._changed = changed
        self._kept: dict[str, tuple[Kept, asyncio.Task[None]]] = {}

    async def follow(self, sources: Mapping[str, Kept], patience: float = _FIRST_WAIT) -> None:
        """Keep the texts of these sources fresh, and no other; back once the new ones were tried, or after `patience`
        seconds. A text whose source changed stays until the new one is there."""
        for name in [n for n in self._kept if n not in sources]:
            self._kept.pop(name)[1].cancel()
        if gone := self.texts.keys() - sources.keys():
            self._replace({name: text for name, text in self.texts.items() if name not in gone})
        new = [n for n, source in sources.items() if n not in self._kept or self._kept[n][0] != source]
        await self._begin({name: sources[name] for name in new}, patience)
        if missing := sorted(sources.keys() - self.texts.keys()):
            log.warning("context texts or tokens are missing", missing=missing)

    async def refetch(self, files: Collection[Path], patience: float = _FIRST_WAIT) -> None:
        """Read those texts again whose files these are."""
        kept = {name: source for name, (source, _) in self._kept.items()}
        await self._begin({n: s for n, s in kept.items() if file_of(s) in files}, patience)

    async def close(self) -> None:
        tasks = [task for _, task in self._kept.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _begin(self, sources: Mapping[str, Kept], patience: float) -> None:
        tried = [asyncio.Event() for _ in sources]
        for (name, source), event in zip(sources.items(), tried, strict=True):
            if name in self._kept:
                self._kept.pop(name)[1].cancel()
            self._kept[name] = (source, asyncio.create_task(self._keep(name, source, event)))
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await asyncio.gather(*(event.wait() for event in tried))

    async def _keep(self, name: str, source: Kept, tried: asyncio.Event) -> None:
        """Fetch one text for ever; `tried` is set after the first attempt."""
        failures = 0
        while True:
            try:
                text, pause = await self._made(source)
            except ContextError as error:
                pause = min(_RETRY[min(failures, len(_RETRY) - 1)], _refresh(source))
                failures += 1
                self._say(name, source, error)
            except Exception:  # a fault of ours must not keep the text from ever coming
                pause = min(_RETRY[min(failures, len(_RETRY) - 1)], _refresh(source))
                failures += 1
                log.exception("a text could not be fetched: a fault of ours", provider=name)
            else:
                failures = 0
                if self.texts.get(name) != text:
                    self._replace({**self.texts, name: text})
            tried.set()
            await asyncio.sleep(pause)

    async def _made(self, source: Kept) -> tuple[str, float]:
        """A text, and the seconds until it is made again. Raises `ContextError`."""
        if isinstance(source, ContextSource):
            return await fetch(source, self._session), source.refresh
        try:
            return await asyncio.to_thread(tokens.token, source)
        except tokens.TokenError as error:
            raise ContextError(str(error)) from None

    def _say(self, name: str, source: Kept, error: ContextError) -> None:
        what = "context text" if isinstance(source, ContextSource) else "token"
        provider = name.partition("#")[0]
        log.warning(f"{what} not available", provider=provider, reason=str(error), kept=name in self.texts)

    def _replace(self, texts: Mapping[str, str]) -> None:
        self.texts = texts
        self._changed(texts)


def _refresh(source: Kept) -> float:
    return source.refresh if isinstance(source, ContextSource) else math.inf


def file_of(source: Kept) -> Path | None:
    """The file that a text is read from, if it is one."""
    if not isinstance(source, ContextSource):
        return None
    parts = urlsplit(source.url)
    return Path(url2pathname(parts.path)) if parts.scheme == "file" else None


@asynccontextmanager
async def keeping(changed: Callable[[Mapping[str, str]], None]) -> AsyncIterator[Contexts]:
    """Context texts, none at first, kept until the end of the block."""
    async with aiohttp.ClientSession() as session:
        contexts = Contexts(session, changed)
        try:
            yield contexts
        finally:
            await contexts.close()
