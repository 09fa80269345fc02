"""What is measured, by the clock (`make micro`) and by counted instructions (`make instructions`): one table for both.

Rule: a case does what a worker does, on bytes as clients and vendors send them, and the same again at every call. Its
check sees that it measures that, and not the way to an error.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from functools import partial
import itertools
import json
import os
from typing import Any

from extproc._pb import extproc_pb2 as pb
from extproc.config.config import Config
from extproc.exchange import routing
from extproc.exchange.exchange import Snapshot
from extproc.fronts import registry
from extproc.fronts.front import NOTHING
from extproc.providers import Provider
from extproc.terms.agreed import CLIENT_ATTRIBUTE, PLACE_ATTRIBUTE, PROVIDER_ATTRIBUTE, ROUTE_ATTRIBUTE
from extproc.terms.call import Call, parse_path
from extproc.terms.events import Forward
from extproc.text import jsontext, sse
from extproc.text.patterns import ModelMapping
from extproc.worker import codec, logs, wire
from extproc.worker.server import Processor
from tests.unit.vectors import dump, frames

Run = Callable[[], Any]


@dataclass(frozen=True)
class Case:
    """`name`: one word, for `pytest -k`. `make`: prepares it, gives what is measured. `check`: what a result must be.
    `rounds`: calls that are counted, so many that what surrounds them is next to nothing."""

    name: str
    make: Callable[[], Run]
    check: Callable[[Any], bool]
    rounds: int = 50

    @property
    def over_the_wire(self) -> bool:
        """Whether messages are read and written, which there are two forms of (`worker/codec.py`)."""
        return self.name.startswith(("wire-", "exchange-"))


@contextmanager
def log_to_nowhere() -> Iterator[None]:
    """The log line of an exchange is written as in a worker, but to nobody."""
    with open(os.devnull, "w", buffering=1) as nowhere, redirect_stderr(nowhere):
        logs.configure("json")
        yield
        logs.drain(5)  # lines of a thread of their own


# What clients and vendors send

TEXT = "The quick brown fox, 敏捷的棕色狐狸, jumps over the lazy dog. "
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
CHAT = {
    "model": "gpt-4o",
    "messages": [{"role": "developer", "content": TEXT}, {"role": "user", "content": TEXT * 4}],
    "temperature": 0.7,
    "max_completion_tokens": 512,
    "tools": [TOOL],
}
STREAMED = dump({**CHAT, "stream": True})
MAPPING = {
    "gpt-4": "qwen-plus",
    "gpt-4o": "qwen-max",
    **{f"gpt-{n}": "qwen-turbo" for n in range(5, 9)},
    "o1*": "qwq-plus",
    "o1-mini*": "qwq-32b",
    "claude-3*": "qwen-max",
    "~^gemini-(.*)-flash$": "qwen-$1",
    "~(?i)llama": "qwen3",
    "*": "qwen-plus",
}


def chat(size: int) -> bytes:
    """A chat of that many bytes, most of them in one message."""
    content = TEXT * (size // len(TEXT.encode()))
    return dump({"model": "gpt-4o", "temperature": 0.7, "messages": [{"role": "user", "content": content}]})


def vendor_stream(count: int) -> list[bytes]:
    """DashScope's events, each as it arrives."""
    spoken = [{"m": {"content": f"{n} {TEXT[:12]}"}} for n in range(count - 1)]
    stream = frames([*spoken, {"m": {"content": ""}, "finish": "stop"}])
    return [event + b"\n\n" for event in stream.split(b"\n\n")[:-1]]


def vendor_answer() -> bytes:
    choice = {"message": {"role": "assistant", "content": TEXT * 20}, "finish_reason": "stop"}
    usage = {"input_tokens": 100, "output_tokens": 400, "total_tokens": 500}
    return dump({"output": {"choices": [choice]}, "usage": usage, "request_id": "4a2e7b1c-0000-9f9f-8000-123456789abc"})


def openai_stream(count: int) -> list[bytes]:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "gpt-4o-mini"}
    said = [{"index": 0, "delta": {"content": f"{n} {TEXT[:12]}"}, "finish_reason": None} for n in range(count - 2)]
    choices = [*said, {"index": 0, "delta": {}, "finish_reason": "stop"}]
    return [*(b"data: " + dump({**head, "choices": [c]}) + b"\n\n" for c in choices), b"data: [DONE]\n\n"]


# Framing


