"""Both forms of the codec read the same, write the same and refuse the same. Without a built one there is one form."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
import pytest

from extproc._pb import extproc_pb2 as pb
from extproc.terms.events import Answer, BodyMode, Forward, Reply
from extproc.worker import codec
from extproc.worker.codec import Codec
from tests.fuzz.effort import fuzzed
from tests.fuzz.test_fuzz_wire import PHASES, messages

FORMS = [pytest.param(form, id=form.name) for form in (codec.PYTHON, codec.NATIVE) if form]
HEAVY = Forward(
    {"x-a": "v", ":path": "/v1/é", "content-length": "3"},
    ("x-b", "x-c"),
    b"{}\xff",
    metadata={"provider": "p", "n": 3, "cost": 0.25, "模型": "通义"},
    told={"model": "m", "stream": True, "plain": False},
)
REPLIES: list[tuple[str, Reply | None, str]] = [
    *((f"nothing-{phase}", None, phase) for phase in PHASES),
    ("head", Forward({"x-a": "v"}, ("x-b",), request_mode=BodyMode.BUFFERED), "request_headers"),
    ("no-modes", Forward({"x-a": "v"}, final=True), "request_headers"),
    ("reroute", Forward({"x-a": "v"}, reroute=True, told={"stream": True}), "request_body"),
    ("streamed", Forward(response_mode=BodyMode.STREAMED), "response_headers"),
    ("duplex", Forward(response_mode=BodyMode.DUPLEX), "response_headers"),
    ("counted", Forward({"x-a": "v"}, ("x-b",), response_mode=BodyMode.COUNTED), "response_headers"),
    ("counted-end", Forward(metadata={"total_tokens": 7, "provider": "p"}), "response_trailers"),
    ("replaces", Forward({":status": "502"}, body=b"{}", replaces=True), "response_headers"),
    ("heavy", HEAVY, "request_body"),
    ("heavy-answer", HEAVY, "response_body"),
    *((f"piece-{ends}-{len(body)}", Forward(body=body, ends=ends), "response_body")
      for ends in (None, False, True) for body in (b"", b"data: \xe4\xbd\xa0\n\n")),
    ("counted-piece", Forward(body="你".encode(), ends=False, counts=(9, 2, 11)), "response_body"),
    ("counted-watched-piece", Forward(ends=False, counts=(9, 2, 11)), "response_body"),
    ("changed-piece", Forward(body=b"", ends=False, metadata={"total_tokens": 7}), "response_body"),
    ("answer", Answer(429, b"{}", {"retry-after": "1"}, {"error": "quota_exceeded"}), "request_headers"),
]  # fmt: skip


def outcome(form: Codec, message: bytes) -> Any:
    """What a message is read as, or that it is refused."""
    try:
        return form.read(message)
    except Exception as error:
        return "unknown" if isinstance(error, codec.wire.UnknownMessage) else "no message"


@pytest.mark.parametrize("form", FORMS)
@fuzzed(5)
@given(message=messages())
def test_messages_are_read_alike(form: Codec, message: Any) -> None:
    sent = message.SerializeToString()
    assert form.read(sent) == codec.PYTHON.read(sent)


@pytest.mark.parametrize("form", FORMS)
@fuzzed(5)
@given(message=messages(), at=st.floats(0, 1), noise=st.binary(max_size=6))
def test_damaged_messages_are_refused_or_read_alike(form: Codec, message: Any, at: float, noise: bytes) -> None:
    sent = message.SerializeToString()
    cut = int(at * len(sent))
    for damaged in (sent[:cut], sent[:cut] + noise + sent[cut:], noise):
        # A known field of another wire type is an error for prost, and unknown to upb, which skips it.
        assert outcome(form, damaged) in ("no message", outcome(codec.PYTHON, damaged))


@pytest.mark.parametrize("form", FORMS)
def test_headers_that_come_again_are_joined(form: Codec) -> None:
    head = pb.HttpHeaders()
    for value in (b"a", b"\xe9", b""):
        head.headers.headers.append(pb.HeaderValue(key="x-two", raw_value=value).SerializeToString())
    head.headers.headers.append(pb.HeaderValue(key=":path", raw_value=b"/").SerializeToString())
    _, event = form.read(pb.ProcessingRequest(request_headers=head).SerializeToString())
    assert list(event.headers.items()) == [("x-two", "a, é, "), (":path", "/")]  # type: ignore[union-attr]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("reply", "phase"), [pytest.param(r, p, id=name) for name, r, p in REPLIES])
def test_replies_are_written_alike(form: Codec, reply: Reply | None, phase: str) -> None:
    ours, theirs = form.write(reply, phase), codec.PYTHON.write(reply, phase)
    assert pb.ProcessingResponse.FromString(ours) == pb.ProcessingResponse.FromString(theirs)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", ["你好", "a\ud800"])
def test_what_no_header_can_hold_is_an_error(form: Codec, value: str) -> None:
    with pytest.raises(UnicodeEncodeError):
        form.write(Forward({"x-a": value}), "request_headers")


def test_each_running_count_has_its_own_name() -> None:
    """A map's members have no order: in another process they may come in another one."""
    said = (
        pb.ProcessingResponse.FromString(codec.wire.counted((9, 2, 11)))
        .dynamic_metadata.fields["ai_proxy"]
        .struct_value
    )
    told = {name: value.number_value for name, value in said.fields.items()}
    assert told == {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
