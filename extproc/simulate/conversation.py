"""Reading messages, whatever the vendor's spelling of content parts.

Rule: tolerant readers only; each vendor checks strictly before it comes here.
"""

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
import re
from typing import Any

from extproc.simulate.faults import without_markers

Message = dict[str, Any]

_CALLS = re.compile(r"\[\[sim:call=([^\]]+)\]\]")
_FILE_IDS = re.compile(r"fileid://([\w.-]+)")


def matches(model: str, patterns: Iterable[str]) -> bool:
    """Whether a pattern of `patterns` (`*` is any text) fits `model` (str): bool."""
    return any(fnmatchcase(model, pattern) for pattern in patterns)


def text_of(content: Any) -> str:
    """The text of a message's content (str, list of parts or None): str."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(
            part if isinstance(part, str) else str(part["text"])
            for part in content
            if isinstance(part, str) or (isinstance(part, dict) and isinstance(part.get("text"), str))
        )
    return ""


def last_user_text(messages: Iterable[Message]) -> str:
    """The text of the last user message: str, empty without one."""
    said = [text_of(message.get("content")) for message in messages if message.get("role") == "user"]
    return said[-1] if said else ""


def count_images(messages: Iterable[Message]) -> int:
    """How many images the messages carry, DashScope's `image` or OpenAI's `image_url`: int."""
    return sum(
        1
        for message in messages
        if isinstance(message.get("content"), list)
        for part in message["content"]
        if isinstance(part, dict) and ("image" in part or part.get("type") in ("image_url", "input_image"))
    )


def count_tokens(messages: Iterable[Message]) -> int:
    """A deterministic number of prompt tokens: int, at least 1."""
    texts = [without_markers(text_of(message.get("content"))) for message in messages]
    return max(1, sum(4 + len(text) // 2 for text in texts))


def tool_result(messages: list[Message]) -> str | None:
    """What the tool said, when a tool spoke last: str or None."""
    if messages and messages[-1].get("role") == "tool":
        return text_of(messages[-1].get("content"))
    return None


@dataclass(frozen=True, slots=True)
class Scripted:
    """The call that a marker asks for now: the how many-th of its script, its tool, its arguments or None for any.
    `name` None: all have been made. `result`: what the tool said last."""

    step: int
    name: str | None
    arguments: str | None
    result: str | None


def scripted(messages: list[Message]) -> Scripted | None:
    """What the last user message with `call` markers asks for, after as many results as came behind it: Scripted, or
    None without a script. The prompt need not stand last: some programs end with turns of their own."""
    for place in range(len(messages) - 1, -1, -1):
        if messages[place].get("role") != "user":
            continue
        if calls := _CALLS.findall(text_of(messages[place].get("content"))):
            results = [text_of(m.get("content")) for m in messages[place + 1 :] if m.get("role") == "tool"]
            step, said = len(results), results[-1] if results else None
            if step >= len(calls):
                return Scripted(step, None, None, said)
            name, _, packed = calls[step].partition(":")
            arguments = base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)).decode() if packed else None
            return Scripted(step, name, arguments, said)
    return None


def file_ids(messages: Iterable[Message]) -> tuple[str, ...]:
    """The `fileid://` references of system messages: tuple of str."""
    said = "\n".join(text_of(m.get("content")) for m in messages if m.get("role") == "system")
    return tuple(_FILE_IDS.findall(said))


def mentions_json(messages: Iterable[Message]) -> bool:
    """Whether any message says "json", as `json_object` demands: bool."""
    return any("json" in text_of(message.get("content")).lower() for message in messages)


def stops(value: Any) -> tuple[str, ...]:
    """`stop` as given, text or list: tuple of str."""
    if isinstance(value, str):
        return (value,)
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def functions(tools: Any) -> tuple[dict[str, Any], ...]:
    """The function of each tool, nested (chat) or flat (Responses): tuple of dict."""
    listed = [tool for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    return tuple(
        tool["function"] if isinstance(tool.get("function"), dict) else tool
        for tool in listed
        if tool.get("type", "function") == "function"
    )


def schema_of(response_format: Any) -> dict[str, Any] | None:
    """The JSON schema that `response_format` asks for, `{}` for any JSON: dict or None."""
    if not isinstance(response_format, dict):
        return None
    if response_format.get("type") == "json_object":
        return {"type": "object", "properties": {"reply": {"type": "string"}}}
    if response_format.get("type") == "json_schema":
        schema = response_format.get("json_schema")
        return schema.get("schema", {}) if isinstance(schema, dict) else {}
    return None


def embed(text: str, size: int) -> list[float]:
    """A deterministic vector of `size` numbers for `text` (str): list of float."""
    seed = sum((at + 1) * ord(letter) for at, letter in enumerate(text[:4096])) or 1
    return [((seed * (at + 7) * 2654435761) % 2000 - 1000) / 1024 for at in range(size)]
