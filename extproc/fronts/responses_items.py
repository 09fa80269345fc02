"""The input of a Responses request as turns of a chat.

Rule: every kind of item is decided here, once; what a chat cannot say and does not need is named in `dropped`, what it
needs and cannot say is the client's 400.
Source: OpenAI's API reference and its SDK's types (openai 3.54.0), 2026-11-30.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from extproc.fronts import thoughts
from extproc.fronts.responses_tools import Kind, Tools
from extproc.fronts.turns import Part, Turns, text_part
from extproc.terms.deltas import Tool
from extproc.terms.errors import InvalidParameter
from extproc.text import jsontext

Item = dict[str, Any]

_LOCAL_CALLS: dict[str, tuple[Kind, str]] = {
    "local_shell_call": ("local_shell", "action"),
    "shell_call": ("shell", "action"),
    "apply_patch_call": ("apply_patch", "operation"),
}
"""Calls of tools that the client carries out: the tool, and the member that has the arguments."""

_OUTPUTS = frozenset(
    f"{kind}_output"
    for kind in ("function_call", "custom_tool_call", "local_shell_call", "shell_call", "apply_patch_call")
)


@dataclass(slots=True)
class Items:
    """Reads items one by one into `turns`. `files`: whether the vendor takes files."""

    turns: Turns
    tools: Tools
    files: bool
    dropped: list[str] = field(default_factory=list)
    _calls: dict[str, str] = field(default_factory=dict)

    def add(self, item: Any, at: str) -> None:
        """`at`: the item's place, for messages. Raises `InvalidParameter`."""
        if not isinstance(item, dict):
            raise _wrong(at, "must be an object")
        kind = item.get("type")
        if kind is None and "role" not in item and "id" in item:
            kind = "item_reference"
        match kind:
            case None | "message":
                self._message(item, at)
            case "function_call":
                self._call(item, at, "function", _arguments(item.get("arguments")))
            case "custom_tool_call":
                self._call(item, at, "custom", _json({"input": _text(item.get("input"))}))
            case "local_shell_call" | "shell_call" | "apply_patch_call":
                tool, member = _LOCAL_CALLS[kind]
                given = item.get(member)
                given = {k: v for k, v in given.items() if v is not None} if isinstance(given, dict) else {}
                if tool == "local_shell":
                    given.pop("type", None)
                self._call({**item, "name": tool}, at, tool, _json(given))
            case str() if kind in _OUTPUTS:
                self._output(item, at)
            case "reasoning":
                self.turns.thinks(_thought(item))
            case "additional_tools":
                pass  # read with the tools, before
            case str():
                self._other(item, kind)
            case _:
                raise _wrong(f"{at}.type", "must be a string")

    def _message(self, item: Item, at: str) -> None:
        role, content = item.get("role"), item.get("content")
        match role:
            case "user":
                self.turns.user(list(self._parts(content, f"{at}.content")))
            case "assistant":
                for text in self._texts(content, f"{at}.content"):
                    self.turns.says(text)
            case "system" | "developer":
                if text := "\n\n".join(self._texts(content, f"{at}.content")):
                    self.turns.system(text, role)
            case _:
                raise _wrong(f"{at}.role", "must be user, assistant, system or developer")

    def _texts(self, content: Any, at: str) -> Iterator[str]:
        for part in self._parts(content, at):
            if part["type"] != "text":
                raise _wrong(at, f"a part of type {part['type']} belongs to a user's message")
            if part["text"]:
                yield part["text"]

    def _parts(self, content: Any, at: str) -> Iterator[Part]:
        if isinstance(content, str):
            yield text_part(content)
        elif isinstance(content, list):
            for place, part in enumerate(content):
                yield self._part(part, f"{at}[{place}]")
        elif content is not None:
            raise _wrong(at, "must be a string or an array of parts")

    def _part(self, part: Any, at: str) -> Part:
        kind = part.get("type") if isinstance(part, dict) else None
        match kind:
            case "input_text" | "output_text" | "text" | "summary_text" | "reasoning_text":
                return text_part(_string(part.get("text"), f"{at}.text"))
            case "refusal":
                return text_part(_string(part.get("refusal"), f"{at}.refusal"))
            case "input_image":
                return _image(part, at)
            case "input_file":
                return self._file(part, at)
            case "input_audio" if isinstance(part.get("input_audio"), dict):
                return {"type": "input_audio", "input_audio": part["input_audio"]}
            case _:
                raise _wrong(at, f"a part of type {str(kind)[:40]!r} is not supported")

    def _file(self, part: Item, at: str) -> Part:
        if not self.files:
            raise _wrong(at, "the vendor takes no files (input_file)")
        given = {name: part[name] for name in ("filename", "file_data", "file_id") if isinstance(part.get(name), str)}
        if not given.keys() & {"file_data", "file_id"}:
            raise _wrong(at, "the vendor takes a file by file_data or file_id only")
        return {"type": "file", "file": given}

    def _call(self, item: Item, at: str, kind: Kind, arguments: str) -> None:
        id = item.get("call_id") or item.get("id")
        if not isinstance(id, str) or not id:
            raise _wrong(f"{at}.call_id", "must be a non-empty string")
        namespace = item.get("namespace")
        name = self.tools.name(
            _string(item.get("name"), f"{at}.name"), namespace if isinstance(namespace, str) else None, kind
        )
        if isinstance(own := item.get("id"), str):
            self._calls[own] = id
        self.turns.calls(Tool(id, name, arguments))

    def _output(self, item: Item, at: str) -> None:
        id = item.get("call_id") or item.get("id")
        if not isinstance(id, str) or not id:
            raise _wrong(f"{at}.call_id", "must be a non-empty string")
        parts = list(self._returned(item, f"{at}.output"))
        if not self.turns.result(id, parts) and not self.turns.result(self._calls.get(id, ""), parts):
            self.turns.user([part for part in parts if part.get("text") != ""])

    def _returned(self, item: Item, at: str) -> Iterator[Part]:
        output = item.get("output")
        match item["type"], output:
            case "shell_call_output", list():
                yield text_part("\n".join(map(_shell_output, output)))
            case "apply_patch_call_output", None | "":
                yield text_part(_text(item.get("status")))
            case _, str() | None:
                yield text_part(output or "")
            case _, list() if all(isinstance(part, dict) and "type" in part for part in output):
                yield from self._parts(output, at)
            case _:
                yield text_part(_json(output))

    def _other(self, item: Item, kind: str) -> None:
        """An item of a hosted tool, or of the vendor that the client talked to before: its text if it has any."""
        if kind not in ("compaction", "program", "tool_search_output", "mcp_list_tools", "image_generation_call"):
            for text in _said(item):
                self.turns.says(text)
        self.dropped.append(f"input.{kind[:40]}")


