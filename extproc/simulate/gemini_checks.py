"""What Gemini's `generateContent` refuses. Rule: Google's documents' words, nothing of what a gateway does about them.

Source: Gemini API reference, "Function calling", "Thought signatures", 2026-11-30; errors of its JSON reader as public
bug reports show them.
"""

import re
from typing import Any

from extproc.simulate.conversation import matches
from extproc.simulate.refusal import Refusal

Json = dict[str, Any]

_BODY = (
    "contents tools toolConfig safetySettings systemInstruction generationConfig cachedContent model "
    "serviceTier store labels"
)
_CONFIG = (
    "stopSequences responseMimeType responseSchema responseJsonSchema responseModalities candidateCount "
    "maxOutputTokens temperature topP topK seed presencePenalty frequencyPenalty responseLogprobs logprobs "
    "enableEnhancedCivicAnswers speechConfig thinkingConfig imageConfig mediaResolution audioTimestamp routingConfig"
)
_DATA = "text inlineData functionCall functionResponse fileData executableCode codeExecutionResult".split()
_PART = {*_DATA, "thought", "thoughtSignature", "partMetadata", "videoMetadata", "mediaResolution"}
_DECLARED = "name description behavior parameters parametersJsonSchema response responseJsonSchema"
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}", re.ASCII)
_SIGNATURE = re.compile(r"[A-Za-z0-9+/_=-]+", re.ASCII)
ELSEWHERE = ("skip_thought_signature_validator", "context_engineering_is_the_way_to_go")
_LEVELS = ("minimal", "low", "medium", "high")
_CATEGORIES = re.compile(r"HARM_CATEGORY_\w+")


def invalid(message: str) -> Refusal:
    """A client's mistake, 400: Refusal."""
    return Refusal(400, message)


def thinks(model: str) -> bool:
    """Whether the `model` (str) signs its calls and wants them back so: bool."""
    return matches(model, ("gemini-3*", "gemini-4*"))


_OPEN = frozenset({"args", "response", "parametersJsonSchema", "responseJsonSchema", "parameters", "labels"})


def read(value: Any) -> Any:
    """A body with its members in camelCase: Google's JSON reader takes snake_case too."""
    if isinstance(value, list):
        return [read(item) for item in value]
    if not isinstance(value, dict):
        return value
    named = {re.sub(r"_([a-z])", lambda found: found[1].upper(), name): item for name, item in value.items()}
    return {name: item if name in _OPEN else read(item) for name, item in named.items()}


def only(value: Json, names: str | set[str], at: str) -> None:
    """Refuse members that there are not, as Google's JSON reader does."""
    known = set(names.split()) if isinstance(names, str) else names
    for name in value:
        if name not in known:
            where = f" at '{at}'" if at else ""
            raise invalid(f'Invalid JSON payload received. Unknown name "{name}"{where}: Cannot find field.')


def check(body: Json, model: str, *, vertex: bool) -> None:
    """Refuse what a `body` (dict) says wrong for a `model` (str)."""
    only(body, _BODY, "")
    contents = body.get("contents")
    if not isinstance(contents, list) or not contents:
        raise invalid("* GenerateContentRequest.contents: contents is not specified")
    for place, content in enumerate(contents):
        _content(content, f"contents[{place}]", vertex=vertex)
    _order(contents, model)
    system = body.get("systemInstruction")
    if system is not None:
        _content(system, "system_instruction", vertex=False)
        if not all("text" in part for part in system["parts"]):
            raise invalid("system_instruction: only text is supported")
    _config(body.get("generationConfig") or {}, model)
    _tools(body)
    for place, one in enumerate(body.get("safetySettings") or ()):
        only(one, "category threshold method", f"safety_settings[{place}]")
        if not _CATEGORIES.fullmatch(str(one.get("category"))):
            raise invalid(f"Invalid value at 'safety_settings[{place}].category'")


def _content(content: Any, at: str, *, vertex: bool) -> None:
    if not isinstance(content, dict):
        raise invalid(f"Invalid value at '{at}'")
    only(content, "role parts", at)
    role = content.get("role")
    if role not in ("user", "model", *(() if vertex else (None,))):
        raise invalid("Please use a valid role: user, model.")
    parts = content.get("parts")
    if not isinstance(parts, list) or not parts:
        raise invalid(f"* GenerateContentRequest.{at}.parts: contents.parts must not be empty.")
    for place, part in enumerate(parts):
        where = f"{at}.parts[{place}]"
        only(part, _PART, where)
        if len([name for name in _DATA if name in part]) != 1:
            raise invalid(f"{where}.data: required oneof field 'data' must have one initialized field")
        if isinstance(call := part.get("functionCall"), dict):
            only(call, "id name args", f"{where}.function_call")
            if not call.get("name") or not isinstance(call.get("args", {}), dict):
                raise invalid(f"Invalid value at '{where}.function_call.args'")
        if isinstance(result := part.get("functionResponse"), dict):
            only(result, "id name response willContinue scheduling parts", f"{where}.function_response")
            if not result.get("name"):
                raise invalid(f"* GenerateContentRequest.{where}.function_response.name: Name cannot be empty.")
            if not isinstance(result.get("response"), dict):
                raise invalid(f"Invalid value at '{where}.function_response.response'")
        for name in ("inlineData", "fileData"):
            if name in part and not part[name].get("mimeType"):
                raise invalid(f"{where}.{name}.mime_type: must not be empty")
        signature = part.get("thoughtSignature")
        if signature is not None and not (isinstance(signature, str) and _SIGNATURE.fullmatch(signature)):
            raise invalid(f"Invalid value at '{where}.thought_signature' (TYPE_BYTES), Base64 decoding failed")


