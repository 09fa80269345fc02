"""DashScope's native wire format: OpenAI requests → DashScope requests, DashScope errors and embeddings back.

Rule: pure functions and tables; the provider (`qwen.py`) chooses between them, chat answers are in
`dashscope_chat.py`. Source: DashScope API reference for text generation, multimodal generation and text
embedding (help.aliyun.com, 2026).
"""

import base64
from contextlib import suppress
from operator import itemgetter
import re
import struct
from typing import Any, Final

from msgspec import Raw

from extproc.providers.dashscope_parameters import load
from extproc.providers.messages import whole_arguments
from extproc.providers.translator import Translator
from extproc.terms.call import Call
from extproc.terms.errors import BadUpstreamResponse, InvalidParameter, MissingParameter, UpstreamError, type_of
from extproc.terms.refusals import vendor_error
from extproc.text import jsontext, sse
from extproc.text.jsontext import NULL, Fields, NotJson

# Requests

_SAME_NAME = (
    "temperature seed n stop presence_penalty tools tool_choice parallel_tool_calls response_format logprobs "
    "top_logprobs top_k repetition_penalty enable_search search_options enable_thinking thinking_budget "
    "preserve_thinking"
).split()
"""Parameters that both sides call the same."""

_SAID = frozenset(
    (
        *_SAME_NAME,
        *"model messages stream stream_options max_tokens max_completion_tokens top_p reasoning_effort".split(),
    )
)
"""Members of which nothing is lost. Of the others the vendor would ignore some and refuse some."""
_NEUTRAL = frozenset({b"0", b"0.0", b"false", b"{}", b"[]", b'""'})
"""Values that say nothing: chat programs send them with every request."""

_MESSAGE_KEYS = ("role", "name", "tool_calls", "tool_call_id", "reasoning_content", "partial")


def chat_request(
    fields: Fields, model: str, *, multimodal: bool, stream: bool, search: bool
) -> tuple[bytes, tuple[str, ...]]:
    """An OpenAI chat body in the model's terms (`dashscope_parameters.settle`) as DashScope's, and the names of members
    that it has no word for.

    `stream`: how the vendor is asked, which may differ from the client's wish. `search`: `enable_search` unless the
    client said otherwise.

    Raises `ClientError` for content that the model's endpoint cannot take.
    """
    sent = {name: value for name, value in fields.items() if value != NULL}
    parameters: dict[str, Any] = {name: sent[name] for name in _SAME_NAME if name in sent}
    for name in ("max_tokens", "max_completion_tokens"):
        if name in sent:
            parameters["max_tokens"] = sent[name]
    if "top_p" in sent:
        parameters["top_p"] = _open_interval(sent["top_p"])
    if search:
        parameters.setdefault("enable_search", True)
    if stream:
        parameters["incremental_output"] = True
    parameters["result_format"] = "message"
    messages = [_message(m, i, multimodal=multimodal) for i, m in enumerate(jsontext.objects(fields["messages"]))]
    body = jsontext.dump({"model": model, "input": {"messages": messages}, "parameters": parameters})
    if sent.keys() <= _SAID:
        return body, ()
    return body, tuple(name for name in sent if name not in _SAID and bytes(sent[name]) not in _NEUTRAL)


def _open_interval(raw: Raw) -> Any:
    """DashScope refuses a `top_p` of 0 and 1, and NextChat always sends 1 (ChatGPTNextWeb/NextChat#4772, 2024)."""
    top_p = load(raw, "top_p")
    if isinstance(top_p, bool) or not isinstance(top_p, int | float):
        raise InvalidParameter("top_p must be a number", param="top_p")
    return min(max(top_p, 1e-6), 0.999999)


