"""A vendor behind TLS with a private CA: who it is asked to be, and what happens when it cannot prove it."""

import asyncio
from collections.abc import Iterator
import contextlib
from dataclasses import dataclass
import datetime
from pathlib import Path
import re
import socket
import ssl
import threading

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
import httpx
import pytest

from extproc.keys import health
from extproc.providers import Qwen
from extproc.simulate import Options, serve

from . import processes
from .conftest import check_logs
from .processes import Gateway, until
from .raw import ask, chat

NAMES = ["dashscope.aliyuncs.com", "r1.openai.azure.com", "api.moonshot.cn", "localhost"]
DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Authority:
    """A private CA; `pem`: its certificate in a file."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    pem: Path

    @classmethod
    def create(cls, directory: Path, name: str) -> "Authority":
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(name, key, None, name, x509.BasicConstraints(ca=True, path_length=None))
        pem = directory / f"{name}.pem"
        pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return cls(key, certificate, pem)

    def issue(self, directory: Path, names: list[str]) -> tuple[str, str]:
        """The files of a certificate for `names` and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        alternative = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        certificate = _certificate("vendor", key, self, self.certificate.subject.rfc4514_string()[3:], alternative)
        files = directory / f"{names[0]}.crt", directory / f"{names[0]}.key"
        files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        form = serialization.PrivateFormat.PKCS8
        files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
        return str(files[0]), str(files[1])


def _certificate(
    name: str, key: ec.EllipticCurvePrivateKey, by: Authority | None, issuer: str, extension: x509.ExtensionType
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
        .add_extension(extension, critical=by is None)
        .sign(by.key if by else key, hashes.SHA256())
    )


@contextlib.contextmanager
def tls_simulator(certificate: str, key: str) -> Iterator[int]:
    """The simulated vendors with TLS, in a thread: their port."""
    ports: list[int] = []
    loop = asyncio.new_event_loop()
    task = loop.create_task(serve("127.0.0.1", 0, Options(tls_cert=certificate, tls_key=key), ports.append))

    def run() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(task)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    until(lambda: ports, "the vendors listen")
    yield ports[0]
    loop.call_soon_threadsafe(task.cancel)
    thread.join(processes.PATIENCE)
    loop.close()


class Picky:
    """A vendor that speaks one application protocol only and hangs up after the handshake; notes what was chosen."""

    def __init__(self, certificate: str, key: str, protocol: str) -> None:
        self.chosen: list[str | None] = []
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(certificate, key)
        self._context.set_alpn_protocols([protocol])
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), self._context.wrap_socket(connection, server_side=True) as secure:
                self.chosen.append(secure.selected_alpn_protocol())

    def close(self) -> None:
        self._listening.close()


@dataclass(frozen=True)
class Secure:
    gateway: Gateway
    port: int
    h2: Picky
    h1: Picky

    def vendor(self) -> httpx.Client:
        return httpx.Client(
            base_url=f"https://127.0.0.1:{self.port}", trust_env=False, verify=False, timeout=processes.PATIENCE
        )


CONFIG = """
providers:
  - id: by-address
    type: qwen
    apiTokens: [sk-sim-PLANTED-tls-1]
    endpoint: https://127.0.0.1:PORT
    tls: {caFile: right.pem}
  - id: by-name
    type: qwen
    apiTokens: [sk-sim-PLANTED-tls-2]
    endpoint: https://localhost:PORT
    tls: {caFile: right.pem}
  - id: azure
    type: azure
    azureServiceUrl: https://r1.openai.azure.com/openai/v1
    apiTokens: [sk-sim-PLANTED-tls-3]
    endpoint: https://127.0.0.1:PORT
    tls: {caFile: right.pem}
  - id: wrong-ca
    type: qwen
    apiTokens: [sk-sim-PLANTED-tls-4]
    endpoint: https://127.0.0.1:PORT
    tls: {caFile: wrong.pem}
  - {id: system-ca, type: qwen, apiTokens: [sk-sim-PLANTED-tls-5], endpoint: "https://127.0.0.1:PORT"}
  - id: other-name
    type: openai
    apiTokens: [sk-sim-PLANTED-tls-6]
    endpoint: https://127.0.0.1:PORT
    tls: {caFile: right.pem}
  - id: not-tls
    type: qwen
    apiTokens: [sk-sim-PLANTED-tls-7]
    endpoint: https://127.0.0.1:PLAIN
    tls: {caFile: right.pem}
  - {id: tls-as-plain, type: qwen, apiTokens: [sk-sim-PLANTED-tls-8], endpoint: "http://127.0.0.1:PORT"}
  - {id: h2, type: qwen, apiTokens: [sk-sim-PLANTED-tls-9], endpoint: "https://127.0.0.1:H2", tls: {caFile: right.pem}}
  - {id: h1, type: qwen, apiTokens: [sk-sim-PLANTED-tls-10], endpoint: "https://127.0.0.1:H1", tls: {caFile: right.pem}}
  - id: file-by-address
    type: moonshot
    moonshotFileId: file-sim-tls
    apiTokens: [sk-sim-PLANTED-tls-11]
    endpoint: https://127.0.0.1:PORT
    tls: {caFile: right.pem}
  - id: file-by-name
    type: moonshot
    moonshotFileId: file-sim-tls
    apiTokens: [sk-sim-PLANTED-tls-12]
    endpoint: https://localhost:PORT
    tls: {caFile: right.pem}
routes:
"""


