"""The scenarios: what is asked, what happens meanwhile, and how much of it must be answered all the same."""

import asyncio
from collections.abc import Awaitable, Callable
import contextlib
from dataclasses import dataclass, field
import os
import resource
import signal
from typing import Any

from tests.contract.processes import free_port
from tests.contract.stores import Store

from .client import Shape
from .world import World, replace

Happening = Callable[[World], Awaitable[None]]


@dataclass(frozen=True)
class Scenario:
    """`total`: requests of a full run, at least. `answered`: the share of them that must be answered completely (what
    fallback and a sane gateway owe their clients). `quick`: whether it is part of the short form."""

    name: str
    english: str
    chinese: str
    shapes: tuple[Shape, ...]
    total: int = 600
    clients: int = 12
    happening: Happening | None = None
    answered: float = 0.0
    config: dict[str, Any] = field(default_factory=dict)
    quick: bool = False


def both(*hosts: str, do: str = "", **more: Any) -> tuple[Shape, ...]:
    """Each host, streamed and whole."""
    return tuple(Shape(host, do, stream, **more) for host in hosts for stream in (True, False))


async def vendor_dies(world: World) -> None:
    for _ in range(1 if world.amount < 1 else 3):
        await asyncio.sleep(0.7)
        world.first.stop()
        await asyncio.sleep(1.0)
        world.first.start()
    await asyncio.sleep(0.7)


async def workers_killed(world: World) -> None:
    for turn in range(1 if world.amount < 1 else 6):
        await asyncio.sleep(1.0)
        await world.until(lambda: len(world.workers()) == 2, "two workers")
        os.kill(world.workers()[turn % 2], signal.SIGKILL)
    await asyncio.sleep(2.5)
    await world.until(lambda: len(world.workers()) == 2, "two workers")


async def both_workers_killed(world: World) -> None:
    for _ in range(3):
        await asyncio.sleep(1.5)
        await world.until(lambda: len(world.workers()) == 2, "two workers")
        for pid in world.workers():
            os.kill(pid, signal.SIGKILL)
    await asyncio.sleep(3.0)
    await world.until(lambda: len(world.workers()) == 2, "two workers")


async def worker_stops(world: World) -> None:
    for seconds in (1.0, 5.0):
        await asyncio.sleep(1.0)
        await stand_still(world.workers()[:1], seconds)
    await asyncio.sleep(2.0)


async def workers_stop(world: World) -> None:
    await asyncio.sleep(1.0)
    await stand_still(world.workers(), 13.0)
    await asyncio.sleep(4.0)


async def stand_still(pids: list[int], seconds: float) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    await asyncio.sleep(seconds)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


