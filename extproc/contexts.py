"""Context texts: fetched ahead of time, refreshed in the background, the last good copy kept.

Rule: an exchange never waits for one. What could not be fetched is absent, and its route says so with a 503.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
import ssl
from urllib.parse import urlsplit
from urllib.request import url2pathname

import aiohttp
import structlog

from extproc import jsontext
from extproc.providers.base import ContextSource

log = structlog.get_logger("extproc.contexts")

_FIRST_WAIT = 10.0
"""Seconds that a start waits for the first fetches; slower ones come later."""
_RETRY = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds between attempts while a fetch fails."""


class ContextError(Exception):
    """A text that cannot be had now; the message says why, without keys."""


async def fetch(source: ContextSource, session: aiohttp.ClientSession) -> str:
    """The text of a source. Raises `ContextError`."""
    try:
        async with asyncio.timeout(source.timeout):
            body = await (_read_file(source) if source.url.startswith("file://") else _get(source, session))
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


async def _read_file(source: ContextSource) -> bytes:
    path = Path(url2pathname(urlsplit(source.url).path))
    return await asyncio.to_thread(_bounded, path, source.max_bytes)


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
    """`texts`: the texts at hand, by provider id; replaced whole with every refresh."""

    def __init__(self) -> None:
        self.texts: Mapping[str, str] = {}

    async def keep(
        self, name: str, source: ContextSource, session: aiohttp.ClientSession, tried: asyncio.Event
    ) -> None:
        """Fetch one text for ever; `tried` is set after the first attempt."""
        failures = 0
        while True:
            try:
                text = await fetch(source, session)
            except ContextError as error:
                pause = min(_RETRY[min(failures, len(_RETRY) - 1)], source.refresh)
                failures += 1
                log.warning("context text not available", provider=name, reason=str(error), kept=name in self.texts)
            else:
                pause, failures = source.refresh, 0
                self.texts = {**self.texts, name: text}
            tried.set()
            await asyncio.sleep(pause)


@asynccontextmanager
async def kept(sources: Mapping[str, ContextSource]) -> AsyncIterator[Contexts]:
    """Keep the texts of all sources fresh; yields once each was tried, or after some seconds."""
    contexts = Contexts()
    async with aiohttp.ClientSession() as session:
        tried = {name: asyncio.Event() for name in sources}
        tasks = [asyncio.create_task(contexts.keep(n, s, session, tried[n])) for n, s in sources.items()]
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(_FIRST_WAIT):
                    await asyncio.gather(*(event.wait() for event in tried.values()))
            if missing := sorted(sources.keys() - contexts.texts.keys()):
                log.warning("starting without all context texts", missing=missing)
            yield contexts
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
