"""DashScope's native API: what it demands of a request.

Rule: checks here, answers in `dashscope_answers.py`; refusals are `{"code", "message", "request_id"}`.
Parameters are a closed list on purpose: the real service ignores many unknown names, a referee must not.
Source: DashScope API reference and error-code page, 2026.
"""

from typing import Any

from extproc.simulate import qwen
from extproc.simulate.call import Answer, Call, answer
from extproc.simulate.conversation import (
    NO_JSON,
    count_images,
    count_tokens,
    embed,
    file_ids,
    functions,
    last_user_text,
    matches,
    mentions_json,
    schema_of,
    scripted,
    stops,
    tool_result,
    wants_json_object,
)
from extproc.simulate.dashscope_answers import Form, refused, streamed, whole
from extproc.simulate.faults import without_markers
from extproc.simulate.refusal import Refusal
from extproc.simulate.script import Asked, perform

BASE = "/api/v1/services/"
TEXT = "aigc/text-generation/generation"
MULTIMODAL = "aigc/multimodal-generation/generation"
EMBEDDINGS = "embeddings/text-embedding/text-embedding"

TOP_LEVEL = frozenset({"model", "input", "parameters", "resources", "debug"})
ROLES = frozenset({"system", "user", "assistant", "tool"})
PARTS = frozenset({"text", "image", "video", "audio"})

Range = tuple[float, float]
NUMBERS: dict[str, Range] = {
    "temperature": (0, 1.999999), "repetition_penalty": (0.000001, 1e9), "presence_penalty": (-2, 2),
}  # fmt: skip
INTEGERS: dict[str, Range] = {
    "max_tokens": (1, 1e9), "seed": (0, 2**63 - 1), "n": (1, 4), "top_k": (0, 1e9), "top_logprobs": (0, 5),
    "thinking_budget": (0, 1e9),
}  # fmt: skip
TYPED: dict[str, tuple[type, ...]] = {
    "stop": (str, list), "tools": (list,), "tool_choice": (str, dict), "parallel_tool_calls": (bool,),
    "response_format": (dict,), "logprobs": (bool,), "enable_search": (bool,), "search_options": (dict,),
    "enable_thinking": (bool,), "preserve_thinking": (bool,), "incremental_output": (bool,),
}  # fmt: skip
EMBEDDING_PARAMETERS: dict[str, tuple[type, ...]] = {
    "dimension": (int,), "text_type": (str,), "output_type": (str,), "instruct": (str,),
}  # fmt: skip

CODES = {401: "InvalidApiKey", 403: "AccessDenied", 404: "ModelNotFound", 408: "RequestTimeOut",
         411: "LengthRequired", 413: "BadRequest.TooLarge", 429: "Throttling.RateQuota"}  # fmt: skip


def error(refusal: Refusal, request_id: str) -> dict[str, Any]:
    """A refusal in the native shape: dict. Source: "status codes", DashScope 2026."""
    code = refusal.code or CODES.get(refusal.status, "InternalError" if refusal.status >= 500 else "")
    return {
        "code": code or "InvalidParameter",
        "message": refusal.message,
        "request_id": request_id,
        **refusal.extra,
    }


def invalid(message: str) -> Refusal:
    """The commonest refusal, 400 `InvalidParameter`: Refusal."""
    return Refusal(400, message, code="InvalidParameter")


