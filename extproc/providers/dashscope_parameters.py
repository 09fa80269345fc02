"""What a chat asks of a Qwen model, in the terms that its family takes: thinking, forced tools, ranges, limits.

Rule: works on OpenAI's body, so native and compatible mode are served alike; what is not asked is not sent. Facts about
families stand in `families.py`. Sources: DashScope API reference (help.aliyun.com, 2026); effort and budget:
anomalyco/models.dev#3349, anomalyco/opencode#41531; forced tools: cloudwego/eino#994, QwenLM/qwen-code#7659,
agentscope-ai/agentscope#1608 (2026).
"""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Raw

from extproc.providers.families import Family
from extproc.terms.errors import InvalidParameter
from extproc.text import jsontext
from extproc.text.jsontext import NULL, Fields, NotJson

_LEVELS: Final[Mapping[str, int]] = {"low": 4_096, "medium": 16_384}
"""Tokens of thinking that an effort stands for; a higher one is the family's most."""
_OFF: Final = ("none", "minimal")

_TRUE, _FALSE, _AUTO = jsontext.TRUE, Raw(b"false"), Raw(b'"auto"')
_FREE: Final = (b'"auto"', b'"none"', b"null")

_THINKING: Final = frozenset({"reasoning_effort", "enable_thinking", "thinking_budget", "tool_choice"})
_RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "temperature": (0, 1.999999),  # [0, 2), OpenAI's is [0, 2]
    "presence_penalty": (-2, 2),
    "top_logprobs": (0, 5),  # OpenAI's is [0, 20]
}
_LIMITS: Final = ("max_tokens", "max_completion_tokens")
_CONCERNED: Final = _THINKING | _RANGES.keys() | frozenset(_LIMITS)


def settle(fields: Fields, family: Family, *, native: bool, stream: bool, effort: str | None) -> tuple[str, ...]:
    """Put a chat body into the terms of a model's family, in place; the names of members that could not be.

    `native`: for the native API, which has no `reasoning_effort`. `stream`: how the vendor will be asked. `effort`: the
    `reasoning_effort` of a client that says nothing of thinking. Raises `InvalidParameter` for values of a wrong type.
    """
    dropped: tuple[str, ...] = ()
    if not fields.keys().isdisjoint(_CONCERNED):
        _limit(fields, family)
        if not fields.keys().isdisjoint(_THINKING):
            dropped = _think(fields, family, native=native, effort=effort)
        elif effort is not None:
            _default(fields, family, effort, native=native)
    elif effort is not None:
        _default(fields, family, effort, native=native)
    if family.thinks_streaming and not stream:
        fields.setdefault("enable_thinking", _FALSE)
    return dropped


def load(raw: Raw, param: str) -> Any:
    """A member's value. Raises `InvalidParameter`."""
    try:
        return jsontext.load(raw)
    except NotJson as error:
        raise InvalidParameter(f"{param} cannot be read: {error}", param=param) from None


def _number(fields: Fields, name: str) -> float | None:
    """A member that is a number; others are the vendor's to refuse."""
    if (raw := fields.get(name, NULL)) == NULL:
        return None
    value = jsontext.peek(raw)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _limit(fields: Fields, family: Family) -> None:
    for name, (least, most) in _RANGES.items():
        if name in fields and (value := _number(fields, name)) is not None and not least <= value <= most:
            fields[name] = jsontext.raw(min(max(value, least), most))
    for name in _LIMITS if family.output is not None else ():
        if (value := _number(fields, name)) is not None and value > (family.output or 0):
            fields[name] = jsontext.raw(family.output)


def _default(fields: Fields, family: Family, effort: str, *, native: bool) -> None:
    """The effort of a client that said nothing."""
    if family.efforts and not native:
        fields["reasoning_effort"] = jsontext.raw(effort if effort in family.efforts else family.efforts[0])
    elif effort in _OFF:
        if family.thinks == "unasked":
            fields["enable_thinking"] = _FALSE
    elif family.thinks in ("asked", "unasked"):
        fields["enable_thinking"] = _TRUE
        _budget(fields, family, effort)


def _think(fields: Fields, family: Family, *, native: bool, effort: str | None) -> tuple[str, ...]:
    """Whether, and how much, the model thinks. An own `enable_thinking` wins over a `thinking_budget`, which wins over
    an effort; a client that says only which tool it wants has not asked for thinking."""
    said = load(fields.get("reasoning_effort", NULL), "reasoning_effort")
    switch, given = fields.get("enable_thinking", NULL), _number(fields, "thinking_budget")
    speaks = said is not None or switch != NULL or given is not None
    if not speaks and effort is not None:
        _default(fields, family, effort, native=native)
        switch = fields.get("enable_thinking", NULL)
    asked = speaks and (switch == _TRUE if switch != NULL else bool(given) or (said is not None and said not in _OFF))
    dropped = []
    if said is not None and _effort(fields, family, said, asked=asked, native=native):
        dropped.append("reasoning_effort")
    if given is not None and given > 0 and asked:
        _cap(fields, family, int(given))
        if family.thinks == "asked":
            fields.setdefault("enable_thinking", _TRUE)
    if bytes(fields.get("tool_choice", NULL)) not in _FREE and _force(fields, family, asked=asked):
        dropped.append("tool_choice")
    return tuple(dropped)


def _effort(fields: Fields, family: Family, said: Any, *, asked: bool, native: bool) -> bool:
    """`reasoning_effort` in the family's terms; whether nothing became of it."""
    told = fields.get("enable_thinking", NULL) != NULL
    if family.efforts and not native and not told and _number(fields, "thinking_budget") is None:
        if said in _OFF and said not in family.efforts:
            fields["reasoning_effort"] = jsontext.raw(family.efforts[0])
        return False
    fields.pop("reasoning_effort", None)
    if family.thinks == "never":
        return said not in _OFF
    if family.thinks == "always" and not asked:
        return not told
    if not told:
        fields["enable_thinking"] = _TRUE if asked else _FALSE
    if asked and fields.get("thinking_budget", NULL) == NULL:
        _budget(fields, family, said)
    return False


def _budget(fields: Fields, family: Family, effort: Any) -> None:
    """Tokens in the place of an effort. Both together are a 400."""
    tokens = _LEVELS.get(effort) if isinstance(effort, str) else None
    if tokens is None:
        tokens = family.budget
    if tokens is not None:
        fields.pop("thinking_budget", None)
        _cap(fields, family, tokens, new=True)


def _cap(fields: Fields, family: Family, tokens: int, *, new: bool = False) -> None:
    """A budget within what the family takes, and below `max_tokens` where that counts thinking: nothing would be left
    for the answer."""
    most = tokens if family.budget is None else min(tokens, family.budget)
    if family.limits == "everything":
        limits = [int(limit) for name in _LIMITS if (limit := _number(fields, name)) is not None]
        most = max(1, min([most, *(limit - 1 for limit in limits)]))
    if new or most != tokens:
        fields["thinking_budget"] = jsontext.raw(most)


def _force(fields: Fields, family: Family, *, asked: bool) -> bool:
    """A model that thinks refuses to be told which tool to use; whether the choice had to go.

    Who did not ask for thinking wants the tool: every library for structured output forces one."""
    if family.forced or family.thinks == "never" or fields.get("enable_thinking", NULL) == _FALSE:
        return False
    if asked or family.thinks == "always":
        fields["tool_choice"] = _AUTO
        return True
    if family.thinks == "unasked" or fields.get("enable_thinking") == _TRUE:
        fields["enable_thinking"] = _FALSE
        fields.pop("thinking_budget", None)
    return False
