"""Moonshot (Kimi): OpenAI's API, with usage in an odd place and models that take one temperature only."""

from collections.abc import Mapping
from typing import ClassVar, Literal, Self
from urllib.parse import quote

from pydantic import Field, model_validator

from extproc.providers.base import ContextSource, Provider, with_query
from extproc.providers.blocks import Patterns
from extproc.providers.passthrough import PassThrough
from extproc.providers.translator import Translator
from extproc.terms.call import CHAT, MESSAGES, Call, first_segment
from extproc.terms.errors import UnsupportedApi
from extproc.text import jsontext
from extproc.text.jsontext import NULL, Fields, NotJson
from extproc.text.patterns import NamePatterns

_ROOTS = frozenset({"chat", "models", "files", "embeddings"})


class Moonshot(Provider):
    """`moonshotFileId`: an uploaded file whose text goes in as a system message. `fixedTemperatureModels`: the
    vendor's names of models that refuse any temperature but their own ("invalid temperature: only 1 is allowed",
    BerriAI/litellm#29687, 2026), so it is not sent."""

    example_model: ClassVar[str] = "moonshot-v1-8k"

    type: Literal["moonshot"]
    moonshot_file_id: str | None = Field(default=None, min_length=1)
    fixed_temperature_models: Patterns = NamePatterns(["kimi-k2.5*", "kimi-k2.6*", "kimi-k3*"])

    @model_validator(mode="after")
    def _one_context(self) -> Self:
        if self.moonshot_file_id is not None and self.context is not None:
            raise ValueError("moonshotFileId and context cannot be used together")
        return self

    @property
    def context_source(self) -> ContextSource | None:
        if self.moonshot_file_id is None:
            return super().context_source
        return ContextSource(
            url=f"{self.endpoint or self.vendor_url}/v1/files/{quote(self.moonshot_file_id, safe='')}/content",
            refresh=3600.0,
            timeout=self.timeout / 1000,
            max_bytes=1 << 20,
            headers={"authorization": f"Bearer {self.tokens[0].get_secret_value()}", "host": self.upstream.authority},
            field="content",
            ca_file=self.tls.ca_file,
            server_name=self.upstream.sni if self.upstream.tls else None,
        )

    @property
    def vendor_url(self) -> str:
        return "https://api.moonshot.cn"

    @property
    def has(self) -> frozenset[str]:
        return super().has - {"responses"} | {MESSAGES}

    def credentials(self, call: Call) -> Mapping[str, str]:
        return {"x-api-key": call.token or ""} if call.api == MESSAGES else super().credentials(call)

    def path(self, call: Call) -> str:
        if call.api == MESSAGES:
            return with_query("/anthropic/v1/messages", call.target.query)
        if call.api is None or call.target.root not in _ROOTS:
            raise UnsupportedApi("moonshot has chat, models, files and embeddings only")
        return with_query(f"/v1/{call.api}", call.target.query)

    def check_original(self, call: Call) -> None:
        super().check_original(call)
        if first_segment(call.target.path, "/v1/") not in _ROOTS:
            raise UnsupportedApi("moonshot has chat, models, files and embeddings only")

    def edit(self, fields: Fields, call: Call) -> tuple[str, ...]:
        if call.upstream_model is not None and call.upstream_model in self.fixed_temperature_models:
            return () if fields.pop("temperature", None) is None else ("temperature",)
        return ()

    def translator(self, call: Call) -> Translator | None:
        if self.protocol == "openai" and call.api == CHAT and call.stream:
            return PassThrough(call, restore=self.restores_model(call), edit=hoist_usage)
        return super().translator(call)


def hoist_usage(fields: Fields) -> bool:
    """Move `choices[0].usage` of a streamed chunk to the top level, where OpenAI's SDKs look for it."""
    if b'"usage"' not in bytes(fields.get("choices", b"")):
        return False
    try:
        first, *others = jsontext.items(fields["choices"])
        opened = jsontext.fields(first)
        usage = opened.pop("usage")
    except (NotJson, ValueError, KeyError):
        return False
    fields["choices"] = jsontext.raw([opened, *others])
    if usage != NULL:
        fields["usage"] = usage
    return True