def handle(call: Call) -> Answer:
    """Answer one native request (Call): Answer, or Refusal."""
    if call.api not in (TEXT, MULTIMODAL, EMBEDDINGS):
        raise invalid("url error, please check url!")
    if call.method != "POST":
        raise Refusal(405, f"Request method '{call.method}' not supported", code="MethodNotAllowed")
    body = call.json()
    if unknown := sorted(body.keys() - TOP_LEVEL):
        raise invalid(f"unknown top-level fields: {', '.join(unknown)}")
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise invalid('Required parameter "model" missing or invalid, please check the request parameters.')
    if matches(model, qwen.FOREIGN):
        raise invalid("Model not exist.")
    given, parameters = body.get("input"), body.get("parameters", {})
    if not isinstance(given, dict):
        raise invalid('Either "prompt" or "messages" must exist and cannot both be none')
    if not isinstance(parameters, dict):
        raise invalid("parameters must be an object")
    if call.api == EMBEDDINGS:
        return _embeddings(call, model, given, parameters)
    return _generation(call, model, given, parameters)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def check_top_p(value: Any) -> None:
    """`top_p` lies in the open interval (0, 1): Refusal otherwise."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise invalid(f"Range of top_p should be (0.0, 1.0), but got {value!r}")


def _check_parameters(parameters: dict[str, Any]) -> None:
    for name, value in parameters.items():
        if name in NUMBERS or name in INTEGERS:
            low, high = NUMBERS.get(name) or INTEGERS[name]
            typed = _is_integer(value) or (name in NUMBERS and isinstance(value, float))
            if not typed or not low <= value <= high:
                raise invalid(f"Range of {name} should be [{low}, {high}], but got {value!r}")
        elif name == "top_p":
            check_top_p(value)
        elif name == "result_format":
            if value not in ("text", "message"):
                raise invalid("result_format must be text or message")
        elif name not in TYPED:
            raise invalid(f"unknown parameter: {name}")
        elif not isinstance(value, TYPED[name]):
            raise invalid(f"parameters.{name} has the wrong type: {type(value).__name__}")


def _is_marked(content: Any) -> bool:
    """Texts in parts, which text models take for an explicit cache alone (Model Studio, "Context cache", 2026)."""
    return (
        isinstance(content, list)
        and all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in content)
        and all(part.keys() <= {"text", "cache_control"} for part in content)
        and any(part.get("cache_control") == {"type": "ephemeral"} for part in content)
    )


def _check_message(message: Any, place: int, multimodal: bool) -> None:
    at = f"messages.{place}"
    if not isinstance(message, dict):
        raise invalid(f"{at} must be an object")
    role, content = message.get("role"), message.get("content")
    if role not in ROLES:
        raise invalid(f"{role!r} is not one of ['system', 'assistant', 'user', 'tool'] - '{at}.role'")
    if role == "tool" and not isinstance(message.get("tool_call_id"), str):
        raise invalid(f"{at}: a tool message must have a tool_call_id")
    if content is None and role == "assistant" and message.get("tool_calls"):
        return
    if not multimodal and not isinstance(content, str) and not _is_marked(content):
        raise invalid(f"Input should be a valid string: {at}.content")
    if multimodal and not (
        isinstance(content, list)
        and all(isinstance(part, dict) and part and part.keys() & PARTS for part in content)
        and not any("type" in part or "image_url" in part for part in content)
    ):
        raise invalid(f"{at}.content must be a list of text, image, video or audio objects")


def _generation(call: Call, model: str, given: dict[str, Any], parameters: dict[str, Any]) -> Answer:
    multimodal = call.api == MULTIMODAL
    sse = call.headers.get("x-dashscope-sse", "").lower() == "enable"
    if qwen.is_multimodal(model) != multimodal:
        wrong = invalid("url error, please check url！")
        if not sse:
            raise wrong
        return refused(call, error(wrong, call.request_id), wrong.status)  # the head is a good one all the same
    prompt, messages = given.get("prompt"), given.get("messages")
    if messages is None and isinstance(prompt, str) and not multimodal:
        messages = [{"role": "user", "content": prompt}]
    if not isinstance(messages, list) or not messages:
        raise invalid('Either "prompt" or "messages" must exist and cannot both be none')
    for place, message in enumerate(messages):
        _check_message(message, place, multimodal)
    _check_parameters(parameters)
    if (reason := qwen.refuses_arguments(messages)) is not None:
        raise Refusal(400, f"<400> InternalError.Algo.InvalidParameter: {reason}", code="InvalidParameter")
    accepted = call.headers.get("accept", "*/*")
    if sse and "text/event-stream" not in accepted and "*/*" not in accepted:
        raise invalid("a streaming request must accept text/event-stream")
    if not sse and (reason := qwen.refuses_whole(model, parameters.get("enable_thinking"))):
        raise invalid(reason)
    tools = functions(parameters.get("tools"))
    result_format = parameters.get("result_format", "message" if multimodal or "qwen3" in model else "text")
    thinking = qwen.thinks(model, parameters.get("enable_thinking"))
    if tools and result_format != "message":
        raise invalid('When using tools, result_format must be "message"')
    if tools and parameters.get("n", 1) > 1:
        raise invalid("n must be 1 when tools are given")
    if (reason := qwen.refuses_choice(model, parameters.get("tool_choice"), thinking=thinking)) is not None:
        raise invalid(reason)
    schema = schema_of(parameters.get("response_format"))
    if wants_json_object(parameters.get("response_format")) and not mentions_json(messages):
        raise invalid(NO_JSON)
    text = last_user_text(messages)
    call.heed(text)
    asked = Asked(
        name="通义千问",
        text=without_markers(text),
        prompt_tokens=count_tokens(messages),
        images=count_images(messages),
        files=file_ids(messages),
        tool_result=tool_result(messages),
        tools=tools,
        tool_choice=parameters.get("tool_choice"),
        n=parameters.get("n", 1),
        stop=stops(parameters.get("stop")),
        max_tokens=parameters.get("max_tokens"),
        thinking=thinking,
        thinking_budget=parameters.get("thinking_budget"),
        search=bool(parameters.get("enable_search")),
        schema=schema,
        chunks=call.faults.tokens,
        big=call.faults.big,
        scripted=scripted(messages),
        said=call.character("通义千问", without_markers(text)),
    )
    form = Form(
        multimodal=multimodal,
        old=call.faults.old or (result_format == "text" and not thinking),
        cumulative=call.faults.cumulative or parameters.get("incremental_output") is not True,
        logprobs=bool(parameters.get("logprobs")),
        search=asked.search,
    )
    return streamed(call, perform(asked), form) if sse else whole(call, perform(asked), form)


def _embeddings(call: Call, model: str, given: dict[str, Any], parameters: dict[str, Any]) -> Answer:
    texts = [given["texts"]] if isinstance(given.get("texts"), str) else given.get("texts")
    if not isinstance(texts, list) or not texts or not all(isinstance(t, str) and t for t in texts):
        raise invalid("input.texts must be a list of texts")
    limit = qwen.embedding_limit(model)
    if len(texts) > limit:
        raise invalid(f"batch size is invalid, it should not be larger than {limit}.: input.texts")
    for name, value in parameters.items():
        if name not in EMBEDDING_PARAMETERS or not isinstance(value, EMBEDDING_PARAMETERS[name]):
            raise invalid(f"unknown or wrong parameter: {name}")
    call.heed(texts[-1])
    size = qwen.embedding_size(model, parameters.get("dimension"))
    embeddings = [{"text_index": at, "embedding": embed(text, size)} for at, text in enumerate(texts)]
    usage = {"total_tokens": sum(max(1, len(text) // 2) for text in texts)}
    return answer(
        {"output": {"embeddings": embeddings}, "usage": usage, "request_id": call.request_id},
    )
