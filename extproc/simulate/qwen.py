"""Facts about Qwen model families, shared by DashScope's native and compatible forms.

Rule: tables only. Sources: DashScope API reference and error-code pages, 2026; the "deep thinking" and
"streaming" pages of Model Studio; the two native paths as dashscope 2.0.2 probes them.
"""

import json
import re

from extproc.simulate.conversation import matches

MULTIMODAL = (
    "qwen4-*", "qwen3.8-*", "qwen3.7-plus*", "qwen3.7-flash*", "qwen3.7-max-2026-06-08", "qwen3.6-*", "qwen3.5-*",
    "qwen-vl*", "*-vl-*", "*omni*", "qvq*", "qwen3-asr*", "qwen3-tts*",
    "qwenx-*",  # of tomorrow: nobody's table has it
)  # fmt: skip
TEXT_AFTER_ALL = ("qwen3.8-2.4t*", "qwen3.6-max*")
STREAM_ONLY = ("qwq*", "qvq*", "qwen-omni*", "qwen2.5-omni*", "qwen3-omni*", "qwen3-*-thinking*")
THINKING_UNASKED = ("qwen3.5-*", "qwen3.6-*", "qwen3.7-*", "qwen3.8-*", "qwen4-*")
FORCED_WHILE_THINKING = ("qwen4-*",)
ALWAYS_THINKING = ("qwq*", "qvq*", "qwen3-*-thinking*")
FOREIGN = ("gpt-*", "o1*", "o3*", "o4*", "claude*", "gemini*", "moonshot-v1*", "no-such*")
OPEN_HYBRID = re.compile(r"qwen3-[\d.]+b(-a[\d.]+b)?")
OLD_EMBEDDINGS = ("text-embedding-v1", "text-embedding-v2")
MODELS = ("qwen3.8-max", "qwen3.8-flash", "qwen3.7-max", "qwen-max", "qwen-plus", "qwen-flash", "qwen-long",
          "qwen3-vl-plus", "text-embedding-v3", "text-embedding-v4")  # fmt: skip


def is_multimodal(model: str) -> bool:
    """Whether `model` (str) answers on the multimodal path, and there only: bool."""
    return matches(model, MULTIMODAL) and not matches(model, TEXT_AFTER_ALL)


def refuses_choice(model: str, tool_choice: object, *, thinking: bool) -> str | None:
    """Why `model` (str) takes no such `tool_choice` (str, dict or None) while it is `thinking` (bool): str or None."""
    if not thinking or tool_choice in (None, "auto", "none") or matches(model, FORCED_WHILE_THINKING):
        return None
    return "The tool_choice parameter does not support being set to required or object in thinking mode"


def refuses_arguments(messages: object) -> str | None:
    """Why the calls of earlier turns (list of dict) are refused: str, or None. Arguments are JSON text."""
    for message in messages if isinstance(messages, list) else ():
        for call in (message.get("tool_calls") if isinstance(message, dict) else None) or ():
            function = call.get("function") if isinstance(call, dict) else None
            if not isinstance(function, dict):
                continue
            try:
                json.loads(function["arguments"])
            except (KeyError, TypeError, ValueError):
                return 'The "function.arguments" parameter of the code model must be in JSON format.'
    return None


def is_open_hybrid(model: str) -> bool:
    """Whether `model` (str) is an open-weights model that thinks unless told not to: bool."""
    return OPEN_HYBRID.fullmatch(model) is not None


def thinks(model: str, enable_thinking: object) -> bool:
    """Whether an answer of `model` (str) shows thinking, given `enable_thinking` (bool or None): bool."""
    if matches(model, ALWAYS_THINKING):
        return True
    if enable_thinking is not None:
        return bool(enable_thinking)
    return is_open_hybrid(model) or matches(model, THINKING_UNASKED)


def refuses_whole(model: str, enable_thinking: object) -> str | None:
    """Why `model` (str) gives no answer in one piece: str, or None when it does."""
    if matches(model, STREAM_ONLY):
        return "This model only support stream mode, please enable the stream parameter to access the model. "
    if is_open_hybrid(model) and enable_thinking is not False:
        return "parameter.enable_thinking must be set to false for non-streaming calls"
    return None


def embedding_limit(model: str) -> int:
    """How many texts `model` (str) takes in one request: int."""
    return 25 if model in OLD_EMBEDDINGS else 10


def embedding_size(model: str, asked: object) -> int:
    """Numbers in a vector of `model` (str), `asked` (int or None) for others: int."""
    return asked if isinstance(asked, int) else (1536 if model in OLD_EMBEDDINGS else 1024)