def framing(size: int) -> Run:
    """A stream of 100 events in pieces of `size` bytes."""
    pieces = [bytes(piece) for piece in _cut(b"".join(vendor_stream(100)), size)]

    def run() -> list[bytes]:
        decoder = sse.Decoder(id_starts_event=True)
        found = [event for piece in pieces for event in decoder.feed(piece)]
        return [event.raw for event in itertools.chain(found, decoder.close())]

    return run


def _cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


# Conversion


KEY = "sk-0123456789abcdef0123456789abcdef"


def config(type: str, mapping: dict[str, str], **more: Any) -> Config:
    provider = {"id": "p", "type": type, "apiTokens": [KEY], "modelMapping": mapping, **more}
    return Config.model_validate({"providers": [provider]})


NATIVE = config("qwen", MAPPING)
RENAMED = config("openai", {"gpt-4o": "gpt-4o-mini"})
COUNTED = config("openai", {})
UNREAD = config("openai", {}, usage={"passed": "off"})


def prepared(provider: Provider, body: bytes) -> Call:
    """The call that an exchange makes of a chat's body."""
    target, fields = parse_path("/v1/chat/completions"), jsontext.fields(body)
    return Call(
        target,
        "POST",
        {"content-type": "application/json"},
        body=fields,
        text=body,
        model=(model := routing.requested_model(fields)),
        upstream_model=provider.upstream_model(model),
        stream=fields.get("stream") == jsontext.TRUE,
        token=KEY,
    )


def translator(call: Call) -> Any:
    return registry.translator(registry.CHAT_FRONT, NATIVE.providers[0], call, NOTHING)


def one_chunk() -> Run:
    """Deep in a stream, where the translator has settled that it is not cumulative."""
    chat = translator(prepared(NATIVE.providers[0], STREAMED))
    *before, event = sse.events(frames([{"m": {"content": f"{n} {TEXT}"}} for n in range(500)]), sse.Decoder())
    for earlier in before:
        list(chat.event(earlier))
    return lambda: b"".join(chat.event(event))


def whole_answer() -> Run:
    call, body = prepared(NATIVE.providers[0], dump(CHAT)), vendor_answer()
    return lambda: translator(call).body(body)


def request_body(config: Config, body: bytes) -> Run:
    """From the client's bytes to the vendor's request."""
    provider = config.providers[0]
    return lambda: provider.request(prepared(provider, body)).body


def mapping(name: str) -> Run:
    return partial(ModelMapping(MAPPING).map, name)


# The wire


def message(phase: str, value: Any, **attributes: str) -> bytes:
    """A message of Envoy's."""
    request = pb.ProcessingRequest(**{phase: value})
    for name, text in attributes.items():
        field = pb.Attribute(key=name, value={"string_value": text})
        request.attributes[wire.ATTRIBUTES_KEY].fields.append(field.SerializeToString())
    return bytes(request.SerializeToString())


def head(headers: dict[str, str]) -> pb.HttpHeaders:
    given = pb.HttpHeaders()
    for name, value in headers.items():
        given.headers.headers.append(pb.HeaderValue(key=name, raw_value=value.encode()).SerializeToString())
    return given


CLIENT_HEAD = {
    ":method": "POST",
    ":scheme": "https",
    ":authority": "gateway.example.com",
    ":path": "/v1/chat/completions",
    "content-type": "application/json",
    "accept": "application/json",
    "accept-encoding": "gzip, deflate",
    "authorization": "Bearer client-key",
    "user-agent": "OpenAI/Python 3.54.0",
    "x-stainless-lang": "python",
    "x-stainless-package-version": "3.54.0",
    "x-stainless-retry-count": "0",
    "x-request-id": "b1c2d3e4-1111-2222-3333-444455556666",
    "x-envoy-attempt-count": "1",
    "x-forwarded-proto": "https",
    "content-length": "1234",
}
VENDOR_HEAD = {":status": "200", "server": "istio-envoy", "x-request-id": "vendor-1", "req-cost-time": "321"}


def over_the_wire(sent: bytes, reply: Forward) -> Run:
    """A message's bytes to an event, and a reply to bytes."""

    def run() -> bytes:
        phase, event = codec.read(sent)
        assert event is not None
        return codec.write(reply, phase)

    return run


# Whole exchanges


