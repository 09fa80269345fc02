"""What clients get wrong, and what they may try: a JSON error with the right status, and the sidecar serves on."""

from collections.abc import Iterator
import json
from typing import Any

import httpx
import pytest

from .conftest import Simulator
from .processes import PATIENCE, Gateway
from .raw import Answer, Connection, ask, chat, check_leaks, chunked, head

CHAT = "/v1/chat/completions"
LIMIT = 32 << 20


@pytest.fixture(autouse=True)
def _serves_on(gateway: Gateway) -> Iterator[None]:
    yield
    assert ask(gateway.port, body=chat("还好吗")).status == 200


def deep(opening: str, closing: str, depth: int) -> bytes:
    nested = opening * depth + closing * depth
    return f'{{"model": "gpt-4o", "messages": [{{"role": "user", "content": "x"}}], "metadata": {nested}}}'.encode()


BODIES: dict[str, Any] = {
    "nothing": b"",
    "not JSON": b"hello",
    "half a document": b'{"model": "gpt-4o", "messages": [',
    "NaN": b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}], "temperature": NaN}',
    "Infinity": b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}], "temperature": -Infinity}',
    "two documents": b'{"model": "gpt-4o"}{"model": "gpt-4o"}',
    "single quotes": b"{'model': 'gpt-4o'}",
    "not UTF-8": b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "\xff\xfe"}]}',
    "UTF-16": '{"model": "gpt-4o", "messages": []}'.encode("utf-16"),
    "a list": [],
    "a text": "gpt-4o",
    "a number": 5,
    "null": None,
    "deep lists": deep("[", "]", 100_000),
    "deep objects": deep('{"a":', "}", 100_000).replace(b":}", b":1}"),
    "no messages": {"model": "gpt-4o"},
    "messages null": {"model": "gpt-4o", "messages": None},
    "messages empty": {"model": "gpt-4o", "messages": []},
    "messages a text": {"model": "gpt-4o", "messages": "x"},
    "messages of texts": {"model": "gpt-4o", "messages": ["x"]},
    "messages of null": {"model": "gpt-4o", "messages": [None]},
    "no role": {"model": "gpt-4o", "messages": [{"content": "x"}]},
    "role a number": {"model": "gpt-4o", "messages": [{"role": 5, "content": "x"}]},
    "role unknown": {"model": "gpt-4o", "messages": [{"role": "wizard", "content": "x"}]},
    "content a number": {"model": "gpt-4o", "messages": [{"role": "user", "content": 5}]},
    "content an object": {"model": "gpt-4o", "messages": [{"role": "user", "content": {}}]},
    "parts of numbers": {"model": "gpt-4o", "messages": [{"role": "user", "content": [5]}]},
    "a picture for a text model": {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}],
    },
    "model a number": {"model": 5, "messages": [{"role": "user", "content": "x"}]},
    "model a list": {"model": ["gpt-4o"], "messages": [{"role": "user", "content": "x"}]},
    "model missing": {"messages": [{"role": "user", "content": "x"}]},
    "model null": {"model": None, "messages": [{"role": "user", "content": "x"}]},
    "model empty": {"model": "", "messages": [{"role": "user", "content": "x"}]},
    "temperature a text": chat("x", temperature="hot"),
    "tools a text": chat("x", tools="hammer"),
    "max_tokens negative": chat("x", max_tokens=-1),
    "n too many": chat("x", n=100),
    "top_p a text": chat("x", top_p="1"),
}


VENDOR_JUDGES = {
    "no role", "role a number", "role unknown", "content a number", "content an object", "parts of numbers",
    "temperature a text", "max_tokens negative", "top_p a text",
}  # fmt: skip
"""Where a vendor speaks OpenAI, these are its business, and its own words pass unchanged."""
VENDOR_MAY_TAKE = {"a picture for a text model", "n too many", "tools a text"}


def bad_body(name: str, model: str) -> bytes:
    given = BODIES[name]
    body: bytes = given if isinstance(given, bytes) else json.dumps(given).encode()
    return body.replace(b'"gpt-4o"', f'"{model}"'.encode())


@pytest.mark.parametrize("name", BODIES)
def test_a_bad_body_is_a_400(gateway: Gateway, name: str) -> None:
    answer = ask(gateway.port, body=bad_body(name, "gpt-4o"))
    assert answer.status == 400, answer
    assert answer.error["type"] == "invalid_request_error"


