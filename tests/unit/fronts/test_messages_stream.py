"""Whatever deltas come: the events obey the rules of Anthropic's API, and say what the whole answer says."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from extproc.fronts import messages_request
from extproc.fronts.converted import fold
from extproc.fronts.messages_answer import MessagesWriter
from extproc.providers.openai_chat import ChatReader
from extproc.terms.call import CHAT_TARGET, Call
from extproc.terms.deltas import Delta, Tool
from extproc.terms.errors import StreamTruncated
from tests.unit.fronts.anything import answers, copies
from tests.unit.messages_rules import check
from tests.unit.player import NONCE, NOW


def writer(**notes: Any) -> MessagesWriter:
    call = Call(CHAT_TARGET, "POST", model="m", upstream_model="v", stream=True, now=NOW, nonce=NONCE)
    return MessagesWriter(call, "m", messages_request.Notes(**notes), ChatReader(lambda event: None))


def streamed(deltas: list[Delta]) -> bytes:
    made = writer()
    out = [piece for delta in deltas for piece in made.deltas([delta])]
    return b"".join((*out, *made.end()))


def said(message: dict[str, Any]) -> dict[str, Any]:
    """What a message says, whatever the order of its blocks."""
    told: dict[str, Any] = {"calls": [], "text": "", "thinking": ""}
    for block in message["content"]:
        if block["type"] == "tool_use":
            input = block["input"]
            cut = input.get("cut", input.get("raw_arguments"))  # an object that is cut is streamed as far as it came
            told["calls"].append([block["name"], input if cut is None else cut])
        else:
            told[block["type"]] += block[block["type"]]
    told["calls"].sort(key=json.dumps)
    told["text"] = sorted(told["text"])  # a refusal's words and the answer's are both text
    return told | {name: message[name] for name in ("stop_reason", "stop_sequence", "model", "id", "role", "type")}


@settings(max_examples=400, deadline=None)
@given(deltas=answers())
def test_any_deltas_make_a_stream_that_obeys_and_says_what_the_whole_answer_says(deltas: list[Delta]) -> None:
    message = check(streamed(copies(deltas)))
    whole = json.loads(writer().whole(fold(copies(deltas))))
    assert said(message) == said(whole)
    assert message.keys() == whole.keys()


@settings(max_examples=200, deadline=None)
@given(deltas=answers(), data=st.data())
def test_an_error_anywhere_ends_a_stream_that_obeys(deltas: list[Delta], data: st.DataObject) -> None:
    made = writer()
    before = deltas[: data.draw(st.integers(0, len(deltas) - 1))]
    out = [piece for delta in before for piece in made.deltas([delta])]
    message = check(b"".join((*out, made.failure(StreamTruncated("over")))))
    assert message["error"] == {"type": "api_error", "message": "over"}


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("", {}),
        (" ", {}),
        ("null", {}),
        ('{"a": 1}', {"a": 1}),
        ("[1]", {"raw_arguments": "[1]"}),
        ("no JSON", {"raw_arguments": "no JSON"}),
    ],
)
def test_arguments_that_are_no_object(given: str, shown: dict[str, Any]) -> None:
    def deltas() -> list[Delta]:
        return [Delta(tools={0: Tool("a", "f", given[:1])}), Delta(tools={0: Tool(arguments=given[1:])}, finish="stop")]

    assert check(streamed(deltas()))["content"][0]["input"] == shown
    assert json.loads(writer().whole(fold(deltas())))["content"][0]["input"] == shown


def test_calls_with_one_id_get_two() -> None:
    deltas = [Delta(tools={0: Tool("a", "f", "{}"), 1: Tool("a", "g", "{}"), 2: Tool("", "h", "{}")}, finish="stop")]
    ids = [block["id"] for block in check(streamed(deltas))["content"]]
    assert ids[0] == "a"
    assert len(set(ids)) == 3
    assert all(id.startswith("toolu_") for id in ids[1:])
