"""Vendors that speak OpenAI with differences: what their documents say, a line each.

Rule: written from the vendors' documents and SDKs as of 2026-11, and never from what a gateway does about them: a
mistake there must show here. What a vendor refuses is a 400 with its name in it; what it answers has its names.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from extproc.simulate.call import Answer, Call
from extproc.simulate.conversation import matches
from extproc.simulate.dialect import Dialect, openai_error
from extproc.simulate.openai import dispatch
from extproc.simulate.refusal import Refusal

Json = dict[str, Any]

_OPENAI_ONLY = (
    "audio function_call functions logit_bias logprobs metadata modalities n parallel_tool_calls prediction "
    "frequency_penalty presence_penalty service_tier store stream_options top_logprobs user verbosity"
)
_LOCAL = "completions embeddings models responses"


@dataclass(frozen=True, slots=True)
class Facts:
    """One vendor. `hosts`: where it is; `base`: what its paths begin with; `has`: its APIs beside chat. `refuses`:
    members of a chat body, `turns`: members of its messages. `thinks`: the member that must ask for thinking, `always`,
    or nothing. `says`: what thinking is called in answers. `finish`: its words for OpenAI's. `forced`: whether tools
    can be forced. `wants`: members that messages of an assistant must have. `roles`: those it has. `ids`: the length of
    a tool call's id. `parts`: content in parts. `ends`: whether it says why. `key`: empty where there is none.
    `bare_errors`: their form. `messages`: where it has Anthropic's Messages. `adds`: members beside OpenAI's in
    answers."""

    name: str
    hosts: str
    base: str = "/v1/"
    has: str = "models"
    refuses: str = ""
    turns: str = ""
    thinks: str = ""
    says: str = "reasoning_content"
    finish: Mapping[str, str] = field(default_factory=dict, hash=False)
    forced: bool = True
    wants: str = ""
    roles: str = "system user assistant tool"
    usage: str = ""
    ids: int | None = None
    parts: bool = False
    key: str = "authorization"
    bare_errors: str = ""
    ends: bool = True
    messages: str = ""
    adds: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def vendor_error(self, refusal: Refusal, request_id: str) -> Json:
        """A refusal in the vendor's form: dict."""
        code = refusal.code or str(refusal.status)
        match self.bare_errors:
            case "base_resp":
                number = {401: 1004, 429: 1002, 400: 2013}.get(refusal.status, 1000)
                return {"choices": None, "base_resp": {"status_code": number, "status_msg": refusal.message}}
            case "code":
                number = {401: 11200, 429: 11202, 400: 10013}.get(refusal.status, 10000)
                return {"code": number, "message": refusal.message, "sid": request_id}
            case "detail":
                return {"object": "error", "message": refusal.message, "type": "invalid_request_error", "code": code}
        return openai_error(refusal, request_id)

    @property
    def dialect(self) -> Dialect:
        """How it speaks OpenAI: Dialect."""
        return Dialect(
            name=self.name,
            error=self.vendor_error,
            roles=frozenset(self.roles.split()),
            check=self._check,
            thinks=self._thinks,
            shape=self._shape,
            models=(f"{self.name}-1",),
        )

    def handle(self, call: Call) -> Answer:
        """Answer one request (Call): Answer, or Refusal."""
        return dispatch(call, self.dialect, ("chat", *self.has.split()))

    # What it demands

    def _check(self, _call: Call, body: Json) -> None:
        for name in self.refuses.split():
            if name in body:
                raise Refusal(400, f"Unrecognized request argument supplied: {name}", param=name)
        if not self.forced and body.get("tool_choice") not in (None, "auto", "none") and self._thinks(body):
            raise Refusal(400, "tool_choice required or an object is not supported in thinking mode")
        for message in body.get("messages", ()):
            for name in self.turns.split():
                if name in message:
                    raise Refusal(400, f"property 'messages.{name}' is unsupported", param=f"messages.{name}")
            if message["role"] == "assistant" and self._thinks(body):
                for name in self.wants.split():
                    if name not in message:
                        raise Refusal(400, f"The `{name}` in the thinking mode must be passed back to the API.")
            for id in self._ids(message) if self.ids is not None else ():
                if len(id) != self.ids or not id.isalnum():
                    raise Refusal(400, f"Tool call id was {id} but must be a-z, A-Z, 0-9, with a length of {self.ids}.")

    @staticmethod
    def _ids(message: Json) -> list[str]:
        calls = [call["id"] for call in message.get("tool_calls") or ()]
        return [*calls, *([message["tool_call_id"]] if "tool_call_id" in message else [])]

    def _thinks(self, body: Json) -> bool:
        match self.thinks:
            case "always":
                return True
            case "thinking":
                return bool((body.get("thinking") or {}).get("type") != "disabled")
            case "enable_thinking":
                return body.get("enable_thinking") is True
            case "reasoning":
                return bool((body.get("reasoning") or {}).get("effort", "none") != "none")
            case "reasoning_effort":
                return bool(body.get("reasoning_effort", "none") != "none")
        return False

    # What it answers

    def _shape(self, answers: list[Json]) -> list[Json]:
        """Its own names in an answer, or in all chunks of a stream."""
        thinking = False
        for one in answers:
            one.update(self.adds)
            for choice in one.get("choices", ()):
                said = choice.get("delta") or choice.get("message") or {}
                thinking = self._rename(said, whole="message" in choice, thinking=thinking)
                if choice.get("finish_reason") in self.finish:
                    choice["finish_reason"] = self.finish[choice["finish_reason"]]
                if not self.ends:
                    choice.pop("finish_reason", None)
            if self.usage == "x_groq" and one["object"].endswith("chunk"):
                self._aside(one)
        return answers

    def _aside(self, chunk: Json) -> None:
        if any(choice.get("finish_reason") for choice in chunk["choices"]):
            counts = {"prompt_tokens": 9, "completion_tokens": 10, "total_tokens": 19}
            chunk["x_groq"] = {"id": "req_sim", "usage": counts}

    def _rename(self, said: Json, *, whole: bool, thinking: bool) -> bool:
        """Thinking under its name; whether a `<think>` is open now."""
        thought = said.pop("reasoning_content", None)
        if self.parts:
            if thought:
                said["content"] = [{"type": "thinking", "thinking": [{"type": "text", "text": thought}]}] + (
                    [{"type": "text", "text": said["content"]}] if said.get("content") else []
                )
            return False
        if self.says != "think":
            if thought is not None:
                said[self.says] = thought
            return False
        if whole:
            if thought:
                said["content"] = f"<think>\n{thought}\n</think>\n\n{said.get('content') or ''}"
            return False
        if thought:
            said["content"] = thought if thinking else f"<think>\n{thought}"
            return True
        if thinking and said.get("role") is None:
            said["content"] = f"\n</think>\n\n{said.get('content') or ''}"
            return False
        return thinking


