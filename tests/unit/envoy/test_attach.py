"""`extproc attach`: what it refuses, in words that say what to do, and how what it prints is named."""

from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
import pytest
from ruamel.yaml import YAML

from extproc.cli.commands import cli

PLANES = ("envoy", "istio", "higress", "envoy-gateway")
PLAIN = "providers: [{type: qwen, apiTokens: [k]}]\n"
NAMED = PLAIN + "routes: [{name: r, match: {ingress: [qwen]}, provider: qwen}]\n"
FULL = NAMED.replace("[qwen]", "[default/qwen]")
CHAIN = """\
providers: [{id: a, type: qwen, apiTokens: [k]}, {id: b, type: qwen, apiTokens: [k]}]
routes: [{name: r, match: {ingress: [qwen]}, provider: [{provider: a}, {provider: b}]}]
"""


def named(*names: str) -> str:
    return PLAIN + f"routes: [{{name: r, match: {{ingress: [{', '.join(names)}]}}, provider: qwen}}]\n"


def two(first: str, second: str, more: str = "") -> str:
    """A rule that leads to DashScope, and one that leads to Moonshot."""
    return f"""\
providers: [{{type: qwen, apiTokens: [k]}}, {{id: kimi, type: moonshot, apiTokens: [k]}}]
routes: [{{name: one, match: {{{first}}}, provider: qwen}}, {{name: two, match: {{{second}}}, provider: kimi}}]
{more}
"""


def ours(plane: str, config: str) -> str:
    """The same with names that Envoy Gateway's routes have."""
    return config.replace("ingress: [", "ingress: [default/") if plane == "envoy-gateway" else config


def one(provider: str) -> str:
    return f"""\
providers: [{{type: openai, apiTokens: [k], id: p, {provider}}}]
routes: [{{name: r, match: {{ingress: [default/p]}}, provider: p}}]
"""


def attach(directory: Path, config: str, *arguments: str) -> Result:
    path = directory / "gateway.yaml"
    path.write_text(config)
    return CliRunner().invoke(cli, ["attach", *arguments, "--config", str(path)])


def printed(result: Result) -> list[Any]:
    assert result.exit_code == 0, result.output + str(result.exception)
    return list(YAML(typ="safe", pure=True).load_all(result.output))


WRONG = [
    (PLAIN, ["higress"], "--route: no route of the configuration has `ingress` names; say the gateway's routes"),
    (NAMED, ["istio", "--gateway", "my-gateway"], "--gateway: wants a label of the gateway's pods: KEY=VALUE"),
    (NAMED, ["istio", "--gateway", "app=a,app=b"], "--gateway: wants a label"),
    (NAMED, ["higress", "--namespace", "Edge"], "--namespace: 'Edge' is no namespace"),
    (FULL, ["envoy-gateway", "--gateway", "app=eg"], "--gateway: 'app=eg' is no name of a Gateway"),
    (NAMED, ["higress", "--sidecar", "unix:/run/extproc.sock"], "--sidecar: unix: is for an Envoy"),
    (NAMED, ["istio", "--sidecar", "10.0.0.1:0"], "--sidecar: port 0"),
    (FULL, ["envoy-gateway", "--sidecar", "my_host:9000"], "--sidecar: 'my_host' is neither an address nor a name"),
    (FULL, ["envoy-gateway", "--sidecar", "h:9000", "--sidecar", "10.0.0.1:9000"], "addresses or names, not both"),
    (NAMED, ["istio", "--route", ""], "the name of the gateway's route is missing"),
    (named("gw/qwen"), ["higress", "--namespace", "gw"], "routes[0].match.ingress: Higress leaves its own namespace"),
    (NAMED, ["envoy-gateway"], "routes[0].match.ingress: 'qwen' may be another team's route too: write default/qwen"),
    (FULL, ["envoy-gateway", "--namespace", "gw", "--route", "qwen"], "--route qwen: 'qwen' may be another team's"),
    (NAMED, ["envoy-gateway", "--route", "default/qwen"], "--route default/qwen: no `ingress` of the configuration"),
    (FULL, ["envoy-gateway", "--route", "default/kimi"], "--route default/kimi: no `ingress` of the configuration"),
    (named("default/Qwen"), ["envoy-gateway"], "routes[0].match.ingress: 'Qwen' is no name of an HTTPRoute"),
    (named("default/qwen", "team-a/kimi"), ["envoy-gateway"], "--namespace team-a --route team-a/kimi"),
    (one("endpoint: 'https://h.ex:8443'"), ["envoy-gateway"], "providers[0].endpoint: an HTTPRoute cannot set the"),
    (one("endpoint: 'https://my_host'"), ["envoy-gateway"], "providers[0].endpoint: a Backend cannot have the host"),
    (one("tls: {caFile: gateway.yaml}"), ["envoy-gateway"], "providers[0].tls.caFile: the Backend trusts the system's"),
    (one("openaiCustomUrl: 'http://h.example:81/v1'"), ["envoy-gateway"], "providers[0]: an HTTPRoute cannot set the"),
    (FULL.replace("{type", "{id: Qwen_1, type").replace(": qwen}]", ": Qwen_1}]"), ["envoy-gateway"],
     "providers[0].id: 'ai-vendor-Qwen_1' is no name of a Backend"),
    (CHAIN, ["envoy"], "several providers, which needs --placement upstream"),
]  # fmt: skip


