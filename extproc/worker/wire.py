"""ext_proc messages → events, replies → their bytes. The only file that touches protobuf.

Rule: what Envoy would silently misread is impossible to write here: headers go out as `raw_value`, every answer
sets its oneof, a mode override is always complete, an immediate answer is always JSON. What is the same in many
messages is read and written once, by protobuf's library, and then known by its bytes; no key is kept so.
"""

from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
import re
from struct import Struct, pack
from typing import Final

from extproc._pb import extproc_pb2 as pb
from extproc.terms.agreed import BODY, CLIENT_ATTRIBUTE, DETAILS, NAMESPACE, TOKENS
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
from extproc.terms.frozen import replace

METHOD = ("envoy.service.ext_proc.v3.ExternalProcessor", "Process")
ATTRIBUTES_KEY = "envoy.filters.http.ext_proc"


MODES = {
    BodyMode.NONE: pb.ProcessingMode.NONE,
    BodyMode.STREAMED: pb.ProcessingMode.STREAMED,
    BodyMode.DUPLEX: pb.ProcessingMode.FULL_DUPLEX_STREAMED,
    BodyMode.BUFFERED: pb.ProcessingMode.BUFFERED,
    BodyMode.COUNTED: pb.ProcessingMode.NONE,
}


UNKNOWN = "an ext_proc message of an unknown kind"


class UnknownMessage(ValueError):
    """Envoy sent a message that this version does not know: the exchange must fail, not continue."""


def read(message: bytes) -> tuple[str, Event | None]:
    """The phase that a message of Envoy's is about, for `encode`, and its event, see `decode`. Raises `DecodeError`: it
    is not a message; `UnknownMessage`."""
    if (piece := piece_of(message)) is not None:
        return "response_body", piece
    request = pb.ProcessingRequest.FromString(message)
    phase = phase_of(request)
    return phase, decode(request, phase)


def piece_of(message: bytes) -> ResponseBody | None:
    """The event of a piece of an answer that is not the last one: by far the most messages. It is known by how it
    begins, for that says how long the piece is, and nothing else is as long. None for every other message."""
    if (length := len(message)) > _LONGEST_PIECE:
        return None
    begin = _begin_of_piece(length)
    return ResponseBody(message[len(begin) :], False) if begin and message.startswith(begin) else None


_LONGEST_PIECE: Final = 1 << 15


@lru_cache(maxsize=4096)
def _begin_of_piece(length: int) -> bytes:
    """How a message of that length begins if it is a piece and nothing else; empty where none is so long."""
    for size in range(length - 2, max(length - 9, -1), -1):
        body = _field(1, size)
        begin = _field(pb.ProcessingRequest.RESPONSE_BODY_FIELD_NUMBER, len(body) + size) + body
        if len(begin) + size == length:
            return begin
    return b""


def _field(number: int, length: int) -> bytes:
    """What stands before a field's `length` bytes (protobuf's encoding, "length-delimited")."""
    said = bytearray([number << 3 | 2])
    while length > 0x7F:
        said.append(length & 0x7F | 0x80)
        length >>= 7
    said.append(length)
    return bytes(said)


def phase_of(message: pb.ProcessingRequest) -> str:
    """The name of the phase a message is about, for `encode`. Raises `UnknownMessage`."""
    phase: str | None = message.WhichOneof("request")
    if phase is None:
        raise UnknownMessage(UNKNOWN)
    return phase


def decode(message: pb.ProcessingRequest, phase: str) -> Event | None:
    """The event of a message; None for trailers that count nothing. Raises `DecodeError`."""
    match phase:
        case "request_headers":
            head = message.request_headers
            return RequestHeaders(_headers(head), head.end_of_stream, _attributes(message))
        case "response_headers":
            head = message.response_headers
            return ResponseHeaders(_headers(head), head.end_of_stream, _attributes(message))
        case "request_body":
            return RequestBody(message.request_body.body)
        case "response_body":
            return ResponseBody(message.response_body.body, message.response_body.end_of_stream)
        case "response_trailers" if TOKENS in message.metadata_context.typed_filter_metadata:
            return _counts(message.metadata_context.typed_filter_metadata[TOKENS].value)
        case _:
            return None


