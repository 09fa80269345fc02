"""Envoy's own rate limit service, the real one on a real Redis, charged by what the sidecar counts in a gateway that is
not ours (`extproc attach --rate-limit-service`): what the service was told is read in Redis."""

from collections.abc import Iterator
import contextlib
from dataclasses import dataclass
import json
import os
from pathlib import Path
import subprocess
from typing import Any

import httpx
import pytest
import redis

from extproc.envoy.process import find_envoy
from tests.attach import gateways, online
from tests.attach.test_attached import others, printed, running
from tests.contract import processes, stores
from tests.contract.processes import PATIENCE, free_port, until
from tests.contract.raw import Connection, head

SERVICE = "github.com/envoyproxy/ratelimit/src/service_cmd@v1.4.1-0.20260122083618-3fb702589d36"
CONFIG = """
providers:
  - {id: qwen, type: qwen, apiTokens: [sk-sim-1], modelMapping: {"*": qwen-plus}}
  - {id: openai, type: openai, apiTokens: [sk-sim-2]}
clients:
  - {name: few, key: key-of-few-0001}
  - {name: whole, key: key-of-whole-0001}
  - {name: streamed, key: key-of-streamed-0001}
  - {name: passed, key: key-of-passed-0001}
  - {name: cut, key: key-of-cut-0001}
  - {name: left, key: key-of-left-0001}
  - {name: refused, key: key-of-refused-0001}
routes:
  - {name: qwen, match: {ingress: [qwen]}, provider: qwen}
  - {name: openai, match: {ingress: [openai]}, provider: openai}
"""
LIMITS = """
domain: ai-proxy
descriptors:
  - key: unit
    value: tokens
    descriptors:
      - {key: client, value: few, rate_limit: {unit: day, requests_per_unit: 100}}
      - {key: client, rate_limit: {unit: day, requests_per_unit: 100000}}
"""
MESSAGES = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}


def built(directory: Path) -> None:
    """The service, from its source: takes a few minutes the first time."""
    environ = {**os.environ, "GOBIN": str(directory.absolute()), "GOFLAGS": "-mod=mod"}
    subprocess.run(["go", "install", SERVICE], check=True, timeout=900, env=environ, capture_output=True)


@contextlib.contextmanager
def service(binary: Path, directory: Path, store: stores.Store) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The service with `LIMITS`: its address."""
    (directory / "limits" / "config").mkdir(parents=True)
    (directory / "limits" / "config" / "limits.yaml").write_text(LIMITS)
    port, web = free_port(), free_port()
    environ = {
        "REDIS_SOCKET_TYPE": "tcp", "REDIS_URL": f"127.0.0.1:{store.port}", "USE_STATSD": "false",
        "RUNTIME_ROOT": str(directory), "RUNTIME_SUBDIRECTORY": "limits", "RUNTIME_WATCH_ROOT": "false",
        "HOST": "127.0.0.1", "PORT": str(web), "GRPC_HOST": "127.0.0.1", "GRPC_PORT": str(port),
        "DEBUG_HOST": "127.0.0.1", "DEBUG_PORT": str(free_port()),
    }  # fmt: skip
    with (directory / "service.log").open("wb") as log:
        process = subprocess.Popen([binary], env=environ, stdout=log, stderr=log)
    try:

        def healthy() -> bool:
            assert process.poll() is None, (directory / "service.log").read_text()
            with contextlib.suppress(OSError):
                return bool(processes.urlopen(f"http://127.0.0.1:{web}/healthcheck").status == 200)
            return False

        until(healthy, "the rate limit service is healthy")
        yield f"127.0.0.1:{port}", process
    finally:
        process.kill()
        process.wait(10)


@dataclass
class Charged:
    """A gateway whose tokens are charged. `kept`: what the service keeps."""

    port: int
    http: httpx.Client
    sidecar: processes.Process
    kept: Any
    service: subprocess.Popen[bytes]

    def ask(self, who: str, route: str = "qwen", text: str = "hi", **more: Any) -> httpx.Response:
        body = {"model": "m", "messages": [{"role": "user", "content": text}], **more}
        headers = {"authorization": f"Bearer key-of-{who}-0001"}
        url = f"http://127.0.0.1:{self.port}/{route}/v1/chat/completions"
        return self.http.post(url, json=body, headers=headers)

    def charged(self, who: str) -> int | None:
        """What a client's requests were charged."""
        keys = [key for key in self.kept.scan_iter() if f"_client_{who}_".encode() in key]
        return sum(int(self.kept.get(key)) for key in keys) if keys else None

    def told(self, who: str) -> list[dict[str, Any]]:
        """The sidecar's log lines of a client."""
        lines = [json.loads(line) for line in self.sidecar.errors.splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == "exchange" and line.get("client") == who]


