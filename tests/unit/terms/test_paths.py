"""No open proxy: of whatever a client asks for, a vendor sees its own API's paths, methods and host, or nothing."""

import json
from typing import Any
from urllib.parse import unquote

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from extproc.terms.call import parse_path
from extproc.terms.errors import PathTooLong
from tests.unit.player import Play, config_of

PROVIDERS: dict[str, dict[str, Any]] = {
    "openai": {"type": "openai"},
    "own": {"type": "openai", "openaiCustomUrl": "http://own.test/api/v3"},
    "own at the root": {"type": "openai", "openaiCustomUrl": "http://own.test/chat/completions"},
    "azure deployment": {"type": "azure", "azureServiceUrl": "https://r.test/openai/deployments/d?api-version=v"},
    "azure resource": {"type": "azure", "azureServiceUrl": "https://r.test?api-version=v"},
    "azure v1": {"type": "azure", "azureServiceUrl": "https://r.test/openai/v1"},
    "moonshot": {"type": "moonshot"},
    "qwen": {"type": "qwen"},
    "compatible": {"type": "qwen", "qwenEnableCompatible": True},
}
ORIGINAL = {
    "openai": {"type": "openai"},
    "own": {"type": "openai", "openaiCustomUrl": "http://own.test/api/v3"},
    "own at the root": {"type": "openai", "openaiCustomUrl": "http://own.test/chat/completions"},
    "azure resource": {"type": "azure", "azureServiceUrl": "https://r.test?api-version=v"},
    "moonshot": {"type": "moonshot"},
    "qwen": {"type": "qwen"},
}
ALL = {
    **{name: config_of({"providers": [{"id": "p", "apiTokens": ["k"], **p}]}) for name, p in PROVIDERS.items()},
    **{
        f"{name}, original": config_of({"providers": [{"id": "p", "apiTokens": ["k"], "protocol": "original", **p}]})
        for name, p in ORIGINAL.items()
    },
}
BEGINNINGS = {
    "openai": ("/v1/",),
    "own": ("/api/v3/",),
    "own at the root": ("/",),
    "azure deployment": ("/openai/",),
    "azure resource": ("/openai/",),
    "azure v1": ("/openai/v1/",),
    "moonshot": ("/v1/chat/", "/v1/models", "/v1/files", "/v1/embeddings"),
    "qwen": ("/compatible-mode/v1/", "/api/v1/services/"),
    "compatible": ("/compatible-mode/v1/",),
    "qwen, original": ("/api/v1/", "/compatible-mode/", "/compatible-api/", "/apps/"),
}


def sent(name: str, path: str, method: str = "GET") -> str | None:
    """The path that a vendor sees; None where it sees nothing."""
    play = Play(ALL[name])
    play.request({":method": method, ":path": path, ":authority": "evil.test", "host": "evil.test"}, None, {})
    if play.seen.upstream is None:
        assert play.seen.status in (400, 404, 405)
        return None
    assert play.seen.upstream[":authority"] != "evil.test"
    return play.seen.upstream[":path"]


every_provider = pytest.mark.parametrize("name", ALL)

STARTS = "/v1/files/ /v1/ /api/v1/ /api/v1/services/ /compatible-mode/ /apps/ /openai/ /api/v3/files/".split()
DOTS = r"""
    .. . %2e%2e %2E. .%2e %252e%252e %25252e. ..; ..;x=y %2e%2e%3b .; ..%00 ..%20 ..%09 ..%5c ..\ x%2f..%2f..
    x%5c..%5c..
    x\..\.. x/../.. x/%2e%2e/.. ..%2f %2f.. %2e%2e%2f %252e%252e%252f ..%0d%0a x%0d%0aHost:%20evil x%00 x%7f
""".split()
CLIMBING = [f"{start}{dots}/admin" for start in STARTS for dots in (*DOTS, "x\x00", "\x7f", ".. ")]


@every_provider
def test_nobody_climbs_out_of_an_api(name: str) -> None:
    assert {path: found for path in CLIMBING if (found := sent(name, path)) is not None} == {}


ELSEWHERE = [
    "http://evil.test/v1/files",
    "https://evil.test:443/v1/files",
    "//evil.test/v1/files",
    "/http://evil.test/v1/files",
    "/evil/v1/files",
    "/v1/files@evil.test",
    "@evil.test/v1/files",
    "evil.test:443",
    "*",
    "",
    "/",
    "/v1",
    "/v1/",
    "/v1/?a=/v1/files",
    "/?/v1/files",
    "/v2/files",
    "/V1/files",
    "/v1%2ffiles",
    "/metrics",
    "/.env",
    "/v1/files/ü",
]


