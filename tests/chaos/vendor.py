"""A vendor that misbehaves as each request says: `python -m tests.chaos.vendor PORT` (0: any; printed). With a further
argument `good`, one that always answers well.

A request's last user text says it all: `r000017 pieces=4 pause=0.05 size=0 do=reset`. The answer's text is made of the
pieces `r000017.0 r000017.1 …`, so that a client knows its own, their order, and whether it has all of them. Paths under
`/api/` are answered in DashScope's own protocol, all others in OpenAI's. `GET /stats`: what is going on here;
`GET /release`: lets go of what is held.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable
import gzip
import json
import resource
import socket
import struct
import sys
from typing import Any

RAW = b"VENDOR-RAW"
"""In whatever no client may ever read."""

_always_good = "good" in sys.argv[1:]
_held = asyncio.Event()
_stats: Counter[str] = Counter()


def piece(id: str, number: int, size: int = 0) -> str:
    return f"{id}.{number}{'x' * size} "


class Ask:
    """What a request asks of this vendor."""

    def __init__(self, path: str, body: bytes) -> None:
        document = json.loads(body)
        self.native = path.startswith("/api/")
        messages = document["input"]["messages"] if self.native else document["messages"]
        self.id, *options = messages[-1]["content"].split()
        given = dict(option.split("=") for option in options)
        self.do = "" if _always_good else given.get("do", "")
        self.pause = float(given.get("pause", 0))
        self.model = document["model"]
        self.pieces = [piece(self.id, n, int(given.get("size", 0))) for n in range(int(given.get("pieces", 4)))]
        self.stream = bool(
            document.get("parameters", {}).get("incremental_output") if self.native else document.get("stream")
        )

    def event(self, text: str, finish: str | None = None) -> bytes:
        if self.native:
            choice = {"finish_reason": finish or "null", "message": {"role": "assistant", "content": text}}
            document: dict[str, Any] = {"output": {"choices": [choice]}, "request_id": f"q-{self.id}"}
            return b"id:1\nevent:result\n:HTTP_STATUS/200\ndata:" + json.dumps(document).encode() + b"\n\n"
        chunk = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
        document = {"id": f"c-{self.id}", "object": "chat.completion.chunk", "created": 1, "model": self.model}
        return b"data: " + json.dumps(document | {"choices": [chunk]}).encode() + b"\n\n"

    def events(self) -> list[bytes]:
        last = [self.event("", "stop"), *([] if self.native else [b"data: [DONE]\n\n"])]
        return [*map(self.event, self.pieces), *last]

    def whole(self) -> bytes:
        message = {"role": "assistant", "content": "".join(self.pieces)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        if self.native:
            output = {"output": {"choices": [choice]}, "request_id": f"q-{self.id}"}
            return json.dumps(output | {"usage": {"input_tokens": 1, "output_tokens": 1}}).encode()
        document = {"id": f"c-{self.id}", "object": "chat.completion", "created": 1, "model": self.model}
        return json.dumps(document | {"choices": [choice]}).encode()

    def error(self, code: str) -> bytes:
        if self.native:
            return json.dumps({"code": code, "message": "no", "request_id": RAW.decode()}).encode()
        return json.dumps({"error": {"message": "no", "type": code, "param": None, "code": code}}).encode()


class Exchange:
    """One request on a connection, answered."""

    def __init__(self, ask: Ask, key: str, writer: asyncio.StreamWriter) -> None:
        self.ask, self.key, self.writer = ask, key, writer

    async def head(self, status: int, type: str, *headers: str) -> None:
        lines = (f"HTTP/1.1 {status} X", f"content-type: {type}", "transfer-encoding: chunked", *headers)
        self.writer.write("".join(f"{line}\r\n" for line in lines).encode() + b"\r\n")

    async def write(self, data: bytes) -> None:
        self.writer.write(b"%x\r\n%s\r\n" % (len(data), data))
        await self.writer.drain()

    async def end(self) -> None:
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    async def all(self, status: int, body: bytes, *headers: str, type: str = "application/json") -> None:
        await self.head(status, type, *headers)
        await self.write(body)
        await self.end()

    def reset(self) -> None:
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def parts(self) -> list[bytes]:
        """The head goes out; the parts of a good answer."""
        await self.head(200, "text/event-stream" if self.ask.stream else "application/json")
        if self.ask.stream:
            return self.ask.events()
        body = self.ask.whole()
        return [body[i : i + len(body) // 4 + 1] for i in range(0, len(body), len(body) // 4 + 1)]

    async def good(self) -> None:
        for number, part in enumerate(await self.parts()):
            if number:
                await asyncio.sleep(self.ask.pause)
            await self.write(part)
        await self.end()

    async def half(self) -> list[bytes]:
        """The first half of a good answer; what is left of it."""
        parts = await self.parts()
        for part in parts[: len(parts) // 2]:
            await self.write(part)
            await asyncio.sleep(self.ask.pause)
        return parts[len(parts) // 2 :]

    async def answer(self) -> None:
        match self.ask.do.split(":"):
            case ["refuse", status]:
                await self.all(int(status), self.ask.error("ServiceUnavailable"))
            case ["slow", seconds]:
                await asyncio.sleep(float(seconds))
                await self.good()
            case ["stall"]:
                await self.half()
                await asyncio.sleep(60)
            case ["hold"]:
                rest = await self.half()
                await _held.wait()
                for part in rest:
                    await self.write(part)
                await self.end()
            case ["reset"]:
                part = (await self.half())[0]
                await self.write(part[: len(part) // 2])
                await asyncio.sleep(self.ask.pause)
                self.reset()
            case ["reset", "early"]:
                self.reset()
            case ["end"]:
                await self.half()
                await self.end()
            case ["throttle", *after] if self.key.endswith("1") or "all" in after:
                seconds = [f"retry-after: {a}" for a in after if a != "all"]
                await self.all(429, self.ask.error("Throttling"), *seconds)
            case ["nonsense"]:
                await self.all(200, RAW + b" {]")
            case ["html"]:
                await self.all(200, b"<html>" + RAW + b"</html>", type="text/html")
            case ["gzip"]:
                data = gzip.compress(self.ask.whole() + RAW * 100)
                await self.all(200, data[: len(data) // 2] + RAW * 9, "content-encoding: gzip")
            case ["frames"]:
                await self.half()
                await self.write(b"data: " + RAW + b" {]\n\n")
                await self.end()
            case _:
                await self.good()


async def _requests(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        method, path, _ = first.split(" ")
        if method == "GET":
            if path == "/release":
                _held.set()
            text = json.dumps(_stats).encode()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(text), text))
            continue
        key = headers.get("authorization", "").removeprefix("Bearer ")
        exchange = Exchange(Ask(path, body), key, writer)
        _stats["requests"] += 1
        _stats["open"] += 1
        try:
            if key.startswith("sk-PLANTED-"):
                # A client that is gone is noticed although nothing is to be sent.
                answering = asyncio.ensure_future(exchange.answer())
                gone = asyncio.ensure_future(_gone(reader))
                done, pending = await asyncio.wait((answering, gone), return_when=asyncio.FIRST_COMPLETED)
                for task in pending:
                    task.cancel()
                if answering not in done:
                    return
                answering.result()
            else:
                await exchange.all(401, exchange.ask.error("InvalidApiKey"))
        finally:
            _stats["open"] -= 1


async def _gone(reader: asyncio.StreamReader) -> None:
    while not reader.at_eof():  # noqa: ASYNC110  the reader tells nobody
        await asyncio.sleep(0.25)


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await _requests(reader, writer)
    except (OSError, EOFError):
        pass
    finally:
        writer.close()


async def _main(arguments: Iterable[str]) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    server = await asyncio.start_server(_serve, "127.0.0.1", int(next(iter(arguments))), backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1:]))
