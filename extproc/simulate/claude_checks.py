"""What Anthropic's Messages API refuses. Rule: its documents' words, nothing of what a gateway does about them.

Source: Anthropic API reference, "Extended thinking", "Tool use" and model pages, 2026-11-30.
"""

from collections.abc import Iterator
import re
from typing import Any

from extproc.simulate.conversation import matches
from extproc.simulate.refusal import Refusal

Json = dict[str, Any]

TOP = frozenset(
    "model messages max_tokens system metadata stop_sequences stream temperature top_p top_k thinking tools "
    "tool_choice output_config service_tier container context_management mcp_servers cache_control "
    "inference_geo".split()
)
BLOCKS = {
    "text": "type text cache_control citations", "image": "type source cache_control",
    "document": "type source title context citations cache_control",
    "tool_use": "type id name input cache_control caller",
    "tool_result": "type tool_use_id content is_error cache_control", "thinking": "type thinking signature",
    "redacted_thinking": "type data",
}  # fmt: skip
ADAPTIVE = (
    "claude-fable-5*", "claude-opus-5*", "claude-sonnet-5*", "claude-haiku-5*", "claude-opus-4-7*", "claude-opus-4-8*",
)  # fmt: skip
ALWAYS = ("claude-fable-5*", "claude-opus-5-5*")
UNFORCED = (*ALWAYS, "claude-sonnet-5-5*")
"""Who refuses forced tools, whether it thinks or not."""
_BOTH = ("claude-opus-4-6*", "claude-sonnet-4-6*")
_SMALL = {"claude-haiku-4-5*": 64_000, "claude-sonnet-4-5*": 64_000, "claude-opus-4-5*": 64_000}
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}", re.ASCII)
_ID = re.compile(r"[a-zA-Z0-9_-]+", re.ASCII)


def refuse(message: str) -> Refusal:
    """A client's mistake, 400: Refusal."""
    return Refusal(400, message)


def check(body: Json, *, own: bool, counting: bool = False) -> None:
    """Refuse what a `body` (dict) says wrong. `own`: at Anthropic, where the models' own rules hold."""
    extra = sorted(body.keys() - TOP)
    if own and extra:
        raise refuse(f"{extra[0]}: Extra inputs are not permitted")
    if not isinstance(body.get("model"), str) or not body["model"]:
        raise refuse("model: Field required")
    most = body.get("max_tokens")
    if not counting and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
        raise refuse("max_tokens: Field required" if most is None else "max_tokens: must be at least 1")
    _system(body.get("system"))
    _turns(body)
    _scalars(body)
    _tools(body)
    if own:
        _models_own(body)


def check_elsewhere(body: Json, vendor: str) -> None:
    """Refuse what only Anthropic has. `vendor`: its name here; of DashScope its own users have told the words.

    Source: anthropics/claude-code#29531 (its 400 in full), decolua/9router#3797, BerriAI/litellm#38790, Alibaba's page
    on explicit caches, 2026-11-16.
    """
    for name in ("context_management", "mcp_servers", "container", "betas", "output_format", "speed", "diagnostics"):
        if name in body:
            raise refuse(f"{name}: Extra inputs are not permitted")
    kind = (body.get("thinking") or {}).get("type", "disabled")
    if vendor == "dashscope" and kind not in ("enabled", "disabled"):
        raise refuse(f"Only 'enabled' and 'disabled' are supported for thinking; '{kind}' is not supported.")
    timed = vendor == "dashscope" and str(body.get("model")).startswith("qwen4")
    for mark in _marks({name: body.get(name) for name in ("system", "messages", "tools", "cache_control")}):
        if extra := sorted(mark.keys() - ({"type", "ttl"} if timed else {"type"})):
            raise refuse(f"cache_control.{extra[0]}: {mark[extra[0]]} is not supported")


def _marks(value: Any) -> Iterator[Json]:
    """The marks for the cache in a request, not those in what a tool was given or its schema."""
    if isinstance(value, list):
        for one in value:
            yield from _marks(one)
    elif isinstance(value, dict):
        if isinstance(mark := value.get("cache_control"), dict):
            yield mark
        for name in ("system", "messages", "tools", "content"):
            yield from _marks(value.get(name))


def _system(system: Any) -> None:
    if system is None:
        return
    blocks = [{"type": "text", "text": system}] if isinstance(system, str) else system
    if not isinstance(blocks, list):
        raise refuse("system: Input should be a valid list")
    for place, block in enumerate(blocks):
        if not isinstance(block, dict) or block.get("type") != "text":
            raise refuse(f"system.{place}: Input tag does not match 'text'")
        if not isinstance(system, str) and not str(block.get("text", "")).strip():
            raise refuse("system: text content blocks must be non-empty")


