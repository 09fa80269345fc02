"""Anthropic Messages requests as chat requests.

Rule: the client's fields and what its vendor is like in, chat fields and notes for the answer out; pure. A member that
is neither read nor carried is dropped and named; one without which the answer would be another is the client's 400.
Source: Anthropic API reference, "Messages", and its SDK's types (anthropic 2.14.0), 2026-11-30.
"""

from hashlib import sha256
from typing import Final

from extproc.fronts import front
from extproc.fronts import messages_blocks as shapes
from extproc.fronts.asked import Asked, Words, ask
from extproc.fronts.messages_blocks import OutputConfig, decode
from extproc.fronts.messages_content import Content
from extproc.fronts.messages_count import Conversation
from extproc.fronts.messages_tools import Tools
from extproc.fronts.turns import PRESERVE, Turns
from extproc.providers.traits import Traits
from extproc.terms.errors import InvalidParameter, MissingParameter
from extproc.text import jsontext
from extproc.text.jsontext import NULL, TRUE, Fields

_SAME: Final = ("model", "stream", "temperature", "top_p")
_READ: Final = frozenset(
    "model stream temperature top_p max_tokens messages system tools tool_choice stop_sequences thinking output_config "
    "output_format metadata top_k".split()
)
"""Members that are carried or answered; all others are dropped and named."""

REFUSED: Final = ("mcp_servers", "container")
"""What Anthropic's own servers alone could do."""

_WORDS: Final = Words("thinking", "output_config.effort")

_LONGEST_USER: Final = 64
"""Characters of a user's name that vendors take; Claude Code's is a JSON object of more."""


class Notes(front.Notes, frozen=True):
    """What the answer needs of its request. `stops`: the client's stop sequences."""

    hidden = ("conversation", "stops")

    conversation: Conversation = Conversation("", [], [])
    stops: tuple[str, ...] = ()
    max_tokens: int = 0


def conversation(body: Fields) -> Conversation:
    """What a request says, of whatever API has Messages' members. Raises `MissingParameter`, `InvalidParameter`."""
    for name in ("model", "messages"):
        if body.get(name, NULL) == NULL:
            raise MissingParameter(f"{name}: field required", param=name)
    messages = decode(shapes.MESSAGES, body["messages"], "messages")
    if not messages:
        raise InvalidParameter("messages: at least one message is required", param="messages")
    return Conversation(
        decode(shapes.SYSTEM, body["system"], "system") if body.get("system", NULL) != NULL else "",
        messages,
        decode(shapes.TOOLS, body["tools"], "tools") if body.get("tools", NULL) != NULL else [],
    )


def read(body: Fields, traits: Traits) -> tuple[Fields, Notes]:
    """A Messages body as a chat body, for a vendor that has only chat.

    Raises `MissingParameter` and `InvalidParameter`, each with the member's name.
    """
    given = {name: value for name, value in body.items() if value != NULL}
    for name in REFUSED:
        if name in given and bytes(given[name]) not in (b"[]", b"{}"):
            raise InvalidParameter(f"{name}: only Anthropic has this", param=name)
    asked = conversation(given)
    most = _max_tokens(given)
    output = (
        decode(shapes.OUTPUT, given["output_config"], "output_config") if "output_config" in given else OutputConfig()
    )
    thinking = decode(shapes.THINKING, given["thinking"], "thinking") if "thinking" in given else None
    dropped = [name for name in given if name not in _READ and not (traits.preserves and name == PRESERVE)]
    fields: Fields = {name: given[name] for name in _SAME if name in given}
    if given.get("stream") == TRUE:
        fields["stream_options"] = jsontext.raw({"include_usage": True})
    if traits.preserves and PRESERVE in given:
        fields[PRESERVE] = given[PRESERVE]
    history = "kept" if fields.get(PRESERVE) == TRUE else traits.thinking
    if thinking is not None and thinking.type == "disabled":
        history = "dropped"
    fields["messages"] = jsontext.raw(_messages(asked, traits, history, dropped))
    # Claude Code asks for 128000 of any model (run 2026-11-30, 2.1.332).
    sent = most if traits.output is None else min(most, traits.output)
    fields["max_tokens"] = jsontext.raw(sent)
    stops = decode(shapes.STOPS, given["stop_sequences"], "stop_sequences") if "stop_sequences" in given else []
    if stops:
        fields["stop"] = given["stop_sequences"]
    if "top_k" in given:
        if traits.top_k:
            fields["top_k"] = given["top_k"]
        else:
            dropped.append("top_k")
    tools = Tools(asked.tools, traits)
    tools.write(decode(shapes.CHOICE, given["tool_choice"], "tool_choice") if "tool_choice" in given else None, fields)
    dropped += tools.dropped
    kind, budget = (None, None) if thinking is None else (thinking.type, thinking.budget_tokens)
    dropped += ask(Asked(kind, budget, output.effort), fields, traits, sent, _WORDS)
    form = decode(shapes.FORMAT, given["output_format"], "output_format") if "output_format" in given else output.format
    if form is not None and bytes(form.schema).startswith(b"{"):
        schema = {"name": "answer", "schema": form.schema, "strict": True}
        fields["response_format"] = jsontext.raw({"type": "json_schema", "json_schema": schema})
    _user(given, traits, fields, dropped)
    return fields, Notes(dropped=tuple(dict.fromkeys(dropped)), conversation=asked, stops=tuple(stops), max_tokens=most)


def _max_tokens(given: Fields) -> int:
    if "max_tokens" not in given:
        raise MissingParameter("max_tokens: field required", param="max_tokens")
    most = decode(shapes.COUNT, given["max_tokens"], "max_tokens")
    if most < 1:
        raise InvalidParameter("max_tokens: must be at least 1", param="max_tokens")
    return most


def _messages(asked: Conversation, traits: Traits, thinking: str, dropped: list[str]) -> list[dict[str, object]]:
    turns = Turns(thinking=thinking, system_first=traits.system_first)
    content = Content(turns, traits, dropped)
    content.system(asked.system)
    for place, message in enumerate(asked.messages):
        content.add(message, f"messages[{place}]")
    if not (messages := turns.messages()):
        raise InvalidParameter("messages: nothing is said in them", param="messages")
    return messages


def _user(given: Fields, traits: Traits, fields: Fields, dropped: list[str]) -> None:
    if "metadata" not in given:
        return
    user = decode(shapes.METADATA, given["metadata"], "metadata").get("user_id")
    if not isinstance(user, str):
        return
    if not traits.user:
        dropped.append("metadata.user_id")
        return
    digest = sha256(user.encode("utf-8", "replace")).hexdigest()
    fields["user"] = jsontext.raw(user if len(user) <= _LONGEST_USER else digest)
