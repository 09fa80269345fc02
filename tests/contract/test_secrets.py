"""Keys are planted wherever a key can be, and a vendor quotes them back in every way; then everything that a run wrote,
answered or shows is searched for them. Bodies are planted too: no log may hold a word of one."""

from collections.abc import Iterator
import contextlib
import hashlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import itertools
import json
from pathlib import Path
import re
import threading
from typing import Any, ClassVar

import pytest

from extproc.config.describe import describe
from extproc.config.load import ConfigError, load

from . import processes
from .processes import Process, until
from .raw import Answer, Connection, ask, chat, head
from .test_sidecar_port import listening_ports

KEY, BODY = "PLANTED", "CANARY"
"""The first is in every key, the second in every body."""

CLIENT = "sk-PLANTED-client-literal"
HASHED = "sk-PLANTED-client-hashed"
FILED = "sk-PLANTED-client-filed"
HEX = hashlib.sha256(HASHED.encode()).hexdigest()

CONFIG = """
maxBodyBytes: 4096
corsOrigins: ["*"]
providers:
  - {id: qwen, type: qwen, apiTokens: [sk-PLANTED-qwen], endpoint: VENDOR, modelMapping: &m {"*": vendor-model}}
  - {id: compatible, type: qwen, qwenEnableCompatible: true, apiTokens: ["${COMPATIBLE}"], endpoint: VENDOR, modelMapping: *m}
  - {id: original, type: qwen, protocol: original, apiTokens: ["file:original.txt"], endpoint: VENDOR}
  - {id: openai, type: openai, apiToken: sk-PLANTED-openai/x+y, endpoint: VENDOR, modelMapping: *m}
  - {id: own, type: openai, openaiCustomUrl: "VENDOR/v1?code=PLANTED-query", modelMapping: *m}
  - id: azure
    type: azure
    apiTokens: [PLANTED-azure-key-0001]
    azureServiceUrl: https://r.test?api-version=v&subscription-key=PLANTED-subscription
    endpoint: VENDOR
    modelMapping: *m
  - {id: moonshot, type: moonshot, apiTokens: [sk-PLANTED-moonshot], endpoint: VENDOR, modelMapping: *m}
  - {id: file, type: moonshot, moonshotFileId: f, apiTokens: [sk-PLANTED-moonshot-file], endpoint: VENDOR}
  - id: settings
    type: openai
    apiTokens: [sk-PLANTED-settings]
    endpoint: VENDOR
    modelMapping: *m
    customSettings: [{name: user, value: PLANTED-setting, mode: raw}, {name: metadata.k, value: {k: PLANTED-deep}, mode: raw}]
CONTEXTS
routes:
  - {name: secret-header, match: {headers: {x-secret: PLANTED-route-header, authorization: Bearer PLANTED-route}}, provider: openai}
ROUTES
  - {name: last, match: {headers: {authorization: Bearer sk-PLANTED-last-route}}, provider: openai}
clients:
  - {name: literal, key: sk-PLANTED-client-literal}
  - {name: hashed, key: "sha256:HEX", models: [m]}
  - {name: filed, keyFile: client.txt}
"""  # noqa: E501
HOSTS = ("qwen", "compatible", "original", "openai", "own", "azure", "moonshot", "file", "settings")
CONTEXTS = {
    "context-refused": "http://u:PLANTED-password@127.0.0.1:CLOSED/x?sig=PLANTED-signature",
    "context-missing": "http://u:PLANTED-password@HOST/context/404?sig=PLANTED-signature",
    "context-loop": "http://u:PLANTED-password@HOST/context/loop?sig=PLANTED-signature",
    "context-broken": "http://u:PLANTED-password@HOST/context/broken?sig=PLANTED-signature",
    "context-elsewhere": "http://u:PLANTED-password@HOST/context/elsewhere?sig=PLANTED-signature",
    "context-no-host": f"http://u:PLANTED-password@{'x' * 70}.test/x?sig=PLANTED-signature",
}

