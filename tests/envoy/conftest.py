"""The gateway that most of these tests ask: Envoy with our bootstrap, scripts before and behind it."""

from collections.abc import Iterator

import pytest

from extproc.config.config import Config
from extproc.envoy.bootstrap import Options, bootstrap
from tests.contract.processes import free_port
from tests.envoy.scripted import (
    MAX_BODY,
    OK,
    Gateway,
    Sidecar,
    Vendor,
    make_certificate,
    route_to,
    server_context,
    serving,
)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("envoy")
    certificate = make_certificate(directory, "*.vendor.test")
    sidecar, vendor, secure = Sidecar(), Vendor(), Vendor(server_context(certificate))
    tls_url = f"https://127.0.0.1:{secure.port}"
    config = Config.model_validate(
        {
            "maxBodyBytes": MAX_BODY,
            "corsOrigins": ["https://app.example.com", "https://*.example.org"],
            "providers": [
                {"id": "vendor", "type": "openai", "endpoint": f"http://127.0.0.1:{vendor.port}"},
                {"id": "refused", "type": "openai", "endpoint": f"http://127.0.0.1:{free_port()}"},
                {"id": "untrusted", "type": "openai", "endpoint": tls_url},
                {"id": "misnamed", "type": "openai", "endpoint": tls_url, "tls": {"caFile": str(certificate)}},
                {
                    "id": "trusted",
                    "type": "openai",
                    "openaiCustomUrl": "https://api.vendor.test",
                    "endpoint": tls_url,
                    "tls": {"caFile": str(certificate)},
                },
            ],
            "routes": [{"name": "all", "provider": "vendor"}],
        }
    )
    log = directory / "access.log"
    options = Options(
        port=0,
        admin_port=0,
        sidecars=(f"127.0.0.1:{sidecar.port}",),
        access_log=str(log),
        placement="listener",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("extproc.terms.agreed._LEAST_BUFFER", 0)  # so that a body too large for Envoy is a small one
        patch.setattr("extproc.terms.agreed._MARGIN", 64 << 10)
        text = bootstrap(config, options)
    with serving(text, directory) as envoy:
        yield Gateway(sidecar, vendor, secure, envoy.listener_port, log)
    sidecar.server.stop(0)
    vendor.shutdown()
    secure.shutdown()


@pytest.fixture(autouse=True)
def fresh(request: pytest.FixtureRequest) -> None:
    if "gateway" in request.fixturenames:
        gateway: Gateway = request.getfixturevalue("gateway")
        gateway.vendor.reply = [OK]
        gateway.sidecar.script = route_to("vendor")