@every_provider
@pytest.mark.parametrize("path", ELSEWHERE)
def test_a_vendor_sees_its_own_paths_only(name: str, path: str) -> None:
    found = sent(name, path)
    if found is not None:
        assert found.startswith(BEGINNINGS.get(name) or BEGINNINGS[name.removesuffix(", original")])
        assert "evil" not in found or path == "/v1/files@evil.test"  # there it is a part of a segment


@every_provider
@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "OPTIONS", "PROPFIND", "get", "", "GET /admin HTTP/1.1\r\n"])
def test_methods_that_no_api_has_reach_nobody(name: str, method: str) -> None:
    for path in ("/v1/models", "/api/v1/tasks/x", "/openai/models"):
        assert sent(name, path, method) is None


SERVED = [
    ("openai", "/v1/files/a%2Fb?x=/../y", "/v1/files/a%2Fb?x=/../y"),
    ("openai", "/v1/files/...", "/v1/files/..."),
    ("openai", "/v1/models/ft:gpt-4o:org::id", "/v1/models/ft:gpt-4o:org::id"),
    ("openai", "/v1/models/a%2520b", "/v1/models/a%2520b"),
    ("openai", "/v1/a-new-api/x", "/v1/a-new-api/x"),
    ("openai, original", "/v1/files/x", "/v1/files/x"),
    ("own, original", "/api/v3/models", "/api/v3/models"),
    ("own at the root, original", "/models", "/models"),
    ("azure resource, original", "/openai/deployments?api-version=v", "/openai/deployments?api-version=v"),
    ("moonshot, original", "/v1/files/x", "/v1/files/x"),
    ("qwen, original", "/api/v1/tasks/t-1", "/api/v1/tasks/t-1"),
]


@pytest.mark.parametrize(("name", "path", "expected"), SERVED)
def test_what_an_api_has_is_served(name: str, path: str, expected: str) -> None:
    assert sent(name, path) == expected


PIECES = st.sampled_from(
    [" ", *r"""
        / // v1 api v3 files chat completions openai deployments services models apps compatible-mode
        .. . %2e %2E %25 2e %2f %5c \ ; %3b %00 %20 ? # @ : evil.test ü %
    """.split()]
)  # fmt: skip


def read_by_a_careless_server(path: str) -> list[str]:
    """The segments that are left when everything that some server undoes is undone."""
    path = path.partition("?")[0]
    for _ in range(4):
        path = unquote(path)
    kept: list[str] = []
    for segment in path.replace("\\", "/").split("/"):
        name = segment.partition(";")[0].partition("\0")[0].strip()
        if name == "..":
            kept.pop()
        elif name not in ("", "."):
            kept.append(name)
    return kept


@settings(max_examples=400, deadline=None)
@given(pieces=st.lists(PIECES, max_size=14), name=st.sampled_from(sorted(ALL)))
def test_even_a_careless_server_stays_within_the_api(pieces: list[str], name: str) -> None:
    found = sent(name, "/" + "".join(pieces))
    if found is None:
        return
    segments = read_by_a_careless_server(found)
    beginnings = BEGINNINGS.get(name) or BEGINNINGS[name.removesuffix(", original")]
    assert any(segments[: b.strip("/").count("/") + 1] == b.strip("/").split("/") or b == "/" for b in beginnings)


@given(st.text())
def test_any_path_can_be_parsed(path: str) -> None:
    parse_path(path)


def test_a_very_long_path_is_not_looked_at() -> None:
    """Quadratic, this took twenty seconds, for anybody who could reach the gateway."""
    with pytest.raises(PathTooLong):
        parse_path("/v1" * 32_000)


@pytest.mark.parametrize("path", ["/a" * 65, "/v1/models/" + "x" * 8200, "/v1" + "/" * 70, "/v1/" + "%2e" * 4000])
@pytest.mark.parametrize("name", ["openai", "qwen, original"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_path_has_its_bounds(path: str, name: str, method: str) -> None:
    play = Play(ALL[name])
    play.request({":method": method, ":path": path, ":authority": "h"}, None if method == "GET" else b"{}", {})
    assert (play.seen.status, json.loads(play.seen.client_body)["error"]["code"]) == (414, "path_too_long")
    assert len(play.seen.record.path) <= 512


@pytest.mark.parametrize("path", ["/a" * 62 + "/v1/models", "/v1/models/" + "%E4%BD%A0" * 512])
def test_a_long_path_within_them_is_read(path: str) -> None:
    assert parse_path(path + "?" + "q" * 20_000).root == "models"