@pytest.fixture(scope="module", params=["envoy", "higress"])
def gateway(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Charged]:
    plane = request.param
    if stores.BINARY is None:
        pytest.skip("no redis-server and no valkey-server here")
    cache = request.config.cache.mkdir("envoy-ratelimit-" + SERVICE.rpartition("-")[2]) / "built"
    binary = online.fetched(cache, "Envoy's rate limit service", built) / "service_cmd"
    directory = tmp_path_factory.mktemp(f"charged-{plane}")
    config = directory / "gateway.yaml"
    config.write_text(CONFIG)
    port = free_port()
    sidecar = ("--config", str(config), "--workers", "1")
    listen = ("--listen", f"127.0.0.1:{port}", "--admin", "127.0.0.1:0", "--log-format", "json")
    with contextlib.ExitStack() as stack:
        vendors = stack.enter_context(processes.simulator(directory / "vendors"))
        serving = stack.enter_context(processes.command(directory / "sidecar", "serve", *sidecar, *listen))
        elsewhere, _ = stack.enter_context(others())
        store = stack.enter_context(stores.store(directory))
        place, process = stack.enter_context(service(binary, directory, store))
        until(lambda: '"serving"' in serving.errors, "the sidecar serves")
        limiter = ("--rate-limit-service", place, "--route", "qwen", "--route", "openai")
        options = ("--config", str(config), "--sidecar", f"127.0.0.1:{port}", *limiter)
        documents = printed(directory / "attach", plane, *options)
        foreign = gateways.foreign(vendors.removeprefix("http://"), elsewhere, directory / "access.log")
        [web] = [route for route in gateways.routes(foreign) if route.get("name") == "web"]
        own = {"generic_key": {"descriptor_key": "unit", "descriptor_value": "tokens"}}
        web["route"]["rate_limits"] = [{"actions": [own, {"generic_key": {"descriptor_key": "client",
                                                                         "descriptor_value": "others"}}]}]  # fmt: skip
        configuration = gateways.attached(plane, foreign, documents)
        _, listens = stack.enter_context(running(directory, find_envoy(), configuration))
        http = stack.enter_context(httpx.Client(trust_env=False, timeout=PATIENCE))
        yield Charged(listens, http, serving, redis.Redis(port=store.port), process)


def test_a_whole_answer_is_charged_what_the_vendor_told(gateway: Charged) -> None:
    used = sum(gateway.ask("whole").json()["usage"]["total_tokens"] for _ in range(3))
    until(lambda: gateway.charged("whole") == used, f"{used} are charged")


@pytest.mark.parametrize(("who", "route"), [("streamed", "qwen"), ("passed", "openai")])
def test_a_stream_is_charged_what_the_vendor_told(gateway: Charged, who: str, route: str) -> None:
    answer = gateway.ask(who, route, "[[sim:tokens=40]]", stream=True, stream_options={"include_usage": True})
    events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
    used = next(event["usage"]["total_tokens"] for event in events if event.get("usage"))
    assert used > 40
    until(lambda: gateway.charged(who) == used, f"{used} are charged")


def test_a_cut_stream_is_charged_what_was_delivered(gateway: Charged) -> None:
    with contextlib.suppress(httpx.HTTPError):
        gateway.ask("cut", text="[[sim:tokens=40,interval=0.02,cut]]", stream=True)
    [line] = until(lambda: gateway.told("cut"), "it is logged")
    assert line["error"] == "cut"
    charged = until(lambda: gateway.charged("cut"), "it is charged")
    assert line["prompt_tokens"] < charged <= line["total_tokens"]


def test_so_is_one_that_its_client_leaves(gateway: Charged) -> None:
    text = "[[sim:tokens=400,interval=0.05]]"
    body = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": text}]}).encode()
    headers = (("host", "any"), ("authorization", "Bearer key-of-left-0001"), ("content-type", "application/json"),
               ("content-length", str(len(body))))  # fmt: skip
    with contextlib.closing(Connection(gateway.port).socket) as client:
        client.sendall(head("POST", "/qwen/v1/chat/completions", headers) + body)
        seen = b""
        while seen.count(b"data: ") < 8:
            seen += client.recv(1000)
    [line] = until(lambda: gateway.told("left"), "it is logged")
    charged = until(lambda: gateway.charged("left"), "it is charged")
    assert line["prompt_tokens"] < charged <= line["total_tokens"] < 400


def test_a_refusal_costs_nothing(gateway: Charged) -> None:
    assert gateway.ask("refused", text="[[sim:status=400]]").status_code == 400
    until(lambda: gateway.charged("refused") == 0, "nothing is charged")


def test_over_the_limit_is_refused_in_the_client_s_dialect(gateway: Charged) -> None:
    used = 0
    while (answer := gateway.ask("few", text="[[sim:tokens=30]]")).status_code == 200:
        used += answer.json()["usage"]["total_tokens"]
        until(lambda: gateway.charged("few") == used, "it is charged")  # noqa: B023
    assert 100 <= used < 200
    assert answer.status_code == 429
    assert answer.json()["error"]["type"] == "rate_limit_error"
    streamed = gateway.ask("few", stream=True)
    assert (streamed.status_code, streamed.json()["error"]["type"]) == (429, "rate_limit_error")
    passed = gateway.ask("few", "openai", stream=True)
    assert (passed.status_code, passed.json()["error"]["type"]) == (429, "rate_limit_error")
    url = f"http://127.0.0.1:{gateway.port}/qwen/v1/messages"
    refused = gateway.http.post(url, json=MESSAGES, headers={"x-api-key": "key-of-few-0001"})
    assert refused.status_code == 429
    assert (refused.json()["type"], refused.json()["error"]["type"]) == ("error", "rate_limit_error")
    before = gateway.charged("few")
    assert gateway.ask("whole").status_code == 200, "others are not refused"
    assert gateway.charged("few") == before, "a refusal charges nothing"


def test_the_gateway_s_own_limits_of_other_routes_stay_its_own(gateway: Charged) -> None:
    assert gateway.http.post(f"http://127.0.0.1:{gateway.port}/web", json={}).text == "others"
    assert gateway.charged("others") is None


def test_nobody_is_let_through_while_the_service_is_away(gateway: Charged) -> None:
    gateway.service.kill()
    gateway.service.wait(10)
    answer = until(lambda: (a := gateway.ask("whole")).status_code != 200 and a, "it is away")
    assert answer.status_code == 503
    assert answer.json()["error"]["type"]
