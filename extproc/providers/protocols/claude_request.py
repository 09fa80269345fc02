"""An OpenAI chat → Anthropic's Messages: the mirror of the Messages front.

Rule: pure; from the client's original fields each time. What Anthropic cannot be told and changes no meaning is named
in `dropped`; what does is the client's 400. Sources: Anthropic's API reference and `anthropic` 2.14.0, 2026-11.
"""

from collections.abc import Mapping
import re
from typing import Any, Final

from extproc.providers.protocols import conversation
from extproc.providers.protocols.claude_models import Claude, claude
from extproc.providers.protocols.conversation import Media, Names, Part, Text, Thinking, ToolResult, ToolUse, Turn, load
from extproc.terms.errors import InvalidParameter, MissingParameter
from extproc.text import jsontext
from extproc.text.jsontext import NULL, Fields

ALLOWED: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}", re.ASCII)
"""Names of tools and ids of calls that Anthropic takes."""

_FALSE = jsontext.raw(False)
_LEAST_BUDGET = 1024
_BUDGETS: Mapping[str, int] = {"low": 2048, "medium": 8192, "high": 24_576, "xhigh": 32_000, "max": 32_000}
_EFFORTS: Mapping[str, str] = {"minimal": "low"}
_OLDER_EFFORTS: Mapping[str, str] = {"minimal": "low", "xhigh": "max"}
"""Levels that others have. `xhigh` came with opus-4-7 (Anthropic, "Effort", 2026-11)."""
_UNSAID = frozenset(
    "frequency_penalty presence_penalty logit_bias logprobs top_logprobs seed store metadata service_tier modalities "
    "audio prediction verbosity web_search_options functions function_call safety_identifier prompt_cache_key".split()
)


def request(fields: Fields, model: str, dropped: list[str]) -> dict[str, Any]:
    """The body of `/v1/messages`. `dropped` gains the members that Anthropic has no word for. Raises `ClientError`."""
    if "messages" not in fields:
        raise MissingParameter("messages is missing", param="messages")
    known = claude(model)
    given, names = conversation.read(fields), Names.of(fields, ALLOWED)
    body: dict[str, Any] = {"model": model, "max_tokens": most(fields, known)}
    if given.system:
        body["system"] = _system(given.system)
    thinks = thinking(fields, known, body, dropped)
    turns = conversation.begun(given.turns, prefill=known.sampling and not thinks)
    body["messages"] = _messages(turns, names)
    sampling(fields, known, body, dropped, thinks=thinks)
    _tools(fields, body, dropped, names, forced=known.forced and not thinks)
    _format(fields, body, dropped)
    if stops := [stop for stop in stops_of(fields) if stop.strip()]:  # white space alone is a 400 there
        body["stop_sequences"] = stops
    if isinstance(user := load(fields, "user"), str) and user:
        body["metadata"] = {"user_id": user}
    if fields.get("stream") == jsontext.TRUE:
        body["stream"] = True
    if (load(fields, "n") or 1) != 1:
        raise InvalidParameter("n: this vendor gives one answer at a time", param="n")
    dropped += (name for name in fields if name in _UNSAID and fields[name] not in (NULL, _FALSE))
    return body


def most(fields: Fields, known: Claude) -> int:
    """Anthropic wants a limit: the client's, else the model's own most, so that no answer is cut that OpenAI would
    have given."""
    for name in ("max_completion_tokens", "max_tokens"):
        if (said := jsontext.whole(load(fields, name))) is not None:
            if said < 1:
                raise InvalidParameter(f"{name} must be at least 1", param=name)
            return min(said, known.most)
    return known.most


def _system(texts: list[Text]) -> Any:
    texts = [text for text in texts if text.text.strip()]
    if any(text.cache for text in texts):
        return [_text(text) for text in texts]
    return "\n\n".join(text.text for text in texts)


def _text(part: Text) -> dict[str, Any]:
    return _cached({"type": "text", "text": part.text}, part.cache)


def _cached(block: dict[str, Any], cache: bool) -> dict[str, Any]:
    return {**block, "cache_control": {"type": "ephemeral"}} if cache else block


