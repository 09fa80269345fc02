"""An OpenAI chat → Bedrock's Converse.

Rule: pure; from the client's original fields each time. Nothing Converse refuses is sent: no empty text, no turn
without content, no `toolChoice` none. Sources: botocore 1.44.8's model of the API, LiteLLM 1.110 and
`@ai-sdk/amazon-bedrock`, 2026-11.
"""

from collections.abc import Mapping, Set
import re
from typing import Any, Final

from extproc.providers.protocols import claude_request, conversation
from extproc.providers.protocols.claude_models import Claude
from extproc.providers.protocols.claude_models import claude as row
from extproc.providers.protocols.conversation import Media, Names, Part, Text, Thinking, ToolResult, ToolUse, Turn, load
from extproc.terms.errors import InvalidParameter, MissingParameter
from extproc.text import jsontext
from extproc.text.jsontext import NULL, Fields

NAMES: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}", re.ASCII)
IDS: Final = re.compile(r"[a-zA-Z0-9_.:-]{1,64}", re.ASCII)

_UNSAID = frozenset(
    "frequency_penalty presence_penalty logit_bias logprobs top_logprobs seed store metadata service_tier user "
    "modalities audio prediction verbosity web_search_options functions function_call safety_identifier "
    "prompt_cache_key".split()
)
_EFFORTS: Mapping[str, str] = {"none": "low", "minimal": "low", "xhigh": "max"}


