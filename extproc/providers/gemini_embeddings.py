"""Gemini's embeddings → OpenAI's. Rule: the answer alone; the request is in `gemini_request.py`."""

import base64
import struct
from typing import Any

from extproc.providers.translator import Translator
from extproc.terms.call import Call
from extproc.terms.errors import BadUpstreamResponse
from extproc.text import jsontext
from extproc.text.jsontext import NULL, NotJson


class Embeddings(Translator):
    """`:batchEmbedContents` → `list`; `encoding_format: base64` as little-endian float32."""

    gathers = True  # nobody streams embeddings

    def __init__(self, call: Call, model: str | None) -> None:
        self._model = model
        self._base64 = jsontext.peek((call.body or {}).get("encoding_format", NULL)) == "base64"

    def body(self, body: bytes) -> bytes:
        """Raises `BadUpstreamResponse` for another answer."""
        try:
            document = jsontext.load(body)
            data = [self._item(one["values"], i) for i, one in enumerate(document["embeddings"])]
        except (NotJson, LookupError, TypeError, struct.error, OverflowError):
            raise BadUpstreamResponse("the vendor's embeddings answer cannot be read") from None
        usage = document.get("usageMetadata")
        count = jsontext.whole(usage.get("promptTokenCount")) if isinstance(usage, dict) else None
        if count is not None:
            self.raw_usage = {"prompt_tokens": count, "total_tokens": count}
        told = {"prompt_tokens": count or 0, "total_tokens": count or 0}
        return jsontext.dump({"object": "list", "data": data, "model": self._model, "usage": told})

    def _item(self, values: list[float], index: int) -> dict[str, Any]:
        vector: Any = values
        if self._base64:
            vector = base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
        return {"object": "embedding", "index": index, "embedding": vector}
