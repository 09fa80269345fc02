"""What goes wrong at a vendor or on the way: a JSON error, or a stream that visibly breaks; nothing in between."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
import itertools
import json
import socket
import subprocess
from typing import Any

import pytest

from .conftest import Simulator
from .processes import PATIENCE, Gateway, until
from .raw import LEAKS, Answer, Connection, ask, chat, head

CHAT = "/v1/chat/completions"
MODELS = {"qwen": "gpt-4o", "qwen-compatible": "gpt-4o", "openai": "my-gpt", "openai-plain": "gpt-4o",
          "azure-resource": "my-gpt", "moonshot": "my-kimi", "qwen-concat": "qwen-plus"}  # fmt: skip
READ = ["qwen", "qwen-compatible", "openai", "azure-resource", "moonshot"]
"""Providers whose streams are read, because a name or more has to change."""

streamed_or_not = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@pytest.fixture(autouse=True)
def _serves_on(gateway: Gateway) -> Iterator[None]:
    yield
    assert ask(gateway.port, body=chat("还好吗")).status == 200


def leaks(provider: str) -> tuple[bytes, ...]:
    """Compatible mode's own errors carry its request_id and pass unchanged."""
    return tuple(leak for leak in LEAKS if not (provider == "qwen-compatible" and leak == b"request_id"))


def question(gateway: Gateway, provider: str, text: str, **more: Any) -> Answer:
    how = {"host": provider, "leaks": leaks(provider), "reads": more.pop("reads", None)}
    return ask(gateway.port, body=chat(text, MODELS[provider], **more), **how)


# Streams that say the same whatever their framing


FRAMINGS = ["chunk=1", "chunk=3", "chunk=7", "crlf", "cr", "bom", "crlf,chunk=1", "cr,chunk=1", "bom,chunk=1", "gzip",
            "gzip,chunk=1"]  # fmt: skip
NATIVE_FRAMINGS = ["noblank", "cumulative", "old", "done", "noblank,cr,chunk=3", "noblank,crlf,chunk=1",
                   "cumulative,bom,chunk=7", "old,cumulative"]  # fmt: skip
TEXT = "中文，emoji 👨‍👩‍👧‍👦 与 é𝄞"


@pytest.mark.parametrize(
    ("provider", "framing"),
    [(p, f) for p in READ for f in FRAMINGS] + [("qwen", f) for f in NATIVE_FRAMINGS],
)
def test_framing_never_changes_what_a_stream_says(gateway: Gateway, provider: str, framing: str) -> None:
    plain = question(gateway, provider, TEXT, stream=True)
    spoiled = question(gateway, provider, f"{TEXT} [[sim:{framing}]]", stream=True)
    assert (spoiled.status, spoiled.complete) == (200, True)
    assert spoiled.headers["content-type"].startswith("text/event-stream")
    assert "content-encoding" not in spoiled.headers
    assert spoiled.text == plain.text
    assert spoiled.text.endswith(f"你说：{TEXT}")
    assert [e for e in spoiled.events if e == "[DONE]"] == spoiled.events[-1:]
    finish = [c["finish_reason"] for e in spoiled.events if e != "[DONE]" for c in e["choices"] if c["finish_reason"]]
    assert finish == ["stop"]


@pytest.mark.parametrize("marker", ["noindex", "cumulative", "noindex,chunk=1", "cumulative,noblank"])
def test_streamed_tool_calls_survive_the_vendor_s_forms(gateway: Gateway, marker: str) -> None:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": parameters}}]
    answer = question(gateway, "qwen", f"get_weather [[sim:{marker}]]", stream=True, tools=tools)
    parts = [p for e in answer.events[:-1] for c in e["choices"] for p in c["delta"].get("tool_calls", ())]
    assert {part["index"] for part in parts} == {0}
    assert [bool(part.get("id")) for part in parts] == [True] + [False] * (len(parts) - 1)
    assert json.loads("".join(part["function"].get("arguments", "") for part in parts)) == {"city": "杭州"}


@pytest.mark.parametrize("provider", READ)
@pytest.mark.parametrize("marker", ["gzip", "chunk=1", "gzip,chunk=7"])
def test_a_whole_answer_survives_compression_and_small_writes(gateway: Gateway, provider: str, marker: str) -> None:
    answer = question(gateway, provider, f"{TEXT} [[sim:{marker}]]")
    assert (answer.status, answer.complete) == (200, True)
    assert "content-encoding" not in answer.headers
    assert answer.json["choices"][0]["message"]["content"].endswith(f"你说：{TEXT}")


