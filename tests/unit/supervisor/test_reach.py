"""Whether a vendor can be reached is said in a few words, and nothing is sent to find out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
import socket
import ssl
from typing import Any

from click.testing import CliRunner
import pytest
from structlog.testing import capture_logs

from extproc.cli.commands import cli
from extproc.config.load import load
from extproc.supervisor import reach
from extproc.supervisor.reach import Place
from tests.envoy.scripted import make_certificate, server_context


class Vendor:
    """`sent`: what came, connection by connection, when it had ended; `names`: those that handshakes asked for."""

    def __init__(self) -> None:
        self.sent: asyncio.Queue[bytes] = asyncio.Queue()
        self.names: list[str | None] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = b""
        with suppress(OSError):
            data = await reader.read()
        self.sent.put_nowait(data)
        writer.close()

    def note(self, _socket: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        self.names.append(name)


@asynccontextmanager
async def listening(certificate: Path | None = None) -> AsyncIterator[Vendor]:
    vendor = Vendor()
    context = None
    if certificate is not None:
        context = server_context(certificate)
        context.sni_callback = vendor.note
    server = await asyncio.start_server(vendor.serve, "127.0.0.1", 0, ssl=context)
    vendor.port = server.sockets[0].getsockname()[1]
    try:
        yield vendor
    finally:
        server.close()


@pytest.fixture
def closed() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


async def test_plain_is_reached_and_nothing_is_sent() -> None:
    async with listening() as vendor:
        assert await reach.failure(Place("127.0.0.1", vendor.port, None, "")) is None
        assert await vendor.sent.get() == b""


@pytest.mark.parametrize(("name", "asked"), [("vendor.test", "vendor.test"), ("127.0.0.1", None)])
async def test_tls_is_reached_under_its_name_and_nothing_is_sent(tmp_path: Path, name: str, asked: str | None) -> None:
    certificate = make_certificate(tmp_path, name)
    async with listening(certificate) as vendor:
        assert await reach.failure(Place("127.0.0.1", vendor.port, name, str(certificate))) is None
        assert await vendor.sent.get() == b""
        assert vendor.names == [asked]


async def test_a_certificate_is_refused_in_its_own_words(tmp_path: Path) -> None:
    good, other = make_certificate(tmp_path, "vendor.test"), make_certificate(tmp_path, "other.test")
    async with listening(good) as vendor:
        place = Place("127.0.0.1", vendor.port, "vendor.test", str(other))
        assert await reach.failure(place) == "certificate: self-signed certificate"
        place = Place("127.0.0.1", vendor.port, "else.test", str(good))
        reason = await reach.failure(place)
        assert reason is not None
        assert reason.startswith("certificate: Hostname mismatch")
        place = Place("127.0.0.1", vendor.port, "vendor.test", str(tmp_path / "absent.pem"))
        assert await reach.failure(place) == f"CA file {tmp_path}/absent.pem: No such file or directory"


async def test_a_server_without_tls(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path, "vendor.test")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.close()

    for handler, reason in ((answer, "TLS: wrong version number"), (hang_up, "TLS: ")):
        server = await asyncio.start_server(handler, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        said = await reach.failure(Place("127.0.0.1", port, "vendor.test", str(certificate)))
        assert said is not None
        assert said.startswith(reason)
        server.close()


async def test_refused(closed: int) -> None:
    assert await reach.failure(Place("127.0.0.1", closed, None, "")) == "refused"


async def test_silence_is_bounded(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path, "vendor.test")
    async with listening() as vendor:
        place = Place("127.0.0.1", vendor.port, "vendor.test", str(certificate))
        assert await reach.failure(place, 0.3) == "timeout: no handshake within 0.3 s"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "DNS: Name or service not known"),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "DNS: Temporary failure"),
        (UnicodeError("label too long"), "DNS: not a name that can be looked up"),
        (TimeoutError(), "timeout: no address of this name within 5 s"),
    ],
)
async def test_names(monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert await reach.failure(Place("vendor.test", 443, "vendor.test", "")) == reason


CONFIG = """\
providers:
  - {id: up, type: openai, apiTokens: [sk-1], endpoint: "http://127.0.0.1:UP"}
  - {id: twin, type: moonshot, apiTokens: [sk-2], endpoint: "http://127.0.0.1:UP"}
  - {id: down, type: openai, apiTokens: [sk-3], endpoint: "http://127.0.0.1:DOWN"}
routes:
  - {name: a, match: {models: [a]}, provider: up}
  - {name: b, match: {models: [b]}, provider: twin}
  - {name: c, provider: down}
"""


def written(directory: Path, up: int, down: int) -> Path:
    path = directory / "config.yaml"
    path.write_text(CONFIG.replace("UP", str(up)).replace("DOWN", str(down)))
    return path


async def test_a_line_for_each_provider_and_a_warning_for_each_that_fails(tmp_path: Path, closed: int) -> None:
    async with listening() as vendor:
        providers = load(written(tmp_path, vendor.port, closed), {}).config.providers
        lines = list(map(str, await reach.found(providers, "")))
        assert lines == [
            f"up: 127.0.0.1:{vendor.port}: ok",
            f"twin: 127.0.0.1:{vendor.port}: ok",
            f"down: 127.0.0.1:{closed}: refused",
        ]
        await vendor.sent.get()
        assert vendor.sent.empty()  # one place is tried once
        with capture_logs() as logs:
            await reach.warn(providers, "")
    assert logs == [
        {
            "event": "a vendor cannot be reached",
            "log_level": "warning",
            "provider": "down",
            "host": f"127.0.0.1:{closed}",
            "reason": "refused",
        }
    ]


def test_check_connect(tmp_path: Path, closed: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as up:
        port = up.getsockname()[1]
        good = CliRunner().invoke(cli, ["check", str(written(tmp_path, port, port)), "--connect"])
        bad = CliRunner().invoke(cli, ["check", str(written(tmp_path, port, closed)), "--connect"])
        without = CliRunner().invoke(cli, ["check", str(written(tmp_path, port, closed))])
    assert (good.exit_code, bad.exit_code, without.exit_code) == (0, 1, 0)
    assert good.output.endswith(f"\ndown: 127.0.0.1:{port}: ok\n")
    assert bad.output.endswith(f"\ndown: 127.0.0.1:{closed}: refused\n")
    assert "refused" not in without.output
