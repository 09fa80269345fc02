"""What Bedrock's Converse refuses. Rule: its documents' words, nothing of what a gateway does about them.

Source: Amazon Bedrock API reference (Converse), `botocore` 1.44.8's model of it, read 2026-11-30.
"""

import re
from typing import Any

from extproc.simulate.conversation import matches
from extproc.simulate.refusal import Refusal

Json = dict[str, Any]

_BLOCKS = frozenset(
    "text image document video audio toolUse toolResult guardContent cachePoint reasoningContent citationsContent "
    "searchResult".split()
)
_MEMBERS = frozenset(
    "messages system inferenceConfig toolConfig guardrailConfig additionalModelRequestFields promptVariables "
    "additionalModelResponseFieldPaths requestMetadata performanceConfig serviceTier outputConfig".split()
)
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}", re.ASCII)
_ID = re.compile(r"[a-zA-Z0-9_.:-]{1,64}", re.ASCII)
_FORMATS = frozenset("png jpeg gif webp".split())
_NEW = (
    "*claude-fable-5*", "*claude-opus-5*", "*claude-sonnet-5*", "*claude-haiku-5*", "*claude-opus-4-7*",
    "*claude-opus-4-8*",
)  # fmt: skip
ALWAYS = ("*claude-fable-5*", "*claude-opus-5-5*")
"""Claudes that think whatever they are told."""


def invalid(message: str) -> Refusal:
    """A client's mistake, 400: Refusal."""
    return Refusal(400, message)


def check(body: Json, model: str) -> None:
    """Refuse what a `body` (dict) says wrong for a `model` (str)."""
    if extra := sorted(body.keys() - _MEMBERS):
        raise invalid(f"#: extraneous key [{extra[0]}] is not permitted")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise invalid("The value at messages is empty.")
    for place, block in enumerate(body.get("system") or ()):
        if len(block) != 1 or ("text" in block and not block["text"]):
            raise invalid(f"The text field in the ContentBlock object at system.{place} is blank.")
    used = _messages(messages)
    _config(body.get("inferenceConfig") or {})
    _tools(body.get("toolConfig"), used=used)
    if "claude" in model:
        _claude(body, model)


def _messages(messages: list[Json]) -> bool:
    """Whether tools are used in them."""
    waiting: list[str] = []
    used = False
    for place, message in enumerate(messages):
        role = message.get("role")
        if role not in ("user", "assistant") or message.keys() - {"role", "content"}:
            raise invalid(f"Value at 'messages.{place}.role' failed to satisfy constraint: [user, assistant]")
        if place == 0 and role != "user":
            raise invalid("A conversation must start with a user message. Try again with one that does.")
        if place and messages[place - 1]["role"] == role:
            raise invalid("A conversation must alternate between user and assistant roles.")
        blocks = message.get("content")
        if not isinstance(blocks, list) or not blocks:
            raise invalid(f"The content field in the Message object at messages.{place} is empty.")
        for number, block in enumerate(blocks):
            _block(block, f"messages.{place}.content.{number}", role)
        results = [block["toolResult"]["toolUseId"] for block in blocks if "toolResult" in block]
        if sorted(results) != sorted(waiting):
            raise invalid(
                f"Expected toolResult blocks at messages.{place}.content for the following Ids: {', '.join(waiting)}"
            )
        waiting = [block["toolUse"]["toolUseId"] for block in blocks if "toolUse" in block]
        used = used or bool(waiting)
    if waiting:
        raise invalid(f"toolResult blocks are missing for the following Ids: {', '.join(waiting)}")
    return used


def _block(block: Any, at: str, role: str) -> None:
    if not isinstance(block, dict) or len(block) != 1 or not block.keys() <= _BLOCKS:
        raise invalid(f"The ContentBlock object at {at} must set one and only one of its members.")
    ((kind, value),) = block.items()
    match kind:
        case "text":
            if not value:
                raise invalid(f"The text field in the ContentBlock object at {at} is blank.")
        case "image":
            if value.get("format") not in _FORMATS or len(value.get("source") or {}) != 1:
                raise invalid(f"Value at '{at}.image.format' failed to satisfy constraint")
        case "document":
            if not re.fullmatch(r"[A-Za-z0-9 ()\[\]-]{1,200}", str(value.get("name"))) or "  " in value["name"]:
                raise invalid("The file name can only contain alphanumeric characters, hyphens, parentheses, brackets")
        case "toolUse":
            if role != "assistant" or not _ID.fullmatch(str(value.get("toolUseId"))):
                raise invalid(f"Value at '{at}.toolUse.toolUseId' failed to satisfy constraint: [a-zA-Z0-9_.:-]+")
            if not _NAME.fullmatch(str(value.get("name"))) or not isinstance(value.get("input"), dict):
                raise invalid(f"Value at '{at}.toolUse.name' failed to satisfy constraint: [a-zA-Z0-9_-]+")
        case "toolResult":
            if role != "user" or not isinstance(value.get("content"), list):
                raise invalid(f"Value at '{at}.toolResult' failed to satisfy constraint")
        case "cachePoint":
            if value.get("type") != "default" or value.get("ttl") not in (None, "5m", "1h"):
                raise invalid(f"Value at '{at}.cachePoint.type' failed to satisfy constraint: [default]")


