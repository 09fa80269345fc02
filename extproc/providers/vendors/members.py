"""A request's members as a vendor takes them: refused, renamed, out of range, missing.

Rule: one function for each attribute, in place on `Fields`; what is not concerned keeps its bytes. What the client said
and the vendor is not told is named, so that it can be told to the client.
"""

from collections.abc import Iterable
from hashlib import sha256
from typing import Any

from msgspec import Raw

from extproc.providers.vendors import thinking
from extproc.providers.vendors.quirks import Clamp, Quirks
from extproc.terms.call import CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES
from extproc.text import jsontext
from extproc.text.jsontext import NULL, Fields, NotJson

_SYSTEM = ("system", "developer")
_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_OF_RESPONSES = "responses/"


class Members:
    """What the quirks of a vendor, or of some of its models, say about requests; made once, used by many exchanges."""

    def __init__(self, quirks: Quirks) -> None:
        self._quirks = quirks
        plain = [name for name in quirks.refuses if not name.startswith(_OF_RESPONSES)]
        self._responses = frozenset(n.removeprefix(_OF_RESPONSES) for n in quirks.refuses if n not in plain)
        self._refused = frozenset(name for name in plain if "." not in name)
        paths = [tuple(name.split(".")) for name in plain if "." in name]
        self._in_messages = tuple(path[1:] for path in paths if path[0] == "messages")
        self._deeper = tuple(path for path in paths if path[0] != "messages")
        self._effort = quirks.thinking != type(quirks.thinking)() or thinking.EFFORT not in quirks.thinking.ask
        self._field = "reasoning_content" if quirks.thinking.field == "think" else quirks.thinking.field
        self._marks = tuple(self._message_marks())

    def _message_marks(self) -> Iterable[bytes]:
        """Bytes of which one is in any messages that need a change."""
        quirks = self._quirks
        if "developer" in quirks.roles:
            yield from (b'"developer"', b"\\u00")
        if {"later-system", "system"} & set(quirks.roles):
            yield b'"system"'
        if quirks.returns_thinking == "required":
            yield b'"assistant"'
        elif quirks.returns_thinking == "dropped" or (quirks.returns_thinking and self._field != "reasoning_content"):
            yield b'"reasoning_content"'
        if quirks.tool_ids is not None:
            yield from (b'"tool_calls"', b'"tool_call_id"')
        if quirks.cache_control is not None:
            yield b'"cache_control"'
        yield from (b'"%b"' % path[-1].encode() for path in self._in_messages)
        if quirks.message_members:
            yield b'"role"'

    def repair(self, fields: Fields, api: str | None, *, stream: bool) -> tuple[str, ...]:
        """Put a body in the vendor's form, in place; the names of what was dropped."""
        if api == CHAT:
            return tuple(dict.fromkeys(self._chat(fields, stream=stream)))
        if api == RESPONSES:
            return tuple(_refuse(fields, self._responses))
        if api in (COMPLETIONS, EMBEDDINGS):
            _rename(fields, self._quirks.renames)
            return tuple(_refuse(fields, self._refused))
        return ()

    def _chat(self, fields: Fields, *, stream: bool) -> list[str]:
        quirks, dropped = self._quirks, list[str]()
        if "tool_choice" in fields and (quirks.tool_choice or not quirks.thinking.forced):
            dropped += _choose(fields, quirks)
        if self._effort and thinking.EFFORT in fields:
            dropped += thinking.ask(fields, quirks.thinking)
        for member, value in quirks.thinking.adds.items():
            fields.setdefault(member, jsontext.raw(value))
        if quirks.renames:
            _rename(fields, quirks.renames)
        if quirks.json_schema == "object" and _kind(fields.get("response_format")) == "json_schema":
            fields["response_format"] = jsontext.raw({"type": "json_object"})
            dropped.append("response_format.json_schema")
        for member, others in quirks.beside.items():
            if bytes(fields.get(member, b"[]")) not in (b"null", b"[]"):
                dropped += _refuse(fields, others)
        if self._refused:
            dropped += _refuse(fields, self._refused)
        for path in self._deeper:
            if path[0] in fields and b'"%b"' % path[-1].encode() in bytes(fields[path[0]]):
                fields[path[0]], found = _without(fields[path[0]], path[1:])
                dropped += [".".join(path)] if found else []
        for member, clamp in quirks.clamps.items():
            if fields.get(member, NULL) != NULL:
                fields[member] = _clamped(fields[member], clamp)
        if "tools" in fields:
            for switch in (quirks.stream_tools if stream else None, quirks.tools_switch):
                if switch is not None:
                    fields.setdefault(switch, jsontext.TRUE)
        if quirks.cache_control is not None and b'"cache_control"' in bytes(fields.get("tools", b"")):
            fields["tools"], found = _uncached(fields["tools"], keep=quirks.cache_control == "kept")
            dropped += ["cache_control"] if found else []
        return dropped + self._messages(fields)

    # Messages

    def _messages(self, fields: Fields) -> list[str]:
        text = bytes(fields["messages"])
        if not any(mark in text for mark in self._marks):
            return []
        dropped: list[str] = []
        messages = jsontext.items(fields["messages"])
        changed = False
        spoken = False  # whether anybody but the system has
        for index, message in enumerate(messages):
            given = jsontext.fields(message)
            role = jsontext.peek(given.get("role", NULL))
            opened = dict(given)
            self._role(opened, role, first=not spoken)
            spoken = spoken or role not in _SYSTEM
            dropped += self._message(opened, role, fields)
            if opened != given:
                messages[index], changed = jsontext.raw(opened), True
        if changed:
            fields["messages"] = jsontext.raw(messages)
        return dropped

    def _role(self, message: Fields, role: object, *, first: bool) -> None:
        """A system turn by another name, or as the user's, where the vendor has none there."""
        if role not in _SYSTEM:
            return
        roles = self._quirks.roles
        if "system" in roles or (not first and "later-system" in roles):
            message["role"] = jsontext.raw("user")
        elif role == "developer" and "developer" in roles:
            message["role"] = jsontext.raw("system")

    def _message(self, message: Fields, role: object, fields: Fields) -> list[str]:
        quirks, dropped = self._quirks, list[str]()
        for path in self._in_messages:
            if path[0] in message and not (path == ("name",) and role == "tool"):
                dropped += _drop(message, path, "messages")
        if role == "assistant":
            dropped += self._thought(message, fields)
        if quirks.message_members:
            unknown = [name for name in message if name not in quirks.message_members]
            dropped += [f"messages.{name}" for name in unknown if message.pop(name) != NULL]
        if quirks.tool_ids is not None:
            _short_ids(message, quirks.tool_ids)
        if quirks.cache_control is not None:
            for name, value in message.items():
                if b'"cache_control"' in bytes(value):
                    message[name], found = _uncached(value, keep=quirks.cache_control == "kept")
                    dropped += ["cache_control"] if found else []
            if "cache_control" in message and quirks.cache_control == "dropped":
                del message["cache_control"]
                dropped.append("cache_control")
        return dropped

    def _thought(self, message: Fields, fields: Fields) -> list[str]:
        """What was thought at an earlier turn, as the vendor wants it back."""
        match self._quirks.returns_thinking:
            case "dropped":
                message.pop("reasoning_content", None)
            case "required" | "kept" as how:
                if self._field != "reasoning_content" and "reasoning_content" in message:
                    message.setdefault(self._field, message["reasoning_content"])
                    del message["reasoning_content"]
                off = jsontext.peek(fields.get("thinking", NULL), "type") == "disabled"
                if how == "required" and not off and message.get(self._field, NULL) == NULL:
                    message[self._field] = jsontext.raw(" ")  # nobody knows it any more, but it must be there
        return []


