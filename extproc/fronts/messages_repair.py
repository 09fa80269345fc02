"""What is put right in an Anthropic Messages request for a vendor that speaks it.

Rule: what needs nothing keeps its bytes. Own is Anthropic itself; others lack what came with its betas.
"""

from typing import Any, Final

from msgspec import Raw

from extproc.fronts.messages_content import BILLING
from extproc.providers.traits import Traits
from extproc.text import jsontext
from extproc.text.jsontext import NULL, Fields, NotJson

SIGNATURE: Final = "YWktcHJveHk6"
"""How our signatures begin. A thinking block without one makes Claude Code drop the turn
(nielspeter/claude-code-proxy#17, 2026); nobody reads it, and nobody else can vouch for it."""

OF_BETAS: Final = ("betas", "container", "context_management", "diagnostics", "mcp_servers", "output_format", "speed")
"""Members that a vendor without the beta refuses (decolua/9router#3797, 2026)."""

OF_BETAS_IN_TOOLS: Final = ("allowed_callers", "defer_loading", "eager_input_streaming", "input_examples")
"""The same of tools (anthropic 2.14.0's types). Claude Code sends the second, `output_config` within a message, and
marks for the cache with a `scope` (run 2026-11-30, 2.1.332)."""

_ANTHROPICS: Final = ("redacted_thinking", "tool_search_tool_")
"""Blocks and tools that nobody else can read; the latter is nothing without `defer_loading`."""

_ANYWHERE: Final = (BILLING.encode(), b'"ttl"', b'"scope"', b"\\u00")
_WORTH_A_LOOK: Final = {
    "system": _ANYWHERE,
    "messages": (*_ANYWHERE, b'"system"', b'thinking"', b'"output_config"'),
    "tools": (*_ANYWHERE, b"tool_search_tool_", *(f'"{name}"'.encode() for name in OF_BETAS_IN_TOOLS)),
}

_BUDGETS: Final = {"low": 4096, "medium": 16384}
_LARGEST_BUDGET: Final = 32000
_SMALLEST_BUDGET: Final = 1024


def repair(fields: Fields, traits: Traits, *, own: bool) -> tuple[Fields, tuple[str, ...]]:
    """The body as its vendor takes it, and what was dropped of it. `own`: it goes to Anthropic."""
    mended = dict(fields)
    dropped = [] if own else [name for name in OF_BETAS if mended.pop(name, NULL) != NULL]
    timed = own or traits.cache_ttl
    for name, marks in _WORTH_A_LOOK.items():
        given = bytes(mended.get(name, b""))
        if given.startswith(b"[") and any(mark in given for mark in marks):
            mended[name] = Raw(_list(given, own=own, timed=timed))
    if not own:
        _alone(mended, timed=timed)
    system = jsontext.peek(mended.get("system", NULL))
    if system == [] or (isinstance(system, str) and system.startswith(BILLING)):
        del mended["system"]
    if not traits.adaptive:
        _without_adaptive(mended, dropped)
    return mended, tuple(dropped)


def _list(given: bytes, *, own: bool, timed: bool) -> bytes:
    """Messages, blocks or tools. A message that is left empty goes. `timed`: marks for the cache may have a time."""
    items = jsontext.items(given)
    kept = [mended for item in items if (mended := _item(item, own=own, timed=timed)) is not None]
    return given if kept == items else jsontext.dump(kept)


def _item(item: Raw, *, own: bool, timed: bool) -> Raw | None:
    try:
        opened = jsontext.fields(item)
    except NotJson:  # the vendor's to refuse
        return item
    mended = dict(opened)
    kind, role = (jsontext.peek(opened.get(name, NULL)) for name in ("type", "role"))
    if kind == "thinking" and _nobodys(jsontext.peek(opened.get("signature", NULL))):
        return None
    if not own and isinstance(kind, str) and kind.startswith(_ANTHROPICS):
        return None
    if kind == "text" and _text(opened).startswith(BILLING):
        return None
    if role is not None and _text(opened, "content").startswith(BILLING):
        return None
    if not own:
        if role == "system":
            mended["role"] = jsontext.raw("user")
        for name in ("output_config",) if role is not None else OF_BETAS_IN_TOOLS:
            mended.pop(name, None)
        _alone(mended, timed=timed)
    content = bytes(opened.get("content", b""))
    if content.startswith(b"["):
        if any(mark in content for mark in _WORTH_A_LOOK["messages"]):
            content = _list(content, own=own, timed=timed)
        if role is not None and content == b"[]":
            return None
        mended["content"] = Raw(content)
    return item if mended == opened else jsontext.raw(mended)


def _alone(block: Fields, *, timed: bool) -> None:
    """A mark for the cache as every vendor takes it, without what came with betas, in place."""
    if "cache_control" in block and isinstance(mark := jsontext.peek(block["cache_control"]), dict):
        kept = {name: mark[name] for name in ("type", "ttl") if name in mark and (timed or name != "ttl")}
        if len(kept) < len(mark):
            block["cache_control"] = jsontext.raw(kept)


def _text(block: Fields, name: str = "text") -> str:
    text = jsontext.peek(block.get(name, NULL))
    return text if isinstance(text, str) else ""


def _nobodys(signature: Any) -> bool:
    return not signature or (isinstance(signature, str) and signature.startswith(SIGNATURE))


def _without_adaptive(fields: Fields, dropped: list[str]) -> None:
    """Thinking as much as it likes is thinking within a budget there, by the client's effort."""
    effort = jsontext.peek(fields.get("output_config", NULL), "effort")
    if "output_config" in fields:
        dropped.append("output_config")
        del fields["output_config"]
    if jsontext.peek(fields.get("thinking", NULL), "type") not in ("adaptive", "between_tools"):
        return
    most = jsontext.whole(jsontext.peek(fields.get("max_tokens", NULL))) or 0
    budget = min(_BUDGETS.get(effort if isinstance(effort, str) else "", _LARGEST_BUDGET), most - 1)
    if budget < _SMALLEST_BUDGET:
        dropped.append("thinking")
        del fields["thinking"]
    else:
        fields["thinking"] = jsontext.raw({"type": "enabled", "budget_tokens": budget})
