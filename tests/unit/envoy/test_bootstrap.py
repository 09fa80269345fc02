"""The bootstrap as a document: what must be in it for which configuration."""

import hashlib
import json
from pathlib import Path
import subprocess
import sys
from typing import Any

import pytest

from extproc.config.config import Config
from extproc.envoy.bootstrap import Options, as_yaml, bootstrap, sample

MIB = 1 << 20
LISTENER = Options(placement="listener")
UPSTREAM = Options(placement="upstream")


def built(provider: dict[str, Any] | None = None, options: Options | None = None, **top: Any) -> dict[str, Any]:
    provider = {"id": "p", "type": "openai", **(provider or {})}
    config = Config.model_validate({"providers": [provider], **top})
    return dict(json.loads(bootstrap(config, options or LISTENER)))


def listener(document: dict[str, Any]) -> dict[str, Any]:
    return dict(document["static_resources"]["listeners"][0])


def manager(document: dict[str, Any]) -> dict[str, Any]:
    return dict(listener(document)["filter_chains"][0]["filters"][0]["typed_config"])


def http_filter(document: dict[str, Any], name: str) -> dict[str, Any]:
    return next(
        f["typed_config"] for f in manager(document)["http_filters"] if f["name"] == f"envoy.filters.http.{name}"
    )


def routes(document: dict[str, Any]) -> list[dict[str, Any]]:
    return list(manager(document)["route_config"]["virtual_hosts"][0]["routes"])


def cluster(document: dict[str, Any], name: str = "p") -> dict[str, Any]:
    return next(c for c in document["static_resources"]["clusters"] if c["name"] == name)


def test_it_fails_closed() -> None:
    document = built()
    processor = http_filter(document, "ext_proc")
    assert not processor.get("failure_mode_allow")
    assert processor["allow_mode_override"]
    assert processor["mutation_rules"] == {"allow_all_routing": True, "allow_envoy": True}
    upload, read = (route["route"] for route in routes(document))
    for action in (upload, read):  # nowhere to go but the cluster that the sidecar names
        assert action["cluster_header"] == "x-ai-proxy-cluster"
        assert action["timeout"] == "0s"
    assert "retry_policy" not in upload
    assert read["retry_policy"]["retry_on"] == "connect-failure,reset-before-request"


def test_internal_headers_neither_come_in_nor_go_out() -> None:
    document = built()
    (early,) = manager(document)["early_header_mutation_extensions"]
    matchers = [mutation["remove_on_match"]["key_matcher"] for mutation in early["typed_config"]["mutations"]]
    assert [(m["prefix"], m["ignore_case"]) for m in matchers] == [("x-ai-proxy-", True), ("x-envoy-", True)]
    (host,) = manager(document)["route_config"]["virtual_hosts"]
    assert {"x-ai-proxy-cluster", "x-forwarded-for", "x-forwarded-proto"} <= set(host["request_headers_to_remove"])


def test_envoy_s_own_replies_do_not_wait_for_a_sidecar_that_saw_no_request() -> None:
    assert http_filter(built(), "ext_proc")["processing_mode"]["response_header_mode"] == "SKIP"


def test_uploads_are_not_buffered() -> None:
    upload, read = routes(built())
    override = upload["typed_per_filter_config"]["envoy.filters.http.ext_proc"]["overrides"]["processing_mode"]
    assert override.get("request_body_mode", "NONE") == "NONE"
    assert override["request_header_mode"] == "SEND"
    assert "typed_per_filter_config" not in read
    assert http_filter(built(), "ext_proc")["processing_mode"]["request_body_mode"] == "BUFFERED"


@pytest.mark.parametrize(("most", "buffer"), [(1024, 32 * MIB), (32 * MIB, 32 * MIB), (100 * MIB, 100 * MIB)])
def test_one_number_limits_bodies(most: int, buffer: int) -> None:
    document = built(maxBodyBytes=most)
    limit = listener(document)["per_connection_buffer_limit_bytes"]
    assert limit == cluster(document)["per_connection_buffer_limit_bytes"]
    assert buffer + MIB < limit <= buffer + 16 * MIB


