"""Moonshot (Kimi): OpenAI's API, with usage in an odd place and models that take one value only of each sampling
parameter. Rule: which ones is told by `families.py`.
"""

from collections.abc import Iterator, Mapping
from typing import ClassVar, Final, Literal, Self
from urllib.parse import quote

from msgspec import Raw
from pydantic import Field, model_validator

from extproc.providers import families
from extproc.providers.base import ContextSource, Provider, with_query
from extproc.providers.blocks import Effort, Patterns
from extproc.providers.families import Family
from extproc.providers.passthrough import PassThrough
from extproc.providers.traits import Traits
from extproc.providers.translator import Translator
from extproc.terms.call import CHAT, MESSAGES, Call, first_segment
from extproc.terms.errors import UnsupportedApi
from extproc.terms.frozen import replace
from extproc.text import jsontext
from extproc.text.jsontext import NULL, Fields, NotJson

_ROOTS = frozenset({"chat", "models", "files", "embeddings"})

_FIXED: Final[Mapping[str, tuple[bytes, ...]]] = {
    "temperature": (b"1", b"1.0"),
    "top_p": (b"1", b"1.0"),
    "n": (b"1",),
    "presence_penalty": (b"0", b"0.0"),
    "frequency_penalty": (b"0", b"0.0"),
}
"""Sampling parameters, and what chat programs send that says nothing."""

_DISABLED: Final = jsontext.raw({"type": "disabled"})
_OFF: Final = ("none", "minimal")
_HIGHER: Final[Mapping[str, str]] = {"medium": "high", "xhigh": "max"}


class Moonshot(Provider):
    """`moonshotFileId`: an uploaded file whose text goes in as a system message. `fixedTemperatureModels`: the
    vendor's names of models that refuse any sampling but their own, in place of those that are known. `defaultEffort`:
    the `reasoning_effort` of clients that say nothing of thinking."""

    example_model: ClassVar[str] = "kimi-k3.1-pro"
    known_families: ClassVar[families.Families] = families.MOONSHOT

    type: Literal["moonshot"]
    moonshot_file_id: str | None = Field(default=None, min_length=1)
    default_effort: Effort | None = None
    fixed_temperature_models: Patterns | None = None

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

    def traits(self, model: str) -> Traits:
        family = self.family(model)
        asks: Literal["effort", "type", ""] = "type" if family.thinks == "unasked" else ""
        return Traits(
            # "the reasoning_content in the thinking mode must be passed back" (openclaw/openclaw#73417, 2026)
            thinking="required" if family.thinks in ("always", "unasked") else "dropped",
            asks="effort" if family.efforts else asks,
            efforts=family.efforts or None,
            output=family.output,
        )

    def edit(self, fields: Fields, call: Call) -> tuple[str, ...]:
        if call.api != CHAT:
            return ()
        family = self.family(call.upstream_model)
        dropped = *_sampling(fields, family), *_thinking(fields, family, self.default_effort), *_tools(fields, family)
        _remember(fields, family)
        return dropped

    def _lists(self, name: str, row: Family) -> Family:
        if self.fixed_temperature_models is None:
            return row
        return replace(row, fixed=name in self.fixed_temperature_models)

    def takes_stream_options(self, call: Call) -> bool:
        return call.api != CHAT  # where it tells its usage unasked

    def translator(self, call: Call) -> Translator | None:
        if self.protocol == "openai" and call.api == CHAT and call.stream:
            return PassThrough(call, restore=self.restores_model(call), edit=hoist_usage)
        return super().translator(call)


def _sampling(fields: Fields, family: Family) -> Iterator[str]:
    """One limit, under its newer name and within the model's; no parameter that it has one value for."""
    if not family.fixed:
        return
    for name, neutral in _FIXED.items():
        if (given := fields.pop(name, NULL)) != NULL and bytes(given) not in neutral:
            yield name
    if (limit := fields.pop("max_tokens", NULL)) != NULL:
        fields.setdefault("max_completion_tokens", limit)
    limit = fields.get("max_completion_tokens", NULL)
    if family.output is not None and isinstance(most := jsontext.peek(limit), int) and most > family.output:
        fields["max_completion_tokens"] = jsontext.raw(family.output)


def _thinking(fields: Fields, family: Family, default: str | None) -> Iterator[str]:
    """The nearest effort that the model has. One that always thinks refuses to be told not to."""
    effort, off = jsontext.peek(fields.get("reasoning_effort", NULL)), False
    if isinstance(mode := jsontext.peek(fields.get("thinking", NULL)), dict):
        off = mode.get("type") == "disabled"
    elif effort is None and (effort := default) is None:
        return
    if family.efforts:
        if off:
            del fields["thinking"]
            yield "thinking"
        elif effort in _OFF and "reasoning_effort" in fields:
            yield "reasoning_effort"
        if off or effort in _OFF:
            effort = family.efforts[0]
        if isinstance(effort, str):
            fields["reasoning_effort"] = jsontext.raw(_HIGHER.get(effort, effort))
            fields.pop("thinking", None)  # both are a 400 (HKUDS/nanobot#3939, 2026-05)
    elif family.thinks is not None:
        if off and family.thinks == "always":  # likewise (theopenco/llmgateway#3065, 2026-07)
            del fields["thinking"]
            yield "thinking"
        given = fields.pop("reasoning_effort", NULL) != NULL
        if effort in _OFF and family.thinks == "unasked":
            fields.setdefault("thinking", _DISABLED)
        elif given and not (effort in _OFF and family.thinks == "never"):
            yield "reasoning_effort"


def _remember(fields: Fields, family: Family) -> None:
    """Calls of tools with what was thought at them, a blank where nobody knows it any more: "reasoning_content is
    missing in assistant tool call message" (mastra-ai/mastra#12592, 2026-02, openclaw/openclaw#74846, 2026-04)."""
    text = bytes(fields["messages"])
    if family.thinks not in ("always", "unasked") or b'"tool_calls"' not in text:
        return
    if jsontext.peek(fields.get("thinking", NULL), "type") == "disabled":
        return
    try:
        messages = jsontext.objects(fields["messages"])
    except NotJson:
        return
    calling = [one for one in messages if bytes(one.get("tool_calls", NULL)) not in (b"null", b"[]")]
    bare = [one for one in calling if one.get("reasoning_content", NULL) == NULL]
    for message in bare:
        message["reasoning_content"] = jsontext.raw(" ")
    if bare:
        fields["messages"] = jsontext.raw(messages)


def _tools(fields: Fields, family: Family) -> Iterator[str]:
    """Without `strict`, which it refuses; forced ones where the model takes that."""
    choice = bytes(fields.get("tool_choice", NULL))
    if (choice == _REQUIRED or choice.startswith(b"{")) and family.forced is False:
        fields["tool_choice"] = _AUTO
        yield "tool_choice"
    if b'"strict"' not in bytes(fields.get("tools", b"")):
        return
    try:
        opened = jsontext.objects(fields["tools"])
        strict = False
        for tool in opened:
            function = jsontext.fields(tool.get("function", b"{}"))
            if function.pop("strict", None) is not None:
                tool["function"], strict = jsontext.raw(function), True
    except NotJson:
        return
    if strict:
        fields["tools"] = jsontext.raw(opened)
        yield "strict"


_REQUIRED: Final = b'"required"'
_AUTO: Final = Raw(b'"auto"')


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