QUOTES: dict[str, tuple[int, str, str]] = {
    # What a vendor says when it is shown a key: status, content type, text
    "openai": (401, "application/json", '{"error":{"message":"Incorrect API key: KEY","type":"t","code":"c"}}'),
    "dashscope": (401, "application/json", '{"code":"InvalidApiKey","message":"KEY is no key","request_id":"r"}'),
    "flat": (403, "application/json", '{"error":"KEY"}'),
    "escaped": (401, "application/json", r'{"error":{"message":"ESCAPED","type":"t","param":null,"code":"ESCAPED"}}'),
    "a list": (500, "application/json", '["KEY"]'),
    "html": (502, "text/html", "<html>KEY</html>"),
    "text": (500, "text/plain", "KEY"),
    "frame": (400, "text/event-stream", 'id:1\nevent:error\n:HTTP_STATUS/400\ndata:{"code":"X","message":"KEY"}\n\n'),
    "not JSON": (200, "application/json", "KEY"),
    "no object": (200, "application/json", '["KEY"]'),
    "error event": (200, "text/event-stream", 'data: {"error":{"message":"KEY","type":"t","code":"KEY"}}\n\n'),
    "error frame": (200, "text/event-stream", 'event:error\n:HTTP_STATUS/400\ndata:{"code":"X","message":"KEY"}\n\n'),
    "broken event": (200, "text/event-stream", "data: {KEY\n\n"),
    "crash": (200, "text/event-stream", 'data: {"CRASH": "KEY CANARY-answer"}\n\n'),
}  # fmt: skip
UNREAD = {"not JSON", "no object", "error event", "error frame", "broken event", "crash"}
"""A good status: where the client speaks the vendor's own API, the vendor's own bytes go through, unseen by us."""


