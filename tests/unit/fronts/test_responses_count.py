"""Input tokens of a Responses request: by what the client sent, near what a tokenizer says."""

import json
from pathlib import Path
from typing import Any

from dashscope import get_tokenizer
import pytest

from extproc.fronts.responses_count import count
from extproc.terms.errors import InvalidParameter
from extproc.text import jsontext
from tests.unit.exchanges import HEAD
from tests.unit.player import Play, config_of

ROOT = Path(__file__).parents[3]
ENGLISH = (ROOT / "ARCHITECTURE.md").read_text()[:6000]
CHINESE = (ROOT / "docs" / "limits.zh.md").read_text()[:4000]
CODE = (ROOT / "extproc" / "fronts" / "order.py").read_text()


def counted(body: dict[str, Any]) -> int:
    answer = json.loads(count(jsontext.fields(json.dumps(body).encode())))
    assert answer["object"] == "response.input_tokens"
    number: int = answer["input_tokens"]
    return number


@pytest.mark.parametrize("text", [ENGLISH, CHINESE, CODE], ids=["English", "Chinese", "code"])
def test_near_a_real_tokenizer(text: str) -> None:
    real = len(get_tokenizer("qwen-7b-chat").encode(text))
    body = {
        "model": "m",
        "instructions": text,
        "input": [{"role": "user", "content": [{"type": "input_text", "text": text}]}],
    }
    assert abs(counted(body) - 2 * real) <= 0.15 * 2 * real


def test_tools_calls_and_images_count_and_names_of_things_do_not() -> None:
    plain = counted({"input": [{"role": "user", "content": "hi"}]})
    item = {
        "type": "function_call_output",
        "call_id": "c" * 500,
        "output": [{"type": "input_image", "image_url": "https://i"}],
    }
    assert counted({"input": [{"role": "user", "content": "hi"}, item]}) == plain + 1600 + 4
    assert counted({"input": "hi", "tools": [{"type": "function", "name": "f", "parameters": {}}]}) > plain
    assert counted({}) == 1


def test_what_cannot_be_read_is_refused() -> None:
    with pytest.raises(InvalidParameter):
        count({"input": jsontext.Raw(b"{"), "model": jsontext.NULL})


@pytest.mark.parametrize(
    "more", [{"type": "qwen"}, {"type": "moonshot"}, {"type": "openai", "responsesApi": "convert"}]
)
def test_it_is_answered_here_where_the_vendor_has_no_responses(more: dict[str, Any]) -> None:
    play = Play(config_of({"providers": [{"apiTokens": ["k"], **more}]}))
    play.request({**HEAD, ":path": "/v1/responses/input_tokens"}, b'{"model": "m", "input": "hi"}', {})
    assert play.answered
    assert json.loads(play.seen.client_body)["input_tokens"] > 0


def test_it_passes_where_the_vendor_has_it() -> None:
    play = Play(config_of({"providers": [{"type": "openai", "apiTokens": ["k"]}]}))
    play.request({**HEAD, ":path": "/v1/responses/input_tokens"}, b'{"model": "m", "input": "hi"}', {})
    assert play.seen.upstream is not None
    assert play.seen.upstream[":path"] == "/v1/responses/input_tokens"
