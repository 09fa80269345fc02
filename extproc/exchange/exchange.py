"""One HTTP exchange: where it stands, plus what Envoy says next, gives what we answer.

    Start ──▶ Headed ──▶ Sent ──▶ Whole | Streaming | Watching | Failed ──▶ Done
      (headers)  (body)    (response headers)            (response body)

Rule: no clock, no randomness, no I/O; the shell passes them in. Every failure ends in a reply: before the
answer's head is out an `Answer` with the right status, afterwards an error event and then silence.
"""

from collections.abc import Mapping
from typing import assert_never
import zlib

from extproc.config.clients import CREDENTIALS, admit
from extproc.exchange import deciding, outgoing, routing
from extproc.exchange.answers import AnswerSide, number
from extproc.exchange.asking import about_to_use
from extproc.exchange.deciding import Asker, Decision, Turn
from extproc.exchange.meter import Meter, is_used
from extproc.exchange.states import Done, Headed, Moment, Record, Sent, Snapshot
from extproc.fronts import registry
from extproc.fronts.front import NOTHING, Front, Notes
from extproc.providers import Provider
from extproc.providers.translator import Translator
from extproc.terms.agreed import (
    CLIENT_ATTRIBUTE,
    CLIENT_HEADERS,
    CLUSTER_HEADER,
    COUNTED_BY_ENVOY,
    COUNTING,
    DOOR_ATTRIBUTE,
    GROWTH,
    LOCAL_ROUTE,
    PROVIDER_ATTRIBUTE,
    ROUTE_ATTRIBUTE,
    UNREAD_ROUTE,
)
from extproc.terms.call import CHAT_TARGET, EMBEDDINGS, JSON_APIS, Call, Target, operation_of, parse_path
from extproc.terms.errors import (
    BadJson,
    BadUpstreamResponse,
    Changing,
    ContextUnavailable,
    InternalError,
    MethodNotAllowed,
    Overloaded,
    ProxyError,
    TokenUnavailable,
    TooLarge,
    TooManyValues,
    UnsupportedEncoding,
)
from extproc.terms.events import (
    Answer,
    BodyMode,
    Counts,
    Event,
    Forward,
    Reply,
    RequestBody,
    RequestHeaders,
    ResponseBody,
    ResponseHeaders,
)
from extproc.terms.frozen import replace
from extproc.terms.usage import estimate
from extproc.text import jsontext
from extproc.text.jsontext import Fields, NotJson

__all__ = ["Exchange", "Moment", "Record", "Snapshot"]


HELLO = "/api/hello"
"""What Claude Code asks a gateway first (run 2026-11-30, 2.1.332)."""

_SHOWN_PATH = 512
"""Characters of a path in the log, which has a line for those too who have no key."""


def _said(dropped: tuple[str, ...]) -> tuple[str, ...]:
    """Without what no client said: fronts other than chat ask for the usage of every stream."""
    return tuple(name for name in dropped if name != "stream_options")


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})