def test_a_long_event_passes(gateway: Gateway) -> None:
    answer = question(gateway, "qwen", "[[sim:big=200000]]", stream=True)
    assert answer.text.endswith("大" * 200_000)
    assert answer.events[-1] == "[DONE]"


@pytest.mark.parametrize("chunk", ["", ",chunk=65536"])
def test_an_event_beyond_the_limit_ends_in_an_error(gateway: Gateway, chunk: str) -> None:
    """Of a Chinese letter there are three bytes: 18 MB, where `maxEventBytes` is 16 MiB."""
    answer = question(gateway, "qwen", f"[[sim:big=6000000{chunk}]]", stream=True)
    assert not answer.complete
    assert answer.events[-1]["error"]["code"] == "bad_upstream_response"
    assert "[DONE]" not in answer.events


# Streams that break


BROKEN = [
    ("error_frame=429", None),
    ("error_frame", None),
    ("end", "stream_truncated"),
    ("badjson", "bad_upstream_response"),
]


CHUNKS = ["", ",chunk=5"]


@pytest.fixture(scope="module")
def broken(gateway: Gateway) -> Mapping[tuple[str, str, str], Answer]:
    """The answer of each provider, to each marker of `BROKEN`, in each of `CHUNKS`. All at a time: Envoy waits a second
    for the client before it closes a connection that it breaks."""
    asked = list(itertools.product(READ, (marker for marker, _ in BROKEN), CHUNKS))

    def ask_one(how: tuple[str, str, str]) -> Answer:
        provider, marker, chunk = how
        return question(gateway, provider, f"abcdefghijkl [[sim:{marker}{chunk}]]", stream=True)

    with ThreadPoolExecutor(16) as pool:
        return dict(zip(asked, pool.map(ask_one, asked), strict=True))


@pytest.mark.parametrize("provider", READ)
@pytest.mark.parametrize(("marker", "code"), BROKEN, ids=[marker for marker, _ in BROKEN])
@pytest.mark.parametrize("chunk", CHUNKS, ids=["events", "bits"])
def test_a_stream_that_fails_ends_with_an_error_and_never_looks_complete(
    broken: Mapping[tuple[str, str, str], Answer], provider: str, marker: str, code: str | None, chunk: str
) -> None:
    answer = broken[provider, marker, chunk]
    assert answer.status == 200
    if marker.startswith("error_frame") and provider != "qwen":  # the vendor's own words, in OpenAI form
        last = [event for event in answer.events if event != "[DONE]"][-1]
        assert last["error"]["message"] == "simulated error inside the stream"
    else:
        *said, last = answer.events
        assert said
        assert "[DONE]" not in said
        error = last["error"]
        assert error.keys() >= {"message", "type", "param", "code"}
        assert code is None or error["code"] == code
    reasons = [c["finish_reason"] for e in answer.events if "choices" in e for c in e["choices"]]
    assert set(reasons) == {None}
    assert "[DONE]" not in answer.events
    assert not answer.complete, "who skips unknown events takes half an answer for the whole"


@pytest.mark.parametrize("marker", ["error_frame", "end"])
def test_the_event_comes_before_the_cut_whoever_else_asks(gateway: Gateway, marker: str) -> None:
    def ended(number: int) -> tuple[bool, bool]:
        answer = question(gateway, READ[number % len(READ)], f"{number} [[sim:tokens=30,{marker}]]", stream=True)
        return answer.complete, "error" in answer.events[-1]

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(ended, range(160))) == {(False, True)}


def test_a_client_that_reads_late_gets_the_event_too(gateway: Gateway) -> None:
    document = json.dumps(chat("[[sim:big=200000,error_frame]]", MODELS["qwen"], stream=True)).encode()
    headers = {"host": "qwen.test", "content-type": "application/json", "content-length": str(len(document))}
    with Connection(gateway.port) as connection:
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.send(head("POST", f"/late{CHAT}", headers.items()), document)
        assert gateway.exchange("late/")["error"] == "InternalError.Algo"  # all is said before anything is read
        answer = connection.answer()
    assert not answer.complete
    assert "error" in answer.events[-1]