def _order(contents: list[Json], model: str) -> None:
    """Calls follow a user's turn, and are answered one for one by the turn behind them."""
    for place, content in enumerate(contents):
        calls = [part for part in content["parts"] if "functionCall" in part]
        results = [part["functionResponse"] for part in content["parts"] if "functionResponse" in part]
        before = contents[place - 1] if place else None
        asked = [part["functionCall"] for part in before["parts"] if "functionCall" in part] if before else []
        if calls and (content.get("role") != "model" or before is None or before.get("role") == "model"):
            raise invalid(
                "Please ensure that function call turn comes immediately after a user turn or after a function "
                "response turn."
            )
        if len(results) != len(asked) and (results or asked):
            raise invalid(
                "Please ensure that the number of function response parts is equal to the number of function call "
                "parts of the function call turn."
            )
        if sorted(one["name"] for one in results) != sorted(one["name"] for one in asked):
            raise invalid("Please ensure that function responses have the names of their function calls.")
        if calls and thinks(model) and not calls[0].get("thoughtSignature"):
            name = calls[0]["functionCall"]["name"]
            raise invalid(
                f"Function call is missing a thought_signature in functionCall parts. Additional data, function call "
                f"`default_api:{name}`, position {place + 1}."
            )
    if any("functionCall" in part for part in contents[-1]["parts"]):
        raise invalid("Requests ending with a function call turn are not supported.")


def _config(config: Json, model: str) -> None:
    only(config, _CONFIG, "generation_config")
    for name, low, high in (
        ("temperature", 0, 2),
        ("topP", 0, 1),
        ("candidateCount", 1, 8),
        ("maxOutputTokens", 1, 1e9),
    ):
        value = config.get(name)
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high
        ):
            raise invalid(f"* GenerateContentRequest.generation_config.{name}: must be in the range [{low}, {high}].")
    if len(config.get("stopSequences") or ()) > 5 or not all(config.get("stopSequences") or ()):
        raise invalid("* GenerateContentRequest.generation_config.stop_sequences: at most 5, none empty.")
    schemas = [name for name in ("responseSchema", "responseJsonSchema") if name in config]
    if len(schemas) > 1 or (schemas and config.get("responseMimeType") != "application/json"):
        raise invalid("Schema requires the response mime type: application/json")
    if "logprobs" in config and not config.get("responseLogprobs"):
        raise invalid("logprobs is set, but responseLogprobs is not")
    thinking = config.get("thinkingConfig") or {}
    only(thinking, "includeThoughts thinkingBudget thinkingLevel", "generation_config.thinking_config")
    if "thinkingBudget" in thinking and "thinkingLevel" in thinking:
        raise invalid("You can only set only one of thinking budget and thinking level.")
    if "thinkingLevel" in thinking:
        if not thinks(model):
            raise invalid("Thinking level is not supported for this model.")
        if str(thinking["thinkingLevel"]).lower() not in _LEVELS:
            raise invalid("Invalid value at 'generation_config.thinking_config.thinking_level'")


def _tools(body: Json) -> None:
    names: list[str] = []
    for place, tool in enumerate(body.get("tools") or ()):
        declared = tool.get("functionDeclarations")
        if declared is not None and not declared:
            raise invalid(f"* GenerateContentRequest.tools[{place}].function_declarations: must not be empty")
        for number, one in enumerate(declared or ()):
            at = f"tools[{place}].function_declarations[{number}]"
            only(one, _DECLARED, at)
            if not _NAME.fullmatch(str(one.get("name"))):
                raise invalid(
                    f"* GenerateContentRequest.{at}.name: [Invalid function name. Must start with a letter or an "
                    "underscore. Must be alphameric (a-z, A-Z, 0-9), underscores (_), dots (.), colons (:), or dashes "
                    "(-), with a maximum length of 128.]"
                )
            if "parameters" in one and "parametersJsonSchema" in one:
                raise invalid(f"{at}: parameters and parameters_json_schema are exclusive")
            names.append(one["name"])
    if len(set(names)) != len(names):
        raise invalid("Duplicate function declaration found")
    config = body.get("toolConfig")
    if config is None:
        return
    only(config, "functionCallingConfig retrievalConfig includeServerSideToolInvocations", "tool_config")
    calling = config.get("functionCallingConfig") or {}
    only(calling, "mode allowedFunctionNames", "tool_config.function_calling_config")
    if calling.get("mode") not in ("AUTO", "ANY", "NONE", "VALIDATED", None):
        raise invalid("Invalid value at 'tool_config.function_calling_config.mode'")
    allowed = calling.get("allowedFunctionNames") or ()
    if allowed and calling.get("mode") not in ("ANY", "VALIDATED"):
        raise invalid("allowed_function_names should only be set when the mode is ANY.")
    if unknown := [name for name in allowed if name not in names]:
        raise invalid(f"allowed_function_names: {unknown[0]} is not declared")
