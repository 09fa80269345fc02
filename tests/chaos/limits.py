"""Limits of use while something goes wrong: what is let through, and what is counted, beside a vendor's own book.

The vendor writes down what it told of each answer that it sent whole, and how many tokens it had sent of the others.
Clients ask until they are refused; a request may use as much as it reserves, or less. Whatever is killed, no more than
the limit and one reservation is let through; what was killed may count for more than it was.
"""

from collections import Counter
from collections.abc import Callable, Iterator
import contextlib
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import json
import os
from pathlib import Path
import random
import signal
import threading
import time
from typing import Any

import httpx
import redis

from tests.contract import processes, stores
from tests.contract.processes import Gateway, free_port, until

LIMIT, MOST, PROMPT, CLIENTS = 6000, 60, 7, 12
RESERVED = MOST + 60
"""One reservation: the most of an answer, and the input, estimated."""
LEAST = LIMIT // 3
"""Let through in any case: of each kill a worker's lease, and what it had reserved, count as used."""
VERDICTS = ("answered", "refused", "cut", "error", "away")
Row = dict[str, Any]


class Book:
    """A vendor's: tokens of answers that were sent whole, and of those that were not, with how many those were."""

    def __init__(self) -> None:
        self.whole = self.part = self.cut = 0
        lock, book = threading.Lock(), self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
                count = int(asked["messages"][-1]["content"])
                sent = 0
                try:
                    self.send_response(200)
                    self.send_header("content-type", "text/event-stream")
                    self.send_header("transfer-encoding", "chunked")
                    self.end_headers()
                    for _ in range(count):
                        self._event({"choices": [{"index": 0, "delta": {"content": "word "}, "finish_reason": None}]})
                        sent += 1
                        time.sleep(0.01)
                    self._event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
                    usage = {"prompt_tokens": PROMPT, "completion_tokens": count, "total_tokens": PROMPT + count}
                    self._event({"choices": [], "usage": usage})
                    self._chunk(b"data: [DONE]\n\n")
                    self._chunk(b"")
                    with lock:
                        book.whole += PROMPT + count
                except OSError:
                    self.close_connection = True
                    with lock:
                        book.part, book.cut = book.part + PROMPT + sent, book.cut + 1

            def _event(self, more: dict[str, Any]) -> None:
                known = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
                self._chunk(b"data: " + json.dumps(known | more).encode() + b"\n\n")

            def _chunk(self, data: bytes) -> None:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                self.wfile.flush()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()


@dataclass
class Place:
    """Gateways that share what is counted. `restart`: starts the first again, after its end."""

    gateways: list[Gateway]
    ports: list[int]
    restart: Callable[[], None]
    store: stores.Store | None = None
    verdicts: Counter[str] = field(default_factory=Counter)
    errors: set[str] = field(default_factory=set)
    over: threading.Event = field(default_factory=threading.Event)


def nothing(place: Place) -> None:
    pass


def workers_killed(place: Place) -> None:
    for turn in range(4):
        time.sleep(0.8)
        for gateway in place.gateways:
            workers = until(lambda gateway=gateway: w if len(w := gateway.process.workers()) == 2 else None, "workers")
            os.kill(workers[turn % 2], signal.SIGKILL)


def supervisor_killed(place: Place) -> None:
    for _ in range(2):
        time.sleep(1.5)
        place.gateways[0].process.popen.kill()
        place.gateways[0].process.popen.wait(10)
        place.restart()


def redis_paused(place: Place) -> None:
    assert place.store is not None
    for _ in range(3):
        time.sleep(0.7)
        place.store.freeze()
        time.sleep(0.7)
        place.store.thaw()


def redis_killed(place: Place) -> None:
    assert place.store is not None
    for _ in range(3):
        time.sleep(0.7)
        place.store.stop()
        time.sleep(0.5)
        place.store.start()


def redis_fails_over(place: Place) -> None:
    """As a client sees it: what it asks takes nothing more, and then does again."""
    assert place.store is not None
    with redis.Redis.from_url(place.store.url) as server:
        for _ in range(3):
            time.sleep(0.7)
            server.replicaof("127.0.0.1", "1")
            time.sleep(0.7)
            server.replicaof("NO", "ONE")


def all_of_it(place: Place) -> None:
    workers_killed(place)
    redis_paused(place)


KILLS = (workers_killed, supervisor_killed, all_of_it)
ERRORS = {
    **dict.fromkeys(KILLS, '{"error":{'),
    **dict.fromkeys((redis_paused, redis_killed, redis_fails_over), '"code":"limits_unknown"'),
}
"""What errors say that may come: a killed process had the request, or it is not known what is left."""