def request(fields: Fields, model: str, dropped: list[str], more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The body of `/converse` and `/converse-stream`. `more`: `bedrockAdditionalFields`. Raises `ClientError`."""
    if "messages" not in fields:
        raise MissingParameter("messages is missing", param="messages")
    given, names = conversation.read(fields), Names.of(fields, NAMES)
    claude = row(model) if "claude" in model else None
    body: dict[str, Any] = {}
    additional: dict[str, Any] = dict(more or {})
    if claude is not None:
        config, thinks = _claude(fields, claude, body, additional, dropped)
    else:
        config, thinks = _plain(fields, body), False
    turns = conversation.begun(given.turns, prefill=claude is None or (claude.sampling and not thinks))
    body["messages"] = _messages(turns, names)
    if system := [block for text in given.system if text.text.strip() for block in _text(text)]:
        body["system"] = system
    if config:
        body["inferenceConfig"] = config
    _tools(
        fields,
        given.turns,
        body,
        additional,
        dropped,
        names,
        forced=not thinks and (claude is None or claude.forced),
        claude=claude is not None,
    )
    _format(fields, body, dropped)
    if additional:
        body["additionalModelRequestFields"] = additional
    if claude is not None:  # which stop sequence matched
        body["additionalModelResponseFieldPaths"] = ["/delta/stop_sequence"]
    if (load(fields, "n") or 1) != 1:
        raise InvalidParameter("n: this vendor gives one answer at a time", param="n")
    dropped += (name for name in fields if name in _UNSAID and fields[name] not in (NULL, _FALSE))
    return body


_FALSE = jsontext.raw(False)


def _messages(turns: list[Turn], names: Names) -> list[dict[str, Any]]:
    """Turns that alternate; one that nothing is left of is a blank: dropped, it would put two of one role together."""
    found: list[dict[str, Any]] = []
    for turn in turns:
        parts = (
            sorted(turn.parts, key=lambda part: not isinstance(part, ToolResult)) if turn.role == "user" else turn.parts
        )
        blocks = [block for part in parts for block in _blocks(part, names)] or [{"text": " "}]
        found.append({"role": turn.role, "content": blocks})
    last = found[-1]["content"][-1] if found and found[-1]["role"] == "assistant" else {}
    if "text" in last:  # of an answer that is begun: white space at its end is a 400 of Claude's
        last["text"] = last["text"].rstrip() or " "
    return found


def _text(part: Text) -> list[dict[str, Any]]:
    return [{"text": part.text}, {"cachePoint": {"type": "default"}}] if part.cache else [{"text": part.text}]


def _blocks(part: Part, names: Names) -> list[dict[str, Any]]:
    match part:
        case Text():
            return _text(part) if part.text.strip() else []
        case Media():
            return [_media(part)]
        case ToolUse():
            use = {
                "toolUseId": conversation.plain_id(part.id, IDS),
                "name": names.there(part.name),
                "input": part.arguments,
            }
            return [{"toolUse": use}]
        case ToolResult():
            content = [{"text": p.text} if isinstance(p, Text) else _media(p) for p in part.parts]
            result = {"toolUseId": conversation.plain_id(part.id, IDS), "content": content or [{"text": " "}]}
            return [{"toolResult": result}]
        case Thinking():
            return []


def mark(body: dict[str, Any], model: str, at: Set[str], ttl: str | None) -> None:
    """Set cache points where they are wanted, for models that take them. `at`: `systemPrompt`, `lastUserMessage`,
    `lastMessage`."""
    if "amazon.nova" not in model and "anthropic.claude" not in model:
        return
    point = {"cachePoint": {"type": "default", **({"ttl": ttl} if ttl else {})}}
    turns = body["messages"]
    users = [turn for turn in turns if turn["role"] == "user"]
    wanted = [body.get("system")] if "systemPrompt" in at else []
    wanted += [users[-1]["content"]] if "lastUserMessage" in at and users else []
    wanted += [turns[-1]["content"]] if "lastMessage" in at and turns else []
    for blocks in wanted:
        if blocks and "cachePoint" not in blocks[-1]:
            blocks.append(point)


_DOCUMENTS = {
    "application/pdf": "pdf",
    "text/plain": "txt",
    "text/csv": "csv",
    "text/html": "html",
    "text/markdown": "md",
}


def _media(part: Media) -> dict[str, Any]:
    if part.url and not part.url.startswith("s3://"):
        raise InvalidParameter(f"messages: this vendor takes a {part.kind} as data, not by URL", param="messages")
    source: dict[str, Any] = {"s3Location": {"uri": part.url}} if part.url else {"bytes": part.data}
    kind = part.mime.partition("/")[2]
    match part.kind:
        case "image":
            return {"image": {"format": "jpeg" if kind in ("jpg", "") else kind, "source": source}}
        case "video":
            return {"video": {"format": kind or "mp4", "source": source}}
        case "file":
            name = re.sub(r"[^A-Za-z0-9 ()\[\]-]+", "-", part.name).strip("- ") or "document"
            return {"document": {"format": _DOCUMENTS.get(part.mime, kind), "name": name[:200], "source": source}}
        case _:
            raise InvalidParameter(f"messages: this vendor takes no {part.kind}", param="messages")


def _plain(fields: Fields, body: dict[str, Any]) -> dict[str, Any]:
    """`inferenceConfig` of models that are no Claude; their effort goes into `body`."""
    config: dict[str, Any] = {}
    if (most := _most(fields)) is not None:
        config["maxTokens"] = most
    for ours, theirs in (("temperature", "temperature"), ("top_p", "topP")):
        if fields.get(ours, NULL) != NULL:
            config[theirs] = _unit(load(fields, ours))
    if stops := [stop for stop in claude_request.stops_of(fields) if stop]:
        config["stopSequences"] = stops
    if isinstance(effort := load(fields, "reasoning_effort"), str):
        body["outputConfig"] = {"effort": _EFFORTS.get(effort, effort)}
    return config


def _unit(value: Any) -> Any:
    """Converse takes 0 to 1, OpenAI up to 2."""
    return min(max(value, 0), 1) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _most(fields: Fields) -> Any:
    return next(
        (fields[name] for name in ("max_completion_tokens", "max_tokens") if fields.get(name, NULL) != NULL), None
    )


def _claude(
    fields: Fields, known: Claude, body: dict[str, Any], additional: dict[str, Any], dropped: list[str]
) -> tuple[dict[str, Any], bool]:
    """`inferenceConfig` of a Claude, and whether it thinks: what its own API takes, under Converse's names."""
    said: dict[str, Any] = {"max_tokens": claude_request.most(fields, known)}
    thinks = claude_request.thinking(fields, known, said, dropped)
    claude_request.sampling(fields, known, said, dropped, thinks=thinks)
    config: dict[str, Any] = {}
    if _most(fields) is not None:  # else it is the model's own most
        config["maxTokens"] = said["max_tokens"]
    config |= {
        theirs: said[ours] for ours, theirs in (("temperature", "temperature"), ("top_p", "topP")) if ours in said
    }
    if stops := [stop for stop in claude_request.stops_of(fields) if stop.strip()]:
        config["stopSequences"] = stops
    additional |= {name: said[name] for name in ("thinking", "top_k") if name in said}
    if "output_config" in said:
        body["outputConfig"] = {"effort": said["output_config"]["effort"]}
    return config, thinks


def _tools(
    fields: Fields,
    turns: list[Turn],
    body: dict[str, Any],
    additional: dict[str, Any],
    dropped: list[str],
    names: Names,
    *,
    forced: bool,
    claude: bool,
) -> None:
    tools = load(fields, "tools") or []
    if not isinstance(tools, list):
        raise InvalidParameter("tools must be an array", param="tools")
    choice = load(fields, "tool_choice")
    found = [tool for i, given in enumerate(tools) if (tool := _tool(given, i, dropped, names)) is not None]
    used = [part for turn in turns for part in turn.parts if isinstance(part, ToolUse)]
    if choice == "none" or not found:
        # A history with calls needs its tools declared; there is no `none`.
        found = [_named(names.there(name)) for name in dict.fromkeys(part.name for part in used)]
        choice = None
    if not found:
        return
    config: dict[str, Any] = {"tools": found}
    match choice:
        case "required":
            config["toolChoice"] = {"any": {}}
        case {"type": "function", "function": {"name": str(name)}}:
            config["toolChoice"] = {"tool": {"name": names.there(name)}}
        case "auto":
            config["toolChoice"] = {"auto": {}}
    if not forced and config.get("toolChoice", {}).keys() & {"any", "tool"}:
        dropped.append("tool_choice")
        config["toolChoice"] = {"auto": {}}
    body["toolConfig"] = config
    if load(fields, "parallel_tool_calls") is False:
        if claude:
            additional["tool_choice"] = {**_chosen(config.get("toolChoice", {})), "disable_parallel_tool_use": True}
        else:
            dropped.append("parallel_tool_calls")


def _chosen(choice: dict[str, Any]) -> dict[str, Any]:
    """`toolChoice` as Anthropic says it: the two must not differ."""
    if "tool" in choice:
        return {"type": "tool", "name": choice["tool"]["name"]}
    return {"type": "any" if "any" in choice else "auto"}


def _named(name: str) -> dict[str, Any]:
    return {
        "toolSpec": {"name": name, "description": name, "inputSchema": {"json": {"type": "object", "properties": {}}}}
    }


def _tool(given: Any, i: int, dropped: list[str], names: Names) -> dict[str, Any] | None:
    if not isinstance(given, dict):
        raise InvalidParameter(f"tools[{i}] must be an object", param=f"tools[{i}]")
    if given.get("type", "function") != "function":
        dropped.append(f"tools.{str(given.get('type'))[:64]}")
        return None
    function = given.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise InvalidParameter(f"tools[{i}].function.name is missing", param=f"tools[{i}].function.name")
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    spec: dict[str, Any] = {
        "name": names.there(function["name"]),
        "description": function.get("description") or function["name"],
    }
    spec["inputSchema"] = {"json": schema}
    if function.get("strict") is True:
        spec["strict"] = True
    return {"toolSpec": spec}


def _format(fields: Fields, body: dict[str, Any], dropped: list[str]) -> None:
    match load(fields, "response_format"):
        case None | {"type": "text"}:
            pass
        case {"type": "json_schema", "json_schema": {"schema": dict(schema), **rest}}:
            structure = {"schema": jsontext.dump(schema).decode(), "name": str(rest.get("name") or "answer")}
            form = {"type": "json_schema", "structure": {"jsonSchema": structure}}
            body.setdefault("outputConfig", {})["textFormat"] = form
        case _:
            dropped.append("response_format")