def _turns(body: Json) -> None:
    turns = body.get("messages")
    if not isinstance(turns, list) or not turns:
        raise refuse("messages: at least one message is required")
    waiting: list[str] = []
    for place, turn in enumerate(turns):
        at = f"messages.{place}"
        if not isinstance(turn, dict) or turn.get("role") not in ("user", "assistant"):
            raise refuse(f'{at}.role: Input should be "user" or "assistant"')
        if extra := sorted(turn.keys() - {"role", "content"}):
            raise refuse(f"{at}.{extra[0]}: Extra inputs are not permitted")
        if place == 0 and turn["role"] != "user":
            raise refuse('messages: first message must use the "user" role')
        content = turn.get("content")
        last = place == len(turns) - 1
        if isinstance(content, str):
            blocks = [{"type": "text", "text": content}]
        elif isinstance(content, list):
            blocks = content
        else:
            raise refuse(f"{at}.content: Input should be a valid list")
        if not blocks and not (last and turn["role"] == "assistant"):
            raise refuse(f"{at}: all messages must have non-empty content except for the optional final assistant one")
        for number, block in enumerate(blocks):
            _block(block, f"{at}.content.{number}", turn["role"])
        waiting = _results(blocks, waiting, at)
        said = blocks[-1].get("text", "") if last and turn["role"] == "assistant" and blocks else ""
        if said != said.rstrip():
            raise refuse("messages: final assistant content cannot end with trailing whitespace")
    if waiting:
        raise refuse(f"messages: `tool_use` ids were found without `tool_result` blocks: {', '.join(waiting)}")


def _block(block: Any, at: str, role: str) -> None:
    kind = block.get("type") if isinstance(block, dict) else None
    if kind not in BLOCKS:
        raise refuse(f"{at}: Input tag {kind!r} found does not match any of the expected tags")
    if extra := sorted(block.keys() - set(BLOCKS[kind].split())):
        raise refuse(f"{at}.{kind}.{extra[0]}: Extra inputs are not permitted")
    match kind:
        case "text":
            if not isinstance(block.get("text"), str) or not block["text"].strip():
                raise refuse(f"{at}: text content blocks must contain non-whitespace text")
        case "image" | "document":
            source = block.get("source") or {}
            known = {"base64": ("media_type", "data"), "url": ("url",), "text": ("media_type", "data"), "file": ()}
            if source.get("type") not in known or not all(source.get(name) for name in known[source["type"]]):
                raise refuse(f"{at}.{kind}.source: Field required")
        case "tool_use":
            if role != "assistant":
                raise refuse(f"{at}: `tool_use` blocks can only be in `assistant` messages")
            if not _ID.fullmatch(str(block.get("id"))):
                raise refuse(f"{at}.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'")
            if not _NAME.fullmatch(str(block.get("name"))) or not isinstance(block.get("input"), dict):
                raise refuse(f"{at}.tool_use.input: Input should be a valid dictionary")
        case "tool_result":
            if role != "user":
                raise refuse(f"{at}: `tool_result` blocks can only be in `user` messages")
            for number, part in enumerate(
                block.get("content") or () if not isinstance(block.get("content"), str) else ()
            ):
                _block(part, f"{at}.content.{number}", "user")
        case "thinking":
            if role != "assistant" or not block.get("signature"):
                raise refuse(f"{at}.thinking.signature: Field required")


def _results(blocks: list[Json], waiting: list[str], at: str) -> list[str]:
    """Check results against the calls of the turn before; the calls that now wait for theirs."""
    given = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
    if waiting and (missing := [id for id in waiting if id not in given]):
        raise refuse(
            f"{at}: `tool_use` ids were found without `tool_result` blocks immediately after: {', '.join(missing)}"
        )
    if unknown := [id for id in given if id not in waiting]:
        raise refuse(f"{at}: unexpected `tool_use_id` found in `tool_result` blocks: {unknown[0]}")
    kinds = [block["type"] == "tool_result" for block in blocks]
    if kinds != sorted(kinds, reverse=True):
        raise refuse(f"{at}: `tool_result` blocks must come first in the content")
    ids = [block["id"] for block in blocks if block["type"] == "tool_use"]
    if len(set(ids)) != len(ids):
        raise refuse(f"{at}: `tool_use` ids must be unique")
    return ids


def _scalars(body: Json) -> None:
    for name, most in (("temperature", 1), ("top_p", 1)):
        value = body.get(name)
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most
        ):
            raise refuse(f"{name}: range: 0..{most}")
    for stop in body.get("stop_sequences") or ():
        if not isinstance(stop, str) or not stop.strip():
            raise refuse("stop_sequences: each stop sequence must contain non-whitespace")
    if extra := sorted((body.get("metadata") or {}).keys() - {"user_id"}):
        raise refuse(f"metadata.{extra[0]}: Extra inputs are not permitted")
    config = body.get("output_config") or {}
    if config.get("effort") not in (None, "low", "medium", "high", "xhigh", "max"):
        raise refuse("output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'")
    form = config.get("format")
    if form is not None and (form.get("type") != "json_schema" or not isinstance(form.get("schema"), dict)):
        raise refuse("output_config.format.schema: Field required")


