"""Google's Gemini API, and the same bodies at Vertex AI: checks, whole answers and streams.

Rule: written from Google's documents alone: unknown members are refused as its JSON reader refuses them. Source: Gemini
API reference, "Thought signatures", "Function calling"; `google-genai` 3.6.1's types, read 2026-11-30.
"""

from collections.abc import Iterator
import json
import re
from typing import Any

from extproc.simulate import gemini_checks, sse
from extproc.simulate.call import Answer, Call, Events, Whole, answer
from extproc.simulate.conversation import count_tokens, embed, last_user_text, scripted, stops
from extproc.simulate.faults import without_markers
from extproc.simulate.gemini_checks import invalid
from extproc.simulate.refusal import Refusal
from extproc.simulate.script import Asked, Delta, Script, deltas, perform

Json = dict[str, Any]

STATUS = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}  # fmt: skip
PATH = re.compile(r"/v1(?:beta)?/models(?:/([^/:]+)(?::(\w+))?)?")
SIGNED = "Q2lRQmkrc2lnbmVkLXRob3VnaHQvL18tPQ=="
"""What this stand-in signs a call with; it comes back in either base64 alphabet."""
MODELS = ("gemini-3.8-flash", "gemini-embedding-001")


def error(refusal: Refusal, _request_id: str) -> Json:
    """A refusal in Google's shape: dict. A limit says how long to wait within it."""
    found: Json = {
        "code": refusal.status,
        "message": refusal.message,
        "status": refusal.kind or STATUS.get(refusal.status, "UNKNOWN"),
    }
    details = list(refusal.extra.get("details", ()))
    if refusal.status == 429:
        wait = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "17s"}
        details.append(wait)
    return {"error": {**found, **({"details": details} if details else {})}}


def handle(call: Call) -> Answer:
    """Answer one request (Call) at the Gemini API: Answer, or Refusal."""
    found = PATH.fullmatch(call.path)
    if found is None:
        raise Refusal(404, "")
    model, verb = found[1], found[2]
    if call.method == "GET" and verb is None:
        return _models(model)
    if call.method != "POST" or verb is None:
        raise Refusal(404, "")
    return ask(call, model, verb, vertex=False)


def _models(name: str | None) -> Answer:
    listed = [
        {"name": f"models/{one}", "version": "001", "displayName": one, "inputTokenLimit": 1_048_576,
         "outputTokenLimit": 65_536, "supportedGenerationMethods": ["generateContent"]} for one in MODELS
    ]  # fmt: skip
    if name is None:
        return answer({"models": listed})
    found = [one for one in listed if one["name"] == f"models/{name}"]
    if not found:
        raise Refusal(404, f"Model is not found: models/{name}")
    return answer(found[0])


def ask(call: Call, model: str, verb: str, *, vertex: bool) -> Answer:
    """One verb (str) of a `model` (str): Answer, or Refusal. `vertex`: there roles must be said."""
    if not model.startswith(("gemini", "gemma", "text-embedding")):
        raise Refusal(404, f"models/{model} is not found for API version v1beta, or is not supported for {verb}.")
    body = gemini_checks.read(call.json())
    match verb:
        case "generateContent" | "streamGenerateContent":
            gemini_checks.check(body, model, vertex=vertex)
            return _generate(call, body, model, stream=verb.startswith("stream"))
        case "countTokens":
            return answer({"totalTokens": count_tokens(_turns(body.get("contents") or []))})
        case "batchEmbedContents" if not vertex:
            gemini_checks.only(body, "requests", "")
            rows = []
            for place, one in enumerate(body.get("requests") or ()):
                if one.get("model") != f"models/{model}":
                    raise invalid(f"requests[{place}].model: must be models/{model}")
                rows.append({"values": _embedded(call, one, f"requests[{place}]")})
            return answer({"embeddings": rows, "usageMetadata": {"promptTokenCount": len(rows)}})
        case "embedContent":
            return answer(
                {"embedding": {"values": _embedded(call, body, "")}, "usageMetadata": {"promptTokenCount": 3}}
            )
    raise Refusal(404, f"{verb} is not found")


def _embedded(call: Call, one: Json, at: str) -> list[float]:
    names = "model content taskType title outputDimensionality embedContentConfig"
    gemini_checks.only(one, names, at)
    parts = (one.get("content") or {}).get("parts") or []
    if not parts:
        raise invalid(f"{at}.content: contents is not specified")
    text = "".join(part.get("text", "") for part in parts)
    call.heed(text)
    config = one.get("embedContentConfig") or one
    return embed(without_markers(text), config.get("outputDimensionality") or 8)


def _turns(contents: list[Json]) -> list[Json]:
    turns: list[Json] = []
    for content in contents:
        parts = content.get("parts") or []
        turns += (
            {"role": "tool", "content": json.dumps(response["response"], ensure_ascii=False)}
            for part in parts
            if (response := part.get("functionResponse"))
        )
        said = [{"type": "text", "text": part["text"]} for part in parts if "text" in part and not part.get("thought")]
        said += [{"type": "image_url"} for part in parts if "inlineData" in part or "fileData" in part]
        if said:
            turns.append({"role": "user" if content.get("role") != "model" else "assistant", "content": said})
    return turns


