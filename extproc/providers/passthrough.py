"""The translator for vendors that already speak OpenAI: restore the model's name, count tokens, watch the end.

Rule: an event in which nothing changes keeps the vendor's bytes; one that cannot be read is never forwarded, unless
there is nothing to change at all: then it passes uncounted, and from there on nothing is judged.
A stream that may be changed is put right at its end too: the last event gets the empty line that it may lack.
"""

from collections.abc import Callable, Iterable

from extproc.providers.responses_events import Story
from extproc.providers.translator import Translator
from extproc.terms.call import CHAT, COMPLETIONS, JSON_APIS, MESSAGES, RESPONSES, Call
from extproc.terms.errors import BadUpstreamResponse, ProxyError, StreamTruncated, UpstreamError
from extproc.text import jsontext, sse, tokens
from extproc.text.jsontext import NULL, Fields, NotJson

NO_STREAM = "the vendor sent a JSON document where its content-type says an event stream"
_ESCAPE = ord("\\")
_ANSWERS = ("choices", "output", "content")
"""Where a whole answer stands, in each dialect."""


class PassThrough(Translator):
    """`restore`: put the client's model name in place of the vendor's. `edit`: a vendor's own change to a chunk,
    in place; it says whether it changed anything, and raises what error the chunk is. `whole`: the same for a whole
    answer. `event_error`: the error that an event is in the vendor's own form, None for other events. `hides`: the
    client did not ask for the usage in a stream."""

    def __init__(
        self,
        call: Call,
        *,
        restore: bool,
        edit: Callable[[Fields], bool] | None = None,
        whole: Callable[[Fields], bool] | None = None,
        event_error: Callable[[sse.Event], UpstreamError | None] | None = None,
        hides: bool = False,
    ) -> None:
        self._model = jsontext.raw(call.model) if restore else None
        self._edit = edit
        self._edit_whole = whole
        self._event_error = event_error
        self._typed = call.api == RESPONSES
        self.only_watches = not restore and edit is None and whole is None
        self.hides = hides
        self._shortest = 0
        self._began = False
        self._json_only = call.api in JSON_APIS
        self._story = Story(f"{call.nonce:024x}", call.model or "", call.now) if self._typed else None
        self._finished = call.api not in (CHAT, COMPLETIONS, MESSAGES, RESPONSES)
        self._messages = call.api == MESSAGES

    def body(self, body: bytes) -> bytes:
        """Raises `BadUpstreamResponse` for what is not JSON, or no object where an API answers nothing else."""
        try:
            fields = jsontext.fields(body)
            edited = self._edit_whole is not None and self._edit_whole(fields)
            changed = self._rename_and_count(fields) or edited
            if self.raw_usage is None:
                self.said = sum([tokens.of_json(bytes(fields[name])) for name in _ANSWERS if name in fields])
            return jsontext.dump(fields) if changed else body
        except NotJson as error:
            if self._json_only or not _is_json(body):
                raise BadUpstreamResponse(f"the vendor's answer is not a JSON object: {error}") from None
            return body

    def event(self, event: sse.Event) -> Iterable[bytes]:
        """Raises `UpstreamError` with the vendor's own error event, `BadUpstreamResponse` for an unreadable one."""
        if (error := self._refusal(event)) is not None:
            raise error
        if self._messages and event.name == b"message_stop":
            self._finished = True
        if event.is_done:
            self._check_finished()
        elif event.data and (changed := self._changed(event.data)) is not None:
            return (sse.encode(changed, event.name),) if changed else ()
        elif not self.only_watches and not sse.is_known(event.raw) and not event.data:
            if sse.is_document(event.raw):
                raise BadUpstreamResponse(NO_STREAM)
            return ()
        return (event.raw if self.only_watches else sse.ended(event),)

    def _refusal(self, event: sse.Event) -> UpstreamError | None:
        if self._event_error is None or (self._typed and b'"type"' in event.data):  # OpenAI's own `error` event
            return None
        return self._event_error(event)

    def close(self) -> Iterable[bytes]:
        """Raises `StreamTruncated` when no choice ever finished, or no event was a last one."""
        self._check_finished()
        return ()

    def failure(self, error: ProxyError) -> bytes | None:
        return super().failure(error) if self._story is None else self._story.failure(error)

    def _check_finished(self) -> None:
        if not self._finished and (self._began or not self.only_watches):
            raise StreamTruncated("the vendor's stream ended before its answer was complete")

    def _changed(self, data: bytes) -> bytes | None:
        """The data of an event, if anything in it changes; empty if nothing of it is the client's. JSON that is no
        object is none of our business."""
        try:
            fields = jsontext.fields(data)
        except NotJson as error:
            if self.only_watches:
                self._finished = True
            elif not _is_json(data):
                raise BadUpstreamResponse(f"the vendor sent an event that is not readable JSON: {error}") from None
            return None
        self._began = True
        edited = self._edit is not None and self._edit(fields)
        if "error" in fields and bytes(fields["error"]).startswith(b"{"):
            raise UpstreamError(500, document=data)
        before = self.raw_usage
        changed = self._rename_and_count(fields) or edited
        self._say(fields)
        if self.hides and "usage" in fields and ((told := self.raw_usage is not before) or fields["usage"] == NULL):
            del fields["usage"]
            if told and bytes(fields.get("choices", b"[]")).translate(None, b" \t\r\n") == b"[]":
                return b""
            changed = True
        ends = _finishes(bytes(fields.get("choices", b""))) if self._story is None else self._story.ends_with(fields)
        self._finished = self._finished or ends
        return jsontext.dump(fields) if changed else None

    def _say(self, fields: Fields) -> None:
        """A token for each piece of an answer, and what it is longer than the shortest: that one is all frame."""
        piece = fields.get("choices") or fields.get("delta")
        if piece is not None and (size := len(piece)) > 2:
            self._shortest = min(size, self._shortest or size)
            self.said += 1 + (size - self._shortest >> 2)

    def _rename_and_count(self, fields: Fields) -> bool:
        """Restore the model's name in place; whether that changed anything."""
        changed = self._answer(fields)
        # Events of the Responses API and of Anthropic's carry the answer inside
        for name in ("response", "message"):
            if name in fields and bytes(fields[name]).startswith(b"{"):
                answer = jsontext.fields(fields[name])
                if self._answer(answer, begun=name == "message"):
                    fields[name], changed = jsontext.raw(answer), True
        return changed

    def _answer(self, answer: Fields, *, begun: bool = False) -> bool:
        """`begun`: nothing of the answer has come so far, whatever its output tokens are said to be."""
        if "usage" in answer and answer["usage"] != NULL and isinstance(usage := jsontext.peek(answer["usage"]), dict):
            if begun:
                usage.pop("output_tokens", None)
            # Anthropic's last events count anew what has changed, and may leave out the rest.
            self.raw_usage = {**(self.raw_usage or {}), **usage} if self._messages else usage
        if self._model is None or "model" not in answer:
            return False
        answer["model"] = self._model
        return True


def _is_json(text: bytes) -> bool:
    try:
        jsontext.check(text)
    except NotJson:
        return False
    return True


def _finishes(choices: bytes) -> bool:
    """Whether one of them has a `finish_reason`; choices of another shape have none."""
    # Nearly none has, which is seen without reading: a quote within a string is escaped, and a name may be too.
    if _ESCAPE not in choices and choices.count(b'"finish_reason"') == choices.count(b'"finish_reason":null'):
        return False
    try:
        return any(jsontext.peek(one, "finish_reason") not in (None, "", "null") for one in jsontext.items(choices))
    except NotJson:
        return False
