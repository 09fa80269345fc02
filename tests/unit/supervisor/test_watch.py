"""Watching: every way in which a file becomes another, and nothing else."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
import os
from pathlib import Path

import pytest

from extproc.supervisor import watch


@asynccontextmanager
async def watching(*paths: Path) -> AsyncIterator[Callable[[], set[Path]]]:
    """Gives what was told since the last call, its first telling left out."""
    told: list[set[Path]] = []

    async def follow() -> None:
        async for changed in watch.changes(lambda: paths):
            told.append(changed)  # noqa: PERF401  it never ends

    task = asyncio.create_task(follow())
    await until(lambda: told)

    def since() -> set[Path]:
        found = set().union(*told[1:])
        del told[1:]
        return found

    try:
        yield since
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  the watcher tells nobody else
            await asyncio.sleep(0.01)


def in_place(path: Path) -> None:
    path.write_text("another")


def renamed(path: Path) -> None:
    path.with_name("beside").write_text("another")
    path.with_name("beside").rename(path)


def removed_and_written(path: Path) -> None:
    path.unlink()
    path.write_text("another")


@pytest.mark.parametrize("change", [in_place, renamed, removed_and_written])
async def test_a_file_that_changes_is_told(tmp_path: Path, change: Callable[[Path], None]) -> None:
    path, other = tmp_path / "file", tmp_path / "other"
    path.write_text("one")
    other.write_text("one")
    async with watching(path, other) as told:
        change(path)
        await until(lambda: told() == {path})


async def test_the_first_telling_is_everything(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    assert await anext(aiter(watch.changes(lambda: [path]))) == {path}


async def test_a_link_that_is_swapped_far_up_is_told(tmp_path: Path) -> None:
    for version in ("one", "two"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "key").write_text("same size")
    (tmp_path / "mounted").mkdir()
    (tmp_path / "mounted" / "data").symlink_to("../one")
    (tmp_path / "mounted" / "key").symlink_to("data/key")
    path = tmp_path / "mounted" / "key"
    assert watch.directories([path]) == {tmp_path / "mounted", tmp_path / "one"}
    async with watching(path) as told:
        (tmp_path / "mounted" / "new").symlink_to("../two")
        os.rename(tmp_path / "mounted" / "new", tmp_path / "mounted" / "data")
        await until(lambda: told() == {path})
        (tmp_path / "two" / "key").write_text("written in place, through the link")
        await until(lambda: told() == {path})


async def test_a_file_that_is_not_there_yet_is_told_when_it_comes(tmp_path: Path) -> None:
    path = tmp_path / "not" / "yet" / "key"
    present = tmp_path / "present"
    present.write_text("x")
    assert watch.directories([path]) == {tmp_path}
    async with watching(path, present) as told:
        path.parent.mkdir(parents=True)
        path.write_text("here")
        await until(lambda: path in told())
        path.write_text("and changed")
        await until(lambda: path in told())


def test_links_that_go_in_circles_end(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert watch.directories([tmp_path / "a"]) == {tmp_path}
    assert watch.signature(tmp_path / "a") == ()


async def test_without_events_files_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object, **__: object) -> AsyncIterator[None]:
        raise OSError("no space left on device")  # what inotify says when there are too many watches

    monkeypatch.setattr(watch, "awatch", none)
    path = tmp_path / "file"
    path.write_text("one")
    async with watching(path) as told:
        in_place(path)
        await until(lambda: told() == {path})