@pytest.fixture(scope="module")
def secure(simulator: object, placement: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    directory = tmp_path_factory.mktemp("tls")
    authority = Authority.create(directory, "right")
    Authority.create(directory, "wrong")
    files = authority.issue(directory, NAMES)
    h2, h1 = Picky(*files, "h2"), Picky(*files, "http/1.1")
    with tls_simulator(*files) as port:
        plain = str(getattr(simulator, "url", "")).rpartition(":")[2]
        config = CONFIG
        for name, value in {"PORT": port, "PLAIN": plain, "H2": h2.port, "H1": h1.port}.items():
            config = config.replace(f":{name}", f":{value}")
        ids = re.findall(r"- \{?id: ([\w-]+)", config)
        routes = "".join(f"  - {{name: to-{id}, match: {{hosts: [{id}.test]}}, provider: {id}}}\n" for id in ids)
        path = directory / "config.yaml"
        path.write_text(config + routes)
        with processes.gateway(directory, "--config", str(path), *placement) as running:
            yield Secure(running, port, h2, h1)
        check_logs(running)
    h2.close()
    h1.close()


IDENTITIES = [
    ("by-address", "dashscope.aliyuncs.com", "dashscope.aliyuncs.com"),
    ("by-name", "localhost", "localhost:PORT"),
    ("azure", "r1.openai.azure.com", "r1.openai.azure.com"),
]


@pytest.mark.parametrize(("provider", "sni", "host"), IDENTITIES)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_the_vendor_is_called_by_its_name(secure: Secure, provider: str, sni: str, host: str, stream: bool) -> None:
    mark = f"安全 🔒 {provider} {sni} {stream}"  # texts of other providers are fetched meanwhile
    answer = ask(secure.gateway.port, body=chat(mark, "qwen-plus", stream=stream), host=provider)
    assert answer.status == 200, answer
    assert mark in (answer.text if stream else answer.json["choices"][0]["message"]["content"])
    with secure.vendor() as vendor:
        [*_, seen] = vendor.get("/__sim__/requests", params={"mark": mark}).json()
        assert sni in vendor.get("/__sim__/tls").json()["server_names"]
    assert seen["headers"]["host"].replace(str(secure.port), "PORT") == host


UNPROVEN = ["wrong-ca", "system-ca", "other-name", "not-tls", "tls-as-plain"]


@pytest.mark.parametrize("provider", UNPROVEN)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_vendor_that_cannot_prove_itself_is_a_clean_json_error(secure: Secure, provider: str, stream: bool) -> None:
    mark = f"unproven-{provider}"
    answer = ask(secure.gateway.port, body=chat(mark, "qwen-plus", stream=stream), host=provider)
    assert answer.status in (502, 503)
    assert answer.error["type"] == "server_error"
    for word in ("CERTIFICATE", "TLS_error", "verify"):
        assert word not in answer.body.decode()
    with secure.vendor() as vendor:
        assert mark not in vendor.get("/__sim__/requests").text


@pytest.mark.parametrize(("provider", "protocol"), [("h2", None), ("h1", "http/1.1")])
def test_vendors_are_spoken_to_in_http_1_1_alone(secure: Secure, provider: str, protocol: str | None) -> None:
    answer = ask(secure.gateway.port, body=chat("x", "qwen-plus"), host=provider)
    assert answer.status in (502, 503)
    assert answer.error["type"] == "server_error"
    assert set(getattr(secure, provider).chosen) == {protocol}


@pytest.mark.parametrize("provider", ["file-by-name", "file-by-address"])
def test_a_file_s_text_is_fetched_under_the_same_identity(secure: Secure, provider: str) -> None:
    answer = ask(secure.gateway.port, body=chat("x", "moonshot-v1-8k"), host=provider)
    # At `localhost` the simulator is no Moonshot: it tells it by the vendor's Host. What counts is the text's fetch.
    if provider == "file-by-name":
        with secure.vendor() as vendor:
            seen = [r for r in vendor.get("/__sim__/requests").json() if r["path"].startswith("/v1/files/")]
        assert f"localhost:{secure.port}" in {r["headers"]["host"] for r in seen}
    else:
        assert answer.status == 200, answer


@pytest.mark.parametrize(
    ("ca", "names", "problem"),
    [("right", NAMES, None), ("wrong", NAMES, "CERTIFICATE_VERIFY_FAILED"), ("right", NAMES[1:], "Hostname mismatch")],
    ids=["trusted", "unknown CA", "another name"],
)
async def test_a_health_check_trusts_whom_envoy_trusts(
    tmp_path: Path, ca: str, names: list[str], problem: str | None
) -> None:
    authorities = {name: Authority.create(tmp_path, name) for name in ("right", "wrong")}
    with tls_simulator(*authorities["right"].issue(tmp_path, names)) as port:
        provider = Qwen.model_validate(
            {
                "type": "qwen",
                "apiTokens": ["sk-sim-PLANTED-tls-9"],
                "endpoint": f"https://127.0.0.1:{port}",
                "tls": {"caFile": str(authorities[ca].pem)},
            }
        )
        async with aiohttp.ClientSession() as session:
            said = await health.ask(provider, "qwen-max", "sk-sim-PLANTED-tls-9", session)
    assert (said is None) if problem is None else (problem in str(said))
    assert "PLANTED" not in str(said)
