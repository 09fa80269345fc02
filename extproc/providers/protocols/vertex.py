"""Google's Vertex AI: Gemini's bodies under other paths, and Claude's; by service account, or by express key."""

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import quote

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from extproc.providers.base import Body, Provider, TokenSource, UpstreamRequest, vendor_error
from extproc.providers.blocks import secret
from extproc.providers.protocols import (
    claude_answer,
    claude_models,
    claude_request,
    gemini_answer,
    gemini_request,
    google_embeddings,
)
from extproc.providers.reader import Reader
from extproc.providers.traits import Traits
from extproc.providers.translator import Translator
from extproc.terms.call import CHAT, EMBEDDINGS, MESSAGES, Call
from extproc.terms.errors import MissingParameter, UnsupportedApi, UpstreamError
from extproc.terms.frozen import replace
from extproc.text import jsontext
from extproc.text.jsontext import NotJson

_REGION = r"^[a-z0-9-]+$"
_COUNTING = f"{MESSAGES}/count_tokens"


class Vertex(Provider):
    """`vertexAuthKey`: a service account's JSON; without it `apiTokens` are express keys, and no project is needed.
    `vertexClaudeVersion`: what goes into the body of Claude's requests. `geminiSafetySetting`, `geminiThinkingBudget`
    as with `gemini`. Higress' `vertexAuthServiceName` and `vertexTokenRefreshAhead` are accepted and not needed."""

    tokens_required: ClassVar[bool] = False
    keeps_signatures: ClassVar[bool] = True
    example_model: ClassVar[str] = "gemini-3.8-flash"

    type: Literal["vertex"]
    vertex_auth_key: Annotated[SecretStr | None, BeforeValidator(secret, json_schema_input_type=str)] = None
    vertex_region: str = Field(default="global", pattern=_REGION)
    vertex_project_id: str | None = Field(default=None, pattern=r"^[a-z0-9.:-]+$")
    vertex_claude_version: str = "vertex-2023-10-16"
    vertex_auth_service_name: str | None = None
    vertex_token_refresh_ahead: int | None = None
    gemini_safety_setting: dict[str, str] = {}
    gemini_thinking_budget: int | None = Field(default=None, ge=-1)

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if (self.vertex_auth_key is None) == (not self.tokens):
            raise ValueError("needs either vertexAuthKey (a service account) or apiTokens (express keys)")
        if self.vertex_auth_key is not None and self.vertex_project_id is None:
            raise ValueError("vertexProjectId is missing: vertexAuthKey needs one")
        return self

    @cached_property
    def token_source(self) -> TokenSource | None:
        key = self.vertex_auth_key
        return None if key is None else TokenSource(key, "https://www.googleapis.com/auth/cloud-platform")

    @property
    def needs_package(self) -> tuple[str, str] | None:
        return None if self.vertex_auth_key is None else ("google.auth", "ai-proxy-envoy[google]")

    @property
    def vendor_url(self) -> str:
        region = self.vertex_region
        if region == "global" or self.vertex_auth_key is None:
            return "https://aiplatform.googleapis.com"
        if region in ("us", "eu"):
            return f"https://aiplatform.{region}.rep.googleapis.com"
        return f"https://{region}-aiplatform.googleapis.com"

    @property
    def original_prefixes(self) -> tuple[str, ...]:
        return ("/v1/", "/v1beta1/")

    @property
    def has(self) -> frozenset[str]:
        return frozenset({"chat", MESSAGES})

    @cached_property
    def speaks(self) -> frozenset[str]:
        """Anthropic's Messages where the configuration says so: Claude has them here, other models have not."""
        return frozenset({MESSAGES}) if self.messages_api == "pass" else frozenset()

    @property
    def counting(self) -> frozenset[str]:
        return self.speaks

    def traits(self, model: str) -> Traits:
        return claude_models.traits(model) if _is_claude(model) else gemini_request.TRAITS

    def path(self, call: Call) -> str:
        if call.target.root == MESSAGES and MESSAGES in self.speaks and call.body is not None:
            return self._messages_path(call)
        if call.api not in (CHAT, EMBEDDINGS) or call.body is None:
            raise UnsupportedApi("vertex has chat and embeddings only")
        if not (model := call.upstream_model):
            raise MissingParameter("model is missing", param="model")
        if call.api == EMBEDDINGS:
            verb = "embedContent" if google_embeddings.embeds_content(model) else "predict"
        elif _is_claude(model):
            verb = "streamRawPredict" if call.stream else "rawPredict"
        else:
            verb = "streamGenerateContent?alt=sse" if call.stream else "generateContent"
        publisher, _, name = model.partition("/") if "/" in model else ("google", "", model)
        if _is_claude(model):
            publisher = "anthropic"
        return f"{self._base(publisher)}/publishers/{quote(publisher, safe='')}/models/{quote(name, safe='@')}:{verb}"

    def _messages_path(self, call: Call) -> str:
        model = call.upstream_model or ""
        if not _is_claude(model):
            raise UnsupportedApi("messagesApi is pass, and on vertex only Claude has the Messages API")
        name = "count-tokens" if call.api == _COUNTING else quote(model.rpartition("/")[2], safe="@")
        verb = "streamRawPredict" if call.stream else "rawPredict"
        return f"{self._base('anthropic')}/publishers/anthropic/models/{name}:{verb}"

    def _base(self, publisher: str) -> str:
        if self.vertex_auth_key is None:
            return "/v1beta1"
        version = "v1" if publisher == "anthropic" else "v1beta1"
        return f"/{version}/projects/{self.vertex_project_id}/locations/{self.vertex_region}"

    def credentials(self, call: Call) -> Mapping[str, str]:
        if self.vertex_auth_key is None:
            return {"x-goog-api-key": call.token or ""}
        return {"authorization": f"Bearer {call.token}"}

    def request(self, call: Call) -> UpstreamRequest:
        plain = super().request(call)
        if call.target.root != MESSAGES or self.protocol == "original":
            return plain
        headers = {name: value for name, value in plain.headers.items() if name != "anthropic-version"}
        if betas := call.headers.get("anthropic-beta"):
            headers["anthropic-beta"] = betas
        return replace(plain, headers=headers, remove=(*plain.remove, "anthropic-version"))

    def body(self, call: Call) -> Body:
        if call.body is None or self.protocol == "original":
            return super().body(call)
        fields, dropped = self.openai_fields(call)
        if call.target.root == MESSAGES:
            version = {"anthropic_version": jsontext.raw(self.vertex_claude_version)}
            given = {name: value for name, value in fields.items() if name != "model" or call.api == _COUNTING}
            return Body(jsontext.dump({**version, **given}), dropped)
        more, model = list(dropped), call.upstream_model or ""
        if call.api == EMBEDDINGS:
            return Body(jsontext.dump(google_embeddings.vertex(fields, model)), dropped)
        if _is_claude(model):
            body = claude_request.request(fields, model.rpartition("/")[2], more)
            del body["model"]
            body = {"anthropic_version": self.vertex_claude_version, **body}
        else:
            body = gemini_request.request(
                fields,
                model.rpartition("/")[2],
                more,
                safety=self.gemini_safety_setting,
                budget=self.gemini_thinking_budget,
            )
        return Body(jsontext.dump(body), tuple(more))

    def reader(self, call: Call) -> Reader:
        if _is_claude(call.upstream_model or ""):
            return claude_answer.ClaudeReader(call.body or {})
        return gemini_answer.GeminiReader(call.nonce)

    def translator(self, call: Call) -> Translator | None:
        if self.protocol == "original" or call.target.root == MESSAGES:
            return super().translator(call)
        return google_embeddings.Embeddings(call, call.model if self.restores_model(call) else call.upstream_model)

    def error(self, status: int, body: bytes) -> UpstreamError:
        try:
            document = jsontext.load(body)
        except NotJson:
            return vendor_error(status, body)
        found = gemini_answer.error(status, document) or claude_answer.error(status, document)
        return found or vendor_error(status, body)


def _is_claude(model: str) -> bool:
    return model.rpartition("/")[2].startswith("claude")
