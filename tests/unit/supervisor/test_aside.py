"""Long work beside the loop: what it gives, raises, or is not waited for."""

import asyncio
from collections.abc import Iterator
import os
from pathlib import Path
import threading

import aiohttp
from click.testing import CliRunner
import pytest

from extproc.cli.commands import cli
from extproc.config.load import ConfigError
from extproc.providers.base import ContextSource
from extproc.supervisor import live as module
from extproc.supervisor.aside import aside
from extproc.supervisor.contexts import ContextError, fetch
from extproc.supervisor.live import Live, Source


async def test_it_gives_what_was_found_while_the_loop_turns() -> None:
    turned = threading.Event()
    asyncio.get_running_loop().call_soon(turned.set)
    assert await aside(lambda: turned.wait(60), 60)


async def test_it_raises_what_was_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        await aside(lambda: 1 / 0, 60)


async def test_what_does_not_end_is_not_waited_for() -> None:
    end = threading.Event()
    with pytest.raises(TimeoutError):
        await aside(end.wait, 0.001)
    end.set()


async def test_a_configuration_that_cannot_be_read_in_time_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, end = tmp_path / "c.yaml", threading.Event()
    path.write_text("providers: [{type: openai, apiTokens: [sk-1]}]")
    live = Live(Source(path, {}))
    monkeypatch.setattr(module, "LOAD_SECONDS", 0.001)
    monkeypatch.setattr(Live, "_read", lambda *_: end.wait())
    with pytest.raises(ConfigError, match=r"c\.yaml: not read within 0\.001 s"):
        await live._load()
    end.set()


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Path]:
    """A file that nobody ever writes."""
    path = tmp_path / "pipe.yaml"
    os.mkfifo(path)
    yield path
    os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))  # whoever still waits goes on


async def test_the_first_load_has_a_time_limit_too(pipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOAD_SECONDS", 0.01)
    with pytest.raises(ConfigError, match=r"pipe\.yaml: not read within 0\.01 s"):
        await Live.opened(Source(pipe, {}))


async def test_a_context_text_has_one(pipe: Path) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(ContextError, match="no answer within"):
            await fetch(ContextSource(pipe.as_uri(), refresh=60, timeout=0.01, max_bytes=1000), session)


@pytest.mark.parametrize("command", ["check", "envoy"])
def test_so_have_the_commands(command: str, pipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOAD_SECONDS", 0.01)
    result = CliRunner().invoke(cli, [command, "--config", str(pipe)])
    assert isinstance(result.exception, ConfigError)
    assert "not read within" in str(result.exception)