def _counts(said: bytes) -> Counts:
    told = pb.TokenUsage.FromString(said)
    given, made = told.input_token_details, told.output_token_details
    usage = {
        **_said(told, prompt_tokens="input_tokens", completion_tokens="output_tokens"),
        "prompt_tokens_details": _said(
            given, cached_tokens="cached_tokens", cache_write_tokens="cache_creation_tokens"
        ),
        "completion_tokens_details": _said(made, reasoning_tokens="reasoning_tokens"),
    }
    return Counts(usage, told.extraction_status == pb.TokenUsage.COMPLETE)


def _said(counts: pb.TokenUsage | pb.InputTokenDetails | pb.OutputTokenDetails, **names: str) -> dict[str, int]:
    return {name: getattr(counts, field).value for name, field in names.items() if counts.HasField(field)}


class _Known(dict[bytes, tuple[str, str]]):
    """Names and values by the bytes they came as, which `read` reads. What may be somebody's key, or is never the same
    again, is not remembered. Raises `DecodeError`."""

    def __init__(self, read: Callable[[bytes], tuple[str, str]]) -> None:
        self._read = read

    def __missing__(self, entry: bytes) -> tuple[str, str]:
        pair = self._read(entry)
        if len(entry) <= _LONGEST_KNOWN and _is_remembered(pair[0]):
            if len(self) >= _MOST_KNOWN:
                self.clear()
            self[entry] = pair
        return pair


_MOST_KNOWN: Final = 1024
_LONGEST_KNOWN: Final = 256
_FORGOTTEN: Final = re.compile(
    f"auth|key|token|secret|cookie|session|credential|-id$|^date$|{re.escape(CLIENT_ATTRIBUTE)}"
)


@lru_cache(maxsize=512)
def _is_remembered(name: str) -> bool:
    return len(name) < _LONGEST_KNOWN and _FORGOTTEN.search(name) is None


def _header(entry: bytes) -> tuple[str, str]:
    read = pb.HeaderValue.FromString(entry)
    value = read.raw_value or read.value.encode()  # as older proxies send it; empty where the header is
    return read.key, value.decode("latin-1")


def _attribute(entry: bytes) -> tuple[str, str]:
    read = pb.Attribute.FromString(entry)
    return read.key, read.value.string_value


_headers_known: Final = _Known(_header)
_known_header = _headers_known.__getitem__
_known_attribute = _Known(_attribute).__getitem__


def _headers(message: pb.HttpHeaders) -> dict[str, str]:
    entries = message.headers.headers[:]  # a list, at half the price of going through
    headers = dict(map(_known_header, entries))
    if len(headers) < len(entries):
        pairs = [_known_header(entry) for entry in entries]
        headers = {name: ", ".join(value for key, value in pairs if key == name) for name in headers}
    return headers


def _attributes(message: pb.ProcessingRequest) -> dict[str, str]:
    said = message.attributes
    return dict(map(_known_attribute, said[ATTRIBUTES_KEY].fields[:])) if ATTRIBUTES_KEY in said else {}


def encode(reply: Reply | None, phase: str) -> bytes:
    """The answer to the message of `phase`; None stands for "go on"."""
    if isinstance(reply, Answer):
        return _immediate(reply)
    if reply is None:
        reply = GO_ON
    body, headers, metadata = reply.body, reply.set_headers, reply.metadata
    if phase == "response_body" and body is not None and not (metadata or headers or reply.remove_headers):
        before, after = _around_piece(len(body), reply.ends)
        piece = before + body + after
        return piece if reply.counts is None else piece + counted(reply.counts)
    if reply.counts is not None:
        return encode(replace(reply, counts=None), phase) + counted(reply.counts)
    if body is None and not metadata:  # nothing for a vendor, so no key: all of it may be kept
        told = tuple(reply.told.items())
        modes = reply.request_mode, reply.response_mode
        return _kept(
            phase, tuple(headers.items()), told, reply.remove_headers, modes, reply.reroute, reply.replaces, reply.final
        )
    return _written(reply, phase)