def exchange(config: Config, body: bytes, kind: str, answer: list[bytes]) -> Run:
    """What the server does with the filter in the provider's cluster. `kind`: the answer's. `answer`: its pieces, none
    where Envoy keeps them."""
    state = json.dumps({**{n: v for n, v in CLIENT_HEAD.items() if n[0] != ":"}, ":path": "/v1/chat/completions"})
    placed = {
        PROVIDER_ATTRIBUTE: "p",
        PLACE_ATTRIBUTE: config.providers[0].place,
        ROUTE_ATTRIBUTE: "default",
        CLIENT_ATTRIBUTE: state,
    }
    last = len(answer) - 1
    messages = [
        message("request_headers", head(CLIENT_HEAD), **placed),
        message("request_body", pb.HttpBody(body=body, end_of_stream=True)),
        message(
            "response_headers",
            head({**VENDOR_HEAD, "content-type": kind}),
            **{"response.code_details": "via_upstream"},
        ),
        *(message("response_body", pb.HttpBody(body=b, end_of_stream=n == last)) for n, b in enumerate(answer)),
    ]
    snapshot = Snapshot(config, {})
    processor = Processor(lambda: snapshot)

    def run() -> list[bytes]:
        talk = processor.begin()
        answers = [talk.answer(message) for message in messages]
        talk.end()
        return answers

    return run


def says(count: int, *parts: bytes) -> Callable[[Any], bool]:
    """The check of an exchange: so many answers, no error, and all the parts."""

    def check(written: list[bytes]) -> bool:
        every = b"".join(written)
        return len(written) == count and b'"error"' not in every and all(part in every for part in parts)

    return check


SSE = "text/event-stream;charset=UTF-8"
KB = 1024

CASES = (
    Case("sse-whole", partial(framing, 1 << 20), lambda events: len(events) == 100, 10),
    Case("sse-in-7-bytes", partial(framing, 7), lambda events: len(events) == 100, 5),
    Case("native-chunk", one_chunk, lambda chunk: b"chat.completion.chunk" in chunk),
    Case("native-answer", whole_answer, lambda answer: b'"chat.completion"' in answer),
    Case("native-request", partial(request_body, NATIVE, dump(CHAT)), lambda body: b'"parameters"' in body),
    *(
        Case(f"renamed-{label}", partial(request_body, RENAMED, chat(size)), lambda b: b"-mini" in b, rounds)
        for label, size, rounds in (("1KB", KB, 50), ("32KB", 32 * KB, 20), ("1MB", KB * KB, 2))
    ),
    *(
        Case(f"model-{kind}", partial(mapping, name), partial(target.__eq__), 500)
        for kind, name, target in (
            ("exact", "gpt-4o", "qwen-max"),
            ("prefix", "o1-mini-2024", "qwq-32b"),
            ("expression", "gemini-2.5-flash", "qwen-2.5"),
            ("default", "deepseek-chat", "qwen-plus"),
        )
    ),
    Case(
        "wire-headers",
        partial(
            over_the_wire,
            message("request_headers", head(CLIENT_HEAD)),
            Forward(CLIENT_HEAD, ("a", "b"), metadata={"provider": "p"}),
        ),
        lambda reply: b"x-stainless-lang" in reply,
    ),
    Case(
        "wire-chunk",
        partial(over_the_wire, message("response_body", pb.HttpBody(body=b"y" * 200)), Forward(body=b"x" * 200)),
        lambda reply: b"x" * 200 in reply,
        200,
    ),
    Case(
        "exchange-native-whole",
        partial(exchange, NATIVE, dump(CHAT), "application/json", [vendor_answer()]),
        says(4, b'"chat.completion"', b'"model":"gpt-4o"'),
        20,
    ),
    Case(
        "exchange-native-100-chunks",
        partial(exchange, NATIVE, STREAMED, SSE, vendor_stream(100)),
        says(103, b'"model":"gpt-4o"', b"data: [DONE]"),
        3,
    ),
    Case(
        "exchange-renamed-100-chunks",
        partial(exchange, RENAMED, STREAMED, SSE, openai_stream(100)),
        says(103, b'"model":"gpt-4o"', b"data: [DONE]"),
        3,
    ),
    Case("exchange-passed-through", partial(exchange, UNREAD, STREAMED, SSE, []), says(3), 20),
    Case(
        "exchange-counted-100-chunks",
        partial(exchange, COUNTED, STREAMED, SSE, openai_stream(100)),
        says(103, b"data: [DONE]"),
        3,
    ),
)
"""Every case; names are what baselines are kept under."""
