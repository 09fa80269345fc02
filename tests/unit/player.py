"""Plays one HTTP exchange against `Exchange` the way Envoy would, and keeps what each side saw.

Rule: this file knows Envoy's behaviour (header mutations, body modes, exact lengths), nothing of any vendor.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
import itertools
from typing import Any

from extproc.config.config import Config, Route
from extproc.exchange.exchange import Exchange, Moment, Record, Snapshot
from extproc.terms.events import Answer, BodyMode, Forward, RequestBody, RequestHeaders, ResponseBody, ResponseHeaders

NOW = 1_700_000_000
NONCE = 0xC0FFEE_0123456789ABCDEF

CLIENT_KEY = "client-key"
CLIENT_NOISE = {
    "accept-encoding": "gzip, deflate",
    "api-key": CLIENT_KEY,
    "authorization": f"Bearer {CLIENT_KEY}",
    "te": "trailers",
    "x-ai-proxy-cluster": "spoofed",
    "x-ai-proxy-whatever": "spoofed",
    "x-api-key": CLIENT_KEY,
}
"""Sent with every request: none of it may reach a vendor whose key we have."""


@dataclass
class Seen:
    """What came out. `upstream` is None where the request never left. `broken`: the client's connection was."""

    record: Record
    upstream: dict[str, str] | None = None
    upstream_body: bytes | None = None
    client: dict[str, str] = field(default_factory=dict)
    client_body: bytes = b""
    response_mode: BodyMode = BodyMode.NONE
    request_mode: BodyMode = BodyMode.BUFFERED
    reroute: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)
    outputs: list[bytes] = field(default_factory=list)
    broken: bool = False

    @property
    def status(self) -> int:
        return int(self.client[":status"])


def config_of(document: Mapping[str, Any]) -> Config:
    """A native configuration file's content as a `Config`."""
    return Config.model_validate(document)


def exchange_of(config: Config, contexts: Mapping[str, str] | None = None) -> Exchange:
    return Exchange(Snapshot(config, contexts or {}), Moment(now=NOW, nonce=NONCE))


class Play:
    """One exchange: call `request`, then `response`."""

    def __init__(self, config: Config, contexts: Mapping[str, str] | None = None) -> None:
        self.exchange = exchange_of(config, contexts)
        self.seen = Seen(self.exchange.record)

    @property
    def answered(self) -> bool:
        return bool(self.seen.client)

    def request(self, headers: Mapping[str, str], body: bytes | None, attributes: Mapping[str, str]) -> None:
        """The client's request. `body` None: the stream ends with the head."""
        current = dict(headers)
        reply = self.exchange.handle(RequestHeaders(dict(headers), body is None, attributes))
        if self._answer(reply):
            return
        assert isinstance(reply, Forward)
        assert reply.body is None, "a body in the answer to request headers"
        self._mutate(current, reply)
        mode = reply.request_mode or BodyMode.BUFFERED
        if reply.request_mode is not None or reply.response_mode is not None:  # an override carries both
            mode = reply.request_mode or BodyMode.NONE
        self.seen.request_mode = mode
        if body is not None and mode is BodyMode.BUFFERED:
            reply = self.exchange.handle(RequestBody(body))
            if self._answer(reply):
                return
            assert isinstance(reply, Forward)
            assert reply.request_mode is None, "Envoy ignores a mode override here"
            assert reply.response_mode is None, "Envoy ignores a mode override here"
            self._mutate(current, reply)
            if reply.body is not None:
                body = reply.body
                assert current.get("content-length") == str(len(body)), "Envoy answers 500 to a wrong length"
        self.seen.upstream, self.seen.upstream_body = current, body

    def response(
        self,
        headers: Mapping[str, str],
        chunks: Sequence[bytes] | None,
        *,
        attributes: Mapping[str, str] | None = None,
        empty_end: bool = True,
    ) -> None:
        """The vendor's answer. `chunks` None: no body. `empty_end`: the end is an empty message of its own."""
        attributes = {"response.code_details": "via_upstream"} if attributes is None else attributes
        current = dict(headers)
        reply = self.exchange.handle(ResponseHeaders(dict(headers), chunks is None, attributes))
        if self._answer(reply):
            return
        assert isinstance(reply, Forward)
        assert reply.body is None, "a body in the answer to response headers"
        self._mutate(current, reply)
        mode = reply.response_mode or BodyMode.NONE
        self.seen.response_mode = mode
        chunks = chunks or []
        match mode:
            case BodyMode.NONE:
                self.seen.client, self.seen.client_body = current, b"".join(chunks)
            case BodyMode.BUFFERED:
                body = b"".join(chunks)
                reply = self.exchange.handle(ResponseBody(body, True))
                if self._answer(reply):
                    return
                assert isinstance(reply, Forward)
                self._mutate(current, reply)
                self.seen.client = current
                self.seen.client_body = body if reply.body is None else reply.body
                length = current.get("content-length", str(len(self.seen.client_body)))
                assert length == str(len(self.seen.client_body)), "Envoy answers 500 to a wrong length"
            case BodyMode.STREAMED | BodyMode.DUPLEX:
                self.seen.client = current
                self._stream(chunks, empty_end=empty_end, duplex=mode is BodyMode.DUPLEX)
                length = current.get("content-length", str(len(self.seen.client_body)))
                assert length == str(len(self.seen.client_body)), "Envoy would cut the stream"

    def _stream(self, chunks: Sequence[bytes], *, empty_end: bool, duplex: bool) -> None:
        messages = [(c, False) for c in chunks]
        if empty_end or not messages:
            messages.append((b"", True))
        else:
            messages[-1] = (messages[-1][0], True)
        for chunk, end in messages:
            reply = self.exchange.handle(ResponseBody(chunk, end))
            assert isinstance(reply, Forward), "an Answer behind the response headers resets the client's stream"
            self.seen.metadata |= reply.metadata
            if reply.breaks:
                self.seen.broken = True
                assert reply.ends in (False, None), "the client would take it for the end"
                if reply.ends is None and end:  # said with the last piece, it would be the end
                    break
            assert (reply.ends is not None) is duplex, "Envoy takes no such answer in this mode"
            assert reply.breaks or not duplex or reply.ends is end, "Envoy would wait for ever, or end too early"
            self.seen.outputs.append(chunk if reply.body is None else reply.body)
            if reply.breaks:
                break
        self.seen.client_body = b"".join(self.seen.outputs)

    def _answer(self, reply: object) -> bool:
        if not isinstance(reply, Answer):
            return False
        self.seen.metadata |= reply.metadata
        self.seen.client = {":status": str(reply.status), **reply.headers, "content-type": "application/json"}
        self.seen.client_body = reply.body
        return True

    def _mutate(self, headers: dict[str, str], reply: Forward) -> None:
        """Envoy removes first, then sets, so a header in both lists survives."""
        self.seen.metadata |= reply.metadata
        self.seen.reroute |= reply.reroute
        for name in reply.remove_headers:
            assert name == name.lower()
            headers.pop(name, None)
        for name, value in reply.set_headers.items():
            assert name == name.lower()
            assert value == value.strip(), f"{name} has white space around it"
            assert not set(value) & set("\r\n\0"), f"{name} would fail the request"
            headers[name] = value


def only_provider(route: Route) -> str | None:
    """The provider of a route that names one or none."""
    if route.provider is None:
        return None
    ((step,),) = route.provider
    assert step.model is None
    return step.provider


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """`data` cut at `places`."""
    edges = [0, *sorted(places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]