# One attribute each


def _refuse(fields: Fields, names: Iterable[str]) -> list[str]:
    """Take members out; the names of those that said something."""
    found = [name for name in names if name in fields]
    return sorted(name for name in found if fields.pop(name) != NULL)


def _rename(fields: Fields, renames: Any) -> None:
    for name, other in renames.items():
        if name in fields:
            value = fields.pop(name)
            if value != NULL or other not in fields:
                fields[other] = value


def _clamped(value: Raw, clamp: Clamp) -> Raw:
    if clamp.value is not None:
        return jsontext.raw(_plain(clamp.value))
    number = jsontext.peek(value)
    if not isinstance(number, int | float) or isinstance(number, bool):
        return value
    nearest = number if clamp.min is None else max(number, clamp.min)
    nearest = nearest if clamp.max is None else min(nearest, clamp.max)
    return value if nearest == number else jsontext.raw(_plain(nearest))


def _plain(value: float | str | bool) -> float | str | bool:
    """A whole number without a fraction: `n: 1.0` is none for most."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _kind(value: Raw | None) -> Any:
    return jsontext.peek(value, "type") if value is not None else None


def _choose(fields: Fields, quirks: Quirks) -> list[str]:
    """`tool_choice` as far as the vendor has it: without tools for `none`, `auto` for what forces one."""
    choice = jsontext.peek(fields["tool_choice"])
    what = "function" if isinstance(choice, dict) else choice
    if what == "none" and "none" in quirks.tool_choice:
        del fields["tool_choice"]
        fields.pop("tools", None)
        return []
    if what not in ("required", "function"):
        return []
    lacking = what in quirks.tool_choice
    if not lacking and not quirks.thinking.forced:
        if thinking.asked(fields):
            lacking = True
        elif quirks.thinking.unasked:
            lacking = not thinking.switch_off(fields, quirks.thinking)
    if lacking:
        fields["tool_choice"] = jsontext.raw("auto")
    return ["tool_choice"] if lacking else []


def _drop(fields: Fields, path: tuple[str, ...], within: str) -> list[str]:
    first, *rest = path
    if not rest:
        said = fields.pop(first) != NULL
    else:
        fields[first], said = _without(fields[first], tuple(rest))
    return [".".join((within, *path))] if said else []


def _without(value: Raw, path: tuple[str, ...]) -> tuple[Raw, bool]:
    """A value without the member at the end of a path, in all elements of arrays on the way; whether it was there."""
    text = bytes(value)
    if text.startswith(b"["):
        parts = [_without(item, path) for item in jsontext.items(value)]
        found = any(said for _, said in parts)
        return (jsontext.raw([part for part, _ in parts]) if found else value), found
    if not text.startswith(b"{"):
        return value, False
    opened = jsontext.fields(value)
    first, *rest = path
    if first not in opened:
        return value, False
    found = bool(_drop(opened, path, "")) if rest else opened.pop(first) is not None
    return (jsontext.raw(opened) if found else value), found


def _uncached(value: Raw, *, keep: bool) -> tuple[Raw, bool]:
    """A value without the `cache_control` members within it, or with them but without `ttl`; whether one is gone."""
    try:
        loaded = jsontext.load(value)
    except NotJson:
        return value, False
    gone = _clear(loaded, keep=keep)
    return jsontext.raw(loaded), gone


def _clear(value: Any, *, keep: bool) -> bool:
    gone = False
    if isinstance(value, list):
        for item in value:
            gone = _clear(item, keep=keep) or gone
    if not isinstance(value, dict):
        return gone
    if isinstance(control := value.get("cache_control"), dict):
        if keep:
            control.pop("ttl", None)
        else:
            gone = True
            del value["cache_control"]
    for name, member in value.items():
        if name not in ("parameters", "arguments"):  # the client's own
            gone = _clear(member, keep=keep) or gone
    return gone


def short_id(id: str, length: int) -> str:
    """An id of letters and digits: the same one where it is that already, else one made from its hash."""
    if len(id) == length and id.isalnum() and id.isascii():
        return id
    number = int.from_bytes(sha256(id.encode("utf-8", "surrogatepass")).digest())
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(digits)


def _short_ids(message: Fields, length: int) -> None:
    id = jsontext.peek(message.get("tool_call_id", NULL))
    if isinstance(id, str):
        message["tool_call_id"] = jsontext.raw(short_id(id, length))
    if bytes(message.get("tool_calls", b"")).startswith(b"["):
        calls = jsontext.items(message["tool_calls"])
        for index, call in enumerate(calls):
            if isinstance(id := jsontext.peek(call, "id"), str) and (short := short_id(id, length)) != id:
                calls[index] = jsontext.raw({**jsontext.fields(call), "id": short})
        message["tool_calls"] = jsontext.raw(calls)
