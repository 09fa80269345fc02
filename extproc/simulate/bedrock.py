"""Amazon Bedrock: Converse and ConverseStream, by bearer key or signature.

Rule: written from Amazon's documents and the model of its API, `botocore` 1.44.8, read 2026-11-30.
"""

from collections.abc import Iterator
import json
import re
from typing import Any
from urllib.parse import unquote

from extproc.simulate import aws, bedrock_checks, sse
from extproc.simulate.bedrock_checks import invalid
from extproc.simulate.call import Answer, Call, Events, answer
from extproc.simulate.conversation import count_tokens, last_user_text, matches, scripted, stops
from extproc.simulate.faults import without_markers
from extproc.simulate.refusal import Refusal
from extproc.simulate.script import Asked, Script, deltas, perform
from extproc.simulate.sse import Stream

Json = dict[str, Any]

NAMES = {
    400: "ValidationException", 401: "UnrecognizedClientException", 403: "AccessDeniedException",
    404: "ResourceNotFoundException", 408: "ModelTimeoutException", 424: "ModelErrorException",
    429: "ThrottlingException", 500: "InternalServerException", 503: "ServiceUnavailableException",
}  # fmt: skip
_STREAMED = {
    429: "throttlingException", 503: "serviceUnavailableException", 500: "internalServerException",
    400: "validationException",
}  # fmt: skip
_PATH = re.compile(r"/model/([^/]+)/(converse|converse-stream)")
_FINISH = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
MEDIA = "application/vnd.amazon.eventstream"


def error(refusal: Refusal, _request_id: str) -> Json:
    """A refusal in Amazon's shape: dict. Its name is a header's."""
    return {"message": refusal.message}


def headers(refusal: Refusal) -> dict[str, str]:
    """The header with a refusal's name: dict."""
    name = refusal.kind or NAMES.get(refusal.status, "InternalServerException")
    return {"x-amzn-errortype": f"{name}:http://internal.amazon.com/coral/com.amazon.bedrock/"}


def handle(call: Call) -> Answer:
    """Answer one request (Call) at Bedrock's runtime: Answer, or Refusal."""
    _check_key(call)
    found = _PATH.fullmatch(call.raw_path.partition("?")[0])
    if found is None or call.method != "POST":
        raise Refusal(
            404, "Unable to determine service/operation name to be authorized", kind="UnknownOperationException"
        )
    model = unquote(found[1])
    if not re.fullmatch(r"[a-zA-Z0-9.:/_-]{1,2048}", model) or model.startswith(("gpt-4", "no-such")):
        raise invalid("The provided model identifier is invalid.")
    body = call.json()
    bedrock_checks.check(body, model)
    turns = _turns(body["messages"])
    call.heed(last_user_text(turns))
    script = perform(_asked(call, body, turns, model))
    return _events(call, script) if found[2] == "converse-stream" else answer(_whole(script))


def _check_key(call: Call) -> None:
    given = call.headers.get("authorization", "")
    scheme, _, key = given.partition(" ")
    if scheme == "Bearer":
        if not call.options.accepts("bedrock", key):
            raise Refusal(403, "Authentication failed: Please make sure your API Key is valid.")
        return
    if not given:
        raise Refusal(403, "Missing Authentication Token", kind="MissingAuthenticationTokenException")
    if why := aws.wrong_signature(call.method, call.raw_path, call.headers, call.body, "bedrock"):
        kind = "UnrecognizedClientException" if "token" in why else "InvalidSignatureException"
        raise Refusal(403, why, kind=kind)


def _turns(messages: list[Json]) -> list[Json]:
    turns: list[Json] = []
    for message in messages:
        said: list[Json] = []
        for block in message["content"]:
            if result := block.get("toolResult"):
                text = "".join(
                    p.get("text") or json.dumps(p.get("json"), ensure_ascii=False) for p in result["content"]
                )
                turns.append({"role": "tool", "content": text})
            elif "text" in block:
                said.append({"type": "text", "text": block["text"]})
            elif "image" in block:
                said.append({"type": "image_url"})
        if said:
            turns.append({"role": message["role"], "content": said})
    return turns


