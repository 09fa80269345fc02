"""Tricks on OpenAI request bodies that several vendors share.

Rule: functions on `Fields`; a message that is not touched keeps its bytes.
"""

from collections.abc import Mapping
import re
from typing import Any

from msgspec import Raw

from extproc.providers.blocks import CustomSetting
from extproc.providers.families import Sense
from extproc.terms.call import CHAT, MESSAGES
from extproc.terms.errors import InvalidParameter, MissingParameter
from extproc.text import jsontext
from extproc.text.jsontext import NULL, Fields, NotJson

_SYSTEM = ("system", "developer")


def _opened(messages: Raw) -> list[Fields]:
    """Raises `InvalidParameter` unless `messages` is an array of objects."""
    try:
        return jsontext.objects(messages)
    except NotJson:
        raise InvalidParameter("messages must be an array of objects", param="messages") from None


def _role(message: Fields) -> Any:
    return jsontext.peek(message.get("role", NULL))


SIGNATURE = "__thought__"
"""Between a tool call's own id and the signature that Gemini wants back with it: carried in the id, since clients keep
ids and drop members they do not know (LiteLLM's way too, 2026)."""

_MARK = SIGNATURE.encode()
_SIGNED = re.compile(rb'("(?:tool_call_)?id"[ \t\r\n]*:[ \t\r\n]*"[^"\\]*?)' + _MARK + rb'[^"\\]*(?=")')
"""A quote within a text is escaped, so this is a member wherever it is found."""


def without_signatures(fields: Fields, text: bytes) -> None:
    """Cut ids of tool calls back to what they were before another vendor's signature was added, in place. `text`: the
    client's own bytes, in which nothing is looked for twice."""
    if _MARK in text and "messages" in fields:
        fields["messages"] = Raw(_SIGNED.sub(rb"\1", bytes(fields["messages"])))


def check_messages(fields: Fields) -> None:
    """Raises `MissingParameter` or `InvalidParameter` unless `messages` is a non-empty array of objects."""
    if "messages" not in fields:
        raise MissingParameter("messages is missing", param="messages")
    if not _opened(fields["messages"]):
        raise InvalidParameter("messages must be a non-empty array of objects", param="messages")


def developer_to_system(fields: Fields, name: str | None) -> None:
    """Rename the role `developer`, which only OpenAI's own models know, in the messages that `name` holds."""
    found = bytes(fields.get(name or "", b""))
    if not (b'"developer"' in found or b"\\u00" in found) or not found.startswith(b"["):  # ASCII may be escaped too
        return
    messages = jsontext.items(found)
    for i, message in enumerate(messages):
        try:
            opened = jsontext.fields(message)
        except NotJson:  # the Responses API takes other things than objects
            continue
        if _role(opened) == "developer":
            messages[i] = jsontext.raw({**opened, "role": "system"})
    fields[name or ""] = jsontext.raw(messages)


_ARGUMENTS = re.compile(rb'"arguments"\s*:\s*"[^"\s\\]')
_FUNCTION = re.compile(rb'"function"\s*:')


def whole_arguments(calls: Raw) -> Raw:
    """`tool_calls` of an earlier turn, each with arguments that are JSON text: what is blank or absent is `{}`, which
    some vendors ask for, what is no text is its JSON (DashScope refuses `""`, 2026)."""
    text = bytes(calls)
    if len(_ARGUMENTS.findall(text)) == len(_FUNCTION.findall(text)):  # nearly always, and seen without reading
        return calls
    try:
        opened = jsontext.objects(calls)
        for call in opened:
            if "function" in call and bytes(call["function"]).startswith(b"{"):
                function = jsontext.fields(call["function"])
                call["function"] = jsontext.raw({**function, "arguments": _text_of(function.get("arguments", NULL))})
    except NotJson:
        return calls
    return jsontext.raw(opened)


def _text_of(arguments: Raw) -> Any:
    value = jsontext.peek(arguments)
    if isinstance(value, str):
        return arguments if value.strip() else "{}"
    return "{}" if value is None else bytes(arguments).decode()


