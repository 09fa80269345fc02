"""An OpenAI chat → OpenAI's Responses, for models that take tools there alone.

Rule: pure; members keep their bytes where both APIs have them. What Responses cannot be told is named in `dropped`,
what changes the answer is the client's 400. Source: OpenAI API reference and its SDK's types (openai 3.54.0), 2026-11.
"""

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, Final

from extproc.providers.protocols.conversation import load
from extproc.terms.errors import InvalidParameter, MissingParameter
from extproc.text import jsontext
from extproc.text.jsontext import NULL, TRUE, Fields

_SAME: Final = (
    "model stream temperature top_p parallel_tool_calls user metadata service_tier safety_identifier prompt_cache_key "
    "prompt_cache_retention top_logprobs"
).split()
_READ: Final = frozenset(
    "messages tools tool_choice max_tokens max_completion_tokens reasoning_effort verbosity response_format logprobs "
    "store n stream_options modalities".split()
)
_LEAST: Final = 16
"""Tokens: Responses refuses a smaller `max_output_tokens`."""
_LONGEST_ID: Final = 64


def request(fields: Fields, dropped: list[str]) -> dict[str, Any]:
    """The body of `/v1/responses`. Raises `ClientError`."""
    if "messages" not in fields:
        raise MissingParameter("messages is missing", param="messages")
    if (load(fields, "n") or 1) != 1:
        raise InvalidParameter("n: the Responses API, which this model wants, gives one answer", param="n")
    body: dict[str, Any] = {name: fields[name] for name in _SAME if fields.get(name, NULL) != NULL}
    messages = load(fields, "messages")
    if not isinstance(messages, list):
        raise InvalidParameter("messages must be an array of objects", param="messages")
    body["input"] = list(_input(messages))
    body["store"] = load(fields, "store") is True  # there it would be kept unless one says so
    for name in ("max_completion_tokens", "max_tokens"):
        if (most := jsontext.whole(load(fields, name))) is not None:
            body["max_output_tokens"] = max(most, _LEAST)
            break
    if fields.get("reasoning_effort", NULL) != NULL:
        body["reasoning"] = {"effort": fields["reasoning_effort"]}
    if text := _text(fields):
        body["text"] = text
    if tools := [_tool(tool, i) for i, tool in enumerate(load(fields, "tools") or ())]:
        body["tools"] = tools
        if (choice := load(fields, "tool_choice")) is not None:
            body["tool_choice"] = _choice(choice)
    if fields.get("logprobs") == TRUE:
        body["include"] = ["message.output_text.logprobs"]
    dropped += (name for name in fields if name not in _READ and name not in _SAME and fields[name] != NULL)
    return body


def _input(messages: list[Any]) -> Iterator[dict[str, Any]]:
    custom: set[str] = set()
    for i, message in enumerate(messages):
        where = f"messages[{i}]"
        if not isinstance(message, dict):
            raise InvalidParameter(f"{where} must be an object", param=where)
        role, content = message.get("role"), message.get("content")
        match role:
            case "system" | "developer" | "user":
                yield {"role": role, "content": _content(content, "input_text", where)}
            case "assistant":
                if content or message.get("refusal"):
                    said = _content(content or message.get("refusal"), "output_text", where)
                    yield {"role": "assistant", "content": said}
                for call in _calls(message, where):
                    if call["type"] == "custom_tool_call":
                        custom.add(call["call_id"])
                    yield call
            case "tool" | "function":
                id = call_id(str(message.get("tool_call_id") or message.get("name") or ""))
                kind = "custom_tool_call_output" if id in custom else "function_call_output"
                yield {"type": kind, "call_id": id, "output": _content(content or "", "input_text", where)}
            case _:
                raise InvalidParameter(f"{where}.role: {str(role)[:40]!r} is not a role", param=f"{where}.role")


def call_id(id: str) -> str:
    """An id that Responses takes, the same on each turn."""
    return id if len(id) <= _LONGEST_ID else f"call_{sha256(id.encode(errors='replace')).hexdigest()[:24]}"


