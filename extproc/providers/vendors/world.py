"""Vendors elsewhere. Rule: facts with their sources and dates, no code."""

from extproc.providers.vendors.quirks import ErrorForm, Quirks, Thinking, UsageForm
from extproc.providers.vendors.row import Key, Row
from extproc.providers.vendors.words import MAX_TOKENS

_HIGRESS = "higress ai-proxy, provider/*.go, 2026-06"

ROWS = (
    Row(
        type="github",
        title="GitHub Models",
        env=("GITHUB_API_KEY", "GITHUB_TOKEN"),
        example="openai/gpt-4.1-mini",
        quirks=Quirks(url=("https://models.inference.ai.azure.com",), prefix="", apis={"chat": "", "embeddings": ""}),
        sources=(_HIGRESS, "higress-group/higress#4736, 2026-09-20: Bearer, or 401"),
    ),
    Row(
        type="openrouter",
        title="OpenRouter",
        env=("OPENROUTER_API_KEY",),
        example="openrouter/auto",
        quirks=Quirks(
            url=("https://openrouter.ai",),
            takes=("file", "strict", "top_k", "verbosity"),
            prefix="/api/v1",
            apis={
                "chat": "",
                "completions": "",
                "embeddings": "",
                "models": "",
                "responses": "",
                "messages": "",
            },
            thinking=Thinking(ask=("reasoning",), field="reasoning"),
            returns_thinking="kept",
            finish={"error": "error"},
            cache_control="kept",
            messages_auth="bearer",
        ),
        sources=(_HIGRESS, "https://openrouter.ai/docs/api/reference, 2026-11: errors in streams, reasoning"),
    ),
    Row(
        type="groq",
        title="Groq",
        env=("GROQ_API_KEY",),
        example="openai/gpt-oss-120b",
        quirks=Quirks(
            url=("https://api.groq.com",),
            takes=("strict",),
            prefix="/openai/v1",
            apis=dict.fromkeys(("chat", "responses", "models", "embeddings", "audio", "files", "batches"), ""),
            refuses=("stream_options", "logit_bias", "messages.name"),
            message_members=("role", "content", "name", "tool_calls", "tool_call_id", "function_call", "reasoning"),
            beside={"tools": ("response_format",)},
            thinking=Thinking(
                ask=("reasoning_effort",),
                efforts={"minimal": "low", "xhigh": "high", "max": "high"},
                field="reasoning",
                adds={"reasoning_format": "parsed"},
            ),
            returns_thinking="kept",
            usage=UsageForm(at="x_groq.usage"),
            errors=(ErrorForm(at="x_groq.error", message="x_groq.error"),),
        ),
        sources=(
            "groq 1.7.0 (types, run), 2026-11-30",
            "https://console.groq.com/docs/openai, 2026-11: logit_bias and messages[].name are 400",
            "https://console.groq.com/docs/structured-outputs, 2026-11: not beside tools",
            "chatboxai/chatbox#2083, 2025-02, SimonSchubert/Kai#265, 2026-05: other members of messages are 400",
        ),
    ),
    Row(
        type="grok",
        title="xAI Grok",
        env=("GROK_API_KEY", "XAI_API_KEY"),
        models=("grok-*",),
        example="grok-4.6",
        quirks=Quirks(
            url=("https://api.x.ai",),
            apis={"chat": "", "responses": "", "models": "", "images": "", "embeddings": "", "completions": ""},
            refuses=("messages.name", "stop", "presence_penalty", "frequency_penalty", "logit_bias"),
            thinking=Thinking(ask=()),
            usage=UsageForm(reasoning_outside=True),
            by_model={
                "grok-4.6*": Quirks(thinking=Thinking(efforts={"none": "low", "minimal": "low", "max": "xhigh"})),
                "grok-4.5*": Quirks(
                    thinking=Thinking(efforts={"none": "low", "minimal": "low", "xhigh": "high", "max": "high"})
                ),
                "grok-4.3*": Quirks(thinking=Thinking(efforts={"minimal": "low", "xhigh": "high", "max": "high"})),
                "grok-3-mini*": Quirks(
                    thinking=Thinking(
                        efforts={"none": "low", "minimal": "low", "medium": "high", "xhigh": "high", "max": "high"}
                    )
                ),
                "*non-reasoning*": Quirks(
                    refuses=("messages.name", "presence_penalty", "frequency_penalty", "logit_bias")
                ),
            },
        ),
        sources=(
            "https://docs.x.ai/developers/model-capabilities/text/reasoning, 2026-11",
            "mnfst/modelparams.dev#330, 2026-08-31: effort of 4.5 and 4.6",
            "miaoxworld/NativeTavern#83, 2026-09-15: penalties of all that is sold",
            "omnigent-ai/omnigent#1686, 2026-06-30: which take an effort",
        ),
    ),
    Row(
        type="mistral",
        title="Mistral",
        env=("MISTRAL_API_KEY",),
        models=("mistral-*", "open-mistral-*", "magistral-*", "ministral-*", "codestral-*", "devstral-*", "pixtral-*"),
        example="mistral-medium-latest",
        quirks=Quirks(
            url=("https://api.mistral.ai", "https://api.eu.mistral.ai", "https://api.us.mistral.ai"),
            takes=("strict",),
            apis=dict.fromkeys(("chat", "embeddings", "models", "files", "audio", "responses", "moderations"), ""),
            refuses=("messages.name", "user", "stream_options", "logit_bias", "store"),
            message_members=("role", "content", "name", "tool_calls", "tool_call_id", "prefix"),
            renames={**MAX_TOKENS, "seed": "random_seed"},
            thinking=Thinking(ask=("reasoning_effort",)),
            tool_ids=9,
            finish={"model_length": "length", "error": "error"},
            content="parts",
            returns_thinking="dropped",
            # {"object": "error", "message": …, "code": …} stands alone
            errors=(
                ErrorForm(
                    at="object",
                    ok=("chat.completion", "chat.completion.chunk", "text_completion", "list"),
                    message="message",
                    code="code",
                ),
            ),
        ),
        keys=(
            Key(
                "mistralDomain",
                "host",
                "Mistral's host name, such as api.eu.mistral.ai.",
                "Mistral 的主机名，例如 api.eu.mistral.ai",
            ),
        ),
        sources=(
            "mistralai 3.7.0 (types, run), 2026-11-30",
            "nine letters and digits of a tool call's id: nearai/ironclaw#1241, 2026-03, karthink/gptel#1203, 2026-01",
        ),
    ),
    Row(
        type="together-ai",
        title="Together AI",
        env=("TOGETHERAI_API_KEY", "TOGETHER_API_KEY"),
        example="meta-llama/Llama-4-Maverick-17B-128E-Instruct-FP8",
        quirks=Quirks(
            url=("https://api.together.ai", "https://api.together.xyz"),
            takes=("top_k",),
            apis=dict.fromkeys(
                ("chat", "completions", "embeddings", "images", "audio", "rerank", "models", "files", "batches"), ""
            ),
            refuses=("stream_options", "parallel_tool_calls", "user"),
            renames=MAX_TOKENS,
            thinking=Thinking(ask=("reasoning_effort",), field="reasoning"),
            returns_thinking="kept",
            finish={"eos": "stop"},
        ),
        sources=("together 3.1.1 (types, run), 2026-11-30",),
    ),
    Row(
        type="fireworks",
        title="Fireworks",
        env=("FIREWORKS_API_KEY",),
        example="accounts/fireworks/models/deepseek-v4-flash",
        quirks=Quirks(
            url=("https://api.fireworks.ai",),
            takes=("top_k",),
            prefix="/inference/v1",
            apis={"chat": "", "completions": "", "embeddings": "", "models": "", "rerank": "", "responses": ""},
            message_members=("role", "content", "name", "tool_calls", "tool_call_id", "reasoning_content"),
            cache_control="dropped",
            beside={"tools": ("response_format",)},
            returns_thinking="kept",
        ),
        sources=(
            _HIGRESS,
            "https://docs.fireworks.ai/api-reference/post-chatcompletions, 2026-11: extra inputs are 400",
        ),
    ),
    Row(
        type="cerebras",
        title="Cerebras",
        env=("CEREBRAS_API_KEY",),
        example="gpt-oss-120b",
        quirks=Quirks(
            url=("https://api.cerebras.ai",),
            takes=("strict",),
            apis={"chat": "", "completions": "", "models": ""},
            refuses=("metadata", "store"),
            thinking=Thinking(
                ask=("reasoning_effort",),
                efforts={"minimal": "low", "xhigh": "high", "max": "high"},
                field="reasoning",
                adds={"reasoning_format": "parsed"},
            ),
            returns_thinking="kept",
            errors=(ErrorForm(at="error", message="error.message", code="error.code", status="status_code"),),
        ),
        sources=("cerebras-cloud-sdk 1.91.0 (types, run), 2026-11-30",),
    ),
    Row(
        type="sambanova",
        title="SambaNova",
        env=("SAMBANOVA_API_KEY",),
        example="gpt-oss-120b",
        quirks=Quirks(
            url=("https://api.sambanova.ai",),
            apis={"chat": "", "completions": "", "embeddings": "", "models": "", "audio": ""},
        ),
        sources=("https://docs.sambanova.ai/docs/en/features/openai-compatibility, 2026-11",),
    ),
    Row(
        type="nvidia",
        title="NVIDIA NIM",
        env=("NVIDIA_API_KEY",),
        example="nvidia/llama-3.3-nemotron-super-49b-v1.5",
        quirks=Quirks(
            url=("https://integrate.api.nvidia.com",),
            apis={"chat": "", "completions": "", "embeddings": "", "models": ""},
        ),
        sources=("https://docs.api.nvidia.com/nim/reference/llm-apis, 2026-11",),
    ),
    Row(
        type="deepinfra",
        title="DeepInfra",
        env=("DEEPINFRA_API_KEY", "DEEPINFRA_TOKEN"),
        example="deepseek-ai/DeepSeek-V4-Flash",
        quirks=Quirks(
            url=("https://api.deepinfra.com",),
            takes=("top_k",),
            prefix="/v1/openai",
            apis={"chat": "", "completions": "", "embeddings": "", "models": "", "images": "", "audio": ""},
        ),
        sources=("https://deepinfra.com/docs/openai_api, 2026-11",),
    ),
    Row(
        type="perplexity",
        title="Perplexity",
        env=("PERPLEXITY_API_KEY",),
        models=("sonar*",),
        example="sonar",
        quirks=Quirks(url=("https://api.perplexity.ai",), prefix="", apis={"chat": ""}),
        sources=("https://docs.perplexity.ai/api-reference/chat-completions-post, 2026-11",),
    ),
    Row(
        type="novita",
        title="Novita",
        env=("NOVITA_API_KEY",),
        example="deepseek/deepseek-v4-flash",
        quirks=Quirks(
            url=("https://api.novita.ai",),
            takes=("top_k",),
            prefix="/openai/v1",
            apis={"chat": "", "completions": "", "embeddings": "", "models": "", "rerank": ""},
        ),
        sources=("https://novita.ai/docs/api-reference/model-apis-llm-create-chat-completion, 2026-11",),
    ),
    Row(
        type="cloudflare",
        title="Cloudflare Workers AI",
        env=("CLOUDFLARE_API_KEY", "CLOUDFLARE_API_TOKEN"),
        example="@cf/openai/gpt-oss-120b",
        quirks=Quirks(
            url=("https://api.cloudflare.com",),
            prefix="/client/v4/accounts/{cloudflareAccountId}/ai/v1",
            apis={"chat": "", "embeddings": "", "responses": ""},
        ),
        keys=(
            Key(
                "cloudflareAccountId",
                "part",
                "The account, which stands in every path.",
                "账户，写在每个路径里",
                required=True,
            ),
        ),
        sources=(_HIGRESS, "https://developers.cloudflare.com/workers-ai/configuration/open-ai-compatibility, 2026-11"),
    ),
    Row(
        type="bedrock-mantle",
        title="Amazon Bedrock, OpenAI's and Anthropic's APIs",
        env=("BEDROCK_MANTLE_API_KEY",),
        example="anthropic.claude-sonnet-5-5",
        quirks=Quirks(
            url=("https://bedrock-mantle.us-east-1.api.aws",),
            apis={"chat": "", "responses": "", "models": "", "messages": "/anthropic/v1/messages"},
            messages_auth="bearer",
        ),
        keys=(
            Key(
                "bedrockMantleDomain",
                "host",
                "The host of another region, such as bedrock-mantle.eu-west-1.api.aws.",
                "其他区域的主机名，例如 bedrock-mantle.eu-west-1.api.aws",
            ),
        ),
        sources=(
            "anthropic 2.14.0 (run): bearer, /anthropic/v1/messages, 2026-11-30",
            "litellm 1.110 (read): chat and Responses under /v1 or /openai/v1, by model, 2026-11-30",
        ),
    ),
)