def _message(message: Fields, i: int, *, multimodal: bool) -> dict[str, Any]:
    converted: dict[str, Any] = {k: message[k] for k in _MESSAGE_KEYS if k in message and message[k] != NULL}
    if "tool_calls" in converted:
        converted["tool_calls"] = whole_arguments(converted["tool_calls"])
    param = f"messages[{i}].content"
    content = load(message.get("content", NULL), param)
    if content is None:
        content = ""
    if isinstance(content, str):
        converted["content"] = [{"text": content}] if multimodal else content
    elif not isinstance(content, list):
        raise InvalidParameter(f"{param} must be a string or an array of parts", param=param)
    else:
        parts = [_part(part, f"{param}[{j}]") for j, part in enumerate(content)]
        if not multimodal and not all("text" in p for p in parts):
            raise InvalidParameter(f"{param}: this model takes text only", param=param)
        # A text model takes parts where one is marked for the cache (Alibaba, "Explicit cache", 2026-10).
        if multimodal or any(len(p) > 1 for p in parts):
            converted["content"] = parts
        else:
            converted["content"] = "\n".join(p["text"] for p in parts)
    return converted


def _part(part: Any, param: str) -> dict[str, Any]:
    """One OpenAI content part as DashScope's."""
    kind = part.get("type") if isinstance(part, dict) else None
    match kind:
        case "text":
            text = {"text": _string(part.get("text"), f"{param}.text")}
            return {**text, "cache_control": part["cache_control"]} if part.get("cache_control") else text
        case "refusal":
            return {"text": _string(part.get("refusal"), f"{param}.refusal")}
        case "image_url" | "video_url":
            value = part.get(kind)
            url = value.get("url") if isinstance(value, dict) else value
            return {kind.removesuffix("_url"): _string(url, f"{param}.{kind}.url")}
        case "input_audio":
            audio = part.get("input_audio")
            data = (audio.get("data") or audio.get("url")) if isinstance(audio, dict) else audio
            return {"audio": _string(data, f"{param}.input_audio.data")}
        case _:
            raise InvalidParameter(f"{param}: a part of type {str(kind)[:40]!r} is not supported", param=param)


def _string(value: Any, param: str) -> str:
    if not isinstance(value, str):
        raise InvalidParameter(f"{param} must be a string", param=param)
    return value


# Embeddings

_BATCH = {"text-embedding-v1": 25, "text-embedding-v2": 25}
_DEFAULT_BATCH = 10
_EMBEDDING_PARAMETERS = {"dimensions": "dimension", "text_type": "text_type", "output_type": "output_type"}


def embeddings_request(fields: Fields, model: str) -> bytes:
    """An OpenAI embeddings body as DashScope's. Raises `ClientError` for input the vendor cannot take."""
    if "input" not in fields:
        raise MissingParameter("input is missing", param="input")
    texts = _texts(fields["input"])
    if len(texts) > (most := _BATCH.get(model, _DEFAULT_BATCH)):
        raise InvalidParameter(f"input has {len(texts)} texts, {model} takes at most {most} at once", param="input")
    encoding = load(fields.get("encoding_format", NULL), "encoding_format")
    if encoding not in (None, "float", "base64"):
        raise InvalidParameter("encoding_format must be float or base64", param="encoding_format")
    parameters = {
        theirs: fields[ours] for ours, theirs in _EMBEDDING_PARAMETERS.items() if fields.get(ours, NULL) != NULL
    }
    return jsontext.dump({"model": model, "input": {"texts": texts}, "parameters": parameters})


def _texts(given: Raw) -> list[str]:
    """Token arrays may be long: none is made of numbers."""
    wrong = "input must be a string or a non-empty array of strings: this vendor takes no token arrays"
    with suppress(NotJson):
        if bytes(given).startswith(b'"'):
            return [jsontext.load(given)]
        if texts := jsontext.texts(given):
            return texts
    raise InvalidParameter(wrong, param="input")


