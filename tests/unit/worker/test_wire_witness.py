"""The wire format against an independent witness: `envoy-data-plane`, generated from the official API.

What Envoy would send is written by the witness and read by us; what we send is written by us and read by it.
"""

import dataclasses
from typing import Any

import betterproto2
from envoy_data_plane.envoy.config.core.v3 import HeaderMap, HeaderValue, HeaderValueOption, Metadata
from envoy_data_plane.envoy.extensions.filters.http.ext_proc.v3 import ProcessingMode
from envoy_data_plane.envoy.service.ext_proc import v3 as official
from envoy_data_plane.envoy.type.v3 import HttpStatus
from envoy_data_plane.google.protobuf import Any as Any_
from envoy_data_plane.google.protobuf import Struct, UInt64Value, Value
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError
import pytest

from extproc._pb import extproc_pb2 as pb
from extproc.terms.events import (
    Answer,
    BodyMode,
    Counts,
    Event,
    Forward,
    Reply,
    RequestBody,
    RequestHeaders,
    ResponseBody,
    ResponseHeaders,
)
from extproc.worker import codec, wire
from tests.unit.player import config_of, exchange_of

# Envoy → us


def read(message: official.ProcessingRequest) -> Event | None:
    ours = pb.ProcessingRequest.FromString(bytes(message))
    return wire.decode(ours, wire.phase_of(ours))


def head(*pairs: tuple[str, bytes], end: bool = False) -> official.HttpHeaders:
    headers = HeaderMap(headers=[HeaderValue(key=k, raw_value=v) for k, v in pairs])
    return official.HttpHeaders(headers=headers, end_of_stream=end)


def attributes(**values: str) -> dict[str, Struct]:
    fields = {name.replace("__", "."): Value(string_value=text) for name, text in values.items()}
    return {"envoy.filters.http.ext_proc": Struct(fields=fields)}


PAIRS = ((":path", b"/v1/chat/completions?a=b"), ("x-name", "你好".encode()), ("x-two", b"a"), ("x-two", b"b"))
HEADERS = {
    ":path": "/v1/chat/completions?a=b",
    "x-name": "你好".encode().decode("latin-1"),
    "x-two": "a, b",
}


@pytest.mark.parametrize("end", [True, False])
@pytest.mark.parametrize(
    ("kind", "event"), [("request_headers", RequestHeaders), ("response_headers", ResponseHeaders)]
)
def test_headers_are_read(kind: str, event: type[Any], end: bool) -> None:
    message = official.ProcessingRequest(
        **{kind: head(*PAIRS, end=end)},
        attributes=attributes(xds__route_name="r", response__code_details="via_upstream"),
    )
    expected = event(HEADERS, end, {"xds.route_name": "r", "response.code_details": "via_upstream"})
    assert read(message) == expected


def test_headers_without_attributes_are_read() -> None:
    message = official.ProcessingRequest(request_headers=head((":path", b"/")))
    assert read(message) == RequestHeaders({":path": "/"}, False, {})


def test_attributes_of_another_filter_are_not_ours() -> None:
    message = official.ProcessingRequest(request_headers=head(), attributes={"other": Struct(fields={"a": Value()})})
    assert read(message) == RequestHeaders({}, False, {})


def test_values_of_older_proxies_are_read() -> None:
    old = official.HttpHeaders(headers=HeaderMap(headers=[HeaderValue(key="a", value="v")]))
    assert read(official.ProcessingRequest(request_headers=old)) == RequestHeaders({"a": "v"}, False, {})


@pytest.mark.parametrize("body", [b"", "你好 👋".encode(), bytes(range(256)) * 1000])
@pytest.mark.parametrize("end", [True, False])
def test_bodies_are_read(body: bytes, end: bool) -> None:
    chunk = official.HttpBody(body=body, end_of_stream=end)
    assert read(official.ProcessingRequest(request_body=chunk)) == RequestBody(body)
    assert read(official.ProcessingRequest(response_body=chunk)) == ResponseBody(body, end)


@pytest.mark.parametrize("kind", ["request_trailers", "response_trailers"])
def test_trailers_are_read_and_answered(kind: str) -> None:
    trailers = official.HttpTrailers(trailers=HeaderMap(headers=[HeaderValue(key="grpc-status", raw_value=b"0")]))
    ours = pb.ProcessingRequest.FromString(bytes(official.ProcessingRequest(**{kind: trailers})))
    assert wire.phase_of(ours) == kind
    assert wire.decode(ours, kind) is None
    answer = write(None, kind)
    assert getattr(answer, kind) is not None
    assert set_kind(answer) == kind