@pytest.mark.parametrize("name", sorted(BODIES.keys() - VENDOR_JUDGES - VENDOR_MAY_TAKE))
@pytest.mark.parametrize(("provider", "model"), [("qwen-compatible", "gpt-4o"), ("moonshot", "my-kimi")])
def test_a_bad_body_is_a_400_before_it_reaches_a_vendor(gateway: Gateway, name: str, provider: str, model: str) -> None:
    answer = ask(gateway.port, body=bad_body(name, model), host=provider)
    assert answer.status == 400, answer
    assert answer.error["type"] == "invalid_request_error"


@pytest.mark.parametrize("name", sorted(VENDOR_JUDGES))
@pytest.mark.parametrize(("provider", "model"), [("qwen-compatible", "gpt-4o"), ("moonshot", "my-kimi")])
def test_a_vendor_s_own_openai_error_passes_unchanged(gateway: Gateway, name: str, provider: str, model: str) -> None:
    answer = ask(gateway.port, body=bad_body(name, model), host=provider, leaks=(b"PLANTED",))
    assert answer.status == 400, answer
    assert answer.json["error"]["message"]
    assert ("request_id" in answer.json) == (provider == "qwen-compatible")


EMBEDDINGS: dict[str, Any] = {
    "no input": {"model": "text-embedding-3-small"},
    "input a number": {"model": "text-embedding-3-small", "input": 5},
    "input empty": {"model": "text-embedding-3-small", "input": []},
    "tokens": {"model": "text-embedding-3-small", "input": [1, 2, 3]},
    "lists of tokens": {"model": "text-embedding-3-small", "input": [[1, 2], [3]]},
    "too many": {"model": "text-embedding-3-small", "input": ["x"] * 11},
    "encoding unknown": {"model": "text-embedding-3-small", "input": "x", "encoding_format": "morse"},
}


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_bad_embedding_requests_are_400(gateway: Gateway, name: str) -> None:
    answer = ask(gateway.port, "/v1/embeddings", EMBEDDINGS[name])
    assert answer.status == 400, answer
    assert answer.error["type"] == "invalid_request_error"


@pytest.mark.parametrize("over", [1, 1 << 20], ids=["one byte", "one mebibyte"])
@pytest.mark.parametrize("provider", ["qwen", "openai-plain"])
def test_a_body_over_the_limit_is_a_413(gateway: Gateway, over: int, provider: str) -> None:
    answer = ask(gateway.port, body=padded(LIMIT + over), host=provider)
    assert answer.status == 413
    assert answer.error["type"] == "invalid_request_error"


@pytest.mark.parametrize("over", [1, 1 << 20], ids=["one byte", "one mebibyte"])
def test_a_chunked_body_over_the_limit_is_a_413(gateway: Gateway, over: int) -> None:
    data = padded(LIMIT + over)
    headers = (("host", "qwen.test"), ("content-type", "application/json"), ("transfer-encoding", "chunked"))
    with Connection(gateway.port) as connection:
        connection.send(head("POST", CHAT, headers))
        connection.send(*chunked(data[at : at + 65536] for at in range(0, len(data), 65536)))
        answer = connection.answer()
    check_leaks(answer)
    assert answer.status == 413
    assert answer.error["code"] == "request_too_large"


@pytest.mark.parametrize("over", [1, 1 << 20, 15 << 20], ids=["one byte", "one mebibyte", "fifteen mebibytes"])
def test_a_client_that_writes_before_it_reads_sees_the_413(gateway: Gateway, over: int) -> None:
    with httpx.Client(trust_env=False, timeout=PATIENCE) as client:
        for _ in range(3):  # a race with the connection's end would not show every time
            answer = client.post(
                f"http://127.0.0.1:{gateway.port}{CHAT}",
                content=padded(LIMIT + over),
                headers={"host": "qwen.test", "content-type": "application/json"},
            )
            assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")


def test_a_body_of_exactly_the_limit_passes(gateway: Gateway) -> None:
    answer = ask(gateway.port, body=padded(LIMIT))
    assert answer.status == 200


def padded(size: int) -> bytes:
    """A good chat request of so many bytes."""
    body = json.dumps(chat("x")).encode()
    return body[:-1] + b" " * (size - len(body)) + b"}"


