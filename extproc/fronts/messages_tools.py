"""The tools of an Anthropic Messages request as functions of a chat.

Rule: every kind of tool is decided here, once. Those that Anthropic defines and the client carries out become functions
of the documented schema; those that run at Anthropic's go, but for a search that the vendor has itself.
Source: Anthropic, "Bash tool", "Text editor tool", "Memory tool" (platform.claude.com, 2026-11).
"""

from collections.abc import Sequence
from typing import Any, Final

from extproc.fronts.messages_blocks import Choice, Tool
from extproc.providers.traits import Traits
from extproc.terms.errors import InvalidParameter
from extproc.text import jsontext
from extproc.text.jsontext import FALSE, TRUE, Fields


def _object(required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required.split()}


def _text(description: str) -> dict[str, Any]:
    return {"type": "string", "description": description}


def _one_of(words: str) -> dict[str, Any]:
    return {"type": "string", "enum": words.split()}


def _line(description: str) -> dict[str, Any]:
    return {"type": "integer", "description": description}


_PATH: Final = _text("Absolute path of the file or directory.")
_RANGE: Final = {
    "type": "array",
    "items": {"type": "integer"},
    "description": "First and last line to show, counted from 1; -1 as the last is the end of the file.",
}
_EDITS: Final = {
    "path": _PATH,
    "view_range": _RANGE,
    "old_str": _text("For str_replace: the text to be replaced, which must stand in the file exactly once."),
    "new_str": _text("For str_replace: the new text."),
    "file_text": _text("For create: the content of the file."),
    "insert_line": _line("For insert: the line behind which the text goes, 0 for the beginning."),
    "insert_text": _text("For insert: the text."),
}

DEFINED: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "bash": (
        "Runs commands in a bash shell that stays open between calls.",
        _object(
            "",
            command=_text("The command to run; needed unless restart is true."),
            restart={"type": "boolean", "description": "true starts the shell anew."},
        ),
    ),
    "text_editor": (
        "Views, creates and edits text files.",
        _object("command path", command=_one_of("view create str_replace insert"), **_EDITS),
    ),
    "memory": (
        "Keeps files under /memories that last between conversations.",
        _object(
            "command",
            command=_one_of("view create str_replace insert delete rename"),
            **_EDITS,
            old_path=_text("For rename: the present path."),
            new_path=_text("For rename: the new path."),
        ),
    ),
}
"""By the type without its version: what the model is told, and its schema."""

NEEDED: Final = ("computer", "browser")
"""Tools that a conversation is about: to leave them out would change what is answered."""


class Tools:
    """Reads the tools of a request. `searches`: the vendor is asked to search by itself."""

    def __init__(self, given: Sequence[Tool], traits: Traits) -> None:
        self._traits = traits
        self.functions: list[dict[str, Any]] = []
        self.dropped: list[str] = []
        self.searches = False
        self._elsewhere: set[str] = set()  # what they are called that are no functions
        for place, tool in enumerate(given):
            self._add(tool, f"tools[{place}]")

    def _add(self, tool: Tool, at: str) -> None:
        if tool.cache_control is not None:  # of tools no vendor behind chat documents it
            self.dropped.append("cache_control")
        kind = (tool.type or "custom").rpartition("_2")[0] or tool.type or "custom"
        if kind == "custom":
            if not tool.name or not bytes(tool.input_schema).startswith(b"{"):
                raise InvalidParameter(f"{at}: a tool has a name and an input_schema", param="tools")
            self._function(tool.name, tool.description, tool.input_schema, tool.strict)
        elif kind in DEFINED:
            description, schema = DEFINED[kind]
            self._function(tool.name or kind, description, schema, None)
        elif kind.startswith(NEEDED):
            raise InvalidParameter(f"{at}: this model has no {tool.type}", param="tools")
        elif kind == "web_search" and self._traits.search:
            self.searches = True
            self._elsewhere.add(tool.name or kind)
        else:
            self._elsewhere.add(tool.name or kind)
            self.dropped.append(f"tools.{tool.name or tool.type}")

    def _function(self, name: str, description: str | None, schema: Any, strict: bool | None) -> None:
        function: dict[str, Any] = {"name": name}
        if description is not None:
            function["description"] = description
        function["parameters"] = schema
        if strict is not None and self._traits.strict:
            function["strict"] = strict
        elif strict:
            self.dropped.append("tools.strict")
        self.functions.append({"type": "function", "function": function})

    def write(self, choice: Choice | None, fields: Fields) -> None:
        """`tools`, `tool_choice` and `parallel_tool_calls`; the latter two mean nothing without a tool."""
        if self.searches and (choice is None or choice.type != "none"):
            fields["enable_search"] = TRUE
        if not self.functions:
            return
        fields["tools"] = jsontext.raw(self.functions)
        if choice is None:
            return
        if choice.disable_parallel_tool_use:
            fields["parallel_tool_calls"] = FALSE
        match choice.type:
            case "auto" | "none":
                fields["tool_choice"] = jsontext.raw(choice.type)
            case "any" if self._traits.required:
                fields["tool_choice"] = jsontext.raw("required")
            case "any":
                self.dropped.append("tool_choice")
                fields["tool_choice"] = jsontext.raw("auto")
            case "tool" if choice.name in self._elsewhere:
                self.dropped.append("tool_choice")
                fields["tool_choice"] = jsontext.raw("auto")
            case "tool":
                if all(one["function"]["name"] != choice.name for one in self.functions):
                    raise InvalidParameter("tool_choice names a tool that is not among the tools", param="tool_choice")
                fields["tool_choice"] = jsontext.raw({"type": "function", "function": {"name": choice.name}})
            case kind:
                raise InvalidParameter(f"tool_choice: there is no type {kind[:40]!r}", param="tool_choice")