@pytest.mark.parametrize(("config", "arguments", "message"), WRONG, ids=[m for _, _, m in WRONG])
def test_wrong_use_says_what_to_do(config: str, arguments: list[str], message: str, tmp_path: Path) -> None:
    result = attach(tmp_path, config, *arguments)
    assert result.exit_code != 0
    assert message in result.output + str(result.exception)
    assert "apiVersion" not in result.output


SEVERAL = {
    "by model": (two("ingress: [x], models: [m]", "ingress: [x]"), "routes[0].match.models"),
    "by host": (two("ingress: [x], hosts: [h]", "ingress: [x]"), "routes[0].match.hosts"),
    "by a header": (two("ingress: [x], headers: {a: b}", "ingress: [x]"), "routes[0].match.headers"),
    "by path": (two("ingress: [x], pathPrefix: /a", "ingress: [x]"), "routes[0].match.pathPrefix"),
    "by a rule for what is left": (two("ingress: [x], models: [m]", ""), "routes[0].match.models"),
    "by who asks": (
        two("ingress: [x]", "", "clients: [{name: c, key: k1}, {name: d, key: k2, routes: [two]}]"),
        "routes[0].provider",
    ),
}


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize(("config", "key"), SEVERAL.values(), ids=SEVERAL)
def test_a_route_with_several_vendors_is_refused(config: str, key: str, plane: str, tmp_path: Path) -> None:
    route = "default/x" if plane == "envoy-gateway" else "x"
    result = attach(tmp_path, ours(plane, config), plane, "--route", route)
    said = str(result.exception)
    assert result.exit_code != 0
    assert f"gateway.yaml: {key}: the gateway's route {route!r} leads to several vendors, by one (" in said
    assert "to qwen), two (to kimi): give each vendor a route of its own" in said
    assert "apiVersion" not in result.output


@pytest.mark.parametrize("plane", ["envoy", "istio", "higress"])
def test_a_service_with_several_vendors_is_refused(plane: str, tmp_path: Path) -> None:
    config = two('services: ["llm.dns:443"], models: [m]', "services: [llm.dns]")
    result = attach(tmp_path, config, plane, "--route", "x")
    assert "leads to several vendors" in str(result.exception)


def test_an_envoy_whose_routes_nobody_names_has_one_vendor_too(tmp_path: Path) -> None:
    result = attach(tmp_path, two("models: [m]", "models: [n]"), "envoy")
    assert "a route of the gateway leads to several vendors" in str(result.exception)


RIGHT = {
    "a route each": two("ingress: [x]", "ingress: [y]"),
    "another vendor for what no rule names": two("ingress: [x]", ""),
    "two rules to one vendor": two("ingress: [x], models: [m]", "ingress: [x]").replace(
        "provider: kimi", "provider: qwen"
    ),
    "a service each": two('ingress: [x], services: ["a.dns:80"]', 'ingress: [x], services: ["a.dns:81"]'),
}