def test_circuit_breakers_are_out_of_the_way() -> None:
    for each in built()["static_resources"]["clusters"]:
        (threshold,) = each["circuit_breakers"]["thresholds"]
        assert min(threshold[k] for k in ("max_connections", "max_pending_requests", "max_requests")) >= 1_000_000


@pytest.mark.parametrize(
    ("provider", "discovery", "address", "port", "sni", "san"),
    [
        ({}, "LOGICAL_DNS", "api.openai.com", 443, "api.openai.com", "DNS"),
        ({"endpoint": "https://10.0.0.1:8443"}, "STATIC", "10.0.0.1", 8443, "api.openai.com", "DNS"),
        ({"endpoint": "https://gw.test:8443"}, "LOGICAL_DNS", "gw.test", 8443, "gw.test", "DNS"),
        ({"endpoint": "https://[::1]"}, "STATIC", "::1", 443, "api.openai.com", "DNS"),
        ({"openaiCustomUrl": "https://10.0.0.1/v1"}, "STATIC", "10.0.0.1", 443, None, "IP_ADDRESS"),
        ({"endpoint": "http://127.0.0.1:9"}, "STATIC", "127.0.0.1", 9, None, None),
        ({"endpoint": "http://localhost"}, "LOGICAL_DNS", "localhost", 80, None, None),
    ],
)
def test_where_and_as_whom_a_vendor_is_met(
    provider: dict[str, Any], discovery: str, address: str, port: int, sni: str | None, san: str | None
) -> None:
    found = cluster(built(provider))
    assert found["type"] == discovery
    endpoint = found["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    assert endpoint["address"]["socket_address"] == {"address": address, "port_value": port}
    protocols = found["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]
    # Envoy hides the end of an HTTP/2 answer that has trailers, so vendors are spoken to in HTTP/1.1.
    assert list(protocols["explicit_http_config"]) == ["http_protocol_options"]
    if san is None:
        assert "transport_socket" not in found
        return
    context = found["transport_socket"]["typed_config"]
    assert context["common_tls_context"]["alpn_protocols"] == ["http/1.1"]
    assert context.get("sni") == sni
    validation = context["common_tls_context"]["validation_context"]
    (name,) = validation["match_typed_subject_alt_names"]
    assert name == {"san_type": san, "matcher": {"exact": sni or address}}


def test_ca_files() -> None:
    def trusted(provider: dict[str, Any]) -> str:
        context = cluster(built(provider, Options(ca_file="/system.pem")))["transport_socket"]["typed_config"]
        return str(context["common_tls_context"]["validation_context"]["trusted_ca"]["filename"])

    assert trusted({}) == "/system.pem"
    assert trusted({"tls": {"caFile": "/private.pem"}}) == "/private.pem"


@pytest.mark.parametrize(
    ("sidecars", "discovery"),
    [
        (("127.0.0.1:1", "[::1]:2"), "STATIC"),
        (("extproc:9000",), "STRICT_DNS"),
        (("extproc:1", "127.0.0.1:2"), "STRICT_DNS"),
    ],
)
def test_sidecars(sidecars: tuple[str, ...], discovery: str) -> None:
    found = cluster(built(options=Options(sidecars=sidecars)), "ai_proxy_extproc")
    assert found["type"] == discovery
    assert len(found["load_assignment"]["endpoints"][0]["lb_endpoints"]) == len(sidecars)


@pytest.mark.parametrize("directory", [None, "/run/xds"])
def test_statistics_have_a_door_of_their_own_that_leads_to_nothing_else(directory: str | None) -> None:
    options = Options(admin_host="0.0.0.0", stats_host="0.0.0.0", stats_port=9902, xds_directory=directory)
    document = built(options=options)
    (door,) = [entry for entry in document["static_resources"]["listeners"] if entry["name"] == "stats"]
    (host,) = door["filter_chains"][0]["filters"][0]["typed_config"]["route_config"]["virtual_hosts"]
    assert [route["match"]["path"] for route in host["routes"]] == ["/ready", "/stats/prometheus"]
    for route in host["routes"]:
        assert route["match"]["headers"] == [{"name": ":method", "string_match": {"exact": "GET"}}]
        endpoint = cluster(document, route["route"]["cluster"])["load_assignment"]["endpoints"][0]["lb_endpoints"][0]
        assert endpoint["endpoint"]["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 9901}
    assert "stats" not in json.dumps(built()["static_resources"]["listeners"])


def test_cors_only_where_asked() -> None:
    plain = built()
    assert "envoy.filters.http.cors" not in [f["name"] for f in manager(plain)["http_filters"]]
    document = built(corsOrigins=["https://a.test", "https://*.b.test", "*"])
    assert manager(document)["http_filters"][0]["name"] == "envoy.filters.http.cors"
    host = manager(document)["route_config"]["virtual_hosts"][0]
    policy = host["typed_per_filter_config"]["envoy.filters.http.cors"]
    exact, below, any_origin = policy["allow_origin_string_match"]
    assert exact == {"exact": "https://a.test"}
    assert below["safe_regex"]["regex"] == r"https://[A-Za-z0-9.-]+\.b\.test"
    assert any_origin["safe_regex"]["regex"] == ".*"


def test_gateway_names_are_asked_for_only_where_a_route_compares_them() -> None:
    assert "request_attributes" not in http_filter(built(), "ext_proc")
    for match in ({"ingress": ["i"]}, {"services": ["s"]}):
        document = built(routes=[{"name": "r", "match": match, "provider": "p"}])
        assert http_filter(document, "ext_proc")["request_attributes"] == ["xds.route_name", "xds.cluster_name"]


def test_the_access_log() -> None:
    def logs(path: str | None) -> list[dict[str, Any]]:
        every = manager(built(options=Options(access_log=path)))["access_log"]
        assert "authorization" not in json.dumps(every).lower()
        return [log for log in every if log["name"] != "envoy.access_loggers.stderr"]

    assert logs(None) == []
    assert {log["name"] for log in logs("/dev/stdout")} == {"envoy.access_loggers.stdout"}
    assert {log["typed_config"]["path"] for log in logs("/tmp/log")} == {"/tmp/log"}


def test_no_key_is_in_it() -> None:
    text = json.dumps(built({"apiTokens": ["sk-very-secret"]}))
    assert "very-secret" not in text


def test_local_replies_are_errors_in_the_client_s_form() -> None:
    mappers = manager(built())["local_reply_config"]["mappers"]
    for anthropics, openais in zip(mappers[::2], mappers[1::2], strict=True):
        body = anthropics["body_format_override"]["json_format"]
        assert (body["type"], body["request_id"]) == ("error", "%REQ(X-REQUEST-ID)%")
        assert set(body["error"]) == {"type", "message"}
        assert "request-id" in [h["header"]["key"] for h in anthropics["headers_to_add"]]
        assert set(openais["body_format_override"]["json_format"]["error"]) == {"message", "type", "param", "code"}
        for mapper in (anthropics, openais):
            assert mapper["body_format_override"]["content_type"] == "application/json"
            assert "x-request-id" in [h["header"]["key"] for h in mapper["headers_to_add"]]


def test_who_was_asked_is_told_only_if_answers_tell() -> None:
    assert "x-ai-provider" in json.dumps(manager(built())["local_reply_config"])
    document = json.loads(
        bootstrap(
            Config.model_validate({"answerHeaders": False, "providers": [{"id": "p", "type": "openai"}]}), Options()
        )
    )
    assert "x-ai-provider" not in json.dumps(manager(document)["local_reply_config"])


def test_yaml_says_the_same() -> None:
    from ruamel.yaml import YAML

    document = built(corsOrigins=["*"])
    assert YAML(typ="safe").load(as_yaml(json.dumps(document))) == document


def test_the_sample_is_fresh() -> None:
    file = Path(__file__).parents[3] / "envoy" / "envoy.yaml"
    assert file.read_text() == sample(), "run: make bootstrap"


def test_the_request_path_does_not_import_it() -> None:
    code = "import sys, extproc.exchange.exchange, extproc.worker.server; sys.exit('envoy_data_plane' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Upstream placement


CHAINS = {
    "providers": [
        {"id": "a", "type": "openai"},
        {"id": "b", "type": "openai", "outlierDetection": {"consecutive5xx": 0}, "circuitBreakers": {"maxRequests": 7}},
        {"id": "c", "type": "openai"},
    ],
    "routes": [
        {"name": "off", "match": {"pathPrefix": "/off"}, "provider": None},
        {
            "name": "chat",
            "match": {"models": ["m"]},
            "provider": [{"provider": "a"}, [{"provider": "b", "weight": 3}, {"provider": "c", "model": "x"}]],
            "retry": {"on": [429, "5xx", "reset"], "attempts": 4, "firstByteTimeout": "2s"},
        },
        {"name": "rest", "provider": "b"},
    ],
}


def chained() -> dict[str, Any]:
    return dict(json.loads(bootstrap(Config.model_validate(CHAINS), UPSTREAM)))


def targets(route: dict[str, Any]) -> dict[str, int]:
    """The clusters that a route names, with their weights; none for one that the sidecar answers."""
    action = route["route"]
    if "weighted_clusters" in action:
        return {c["name"]: c["weight"] for c in action["weighted_clusters"]["clusters"]}
    return {action["cluster"]: 1} if "cluster" in action else {}


def test_every_cluster_that_a_route_names_has_the_filter() -> None:
    """Envoy runs the filters of the cluster that it routed to: without them the client's request goes out as it is."""
    document = chained()
    named = {name for route in routes(document) for name in targets(route)}
    assert named == {"a > b > c|x", "a > c|x > b", "b"}
    for name in named:
        options = cluster(document, name)["typed_extension_protocol_options"]
        filters = options["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]["http_filters"]
        assert [f["name"] for f in filters] == ["envoy.filters.http.ext_proc", "envoy.filters.http.upstream_codec"]
        assert not filters[0]["typed_config"].get("failure_mode_allow")


def test_what_no_provider_gets_has_nowhere_to_go() -> None:
    local = [route for route in routes(chained()) if route["name"] == "ai_proxy:local"]
    assert (
        len(local) == 6
    )  # tunnels, odd methods, paths without an API, the list of models, refusals, what is left over
    for route in local:
        assert route["route"]["cluster_header"] == "x-ai-proxy-cluster"
        assert "ai_proxy.local" not in route.get("typed_per_filter_config", {})
    for route in routes(chained()):
        if targets(route):
            assert route["typed_per_filter_config"]["ai_proxy.local"]["disabled"]


def test_orders_weights_and_retries() -> None:
    streamed, whole = (route for route in routes(chained()) if route["name"] == "chat")
    for route in (streamed, whole):
        assert targets(route) == {"a > b > c|x": 3, "a > c|x > b": 1}
        policy = route["route"]["retry_policy"]
        assert policy["num_retries"] == 3
        assert policy["retry_on"] == "reset,retriable-status-codes"
        assert policy["retriable_status_codes"] == [429, *range(500, 600)]
        assert policy["retry_priority"]["name"] == "envoy.retry_priorities.previous_priorities"
    assert streamed["route"]["retry_policy"]["per_try_timeout"] == "2s"
    assert "per_try_timeout" not in whole["route"]["retry_policy"]
    [alone] = (r for r in routes(chained()) if r["name"] == "rest" and "headers" not in r["match"])
    assert alone["route"]["retry_policy"]["retry_on"] == "connect-failure,reset-before-request"


def test_idle_connections_are_given_up_before_the_usual_five_seconds() -> None:
    protocol = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    options = cluster(built())["typed_extension_protocol_options"][protocol]
    assert options["common_http_protocol_options"]["idle_timeout"] == "4s"


def test_envoy_takes_any_limit_and_any_wait() -> None:
    """It refuses a longest wait below the first, and counts in milliseconds."""
    said = {"attempts": 1, "perTryTimeout": "0.1ms", "backoff": {"base": "3s"}}
    providers = [{"id": "p", "type": "openai", "outlierDetection": {"baseEjectionTime": "2s"}}]
    route = {"name": "r", "provider": "p", "retry": said}
    config = Config.model_validate({"providers": providers, "routes": [route]})
    document = json.loads(bootstrap(config, Options()))
    policy = next(r for r in routes(document) if r["name"] == "r")["route"]["retry_policy"]
    assert (policy["per_try_timeout"], policy["num_retries"]) == ("0.001s", 0)
    assert policy["retry_back_off"] == {"base_interval": "3s", "max_interval": "3s"}
    assert cluster(document)["outlier_detection"]["interval"] == "2s"


def test_a_vendor_s_own_limits() -> None:
    a, b = cluster(chained(), "a"), cluster(chained(), "b")
    assert a["outlier_detection"]["consecutive_5xx"] == 5
    assert "outlier_detection" not in b
    assert b["circuit_breakers"]["thresholds"][0]["max_requests"] == 7
    assert a["circuit_breakers"]["thresholds"][0]["max_retries"] >= 1_000_000


@pytest.mark.parametrize(
    ("given", "looked_into"),
    [
        ([{"provider": "a"}], []),
        ([{"provider": "a", "match": {"models": ["m"]}}, {"provider": "b"}], ["0", "1"]),
        ([{"provider": "a", "match": {"pathPrefix": "/x"}}, {"provider": "b", "match": {"models": ["m"]}}], ["1"]),
        ([{"provider": "a", "retry": {"attempts": 2, "firstByteTimeout": "2s"}}], ["0"]),
        ([{"provider": "a", "retry": {"attempts": 2, "perTryTimeout": "2s", "firstByteTimeout": "2s"}}], []),
    ],
)
def test_envoy_looks_into_bodies_only_from_the_first_route_on_that_asks(
    given: list[dict[str, Any]], looked_into: list[str]
) -> None:
    """It decides by the route that a request has before its body was read, so what stands behind must be read too."""
    named = [{"name": str(i), **route} for i, route in enumerate(given)]
    document = json.loads(bootstrap(Config.model_validate({**CHAINS, "routes": named}), UPSTREAM))
    found = [
        route["name"]
        for route in routes(document)
        if targets(route) and "envoy.filters.http.json_to_metadata" not in route["typed_per_filter_config"]
    ]
    assert list(dict.fromkeys(found)) == looked_into


def test_clients_are_told_by_the_beginnings_of_their_hashes_and_not_in_the_listener() -> None:
    def document(*keys: str) -> dict[str, Any]:
        return built(options=UPSTREAM, clients=[{"name": key, "key": f"sk-{key}"} for key in keys])

    def host(document: dict[str, Any]) -> dict[str, Any]:
        """Taken out of what is left, the listener, whose change would end connections."""
        return dict(manager(document)["route_config"].pop("virtual_hosts")[0])

    one, two = document("a"), document("a", "b")
    script = host(two)["typed_per_filter_config"]["ai_proxy.known"]["source_code"]["inline_string"]
    sums = [hashlib.sha256(key.encode()).hexdigest() for key in ("sk-a", "sk-b")]
    assert script.startswith(f'local SUMS = "{" ".join(digest[:16] for digest in sums)}"')
    host(one)
    assert listener(one) == listener(two)
    assert not any(word in json.dumps(document("a", "b")) for word in ("sk-a", "sk-b", *sums))


def test_where_nobody_is_asked_at_the_door_envoy_knows_no_keys() -> None:
    guarded = built(options=LISTENER, clients=[{"name": "a", "key": "sk-a"}])
    assert "ai_proxy.known" not in json.dumps([guarded, built(options=UPSTREAM)])


def test_only_where_it_is_wanted_envoy_counts() -> None:
    counting = {"usage": {"passed": "envoy"}}
    for options in (UPSTREAM, LISTENER):
        assert "ai_protocol_manager" not in json.dumps(built(options=options))
        assert "ai_protocol_manager" in json.dumps(built(counting, options=options))
    both = Config.model_validate(
        {
            "providers": [{"id": "p", "type": "openai", **counting}, {"id": "q", "type": "openai"}],
            "routes": [{"name": "r", "provider": [{"provider": "q"}, {"provider": "p"}]}],
        }
    )
    document = json.loads(bootstrap(both, UPSTREAM))
    found = [c["name"] for c in document["static_resources"]["clusters"] if "ai_proxy.counting" in json.dumps(c)]
    assert len(found) == 2, found  # the provider's and that of the order
    assert "q" not in found