def counted(said: bytes, name: str = "envoy.ai.token_usage") -> official.ProcessingRequest:
    """What Envoy sends when an answer is over that it has counted."""
    told = Any_(type_url="type.googleapis.com/envoy.data.ai.v3.TokenUsage", value=said)
    context = Metadata(typed_filter_metadata={name: told})
    return official.ProcessingRequest(response_trailers=official.HttpTrailers(), metadata_context=context)


TOLD = {
    # As Envoy 1.40.0 sent it of a stream of chat, of one of Messages (input and caches in one), and with less in it.
    "a chat": (
        "0801 12016d 1a02080b220208282a02083332040a0208033a040a02080542020833 4801",
        {"prompt_tokens": 11, "completion_tokens": 40},
        {"cached_tokens": 3},
        {"reasoning_tokens": 5},
        True,
    ),
    "messages": (
        "0803 12016d 1a02080a 2202080a 2a020814 32080a02080212020801 4801",
        {"prompt_tokens": 10, "completion_tokens": 10},
        {"cached_tokens": 2, "cache_write_tokens": 1},
        {},
        True,
    ),
    "a part": ("1a02080a 4802", {"prompt_tokens": 10}, {}, {}, False),
    "none": ("0801 4803", {}, {}, {}, False),
}


@pytest.mark.parametrize("case", TOLD)
def test_what_envoy_counted_is_read_and_answered(case: str) -> None:
    said, usage, given, made, whole = TOLD[case]
    message = counted(bytes.fromhex(said))
    usage = {**usage, "prompt_tokens_details": given, "completion_tokens_details": made}
    assert read(message) == Counts(usage, whole)
    assert codec.read(bytes(message)) == ("response_trailers", Counts(usage, whole))
    answer = write(Forward(metadata={"total_tokens": 9, "provider": "p"}), "response_trailers")
    assert set_kind(answer) == "response_trailers"
    assert answer.dynamic_metadata == Struct.from_dict({"ai_proxy": {"total_tokens": 9, "provider": "p"}})


def test_what_others_tell_is_not_counted() -> None:
    assert read(counted(b"\x1a\x02\x08\x0a", "envoy.ai")) is None
    with pytest.raises(DecodeError):
        read(counted(b"\x1a\xff"))


LENGTHS = [*range(300), *range(16_370, 16_400), wire._LONGEST_PIECE - 1, wire._LONGEST_PIECE, 1 << 21]
"""Around those at which a length takes a byte more."""


def test_a_piece_is_known_by_its_first_bytes() -> None:
    for length in LENGTHS:
        body = b"\x2a\x02" * (length // 2) + b"x" * (length % 2)
        piece = bytes(official.ProcessingRequest(response_body=official.HttpBody(body=body)))
        known = wire.piece_of(piece)
        assert known == (ResponseBody(body, False) if length > 0 and len(piece) <= wire._LONGEST_PIECE else None)


@pytest.mark.parametrize("length", [0, 1, 120, 125, 126, 127, 128, 16_380])
def test_what_is_like_a_piece_is_none(length: int) -> None:
    def written(**fields: Any) -> bytes:
        return bytes(official.ProcessingRequest(**fields))

    body = b"x" * length
    chunk = official.HttpBody(body=body)
    piece = written(response_body=chunk)
    others = [
        written(request_body=chunk),
        written(response_body=official.HttpBody(body=body, end_of_stream=True)),
        written(response_body=official.HttpBody(end_of_stream=True)),
        written(response_body=chunk, attributes=attributes(x="y")),
        written(response_body=chunk, observability_mode=True),
        written(response_headers=head((":status", body))),
        piece[:-1],
        piece + b"x",
        b"",
    ]
    assert [wire.piece_of(other) for other in others] == [None] * len(others)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("user-agent", True),
        ("x-stainless-lang", True),
        ("authorization", False),
        ("x-api-key", False),
        ("x-my-token", False),
        ("cookie", False),
        ("x-request-id", False),
    ],
)
def test_headers_are_remembered_but_for_keys(name: str, kept: bool) -> None:
    for value in ("one", "one", "two"):
        message = official.ProcessingRequest(request_headers=head((name, value.encode())))
        assert read(message) == RequestHeaders({name: value}, False)
    assert any(pair == (name, "two") for pair in wire._headers_known.values()) == kept


