"""The wire: any bytes, and any messages in any order, on one gRPC stream. Each message gets its answer, in a form that
Envoy takes; a stream that cannot be understood ends with an error, never cleanly before Envoy ends it."""

from collections.abc import Sequence
import json
from typing import Any

from google.protobuf.message import DecodeError, Message
import grpc
from hypothesis import given
from hypothesis import strategies as st
import pytest
import structlog

from extproc._pb import extproc_pb2 as pb
from extproc.config.config import Config
from extproc.exchange.exchange import Snapshot
from extproc.worker import streams, wire
from extproc.worker.server import Processor
from tests.unit.player import config_of
from tests.unit.vectors import answer_bytes, dump

from .effort import fuzzed
from .mutations import RAW, VECTORS, damaged

CLIENTS = [{"name": "c", "key": "client", "models": ["m*"]}]
CONFIGS = [
    config_of({"maxBodyBytes": 4096, "providers": [{"id": "p", **p}], **more})
    for p, more in [
        ({"type": "qwen", "apiTokens": ["sk-key-of-the-vendor"], "modelMapping": {"*": "v"}}, {}),
        ({"type": "qwen", "apiTokens": ["sk-key-of-the-vendor"], "protocol": "original"}, {}),
        ({"type": "openai", "recordUsage": True}, {}),
        ({"type": "openai", "usage": {"passed": "envoy"}}, {}),
        ({"type": "openai", "modelMapping": {"*": "v"}}, {"clients": CLIENTS}),
        ({"type": "azure", "apiTokens": ["k"], "azureServiceUrl": "https://r?api-version=v"}, {}),
        ({"type": "moonshot", "apiTokens": ["k"], "modelMapping": {"*": "kimi-k3"}}, {}),
    ]
]  # fmt: skip
PHASES = (
    "request_headers",
    "request_body",
    "response_headers",
    "response_body",
    "request_trailers",
    "response_trailers",
)


@pytest.fixture(autouse=True, scope="module")
def _quiet() -> None:
    structlog.configure(processors=[drop])


def drop(*_: object) -> Any:
    raise structlog.DropEvent


def served(config: Config, messages: Sequence[Message]) -> list[tuple[Message, pb.ProcessingResponse]]:
    """Messages with their answers, all of them or those until an error within an answer breaks the stream; raises what
    else ends it with an error status."""
    talk = Processor(lambda: Snapshot(config, {})).begin()
    pairs: list[tuple[Message, pb.ProcessingResponse]] = []
    try:
        for message in messages:
            try:
                answer = talk.answer(message.SerializeToString())
            except streams.Refused as broken:
                if broken.code != grpc.StatusCode.ABORTED.value[0]:
                    raise
                if broken.last is not None:
                    pairs.append((message, pb.ProcessingResponse.FromString(broken.last)))
                break
            pairs.append((message, pb.ProcessingResponse.FromString(answer)))
        return pairs
    finally:
        talk.end()


def check(message: Any, answer: Any) -> None:
    """An answer that Envoy takes for this message."""
    phase = message.WhichOneof("request")
    kind = answer.WhichOneof("response")
    assert kind in (phase, "immediate_response"), (phase, kind)
    assert set(answer.dynamic_metadata) <= {"ai_proxy"}
    if kind == "immediate_response":
        assert 200 <= answer.immediate_response.status.code <= 599
        document = json.loads(answer.immediate_response.body)
        assert answer.immediate_response.status.code < 400 or document["error"]["message"] is not None
        mutation = answer.immediate_response.headers
    elif phase.endswith("trailers"):
        return
    else:
        common = getattr(answer, phase).response
        mutation = common.header_mutation
        lengths = [h.header.raw_value for h in mutation.set_headers if h.header.key == "content-length"]
        if common.HasField("body_mutation"):
            assert lengths in ([], [str(len(common.body_mutation.body)).encode()])
            assert not phase.endswith("headers")
    assert answer.HasField("mode_override") == (phase.endswith("headers") and kind == phase)
    for option in mutation.set_headers:
        assert option.header.key == option.header.key.lower()
        assert not option.header.value  # Envoy would set an empty header


# Any bytes


@fuzzed(5)
@given(config=st.sampled_from(CONFIGS), data=st.lists(st.binary(max_size=60), max_size=3))
def test_any_bytes_are_refused_or_answered(config: Config, data: list[bytes]) -> None:
    messages = []
    for one in data:
        try:
            messages.append(pb.ProcessingRequest.FromString(one))
        except DecodeError:
            return  # gRPC ends the stream with an error status
    try:
        pairs = served(config, messages)
    except (DecodeError, ValueError):  # of no known kind, or a header of it cannot be read
        return
    for message, answer in pairs:
        check(message, answer)


