"""`usage: {passed: envoy}`: a real Envoy counts what passes, and whatever else its clusters serve ends as ever."""

from collections.abc import Iterator
import contextlib
import gzip
import json
import threading
from typing import Any

import pytest

from . import processes, scripted
from .conftest import check_logs
from .processes import Gateway, until
from .raw import Answer, Connection, ask, chat, head

USAGE = {
    "prompt_tokens": 1100,
    "completion_tokens": 400,
    "total_tokens": 1500,
    "prompt_tokens_details": {"cached_tokens": 30},
    "completion_tokens_details": {"reasoning_tokens": 50},
}
COUNTED = {
    "prompt_tokens": 1100,
    "completion_tokens": 400,
    "total_tokens": 1500,
    "cached_tokens": 30,
    "reasoning_tokens": 50,
}
RESPONSES = {
    "input_tokens": 1100,
    "output_tokens": 400,
    "total_tokens": 1500,
    "input_tokens_details": {"cached_tokens": 30},
    "output_tokens_details": {"reasoning_tokens": 50},
}
SSE = {"content-type": "text/event-stream"}


def event(data: Any, name: str = "") -> bytes:
    return (f"event: {name}\n" if name else "").encode() + b"data: " + json.dumps(data).encode() + b"\n\n"


def chunk(**more: Any) -> bytes:
    return event({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "vendor-s", **more})


SAID = tuple(chunk(choices=[{"index": 0, "delta": {"content": f"w{n} "}, "finish_reason": None}]) for n in range(20))
LAST = chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
TOLD, DONE = chunk(choices=[], usage=USAGE), b"data: [DONE]\n\n"
STREAM = (*SAID, LAST, TOLD, DONE)
COMPLETED = {"id": "r", "object": "response", "model": "vendor-s", "status": "completed", "usage": RESPONSES}
DELTA = event({"type": "response.output_text.delta", "delta": "w"}, "response.output_text.delta")
TYPED = (*[DELTA] * 9, event({"type": "response.completed", "response": COMPLETED}, "response.completed"))
ANSWER = {"index": 0, "message": {"role": "assistant", "content": "w"}, "finish_reason": "stop"}
WHOLE = json.dumps({"id": "c", "model": "vendor-s", "object": "chat.completion", "created": 1, "choices": [ANSWER],
                    "usage": USAGE}).encode()  # fmt: skip
ASKING = chat("hello", "m", stream=True, stream_options={"include_usage": True})

CONFIG = """
providers:
  - {id: counted, type: openai, openaiCustomUrl: VENDOR/v1, usage: {passed: envoy}}
  - {id: renamed, type: openai, openaiCustomUrl: VENDOR/v1, usage: {passed: envoy}, modelMapping: {"*": vendor-s}}
routes:
  - {name: renamed, match: {hosts: [renamed.test]}, provider: renamed}
  CHAIN
  - {name: counted, provider: counted}
"""
CHAIN = "- {name: chain, match: {hosts: [chain.test]}, provider: [{provider: counted}, {provider: renamed}]}"