def test_what_is_remembered_is_bounded() -> None:
    for number in range(3 * wire._MOST_KNOWN):
        pairs = (("x-n", b"%d" % number), ("x-long", b"%d" % number * 100))
        assert read(official.ProcessingRequest(request_headers=head(*pairs))) == RequestHeaders(
            {name: value.decode() for name, value in pairs}, False
        )
        assert len(wire._headers_known) <= wire._MOST_KNOWN
    assert max(map(len, wire._headers_known)) <= wire._LONGEST_KNOWN


@pytest.mark.parametrize("entry", [b"\x0a\xff", b"\x0a\x01\xff\x1a\x01v", b"\x0a\x01\xff", b"\x0a\x05a\x1a\x01v"])
def test_a_header_that_is_none_is_refused(entry: bytes) -> None:
    with pytest.raises(DecodeError):
        wire.decode(pb.ProcessingRequest(request_headers={"headers": {"headers": [entry]}}), "request_headers")


@pytest.mark.parametrize("name", ["", "n", "n" * 126, "n" * 127, "n" * 128, "n" * 300])
@pytest.mark.parametrize("value", [b"", b"v", b"\x1a\x01v", b"v" * 127, b"v" * 128, b"v" * 300])
def test_headers_of_every_length_are_read(name: str, value: bytes) -> None:
    message = official.ProcessingRequest(response_headers=head((name, value)))
    assert read(message) == ResponseHeaders({name: value.decode()}, False)


def test_an_unknown_message_is_refused() -> None:
    with pytest.raises(wire.UnknownMessage):
        wire.phase_of(pb.ProcessingRequest.FromString(bytes(official.ProcessingRequest(observability_mode=True))))


def test_fields_that_we_do_not_list_are_skipped() -> None:
    message = official.ProcessingRequest(
        request_body=official.HttpBody(body=b"x", end_of_stream=True, end_of_stream_without_message=True),
        observability_mode=True,
        protocol_config=official.ProtocolConfiguration(),
    )
    assert read(message) == RequestBody(b"x")


# We → Envoy


def write(reply: Reply | None, phase: str) -> official.ProcessingResponse:
    return official.ProcessingResponse.parse(wire.encode(reply, phase))


def set_kind(response: official.ProcessingResponse) -> str:
    return str(betterproto2.which_one_of(response, "response")[0])


PHASES = ["request_headers", "response_headers", "request_body", "response_body"]


def common(response: official.ProcessingResponse, phase: str) -> official.CommonResponse:
    assert set_kind(response) == phase
    inner = getattr(response, phase).response
    assert inner is not None
    return inner


def sets(mutation: official.HeaderMutation | None) -> dict[str, bytes]:
    if mutation is None:
        return {}
    out = {}
    for option in mutation.set_headers:
        assert option.header is not None
        assert option.header.value == "", "Envoy reads raw_value alone"
        assert option.append_action.name == "OVERWRITE_IF_EXISTS_OR_ADD"
        assert option.append is None
        out[option.header.key] = option.header.raw_value
    return out


@pytest.mark.parametrize("phase", PHASES)
def test_going_on_sets_the_phase_and_nothing_else(phase: str) -> None:
    for reply in (None, Forward()):
        response = write(reply, phase)
        inner = common(response, phase)
        assert sets(inner.header_mutation) == {}
        assert inner.body_mutation is None
        assert not inner.clear_route_cache
        assert inner.status is official.CommonResponseResponseStatus.CONTINUE
        assert (response.mode_override is None) == (phase.endswith("body") or reply is None)
        assert response.dynamic_metadata is None
        assert not response.request_drain


@pytest.mark.parametrize("phase", PHASES)
def test_everything_a_reply_says_arrives(phase: str) -> None:
    reply = Forward(
        set_headers={":path": "/x", "x-latin": "ü"},
        remove_headers=("authorization", "te"),
        body="你好".encode(),
        reroute=True,
        metadata={"model": "模型", "tokens": 7, "share": 0.5},
    )
    response = write(reply, phase)
    inner = common(response, phase)
    assert sets(inner.header_mutation) == {":path": b"/x", "x-latin": b"\xfc"}
    assert inner.header_mutation is not None
    assert inner.header_mutation.remove_headers == ["authorization", "te"]
    assert inner.body_mutation is not None
    assert betterproto2.which_one_of(inner.body_mutation, "mutation") == ("body", "你好".encode())
    assert inner.clear_route_cache is True
    assert response.dynamic_metadata is not None
    space = response.dynamic_metadata.fields["ai_proxy"].struct_value
    assert space is not None
    assert space.fields["model"].string_value == "模型"
    assert space.fields["tokens"].number_value == 7
    assert space.fields["share"].number_value == 0.5


