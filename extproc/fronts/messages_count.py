"""How many input tokens an Anthropic Messages request has, about.

Rule: what the client sent is counted, never what a gateway adds (router-for-me/CLIProxyAPI#4104, 2026).
"""

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from extproc.fronts.messages_blocks import Block, Message, Source, Tool
from extproc.fronts.messages_content import words
from extproc.text.tokens import MANY, image_tokens, tokens

_PER_MESSAGE = 4
_PER_TOOL = 8


class Conversation(Struct, frozen=True):
    """What a request says and shows."""

    system: str | list[Block]
    messages: list[Message]
    tools: list[Tool]

    def tokens(self, samples: int = MANY) -> int:
        """At least 1. `samples`: see `estimate.tokens`."""
        contents = [self.system, *(message.content for message in self.messages)]
        texts = [text for content in contents for text in _texts(content)]
        for tool in self.tools:
            texts += (tool.name or "", tool.description or "", bytes(tool.input_schema).decode())
        images = sum(image_tokens(source.data) for content in contents for source in _images(content))
        around = _PER_MESSAGE * len(self.messages) + _PER_TOOL * len(self.tools)
        return max(1, tokens("\n".join(texts), samples) + images + around)


def _texts(content: Any) -> Iterator[str]:
    match content:
        case str():
            yield content
        case list():
            for block in content:
                yield from _texts(block)
        case Block(type="tool_use" | "server_tool_use"):
            yield content.name or ""
            yield bytes(content.input).decode()
        case Block(source=Source() as source):
            yield content.title or ""
            yield from _texts(source.data if source.type == "text" else source.content)
        case Block():
            yield from filter(None, (content.title, content.text, content.thinking))
            yield from _texts(content.content)
        case _:
            yield words(content)


def _images(content: Any) -> Iterator[Source]:
    for block in content if isinstance(content, list) else ():
        if block.type == "image" and isinstance(block.source, Source):
            yield block.source
        yield from _images(block.content)
