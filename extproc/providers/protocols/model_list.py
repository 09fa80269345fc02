"""A vendor's own list of models as OpenAI's. Rule: names and dates alone."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from extproc.providers.translator import Translator
from extproc.terms.errors import BadUpstreamResponse
from extproc.text import jsontext
from extproc.text.jsontext import NotJson


class ModelList(Translator):
    """`entry`: name and date (RFC 3339, None where there is none) of one of the vendor's entries. `member`: what holds
    them."""

    def __init__(self, entry: Callable[[dict[str, Any]], tuple[str, Any]], member: str = "data") -> None:
        self._entry = entry
        self._member = member

    def body(self, body: bytes) -> bytes:
        """Raises `BadUpstreamResponse` for what is no such list."""
        try:
            found = [self._entry(one) for one in jsontext.load(body)[self._member]]
        except (NotJson, LookupError, TypeError, AttributeError):
            raise BadUpstreamResponse("the vendor's list of models cannot be read") from None
        data = [
            {"id": name, "object": "model", "created": _seconds(date), "owned_by": "system"} for name, date in found
        ]
        return jsontext.dump({"object": "list", "data": data})


def _seconds(date: Any) -> int:
    try:
        return int(datetime.fromisoformat(date).timestamp())
    except (TypeError, ValueError):
        return 0