# Any messages

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.one_of(
    st.sampled_from(
        b"/v1/chat/completions /v1/embeddings /v1/models /v1/files POST GET application/json text/event-stream "
        b"200 400 503 multipart/form-data 99999999999 -1 gzip br identity \xff\xfe \xe5\xaf\x86 via_upstream".split()
    ),
    st.sampled_from([b"", b"Bearer client", b"1" * 30]),
    st.binary(max_size=12),
)  # fmt: skip
NAMES = st.one_of(
    st.sampled_from(
        ":path :method :authority :status :scheme content-type content-length content-encoding accept-encoding "
        "authorization x-api-key api-key x-request-id retry-after x-ratelimit-x x-ai-proxy-cluster cookie te".split()
    ),
    TEXT,
)
CHAT = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
ANSWERS = [answer_bytes(v) for v in VECTORS]
BODIES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(RAW),
    st.sampled_from([dump(CHAT), dump({**CHAT, "stream": True}), dump({"model": "m", "input": "x"}), b""]),
    st.sampled_from(ANSWERS).flatmap(damaged),
)


@st.composite
def heads(draw: st.DrawFn, phase: str) -> Any:
    head = pb.HttpHeaders(end_of_stream=draw(st.booleans()))
    usual = [
        (b"/v1/chat/completions", ":path"),
        (b"POST", ":method"),
        (b"application/json", "content-type"),
        (b"Bearer client", "authorization"),
    ]
    if phase == "response_headers":
        usual = [
            (b"200", ":status"),
            (draw(st.sampled_from([b"application/json", b"text/event-stream"])), "content-type"),
        ]
    if draw(st.booleans()):
        for value, name in usual:
            head.headers.headers.append(pb.HeaderValue(key=name, raw_value=value).SerializeToString())
    for _ in range(draw(st.integers(0, 5))):
        header = pb.HeaderValue(key=draw(NAMES))
        if draw(st.booleans()):
            header.raw_value = draw(VALUES)
        else:
            header.value = draw(TEXT)
        head.headers.headers.append(header.SerializeToString())
    return head  # fmt: skip


@st.composite
def messages(draw: st.DrawFn) -> Any:
    phase = draw(st.sampled_from(PHASES))
    message = pb.ProcessingRequest()
    if phase.endswith("headers"):
        getattr(message, phase).CopyFrom(draw(heads(phase)))
    elif phase.endswith("body"):
        getattr(message, phase).CopyFrom(pb.HttpBody(body=draw(BODIES), end_of_stream=draw(st.booleans())))
    else:
        getattr(message, phase).SetInParent()
    for _ in range(draw(st.integers(0, 2))):
        key = draw(st.sampled_from([wire.ATTRIBUTES_KEY, "another"]))
        name = draw(st.sampled_from(["response.code_details", "xds.route_name", "x"]))
        field = pb.Attribute(key=name, value={"string_value": draw(TEXT)})
        message.attributes[key].fields.append(field.SerializeToString())
    return message


@fuzzed(5)
@given(config=st.sampled_from(CONFIGS), sent=st.lists(messages(), max_size=8))
def test_any_messages_in_any_order_are_answered(config: Config, sent: list[Any]) -> None:
    for message, answer in served(config, sent):
        check(message, answer)


@fuzzed(2)
@given(
    config=st.sampled_from(CONFIGS), body=BODIES, head=heads("response_headers"), pieces=st.lists(BODIES, max_size=6)
)
def test_an_exchange_in_order_is_answered(config: Config, body: bytes, head: Any, pieces: list[bytes]) -> None:
    request = pb.HttpHeaders()
    usual = {
        ":path": "/v1/chat/completions",
        ":method": "POST",
        "content-type": "application/json",
        "authorization": "Bearer client",
    }
    for name, value in usual.items():
        request.headers.headers.append(pb.HeaderValue(key=name, raw_value=value.encode()).SerializeToString())
    sent = [pb.ProcessingRequest(request_headers=request), pb.ProcessingRequest(request_body=pb.HttpBody(body=body))]
    sent.append(pb.ProcessingRequest(response_headers=head))
    sent += [pb.ProcessingRequest(response_body=pb.HttpBody(body=p, end_of_stream=p is pieces[-1])) for p in pieces]
    for message, answer in served(config, sent):
        check(message, answer)