def _config(config: Json) -> None:
    if extra := sorted(config.keys() - {"maxTokens", "temperature", "topP", "stopSequences"}):
        raise invalid(f"#/inferenceConfig: extraneous key [{extra[0]}] is not permitted")
    if (most := config.get("maxTokens")) is not None and (
        isinstance(most, bool) or not isinstance(most, int) or most < 1
    ):
        raise invalid("Value at 'inferenceConfig.maxTokens' failed to satisfy constraint: must be at least 1")
    for name in ("temperature", "topP"):
        if (value := config.get(name)) is not None and not 0 <= value <= 1:
            raise invalid(f"Value at 'inferenceConfig.{name}' failed to satisfy constraint: between 0 and 1")
    if not all(isinstance(stop, str) and stop for stop in config.get("stopSequences") or ()):
        raise invalid("Value at 'inferenceConfig.stopSequences' failed to satisfy constraint: at least 1 character")


def _tools(config: Json | None, *, used: bool) -> None:
    if config is None:
        if used:
            raise invalid("The toolConfig field must be defined when using toolUse and toolResult content blocks.")
        return
    tools = config.get("tools")
    if not isinstance(tools, list) or not tools:
        raise invalid("Value at 'toolConfig.tools' failed to satisfy constraint: at least 1")
    names = []
    for place, tool in enumerate(tools):
        spec = tool.get("toolSpec")
        if spec is None:
            continue
        if extra := sorted(spec.keys() - {"name", "description", "inputSchema", "strict"}):
            raise invalid(f"#/toolConfig/tools/{place}/toolSpec: extraneous key [{extra[0]}] is not permitted")
        if not _NAME.fullmatch(str(spec.get("name"))):
            raise invalid(f"Value at 'toolConfig.tools.{place}.member.toolSpec.name' failed to satisfy constraint")
        if spec.get("description") == "":
            raise invalid(f"Value at 'toolConfig.tools.{place}.member.toolSpec.description': at least 1 character")
        schema = (spec.get("inputSchema") or {}).get("json")
        if not isinstance(schema, dict) or schema.get("type") != "object":
            raise invalid(
                f"The value at toolConfig.tools.{place}.toolSpec.inputSchema.json.type must be one of: object."
            )
        names.append(spec["name"])
    if len(set(names)) != len(names):
        raise invalid("The tool names must be unique.")
    choice = config.get("toolChoice")
    if choice is None:
        return
    if len(choice) != 1 or not choice.keys() <= {"auto", "any", "tool"}:
        raise invalid("toolChoice must set one of auto, any, tool")
    if "tool" in choice and choice["tool"].get("name") not in names:
        raise invalid("The tool of toolChoice is not among the tools.")


def _claude(body: Json, model: str) -> None:
    more, config = body.get("additionalModelRequestFields") or {}, body.get("inferenceConfig") or {}
    thinking = (more.get("thinking") or {}).get("type")
    sampling = [name for name in ("temperature", "topP") if name in config]
    if matches(model, _NEW) and (sampling or "top_k" in more):
        raise invalid(f"The model returned the following errors: {(*sampling, 'top_k')[0]} is not supported")
    if len(sampling) > 1:
        raise invalid("The model returned the following errors: temperature and top_p cannot both be specified")
    if thinking in ("enabled", "adaptive"):
        if {"any", "tool"} & ((body.get("toolConfig") or {}).get("toolChoice") or {}).keys():
            raise invalid("Thinking may not be enabled when tool_choice forces tool use.")
        if config.get("temperature", 1) != 1 or "top_k" in more:
            raise invalid("`temperature` may only be set to 1 when thinking is enabled.")
    forced = {"any", "tool"} & ((body.get("toolConfig") or {}).get("toolChoice") or {}).keys()
    if forced and matches(model, (*ALWAYS, "*claude-sonnet-5-5*")):
        raise invalid("tool_choice: forced tool use is not supported for this model.")
    if thinking == "enabled" and (matches(model, _NEW) or more["thinking"].get("budget_tokens", 0) < 1024):
        raise invalid("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
    if any(not stop.strip() for stop in config.get("stopSequences") or ()):
        raise invalid("stop_sequences: each stop sequence must contain non-whitespace")
    last = body["messages"][-1]
    if last["role"] == "assistant":
        if matches(model, _NEW) or thinking in ("enabled", "adaptive"):
            raise invalid("This model does not support assistant message prefill.")
        if "text" in last["content"][-1] and last["content"][-1]["text"] != last["content"][-1]["text"].rstrip():
            raise invalid("final assistant content cannot end with trailing whitespace")
