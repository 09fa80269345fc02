"""The vocabulary between the shell and the core: what Envoy says (`Event`) and what we answer (`Reply`).

Rule: plain frozen data, no behaviour, nothing of protobuf, JSON or any vendor. Header names are lower case.
Headers and bodies hold secrets, so no `repr` shows them.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from extproc.terms.frozen import Frozen


class BodyMode(StrEnum):
    """How Envoy hands a body to us: not at all, piece by piece (DUPLEX: its end is ours to say), or whole; COUNTED: not
    at all, but what it has counted in it."""

    NONE = "none"
    STREAMED = "streamed"
    DUPLEX = "duplex"
    BUFFERED = "buffered"
    COUNTED = "counted"


class RequestHeaders(Frozen, frozen=True):
    """The client's request head. `attributes` are the Envoy attributes that the filter was told to send."""

    hidden = ("headers",)

    headers: Mapping[str, str]
    end_of_stream: bool
    attributes: Mapping[str, str] = {}


class RequestBody(Frozen, frozen=True):
    """The client's whole body: request bodies are only ever asked for BUFFERED."""

    hidden = ("body",)

    body: bytes


class ResponseHeaders(Frozen, frozen=True):
    """The answer's head: a vendor's, or one that Envoy made itself (`attributes["response.code_details"]`)."""

    hidden = ("headers",)

    headers: Mapping[str, str]
    end_of_stream: bool
    attributes: Mapping[str, str] = {}


class ResponseBody(Frozen, frozen=True):
    """A piece of the answer (STREAMED, DUPLEX) or all of it (BUFFERED, `end_of_stream` set)."""

    hidden = ("body",)

    body: bytes
    end_of_stream: bool


class Counts(Frozen, frozen=True):
    """A body that was wanted COUNTED has ended. `usage`: its counts, as chat has them. `whole`: none of what Envoy
    looked at was lost."""

    usage: Mapping[str, Any]
    whole: bool


Event = RequestHeaders | RequestBody | ResponseHeaders | ResponseBody | Counts


class Forward(Frozen, frozen=True):
    """Let the message go on, changed as told.

    `body`: the new body or chunk (empty bytes remove it), None leaves it as it is.
    `response_mode` / `request_mode`: how the bodies that follow are wanted, None for not at all; only read on a headers
    event.
    `reroute`: choose the route again, since `set_headers` names the cluster.
    `replaces`: nothing of the vendor's body is wanted, `body` is the whole one, also where there was none; only read on
    a headers event.
    `final`: nothing more of the exchange is wanted; only read on a headers event.
    `ends`: of a DUPLEX body, and always said there: whether this piece is its last.
    `breaks`: behind this piece of a body the client's connection is broken, so that nobody takes it for the end.
    `metadata`: values for the access log, in our dynamic-metadata namespace. `counts`: of them the tokens of input,
    output and both, so far, with a piece of a body. `told`: what Envoy shall know of the
    request's body, to choose a route by.
    """

    hidden = ("set_headers", "body")

    set_headers: Mapping[str, str] = {}
    remove_headers: tuple[str, ...] = ()
    body: bytes | None = None
    request_mode: BodyMode | None = None
    response_mode: BodyMode | None = None
    reroute: bool = False
    replaces: bool = False
    final: bool = False
    ends: bool | None = None
    breaks: bool = False
    metadata: Mapping[str, str | int | float] = {}
    counts: tuple[int, int, int] | None = None
    told: Mapping[str, str | bool] = {}


class Answer(Frozen, frozen=True):
    """Answer the client ourselves and forward nothing. `body` is JSON."""

    hidden = ("body", "headers")

    status: int
    body: bytes
    headers: Mapping[str, str] = {}
    metadata: Mapping[str, str | int | float] = {}


Reply = Forward | Answer
