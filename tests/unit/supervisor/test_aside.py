"""Long work beside the loop: what it gives, raises, or is not waited for."""

import asyncio
from pathlib import Path
import threading

import pytest

from extproc.config.load import ConfigError
from extproc.supervisor import live as module
from extproc.supervisor.aside import aside
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