def _asked(call: Call, body: Json, turns: list[Json], model: str) -> Asked:
    config, tools = body.get("inferenceConfig") or {}, body.get("toolConfig") or {}
    choice = tools.get("toolChoice") or {}
    more, output = body.get("additionalModelRequestFields") or {}, body.get("outputConfig") or {}
    structure = ((output.get("textFormat") or {}).get("structure") or {}).get("jsonSchema") or {}
    text = without_markers(last_user_text(turns))
    thinking = (more.get("thinking") or {}).get("type") in ("enabled", "adaptive")
    return Asked(
        name="Bedrock",
        text=text,
        prompt_tokens=count_tokens(turns),
        images=sum(1 for turn in turns if turn["role"] == "user" for part in turn["content"] if part["type"] != "text"),
        tool_result=turns[-1]["content"] if turns and turns[-1]["role"] == "tool" else None,
        tools=tuple(
            {"name": spec["name"], "parameters": spec["inputSchema"]["json"]}
            for tool in tools.get("tools", ())
            if (spec := tool.get("toolSpec"))
        ),
        tool_choice="required" if "any" in choice else choice.get("tool"),
        stop=stops(config.get("stopSequences")),
        max_tokens=config.get("maxTokens"),
        thinking=thinking or matches(model, bedrock_checks.ALWAYS) if "claude" in model else bool(output.get("effort")),
        schema=json.loads(structure["schema"]) if structure else None,
        chunks=call.faults.tokens,
        big=call.faults.big,
        scripted=scripted(turns),
        said=call.character("Bedrock", text),
    )


def _usage(script: Script) -> Json:
    counts = {"inputTokens": script.prompt_tokens, "outputTokens": script.tokens}
    return {**counts, "totalTokens": sum(counts.values()), "cacheReadInputTokens": 0, "cacheWriteInputTokens": 0}


def _whole(script: Script) -> Json:
    line = script.lines[0]
    content: list[Json] = []
    if line.thinking:
        content.append({"reasoningContent": {"reasoningText": {"text": line.reasoning, "signature": "c2lt"}}})
    content += [{"text": line.text}] if line.text else []
    content += [
        {"toolUse": {"toolUseId": use.id.replace("call_", "tooluse_"), "name": use.name,
                     "input": json.loads(use.arguments)}}
        for use in line.calls
    ]  # fmt: skip
    message = {"role": "assistant", "content": content}
    return {"output": {"message": message}, "stopReason": _FINISH[line.finish], "usage": _usage(script),
            "metrics": {"latencyMs": 12}}  # fmt: skip


def _told(kind: str, payload: Json) -> bytes:
    named = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return aws.message(named, sse.dump({**payload, "p": "abcdefghij"[: 1 + len(str(payload)) % 10]}))


def _events(call: Call, script: Script) -> Events:
    written = [_told(kind, payload) for kind, payload in _spoken(script)]
    half = max(1, len(written) // 2)
    faults = call.faults
    if faults.error_frame is not None:
        name = _STREAMED.get(faults.error_frame, "modelStreamErrorException")
        named = {":exception-type": name, ":content-type": "application/json", ":message-type": "exception"}
        broken = aws.message(named, sse.dump({"message": "simulated error inside the stream"}))
        return Events(Stream((*written[:half], broken)), media=MEDIA)
    if faults.badjson:
        named = {":event-type": "contentBlockDelta", ":content-type": "application/json", ":message-type": "event"}
        written.insert(half, aws.message(named, b'{"contentBlockIndex": <<<'))
        return Events(Stream(tuple(written)), media=MEDIA)
    return Events(sse.spoil(written, faults, b""), media=MEDIA)


def _spoken(script: Script) -> Iterator[tuple[str, Json]]:
    yield "messageStart", {"role": "assistant"}
    index, open_as = -1, ""
    for step in deltas(script):
        if step.finish is not None:
            continue
        kind = "text"
        piece: Json = {"text": step.text}
        start: Json | None = None
        if step.thinking:
            kind, piece = "thinking", {"reasoningContent": {"text": step.thinking}}
        elif step.call is not None:
            place, use, part, _ = step.call
            kind, piece = f"call {place}", {"toolUse": {"input": part}}
            start = {"toolUse": {"toolUseId": use.id.replace("call_", "tooluse_"), "name": use.name}}
        if kind != open_as:
            yield from _closed(index, open_as)
            index, open_as = index + 1, kind
            if start is not None:  # text blocks have no start
                yield "contentBlockStart", {"contentBlockIndex": index, "start": start}
        yield "contentBlockDelta", {"contentBlockIndex": index, "delta": piece}
    yield from _closed(index, open_as)
    yield "messageStop", {"stopReason": _FINISH[script.lines[0].finish]}
    yield "metadata", {"usage": _usage(script), "metrics": {"latencyMs": 12}}


def _closed(index: int, open_as: str) -> Iterator[tuple[str, Json]]:
    if open_as == "thinking":
        yield "contentBlockDelta", {"contentBlockIndex": index, "delta": {"reasoningContent": {"signature": "c2lt"}}}
    if open_as:
        yield "contentBlockStop", {"contentBlockIndex": index}
