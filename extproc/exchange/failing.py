"""What all phases of an exchange share, and every way in which one can fail.

Rule: before the answer's head is out a failure is an `Answer` with the right status (or the vendor's status changed, so
that Envoy may try another), afterwards an error event and then silence.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from extproc.config.clients import ANYONE
from extproc.exchange import outgoing
from extproc.exchange.meter import Meter
from extproc.exchange.states import (
    Counting,
    Done,
    Failed,
    Headed,
    Moment,
    Passing,
    Record,
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
from extproc.terms.call import Call
from extproc.terms.errors import BadUpstreamResponse, ProxyError, UpstreamError, VendorAuth, lacks_model
from extproc.terms.events import (
    Answer,
    BodyMode,
    Forward,
    Reply,
    ResponseHeaders,
)
from extproc.terms.frozen import replace
from extproc.terms.refusals import vendor_error
from extproc.terms.usage import NOT_COUNTED, read_usage
from extproc.text import compression, jsontext, sse
from extproc.text.compression import Undecodable
from extproc.text.jsontext import NotJson
from extproc.text.sse import EventTooLong

_LONGEST_REFUSAL: Final = 1 << 20
"""Bytes of a refusal that comes as an event."""


class Failing:
    """`answers.AnswerSide` has the answer's phases, `exchange.Exchange` is the whole. `learnt`: something that the next
    attempt or request has to know."""

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

    @property
    def _buffer(self) -> int:
        return envoy_buffer(self._config.max_body_bytes)

    def _about(self) -> dict[str, str]:
        """Who gave the answer, at which attempt, and what of the request could not be said to it."""
        if not self._config.answer_headers or self.record.provider is None:
            return {}
        about = {"x-ai-provider": self.record.provider, "x-ai-attempts": str(self.record.attempt)}
        if self.record.dropped is not None:
            about["x-ai-dropped"] = self.record.dropped
        return about

    def _failed(self, failed: Failed, event: ResponseHeaders) -> Forward:
        self._state = failed
        if event.end_of_stream:
            raise self._error(failed, b"")
        lost = (*outgoing.VENDOR_HEADERS, *outgoing.of_a_refusal(event.headers))
        return Forward(self._pause(failed.status), lost, response_mode=BodyMode.BUFFERED)

    def _ends(self, end: bool) -> bool | None:
        """Whether a stream ends with a piece, as far as that is ours to say. In a gateway that is not ours it is not:
        which Envoy it has is not known, and 1.34 lets the first piece of a duplex stream pass unread
        (envoyproxy/envoy#40340)."""
        return None if self._attached else end

    def _ended(self, reply: Forward) -> Forward:
        """`reply` replaces the vendor's body. Only now, when it is made: whatever fails before must not let that
        body through, whatever fails after it finds it swallowed."""
        self._state = Done(mute=True)
        self.record.complete = True
        return reply

    def _price(self) -> None:
        """What was used costs, as far as a price is known."""
        record, model = self.record, self.record.upstream_model or self.record.model
        if record.provider is None or model is None or record.usage is NOT_COUNTED:
            return
        if (price := self._config.price(record.provider, model)) is not None:
            record.cost = price.cost(record.usage)
            record.currency = None if record.cost is None else price.currency

    def _refused(self, state: Failed, body: bytes) -> Forward:
        self.record.usage = NOT_COUNTED
        if b'"usage"' in body and self._meter is not None and self._from_vendor():
            self.record.usage = read_usage(jsontext.peek(_error_document(self._decoded(state, body)), "usage"))
            self._price()
        if state.sent is not None and state.sent.provider.protocol == "original" and self._from_vendor():
            return self._ended(self._original_refusal(state, body))
        document = _error_document(self._decoded(state, body))
        refusal = self._error(state, document)
        if self._from_vendor():
            self.record.pause = refusal.rests or (pauses.of_body(document) if state.status == 429 else 0.0)
        error = self._judged(refusal)
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
