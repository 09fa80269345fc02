"""Servers of the user's own. Rule: facts with their sources and dates, no code.

Their address is the configuration's to say; the one here is where the server listens by itself.
"""

from extproc.providers.vendors.quirks import Quirks, Thinking
from extproc.providers.vendors.row import Key, Row

_HIGRESS = "higress ai-proxy, provider/*.go, 2026-06"

ROWS = (
    Row(
        type="ollama",
        title="Ollama",
        env=("OLLAMA_API_KEY",),
        example="qwen3",
        own_server=True,
        quirks=Quirks(
            url=("http://127.0.0.1:11434",),
            auth="none",
            key="optional",
            apis=dict.fromkeys(("chat", "completions", "embeddings", "models", "messages", "responses"), ""),
            thinking=Thinking(field="reasoning"),
            returns_thinking="kept",
        ),
        keys=(
            Key("ollamaServerHost", "host", "The host where Ollama runs.", "运行 Ollama 的主机"),
            Key("ollamaServerPort", "port", "Its port.", "其端口", default=11434),
        ),
        sources=(_HIGRESS, "https://docs.ollama.com/api/openai-compatibility, 2026-11: reasoning, Responses, Messages"),
    ),
    Row(
        type="vllm",
        title="vLLM",
        env=("VLLM_API_KEY",),
        example="Qwen/Qwen3-8B",
        own_server=True,
        quirks=Quirks(
            url=("http://127.0.0.1:8000",),
            takes=("top_k",),
            key="optional",
            apis={
                **dict.fromkeys("chat completions embeddings models audio responses messages rerank score".split(), ""),
                "tokenize": "/tokenize",
                "detokenize": "/detokenize",
            },
            thinking=Thinking(field="reasoning"),
            returns_thinking="kept",
        ),
        keys=(
            Key(
                "vllmCustomUrl",
                "url",
                "The server's base URL; a path takes the place of /v1.",
                "服务器的 base URL；其中的路径代替 /v1",
            ),
            Key("vllmServerHost", "host", "The server's host, with :PORT.", "服务器的主机，可带 :PORT"),
        ),
        sources=(_HIGRESS, "https://docs.vllm.ai/en/latest/serving/openai_compatible_server, 2026-11: reasoning alone"),
    ),
    Row(
        type="sglang",
        title="SGLang",
        env=("SGLANG_API_KEY",),
        example="Qwen/Qwen3-8B",
        own_server=True,
        quirks=Quirks(
            url=("http://127.0.0.1:30000",),
            takes=("top_k",),
            key="optional",
            apis={
                **dict.fromkeys("chat completions embeddings models responses rerank score".split(), ""),
            },
        ),
        sources=("https://docs.sglang.ai/basic_usage/openai_api_completions.html, 2026-11: reasoning_content",),
    ),
    Row(
        type="lmstudio",
        title="LM Studio",
        env=("LMSTUDIO_API_KEY",),
        example="qwen3-8b",
        own_server=True,
        quirks=Quirks(
            url=("http://127.0.0.1:1234",),
            takes=("top_k",),
            key="optional",
            messages_auth="bearer",
            apis=dict.fromkeys("chat completions embeddings models responses messages".split(), ""),
            thinking=Thinking(field="reasoning"),
        ),
        sources=("https://lmstudio.ai/docs/developer/openai-compat, 2026-11: paths, reasoning",),
    ),
    Row(
        type="llamacpp",
        title="llama.cpp",
        env=("LLAMACPP_API_KEY",),
        example="qwen3-8b",
        own_server=True,
        quirks=Quirks(
            url=("http://127.0.0.1:8080",),
            takes=("top_k",),
            key="optional",
            apis=dict.fromkeys(
                "chat completions embeddings models responses messages rerank reranks audio".split(), ""
            ),
        ),
        sources=(
            "https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md, 2026-11: reasoning_content",
        ),
    ),
    Row(
        type="generic",
        title="any other",
        env=("GENERIC_API_KEY",),
        own_server=True,
        quirks=Quirks(key="optional", roles=()),
        keys=(Key("genericHost", "host", "The vendor's host name.", "供应商的主机名"),),
        sources=("the empty row, 2026-11-30",),
    ),
)
