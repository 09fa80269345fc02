"""An OpenAI chat → Gemini's `generateContent`, as Google's and others' own clients of today send it.

Rule: pure; from the client's original fields each time. Schemas go untouched (`parametersJsonSchema`), members in
camelCase. Sources: google-genai 3.6.1, `@ai-sdk/google` 4, 2026-11.
"""

from collections.abc import Mapping
from typing import Any, Final

from extproc.providers.messages import SIGNATURE
from extproc.providers.protocols import conversation
from extproc.providers.protocols.conversation import (
    Media,
    Part,
    Text,
    Thinking,
    ToolResult,
    ToolUse,
    Turn,
    load,
)
from extproc.providers.traits import LEVELS, Traits
from extproc.terms.errors import InvalidParameter, MissingParameter
from extproc.text import jsontext
from extproc.text.jsontext import NULL, Fields

TRAITS: Final = Traits(files=True, top_k=True, user=False, efforts=LEVELS)
"""What clients of other dialects are read by."""

ELSEWHERE: Final = "skip_thought_signature_validator"
"""Google's documented signature for a history that another model made (Gemini API, thought signatures, 2026)."""

_PLAIN: Mapping[str, str] = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "n": "candidateCount",
    "logprobs": "responseLogprobs",
    "top_logprobs": "logprobs",
}
_UNSAID = frozenset(
    "logit_bias store metadata service_tier user verbosity prediction parallel_tool_calls functions function_call "
    "safety_identifier prompt_cache_key web_search_options audio".split()
)
_FALSE: Final = jsontext.raw(False)
_NEUTRAL: Final = {"parallel_tool_calls": jsontext.TRUE}
"""What says nothing; of the others `false` does."""
_EFFORTS: Mapping[str, str] = {"minimal": "minimal", "low": "low", "medium": "medium", "high": "high"}
_BUDGETS: Mapping[str, int] = {"minimal": 512, "low": 1024, "medium": 8192, "high": 24_576}


def request(
    fields: Fields,
    model: str,
    dropped: list[str],
    *,
    safety: Mapping[str, str] | None = None,
    budget: int | None = None,
) -> dict[str, Any]:
    """The body of `:generateContent`. `safety`: category → threshold; `budget`: thinking tokens where the client says
    nothing. `dropped` gains what Gemini has no word for. Raises `ClientError`."""
    if "messages" not in fields:
        raise MissingParameter("messages is missing", param="messages")
    given = conversation.read(fields)
    body: dict[str, Any] = {"contents": _contents(given.turns, signed=thinks(model))}
    if texts := [{"text": text.text} for text in given.system if text.text]:
        body["systemInstruction"] = {"parts": texts}
    if config := _config(fields, model, budget, dropped):
        body["generationConfig"] = config
    _tools(fields, body, dropped)
    if safety:
        body["safetySettings"] = [{"category": c, "threshold": t} for c, t in safety.items()]
    dropped += (name for name in fields if name in _UNSAID and fields[name] not in (NULL, _NEUTRAL.get(name, _FALSE)))
    return body


def _contents(turns: list[Turn], *, signed: bool) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    order: list[str] = []  # of the calls that the turn before made
    for turn in turns:
        parts = turn.parts
        if turn.role == "assistant":
            order = [part.id for part in parts if isinstance(part, ToolUse)]
        else:
            results = {part.id: part for part in parts if isinstance(part, ToolResult)}
            first = [results[id] for id in order if id in results]
            parts = [*first, *(p for p in parts if not (isinstance(p, ToolResult) and p in first))]
        if made := _parts(parts, signed=signed and turn.role == "assistant"):
            found.append({"role": "model" if turn.role == "assistant" else "user", "parts": made})
    return found


def _parts(parts: list[Part], *, signed: bool) -> list[dict[str, Any]]:
    made = [one for part in parts for one in _part(part)]
    calls = [one for one in made if "functionCall" in one]
    if signed and calls and not any("thoughtSignature" in one for one in calls):
        calls[0]["thoughtSignature"] = ELSEWHERE
    return made


def _part(part: Part) -> list[dict[str, Any]]:
    match part:
        case Text():
            return [{"text": part.text}] if part.text else []
        case Media():
            return [_media(part)]
        case ToolUse():
            id, _, signature = part.id.partition(SIGNATURE)
            call: dict[str, Any] = {"functionCall": {"id": id, "name": part.name, "args": part.arguments}}
            return [{**call, "thoughtSignature": signature} if signature else call]
        case ToolResult():
            text = "".join(p.text for p in part.parts if isinstance(p, Text))
            id = part.id.partition(SIGNATURE)[0]
            response = {"id": id, "name": part.name, "response": _response(text)}
            return [{"functionResponse": response}, *(_media(p) for p in part.parts if isinstance(p, Media))]
        case Thinking():
            return []


