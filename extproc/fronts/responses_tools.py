"""The tools of a Responses request as chat functions, and the way back of what a model calls.

Rule: whatever kind a tool has, the vendor sees a function; `Tools` knows under which name, so that its calls come back
as the kind that the client asked for. Source: OpenAI's API reference and its SDK's types (openai 3.54.0), 2026-11-30.
"""

from dataclasses import dataclass, field
from hashlib import sha256
import re
from typing import Any, Final, Literal

from msgspec import Raw

from extproc.terms.errors import InvalidParameter
from extproc.terms.frozen import Frozen
from extproc.text import jsontext
from extproc.text.jsontext import NULL, Fields, NotJson

Kind = Literal["function", "custom", "local_shell", "shell", "apply_patch"]


class Named(Frozen, frozen=True):
    """A tool as the client knows it."""

    kind: Kind
    name: str
    namespace: str | None = None


def _strings(description: str) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "string"}, "description": description}


_MILLISECONDS: Final = {"type": "integer", "description": "How long it may take, in milliseconds."}

_LOCAL: Final[dict[str, dict[str, Any]]] = {
    "local_shell": {
        "description": "Runs a command on the user's computer and returns its output.",
        "parameters": {
            "type": "object",
            "properties": {
                "command": _strings("The program and its arguments."),
                "timeout_ms": _MILLISECONDS,
                "user": {"type": "string", "description": "The user to run it as."},
                "working_directory": {"type": "string", "description": "The directory to run it in."},
                "env": {"type": "object", "additionalProperties": {"type": "string"}},
            },
            "required": ["command"],
        },
    },
    "shell": {
        "description": "Runs shell commands, one after the other, and returns their output.",
        "parameters": {
            "type": "object",
            "properties": {
                "commands": _strings("The commands, each as one would type it."),
                "timeout_ms": _MILLISECONDS,
                "max_output_length": {"type": "integer", "description": "Characters of output that come back at most."},
            },
            "required": ["commands"],
        },
    },
    "apply_patch": {
        "description": "Creates, changes or deletes one file of the workspace.",
        "parameters": {
            "type": "object",
            "properties": {
                "type": {"type": "string", "enum": ["create_file", "update_file", "delete_file"]},
                "path": {"type": "string", "description": "The file, relative to the root of the workspace."},
                "diff": {
                    "type": "string",
                    "description": "What changes, as a V4A diff: lines that begin with '+', '-' or a blank, behind "
                    "'@@' where a place begins. Not for delete_file.",
                },
            },
            "required": ["type", "path"],
        },
    },
}
"""Tools that the client carries out and whose schema OpenAI's models know by heart: members of the calls' `action` and
`operation`."""

_MEANT: Final = ("computer", "computer_use_preview", "computer_use", "browser", "mcp")
"""Without these the answer would be another one, and no vendor behind chat has them."""

_LONGEST: Final = 64
_ODD: Final = re.compile(r"[^a-zA-Z0-9_-]")


