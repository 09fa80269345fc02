"""Google's embeddings: `:batchEmbedContents` of Gemini's API; `:predict` and, for Gemini's own models,
`:embedContent` of Vertex AI. Rule: request and answer, nothing else. Source: google-genai 3.6.1, 2026-11.
"""

import base64
import struct
from typing import Any

from extproc.providers.protocols.conversation import load
from extproc.providers.translator import Translator
from extproc.terms.call import Call
from extproc.terms.errors import BadUpstreamResponse, InvalidParameter, MissingParameter
from extproc.text import jsontext
from extproc.text.jsontext import NULL, Fields, NotJson


def _texts(fields: Fields) -> list[str]:
    if "input" not in fields:
        raise MissingParameter("input is missing", param="input")
    value = load(fields, "input")
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise InvalidParameter(
            "input must be a string or a non-empty array of strings: this vendor takes no token arrays", param="input"
        )
    return texts


def _size(fields: Fields) -> dict[str, Any]:
    size = fields.get("dimensions", NULL)
    return {"outputDimensionality": size} if size != NULL else {}


def batch(fields: Fields, model: str) -> dict[str, Any]:
    """`:batchEmbedContents`, for one text too. Raises `ClientError`."""
    name, size = f"models/{model}", _size(fields)
    return {"requests": [{"model": name, "content": {"parts": [{"text": text}]}, **size} for text in _texts(fields)]}


def embeds_content(model: str) -> bool:
    """Whether Vertex is asked by `:embedContent`."""
    return model.rpartition("/")[2].startswith("gemini-embedding")


def vertex(fields: Fields, model: str) -> dict[str, Any]:
    """`:predict`, or `:embedContent`, which takes one text. Raises `ClientError`."""
    texts, size = _texts(fields), _size(fields)
    if not embeds_content(model):
        body: dict[str, Any] = {"instances": [{"content": text} for text in texts]}
        return {**body, "parameters": size} if size else body
    if len(texts) > 1:
        raise InvalidParameter(f"input has {len(texts)} texts, {model} takes one at once", param="input")
    body = {"content": {"parts": [{"text": texts[0]}]}}
    return {**body, "embedContentConfig": size} if size else body


class Embeddings(Translator):
    """Any of the three answers → OpenAI's `list`; `encoding_format: base64` as little-endian float32."""

    gathers = True  # nobody streams embeddings

    def __init__(self, call: Call, model: str | None) -> None:
        self._model = model
        self._base64 = jsontext.peek((call.body or {}).get("encoding_format", NULL)) == "base64"

    def body(self, body: bytes) -> bytes:
        """Raises `BadUpstreamResponse` for another answer."""
        try:
            found, counts = _read(jsontext.load(body))
            data = [self._item(values, i) for i, values in enumerate(found)]
        except (NotJson, LookupError, TypeError, AttributeError, struct.error, OverflowError):
            raise BadUpstreamResponse("the vendor's embeddings answer cannot be read") from None
        known = [count for count in map(jsontext.whole, counts) if count is not None]
        told = {"prompt_tokens": sum(known), "total_tokens": sum(known)}
        if known:
            self.raw_usage = told
        return jsontext.dump({"object": "list", "data": data, "model": self._model, "usage": told})

    def _item(self, values: list[float], index: int) -> dict[str, Any]:
        vector: Any = values
        if self._base64:
            vector = base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
        return {"object": "embedding", "index": index, "embedding": vector}


def _read(document: dict[str, Any]) -> tuple[list[list[float]], list[Any]]:
    """Vectors, and the token counts that stand anywhere beside them."""
    if "predictions" in document:
        made = [one["embeddings"] for one in document["predictions"]]
        return [one["values"] for one in made], [(one.get("statistics") or {}).get("token_count") for one in made]
    made = document["embeddings"] if "embeddings" in document else [document["embedding"]]
    return [one["values"] for one in made], [(document.get("usageMetadata") or {}).get("promptTokenCount")]