def _response(text: str) -> dict[str, Any]:
    try:
        value = jsontext.load(text.encode())
    except (jsontext.NotJson, UnicodeEncodeError):
        value = None
    return value if isinstance(value, dict) else {"result": text}


def _media(part: Media) -> dict[str, Any]:
    if part.url:
        return {"fileData": {"mimeType": part.mime or _guessed(part), "fileUri": part.url}}
    return {"inlineData": {"mimeType": part.mime or _guessed(part), "data": part.data}}


_KINDS: Mapping[str, str] = {
    "image": "image/jpeg",
    "video": "video/mp4",
    "audio": "audio/wav",
    "file": "application/pdf",
}
_ENDINGS: Mapping[str, str] = {"png": "image/png", "webp": "image/webp", "gif": "image/gif", "heic": "image/heic"}


def _guessed(part: Media) -> str:
    ending = part.url.partition("?")[0].rpartition(".")[2].lower()
    return _ENDINGS.get(ending, _KINDS[part.kind])


def _config(fields: Fields, model: str, budget: int | None, dropped: list[str]) -> dict[str, Any]:
    config: dict[str, Any] = {theirs: fields[ours] for ours, theirs in _PLAIN.items() if fields.get(ours, NULL) != NULL}
    for name in ("max_completion_tokens", "max_tokens"):
        if fields.get(name, NULL) != NULL:
            config["maxOutputTokens"] = fields[name]
            break
    if (stop := load(fields, "stop")) is not None:
        config["stopSequences"] = [stop] if isinstance(stop, str) else stop
    match load(fields, "response_format"):
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            config |= {"responseMimeType": "application/json", "responseJsonSchema": schema}
        case {"type": "json_object"}:
            config["responseMimeType"] = "application/json"
        case None | {"type": "text"}:
            pass
        case _:
            dropped.append("response_format")
    if isinstance(kinds := load(fields, "modalities"), list):
        config["responseModalities"] = [str(kind).upper() for kind in kinds]
    effort = load(fields, "reasoning_effort")
    if isinstance(effort, str) and not thinks(model):
        dropped += ["reasoning_effort"] * (effort not in ("none", "minimal"))
    elif thinking := _thinking(effort, model, budget):
        config["thinkingConfig"] = thinking
    return config


def _thinking(effort: Any, model: str, budget: int | None) -> dict[str, Any]:
    """Models of 3 and later take a level, those of 2.5 a budget (Gemini API, thinking, 2026)."""
    old = model.startswith(("gemini-2", "gemini-1"))
    if not isinstance(effort, str):
        if budget is None:
            return {"includeThoughts": True} if thinks(model) else {}
        return {"thinkingBudget": budget, "includeThoughts": budget != 0}
    if effort == "none":
        return {"thinkingBudget": 0} if old else {"thinkingLevel": "minimal"}
    if old:
        return {"thinkingBudget": _BUDGETS.get(effort, _BUDGETS["high"]), "includeThoughts": True}
    return {"thinkingLevel": _EFFORTS.get(effort, "high"), "includeThoughts": True}


def thinks(model: str) -> bool:
    """Whether a model is one that thinks: all since 2.5."""
    return not model.startswith(("gemini-2.0", "gemini-1", "gemma", "text-"))


def _tools(fields: Fields, body: dict[str, Any], dropped: list[str]) -> None:
    tools = load(fields, "tools") or []
    if not isinstance(tools, list):
        raise InvalidParameter("tools must be an array", param="tools")
    declared = [one for i, tool in enumerate(tools) if (one := _declared(tool, i, dropped)) is not None]
    if not declared:
        return
    body["tools"] = [{"functionDeclarations": declared}]
    match load(fields, "tool_choice"):
        case "none":
            chosen: dict[str, Any] = {"mode": "NONE"}
        case "required":
            chosen = {"mode": "ANY"}
        case {"type": "function", "function": {"name": str(name)}}:
            chosen = {"mode": "ANY", "allowedFunctionNames": [name]}
        case "auto":
            chosen = {"mode": "AUTO"}
        case _:
            return
    body["toolConfig"] = {"functionCallingConfig": chosen}


def _declared(tool: Any, i: int, dropped: list[str]) -> dict[str, Any] | None:
    if not isinstance(tool, dict):
        raise InvalidParameter(f"tools[{i}] must be an object", param=f"tools[{i}]")
    if tool.get("type", "function") != "function":
        dropped.append(f"tools.{str(tool.get('type'))[:64]}")
        return None
    function = tool.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise InvalidParameter(f"tools[{i}].function.name is missing", param=f"tools[{i}].function.name")
    found = {"name": function["name"], "description": function.get("description") or function["name"]}
    return {**found, "parametersJsonSchema": function["parameters"]} if function.get("parameters") else found
