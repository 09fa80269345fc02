"""Qwen on DashScope: native API (the default), compatible mode, or `protocol: original`.

Rule: what differs from model to model is a row in `families.py`.
"""

from functools import cached_property
import re
from typing import ClassVar, Literal, Self

from pydantic import field_validator, model_validator

from extproc.providers import dashscope, dashscope_parameters, dashscope_services, families, messages
from extproc.providers.base import Body, Provider, ThinkingMode, UpstreamRequest, with_query
from extproc.providers.blocks import Effort, Patterns, is_plain
from extproc.providers.dashscope_chat import ChatReader
from extproc.providers.families import Family
from extproc.providers.reader import Reader
from extproc.providers.traits import Traits
from extproc.providers.translator import Translator
from extproc.terms.call import CHAT, EMBEDDINGS, MESSAGES, Call, Target
from extproc.terms.errors import UnsupportedApi, UpstreamError
from extproc.terms.frozen import replace
from extproc.text import jsontext, sse
from extproc.text.jsontext import Fields
from extproc.text.patterns import NamePatterns

_SERVICES = "/api/v1/services/"
_TEXT = f"{_SERVICES}aigc/text-generation/generation"
_MULTIMODAL = f"{_SERVICES}aigc/multimodal-generation/generation"
_ANTHROPIC = "/apps/anthropic/v1/messages"
_EMBEDDING = f"{_SERVICES}embeddings/text-embedding/text-embedding"

_COMPATIBLE_ROOTS = frozenset("chat completions embeddings responses files batches models conversations".split())
_ORIGINAL_PREFIXES = ("/api/v1/", "/compatible-mode/", "/compatible-api/", "/apps/")

_CODING_PLAN = re.compile(r"coding(-\w+)?\.dashscope\.aliyuncs\.com")
"""The coding plan's host has OpenAI's and Anthropic's API, nothing native, the first under /v1. It refuses user-agents
that are no coding agent; a client's own goes through everywhere."""

_RERANK = ("rerank", "reranks")
_PREAMBLE = "You are a helpful assistant."
_FILE_MODELS = NamePatterns(["qwen-long*"])

_CACHE_FOR_AN_HOUR = NamePatterns(["qwen4*"])
"""Others refuse a `ttl` (Alibaba, "Explicit cache", 2026-11-16)."""

# "When making a request, system needs to be the first message" (a maintainer in QwenLM/Qwen#956, 2024-01), and its
# Anthropic endpoint refuses any other (QwenLM/Qwen#2244, 2026-05). Explicit cache: Alibaba, 2026-10.
_TRAITS = Traits(
    system_first=True,
    search=True,
    cache_control=True,
    top_k=True,
    user=False,
    preserves=True,
    asks="budget",
    adaptive=False,
)


