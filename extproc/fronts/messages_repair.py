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

_BUDGETS: Final = {"low": 4096, "medium": 16384}
_LARGEST_BUDGET: Final = 32000
_SMALLEST_BUDGET: Final = 1024


def repair(fields: Fields, traits: Traits, *, own: bool) -> tuple[Fields, tuple[str, ...]]:
    """The body as its vendor takes it, and what was dropped of it. `own`: it goes to Anthropic."""
    mended = dict(fields)
    dropped = [] if own else [name for name in OF_BETAS if mended.pop(name, NULL) != NULL]
    for name in ("system", "messages", "tools"):
        given = bytes(mended.get(name, b""))
        if given.startswith(b"["):
            mended[name] = Raw(_list(given, own=own, timed=own or traits.cache_ttl))
    system = jsontext.peek(mended.get("system", NULL))
    if system == [] or (isinstance(system, str) and system.startswith(BILLING)):
        del mended["system"]
    if not traits.adaptive:
        _without_adaptive(mended, dropped)
    return mended, tuple(dropped)


_WORTH_A_LOOK: Final = (BILLING.encode(), b'"ttl"', b'"system"', b'"thinking"', b"\\u00")


def _list(given: bytes, *, own: bool, timed: bool) -> bytes:
    """Messages, blocks or tools. A message that is left empty goes. `timed`: marks for the cache may have a time."""
    if not any(mark in given for mark in _WORTH_A_LOOK):
        return given
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
    if kind == "text" and _text(opened).startswith(BILLING):
        return None
    if role is not None and _text(opened, "content").startswith(BILLING):
        return None
    if role == "system" and not own:
        mended["role"] = jsontext.raw("user")
    if not timed and "cache_control" in opened and b'"ttl"' in bytes(opened["cache_control"]):
        mended["cache_control"] = jsontext.raw({"type": "ephemeral"})
    if bytes(opened.get("content", b"")).startswith(b"["):
        content = _list(bytes(opened["content"]), own=own, timed=timed)
        if role is not None and content == b"[]":
            return None
        mended["content"] = Raw(content)
    return item if mended == opened else jsontext.raw(mended)


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
