"""An answer's members as OpenAI has them: thinking, finish, usage, errors, content in parts.

Rule: one function for each attribute, in place on `Fields`, the same for a whole answer and for a chunk of a stream;
what is not concerned keeps its bytes, and members that nobody knows stay.
"""

from typing import Any

from msgspec import Raw

from extproc.providers.vendors import failures
from extproc.providers.vendors.quirks import Quirks, UsageForm
from extproc.providers.vendors.thinking import Tagged
from extproc.terms.errors import UpstreamError
from extproc.text import jsontext
from extproc.text.jsontext import NULL, Fields, NotJson


def reads(quirks: Quirks) -> bool:
    """Whether answers need to be read at all."""
    return bool(
        quirks.thinking.field != "reasoning_content"
        or quirks.finish
        or quirks.usage != UsageForm()
        or quirks.errors
        or quirks.content != "text"
    )


class Chunks:
    """What one exchange does to its answer."""

    def __init__(self, quirks: Quirks) -> None:
        self._errors = quirks.errors
        self._finish = quirks.finish
        self._unsaid = quirks.finish.get("")
        self._open: dict[int, str] = {}  # choices of a stream without a finish so far → the one that they will have
        self._frame: Fields = {}  # what else the last chunk had
        self._usage = quirks.usage
        self._parts = quirks.content == "parts"
        self._field = quirks.thinking.field
        self._tagged: dict[int, Tagged] | None = {} if self._field == "think" else None
        self._marks = tuple(
            [b'"reasoning"'] * (self._field == "reasoning")
            + [b'"%b"' % reason.encode() for reason in quirks.finish if reason]
            + [b'"content":[', b'"content": [', b'"arguments":{', b'"arguments": {'] * self._parts
        )

    def chunk(self, fields: Fields) -> bool:
        """Put a chunk right, in place; whether that changed anything. Raises `UpstreamError` for an error in it."""
        return self._put_right(fields, "delta")

    def whole(self, fields: Fields) -> bool:
        """The same for a whole answer."""
        return self._put_right(fields, "message")

    def unfinished(self) -> bytes:
        """The last chunk of a stream that came to its `[DONE]` without a finish, from a vendor who tells none; else
        empty."""
        choices = [{"index": i, "delta": {}, "finish_reason": reason} for i, reason in self._open.items()]
        self._open = {}
        return jsontext.dump({**self._frame, "choices": choices}) if choices else b""

    def judge(self, fields: Fields) -> bool:
        """An answer of another API: whether it is an error is all that is asked of it."""
        if (error := failures.found(fields, self._errors)) is not None:
            raise error
        return False

    def _put_right(self, fields: Fields, name: str) -> bool:
        if (error := failures.found(fields, self._errors)) is not None:
            raise error
        moved = bool(self._usage.at) and _move_usage(fields, self._usage.at)
        if self._usage.reasoning_outside:
            moved = _add_reasoning(fields) or moved
        text = bytes(fields.get("choices", b""))
        if self._tagged is None and self._unsaid is None and not any(mark in text for mark in self._marks):
            return moved
        try:
            choices = jsontext.objects(fields["choices"])
        except (NotJson, KeyError):
            return moved
        changed = False
        if self._unsaid is not None:
            self._frame = {name: value for name, value in fields.items() if name not in ("choices", "usage")}
        for place, choice in enumerate(choices):
            before = dict(choice)
            self._choice(choice, name, place)
            changed = changed or choice != before
        if changed:
            fields["choices"] = jsontext.raw(choices)
        return changed or moved

    def _choice(self, choice: Fields, name: str, place: int) -> None:
        finish = jsontext.peek(choice.get("finish_reason", NULL))
        if isinstance(finish, str) and finish in self._finish:
            if self._finish[finish] == "error":
                raise _ended(choice, finish)
            choice["finish_reason"] = jsontext.raw(self._finish[finish])
        if self._unsaid is not None:
            self._follow(choice, name, place, self._unsaid)
        if not bytes(choice.get(name, b"")).startswith(b"{"):
            if self._tagged is None or finish is None:
                return
            choice[name] = Raw(b"{}")
        given = jsontext.fields(choice[name])
        said = dict(given)
        if self._parts:
            _join_parts(said)
        if self._field == "reasoning" and "reasoning" in said:
            thought = said.pop("reasoning")
            if said.get("reasoning_content", NULL) == NULL:
                said["reasoning_content"] = thought
        if self._tagged is not None:
            index = jsontext.peek(choice.get("index", NULL))
            key = index if isinstance(index, int) else place
            self._untag(said, self._tagged.setdefault(key, Tagged()), last=name == "message" or finish is not None)
        if said != given:
            choice[name] = jsontext.raw(said)

    def _follow(self, choice: Fields, name: str, place: int, unsaid: str) -> None:
        """Which choices have no finish: a whole one gets it, one of a stream when that is over (`unfinished`)."""
        index = jsontext.peek(choice.get("index", NULL)) if name == "delta" else place
        key = index if isinstance(index, int) else place
        if jsontext.peek(choice.get("finish_reason", NULL)):
            self._open.pop(key, None)
            return
        called = jsontext.peek(choice.get(name, NULL), "tool_calls")
        reason = "tool_calls" if called else self._open.get(key, unsaid)
        if name == "delta":
            self._open[key] = reason
        else:
            choice["finish_reason"] = jsontext.raw(reason)

    def _untag(self, said: Fields, tagged: Tagged, *, last: bool) -> None:
        given = jsontext.peek(said.get("content", NULL))
        if given is not None and not isinstance(given, str):
            return
        thought, content = tagged.feed(given or "", last=last or "tool_calls" in said)
        if content != (given or ""):
            said["content"] = jsontext.raw(content)
        if thought:
            said["reasoning_content"] = jsontext.raw(thought)
            if not content and not last:
                del said["content"]


