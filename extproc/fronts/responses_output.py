"""The items of a Responses answer, each with the events that tell of it.

Rule: one class per kind of item; it is opened, spoken to and closed, and what it gives at its end is the item as it
stands in the response. Source: OpenAI API reference, "Streaming", and its SDK's types (openai 3.54.0), 2026-11-30.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final, Protocol

from extproc.fronts import thoughts
from extproc.fronts.freeform import Freeform
from extproc.fronts.responses_tools import Kind, Named
from extproc.text import jsontext
from extproc.text.jsontext import NotJson

Item = dict[str, Any]


class Events(Protocol):
    """Where events go."""

    def event(self, type: str, members: dict[str, Any]) -> None: ...

    def piece(self, head: bytes, text: str) -> None: ...


class Output(ABC):
    """An item that is being made. `place`: its index in the answer."""

    delta: str
    """The type of its deltas."""

    def __init__(self, events: Events, id: str, place: int) -> None:
        self._events = events
        self._id = id
        self._place = place
        self._texts: list[str] = []
        self._head = b""

    @abstractmethod
    def item(self, status: str) -> Item:
        """The item with what was said so far."""

    def open(self) -> None:
        self._added(self.item("in_progress"))
        self._head = self._delta_head({})

    def say(self, text: str, logprobs: Any) -> None:
        if text:
            self._texts.append(text)
            self._events.piece(self._head, text)

    @abstractmethod
    def close(self, status: str) -> Item:
        """Tell that it is over."""

    @property
    def text(self) -> str:
        return "".join(self._texts)

    @property
    def at(self) -> dict[str, Any]:
        return {"item_id": self._id, "output_index": self._place}

    def _delta_head(self, more: dict[str, Any]) -> bytes:
        body = jsontext.dump({"type": self.delta, **self.at, **more})
        return b'event: %b\ndata: %b,"delta":' % (self.delta.encode(), body[:-1])

    def _added(self, item: Item) -> None:
        self._events.event("response.output_item.added", {"output_index": self._place, "item": item})

    def _done(self, item: Item) -> Item:
        self._events.event("response.output_item.done", {"output_index": self._place, "item": item})
        return item


class _Parted(Output):
    """An item whose text is in its one content part."""

    kind: str
    """Of the part, and of its events."""
    member: str = "text"
    """Where the part has its text."""

    def open(self) -> None:
        self._empty()
        self._events.event("response.content_part.added", {**self._within, "part": self.part()})
        self._head = self._delta_head({"content_index": 0, **self.beside()})

    @abstractmethod
    def _empty(self) -> None: ...

    def part(self) -> Item:
        return {"type": self.kind, self.member: self.text}

    def beside(self) -> dict[str, Any]:
        """Members of each delta."""
        return {}

    @property
    def _within(self) -> dict[str, Any]:
        return {**self.at, "content_index": 0}

    def close(self, status: str) -> Item:
        part = self.part()
        more = {"logprobs": part["logprobs"]} if "logprobs" in part else {}
        told = {**self._within, self.member: part[self.member], **more}
        self._events.event(self.delta.removesuffix("delta") + "done", told)
        self._events.event("response.content_part.done", {**self._within, "part": part})
        return self._done(self.item(status))


class Thinking(_Parted):
    """`encrypted`: the opaque form is wanted beside the text."""

    kind, delta = "reasoning_text", "response.reasoning_text.delta"

    def __init__(self, events: Events, id: str, place: int, *, encrypted: bool) -> None:
        super().__init__(events, id, place)
        self._encrypted = encrypted

    def item(self, status: str) -> Item:
        item = {"id": self._id, "type": "reasoning", "summary": [], "content": [self.part()], "status": status}
        return {**item, "encrypted_content": thoughts.closed(self.text)} if self._encrypted else item

    def _empty(self) -> None:
        self._added({"id": self._id, "type": "reasoning", "summary": [], "content": [], "status": "in_progress"})


class Message(_Parted):
    """A text, or a refusal."""

    def __init__(self, events: Events, id: str, place: int, *, refusal: bool) -> None:
        super().__init__(events, id, place)
        self._refusal = refusal
        self.kind = "refusal" if refusal else "output_text"
        self.member = "refusal" if refusal else "text"
        self.delta = f"response.{self.kind}.delta"
        self._annotations: list[Any] = []
        self._logprobs: list[Any] = []

    def item(self, status: str) -> Item:
        return self._message([self.part()], status)

    def _message(self, content: list[Item], status: str) -> Item:
        return {"id": self._id, "type": "message", "role": "assistant", "status": status, "content": content}

    def _empty(self) -> None:
        self._added(self._message([], "in_progress"))

    def part(self) -> Item:
        if self._refusal:
            return super().part()
        return {**super().part(), "annotations": list(self._annotations), "logprobs": list(self._logprobs)}

    def beside(self) -> dict[str, Any]:
        return {} if self._refusal else {"logprobs": []}

    def say(self, text: str, logprobs: Any) -> None:
        known = logprobs.get("content") if isinstance(logprobs, dict) else None
        if not isinstance(known, list) or not known or self._refusal:
            super().say(text, None)
            return
        self._texts.append(text)
        told = [_logprob(one) for one in known if isinstance(one, dict)]
        self._logprobs += told
        self._events.event(self.delta, {**self._within, "delta": text, "logprobs": told})

    def annotate(self, annotation: Any) -> None:
        """One of chat's, which has what is flat here under the name of its type."""
        if self._refusal or not isinstance(annotation, dict):
            return
        inner = annotation.get(str(annotation.get("type")))
        flat = {"type": annotation.get("type"), **inner} if isinstance(inner, dict) else annotation
        told = {**self._within, "annotation_index": len(self._annotations), "annotation": flat}
        self._events.event("response.output_text.annotation.added", told)
        self._annotations.append(flat)