@pytest.mark.parametrize("config", RIGHT.values(), ids=RIGHT)
def test_a_vendor_for_each_route_is_right(config: str, tmp_path: Path) -> None:
    for plane in ("envoy", "istio", "higress"):
        assert printed(attach(tmp_path, config, plane, "--route", "x"))


def test_higress_own_namespace_is_not_in_its_routes_names(tmp_path: Path) -> None:
    [document] = printed(attach(tmp_path, named("higress-system/qwen", "qwen", "team-a/kimi"), "higress"))
    patches = [patch for patch in document["spec"]["configPatches"] if patch["applyTo"] == "HTTP_ROUTE"]
    names = [patch["match"]["routeConfiguration"]["vhost"]["route"]["name"] for patch in patches]
    assert names == ["qwen", "team-a/kimi"]


def test_no_backend_has_the_sidecar_s_name(tmp_path: Path) -> None:
    config = FULL.replace("{type", "{id: proxy, type").replace(": qwen}]", ": proxy}]")
    documents = printed(attach(tmp_path, config, "envoy-gateway"))
    backends = [d["metadata"]["name"] for d in documents if d["kind"] == "Backend"]
    assert backends == ["ai-vendor-proxy", "ai-proxy"]
    [route] = [d for d in documents if d["kind"] == "HTTPRoute"]
    assert route["spec"]["rules"][0]["backendRefs"][0]["name"] == "ai-vendor-proxy"


def test_no_key_is_needed_and_none_is_printed(tmp_path: Path) -> None:
    config = NAMED.replace("[k]", '["${NOT_SET}", sk-literal-key]')
    for plane in PLANES:
        result = attach(tmp_path, ours(plane, config), plane)
        assert result.exit_code == 0, result.output
        assert "sk-literal-key" not in result.output


STAND_INS = ["127.0.0.1:9100", "ftp://h", "http://", "http://h/path", "http://u:p@h", "http://h:port"]


@pytest.mark.parametrize("url", STAND_INS)
@pytest.mark.parametrize("command", ["serve", "envoy"])
def test_a_stand_in_is_an_address(command: str, url: str) -> None:
    result = CliRunner().invoke(cli, [command, "--stand-in", url])
    assert result.exit_code == 2
    assert "Invalid value for '--stand-in': must be a " in result.output


SERVICE = ("--rate-limit-service", "limits.example:8081")


@pytest.mark.parametrize("plane", ["istio", "higress"])
def test_the_rate_limit_service_is_asked_behind_the_sidecar(plane: str, tmp_path: Path) -> None:
    [document] = printed(attach(tmp_path, ours(plane, named("qwen")), plane, "--route", "qwen", *SERVICE))
    patches = document["spec"]["configPatches"]
    values = [patch["patch"]["value"] for patch in patches]
    filters = [value["name"] for patch, value in zip(patches, values, strict=True) if patch["applyTo"] == "HTTP_FILTER"]
    assert filters == ["ai_proxy.attached", "ai_proxy.ratelimit"]
    clusters = [value["name"] for patch, value in zip(patches, values, strict=True) if patch["applyTo"] == "CLUSTER"]
    assert sorted(clusters) == ["ai_proxy_extproc", "ai_proxy_ratelimit"]
    limits = values[-1]["typed_per_filter_config"]["ai_proxy.ratelimit"]["rate_limits"]
    hits = [limit["hits_addend"] for limit in limits]
    assert hits == [{"number": 0}] * 3 + [{"format": "%DYNAMIC_METADATA(ai_proxy:total_tokens)%"}] * 3
    assert [limit.get("apply_on_stream_done", False) for limit in limits] == [False] * 3 + [True] * 3


def test_envoy_gateway_has_a_policy_for_it(tmp_path: Path) -> None:
    result = attach(tmp_path, ours("envoy-gateway", named("default/qwen")), "envoy-gateway", *SERVICE)
    assert result.exit_code != 0
    assert "BackendTrafficPolicy" in str(result.exception or "") + result.output
