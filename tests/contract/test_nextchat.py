"""The request that NextChat sends, byte for byte as observed: chunked, `top_p` 1, gzip accepted."""

import json
from typing import Any

import pytest

from .conftest import Simulator
from .processes import Gateway
from .raw import Answer, Connection, check_leaks, chunked, head

HEADERS = (
    ("accept", "application/json, text/event-stream"),
    ("content-type", "application/json"),
    ("cache-control", "no-store"),
    ("authorization", "Bearer whatever"),
    ("accept-language", "*"),
    ("sec-fetch-mode", "cors"),
    ("user-agent", "node"),
    ("accept-encoding", "gzip, deflate"),
    ("connection", "keep-alive"),
    ("transfer-encoding", "chunked"),
)


def body(text: str, **more: Any) -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": text}],
        "stream": True,
        "model": "gpt-4o",
        "temperature": 0.5,
        "presence_penalty": 0,
        "frequency_penalty": 0,
        "top_p": 1,
        "max_tokens": 4000,
        **more,
    }


def send(gateway: Gateway, document: Any, provider: str, piece: int = 1000) -> Answer:
    data = json.dumps(document).encode()
    with Connection(gateway.port) as connection:
        connection.send(head("POST", "/v1/chat/completions", (("host", f"{provider}.test"), *HEADERS)))
        connection.send(*chunked(data[at : at + piece] for at in range(0, len(data), piece)))
        answer = connection.answer()
    check_leaks(answer)
    return answer


@pytest.mark.parametrize("provider", ["qwen", "moonshot", "azure-deployment", "openai-plain"])
@pytest.mark.parametrize("piece", [11, 100_000], ids=["bits", "whole"])
def test_the_chat_streams(gateway: Gateway, provider: str, piece: int) -> None:
    # moonshot: its mapping does not know gpt-4o, so the name is said as its users say it
    document = body("你好", **({"model": "my-kimi"} if provider == "moonshot" else {}))
    answer = send(gateway, document, provider, piece)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "content-encoding" not in answer.headers
    assert answer.complete
    assert answer.text.endswith("你说：你好")
    assert [event for event in answer.events if event == "[DONE]"] == answer.events[-1:]


def test_top_p_of_one_is_brought_into_the_vendor_s_range_and_zeros_are_kept(
    gateway: Gateway, simulator: Simulator
) -> None:
    assert send(gateway, body("clamped"), "qwen").status == 200
    seen = simulator.request("clamped")
    parameters = seen["body"]["parameters"]
    assert parameters["top_p"] == 0.999999
    assert parameters["presence_penalty"] == 0
    assert "frequency_penalty" not in parameters
    assert (parameters["temperature"], parameters["max_tokens"]) == (0.5, 4000)
    assert (parameters["result_format"], parameters["incremental_output"]) == ("message", True)
    assert seen["headers"]["content-length"] == str(seen["size"])
    assert seen["headers"]["x-dashscope-sse"] == "enable"
    assert "transfer-encoding" not in seen["headers"]
    assert "accept-encoding" not in seen["headers"]


def test_a_picture_in_a_chunked_body_arrives(gateway: Gateway, simulator: Simulator) -> None:
    url = "data:image/jpeg;base64," + "QUJD" * 65536
    parts = [{"type": "text", "text": "nextchat-picture"}, {"type": "image_url", "image_url": {"url": url}}]
    document = body("", model="gpt-4-vision") | {"messages": [{"role": "user", "content": parts}]}
    answer = send(gateway, document, "qwen", 16384)
    assert "我看到了 1 张图片" in answer.text
    [message] = simulator.request("nextchat-picture")["body"]["input"]["messages"]
    assert message["content"] == [{"text": "nextchat-picture"}, {"image": url}]


def test_an_error_is_never_plain_text(gateway: Gateway) -> None:
    answer = send(gateway, body("[[sim:html=502]]"), "qwen")
    assert answer.status == 502
    assert answer.error["message"]