def _messages(turns: list[Turn], names: Names) -> list[dict[str, Any]]:
    """Turns without what Anthropic refuses: empty texts, white space at the end of a last turn of the assistant."""
    found: list[dict[str, Any]] = []
    for turn in turns:
        # What tools gave back stands first, directly behind the call.
        parts = (
            sorted(turn.parts, key=lambda part: not isinstance(part, ToolResult)) if turn.role == "user" else turn.parts
        )
        blocks = [block for part in parts if (block := _block(part, names)) is not None]
        if not blocks and turn.role == "user" and (turn is turns[0] or turn is turns[-1]):
            blocks = [{"type": "text", "text": conversation.NOTHING}]  # without it the assistant would begin, or end
        if blocks:
            if found and found[-1]["role"] == turn.role:
                found[-1]["content"] += blocks
            else:
                found.append({"role": turn.role, "content": blocks})
    if found and found[-1]["role"] == "assistant":
        last = found[-1]["content"]
        if last[-1]["type"] == "text":
            last[-1]["text"] = last[-1]["text"].rstrip()
    return found


def _block(part: Part, names: Names) -> dict[str, Any] | None:
    match part:
        case Text():
            return _text(part) if part.text.strip() else None
        case Media():
            return _media(part)
        case ToolUse():
            id = conversation.plain_id(part.id, ALLOWED)
            return {"type": "tool_use", "id": id, "name": names.there(part.name), "input": part.arguments}
        case ToolResult():
            content = [
                _text(p) if isinstance(p, Text) else _media(p) for p in part.parts if not isinstance(p, Text) or p.text
            ]
            result = {"type": "tool_result", "tool_use_id": conversation.plain_id(part.id, ALLOWED)}
            return {**result, "content": content} if content else result
        case Thinking():  # without its signature it is refused
            return None


def _media(part: Media) -> dict[str, Any]:
    if part.kind not in ("image", "file"):
        raise InvalidParameter(f"messages: this vendor takes no {part.kind}", param="messages")
    kind = "image" if part.kind == "image" else "document"
    if part.url:
        source = {"type": "url", "url": part.url}
    elif kind == "document" and part.mime.startswith("text/"):
        source = {"type": "text", "media_type": "text/plain", "data": _decoded(part.data)}
    else:
        source = {"type": "base64", "media_type": part.mime or "image/png", "data": part.data}
    block: dict[str, Any] = {"type": kind, "source": source}
    if part.name and kind == "document":
        block["title"] = part.name
    return _cached(block, part.cache)