PATHS: dict[str, tuple[str, str, str, int]] = {
    "the root": ("GET", "/", "qwen", 404),
    "unknown": ("POST", "/hello", "qwen", 404),
    "almost": ("POST", "/v2/chat/completions", "qwen", 404),
    "favicon": ("GET", "/favicon.ico", "openai", 404),
    "dots": ("POST", "/v1/../v1/chat/completions", "openai-plain", 404),
    "dots encoded": ("POST", "/v1/%2e%2E/v1/chat/completions", "openai-plain", 404),
    "a dot in files": ("GET", "/v1/files/../models", "openai-plain", 404),
    "encoded slash dots": ("GET", "/v1/files/..%2f..%2fadmin", "openai-plain", 404),
    "an API that the vendor lacks": ("POST", "/v1/audio/speech", "moonshot", 404),
    "another": ("POST", "/v1/images/edits", "qwen", 404),
    "no route": ("POST", CHAT, "nobody", 404),
    "our own probe": ("GET", "/ai-proxy/probe", "qwen", 404),
}


@pytest.mark.parametrize("name", PATHS)
def test_paths_that_lead_nowhere_are_404(gateway: Gateway, name: str) -> None:
    method, path, provider, status = PATHS[name]
    body = None if method == "GET" else chat("x")
    answer = ask(gateway.port, path, body, host=provider, method=method)
    assert answer.status == status, answer
    assert answer.error["type"] == "invalid_request_error"


def test_an_api_that_the_vendor_lacks_says_so(gateway: Gateway) -> None:
    answer = ask(gateway.port, "/v1/audio/speech", {"model": "x", "input": "x"}, host="moonshot")
    assert answer.error["code"] == "unsupported_api"


LENIENT = [
    "/gw/v1/chat/completions",
    "//v1//chat/completions",
    "/v1/v1/chat/completions",
    "/v1/chat/completions/",
    f"{CHAT}?a=b",
]


@pytest.mark.parametrize("path", LENIENT)
def test_common_mistakes_in_a_base_url_are_forgiven(gateway: Gateway, path: str) -> None:
    assert ask(gateway.port, path, chat("x")).status == 200


ROUTES: list[tuple[str, str, dict[str, str], str, str]] = [
    ("openai.test", CHAT, {"x-vendor": "moonshot"}, "my-kimi", "Kimi"),  # the first match wins
    ("OPENAI.Test:8443", CHAT, {}, "my-gpt", "GPT"),
    ("a.b.wild.test", CHAT, {}, "my-gpt", "GPT"),
    ("nobody.test", f"/azure{CHAT}", {}, "my-gpt", "GPT（Azure）"),
    ("models.test", CHAT, {}, "kimi-latest", "Kimi"),
    ("models.test", CHAT, {}, "moonshot-v1-32k", "Kimi"),
]


@pytest.mark.parametrize(("host", "path", "headers", "model", "name"), ROUTES)
def test_routes(gateway: Gateway, host: str, path: str, headers: dict[str, str], model: str, name: str) -> None:
    answer = ask(gateway.port, path, chat("路由", model), headers={"host": host, **headers})
    assert answer.status == 200, answer
    assert f"我是{name}（模拟）" in answer.json["choices"][0]["message"]["content"]


@pytest.mark.parametrize("host", ["wild.test", "models.test", "xopenai.test"])
def test_what_no_route_takes_is_a_404(gateway: Gateway, host: str) -> None:
    answer = ask(gateway.port, body=chat("x", "another-model"), headers={"host": host})
    assert answer.status == 404
    assert answer.error["type"] == "invalid_request_error"


SPOOFED = {
    "x-ai-proxy-cluster": "down",
    "X-AI-Proxy-Anything": "1",
    "x-ai-proxy-provider": "openai",
    "x-envoy-upstream-rq-timeout-ms": "1",
    "x-envoy-original-path": "/v1/spoofed",
    "x-envoy-retry-on": "5xx",
    "x-envoy-upstream-alt-stat-name": "spoofed",
    "x-envoy-decorator-operation": "spoofed",
    "x-envoy-force-trace": "1",
    "x-higress-llm-model": "spoofed",
    "x-mse-consumer": "spoofed",
    "x-forwarded-for": "203.0.113.9",
    "x-forwarded-proto": "https",
    "x-forwarded-host": "spoofed.test",
    "x-real-ip": "203.0.113.9",
    "forwarded": "for=203.0.113.9",
    "x-original-url": "/v1/models",
    "x-rewrite-url": "/v1/models",
    "x-http-method-override": "DELETE",
    "proxy-authorization": "Basic spoofed",
    "te": "trailers",
}


