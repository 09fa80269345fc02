"""An OpenAI chat as turns of typed parts: what every vendor with a protocol of its own makes its messages of.

Rule: pure, no vendor. What cannot be read is the client's 400 with the member's place; what a vendor cannot take is
that vendor's to say. Turns of one role that follow each other are one: vendors lose what stands in the first of two.
"""

from collections.abc import Iterable, Mapping
from hashlib import sha256
import re
from typing import Any

from msgspec import Struct

from extproc.providers.messages import SIGNATURE
from extproc.terms.errors import InvalidParameter
from extproc.text import jsontext
from extproc.text.jsontext import NULL, Fields, NotJson


class Text(Struct):
    """`cache`: the client marked a place for the vendor's prompt cache behind it."""

    text: str
    cache: bool = False


class Media(Struct):
    """`kind`: image, audio, video or file. Either `data` (base64, of type `mime`) or a `url`."""

    kind: str
    mime: str = ""
    data: str = ""
    url: str = ""
    name: str = ""
    cache: bool = False


class ToolUse(Struct):
    """A call of a function by the model. `arguments`: always an object; `id` is the client's."""

    id: str
    name: str
    arguments: Mapping[str, Any]


class ToolResult(Struct):
    """What a function gave back. `name`: that of its call, "" where the history has no such call."""

    id: str
    name: str
    parts: list[Text | Media]


class Thinking(Struct):
    text: str


Part = Text | Media | ToolUse | ToolResult | Thinking


class Turn(Struct):
    """`role`: user or assistant."""

    role: str
    parts: list[Part]


class Conversation(Struct):
    """`system`: what system and developer messages say, in order, wherever they stood."""

    system: list[Text]
    turns: list[Turn]


_DATA = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w=.+-]+)*;base64,", re.ASCII)


def read(fields: Fields) -> Conversation:
    """The `messages` of a chat body. Raises `InvalidParameter` with the place of what is wrong."""
    found = Conversation([], [])
    names: dict[str, str] = {}
    for i, message in enumerate(load(fields, "messages") or ()):
        where = f"messages[{i}]"
        if not isinstance(message, dict):
            raise InvalidParameter("messages must be an array of objects", param="messages")
        role = message.get("role")
        match role:
            case "system" | "developer":
                found.system += (p for p in _parts(message, where) if isinstance(p, Text))
            case "user":
                _add(found.turns, "user", _parts(message, where))
            case "assistant":
                _add(found.turns, "assistant", _assistant(message, where, names))
            case "tool" | "function":
                id = str(message.get("tool_call_id") or message.get("name") or "")
                parts = [p for p in _parts(message, where) if isinstance(p, Text | Media)]
                _add(found.turns, "user", [ToolResult(id, names.get(id) or str(message.get("name") or ""), parts)])
            case _:
                raise InvalidParameter(f"{where}.role: {str(role)[:40]!r} is not a role", param=f"{where}.role")
    if not found.turns and found.system:  # somebody must have spoken: OpenAI takes a prompt that is all system
        found.turns, found.system = [Turn("user", list(found.system))], []
    return found


NOTHING = "."
"""What stands for a turn of the user where a vendor wants one and the client said nothing (as LiteLLM does, 1.110)."""


def begun(turns: list[Turn], *, prefill: bool) -> list[Turn]:
    """Turns of which the first is the user's, and the last too unless an answer can be begun (`prefill`) for the model:
    what OpenAI takes, and others refuse."""
    first = [Turn("user", [Text(NOTHING)])] if turns and turns[0].role == "assistant" else []
    calls = bool(turns) and any(isinstance(part, ToolUse) for part in turns[-1].parts)
    last = [Turn("user", [Text(NOTHING)])] if turns and turns[-1].role == "assistant" and not (prefill or calls) else []
    return [*first, *turns, *last]


def _add(turns: list[Turn], role: str, parts: Iterable[Part]) -> None:
    if turns and turns[-1].role == role:
        turns[-1].parts.extend(parts)
    else:
        turns.append(Turn(role, list(parts)))


def _assistant(message: Mapping[str, Any], where: str, names: dict[str, str]) -> list[Part]:
    parts: list[Part] = []
    if isinstance(thought := message.get("reasoning_content"), str) and thought.strip():
        parts.append(Thinking(thought))
    parts += _parts(message, where)
    if isinstance(refusal := message.get("refusal"), str) and refusal:
        parts.append(Text(refusal))
    calls = message.get("tool_calls") or ()
    if isinstance(old := message.get("function_call"), dict):
        calls = [{"id": old.get("name"), "function": old}]
    for j, call in enumerate(calls):
        at = f"{where}.tool_calls[{j}]"
        if not isinstance(call, dict) or not isinstance(function := call.get("function") or call.get("custom"), dict):
            raise InvalidParameter(f"{at} must be a call of a function", param=at)
        id, name = str(call.get("id") or ""), str(function.get("name") or "")
        names[id] = name
        parts.append(ToolUse(id, name, arguments(function.get("arguments", function.get("input")))))
    return parts