def _decoded(data: str) -> str:
    import base64
    import binascii

    try:
        return base64.b64decode(data, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise InvalidParameter("a file of type text must be UTF-8 in base64", param="messages") from None


def stops_of(fields: Fields) -> list[str]:
    stop = load(fields, "stop")
    found = [stop] if isinstance(stop, str) else stop or []
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise InvalidParameter("stop must be a string or an array of strings", param="stop")
    return found


def thinking(fields: Fields, known: Claude, body: dict[str, Any], dropped: list[str]) -> bool:
    """How much it thinks, in the words of the model's age; whether it does."""
    if isinstance(own := load(fields, "thinking"), dict):  # Anthropic's own member, which its users send
        return _own(own, known, body, dropped)
    effort = load(fields, "reasoning_effort")
    if not isinstance(effort, str):
        return known.thinking == "always"
    if known.thinking == "none":
        dropped.append("reasoning_effort")
        return False
    if effort == "none":
        if known.thinking != "always":
            if known.off:
                body["thinking"] = {"type": known.off}
            return False
        dropped.append("reasoning_effort")
        effort = "low"
    if known.thinking in ("always", "adaptive", "both"):
        if known.thinking != "always":
            body["thinking"] = {"type": "adaptive"}
        efforts = _OLDER_EFFORTS if known.thinking == "both" else _EFFORTS
        body["output_config"] = {"effort": efforts.get(effort, effort)}
        return True
    budget = min(_BUDGETS.get(effort, _LEAST_BUDGET), body["max_tokens"] - 1)
    if budget < _LEAST_BUDGET:
        dropped.append("reasoning_effort")
        return False
    body["thinking"] = {"type": "enabled", "budget_tokens": budget}
    return True


def _own(own: Any, known: Claude, body: dict[str, Any], dropped: list[str]) -> bool:
    """`thinking` as a model of its age takes it: the newer refuse a budget, some to be switched off, older to adapt."""
    kind, adapts = own.get("type"), known.thinking in ("always", "adaptive")
    if (kind == "disabled" and known.thinking == "always") or (kind == "enabled" and adapts):
        dropped.append("thinking.type" if kind == "disabled" else "thinking.budget_tokens")
        kind = "adaptive"
        own = {name: value for name, value in own.items() if name == "display"} | {"type": kind}
    elif kind == "disabled" and known.off:
        own = {"type": known.off}
    elif kind == "adaptive" and known.thinking == "budget" and body["max_tokens"] > _LEAST_BUDGET:
        own = {"type": "enabled", "budget_tokens": min(_BUDGETS["medium"], body["max_tokens"] - 1)}
    body["thinking"] = own
    return bool(kind != "disabled")


def sampling(fields: Fields, known: Claude, body: dict[str, Any], dropped: list[str], *, thinks: bool) -> None:
    for name in ("temperature", "top_p", "top_k"):
        value = load(fields, name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InvalidParameter(f"{name} must be a number", param=name)
        if not known.sampling or (thinks and name != "top_p"):
            dropped.append(name)
        elif name == "temperature":
            body[name] = min(max(value, 0), 1)
        elif name != "top_p" or "temperature" not in body:  # both are refused from 4.1 on
            body[name] = value
        else:
            dropped.append(name)


def _tools(fields: Fields, body: dict[str, Any], dropped: list[str], names: Names, *, forced: bool) -> None:
    tools = load(fields, "tools") or []
    if not isinstance(tools, list):
        raise InvalidParameter("tools must be an array", param="tools")
    found = [tool for i, given in enumerate(tools) if (tool := _tool(given, i, dropped, names)) is not None]
    if not found:
        return
    body["tools"] = found
    choice = load(fields, "tool_choice")
    match choice:
        case "required":
            chosen: dict[str, Any] = {"type": "any"}
        case "none" | "auto":
            chosen = {"type": choice}
        case {"type": "function", "function": {"name": str(name)}} | {"type": "custom", "custom": {"name": str(name)}}:
            chosen = {"type": "tool", "name": names.there(name)}
        case _:
            chosen = {}
    if not forced and chosen.get("type") in ("any", "tool"):
        dropped.append("tool_choice")
        chosen = {"type": "auto"}
    if load(fields, "parallel_tool_calls") is False and chosen.get("type") != "none":
        chosen = {**(chosen or {"type": "auto"}), "disable_parallel_tool_use": True}
    if chosen:
        body["tool_choice"] = chosen


def _tool(given: Any, i: int, dropped: list[str], names: Names) -> dict[str, Any] | None:
    if not isinstance(given, dict):
        raise InvalidParameter(f"tools[{i}] must be an object", param=f"tools[{i}]")
    if given.get("type", "function") != "function":
        dropped.append(f"tools.{str(given.get('type'))[:64]}")
        return None
    function = given.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise InvalidParameter(f"tools[{i}].function.name is missing", param=f"tools[{i}].function.name")
    tool: dict[str, Any] = {"name": names.there(function["name"])}
    if function.get("description"):
        tool["description"] = function["description"]
    tool["input_schema"] = function.get("parameters") or {"type": "object", "properties": {}}
    if function.get("strict") is True:
        tool["strict"] = True
    return _cached(tool, isinstance(given.get("cache_control"), dict))


def _format(fields: Fields, body: dict[str, Any], dropped: list[str]) -> None:
    wanted = load(fields, "response_format")
    match wanted:
        case None | {"type": "text"}:
            pass
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            body.setdefault("output_config", {})["format"] = {"type": "json_schema", "schema": schema}
        case _:
            dropped.append("response_format")