@dataclass(slots=True)
class Tools:
    """Functions of a request. `strict`: whether the vendor takes that member.

    `searches`: a web search is among the tools. `dropped`: the tools that are not sent, as `tools.NAME`.
    """

    strict: bool
    searches: bool = False
    dropped: list[str] = field(default_factory=list)
    _functions: dict[str, dict[str, Any]] = field(default_factory=dict)
    _named: dict[str, Named] = field(default_factory=dict)
    _names: dict[Named, str] = field(default_factory=dict)

    def add(self, tools: Raw, param: str) -> None:
        """The tools of a list. Raises `InvalidParameter` for what is no list of tools, or a tool that no vendor has."""
        try:
            listed = jsontext.objects(tools)
        except NotJson:
            raise InvalidParameter(f"{param} must be an array of objects", param=param) from None
        for place, tool in enumerate(listed):
            self._add(tool, f"{param}[{place}]")

    def _add(self, tool: Fields, param: str, namespace: str | None = None) -> None:
        kind = jsontext.peek(tool.get("type", NULL))
        match kind:
            case "function":
                self._function(tool, param, namespace)
            case "custom":
                self._custom(tool, param, namespace)
            case "namespace":
                name = _name(tool, param)
                for place, one in enumerate(_objects(tool.get("tools", NULL), f"{param}.tools")):
                    self._add(one, f"{param}.tools[{place}]", name)
            case "local_shell" | "shell" | "apply_patch":
                self._put(Named(kind, kind), _LOCAL[kind])
            case str() if kind.startswith("web_search"):
                self.searches = True
            case str() if kind in _MEANT or kind.startswith(("computer_", "browser_")):
                raise InvalidParameter(f"{param}: the vendor has no tool of type {kind}", param=param)
            case str():
                self.dropped.append(f"tools.{kind[:40]}")
            case _:
                raise InvalidParameter(f"{param}.type must be a string", param=f"{param}.type")

    def _function(self, tool: Fields, param: str, namespace: str | None) -> None:
        if "function" in tool and "name" not in tool:  # as in chat
            tool = jsontext.fields(tool["function"])
        made = {member: tool[member] for member in ("description", "parameters") if tool.get(member, NULL) != NULL}
        if self.strict and tool.get("strict", NULL) != NULL:
            made["strict"] = tool["strict"]
        self._put(Named("function", _name(tool, param), namespace), made)

    def _custom(self, tool: Fields, param: str, namespace: str | None) -> None:
        described = jsontext.peek(tool.get("description", NULL))
        description = described if isinstance(described, str) else ""
        form = jsontext.peek(tool.get("format", NULL))
        if isinstance(form, dict) and isinstance(form.get("definition"), str):
            description += f"\n\nThe input must follow this {form.get('syntax', '')} grammar:\n{form['definition']}"
        given = {"type": "string", "description": "The whole input of the tool, as plain text."}
        schema = {
            "type": "object",
            "properties": {"input": given},
            "required": ["input"],
            "additionalProperties": False,
        }
        made: dict[str, Any] = {"description": description.strip()} if description.strip() else {}
        self._put(Named("custom", _name(tool, param), namespace), {**made, "parameters": schema})

    def _put(self, tool: Named, function: dict[str, Any]) -> None:
        """One more function; of a tool that is there twice the later one counts, as vendors refuse two of a name."""
        name = self._names.get(tool) or self._free(chat_name(tool.name, tool.namespace))
        self._names[tool], self._named[name] = name, tool
        self._functions[name] = {"name": name, **function}

    def _free(self, name: str) -> str:
        return next(one for one in (name, *(_short(f"{name}_{n}") for n in range(2, 1000))) if one not in self._named)

    def name(self, name: str, namespace: str | None = None, kind: Kind | None = None) -> str:
        """The function's name for a tool that the client names, whether it is among the tools or not."""
        for known, function in self._names.items():
            if (known.name, known.namespace) == (name, namespace) and kind in (None, known.kind):
                return function
        return chat_name(name, namespace)

    def known(self, name: str, namespace: str | None = None) -> bool:
        """Whether there is such a tool."""
        return any((one.name, one.namespace) == (name, namespace) for one in self._names)

    def named(self) -> dict[str, Named]:
        """What the vendor's names stand for; a function of its own name is left out."""
        return {name: tool for name, tool in self._named.items() if tool != Named("function", name)}

    def allow(self, allowed: set[str]) -> None:
        """Send these functions alone."""
        self._functions = {name: function for name, function in self._functions.items() if name in allowed}

    def chat(self) -> list[dict[str, Any]]:
        """The chat's `tools`."""
        return [{"type": "function", "function": function} for function in self._functions.values()]


def _name(tool: Fields, param: str) -> str:
    name = jsontext.peek(tool.get("name", NULL))
    if not isinstance(name, str) or not name:
        raise InvalidParameter(f"{param}.name must be a non-empty string", param=f"{param}.name")
    return name


def _objects(value: Raw, param: str) -> list[Fields]:
    try:
        return jsontext.objects(value)
    except NotJson:
        raise InvalidParameter(f"{param} must be an array of objects", param=param) from None


def chat_name(name: str, namespace: str | None) -> str:
    """A function's name; with a namespace before it at most 64 of the characters that every vendor takes."""
    return _short(_ODD.sub("_", f"{namespace}__{name}")) if namespace else name


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[:55]}_{sha256(name.encode()).hexdigest()[:8]}"