class Exchange(AnswerSide):
    """Feed it Envoy's events in order, send what it replies."""

    def handle(self, event: Event) -> Reply:
        """The reply to one event; never raises for anything that came over the wire."""
        self._answering = isinstance(event, ResponseBody)
        self._over = isinstance(event, ResponseBody) and event.end_of_stream
        try:
            match event:
                case ResponseBody():  # by far the most
                    reply = self._response_body(event)
                case RequestHeaders():
                    reply = self._request_headers(event)
                case RequestBody():
                    reply = self._request_body(event)
                case ResponseHeaders():
                    reply = self._response_head(event)
                case Counts():
                    reply = self._counted(event)
                case _:
                    assert_never(event)
        except ProxyError as error:
            reply = self.fail(error)
        except NotJson as error:  # inside of a value that was only skipped over at first
            if isinstance(event, RequestHeaders | RequestBody):
                reply = self.fail(BadJson(f"the request cannot be read: {error}"))
            else:
                reply = self.fail(BadUpstreamResponse(f"the vendor's answer cannot be read: {error}"))
        return outgoing.without_key(reply, self._token) if self._answering else reply

    def crash(self) -> Reply:
        """End the exchange after an exception that nobody foresaw."""
        return self.fail(InternalError("the gateway failed to process this exchange"))

    # Request

    def _request_headers(self, event: RequestHeaders) -> Reply:
        placed = self._placed_by_envoy = PROVIDER_ATTRIBUTE in event.attributes
        headers = self._client_headers(event) if placed else event.headers
        path, anthropic = headers.get(":path", ""), "anthropic-version" in headers
        self._take_front(registry.front_at(path, anthropic=anthropic))
        self.record.method, self.record.path = headers.get(":method", ""), path.partition("?")[0][:_SHOWN_PATH]
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
        target = parse_path(path)
        self.record.operation = operation_of(target)
        self._take_front(registry.front_of(target, anthropic=anthropic))
        if target.path.endswith(HELLO):
            return self._answer(b"")
        asker = Asker(self._client, self._front, target, self.record.method, headers)
        if placed:
            self._config, state = deciding.placed((self._config, *self._others), asker, event.attributes)
        else:
            state = self._routed(asker, event.attributes)
        self._state = state
        if event.end_of_stream:
            return self._without_body(state)
        if not _reads_body(target, headers):
            self._client.check_unread()
            return self._without_body(state, streamed=True)
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise UnsupportedEncoding("compressed request bodies are not supported")
        # A client that is still sending would see a reset, not the 413: refuse early only what Envoy cannot hold.
        if number(headers.get("content-length", "")) > self._buffer:
            raise self._too_large()
        return Forward(request_mode=BodyMode.BUFFERED)

    def _take_front(self, front: Front) -> None:
        self._front, self.record.front = front, front.name

    def _client_headers(self, event: RequestHeaders) -> Mapping[str, str]:
        """The head as the client sent it. A later attempt sees it as the one before left it."""
        state = event.attributes.get(CLIENT_ATTRIBUTE, "")
        self._chance = zlib.crc32(state.encode())  # the same for all attempts of a request, so that they take turns
        self.record.attempt = number(event.headers.get("x-envoy-attempt-count", "")) or 1
        if self.record.attempt == 1:
            return event.headers
        sent = jsontext.load(state.encode())
        kept = {name: value for name, value in event.headers.items() if name not in CLIENT_HEADERS}
        return kept | {name: sent[name].encode().decode("latin-1") for name in CLIENT_HEADERS if sent.get(name)}

    def _routed(self, asker: Asker, attributes: Mapping[str, str]) -> Headed:
        self._may_forward = attributes.get(ROUTE_ATTRIBUTE) not in (LOCAL_ROUTE, UNREAD_ROUTE)
        self._reads_for_envoy = attributes.get(ROUTE_ATTRIBUTE) == UNREAD_ROUTE
        self._attached = routing.is_attached(attributes)
        return deciding.routed(self._config, asker, attributes, attached=self._attached)

    @property
    def _turn(self) -> Turn:
        return Turn(self._keys, self._contexts, self._chance, self.record.attempt, self._moment.ticks)

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
        # Before anything is made of it: three bytes may become an object of a hundred. Token ids cost little.
        if jsontext.many(event.body, self._config.max_body_values, numbers=state.target.api != EMBEDDINGS):
            raise TooManyValues(f"the request body has more than {self._config.max_body_values} JSON values")
        try:
            given = jsontext.fields(event.body)
        except NotJson as error:
            raise BadJson(f"the request body is not a JSON object: {error}") from None
        model = routing.requested_model(given)
        self._client.check_model(state.target, given, model)
        if self._reads_for_envoy:
            routing.first_step(routing.choose(state.routes, model), 0)  # one that refuses does so here
            return self._read(model, given.get("stream") == jsontext.TRUE)
        decision = deciding.decide(self._config, self._front, state, model, given, self._turn)
        self._note_decision(decision, model)
        if decision.way == "counted":
            return self._answer(self._front.count(given))
        call, notes = self._call(decision, state, given, event.body, model)
        return self._send(decision.provider, self._with_context(decision.provider, call), notes)

    def _note_decision(self, decision: Decision, model: str | None) -> None:
        self.record.route, self.record.provider, self.record.model = decision.route.name, decision.provider.id, model

    def _call(
        self, decision: Decision, state: Headed, given: Fields, text: bytes, model: str | None
    ) -> tuple[Call, Notes]:
        """What the provider is asked, in the dialect that it speaks."""
        provider, target, headers, asked, notes = decision.provider, state.target, state.headers, given, NOTHING
        if decision.way == "converted":
            asked, notes = self._front.read(given, provider.traits(decision.model or ""))
            target, self._notes = CHAT_TARGET, notes
            if not self._front.shares_keys:
                headers = {name: value for name, value in headers.items() if name not in CREDENTIALS}
        elif decision.way == "repaired":
            own = self._front.name in provider.counting
            asked, notes = self._front.repair(given, provider.traits(decision.model or ""), own=own)
            target = target if own else replace(target, query="")
        body, name = provider.settled(asked), decision.model
        if body is not given:
            name = routing.upstream_model(provider, target, body, decision.instead)
        call = Call(
            target,
            headers.get(":method", ""),
            headers,
            body=body,
            text=text,
            model=model,
            # A member named twice might be another model for the vendor: what was checked is what is sent.
            settled=(body is not given and body != given) or self._client.limited,
            upstream_model=name,
            stream=body.get("stream") == jsontext.TRUE,
            turned=self._paths.turned(provider, name),
            token=decision.token,
            now=int(self._moment.now),
            nonce=self._moment.nonce,
        )
        seeing = provider.sighted(call)
        if seeing is not call:
            seeing = replace(seeing, turned=self._paths.turned(provider, seeing.upstream_model))
        return seeing, notes

    def _read(self, model: str | None, stream: bool) -> Forward:
        """Tell Envoy what it could not read, for it to choose again; the exchange begins anew where it then goes."""
        self._state, self.record.path = Done(), ""
        told: dict[str, str | bool] = {"unread": False, "stream": stream}
        if model is not None:
            told["model"] = model
        return Forward({CLUSTER_HEADER: UNREAD_ROUTE}, reroute=True, told=told)

    def _without_body(self, state: Headed, *, streamed: bool = False) -> Reply:
        """Settle a request whose body is absent, or `streamed` past us unread."""
        method = state.headers.get(":method", "")
        if method == "POST" and state.target.api in JSON_APIS:
            raise BadJson("the request has no body")
        routes = [r for r in state.routes if r.match.models is None or state.place is not None]
        if state.routes and routing.is_model_list(state.target, method):
            every = state.routes
            if state.place is not None:
                every = deciding.candidates(self._config, self._client, state.headers, {})
            names = self._client.listed(routing.listed_models(self._config, every))
            if names is not None:
                return self._answer(routing.models_answer(self._front, names, state.target, int(self._moment.now)))
            routes = routes or state.routes[:1]
        decision = deciding.decide_unread(self._config, self._front, state, routes, self._turn)
        self._note_decision(decision, None)
        call = Call(
            state.target,
            method,
            state.headers,
            token=decision.token,
            now=int(self._moment.now),
            nonce=self._moment.nonce,
        )
        return self._send(decision.provider, call, NOTHING, BodyMode.NONE if streamed else None)

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

    def _send(self, provider: Provider, call: Call, notes: Notes, request_mode: BodyMode | None = None) -> Forward:
        if not self._may_forward:  # Envoy does not have our routes yet: nothing goes out from here
            raise Changing
        if call.token is None and provider.token_source is not None:
            raise TokenUnavailable(f"the gateway has no token for provider {provider.id!r}: see its log")
        query = registry.lists(self._front, provider, call.target) and call.target.query  # it is the front's
        upstream = provider.request(replace(call, target=replace(call.target, query="")) if query else call)
        if len(upstream.body or b"") > len(call.text) + 6 * len(call.context or "") + GROWTH:
            raise TooLarge("the request becomes too long in the vendor's own form: send fewer and longer messages")
        self._sent_by, self._sent = provider, call
        if provider.token_source is None:
            self.record.token = call.token
        self._token = call.token
        translator = registry.translator(self._front, provider, call, notes)
        by_envoy = self._is_left_to_envoy(provider, call, translator)
        self._state = Sent(provider, call, translator, by_envoy)
        self.record.converted = call.target is CHAT_TARGET
        self.record.upstream_model, self.record.stream = call.upstream_model, call.stream
        if dropped := notes.dropped + (upstream.dropped if self._front.name == "chat" else _said(upstream.dropped)):
            self.record.dropped = outgoing.listed(dropped)
        read = translator is not None or provider.watches(call)
        if read and call.body is not None and provider.record_usage is not False and is_used(call.target):
            self._meter = Meter(estimate(call.body))
            self.record.usage = self._meter.begun()
        metadata = self._metadata()
        if self._config.leaves_to_envoy or self.record.attempt > 1:  # Envoy keeps what the attempt before said
            metadata = {**metadata, COUNTING: COUNTED_BY_ENVOY if by_envoy else "here"}
        forward = outgoing.request(provider, call, upstream, metadata, read=read, request_mode=request_mode)
        if self._rules is not None:
            self.ask = about_to_use(self._config, self._rules, self._client, self.record, provider, call)
        if self._attached:
            return outgoing.attached(forward, call)
        if not self._placed_by_envoy:
            return outgoing.rerouted(forward, provider)
        return outgoing.again(forward, call) if self.record.attempt > 1 else forward

    def _is_left_to_envoy(self, provider: Provider, call: Call, translator: Translator | None) -> bool:
        """Whether Envoy counts the answer, of which then nothing is read here. Not where limits apply: who hangs up
        before the vendor has told its counts would be charged for the input alone."""
        if self._attached or self._rules is not None or not provider.left_to_envoy(call):
            return False
        return translator is not None and translator.only_watches and not translator.hides


def _reads_body(target: Target, headers: Mapping[str, str]) -> bool:
    """JSON bodies are read; uploads and other kinds stream past, except where an API takes JSON only."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return target.api in JSON_APIS or kind in ("", "application/json") or kind.endswith("+json")
