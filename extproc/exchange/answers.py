"""The half of an exchange that begins when the vendor answers, and every way in which an exchange can fail.

Rule: before the answer's head is out a failure is an `Answer` with the right status (or the vendor's status changed, so
that Envoy may try another), afterwards an error event and then silence. What a vendor said untranslated goes nowhere.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from extproc.config.clients import ANYONE
from extproc.exchange import outgoing
from extproc.exchange.bounds import LONG, LONG_REQUEST, MOST_VALUES, Pieces
from extproc.exchange.bystander import Watch
from extproc.exchange.meter import Meter
from extproc.exchange.states import (
    Counting,
    Done,
    Failed,
    Headed,
    Moment,
    Passing,
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
from extproc.fronts.front import NOTHING
from extproc.fronts.registry import CHAT_FRONT
from extproc.limits.asking import Ask
from extproc.providers.base import Provider
from extproc.terms import pauses
from extproc.terms.agreed import AGAIN_HEADER, GROWTH, envoy_buffer
from extproc.terms.call import JSON_APIS, Call
from extproc.terms.errors import BadUpstreamResponse, ProxyError, UpstreamError, VendorAuth, lacks_model
from extproc.terms.events import (
    Answer,
    BodyMode,
    Counts,
    Event,
    Forward,
    Reply,
    RequestBody,
    ResponseBody,
    ResponseHeaders,
)
from extproc.terms.frozen import replace
from extproc.terms.refusals import vendor_error
from extproc.terms.usage import NOT_COUNTED, Counted, read_usage
from extproc.text import compression, jsontext, sse
from extproc.text.compression import READABLE, Decompressor, Undecodable
from extproc.text.jsontext import NotJson
from extproc.text.sse import EventTooLong

_UNASKED: Final = "the vendor's answer is to a request that was not translated here"
"""Whoever sent it sent the client's own words, perhaps with its key: nothing of the answer is for the client."""

_LONGEST_REFUSAL: Final = 1 << 20
"""Bytes of a refusal that comes as an event."""


