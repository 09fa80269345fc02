"""Anthropic: its own Messages API. Clients of Messages pass; everybody else's chat is converted, both ways."""

from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar, Literal

from pydantic import Field

from extproc.providers.base import Body, Provider, vendor_error, with_query
from extproc.providers.protocols import claude_answer, claude_models, claude_request
from extproc.providers.protocols.model_list import ModelList
from extproc.providers.reader import Reader
from extproc.providers.traits import Traits
from extproc.providers.translator import Translator
from extproc.terms.call import CHAT, MESSAGES, MODELS, Call
from extproc.terms.errors import UnsupportedApi, UpstreamError
from extproc.text import jsontext, sse
from extproc.text.jsontext import NotJson

_CODE = {
    "user-agent": "claude-cli/2.1.2 (external, cli)",
    "x-app": "cli",
    "anthropic-beta": "oauth-2025-04-20,interleaved-thinking-2025-05-14,claude-code-20250219",
}
"""What a token of Claude Code's own login is asked to come with (Higress ai-proxy, claudeCodeMode, 2026)."""


class Claude(Provider):
    """`claudeVersion`: the API's version where the client names none. `claudeCodeMode`: the keys are tokens of Claude
    Code's login, not API keys."""

    example_model: ClassVar[str] = "claude-sonnet-5-5"

    type: Literal["claude"]
    claude_version: str = Field(default="2023-06-01", pattern=r"^\d{4}-\d\d-\d\d$")
    claude_code_mode: bool = False

    @property
    def vendor_url(self) -> str:
        return "https://api.anthropic.com"

    @cached_property
    def speaks(self) -> frozenset[str]:
        return frozenset({MESSAGES})

    @property
    def counting(self) -> frozenset[str]:
        return self.speaks

    def traits(self, model: str) -> Traits:
        return claude_models.traits(model)

    def path(self, call: Call) -> str:
        if call.api == CHAT:
            path = "/v1/messages"
        elif call.target.root in (MESSAGES, MODELS):
            path = f"/v1/{call.api}"
        else:
            raise UnsupportedApi("claude has chat, messages and models only")
        return with_query(path, "" if call.api == CHAT else call.target.query, "beta=true" * self.claude_code_mode)

    def credentials(self, call: Call) -> Mapping[str, str]:
        version = {"anthropic-version": call.headers.get("anthropic-version") or self.claude_version}
        if call.target.root == MESSAGES and (betas := call.headers.get("anthropic-beta")):
            version["anthropic-beta"] = betas
        if self.claude_code_mode:
            return {"authorization": f"Bearer {call.token}", **version, **_CODE}
        return {"x-api-key": call.token or "", **version}

    def body(self, call: Call) -> Body:
        if call.api != CHAT or self.protocol == "original":
            return super().body(call)
        fields, dropped = self.openai_fields(call)
        more = list(dropped)
        body = claude_request.request(fields, call.upstream_model or "", more)
        return Body(jsontext.dump(body), tuple(more))

    def reader(self, call: Call) -> Reader:
        return claude_answer.ClaudeReader(call.body or {})

    def translator(self, call: Call) -> Translator | None:
        if call.api == MODELS and call.method == "GET" and self.protocol == "openai":
            return ModelList(lambda model: (model["id"], model.get("created_at")))
        return super().translator(call)

    def error(self, status: int, body: bytes) -> UpstreamError:
        return _error(status, body) or vendor_error(status, body)

    def event_error(self, event: sse.Event) -> UpstreamError | None:
        return _error(200, event.data) if event.name == b"error" else None


def _error(status: int, body: bytes) -> UpstreamError | None:
    try:
        return claude_answer.error(status, jsontext.load(body))
    except NotJson:
        return None
