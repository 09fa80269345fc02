"""A vendor's list of models for clients of another dialect. Rule: names and dates alone; the front has the form."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from extproc.fronts.front import Front
from extproc.providers.translator import Translator
from extproc.terms.call import MODELS, Call
from extproc.terms.errors import BadUpstreamResponse
from extproc.text import jsontext
from extproc.text.jsontext import NotJson


class Models(Translator):
    """`theirs`: who makes OpenAI's list of the vendor's, None where it is one. Of a single model likewise."""

    def __init__(self, front: Front, call: Call, theirs: Translator | None) -> None:
        self._front = front
        self._whole = call.api == MODELS
        self._now = call.now
        self._query: Mapping[str, str] = dict(parse_qsl(call.target.query))
        self._theirs = theirs

    def body(self, body: bytes) -> bytes:
        """Raises `BadUpstreamResponse` for what is no such list."""
        try:
            told = jsontext.load(body if self._theirs is None else self._theirs.body(body))
            if not self._whole:
                return jsontext.dump(self._model(told))
            return jsontext.dump(self._front.models([self._model(one) for one in told["data"]], self._query))
        except (NotJson, LookupError, TypeError, AttributeError):
            raise BadUpstreamResponse("the vendor's list of models cannot be read") from None

    def _model(self, told: Any) -> dict[str, Any]:
        made = jsontext.whole(told.get("created"))
        return self._front.model(str(told["id"]), self._now if made is None else made)
