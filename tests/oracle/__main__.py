"""`make oracle`: LiteLLM's proxy beside us, the same Messages to the same simulated vendor that speaks chat.

What both send and answer is compared member by member; a difference must be in `reasons.py`, with who is right and
why, and one there that is gone must go. Writes the table into docs/benchmarks/oracle.md.
"""

from collections.abc import Iterator, Mapping
import contextlib
import json
from pathlib import Path
import subprocess
import sys
import tempfile
from typing import Any

import httpx

from tests.bench import peers
from tests.contract.processes import ROOT, environment, free_port, gateway, simulator, until

from .cases import MESSAGES
from .reasons import REASONS, Reason

KEY = "sk-sim-oracle"
DOCUMENT = ROOT / "docs" / "benchmarks" / "oracle.md"
_OURS = frozenset({"id", "request_id", "tool_use_id", "message"})
"""Members whose values are made up or are words for people."""


@contextlib.contextmanager
def litellm(directory: Path, vendor: str) -> Iterator[str]:
    """LiteLLM's proxy: its URL."""
    parameters = {"model": "moonshot/*", "api_base": f"{vendor}/moonshot/v1", "api_key": KEY}
    config = {
        "model_list": [{"model_name": "*", "litellm_params": parameters}],
        "litellm_settings": {"num_retries": 0, "telemetry": False},
        "router_settings": {"num_retries": 0},
    }
    (directory / "litellm.yaml").write_text(json.dumps(config))
    port = free_port()
    command = [*peers.installed("litellm"), "--config", str(directory / "litellm.yaml"), "--host", "127.0.0.1"]
    more = {"LITELLM_MASTER_KEY": KEY, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    with (directory / "litellm.log").open("wb") as log:
        popen = subprocess.Popen(
            [*command, "--port", str(port), "--num_workers", "1", "--telemetry", "False"],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment(**more),
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"

    def alive() -> bool:
        assert popen.poll() is None, (directory / "litellm.log").read_text()[-2000:]
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{url}/health/liveliness", trust_env=False, timeout=5).status_code == 200
        return False

    try:
        until(alive, "LiteLLM serves", 180)
        yield url
    finally:
        popen.terminate()
        popen.wait()


@contextlib.contextmanager
def ours(directory: Path, vendor: str) -> Iterator[str]:
    """Our gateway: its URL."""
    provider = {"id": "moonshot", "type": "moonshot", "apiTokens": [KEY], "endpoint": vendor, "messagesApi": "convert"}
    (directory / "gateway.yaml").write_text(json.dumps({"providers": [provider]}))
    with gateway(directory, "--config", str(directory / "gateway.yaml")) as running:
        yield running.base


def asked(url: str, vendor: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """What the vendor was sent, and what came back: status and body, or a stream's events folded to the same."""
    seen = len(httpx.get(f"{vendor}/__sim__/requests", trust_env=False).json())
    answer = httpx.post(
        f"{url}/v1/messages", json=body, trust_env=False, timeout=60,
        headers={"x-api-key": KEY, "anthropic-version": "2023-06-01"},
    )  # fmt: skip
    sent = httpx.get(f"{vendor}/__sim__/requests", trust_env=False).json()[seen:]
    said = _folded(answer.text) if body.get("stream") and answer.status_code == 200 else answer.json()
    return {"sent": [request["body"] for request in sent], "status": answer.status_code, "answer": said}


def _folded(text: str) -> dict[str, Any]:
    """A Messages stream as the message that its reader has, with the order of its events."""
    events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
    message: dict[str, Any] = {"events": _kinds(events)}
    for event in events:
        match event["type"]:
            case "message_start":
                message |= event["message"]
            case "content_block_start":
                message["content"].append(event["content_block"])
            case "content_block_delta":
                block, delta = message["content"][event["index"]], event["delta"]
                for member, value in delta.items():
                    if member != "type":
                        name = "input" if member == "partial_json" else member
                        block[name] = (block[name] if isinstance(block.get(name), str) else "") + value
            case "message_delta":
                message |= event["delta"]
                message["usage"] = {**message["usage"], **event["usage"]}
    return message


def _kinds(events: list[dict[str, Any]]) -> list[str]:
    """The kinds of events in their order, each run of deltas once, without pings."""
    kinds: list[str] = []
    for event in events:
        if event["type"] != "ping" and kinds[-1:] != [event["type"]]:
            kinds.append(event["type"])
    return kinds


def differences(one: Any, other: Any, at: str = "") -> Iterator[str]:
    """Where two values differ: `path: ours | theirs`."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in sorted(one.keys() | other.keys()):
            if name not in _OURS:
                yield from differences(one.get(name), other.get(name), f"{at}.{name}".lstrip("."))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, (a, b) in enumerate(zip(one, other, strict=True)):
            yield from differences(a, b, f"{at}[{index}]")
    elif one != other:
        yield f"{at}: {_short(one)} | {_short(other)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 120 else f"{text[:117]}…"


def compared() -> list[tuple[str, str]]:
    """Every difference, with its case."""
    found = []
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        directory = Path(name)
        vendor = stack.enter_context(simulator(directory / "vendor"))
        us = stack.enter_context(ours(_made(directory / "us"), vendor))
        them = stack.enter_context(litellm(_made(directory / "them"), vendor))
        for case, body in MESSAGES.items():
            for stream in (False, True):
                both = [asked(url, vendor, {**body, "stream": True} if stream else body) for url in (us, them)]
                label = f"{case}, stream" if stream else case
                print(label, file=sys.stderr, flush=True)
                found += [(label, difference) for difference in differences(*both)]
    return found


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


def main() -> None:
    found = compared()
    cases: dict[Reason, list[str]] = {}
    unknown = []
    for case, difference in found:
        reason = next((one for one in REASONS if one.holds(case, difference)), None)
        if reason is None:
            unknown.append(f"{case}: {difference}")
        elif (name := case.removesuffix(", stream")) not in cases.setdefault(reason, []):
            cases[reason].append(name)
    for line in unknown:
        print("no reason known:", line)
    for reason in (gone := [one for one in REASONS if one not in cases]):
        print("no difference any more:", reason.where)
    if unknown or gone:
        sys.exit(1)
    DOCUMENT.write_text(document(cases))
    print(f"{len(MESSAGES) * 2} exchanges, {len(found)} differences, all explained: {DOCUMENT.relative_to(ROOT)}")


def document(cases: Mapping[Reason, list[str]]) -> str:
    """The table, as a page."""
    rows = [
        f"| {reason.ours} | {reason.theirs} | {reason.why} | {len(names)} of {len(MESSAGES)}: {', '.join(names[:3])}"
        f"{' …' if len(names) > 3 else ''} |"
        for reason, names in cases.items()
    ]
    return _PAGE.format(version=peers.LITELLM, cases=len(MESSAGES), rows="\n".join(rows))


_PAGE = """\
# The same Messages through LiteLLM

Written by `make oracle`: LiteLLM {version} and this gateway, both in front of the simulated Moonshot that speaks chat
(here `messagesApi: convert`), are asked {cases} requests of `/v1/messages`, each whole and as a stream. What both send
to the vendor and what both answer is compared member by member. What is not in this table is the same.

| this gateway | LiteLLM | why | where |
|---|---|---|---|
{rows}
"""


if __name__ == "__main__":
    main()
