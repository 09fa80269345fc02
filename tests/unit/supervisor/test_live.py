"""The order of a change, and that a refused one changes nothing."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
import json
from pathlib import Path
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from extproc.config.load import ConfigError, Loaded
from extproc.envoy.process import EnvoyError
from extproc.supervisor import live as module
from extproc.supervisor import sidecar
from extproc.supervisor.books import Books
from extproc.supervisor.contexts import keeping
from extproc.supervisor.gauges import Gauges
from extproc.supervisor.live import Live, NoEnvoy, Source
from extproc.supervisor.quotas import Quotas
from extproc.supervisor.supervisor import Workers


class Parts:
    """Workers and Envoy, which write down what they are told."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.oldest = 1
        self.recycle = None
        self.quotas = Quotas(None)
        self.refuses: dict[str, Exception] = {}
        self.refused = 0

    async def apply(self, load: Any) -> None:
        self.told.append(("workers", load.generation))

    async def expect(self, loaded: Loaded, former: Sequence[Loaded]) -> None:
        self._refuse("expect")
        self.told.append(("expect", ids(loaded), [ids(each) for each in former]))

    async def follow(self, loaded: Loaded) -> None:
        self._refuse("follow")
        self.told.append(("follow", ids(loaded)))

    def _refuse(self, what: str) -> None:
        if what in self.refuses:
            self.refused += 1
            raise self.refuses[what]


def ids(loaded: Loaded) -> str:
    return " ".join(p.id for p in loaded.config.providers)


def put(path: Path, text: str) -> None:
    path.write_text(text)


def write(path: Path, *ids: str, **more: Any) -> None:
    providers = [{"id": id, "type": "openai", "apiTokens": ["sk-1"]} for id in ids]
    path.write_text(json.dumps({"providers": providers, "routes": [{"name": "r", "provider": ids[0]}], **more}))


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "SETTLE_SECONDS", 0.05)
    path = tmp_path / "config.yaml"
    write(path, "a")
    return path


async def change(live: Live, parts: Parts) -> None:
    async with keeping(lambda _: None) as texts:
        await live.change(set(), texts, cast(Workers, parts), parts)


async def test_clusters_then_workers_then_routes_and_what_is_gone_last(path: Path) -> None:
    live, parts = Live(Source(path, {})), Parts()
    write(path, "b")
    await change(live, parts)
    assert parts.told == [("expect", "b", ["a"]), ("workers", 2), ("follow", "b")]
    assert live.generation == 2
    parts.told.clear()
    await live.forget(cast(Workers, parts), parts)
    assert parts.told == []  # an exchange is still served under the first
    write(path, "c")
    await change(live, parts)
    assert parts.told[0] == ("expect", "c", ["a", "b"])
    parts.told.clear()
    parts.oldest = 2
    await live.forget(cast(Workers, parts), parts)
    parts.oldest = 3
    await live.forget(cast(Workers, parts), parts)
    await live.forget(cast(Workers, parts), parts)
    assert parts.told == [("expect", "c", ["b"]), ("expect", "c", [])]


async def test_the_same_content_is_no_change(path: Path) -> None:
    live, parts = Live(Source(path, {})), Parts()
    write(path, "a")
    await change(live, parts)
    assert parts.told == []
    assert live.generation == 1


async def test_a_wrong_file_is_refused_once(path: Path) -> None:
    live, parts = Live(Source(path, {})), Parts()
    put(path, "providers: []\nnope: 1\n")
    with capture_logs() as logs:
        await change(live, parts)
        await change(live, parts)
    assert parts.told == []
    assert (live.generation, ids(live.loaded)) == (1, "a")
    assert [entry["problem"] for entry in logs] == list(live.refused)
    assert len(live.refused) == 2
    write(path, "a")
    await change(live, parts)
    assert live.refused == ()


async def test_what_envoy_refuses_changes_nothing(path: Path) -> None:
    live, parts = Live(Source(path, {})), Parts()
    parts.refuses = {"expect": EnvoyError("Envoy refuses\nfor two reasons")}
    write(path, "b")
    await change(live, parts)
    assert parts.told == []
    assert live.refused == ("Envoy refuses", "for two reasons")


async def test_a_change_that_the_disk_did_not_take_is_finished_later(path: Path) -> None:
    live, parts = Live(Source(path, {})), Parts()
    write(path, "b")
    for refused_at, told in (("expect", []), ("follow", [("expect", "b", ["a"]), ("workers", 2)])):
        parts.refuses = {refused_at: OSError(28, "No space left on device")}
        await change(live, parts)
        assert parts.told == told
        assert (live.unfinished, live.refused) == (True, ("[Errno 28] No space left on device",))
    parts.refuses = {}
    await change(live, parts)
    assert parts.told == [*told, ("follow", "b")]
    assert (live.generation, live.unfinished, live.refused) == (2, False, ())