def with_another(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration with a provider and a route more, `added`."""
    provider = {**config["providers"][1], "id": "added"}
    route = {"name": "added", "match": {"hosts": ["added.test"]}, "provider": "added"}
    return {**config, "providers": [*config["providers"], provider], "routes": [route, *config["routes"]]}


async def envoy_follows(world: World) -> None:
    """A provider with its route comes and goes, and is asked while it is there."""
    more = with_another(world.config)
    for _ in range(1 if world.amount < 1 else 5):
        await world.changed(more)
        await world.load((Shape("added"), Shape("added", stream=False)), 20, 4)
        await world.changed(world.config)
        await asyncio.sleep(0.3)


async def rolling_restart(world: World) -> None:
    for _ in range(3):
        await asyncio.sleep(0.5)
        before = len(world.gateway.events("all workers were replaced"))
        world.gateway.process.popen.send_signal(signal.SIGHUP)
        await world.event("all workers were replaced", before, 90)
    await asyncio.sleep(0.5)


async def stopped(world: World) -> None:
    await asyncio.sleep(2.0)
    world.gateway.process.popen.send_signal(signal.SIGTERM)
    await world.until(lambda: world.gateway.process.popen.poll() is not None, "it ends", 60)
    assert world.gateway.process.popen.returncode == 0, world.gateway.process.popen.returncode


async def texts(world: World) -> None:
    """The context server is away at first, there for a while, and away again."""
    port = int(world.config["providers"][0]["context"]["fileUrl"].split(":")[2].split("/")[0])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\ntext")
            await writer.drain()
        writer.close()

    await asyncio.sleep(1.0)
    before = world.count.verdicts["error"]
    assert before, "chats of a provider without its text are refused"
    async with await asyncio.start_server(serve, "127.0.0.1", port):
        await asyncio.sleep(6.0)
    before = world.count.verdicts["error"]
    await asyncio.sleep(2.5)
    assert world.count.verdicts["error"] == before, "the last good copy is kept"


async def redis_goes(world: World) -> None:
    store = Store(world.path.parent)
    store.port = int(world.config["redis"]["url"].rpartition(":")[2].split("/")[0])
    try:
        for _ in range(2):
            await asyncio.sleep(1.5)
            await asyncio.to_thread(store.start)
            await asyncio.sleep(2.0)
            store.freeze()
            await asyncio.sleep(1.5)
            await asyncio.to_thread(store.stop)
    finally:
        store.stop()


async def disk_full(world: World) -> None:
    """The watched file is cut short, empty, gone and unreadable by turns; then a good change comes while nothing can be
    written, neither for Envoy nor to the log; then there is room again, and it is followed."""
    text = world.path.read_text()
    for broken in (text[: len(text) // 2], "", text[:-30], "\0" * 4096):
        world.path.write_text(broken)
        await asyncio.sleep(0.7)
    world.path.unlink()
    await asyncio.sleep(0.7)
    world.path.mkdir()
    await asyncio.sleep(0.7)
    world.path.rmdir()
    replace(world.path, text)
    await asyncio.sleep(0.7)
    more = with_another(world.config)
    pids = [world.gateway.process.popen.pid, *world.workers()]
    limits = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in pids}
    for pid, (_, hard) in limits.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
    changes = len(world.gateway.events("configuration changed"))
    replace(world.path, more)
    await asyncio.sleep(3.0)
    for pid, limit in limits.items():
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limit)
    assert world.gateway.process.popen.poll() is None, "a full disk ended the gateway"
    await world.event("configuration changed", changes)
    errors = world.count.verdicts["error"]
    await world.load((Shape("added"),), 10, 2)
    assert world.count.verdicts["error"] == errors, "the added route answers"


async def all_at_once(world: World) -> None:
    async def one_killed() -> None:
        for _ in range(6):
            await asyncio.sleep(2.5)
            os.kill(world.workers()[0], signal.SIGKILL)

    async with asyncio.TaskGroup() as group:
        for happening in (vendor_dies(world), one_killed(), rolling_restart(world), envoy_follows(world)):
            group.create_task(happening)
    await asyncio.sleep(3.0)


async def many_streams(world: World) -> None:
    """All streams are held open together; then their vendor goes on."""
    clients = max(100, int(2000 * world.amount))
    await world.until(lambda: world.first.get()["open"] >= clients, f"{clients} open streams", 240)
    await asyncio.sleep(1.0)
    world.first.get("/release")


async def burst(world: World) -> None:
    """The workers stand still for a second while a vendor sends megabytes."""
    for _ in range(1 if world.amount < 1 else 4):
        await asyncio.sleep(0.4)
        await stand_still(world.workers(), 1.0)
        await asyncio.sleep(1.5)


_CONTEXT = free_port()
_REDIS = free_port()
_GOOD = (*both("two", "read"), *both("passed"), *both("alone", pieces=12, pause=0.05))
_BIG = {"pieces": 40, "size": 500_000, "pause": 0.0}

SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        "baseline", "nothing happens", "一切正常",
        _GOOD, answered=1.0,
    ),
    Scenario(
        "vendor-down", "the first vendor's process is killed and started again, three times", "第一个厂商的进程被杀死并重启，三次",
        (*both("two", "read"), *both("alone", "passed")), happening=vendor_dies, answered=0.6, quick=True,
    ),
    Scenario(
        "vendor-refuses", "the first vendor answers 500, 503, 529; a second one is there, or none", "第一个厂商回答 500、503、529；有的路由有第二个厂商，有的没有",
        (*both("two", "alone", do="refuse:503"), *both("read", "passed", do="refuse:500"), *both("two", "mapped", do="refuse:529")),
        answered=0.5,
    ),
    Scenario(
        "vendor-slow", "2 s to the first byte, patience is 0.4 s", "首字节要 2 秒，只等 0.4 秒",
        (*both("slow", do="slow:2"), Shape("two", "slow:1")), total=200, clients=24, answered=1.0,
    ),
    Scenario(
        "vendor-stalls", "silence half-way; `streamIdleTimeout` is 2 s", "回答到一半不再出声；`streamIdleTimeout` 为 2 秒",
        both("two", "alone", "mapped", "passed", do="stall"), total=240, clients=48, config={"streamIdleTimeout": 2},
    ),
    Scenario(
        "vendor-resets", "reset before the answer, and in the middle of an event", "回答之前重置连接，或在事件中间重置",
        (*both("two", "read", do="reset:early"), *both("two", "alone", "mapped", "passed", do="reset")), answered=0.3, quick=True,
    ),
    Scenario(
        "vendor-ends", "a clean end half-way, without `[DONE]`", "未到 `[DONE]` 就正常结束",
        both("two", "alone", "mapped", "counted", do="end"),
    ),
    Scenario(
        "throttled", "429 without `retry-after`: one key of two, and all", "429，没有 `retry-after`：两个密钥中的一个，或全部",
        (*both("keys", do="throttle"), *both("two", "alone", do="throttle:all")), answered=0.6,
    ),
    Scenario(
        "throttled-retry-after", "429 with `retry-after: 1`: one key of two, and all", "429，带 `retry-after: 1`：两个密钥中的一个，或全部",
        (*both("keys", do="throttle:1"), *both("two", do="throttle:all:1"), Shape("alone", "throttle:all:1")),
        answered=0.7, quick=True,
    ),
    Scenario(
        "garbage", "200 with nonsense, HTML, broken gzip, unreadable events", "200，内容是乱码、HTML、损坏的 gzip 或无法读取的事件",
        tuple(s for do in ("nonsense", "html", "gzip") for s in both("two", "read", "alone", "mapped", do=do))
        + tuple(Shape(host, "frames") for host in ("two", "alone", "mapped")),
        answered=0.15, quick=True,
    ),
    Scenario(
        "worker-killed", "SIGKILL to one of two workers, six times", "向两个工作进程之一发 SIGKILL，六次",
        _GOOD, total=1000, happening=workers_killed, answered=0.9, quick=True,
    ),
    Scenario(
        "workers-killed", "SIGKILL to both workers at once, three times", "同时向两个工作进程发 SIGKILL，三次",
        _GOOD, total=1000, happening=both_workers_killed, answered=0.8,
    ),
    Scenario(
        "worker-stopped", "SIGSTOP of one worker for 1 s, then for 5 s", "SIGSTOP 一个工作进程 1 秒，再 5 秒",
        _GOOD, happening=worker_stops, answered=0.95,
    ),
    Scenario(
        "workers-stopped", "SIGSTOP of both workers for 13 s", "SIGSTOP 两个工作进程 13 秒",
        _GOOD, happening=workers_stop, answered=0.8,
    ),
    Scenario(
        "envoy-follows", "a provider and its route are added and removed, five times", "增加和删除一个提供商及其路由，五次",
        _GOOD, happening=envoy_follows, answered=1.0, quick=True,
    ),
    Scenario(
        "rolling-restart", "SIGHUP: all workers are replaced, three times", "SIGHUP：替换所有工作进程，三次",
        _GOOD, happening=rolling_restart, answered=1.0,
    ),
    Scenario(
        "stop", "SIGTERM", "SIGTERM",
        _GOOD, total=0, happening=stopped, answered=0.95,
    ),
    Scenario(
        "context-server", "the context server is away, there, away", "上下文服务器不在、在、又不在",
        (Shape("context"), Shape("context", stream=False), *both("two")), happening=texts, answered=0.5,
        config={
            "providers": [{
                "id": "context", "type": "qwen", "modelMapping": {"*": "qwen-max"}, "apiTokens": ["sk-PLANTED-context"],
                "endpoint": "FIRST", "context": {"fileUrl": f"http://127.0.0.1:{_CONTEXT}/", "refresh": 1},
            }],
            "routes": [{"name": "context", "match": {"hosts": ["context.test"]}, "provider": "context"}],
        },
    ),
    Scenario(
        "redis", "Redis is away, there, hangs, is gone; twice", "Redis 不在、在、停住、消失；两次",
        (*both("keys", do="throttle:1"), *both("two")), happening=redis_goes, answered=0.9,
        config={"redis": {"url": f"redis://127.0.0.1:{_REDIS}/0", "timeout": "500ms"}},
    ),
    Scenario(
        "disk", "the configuration is half-written, empty, gone; then nothing can be written (Envoy's files, logs)", "配置文件只写了一半、为空、消失；然后什么都写不了（Envoy 的文件、日志）",
        _GOOD, happening=disk_full, answered=1.0,
    ),
    Scenario(
        "streams", "2,000 streams at the same time", "同时 2,000 个流",
        (Shape("alone", "hold", pieces=6), Shape("two", "hold", pieces=6)), total=2000, clients=2000, happening=many_streams, answered=1.0,
    ),
    Scenario(
        "disconnects", "10,000 clients hang up in mid-stream", "10,000 个客户端在流的中途断开",
        tuple(Shape(host, pieces=40, pause=0.05, leave=True) for host in ("alone", "mapped", "passed", "two")),
        total=10_000, clients=40, quick=True,
    ),
    Scenario(
        "all-at-once", "the vendor dies, workers are killed and replaced, providers come and go", "厂商死亡，工作进程被杀和替换，提供商增减，同时发生",
        _GOOD, happening=all_at_once, answered=0.5,
    ),
    Scenario(
        "bursts", "streams of 20 MB at once, the workers stand still for a second", "突发 20 MB 的流，工作进程停住一秒",
        (Shape("alone", **_BIG), Shape("mapped", **_BIG), Shape("passed", **_BIG)), total=24, clients=3, happening=burst, answered=1.0,
    ),
)  # fmt: skip
