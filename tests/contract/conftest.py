"""One simulator and one gateway per session; clients that ignore the machine's proxies.

`placement` says where the filter sits in Envoy: a second place is one more value of its parameter.
"""

from collections.abc import Callable, Iterator
import contextlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
import threading
from typing import Any

import httpx
import openai
import pytest

from . import processes
from .processes import Gateway

HERE = Path(__file__).parent
CONTEXT = "你叫小明，只说真话。📎"
FETCHED = "A text fetched ahead of time. 🛰"


class Simulator:
    """The simulated vendors and what they saw."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.Client(base_url=url, trust_env=False, timeout=processes.PATIENCE)

    def requests(self, mark: str) -> list[dict[str, Any]]:
        """The requests whose path, query or body contains `mark`, oldest first."""
        return list(self._http.get("/__sim__/requests", params={"mark": mark}).json())

    def release(self) -> None:
        """What `[[sim:hold]]` holds goes on."""
        assert self._http.post("/__sim__/release").status_code == 200

    def request(self, mark: str) -> dict[str, Any]:
        """The only request that contains `mark`."""
        [entry] = self.requests(mark)
        return entry


@pytest.fixture(scope="session")
def simulator(placement: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """One for each placement, so that what one test asks for under both is not counted twice."""
    with processes.simulator(tmp_path_factory.mktemp("simulator")) as url:
        yield Simulator(url)


@pytest.fixture(scope="session", params=["upstream", "listener"])
def placement(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The options of `extproc run` that put the filter in its place."""
    return ("--placement", request.param)


class _Texts(BaseHTTPRequestHandler):
    """Context texts over HTTP; whatever else is asked for is not there."""

    def do_GET(self) -> None:
        found = self.path == "/context.txt"
        body = FETCHED.encode() if found else b"not here"
        self.send_response(200 if found else 404)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def _texts() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Texts)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def gateway(
    simulator: Simulator, placement: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """The gateway of `gateway.yaml`. At its end, nothing that it wrote may hold a key."""
    directory = tmp_path_factory.mktemp("gateway")
    (directory / "key.txt").write_text("\n  sk-sim-PLANTED-file-0001\r\n\n")
    (directory / "context.txt").write_text(CONTEXT)
    with _texts() as texts:
        config = (HERE / "gateway.yaml").read_text()
        places = {"SIMULATOR": simulator.url, "CLOSED": f"http://127.0.0.1:{processes.free_port()}", "TEXTS": texts}
        for name, place in places.items():
            config = config.replace(name, place)
        path = directory / "gateway.yaml"
        path.write_text(config)
        with processes.gateway(directory, "--config", str(path), *placement) as running:
            yield running
    check_logs(running)


SECRETS = ("PLANTED", "the-client-s-own", "CANARY")
"""In keys of ours, in the client's, and in bodies: never in a log."""


def check_logs(ended: Gateway) -> None:
    """Nothing that a gateway wrote in its life holds a key or a part of a body."""
    for file in (ended.process.stderr, ended.process.stdout, ended.access_log):
        text = file.read_text(errors="replace")
        assert [secret for secret in SECRETS if secret in text] == [], file.name


Sdk = Callable[..., openai.OpenAI]


@pytest.fixture(scope="session")
def sdk(gateway: Gateway) -> Iterator[Sdk]:
    """The official SDK, its requests taken by the route of one provider of `gateway.yaml`."""
    with httpx.Client(trust_env=False, timeout=processes.PATIENCE) as http:

        def client(provider: str, **settings: Any) -> openai.OpenAI:
            headers = {"host": f"{provider}.test", **settings.pop("default_headers", {})}
            given = {"base_url": gateway.url, "api_key": "sk-the-client-s-own", "max_retries": 0, **settings}
            return openai.OpenAI(**given, default_headers=headers, http_client=http)

        yield client
