"""What both are asked. Small, so that a difference is easy to read."""

from typing import Any, Final

_TOOL: Final = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
_PIXEL: Final = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
_CALL: Final = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "杭州"}}


def _messages(*turns: Any, **more: Any) -> dict[str, Any]:
    given = [{"role": "user", "content": turn} if isinstance(turn, str | list) else turn for turn in turns]
    return {"model": "moonshot-v1-8k", "max_tokens": 64, "messages": given, **more}


def _result(content: Any, **more: Any) -> list[dict[str, Any]]:
    return [{"type": "tool_result", "tool_use_id": "toolu_1", "content": content, **more}]


_WEATHER: Final = [{"name": "get_weather", "description": "The weather of a city.", "input_schema": _TOOL}]
_ASKED: Final = ("get_weather", {"role": "assistant", "content": [_CALL]})

MESSAGES: Final[dict[str, dict[str, Any]]] = {
    "text": _messages("你好 👋"),
    "system": _messages("你好", system="Be brief."),
    "system in blocks": _messages("你好", system=[
        {"type": "text", "text": "One.", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "Two."},
    ]),
    "several turns": _messages("a", {"role": "assistant", "content": "b"}, "c"),
    "blocks of text": _messages([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]),
    "sampling": _messages("x", temperature=0.2, top_p=0.5, stop_sequences=["END"]),
    "top_k": _messages("x", top_k=5),
    "metadata": _messages("x", metadata={"user_id": "u-1"}),
    "tools": _messages("x", tools=_WEATHER),
    "tool_choice any": _messages("get_weather", tools=_WEATHER, tool_choice={"type": "any"}),
    "tool_choice tool": _messages("get_weather", tools=_WEATHER, tool_choice={"type": "tool", "name": "get_weather"}),
    "tool_choice none": _messages("x", tools=_WEATHER, tool_choice={"type": "none"}),
    "no parallel calls": _messages(
        "get_weather", tools=_WEATHER, tool_choice={"type": "auto", "disable_parallel_tool_use": True}
    ),
    "tool result": _messages(*_ASKED, _result("下雨 ☔"), tools=_WEATHER),
    "tool result in blocks": _messages(
        *_ASKED, _result([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]), tools=_WEATHER
    ),
    "tool result is an error": _messages(*_ASKED, _result("no such city", is_error=True), tools=_WEATHER),
    "tool result and text": _messages(
        *_ASKED, [*_result("下雨"), {"type": "text", "text": "and now?"}], tools=_WEATHER
    ),
    "thinking of an earlier turn": _messages("a", {"role": "assistant", "content": [
        {"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "b"},
    ]}, "c"),
    "image": _messages([
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": _PIXEL}},
        {"type": "text", "text": "What is it?"},
    ], model="moonshot-v1-8k-vision-preview"),
    "no max_tokens": {"model": "moonshot-v1-8k", "messages": [{"role": "user", "content": "x"}]},
    "no messages": {"model": "moonshot-v1-8k", "max_tokens": 64, "messages": []},
    "a model that is not there": _messages("x", model="no-such-model"),
}  # fmt: skip
"""By name: bodies for `/v1/messages`. Each is asked whole and as a stream."""
