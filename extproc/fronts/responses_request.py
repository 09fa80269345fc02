"""OpenAI Responses requests as chat requests.

Rule: the client's fields and what its vendor is like in, chat fields and notes for the answer out; pure. Nothing is
kept between requests: what only a server with a memory could do is the client's 400.
Source: OpenAI API reference, "Responses", and its SDK's types (openai 3.54.0), 2026-11-30.
"""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Raw

from extproc.fronts import front, thoughts
from extproc.fronts.asked import Asked, Words, ask
from extproc.fronts.responses_items import Items
from extproc.fronts.responses_tools import Named, Tools
from extproc.fronts.turns import PRESERVE, Turns
from extproc.providers.traits import Traits
from extproc.terms.errors import InvalidParameter, MissingParameter
from extproc.text import jsontext
from extproc.text.jsontext import NULL, TRUE, Fields, NotJson

_WORDS: Final = Words("thinking", "reasoning.effort")

_REMEMBERED: Final = ("previous_response_id", "conversation", "prompt")
"""Members that speak of what a server has kept."""

_SAME: Final = ("model", "stream", "temperature", "top_p", "user")
_READ: Final = frozenset(
    "model stream temperature top_p user input instructions tools tool_choice parallel_tool_calls max_output_tokens "
    "top_logprobs reasoning text include metadata store background previous_response_id conversation prompt".split()
)
"""Members that are carried or answered; all others are dropped and named."""

_BRING_TOOLS: Final = ("additional_tools", "tool_search_output")
"""Items with tools that are there from then on."""

_ENCRYPTED: Final = "reasoning.encrypted_content"
_LOGPROBS: Final = "message.output_text.logprobs"

_ECHOED: Final = (
    "instructions max_output_tokens max_tool_calls metadata parallel_tool_calls reasoning safety_identifier "
    "temperature text tool_choice tools top_logprobs top_p truncation user"
).split()


class Notes(front.Notes, frozen=True):
    """What the answer needs of its request.

    `names`: what functions that are not simply the client's own are. `echo`: members that the answer repeats.
    `encrypted`: thinking is wanted in the opaque form too.
    """

    hidden = ("echo",)

    names: Mapping[str, Named] = {}
    echo: Mapping[str, Raw] = {}
    encrypted: bool = False


def read(body: Fields, traits: Traits) -> tuple[Fields, Notes]:
    """A Responses body as a chat body, for a vendor that has only chat.

    Raises `MissingParameter` and `InvalidParameter`, each with the member's name.
    """
    given = {name: value for name, value in body.items() if value != NULL}
    for name in _REMEMBERED:
        if name in given:
            raise InvalidParameter(f"{name}: the vendor keeps no responses; send the whole input instead", param=name)
    if given.get("background") == TRUE:
        raise InvalidParameter("background: the vendor answers at once only", param="background")
    reasoning, text = _object(given, "reasoning"), _object(given, "text")
    include = _list(given, "include")
    dropped = [name for name in given if name not in _READ and not (traits.preserves and name == PRESERVE)]
    if any(one not in (_ENCRYPTED, _LOGPROBS) for one in include):
        dropped.append("include")
    fields: Fields = {name: given[name] for name in _SAME if name in given}
    if traits.preserves and PRESERVE in given:
        fields[PRESERVE] = given[PRESERVE]
    if given.get("stream") == TRUE:
        fields["stream_options"] = jsontext.raw({"include_usage": True})
    effort = reasoning.get("effort", NULL)
    asked = Asked(effort=said if isinstance(said := jsontext.peek(effort), str) else None)
    history = "kept" if traits.preserves and given.get(PRESERVE) == TRUE else traits.thinking
    if asked.effort == "none":
        history = "dropped"
    tools = Tools(strict=traits.strict)
    turns = Turns(thinking=history, system_first=traits.system_first)
    fields["messages"] = _messages(given, tools, turns, traits, dropped)
    _calling(given, fields, tools, traits, dropped)
    most = jsontext.whole(jsontext.peek(given.get("max_output_tokens", NULL)))
    if most is not None and traits.output is not None and most > traits.output:
        most = traits.output
        fields["max_tokens"] = jsontext.raw(most)
    elif "max_output_tokens" in given:
        fields["max_tokens"] = given["max_output_tokens"]
    if "top_logprobs" in given or _LOGPROBS in include:
        fields["logprobs"] = TRUE
        if "top_logprobs" in given:
            fields["top_logprobs"] = given["top_logprobs"]
    dropped += ask(asked, fields, traits, most, _WORDS)
    if (form := _format(text.get("format", NULL))) is not None:
        fields["response_format"] = jsontext.raw(form)
    if text.get("verbosity", NULL) != NULL:
        if traits.verbosity:
            fields["verbosity"] = text["verbosity"]
        else:
            dropped.append("text.verbosity")
    echo = {name: given[name] for name in _ECHOED if name in given}
    return fields, Notes(
        dropped=tuple(dict.fromkeys(dropped)), names=tools.named(), echo=echo, encrypted=_ENCRYPTED in include
    )


_OURS: Final = f'"{thoughts.VERSION}'.encode()