def fill_arguments(fields: Fields) -> None:
    """The same for all turns of an OpenAI body."""
    text = bytes(fields["messages"])
    if b'"tool_calls"' not in text or len(_ARGUMENTS.findall(text)) == len(_FUNCTION.findall(text)):
        return
    opened = _opened(fields["messages"])
    for message in opened:
        if message.get("tool_calls", NULL) != NULL:
            message["tool_calls"] = whole_arguments(message["tool_calls"])
    fields["messages"] = jsontext.raw(opened)


_SENSES: Mapping[str, Sense] = {"image_url": "image", "video_url": "video", "input_audio": "audio"}


def senses(messages: Raw) -> frozenset[Sense]:
    """What a model must take besides text to read all parts. Raises `InvalidParameter` where `messages` is no array of
    objects."""
    text = bytes(messages)
    if b'_url"' not in text and b'"input_audio"' not in text:
        return frozenset()
    found = set()
    for message in _opened(messages):
        content = message.get("content", NULL)
        if bytes(content).startswith(b"["):
            kinds = (jsontext.peek(part, "type") for part in jsontext.items(content))
            found |= {kind for kind in kinds if isinstance(kind, str)}
    return frozenset(sense for kind, sense in _SENSES.items() if kind in found)


def insert_context(fields: Fields, text: str, api: str | None) -> None:
    """Put a context text where an API has its system texts, behind those of the client, in place."""
    if api == CHAT:
        fields["messages"] = insert_system(fields["messages"], text)
        return
    name = "system" if api == MESSAGES else "instructions"
    given = fields.get(name, NULL)
    if bytes(given).startswith(b"["):  # Anthropic's blocks
        fields[name] = jsontext.raw([*jsontext.items(given), jsontext.raw({"type": "text", "text": text})])
    else:
        before = jsontext.peek(given)
        fields[name] = jsontext.raw(f"{before}\n\n{text}" if isinstance(before, str) and before else text)


def insert_system(messages: Raw, content: object, *, preamble: str | None = None) -> Raw:
    """`messages` with `content` (text or parts) as a system message before the first non-system one.

    `preamble`: goes before it where no system message precedes it. Raises `InvalidParameter` when it is no array
    of objects.
    """
    given = _opened(messages)
    at = next((i for i, message in enumerate(given) if _role(message) not in _SYSTEM), len(given))
    new = [content] if at or preamble is None else [preamble, content]
    opened = jsontext.items(messages)
    opened[at:at] = [jsontext.raw({"role": "system", "content": one}) for one in new]
    return jsontext.raw(opened)


def apply_setting(fields: Fields, setting: CustomSetting, prefix: str = "") -> None:
    """Put one `customSettings` entry into the body. `prefix`: where the vendor's dialect keeps `auto` names.

    A path that runs through something that is neither object nor array is the client's 400.
    """
    path = setting.name if setting.mode == "raw" else prefix + setting.name
    # The same limit under its newer name.
    if path == "max_tokens" and fields.get("max_completion_tokens", NULL) != NULL:
        path = "max_completion_tokens"
    first, *rest = [part.replace("\\.", ".") for part in re.split(r"(?<!\\)\.", path)]
    try:
        fields[first] = _put(fields.get(first), rest, setting)
    except (NotJson, ValueError, IndexError):
        raise InvalidParameter(f"customSettings: {path} does not fit the request", param=first) from None


def _put(given: Raw | None, keys: list[str], setting: CustomSetting) -> Raw:
    """`given` with the setting's value under `keys`; what is beside it keeps its bytes.

    Raises `NotJson`, `ValueError` or `IndexError` where `given` is no object or array that has them.
    """
    if not keys:
        return jsontext.raw(setting.value) if setting.overwrite or given is None else given
    key, *rest = keys
    if given is not None and bytes(given).startswith(b"["):
        if not key.isdecimal():
            raise ValueError("no place in an array")
        elements = jsontext.items(given)
        elements[int(key)] = _put(elements[int(key)], rest, setting)
        return jsontext.raw(elements)
    members = {} if given in (None, jsontext.NULL) else jsontext.fields(given)
    members[key] = _put(members.get(key), rest, setting)
    return jsontext.raw(members)
