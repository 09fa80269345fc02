"""What is asked, of whom, and how: the table of `make bench`.

Rule: within a scenario all arms are asked the same, by turns, and must answer rightly. `noop-X` has Envoy's phases of our
own processor in that scenario (`noop.py`); so has `tuned-X`, with our workers' environment, and `bare-X`, on our own gRPC
server; what others do is the nearest that they have.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from . import peers
from .servers import KEY
from .traffic import Ask, request

_DIRECT: Final = ("direct", "envoy")
_PEERS: Final = ("litellm", "portkey")


@dataclass(frozen=True)
class Scenario:
    """`host`: our provider. `chunks`: of the answer, 0: a whole one. `pause`: between them, µs. `size`: of the request,
    bytes. `rate`: open loop, requests per second. `quick`: also in the short form."""

    name: str
    host: str
    arms: Sequence[str]
    chunks: int = 0
    kind: str = "text"
    pause: int = 0
    size: int = 1_000
    connections: int = 32
    rate: float = 0
    quick: bool = False

    @property
    def native(self) -> bool:
        return self.host == "qwen"

    def ask(self, arm: str, vendor: str) -> Ask:
        """The request of one arm. All of one scenario are the same but for what Portkey wants in headers."""
        headers = {"host": f"{self.host}.test", "authorization": f"Bearer {KEY}", "user-agent": "bench"}
        if arm == "portkey":
            headers |= peers.portkey_headers(f"http://{vendor}")
        translated = arm.startswith("us") or not self.native
        end = '"finish_reason":"' if not self.chunks else "data: [DONE]" if translated else '"finish_reason":"stop"'
        if self.kind == "tools" and not translated:
            end = '"finish_reason":"tool_calls"'
        return Ask(
            request("/v1/chat/completions", headers, self.body()), 1 if self.kind == "idle" else self.chunks, end
        )

    def body(self) -> dict[str, Any]:
        wish = f"bench:{'native' if self.native else 'openai'}:{self.chunks}:{self.kind}:{self.pause};"
        rest = max(0, self.size - 200)
        content: Any = f"{wish} {'words of a user ' * (rest // 16)}"
        model = "qwen-plus"
        if self.size > 100_000:  # as an image, in base64
            image = {
                "type": "image_url",
                "image_url": {"url": f"data:image/png;base64,{'iVBORw0KGgoA' * (rest // 12)}"},
            }
            content, model = [{"type": "text", "text": wish}, image], "qwen-vl-max"
        body: dict[str, Any] = {
            "model": model,
            "stream": self.chunks > 0,
            "messages": [{"role": "user", "content": content}],
        }
        return body | ({"tools": [_TOOL]} if self.kind == "tools" else {})


_TOOL: Final = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city, today and tomorrow",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}

SCENARIOS: Final = (
    # Throughput: closed loop
    Scenario("openai-whole", "openai", (*_DIRECT, "noop-headers", "noop-whole", "bare-headers", "us", "us-quiet", *_PEERS), quick=True),
    Scenario("qwen-whole", "qwen", (*_DIRECT, "noop-two", "noop-whole", "tuned-whole", "bare-whole", "us", "us-quiet", "us-listener"), quick=True),
    Scenario("compatible-whole", "compatible", (*_DIRECT, "noop-headers", "us")),
    Scenario("counted-whole", "counted", (*_DIRECT, "noop-whole", "us")),
    Scenario("renamed-whole", "renamed", (*_DIRECT, "noop-whole", "us")),
    Scenario("openai-stream-20", "openai", (*_DIRECT, "noop-headers", "us", *_PEERS), 20),
    Scenario("openai-stream-500", "openai", (*_DIRECT, "noop-headers", "us", *_PEERS), 500, connections=16),
    Scenario("openai-stream-5000", "openai", (*_DIRECT, "noop-headers", "us"), 5_000, connections=8),
    Scenario("counted-stream-500", "counted", (*_DIRECT, "noop-stream", "us"), 500, connections=16),
    Scenario("qwen-stream-20", "qwen", (*_DIRECT, "noop-stream", "us"), 20),
    Scenario("qwen-stream-500", "qwen", (*_DIRECT, "noop-stream", "us"), 500, connections=16, quick=True),
    Scenario("qwen-stream-5000", "qwen", (*_DIRECT, "noop-stream", "us"), 5_000, connections=8),
    Scenario("compatible-stream-500", "compatible", (*_DIRECT, "noop-headers", "us"), 500, connections=16),
    Scenario("renamed-stream-500", "renamed", (*_DIRECT, "noop-stream", "us"), 500, connections=16),
    Scenario("qwen-tools-whole", "qwen", (*_DIRECT, "noop-whole", "us"), kind="tools"),
    Scenario("qwen-tools-stream-20", "qwen", (*_DIRECT, "noop-stream", "us"), 20, kind="tools"),
    # Each event comes alone, as a model writes them
    Scenario("openai-paced-20", "openai", ("envoy", "noop-headers", "us"), 20, pause=20_000, connections=40),
    Scenario("openai-paced-100", "openai", ("envoy", "noop-headers", "us"), 100, pause=20_000, connections=40),
    Scenario("qwen-paced-20", "qwen", ("envoy", "noop-stream", "us"), 20, pause=20_000, connections=40, quick=True),
    Scenario("qwen-paced-100", "qwen", ("envoy", "noop-stream", "us"), 100, pause=20_000, connections=40, quick=True),
    Scenario("qwen-crowd", "qwen", (*_DIRECT, "noop-stream", "bare-stream", "us"), 100, pause=1_500, connections=100, quick=True),
    # Long requests
    Scenario("openai-32k", "openai", (*_DIRECT, "noop-headers", "noop-echo", "us", *_PEERS), size=32_000),
    Scenario("openai-1m", "openai", (*_DIRECT, "noop-headers", "noop-echo", "us"), size=1 << 20, connections=8, quick=True),
    Scenario("qwen-32k", "qwen", (*_DIRECT, "noop-whole", "us"), size=32_000),
    Scenario("qwen-1m", "qwen", (*_DIRECT, "noop-whole", "us"), size=1 << 20, connections=8),
    # Latency: one connection; and an open loop, timed from when each request was due
    Scenario(
        "latency-openai", "openai", (*_DIRECT, "noop-headers", "noop-whole", "tuned-whole", "bare-headers", "us", *_PEERS), connections=1, quick=True
    ),
    Scenario(
        "latency-openai-stream", "openai", (*_DIRECT, "noop-headers", "noop-stream", "us", *_PEERS), 20,
        pause=1_000, connections=1, quick=True,
    ),
    Scenario("latency-qwen", "qwen", (*_DIRECT, "noop-whole", "us"), connections=1),
    Scenario("latency-qwen-stream", "qwen", (*_DIRECT, "noop-stream", "us"), 20, pause=1_000, connections=1),
    Scenario("open-60", "openai", (*_DIRECT, "noop-whole", "us", *_PEERS), connections=64, rate=60),
    Scenario("open-1000", "openai", (*_DIRECT, "noop-whole", "us"), connections=256, rate=1_000),
    Scenario("open-qwen-1000", "qwen", (*_DIRECT, "noop-whole", "us"), connections=256, rate=1_000),
)  # fmt: skip

IDLE: Final = Scenario("idle-streams", "qwen", ("us", "noop-stream"), 2, kind="idle", connections=5_000, quick=True)
SOAK: Final = Scenario("soak", "qwen", ("us",), 4, pause=1_000, connections=32, quick=True)
WORKERS: Final = Scenario("workers", "qwen", ("us", "us-two"), 20, connections=128, quick=True)
SPECIAL: Final = (IDLE, SOAK, WORKERS)