def _move_usage(fields: Fields, path: str) -> bool:
    """Usage that stands elsewhere, to where OpenAI has it. Where it is, there it stays too, but for a choice's."""
    if fields.get("usage", NULL) != NULL:
        return False
    first, *rest = path.split(".")
    if first not in fields:
        return False
    if first != "choices":
        usage = jsontext.peek(fields[first], *rest)
        if not isinstance(usage, dict):
            return False
        fields["usage"] = jsontext.raw(usage)
        return True
    try:
        choices = jsontext.objects(fields["choices"])
    except NotJson:
        return False
    usages = [choice.pop("usage", NULL) for choice in choices]
    usages = [usage for usage in usages if usage != NULL]
    if usages:
        fields["usage"], fields["choices"] = usages[-1], jsontext.raw(choices)
    return bool(usages)


def _add_reasoning(fields: Fields) -> bool:
    """What was thought is answer too, for OpenAI; the total has it already, where it is told."""
    usage = jsontext.peek(fields.get("usage", NULL))
    details = usage.get("completion_tokens_details") if isinstance(usage, dict) else None
    thought = jsontext.whole(details.get("reasoning_tokens")) if isinstance(details, dict) else None
    answered = jsontext.whole(usage.get("completion_tokens")) if isinstance(usage, dict) else None
    if not thought or answered is None:
        return False
    prompt, total = jsontext.whole(usage.get("prompt_tokens")), jsontext.whole(usage.get("total_tokens"))
    if total is not None and prompt is not None and total == prompt + answered:
        return False  # this one has it within
    fields["usage"] = jsontext.raw({**usage, "completion_tokens": answered + thought})
    return True


def _ended(choice: Fields, finish: str) -> UpstreamError:
    message = failures.at(choice, "error.message")
    words = message if isinstance(message, str) and message else f"the model vendor ended its answer with {finish}"
    return failures.told(words, failures.at(choice, "error.code") if message else None)


def _join_parts(said: Fields) -> None:
    """Content in parts as text, what is thought in them as `reasoning_content`; an object of arguments as text."""
    content = said.get("content", NULL)
    if bytes(content).startswith(b"["):
        parts = jsontext.load(content)
        said["content"] = jsontext.raw(_text(parts, "text"))
        if thought := "".join(_text(part.get("thinking"), "text") for part in parts if _is_thinking(part)):
            said["reasoning_content"] = jsontext.raw(thought)
    calls = bytes(said.get("tool_calls", b""))
    if calls.startswith(b"[") and b'"arguments"' in calls:
        loaded = jsontext.load(calls)
        functions = [call.get("function") for call in loaded if isinstance(call, dict)]
        objects = [f for f in functions if isinstance(f, dict) and isinstance(f.get("arguments"), dict)]
        for function in objects:
            function["arguments"] = jsontext.dump(function["arguments"]).decode()
        if objects:
            said["tool_calls"] = jsontext.raw(loaded)


def _is_thinking(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "thinking"


def _text(parts: Any, kind: str) -> str:
    if isinstance(parts, str):
        return parts
    texts = (
        [p.get("text") for p in parts if isinstance(p, dict) and p.get("type") == kind]
        if isinstance(parts, list)
        else []
    )
    return "".join(text for text in texts if isinstance(text, str))