def _calls(message: Mapping[str, Any], where: str) -> Iterator[dict[str, Any]]:
    calls = message.get("tool_calls") or ()
    if isinstance(old := message.get("function_call"), dict):
        calls = [{"id": old.get("name"), "function": old}]
    for j, call in enumerate(calls):
        at = f"{where}.tool_calls[{j}]"
        own = call.get("custom") if isinstance(call, dict) else None
        id = call_id(str(call.get("id") or "")) if isinstance(call, dict) else ""
        if isinstance(own, dict):
            name, given = str(own.get("name") or ""), str(own.get("input") or "")
            yield {"type": "custom_tool_call", "call_id": id, "name": name, "input": given}
        elif isinstance(call, dict) and isinstance(function := call.get("function"), dict):
            arguments = function.get("arguments")
            text = arguments if isinstance(arguments, str) else jsontext.dump(arguments or {}).decode()
            name = str(function.get("name") or "")
            yield {"type": "function_call", "call_id": id, "name": name, "arguments": text.strip() or "{}"}
        else:
            raise InvalidParameter(f"{at} must be a call of a function", param=at)


def _content(content: Any, kind: str, where: str) -> Any:
    if isinstance(content, str) or content is None:
        return content or ""
    if not isinstance(content, list):
        raise InvalidParameter(f"{where}.content must be a string or an array of parts", param=f"{where}.content")
    return [_part(part, kind, f"{where}.content[{j}]") for j, part in enumerate(content)]


def _part(part: Any, kind: str, at: str) -> dict[str, Any]:
    match part:
        case {"type": "text", "text": str(text)}:
            return {"type": kind, "text": text}
        case {"type": "refusal", "refusal": str(text)}:
            return {"type": "refusal", "refusal": text}
        case {"type": "image_url", "image_url": {"url": str(url), **rest}}:
            return {"type": "input_image", "image_url": url, "detail": rest.get("detail") or "auto"}
        case {"type": "file", "file": dict(file)}:
            names = ("file_id", "filename", "file_data")
            return {"type": "input_file", **{name: file[name] for name in names if file.get(name)}}
        case {"type": "input_audio"}:
            return dict(part)
    found = part.get("type") if isinstance(part, dict) else None
    raise InvalidParameter(f"{at}: a part of type {str(found)[:40]!r} is not supported", param=at)


def _text(fields: Fields) -> dict[str, Any]:
    text: dict[str, Any] = {}
    match load(fields, "response_format"):
        case {"type": "json_schema", "json_schema": dict(schema)}:
            text["format"] = {"type": "json_schema", "strict": False, **schema}
        case {"type": "json_object"}:
            text["format"] = {"type": "json_object"}
    if fields.get("verbosity", NULL) != NULL:
        text["verbosity"] = fields["verbosity"]
    return text


def _tool(tool: Any, i: int) -> dict[str, Any]:
    match tool:
        case {"type": "function", "function": {"name": str()} as function}:
            schema = function.get("parameters") or {"type": "object", "properties": {}}
            # Strict unless one says so, there
            return {"type": "function", **function, "parameters": schema, "strict": function.get("strict") is True}
        case {"type": "custom", "custom": {"name": str()} as own}:
            form = own.get("format")
            if isinstance(form, dict) and isinstance(grammar := form.get("grammar"), dict):
                own = {**own, "format": {"type": "grammar", **grammar}}
            return {"type": "custom", **own}
    raise InvalidParameter(f"tools[{i}].function.name is missing", param=f"tools[{i}].function.name")


def _choice(choice: Any) -> Any:
    match choice:
        case {"type": "function" | "custom" as kind, **rest} if isinstance(inner := rest.get(kind), dict):
            return {"type": kind, "name": inner.get("name")}
        case {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": list(tools)}}:
            return {"type": "allowed_tools", "mode": mode, "tools": [_choice(tool) for tool in tools]}
    return choice
