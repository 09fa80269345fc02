"""Facts about Qwen model families, shared by DashScope's native and compatible forms.

Rule: tables only. Sources: DashScope API reference and error-code pages, 2026; the "deep thinking" and
"streaming" pages of Model Studio.
"""

import re

from extproc.simulate.conversation import matches

MULTIMODAL = (
    "qwen-vl*", "qwen2-vl*", "qwen2.5-vl*", "qwen3-vl*", "qvq*", "qwen*-omni*", "qwen3.5*", "qwen3.6*",
)  # fmt: skip
STREAM_ONLY = ("qwq*", "qvq*", "qwen*-omni*", "qwen3-*-thinking*")
ALWAYS_THINKING = ("qwq*", "qvq*", "qwen3-*-thinking*")
FOREIGN = ("gpt-*", "o1*", "o3*", "o4*", "claude*", "gemini*", "moonshot-v1*", "no-such*")
OPEN_HYBRID = re.compile(r"qwen3-[\d.]+b(-a[\d.]+b)?")
OLD_EMBEDDINGS = ("text-embedding-v1", "text-embedding-v2")
MODELS = ("qwen-max", "qwen-plus", "qwen-turbo", "qwen-long", "qwen-vl-max", "qwen3-32b", "qwq-plus",
          "text-embedding-v3", "text-embedding-v4")  # fmt: skip


def is_open_hybrid(model: str) -> bool:
    """Whether `model` (str) is an open-weights model that thinks unless told not to: bool."""
    return OPEN_HYBRID.fullmatch(model) is not None


def thinks(model: str, enable_thinking: object) -> bool:
    """Whether an answer of `model` (str) shows thinking, given `enable_thinking` (bool or None): bool."""
    if matches(model, ALWAYS_THINKING):
        return True
    return bool(enable_thinking) if enable_thinking is not None else is_open_hybrid(model)


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
