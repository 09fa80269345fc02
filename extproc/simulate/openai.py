"""OpenAI itself, and the table of OpenAI-form APIs that every dialect picks from.

Rule: path and method decide, here; what an API does is in `openai_*.py`. Source: OpenAI API reference, 2026.
"""

from collections.abc import Callable
import re

from extproc.simulate import openai_apis as apis
from extproc.simulate.call import Answer, Call
from extproc.simulate.dialect import Dialect
from extproc.simulate.openai_chat import chat, completions
from extproc.simulate.openai_responses import responses
from extproc.simulate.refusal import Refusal

Handler = Callable[[Call, Dialect], Answer]

TABLE: tuple[tuple[str, str, Handler], ...] = (
    ("POST", r"chat/completions", chat),
    ("POST", r"completions", completions),
    ("POST", r"embeddings", apis.embeddings),
    ("POST", r"responses", responses),
    ("GET", r"models", apis.models),
    ("GET", r"models/.+", apis.model),
    ("POST", r"files", apis.upload),
    ("GET", r"files", apis.files),
    ("GET", r"files/[^/]+", apis.file),
    ("DELETE", r"files/[^/]+", apis.delete_file),
    ("GET", r"files/[^/]+/content", apis.file_content),
    ("POST", r"batches", apis.create_batch),
    ("GET", r"batches", apis.batches),
    ("GET", r"batches/[^/]+", apis.batch),
    ("POST", r"batches/[^/]+/cancel", apis.batch),
    ("POST", r"audio/speech", apis.speech),
    ("POST", r"audio/(transcriptions|translations)", apis.transcriptions),
    ("POST", r"moderations", apis.moderations),
    ("POST", r"images/generations", apis.images),
)

DIALECT = Dialect(
    name="GPT",
    foreign=("qwen*", "qwq*", "moonshot*", "kimi*", "claude*", "gemini*", "no-such*"),
    models=("gpt-4o", "gpt-4o-mini", "gpt-5", "text-embedding-3-small", "whisper-1", "tts-1"),
)


def knows(api: str) -> bool:
    """Whether there is such an API (str), whatever the method: bool."""
    return any(re.fullmatch(path, api) for _, path, _ in TABLE)


def dispatch(call: Call, dialect: Dialect, served: tuple[str, ...] | None = None) -> Answer:
    """Answer `call` (Call) by its `api`; `served` names the first path parts the vendor has: Answer."""
    found = [(method, handler) for method, path, handler in TABLE if re.fullmatch(path, call.api)]
    if not found or (served is not None and call.api.split("/")[0] not in served):
        raise Refusal(404, f"Invalid URL ({call.method} {call.path})", code="unknown_url")
    for method, handler in found:
        if method == call.method:
            return handler(call, dialect)
    raise Refusal(405, f"Not allowed to {call.method} on {call.path}", code="method_not_supported")


def handle(call: Call) -> Answer:
    """Answer one request (Call) at OpenAI: Answer, or Refusal."""
    return dispatch(call, DIALECT)