class AnswerSide:
    """What both halves share, and the phases of the answer. `exchange.Exchange` is the whole. `learnt`: something
    that the next attempt or request has to know."""

    def __init__(self, snapshot: Snapshot, moment: Moment) -> None:
        self._config = snapshot.config
        self._others = snapshot.others
        self._full = snapshot.full
        self._rules = snapshot.rules
        self._allowed: Mapping[str, str] = {}
        self._contexts = snapshot.contexts
        self._keys = snapshot.keys
        self._paths = snapshot.paths
        self._moment = moment
        self._state: State = Start()
        self._front = CHAT_FRONT
        self._notes = NOTHING
        self._answer_headers: Mapping[str, str] = {}
        self._chance = moment.nonce
        self._token: str | None = None
        self._sent_by: Provider | None = None
        self._sent: Call | None = None
        self._again = self.learnt = False
        self._client = ANYONE
        self._meter: Meter | None = None
        self._may_forward = True
        self._reads_for_envoy = False
        self._placed_by_envoy = False
        self._attached = False
        self._answering = False
        self._over = False
        self._bodiless = False
        self.record = Record()
        self.ask: Ask | None = None
        """What the request is about to use of its limits, set with the reply that sends it: before that leaves, they
        are to be asked, and `allowed` called, or `fail`."""

    @property
    def key(self) -> str | None:
        """The vendor's key that this exchange carries: never to be shown."""
        return self._token

    def takes_long(self, event: Event) -> bool:
        """Whether the reply to an event may take so long that other exchanges should not have to wait for it."""
        if isinstance(event, ResponseBody):
            if len(event.body) > LONG:
                return True
            state = self._state
            if isinstance(state, Streaming):
                return state.decoder.held > LONG or state.decompressor.decodes
            return isinstance(state, Watching) and state.watch.held > LONG
        return isinstance(event, RequestBody) and len(event.body) > LONG_REQUEST

    def allowed(self, headers: Mapping[str, str]) -> None:
        """The request may go on. `headers`: what a good answer says of its limits."""
        self._allowed = headers

    def fail(self, error: ProxyError) -> Reply:
        """End the exchange with an error, in the form that still fits."""
        error = self._judged(error)
        state, self._state = self._state, Done(mute=True)
        self._note(error)
        self.record.refused = isinstance(state, Start | Headed)
        if isinstance(state, Streaming) and self._answering:
            event = state.translator.failure(error) or self._front.failure(error, self._quoted)
            event = outgoing.redact(event, self._token)
            self._state, breaks = Done(mute=True, duplex=True), self._front.breaks
            ends = self._ends(self._over and not breaks)
            return Forward(body=event, ends=ends, breaks=breaks, metadata=self._metadata())
        if isinstance(state, Counting) or (isinstance(state, Watching | Passing) and self._answering):
            self._state = Done()
            return Forward()
        if isinstance(state, Done) and self._answering:  # the answer's head is out, and nothing of it is ours
            return Forward(body=b"" if state.mute else None)
        self.record.usage = NOT_COUNTED
        status = self.record.status = error.status if error.status < 600 else BadUpstreamResponse.status
        if self._placed_by_envoy and isinstance(state, Whole | Unreadable):
            # As if the vendor had said so: Envoy may try the next one. An answer of ours would be the last word.
            reply = outgoing.whole(self._body_of(error), self._answer_headers, self._metadata(), status=status)
            return replace(reply, set_headers={**reply.set_headers, **self._tries_again()})
        if self._placed_by_envoy and self._bodiless:
            reply = outgoing.whole(self._body_of(error), self._answer_headers, self._metadata(), status=status)
            remove = (*outgoing.VENDOR_HEADERS, *reply.remove_headers)
            sets = {**reply.set_headers, **self._about()}
            return replace(reply, set_headers=sets, remove_headers=remove, replaces=True)
        kept = outgoing.error_headers(self._answer_headers, self._token)
        headers = self._request_id() | kept | self._pause(status) | self._about() | dict(error.headers)
        return Answer(status, self._body_of(error), headers, self._metadata())

    def _judged(self, error: ProxyError) -> ProxyError:
        """What a refusal says of our key, also one within an answer of status 200; whose key it is, the client hears.
        A 401 that Envoy may try again stays one."""
        if not isinstance(error, UpstreamError) or self._sent_by is None or not self._from_vendor():
            return error
        self._learn(self._sent_by, error)
        if self._token is None:
            return error
        self.record.verdict = error.status
        if error.status == 401 and not self._tried_again(401):
            return VendorAuth(self._sent_by.id, error.message)
        return error

    def _learn(self, provider: Provider, error: UpstreamError) -> None:
        """Where the vendor has the model on another path, that is remembered, and Envoy may try again."""
        call = self._sent
        if call is None or call.upstream_model is None or not provider.turns(call, error):
            return
        if self._paths.refused(provider, call.upstream_model, turned=call.turned):
            self.learnt, self._again = True, self._placed_by_envoy and self._attempts_left()
            error.message += " (the vendor has this model on another path, where it is asked from now on: try again)"

    def _tries_again(self) -> dict[str, str]:
        return {AGAIN_HEADER: "1"} if self._again else {}

    def _attempts_left(self) -> bool:
        route = self._config.by_name.get(self.record.route or "")
        return route is not None and self.record.attempt < (self._config.retry_of(route).attempts or 1)

    def _request_id(self) -> dict[str, str]:
        """What a client can quote and the log can find; a vendor's own id wins."""
        ours = {"x-request-id": self.record.request_id} if self.record.request_id else {}
        return {**ours, **self._front.headers(self._quoted)}

    @property
    def _quoted(self) -> str:
        """The same for fronts in which there always is one."""
        return self.record.request_id or f"req_{self._moment.nonce:024x}"

    def _pause(self, status: int, body: bytes = b"") -> dict[str, str]:
        """When the client shall ask again. Each 429 and 503 says it: without, Codex ends at once (0.171, 2026-11). What
        Envoy may try again keeps the vendor's own words, which Envoy reads."""
        if self._tried_again(status):
            return {}
        now = self._moment.now
        wait = pauses.of_headers(self._answer_headers, now) or pauses.of_body(body)
        if not wait and status not in (429, 503) and "retry-after" not in self._answer_headers:
            return {}
        return {"retry-after": pauses.told(wait)}

    def _tried_again(self, status: int) -> bool:
        """Whether Envoy may make another attempt because of this one's status."""
        if not self._placed_by_envoy or self.record.route is None:
            return False
        route = self._config.by_name.get(self.record.route)
        retry = None if route is None else self._config.retry_of(route)
        if retry is None or self.record.attempt >= (retry.attempts or 1):
            return False
        return status in retry.on or (status >= 500 and "5xx" in retry.on)

    def _body_of(self, error: ProxyError) -> bytes:
        """Vendors quote the key that they refuse."""
        return outgoing.redact(self._front.error(error, self._quoted, self._notes), self._token)

    def _note(self, error: ProxyError) -> None:
        """A vendor's code may be anything, our key too."""
        self.record.error = outgoing.redact_text(error.code or error.type, self._token)
        if isinstance(error, UpstreamError) and self._sent_by is not None and lacks_model(error):
            self.record.lacks_model = self._sent_by.named_by(self.record.model, self.record.upstream_model)
        self.record.complete = True

    def _metadata(self) -> outgoing.Metadata:
        return outgoing.metadata(self.record, counted=self._meter is not None)

    def close(self) -> None:
        """The stream is over, complete or not: count what a cut answer cost."""
        match self._state:
            case Streaming(translator=seen) | Watching(watch=seen):
                self._count(seen, complete=False)
            case Sent() | Counting():  # the vendor may be at it, or was
                self._price()

    @property
    def _buffer(self) -> int:
        return envoy_buffer(self._config.max_body_bytes)

    def _response_head(self, event: ResponseHeaders) -> Forward:
        """The reply to the answer's head. Raises `ProxyError`."""
        reply = self._response_headers(event)
        about = {**self._about(), **self._front.headers(self._quoted)}
        if self._allowed and (self.record.status or 500) < 400:
            about.update(self._allowed)
        if quoting := outgoing.quoting(event.headers, self._token):
            reply = replace(reply, remove_headers=(*reply.remove_headers, *quoting))
        return replace(reply, set_headers={**reply.set_headers, **about}) if about else reply

    def _response_headers(self, event: ResponseHeaders) -> Forward:
        status = number(event.headers.get(":status", ""))
        self.record.status, self.record.details = status, event.attributes.get("response.code_details")
        self.record.verdict = status
        self._answer_headers = event.headers
        self.record.retry_after = pauses.asked(event.headers)
        self.record.upstream_request_id = event.headers.get("x-request-id")
        self._bodiless = event.end_of_stream
        sent = self._state if isinstance(self._state, Sent) else None
        if isinstance(self._state, Done):
            return Forward()
        if sent is None and self._from_vendor() and (isinstance(self._state, Start) or status < 400):
            raise BadUpstreamResponse(_UNASKED)
        if isinstance(self._state, Start):  # a filter before ours answered, as those of Envoy Gateway tell us
            self._state, self.record.complete = Done(), True
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
        """Who gave the answer, at which attempt, and what of the request could not be said to it."""
        if not self._config.answer_headers or self.record.provider is None:
            return {}
        about = {"x-ai-provider": self.record.provider, "x-ai-attempts": str(self.record.attempt)}
        if self.record.dropped is not None:
            about["x-ai-dropped"] = self.record.dropped
        return about

    def _untouched(self) -> Forward:
        self._state = Done()
        self.record.complete = True
        return Forward(remove_headers=outgoing.VENDOR_HEADERS)

    def _failed(self, failed: Failed, event: ResponseHeaders) -> Forward:
        self._state = failed
        if event.end_of_stream:
            raise self._error(failed, b"")
        lost = (*outgoing.VENDOR_HEADERS, *outgoing.of_a_refusal(event.headers))
        return Forward(self._pause(failed.status), lost, response_mode=BodyMode.BUFFERED)

    def _answered(self, sent: Sent, event: ResponseHeaders, status: int) -> Forward:
        """A status below 400."""
        if sent.by_envoy and status < 300:
            return self._left_to_envoy(event, status)
        if sent.provider.protocol == "original":
            return self._past(sent, event, status)
        json_only = sent.call.api in JSON_APIS and sent.call.body is not None
        if json_only and not (status == 200 or (200 < status < 300 and not sent.call.stream)):
            raise BadUpstreamResponse(f"the vendor answered with status {status}")
        translator = sent.translator
        kind = event.headers.get("content-type", "").lower()
        if translator is None or status >= 300 or not (json_only or kind.startswith(("application/json", sse.KIND))):
            return self._untouched()
        encoding = event.headers.get("content-encoding", "")
        hides = translator.hides and encoding in READABLE
        if translator.only_watches and (
            event.end_of_stream or not kind.startswith(sse.KIND) or (encoding and not hides)
        ):
            return self._past(sent, event, status)
        try:
            decompressor = Decompressor(encoding)
        except Undecodable as error:
            raise BadUpstreamResponse(str(error)) from None
        streams = kind.startswith(translator.stream_kind)
        if translator.expects_stream and not streams:
            raise BadUpstreamResponse("the vendor did not answer with an event stream")
        if event.end_of_stream:
            raise BadUpstreamResponse("the vendor's answer is empty")
        asked_whole = json_only and not sent.call.stream and not translator.only_watches
        if not streams or translator.gathers or asked_whole:
            if number(event.headers.get("content-length", "")) > self._buffer:
                raise BadUpstreamResponse("the vendor's answer is too long")  # Envoy would wait for ever
            self._state, self.record.verdict = Whole(translator, event.headers, streams), None
            return Forward(remove_headers=outgoing.VENDOR_HEADERS, response_mode=BodyMode.BUFFERED)
        self._state = Streaming(
            translator,
            translator.decoder(self._config.max_event_bytes),
            decompressor,
        )
        self.record.verdict = None  # a refusal may come as an event
        remove = (*outgoing.VENDOR_HEADERS, "content-length", "content-encoding")
        sets = {} if translator.stream_kind == sse.KIND else {"content-type": sse.KIND}
        mode = BodyMode.STREAMED if self._attached else BodyMode.DUPLEX
        return Forward(sets, remove_headers=remove, response_mode=mode)

    def _left_to_envoy(self, event: ResponseHeaders, status: int) -> Forward:
        """Nothing of the answer may be read, whatever it is: Envoy 1.40 never ends one of which a filter behind its
        own reads the body."""
        kind = event.headers.get("content-type", "").lower()
        compressed = event.headers.get("content-encoding", "identity") != "identity"
        if status != 200 or event.end_of_stream or compressed or not kind.startswith(sse.KIND):
            self._price()
            return self._untouched()
        self._state = Counting()
        return Forward(remove_headers=outgoing.VENDOR_HEADERS, response_mode=BodyMode.COUNTED)

    def _counted(self, event: Counts) -> Forward:
        if not isinstance(self._state, Counting):
            return Forward()
        self._state, self.record.complete = Done(), True
        seen = Counted()
        if "prompt_tokens" in event.usage or "completion_tokens" in event.usage:
            seen.raw_usage = event.usage
        self._count(seen, complete=event.whole)
        if not event.whole:
            self.record.usage = replace(self.record.usage, estimated=True)
        return Forward(metadata=self._metadata())

    def _past(self, sent: Sent, event: ResponseHeaders, status: int) -> Forward:
        """An answer in which nothing is to be changed is not ours to judge; with `recordUsage` we see it pass."""
        kind = event.headers.get("content-type", "").lower()
        counted = (sent.translator is not None or sent.provider.watches(sent.call)) and status == 200
        if not counted or event.end_of_stream or not kind.startswith(("application/json", "text/event-stream")):
            return self._untouched()
        try:
            self._state = Watching(Watch(event.headers, self._buffer, self._config.max_event_bytes))
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
            case Passing():
                return self._passed(event, event.body)
            case Failed():
                return self._refused(state, event.body)
            case Unreadable():
                raise state.error
            case Done(mute=True):
                return Forward(body=b"", ends=self._ends(event.end_of_stream) if state.duplex else None)
            case Done():
                return Forward()
            case _:
                raise BadUpstreamResponse(_UNASKED)

    def _ends(self, end: bool) -> bool | None:
        """Whether a stream ends with a piece, as far as that is ours to say. In a gateway that is not ours it is not:
        which Envoy it has is not known, and 1.34 lets the first piece of a duplex stream pass unread
        (envoyproxy/envoy#40340)."""
        return None if self._attached else end

    def _whole(self, state: Whole, sent: bytes) -> Reply:
        try:
            body = self._plain(state.headers, sent)
            if jsontext.many(body, MOST_VALUES, numbers=False):
                raise BadUpstreamResponse(f"the vendor's answer has more than {MOST_VALUES} JSON values")
            document = sse.is_document(body) or not (state.streams or sse.is_stream(body))
            events = sse.events(body, state.translator.decoder(self._config.max_event_bytes))
            restreams = state.streams and not document and not state.translator.gathers
            if restreams:
                pieces = [piece for event in events for piece in state.translator.event(event)]
                translated = b"".join([*pieces, *state.translator.close()])
            elif state.translator.gathers and not document:
                translated = state.translator.gathered(events)
            else:
                translated = state.translator.body(body)
        except (Undecodable, EventTooLong) as error:
            raise BadUpstreamResponse(f"the vendor's answer cannot be read: {error}") from None
        except UpstreamError:
            self.record.pause = pauses.of_body(body)
            raise
        self.record.verdict = self.record.status
        self._count(state.translator, complete=True)
        if len(translated) > len(sent) + GROWTH:
            raise BadUpstreamResponse("the vendor's answer becomes too long")
        if restreams:
            sets = {"content-length": str(len(translated))}
            return self._ended(Forward(sets, ("content-encoding",), translated, metadata=self._metadata()))
        if translated == sent and not state.streams:
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
        if not event.end_of_stream:
            return Forward(counts=self._running(state.watch))
        self._count(state.watch, complete=True)
        self._state = Done()
        self.record.complete = True
        return Forward(metadata=self._metadata())

    def _chunk(self, state: Streaming, event: ResponseBody) -> Reply:
        """Translate what the chunk completes. What was made before a failure still goes out, before the error."""
        came = len(event.body) + state.decoder.held
        out, decoded = Pieces(came), 0
        try:
            for piece in state.decompressor.feed(event.body):
                decoded += len(piece)
                if decoded > len(event.body) + GROWTH:
                    raise BadUpstreamResponse("the vendor's answer becomes too long at once")
                for one in state.decoder.feed(piece):
                    out.add(state.translator.event(one))
            if event.end_of_stream:
                state.decompressor.close()
                for one in state.decoder.close():
                    out.add(state.translator.event(one))
                out.add(state.translator.close())
        except (Undecodable, EventTooLong) as unreadable:
            if state.translator.only_watches and isinstance(state.decoder, sse.Decoder):
                self._count(state.translator, complete=False)
                return self._passed(event, b"".join(out.made) + state.decoder.rest)
            return self._broken(state, out, BadUpstreamResponse(f"the vendor's stream cannot be read: {unreadable}"))
        except ProxyError as error:
            return self._broken(state, out, error)
        if not event.end_of_stream:
            return Forward(body=b"".join(out.made), ends=self._ends(False), counts=self._running(state.translator))
        self._count(state.translator, complete=True)
        self._state = Done(mute=True)
        self.record.complete, self.record.verdict = True, self.record.status
        return Forward(body=b"".join(out.made), ends=self._ends(True), metadata=self._metadata())

    def _passed(self, event: ResponseBody, body: bytes) -> Forward:
        """A piece of a stream that is looked at no more."""
        self._state = Passing()
        if not event.end_of_stream:
            return Forward(body=body, ends=self._ends(False))
        self._state = Done(mute=True)
        self.record.complete = True
        return Forward(body=body, ends=self._ends(True), metadata=self._metadata())

    def _broken(self, state: Streaming, out: Pieces, error: ProxyError) -> Reply:
        self._count(state.translator, complete=False)
        with suppress(BadUpstreamResponse):  # no room
            out.add(state.translator.release())
        made = out.made
        if made and made[-1].strip(b"\r\n") and not made[-1].endswith(sse.ENDS):
            made.append(b"\n\n")  # the vendor's last event, passed on as it came, had no end
        reply = self.fail(error)
        assert isinstance(reply, Forward)
        return replace(reply, body=b"".join(made) + (reply.body or b""))

    def _count(self, seen: Counted, *, complete: bool) -> None:
        if self._meter is not None:
            self.record.usage = self._meter.used(seen, complete=complete)
            self._price()

    def _price(self) -> None:
        """What was used costs, as far as a price is known."""
        record, model = self.record, self.record.upstream_model or self.record.model
        if record.provider is None or model is None or record.usage is NOT_COUNTED:
            return
        if (price := self._config.price(record.provider, model)) is not None:
            record.cost = price.cost(record.usage)
            record.currency = None if record.cost is None else price.currency

    def _running(self, seen: Counted) -> tuple[int, int, int] | None:
        return None if self._meter is None else self._meter.running(seen)

    def _refused(self, state: Failed, body: bytes) -> Forward:
        self.record.usage = NOT_COUNTED
        if b'"usage"' in body and self._meter is not None and self._from_vendor():
            self.record.usage = read_usage(jsontext.peek(_error_document(self._decoded(state, body)), "usage"))
            self._price()
        if state.sent is not None and state.sent.provider.protocol == "original" and self._from_vendor():
            return self._ended(self._original_refusal(state, body))
        document = _error_document(self._decoded(state, body))
        if self._from_vendor():
            self.record.pause = pauses.of_body(document)
        error = self._judged(self._error(state, document))
        self._note(error)
        reply = outgoing.whole(self._body_of(error), state.headers, self._metadata())
        sets = {**reply.set_headers, **self._pause(state.status, document), **self._tries_again()}
        if isinstance(error, VendorAuth):
            self.record.status = error.status
            sets[":status"] = str(error.status)
        return self._ended(replace(reply, set_headers=sets))

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

    def _error(self, failed: Failed, document: bytes) -> UpstreamError:
        """A refusal in OpenAI form: the vendor's, or Envoy's own."""
        if failed.sent is None:
            return vendor_error(failed.status, document)
        return failed.sent.provider.refusal(failed.status, failed.headers, document)

    def _decoded(self, failed: Failed, body: bytes) -> bytes:
        try:
            return self._plain(failed.headers, body)
        except Undecodable:
            return b""

    def _plain(self, headers: Mapping[str, str], body: bytes) -> bytes:
        """A whole body, decoded. Raises `Undecodable`."""
        return compression.decode(headers.get("content-encoding", ""), body, min(self._buffer, len(body) + GROWTH))


def _error_document(body: bytes) -> bytes:
    """The JSON of a refusal, empty when there is none. DashScope answers what it refuses of an SSE request as one
    `event:error` frame, and content-type does not always say which of both it is."""
    body = body.removeprefix(b"\xef\xbb\xbf")
    with suppress(NotJson):
        jsontext.check(body)
        return body
    with suppress(EventTooLong):
        return next(
            (
                event.data
                for event in sse.events(body, sse.Decoder(_LONGEST_REFUSAL, id_starts_event=True))
                if event.data
            ),
            b"",
        )
    return b""


def number(text: str) -> int:
    return int(text) if text.isdecimal() and text.isascii() else 0