def _generate(call: Call, body: Json, model: str, *, stream: bool) -> Answer:
    turns = _turns(body["contents"])
    text = last_user_text(turns)
    call.heed(text)
    config = body.get("generationConfig") or {}
    declared = [one for tool in body.get("tools") or () for one in tool.get("functionDeclarations") or ()]
    calling = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
    allowed = calling.get("allowedFunctionNames") or [one["name"] for one in declared]
    choice: Any = {"ANY": "required", "NONE": "none"}.get(calling.get("mode", "AUTO"), "auto")
    if choice == "required" and len(allowed) == 1:
        choice = {"name": allowed[0]}
    thinking = config.get("thinkingConfig") or {}
    schema = config.get("responseJsonSchema") or config.get("responseSchema")
    if schema is None and config.get("responseMimeType") == "application/json":
        schema = {"type": "object", "properties": {"reply": {"type": "string"}}}
    script = perform(
        Asked(
            name="Gemini",
            text=without_markers(text),
            prompt_tokens=count_tokens(turns),
            images=sum(1 for turn in turns if turn["role"] == "user" for p in turn["content"] if p["type"] != "text"),
            tool_result=turns[-1]["content"] if turns and turns[-1]["role"] == "tool" else None,
            tools=tuple({**one, "parameters": one.get("parametersJsonSchema") or one.get("parameters")}
                        for one in declared),
            tool_choice=choice,
            n=config.get("candidateCount") or 1,
            stop=stops(config.get("stopSequences")),
            max_tokens=config.get("maxOutputTokens"),
            thinking=bool(thinking.get("includeThoughts")) and thinking.get("thinkingBudget") != 0,
            schema=schema,
            chunks=call.faults.tokens,
            big=call.faults.big,
            scripted=scripted(turns),
            said=call.character("Gemini", without_markers(text)),
        )
    )  # fmt: skip
    if not stream:
        return answer(_whole(call, script, model))
    events = list(_chunks(call, script, model))
    if call.query.get("alt") != "sse":
        return Whole(200, sse.dump(events))
    broken = error(Refusal(call.faults.error_frame or 500, "simulated error inside the stream"), "")
    return Events(sse.spoil([sse.data(event) for event in events], call.faults, sse.data(broken)))


_FINISH = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP"}


def _head(call: Call, model: str) -> Json:
    return {"modelVersion": model, "responseId": call.request_id.replace("-", "")[:22]}


def _usage(script: Script) -> Json:
    counts = {
        "promptTokenCount": script.prompt_tokens,
        "candidatesTokenCount": script.tokens - script.reasoning_tokens,
        "totalTokenCount": script.prompt_tokens + script.tokens,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": script.prompt_tokens}],
    }
    return {**counts, **({"thoughtsTokenCount": script.reasoning_tokens} if script.reasoning_tokens else {})}


def _calls(line: Any, model: str) -> list[Json]:
    """Calls as parts: the first of several parallel ones alone is signed."""
    parts: list[Json] = []
    for use in line.calls:
        part: Json = {"functionCall": {"name": use.name, "args": json.loads(use.arguments), "id": use.id}}
        if not parts and gemini_checks.thinks(model):
            part["thoughtSignature"] = SIGNED
        parts.append(part)
    return parts


def _whole(call: Call, script: Script, model: str) -> Json:
    candidates = []
    for place, line in enumerate(script.lines):
        parts: list[Json] = [{"text": line.reasoning, "thought": True}] if line.thinking else []
        parts += [{"text": line.text, "thoughtSignature": SIGNED}] if line.text else []
        parts += _calls(line, model)
        candidates.append(
            {"content": {"parts": parts, "role": "model"}, "finishReason": _FINISH[line.finish], "index": place}
        )
    return {"candidates": candidates, "usageMetadata": _usage(script), **_head(call, model)}


def _chunks(call: Call, script: Script, model: str) -> Iterator[Json]:
    """As Google streams: a call comes whole, the finish reason with an empty text that may be signed."""
    for step in deltas(script):
        part = _part(script, step, model)
        if part is None:
            continue
        candidate: Json = {"content": {"parts": [part], "role": "model"}, "index": step.choice}
        counted: Json = {"promptTokenCount": script.prompt_tokens}
        if step.finish is not None:
            candidate["finishReason"] = _FINISH[step.finish]
            counted = _usage(script)
        yield {"candidates": [candidate], "usageMetadata": counted, **_head(call, model)}


def _part(script: Script, step: Delta, model: str) -> Json | None:
    if step.finish is not None:
        return {"text": "", "thoughtSignature": SIGNED}
    if step.call is not None:
        place, _, _, first = step.call
        return _calls(script.lines[step.choice], model)[place] if first else None
    if step.thinking:
        return {"text": step.thinking, "thought": True}
    return {"text": step.text}