@pytest.mark.parametrize("length", [0, 1, 2, 37, 100, 127, 128, 255, 300, 20_000])
@pytest.mark.parametrize("body", [None, b"", b"x", b"x" * 127, b"x" * 70_000])
@pytest.mark.parametrize("phase", ["request_body", "response_body"])
def test_values_of_every_length_arrive(phase: str, body: bytes | None, length: int) -> None:
    for value in ("\0" * length, "%b%s"[:length], "ü" * length):
        given = {"x-first": value, "x-%b": "", "x-last": value}
        inner = common(write(Forward(given, ("te", "x-%"), body), phase), phase)
        assert sets(inner.header_mutation) == {name: value.encode("latin-1") for name, value in given.items()}
        assert inner.header_mutation is not None
        assert inner.header_mutation.remove_headers == ["te", "x-%"]
        assert (inner.body_mutation is None) == (body is None)
        assert inner.body_mutation is None or inner.body_mutation.body == body


@pytest.mark.parametrize("phase", ["request_body", "response_body"])
def test_an_empty_body_is_a_mutation_all_the_same(phase: str) -> None:
    mutation = common(write(Forward(body=b""), phase), phase).body_mutation
    assert mutation is not None
    assert betterproto2.which_one_of(mutation, "mutation") == ("body", b"")


@pytest.mark.parametrize("request_mode", [None, *BodyMode])
@pytest.mark.parametrize("response_mode", [None, *BodyMode])
@pytest.mark.parametrize("phase", ["request_headers", "response_headers"])
def test_every_headers_answer_carries_a_complete_mode_override(
    phase: str, request_mode: BodyMode | None, response_mode: BodyMode | None
) -> None:
    override = write(Forward(request_mode=request_mode, response_mode=response_mode), phase).mode_override
    assert override is not None
    assert override.request_header_mode.name == "SEND"
    assert override.response_header_mode.name == "SEND"
    names = {BodyMode.DUPLEX: "FULL_DUPLEX_STREAMED", BodyMode.COUNTED: "NONE"}
    for given, said in ((request_mode, override.request_body_mode), (response_mode, override.response_body_mode)):
        mode = given or BodyMode.NONE
        assert said.name == names.get(mode, mode.name)
    assert override.request_trailer_mode.name == "DEFAULT"
    # Envoy takes the duplex mode with trailers only, and tells counts with them.
    trailers = response_mode in (BodyMode.DUPLEX, BodyMode.COUNTED)
    assert override.response_trailer_mode.name == ("SEND" if trailers else "DEFAULT")


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("metadata", [{}, {"tokens": 7}])
@pytest.mark.parametrize("body", [b"", b"x", b"x" * 120, b"x" * 127, b"x" * 16_380])
def test_a_piece_of_a_duplex_body_says_whether_it_is_the_last(
    ends: bool, metadata: dict[str, int], body: bytes
) -> None:
    mutation = write(
        Forward(body=body, ends=ends, metadata=metadata), "response_body"
    ).response_body.response.body_mutation
    assert mutation.body is None
    assert (mutation.streamed_response.body, mutation.streamed_response.end_of_stream) == (body, ends)


@pytest.mark.parametrize("phase", PHASES)
def test_an_answer_of_ours_is_json(phase: str) -> None:
    reply = Answer(429, b'{"error": {}}', {"retry-after": "5", "content-type": "text/plain"}, {"model": "m"})
    response = write(reply, phase)
    assert set_kind(response) == "immediate_response"
    immediate = response.immediate_response
    assert immediate is not None
    assert immediate.status is not None
    assert int(immediate.status.code) == 429
    assert immediate.body == b'{"error": {}}'
    assert immediate.details == wire.DETAILS
    assert sets(immediate.headers) == {"retry-after": b"5", "content-type": b"application/json"}
    assert immediate.grpc_status is None
    assert response.dynamic_metadata is not None