@pytest.fixture(scope="module")
def vendor() -> Iterator[scripted.Vendor]:
    with scripted.vendor() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(
    vendor: scripted.Vendor, placement: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("counted")
    path = directory / "gateway.yaml"
    chain = CHAIN if "upstream" in placement else ""
    path.write_text(CONFIG.replace("VENDOR", vendor.url).replace("CHAIN", chain))
    with processes.gateway(directory, "--config", str(path), *placement) as running:
        yield running
    check_logs(running)


@pytest.fixture(autouse=True)
def fresh(vendor: scripted.Vendor) -> None:
    vendor.replies.clear()


def streamed(gateway: Gateway, mark: str, host: str = "any", *, asks: bool = True, path: str = "") -> Answer:
    """The answer to a stream, whole; the path carries the mark."""
    more: dict[str, Any] = {"stream": True, **({"stream_options": {"include_usage": True}} if asks else {})}
    body: Any = {"model": "m", "input": "hello", "stream": True} if path else chat("hello", "m", **more)
    answer = ask(gateway.port, f"/{mark}{path or '/v1/chat/completions'}", body, host=host)
    assert (answer.status, answer.complete) == (200, True)
    return answer


def counts(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: entry[name] for name in COUNTED if name in entry}


@pytest.mark.parametrize(("mark", "path", "stream"), [
    ("chat", "", STREAM), ("responses", "/v1/responses", TYPED),
])  # fmt: skip
def test_a_stream_is_counted_and_none_of_it_comes_here(
    gateway: Gateway, vendor: scripted.Vendor, mark: str, path: str, stream: tuple[bytes, ...]
) -> None:
    vendor.reply = scripted.Reply(200, stream, SSE, pause=0.002)
    answer = streamed(gateway, f"counted-{mark}", path=path)
    assert answer.body == b"".join(stream)
    entry = gateway.exchange(f"counted-{mark}")
    assert counts(entry) == COUNTED
    assert "estimated" not in entry
    assert "first_chunk_ms" not in entry
    assert gateway.access(f"counted-{mark}")["total_tokens"] == 1500


def test_what_is_read_in_the_same_cluster_ends_as_ever(gateway: Gateway, vendor: scripted.Vendor) -> None:
    """Envoy 1.40 ends no answer that its counting filter has counted and the sidecar reads."""
    vendor.reply = scripted.Reply(200, STREAM, SSE)
    hidden = streamed(gateway, "read-hidden", asks=False)
    assert (hidden.body.endswith(DONE), b'"usage"' in hidden.body) == (True, False)
    renamed = streamed(gateway, "read-renamed", "renamed")
    assert (renamed.body.endswith(DONE), b"vendor-s" in renamed.body) == (True, False)
    vendor.reply = scripted.Reply(200, (WHOLE,))
    for host in ("any", "renamed"):
        assert ask(gateway.port, "/read-whole/v1/chat/completions", chat("x", "m"), host=host).status == 200
    for mark in ("read-hidden", "read-renamed"):
        assert counts(gateway.exchange(mark)) == COUNTED
    until(lambda: len(gateway.exchanges("read-whole")) == 2, "both are logged")
    assert [counts(entry) for entry in gateway.exchanges("read-whole")] == [COUNTED] * 2


def test_another_attempt_is_judged_anew(gateway: Gateway, vendor: scripted.Vendor, placement: tuple[str, ...]) -> None:
    if "upstream" not in placement:
        pytest.skip("one attempt")
    vendor.reply = scripted.Reply(200, STREAM, SSE)
    vendor.replies = [scripted.Reply(503)]
    answer = streamed(gateway, "again", "chain")
    assert answer.headers["x-ai-provider"] == "renamed"
    assert b"vendor-s" not in answer.body
    until(lambda: len(gateway.exchanges("again")) == 2, "both attempts are logged")
    assert counts(gateway.exchanges("again")[-1]) == COUNTED


NOT_COUNTED = {
    "without": scripted.Reply(200, (*SAID, LAST, DONE), SSE),
    "compressed": scripted.Reply(200, (gzip.compress(b"".join(STREAM)),), {**SSE, "content-encoding": "gzip"}),
    "whole": scripted.Reply(200, (WHOLE,)),
    "created": scripted.Reply(201, STREAM, SSE),
}


@pytest.mark.parametrize("case", NOT_COUNTED)
def test_what_envoy_does_not_count_passes_and_its_input_is_estimated(
    gateway: Gateway, vendor: scripted.Vendor, case: str
) -> None:
    reply = vendor.reply = NOT_COUNTED[case]
    answer = ask(gateway.port, f"/not-{case}/v1/chat/completions", ASKING)
    assert (answer.status, answer.complete, answer.body) == (reply.status, True, reply.body)
    entry = gateway.exchange(f"not-{case}")
    assert entry["estimated"] is True
    assert 0 < entry["prompt_tokens"] < 100


def test_a_cut_stream_is_cut_and_its_input_is_estimated(gateway: Gateway, vendor: scripted.Vendor) -> None:
    read = threading.Event()
    vendor.reply = scripted.Reply(200, (*SAID, read), SSE, end="reset")
    answer = ask(gateway.port, "/cut/v1/chat/completions", ASKING, reads=(b"w19", read.set))
    assert not answer.complete
    entry = gateway.exchange("/cut/")
    assert (entry["estimated"], entry["prompt_tokens"] > 0) == (True, True)


def test_so_is_that_of_a_client_that_hangs_up(gateway: Gateway, vendor: scripted.Vendor) -> None:
    left = threading.Event()
    vendor.reply = scripted.Reply(200, (*SAID, left, LAST, TOLD, DONE), SSE)
    body = json.dumps(ASKING).encode()
    headers = (("host", "any"), ("content-type", "application/json"), ("content-length", str(len(body))))
    with contextlib.closing(Connection(gateway.port).socket) as client:
        client.sendall(head("POST", "/hung/v1/chat/completions", headers) + body)
        assert client.recv(10)
    entry = gateway.exchange("/hung/")
    left.set()
    assert (entry["estimated"], entry["prompt_tokens"] > 0) == (True, True)


def test_a_refusal_is_read_and_costs_nothing(gateway: Gateway, vendor: scripted.Vendor) -> None:
    vendor.reply = scripted.Reply(400, (b'{"error":{"message":"no","type":"t","param":null,"code":"c"}}',))
    answer = ask(gateway.port, "/refused/v1/chat/completions", ASKING)
    assert (answer.status, answer.error["code"]) == (400, "c")
    assert counts(gateway.exchange("/refused/")) == {}