def _wrong(param: str, words: str) -> InvalidParameter:
    return InvalidParameter(f"{param}: {words}", param=param)


def _string(value: Any, at: str) -> str:
    if not isinstance(value, str):
        raise _wrong(at, "must be a string")
    return value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else _json(value)


def _json(value: Any) -> str:
    return jsontext.dump(value).decode()


def _arguments(value: Any) -> str:
    """A call's arguments as it came; vendors refuse an empty text where JSON belongs."""
    text = _text(value)
    return text if text.strip() else "{}"


def _image(part: Item, at: str) -> Part:
    url = part.get("image_url")
    if isinstance(url, dict):  # as in chat
        url = url.get("url")
    if not isinstance(url, str) or not url:
        raise _wrong(at, "the vendor takes an image by image_url only")
    detail = {"low": "low", "high": "high", "original": "high"}.get(str(part.get("detail")))
    return {"type": "image_url", "image_url": {"url": url, **({"detail": detail} if detail else {})}}


def _thought(item: Item) -> str:
    """The thinking that an item holds: in the clear, or in our own opaque form."""
    for member in ("content", "summary"):
        if texts := [part["text"] for part in _dicts(item.get(member)) if isinstance(part.get("text"), str)]:
            return "\n\n".join(texts)
    return thoughts.opened(item.get("encrypted_content")) or ""


def _dicts(value: Any) -> list[Item]:
    return [part for part in value if isinstance(part, dict)] if isinstance(value, list) else []


def _shell_output(chunk: Any) -> str:
    """What a command wrote, and how it ended."""
    if not isinstance(chunk, dict):
        return _text(chunk)
    outcome = chunk.get("outcome")
    ended = ""
    if isinstance(outcome, dict):
        ended = "timed out" if outcome.get("type") == "timeout" else f"exit code: {outcome.get('exit_code')}"
    return "\n".join(filter(None, (_text(chunk.get("stdout")), _text(chunk.get("stderr")), ended)))


def _said(item: Item) -> Iterator[str]:
    """Texts of an item whose kind nobody here knows."""
    for member in ("text", "output", "result"):
        if isinstance(value := item.get(member), str):
            yield value
    for member in ("content", "outputs", "results"):
        for part in _dicts(item.get(member)):
            if isinstance(text := part.get("text") or part.get("logs"), str):
                yield text
