"""Whatever deltas come: the events obey the rules of the Responses API, and say what the whole answer says."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from extproc.fronts import responses_request
from extproc.fronts.converted import fold
from extproc.fronts.responses_answer import ResponsesWriter
from extproc.fronts.responses_tools import Named
from extproc.providers.openai_chat import ChatReader
from extproc.terms.call import CHAT_TARGET, Call
from extproc.terms.deltas import Delta, Tool
from extproc.terms.errors import BadUpstreamResponse, StreamTruncated, UpstreamError
from tests.unit.fronts.anything import answers, copies
from tests.unit.player import NONCE, NOW
from tests.unit.responses_rules import check

NAMES = {
    "patch": Named("custom", "patch"),
    "ns__f": Named("function", "f", "ns"),
    "shell": Named("shell", "shell"),
    "local_shell": Named("local_shell", "local_shell"),
    "apply_patch": Named("apply_patch", "apply_patch"),
}


def writer(**notes: Any) -> ResponsesWriter:
    reader = ChatReader(lambda event: None)
    call = Call(CHAT_TARGET, "POST", model="m", upstream_model="v", stream=True, now=NOW, nonce=NONCE)
    return ResponsesWriter(call, "m", responses_request.Notes(names=NAMES, **notes), reader)


def streamed(deltas: list[Delta]) -> bytes:
    made = writer()
    out = [piece for delta in deltas for piece in made.deltas([delta])]
    return b"".join((*out, *made.end()))


def said(response: dict[str, Any]) -> dict[str, Any]:
    """What a response says, whatever the order of its items."""
    told: dict[str, Any] = {"calls": []}
    for item in response["output"]:
        for part in item.get("content", ()):
            text = part.get("text", part.get("refusal"))
            told[part["type"]] = told.get(part["type"], "") + text
        if "call_id" in item:
            told["calls"].append({k: v for k, v in item.items() if k not in ("id", "status", "call_id")})
    told["calls"].sort(key=json.dumps)
    return told | {"status": response["status"], "why": response["incomplete_details"]}


@settings(max_examples=400, deadline=None)
@given(deltas=answers(*NAMES))
def test_any_deltas_make_a_stream_that_obeys_and_says_what_the_whole_answer_says(deltas: list[Delta]) -> None:
    response = check(streamed(copies(deltas)))
    whole = json.loads(writer().whole(fold(copies(deltas))))
    assert said(response) == said(whole)
    assert response.keys() == whole.keys()


@settings(max_examples=200, deadline=None)
@given(deltas=answers(*NAMES), data=st.data())
def test_an_error_anywhere_ends_a_stream_that_obeys(deltas: list[Delta], data: st.DataObject) -> None:
    made = writer()
    before = deltas[: data.draw(st.integers(0, len(deltas) - 1))]
    out = [piece for delta in before for piece in made.deltas([delta])]
    response = check(b"".join((*out, made.failure(StreamTruncated("over")))))
    assert response["status"] == "failed"
    assert response["error"] == {"code": "server_error", "message": "stream_truncated: over"}


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (UpstreamError(429, "slow down"), "rate_limit_exceeded", "slow down"),
        (UpstreamError(500, document=b'{"error": {"message": "theirs"}}'), "server_error", "theirs"),
        (UpstreamError(503, document=b'{"error": {}}'), "server_error", "the model vendor answered with status 503"),
    ],
)
def test_words_and_code_of_an_error(error: UpstreamError, code: str, words: str) -> None:
    response = check(writer().failure(error))
    assert response["error"] == {"code": code, "message": words}


def test_a_call_without_an_end_does_not_fill_the_memory() -> None:
    made = writer()
    list(made.deltas([Delta(tools={0: Tool("a", "f", "{")})]))
    with pytest.raises(BadUpstreamResponse):
        list(made.deltas([Delta(content="x" * (1 << 20)) for _ in range(20)]))


def test_a_heartbeat_is_a_comment() -> None:
    assert list(writer().heartbeat()) == [b": keep-alive\n\n"]


def test_calls_with_one_id_get_two() -> None:
    deltas = [Delta(tools={0: Tool("a", "f", "{}"), 1: Tool("a", "g", "{}"), 2: Tool("", "h", "{}")}, finish="stop")]
    ids = [item["call_id"] for item in check(streamed(copies(deltas)))["output"]]
    assert ids[0] == "a"
    assert len(set(ids)) == 3
    assert ids == [item["call_id"] for item in json.loads(writer().whole(deltas))["output"]]