def repair(body: Fields) -> Fields:
    """A body for a vendor that has Responses itself, without thinking in our opaque form, which it would refuse: after
    a fallback, clients bring what the vendor before was said to have thought."""
    given = bytes(body.get("input", NULL))
    if _OURS not in given or not given.startswith(b"["):
        return body
    items = jsontext.items(body["input"])
    kept = [item for item in items if _OURS not in bytes(item) or not _is_ours(item)]
    return body if len(kept) == len(items) else {**body, "input": jsontext.raw(kept)}


def _is_ours(item: Raw) -> bool:
    found = jsontext.peek(item)
    return isinstance(found, dict) and thoughts.opened(found.get("encrypted_content")) is not None


def _messages(given: Fields, tools: Tools, turns: Turns, traits: Traits, dropped: list[str]) -> Raw:
    value = _load(given, "input")
    if "input" not in given and "instructions" not in given:
        raise MissingParameter("input is missing", param="input")
    if not isinstance(value, str | list | None):
        raise InvalidParameter("input must be a string or an array of items", param="input")
    if "tools" in given:
        tools.add(given["tools"], "tools")
    listed = value if isinstance(value, list) else []
    if any(isinstance(item, dict) and item.get("type") in _BRING_TOOLS for item in listed):
        _add_tools(given["input"], tools)
    instructions = _load(given, "instructions")
    if not isinstance(instructions, str | None):
        raise InvalidParameter("instructions must be a string", param="instructions")
    if instructions:
        turns.system(instructions)
    items = Items(turns, tools, traits.files)
    if isinstance(value, str):
        items.add({"role": "user", "content": value}, "input")
    for place, item in enumerate(listed):
        items.add(item, f"input[{place}]")
    dropped.extend(items.dropped)
    if not (messages := turns.messages()):
        raise InvalidParameter("input must not be empty", param="input")
    return jsontext.raw(messages)


def _add_tools(items: Raw, tools: Tools) -> None:
    """The tools that stand among the items, their schemas untouched."""
    for place, raw in enumerate(jsontext.items(items)):
        if jsontext.peek(raw, "type") in _BRING_TOOLS:
            found = jsontext.fields(raw).get("tools", NULL)
            if found != NULL:
                tools.add(found, f"input[{place}].tools")


def _calling(given: Fields, fields: Fields, tools: Tools, traits: Traits, dropped: list[str]) -> None:
    """`tools`, `tool_choice` and `parallel_tool_calls`: the latter two mean nothing without a tool, and OpenAI
    refuses them then."""
    choice, searches = _load(given, "tool_choice"), tools.searches
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        allowed = [one for one in choice.get("tools") or () if isinstance(one, dict)]
        tools.allow({_function(one, tools) for one in allowed})
        searches = searches and any(str(one.get("type")).startswith("web_search") for one in allowed)
        choice = choice.get("mode", "auto")
    if searches and choice != "none":
        if traits.search:
            fields["enable_search"] = TRUE
        else:
            dropped.append("tools.web_search")
    dropped.extend(tools.dropped)
    if not (functions := tools.chat()):
        return
    fields["tools"] = jsontext.raw(functions)
    if "parallel_tool_calls" in given:
        fields["parallel_tool_calls"] = given["parallel_tool_calls"]
    if isinstance(choice, dict):
        name = _function(choice, tools)
        if any(one["function"]["name"] == name for one in functions):
            choice = {"type": "function", "function": {"name": name}}
        elif choice.get("type") in ("function", "custom"):
            raise InvalidParameter("tool_choice names a tool that is not among the tools", param="tool_choice")
        else:
            choice = "auto"
            dropped.append("tool_choice")
    elif choice == "required" and not traits.required:
        choice = "auto"
        dropped.append("tool_choice")
    if choice is not None:
        fields["tool_choice"] = jsontext.raw(choice)


def _function(choice: Mapping[str, Any], tools: Tools) -> str:
    """The function that a choice of a tool means: by its name, or by its type where it has no name."""
    inner = choice.get("function")
    named = inner if isinstance(inner, dict) else choice
    name, namespace = named.get("name") or choice.get("type"), choice.get("namespace")
    return tools.name(str(name), namespace if isinstance(namespace, str) else None)


def _format(value: Raw) -> dict[str, Any] | None:
    """`text.format` as `response_format`; the schema keeps its bytes."""
    if value == NULL:
        return None
    try:
        form = jsontext.fields(value)
    except NotJson:
        raise InvalidParameter("text.format must be an object", param="text.format") from None
    match kind := jsontext.peek(form.get("type", NULL)):
        case "text":
            return None
        case "json_object":
            return {"type": "json_object"}
        case "json_schema":
            schema = {k: form[k] for k in ("name", "description", "schema", "strict") if form.get(k, NULL) != NULL}
            return {"type": "json_schema", "json_schema": schema}
        case _:
            raise InvalidParameter(f"text.format: there is no type {str(kind)[:40]!r}", param="text.format.type")


def _load(given: Fields, name: str) -> Any:
    try:
        return jsontext.load(given[name]) if name in given else None
    except NotJson as error:
        raise InvalidParameter(f"{name} cannot be read: {error}", param=name) from None


def _object(given: Fields, name: str) -> Fields:
    try:
        return jsontext.fields(given[name]) if name in given else {}
    except NotJson:
        raise InvalidParameter(f"{name} must be an object", param=name) from None


def _list(given: Fields, name: str) -> list[Any]:
    value = _load(given, name)
    if not isinstance(value, list | None):
        raise InvalidParameter(f"{name} must be an array", param=name)
    return value or []