def arguments(given: Any) -> Mapping[str, Any]:
    """A call's arguments as an object: text of nothing is `{}`, text that is no object goes under `raw_arguments`."""
    if isinstance(given, dict):
        return given
    text = given if isinstance(given, str) else "" if given is None else jsontext.dump(given).decode()
    if not text.strip():
        return {}
    try:
        value = jsontext.load(text.encode())
    except (NotJson, UnicodeEncodeError):
        value = None
    return value if isinstance(value, dict) else {"raw_arguments": text}


def _parts(message: Mapping[str, Any], where: str) -> list[Part]:
    content = message.get("content")
    if content is None:
        return []
    if isinstance(content, str):
        return [Text(content, _marked(message))] if content else []
    if not isinstance(content, list):
        at = f"{where}.content"
        raise InvalidParameter(f"{at} must be a string or an array of parts", param=at)
    return [_part(part, f"{where}.content[{j}]") for j, part in enumerate(content)]


def _marked(value: Mapping[str, Any]) -> bool:
    return isinstance(value.get("cache_control"), dict)


def _part(part: Any, where: str) -> Part:
    kind = part.get("type") if isinstance(part, dict) else None
    match kind:
        case "text" | "input_text" | "output_text":
            return Text(text(part.get("text"), f"{where}.text"), _marked(part))
        case "refusal":
            return Text(text(part.get("refusal"), f"{where}.refusal"))
        case "thinking" | "reasoning":
            return Thinking(str(part.get("thinking") or part.get("text") or ""))
        case "image_url" | "video_url":
            value = part.get(kind)
            url = text(value.get("url") if isinstance(value, dict) else value, f"{where}.{kind}.url")
            return _media(kind.removesuffix("_url"), url, cache=_marked(part))
        case "input_audio":
            audio = part.get("input_audio")
            given = audio if isinstance(audio, dict) else {}
            data = text(given.get("data"), f"{where}.input_audio.data")
            return Media("audio", f"audio/{given.get('format') or 'wav'}", data.rpartition("base64,")[2])
        case "file":
            file = part.get("file")
            if not isinstance(file, dict) or not isinstance(file.get("file_data"), str):
                raise InvalidParameter(f"{where}: only a file with file_data is supported", param=where)
            found = _media("file", file["file_data"], cache=_marked(part))
            found.name = str(file.get("filename") or "")
            found.mime = found.mime or "application/pdf"
            return found
        case _:
            raise InvalidParameter(f"{where}: a part of type {str(kind)[:40]!r} is not supported", param=where)


def _media(kind: str, url: str, *, cache: bool) -> Media:
    if url.startswith("data:"):
        if not (match := _DATA.match(url)):
            raise InvalidParameter(f"the data URL of a {kind} must be base64")
        return Media(kind, match[1] or "", url[match.end() :], cache=cache)
    return Media(kind, url=url, cache=cache) if "://" in url else Media(kind, data=url, cache=cache)


def text(value: Any, where: str) -> str:
    """Raises `InvalidParameter` unless it is a string."""
    if not isinstance(value, str):
        raise InvalidParameter(f"{where} must be a string", param=where)
    return value


def load(fields: Fields, name: str) -> Any:
    """A member as Python objects, None where it is absent. Raises `InvalidParameter` when it cannot be read."""
    try:
        return jsontext.load(fields.get(name, NULL))
    except NotJson as error:
        raise InvalidParameter(f"{name} cannot be read: {error}", param=name) from None


# Names and ids, for protocols that take fewer characters


def plain_id(id: str, allowed: re.Pattern[str]) -> str:
    """An id that a vendor's protocol takes, the same on each turn: as it is, or made from its hash. What another
    vendor's signature added to it (behind `SIGNATURE`) is cut off first."""
    bare = id.partition(SIGNATURE)[0]
    return bare if allowed.fullmatch(bare) else f"call_{sha256(bare.encode(errors='replace')).hexdigest()[:24]}"


class Names(Struct):
    """Names of functions as a protocol takes them: others are renamed, each to one of its own, and found again. Those
    that a request declares come first, so that its answer finds the same."""

    allowed: re.Pattern[str]
    ours: dict[str, str] = {}
    theirs: dict[str, str] = {}

    @classmethod
    def of(cls, fields: Fields, allowed: re.Pattern[str]) -> "Names":
        """The names of a chat request's tools."""
        names = cls(allowed)
        tools = load(fields, "tools")
        given = []
        for tool in tools if isinstance(tools, list) else ():
            function = tool.get("function") if isinstance(tool, dict) else None
            if isinstance(function, dict) and isinstance(function.get("name"), str):
                given.append(function["name"])
        for name in sorted(given, key=lambda name: not allowed.fullmatch(name)):  # those that can stay, do
            names.there(name)
        return names

    def there(self, name: str) -> str:
        """The name that the vendor is told."""
        if (known := self.ours.get(name)) is not None:
            return known
        new = name
        if not self.allowed.fullmatch(name) or name in self.theirs:
            stem, n = re.sub(r"[^a-zA-Z0-9_-]", "_", name)[:56] or "f", 1
            new = stem
            while new in self.theirs or not self.allowed.fullmatch(new):
                n += 1
                new = f"{stem}_{n}"
        self.ours[name], self.theirs[new] = new, name
        return new

    def back(self, name: str) -> str:
        """The client's name for what the vendor called."""
        return self.theirs.get(name, name)