ALL = (
    Facts(
        "deepseek",
        "api.deepseek.com",
        thinks="thinking",
        forced=False,
        wants="reasoning_content",
        messages="/anthropic/v1/messages",
    ),
    Facts(
        "zhipuai",
        "open.bigmodel.cn api.z.ai",
        base="/api/paas/v4/",
        has="embeddings images audio files batches models",
        refuses=f"{_OPENAI_ONLY} max_completion_tokens",
        turns="name",
        thinks="thinking",
        forced=False,
        finish={"content_filter": "sensitive"},
        messages="/api/anthropic/v1/messages",
    ),
    Facts("zhipuai", "open.bigmodel.cn api.z.ai", base="/api/coding/paas/v4/", refuses=_OPENAI_ONLY, thinks="thinking"),
    Facts(
        "doubao",
        "ark.*.volces.com ark.*.bytepluses.com",
        base="/api/v3/",
        has="embeddings images responses",
        thinks="thinking",
    ),
    Facts(
        "minimax",
        "api.minimax.io api.minimaxi.com",
        has="",
        refuses="tool_choice",
        thinks="thinking",
        says="think",
        bare_errors="base_resp",
        messages="/anthropic/v1/messages",
    ),
    Facts("hunyuan", "api.hunyuan.cloud.tencent.com", has="embeddings"),
    Facts("baidu", "qianfan.baidubce.com", base="/v2/", has="embeddings models images"),
    Facts("stepfun", "api.stepfun.com", has="models files images audio"),
    Facts("yi", "api.lingyiwanwu.com"),
    Facts("baichuan", "api.baichuan-ai.com", has="embeddings"),
    Facts("ai360", "api.360.cn", has="embeddings models"),
    Facts("spark", "spark-api-open.xf-yun.com", has="", bare_errors="code", ends=False),
    Facts(
        "longcat",
        "api.longcat.chat",
        base="/openai/v1/",
        has="responses",
        thinks="thinking",
        messages="/anthropic/v1/messages",
    ),
    Facts(
        "siliconflow",
        "api.siliconflow.cn api.siliconflow.com",
        has="embeddings images audio models",
        thinks="enable_thinking",
        messages="/v1/messages",
    ),
    Facts("github", "models.inference.ai.azure.com", base="/", has="embeddings"),
    Facts(
        "openrouter",
        "openrouter.ai",
        base="/api/v1/",
        has="completions embeddings models responses",
        thinks="reasoning",
        says="reasoning",
        roles="system developer user assistant tool",
        messages="/api/v1/messages",
    ),
    Facts(
        "groq",
        "api.groq.com",
        base="/openai/v1/",
        has="embeddings models audio files batches responses",
        refuses="stream_options logit_bias",
        turns="name reasoning_content",
        thinks="reasoning_effort",
        says="reasoning",
        usage="x_groq",
    ),
    Facts(
        "grok",
        "api.x.ai",
        has="completions embeddings models images responses",
        refuses="stop presence_penalty frequency_penalty",
        turns="name",
        thinks="always",
    ),
    Facts(
        "mistral",
        "api.mistral.ai api.*.mistral.ai",
        has="embeddings models files audio responses moderations",
        refuses="user stream_options logit_bias store seed max_completion_tokens",
        turns="reasoning_content",
        thinks="reasoning_effort",
        finish={"length": "model_length"},
        ids=9,
        parts=True,
        bare_errors="detail",
    ),
    Facts(
        "together-ai",
        "api.together.ai api.together.xyz",
        has="completions embeddings models images audio files batches",
        refuses="stream_options parallel_tool_calls user max_completion_tokens",
        thinks="reasoning_effort",
        says="reasoning",
        finish={"stop": "eos"},
    ),
    Facts(
        "fireworks",
        "api.fireworks.ai",
        base="/inference/v1/",
        has="completions embeddings models responses",
        turns="annotations refusal audio reasoning_details provider_specific_fields",
    ),
    Facts(
        "cerebras",
        "api.cerebras.ai",
        has="completions models",
        refuses="metadata store",
        adds={"system_fingerprint": "fp_sim", "time_info": {"queue_time": 0.001, "total_time": 0.02}},
        turns="reasoning_content",
        thinks="reasoning_effort",
        says="reasoning",
    ),
    Facts("sambanova", "api.sambanova.ai", has="completions embeddings models audio"),
    Facts("nvidia", "integrate.api.nvidia.com", has="completions embeddings models"),
    Facts("deepinfra", "api.deepinfra.com", base="/v1/openai/", has="completions embeddings models images audio"),
    Facts("perplexity", "api.perplexity.ai", base="/", has=""),
    Facts("novita", "api.novita.ai", base="/openai/v1/", has="completions embeddings models"),
    Facts("cloudflare", "api.cloudflare.com", base="/client/v4/accounts/*/ai/v1/", has="embeddings responses"),
    Facts(
        "bedrock-mantle",
        "bedrock-mantle.*.api.aws",
        has="models responses",
        messages="/anthropic/v1/messages",
    ),
    Facts("ollama", "ollama", has=_LOCAL, thinks="always", says="reasoning", key="", messages="/v1/messages"),
    Facts("vllm", "vllm", has=_LOCAL, thinks="always", says="reasoning", messages="/v1/messages"),
    Facts("sglang", "sglang", has=_LOCAL, thinks="always"),
    Facts("lmstudio", "lmstudio", has=_LOCAL, thinks="always", says="reasoning", messages="/v1/messages"),
    Facts("llamacpp", "llamacpp", has=_LOCAL, thinks="always", messages="/v1/messages"),
)  # fmt: skip


def of(host: str, path: str) -> tuple[Facts, str] | None:
    """Whose `host` (str) it is, and what follows its base in `path` (str): (Facts, str), or None. Servers of one's own
    are called by their names."""
    known = [facts for facts in ALL if matches(host, facts.hosts.split())]
    for facts in known:
        steps = facts.base.count("/")
        if matches("/".join(path.split("/")[:steps]) + "/", (facts.base,)):
            return facts, path.split("/", steps)[steps]
    return (known[0], "") if known else None