async def test_a_change_is_finished_whatever_the_file_says_by_then(path: Path) -> None:
    live, parts = Live(Source(path, {})), Parts()
    write(path, "b")
    parts.refuses = {"follow": OSError(28, "No space left on device")}
    await change(live, parts)
    put(path, "nope: 1")
    await change(live, parts)
    parts.refuses = {}
    parts.told.clear()
    await change(live, parts)
    assert parts.told == [("follow", "b")]
    assert live.refused
    assert not live.unfinished


async def test_no_step_behind_a_change_is_lost(path: Path) -> None:
    live, parts = Live(Source(path, {})), Parts()
    write(path, "b", recycle={"maxAge": "1h"})
    for fault in (OSError(28, "No space left on device"), ZeroDivisionError()):
        parts.refuses = {"follow": fault}
        with suppress(ZeroDivisionError):
            await change(live, parts)
        assert live.unfinished
    parts.refuses = {}
    with capture_logs() as logs:
        await change(live, parts)
    assert parts.recycle == live.loaded.config.recycle
    assert parts.recycle is not None
    assert [entry["event"] for entry in logs] == ["configuration changed"]


async def test_nothing_is_forgotten_by_which_envoy_still_routes(path: Path) -> None:
    live, parts = Live(Source(path, {})), Parts()
    write(path, "b")
    parts.refuses = {"follow": OSError(28, "No space left on device")}
    await change(live, parts)
    parts.told.clear()
    parts.oldest = 2
    await live.forget(cast(Workers, parts), parts)
    assert parts.told == []
    parts.refuses = {}
    await change(live, parts)
    await live.forget(cast(Workers, parts), parts)
    assert parts.told == [("follow", "b"), ("expect", "b", [])]


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), EnvoyError("Envoy refuses")])
async def test_tidying_goes_on_after_a_fault(fault: Exception, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sidecar, "TIDY_SECONDS", 0.01)
    live, parts = Live(Source(path, {})), Parts()
    write(path, "b")
    await change(live, parts)
    parts.oldest, parts.refuses = 2, {"expect": fault}
    parts.told.clear()
    async with keeping(lambda _: None) as texts:
        workers = cast(Workers, parts)
        gauges = Gauges(live, workers, Books(), None)
        tidying = asyncio.create_task(sidecar.Sidecar(live, texts, workers, [], gauges)._tidy(parts))
        async with asyncio.timeout(60):
            while not parts.refused:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            parts.refuses = {}
            while not parts.told:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        tidying.cancel()
    assert parts.told == [("expect", "b", [])]


async def test_what_envoy_could_not_be_told_to_forget_is_forgotten_later(path: Path) -> None:
    live, parts = Live(Source(path, {})), Parts()
    write(path, "b")
    await change(live, parts)
    parts.told.clear()
    parts.oldest, parts.refuses = 2, {"expect": OSError(28, "No space left on device")}
    with pytest.raises(OSError, match="No space"):
        await live.forget(cast(Workers, parts), parts)
    parts.refuses = {}
    await live.forget(cast(Workers, parts), parts)
    assert parts.told == [("expect", "b", [])]


async def test_a_half_written_file_is_read_again(path: Path) -> None:
    live, parts = Live(Source(path, {})), Parts()
    put(path, '{"providers": [{"id"')

    async def the_rest() -> None:
        await asyncio.sleep(0.01)
        write(path, "b")

    with capture_logs() as logs:
        await asyncio.gather(change(live, parts), the_rest())
    assert ids(live.loaded) == "b"
    assert [entry["event"] for entry in logs] == ["configuration changed"]


async def test_files_that_are_missing_are_looked_for(path: Path) -> None:
    live, parts = Live(Source(path, {})), Parts()
    key = {"id": "k", "type": "openai", "apiTokens": ["file:key"]}
    put(path, json.dumps({"providers": [key]}))
    await change(live, parts)
    assert live.refused
    assert live.paths() == {path, path.parent / "key"}
    put(path.parent / "key", "sk-2")
    await change(live, parts)
    assert ids(live.loaded) == "k"


def test_a_wrong_start_is_an_error(path: Path) -> None:
    put(path, "nope")
    with pytest.raises(ConfigError):
        Live(Source(path, {}))


def test_the_description_holds_no_key(path: Path) -> None:
    write(path, "a", providers=[{"id": "a", "type": "openai", "apiTokens": ["sk-very-secret-key-0001"]}])
    shown = json.dumps(Live(Source(path, {})).description())
    assert '"generation": 1' in shown
    assert "very-secret" not in shown


async def test_who_configures_envoy_by_hand_is_told_what_it_lacks(path: Path) -> None:
    envoy = NoEnvoy(Live(Source(path, {})).loaded)
    write(path, "a", "b")
    with capture_logs() as logs:
        await envoy.expect(Live(Source(path, {})).loaded, [])
    assert [entry["providers"] for entry in logs] == [["b"]]