def _written(reply: Forward, phase: str) -> bytes:
    body, headers, metadata = reply.body, reply.set_headers, reply.metadata
    if phase.endswith("trailers"):
        return _field(_NUMBERS[phase], 0) + _beside.__wrapped__(tuple(metadata.items()), (), None)
    values = tuple([value.encode("latin-1") for value in headers.values()])
    lengths = tuple([len(value) for value in values])
    common = _outline(tuple(headers), lengths, reply.remove_headers, reply.reroute, reply.replaces) % values
    modes = None if reply.final or phase.endswith("body") else (reply.request_mode, reply.response_mode)
    numbers = [value for value in metadata.values() if type(value) is not str]  # seldom the same again
    beside = (_beside.__wrapped__ if numbers else _beside)(tuple(metadata.items()), tuple(reply.told.items()), modes)
    if body is None:
        return _opened(phase, len(common)) + common + beside
    before, after = _around_body(len(body), reply.ends)
    length = len(common) + len(before) + len(body) + len(after)
    return b"".join((_opened(phase, length), common, before, body, after, beside))


_MARKS = {"completion_tokens": -1.0, "prompt_tokens": -2.0, "total_tokens": -3.0}


def _frame() -> bytes:
    """What tells the three counts of `Forward.counts`, with a place for the eight bytes that any `double` has. Sorted
    by name, since else each process writes a map in an order of its own (upb, protobuf 7.36)."""
    response = pb.ProcessingResponse()
    _tell(response, NAMESPACE, list(_MARKS.items()))
    return bytes(response.SerializeToString(deterministic=True))


def counted(counts: tuple[int, int, int]) -> bytes:
    """Put behind an answer to a piece of a body, which has no other metadata: members of a message may come one after
    the other (protobuf, "Encoding", 2026). Made for each piece, so not by protobuf, which takes ten times as long."""
    before, between, also, after = _AROUND
    return _LAID_OUT(before, counts[1], between, counts[0], also, counts[2], after)


@lru_cache(maxsize=512)
def _kept(
    phase: str,
    headers: tuple[tuple[str, str], ...],
    told: tuple[tuple[str, str | bool], ...],
    remove: tuple[str, ...],
    modes: tuple[BodyMode | None, BodyMode | None],
    reroute: bool,
    replaces: bool,
    final: bool,
) -> bytes:
    if phase.endswith("trailers"):
        return _field(_NUMBERS[phase], 0)
    request_mode, response_mode = modes
    reply = Forward(
        dict(headers),
        remove,
        request_mode=request_mode,
        response_mode=response_mode,
        reroute=reroute,
        replaces=replaces,
        final=final,
        told=dict(told),
    )
    return _written(reply, phase)


GO_ON = Forward(final=True)
_NUMBERS: Final = {field.name: field.number for field in pb.ProcessingResponse.DESCRIPTOR.fields}


@lru_cache(maxsize=4096)
def _around_piece(length: int, ends: bool | None) -> tuple[bytes, bytes]:
    """All that an answer has before and behind a piece of a body."""
    before, after = _around_body(length, ends)
    return _opened("response_body", len(before) + length + len(after)) + before, after


@lru_cache(maxsize=4096)
def _around_body(length: int, ends: bool | None) -> tuple[bytes, bytes]:
    """The `body_mutation` of a `CommonResponse`, before and behind the bytes of the body."""
    before, after = _field(1, length), b"\x10\x01" if ends else b""
    if ends is not None:
        before = _field(3, len(before) + length + len(after)) + before
    return _field(3, len(before) + length + len(after)) + before, after


@lru_cache(maxsize=4096)
def _opened(phase: str, length: int) -> bytes:
    """What stands before the `length` bytes of a `CommonResponse`."""
    common = _field(1, length)
    return _field(_NUMBERS[phase], len(common) + length) + common


