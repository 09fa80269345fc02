"""`thinking`: how a vendor is asked for it, and what stands for it in answers.

Rule: the one place for the attribute.
"""

from msgspec import Raw

from extproc.providers.vendors.quirks import Thinking
from extproc.text import jsontext
from extproc.text.jsontext import NULL, Fields

EFFORT = "reasoning_effort"
_OFF = ("none", "minimal")
_OPEN, _CLOSE = "<think>", "</think>"


def ask(fields: Fields, thinking: Thinking) -> list[str]:
    """Say the client's `reasoning_effort` as the vendor takes it, in place; what could not be said. Members that the
    client says in the vendor's own way win."""
    effort = jsontext.peek(fields.get(EFFORT, NULL))
    if not isinstance(effort, str):
        return []
    said = thinking.efforts.get(effort)  # type: ignore[call-overload]
    off = effort in _OFF and said is None
    taken = EFFORT in thinking.ask
    others = [member for member in thinking.ask if member != EFFORT]
    for member in others:
        if fields.get(member, NULL) == NULL:
            fields[member] = _switch(member, said or effort, off=off)
    if taken and not (off and others):
        if said is not None and said != effort:
            fields[EFFORT] = jsontext.raw(said)
        return []
    del fields[EFFORT]
    return [] if others else [EFFORT]


def _switch(member: str, effort: str, *, off: bool) -> Raw:
    match member:
        case "thinking":
            return jsontext.raw({"type": "disabled" if off else "enabled"})
        case "enable_thinking":
            return jsontext.raw(not off)
    return jsontext.raw({"effort": "none" if off else effort})


def asked(fields: Fields) -> bool:
    """Whether the client asks for thinking, in whatever way."""
    if jsontext.peek(fields.get(EFFORT, NULL)) not in (None, *_OFF):
        return True
    thinking, reasoning = jsontext.peek(fields.get("thinking", NULL)), jsontext.peek(fields.get("reasoning", NULL))
    return (
        (isinstance(thinking, dict) and thinking.get("type") not in (None, "disabled"))
        or (
            isinstance(reasoning, dict)
            and reasoning.get("effort") not in _OFF
            and reasoning.get("enabled") is not False
        )
        or fields.get("enable_thinking") == jsontext.TRUE
    )


def switch_off(fields: Fields, thinking: Thinking) -> bool:
    """Ask for no thinking; whether the vendor has words for it."""
    if "none" in thinking.efforts or not thinking.ask:
        return False
    for member in thinking.ask:
        if member != EFFORT:
            fields[member] = _switch(member, "none", off=True)
            fields.pop(EFFORT, None)
            return True
    fields[EFFORT] = jsontext.raw("none")
    return True


class Tagged:
    """One choice's content with `<think>…</think>` at its beginning, in pieces or whole. Only there: further on such
    words may be the answer's."""

    def __init__(self) -> None:
        self._state = "before"
        self._held = ""

    def feed(self, text: str, *, last: bool) -> tuple[str, str]:
        """The thinking and the answer in what is known by now, without the white space around the thinking. What may
        be the beginning of a tag is held back, unless it is the `last` piece."""
        text, self._held = self._held + text, ""
        reasoning = ""
        if self._state == "before":
            start = text.lstrip()
            if start.startswith(_OPEN):
                self._state, text = "opened", start.removeprefix(_OPEN)
            elif not last and _OPEN.startswith(start):
                self._held = text
                return "", ""
            else:
                self._state = "answer"
        if self._state == "opened" and text.strip():
            self._state, text = "thinking", text.lstrip()
        if self._state in ("opened", "thinking"):
            reasoning, closed, rest = text.partition(_CLOSE)
            if closed:
                self._state, text = "closed", rest
            else:
                kept = len(reasoning) if last else len(reasoning) - _unsure(reasoning)
                self._held, text = reasoning[kept:], ""
                return (reasoning.rstrip() if last else reasoning[:kept]), ""
        if self._state == "closed":
            text = text.lstrip()
            self._state = "answer" if text else "closed"
        return reasoning.rstrip(), text


def _unsure(text: str) -> int:
    """How much of the end may belong to the closing tag, or is white space before it."""
    tag = next((n for n in range(min(len(text), len(_CLOSE) - 1), 0, -1) if text.endswith(_CLOSE[:n])), 0)
    before = text[: len(text) - tag]
    return tag + len(before) - len(before.rstrip())
