"""Amazon Bedrock: Converse and ConverseStream, by a bearer key or signed."""

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import quote

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from extproc.providers.base import Body, Provider, UpstreamRequest
from extproc.providers.blocks import secret
from extproc.providers.protocols import bedrock_answer, bedrock_request, claude_models
from extproc.providers.protocols.sigv4 import Signer
from extproc.providers.reader import Reader
from extproc.providers.traits import LEVELS, Traits
from extproc.terms.call import CHAT, Call
from extproc.terms.errors import MissingParameter, UnsupportedApi, UpstreamError
from extproc.terms.frozen import replace
from extproc.text import jsontext
from extproc.text.jsontext import NotJson

Secret = Annotated[SecretStr | None, BeforeValidator(secret, json_schema_input_type=str)]


class Bedrock(Provider):
    """`awsRegion`: where. `apiTokens`: bearer keys, which win over `awsAccessKey` and `awsSecretKey` (with
    `awsSessionToken` where they are a session's). `bedrockAdditionalFields`: goes into every chat's
    `additionalModelRequestFields`. `promptCacheRetention`: whether cache points are set, at
    `bedrockPromptCachePointPositions`, as in Higress."""

    tokens_required: ClassVar[bool] = False
    example_model: ClassVar[str] = "anthropic.claude-sonnet-5-5"

    type: Literal["bedrock"]
    aws_region: str = Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")
    aws_access_key: Secret = None
    aws_secret_key: Secret = None
    aws_session_token: Secret = None
    bedrock_additional_fields: dict[str, Any] = {}
    prompt_cache_retention: Literal["in_memory", "24h"] | None = None
    bedrock_prompt_cache_point_positions: dict[Literal["systemPrompt", "lastUserMessage", "lastMessage"], bool] = {
        "systemPrompt": True
    }

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if (self.aws_access_key is None) != (self.aws_secret_key is None):
            raise ValueError("awsAccessKey and awsSecretKey go together")
        if not self.tokens and self.aws_access_key is None:
            raise ValueError("needs apiTokens (bearer keys) or awsAccessKey and awsSecretKey")
        return self

    @property
    def needs_package(self) -> tuple[str, str] | None:
        return "botocore", "ai-proxy-envoy[bedrock]"

    @property
    def vendor_url(self) -> str:
        return f"https://bedrock-runtime.{self.aws_region}.amazonaws.com"

    @property
    def original_prefixes(self) -> tuple[str, ...]:
        return ("/model/",)

    @cached_property
    def speaks(self) -> frozenset[str]:
        return frozenset()

    def traits(self, model: str) -> Traits:
        if "claude" in model:
            return replace(claude_models.traits(model), user=False)
        return Traits(files=True, cache_control=True, strict=True, user=False, efforts=LEVELS)

    def path(self, call: Call) -> str:
        if call.api != CHAT or call.body is None:
            raise UnsupportedApi("bedrock has chat only")
        if not call.upstream_model:
            raise MissingParameter("model is missing", param="model")
        return f"/model/{quote(call.upstream_model, safe='')}/{'converse-stream' if call.stream else 'converse'}"

    @cached_property
    def _signer(self) -> Signer | None:
        if self.tokens or self.aws_access_key is None or self.aws_secret_key is None:
            return None
        return Signer(self.aws_access_key, self.aws_secret_key, self.aws_session_token, self.aws_region)

    def request(self, call: Call) -> UpstreamRequest:
        plain = super().request(call)
        if self._signer is None:
            return plain
        body = plain.body if plain.body is not None else call.text
        return replace(plain, headers=self._signer.headers(self.upstream.authority, plain.path, body, call.now))

    def credentials(self, call: Call) -> Mapping[str, str]:
        return super().credentials(call) if self._signer is None else {}

    def body(self, call: Call) -> Body:
        if call.body is None or self.protocol == "original":
            return super().body(call)
        fields, dropped = self.openai_fields(call)
        more = list(dropped)
        body = bedrock_request.request(fields, call.upstream_model or "", more, self.bedrock_additional_fields)
        if self.prompt_cache_retention is not None:
            ttl = "1h" if self.prompt_cache_retention == "24h" else None
            at = {place for place, wanted in self.bedrock_prompt_cache_point_positions.items() if wanted}
            bedrock_request.mark(body, call.upstream_model or "", at, ttl)
        return Body(jsontext.dump(body), tuple(more))

    def reader(self, call: Call) -> Reader:
        return bedrock_answer.BedrockReader(call.body or {})

    def error(self, status: int, body: bytes) -> UpstreamError:
        return self.refusal(status, {}, body)

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        try:
            document = jsontext.load(body)
        except NotJson:
            document = None
        return bedrock_answer.error(status, headers.get("x-amzn-errortype", ""), document)