SCENARIOS: dict[str, tuple[str, str, int, bool, Callable[[Place], None]]] = {
    "limits": (
        "nothing happens; one gateway, SQLite",
        "什么也没发生；一个网关，SQLite",
        *(1, False, nothing),
    ),
    "limits-workers-killed": (
        "SIGKILL to one of two workers, four times",
        "四次对两个工作进程之一 SIGKILL",
        *(1, False, workers_killed),
    ),
    "limits-supervisor-killed": (
        "SIGKILL to the supervisor, twice; it is started again",
        "两次对主进程 SIGKILL，随后重新启动",
        *(1, False, supervisor_killed),
    ),
    "limits-redis": (
        "nothing happens; two gateways, one Redis",
        "什么也没发生；两个网关，一个 Redis",
        *(2, True, nothing),
    ),
    "limits-redis-paused": (
        "two gateways: Redis hangs for 0.7 s, three times; `onFailure: refuse`",
        "两个网关：Redis 三次停住 0.7 秒；`onFailure: refuse`",
        *(2, True, redis_paused),
    ),
    "limits-redis-killed": (
        "two gateways: SIGKILL to Redis (`appendonly yes`), three times; it is started again; `onFailure: refuse`",
        "两个网关：三次对 Redis（`appendonly yes`）SIGKILL，随后重新启动；`onFailure: refuse`",
        *(2, True, redis_killed),
    ),
    "limits-redis-read-only": (
        "two gateways: Redis takes no writes for 0.7 s, as a master after a failover, three times; `onFailure: refuse`",
        "两个网关：Redis 三次各 0.7 秒不接受写入，如同故障切换后的旧主；`onFailure: refuse`",
        *(2, True, redis_fails_over),
    ),
    "limits-redis-all": (
        "two gateways: workers of both are killed, then Redis hangs",
        "两个网关：双方的工作进程被杀，然后 Redis 停住",
        *(2, True, all_of_it),
    ),
}
"""What happens, in English and Chinese; how many gateways; whether they share a Redis."""


@contextlib.contextmanager
def placed(directory: Path, book: Book, count: int, *, shared: bool) -> Iterator[Place]:
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(stores.store(directory, keeps=True)) if shared else None
        provider = {
            "type": "openai",
            "apiTokens": ["sk-PLANTED"],
            "endpoint": f"http://127.0.0.1:{book.server.server_port}",
        }
        config: dict[str, Any] = {"providers": [provider], "limits": [{"tokens": LIMIT, "per": "day"}], "workers": 2}
        config["usage"] = {"onFailure": "refuse", **({} if store else {"store": str(directory / "usage.db")})}
        if store:
            config["redis"] = {"url": store.url}
        path, ports = directory / "gateway.yaml", [free_port() for _ in range(count)]
        path.write_text(json.dumps(config))

        def started(number: int, life: str) -> Gateway:
            options = ("--config", str(path), "--listen", f"127.0.0.1:{ports[number]}")
            return stack.enter_context(processes.gateway(directory / f"{number}-{life}", *options))

        place = Place([started(number, "first") for number in range(count)], ports, lambda: None, store)

        def again() -> None:
            place.gateways[0] = started(0, str(time.monotonic()))

        place.restart = again
        yield place


def client(place: Place, number: int) -> None:
    """Asks until it is refused, after everything has happened."""
    dice = random.Random(number)
    with httpx.Client(trust_env=False, timeout=30) as http:
        while True:
            url = f"http://127.0.0.1:{place.ports[number % len(place.ports)]}/v1/chat/completions"
            message = {"role": "user", "content": str(dice.randint(MOST // 2, MOST))}
            body = {"model": "m", "stream": True, "max_tokens": MOST, "messages": [message]}
            verdict = "error"
            try:
                answer = http.post(url, json=body)
                if answer.status_code == 429:
                    verdict = "refused"
                elif answer.status_code == 200:
                    verdict = "answered" if answer.text.endswith("[DONE]\n\n") else "cut"
                if verdict == "error":
                    place.errors.add(f"{answer.status_code} {answer.text[:300]}")
            except httpx.ConnectError:
                verdict = "away"  # nothing was sent
                time.sleep(0.1)
            except httpx.HTTPError:
                verdict = "cut"
            place.verdicts[verdict] += 1
            if verdict == "refused" and place.over.is_set():
                return
            if verdict != "answered":
                time.sleep(0.05)


def play(name: str, directory: Path) -> Row:
    _, _, count, shared, happening = SCENARIOS[name]
    book, began = Book(), time.monotonic()
    with placed(directory, book, count, shared=shared) as place:
        threads = [threading.Thread(target=client, args=(place, number), daemon=True) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        happening(place)
        place.over.set()
        for thread in threads:
            thread.join(120)
        time.sleep(1.5)
        counted = sum(_counted(gateway) for gateway in place.gateways)
    told = book.whole + book.part
    row = {"name": name, **{v: place.verdicts[v] for v in VERDICTS}}
    row |= {"limit": LIMIT, "reserved": RESERVED, "told": book.whole, "part": book.part, "counted": counted}
    problems = []
    if told > LIMIT + RESERVED:
        problems.append(f"{told} tokens of {LIMIT} were let through")
    if told < LEAST:
        problems.append(f"only {told} tokens of {LIMIT} were let through")
    if counted > told + RESERVED * book.cut:
        problems.append(f"{counted} tokens are counted, the vendor told {told}")
    if strays := [error for error in place.errors if ERRORS.get(happening, "none is expected") not in error]:
        problems.append(f"errors that nobody expects: {strays}")
    if happening not in KILLS and not book.cut and counted != told:
        problems.append(f"{counted} tokens are counted, the vendor told {told}")
    return row | {"seconds": round(time.monotonic() - began, 1), "problems": problems}


def _counted(gateway: Gateway) -> int:
    rows = json.load(processes.urlopen(f"{gateway.admin}/usage"))["rows"]
    return sum(row["input"] + row["output"] for row in rows)
