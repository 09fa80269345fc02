"""Whom a real Envoy asks about at the door, where clients are configured: those whose key it does not know."""

from collections.abc import Iterator
import hashlib

import pytest

from extproc.config.config import Config
from extproc.envoy.bootstrap import Options, bootstrap
from extproc.terms.agreed import DOOR_ATTRIBUTE, PROVIDER_ATTRIBUTE
from tests.envoy.scripted import OK, Gateway, Sidecar, Vendor, answer, on_nothing, serving

LENGTHS = (1, 54, 55, 56, 63, 64, 65, 119, 120, 200, 255, 256)  # around where SHA-256 begins a block
KEYS = {length: ("k-" + "x" * length)[:length] for length in LENGTHS}
HASHED = "the key that only its hash tells"
LONG = "x" * 300


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("door")
    sidecar, vendor = Sidecar(), Vendor()
    hashed = f"sha256:{hashlib.sha256(HASHED.encode()).hexdigest()}"
    config = Config.model_validate(
        {
            "providers": [{"id": "vendor", "type": "openai", "endpoint": f"http://127.0.0.1:{vendor.port}"}],
            "clients": [
                {"name": "many", "key": [*KEYS.values(), LONG]},
                {"name": "hashed", "key": hashed},
            ],
        }
    )
    options = Options(port=0, admin_port=0, sidecars=(f"127.0.0.1:{sidecar.port}",), access_log=None)
    with serving(bootstrap(config, options), directory) as envoy:
        yield Gateway(sidecar, vendor, vendor, envoy.listener_port, directory / "none.log")
    sidecar.server.stop(0)
    vendor.shutdown()


def asked(gateway: Gateway, **headers: str) -> list[str]:
    """Where the sidecar was asked about a request with these headers, in order, and that it was served."""
    gateway.vendor.reply, gateway.sidecar.script = [OK], on_nothing
    assert gateway.ask(**headers).status == 200
    heads = [request for request in gateway.sidecar.seen if request.request_headers is not None]
    said = [request.attributes["envoy.filters.http.ext_proc"].fields for request in heads]
    places = {DOOR_ATTRIBUTE: "door", PROVIDER_ATTRIBUTE: "cluster"}
    return [places[name] for fields in said for name in fields if name in places]


@pytest.mark.parametrize("length", LENGTHS)
def test_a_known_key_opens_one_stream(gateway: Gateway, length: int) -> None:
    assert asked(gateway, authorization=f"Bearer {KEYS[length]}") == ["cluster"]


SHOWN = {
    "by its hash": {"authorization": f"Bearer {HASHED}"},
    "in other letters": {"authorization": f"bEARER  {HASHED} "},
    "as Anthropic's clients": {"x-api-key": HASHED},
    "as Azure's": {"api-key": HASHED},
    "beside another": {"authorization": "Bearer moonshot", "x-api-key": HASHED},
}


@pytest.mark.parametrize("case", SHOWN)
def test_wherever_a_known_key_is_shown(gateway: Gateway, case: str) -> None:
    assert asked(gateway, **SHOWN[case]) == ["cluster"]


STRANGE = {
    "none": {},
    "empty": {"authorization": "Bearer "},
    "wrong": {"authorization": f"Bearer {HASHED}x"},
    "its hash": {"authorization": f"Bearer {hashlib.sha256(HASHED.encode()).hexdigest()}"},
    "its beginning": {"authorization": f"Bearer {hashlib.sha256(HASHED.encode()).hexdigest()[:16]}"},
    "another scheme": {"authorization": f"Basic {HASHED}"},
    "no scheme": {"authorization": HASHED},
    "longer than Envoy looks": {"authorization": f"Bearer {LONG}"},
    "the words of the script": {"authorization": "Bearer known", "x-ai-proxy-door": "true"},
    "very long": {"x-api-key": "y" * 60_000},
    "mostly empty": {"authorization": "Bearer y" + " " * 60_000 + "y"},
}


@pytest.mark.parametrize("case", STRANGE)
def test_about_every_other_the_sidecar_is_asked_at_the_door(gateway: Gateway, case: str) -> None:
    assert asked(gateway, **STRANGE[case])[:1] == ["door"]


def test_who_is_refused_at_the_door_reaches_nothing(gateway: Gateway) -> None:
    gateway.sidecar.script = lambda _: answer(401, "{}")
    assert gateway.ask(authorization="Bearer nobody").status == 401
    assert gateway.sidecar.phases() == ["request_headers"]
    assert gateway.vendor.received == []


def test_who_is_known_is_asked_about_once_more_before_anything_is_sent(gateway: Gateway) -> None:
    gateway.sidecar.script = lambda _: answer(401, "{}")
    assert gateway.ask(authorization=f"Bearer {HASHED}").status == 401
    assert gateway.vendor.received == []
