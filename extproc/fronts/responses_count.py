"""How many input tokens a Responses request has, about.

Rule: what the client sent is counted, never what a gateway adds.
"""

from collections.abc import Iterator
from typing import Any

from extproc.terms.errors import InvalidParameter
from extproc.text import jsontext
from extproc.text.jsontext import NULL, Fields, NotJson
from extproc.text.tokens import image_tokens, tokens

_PER_ITEM = 4
_PER_TOOL = 8
_SILENT = frozenset("type id call_id role status detail encrypted_content image_url file_id file_data file_url".split())
"""Members of items that say nothing to the model, or nothing as text."""


def count(fields: Fields) -> bytes:
    """The answer to `/v1/responses/input_tokens`. Raises `InvalidParameter` for what cannot be read."""
    said, items = _load(fields, "input"), 0
    texts = list(_texts(_load(fields, "instructions")))
    images: list[str] = []
    for item in said if isinstance(said, list) else [said] if said else []:
        items += 1
        texts += _texts(item)
        images += _images(item)
    tools = _load(fields, "tools")
    listed = tools if isinstance(tools, list) else []
    texts += [jsontext.dump(tool).decode("utf-8", "replace") for tool in listed]
    seen = sum(image_tokens(url.partition(";base64,")[2] or None) for url in images)
    total = tokens("\n".join(texts)) + seen + _PER_ITEM * items + _PER_TOOL * len(listed)
    return jsontext.dump({"object": "response.input_tokens", "input_tokens": max(1, total)})


def _load(fields: Fields, name: str) -> Any:
    try:
        return jsontext.load(fields.get(name, NULL))
    except NotJson as error:
        raise InvalidParameter(f"{name} cannot be read: {error}", param=name) from None


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case list():
            for one in value:
                yield from _texts(one)
        case dict():
            for name, one in value.items():
                if name not in _SILENT:
                    yield from _texts(one)


def _images(value: Any) -> Iterator[str]:
    match value:
        case list():
            for one in value:
                yield from _images(one)
        case dict() if value.get("type") == "input_image":
            yield str(value.get("image_url", ""))
        case dict():
            for one in (value.get("content"), value.get("output")):
                yield from _images(one)