def _tools(body: Json) -> None:
    tools, choice = body.get("tools"), body.get("tool_choice")
    names = []
    for place, tool in enumerate(tools or ()):
        if tool.get("type", "custom") != "custom":
            continue
        extra = tool.keys() - {"type", "name", "description", "input_schema", "cache_control", "strict"}
        if extra:
            raise refuse(f"tools.{place}.custom.{sorted(extra)[0]}: Extra inputs are not permitted")
        if not _NAME.fullmatch(str(tool.get("name"))):
            raise refuse(f"tools.{place}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
        schema = tool.get("input_schema")
        if not isinstance(schema, dict) or schema.get("type") != "object":
            raise refuse(f"tools.{place}.custom.input_schema.type: Field required")
        names.append(tool["name"])
    if len(set(names)) != len(names):
        raise refuse("tools: Tool names must be unique.")
    if choice is None:
        return
    if not tools:
        raise refuse("tool_choice: may only be specified while providing tools")
    if choice.get("type") not in ("auto", "any", "tool", "none"):
        raise refuse("tool_choice: Input tag does not match any of the expected tags: 'auto', 'any', 'tool', 'none'")
    if choice["type"] == "tool" and choice.get("name") not in names:
        raise refuse(f"tool_choice: Tool '{choice.get('name')}' not found in provided tools")
    if choice["type"] == "none" and choice.keys() - {"type"}:
        raise refuse("tool_choice.none.disable_parallel_tool_use: Extra inputs are not permitted")


def _models_own(body: Json) -> None:
    model, thinking = body["model"], body.get("thinking") or {}
    kind = thinking.get("type")
    most = next((most for name, most in _SMALL.items() if matches(model, (name,))), 128_000)
    if body.get("max_tokens", 1) > most:
        raise refuse(f"max_tokens: {body['max_tokens']} > {most}, which is the maximum allowed for {model}")
    new = matches(model, ADAPTIVE)
    thinks = kind in ("enabled", "adaptive") or matches(model, ALWAYS)
    if kind == "between_tools" and matches(model, ("claude-sonnet-5-5*",)):
        kind = None
    if kind == "disabled" and matches(model, ("claude-sonnet-5-5*",)):
        raise refuse('"thinking.type.disabled" is not supported for this model. Use "thinking.type.between_tools".')
    if matches(model, UNFORCED) and (body.get("tool_choice") or {}).get("type") in ("any", "tool"):
        raise refuse("tool_choice: forced tool use is not supported for this model.")
    if kind not in (None, "enabled", "adaptive", "disabled"):
        raise refuse("thinking: Input tag does not match any of the expected tags")
    if kind == "enabled" and new:
        raise refuse("thinking.type.enabled: budgets are not supported by this model, use adaptive")
    if kind == "disabled" and matches(model, ALWAYS):
        raise refuse("thinking.type.disabled: thinking cannot be disabled for this model")
    if kind == "adaptive" and not new and not matches(model, _BOTH):
        raise refuse("thinking.type.adaptive: not supported by this model")
    if kind == "enabled" and not 1024 <= int(thinking.get("budget_tokens") or 0) < body.get("max_tokens", 1 << 30):
        raise refuse("thinking.enabled.budget_tokens: at least 1024, and less than max_tokens")
    if (body.get("output_config") or {}).get("effort") and not new and not matches(model, (*_BOTH, "claude-opus-4-5*")):
        raise refuse("output_config.effort: This model does not support the effort parameter.")
    sampling = [name for name in ("temperature", "top_p", "top_k") if body.get(name) is not None]
    if new and sampling:
        raise refuse(f"{sampling[0]}: sampling parameters are not supported by this model")
    if "temperature" in sampling and "top_p" in sampling:
        raise refuse("`temperature` and `top_p` cannot both be specified for this model. Please use only one.")
    if thinks and (body.get("temperature", 1) != 1 or "top_k" in sampling or not 0.95 <= body.get("top_p", 1) <= 1):
        raise refuse("`temperature` may only be set to 1 when thinking is enabled")
    if thinks and (body.get("tool_choice") or {}).get("type") in ("any", "tool"):
        raise refuse("Thinking may not be enabled when tool_choice forces tool use.")
    if body["messages"][-1]["role"] == "assistant" and (new or thinks):
        raise refuse(
            "This model does not support assistant message prefill. The conversation must end with a user message."
        )
