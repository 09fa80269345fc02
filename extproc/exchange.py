"""One HTTP exchange: where it stands, plus what Envoy says next, gives what we answer.

    Start ──▶ Headed ──▶ Sent ──▶ Whole | Streaming | Watching | Failed ──▶ Done
      (headers)  (body)    (response headers)            (response body)

Rule: no clock, no randomness, no I/O; the shell passes them in. Every failure ends in a reply: before the
answer's head is out an `Answer` with the right status, afterwards an error event and then silence.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import assert_never
import zlib

from extproc import compression, jsontext, outgoing, routing, sse
from extproc.agreed import (
    CLIENT_ATTRIBUTE,
    CLIENT_HEADERS,
    DOOR_ATTRIBUTE,
    LOCAL_ROUTE,
    MODEL_ATTRIBUTE,
    PLACE_ATTRIBUTE,
    PROVIDER_ATTRIBUTE,
    ROUTE_ATTRIBUTE,
    envoy_buffer,
)
from extproc.bystander import Watch
from extproc.call import JSON_APIS, Call, Target, parse_path
from extproc.clients import ANYONE, admit, without_keys
from extproc.compression import Decompressor, Undecodable
from extproc.config import Route
from extproc.errors import (
    BadJson,
    BadUpstreamResponse,
    Changing,
    ContextUnavailable,
    InternalError,
    MethodNotAllowed,
    NoRoute,
    Overloaded,
    ProxyError,
    TooLarge,
    UnknownPath,
    UnsupportedEncoding,
)
from extproc.events import (
    Answer,
    BodyMode,
    Event,
    Forward,
    Reply,
    RequestBody,
    RequestHeaders,
    ResponseBody,
    ResponseHeaders,
)
from extproc.jsontext import NotJson
from extproc.providers import Provider
from extproc.providers.base import vendor_error
from extproc.providers.translator import Translator
from extproc.sse import EventTooLong
from extproc.states import (
    Done,
    Failed,
    Headed,
    Moment,
    Place,
    Record,
    Sent,
    Snapshot,
    Start,
    State,
    Streaming,
    Unreadable,
    Watching,
    Whole,
)

__all__ = ["Exchange", "Moment", "Record", "Snapshot"]


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})


class Exchange:
    """Feed it Envoy's events in order, send what it replies."""

    def __init__(self, snapshot: Snapshot, moment: Moment) -> None:
        self._config = snapshot.config
        self._former = snapshot.former
        self._full = snapshot.full
        self._contexts = snapshot.contexts
        self._keys = snapshot.keys
        self._moment = moment
        self._state: State = Start()
        self._answer_headers: Mapping[str, str] = {}
        self._chance = moment.nonce
        self._token: str | None = None
        self._client = ANYONE
        self._counts = True
        self._may_forward = True
        self._placed_by_envoy = False
        self._answering = False
        self.record = Record()

    def handle(self, event: Event) -> Reply:
        """The reply to one event; never raises for anything that came over the wire."""
        self._answering = isinstance(event, ResponseBody)
        try:
            reply = self._handle(event)
        except ProxyError as error:
            reply = self.fail(error)
        except NotJson as error:  # inside of a value that was only skipped over at first
            if isinstance(event, RequestHeaders | RequestBody):
                reply = self.fail(BadJson(f"the request cannot be read: {error}"))
            else:
                reply = self.fail(BadUpstreamResponse(f"the vendor's answer cannot be read: {error}"))
        return outgoing.without_key(reply, self._token) if self._answering else reply

    def fail(self, error: ProxyError) -> Reply:
        """End the exchange with an error, in the form that still fits."""
        state, self._state = self._state, Done(mute=True)
        self._note(error)
        if isinstance(state, Streaming):
            return Forward(body=sse.encode(sse.Event(self._body_of(error))), metadata=self._metadata())
        if isinstance(state, Watching):
            self._state = Done()
            return Forward()
        if isinstance(state, Done) and self._answering:  # the answer's head is out, and nothing of it is ours
            return Forward(body=b"" if state.mute else None)
        status = self.record.status = error.status if error.status < 600 else BadUpstreamResponse.status
        if self._placed_by_envoy and isinstance(state, Whole | Unreadable):
            # As if the vendor had said so: Envoy may try the next one. An answer of ours would be the last word.
            return outgoing.whole(self._body_of(error), self._answer_headers, self._metadata(), status=status)
        headers = self._request_id() | outgoing.error_headers(self._answer_headers) | self._about()
        if isinstance(error, Overloaded | Changing):
            headers["retry-after"] = "1"
        return Answer(status, self._body_of(error), headers, self._metadata())

    def _request_id(self) -> dict[str, str]:
        """What a client can quote and the log can find; a vendor's own id wins."""
        return {"x-request-id": self.record.request_id} if self.record.request_id else {}

    def _body_of(self, error: ProxyError) -> bytes:
        """Vendors quote the key that they refuse."""
        return outgoing.redact(error.body(), self._token)

    def _note(self, error: ProxyError) -> None:
        """A vendor's code may be anything, our key too."""
        self.record.error = outgoing.redact_text(error.code or error.type, self._token)
        self.record.complete = True

    def _metadata(self) -> outgoing.Metadata:
        return outgoing.metadata(self.record)

    def crash(self) -> Reply:
        """End the exchange after an exception that nobody foresaw."""
        return self.fail(InternalError("the gateway failed to process this exchange"))

    def _handle(self, event: Event) -> Reply:
        match event:
            case RequestHeaders():
                return self._request_headers(event)
            case RequestBody():
                return self._request_body(event)
            case ResponseHeaders():
                reply = self._response_headers(event)
                return replace(reply, set_headers={**reply.set_headers, **self._about()})
            case ResponseBody():
                return self._response_body(event)
        assert_never(event)

    def close(self) -> None:
        """The stream is over, complete or not: count what a cut answer cost."""
        if isinstance(self._state, Streaming):
            self._count(self._state.translator)

    # Request

    def _request_headers(self, event: RequestHeaders) -> Reply:
        placed = self._placed_by_envoy = PROVIDER_ATTRIBUTE in event.attributes
        headers = self._client_headers(event) if placed else event.headers
        target = parse_path(headers.get(":path", ""))
        self.record.method, self.record.path = headers.get(":method", ""), target.path
        self.record.request_id = headers.get("x-request-id")
        self._client = admit(self._config.client_keys, headers)
        if DOOR_ATTRIBUTE in event.attributes:  # asked again further on, where there is more to decide and to log
            self._state, self.record.path = Done(), ""
            return Forward(final=True)
        self.record.client = self._client.name or None
        if self._full:
            raise Overloaded("too many requests at a time; try again")
        if self.record.method not in _METHODS:
            raise MethodNotAllowed(f"the method {self.record.method[:20]!r} is not supported")
        state = self._placed(event, headers, target) if placed else self._routed(event, headers, target)
        self._state = state
        if event.end_of_stream:
            return self._without_body(state)
        if not _reads_body(target, headers):
            self._client.check_unread()
            return self._without_body(state, streamed=True)
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise UnsupportedEncoding("compressed request bodies are not supported")
        # A client that is still sending would see a reset, not the 413: refuse early only what Envoy cannot hold.
        if _number(headers.get("content-length", "")) > self._buffer:
            raise self._too_large()
        return Forward(request_mode=BodyMode.BUFFERED)

    def _client_headers(self, event: RequestHeaders) -> Mapping[str, str]:
        """The head as the client sent it. A later attempt sees it as the one before left it."""
        state = event.attributes.get(CLIENT_ATTRIBUTE, "")
        self._chance = zlib.crc32(state.encode())  # the same for all attempts of a request, so that they take turns
        self.record.attempt = _number(event.headers.get("x-envoy-attempt-count", "")) or 1
        if self.record.attempt == 1:
            return event.headers
        sent = jsontext.load(state.encode())
        kept = {name: value for name, value in event.headers.items() if name not in CLIENT_HEADERS}
        return kept | {name: sent[name].encode().decode("latin-1") for name in CLIENT_HEADERS if sent.get(name)}

    def _placed(self, event: RequestHeaders, headers: Mapping[str, str], target: Target) -> Headed:
        """Envoy chose route and provider."""
        id, name = event.attributes[PROVIDER_ATTRIBUTE], event.attributes.get(ROUTE_ATTRIBUTE, "")
        for config in (self._config, *self._former):
            provider, route = config.by_id.get(id), config.by_name.get(name)
            if provider is not None and route is not None and provider.place == event.attributes.get(PLACE_ATTRIBUTE):
                self._config = config
                if not self._client.may_use(name):
                    raise NoRoute("no route takes this request")
                _check_path(target, [provider])
                place = Place(provider, event.attributes.get(MODEL_ATTRIBUTE) or None)
                return Headed(without_keys(config.clients, headers), target, [route], place)
        raise Changing("the gateway's configuration is changing; try again")

    def _routed(self, event: RequestHeaders, headers: Mapping[str, str], target: Target) -> Headed:
        """The choice is ours, as far as it can be made without the body."""
        self._may_forward = event.attributes.get(ROUTE_ATTRIBUTE) != LOCAL_ROUTE
        routes = self._candidates(headers, event.attributes)
        _check_path(target, [self._config.by_id[step.provider] for route in routes for step in route.first])
        return Headed(without_keys(self._config.clients, headers), target, routes, None)

    def _candidates(self, headers: Mapping[str, str], attributes: Mapping[str, str]) -> list[Route]:
        """The routes that may take a request with this head, and that its client may use."""
        found = routing.candidates(self._config, headers, attributes)
        return [route for route in found if self._client.may_use(route.name)]

    def _place(self, state: Headed, route: Route) -> Place:
        if state.place is not None:
            return state.place
        step = routing.first_step(route, self._chance >> 48)
        return Place(self._config.by_id[step.provider], step.model)

    @property
    def _buffer(self) -> int:
        return envoy_buffer(self._config.max_body_bytes)

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the request body is longer than {self._config.max_body_bytes} bytes")

    def _request_body(self, event: RequestBody) -> Reply:
        state = self._state
        if not isinstance(state, Headed):  # a body that was not asked for is none of our business
            return Forward()
        if not event.body and (state.target.api not in JSON_APIS or state.headers.get(":method") != "POST"):
            return self._without_body(state)
        if len(event.body) > self._config.max_body_bytes:
            raise self._too_large()
        try:
            given = jsontext.fields(event.body)
        except NotJson as error:
            raise BadJson(f"the request body is not a JSON object: {error}") from None
        model = routing.requested_model(given)
        self._client.check_model(state.target, given, model)
        route = state.routes[0] if state.place is not None else routing.choose(state.routes, model)
        place = self._place(state, route)
        provider = place.provider
        body = provider.settled(given)
        self.record.route, self.record.provider, self.record.model = route.name, provider.id, model
        call = replace(
            self._call(state, provider),
            body=body,
            text=event.body,
            model=model,
            # A member named twice might be another model for the vendor: what was checked is what is sent.
            settled=body != given or self._client.limited,
            upstream_model=routing.upstream_model(provider, state.target, body, place.model),
            stream=body.get("stream") == jsontext.TRUE,
        )
        return self._send(provider, self._with_context(provider, call))

    def _without_body(self, state: Headed, *, streamed: bool = False) -> Reply:
        """Settle a request whose body is absent, or `streamed` past us unread."""
        method = state.headers.get(":method", "")
        if method == "POST" and state.target.api in JSON_APIS:
            raise BadJson("the request has no body")
        routes = [r for r in state.routes if r.match.models is None or state.place is not None]
        if state.routes and routing.is_model_list(state.target, method):
            every = self._candidates(state.headers, {}) if state.place is not None else state.routes
            names = self._client.listed(routing.listed_models(self._config, every))
            if names is not None:
                return self._answer(routing.models_answer(names, state.target, int(self._moment.now)))
            routes = routes or state.routes[:1]
        if not routes:
            raise NoRoute("no route takes this request")
        route = routes[0]
        provider = self._place(state, route).provider
        self.record.route, self.record.provider = route.name, provider.id
        return self._send(provider, self._call(state, provider), BodyMode.NONE if streamed else None)

    def _call(self, state: Headed, provider: Provider) -> Call:
        """What is known of a call without its body."""
        now, nonce = self._moment.now, self._moment.nonce
        token = self.record.token = self._keys.choose(provider, self._chance, self.record.attempt, now)
        method = state.headers.get(":method", "")
        return Call(state.target, method, state.headers, token=token, now=int(now), nonce=nonce)

    def _answer(self, body: bytes) -> Answer:
        self._state = Done()
        self.record.status, self.record.complete = 200, True
        return Answer(200, body, self._request_id(), self._metadata())

    def _with_context(self, provider: Provider, call: Call) -> Call:
        if provider.context_source is None or not provider.takes_context(call):
            return call
        text = self._contexts.get(provider.id)
        if text is None:
            raise ContextUnavailable(f"the context text of provider {provider.id!r} is not available")
        return replace(call, context=text)

    def _send(self, provider: Provider, call: Call, request_mode: BodyMode | None = None) -> Forward:
        if not self._may_forward:  # Envoy and we read the same routes; whoever is wrong, nothing goes out
            raise InternalError("no provider was chosen for this request")
        upstream = provider.request(call)
        self._token, self._counts = call.token, provider.record_usage is not False
        translator = provider.translator(call)
        self._state = Sent(provider, call, translator)
        self.record.upstream_model, self.record.stream = call.upstream_model, call.stream
        read = translator is not None or provider.watches(call)
        forward = outgoing.request(provider, call, upstream, self._metadata(), read=read, request_mode=request_mode)
        if not self._placed_by_envoy:
            return outgoing.rerouted(forward, provider)
        return outgoing.again(forward, call) if self.record.attempt > 1 else forward

    # Response

    def _response_headers(self, event: ResponseHeaders) -> Forward:
        status = _number(event.headers.get(":status", ""))
        self.record.status, self.record.details = status, event.attributes.get("response.code_details")
        self._answer_headers = event.headers
        self.record.retry_after = event.headers.get("retry-after")
        self.record.upstream_request_id = event.headers.get("x-request-id")
        sent = self._state if isinstance(self._state, Sent) else None
        if isinstance(self._state, Done):
            return Forward()
        if status >= 400:
            return self._failed(Failed(sent, status, event.headers), event)
        if sent is None:
            return self._untouched()
        try:
            return self._answered(sent, event, status)
        except BadUpstreamResponse as error:
            if event.end_of_stream or not self._placed_by_envoy:
                raise
            self._state = Unreadable(error)
            return Forward(remove_headers=outgoing.VENDOR_HEADERS, response_mode=BodyMode.BUFFERED)

    def _about(self) -> dict[str, str]:
        """Who gave the answer, and at which attempt."""
        if not self._config.answer_headers or self.record.provider is None:
            return {}
        return {"x-ai-provider": self.record.provider, "x-ai-attempts": str(self.record.attempt)}

    def _untouched(self) -> Forward:
        self._state = Done()
        self.record.complete = True
        return Forward(remove_headers=outgoing.VENDOR_HEADERS)

    def _failed(self, failed: Failed, event: ResponseHeaders) -> Forward:
        self._state = failed
        if event.end_of_stream:
            raise self._error(failed, b"")
        return Forward(remove_headers=outgoing.VENDOR_HEADERS, response_mode=BodyMode.BUFFERED)

    def _answered(self, sent: Sent, event: ResponseHeaders, status: int) -> Forward:
        """A status below 400."""
        if sent.provider.protocol == "original":
            return self._past(sent, event, status)
        json_only = sent.call.api in JSON_APIS and sent.call.body is not None
        if json_only and not (status == 200 or (200 < status < 300 and not sent.call.stream)):
            raise BadUpstreamResponse(f"the vendor answered with status {status}")
        translator = sent.translator
        kind = event.headers.get("content-type", "").lower()
        if (
            translator is None
            or status >= 300
            or not (json_only or kind.startswith(("application/json", "text/event-stream")))
        ):
            return self._untouched()
        encoding = event.headers.get("content-encoding", "")
        try:
            decompressor = Decompressor(encoding)
        except Undecodable as error:
            raise BadUpstreamResponse(str(error)) from None
        streams = kind.startswith("text/event-stream")
        if translator.expects_stream and not streams:
            raise BadUpstreamResponse("the vendor did not answer with an event stream")
        if event.end_of_stream:
            raise BadUpstreamResponse("the vendor's answer is empty")
        if not streams or translator.gathers:
            if _number(event.headers.get("content-length", "")) > self._buffer:
                raise BadUpstreamResponse("the vendor's answer is too long")  # Envoy would wait for ever
            self._state = Whole(translator, event.headers, streams)
            return Forward(remove_headers=outgoing.VENDOR_HEADERS, response_mode=BodyMode.BUFFERED)
        self._state = Streaming(translator, sse.Decoder(id_starts_event=translator.id_starts_event), decompressor)
        remove = (*outgoing.VENDOR_HEADERS, "content-length", "content-encoding")
        return Forward(remove_headers=remove, response_mode=BodyMode.STREAMED)

    def _past(self, sent: Sent, event: ResponseHeaders, status: int) -> Forward:
        """An answer in the vendor's own dialect is not ours to judge; with `recordUsage` we see it pass."""
        kind = event.headers.get("content-type", "").lower()
        counted = sent.provider.watches(sent.call) and status == 200
        if not counted or event.end_of_stream or not kind.startswith(("application/json", "text/event-stream")):
            return self._untouched()
        try:
            self._state = Watching(Watch(event.headers, self._buffer))
        except Undecodable:
            return self._untouched()
        return Forward(remove_headers=outgoing.VENDOR_HEADERS, response_mode=BodyMode.STREAMED)

    def _response_body(self, event: ResponseBody) -> Reply:
        state = self._state
        match state:
            case Streaming():
                return self._chunk(state, event)
            case Whole():
                return self._whole(state, event.body)
            case Watching():
                return self._watched(state, event)
            case Failed():
                return self._refused(state, event.body)
            case Unreadable():
                raise state.error
            case Done(mute=True):
                return Forward(body=b"")
            case _:
                return Forward()

    def _whole(self, state: Whole, sent: bytes) -> Reply:
        try:
            body = compression.decode(state.headers.get("content-encoding", ""), sent, self._buffer)
            if state.streams and state.translator.gathers:
                translated = state.translator.gathered(
                    sse.events(body, id_starts_event=state.translator.id_starts_event)
                )
            else:
                translated = state.translator.body(body)
        except (Undecodable, EventTooLong) as error:
            raise BadUpstreamResponse(f"the vendor's answer cannot be read: {error}") from None
        self._count(state.translator)
        if translated == sent:
            return self._ended(Forward(metadata=self._metadata()))
        return self._ended(outgoing.whole(translated, state.headers, self._metadata()))

    def _ended(self, reply: Forward) -> Forward:
        """`reply` replaces the vendor's body. Only now, when it is made: whatever fails before must not let that
        body through, whatever fails after it finds it swallowed."""
        self._state = Done(mute=True)
        self.record.complete = True
        return reply

    def _watched(self, state: Watching, event: ResponseBody) -> Reply:
        state.watch.feed(event.body, end=event.end_of_stream)
        self.record.usage = state.watch.usage
        if not event.end_of_stream:
            return Forward()
        self._state = Done()
        self.record.complete = True
        return Forward(metadata=self._metadata())

    def _chunk(self, state: Streaming, event: ResponseBody) -> Reply:
        """Translate what the chunk completes. What was made before a failure still goes out, before the error."""
        out: list[bytes] = []
        try:
            for piece in state.decompressor.feed(event.body):
                for one in state.decoder.feed(piece):
                    out.extend(map(sse.encode, state.translator.event(one)))
            if event.end_of_stream:
                state.decompressor.close()
                for one in state.decoder.close():
                    out.extend(map(sse.encode, state.translator.event(one)))
                out.extend(map(sse.encode, state.translator.close()))
        except (Undecodable, EventTooLong) as unreadable:
            return self._broken(state, out, BadUpstreamResponse(f"the vendor's stream cannot be read: {unreadable}"))
        except ProxyError as error:
            return self._broken(state, out, error)
        if not event.end_of_stream:
            return Forward(body=b"".join(out))
        self._count(state.translator)
        self._state = Done(mute=True)
        self.record.complete = True
        return Forward(body=b"".join(out), metadata=self._metadata())

    def _broken(self, state: Streaming, out: list[bytes], error: ProxyError) -> Reply:
        self._count(state.translator)
        out.extend(map(sse.encode, state.translator.release()))
        if out and not out[-1].endswith(sse.ENDS):
            out.append(b"\n\n")  # the vendor's last event, passed on as it came, had no end
        reply = self.fail(error)
        assert isinstance(reply, Forward)
        return Forward(body=b"".join(out) + (reply.body or b""), metadata=reply.metadata)

    def _count(self, translator: Translator) -> None:
        if self._counts:
            self.record.usage = translator.usage

    def _refused(self, state: Failed, body: bytes) -> Forward:
        if state.sent is not None and state.sent.provider.protocol == "original" and self._from_vendor():
            return self._ended(self._original_refusal(state, body))
        error = self._error(state, body)
        self._note(error)
        return self._ended(outgoing.whole(self._body_of(error), state.headers, self._metadata()))

    def _original_refusal(self, state: Failed, body: bytes) -> Forward:
        """A client that speaks the vendor's dialect gets its errors as they are, but for our key."""
        self.record.error = "vendor_error"
        plain = self._decoded(state, body)
        clean = outgoing.redact(plain, self._token)
        if clean == plain:
            return Forward(metadata=self._metadata())
        return outgoing.whole(clean, state.headers, self._metadata())

    def _from_vendor(self) -> bool:
        return self.record.details in (None, "via_upstream")

    def _error(self, failed: Failed, body: bytes) -> ProxyError:
        """A refusal in OpenAI form: the vendor's, or Envoy's own."""
        body = _error_document(self._decoded(failed, body))
        if failed.sent is None:
            return vendor_error(failed.status, body)
        return failed.sent.provider.error(failed.status, body)

    def _decoded(self, failed: Failed, body: bytes) -> bytes:
        try:
            return compression.decode(failed.headers.get("content-encoding", ""), body, self._buffer)
        except Undecodable:
            return b""


def _error_document(body: bytes) -> bytes:
    """The JSON of a refusal, empty when there is none. DashScope answers what it refuses of an SSE request as one
    `event:error` frame, and content-type does not always say which of both it is."""
    body = body.removeprefix(b"\xef\xbb\xbf")
    with suppress(NotJson):
        jsontext.check(body)
        return body
    with suppress(EventTooLong):
        return next((event.data for event in sse.events(body, id_starts_event=True) if event.data), b"")
    return b""


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and text.isascii() else 0


def _check_path(target: Target, providers: Sequence[Provider]) -> None:
    """Raises `UnknownPath` for a path that is neither OpenAI's nor possibly a vendor's own."""
    if target.api is None and not any(p.protocol == "original" for p in providers):
        raise UnknownPath("there is no API at this path; the OpenAI API is under /v1/")


def _reads_body(target: Target, headers: Mapping[str, str]) -> bool:
    """JSON bodies are read; uploads and other kinds stream past, except where an API takes JSON only."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return target.api in JSON_APIS or kind in ("", "application/json") or kind.endswith("+json")