class Embeddings(Translator):
    """DashScope embeddings → OpenAI's `list`; `encoding_format: base64` as little-endian float32."""

    gathers = True  # nobody streams embeddings, so a stream is refused whole

    def __init__(self, call: Call, model: str | None) -> None:
        self._model = model
        self._base64 = jsontext.peek((call.body or {}).get("encoding_format", NULL)) == "base64"

    def body(self, body: bytes) -> bytes:
        try:
            document = jsontext.load(body)
            data = [self._item(e, i) for i, e in enumerate(document["output"]["embeddings"])]
            data.sort(key=itemgetter("index"))
        except (NotJson, LookupError, TypeError, AttributeError, struct.error, OverflowError):
            raise BadUpstreamResponse("the vendor's embeddings answer cannot be read") from None
        self.raw_usage = document.get("usage")
        usage = {"prompt_tokens": self.usage.prompt_tokens or 0, "total_tokens": self.usage.total_tokens or 0}
        return jsontext.dump({"object": "list", "data": data, "model": self._model, "usage": usage})

    def _item(self, item: dict[str, Any], position: int) -> dict[str, Any]:
        vector = item["embedding"]
        if self._base64:
            vector = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
        index = jsontext.whole(item.get("text_index"))
        return {"object": "embedding", "index": position if index is None else index, "embedding": vector}


# Errors


def error(status: int, body: bytes) -> UpstreamError:
    """`{"code", "message", "request_id"}` as an OpenAI error; any other body as every vendor's."""
    try:
        document = jsontext.load(body)
    except NotJson:
        document = None
    if not isinstance(document, dict) or "error" in document or not isinstance(document.get("code"), str):
        return vendor_error(status, body)
    code = document["code"]
    inspected = code.replace("_", "").lower().startswith("datainspection")
    return UpstreamError(
        status,
        str(document.get("message") or code),
        type="insufficient_quota" if code == "Arrearage" else type_of(status),
        code="content_filter" if inspected else code,
        rests=_NO_RIGHT if code in _UNPAID else 0.0,
    )


_UNPAID = ("Arrearage", "AllocationQuota.FreeTierOnly")
"""No permission until somebody pays, and no rate (dashscope 2.0.2's client, 2026-11-30)."""
_NO_RIGHT = 60.0


_STATUS = re.compile(rb"HTTP_STATUS/([1-5]\d\d)")
_WELL = (b"HTTP_STATUS/200",)
"""The comments of nearly every event."""


def _status(comments: tuple[bytes, ...]) -> int:
    return next((int(found[1]) for comment in comments if (found := _STATUS.fullmatch(comment))), 200)


def event_error(event: sse.Event) -> UpstreamError | None:
    """The error that an event of a stream is: by its name, by its `:HTTP_STATUS/…` comment, or by a `code` where an
    answer would be, or an OpenAI `error`. None for every other event."""
    status = 200 if event.comments == _WELL else _status(event.comments)
    if event.name == b"error" or status >= 400 or _is_refusal(event.data):
        return error(status if status >= 400 else _usual(event.data), event.data)
    return None


_USUAL: Final = {"invalidparameter": 400, "datainspection": 400, "arrearage": 400, "throttling": 429}


def _usual(data: bytes) -> int:
    """The status that a refusal has whose event tells none, by its code (DashScope, "Error codes", 2026-11)."""
    told = (jsontext.peek(data, "code"), jsontext.peek(data, "error", "code"))
    code = next((one for one in told if isinstance(one, str)), "").replace("_", "").lower()
    return next((status for begin, status in _USUAL.items() if code.startswith(begin)), 500)


def _is_refusal(data: bytes) -> bool:
    if data.find(b'"code"') < 0 and data.find(b'"error"') < 0:  # so nothing is read twice; `in` takes longer
        return False
    try:
        document = jsontext.load(data)
    except NotJson:
        return False
    if not isinstance(document, dict):
        return False
    return isinstance(document.get("error"), dict) or (isinstance(document.get("code"), str) and document["code"] != "")
