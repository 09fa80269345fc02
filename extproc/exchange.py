"""One HTTP exchange: where it stands, plus what Envoy says next, gives what we answer.

    Start ──▶ Headed ──▶ Sent ──▶ Whole | Streaming | Failed ──▶ Done
      (headers)  (body)    (response headers)            (response body)

Rule: no clock, no randomness, no I/O; the shell passes them in. Every failure ends in a reply: before the
answer's head is out an `Answer` with the right status, afterwards an error event and then silence.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import assert_never

from extproc import compression, jsontext, outgoing, routing, sse
from extproc.agreed import envoy_buffer
from extproc.call import JSON_APIS, Call, Target, parse_path
from extproc.clients import ANYONE, admit, without_keys
from extproc.compression import Decompressor, Undecodable
from extproc.config import Route
from extproc.errors import (
    BadJson,
    BadUpstreamResponse,
    ContextUnavailable,
    InternalError,
    MethodNotAllowed,
    NoRoute,
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
from extproc.states import Done, Failed, Headed, Moment, Record, Sent, Snapshot, Start, State, Streaming, Whole

__all__ = ["Exchange", "Moment", "Record", "Snapshot"]


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})


class Exchange:
    """Feed it Envoy's events in order, send what it replies."""

    def __init__(self, snapshot: Snapshot, moment: Moment) -> None:
        self._config = snapshot.config
        self._contexts = snapshot.contexts
        self._moment = moment
        self._state: State = Start()
        self._answer_headers: Mapping[str, str] = {}
        self._token: str | None = None
        self._client = ANYONE
        self._counts = True
        self._answering = False
        self.record = Record()

    def handle(self, event: Event) -> Reply:
        """The reply to one event; never raises for anything that came over the wire."""
        self._answering = isinstance(event, ResponseBody)
        try:
            reply = self._handle(event)
        except ProxyError as error:
            reply = self.fail(error)
        return outgoing.without_key(reply, self._token) if self._answering else reply

    def fail(self, error: ProxyError) -> Reply:
        """End the exchange with an error, in the form that still fits."""
        state, self._state = self._state, Done(mute=True)
        self._note(error)
        if isinstance(state, Streaming):
            return Forward(body=sse.encode(sse.Event(self._body_of(error))), metadata=self._metadata())
        if isinstance(state, Done) and self._answering:  # the answer's head is out, and nothing of it is ours
            return Forward(body=b"" if state.mute else None)
        status = self.record.status = error.status if error.status < 600 else BadUpstreamResponse.status
        headers = self._request_id() | outgoing.error_headers(self._answer_headers)
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
                return self._response_headers(event)
            case ResponseBody():
                return self._response_body(event)
        assert_never(event)

    def close(self) -> None:
        """The stream is over, complete or not: count what a cut answer cost."""
        if isinstance(self._state, Streaming):
            self._count(self._state.translator)

    # Request

    def _request_headers(self, event: RequestHeaders) -> Reply:
        headers = event.headers
        target = parse_path(headers.get(":path", ""))
        self.record.method, self.record.path = headers.get(":method", ""), target.path
        self.record.request_id = headers.get("x-request-id")
        self._client = admit(self._config.client_keys, headers)
        self.record.client = self._client.name or None
        if self.record.method not in _METHODS:
            raise MethodNotAllowed(f"the method {self.record.method[:20]!r} is not supported")
        candidates = routing.candidates(self._config, headers, event.attributes)
        routes = [route for route in candidates if self._client.may_use(route.name)]
        providers = [self._config.by_id[r.provider] for r in routes if r.provider is not None]
        if target.api is None and not any(p.protocol == "original" for p in providers):
            raise UnknownPath("there is no API at this path; the OpenAI API is under /v1/")
        self._state = Headed(without_keys(self._config.clients, headers), target, routes)
        if event.end_of_stream:
            return self._without_body(self._state)
        if not _reads_body(target, headers):
            self._client.check_unread()
            return self._without_body(self._state, streamed=True)
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise UnsupportedEncoding("compressed request bodies are not supported")
        # A client that is still sending would see a reset, not the 413: refuse early only what Envoy cannot hold.
        if _number(headers.get("content-length", "")) > self._buffer:
            raise self._too_large()
        return Forward(request_mode=BodyMode.BUFFERED)

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
        route = routing.choose(state.routes, model)
        provider = self._provider(route)
        body = provider.settled(given)
        self.record.route, self.record.provider, self.record.model = route.name, provider.id, model
        call = replace(
            self._call(state, provider),
            body=body,
            text=event.body,
            model=model,
            # A member named twice might be another model for the vendor: what was checked is what is sent.
            settled=body != given or self._client.limited,
            upstream_model=routing.upstream_model(provider, state.target, routing.requested_model(body)),
            stream=body.get("stream") == jsontext.TRUE,
        )
        return self._send(provider, self._with_context(provider, call))

    def _without_body(self, state: Headed, *, streamed: bool = False) -> Reply:
        """Settle a request whose body is absent, or `streamed` past us unread."""
        method = state.headers.get(":method", "")
        if method == "POST" and state.target.api in JSON_APIS:
            raise BadJson("the request has no body")
        routes = [r for r in state.routes if r.match.models is None]
        if state.routes and routing.is_model_list(state.target, method):
            names = self._client.listed(routing.listed_models(self._config, state.routes))
            if names is not None:
                return self._answer(routing.models_answer(names, state.target, self._moment.now))
            routes = routes or state.routes[:1]
        if not routes:
            raise NoRoute("no route takes this request")
        route = routes[0]
        provider = self._provider(route)
        self.record.route, self.record.provider = route.name, provider.id
        return self._send(provider, self._call(state, provider), BodyMode.NONE if streamed else None)

    def _call(self, state: Headed, provider: Provider) -> Call:
        """What is known of a call without its body."""
        now, nonce = self._moment.now, self._moment.nonce
        token = outgoing.token(provider, nonce)
        method = state.headers.get(":method", "")
        return Call(state.target, method, state.headers, token=token, now=now, nonce=nonce)

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
        try:
            upstream = provider.request(call)
        except NotJson as error:
            raise BadJson(f"the request cannot be read: {error}") from None
        self._token, self._counts = call.token, provider.record_usage is not False
        translator = provider.translator(call)
        self._state = Sent(provider, call, translator)
        self.record.upstream_model, self.record.stream = call.upstream_model, call.stream
        return outgoing.request(
            provider, call, upstream, self._metadata(), read=translator is not None, request_mode=request_mode
        )

    def _provider(self, route: Route) -> Provider:
        return routing.provider_of(self._config, route)

    # Response

    def _response_headers(self, event: ResponseHeaders) -> Reply:
        status = _number(event.headers.get(":status", ""))
        self.record.status, self.record.details = status, event.attributes.get("response.code_details")
        self._answer_headers = event.headers
        self.record.upstream_request_id = event.headers.get("x-request-id")
        sent = self._state if isinstance(self._state, Sent) else None
        if isinstance(self._state, Done):
            return Forward()
        if status >= 400:
            return self._failed(Failed(sent, status, event.headers), event)
        if sent is None:
            return self._untouched()
        return self._answered(sent, event, status)

    def _untouched(self) -> Forward:
        self._state = Done()
        self.record.complete = True
        return Forward(remove_headers=outgoing.VENDOR_HEADERS)

    def _failed(self, failed: Failed, event: ResponseHeaders) -> Reply:
        self._state = failed
        if event.end_of_stream:
            raise self._error(failed, b"")
        return Forward(remove_headers=outgoing.VENDOR_HEADERS, response_mode=BodyMode.BUFFERED)

    def _answered(self, sent: Sent, event: ResponseHeaders, status: int) -> Reply:
        """A status below 400."""
        json_only = sent.call.api in JSON_APIS and sent.call.body is not None
        if sent.provider.protocol == "original":
            return self._untouched()
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

    def _response_body(self, event: ResponseBody) -> Reply:
        state = self._state
        match state:
            case Streaming():
                return self._chunk(state, event)
            case Whole():
                return self._whole(state, event.body)
            case Failed():
                return self._refused(state, event.body)
            case Done(mute=True):
                return Forward(body=b"")
            case _:
                return Forward()

    def _whole(self, state: Whole, body: bytes) -> Reply:
        try:
            body = compression.decode(state.headers.get("content-encoding", ""), body, self._buffer)
            if state.streams and state.translator.gathers:
                translated = state.translator.gathered(
                    sse.events(body, id_starts_event=state.translator.id_starts_event)
                )
            else:
                translated = state.translator.body(body)
        except (Undecodable, EventTooLong) as error:
            raise BadUpstreamResponse(f"the vendor's answer cannot be read: {error}") from None
        self._state = Done()
        self._count(state.translator)
        self.record.complete = True
        return outgoing.whole(translated, self._metadata())

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
        if out and not out[-1].endswith((b"\n\n", b"\r\r", b"\r\n\r\n")):
            out.append(b"\n\n")  # the vendor's last event, passed on as it came, had no end
        reply = self.fail(error)
        assert isinstance(reply, Forward)
        return Forward(body=b"".join(out) + (reply.body or b""), metadata=reply.metadata)

    def _count(self, translator: Translator) -> None:
        if self._counts:
            self.record.usage = translator.usage

    def _refused(self, state: Failed, body: bytes) -> Forward:
        self._state = Done()
        if state.sent is not None and state.sent.provider.protocol == "original" and self._from_vendor():
            return self._original_refusal(state, body)
        error = self._error(state, body)
        self._note(error)
        return outgoing.whole(self._body_of(error), self._metadata())

    def _original_refusal(self, state: Failed, body: bytes) -> Forward:
        """A client that speaks the vendor's dialect gets its errors as they are, but for our key."""
        self.record.error, self.record.complete = "vendor_error", True
        plain = self._decoded(state, body)
        clean = outgoing.redact(plain, self._token)
        return Forward(metadata=self._metadata()) if clean == plain else outgoing.whole(clean, self._metadata())

    def _from_vendor(self) -> bool:
        return self.record.details in (None, "via_upstream")

    def _error(self, failed: Failed, body: bytes) -> ProxyError:
        """A refusal in OpenAI form: the vendor's, or Envoy's own."""
        body = self._decoded(failed, body)
        if failed.sent is None:
            return vendor_error(failed.status, body)
        if failed.headers.get("content-type", "").startswith("text/event-stream"):
            # DashScope answers what it refuses of an SSE request as one `event:error` frame.
            body = next((event.data for event in sse.events(body) if event.data), b"")
        return failed.sent.provider.error(failed.status, body)

    def _decoded(self, failed: Failed, body: bytes) -> bytes:
        try:
            return compression.decode(failed.headers.get("content-encoding", ""), body, self._buffer)
        except Undecodable:
            return b""


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and text.isascii() else 0


def _reads_body(target: Target, headers: Mapping[str, str]) -> bool:
    """JSON bodies are read; uploads and other kinds stream past, except where an API takes JSON only."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return target.api in JSON_APIS or kind in ("", "application/json") or kind.endswith("+json")
