"""What was rendered before is not rendered again, and yet every change is seen."""

import json
from typing import Any

import pytest

from extproc.config.config import Config
from extproc.envoy import xds
from extproc.envoy.clusters import provider_clusters
from extproc.envoy.options import Options
from extproc.envoy.parts import as_json, packed
from extproc.envoy.routes import route_configuration
from extproc.terms.agreed import envoy_buffer

OPTIONS = Options(xds_directory="/x")

BEFORE: dict[str, Any] = {
    "providers": [
        {"id": "a", "type": "openai", "apiTokens": ["k"]},
        {"id": "b", "type": "moonshot", "apiTokens": ["k"]},
    ],
    "routes": [
        {"name": "first", "match": {"models": ["gpt-*"], "headers": {"x": "1"}}, "provider": "a"},
        {"name": "second", "provider": [{"provider": "a"}, {"provider": "b"}]},
    ],
}
UNREAD: dict[str, Any] = BEFORE | {  # no body is looked into
    "routes": [{"name": "unread", "match": {"hosts": ["u.test"]}, "provider": "a"}]
}


def route(number: int, **more: Any) -> dict[str, Any]:
    routes = [dict(one) for one in BEFORE["routes"]]
    routes[number] |= more
    return {"routes": routes}


def provider(**more: Any) -> dict[str, Any]:
    return {"providers": [BEFORE["providers"][0] | more, BEFORE["providers"][1]]}


CHANGES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "a pattern of models": route(0, match={"models": ["gpt-4*"], "headers": {"x": "1"}}),
    "a header": route(0, match={"models": ["gpt-*"], "headers": {"x": "2"}}),
    "a host": route(1, match={"hosts": ["a.test"]}),
    "a name": route(1, name="other"),
    "how often it is tried": route(1, retry={"attempts": 3}),
    "how long": route(1, retry={"firstByteTimeout": "3s"}),
    "who is asked": route(1, provider=[{"provider": "b"}, {"provider": "a"}]),
    "refused": route(1, provider=None),
    "silence": {"streamIdleTimeout": "7s"},
    "long bodies": {"maxBodyBytes": 50 << 20},
    "tried again": provider(retryOnFailure={"enabled": True, "maxRetries": 2}),
    "its models": provider(modelMapping={"gpt-4": "m"}),
    "two keys": provider(apiTokens=["k", "l"]),
    "another vendor": provider(type="qwen"),
    "another place": provider(endpoint="https://a.test"),
    "counted by Envoy": provider(usage={"passed": "envoy"}),
    "as it is": provider(protocol="original"),
}


@pytest.mark.parametrize("base", [BEFORE, UNREAD], ids=["read", "unread"])
@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_seen(change: str, base: dict[str, Any]) -> None:
    before, after = Config.model_validate(base), Config.model_validate(base | CHANGES[change])
    assert xds.clusters(before, (), OPTIONS, {})
    assert xds.routes(before, OPTIONS)
    [table] = json.loads(xds.routes(after, OPTIONS))["resources"]
    assert table == as_json(packed(route_configuration(after, OPTIONS)))
    clusters = json.loads(xds.clusters(after, (), OPTIONS, {}))["resources"]
    made = provider_clusters(after, OPTIONS, envoy_buffer(after.max_body_bytes))
    assert clusters == [as_json(packed(cluster)) for cluster in made]


def rendered(given: dict[str, Any]) -> list[int]:
    """How many clusters, orders and parts of the table were rendered for it."""
    caches = (xds._rendered, xds._aggregated, xds._routes)
    before = [cache.cache_info().misses for cache in caches]
    config = Config.model_validate(given)
    xds.clusters(config, (), OPTIONS, {})
    xds.routes(config, OPTIONS)
    return [cache.cache_info().misses - misses for cache, misses in zip(caches, before, strict=True)]


def test_what_did_not_change_is_not_rendered_again() -> None:
    rendered(BEFORE)
    assert rendered(BEFORE) == [0, 0, 0]
    assert rendered(BEFORE | provider(endpoint="https://never-seen.test")) == [1, 0, 0]
    assert rendered(BEFORE | route(1, name="never-seen")) == [0, 0, 1]
