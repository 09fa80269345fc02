"""What stands in an Anthropic Messages request, as typed data.

Rule: shapes alone. Members that no front needs are skipped; `input` and schemas stay the bytes that they came as.
Source: the types of Anthropic's SDK (anthropic 2.14.0), 2026-11-30.
"""

import json
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct

from extproc.terms.errors import InvalidParameter
from extproc.text import jsontext
from extproc.text.jsontext import NotJson

NO_INPUT = Raw(b"{}")
ABSENT = Raw(b"")


class Source(Struct):
    """Where an image or a document comes from."""

    type: str = ""
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    content: "str | list[Block] | None" = None


class Block(Struct):
    """One piece of a message's content; which members count is its type's to say."""

    type: str
    text: str | None = None
    source: Source | str | None = None
    title: str | None = None
    url: str | None = None
    id: str | None = None
    name: str | None = None
    input: Raw = NO_INPUT
    tool_use_id: str | None = None
    content: "str | list[Block] | dict[str, Any] | None" = None
    is_error: bool | None = None
    thinking: str | None = None
    tool_name: str | None = None
    cache_control: dict[str, Any] | None = None


class Message(Struct):
    role: str
    content: str | list[Block]


class Tool(Struct):
    name: str | None = None
    type: str | None = None
    description: str | None = None
    input_schema: Raw = ABSENT
    strict: bool | None = None
    cache_control: dict[str, Any] | None = None


class Choice(Struct):
    """`tool_choice`."""

    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(Struct):
    type: str
    budget_tokens: int | None = None


class Format(Struct):
    type: str | None = None
    schema: Raw = ABSENT


class OutputConfig(Struct):
    effort: str | None = None
    format: Format | None = None


T = TypeVar("T")

MESSAGES = msgspec.json.Decoder(list[Message])
SYSTEM = msgspec.json.Decoder(str | list[Block])
TOOLS = msgspec.json.Decoder(list[Tool])
CHOICE = msgspec.json.Decoder(Choice)
THINKING = msgspec.json.Decoder(Thinking)
OUTPUT = msgspec.json.Decoder(OutputConfig)
FORMAT = msgspec.json.Decoder(Format)
STOPS = msgspec.json.Decoder(list[str])
COUNT = msgspec.json.Decoder(int)
METADATA = msgspec.json.Decoder(dict[str, Any])


def decode(decoder: "msgspec.json.Decoder[T]", value: Raw, name: str) -> T:
    """A member of a request. Raises `InvalidParameter` with the place of what is wrong."""
    try:
        return decoder.decode(value)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        place = name + where.rstrip("`")
        raise InvalidParameter(f"{place}: {what[:1].lower()}{what[1:]}", param=name) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:  # half of a surrogate pair, which clients make when they cut texts inside an emoji
        return decoder.decode(json.dumps(jsontext.load(value), ensure_ascii=False).encode("utf-8", "replace"))
    except (NotJson, msgspec.DecodeError, RecursionError) as error:
        raise InvalidParameter(f"{name} cannot be read: {error}", param=name) from None
