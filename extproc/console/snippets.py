"""What people paste to connect their tools, filled in with this gateway's address and a model it takes.

Rule: pure. Each is what a test runs as it stands (`tests/clients/test_snippets.py`), with the key put in the place of
`YOUR_KEY`; those for programs with windows of their own say where what is entered.
"""

from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, slots=True)
class Snippet:
    """`kind`: the language of `text`; `file`: where it belongs, if into a file. `run`: what is then started."""

    id: str
    title: str
    kind: Literal["sh", "python", "javascript", "toml", "text"]
    text: str
    file: str = ""
    run: str = ""


KEY: Final = "YOUR_KEY"


def snippets(base: str, model: str, key: str = KEY) -> list[Snippet]:
    """For a gateway at `base` (`http://host:port`, perhaps with a path), asked for `model`."""
    return [
        Snippet("curl", "curl", "sh", _CURL.format(base=base, model=model, key=key)),
        Snippet("openai-python", "OpenAI SDK, Python", "python", _PYTHON.format(base=base, model=model, key=key)),
        Snippet("openai-node", "OpenAI SDK, Node", "javascript", _NODE.format(base=base, model=model, key=key)),
        Snippet("claude-code", "Claude Code", "sh", _CLAUDE.format(base=base, model=model, key=key), run="claude"),
        Snippet(
            "codex", "Codex", "toml", _CODEX.format(base=base, model=model), "~/.codex/config.toml",
            f"AI_PROXY_KEY={key} codex",
        ),
        Snippet(
            "qwen-code", "Qwen Code", "sh", _QWEN.format(base=base, model=model, key=key),
            run="qwen --auth-type openai",
        ),
        Snippet("nextchat", "NextChat", "sh", _NEXTCHAT.format(base=base, model=model, key=key)),
        Snippet("cursor", "Cursor", "text", _CURSOR.format(base=base, model=model, key=key)),
        Snippet("langchain", "LangChain", "python", _LANGCHAIN.format(base=base, model=model, key=key)),
        Snippet("litellm", "LiteLLM", "python", _LITELLM.format(base=base, model=model, key=key)),
    ]  # fmt: skip


_CURL: Final = """\
curl -N {base}/v1/chat/completions \\
  -H 'Content-Type: application/json' -H 'Authorization: Bearer {key}' \\
  -d '{{"model": "{model}", "stream": true, "messages": [{{"role": "user", "content": "你好"}}]}}'
"""
_PYTHON: Final = """\
from openai import OpenAI

client = OpenAI(base_url="{base}/v1", api_key="{key}")
stream = client.chat.completions.create(
    model="{model}", messages=[{{"role": "user", "content": "你好"}}], stream=True
)
for chunk in stream:
    print(chunk.choices[0].delta.content or "" if chunk.choices else "", end="", flush=True)
"""
_NODE: Final = """\
import OpenAI from "openai";

const client = new OpenAI({{ baseURL: "{base}/v1", apiKey: "{key}" }});
const stream = await client.chat.completions.create({{
  model: "{model}", messages: [{{ role: "user", content: "你好" }}], stream: true,
}});
for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
"""
_CLAUDE: Final = """\
export ANTHROPIC_BASE_URL={base}
export ANTHROPIC_API_KEY={key}
export ANTHROPIC_MODEL={model}
"""
_CODEX: Final = """\
model = "{model}"
model_provider = "ai-proxy"

[model_providers.ai-proxy]
name = "ai-proxy"
base_url = "{base}/v1"
env_key = "AI_PROXY_KEY"
"""
_QWEN: Final = """\
export OPENAI_BASE_URL={base}/v1
export OPENAI_API_KEY={key}
export OPENAI_MODEL={model}
"""
_NEXTCHAT: Final = """\
docker run --network host -e BASE_URL={base} -e OPENAI_API_KEY={key} \\
  -e CUSTOM_MODELS=-all,+{model} -e DEFAULT_MODEL={model} yidadaa/chatgpt-next-web
"""
_CURSOR: Final = """\
Settings > Models > API Keys
  OpenAI API Key            {key}
  Override OpenAI Base URL  {base}/v1
Settings > Models > Add model
  {model}
Cursor calls from its own servers: the address must be one that the internet reaches, with https.
"""
_LANGCHAIN: Final = """\
from langchain_openai import ChatOpenAI

model = ChatOpenAI(base_url="{base}/v1", api_key="{key}", model="{model}")
for chunk in model.stream("你好"):
    print(chunk.content, end="", flush=True)
"""
_LITELLM: Final = """\
import litellm

stream = litellm.completion(
    model="openai/{model}", api_base="{base}/v1", api_key="{key}",
    messages=[{{"role": "user", "content": "你好"}}], stream=True,
)
for chunk in stream:
    print(chunk.choices[0].delta.content or "", end="", flush=True)
"""
