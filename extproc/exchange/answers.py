"""The half of an exchange that begins when the vendor answers.

Rule: what a vendor said untranslated goes nowhere, unless nothing in it is to be changed.
"""

from contextlib import suppress
from typing import Final

from extproc.exchange import outgoing
from extproc.exchange.bounds import LONG, LONG_REQUEST, MOST_VALUES, Pieces
from extproc.exchange.bystander import Watch
from extproc.exchange.failing import Failing
from extproc.exchange.states import (
    Counting,
    Done,
    Failed,
    Passing,
    Sent,
    Start,
    Streaming,
    Unreadable,
    Watching,
    Whole,
)
from extproc.terms import pauses
from extproc.terms.agreed import GROWTH
from extproc.terms.call import JSON_APIS
from extproc.terms.errors import BadUpstreamResponse, ProxyError, UpstreamError
from extproc.terms.events import (
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
from extproc.terms.usage import Counted
from extproc.text import jsontext, sse
from extproc.text.compression import READABLE, Decompressor, Undecodable
from extproc.text.sse import EventTooLong

_UNASKED: Final = "the vendor's answer is to a request that was not translated here"
"""Whoever sent it sent the client's own words, perhaps with its key: nothing of the answer is for the client."""


class AnswerSide(Failing):
    """The phases of the answer."""

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

    def close(self) -> None:
        """The stream is over, complete or not: count what a cut answer cost."""
        match self._state:
            case Streaming(translator=seen) | Watching(watch=seen):
                self._count(seen, complete=False)
            case Sent():  # the vendor may be at it
                self._price()
            case Counting():
                self.record.untold = True
                self._price()

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

    def _untouched(self) -> Forward:
        self._state = Done()
        self.record.complete = True
        return Forward(remove_headers=outgoing.VENDOR_HEADERS)

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
        except UpstreamError as refusal:
            self.record.pause = refusal.rests or (pauses.of_body(body) if refusal.status == 429 else 0.0)
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

    def _running(self, seen: Counted) -> tuple[int, int, int] | None:
        return None if self._meter is None else self._meter.running(seen)


def number(text: str) -> int:
    return int(text) if text.isdecimal() and text.isascii() else 0
