"""Data of an exchange: nobody changes it, and what it holds of clients, vendors and keys is not printed."""

from typing import Any

from msgspec import Raw
import pytest

from extproc.exchange.states import Failed, Headed
from extproc.providers.base import UpstreamRequest
from extproc.terms.call import Call, Target
from extproc.terms.events import Answer, Forward, RequestBody, RequestHeaders, ResponseBody, ResponseHeaders
from extproc.terms.frozen import replace

SECRET = "PLANTED"
HEADERS = {"authorization": SECRET}
TARGET = Target("/v1/models", "", "models")

HOLDERS = [
    RequestHeaders(HEADERS, end_of_stream=False),
    RequestBody(SECRET.encode()),
    ResponseHeaders(HEADERS, end_of_stream=False),
    ResponseBody(SECRET.encode(), end_of_stream=True),
    Forward(HEADERS, body=SECRET.encode()),
    Answer(200, SECRET.encode(), HEADERS),
    Call(TARGET, "POST", HEADERS, {"k": Raw(SECRET.encode())}, SECRET.encode(), token=SECRET, context=SECRET),
    UpstreamRequest("/v1", HEADERS, SECRET.encode()),
    Headed(HEADERS, TARGET, [], None),
    Failed(None, 500, HEADERS),
]


@pytest.mark.parametrize("one", HOLDERS, ids=lambda one: type(one).__name__)
def test_headers_bodies_and_keys_are_not_in_a_repr(one: Any) -> None:
    assert SECRET not in repr(one)
    assert repr(one).startswith(f"{type(one).__name__}(")


@pytest.mark.parametrize("one", HOLDERS, ids=lambda one: type(one).__name__)
def test_nobody_changes_it(one: Any) -> None:
    with pytest.raises(AttributeError):
        setattr(one, one.__struct_fields__[0], None)


def test_what_is_not_hidden_is_shown_and_a_copy_differs_where_told() -> None:
    assert repr(replace(Forward(final=True), remove_headers=("a",))) == (
        "Forward(remove_headers=('a',), request_mode=None, response_mode=None, reroute=False, replaces=False, "
        "final=True, ends=None, breaks=False, metadata={}, counts=None, told={})"
    )