class Qwen(Provider):
    """`multimodalModels` and `streamOnlyModels` match the vendor's names: which models answer on the multimodal path,
    which give no whole answers, in place of what is known of them. `defaultEffort`: the `reasoning_effort` of clients
    that say nothing of thinking."""

    example_model: ClassVar[str] = "qwen3.8-flash"
    known_families: ClassVar[families.Families] = families.QWEN
    setting_prefix: ClassVar[str] = "parameters."

    type: Literal["qwen"]
    qwen_enable_compatible: bool = False
    qwen_enable_search: bool = False
    qwen_file_ids: tuple[str, ...] = ()
    qwen_domain: str = "dashscope.aliyuncs.com"
    reasoning_content_mode: ThinkingMode = "passthrough"
    default_effort: Effort | None = None
    multimodal_models: Patterns | None = None
    stream_only_models: Patterns | None = None

    @field_validator("qwen_domain")
    @classmethod
    def _bare_host(cls, value: str) -> str:
        if not value or not is_plain(value) or any(c in value for c in "/?#@"):
            raise ValueError("must be a host name such as dashscope-intl.aliyuncs.com")
        return value

    @model_validator(mode="after")
    def _one_context(self) -> Self:
        if self.qwen_file_ids and self.context is not None:
            raise ValueError("qwenFileIds and context cannot be used together")
        return self

    @property
    def vendor_url(self) -> str:
        return f"https://{self.qwen_domain}"

    def _native(self, call: Call) -> bool:
        return self._speaks_native and call.target.api in (CHAT, EMBEDDINGS)

    @cached_property
    def _speaks_native(self) -> bool:
        return self.protocol == "openai" and not self.qwen_enable_compatible and not self._coding_plan

    @cached_property
    def _coding_plan(self) -> bool:
        return _CODING_PLAN.fullmatch(self.qwen_domain) is not None

    def _upstream_streams(self, call: Call) -> bool:
        return call.stream or self.family(call.upstream_model).streams_only

    def _lists(self, name: str, row: Family) -> Family:
        if self.multimodal_models is not None:
            row = replace(row, path="multimodal" if name in self.multimodal_models else "text")
        if self.stream_only_models is not None:
            row = replace(row, streams_only=name in self.stream_only_models)
        return row

    def sees(self, call: Call) -> frozenset[families.Sense] | None:
        known = self.family(call.upstream_model).sees
        return frozenset() if known is None and self._native(call) and not self._multimodal(call) else known

    def _multimodal(self, call: Call) -> bool:
        """Whether a model answers on the multimodal path, by the table or by what the vendor said since."""
        return (self.family(call.upstream_model).path == "multimodal") != call.turned

    @property
    def has_paths(self) -> bool:
        return self._speaks_native

    def turns(self, call: Call, error: UpstreamError) -> bool:
        """`url error, please check url`: what either path says of a model of the other (users' reports, 2024 to 2026).
        What the configuration says of a path is not doubted."""
        if not self._native(call) or call.api != CHAT or self.multimodal_models is not None:
            return False
        name = call.upstream_model or ""
        said = any("path" in block.changes and name in NamePatterns([key]) for key, block in self.families.items())
        return error.status == 400 and "url error" in error.message.lower() and not said

    def path(self, call: Call) -> str:
        if call.api == MESSAGES:
            return with_query(_ANTHROPIC, call.target.query)
        if (service := self._service(call)) is not None:
            compatible = call.target.root in _RERANK and not self._speaks_native
            return dashscope_services.COMPATIBLE_RERANK if compatible else service.path
        if call.target.root not in _COMPATIBLE_ROOTS:
            speech = call.target.root == "audio"
            raise UnsupportedApi(dashscope_services.NO_SPEECH if speech else "qwen has no such API")
        if not self._native(call):
            path = f"/v1/{call.api}" if self._coding_plan else f"/compatible-mode/v1/{call.api}"
        elif call.body is None:
            raise UnsupportedApi(f"qwen's native {call.api} takes a POST with a JSON body only")
        elif call.api == EMBEDDINGS:
            path = _EMBEDDING
        else:
            path = _MULTIMODAL if self._multimodal(call) else _TEXT
        return with_query(path, call.target.query)

    def _service(self, call: Call) -> dashscope_services.Service | None:
        """One of DashScope's services that a call is for."""
        if call.body is None or self._coding_plan or self.protocol == "original":
            return None
        return dashscope_services.SERVICES.get(call.api or "")

    def _converted(self, call: Call) -> dashscope_services.Service | None:
        """The same where it is asked in DashScope's own terms: compatible mode has rerank in everybody's."""
        service = self._service(call)
        return None if service is None or (call.target.root in _RERANK and not self._speaks_native) else service

    def request(self, call: Call) -> UpstreamRequest:
        plain = super().request(call)
        if not self._native(call):
            return plain
        if call.api == CHAT and self._upstream_streams(call):
            headers = {**plain.headers, "accept": "text/event-stream", "x-dashscope-sse": "enable"}
            return replace(plain, headers=headers)
        return replace(plain, headers={**plain.headers, "accept": "application/json"}, remove=("x-dashscope-sse",))

    def body(self, call: Call) -> Body:
        service = self._converted(call)
        if service is None and not self._native(call):
            return super().body(call)
        fields, dropped = self.openai_fields(call)
        model = call.upstream_model or ""
        if service is not None:
            more = list(dropped)
            return Body(jsontext.dump(service.request(fields, model, more)), tuple(more))
        if call.api == EMBEDDINGS:
            return Body(dashscope.embeddings_request(fields, model), dropped)
        text, unsaid = dashscope.chat_request(
            fields,
            model,
            multimodal=self._multimodal(call),
            stream=self._upstream_streams(call),
            search=self.qwen_enable_search,
        )
        return Body(text, (*dropped, *unsaid))

    def edit(self, fields: Fields, call: Call) -> tuple[str, ...]:
        if call.api != CHAT:
            return ()
        native = self._speaks_native
        if self.qwen_file_ids and native and (call.upstream_model or "") in _FILE_MODELS:
            files = ",".join(f"fileid://{id}" for id in self.qwen_file_ids)
            fields["messages"] = messages.insert_system(fields["messages"], files, preamble=_PREAMBLE)
        if not native:
            messages.fill_arguments(fields)
        return dashscope_parameters.settle(
            fields,
            self.family(call.upstream_model),
            native=native,
            stream=self._upstream_streams(call),
            effort=self.default_effort,
        )

    def translator(self, call: Call) -> Translator | None:
        if (service := self._converted(call)) is not None:
            return service.translator(call, call.model if self.restores_model(call) else call.upstream_model)
        if not self._native(call):
            return super().translator(call)
        return dashscope.Embeddings(call, call.model if self.restores_model(call) else call.upstream_model)

    @property
    def has(self) -> frozenset[str]:
        return (super().has - {"chat"} if self._speaks_native else super().has) | {MESSAGES}

    @property
    def passes(self) -> frozenset[str]:
        return frozenset() if self._speaks_native else self.has

    def traits(self, model: str) -> Traits:
        return replace(
            _TRAITS,
            output=self.family(model).output,
            cache_ttl=model in _CACHE_FOR_AN_HOUR,
            thinking="kept" if self._preserves else "dropped",
        )

    @cached_property
    def _preserves(self) -> bool:
        return any(one.name == "preserve_thinking" and one.value is True for one in self.custom_settings)

    @property
    def thinking(self) -> ThinkingMode:
        return self.reasoning_content_mode

    def reader(self, call: Call) -> Reader:
        return ChatReader() if self._speaks_native else super().reader(call)

    def error(self, status: int, body: bytes) -> UpstreamError:
        return dashscope.error(status, body)

    def event_error(self, event: sse.Event) -> UpstreamError | None:
        return dashscope.event_error(event)  # compatible mode refuses natively too

    def wants_model(self, target: Target) -> bool:
        return self.protocol == "original" and target.path.startswith(_SERVICES)

    @property
    def original_prefixes(self) -> tuple[str, ...]:
        return _ORIGINAL_PREFIXES

    def takes_context(self, call: Call) -> bool:
        if self.protocol == "original":
            return call.body is not None and call.target.path in (_TEXT, _MULTIMODAL)
        return super().takes_context(call)

    def insert_context_original(self, fields: Fields, call: Call) -> None:
        given = jsontext.fields(fields["input"]) if "input" in fields else {}
        if "messages" in given:
            content = [{"text": call.context}] if call.target.path == _MULTIMODAL else call.context
            given["messages"] = messages.insert_system(given["messages"], content)
            fields["input"] = jsontext.raw(given)
        else:
            super().insert_context_original(fields, call)
