"""`protocol: original`: DashScope's own SDK talks through the gateway as if it were not there."""

from http import HTTPStatus
from typing import Any

import dashscope
import httpx
import pytest

from .conftest import Simulator
from .processes import PATIENCE, Gateway, until
from .raw import ask

TEXT = "/api/v1/services/aigc/text-generation/generation"
KEY = "sk-sim-direct"
PROVIDER = {"host": "qwen-original.test"}


@pytest.fixture(autouse=True)
def _through_the_gateway(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(dashscope, "base_http_api_url", f"{gateway.base}/api/v1")
    monkeypatch.setattr(dashscope, "api_key", "sk-the-client-s-own")


def generate(text: str, **given: Any) -> Any:
    settings = {"model": "qwen-plus", "result_format": "message", "messages": [{"role": "user", "content": text}]}
    return dashscope.Generation.call(**{**settings, **given}, headers=PROVIDER)


def test_generation_whole() -> None:
    answer = generate("你好")
    assert answer.status_code == HTTPStatus.OK, answer
    assert answer.output.choices[0].message.content.endswith("你说：你好")
    assert answer.request_id
    assert answer.usage.input_tokens > 0


@pytest.mark.parametrize("incremental", [True, False])
def test_generation_streamed(incremental: bool) -> None:
    frames = list(generate("你好", stream=True, incremental_output=incremental))
    assert all(frame.status_code == HTTPStatus.OK for frame in frames)
    texts = [frame.output.choices[0].message.content for frame in frames]
    assert ("".join(texts) if incremental else texts[-1]).endswith("你说：你好")
    assert frames[-1].output.choices[0].finish_reason == "stop"


def test_text_embedding() -> None:
    answer = dashscope.TextEmbedding.call(model="text-embedding-v3", input=["一", "二"], headers=PROVIDER)
    assert answer.status_code == HTTPStatus.OK, answer
    assert [row["text_index"] for row in answer.output["embeddings"]] == [0, 1]


def test_the_vendor_s_refusal_arrives_in_its_own_words() -> None:
    answer = generate("x", top_p=1.0)
    assert answer.status_code == HTTPStatus.BAD_REQUEST
    assert answer.code == "InvalidParameter"
    assert "top_p" in answer.message


@pytest.mark.parametrize(
    "text", ["你好", "[[sim:status=429,retry_after=3]]", "[[sim:html=502]]", "[[sim:garbage]]", "[[sim:error_frame]]"]
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("provider", ["qwen-original", "qwen-counted"])
def test_answers_are_untouched_to_the_byte(
    gateway: Gateway, simulator: Simulator, text: str, stream: bool, provider: str
) -> None:
    body = {"model": "qwen-plus", "input": {"messages": [{"role": "user", "content": text}]}}
    headers = {"x-dashscope-sse": "enable", "accept": "text/event-stream"} if stream else {}
    through = ask(gateway.port, TEXT, body, host=provider, headers=headers, leaks=(b"PLANTED",))
    with httpx.Client(trust_env=False, timeout=PATIENCE) as http:
        direct = http.post(
            simulator.url + TEXT, json=body, headers={"authorization": f"Bearer {KEY}", "host": "x", **headers}
        )
    # The simulator's ids are made of the request's bytes, which differ in spacing.
    assert _without_ids(through.body) == _without_ids(direct.content)
    assert through.status == direct.status_code
    assert through.headers.get("content-type") == direct.headers["content-type"]
    assert through.headers.get("retry-after") == direct.headers.get("retry-after")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_answers_are_counted_as_they_pass(gateway: Gateway, stream: bool) -> None:
    def counted() -> list[int]:
        entries = [entry for entry in gateway.events("exchange") if entry.get("provider") == "qwen-counted"]
        return [entry["total_tokens"] for entry in entries if "total_tokens" in entry]

    before = len(counted())
    body = {"model": "qwen-plus", "input": {"messages": [{"role": "user", "content": "数"}]}}
    headers = {"x-dashscope-sse": "enable", "accept": "text/event-stream"} if stream else {}
    assert ask(gateway.port, TEXT, body, host="qwen-counted", headers=headers, leaks=(b"PLANTED",)).status == 200
    until(lambda: len(counted()) > before, "the tokens of an answer that passed")
    assert counted()[-1] > 0


def _without_ids(body: bytes) -> bytes:
    head, *rest = body.split(b'"request_id":"')
    return b"".join([head, *(piece.partition(b'"')[2] for piece in rest)])


def test_the_vendor_gets_the_client_s_body_and_path_but_the_gateway_s_key(
    gateway: Gateway, simulator: Simulator
) -> None:
    body = b'{ "model": "qwen-plus",\n  "input": {"messages": [{"content": "as-written", "role": "user"}]} }'
    assert ask(gateway.port, f"{TEXT}?a=1", body, host="qwen-original", leaks=()).status == 200
    seen = simulator.request("as-written")
    assert seen["size"] == len(body)
    assert (seen["path"], seen["query"]) == (TEXT, "a=1")
    assert seen["headers"]["host"] == "dashscope.aliyuncs.com"
    assert seen["headers"]["authorization"] == "Bearer sk-sim-PLANTED-original-0001"
