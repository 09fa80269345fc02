"""Exchanges of each provider, as tests with bad input begin them."""

from collections.abc import Mapping
from typing import Any

from .player import CLIENT_NOISE, Play, config_of
from .vectors import dump

PROVIDERS: dict[str, dict[str, Any]] = {
    "qwen": {"type": "qwen", "apiTokens": ["sk-q"]},
    "concat": {"type": "qwen", "apiTokens": ["sk-q"], "reasoningContentMode": "concat"},
    "compatible": {"type": "qwen", "apiTokens": ["sk-q"], "qwenEnableCompatible": True, "modelMapping": {"*": "v"}},
    "original": {"type": "qwen", "apiTokens": ["sk-q"], "protocol": "original", "recordUsage": True},
    "openai": {"type": "openai", "modelMapping": {"*": "v"}, "recordUsage": True},
    "azure": {"type": "azure", "apiTokens": ["k"], "azureServiceUrl": "https://r.example?api-version=v"},
    "moonshot": {"type": "moonshot", "apiTokens": ["k"], "modelMapping": {"*": "kimi-k3"}},
}
LIMIT = 1 << 20
"""Of bodies and events."""
_LIMITS = {"maxBodyBytes": LIMIT, "maxEventBytes": LIMIT}
CONFIGS = {name: config_of({**_LIMITS, "providers": [{"id": "p", **p}]}) for name, p in PROVIDERS.items()}

HEAD = {":method": "POST", ":path": "/v1/chat/completions", ":authority": "h", "content-type": "application/json"}
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
STREAMED = {**CHAT, "stream": True}
VIA = {"response.code_details": "via_upstream"}
SSE = {":status": "200", "content-type": "text/event-stream"}
JSON = {":status": "200", "content-type": "application/json"}
FRAMES = [{"m": {"content": "你"}}, {"m": {"content": "好"}}, {"m": {"content": ""}, "finish": "stop"}]


def sent(name: str, body: Mapping[str, Any] = CHAT) -> Play:
    """An exchange whose request has left."""
    play = Play(CONFIGS[name])
    path = "/api/v1/services/aigc/text-generation/generation" if name == "original" else HEAD[":path"]
    play.request({**HEAD, **CLIENT_NOISE, ":path": path}, dump(body), {})
    assert play.seen.upstream is not None
    return play


def told_by(play: Play, chunks: list[bytes]) -> list[bytes]:
    """What each chunk of a streamed answer makes the client see."""
    play.response(SSE, chunks, attributes=VIA)
    return play.seen.outputs
