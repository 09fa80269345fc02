"""The vocabulary between the shell and the core: what Envoy says (`Event`) and what we answer (`Reply`).

Rule: plain frozen data, no behaviour, nothing of protobuf, JSON or any vendor. Header names are lower case.
Headers and bodies hold secrets, so no `repr` shows them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class BodyMode(Enum):
    """How Envoy hands a body to us: not at all, piece by piece, or whole."""

    NONE = "none"
    STREAMED = "streamed"
    BUFFERED = "buffered"


@dataclass(frozen=True, slots=True)
class RequestHeaders:
    """The client's request head. `attributes` are the Envoy attributes that the filter was told to send."""

    headers: Mapping[str, str] = field(repr=False)
    end_of_stream: bool
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RequestBody:
    """The client's whole body: request bodies are only ever asked for BUFFERED."""

    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ResponseHeaders:
    """The answer's head: a vendor's, or one that Envoy made itself (`attributes["response.code_details"]`)."""

    headers: Mapping[str, str] = field(repr=False)
    end_of_stream: bool
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ResponseBody:
    """A piece of the answer (STREAMED) or all of it (BUFFERED, `end_of_stream` set)."""

    body: bytes = field(repr=False)
    end_of_stream: bool


Event = RequestHeaders | RequestBody | ResponseHeaders | ResponseBody


@dataclass(frozen=True, slots=True)
class Forward:
    """Let the message go on, changed as told.

    `body`: the new body or chunk (empty bytes remove it), None leaves it as it is.
    `response_mode` / `request_mode`: how the bodies that follow are wanted, None for not at all; only read on a headers
    event.
    `reroute`: choose the route again, since `set_headers` names the cluster.
    `replaces`: nothing of the vendor's body is wanted, `body` is the whole one, also where there was none; only read on
    a headers event.
    `final`: nothing more of the exchange is wanted; only read on a headers event.
    `metadata`: values for the access log, in our dynamic-metadata namespace. `told`: what Envoy shall know of the
    request's body, to choose a route by.
    """

    set_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    remove_headers: tuple[str, ...] = ()
    body: bytes | None = field(default=None, repr=False)
    request_mode: BodyMode | None = None
    response_mode: BodyMode | None = None
    reroute: bool = False
    replaces: bool = False
    final: bool = False
    metadata: Mapping[str, str | int | float] = field(default_factory=dict)
    told: Mapping[str, str | bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer the client ourselves and forward nothing. `body` is JSON."""

    status: int
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    metadata: Mapping[str, str | int | float] = field(default_factory=dict)


Reply = Forward | Answer