@pytest.mark.parametrize("body", [b"x", None])
def test_no_key_is_kept_with_what_is_made_once(body: bytes | None, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []

    def watched(make: Any) -> Any:
        return lambda *asked: (kept.append((asked, made := make(*asked))), made)[1]

    for name in ("_kept", "_outline", "_beside", "_opened", "_around_body", "_around_piece"):
        monkeypatch.setattr(wire, name, watched(getattr(wire, name)))
    exchange = exchange_of(config_of({"providers": [{"id": "p", "type": "openai", "apiTokens": ["PLANTED"]}]}))
    head = {":method": "POST" if body else "GET", ":path": "/v1/files", "content-type": "application/octet-stream"}
    reply = exchange.handle(RequestHeaders(head, end_of_stream=body is None))
    assert b"PLANTED" in wire.encode(reply, "request_headers")
    assert kept
    assert "PLANTED" not in repr(kept)


# Numbers and types

OFFICIAL: dict[str, type[betterproto2.Message]] = {
    "ProcessingRequest": official.ProcessingRequest,
    "HttpHeaders": official.HttpHeaders,
    "HttpBody": official.HttpBody,
    "HttpTrailers": official.HttpTrailers,
    "Metadata": Metadata,
    "Any": Any_,
    "Count": UInt64Value,
    "HeaderMap": HeaderMap,
    "HeaderValue": HeaderValue,
    "ProcessingResponse": official.ProcessingResponse,
    "CommonResponse": official.CommonResponse,
    "HeaderMutation": official.HeaderMutation,
    "HeaderValueOption": HeaderValueOption,
    "BodyMutation": official.BodyMutation,
    "StreamedBodyResponse": official.StreamedBodyResponse,
    "TrailersResponse": official.TrailersResponse,
    "ImmediateResponse": official.ImmediateResponse,
    "HttpStatus": HttpStatus,
    "ProcessingMode": ProcessingMode,
}
SPLIT = {"PhaseResponse": (official.HeadersResponse, official.BodyResponse)}
"""One message of ours that stands for several official ones of the same shape."""
OPENED = {"Attributes", "Attribute"}
"""Of a `Struct` the map's entries, which official code has no messages for: read above, as the witness writes them."""
UNWITNESSED = {"TokenUsage", "InputTokenDetails", "OutputTokenDetails"}
"""Which envoy-data-plane 2.2 does not have: read above, as Envoy sent them."""
UNOPENED = {("HeaderMap", "headers")}
"""Messages that are read as they stand at first."""

PAIRED = list(OFFICIAL.items()) + [(n, o) for n, os in SPLIT.items() for o in os]
TYPES = {getattr(FieldDescriptor, name): name[5:].lower() for name in dir(FieldDescriptor) if name.startswith("TYPE_")}


def test_every_message_has_a_witness() -> None:
    assert set(pb.DESCRIPTOR.message_types_by_name) == OFFICIAL.keys() | SPLIT.keys() | OPENED | UNWITNESSED


@pytest.mark.parametrize(("name", "witness"), PAIRED, ids=[f"{n}-{o.__name__}" for n, o in PAIRED])
def test_field_numbers_and_types_are_the_official_ones(name: str, witness: type[betterproto2.Message]) -> None:
    theirs = {f.name: f.metadata["betterproto"] for f in dataclasses.fields(witness)}
    for ours in pb.DESCRIPTOR.message_types_by_name[name].fields:
        field = theirs[ours.name]
        assert ours.number == field.number, ours.name
        is_map = ours.message_type is not None and ours.message_type.GetOptions().map_entry
        assert is_map == (field.map_meta is not None), ours.name
        if is_map:
            continue
        kind = "enum" if (name, ours.name) == ("HttpStatus", "code") else TYPES[ours.type]  # an int32 on the wire
        assert kind == ("bytes" if (name, ours.name) in UNOPENED else field.proto_type), ours.name
        assert ours.is_repeated == field.repeated, ours.name
        if ours.containing_oneof is not None:
            assert field.group == ours.containing_oneof.name, ours.name


@pytest.mark.parametrize(
    ("message", "enum", "witness"),
    [
        ("ProcessingMode", "BodySendMode", ProcessingMode().request_body_mode),
        ("HeaderValueOption", "Append", HeaderValueOption().append_action),
    ],
)
def test_enum_numbers_are_the_official_ones(message: str, enum: str, witness: Any) -> None:
    ours = pb.DESCRIPTOR.message_types_by_name[message].enum_types_by_name[enum]
    theirs = {value.name: int(value) for value in type(witness)}
    for value in ours.values:
        assert theirs[value.name] == value.number


def test_the_service_is_the_official_one() -> None:
    service, method = wire.METHOD
    assert f"/{service}/{method}" == "/envoy.service.ext_proc.v3.ExternalProcessor/Process"