@pytest.mark.parametrize("provider", ["qwen", "openai-plain", "azure-deployment", "moonshot"])
def test_spoofed_internal_headers_change_nothing_and_reach_nobody(
    gateway: Gateway, simulator: Simulator, provider: str
) -> None:
    mark = f"spoof-{provider}"
    model = "my-kimi" if provider == "moonshot" else "gpt-4o"
    answer = ask(gateway.port, body=chat(f"{mark} [[sim:delay=0.05]]", model), host=provider, headers=SPOOFED)
    assert answer.status == 200, answer
    sent = simulator.request(mark)["headers"]
    assert not {name.lower() for name in SPOOFED} & sent.keys()
    assert not [name for name in sent if name.startswith(("x-envoy-", "x-ai-proxy-", "x-higress-"))]


@pytest.mark.parametrize("number", [b"10", b"99999999"], ids=["smaller", "larger"])
def test_a_second_content_length_is_refused(gateway: Gateway, number: bytes) -> None:
    data = json.dumps(chat("x")).encode()
    request = b"POST %s HTTP/1.1\r\nhost: qwen.test\r\ncontent-type: application/json\r\n" % CHAT.encode()
    answer = said(gateway, request + b"content-length: %d\r\ncontent-length: %s\r\n\r\n" % (len(data), number) + data)
    assert answer.status == 400
    assert answer.error["type"] == "invalid_request_error"


RAW: dict[str, bytes] = {
    "length and chunks": b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "length no number": b"content-length: many\r\n\r\n",
    "a header without a name": b": x\r\ncontent-length: 0\r\n\r\n",
    "a NUL in a header": b"x-bad: a\0b\r\ncontent-length: 0\r\n\r\n",
    "unknown transfer coding": b"transfer-encoding: morse\r\n\r\n",
}


@pytest.mark.parametrize("name", RAW)
def test_broken_http_is_refused_in_json(gateway: Gateway, name: str) -> None:
    answer = said(gateway, b"POST /v1/chat/completions HTTP/1.1\r\nhost: qwen.test\r\n" + RAW[name])
    assert 400 <= answer.status < 600, answer
    assert answer.error["message"]


def said(gateway: Gateway, request: bytes) -> Answer:
    with Connection(gateway.port) as connection:
        connection.send(request)
        answer = connection.answer()
    check_leaks(answer)
    return answer


def test_headers_that_are_too_large_are_a_431_in_json(gateway: Gateway) -> None:
    answer = ask(gateway.port, body=chat("x"), headers={"x-large": "x" * 200_000})
    assert answer.status == 431
    assert answer.error["type"] == "invalid_request_error"


def test_a_compressed_body_is_refused_clearly(gateway: Gateway) -> None:
    answer = ask(gateway.port, body=chat("x"), headers={"content-encoding": "gzip"})
    assert 400 <= answer.status < 500
    assert answer.error["type"] == "invalid_request_error"


def test_a_chat_by_get_is_a_client_error(gateway: Gateway) -> None:
    answer = ask(gateway.port, method="GET")
    assert 400 <= answer.status < 500
    assert answer.error["message"]


def test_a_body_without_content_type_is_read_as_json(gateway: Gateway) -> None:
    data = json.dumps(chat("x")).encode()
    headers = (("host", "qwen.test"), ("content-length", str(len(data))))
    with Connection(gateway.port) as connection:
        connection.send(head("POST", CHAT, headers), data)
        assert connection.answer().status == 200


def test_a_key_file_with_a_newline_works(gateway: Gateway, simulator: Simulator) -> None:
    assert ask(gateway.port, body=chat("key-with-newline"), host="key-file").status == 200
    sent = simulator.request("key-with-newline")["headers"]["authorization"]
    assert sent == "Bearer sk-sim-PLANTED-file-0001"


def test_a_multipart_upload_to_azure_s_resource_form_says_that_the_model_is_missing(gateway: Gateway) -> None:
    body = b'--b\r\ncontent-disposition: form-data; name="model"\r\n\r\nwhisper\r\n--b--\r\n'
    headers = {"content-type": "multipart/form-data; boundary=b"}
    answer = ask(gateway.port, "/v1/audio/transcriptions", body, host="azure-resource", headers=headers)
    assert answer.status == 400
    assert answer.error["param"] == "model"