@lru_cache(maxsize=512)
def _outline(
    names: tuple[str, ...], lengths: tuple[int, ...], remove: tuple[str, ...], reroute: bool, replaces: bool
) -> bytes:
    """A `CommonResponse` without a body, and with a `%b` for each value that is set, of the length it will have."""
    status = pb.CommonResponse.CONTINUE_AND_REPLACE if replaces else pb.CommonResponse.CONTINUE
    common = _escaped(pb.CommonResponse(status=status, clear_route_cache=reroute))
    if not names and not remove:
        return common
    mutation = b"".join(map(_gap, names, lengths)) + _escaped(pb.HeaderMutation(remove_headers=remove))
    return common + _field(2, len(mutation % tuple(map(bytes, lengths)))).replace(b"%", b"%%") + mutation


def _gap(name: str, length: int) -> bytes:
    """A header that is set, with a `%b` for its value."""
    mutation = pb.HeaderMutation()
    _set_headers(mutation, {name: "\0" * length})
    before, _, after = _escaped(mutation).rpartition(bytes(length)) if length else (_escaped(mutation), b"", b"")
    return before + b"%b" + after


def _escaped(message: pb.CommonResponse | pb.HeaderMutation) -> bytes:
    return bytes(message.SerializeToString()).replace(b"%", b"%%")


@lru_cache(maxsize=512)
def _beside(
    metadata: tuple[tuple[str, str | int | float], ...],
    told: tuple[tuple[str, str | bool], ...],
    modes: tuple[BodyMode | None, BodyMode | None] | None,
) -> bytes:
    """What an answer has beside its `CommonResponse`. `modes`: of the bodies of request and response that follow."""
    response = pb.ProcessingResponse()
    _tell(response, NAMESPACE, metadata)
    _tell(response, BODY, told)
    if modes is not None:
        _override(response.mode_override, *modes)
    return bytes(response.SerializeToString())


def _tell(
    response: pb.ProcessingResponse, namespace: str, values: Collection[tuple[str, str | int | float | bool]]
) -> None:
    """Field by field: `Struct.update` takes three times as long."""
    if not values:
        return
    fields = response.dynamic_metadata.fields[namespace].struct_value.fields
    for name, value in values:
        if isinstance(value, str):
            fields[name].string_value = value
        elif isinstance(value, bool):
            fields[name].bool_value = value
        else:
            fields[name].number_value = value


def _override(mode: pb.ProcessingMode, request_mode: BodyMode | None, response_mode: BodyMode | None) -> None:
    """Said with every headers answer: what is left unset would be Envoy's default or, for bodies, NONE. The filter is
    configured to skip response headers, so that Envoy's own replies to what we never saw do not wait for us. Without
    the first mode Envoy goes by the filter's where a route's is another, and ignores a new body's `content-length`."""
    mode.request_header_mode = pb.ProcessingMode.SEND
    mode.response_header_mode = pb.ProcessingMode.SEND
    mode.request_body_mode = MODES[request_mode or BodyMode.NONE]
    mode.response_body_mode = MODES[response_mode or BodyMode.NONE]
    if response_mode in (BodyMode.DUPLEX, BodyMode.COUNTED):  # of which Envoy takes the first with this one only
        mode.response_trailer_mode = pb.ProcessingMode.SEND


def _immediate(answer: Answer) -> bytes:
    response = pb.ProcessingResponse()
    immediate = response.immediate_response
    immediate.status.code = answer.status
    immediate.body = answer.body
    immediate.details = DETAILS
    _set_headers(immediate.headers, {**answer.headers, "content-type": "application/json"})
    _tell(response, NAMESPACE, answer.metadata.items())
    return bytes(response.SerializeToString())


def _set_headers(mutation: pb.HeaderMutation, headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        header = mutation.set_headers.add(append_action=pb.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD).header
        header.key = name
        header.raw_value = value.encode("latin-1")


_AROUND = re.split(b"|".join(re.escape(pack("<d", mark)) for mark in _MARKS.values()), _frame())
_LAID_OUT = Struct("<{}sd{}sd{}sd{}s".format(*map(len, _AROUND))).pack
