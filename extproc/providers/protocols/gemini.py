"""Gemini on Google's own API: `generateContent` and embeddings, converted both ways."""

from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar, Literal
from urllib.parse import quote

from pydantic import Field

from extproc.providers.base import Body, Provider, vendor_error, with_query
from extproc.providers.protocols import gemini_answer, gemini_request, google_embeddings
from extproc.providers.protocols.model_list import ModelList
from extproc.providers.reader import Reader
from extproc.providers.traits import Traits
from extproc.providers.translator import Translator
from extproc.terms.call import CHAT, EMBEDDINGS, MODELS, Call
from extproc.terms.errors import MissingParameter, UnsupportedApi, UpstreamError
from extproc.text import jsontext, sse
from extproc.text.jsontext import NotJson


class Gemini(Provider):
    """`geminiSafetySetting`: category → threshold. `geminiThinkingBudget`: tokens of thinking where the client says
    nothing. `apiVersion`: the first segment of the vendor's paths."""

    keeps_signatures: ClassVar[bool] = True
    example_model: ClassVar[str] = "gemini-3.8-flash"

    type: Literal["gemini"]
    api_version: str = Field(default="v1beta", pattern=r"^v\d+\w*$")
    gemini_safety_setting: dict[str, str] = {}
    gemini_thinking_budget: int | None = Field(default=None, ge=-1)

    @property
    def vendor_url(self) -> str:
        return "https://generativelanguage.googleapis.com"

    @property
    def original_prefixes(self) -> tuple[str, ...]:
        return ("/v1/", "/v1beta/")

    @cached_property
    def speaks(self) -> frozenset[str]:
        return frozenset()

    def traits(self, model: str) -> Traits:
        return gemini_request.TRAITS

    def path(self, call: Call) -> str:
        if call.api == MODELS and call.method == "GET":
            return with_query(f"/{self.api_version}/models", call.target.query)
        if call.api not in (CHAT, EMBEDDINGS) or call.body is None:
            raise UnsupportedApi("gemini has chat, embeddings and the list of models only")
        if not call.upstream_model:
            raise MissingParameter("model is missing", param="model")
        return self._asked(call, call.upstream_model)

    def _asked(self, call: Call, model: str) -> str:
        path = f"/{self.api_version}/models/{quote(model.removeprefix('models/'), safe='')}"
        return f"{path}:{self._verb(call)}"

    def _verb(self, call: Call) -> str:
        if call.api == EMBEDDINGS:
            return "batchEmbedContents"
        return "streamGenerateContent?alt=sse" if call.stream else "generateContent"

    def credentials(self, call: Call) -> Mapping[str, str]:
        return {"x-goog-api-key": call.token or ""}

    def body(self, call: Call) -> Body:
        if call.body is None or self.protocol == "original":
            return super().body(call)
        fields, dropped = self.openai_fields(call)
        model = (call.upstream_model or "").removeprefix("models/")
        if call.api == EMBEDDINGS:
            return Body(jsontext.dump(google_embeddings.batch(fields, model)), dropped)
        more = list(dropped)
        body = gemini_request.request(
            fields, model, more, safety=self.gemini_safety_setting, budget=self.gemini_thinking_budget
        )
        return Body(jsontext.dump(body), tuple(more))

    def reader(self, call: Call) -> Reader:
        return gemini_answer.GeminiReader(call.nonce)

    def translator(self, call: Call) -> Translator | None:
        if self.protocol == "original":
            return super().translator(call)
        if call.api == MODELS:
            return ModelList(lambda model: (model["name"].removeprefix("models/"), None), "models")
        return google_embeddings.Embeddings(call, call.model if self.restores_model(call) else call.upstream_model)

    def error(self, status: int, body: bytes) -> UpstreamError:
        return _error(status, body) or vendor_error(status, body)

    def event_error(self, event: sse.Event) -> UpstreamError | None:
        return _error(200, event.data) if b'"error"' in event.data else None


def _error(status: int, body: bytes) -> UpstreamError | None:
    try:
        return gemini_answer.error(status, jsontext.load(body))
    except NotJson:
        return None