def _logprob(one: dict[str, Any]) -> dict[str, Any]:
    """One token's, with the members that the SDK requires and chat may leave out."""
    top = [_logprob(other) for other in one.get("top_logprobs") or () if isinstance(other, dict)]
    told = {"token": one.get("token", ""), "bytes": one.get("bytes") or [], "logprob": one.get("logprob", 0.0)}
    return {**told, "top_logprobs": top} if "top_logprobs" in one else told


class Function(Output):
    """The call of a function."""

    delta = "response.function_call_arguments.delta"

    def __init__(self, events: Events, id: str, place: int, named: Named, call_id: str) -> None:
        super().__init__(events, id, place)
        self._named = named
        self._call_id = call_id

    def item(self, status: str) -> Item:
        item = {"id": self._id, "type": "function_call", "status": status, "call_id": self._call_id}
        return {**item, **_names(self._named), "arguments": self.text}

    def close(self, status: str) -> Item:
        if not self.text.strip():
            self.say("{}", None)
        told = {**self.at, "name": self._named.name, "arguments": self.text}
        self._events.event("response.function_call_arguments.done", told)
        return self._done(self.item(status))


def _names(named: Named) -> dict[str, str]:
    return {"name": named.name} if named.namespace is None else {"name": named.name, "namespace": named.namespace}


class Freehand(Output):
    """The call of a freeform tool, whose input comes wrapped in a function's arguments."""

    delta = "response.custom_tool_call_input.delta"

    def __init__(self, events: Events, id: str, place: int, named: Named, call_id: str) -> None:
        super().__init__(events, id, place)
        self._named = named
        self._call_id = call_id
        self._input = Freeform()

    def item(self, status: str) -> Item:
        item = {"id": self._id, "type": "custom_tool_call", "status": status, "call_id": self._call_id}
        return {**item, **_names(self._named), "input": self.text}

    def say(self, text: str, logprobs: Any) -> None:
        super().say(self._input.feed(text), None)

    def close(self, status: str) -> Item:
        super().say(self._input.close(), None)
        self._events.event("response.custom_tool_call_input.done", {**self.at, "input": self.text})
        return self._done(self.item(status))


_KINDS: Final[dict[Kind, tuple[str, str]]] = {
    "local_shell": ("local_shell_call", "lsh"),
    "shell": ("shell_call", "sh"),
    "apply_patch": ("apply_patch_call", "apc"),
}


class Local(Output):
    """The call of a tool that the client carries out and that has an item of its own: it is told when it is complete,
    since its arguments are members of the item. One whose arguments do not fit is a function's."""

    delta = ""

    def __init__(self, events: Events, mint: Callable[[str], str], place: int, kind: Kind, call_id: str) -> None:
        self._type, prefix = _KINDS[kind]
        super().__init__(events, mint(prefix), place)
        self._mint = mint
        self._kind = kind
        self._call_id = call_id

    def open(self) -> None:
        """Not before it is complete."""

    def say(self, text: str, logprobs: Any) -> None:
        self._texts.append(text)

    def item(self, status: str) -> Item:
        if (arguments := _arguments(self._kind, self.text)) is None:
            item = {"id": self._id, "type": "function_call", "status": status, "call_id": self._call_id}
            return {**item, "name": self._kind, "arguments": self.text}
        return {"id": self._id, "type": self._type, "status": status, "call_id": self._call_id, **arguments}

    def close(self, status: str) -> Item:
        if _arguments(self._kind, self.text) is None:
            call = Function(self._events, self._mint("fc"), self._place, Named("function", self._kind), self._call_id)
            call.open()
            call.say(self.text, None)
            return call.close(status)
        item = self.item("completed")  # complete, or its arguments would not fit
        self._added({**item, "status": "in_progress"})
        return self._done(item)


def _arguments(kind: Kind, text: str) -> Item | None:
    """A function's arguments as the member of an item; None for what does not fit. Models know these tools in several
    forms: the members by themselves or within `action` or `operation`, a command as a text."""
    try:
        given = jsontext.load(text.encode("utf-8", "surrogatepass"))
    except NotJson:
        return None
    if not isinstance(given, dict):
        return None
    optional: tuple[str, ...]
    member = "operation" if kind == "apply_patch" else "action"
    if isinstance(inner := given.get(member), dict):
        given = inner
    match kind:
        case "local_shell":
            command = given.get("command", given.get("commands"))
            command = ["bash", "-lc", command] if isinstance(command, str) else command
            env = given.get("env")
            made = {"type": "exec", "command": command, "env": env if isinstance(env, dict) else {}}
            fits, optional = _texts(command), ("timeout_ms", "user", "working_directory")
        case "shell":
            commands = given.get("commands", given.get("command"))
            commands = [commands] if isinstance(commands, str) else commands
            made = {"commands": commands}
            fits, optional = _texts(commands), ("timeout_ms", "max_output_length")
        case _:
            made, optional = {"type": given.get("type"), "path": given.get("path")}, ("diff",)
            changes = made["type"] in ("create_file", "update_file")
            fits = isinstance(made["path"], str) and (
                isinstance(given.get("diff"), str) if changes else made["type"] == "delete_file"
            )
            if fits and not changes:
                optional = ()
    if not fits:
        return None
    return {member: {**made, **{name: given[name] for name in optional if given.get(name) is not None}}}


def _texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, str) for one in value)