def test_over_http2_the_stream_is_reset(gateway: Gateway) -> None:
    body = json.dumps(chat("x [[sim:tokens=30,end]]", MODELS["qwen"], stream=True))
    command = ("curl", "-sSN", "--noproxy", "*", "--http2-prior-knowledge", "-H", "host: qwen.test", "-d", body)
    ended = subprocess.run(
        (*command, "-H", "content-type: application/json", f"{gateway.base}{CHAT}"),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert ended.returncode == 92, ended.stderr  # curl's word for a stream that was not closed cleanly
    last = ended.stdout.strip().splitlines()[-1]
    assert "error" in json.loads(last.removeprefix("data: ")), "the event comes before the reset"


def test_answers_that_break_cost_no_worker_its_place(gateway: Gateway) -> None:
    def ended(_: int) -> tuple[bool, bool]:
        broken = question(gateway, "qwen", "x [[sim:error_frame]]", stream=True)
        return broken.complete, question(gateway, "qwen", "x", stream=True).complete

    with ThreadPoolExecutor(10) as pool:
        assert set(pool.map(ended, range(30))) == {(False, True)}


def test_an_error_frame_s_status_decides_its_type(gateway: Gateway) -> None:
    limited = question(gateway, "qwen", "x [[sim:error_frame=429]]", stream=True).events[-1]["error"]
    assert (limited["type"], limited["code"]) == ("rate_limit_error", "Throttling.RateQuota")
    failed = question(gateway, "qwen", "x [[sim:error_frame=500]]", stream=True).events[-1]["error"]
    assert failed["type"] == "server_error"


@pytest.mark.parametrize(
    ("provider", "chunk"),
    [*((p, "") for p in (*READ, "openai-plain")), ("qwen", ",chunk=5"), ("qwen-concat", ",chunk=5")],
)
def test_a_vendor_that_cuts_an_event_cuts_the_client_visibly(
    gateway: Gateway, simulator: Simulator, provider: str, chunk: str
) -> None:
    reads = (b"data:", simulator.release)  # what has come as the connection breaks, Envoy need not send on
    answer = question(gateway, provider, f"abcdefghijkl [[sim:cut{chunk},hold]]", stream=True, reads=reads)
    assert answer.status == 200
    assert not answer.complete, "the client's stream ended as if it were whole"
    assert b"[DONE]" not in answer.body


@pytest.mark.parametrize("provider", [*READ, "openai-plain"])
def test_a_whole_answer_that_is_cut_never_looks_whole(gateway: Gateway, provider: str) -> None:
    answer = question(gateway, provider, "abcdefghijkl [[sim:cut]]")
    if answer.complete:
        assert answer.status >= 500
        assert answer.error["message"]


def test_models_that_only_stream_turn_stream_errors_into_statuses(gateway: Gateway) -> None:
    def gathered(marker: str) -> Any:
        return ask(gateway.port, body=chat(f"x [[sim:{marker}]]", "o1"))

    assert (gathered("error_frame=429").status, gathered("error_frame=429").error["type"]) == (429, "rate_limit_error")
    assert gathered("end").error["code"] == "stream_truncated"
    assert gathered("end").status == 502
    assert gathered("badjson").error["code"] == "bad_upstream_response"
    assert gathered("crlf,bom,chunk=1,gzip").json["choices"][0]["message"]["content"].endswith("你说：x")


# Answers that are errors


@pytest.mark.parametrize("provider", [*READ, "openai-plain"])
@streamed_or_not
@pytest.mark.parametrize("status", [500, 502, 503])
def test_an_html_page_becomes_a_json_error_with_its_status(
    gateway: Gateway, provider: str, stream: bool, status: int
) -> None:
    answer = question(gateway, provider, f"[[sim:html={status}]]", stream=stream)
    assert answer.status == status
    assert answer.error["type"] == "server_error"
    assert b"<html" not in answer.body


@pytest.mark.parametrize("provider", READ[:-1])
@streamed_or_not
def test_garbage_with_status_200_is_a_502(gateway: Gateway, provider: str, stream: bool) -> None:
    answer = question(gateway, provider, "[[sim:garbage]]", stream=stream)
    assert answer.status == 502
    assert answer.error["code"] == "bad_upstream_response"


@pytest.mark.parametrize("provider", [*READ, "openai-plain"])
@streamed_or_not
@pytest.mark.parametrize("gzip", ["", ",gzip"], ids=["plain", "gzip"])
def test_a_rate_limit_keeps_status_and_retry_after(gateway: Gateway, provider: str, stream: bool, gzip: str) -> None:
    answer = question(gateway, provider, f"[[sim:retry_after=7{gzip}]]", stream=stream)
    assert (answer.status, answer.headers["retry-after"]) == (429, "7")
    assert answer.headers["content-type"].startswith("application/json")
    assert "content-encoding" not in answer.headers
    assert answer.json["error"]["message"] == "simulated error 429"
    assert answer.headers["x-request-id"]


STATUSES = [
    (400, "invalid_request_error"),
    (403, "permission_error"),
    (404, "invalid_request_error"),
    (429, "rate_limit_error"),
    (500, "server_error"),
    (503, "server_error"),
    (529, "server_error"),
]


@pytest.mark.parametrize(("status", "type"), STATUSES)
@streamed_or_not
def test_dashscope_s_errors_are_rewritten(gateway: Gateway, status: int, type: str, stream: bool) -> None:
    answer = question(gateway, "qwen", f"[[sim:status={status}]]", stream=stream)
    assert answer.status == status
    assert answer.error["type"] == type
    assert answer.error["code"]
    assert answer.error["message"] == f"simulated error {status}"


@streamed_or_not
def test_a_key_that_the_vendor_refuses_is_not_shown(gateway: Gateway, stream: bool) -> None:
    answer = ask(gateway.port, body=chat("x", "qwen-plus", stream=stream), host="wrong-key")
    assert (answer.status, answer.error["code"]) == (502, "vendor_auth"), "a 401 would be the client's own key"
    assert "(not yours)" in answer.error["message"]


@streamed_or_not
@pytest.mark.parametrize(
    ("path", "body"), [(CHAT, chat("x", "qwen-plus")), ("/v1/models", None)], ids=["chat", "models"]
)
def test_a_vendor_that_is_down_is_a_503(gateway: Gateway, path: str, body: Any, stream: bool) -> None:
    given = body and {**body, "stream": stream}
    answer = ask(gateway.port, path, given, host="down", method="POST" if body else "GET")
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert answer.error["type"] == "server_error"


@pytest.mark.parametrize("provider", ["qwen", "openai-plain"])
@pytest.mark.parametrize("path", ["/v1/embeddings"])
def test_embedding_errors_too(gateway: Gateway, provider: str, path: str) -> None:
    answer = ask(gateway.port, path, {"model": "text-embedding-3-small", "input": "[[sim:html=502]]"}, host=provider)
    assert answer.status == 502
    assert answer.error["type"] == "server_error"


# Pass-through


@streamed_or_not
def test_what_need_not_change_arrives_identical(gateway: Gateway, simulator: Simulator, stream: bool) -> None:
    body = (
        b'{ "stream" : %s, "unknown": [1.0, 1e2, "\\u00e9"],\n'
        b'"model":"gpt-4o","messages":[{"role":"user","content":"identical-%s"}]}'
    )
    mark = f"identical-{stream}"
    data = body % (json.dumps(stream).encode(), str(stream).encode())
    answer = ask(gateway.port, body=data, host="openai-plain", headers={"accept-encoding": "gzip"})
    assert answer.status == 200
    seen = simulator.request(mark)
    asked = b'"stream_options":{"include_usage":true},'  # of a stream, and the client sees none of it
    assert seen["size"] == len(data) + (len(asked) if stream else 0)
    assert (b"chatcmpl-" in answer.body, answer.complete) == (True, True)


def test_unknown_fields_survive_a_new_model_name(gateway: Gateway, simulator: Simulator) -> None:
    extra = {"x_new": {"deep": [1, {"a": None}]}, "big": 12345678901234567890, "tiny": 1e-300}
    assert question(gateway, "openai", "unknown-fields", **extra).status == 200
    seen = simulator.request("unknown-fields")["body"]
    assert {name: seen[name] for name in extra} == extra
    assert seen["model"] == "gpt-4o"


# A model that answers on another path than its name says


def test_the_other_path_is_tried_once_and_remembered(
    gateway: Gateway, simulator: Simulator, placement: tuple[str, ...]
) -> None:
    first = ask(gateway.port, body=chat("other-path-1", "qwenx-1"))
    if "upstream" in placement:  # by another attempt
        assert (first.status, first.headers["x-ai-attempts"]) == (200, "2")
        assert len(simulator.requests("other-path-1")) == 2
    else:
        assert (first.status, first.error["code"]) == (400, "InvalidParameter")
        assert "another path, where it is asked from now on: try again" in first.error["message"]
    said = "a model is asked on the vendor's other path from now on"
    [entry] = until(lambda: gateway.events(said), "what was learnt is logged")
    assert (entry["provider"], entry["model"]) == ("qwen", "qwenx-1")
    later = chat("other-path-2", "qwenx-1", stream=True)
    until(lambda: ask(gateway.port, body=later).text.endswith("other-path-2"), "every worker knows of it")
    assert simulator.requests("other-path-2")[-1]["path"].endswith("multimodal-generation/generation")
    streamed = ask(gateway.port, body=chat("other-path-3", "qwenx-2", stream=True))
    assert "try again" in streamed.events[0]["error"]["message"]
    again = chat("other-path-4", "qwenx-2", stream=True)
    until(lambda: ask(gateway.port, body=again).text.endswith("other-path-4"), "every worker knows of it")
    assert not [name for name in first.headers if name.startswith("x-ai-proxy")]


# Clients that leave


def test_a_client_that_leaves_mid_stream_ends_the_vendor_s_work(gateway: Gateway, simulator: Simulator) -> None:
    providers = [*READ, "openai-plain"]
    for provider in providers:
        text = f"leaves-{provider} [[sim:tokens=40,hold]]"
        document = json.dumps(chat(text, MODELS[provider], stream=True)).encode()
        headers = {"host": f"{provider}.test", "content-type": "application/json", "content-length": str(len(document))}
        with Connection(gateway.port) as connection:
            connection.send(head("POST", f"/leaves-{provider}{CHAT}", headers.items()), document)
            status, got = connection.head()
            assert status == 200
            assert next(connection.pieces(got))
    for provider in providers:
        entry = gateway.exchange(f"leaves-{provider}/")
        assert entry.get("error") == "client_left"
        until(lambda p=provider: simulator.request(f"leaves-{p} ")["finished"] is False, "the vendor's work is over")


@pytest.mark.parametrize("text", ["abc [[sim:cut]]", "abc [[sim:cut,hold]]"], ids=["whole", "streamed"])
def test_who_ended_an_exchange_is_said_where_it_was_the_vendor(
    gateway: Gateway, simulator: Simulator, text: str
) -> None:
    stream = "hold" in text
    mark = f"/cut-{stream}"
    body = chat(text, MODELS["qwen"], stream=stream)
    ask(gateway.port, f"{mark}{CHAT}", body, reads=(b"data:", simulator.release))
    assert gateway.exchange(f"{mark}/")["error"] == "vendor_cut"
    assert gateway.access(f"{mark}/")["error"] == "vendor_cut"


def test_who_ended_an_exchange_is_said_where_it_was_the_client(gateway: Gateway, simulator: Simulator) -> None:
    """Here before the vendor answers."""
    body = chat("left-early [[sim:hold]]", MODELS["qwen"])
    document = json.dumps(body).encode()
    headers = {"host": "qwen.test", "content-type": "application/json", "content-length": str(len(document))}
    with Connection(gateway.port) as connection:
        connection.send(head("POST", f"/left-early{CHAT}", headers.items()), document)
        until(lambda: simulator.requests("left-early"), "the vendor has the request")
    assert gateway.exchange("/left-early/")["error"] == "client_left"
    line = gateway.access("/left-early/")
    assert (line["error"], line["flags"]) == ("client_left", "DC")


def test_a_client_that_leaves_mid_request_harms_nobody(gateway: Gateway) -> None:
    headers = (("host", "qwen.test"), ("content-type", "application/json"), ("content-length", "100000"))
    for _ in range(5):
        with Connection(gateway.port) as connection:
            connection.send(head("POST", CHAT, headers), b'{"model": "gpt-4o", "messages": [')
