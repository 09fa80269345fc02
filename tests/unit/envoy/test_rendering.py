"""What is rendered here is what betterproto2 would render, for every kind of message that a bootstrap is made of."""

import json
import re
from typing import Any

from betterproto2 import Casing, Message
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.google import protobuf
import pytest

from extproc.config.config import Config
from extproc.envoy import bootstrap, rendering
from extproc.envoy.clusters import provider_clusters, sidecar_cluster
from extproc.envoy.listener import gateway_listener
from extproc.envoy.routes import route_configuration

CONFIG: dict[str, Any] = {
    "providers": [
        {"id": "a", "type": "qwen", "apiTokens": ["k"]},
        {"id": "b", "type": "openai", "endpoint": "http://127.0.0.1:1", "circuitBreakers": {"maxRequests": 7}},
        {"id": "c", "type": "openai", "endpoint": "https://c.test", "tls": {"caFile": "/ca.pem"}},
    ],
    "routes": [
        {"name": "m", "match": {"models": ["x*", "~y"], "hosts": ["*.test"]}, "provider": [[
            {"provider": "a", "weight": 2}, {"provider": "b", "model": "z"}], {"provider": "c"}]},
        {"name": "all", "provider": "b", "retry": {"on": [429, "5xx"], "perTryTimeout": 2.5}},
    ],
    "corsOrigins": ["https://*.test"],
    "clients": [{"name": "c", "key": "sk-client-0123456789"}],
}  # fmt: skip


@pytest.mark.parametrize("placement", ["upstream", "listener"])
def test_the_same_as_betterproto2(placement: Any) -> None:
    config = Config.model_validate(CONFIG)
    options = bootstrap.Options(host="::1", sidecars=("a:1", "unix:/b"), placement=placement, access_log="/dev/stdout")
    for message in (
        *provider_clusters(config, options, 1 << 20),
        gateway_listener(config, options, 1 << 20),
        route_configuration(config, options),
        sidecar_cluster(options),
    ):
        text = json.dumps(rendering.as_json(message))
        mine = json.loads(
            re.sub(r'"(enforcing_)?consecutive_5xx": \d+(, )?', "", text).replace(", }", "}")
        )  # which betterproto2 0.9.1 cannot read
        assert _theirs(type(message), mine) == mine


def _theirs(kind: type[Message], read: Any) -> Any:
    """By betterproto2 alone, which packs what is packed as bytes and refuses names that it does not know."""
    return kind.from_dict(read).to_dict(casing=Casing.SNAKE)


@pytest.mark.parametrize(
    "message",
    [
        core.DataSource(inline_bytes=b"\0\xff"),
        core.DataSource(inline_string=""),  # one of several, so that it is said although it is empty
        core.RuntimeUInt32(default_value=0, runtime_key="k"),
        core.TcpKeepalive(keepalive_time=0),
        protobuf.Struct.from_dict({"a": [1.5, None, {"b": True}]}),
    ],
)
def test_defaults_bytes_and_structs(message: Message) -> None:
    assert rendering.as_json(message) == message.to_dict(casing=Casing.SNAKE)


def test_what_is_packed_is_rendered_once() -> None:
    shared = rendering.packed(core.DataSource(filename="/f"))
    one, other = (rendering.as_json(core.TypedExtensionConfig(name=name, typed_config=shared)) for name in "ab")
    assert one["typed_config"] is other["typed_config"]
    assert one["typed_config"] == {"@type": "type.googleapis.com/envoy.config.core.v3.DataSource", "filename": "/f"}
    with pytest.raises(TypeError):
        bytes(shared)
