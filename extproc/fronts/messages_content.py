"""The conversation of an Anthropic Messages request as turns of a chat.

Rule: every type of block is decided here, once; what a chat cannot say and does not need goes, what it needs and cannot
say is the client's 400.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from extproc.fronts.messages_blocks import Block, Message, Source
from extproc.fronts.turns import Part, Turns, text_part
from extproc.providers.traits import Traits
from extproc.terms.deltas import Tool
from extproc.terms.errors import InvalidParameter

BILLING: Final = "x-anthropic-billing-header:"
"""How a text of Claude Code's begins that differs each time, which would defeat a vendor's prompt cache."""

_CACHED: Final = {"type": "ephemeral"}
"""Without `ttl`, which makes most vendors refuse (BerriAI/litellm#38790, 2026)."""

_CALLS: Final = ("server_tool_use", "mcp_tool_use", "redacted_thinking", "container_upload", "fallback")
"""Blocks of earlier turns that are nobody's to answer any more."""


@dataclass(slots=True)
class Content:
    """Reads messages one by one into `turns`."""

    turns: Turns
    traits: Traits
    dropped: list[str] = field(default_factory=list)

    def system(self, content: str | Sequence[Block]) -> None:
        """Texts as one system message, of parts where a mark for the vendor's cache stands on one."""
        if parts := self._texts(content):
            self.turns.system(parts)

    def add(self, message: Message, at: str) -> None:
        """`at`: the message's place. Raises `InvalidParameter`."""
        match message.role:
            case "system":
                self.system(message.content)
            case "user":
                self._user(message.content, at)
            case "assistant":
                self._assistant(message.content, at)
            case _:
                raise InvalidParameter(f"{at}.role must be user, assistant or system", param="messages")

    def _user(self, content: str | Sequence[Block], at: str) -> None:
        if isinstance(content, str):
            if content and not content.startswith(BILLING):
                self.turns.user([text_part(content)])
            return
        said: list[Part] = []
        for place, block in enumerate(content):
            where = f"{at}.content[{place}]"
            if block.type == "tool_result":
                said += self._result(block, where)
            else:
                said += self._parts(block, where)
        self.turns.user(said)

    def _result(self, block: Block, at: str) -> list[Part]:
        """A call's result; the parts of one whose call is not there, for the user to have said."""
        if isinstance(block.content, str):
            parts = [text_part(block.content)]
        else:
            given = block.content if isinstance(block.content, list) else []
            parts = [part for place, one in enumerate(given) for part in self._parts(one, f"{at}.content[{place}]")]
        if block.is_error:
            first = next((part for part in parts if part["type"] == "text"), None)
            if first is None:
                parts.insert(0, first := text_part(""))
            first["text"] = f"Error: {first['text']}"
        if mark := self._mark(block):
            texts = [part for part in parts if part["type"] == "text"]
            if texts:
                texts[-1].update(mark)
        return [] if self.turns.result(block.tool_use_id or "", parts) else parts

    def _assistant(self, content: str | Sequence[Block], at: str) -> None:
        if isinstance(content, str):
            self.turns.says(content)
            return
        for place, block in enumerate(content):
            match block.type:
                case "thinking":
                    self.turns.thinks(block.thinking or "")
                case "tool_use":
                    if not block.id or not block.name:
                        raise InvalidParameter(f"{at}.content[{place}]: a tool_use has id and name", param="messages")
                    self.turns.calls(Tool(block.id, block.name, bytes(block.input).decode()))
                case _:
                    for part in self._parts(block, f"{at}.content[{place}]"):
                        if part["type"] != "text":
                            raise InvalidParameter(
                                f"{at}.content[{place}]: an assistant's {block.type} cannot be said to this model",
                                param="messages",
                            )
                        self.turns.says(**{k: v for k, v in part.items() if k != "type"})

    def _texts(self, content: str | Sequence[Block]) -> list[Part]:
        """The texts of a system message."""
        if isinstance(content, str):
            return [text_part(content)] if content and not content.startswith(BILLING) else []
        return [
            {**text_part(block.text), **self._mark(block)}
            for block in content
            if block.text and not block.text.startswith(BILLING)
        ]

    def _mark(self, block: Block) -> dict[str, Any]:
        if block.cache_control is None:
            return {}
        if self.traits.cache_control:
            ttl = block.cache_control.get("ttl") if self.traits.cache_ttl else None
            return {"cache_control": {**_CACHED, "ttl": ttl} if isinstance(ttl, str) else _CACHED}
        self.dropped.append("cache_control")
        return {}

    def _parts(self, block: Block, at: str) -> list[Part]:
        """A block as parts of a user's message; none for what has nothing to say."""
        match block.type:
            case "text":
                parts = [text_part(block.text)] if block.text and not block.text.startswith(BILLING) else []
            case "image":
                parts = [_image(block.source, at)]
            case "document":
                parts = self._document(block, at)
            case "search_result":
                source = block.source if isinstance(block.source, str) else ""
                parts = _text("\n".join(filter(None, (block.title, source, words(block.content)))))
            case kind if kind in _CALLS:
                parts = []
            case _:  # results of tools that ran at Anthropic's, and what there may be tomorrow
                parts = _text(block.text or block.tool_name or words(block.content))
        if parts and (mark := self._mark(block)):
            parts[-1].update(mark)
        return parts

    def _document(self, block: Block, at: str) -> list[Part]:
        source = block.source if isinstance(block.source, Source) else Source()
        match source.type:
            case "text":
                return _text("\n".join(filter(None, (block.title, source.data))))
            case "content":
                given = source.content or ""
                inner = [Block("text", text=given)] if isinstance(given, str) else given
                parts = [part for place, one in enumerate(inner) for part in self._parts(one, f"{at}.source[{place}]")]
                words = [part["text"] for part in parts if part["type"] == "text"]
                text = _text("\n".join(filter(None, (block.title, *words))))
                return [*text, *(part for part in parts if part["type"] != "text")]
            case "base64" if self.traits.files:
                kind = source.media_type or "application/pdf"
                file = {"filename": block.title or "document.pdf", "file_data": f"data:{kind};base64,{source.data}"}
                return [{"type": "file", "file": file}]
            case kind:
                raise InvalidParameter(
                    f"{at}: this model takes no document of a {kind[:20] or 'missing'} source", param="messages"
                )


def _image(source: Source | str | None, at: str) -> Part:
    match source:
        case Source(type="base64", media_type=str(kind), data=str(data)):
            url = f"data:{kind};base64,{data}"
        case Source(type="url", url=str(url)):
            pass
        case _:
            raise InvalidParameter(
                f"{at}.source: an image comes as base64 with a media_type, or by url", param="messages"
            )
    return {"type": "image_url", "image_url": {"url": url}}


def _text(text: str) -> list[Part]:
    return [text_part(text)] if text else []


_WORDS: Final = ("title", "url", "text", "stdout", "stderr", "content", "error_code")
"""Members of a server tool's result that are for reading."""


def words(content: Any) -> str:
    """The text of a result, whatever its shape."""
    match content:
        case str():
            return content
        case list():
            return "\n".join(filter(None, map(words, content)))
        case Block():
            said = content.text or content.tool_name
            return "\n".join(filter(None, (content.title, content.url, said, words(content.content))))
        case dict():
            return "\n".join(filter(None, (words(content.get(name)) for name in _WORDS)))
        case _:
            return ""