class Vendor(BaseHTTPRequestHandler):
    """Quotes the key that it was shown, as the request's body says. `keys`: those that it saw."""

    keys: ClassVar[set[str]] = set()

    def do_GET(self) -> None:
        key = self._key()
        match self.path.partition("?")[0].removeprefix("/context/"):
            case "loop":
                self._say(302, "text/plain", "", ("location", f"{self.path}x"[:2000].rstrip("x")))
            case "elsewhere":
                self._say(302, "text/plain", "", ("location", "http://[PLANTED-redirect/"))
            case "broken":
                self.wfile.write(b"PLANTED-is-not-HTTP\r\n\r\n")
            case _:
                self._say(404, "application/json", '{"error":{"message":"KEY"}}'.replace("KEY", key))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        kind = next((k for k in QUOTES if f"[[{k}]]" in body), "openai")
        status, content_type, text = QUOTES[kind]
        key = self._key()
        escaped = "".join(f"\\u{ord(c):04x}" if c in "-+" else "\\/" if c == "/" else c for c in key)
        self._say(status, content_type, text.replace("KEY", key).replace("ESCAPED", escaped))

    def _key(self) -> str:
        key = (self.headers.get("api-key") or self.headers.get("authorization", "")).removeprefix("Bearer ")
        if not self.path.startswith("/context/"):
            self.keys.add(key)
        return key or "no-key"

    def _say(self, status: int, content_type: str, text: str, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (("content-type", content_type), ("content-length", str(len(text.encode()))), *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


CRASHING = '''
"""Two bugs for every process of the program: careless exceptions about a request and about an answer."""
from extproc.providers.base import Provider
from extproc.fronts.converted import Converted
from extproc.providers.passthrough import PassThrough

settled = Provider.settled


def crash_on_a_request(self, body):
    if b"[[crash early]]" in bytes(body.get("messages", b"")):
        raise ValueError(f"{body} {[t.get_secret_value() for t in self.tokens]}")
    return settled(self, body)


def crashing(event):
    def crash_on_an_answer(self, one):
        if b"CRASH" in one.data:
            try:
                {}[one.data]
            except KeyError as error:
                raise RuntimeError(f"{one}") from error
        return event(self, one)
    return crash_on_an_answer


Provider.settled = crash_on_a_request
Converted.event, PassThrough.event = crashing(Converted.event), crashing(PassThrough.event)
'''


class Run:
    """What a run wrote, answered and shows, by the name of the place."""

    def __init__(self, process: Process, port: int, admin: int, directory: Path) -> None:
        self.process, self.port, self.admin, self.directory = process, port, admin, directory
        self.answers: dict[str, str] = {}
        self.shown: dict[str, str] = {}

    def keep(self, name: str, answer: Answer) -> None:
        self.answers[name] = (
            f"{answer.status} {json.dumps(dict(answer.headers))} {answer.body.decode(errors='replace')}"
        )

    def show(self, name: str, url: str) -> None:
        with contextlib.suppress(OSError), processes.urlopen(url) as answer:
            self.shown[name] = answer.read().decode(errors="replace")

    def written(self) -> dict[str, str]:
        files = (self.process.stdout, self.process.stderr, self.directory / "access.log")
        return {file.name: file.read_text(errors="replace") for file in files}


@pytest.fixture(scope="module")
def vendor() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Vendor)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def configured(directory: Path, vendor: ThreadingHTTPServer) -> Path:
    (directory / "original.txt").write_text("sk-PLANTED-original\n")
    (directory / "client.txt").write_text(f"{FILED}\n")
    host = f"127.0.0.1:{vendor.server_port}"
    contexts = "".join(
        f"  - {{id: {id}, type: openai, apiTokens: [sk-PLANTED-{id}], endpoint: VENDOR, "
        f'context: {{fileUrl: "{url}", refresh: 500ms}}}}\n'
        for id, url in CONTEXTS.items()
    )
    routes = "".join(
        f"  - {{name: to-{id}, match: {{hosts: [{id}.test]}}, provider: {id}}}\n" for id in (*HOSTS, *CONTEXTS)
    )
    text = CONFIG.replace("CONTEXTS\n", contexts).replace("ROUTES\n", routes).replace("HEX", HEX)
    text = text.replace("VENDOR", f"http://{host}").replace("HOST", host).replace("CLOSED", str(processes.free_port()))
    path = directory / "gateway.yaml"
    path.write_text(text)
    return path


@pytest.fixture(scope="module", params=["json", "console"])
def ended(request: pytest.FixtureRequest, vendor: ThreadingHTTPServer, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that met everything that can go wrong, and is over."""
    directory = tmp_path_factory.mktemp("secrets")
    path = configured(directory, vendor)
    (directory / "bugs").mkdir()
    (directory / "bugs" / "sitecustomize.py").write_text(CRASHING)  # workers are processes of their own
    port, admin = processes.free_port(), processes.free_port()
    places = ("--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}", "--config", str(path), "--demo")
    logs = ("--log-format", request.param, "--log-level", "debug", "--access-log", str(directory / "access.log"))
    environ = processes.environment(COMPATIBLE="sk-PLANTED-compatible", PYTHONPATH=str(directory / "bugs"))
    with processes.command(directory, "run", *places, *logs, environ=environ) as process:
        run = Run(process, port, admin, directory)

        def ready() -> bool:
            assert process.popen.poll() is None, process.errors
            return "base_url" in process.errors

        until(ready, "the gateway is ready")
        provoke(run)
        look_around(run)
        until(lambda: process.errors.count("context text not available") >= 2 * len(CONTEXTS), "contexts fail")
    return run


SECRET_ROUTE = {"x-secret": "PLANTED-route-header", "x-api-key": CLIENT, "authorization": "Bearer PLANTED-route"}


def provoke(run: Run) -> None:
    for host, kind, stream in itertools.product(HOSTS, QUOTES, (False, True)):
        if host == "original" and kind in UNREAD:
            continue
        path = "/v1/chat/completions" if host != "original" else "/api/v1/services/aigc/text-generation/generation"
        body = {"model": "m", "stream": stream, "messages": [{"role": "user", "content": f"CANARY [[{kind}]]"}]}
        answer = ask(run.port, path, body, host=host, headers={"authorization": f"Bearer {CLIENT}"}, leaks=())
        run.keep(f"{host}, {kind}, {'streamed' if stream else 'whole'}", answer)
    client = {"authorization": f"Bearer {HASHED}"}
    requests: dict[str, dict[str, Any]] = {
        "a crash early": {"body": chat("CANARY [[crash early]]", "m")},
        "no key": {"body": chat("CANARY", "m"), "headers": {"authorization": ""}},
        "a wrong key": {"body": chat("CANARY", "m"), "headers": {"authorization": "Bearer sk-PLANTED-wrong"}},
        "a wrong key elsewhere": {"body": chat("CANARY", "m"), "headers": {"x-api-key": "sk-PLANTED-wrong"}},
        "a filed key": {"body": chat("CANARY", "m"), "headers": {"api-key": FILED, "authorization": ""}},
        "a key in the query": {"path": "/v1/chat/completions?api_key=PLANTED-query", "body": chat("CANARY", "m")},
        "another model": {"body": chat("CANARY", "other")},
        "no JSON": {"body": b"{CANARY"},
        "no object": {"body": b'["CANARY"]'},
        "not UTF-8": {"body": b'{"model": "CANARY\xff"}'},
        "too long": {"body": chat("CANARY" * 1000, "m")},
        "compressed": {"body": b"CANARY", "headers": {**client, "content-encoding": "br"}},
        "a method": {"method": "TRACE"},
        "a path": {"path": "/?PLANTED-query"},
        "no API": {"path": "/v1/audio/speech", "body": {"model": "m", "input": "CANARY"}, "host": "moonshot"},
        "no route": {"body": chat("CANARY", "m"), "host": "nobody"},
        "a secret route": {"body": chat("CANARY", "m"), "headers": SECRET_ROUTE},
        **{id: {"body": chat("CANARY", "m"), "host": id} for id in CONTEXTS},
        "cookies": {"body": chat("CANARY", "m"), "headers": {**client, "cookie": "sk-PLANTED", "te": "PLANTED"}},
    }  # fmt: skip
    for name, given in requests.items():
        answer = ask(run.port, **{"host": "openai", "headers": client, **given}, leaks=())
        assert answer.status >= 400, (name, answer)
        run.keep(name, answer)
    with Connection(run.port) as connection:  # a client that breaks off within its body
        headers = (("host", "openai.test"), ("authorization", f"Bearer {CLIENT}"), ("content-length", "1000"))
        connection.send(head("POST", "/v1/chat/completions", headers), b'{"model": "CANARY')
    with Connection(run.port) as connection:
        connection.send(b"PLANTED-is-not-HTTP\r\n\r\n")
        run.keep("no HTTP", connection.answer())


def look_around(run: Run) -> None:
    for name in ("healthz", "readyz", "version", "metrics", ""):
        run.show(f"/{name}", f"http://127.0.0.1:{run.admin}/{name}")
    (envoy_admin,) = listening_ports(run.process.children()["envoy"]) - {run.port}
    for name in (
        "config_dump?include_eds",
        "server_info",
        "stats",
        "clusters",
        "listeners",
        "certs",
        "runtime",
        "memory",
    ):
        run.show(f"envoy /{name}", f"http://127.0.0.1:{envoy_admin}/{name}")
    assert len(run.shown["envoy /config_dump?include_eds"]) > 10_000
    for pid in (run.process.popen.pid, *run.process.children().values()):
        run.shown[f"command line of {pid}"] = Path(f"/proc/{pid}/cmdline").read_text()


def found(places: dict[str, str], *secrets: str) -> dict[str, list[str]]:
    """Where a secret is, with what stands around it."""
    return {
        name: re.findall(rf".{{0,60}}(?:{'|'.join(secrets)}).{{0,30}}", text)
        for name, text in places.items()
        if any(secret in text for secret in secrets)
    }


def test_the_vendor_saw_the_keys_that_are_looked_for(ended: Run) -> None:
    wanted = {"qwen", "compatible", "original", "openai/x+y", "moonshot", "moonshot-file", "settings"}
    assert {f"sk-PLANTED-{name}" for name in wanted} | {"PLANTED-azure-key-0001", ""} <= Vendor.keys
    assert not {key for key in Vendor.keys if "client" in key}
    assert len(ended.answers) > 200


def test_no_answer_holds_a_key(ended: Run) -> None:
    assert found(ended.answers, KEY, HEX) == {}
    assert any("***" in answer for answer in ended.answers.values())


def test_no_log_holds_a_key_or_a_word_of_a_body(ended: Run) -> None:
    written = ended.written()
    assert "an exchange failed unexpectedly" in written["stderr"]
    assert "crash_on_an_answer" in written["stderr"]  # the place is there, not the words
    assert "RuntimeError" in written["stderr"]
    assert "context text not available" in written["stderr"]
    assert len(written["access.log"].splitlines()) > 200
    assert found(written, KEY, BODY, HEX) == {}


def without_conditions(text: str) -> str:
    """Envoy's configuration without what routes compare headers with: Envoy has to know it, and the README says so."""
    for value in ("PLANTED-route-header", "sk-PLANTED-last-route", "PLANTED-route"):
        text = text.replace(value, "")
    return text


def test_no_admin_port_shows_a_key(ended: Run) -> None:
    assert {"/healthz", "/version", "envoy /config_dump?include_eds", "envoy /stats"} <= ended.shown.keys()
    dump = "envoy /config_dump?include_eds"
    assert found({**ended.shown, dump: without_conditions(ended.shown[dump])}, KEY, HEX) == {}


def test_what_is_printed_of_a_configuration_holds_no_key(
    vendor: ThreadingHTTPServer, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = configured(tmp_path, vendor)
    environ = processes.environment(COMPATIBLE="sk-PLANTED-compatible")
    printed = {}
    for name in ("check", "envoy", "schema"):
        options = () if name == "schema" else ("--config", str(path))
        with processes.command(tmp_path / name, name, *options, environ=environ) as process:
            assert process.wait() == 0, process.errors
            printed[name] = process.stdout.read_text() + process.errors
    printed["envoy"] = without_conditions(printed["envoy"])
    assert "sha256:" in printed["check"]
    loaded = load(path, environ)
    printed |= {"repr": repr(loaded), "str": str(loaded.config), "dump": str(loaded.config.model_dump())}
    printed["describe"] = describe(loaded)
    # What somebody wrote down as a plain value is shown where the whole configuration is.
    plain = ("PLANTED-password", "PLANTED-s", "PLANTED-query", "PLANTED-route", "PLANTED-deep", "sk-PLANTED-last-route")
    for name in ("repr", "str", "dump"):
        for secret in plain:
            printed[name] = printed[name].replace(secret, "")
    assert found(printed, KEY, HEX) == {}


WRONG = {
    "not YAML": "providers:\n  - {type: qwen, apiTokens: [sk-PLANTED\n",
    "a tab": "providers:\n\t- apiToken: sk-PLANTED\n",
    "a quote": "providers: [{type: qwen, apiToken: 'sk-PLANTED}]\n",
    "an unknown tag": "providers: [{type: qwen, apiToken: !env sk-PLANTED}]\n",
    "an alias": "providers: [{type: qwen, apiToken: *sk-PLANTED}]\n",
    "no blank": "providers:\n  - apiToken:sk-PLANTED\n",
    "no blank in a mapping": "providers: [{type: qwen, apiToken:sk-PLANTED}]\n",
    "no blank behind a client": "providers: [{type: openai}]\nclients: [{name: a, key:sk-PLANTED}]\n",
    "twice": "providers: [{type: qwen, apiToken: sk-PLANTED, apiToken: sk-PLANTED}]\n",
    "a number": "providers: [{type: qwen, apiToken: 0xPLANTED, apiTokens: 5}]\n",
    "a mapping": "providers: [{type: qwen, apiTokens: {sk-PLANTED: }}]\n",
    "nested": "providers: [{type: qwen, apiTokens: [[sk-PLANTED]]}]\n",
    "with a blank": 'providers: [{type: qwen, apiToken: "sk PLANTED"}]\n',
    "not ASCII": "providers: [{type: qwen, apiToken: sk-PLANTED密}]\n",
    "half a variable": 'providers: [{type: qwen, apiToken: "x${NAME}PLANTED"}]\n',
    "a wrong type": "providers: [{type: qwne, apiToken: sk-PLANTED}]\n",
    "a wrong key": "providers: [{type: qwen, apiTokenz: sk-PLANTED}]\n",
    "at the top": "apiToken: sk-PLANTED\nproviders: [{type: openai}]\n",
    "in a list of names": "providers: [sk-PLANTED]\n",
    "as the providers": "providers: sk-PLANTED\n",
    "as a provider": "provider: sk-PLANTED\n",
    "a client's key": "providers: [{type: openai}]\nclients: [{name: a, key: [sk-PLANTED, 5]}]\n",
    "a client's hash": "providers: [{type: openai}]\nclients: [{name: a, key: sha256:PLANTED}]\n",
    "a client as text": "providers: [{type: openai}]\nclients: [sk-PLANTED]\n",
    "clients as text": "providers: [{type: openai}]\nclients: sk-PLANTED\n",
    "two clients": "providers: [{type: openai}]\nclients: [{name: a, key: sk-PLANTED}, {name: b, key: sk-PLANTED}]\n",
    "a context": "providers: [{type: openai, context: 'https://u:PLANTED@h/x?sig=PLANTED'}]\n",
    "a context's URL": "providers: [{type: openai, context: {fileUrl: 'ftp://u:PLANTED@h/x'}}]\n",
    "a list of URLs": "providers: [{type: openai, context: {fileUrl: ['https://u:PLANTED@h/x']}}]\n",
    "an endpoint": "providers: [{type: openai, endpoint: 'https://u:PLANTED@h/x'}]\n",
    "a base URL": "providers: [{type: openai, openaiCustomUrl: 'https://u:PLANTED@h/x'}]\n",
    "an Azure URL": "providers: [{type: azure, apiToken: x, azureServiceUrl: 'https://r/x?code=PLANTED'}]\n",
    "a header": "providers: [{type: openai}]\nroutes: [{name: a, match: {headers: {x: [PLANTED]}}}]\n",
    "headers": "providers: [{type: openai}]\nroutes: [{name: a, match: {headers: Bearer PLANTED}}]\n",
    "a WasmPlugin": "kind: WasmPlugin\nmetadata: {name: ai-proxy}\n"
    "spec: {defaultConfig: {provider: {type: qwen, apiToken: sk-PLANTED, x: PLANTED}}}\n",
    "a WasmPlugin's text": "kind: WasmPlugin\nmetadata: {name: ai-proxy}\n"
    "spec: {defaultConfig: {provider: sk-PLANTED}}\n",
    "two documents": "providers: [{type: openai}]\n---\nsk-PLANTED\n",
}


@pytest.mark.parametrize("name", WRONG)
def test_no_message_about_a_wrong_configuration_quotes_a_key(tmp_path: Path, name: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(WRONG[name])
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    assert KEY not in str(caught.value)
